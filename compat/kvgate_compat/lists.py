"""Generators of the list commands, those that wait included: with data they answer at once, else after some milliseconds."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.pools import INT64_MAX, key
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_ELEMENTS: tuple[bytes, ...] = (
    *(b"x", b"3", b"", b"1", b"2", b"-1", b"1.5", b"inf", b"1e3", b"007", b"%d" % INT64_MAX, b"a", b"Ads.T:a", b"f"),
    *(b"\x00\xff\r\n", b"x\x00", b"e" * 64, b"e" * 65, b"y" * 3000, b"y" * 9000),  # a node of a list ends at 8 KB
)
_crowd = st.builds(
    lambda name, size: [b"%b%d" % (name, at) for at in range(size)],
    st.sampled_from((b"", b"x", b"\xff" * 100)),
    st.sampled_from((127, 128, 129, 600)),
)
_few = tuple(range(3)) * 5  # these meet each other most of the time
element = st.sampled_from((*_few, *range(len(_ELEMENTS)))).map(_ELEMENTS.__getitem__)
"""What lists hold and are searched for."""
_elements = st.one_of(some(element, most=6), some(element, most=6), some(pools.value, most=3), _crowd)
index = st.sampled_from(
    (
        *(b"0", b"1", b"-1", b"2", b"-2", b"3", b"-3", b"5", b"-5") * 2,
        *(b"100", b"-100", b"127", b"128", b"600", b"%d" % INT64_MAX, b"%d" % -(2**63), b"%d" % -INT64_MAX),
        *(b"2147483648", b"-2147483649", b"4294967296", b"9223372036854775808", b"-9223372036854775809"),
        *(b"x", b"", b"1.5", b"01", b"+1", b"-0", b" 1"),
    )
)
"""Places in a list, from both ends and beyond them, and what is no number."""
_how_many = st.sampled_from(
    (
        *(b"0", b"1", b"2", b"3", b"5", b"100", b"1000") * 2,
        *(b"-1", b"%d" % INT64_MAX, b"9223372036854775808", b"4294967297", b"x", b"", b"1.5", b"01"),
    )
)
_end = option("LEFT", "RIGHT", "LEFT", "RIGHT", "JUNK")
_numbers_of_keys = (b"0", b"-1", b"5", b"2147483648", b"9223372036854775808", b"x", b"", b"01")


def counted(part: SearchStrategy[bytes]) -> SearchStrategy[Args]:
    """A number and as many keys; sometimes another number."""
    right = some(part, most=3).map(lambda keys: [b"%d" % len(keys), *keys])
    wrong = seq(st.sampled_from(_numbers_of_keys), some(part, most=3))
    return st.one_of(right, right, right, wrong)


timeout = st.sampled_from(
    (
        *(b"0.001", b"0.01", b"1e-3", b"0.002", b".01", b"0x.01", b"0.0100000000000000000001"),  # some milliseconds
        *(b"0", b"5", b"100", b"1e15", b"-0"),  # sent only where there is something (kvgate_compat.waiting)
        *(b"-1", b"-0.5", b"-inf", b"x", b"", b"nan", b"inf", b"1e400", b"1e4933", b"0.001x", b" 0.001", b"0.001 ", b"+0.001"),
        *(b"%d" % INT64_MAX, b"9223372036854775808", b"9223372036854776", b"1e18"),
    )
)
"""How long a blocking command waits, in seconds."""
_pop = seq(counted(key), _end, any_of(seq(option("COUNT"), _how_many), option("JUNK"), most=2))
_search = any_of(
    seq(option("RANK"), index),
    seq(option("COUNT"), _how_many),
    seq(option("MAXLEN"), _how_many),
    most=4,
)

LISTS: dict[str, SearchStrategy[Args]] = {
    "BLMOVE": seq(key, key, _end, _end, timeout),
    "BLMPOP": seq(timeout, _pop),
    "BLPOP": seq(some(key, most=3), timeout),
    "BRPOP": seq(some(key, most=3), timeout),
    "BRPOPLPUSH": seq(key, key, timeout),
    "LINDEX": seq(key, index),
    "LINSERT": seq(key, option("BEFORE", "AFTER", "BEFORE", "AFTER", "JUNK"), element, element),
    "LLEN": seq(key),
    "LMOVE": seq(key, key, _end, _end),
    "LMPOP": _pop,
    "LPOP": seq(key, maybe(_how_many)),
    "LPOS": seq(key, element, _search),
    "LPUSH": seq(key, _elements),
    "LPUSHX": seq(key, _elements),
    "LRANGE": seq(key, index, index),
    "LREM": seq(key, index, element),
    "LSET": seq(key, index, st.one_of(element, pools.value)),
    "LTRIM": seq(key, index, index),
    "RPOP": seq(key, maybe(_how_many)),
    "RPOPLPUSH": seq(key, key),
    "RPUSH": seq(key, _elements),
    "RPUSHX": seq(key, _elements),
}
