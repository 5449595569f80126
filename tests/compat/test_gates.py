"""The fixed share of the search: gates before every kind of store, and of several, answer as a Redis does."""

import os
import subprocess
import sys

import pytest

from kvgate.backend import StoreTools
from kvgate.commands.table import supports
from kvgate.config import adapter
from kvgate_compat.outcome import summary
from kvgate_compat.search import Tally, plan, search
from kvgate_compat.table import WITHOUT, specs
from tests.compat.setting import CONFIGURATIONS, gate_before
from tests.support.servers import NO_REDIS, ROOT, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

EXAMPLES = 40
"""In each protocol. With what gates and stores need to start, all of them take three minutes of an idle machine."""


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_nothing_differs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with gate_before(kind) as setting:
        wanted = plan(setting.url, setting.against, space=setting.space)
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
            print(f"\ncompat, {kind}: {summary(tried)}")
        assert tried.examples >= 2 * EXAMPLES
        assert len(tried.commands) >= len(wanted.names) * 0.9
        assert wanted.transactions == (tried.transactions > 0)
        if kind == "lmdb":
            done = _check(str(setting.data))
            assert done.returncode == 0, done.stdout + done.stderr


def _check(path: str) -> "subprocess.CompletedProcess[str]":
    """``kvgate store check`` beside the gate, on what the search has left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "compat")))}
    line = [sys.executable, "-m", "kvgate.cli.main", "store", "check", path]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_what_is_claimed_is_tried(kind: str) -> None:
    with gate_before(kind) as setting:
        claimed = {name for name, spec in specs().items() if supports(spec, setting.claims) and name not in WITHOUT}
        wanted = plan(setting.url, setting.against, space=setting.space)
        assert set(wanted.names) == claimed
        assert set(wanted.names) | set(wanted.skipped) - {"MULTI"} >= set(specs()) - {"MULTI"}
        assert wanted.transactions == ("MULTI" in setting.claims or "transaction" in setting.claims)
        assert plan(setting.url, setting.against, "h(get|set)", setting.space).names == tuple(
            name for name in wanted.names if name in ("HGET", "HSET")
        )


def test_the_embedded_store_has_tools() -> None:
    assert isinstance(adapter("lmdb"), StoreTools)
    assert not isinstance(adapter("redis"), StoreTools)
