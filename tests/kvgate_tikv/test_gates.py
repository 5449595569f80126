"""Whole gates, in processes of their own, on one TiKV: they answer as Redis does, and one that is killed tears nothing."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.server.test_embedded_transactions import DIALOGUES
from tests.support.resp import Arg, Closed
from tests.support.servers import Gate, RedisServer, wait_for
from tests.tikv.cluster import Cluster

CONFIG = """
[backends.ledger]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}"

[backends.audit]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}"
max_value = "200kb"

[backends.elsewhere]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}else"

[namespaces]
"Bank.Ledger" = "ledger"
"Bank.Audit" = "audit"
"Bank.Else" = "elsewhere"
default = "ledger"
"""


def make_gates(tikv: Cluster, number: int) -> list[Gate]:
    """Gates over one new store, not started yet."""
    pd = ", ".join(f'"{address}"' for address in tikv.pd)
    config = CONFIG.format(pd=pd, prefix=tikv.prefix)
    return [Gate(config) for _ in range(number)]


@pytest.fixture(scope="module")
def pair(tikv: Cluster) -> Iterator[list[Gate]]:
    """Two gates on one store."""
    with ExitStack() as stack:
        gates = make_gates(tikv, 2)
        for gate in gates:
            stack.enter_context(gate)
        yield gates


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_blocks_answer_as_redis_does_over_two_gates(
    pair: list[Gate], module_redis: RedisServer, name: str, proto: int
) -> None:
    """The dialogue's two clients are on different gates."""
    steps = [(int(step[0]), step.split()[1:]) for step in DIALOGUES[name].split(" | ")]
    told = []
    for programs in (pair, [module_redis, module_redis]):
        programs[0].cmd("FLUSHDB")
        with programs[0].client(proto=proto) as first, programs[1].client(proto=proto) as second:
            told.append([(words, (first, second)[who].raw_reply(*words)) for who, words in steps])
    assert told[0] == told[1]


WORDS = """
    SET s v|SET s v NX|SET s w XX GET|GETSET s x|GETDEL s|SETNX s 1|INCRBY s 5|INCRBYFLOAT s 0.5|APPEND s tail|STRLEN s|
    SETRANGE s 3 mid|GETRANGE s 0 -1|MSET s 1 t 2|MSETNX s 1 u 2|MGET s t u|DEL t u|EXISTS s t|EXPIRE s 100|PERSIST s|
    TYPE s|RENAME s t|RENAMENX t s|COPY s t REPLACE|HSET h f 1 g 2|HGET h f|HMGET h f x|HINCRBY h f 3|HDEL h g x|HLEN h|
    HGETALL h|HKEYS h|HSETNX h f 1|HSTRLEN h f|HSET s f v|GET h|INCR h|DEL h|SET s v KEEPTTL|SETEX s 10 v|
    GETEX s PERSIST|SETBIT s 7 1|BITCOUNT s|TOUCH s t|UNLINK t|DBSIZE|RANDOMKEY|KEYS *
""".split("|")  # noqa: SIM905 - one line for each would be fifty


@pytest.mark.parametrize("seed", range(3))
def test_commands_answer_as_redis_does(pair: list[Gate], module_redis: RedisServer, seed: int) -> None:
    """In any order, each command on either gate. Of several keys Redis gives the order of its hash table."""
    chance = random.Random(seed)
    pair[0].cmd("FLUSHDB")
    module_redis.cmd("FLUSHDB")
    with ExitStack() as stack:
        clients = [stack.enter_context(gate.client()) for gate in pair]
        redis = stack.enter_context(module_redis.client())
        for _ in range(250):
            words = chance.choice(WORDS).split()
            got, wanted = chance.choice(clients).raw_reply(*words), redis.raw_reply(*words)
            if words[0] == "RANDOMKEY":
                assert (got == b"$-1\r\n") is (wanted == b"$-1\r\n")
            elif words[0] == "KEYS":
                assert sorted(got.split(b"\r\n")) == sorted(wanted.split(b"\r\n"))
            else:
                assert got == wanted, words


