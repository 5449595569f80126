"""Blocking commands are sent where they answer soon."""

import pytest

from kvgate_compat.pair import Pair, Tally
from kvgate_compat.steps import Piped, Single, Turns
from kvgate_compat.waiting import waits_for
from kvgate_compat.words import Option, Request
from tests.support.servers import RedisServers


def request(text: str) -> Request:
    name, *args = text.split()
    return Request(name, (Option(name.encode()), *(arg.encode() for arg in args)))


@pytest.mark.parametrize("timeout", ["0", "-0", "5", "1e15", "0.06", "0.0001", "-0.0001", "0x1p3", "1e-4933"])
def test_long_waits(timeout: str) -> None:
    for text in ("BLPOP a b {}", "BRPOP a b {}", "BZPOPMIN a b {}", "BLMPOP {} 2 a b LEFT", "BZMPOP {} 2 a b MIN COUNT 1"):
        assert waits_for(request(text.format(timeout))) == (b"a", b"b"), text
    for text in ("BLMOVE a b LEFT RIGHT {}", "BRPOPLPUSH a b {}"):
        assert waits_for(request(text.format(timeout))) == (b"a",), text


@pytest.mark.parametrize("timeout", ["0.001", "0.05", "1e-2", "-1", "-inf", "nan", "inf", "1e400", "x", "0.01x", "1e18"])
def test_short_waits_and_none(timeout: str) -> None:
    for text in ("BLPOP a b {}", "BLMPOP {} 1 a LEFT", "BLMOVE a b LEFT RIGHT {}", "BRPOPLPUSH a b {}", "LPOP a {}"):
        assert waits_for(request(text.format(timeout))) == (), text


def test_what_is_refused_does_not_wait() -> None:
    for text in ("BLPOP 0", "BLPOP", "BLMPOP 0 x a LEFT", "BLMPOP 0", "BLMOVE a b LEFT 0", "BRPOPLPUSH a 0"):
        assert waits_for(request(text)) == (), text


def test_long_waits_are_sent_where_something_is(redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    pair = Pair(one.url, other.url, 2, Tally())
    try:
        pair.begin()
        pair.run(Single(request("BLPOP a b 0")))
        pair.run(Piped((request("BLPOP a b 0"),)))
        pair.run(Turns(tuple(map(Single, map(request, ("BLPOP a 0", "MULTI", "SET n v", "EXEC"))))))
        assert one.calls("blpop") == 0
        pair.run(Turns(tuple(map(Single, map(request, ("MULTI", "BLPOP a b 0", "EXEC"))))))  # inside MULTI nothing waits
        pair.run(Single(request("RPUSH b x y")))
        pair.run(Single(request("BLPOP a b 0")))
        pair.run(Piped((request("RPUSH b z"), request("BLPOP a b 0"), request("BRPOP b 0.01"))))
        pair.finish()
        assert [one.calls("blpop"), other.calls("blpop"), one.calls("brpop")] == [2, 2, 1]
    finally:
        pair.close()
