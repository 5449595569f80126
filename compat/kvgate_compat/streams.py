"""Generators of the stream commands. Ids are given, small and colliding; what ``*`` makes is read as "now"."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.pools import key
from kvgate_compat.words import Args, Still, any_of, maybe, option, seq, some

_IDS = (b"1-1", b"2-1", b"2-2", b"3", b"5-0", b"5-1", b"7-7", b"9-0", b"12-3")
_EDGES = (
    b"0",
    b"0-0",
    b"0-1",
    b"18446744073709551615",
    b"18446744073709551615-18446744073709551615",
    b"5-18446744073709551615",
)
_NO_IDS = (b"-1", b"1-", b"-", b"+", b"x", b"", b"1-x", b"1-1-1", b"18446744073709551616", b"01-1", b"1-01", b"(1-1", b" 1")
_id = st.one_of(st.sampled_from(_IDS), st.sampled_from(_IDS), st.sampled_from(_IDS), st.sampled_from(_EDGES + _NO_IDS))
_rising = st.integers(1, 40).map(lambda number: b"%d-%d" % divmod(number, 4))
_made = st.one_of(st.sampled_from((b"1-*", b"5-*", b"9-*", b"20-*", b"x-*", b"*-1", b"-*")))
_edge = st.one_of(
    st.sampled_from((b"-", b"+", b"1-1", b"2", b"(1-1", b"(2-1", b"5", b"(5")),
    st.sampled_from((b"(-", b"(+", b"(", b"((1", b"(0-0", b"(18446744073709551615-18446744073709551615")),
    _id,
)
_entry = some(
    seq(st.sampled_from((b"f", b"g", b"", b"\x00\xff\r\n")), st.sampled_from((b"v", b"", b"w" * 100, b"\xff"))), most=3
)
_group = st.sampled_from((b"g", b"g", b"g", b"h", b"", b"\x00\xff\r\n"))
_consumer = st.sampled_from((b"c", b"c", b"d", b"", b"\xff"))
_number = st.one_of(
    st.sampled_from((b"1", b"2", b"5", b"100")), st.sampled_from((b"0", b"-1", b"x", b"", b"1.5", b"9223372036854775808"))
)
_idle = st.sampled_from((b"0", b"0", b"0", b"600000", b"900000000", b"-1", b"x", b"", b"9223372036854775807"))
"""Milliseconds: passed at once, or not during the run."""
_lasted = st.sampled_from((b"0", b"100000", b"700000", b"10000000", b"-1", b"x", b"", b"9223372036854775807"))
"""How long an entry is said to have waited: on one side of each of `_idle`."""
_moment = st.sampled_from((b"0", b"1000", b"1500000000000", b"-1", b"x", b"", b"9223372036854775807"))

_threshold = st.one_of(
    seq(option("MAXLEN"), maybe(option("=", "~")), _number), seq(option("MINID"), maybe(option("=", "~")), _id)
)
_limit = seq(option("LIMIT"), _number)
_trimming = seq(_threshold, maybe(_limit))
_rough = seq(option("MAXLEN", "MINID"), option("~"), st.sampled_from((b"0", b"1", b"3")), _limit)
_new_id = st.one_of(_rising, _rising, _rising, _rising, _made, _id, option("*"))

_block = seq(option("BLOCK"), st.sampled_from([Still(text) for text in (b"1", b"5", b"10", b"-1", b"x", b"", b"1.5")]))
"""In milliseconds; never 0, which is for ever."""
_count = seq(option("COUNT"), _number)


def _from(ids: "SearchStrategy[bytes]", special: SearchStrategy[Args]) -> "SearchStrategy[Args]":
    """STREAMS with as many ids as keys, mostly."""
    each = st.one_of(ids, special)
    sound = st.integers(1, 3).flatmap(lambda size: seq(some(key, least=size, most=size), some(each, least=size, most=size)))
    return seq(option("STREAMS"), st.one_of(sound, sound, sound, seq(some(key, most=3), some(each, most=3))))


_reading = _from(_id, option("$"))
_taking = _from(_id, st.one_of(option(">"), option(">"), option("$")))
_who = seq(option("GROUP"), _group, _consumer)
_entries_read = seq(option("ENTRIESREAD"), st.sampled_from((b"0", b"1", b"5", b"-1", b"-2", b"x", b"")))
_start = st.one_of(_id, option("$"))
_claiming = any_of(
    seq(option("IDLE"), _lasted),
    seq(option("TIME"), _moment),
    seq(option("RETRYCOUNT"), _number),
    option("FORCE"),
    option("JUSTID"),
    seq(option("LASTID"), _id),
    most=3,
)

STREAMS: dict[str, SearchStrategy[Args]] = {
    "XACK": seq(key, _group, some(_id)),
    "XADD": seq(key, any_of(option("NOMKSTREAM"), _trimming, _rough, most=2), _new_id, _entry),
    "XAUTOCLAIM": seq(key, _group, _consumer, _idle, _edge, any_of(_count, option("JUSTID"), most=2)),
    "XCLAIM": seq(key, _group, _consumer, _idle, some(_id, most=3), _claiming),
    "XDEL": seq(key, some(_id)),
    "XGROUP|CREATE": seq(key, _group, _start, any_of(option("MKSTREAM"), _entries_read, most=2)),
    "XGROUP|CREATECONSUMER": seq(key, _group, _consumer),
    "XGROUP|DELCONSUMER": seq(key, _group, _consumer),
    "XGROUP|DESTROY": seq(key, _group),
    "XGROUP|HELP": seq(),
    "XGROUP|SETID": seq(key, _group, _start, any_of(_entries_read, option("MKSTREAM"), most=2)),
    "XINFO|CONSUMERS": seq(key, _group),
    "XINFO|GROUPS": seq(key),
    "XINFO|HELP": seq(),
    "XINFO|STREAM": seq(key, st.one_of(maybe(seq(option("FULL"), maybe(_count))), any_of(option("FULL"), _count))),
    "XLEN": seq(key),
    "XPENDING": seq(
        key, _group, st.one_of(st.just([]), seq(maybe(seq(option("IDLE"), _idle)), _edge, _edge, _number, maybe(_consumer)))
    ),
    "XRANGE": seq(key, _edge, _edge, st.one_of(maybe(_count), any_of(_count, option("JUNK"), most=2))),
    "XREAD": seq(any_of(_count, _block, option("NOACK"), most=2), _reading),
    "XREADGROUP": seq(_who, any_of(_count, _block, option("NOACK"), most=3), _taking),
    "XREVRANGE": seq(key, _edge, _edge, st.one_of(maybe(_count), any_of(_count, option("JUNK"), most=2))),
    "XSETID": seq(
        key,
        _id,
        any_of(
            seq(option("ENTRIESADDED"), st.sampled_from((b"0", b"1", b"100", b"-1", b"x", b""))),
            seq(option("MAXDELETEDID"), _id),
            most=2,
        ),
    ),
    "XTRIM": seq(key, st.one_of(_trimming, _rough, any_of(_trimming, _limit, most=2))),
}
