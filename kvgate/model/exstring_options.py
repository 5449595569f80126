"""The options of versioned strings (TairString): one parser for all of its commands, each of which says which it takes.

Versioned hashes use it too (`kvgate.model.exhash_options`).

What the module takes and in which order it looks is in docs/versioned.md. Options are parsed before anything is looked at;
their values are read when the command comes to them, since the errors of some commands depend on the order.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from kvgate.errors import SYNTAX, GateError, syntax_error
from kvgate.model.numbers import INT64_MAX
from kvgate.wire.request import parse_length

NOT_INTEGER: Final = "ERR value is not an integer"
NOT_FLOAT: Final = "ERR value is not a float"
VERSION_NOT_INTEGER: Final = "ERR version should be integer"
STALE: Final = "ERR update version is stale"
WRONG_BOUNDS: Final = "ERR min or max is specified, but not valid"
BEYOND: Final = "ERR increment or decrement would overflow"
APPEND_FAILED: Final = "ERR append buffer failed"

VERSIONS: Final = 1 << 64
"""A version is a u64 and wraps; clients see it as a signed integer."""
FLAGS_MAX: Final = 2**32 - 1

_WORDS: Final = frozenset((b"NX", b"XX", b"KEEPTTL", b"WITHVERSION", b"NONEGATIVE"))
_SECONDS: Final = frozenset((b"EX", b"EXAT"))
_RELATIVE: Final = frozenset((b"EX", b"PX"))
_TIMES: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT"))
_GUARDS: Final = frozenset((b"VER", b"ABS"))
_CREATES: Final = _GUARDS | {b"NX", b"XX"}

EXSET: Final = _TIMES | _CREATES | {b"KEEPTTL", b"FLAGS", b"WITHVERSION"}
EXINCRBY: Final = _TIMES | _CREATES | {b"KEEPTTL", b"DEF", b"MIN", b"MAX", b"NONEGATIVE", b"WITHVERSION"}
EXINCRBYFLOAT: Final = _TIMES | _CREATES | {b"KEEPTTL", b"MIN", b"MAX"}
EXCAS: Final = _TIMES | {b"KEEPTTL"}
EXAPPEND: Final = _CREATES
EXGAE: Final = _TIMES
"""The words that each command takes."""

_SLOTS: Final = {**dict.fromkeys(_TIMES, b"TIME"), **dict.fromkeys(_GUARDS | {b"GT"}, b"VERSION")}
"""Options that exclude each other share a slot."""


def integer(text: bytes, error: str) -> int:
    """An integer of 64 bits, as strictly as Redis takes it.

    Raises:
        GateError: `error`.
    """
    value = parse_length(text)
    if value is None:
        raise GateError(error)
    return value


@attrs.frozen(slots=True)
class ExOptions:
    """What the options said; values as they came."""

    words: AbstractSet[bytes]
    """Options without a value, in upper case."""
    values: Mapping[bytes, tuple[bytes, bytes]]
    """Slot → option and its value. The slot is ``TIME``, ``VERSION`` or the option itself."""

    @property
    def absolute(self) -> bool:
        """Whether ABS was given: the version becomes that number."""
        return self.values.get(b"VERSION", (b"", b""))[0] == b"ABS"

    def text(self, name: bytes) -> bytes | None:
        """The value of an option that has a slot of its own."""
        found = self.values.get(name)
        return None if found is None else found[1]

    def time(self) -> int | None:
        """The number of EX, PX, EXAT or PXAT, whatever it is.

        Raises:
            GateError: syntax error: it is no integer.
        """
        found = self.values.get(b"TIME")
        return None if found is None else integer(found[1], SYNTAX)

    def expires(self, now_ms: int) -> int:
        """The absolute expiry in ms, maybe in the past; 0 when none was given.

        Raises:
            GateError: syntax error: no integer, not positive, or beyond 64 bits (where the module's sum is undefined).
        """
        if not self.values:
            return 0
        time = self.time()
        if time is None:
            return 0
        unit = self.values[b"TIME"][0]
        expires = time * 1000 if unit in _SECONDS else time
        if unit in _RELATIVE:
            expires += now_ms
        if time <= 0 or expires > INT64_MAX:
            raise syntax_error()
        return expires

    def version(self) -> int:
        """The number of VER or ABS, 0 without one.

        Raises:
            GateError: syntax error: no integer, or negative.
        """
        if not self.values:
            return 0
        found = self.values.get(b"VERSION")
        if found is None:
            return 0
        version = integer(found[1], SYNTAX)
        if version < 0:
            raise syntax_error()
        return version

    def flags(self) -> int | None:
        """The number of FLAGS.

        Raises:
            GateError: syntax error: it is no u32.
        """
        text = self.text(b"FLAGS")
        if text is None:
            return None
        flags = integer(text, SYNTAX)
        if not 0 <= flags <= FLAGS_MAX:
            raise syntax_error()
        return flags


_NONE: Final = ExOptions(frozenset(), {})


def parse(args: list[bytes], start: int, allowed: AbstractSet[bytes], *, again: bool = False) -> ExOptions:
    """The options from argument `start` on, of which the command takes `allowed`. With `again` a value other than a time may
    be given twice by the same option, as in TairHash: the last one counts.

    Raises:
        GateError: syntax error.
    """
    if len(args) == start:
        return _NONE
    words: set[bytes] = set()
    values: dict[bytes, tuple[bytes, bytes]] = {}
    rest = iter(args[start:])
    for arg in rest:
        name = arg.upper()
        if name not in allowed:
            raise syntax_error()
        if name in _WORDS:
            words.add(name)
            continue
        slot, value = _SLOTS.get(name, name), next(rest, None)
        if value is None or (slot in values and not (again and slot != b"TIME" and values[slot][0] == name)):
            raise syntax_error()
        values[slot] = name, value
    if words >= {b"NX", b"XX"} or (b"TIME" in values and b"KEEPTTL" in words):
        raise syntax_error()
    return ExOptions(words, values)
