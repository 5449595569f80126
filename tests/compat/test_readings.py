"""What counts as the same reply, and what does not."""

import io
from collections.abc import Sequence
from typing import Any

import pytest

from kvgate.commands.table import by_full_name
from kvgate_compat.connection import Connection, Ended, Node
from kvgate_compat.readings import READINGS, Near, read, same


def node(raw: bytes) -> Node:
    connection = Connection.__new__(Connection)
    connection._file = io.BytesIO(raw)
    found = connection._read()
    assert connection._file.read() == b""
    assert found.raw == raw
    return found


def bulks(*texts: bytes, kind: bytes = b"*") -> bytes:
    return b"%b%d\r\n" % (kind, len(texts) // (2 if kind == b"%" else 1)) + b"".join(
        b"$%d\r\n%b\r\n" % (len(text), text) for text in texts
    )


def never(args: Sequence[bytes]) -> Node:
    raise AssertionError(args)


def reading(name: str, raw: bytes, args: Sequence[bytes] = (), ask: Any = never) -> object:
    return read(name, ask, args, node(raw))


def test_all_of_resp_is_read() -> None:
    for raw in (
        *(b"+OK\r\n", b"-ERR x\r\n", b":-1\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$3\r\na\r\n\r\n"),
        *(b"*-1\r\n", b"*0\r\n", b"_\r\n"),
        *(b",1.5\r\n", b"#t\r\n", b"(123\r\n", b"=7\r\ntxt:abc\r\n", b"%1\r\n+a\r\n*2\r\n:1\r\n_\r\n", b"~1\r\n$1\r\na\r\n"),
    ):
        assert node(raw).raw == raw
    assert [node(raw).kind for raw in (b"$-1\r\n", b"*-1\r\n", b"_\r\n")] == [b"_"] * 3


@pytest.mark.parametrize("raw", [b"$x\r\n", b"*\r\n", b"%1.5\r\n", b"hello\r\n"])
def test_what_is_no_reply(raw: bytes) -> None:
    with pytest.raises(Ended, match="no RESP reply"):
        node(raw)


@pytest.mark.parametrize(
    ("name", "raw", "args"),
    [
        ("TTL", b":x\r\n", ()),
        ("HRANDFIELD", b"*1\r\n$1\r\na\r\n", (b"HRANDFIELD",)),
        ("SCAN", b"*2\r\n$1\r\n7\r\n*0\r\n", ()),
    ],
)
def test_what_redis_would_never_answer_counts_as_it_is(name: str, raw: bytes, args: Sequence[bytes]) -> None:
    assert reading(name, raw, args) == raw


