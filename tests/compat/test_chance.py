"""What counts as the same reply where chance decides, or nobody promises an order."""

from collections.abc import Sequence
from typing import Any

import hiredis
import pytest

from kvgate.commands.table import by_full_name
from kvgate_compat.chance import CHANCE, asks, before, stores_by_chance
from kvgate_compat.connection import Node
from kvgate_compat.pair import Pair, Tally
from kvgate_compat.readings import same
from kvgate_compat.steps import Single
from kvgate_compat.words import Option, Request
from tests.compat.test_readings import bulks, node, reading
from tests.support.servers import RedisServers


def answers(**replies: bytes) -> Any:
    """A server that answers these commands only, by name."""
    return lambda args: node(replies[args[0].decode()])


def words(text: str) -> list[bytes]:
    return [word.encode() for word in text.split()]


def test_random_members_are_members() -> None:
    ask = answers(SMEMBERS=bulks(b"a", b"b", b"c", kind=b"~"))

    def members(raw: bytes, *args: bytes) -> object:
        return reading("SRANDMEMBER", raw, (b"SRANDMEMBER", b"s", *args), ask)

    assert same(members(b"$1\r\na\r\n"), members(b"$1\r\nb\r\n"))
    assert not same(members(b"$1\r\na\r\n"), members(b"$1\r\nx\r\n"))
    assert not same(members(b"$1\r\na\r\n"), members(b"$-1\r\n"))
    assert same(members(bulks(b"a", b"b"), b"2"), members(bulks(b"c", b"a"), b"2"))
    assert not same(members(bulks(b"a", b"b"), b"2"), members(bulks(b"a", b"a"), b"2")), "twice the same"
    assert same(members(bulks(b"a", b"b"), b"-2"), members(bulks(b"a", b"a"), b"-2"))
    assert not same(members(bulks(b"a", b"b"), b"2"), members(bulks(b"a"), b"2"))
    assert not same(members(bulks(b"a", b"b"), b"2"), members(bulks(b"a", b"x"), b"2"))
    assert not same(members(bulks(b"a", b"b"), b"2"), members(bulks(b"a", b"b", kind=b"~"), b"2"))


def test_what_is_taken_is_put_back() -> None:
    asked: list[Sequence[bytes]] = []

    def taken(raw: bytes, left: bytes, added: int, *args: bytes) -> object:
        def ask(words: Sequence[bytes]) -> Node:
            asked.append(words)
            return node(left if words[0] == b"SMEMBERS" else b":%d\r\n" % added)

        return reading("SPOP", raw, (b"SPOP", b"s", *args), ask)

    one = taken(b"$1\r\na\r\n", bulks(b"b", b"c", kind=b"~"), 1)
    assert asked == [[b"SMEMBERS", b"s"], [b"SADD", b"s", b"a"]]
    assert same(one, taken(b"$1\r\nb\r\n", bulks(b"a", b"c", kind=b"~"), 1))
    assert not same(one, taken(b"$1\r\nb\r\n", bulks(b"a", b"b", b"c", kind=b"~"), 0)), "it is still there"
    assert not same(one, taken(b"$1\r\nb\r\n", bulks(kind=b"~"), 0)), "too many are gone"
    assert not same(one, taken(bulks(b"b"), bulks(b"a", b"c", kind=b"~"), 1))
    two = taken(bulks(b"a", b"b"), bulks(b"c"), 2, b"2")
    assert same(two, taken(bulks(b"c", b"b"), bulks(b"a"), 2, b"2"))
    assert not same(two, taken(bulks(b"c", b"c"), bulks(b"a"), 1, b"2")), "twice the same"
    del asked[:]
    all_of_them = taken(bulks(b"a", b"b"), bulks(), 0, b"2")
    assert asked == [[b"SMEMBERS", b"s"]], "an empty set is no set any more"
    assert same(all_of_them, taken(bulks(b"b", b"a"), bulks(), 0, b"2"))
    assert not same(all_of_them, taken(bulks(b"b", b"c"), bulks(), 0, b"2"))
    assert same(
        reading("SPOP", bulks(b"a", b"b"), words("SPOP s 1000000")),
        reading("SPOP", bulks(b"b", b"a"), words("SPOP s 1000000")),
    )


def test_sets_go_on_alike_after_a_random_pop(redis_servers: RedisServers) -> None:
    pair = Pair(redis_servers().url, redis_servers().url, 2, Tally())
    try:
        pair.begin()
        pair.run(Single(Request("SADD", (Option(b"SADD"), b"a", *(b"%d" % number for number in range(300))))))
        for _ in range(5):
            pair.run(Single(Request("SPOP", (Option(b"SPOP"), b"a", b"7"))))
            pair.run(Single(Request("SPOP", (Option(b"SPOP"), b"a"))))
        pair.run(Single(Request("SCARD", (Option(b"SCARD"), b"a"))))
        assert [side.ask([b"SCARD", b"a"]).text for side in pair._sides] == [b"300", b"300"]
        pair.run(Single(Request("SPOP", (Option(b"SPOP"), b"a", b"300"))))
        pair.finish()
    finally:
        pair.close()


