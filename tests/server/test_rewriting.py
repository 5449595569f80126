"""Commands that a Redis lacks, over real stores: what is sent in their place, in which order, and what stays hidden.

What the commands answer is in tests/versioned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest
import trio

from kvgate.wire.reply import decode
from tests.lane.stores import ScriptedStore
from tests.support.resp import Resp, frame
from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

RENAMED = {"EVAL": "ev", "HSET": "hs", "HRANDFIELD": "hr'f", "GET": "ge"}
CONFIG = """
[backends.plain]
type = "redis"
url = "{plain}"
[backends.renamed]
type = "redis"
url = "{renamed}"
rename = {{ EVAL = "ev", HSET = "hs", HRANDFIELD = "hr'f", GET = "ge" }}  # as in RENAMED
[backends.resp2]
type = "redis"
url = "{plain}?db=1"
resp3 = false
[namespaces."Bank.Stock"]
backend = "plain"
versioned = true
[namespaces."Bank.Renamed"]
backend = "renamed"
versioned = true
[namespaces."Bank.Resp2"]
backend = "resp2"
versioned = true
[namespaces."Bank.Plain"]
backend = "plain"
"""


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    with RedisServer(config=["--rename-command", "COMMAND", ""]) as store:  # so it cannot be asked what it has
        yield store


@pytest.fixture(scope="module")
def gate(store: RedisServer) -> Iterator[Gate]:
    names = [word for pair in RENAMED.items() for word in ("--rename-command", *pair)]
    with (
        RedisServer(config=[*names, "--rename-command", "COMMAND", ""]) as renamed,
        Gate(CONFIG.format(plain=store.url, renamed=renamed.url)) as gate,
    ):
        yield gate


@contextmanager
def monitored(store: RedisServer) -> Iterator["Monitor"]:
    with store.client() as watching, store.client() as marking:
        watching.cmd("MONITOR")
        yield Monitor(watching, marking)


class Monitor:
    """What a store was sent, with whatever its scripts did left out."""

    def __init__(self, watching: Resp, marking: Resp) -> None:
        self.watching = watching
        self.marking = marking

    def names(self, key: str) -> list[str]:
        """The commands since the last call that have the key, or a part of it, in them."""
        self.marking.cmd("ECHO", "the end")
        found: list[str] = []
        while True:
            line = self.watching.read_one().decode("latin-1")
            if '"the end"' in line:
                return found
            if key in line and " lua]" not in line:
                found.append(line.split('"')[1].upper())


COMMANDS = [
    ("EXSET", "@", "5"),
    ("EXSET", "@", "5", "EX", "100", "FLAGS", "3", "VER", "1"),
    ("EXINCRBY", "@", "1", "MAX", "100"),
    ("EXINCRBYFLOAT", "@", "0.5"),
    ("EXCAS", "@", "7", "4"),
    ("EXAPPEND", "@", "0"),
    ("EXSETVER", "@", "9"),
    ("EXGAE", "@", "EX", "100"),
    ("EXCAD", "@", "9"),
    ("EXHSET", "@", "f", "1", "EX", "100"),
    ("EXHMSET", "@", "f", "1", "g", "2"),
    ("EXHINCRBY", "@", "f", "1"),
    ("EXHGET", "@", "f"),
    ("EXHGETALL", "@"),
    ("EXHLEN", "@"),
    ("EXHDEL", "@", "f"),
]


def test_one_request_for_each_command(gate: Gate, store: RedisServer) -> None:
    key = "Bank.Stock:one"
    with monitored(store) as monitor, gate.client() as client:
        for _ in range(2):  # the second time the lane knows the commands
            client.cmd("DEL", key)
            monitor.names(key)
            for command in COMMANDS:
                assert not isinstance(client.ask(*[key if word == "@" else word for word in command]), hiredis.ReplyError)
                assert monitor.names(key) == ["EVAL"], command
            for words in ((), ("WITHFLAGS",)):
                client.cmd("EXGET", key + "x", *words)
                client.cmd("EXSET", key + "x", "5")
                client.cmd("EXGET", key + "x", *words)
                assert monitor.names(key) == ["HRANDFIELD", "EVAL", "HRANDFIELD"]
                client.cmd("DEL", key + "x")
                assert monitor.names(key) == ["DEL"]
        client.cmd("SET", key + "s", "v")
        assert client.cmd("CAS", key + "s", "v", "w") == 1
        assert client.cmd("SET", key + "s", "x", "IFEQ", "w") == b"OK"
        assert monitor.names(key + "s") == ["SET", "EVAL", "EVAL"]


def test_a_store_that_forgot_its_scripts(gate: Gate, store: RedisServer) -> None:
    key = "Bank.Stock:flushed"
    commands = [("EXINCRBY", key, 1), ("EXINCRBY", key, 1, "WITHVERSION"), ("EXCAS", key, 5, 2), ("EXGET", key)]
    expected: list[Any] = [1, [2, 2], [b"OK", b"", 3], [b"5", 3]]
    with gate.client() as client:
        for block in (False, True):
            client.cmd("DEL", key)
            store.cmd("SCRIPT", "FLUSH")
            told = client.pipeline([("MULTI",), *commands, ("EXEC",)])[-1] if block else client.pipeline(commands)
            assert told == expected


def test_a_store_that_was_restarted(gate: Gate, store: RedisServer) -> None:
    key = "Bank.Stock:restarted"
    with gate.client() as client, gate.client() as other:
        client.cmd("EXSET", key, "1")
        store.restart()
        wait_for(lambda: not isinstance(client.ask("EXISTS", key), hiredis.ReplyError), "the gate connects again")
        assert other.pipeline([("MULTI",), ("EXINCRBY", key, 1), ("EXINCRBY", key, 1), ("EXEC",)])[-1] == [1, 2]
        assert client.pipeline([("EXSET", key, "9"), ("EXGET", key)]) == [b"OK", [b"9", 3]]


@pytest.mark.parametrize("namespace", ["Bank.Stock", "Bank.Resp2", "Bank.Renamed"])
@pytest.mark.parametrize("proto", [2, 3])
def test_requests_keep_their_order(gate: Gate, namespace: str, proto: int) -> None:
    """What is passed on and what is rewritten, in one pipeline, before the lane knows the commands and after."""
    commands: list[tuple[Any, ...]] = []
    expected: list[Any] = []
    for number in range(40):
        key = f"{namespace}:order:{proto}:{number}"
        commands += [("DEL", key), ("EXSET", key, number), ("EXGET", key), ("EXGET", key, "withflags"), ("EXPIRE", key, 100)]
        expected += [0, b"OK", [b"%d" % number, 1], [b"%d" % number, 1, 0], 1]
        commands += [("TYPE", key), ("HLEN", key), ("UNLINK", key), ("HSET", key, "f", number), ("HGETALL", key)]
        expected += [b"exstrtype", "WRONGTYPE", 1, 1, {b"f": b"%d" % number} if proto == 3 else [b"f", b"%d" % number]]
        commands += [("EXGET", key), ("DEL", key), ("EXHSET", key, "f", number, "ABS", 2**62), ("EXHGETWITHVER", key, "f")]
        expected += ["WRONGTYPE", 1, 1, [b"%d" % number, 2**62]]
        commands += [("EXHGET", key, "x"), ("EXHGET", key, "f"), ("HGET", key, "f")]
        expected += [None, b"%d" % number, "WRONGTYPE"]
    with gate.client(proto=proto) as client:
        for _ in range(2):
            told = [str(reply)[:9] if isinstance(reply, hiredis.ReplyError) else reply for reply in client.pipeline(commands)]
            assert told == expected
            client.cmd("DEL", *{command[1] for command in commands})


@pytest.mark.parametrize("namespace", ["Bank.Stock", "Bank.Resp2"])
@pytest.mark.parametrize("proto", [2, 3])
def test_between_watch_and_exec(gate: Gate, namespace: str, proto: int) -> None:
    """On the connection that watches."""
    key = f"{namespace}:{{watched}}{proto}"
    with gate.client(proto=proto) as client, gate.client() as other:
        client.pipeline([("DEL", key, key + "h"), ("EXSET", key, "1"), ("HSET", key + "h", "f", "v"), ("WATCH", key)])
        assert client.cmd("EXGET", key) == [b"1", 1]
        assert client.cmd("EXGET", key + "x") is None
        assert client.cmd("HGETALL", key + "h") == ({b"f": b"v"} if proto == 3 else [b"f", b"v"])
        assert str(client.ask("EXSET", key, "v", "EX")) == "ERR syntax error"
        block = [("MULTI",), ("EXINCRBY", key, 2**60), ("EXSET", key, "2", "VER"), ("EXGET", key), ("EXEC",)]
        first, second, third = client.pipeline(block)[-1]
        assert (first, str(second), third) == (2**60 + 1, "ERR syntax error", [b"%d" % (2**60 + 1), 2])
        client.cmd("WATCH", key)
        other.cmd("EXSETVER", key, 7)
        assert client.pipeline([("MULTI",), ("EXCAS", key, "3", 2), ("EXEC",)])[-1] is None


def test_ifeq_is_seen_behind_options_that_are_known(gate: Gate, store: RedisServer) -> None:
    key = "Bank.Plain:ifeq"
    tricky = b"a\r\n$4\r\nIFEQ\r\n$1\r\nb"
    with monitored(store) as monitor, gate.client() as client:
        expiring: list[tuple[str | int, ...]] = [("SET", key, "v", "EX", 100), ("SET", key, "v", "EXAT", 33177117420)]
        expiring.append(("SET", key, "v", "NX", "GET"))
        client.pipeline(expiring * 2)
        told = client.pipeline([*expiring, ("SET", key, "w", "IfEq", "v"), ("SET", key, "x", "IFEQ", "v"), ("GET", key)])
        assert told == [b"OK", b"OK", b"v", b"OK", None, b"w"]
        assert monitor.names(key) == ["SET"] * 9 + ["EVAL", "EVAL", "GET"]
        assert client.pipeline([("SET", key, tricky, "EX", 100), ("GET", key), ("TTL", key)]) == [b"OK", tricky, 100]
        assert client.cmd("SET", key, "y", "GET", "IFEQ", tricky, "EX", "50") == tricky
        assert client.cmd("TTL", key) == 50
        for wrong in (("IFEQ",), ("IFEQ", "y", "NX"), ("XX", "IFEQ", "y"), ("IFEQ", "y", "EX", "x"), ("IFEQ", "y", "JUNK")):
            assert isinstance(client.ask("SET", key, "z", *wrong), hiredis.ReplyError)
        assert client.cmd("GET", key) == b"y"


def test_plain_hashes_beside_versioned_keys(gate: Gate) -> None:
    key = "Bank.Stock:plain"
    fields = [f"field{number}" for number in range(7000)]  # more than Lua hands on at once
    with gate.client() as client, gate.client(proto=3) as resp3:
        client.cmd("DEL", key)
        assert client.cmd("HSET", key, *(word for field in fields for word in (field, field[5:]))) == 7000
        assert client.cmd("HMGET", key, *fields, "none") == [*(field[5:].encode() for field in fields), None]
        assert client.cmd("HMSET", key, *(word for field in fields for word in (field, "1"))) == b"OK"
        assert client.cmd("HDEL", key, *fields[1:], "none") == 6999
        assert client.cmd("HINCRBY", key, "field0", 2**53) == 2**53 + 1
        assert client.cmd("HINCRBYFLOAT", key, "field0", "0.5") == b"9007199254740993.5"
        assert resp3.cmd("HGETALL", key) == {b"field0": b"9007199254740993.5"}
        assert resp3.cmd("HGET", key, "none") is None
        assert resp3.raw_reply("HRANDFIELD", key, 1, "WITHVALUES").startswith(b"*1\r\n*2\r\n")
        reserved = b"-ERR names of fields that begin with \\x00kvgate: are the gate's own\r\n"
        assert client.raw_reply("HSET", key, b"\x00kvgate:n", "1") == reserved
        assert client.raw_reply("EXHSET", key, b"\x00kvgate:h", "1") == reserved
        assert client.cmd("HSET", key, "f", b"\x00kvgate:n") == 1  # a value may be anything
        assert client.cmd("OBJECT", "ENCODING", key) in (b"listpack", b"hashtable")
        assert client.cmd("RENAME", key, key + "2") == b"OK"
        assert client.cmd("COPY", key + "2", key) == 1


def test_fields_are_swept(gate: Gate, store: RedisServer) -> None:
    gone, stays, renamed = "Bank.Stock:{s}gone", "Bank.Stock:{s}stays", "Bank.Stock:{s}renamed"
    with gate.client() as client:
        client.cmd("EXHSET", gone, "f", "v", "PX", 300)
        client.cmd("EXHMSET", stays, "a", "1", "b", "2")
        client.cmd("EXHPEXPIRE", stays, "a", 300)
        client.cmd("EXHSET", renamed + "0", "f", "v", "PX", 300)
        client.cmd("RENAME", renamed + "0", renamed)
        assert client.cmd("EXHTTL", gone, "f") == 0
        wait_for(lambda: store.cmd("EXISTS", gone, renamed) == 0, "hashes without living fields are gone")
        assert client.cmd("EXHGETALL", stays) == [b"b", b"2"]
        wait_for(lambda: store.cmd("HLEN", stays) == 2, "the expired field is removed")  # and there is the mark
        wait_for(lambda: not store.cmd("KEYS", "*x:*{s}*"), "nothing is left beside them")
        assert store.cmd("ZCARD", b"\x00kvgate:x") == 0


def test_what_is_the_gates_own_is_hidden(gate: Gate, store: RedisServer) -> None:
    with gate.client() as client:
        store.cmd("FLUSHALL")
        client.cmd("EXHSET", "Bank.Stock:hidden", "f", "v", "EX", 1000)
        client.cmd("EXSET", "Bank.Stock:hidden2", "v")
        wait_for(lambda: store.cmd("EXISTS", b"\x00kvgate:sweeper") == 1, "it is swept")
        assert store.cmd("DBSIZE") > 2
        assert client.cmd("DBSIZE") == 2
        assert sorted(client.cmd("KEYS", "*")) == [b"Bank.Stock:hidden", b"Bank.Stock:hidden2"]
        client.cmd("FLUSHDB")
        assert client.cmd("DBSIZE") == 0


WRITES = [
    ("EXSET", "@s", "v"),
    ("EXINCRBY", "@s", "1"),
    ("EXINCRBYFLOAT", "@s", "1"),
    ("EXHSET", "@h", "f", "v"),
    ("EXHINCRBY", "@h", "f", "1"),
    ("HSET", "@p", "f", "v"),
    ("HINCRBY", "@p", "f", "1"),
]


def refused(client: Resp, key: str) -> set[bytes]:
    """What SET and `WRITES` are answered."""
    commands = [("SET", key, "v"), *WRITES]
    client.send_raw(b"".join(frame(*[word.replace("@", key) for word in command]) for command in commands))
    return {client.read_one() for _ in commands}


def test_a_store_that_refuses_writes_does_so_in_its_own_words(gate: Gate, store: RedisServer) -> None:
    key = "Bank.Stock:{refused}"
    with gate.client() as client:
        client.pipeline([("EXSET", key + "s", "1"), ("EXHSET", key + "h", "f", "1"), ("HSET", key + "p", "f", "1")])
        store.cmd("CONFIG", "SET", "maxmemory", "1")
        try:
            assert refused(client, key) == {b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"}
        finally:
            store.cmd("CONFIG", "SET", "maxmemory", "0")
        store.cmd("REPLICAOF", "127.0.0.1", "1")
        try:
            assert {told[:9] for told in refused(client, key)} == {b"-TRYAGAIN"}
        finally:
            store.cmd("REPLICAOF", "NO", "ONE")
        wait_for(lambda: client.ask("SET", key, "v") == b"OK", "the gate connects again")
        assert client.pipeline([("EXGET", key + "s"), ("EXHGETALLWITHVER", key + "h")]) == [[b"1", 1], [b"f", b"1", 1]]


def test_replies_that_are_not_wanted(gate: Gate) -> None:
    key = "Bank.Stock:quiet"
    with gate.client() as client:
        client.send_raw(frame("CLIENT", "REPLY", "SKIP") + frame("EXSET", key, "v") + frame("EXGET", key))
        assert decode(client.read_one()) == [b"v", 1]


def test_the_setting_is_reloaded(store: RedisServer) -> None:
    key = "App.T:k"
    config = f'[backends.a]\ntype = "redis"\nurl = "{store.url}"\n[namespaces."App.T"]\nbackend = "a"\n'
    with Gate(config) as gate, gate.client() as client:
        client.cmd("DEL", key)
        for _ in range(2):
            assert client.pipeline([("HSET", key, "f", "v"), ("HGET", key, "f"), ("TYPE", key)])[1:] == [b"v", b"hash"]
        needs = b"-ERR command 'exset' needs versioned = true in [namespaces.\"App.T\"]: the store lacks its module\r\n"
        assert client.raw_reply("EXSET", key, "v") == needs
        gate.write_config(config + "versioned = true\n")
        assert client.cmd("GATE", "RELOAD") == b"OK"
        told = client.pipeline([("HGET", key, "f"), ("DEL", key), ("EXSET", key, "v"), ("TYPE", key), ("HGET", key, "f")])
        assert told[:-1] == [b"v", 1, b"OK", b"exstrtype"]
        assert str(told[-1]).startswith("WRONGTYPE")


async def test_a_store_with_the_modules_gets_the_clients_bytes() -> None:
    """In a namespace that says nothing of versions, too."""
    names = [b"exset", b"exhset", b"cas", b"cad"]
    rows = b"".join(b"*1\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names)

    def answer(args: list[bytes]) -> bytes:
        if args[0] == b"COMMAND":
            return b"*6\r\n" + rows + b"*-1\r\n*-1\r\n"
        return b"*2\r\n$1\r\nv\r\n:7\r\n" if args[0].upper() == b"EXGET" else b"+OK\r\n"

    scripted = ScriptedStore(answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(scripted.run)
        config = f'[backends.a]\ntype = "redis"\nurl = "redis://127.0.0.1:{scripted.port}"\n[namespaces]\ndefault = "a"\n'
        with trio.fail_after(30):
            await trio.to_thread.run_sync(_speak, config)
        nursery.cancel_scope.cancel()
    sent = [args for args in scripted.commands if b"k" in args]
    assert sent == [[b"exset", b"k", b"v"], [b"EXGET", b"k"], [b"EXGET", b"k"], [b"HSET", b"k", b"f", b"v"]]


def _speak(config: str) -> None:
    with Gate(config) as gate, gate.client() as client:
        told = client.pipeline([("exset", "k", "v"), ("EXGET", "k"), ("EXGET", "k"), ("HSET", "k", "f", "v")])
        assert told == [b"OK", [b"v", 7], [b"v", 7], b"OK"]
