"""The fixed share of the search: gates before every kind of store, and of several, answer as a Redis does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from kvgate.backend import StoreTools
from kvgate.commands.table import supports
from kvgate.config import adapter
from kvgate_compat.clients import LOGINS
from kvgate_compat.outcome import summary
from kvgate_compat.search import Tally, plan, search
from kvgate_compat.table import WITHOUT, specs
from tests.compat.setting import CONFIGURATIONS, gate_before, known_in
from tests.support.servers import NO_REDIS, ROOT, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

EXAMPLES = 22
"""In each protocol. With what gates and stores need to start, all of them take two minutes and a half of an idle machine."""
SEED = 1000
"""Fixed, so that the outcome changes with the code only. What a seed finds is a defect, or a known difference: no reason for
another seed."""


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_nothing_differs(kind: str, record_property: Callable[[str, object], None]) -> None:
    with gate_before(kind) as setting:
        wanted = plan(setting.url, setting.against, space=setting.space)
        tried, began = Tally(), time.monotonic()
        sizes: dict[str, Any] = {"examples": EXAMPLES, "most": 5, "known": known_in(kind)}
        found = [
            difference
            for proto in (2, 3)
            for difference in search(
                setting.url, setting.against, wanted, tried, proto=proto, first_seed=proto * SEED, **sizes
            )
        ]
        assert not found, "\n".join(map(str, found))
        record_property("summary", f"compat, {kind}: {summary(tried)}, {time.monotonic() - began:.0f} s")
        assert tried.examples >= 2 * EXAMPLES
        assert len(tried.commands) >= len(wanted.names) * 0.9
        assert wanted.transactions == (tried.transactions > 0)
        if kind == "lmdb":
            done = _check(str(setting.data))
            assert done.returncode == 0, done.stdout + done.stderr


ANSWERED_ANYWAY = {
    *("PUBSUB|CHANNELS", "PUBSUB|NUMPAT", "PUBSUB|NUMSUB", "PUBSUB|SHARDCHANNELS", "PUBSUB|SHARDNUMSUB"),
    *("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "SCRIPT|EXISTS"),
    *("FUNCTION", "MEMORY", "OBJECT", "PUBSUB", "SCRIPT", "XGROUP", "XINFO"),  # unknown subcommands
}
"""By the gate, when no store has channels, scripts or streams: there are none."""


NOT_AT_HOME = LOGINS | {
    *("EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO", "PUBSUB|NUMPAT", "SCRIPT|FLUSH", "SCRIPT|EXISTS"),
    *(f"FUNCTION|{sub}" for sub in ("DELETE", "DUMP", "FLUSH", "LIST", "LOAD", "RESTORE", "STATS")),
}
"""Refused where others have keys on the same store; or about the user, who is another one."""


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
        assert set(wanted.names) - claimed == (ANSWERED_ANYWAY if kind in ("lmdb", "tikv") else set())
        assert claimed - set(wanted.names) == {"CLIENT|SETINFO"} | (NOT_AT_HOME if kind == "home" else set())
        assert set(wanted.names) | set(wanted.skipped) - {"MULTI"} >= set(specs()) - {"MULTI"}
        assert wanted.transactions == ("MULTI" in setting.claims or "transaction" in setting.claims)
        assert plan(setting.url, setting.against, "h(get|set)", setting.space).names == tuple(
            name for name in wanted.names if name in ("HGET", "HSET")
        )


def test_the_embedded_store_has_tools() -> None:
    assert isinstance(adapter("lmdb"), StoreTools)
    assert not isinstance(adapter("redis"), StoreTools)
