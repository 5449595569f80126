"""Versioned keys among everything else a gate does: transactions, racing writers, listings, dumps, time that passes."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hiredis
import pytest

from tests.support.servers import Gate, wait_for
from tests.versioned.cases import NAMESPACE
from tests.versioned.gates import SCRIPTED, KindOfGate


def named(what: str) -> str:
    """A key that only this test has."""
    return f"{NAMESPACE}:{what}"


@pytest.mark.parametrize("proto", [2, 3])
def test_a_block_of_two_increments(gate: Gate, proto: int) -> None:
    key = named(f"{{block{proto}}}")
    with gate.client(proto=proto) as client:
        increments = [("EXINCRBY", key, 5), ("EXINCRBY", key, 6, "WITHVERSION")]
        told = client.pipeline([("MULTI",), *increments, ("EXGET", key), ("EXGET", key + "x"), ("EXEC",)])
        assert told[-1] == [5, [11, 2], [b"11", 2], None]


def test_an_error_in_a_block_leaves_the_rest(gate: Gate) -> None:
    key = named("error")
    with gate.client() as client:
        client.cmd("MULTI")
        client.cmd("EXSET", key, "a")
        client.cmd("EXSET", key, "b", "VER", 9)
        client.cmd("EXCAS", key, "c", 1)
        first, second, third = client.cmd("EXEC")
        assert first == b"OK"
        assert isinstance(second, hiredis.ReplyError)
        assert str(second) == "ERR update version is stale"
        assert third == [b"OK", b"", 2]


@pytest.mark.parametrize(
    ("prepare", "change"),
    [
        (("EXSET", "v"), ("EXSET", "v", "ABS", "1")),
        (("EXSET", "v"), ("EXSETVER", "5")),
        (("EXSET", "v"), ("EXGAE", "EX", "1000")),
        (("EXHSET", "f", "v"), ("EXHSET", "g", "v")),
        (("EXHSET", "f", "v"), ("EXHSETVER", "f", "5")),
        (("EXHSET", "f", "v"), ("EXHEXPIRE", "f", "1000")),
        (("EXHSET", "f", "v"), ("EXHDEL", "f")),
        (("SET", "v"), ("CAS", "v", "w")),
        (("SET", "v"), ("CAD", "v")),
    ],
)
def test_watch_sees_a_change(gate: Gate, prepare: tuple[str, ...], change: tuple[str, ...]) -> None:
    key = named("watched")
    with gate.client() as watching, gate.client() as other:
        for writes in (False, True):
            other.cmd("DEL", key)
            other.cmd(prepare[0], key, *prepare[1:])
            watching.cmd("WATCH", key)
            if writes:
                other.cmd(change[0], key, *change[1:])
            watching.cmd("MULTI")
            watching.cmd("EXISTS", key)
            assert watching.cmd("EXEC") == (None if writes else [1])


def _add(gate: Gate, key: str, times: int) -> int:
    """Add one so often, by reading and EXCAS; how often it lost."""
    lost = 0
    with gate.client() as client:
        for _ in range(times):
            value, version = client.cmd("EXGET", key)
            while (answer := client.cmd("EXCAS", key, int(value) + 1, version))[0] != b"OK":
                _, value, version = answer
                lost += 1
    return lost


def test_writers_that_race_lose_no_update(gate: Gate) -> None:
    key, writers, times = named("race"), 4, 25
    gate.cmd("EXSET", key, 0)
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(lambda _: _add(gate, key, times), range(writers)))
    assert gate.cmd("EXGET", key) == [b"%d" % (writers * times), writers * times + 1]


def _listed(client: Any, *words: str) -> set[bytes]:
    cursor, found = b"0", set[bytes]()
    while True:
        cursor, keys = client.cmd("SCAN", cursor, *words)
        found.update(keys)
        if cursor == b"0":
            return found


def test_scan_tells_the_types(gate: Gate) -> None:
    names = {kind: named(f"scan:{kind}") for kind in ("exstrtype", "tairhash-", "string", "hash")}
    with gate.client() as client:
        client.cmd("EXSET", names["exstrtype"], "v")
        client.cmd("EXHSET", names["tairhash-"], "f", "v")
        client.cmd("SET", names["string"], "v")
        client.cmd("HSET", names["hash"], "f", "v")
        for kind, name in names.items():
            assert _listed(client, "MATCH", named("scan:*"), "TYPE", kind, "COUNT", "1000") == {name.encode()}
        assert _listed(client, "MATCH", named("scan:*")) == {name.encode() for name in names.values()}


def test_only_stores_without_the_modules_need_the_setting(gate: KindOfGate) -> None:
    """In ``Bank.Plain``, which does not say ``versioned = true``."""
    key = "Bank.Plain:k"
    with gate.client() as client:
        client.cmd("DEL", key)
        if gate.kind in SCRIPTED:
            text = "ERR command 'exset' needs versioned = true in [namespaces.\"Bank.Plain\"]: the store lacks its module"
            assert client.raw_reply("EXSET", key, "v") == f"-{text}\r\n".encode()
            assert client.cmd("HSET", key, "f", "v") == 1
        else:
            assert client.cmd("EXSET", key, "v") == b"OK"
        client.cmd("SET", key, "v")
        assert client.cmd("CAS", key, "v", "w") == 1
        assert client.cmd("SET", key, "x", "IFEQ", "w") == b"OK"
        assert client.cmd("DELEX", key, "IFEQ", "x") == 1


def test_dumped_and_restored(gate: Gate) -> None:
    string, hash_ = named("{d}s"), named("{d}h")
    with gate.client() as client:
        client.cmd("EXSET", string, "v", "ABS", 7, "FLAGS", 9)
        client.cmd("EXHSET", hash_, "f", "v", "ABS", 7, "EX", 1000)
        for key in (string, hash_):
            client.cmd("RESTORE", key + "2", 0, client.cmd("DUMP", key))
        assert client.cmd("EXGET", string + "2", "WITHFLAGS") == [b"v", 7, 9]
        assert client.cmd("TYPE", string + "2") == b"exstrtype"
        assert client.cmd("EXHGETALLWITHVER", hash_ + "2") == [b"f", b"v", 7]
        assert client.cmd("TYPE", hash_ + "2") == b"tairhash-"
        assert 900 < client.cmd("EXHTTL", hash_ + "2", "f") <= 1000


def test_a_string_is_gone_at_its_time(gate: Gate) -> None:
    key = named("soon")
    with gate.client() as client:
        client.cmd("EXSET", key, "v", "PX", 60)
        wait_for(lambda: client.cmd("EXGET", key) is None, "a versioned string to expire")
        assert client.cmd("TYPE", key) == b"none"
        assert client.cmd("EXSET", key, "w", "WITHVERSION") == 1


def test_a_field_is_gone_at_its_time_for_every_command(gate: Gate) -> None:
    """Others whose expiry was taken away again stay."""
    key = named("field")
    with gate.client() as client:
        client.cmd("EXHMSET", key, "stays", "v", "kept", "w", "over", "x")
        when = int(time.time() * 1000) + 150
        for field in ("soon", "kept", "over"):
            client.cmd("EXHSET", key, field, "v", "PXAT", when)
        assert client.cmd("EXHPERSIST", key, "kept") == 1
        assert client.cmd("EXHSET", key, "over", "v") == 0
        wait_for(lambda: client.cmd("EXHTTL", key, "soon") == -3, "a field to expire")
        assert int(time.time() * 1000) >= when
        everything = client.pipeline([("EXHGETALLWITHVER", key), ("EXHGETALL", key), ("EXHKEYS", key), ("EXHVALS", key)])
        widths = zip(everything, (3, 2, 1, 1), strict=True)
        flat = [sorted(zip(*[iter(reply)] * width, strict=True)) for reply, width in widths]
        left = [(b"kept", b"v", 2), (b"over", b"v", 3), (b"stays", b"v", 1)]
        assert flat == [left, [row[:2] for row in left], [row[:1] for row in left], [(b"v",)] * 3]
        replies = client.pipeline(
            [
                ("EXHGET", key, "soon"),
                ("EXHMGET", key, "soon", "stays"),
                ("EXHGETWITHVER", key, "soon"),
                ("EXHLEN", key),
                ("EXHLEN", key, "NOEXP"),
                ("EXHEXISTS", key, "soon"),
                ("EXHSTRLEN", key, "soon"),
                ("EXHVER", key, "soon"),
                ("EXHSCAN", key, 0, "MATCH", "s*"),
                ("EXHDEL", key, "soon"),
                ("EXHSETVER", key, "soon", 5),
                ("EXHPERSIST", key, "soon"),
                ("EXHSET", key, "soon", "v", "XX"),
                ("EXHINCRBY", key, "soon", 1),
                ("EXHVER", key, "soon"),
            ]
        )
    assert replies == [None, [None, b"v"], None, 3, 3, 0, 0, -2, [b"0", [b"stays", b"v"]], 0, 0, 0, -1, 1, 1]


def test_a_hash_is_gone_with_its_last_field(gate: Gate) -> None:
    """On Redis at the latest after the sweep."""
    key = named("last")
    with gate.client() as client:
        client.cmd("EXHSET", key, "f", "v", "PX", 60)
        client.cmd("EXHSET", key, "g", "v", "PX", 90)
        wait_for(lambda: client.cmd("EXHLEN", key) == 0, "all fields to expire")
        wait_for(lambda: client.cmd("EXISTS", key) == 0, "the hash to be gone", 20.0)
        assert client.cmd("TYPE", key) == b"none"
        assert client.cmd("EXHSET", key, "f", "v") == 1
        assert client.cmd("EXHVER", key, "f") == 1


def test_a_big_hash_keeps_versions_and_expiries(gate: Gate) -> None:
    """Of a thousand fields a third has an expiry far away, a third one that passes."""
    key, far = named("big"), 33177117420000
    with gate.client() as client:
        soon = int(time.time() * 1000) + 600
        for at in range(1000):
            expiry: list[Any] = [[], ["PXAT", far], ["PXAT", soon]][at % 3]
            client.send("EXHSET", key, f"field{at}", "x" * 20, "ABS", at + 1, *expiry)
        assert [client.read() for _ in range(1000)] == [1] * 1000
        wait_for(lambda: client.cmd("EXHLEN", key) == 667, "a third of the fields to expire")
        told = client.cmd("EXHGETALLWITHVER", key)
        left = {(b"field%d" % at, at + 1) for at in range(1000) if at % 3 != 2}
        assert set(zip(told[::3], told[2::3], strict=True)) == left
        cursor, seen = b"0", list[bytes]()
        while True:
            cursor, page = client.cmd("EXHSCAN", key, cursor, "COUNT", 100)
            seen += page[::2]
            if cursor == b"0":
                break
        assert set(seen) == {name for name, _ in left}
        assert client.cmd("EXHPTTL", key, "field1") > far - time.time() * 1000 - 60_000
        assert client.cmd("EXHTTL", key, "field0") == -1
        assert client.cmd("EXHDEL", key, *(f"field{at}" for at in range(1000))) == 667
        # What has expired and is not swept yet may keep a big hash in being a little longer (docs/keyspace.md)
        wait_for(lambda: client.cmd("EXISTS", key) == 0, "the hash to be gone", 20.0)
