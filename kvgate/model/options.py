"""The options of SET, GETEX and the EXPIRE family: one parser each for what Redis parses in one place."""

from typing import Final

import attrs

from kvgate.errors import GateError, syntax_error
from kvgate.model.numbers import INT64_MAX, INT64_MIN, parse_int64

_RELATIVE: Final = {b"EX", b"PX"}
_SECONDS: Final = {b"EX", b"EXAT"}
_TIMES: Final = {b"EX", b"PX", b"EXAT", b"PXAT"}


def option(arg: bytes) -> bytes:
    """An option's name in upper case; what stands behind a NUL is not looked at, as Redis compares C strings."""
    return arg.partition(b"\x00")[0].upper()


@attrs.define(slots=True)
class StringOptions:
    """What the options of SET or GETEX said. Times are kept as they came: Redis looks at the key before some of them."""

    nx: bool = False
    xx: bool = False
    equals: bytes | None = None
    """The value of IFEQ (Valkey's)."""
    get: bool = False
    keep_ttl: bool = False
    persist: bool = False
    unit: bytes = b""
    """``EX PX EXAT PXAT``, empty without a time."""
    time: bytes = b""

    def expires(self, command: str, now_ms: int) -> int:
        """The absolute expiry in ms, 0 when none was given. `command` in lower case, for the error.

        Raises:
            GateError: no integer, or no time that Redis takes.
        """
        return expiry(self.time, self.unit, command, now_ms) if self.unit else 0


def expiry(text: bytes, unit: bytes, command: str, now_ms: int) -> int:
    """A time that must be positive (SET, SETEX, GETEX), as absolute ms.

    Raises:
        GateError: no integer, not positive, or beyond 64 bits.
    """
    value = parse_int64(text)
    if value <= 0 or (unit in _SECONDS and value > INT64_MAX // 1000):
        raise invalid_expire(command)
    if unit in _SECONDS:
        value *= 1000
    if unit in _RELATIVE:
        value += now_ms
    if value > INT64_MAX:
        raise invalid_expire(command)
    return value


def invalid_expire(command: str) -> GateError:
    """`command` in lower case."""
    return GateError(f"ERR invalid expire time in '{command}' command")


def set_options(args: list[bytes]) -> StringOptions:
    """The options of ``SET key value …``.

    Raises:
        GateError: syntax error.
    """
    found = StringOptions()
    at = 3
    while at < len(args):
        name = option(args[at])
        if name == b"NX" and not found.xx and found.equals is None:
            found.nx = True
        elif name == b"XX" and not found.nx and found.equals is None:
            found.xx = True
        elif name == b"IFEQ" and not found.nx and not found.xx and found.equals is None and at + 1 < len(args):
            at += 1
            found.equals = args[at]
        elif name == b"GET":
            found.get = True
        elif name == b"KEEPTTL" and not found.unit:
            found.keep_ttl = True
        else:
            at = _time(found, name, args, at, barred=found.keep_ttl)
        at += 1
    return found


def getex_options(args: list[bytes]) -> StringOptions:
    """The options of ``GETEX key …``.

    Raises:
        GateError: syntax error.
    """
    found = StringOptions()
    at = 2
    while at < len(args):
        name = option(args[at])
        if name == b"PERSIST" and not found.unit:
            found.persist = True
        else:
            at = _time(found, name, args, at, barred=found.persist)
        at += 1
    return found


def _time(found: StringOptions, name: bytes, args: list[bytes], at: int, *, barred: bool) -> int:
    """Take a time option, alone of its kind (the same one may come again: the last counts); the position of its value."""
    if name not in _TIMES or barred or found.unit not in (b"", name) or at + 1 == len(args):
        raise syntax_error()
    found.unit, found.time = name, args[at + 1]
    return at + 1


def expire_conditions(args: list[bytes]) -> set[bytes]:
    """The ``NX XX GT LT`` of ``EXPIRE key time …``.

    Raises:
        GateError: an unknown option, or such as exclude each other.
    """
    found: set[bytes] = set()
    for arg in args[3:]:
        name = option(arg)
        if name not in (b"NX", b"XX", b"GT", b"LT"):
            shown = arg.partition(b"\x00")[0].rstrip(b"\r\n").decode("utf-8", "surrogateescape")  # as Redis trims errors
            raise GateError(f"ERR Unsupported option {shown}")
        found.add(name)
    if b"NX" in found and len(found) > 1:
        raise GateError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= found:
        raise GateError("ERR GT and LT options at the same time are not compatible")
    return found


def expire_time(text: bytes, command: str, now_ms: int, *, seconds: bool, relative: bool) -> int:
    """The time of an EXPIRE command as absolute ms; it may lie in the past.

    Raises:
        GateError: no integer, or beyond 64 bits.
    """
    value = parse_int64(text)
    if seconds:
        if not INT64_MIN // 1000 < value <= INT64_MAX // 1000:
            raise invalid_expire(command)
        value *= 1000
    if relative:
        value += now_ms
    if value > INT64_MAX:
        raise invalid_expire(command)
    return value
