"""Generators of the geo commands: every way to say where, how far and how, together and where it does not belong."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.chance import ALL
from kvgate_compat.pools import key
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_PLACES: tuple[tuple[bytes, bytes], ...] = (
    (b"13.361389", b"38.115556"),
    (b"15.087269", b"37.502669"),
    (b"0", b"0"),
    (b"13.3613891", b"38.1155561"),  # beside the first
    (b"-0.0", b"1e-7"),
    (b"180", b"85.05112878"),
    (b"-180", b"-85.05112878"),
    (b"179.999999", b"0"),
    (b"-179.999999", b"0"),
    (b"1e1", b"0x10"),
)
_NO_PLACES: tuple[tuple[bytes, bytes], ...] = (
    *((b"180.0000001", b"0"), (b"0", b"85.0511288"), (b"0", b"-86"), (b"-181", b"0"), (b"1e400", b"0"), (b"inf", b"0")),
    *((b"nan", b"0"), (b"0", b"nan"), (b"x", b"0"), (b"0", b"x"), (b"", b""), (b" 1", b"1"), (b"1 ", b"1")),
)
_place = st.one_of(*[st.sampled_from(_PLACES)] * 5, st.sampled_from(_NO_PLACES)).map(list)
_sound_place = st.sampled_from(_PLACES).map(list)
_member = st.sampled_from((b"p", b"q", b"p", b"q", b"r", b"", b"1", b"a", b"\x00\xff\r\n", b"g" * 65))
"""What has a place."""
_unit = option("m", "km", "ft", "mi", "km", "m", "junk")
_length = st.sampled_from(
    (
        *(b"0", b"1", b"100", b"200000", b"5000", b"1000000", b"20000000", b"1e9") * 2,
        *(b"0.001", b"1e300", b"-1", b"-0.0", b"x", b"", b"nan", b"inf", b"-inf", b"1e400", b"0x10", b" 1"),
    )
)
_how_many = st.sampled_from(
    (b"1", b"2", b"1", b"2", b"3", b"%d" % ALL, b"0", b"-1", b"9223372036854775807", b"9223372036854775808", b"x", b"")
)
_some = seq(option("COUNT"), _how_many, maybe(option("ANY")))
_any = seq(option("COUNT"), st.just(b"%d" % ALL), option("ANY"))
_order = option("ASC", "DESC")
_shown = option("WITHCOORD", "WITHDIST", "WITHHASH")
_from = st.one_of(
    seq(option("FROMMEMBER"), _member), seq(option("FROMLONLAT"), _sound_place), seq(option("FROMLONLAT"), _place)
)
_by = st.one_of(seq(option("BYRADIUS"), _length, _unit), seq(option("BYBOX"), _length, _length, _unit))


def _search(*more: SearchStrategy[Args]) -> SearchStrategy[Args]:
    """GEOSEARCH's words: mostly one centre and one shape, in either order, with up to four options around them."""
    options = any_of(*more, _order, _some, _any, most=3)
    sound = st.one_of(seq(options, _from, _by, options), seq(_from, options, _by), seq(_by, _from, options))
    return st.one_of(*[sound] * 4, any_of(_from, _by, _order, _some, *more, option("JUNK"), most=5))


_near = any_of(_shown, _shown, _order, _some, _any, most=4)
_stored = seq(option("STORE", "STOREDIST"), key)
_near_or_stored = st.one_of(_near, _near, any_of(_shown, _order, _some, _any, _stored, _stored, option("JUNK"), most=5))
_add_options = any_of(option("NX", "XX"), option("CH"), option("NX", "XX", "CH", "JUNK"), most=3)

GEO: dict[str, SearchStrategy[Args]] = {
    "GEOADD": seq(key, st.one_of(seq(), _add_options), some(seq(_place, _member), most=5)),
    "GEODIST": seq(key, _member, _member, maybe(_unit)),
    "GEOHASH": seq(key, some(_member, least=0)),
    "GEOPOS": seq(key, some(_member, least=0)),
    "GEORADIUS": seq(key, _place, _length, _unit, _near_or_stored),
    "GEORADIUSBYMEMBER": seq(key, _member, _length, _unit, _near_or_stored),
    "GEORADIUSBYMEMBER_RO": seq(key, _member, _length, _unit, st.one_of(_near, _near, _near_or_stored)),
    "GEORADIUS_RO": seq(key, _place, _length, _unit, st.one_of(_near, _near, _near_or_stored)),
    "GEOSEARCH": seq(key, _search(_shown, _shown)),
    "GEOSEARCHSTORE": seq(key, key, _search(option("STOREDIST"), option("STOREDIST"), _shown)),
}
