"""Sequences of commands for the model: few keys and fields, values at the edges, options in any order and case."""

from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.versioned.model import wrong_arity

Command = tuple[bytes, ...]
Commands = SearchStrategy[Command]

FAR: Final = b"33177117420000"
"""Milliseconds; the year 3021."""
_INTEGERS: Final = (
    *(b"1", b"2", b"0", b"-1", b"5", b"-7", b"9007199254740993", b"9223372036854775807", b"-9223372036854775808"),
    *(b"9223372036854775808", b"007", b"+1", b"-0", b" 1", b"1.5", b"x", b""),
)
_FLOATS: Final = (
    *(b"0.1", b"0.2", b"-0.3", b"1", b"3.0e3", b"1e-17", b"5e-18", b"1e-18", b"18446744073709551615", b"9007199254740993.5"),
    *(b"1e20", b"1e4931", b"-1e4931", b"1.1e4932", b"1e4933", b"1e-4940", b"1e-4960", b"0x1.8p3", b"0x1p-16445", b"-0"),
    *(b"nan", b"inf", b"-INF", b"1e", b"1.5x", b" 1", b"", b".5", b"5.", b"+2.5", b"123456789.123456789123456789"),
)
_VALUES: Final = (
    *(b"", b"a", b"b", b"10", b"007", b"-3", b"0.1", b"1e3", b"inf", b"nan", b"\x00\r\n\xff", b"9223372036854775807"),
    *(b"-9223372036854775808", b"9223372036854775808", b"1e4931", b"@5000", b"@40000"),
)
"""``@5000`` stands for so many bytes."""
_VERSIONS: Final = (
    *(b"1", b"2", b"3", b"1", b"2", b"0", b"4", b"7", b"9007199254740993", b"9223372036854775806", b"9223372036854775807"),
    *(b"9223372036854775808", b"-1", b"x", b"01", b"1.0"),
)
_SECONDS: Final = (b"1000", b"100000")
_NO_TIMES: Final = (b"-1", b"x", b"1.5", b"9223372036854775808", b"")

key = st.sampled_from((*[b"@a"] * 6, *[b"@b"] * 3, b"@c"))
field = st.sampled_from((*[b"f"] * 5, b"g", b"g", b"h", b"n7", b"", b"\x00\xff"))
value = st.sampled_from((*[b"a", b"b", b"10"] * 5, *[b"@5000"] * 2, *_VALUES))
tail = st.sampled_from((*_VALUES[:-2], b"@1500"))
"""What is appended: however often, the value stays below what every store takes."""
_any_integer = st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n)
integer = st.one_of(st.sampled_from(_INTEGERS[:6]), st.sampled_from(_INTEGERS), _any_integer)
number = st.one_of(
    st.sampled_from(_FLOATS),
    st.integers(-(10**25), 10**25).map(lambda n: b"%d" % n),
    st.builds(lambda n, e: b"%de%d" % (n, e), st.integers(-(10**6), 10**6), st.integers(-25, 20)),
)
good_version = st.sampled_from((*[b"1", b"2", b"3", b"4"] * 4, *_VERSIONS[:11]))
version = st.sampled_from((*[b"1", b"2", b"3", b"4"] * 6, *_VERSIONS))


def cased(name: str) -> SearchStrategy[bytes]:
    """A name as people write it."""
    return st.sampled_from((name.encode(), name.encode(), name.lower().encode(), name.title().encode()))


def seq(*parts: "str | Commands | SearchStrategy[bytes]") -> Commands:
    """Words one after another; text is taken in any case, a strategy may give several words."""
    drawn: list[SearchStrategy[Any]] = [cased(part) if isinstance(part, str) else part for part in parts]

    def join(words: tuple[Any, ...]) -> Command:
        return tuple(each for word in words for each in (word if isinstance(word, tuple) else (word,)))

    return st.tuples(*drawn).map(join)


