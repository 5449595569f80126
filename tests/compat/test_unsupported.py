"""What a store lacks is refused whatever the options, alone and inside MULTI, and nothing of it is done."""

import re
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate.commands.table import every_command, supports
from kvgate_compat.connection import Connection
from kvgate_compat.table import CONTAINERS, GENERATORS
from kvgate_compat.words import Request
from tests.compat.setting import gate_before
from tests.support.servers import NO_REDIS, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

REFUSED: Final = re.compile(rb"ERR command '[a-z_|]+' is not supported by backend '\w+' \(lmdb\); see '.*'")
GROUPS: Final = ("list", "set", "hyperloglog", "geo", "sorted-set", "stream")
EACH: Final = 12


def samples(strategy: "st.SearchStrategy[Request]") -> list[list[bytes]]:
    found: list[list[bytes]] = []

    @settings(max_examples=EACH, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(request: Request) -> None:
        found.append([bytes(arg) for arg in request.args if isinstance(arg, bytes)])

    collect()
    return found


def test_nothing_of_it_is_done() -> None:
    with gate_before("lmdb") as setting:
        specs = [spec for spec in every_command() if spec.group in GROUPS and spec.name not in CONTAINERS]
        lacking = [spec.name for spec in specs if not supports(spec, setting.claims)]
        assert len([name for name in lacking if name in GENERATORS]) > 50
        gate, redis = Connection(setting.url), Connection(setting.against)
        try:
            gate.expect_ok("SET", "a", "v")
            for name in lacking:
                refused = [_refused(gate, redis, args) for args in samples(GENERATORS[name])] if name in GENERATORS else [True]
                assert any(refused), name
            assert [gate.ask([b"DBSIZE"]).text, gate.ask([b"GET", b"a"]).text] == [b"1", b"v"]
        finally:
            gate.close()
            redis.close()


def _refused(gate: Connection, redis: Connection, args: list[bytes]) -> bool:
    """Whether the gate says that the store lacks it; else it says what Redis says: that the request is wrong."""
    alone = gate.ask(args)
    gate.expect_ok("MULTI")
    queued, done = gate.ask(args), gate.ask([b"EXEC"])
    assert queued.raw == alone.raw, args
    assert done.text.startswith(b"EXECABORT"), args
    if REFUSED.fullmatch(alone.text) and alone.kind == b"-":
        return True
    assert alone.raw == redis.ask(args).raw, args
    assert alone.kind == b"-", args
    return False
