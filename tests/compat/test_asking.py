"""What is asked beside the steps: which requests have an answer that Redis says nothing about."""

import pytest

from kvgate_compat.asking import is_unspecified
from kvgate_compat.connection import Connection
from kvgate_compat.table import may_be_queued
from kvgate_compat.words import Option, Request
from tests.support.servers import RedisServer

LARGE = 150
"""Members, for more than Redis keeps in a listpack."""


def request(*words: str) -> Request:
    return Request(words[0], tuple(Option(word.encode()) if word.isupper() else word.encode() for word in words))


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize(
    ("words", "unspecified"),
    [
        (("ZRANGEBYLEX", "mixed", "[a", "+"), True),
        (("ZREVRANGEBYLEX", "mixed", "+", "(x"), True),
        (("ZLEXCOUNT", "mixed", "-", "+"), True),
        (("ZREMRANGEBYLEX", "mixed", "-", "+"), True),
        (("ZRANGE", "mixed", "-", "+", "BYLEX"), True),
        (("ZRANGESTORE", "new", "mixed", "-", "+", "BYLEX"), True),
        (("ZRANGE", "mixed", "0", "-1"), False),
        (("ZRANGEBYLEX", "equal", "[a", "+"), False),
        (("ZRANGEBYLEX", "small", "[a", "+"), False),
        (("ZRANGEBYLEX", "string", "[a", "+"), False),
        (("ZRANGEBYLEX", "none", "[a", "+"), False),
    ],
)
def test_ranges_by_names_where_scores_differ(
    module_redis: RedisServer, proto: int, words: "tuple[str, ...]", unspecified: bool
) -> None:
    module_redis.cmd("FLUSHALL")
    module_redis.cmd("SET", "string", "x")
    module_redis.cmd("ZADD", "small", "1", "a", "2", "b")
    for number in range(LARGE):
        module_redis.cmd("ZADD", "mixed", str(number), f"x{number}")
        module_redis.cmd("ZADD", "equal", "7", f"x{number}")
    side = Connection(module_redis.url, proto)
    try:
        assert is_unspecified(side, request(*words)) is unspecified
    finally:
        side.close()
    assert may_be_queued(request(*words)) is not any("LEX" in word for word in words), "in a pipeline nobody can ask before"
