"""Connections of their own: what comes there is compared, messages of channels included."""

from collections.abc import Sequence

import pytest

from kvgate_compat.aside import Aside, compared, messages
from kvgate_compat.connection import Node, parse
from kvgate_compat.pair import Difference, Pair, Tally
from kvgate_compat.shrink import flat
from kvgate_compat.steps import Aside as Step
from kvgate_compat.words import Option, Request
from tests.support.servers import RedisServers


def request(text: str) -> Request:
    name, *args = text.encode().split()
    return Request(name.decode(), (*(Option(word) for word in name.split(b"|")), *args))


def step(*texts: str) -> Step:
    return Step(tuple(map(request, texts)))


def nodes(*raws: bytes) -> list[Node]:
    return [parse(raw) for raw in raws]


SCRIPTS = [
    ["SUBSCRIBE c d", "PUBLISH c one", "PUBLISH d two", "PUBLISH e three", "UNSUBSCRIBE", "PUBLISH c four"],
    ["PSUBSCRIBE * c* ?", "SUBSCRIBE c", "PUBLISH c one", "PUBSUB|NUMPAT", "PUNSUBSCRIBE", "PUBSUB|NUMSUB c", "PUBLISH c two"],
    ["SSUBSCRIBE c", "SPUBLISH c one", "PUBSUB|SHARDCHANNELS", "GET c", "PING", "SUNSUBSCRIBE d c"],
    ["SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE x"],
    ["HELLO 3", "CLIENT|SETNAME me", "CLIENT|GETNAME", "RESET", "CLIENT|GETNAME", "HELLO", "CLIENT|ID"],
    ["CLIENT|REPLY OFF", "SET a v", "CLIENT|REPLY ON", "CLIENT|REPLY SKIP", "GET a", "GET a"],
    ["CLIENT|REPLY SKIP"],
    ["CLIENT|REPLY OFF"],
]


@pytest.mark.parametrize("proto", [2, 3])
def test_equal_servers_agree(redis_servers: RedisServers, proto: int) -> None:
    tally = Tally()
    pair = Pair(redis_servers().url, redis_servers().url, proto, tally)
    try:
        pair.begin()
        for texts in SCRIPTS:
            pair.run(step(*texts))
        pair.finish()
    finally:
        pair.close()
    assert tally.total == sum(map(len, SCRIPTS))


def test_what_comes_unasked_is_compared(redis_servers: RedisServers) -> None:
    """One server tells of events of keys, the other does not."""
    tells = redis_servers(config=["--notify-keyspace-events", "KEA"])
    pair = Pair(tells.url, redis_servers().url, 3, Tally())
    shown = step("PSUBSCRIBE *", "SET a v")
    try:
        pair.begin()
        with pytest.raises(Difference, match="reply on a connection of its own") as caught:
            pair.run(shown)
        assert caught.value.command == "SET"
        assert pair.shows([shown], "SET")
        assert not pair.shows([step("PSUBSCRIBE b*", "SET a v")], "SET")
        assert caught.value.dialogue[-2:] == ["PSUBSCRIBE *", "SET a v"]
    finally:
        pair.close()


def test_replies_that_are_turned_off_are_compared(redis_servers: RedisServers) -> None:
    pair = Pair(redis_servers(config=["--maxmemory-policy", "allkeys-lfu"]).url, redis_servers().url, 2, Tally())
    try:
        pair.begin()
        pair.run(step("SET a v"))
        pair.run(step("CLIENT|REPLY SKIP", "OBJECT|FREQ a"))
        with pytest.raises(Difference, match="replies of all"):
            pair.run(step("CLIENT|REPLY ON", "OBJECT|FREQ a"))
    finally:
        pair.close()


def test_a_connection_of_its_own_leaves_no_subscriber(redis_servers: RedisServers) -> None:
    server = redis_servers()
    aside = Aside(server.url, 2)
    assert [node.raw for node in aside.say([[b"SUBSCRIBE", b"c"]])] == [b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"]
    server.cmd("PUBLISH", "c", "x")
    assert [node.items[2].text for node in aside.hear(1)] == [b"x"]
    aside.close()
    assert server.cmd("PUBSUB", "NUMSUB", "c") == [b"c", 0]


def ended(*names: bytes) -> list[Node]:
    return nodes(*(b"*3\r\n+unsubscribe\r\n+%b\r\n:%d\r\n" % (name, at) for at, name in reversed(list(enumerate(names)))))


def test_what_counts_of_confirmations_and_messages() -> None:
    def read(name: str, replies: Sequence[Node]) -> object:
        return compared(request(name), [name.encode()], replies)

    assert read("UNSUBSCRIBE", ended(b"a", b"b")) == read("UNSUBSCRIBE", ended(b"b", b"a")), "all of them, in any order"
    assert read("UNSUBSCRIBE", ended(b"a", b"b")) != read("UNSUBSCRIBE", ended(b"a", b"c"))
    assert read("UNSUBSCRIBE", ended(b"a", b"b")) != read("UNSUBSCRIBE", ended(b"a", b"b")[:1])
    assert read("PING", nodes(b"+PONG\r\n")) != read("PING", nodes(b"+PONG\r\n", b"+PONG\r\n"))
    assert messages(nodes(b"+a\r\n", b"+b\r\n")) == messages(nodes(b"+b\r\n", b"+a\r\n"))
    assert messages(nodes(b"+a\r\n")) != messages(nodes(b"+a\r\n", b"+a\r\n"))
    assert messages(nodes(b"+a\r\n")) != messages(nodes(b"+b\r\n"))


def test_shrinking_keeps_them_on_their_connection() -> None:
    one = step("SUBSCRIBE c", "PUBLISH c x")
    assert flat([one]) == [one]
