"""Generators of the string and bitmap commands: every option, alone, together and where it does not belong."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.pools import at_milliseconds, at_seconds, integer, key, milliseconds, number, offset, seconds, value
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_EXPIRY = (
    seq(option("EX"), seconds),
    seq(option("PX"), milliseconds),
    seq(option("EXAT"), at_seconds),
    seq(option("PXAT"), at_milliseconds),
)
_pairs = some(seq(key, value), most=3)

STRINGS: dict[str, SearchStrategy[Args]] = {
    "APPEND": seq(key, value),
    "DECR": seq(key),
    "DECRBY": seq(key, integer),
    "GET": seq(key),
    "GETDEL": seq(key),
    "GETEX": seq(key, st.one_of(maybe(st.one_of(*_EXPIRY, option("PERSIST"))), any_of(*_EXPIRY, option("PERSIST"), most=3))),
    "GETRANGE": seq(key, offset, offset),
    "GETSET": seq(key, value),
    "INCR": seq(key),
    "INCRBY": seq(key, integer),
    "INCRBYFLOAT": seq(key, number),
    "LCS": seq(
        key,
        key,
        any_of(
            option("LEN"),
            option("IDX"),
            option("WITHMATCHLEN"),
            seq(option("MINMATCHLEN"), st.sampled_from((b"0", b"1", b"2", b"4", b"-1", b"x", b""))),
        ),
    ),
    "MGET": some(key),
    "MSET": _pairs,
    "MSETNX": _pairs,
    "PSETEX": seq(key, milliseconds, value),
    "SET": seq(key, value, any_of(*_EXPIRY, option("NX", "XX"), option("GET"), option("KEEPTTL"), option("PERSIST"))),
    "SETEX": seq(key, seconds, value),
    "SETNX": seq(key, value),
    "SETRANGE": seq(key, pools.place, value),
    "STRLEN": seq(key),
    "SUBSTR": seq(key, offset, offset),
}

_unit = option("BYTE", "BIT")
_types = (b"u8", b"i8", b"u1", b"i1", b"u4", b"i5", b"u16", b"i16", b"u32", b"u63", b"i64", b"i63", b"u7", b"I8")
_no_types = (b"u64", b"i65", b"u0", b"i0", b"u", b"8", b"x8", b"u08", b"u-1", b"")
_slots = (b"0", b"1", b"7", b"8", b"100", b"#0", b"#1", b"#2", b"#100", b"%d" % (pools.CHUNK * 8 - 3))
_no_slots = (
    *(b"-1", b"#-1", b"#", b"x", b"", b"01"),
    *(b"4294967296", b"9223372036854775807", b"#9223372036854775807"),
)
_numbers = st.one_of(st.sampled_from((b"0", b"1", b"-1", b"100", b"-100", b"255", b"-128", b"65536")), pools.sound_integer)


def _operations(
    kind: SearchStrategy[bytes], slot: SearchStrategy[bytes], number_: SearchStrategy[bytes], *more: SearchStrategy[Args]
) -> SearchStrategy[Args]:
    """Some operations of BITFIELD."""
    change = seq(option("SET", "INCRBY"), kind, slot, number_)
    overflow = seq(option("OVERFLOW"), option("WRAP", "SAT", "FAIL"))
    return some(st.one_of(seq(option("GET"), kind, slot), change, seq(overflow, change), overflow, *more), least=0, most=5)


_sound = _operations(st.sampled_from(_types), st.sampled_from(_slots), _numbers)
_odd = _operations(
    st.sampled_from(_types + _no_types),
    st.sampled_from(_slots + _no_slots),
    integer,
    seq(option("OVERFLOW"), option("JUNK")),
)
_gets = some(seq(option("GET"), st.sampled_from(_types), st.sampled_from(_slots + _no_slots)), least=0)

BITMAPS: dict[str, SearchStrategy[Args]] = {
    "BITCOUNT": seq(key, maybe(seq(offset, offset, maybe(_unit)))),
    "BITFIELD": seq(key, st.one_of(_sound, _sound, _sound, _odd)),
    "BITFIELD_RO": seq(key, st.one_of(_gets, _gets, _odd)),
    "BITOP": st.one_of(
        seq(option("AND", "OR", "XOR", "NOT"), key, some(key)),
        seq(option("NOT"), key, key),
        seq(option("NAND"), key, key),
    ),
    "BITPOS": seq(key, pools.bit, maybe(seq(offset, maybe(seq(offset, maybe(_unit)))))),
    "GETBIT": seq(key, pools.bit_place),
    "SETBIT": seq(key, pools.bit_place, pools.bit),
}
