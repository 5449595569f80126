"""Generators of the sorted-set commands: scores at the edges of a double, ranges of ranks, scores and names, and waiting."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.hashes import HOW_MANY, NO_NUMBER
from kvgate_compat.pools import key, number, offset
from kvgate_compat.words import Args, Still, any_of, maybe, option, seq, some

_MEMBERS = (b"a", b"b", b"c", b"m", b"", b"1", b"B", b"\x00\xff\r\n", b"\xc3\xa9", b"m" * 64, b"m" * 65)
_member = st.sampled_from((*_MEMBERS[:4], *_MEMBERS))
_EDGES = (
    *(b"inf", b"-inf", b"+inf", b"nan", b"-nan", b"0", b"-0", b"-0.0", b"1.7976931348623157e308", b"-1.7976931348623157e308"),
    *(b"9007199254740991", b"9007199254740992", b"9007199254740993", b"-9007199254740993", b"0.1", b"0.30000000000000004"),
    *(b"5e-324", b"2.5", b"1e21", b"1e-7", b"123456789012345680000", b"4503599627370497.5"),
)
_plain_score = st.sampled_from((b"1", b"2", b"3", b"-1", b"1", b"2", b"2.5"))
_score = st.one_of(_plain_score, _plain_score, _plain_score, st.sampled_from(_EDGES), number)


def _many(first: int, size: int) -> Args:
    return [word for at in range(size) for word in (b"%d" % (first + at // 3), b"x%d" % at)]


_crowd = st.builds(_many, st.sampled_from((0, -50)), st.sampled_from((127, 128, 129, 300)))
"""Members in a row: around and over the size at which Redis changes how it keeps a sorted set."""
_adding = any_of(option("NX", "XX", "GT", "LT"), option("NX", "XX"), option("GT", "LT"), option("CH"), option("INCR"), most=3)

_limits = st.one_of(
    st.sampled_from((b"-inf", b"+inf", b"0", b"(0", b"1", b"(1", b"2", b"(2", b"3", b"2.5", b"(2.5")),
    st.sampled_from((b"inf", b"(inf", b"(-inf", b"-0", b"nan", b"(nan", b"(", b"((1", b"1(", b"[1", b"", b"x", b" 1")),
    number,
)
_names = st.one_of(
    st.sampled_from((b"-", b"+", b"[a", b"(a", b"[b", b"(b", b"[m", b"(m", b"[x1", b"(x2")),
    st.sampled_from((b"[", b"(", b"[\xff", b"(\x00", b"a", b"", b"-a", b"+a", b"+inf", b"[[a", b"((a", b"-1", b"x")),
)
_at = st.sampled_from((b"0", b"0", b"1", b"2", b"100", b"-1", b"-2", b"x", b"", b"1.5", b"9223372036854775808"))
_limit = seq(option("LIMIT"), _at, _at)
_withscores = option("WITHSCORES")
_ranging = any_of(option("BYSCORE", "BYLEX"), option("REV"), _limit, _withscores)
_range = st.one_of(
    seq(key, offset, offset, any_of(option("REV"), _withscores, most=2)),
    seq(key, _limits, _limits, option("BYSCORE"), any_of(option("REV"), _limit, _withscores, most=3)),
    seq(key, _names, _names, option("BYLEX"), any_of(option("REV"), _limit, most=2)),
    seq(key, st.one_of(offset, _limits, _names), st.one_of(offset, _limits, _names), _ranging),
)


def _counted(keys: "list[bytes]", wrong: "bytes | None") -> Args:
    return [b"%d" % len(keys) if wrong is None else wrong, *keys]


_no_count = st.sampled_from((b"0", b"-1", b"x", b"", b"9", b"1", b"2", b"9223372036854775808"))
keys = st.builds(_counted, st.lists(key, min_size=1, max_size=3), st.one_of(*[st.none()] * 9, _no_count))
"""Keys behind their number, which is seldom wrong."""
_weight = st.one_of(
    st.sampled_from((b"1", b"2", b"-1", b"0", b"0.5")), st.sampled_from((b"inf", b"-inf", b"nan", b"x", b"", b"1e308"))
)
_aggregate = seq(option("AGGREGATE"), option("SUM", "MIN", "MAX", "JUNK"))


def _weighed(least: int = 0) -> "SearchStrategy[Args]":
    """Keys with as many weights, mostly."""
    sound = st.integers(1, 3).flatmap(
        lambda size: seq(
            b"%d" % size, some(key, least=size, most=size), option("WEIGHTS"), some(_weight, least=size, most=size)
        )
    )
    odd = seq(keys, option("WEIGHTS"), some(_weight, least=least, most=3))
    return st.one_of(seq(keys), seq(keys), sound, sound, odd)


_combining = seq(_weighed(), any_of(_aggregate, _withscores, most=2))
_storing = seq(key, _weighed(), st.one_of(maybe(_aggregate), any_of(_aggregate, _withscores, most=2)))
_end = option("MIN", "MAX", "MIN", "MAX", "JUNK")
_how_many = st.one_of(
    st.sampled_from((b"1", b"2", b"100")), st.sampled_from((b"0", b"-1", b"x", b"", b"1.5", b"9223372036854775808"))
)
_pop_count = maybe(seq(option("COUNT"), _how_many))

timeout = st.sampled_from(
    [Still(text) for text in (b"0.01", b"0.01", b"0.02", b"0.001", b"1e-2", b".01")]
    + [Still(text) for text in (b"-1", b"x", b"", b"nan", b"inf", b"-0.5", b"9223372036854775807", b"1e30", b" 0.01", b"0x")]
)
"""How long to wait, in seconds: not for long, or not at all. Never 0, which is for ever."""

ZSETS: dict[str, SearchStrategy[Args]] = {
    "BZMPOP": seq(timeout, keys, _end, _pop_count),
    "BZPOPMAX": seq(some(key, most=3), timeout),
    "BZPOPMIN": seq(some(key, most=3), timeout),
    "ZADD": seq(key, _adding, st.one_of(some(seq(_score, _member)), some(seq(_score, _member), most=1), _crowd)),
    "ZCARD": seq(key),
    "ZCOUNT": seq(key, _limits, _limits),
    "ZDIFF": seq(keys, maybe(_withscores)),
    "ZDIFFSTORE": seq(key, keys),
    "ZINCRBY": seq(key, _score, _member),
    "ZINTER": _combining,
    "ZINTERCARD": seq(keys, maybe(seq(option("LIMIT"), _at))),
    "ZINTERSTORE": _storing,
    "ZLEXCOUNT": seq(key, _names, _names),
    "ZMPOP": seq(keys, _end, _pop_count),
    "ZMSCORE": seq(key, some(_member)),
    "ZPOPMAX": seq(key, maybe(_how_many)),
    "ZPOPMIN": seq(key, maybe(_how_many)),
    "ZRANDMEMBER": seq(key, maybe(seq(st.one_of(HOW_MANY, HOW_MANY, NO_NUMBER), maybe(_withscores)))),
    "ZRANGE": _range,
    "ZRANGEBYLEX": seq(key, _names, _names, any_of(_limit, _withscores, most=1)),
    "ZRANGEBYSCORE": seq(key, _limits, _limits, any_of(_limit, _withscores, most=2)),
    "ZRANGESTORE": seq(key, _range),
    "ZRANK": seq(key, _member),
    "ZREM": seq(key, some(_member)),
    "ZREMRANGEBYLEX": seq(key, _names, _names),
    "ZREMRANGEBYRANK": seq(key, offset, offset),
    "ZREMRANGEBYSCORE": seq(key, _limits, _limits),
    "ZREVRANGE": seq(key, offset, offset, maybe(_withscores)),
    "ZREVRANGEBYLEX": seq(key, _names, _names, any_of(_limit, _withscores, most=1)),
    "ZREVRANGEBYSCORE": seq(key, _limits, _limits, any_of(_limit, _withscores, most=2)),
    "ZREVRANK": seq(key, _member),
    "ZSCAN": seq(
        key,
        pools.cursor,
        any_of(seq(option("MATCH"), pools.pattern), seq(option("COUNT"), pools.count), option("JUNK"), most=3),
    ),
    "ZSCORE": seq(key, _member),
    "ZUNION": _combining,
    "ZUNIONSTORE": _storing,
}