def test_sort_of_a_set() -> None:
    def sort(kind: bytes, text: str, *found: bytes) -> object:
        return reading("SORT", bulks(*found), words("SORT k " + text), answers(TYPE=b"+%b\r\n" % kind))

    assert same(sort(b"set", "BY nosort", b"a", b"b"), sort(b"set", "BY nosort", b"b", b"a"))
    assert not same(sort(b"set", "BY nosort", b"a", b"b"), sort(b"set", "BY nosort", b"a", b"c"))
    assert not same(sort(b"list", "BY nosort", b"a", b"b"), sort(b"list", "BY nosort", b"b", b"a"))
    assert same(sort(b"set", "by w* alpha", b"a", b"b"), sort(b"set", "by w* alpha", b"b", b"a")), "equal weights"
    assert not same(sort(b"set", "BY w*", b"a", b"b"), sort(b"set", "BY w*", b"b", b"a")), "then by name"
    assert same(sort(b"set", "ALPHA", b"", b"\0", b"a"), sort(b"set", "ALPHA", b"\0", b"", b"a"))
    assert not same(sort(b"set", "ALPHA", b"a", b"b"), sort(b"set", "ALPHA", b"b", b"a"))
    assert same(sort(b"set", "ALPHA LIMIT 0 1", b""), sort(b"set", "ALPHA LIMIT 0 1", b"\0"))
    assert not same(sort(b"set", "ALPHA LIMIT 0 1", b"a"), sort(b"set", "ALPHA LIMIT 0 1", b"b"))
    assert same(sort(b"set", "BY nosort LIMIT 0 1", b"a"), sort(b"set", "BY nosort LIMIT 0 1", b"b"))
    assert not same(sort(b"set", "BY nosort LIMIT 0 1", b"a"), sort(b"set", "BY nosort LIMIT 0 1"))


def test_sort_begins_with_a_number_in_range(redis_servers: RedisServers) -> None:
    """Redis 7.0 takes an old `errno` for its own; one of these two would answer an error without it."""
    one, other = redis_servers(), redis_servers()
    pair = Pair(one.url, other.url, 2, Tally())
    try:
        pair.begin()
        pair.run(Single(Request("SADD", (Option(b"SADD"), b"a", b"2", b"1"))))
        with pytest.raises(hiredis.ReplyError, match="not a valid float"):
            one.cmd("INCRBYFLOAT", "f", "1e4933")
        pair.run(Single(Request("SORT", (Option(b"SORT"), b"a"))))
        pair.finish()
    finally:
        pair.close()
    assert before("GET", words("GET a")) == []
    assert before("SORT", words("SORT")) == []


def test_places() -> None:
    whole = answers(GEOSEARCH=bulks(b"p", b"q", b"r"))

    def search(text: str, *found: bytes, ask: Any = whole) -> object:
        return reading("GEOSEARCH", bulks(*found), words("GEOSEARCH k FROMMEMBER p BYRADIUS 1 m " + text), ask)

    assert same(search("", b"p", b"q"), search("", b"q", b"p"))
    assert not same(search("", b"p", b"q"), search("", b"p", b"r"))
    assert not same(search("ASC", b"p", b"q"), search("ASC", b"q", b"p"))
    assert not same(search("count 2", b"p", b"q"), search("count 2", b"q", b"p")), "the nearest first"
    assert same(search("COUNT 2 any", b"p", b"q"), search("COUNT 2 any", b"r", b"p"))
    assert not same(search("COUNT 2 ANY", b"p", b"q"), search("COUNT 2 ANY", b"p", b"p"))
    assert not same(search("COUNT 2 ANY", b"p", b"q"), search("COUNT 2 ANY", b"p", b"x"))
    assert not same(search("COUNT 2 ANY", b"p", b"q"), search("COUNT 2 ANY", b"p"))
    asked: list[Sequence[bytes]] = []

    def listening(args: Sequence[bytes]) -> Node:
        asked.append(args)
        return node(bulks(b"p"))

    search("WITHDIST COUNT 1 ANY DESC", b"p", ask=listening)
    assert asked == [words("GEOSEARCH k FROMMEMBER p BYRADIUS 1 m WITHDIST DESC")]
    assert reading("GEORADIUS", b":3\r\n", words("GEORADIUS k 0 0 1 m STORE d")) == b":3\r\n"


def test_what_is_left_to_chance_stands_alone_or_is_not_sent() -> None:
    alone = (
        *("SRANDMEMBER s", "SPOP s", "SPOP s 1", "SORT s", "SORT s ALPHA", "SORT s ALPHA BY w* STORE d", "SORT_RO s ALPHA"),
        *("GEOSEARCH k COUNT 1 ANY", "GEORADIUS k 0 0 1 m COUNT 1 any"),
    )
    for text in alone:
        assert asks(text.split()[0], words(text)), text
    for text in (
        "SPOP s 0",
        "SPOP s 1000000",
        "SPOP s x",
        "SORT s ALPHA STORE d",
        "GEOSEARCH k COUNT 1",
        "SMEMBERS s",
        "GET k",
    ):
        assert not asks(text.split()[0], words(text)), text
    for text in ("GEOSEARCHSTORE d k COUNT 2 any", "GEORADIUS k 0 0 1 m COUNT 1 ANY STORE d", "SORT s ALPHA BY w* STORE d"):
        assert stores_by_chance(text.split()[0], words(text)), text
    for text in ("GEOSEARCHSTORE d k COUNT 1000000 ANY", "GEORADIUS k 0 0 1 m COUNT 1 ANY", "GEOSEARCHSTORE d k COUNT 2"):
        assert not stores_by_chance(text.split()[0], words(text)), text
    assert all(by_full_name(name.encode()) is not None for name in CHANCE)