def test_replies_count_exactly() -> None:
    assert not same(reading("GET", b"$-1\r\n"), reading("GET", b"*-1\r\n")), "nulls are of different types"
    assert not same(reading("GET", b"$1\r\n1\r\n"), reading("GET", b":1\r\n"))
    assert not same(reading("MGET", bulks(b"a", b"b")), reading("MGET", bulks(b"b", b"a"))), "an ordered array"
    assert not same(reading("TTL", b"-ERR a\r\n"), reading("TTL", b"-ERR b\r\n"))
    assert same(
        reading("SETRANGE", b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"),
        reading("SETRANGE", b"-ERR string exceeds maximum allowed size (max_value)\r\n"),
    )


def test_times_are_near() -> None:
    assert same(reading("PTTL", b":10000\r\n"), reading("PTTL", b":14999\r\n"))
    assert not same(reading("PTTL", b":10000\r\n"), reading("PTTL", b":15001\r\n"))
    assert same(reading("TTL", b":0\r\n"), reading("TTL", b":1\r\n")), "on two sides of half a second"
    assert not same(reading("TTL", b":-2\r\n"), reading("TTL", b":1\r\n"))
    assert not same(reading("TTL", b":10\r\n"), reading("TTL", b":16\r\n"))
    assert not same(reading("TTL", b":-1\r\n"), reading("TTL", b":1\r\n"))
    assert not same(reading("TTL", b":-1\r\n"), reading("TTL", b":-2\r\n"))
    assert same((1, Near(5, 1)), (1, Near(6, 1)))
    assert not same((1, Near(5, 1)), (1,))


def test_listings_have_no_order() -> None:
    assert same(reading("KEYS", bulks(b"a", b"b")), reading("KEYS", bulks(b"b", b"a")))
    assert not same(reading("KEYS", bulks(b"a", b"b")), reading("KEYS", bulks(b"a", b"b", b"b")))
    assert not same(reading("SMEMBERS", bulks(b"a", kind=b"~")), reading("SMEMBERS", bulks(b"a"))), "set or array"


@pytest.mark.parametrize("kind", [b"*", b"%"])
def test_pairs_stay_together(kind: bytes) -> None:
    one = reading("HGETALL", bulks(b"a", b"1", b"b", b"2", kind=kind))
    assert same(one, reading("HGETALL", bulks(b"b", b"2", b"a", b"1", kind=kind)))
    assert not same(one, reading("HGETALL", bulks(b"b", b"1", b"a", b"2", kind=kind)))


def hash_of(*texts: bytes) -> Any:
    return lambda args: node(bulks(*texts)) if args[0] == b"HGETALL" else never(args)


def test_random_fields_are_fields() -> None:
    ask = hash_of(b"a", b"1", b"b", b"2", b"c", b"3")

    def fields(raw: bytes, *args: bytes) -> object:
        return reading("HRANDFIELD", raw, (b"HRANDFIELD", b"h", *args), ask)

    assert same(fields(b"$1\r\na\r\n"), fields(b"$1\r\nb\r\n"))
    assert not same(fields(b"$1\r\na\r\n"), fields(b"$1\r\nx\r\n"))
    assert not same(fields(b"$1\r\na\r\n"), fields(b"$-1\r\n"))
    assert same(fields(bulks(b"a", b"b"), b"2"), fields(bulks(b"c", b"a"), b"2"))
    assert not same(fields(bulks(b"a", b"b"), b"2"), fields(bulks(b"a", b"a"), b"2")), "twice the same"
    assert same(fields(bulks(b"a", b"b"), b"-2"), fields(bulks(b"a", b"a"), b"-2"))
    assert not same(fields(bulks(b"a", b"b"), b"2"), fields(bulks(b"a"), b"2"))
    assert not same(fields(bulks(b"a", b"b"), b"2"), fields(bulks(b"a", b"x"), b"2"))
    values = b"WITHVALUES"
    assert same(fields(bulks(b"a", b"1"), b"1", values), fields(bulks(b"b", b"2"), b"1", values))
    assert not same(fields(bulks(b"a", b"1"), b"1", values), fields(bulks(b"b", b"1"), b"1", values)), "another's value"
    nested = b"*1\r\n" + bulks(b"a", b"1")
    assert not same(fields(nested, b"1", values), fields(bulks(b"a", b"1"), b"1", values)), "RESP3 nests, RESP2 does not"


def test_a_random_key_exists() -> None:
    def key(raw: bytes, exists: bytes) -> object:
        return reading("RANDOMKEY", raw, (b"RANDOMKEY",), lambda _args: node(b":%b\r\n" % exists))

    assert same(key(b"$1\r\na\r\n", b"1"), key(b"$1\r\nb\r\n", b"1"))
    assert not same(key(b"$1\r\na\r\n", b"0"), key(b"$1\r\nb\r\n", b"1"))
    assert not same(key(b"$-1\r\n", b"0"), key(b"$1\r\nb\r\n", b"1"))


def page(cursor: bytes, *texts: bytes) -> bytes:
    return b"*2\r\n$%d\r\n%b\r\n" % (len(cursor), cursor) + bulks(*texts)


def test_walks_are_compared_as_a_whole() -> None:
    def walk(name: str, first: bytes, *more: bytes) -> object:
        pages = iter(more)
        args = (b"SCAN", b"0", b"COUNT", b"1") if name == "SCAN" else (b"HSCAN", b"h", b"0")
        return reading(name, first, args, lambda _args: node(next(pages)))

    whole = walk("SCAN", page(b"0", b"a", b"b"))
    assert same(whole, walk("SCAN", page(b"7", b"b"), page(b"9"), page(b"0", b"b", b"a")))
    assert not same(whole, walk("SCAN", page(b"7", b"b"), page(b"0")))
    assert not same(whole, walk("SCAN", b"-ERR invalid cursor\r\n"))
    assert not same(whole, walk("SCAN", b"*2\r\n:0\r\n" + bulks(b"a", b"b"))), "a cursor is a bulk string"
    pairs = walk("HSCAN", page(b"0", b"f", b"1", b"g", b"2"))
    assert same(pairs, walk("HSCAN", page(b"5", b"g", b"2"), page(b"0", b"f", b"1")))
    assert not same(pairs, walk("HSCAN", page(b"5", b"g", b"1"), page(b"0", b"f", b"2")))


def test_a_walk_goes_on_with_the_same_options() -> None:
    asked: list[Sequence[bytes]] = []

    def ask(args: Sequence[bytes]) -> Node:
        asked.append(list(args))
        return node(page(b"0"))

    reading("HSCAN", page(b"5", b"f", b"1"), (b"hscan", b"h", b"0", b"COUNT", b"1"), ask)
    assert asked == [[b"hscan", b"h", b"5", b"COUNT", b"1"]]


def test_what_tells_of_memory_is_of_the_right_kind() -> None:
    assert not same(reading("OBJECT|ENCODING", b"$3\r\nraw\r\n"), reading("OBJECT|ENCODING", b"$6\r\nembstr\r\n"))
    assert same(reading("OBJECT|REFCOUNT", b":1\r\n"), reading("OBJECT|REFCOUNT", b":2147483647\r\n"))
    assert not same(reading("OBJECT|REFCOUNT", b":1\r\n"), reading("OBJECT|REFCOUNT", b"$-1\r\n"))
    assert same(reading("DUMP", b"$1\r\na\r\n"), reading("DUMP", b"$1\r\nb\r\n"))
    assert not same(reading("DUMP", b"$1\r\na\r\n"), reading("DUMP", b"$-1\r\n"))


def test_readings_are_of_commands() -> None:
    assert all(by_full_name(name.encode()) is not None for name in READINGS)
