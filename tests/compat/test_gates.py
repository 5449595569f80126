"""The fixed share of the search: a gate before a Redis, and before the embedded store, answer as a Redis does."""

import os
import subprocess
import sys

import pytest

from kvgate.backend import StoreTools
from kvgate.commands.table import supports
from kvgate.config import adapter
from kvgate_compat.__main__ import skipped, summary
from kvgate_compat.search import Tally, plan, search
from kvgate_compat.table import WITHOUT, specs
from tests.compat.setting import gate_before
from tests.support.servers import NO_REDIS, ROOT, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

EXAMPLES = 40
"""For each backend and protocol; with what a gate and its stores need to start, four of these stay below a minute."""


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_nothing_differs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with gate_before(kind) as setting:
        wanted = plan(setting.url, setting.against)
        tried = Tally()
        found = [
            str(difference)
            for proto in (2, 3)
            for difference in search(
                setting.url, setting.against, wanted, tried, proto=proto, examples=EXAMPLES, first_seed=proto * 1000, most=5
            )
        ]
        assert not found, "\n".join(found)
        with capsys.disabled():
            print(f"\ncompat, a gate before {kind}: {summary(tried)}\n{skipped(wanted)}")
        assert tried.examples >= 2 * EXAMPLES
        assert len(tried.commands) >= len(wanted.names) * 0.95
        assert wanted.transactions == (tried.transactions > 0)
        if kind == "lmdb":
            done = _check(str(setting.data))
            assert done.returncode == 0, done.stdout + done.stderr


def _check(path: str) -> "subprocess.CompletedProcess[str]":
    """``kvgate store check`` beside the gate, on what the search has left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "compat")))}
    line = [sys.executable, "-m", "kvgate.cli.main", "store", "check", path]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_what_is_claimed_is_tried(kind: str) -> None:
    claims = adapter(kind).capabilities
    claimed = {name for name, spec in specs().items() if supports(spec, claims) and name not in WITHOUT}
    with gate_before(kind) as setting:
        wanted = plan(setting.url, setting.against)
        assert set(wanted.names) == claimed
        assert set(wanted.names) | set(wanted.skipped) - {"MULTI"} >= set(specs()) - {"MULTI"}
        assert wanted.transactions == ("MULTI" in claims or "transaction" in claims)
        assert plan(setting.url, setting.against, "h(get|set)").names == tuple(
            name for name in wanted.names if name in ("HGET", "HSET")
        )


def test_the_embedded_store_has_tools() -> None:
    assert isinstance(adapter("lmdb"), StoreTools)
    assert not isinstance(adapter("redis"), StoreTools)
