"""Generators of the set and HyperLogLog commands, sets that outgrow a small one included."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.chance import ALL
from kvgate_compat.lists import counted
from kvgate_compat.pools import INT64_MAX, key
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_MEMBERS: tuple[bytes, ...] = (
    *(b"1", b"2", b"x", b"3", b"", b"0", b"-1", b"1.5", b"007", b"+1", b"-0", b" 1", b"a", b"f", b"Ads.T:a", b"nan"),
    *(b"32767", b"32768", b"2147483648", b"%d" % INT64_MAX, b"%d" % -(2**63), b"9223372036854775808"),  # an intset's widths
    *(b"\x00\xff\r\n", b"x\x00", b"m" * 64, b"m" * 65, b"y" * 3000),
)
_few = tuple(range(3)) * 5  # these meet each other most of the time
member = st.sampled_from((*_few, *range(len(_MEMBERS)))).map(_MEMBERS.__getitem__)
"""What sets hold; whole numbers alone make a set of another kind."""
_crowd = st.builds(
    lambda name, size: [b"%b%d" % (name, at) for at in range(size)],
    st.sampled_from((b"", b"", b"x", b"-1")),
    st.sampled_from((127, 128, 129, 511, 512, 513, 600)),
)
_members = st.one_of(some(member, most=6), some(member, most=6), some(pools.sound_integer, most=6), _crowd)
_how_many = st.sampled_from((b"1", b"2", b"3", b"5", b"100", b"1000", b"0", b"-1", b"-3", b"-10", b"%d" % ALL))
_no_number = st.sampled_from(
    (b"x", b"", b"1.5", b"01", b"%d" % INT64_MAX, b"9223372036854775808", b"%d" % -(2**63), b"4294967297")
)
"""No very low count that is allowed: SRANDMEMBER makes a reply of so many members."""
_all = st.sampled_from((b"0", b"%d" % ALL, b"%d" % INT64_MAX))
_count = st.one_of(_how_many, _how_many, _no_number)
_limit = seq(option("LIMIT"), st.one_of(_how_many, st.just(b"0"), _no_number))

SETS: dict[str, SearchStrategy[Args]] = {
    "SADD": seq(key, _members),
    "SCARD": seq(key),
    "SDIFF": some(key),
    "SDIFFSTORE": seq(key, some(key)),
    "SINTER": some(key),
    "SINTERCARD": seq(counted(key), any_of(_limit, option("JUNK"), most=2)),
    "SINTERSTORE": seq(key, some(key)),
    "SISMEMBER": seq(key, member),
    "SMEMBERS": seq(key),
    "SMISMEMBER": seq(key, some(member, most=6)),
    "SMOVE": seq(key, key, member),
    "SPOP": seq(key, maybe(st.one_of(_count, _all, _all))),
    "SRANDMEMBER": seq(key, maybe(_count)),
    "SREM": seq(key, st.one_of(some(member, most=6), some(member, least=4, most=9), _crowd)),
    "SSCAN": seq(
        key,
        pools.cursor,
        any_of(seq(option("MATCH"), pools.pattern), seq(option("COUNT"), pools.count), option("NOVALUES"), most=3),
    ),
    "SUNION": some(key),
    "SUNIONSTORE": seq(key, some(key)),
}

_counted_crowd = st.builds(
    lambda name, size: [b"%b%d" % (name, at) for at in range(size)],
    st.sampled_from((b"", b"e")),
    st.sampled_from((100, 1000, 3000)),  # the last fills a sparse one
)
_counted_elements = st.one_of(seq(), some(member, most=6), some(pools.value, most=3), _counted_crowd)

HYPERLOGLOGS: dict[str, SearchStrategy[Args]] = {
    "PFADD": seq(key, _counted_elements),
    "PFCOUNT": some(key),
    "PFMERGE": seq(key, some(key, least=0)),
}
