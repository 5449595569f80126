"""The section on many tenants, small, over real gates: everything that it says is on can be on together."""

import shutil

import pytest

from bench import tenants
from bench.peers import default_gate, fleet

pytestmark = pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-server, redis-tools not installed")


def test_everything_is_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "MANY", 50)
    monkeypatch.setattr(tenants, "KEYS", 200)
    with fleet(default_gate()) as running:
        running.start_shards()
        made = tenants.measure(running, {1: 4_000, 16: 16_000}, rounds=1)
    assert [row[0] for row in made.tables[0].rows] == [tenants.OFF, tenants.ON, tenants.TENANTS, tenants.HOME]
    assert made.tables[0].header == ("gate", "SET P=1", "GET P=1", "SET P=16", "GET P=16")
    assert "x)" not in made.tables[0].rows[0][1]
    assert all("x)" in cell for row in made.tables[0].rows[1:] for cell in row[1:])
