"""MULTI, EXEC, WATCH on the embedded store, beside a real Redis; and that a block is one change, killed or not."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Gate, Gates, RedisServer, wait_for


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


DIALOGUES = {
    "a block": "0 MULTI | 0 SET a 1 | 0 INCR a | 0 GET a | 0 EXEC",
    "nothing queued": "0 MULTI | 0 EXEC",
    "an error inside does not undo the rest": "0 MULTI | 0 SET a x | 0 INCR a | 0 SET b y | 0 EXEC | 0 MGET a b",
    "a refused command aborts": "0 MULTI | 0 SET a 1 | 0 SET a | 0 NOSUCH | 0 EXEC | 0 GET a",
    "discard": "0 MULTI | 0 SET a 1 | 0 DISCARD | 0 GET a | 0 EXEC | 0 DISCARD",
    "nested": "0 MULTI | 0 MULTI | 0 SET a 1 | 0 EXEC",
    "commands without keys": "0 MULTI | 0 PING | 0 SET a 1 | 0 ECHO e | 0 EXEC",
    "watch, untouched": "0 SET a 1 | 0 WATCH a b | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, written by another": "0 SET a 1 | 0 WATCH a | 1 SET a 1 | 0 MULTI | 0 SET a 2 | 0 EXEC | 0 GET a",
    "watch, written by itself": "0 WATCH a | 0 SET a 1 | 0 MULTI | 0 GET a | 0 EXEC",
    "watch of a missing key that is made": "0 WATCH a | 1 SET a 1 | 0 MULTI | 0 PING | 0 GET a | 0 EXEC",
    "watch, made, seen, and gone again": "0 WATCH a | 1 SET a 1 | 0 GET a | 1 DEL a | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, missing still": "0 WATCH a b | 0 GET a | 0 MGET a b | 0 EXISTS a | 0 MULTI | 0 SET a 1 | 0 EXEC",
    "watch, made and removed by itself": "0 WATCH a | 0 SET a 1 | 0 DEL a | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, missing, wrong commands": "0 WATCH a | 0 SET a 1 NOSUCH | 0 HGET a f | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, deleted": "0 SET a 1 | 0 WATCH a | 1 DEL a | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, made anew with the same value": "0 SET a 1 | 0 WATCH a | 1 DEL a | 1 SET a 1 | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, only its expiry": "0 SET a 1 | 0 WATCH a | 1 EXPIRE a 100 | 0 MULTI | 0 GET a | 0 EXEC",
    "watch, flushed": "0 SET a 1 | 0 WATCH a | 1 FLUSHDB | 0 MULTI | 0 GET a | 0 EXEC",
    "unwatch": "0 SET a 1 | 0 WATCH a | 1 SET a 2 | 0 UNWATCH | 0 MULTI | 0 GET a | 0 EXEC",
    "discard unwatches": "0 WATCH a | 0 MULTI | 0 DISCARD | 1 SET a 2 | 0 MULTI | 0 GET a | 0 EXEC",
    "watch inside multi": "0 MULTI | 0 WATCH a | 0 SET a 1 | 0 EXEC",
    "another key does not matter": "0 WATCH a | 1 SET b 1 | 0 MULTI | 0 GET b | 0 EXEC",
    "EXEC with an argument": "0 EXEC a | 0 MULTI | 0 SET a 1 | 0 EXEC a | 0 EXEC | 0 DISCARD | 0 GET a",
    "EXEC with an argument unwatches": "0 WATCH a | 0 EXEC a | 1 SET a 1 | 0 MULTI | 0 GET a | 0 EXEC",
    **{
        f"watch, {change}": f"0 MSET a abc i 5 | 0 HSET h f 1 | 0 WATCH a i h n | 1 {change} | 0 MULTI | 0 GET a | 0 EXEC"
        for change in (
            *("SETBIT a 0 0", "SETBIT a 1 0", "SETBIT a 9 1", "SETBIT a 100 0", "SETBIT n 3 0"),
            *("BITFIELD a SET u8 0 97", "BITFIELD a SET u8 0 98 SET u8 0 97", "BITFIELD a INCRBY u8 0 0"),
            *("BITFIELD n SET u8 0 0", "BITFIELD a SET u8 200 0", "BITFIELD a OVERFLOW FAIL INCRBY u8 0 255"),
            *("BITFIELD a GET u8 200", "SETRANGE n 0 x"),
            *("SETRANGE a 0 a", "SETRANGE a 9 x", "SET a abc", "GETSET a abc", "INCRBY i 0", "HSET h f 1", "HINCRBY h f 0"),
            *("HSETNX h f 2", "HDEL h g", "SETNX a x", "MSETNX a x", "PERSIST a", "GETEX a PERSIST", "COPY a b", "RENAME a a"),
            *("BITOP AND a a", "EXPIRE a -1 XX", "DEL n", "GETDEL n"),
        )
    },
    "reset forgets": "0 WATCH a | 0 MULTI | 0 RESET | 0 GET a | 0 EXEC",
}
"""Steps of two clients, 0 and 1."""


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_the_same_answers_as_redis(gate: Gate, module_redis: RedisServer, name: str, proto: int) -> None:
    steps = [(int(step[0]), step.split()[1:]) for step in DIALOGUES[name].split(" | ")]
    told = []
    for program in (gate, module_redis):
        program.cmd("FLUSHDB")
        with program.client(proto=proto) as first, program.client(proto=proto) as second:
            told.append([(words, (first, second)[who].raw_reply(*words)) for who, words in steps])
    assert told[0] == told[1]


def test_an_expiry_that_passes_is_a_change(gate: Gate) -> None:
    with gate.client() as client:
        client.cmd("SET", "soon", "1", "PX", "30")
        client.cmd("WATCH", "soon")
        wait_for(lambda: gate.cmd("EXISTS", "soon") == 0, "the key to expire")
        client.cmd("MULTI")
        client.cmd("SET", "other", "1")
        assert client.cmd("EXEC") is None


def test_transfers_between_accounts_lose_nothing_over_two_workers(gates: Gates) -> None:
    gate = gates(arguments=["--workers", "2"])
    accounts = [f"account{n}" for n in range(4)]
    for name in accounts:
        gate.cmd("SET", name, "100")
    clients = [gate.client() for _ in range(4)]
    done = 0
    try:
        for turn in range(60):
            client, giver, taker = clients[turn % 4], accounts[turn % 4], accounts[(turn + 1 + turn // 4) % 4]
            if giver == taker:
                continue
            client.cmd("WATCH", giver, taker)
            client.cmd("GET", giver)
            if turn % 3 == 0:
                clients[(turn + 1) % 4].cmd("INCRBY", giver, "0")  # a write, though of nothing
            client.cmd("MULTI")
            client.cmd("DECRBY", giver, "7")
            client.cmd("INCRBY", taker, "7")
            replies = client.cmd("EXEC")
            assert (replies is None) == (turn % 3 == 0)
            done += replies is not None
            assert sum(map(int, clients[(turn + 2) % 4].cmd("MGET", *accounts))) == 400
    finally:
        for client in clients:
            client.close()
    assert done > 20


def test_a_block_is_there_as_a_whole_or_not_at_all_after_sigkill(gates: Gates) -> None:
    gate = gates()
    for _ in range(5):
        acknowledged = int(gate.cmd("GET", "n0") or 0)
        with gate.client() as client:
            block = [("MULTI",), *(("INCR", f"n{k}") for k in range(20)), ("EXEC",)]
            for _ in range(30):
                for words in block:
                    client.send(*words)
            for _ in range(10 * len(block)):
                client.read_one()
            acknowledged += 10
            gate.kill()
        gate.start()
        gate.wait_ready()
        values = {int(value) for value in gate.cmd("MGET", *(f"n{k}" for k in range(20)))}
        assert len(values) == 1, f"blocks were torn: {values}"
        assert values.pop() >= acknowledged


def test_namespaces_of_one_store_share_a_block_and_others_do_not(gates: Gates, redis_server: RedisServer) -> None:
    gate = gates(
        '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n'
        f'[backends.cache]\ntype = "redis"\nurl = "{redis_server.url}"\n'
        '[namespaces]\n"A.x" = "local"\n"B.x" = "local"\n"C.x" = "cache"\n'
    )
    with gate.client() as client:
        client.cmd("MULTI")
        client.cmd("SET", "A.x:1", "a")
        client.cmd("SET", "B.x:1", "b")
        assert client.cmd("EXEC") == [b"OK", b"OK"]
        client.cmd("MULTI")
        client.cmd("SET", "A.x:1", "c")
        assert client.raw_reply("SET", "C.x:1", "c").startswith(b"-CROSSSLOT")
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")
        assert client.cmd("GET", "A.x:1") == b"a"
        client.cmd("WATCH", "A.x:1")
        assert client.raw_reply("WATCH", "C.x:1").startswith(b"-CROSSSLOT")