@pytest.mark.parametrize("seed", range(4))
def test_a_gate_that_is_killed_leaves_blocks_whole(tikv: Cluster, seed: int) -> None:
    """Both keys of each block have one value, whatever moment the gate was killed at."""
    with ExitStack() as stack:
        doomed, other = make_gates(tikv, 2)
        stack.enter_context(other)
        stack.callback(doomed.close)
        doomed.start()
        acknowledged = _write_blocks(doomed, random.Random(seed).randint(1, 40))
        found: list[Any] = []

        def answered() -> bool:
            found[:] = [other.cmd("MGET", "Bank.Ledger:x", "Bank.Audit:y")]
            return isinstance(found[0], list)

        wait_for(answered, "the locks of the killed gate to run out")
        x, y = found[0]
        assert x == y
        assert int(x or 0) in (acknowledged, acknowledged + 1)


def _write_blocks(gate: Gate, kill_after: int) -> int:
    """How many blocks were acknowledged before the gate was killed, in the middle of one."""
    done = 0
    with gate.client() as client:
        while True:
            client.send("MULTI")
            client.send("SET", "Bank.Ledger:x", str(done + 1))
            client.send("SET", "Bank.Audit:y", str(done + 1))
            client.send("EXEC")
            if done == kill_after:
                gate.kill()
            try:
                for _ in range(3):
                    client.read()
                if client.read() == [b"OK", b"OK"]:
                    done += 1
            except (Closed, OSError):
                return done


def test_two_backends_on_one_place_are_one_store(pair: list[Gate]) -> None:
    x, y, other = "Bank.Ledger:x", "Bank.Audit:y", "Bank.Else:z"
    with pair[0].client() as client, pair[1].client() as another:
        client.cmd("FLUSHDB")
        block: list[list[Arg]] = [["MULTI"], ["SET", x, 1], ["SET", y, 2], ["MGET", y, x], ["EXEC"]]
        assert client.pipeline(block)[-1] == [b"OK", b"OK", [b"2", b"1"]]
        assert client.cmd("MSETNX", x, 5, "Bank.Audit:new", 6) == 0
        assert client.cmd("EXISTS", "Bank.Audit:new") == 0
        assert client.cmd("MSETNX", "k", 5, "Bank.Audit:new", 6) == 1
        assert client.cmd("COPY", x, "Bank.Audit:c") == 1
        assert client.cmd("RENAME", "Bank.Audit:c", "Bank.Ledger:d") == b"OK"
        assert another.cmd("MGET", "Bank.Audit:c", "Bank.Ledger:d", x, y) == [None, b"1", b"1", b"2"]
        for changed, outcome in ((x, None), (y, None), ("Bank.Audit:unwatched", [b"OK"])):
            assert client.cmd("WATCH", x, y) == b"OK"
            another.cmd("INCR", changed)
            assert client.pipeline([["MULTI"], ["SET", y, 7], ["EXEC"]])[-1] == outcome
        for first, second in ((x, other), (other, y)):
            *_, queued, end = client.pipeline([["MULTI"], ["SET", first, 1], ["SET", second, 1], ["EXEC"]])
            assert str(queued).startswith("CROSSSLOT ")
            assert str(end).startswith("EXECABORT ")
        assert str(client.ask("RENAME", y, other)).startswith("CROSSSLOT ")
        client.cmd("WATCH", x)
        assert str(client.ask("WATCH", other)).startswith("CROSSSLOT ")
        assert str(client.ask("APPEND", x, "v" * 150_000)).startswith("ERR ")
        assert client.cmd("APPEND", y, "v" * 150_000) == 150_001  # each with the limits of its own


def test_info_says_how_it_is(pair: list[Gate]) -> None:
    with pair[0].client() as client:
        client.cmd("SET", "k", "v")
        info = client.cmd("INFO", "gate")
    assert b"backend_ledger:type=tikv,status=up" in info
    assert b"write_groups=" in info
