"""Encoded replies beside a real Redis: for every type that Redis answers with, the same bytes in RESP2 and RESP3."""

from collections.abc import Iterator

import pytest

from kvgate.wire.measure import Measurer, measure
from kvgate.wire.reply import NULL_ARRAY, Reply, decode, encode
from tests.support.resp import Resp
from tests.support.servers import RedisServer
from tests.wire.feeding import bytewise

SETUP = [
    ("FLUSHALL",),
    ("SET", "string", "a\r\nb"),
    ("SET", "empty", ""),
    ("RPUSH", "list", *(f"element {n}" for n in range(600))),
    ("RPUSH", "mixed", *("v" * (n % 120) for n in range(600))),
    ("HSET", "hash", "field", "value", "other", "", "third", "$3\r\nfoo"),
    ("SADD", "set", "a", "b", "c"),
    ("ZADD", "zset", "1", "one", "-2.5", "two", "inf", "three", "1e300", "four", "0.1", "five"),
    ("XADD", "stream", "1-1", "field", "value"),
    ("GEOADD", "geo", "13.361389", "38.115556", "Palermo"),
]
SAME_SHAPE = [
    ("PING",),
    ("SET", "k", "v"),
    ("GET", "string"),
    ("GET", "empty"),
    ("GET", "missing"),
    ("INCR", "list"),
    ("STRLEN", "string"),
    ("LRANGE", "list", "0", "-1"),
    ("LRANGE", "mixed", "0", "-1"),
    ("LRANGE", "missing", "0", "-1"),
    ("MGET", "string", "missing", "empty"),
    ("HGETALL", "hash"),
    ("HGETALL", "missing"),
    ("HMGET", "hash", "field", "missing"),
    ("SMEMBERS", "set"),
    ("SMEMBERS", "missing"),
    ("SMISMEMBER", "set", "a", "z"),
    ("ZSCORE", "zset", "two"),
    ("ZSCORE", "zset", "three"),
    ("ZSCORE", "zset", "four"),
    ("ZSCORE", "zset", "missing"),
    ("ZMSCORE", "zset", "five", "missing"),
    ("ZINCRBY", "zset", "0", "five"),
    ("ZRANGE", "zset", "0", "-1"),
    ("XRANGE", "stream", "-", "+"),
    ("XINFO", "STREAM", "stream"),
    ("GEOPOS", "geo", "Palermo"),
    ("CONFIG", "GET", "maxmemory*"),
    ("CLIENT", "TRACKINGINFO"),
    ("FUNCTION", "STATS"),
    ("MEMORY", "DOCTOR"),
    ("LATENCY", "DOCTOR"),
    ("COMMAND", "INFO", "get", "client"),
    ("COMMAND", "DOCS", "get"),
    ("ACL", "GETUSER", "default"),
    ("NOSUCH", "a\r\nb"),
    ("EVAL", "return {1, 'two', {3, false}, {ok='fine'}, {err='ERR bad'}}", "0"),
    ("EVAL", "redis.setresp(3); return redis.call('HGETALL', 'hash')", "0"),
    *(("DEBUG", "PROTOCOL", kind) for kind in ("string", "integer", "double", "bignum", "null", "array", "set")),
    *(("DEBUG", "PROTOCOL", kind) for kind in ("map", "verbatim", "true", "false")),
]
"""Commands whose reply means the same in both protocols."""
OTHERS = [("ZRANGE", "zset", "0", "-1", "WITHSCORES"), ("INFO",), ("COMMAND",), ("HELLO",)]


@pytest.fixture(scope="module")
def clients(module_redis: RedisServer) -> "Iterator[tuple[Resp, Resp]]":
    """A RESP2 and a RESP3 connection to a server with data of every type."""
    with module_redis.client() as two, module_redis.client(proto=3) as three:
        for command in SETUP:
            two.cmd(*command)
        yield two, three


def _ids(command: "tuple[str, ...]") -> str:
    return " ".join(command)[:40]


@pytest.mark.parametrize("command", SAME_SHAPE, ids=_ids)
def test_what_redis_answers_in_resp3_is_encoded_as_it_answers_in_both(
    clients: "tuple[Resp, Resp]", command: "tuple[str, ...]"
) -> None:
    two, three = (client.raw_reply(*command) for client in clients)
    value = decode(three)
    assert encode(value, 3) == three
    assert encode(value, 2) == two


@pytest.mark.parametrize("command", [*SAME_SHAPE, *OTHERS], ids=_ids)
def test_ends_of_real_replies(clients: "tuple[Resp, Resp]", command: "tuple[str, ...]") -> None:
    for client in clients:
        raw = client.raw_reply(*command)
        assert measure(raw + raw, 0) == len(raw)
        measurer = Measurer()
        ends = [measurer.feed(portion, 0) for portion in bytewise(raw)]
        assert ends == [-1] * (len(raw) - 1) + [1]


@pytest.mark.parametrize(
    ("commands", "value"),
    [
        ([("BLPOP", "missing", "0.01")], NULL_ARRAY),
        ([("WATCH", "k"), ("SET", "k", "1"), ("MULTI",), ("GET", "k"), ("EXEC",)], NULL_ARRAY),
        ([("SET", "k", "1", "XX", "GET", "PX", "1")], b"1"),
        ([("SET", "string", "1", "NX")], None),
        ([("LPOP", "missing", "2")], NULL_ARRAY),
        ([("LPOP", "missing")], None),
        ([("ZSCORE", "missing", "a")], None),
        ([("XREAD", "STREAMS", "missing", "0")], NULL_ARRAY),
    ],
)
def test_the_two_nulls_of_resp2(clients: "tuple[Resp, Resp]", commands: "list[tuple[str, ...]]", value: Reply) -> None:
    for client, proto in zip(clients, (2, 3), strict=True):
        client.cmd("SET", "k", "1")
        raw = [client.raw_reply(*command) for command in commands][-1]
        assert raw == encode(value, proto)


def test_pushes_and_attributes(clients: "tuple[Resp, Resp]") -> None:
    client = clients[1]
    attributed = client.raw_reply("DEBUG", "PROTOCOL", "attrib")
    assert attributed.startswith(b"|1\r\n")
    assert measure(attributed, 0) == len(attributed)
    assert decode(attributed) == b"Some real reply following the attribute"
    client.send("DEBUG", "PROTOCOL", "push")
    push, reply = client.read_one(), client.read_one()
    assert push.startswith(b">2\r\n")
    assert encode(decode(push), 3) == push
    assert measure(push + reply, 0) == len(push)
