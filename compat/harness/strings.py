"""Generators of the string and bitmap commands: every option, alone, together and where it does not belong."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from compat.harness import pools
from compat.harness.pools import at_milliseconds, at_seconds, integer, key, milliseconds, number, offset, seconds, value
from compat.harness.words import Args, any_of, maybe, option, seq, some

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
_type = st.sampled_from(
    (
        *(b"u8", b"i8", b"u1", b"i1", b"u4", b"i5", b"u16", b"i16", b"u32", b"u63", b"i64", b"i63", b"u7", b"I8"),
        *(b"u64", b"i65", b"u0", b"i0", b"u", b"8", b"x8", b"u08", b"u-1", b""),
    )
)
_slot = st.sampled_from(
    (
        *(b"0", b"1", b"7", b"8", b"100", b"#0", b"#1", b"#2", b"#100", b"%d" % (pools.CHUNK * 8 - 3)),
        *(b"-1", b"#-1", b"#", b"x", b"", b"01", b"4294967296", b"9223372036854775807", b"#9223372036854775807"),
    )
)
_get = seq(option("GET"), _type, _slot)
_actions = some(
    st.one_of(
        _get,
        seq(option("SET"), _type, _slot, integer),
        seq(option("INCRBY"), _type, _slot, integer),
        seq(option("OVERFLOW"), option("WRAP", "SAT", "FAIL", "JUNK")),
    ),
    least=0,
    most=5,
)

BITMAPS: dict[str, SearchStrategy[Args]] = {
    "BITCOUNT": seq(key, maybe(seq(offset, offset, maybe(_unit)))),
    "BITFIELD": seq(key, _actions),
    "BITFIELD_RO": seq(key, st.one_of(some(_get, least=0), _actions)),
    "BITOP": st.one_of(
        seq(option("AND", "OR", "XOR", "NOT"), key, some(key)),
        seq(option("NOT"), key, key),
        seq(option("NAND"), key, key),
    ),
    "BITPOS": seq(key, pools.bit, maybe(seq(offset, maybe(seq(offset, maybe(_unit)))))),
    "GETBIT": seq(key, pools.bit_place),
    "SETBIT": seq(key, pools.bit_place, pools.bit),
}
