"""The options of versioned hashes (TairHash): what they say of a field's next version and expiry. Rules: docs/versioned.md."""

from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from kvgate.errors import SYNTAX, GateError, syntax_error
from kvgate.model.elements import Element
from kvgate.model.exstring_options import STALE, ExOptions, integer, parse
from kvgate.model.numbers import INT64_MAX

NOT_FLOAT: Final = "ERR value is not an float"
"""Sic."""
BOUND_NOT_INTEGER: Final = "ERR min or max is specified, but value is not an integer"
BOUND_NOT_FLOAT: Final = "ERR min or max is specified, but value is not a float"
BOUNDS_CROSSED: Final = "ERR min value is bigger than max value"

_GUARDS: Final = frozenset((b"VER", b"ABS", b"GT"))
_EXPIRY: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT", b"KEEPTTL"))
EXHSET: Final = _GUARDS | _EXPIRY | {b"NX", b"XX"}
EXHINCRBY: Final = _GUARDS | _EXPIRY | {b"MIN", b"MAX"}
EXHEXPIRE: Final = _GUARDS
"""The words that each command takes."""

AT_ONCE: Final = 1
"""The expiry that a time of 0 means, whatever its unit: long past."""
_SECONDS: Final = frozenset((b"EX", b"EXAT"))
_RELATIVE: Final = frozenset((b"EX", b"PX"))
_VERSIONS: Final = 1 << 64


def raised(version: int) -> int:
    """The version after this one; behind 2**63 - 1 comes the smallest negative one, as in the module."""
    return (version + 1 - INT64_MAX - 1) % _VERSIONS - INT64_MAX - 1


def moment(text: bytes, now_ms: int, *, seconds: bool, relative: bool) -> int:
    """The time of an option or an argument as absolute ms, maybe in the past.

    Raises:
        GateError: syntax error: no integer, negative, or beyond 64 bits (where the module's sum is undefined).
    """
    time = integer(text, SYNTAX)
    if time == 0:
        return AT_ONCE
    expires = time * 1000 if seconds else time
    if relative:
        expires += now_ms
    if time < 0 or expires > INT64_MAX:
        raise syntax_error()
    return expires


@attrs.frozen(slots=True)
class FieldOptions:
    """What the options of a write to a field said."""

    words: ExOptions
    """As they came, for MIN and MAX too."""
    expires: int
    """Absolute ms, 0 when none was given."""
    guard: bytes
    """``VER``, ``ABS`` or ``GT``, empty without one."""
    asked: int
    """The version it asks for."""

    def bars(self, before: Element | None) -> bool:
        """Whether NX or XX keeps the command from doing anything."""
        return (b"XX" if before is None else b"NX") in self.words.words

    def version_after(self, before: Element | None) -> int:
        """The version after a write. A new field has no version that could be wrong, and ``VER 0`` compares nothing.

        Raises:
            GateError: the version is not that of VER, or not below that of GT.
        """
        if before is not None:
            stale = self.guard == b"VER" and 0 != self.asked != before.version
            if stale or (self.guard == b"GT" and self.asked <= before.version):
                raise GateError(STALE)
        if self.guard in (b"ABS", b"GT"):
            return self.asked
        return raised(0 if before is None else before.version)

    def expires_after(self, before: Element | None) -> int:
        """The expiry after a write of the value: without a new one or KEEPTTL the field will not expire."""
        if self.expires or before is None or b"KEEPTTL" not in self.words.words:
            return self.expires
        return before.expires


def field_options(args: list[bytes], start: int, allowed: AbstractSet[bytes], now_ms: int) -> FieldOptions:
    """The options from argument `start` on, of which the command takes `allowed`.

    Raises:
        GateError: syntax error.
    """
    words = parse(args, start, allowed, again=True)
    expires = 0
    if b"TIME" in words.values:
        unit, text = words.values[b"TIME"]
        expires = moment(text, now_ms, seconds=unit in _SECONDS, relative=unit in _RELATIVE)
    guard, text = words.values.get(b"VERSION", (b"", b"0"))
    asked = integer(text, SYNTAX)
    if asked < 0 or (asked == 0 and guard in (b"ABS", b"GT")):
        raise syntax_error()
    return FieldOptions(words, expires, guard, asked)
