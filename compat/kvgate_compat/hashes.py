"""Generators of the hash commands, hashes that outgrow a small one included."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.pools import field, integer, key, number, value
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_pairs = st.one_of(some(seq(field, value), most=5), some(seq(field, number), most=3))


def _many(name: bytes, size: int) -> Args:
    return [word for at in range(size) for word in (b"%b%d" % (name, at), b"%d" % at)]


_crowd = st.builds(_many, st.sampled_from((b"m", b"f", b"")), st.sampled_from((127, 128, 129, 200, 600)))
"""Fields in a row: around and over the sizes at which stores change how they keep a hash."""
HOW_MANY = st.sampled_from((b"1", b"2", b"5", b"100", b"1000", b"0", b"-1", b"-3", b"-10"))
NO_NUMBER = st.sampled_from((b"x", b"", b"1.5", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808"))
"""No very low count that is allowed: Redis makes a reply of so many fields, until the memory of the machine is used up."""

HASHES: dict[str, SearchStrategy[Args]] = {
    "HDEL": seq(key, st.one_of(some(field), some(field, least=4, most=9))),
    "HEXISTS": seq(key, field),
    "HGET": seq(key, field),
    "HGETALL": seq(key),
    "HINCRBY": seq(key, field, integer),
    "HINCRBYFLOAT": seq(key, field, number),
    "HKEYS": seq(key),
    "HLEN": seq(key),
    "HMGET": seq(key, some(field, most=6)),
    "HMSET": seq(key, st.one_of(_pairs, _pairs, _crowd)),
    "HRANDFIELD": seq(key, maybe(seq(st.one_of(HOW_MANY, HOW_MANY, NO_NUMBER), maybe(option("WITHVALUES"))))),
    "HSCAN": seq(
        key,
        pools.cursor,
        any_of(seq(option("MATCH"), pools.pattern), seq(option("COUNT"), pools.count), option("NOVALUES"), most=3),
    ),
    "HSET": seq(key, st.one_of(_pairs, _pairs, _pairs, _crowd)),
    "HSETNX": seq(key, field, value),
    "HSTRLEN": seq(key, field),
    "HVALS": seq(key),
}