def weighted(*rows: tuple[int, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    """One of the strategies, as often as its number says."""
    choices = [each for weight, each in rows for _ in range(weight)]
    places = st.integers(0, len(choices) - 1)

    @st.composite
    def chosen(draw: st.DrawFn) -> Any:
        return draw(choices[draw(places)])

    return chosen()


def _one(choices: Iterable[Commands]) -> Commands:
    return weighted(*((1, each) for each in choices))


def _times(*, zero: bool) -> Commands:
    wrong = st.sampled_from(_NO_TIMES if zero else (*_NO_TIMES, b"0"))
    return weighted(
        (3, seq("EX", st.sampled_from(_SECONDS))),
        (3, seq("PX", st.sampled_from(tuple(each + b"000" for each in _SECONDS)))),
        (2, seq("EXAT", st.just(FAR[:-3]))),
        (4, seq("PXAT", st.just(FAR))),
        (1, seq(st.sampled_from((b"EXAT", b"PXAT")), st.just(b"1"))),
        (1, seq(st.sampled_from((b"EX", b"px", b"EXAT", b"PXAT")), st.just(b"0") if zero else wrong)),
        (1, seq(st.sampled_from((b"EX", b"px", b"EXAT", b"PXAT")), wrong)),
    )


def _joined(rows: list[Command]) -> Command:
    return tuple(word for row in rows for word in row)


def _some(*choices: Commands) -> Commands:
    """None, one, seldom more of the options, rarely one that is cut off or is none."""
    one = _one(choices)
    cut = st.one_of(one.map(lambda words: words[:1]), seq("JUNK"), seq("NX"), seq("GT", version), seq("FLAGS", version))
    several = st.lists(one, min_size=2, max_size=4).map(_joined)
    return weighted((6, st.just(())), (8, one), (4, several), (1, st.tuples(one, cut).map(lambda pair: pair[0] + pair[1])))


_time, _field_time = _times(zero=False), _times(zero=True)
_keep = seq("KEEPTTL")
_version = st.one_of(seq("VER", version), seq("ABS", version))
_field_version = st.one_of(seq("VER", version), seq("ABS", version), seq("GT", version))
_condition = st.one_of(seq("NX"), seq("XX"))
_shown = seq("WITHVERSION")
_range = st.one_of(seq("MIN", integer), seq("MAX", integer))
_float_range = st.one_of(seq("MIN", number), seq("MAX", number))
_expiry = st.one_of(_time, _keep)
_set_options = _some(_expiry, _condition, _version, _shown, seq("FLAGS", st.sampled_from((b"0", b"7", b"4294967295", b"x"))))
_incr_options = _some(
    _expiry, _condition, _version, _shown, _range, seq("DEF", integer), seq("NONEGATIVE"), seq("MAX", st.just(b"100"))
)

STRINGS: Final[dict[str, Commands]] = {
    "EXSET": seq("EXSET", key, value, _set_options),
    "EXSET, a number": seq("EXSET", key, st.one_of(integer, number), _set_options),
    "EXGET": seq("EXGET", key, st.sampled_from(((), (b"WITHFLAGS",), (b"withflags",), (b"FLAGS",)))),
    "EXSETVER": seq("EXSETVER", key, version),
    "EXINCRBY": seq("EXINCRBY", key, integer, _incr_options),
    "EXINCRBYFLOAT": seq("EXINCRBYFLOAT", key, number, _some(_expiry, _condition, _version, _float_range)),
    "EXCAS": seq("EXCAS", key, value, version, _some(_expiry)),
    "EXCAD": seq("EXCAD", key, version),
    "EXAPPEND": seq("EXAPPEND", key, tail, _some(_condition, _version)),
    "EXPREPEND": seq("EXPREPEND", key, tail, _some(_condition, _version)),
    "EXGAE": seq("EXGAE", key, st.one_of(_time, _time, seq("KEEPTTL", st.just(b"1")), seq("VER", version))),
}



def _crowd(size: int) -> Command:
    """Fields around the number at which a store changes how it keeps a hash."""
    return tuple(word for at in range(size) for word in (b"n%d" % at, b"%d" % at))


_pairs = st.lists(seq(field, value), min_size=1, max_size=4).map(_joined)
_row = seq(field, value, st.one_of(good_version, version), st.sampled_from((*_SECONDS * 6, b"-1", b"x")))
_rows = st.lists(_row, min_size=1, max_size=3).map(_joined)
_fields = st.lists(field, min_size=1, max_size=3).map(tuple)
_field_expiry = st.one_of(_field_time, _keep)
_when = weighted((5, st.just(())), (5, _field_version), (1, _field_version.map(lambda words: words[:1])), (1, seq("NX")))
HASHES: Final[dict[str, Commands]] = {
    "EXHSET": seq("EXHSET", key, field, value, _some(_field_expiry, _condition, _field_version)),
    "EXHSET, a number": seq("EXHSET", key, field, st.one_of(integer, number), _some(_field_expiry, _field_version)),
    "EXHSETNX": seq("EXHSETNX", key, field, value),
    "EXHMSET": seq("EXHMSET", key, _pairs),
    "EXHMSET, a crowd": seq("EXHMSET", key, st.sampled_from((127, 140)).map(_crowd)),
    "EXHMSETWITHOPTS": seq("EXHMSETWITHOPTS", key, _rows),
    "EXHEXPIRE": seq("EXHEXPIRE", key, field, st.sampled_from((*_SECONDS * 6, b"0", *_NO_TIMES)), _when),
    "EXHPEXPIRE": seq("EXHPEXPIRE", key, field, st.sampled_from((*[b"1000000"] * 6, b"0", b"-1", b"x")), _when),
    "EXHEXPIREAT": seq("EXHEXPIREAT", key, field, st.sampled_from((*[FAR[:-3]] * 4, b"1", b"0", b"-1")), _when),
    "EXHPEXPIREAT": seq("EXHPEXPIREAT", key, field, st.sampled_from((*[FAR] * 4, b"1", b"0", b"x")), _when),
    "EXHTTL": seq("EXHTTL", key, field),
    "EXHPTTL": seq("EXHPTTL", key, field),
    "EXHPERSIST": seq("EXHPERSIST", key, field),
    "EXHVER": seq("EXHVER", key, field),
    "EXHSETVER": seq("EXHSETVER", key, field, version),
    "EXHINCRBY": seq("EXHINCRBY", key, field, integer, _some(_field_expiry, _field_version, _range)),
    "EXHINCRBYFLOAT": seq("EXHINCRBYFLOAT", key, field, number, _some(_field_expiry, _field_version, _float_range)),
    "EXHGET": seq("EXHGET", key, field),
    "EXHGETWITHVER": seq("EXHGETWITHVER", key, field),
    "EXHMGET": seq("EXHMGET", key, _fields),
    "EXHMGETWITHVER": seq("EXHMGETWITHVER", key, _fields),
    "EXHGETALL": seq("EXHGETALL", key),
    "EXHGETALLWITHVER": seq("EXHGETALLWITHVER", key),
    "EXHKEYS": seq("EXHKEYS", key),
    "EXHVALS": seq("EXHVALS", key),
    "EXHLEN": seq("EXHLEN", key, st.sampled_from(((), (b"NOEXP",), (b"noexp",), (b"x",)))),
    "EXHSTRLEN": seq("EXHSTRLEN", key, field),
    "EXHEXISTS": seq("EXHEXISTS", key, field),
    "EXHDEL": seq("EXHDEL", key, _fields),
    "EXHDELWITHVER": seq("EXHDELWITHVER", key, field, good_version),
    "EXHSCAN": seq("EXHSCAN", key, st.just(b"0"), "COUNT", st.just(b"1000")),
}


def known_set(words: Command) -> bool:
    """Whether these are options of SET that the model knows, each once."""
    names = [word.upper() for word in words if word.upper() in (b"NX", b"XX", b"IFEQ", b"KEEPTTL")]
    distinct = set(names)
    return len(words) == len(names) + names.count(b"IFEQ") and len(distinct) == len(names) and not {b"NX", b"XX"} <= distinct


_ifeq = seq("IFEQ", value)
GENERIC: Final[dict[str, Commands]] = {
    "TYPE": seq("TYPE", key),
    "EXISTS": seq("EXISTS", key),
    "DEL": seq(st.sampled_from((b"DEL", b"UNLINK")), key),
    "PEXPIREAT": seq("PEXPIREAT", key, st.sampled_from((FAR, FAR, b"1"))),
    "EXPIRE": seq("EXPIRE", key, st.sampled_from(_SECONDS)),
    "PERSIST": seq("PERSIST", key),
    "PEXPIRETIME": seq("PEXPIRETIME", key),
    "PTTL": seq("PTTL", key),
    "RENAME": seq("RENAME", key, key),
    "RENAMENX": seq("RENAMENX", key, key),
    "COPY": seq("COPY", key, key, st.sampled_from(((), (b"REPLACE",)))),
    "GET": seq("GET", key),
    "MGET": seq("MGET", key, key),
    "STRLEN": seq("STRLEN", key),
    "APPEND": seq("APPEND", key, tail),
    "GETDEL": seq("GETDEL", key),
    "HSET": seq("HSET", key, field, value),
    "HGET": seq("HGET", key, field),
    "HLEN": seq("HLEN", key),
    "HDEL": seq("HDEL", key, field),
    "SET": seq("SET", key, value, _some(_condition, _ifeq, _keep).filter(known_set)),
    "SET IFEQ": seq("SET", key, value, _ifeq, st.sampled_from(((), (b"GET",), (b"KEEPTTL",), (b"PXAT", FAR)))),
    "CAS": seq("CAS", key, value, value, _some(_expiry)),
    "CAD": seq("CAD", key, value),
    "DELIFEQ": seq("DELIFEQ", key, value),
    "DELEX": seq("DELEX", key, st.sampled_from((b"IFEQ", b"ifne")), value),
}
_NOT_QUEUED: Final = ("MGET",)
"""What the gate splits is not taken into MULTI."""


def _wrong(commands: Commands) -> Commands:
    """A word less, or one more."""
    return st.tuples(commands, st.booleans()).map(lambda pair: pair[0][:-1] if pair[1] else (*pair[0], b"x"))


def _unsaid(command: Command) -> bool:
    """Whether tair.md does not say what a command with a word more or less is."""
    return command[0].upper() in (b"EXHSCAN", b"EXHDELWITHVER") and not wrong_arity(command)


def expanded(command: Command, prefix: bytes) -> Command:
    """The command itself: `prefix` before each key, long values as long as they are said to be."""
    return tuple(
        word if word[:1] != b"@" else b"x" * int(word[1:]) if word[1:].isdigit() else prefix + word[1:] for word in command
    )


Step = list[Command]
"""One command that is sent as it is, or several in a transaction."""


def steps(*tables: dict[str, Commands]) -> SearchStrategy[list[Step]]:
    """Sequences of steps of the commands in these tables; the first table's most."""
    rows = [commands for table in tables for commands in table.values()]
    broken = [_wrong(commands) for table in tables if table is not GENERIC for commands in table.values()]
    queued = [commands for table in tables for name, commands in table.items() if name not in _NOT_QUEUED]
    first = list(tables[0].values())
    single = _one([*rows, *first, *first[:2] * 3])
    odd = _one(broken).filter(lambda each: not _unsaid(each))
    block = st.lists(_one(queued), min_size=2, max_size=5)
    step = weighted((16, single.map(lambda command: [command])), (1, odd.map(lambda command: [command])), (1, block))
    return st.integers(1, 40).flatmap(lambda number: st.lists(step, min_size=number, max_size=number))
