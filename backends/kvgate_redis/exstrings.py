"""Versioned strings (TairString) on a store without the module: each command as one request, most of them a script.

What the options say is found out here, as for the embedded stores, so that a script (`kvgate_redis.exstring_scripts`) gets
plain values. EXGET is no script but one plain command.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kvgate.errors import SYNTAX, GateError, wrong_arity
from kvgate.model import exstring_options as words
from kvgate.model.exstring_options import ExOptions, integer, parse
from kvgate.model.floats import Float80, parse_float80
from kvgate_redis import exstring_scripts as scripts
from kvgate_redis.lua import FLAGS, VALUE, VERSION, Script, exact_integers, store_name

Convert = Callable[[bytes], bytes]
Request = tuple[bytes, Convert]
"""A request for the store, and what makes the client's reply of its."""
Rewrite = Callable[[Sequence[bytes]], Request]
"""Raises GateError where the reply needs no store."""

_COMMANDS: Final = {b"EX": b"PEXPIRE", b"PX": b"PEXPIRE", b"EXAT": b"PEXPIREAT", b"PXAT": b"PEXPIREAT"}
_SECONDS: Final = (b"EX", b"EXAT")
FLAG: Final = {True: b"1", False: b""}


def expiry(options: ExOptions) -> tuple[bytes, bytes]:
    """The command that gives the key its expiry, and its milliseconds. Raises GateError: syntax error."""
    found = options.values.get(b"TIME")
    if found is None:
        return (b"" if b"KEEPTTL" in options.words else b"PERSIST"), b"0"
    options.expires(int(time.time() * 1000))  # it fits; what it is counted from is the store's clock
    unit, text = found
    return _COMMANDS[unit], b"%b000" % text if unit in _SECONDS else text


def condition(options: ExOptions) -> bytes:
    """``NX``, ``XX`` or nothing."""
    return b"NX" if b"NX" in options.words else b"XX" if b"XX" in options.words else b""


def versions(options: ExOptions) -> tuple[bytes, bytes]:
    """The version that must be there, and the one to be set; empty where none is asked for. Raises GateError: syntax error."""
    asked = options.version()
    if options.absolute:
        return b"", b"%d" % asked
    return (b"%d" % asked if asked else b""), b""


def decimal(bound: Float80 | None) -> bytes:
    """A bound as the script compares it, with 17 digits behind the point as what is stored; empty without one."""
    return b"" if bound is None else bound.human()


class ExStrings:
    """The rewriting of TairString's commands for one store."""

    def __init__(self, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        read = store_name("HRANDFIELD", rename)
        self._read = b"*4\r\n$%d\r\n%b\r\n" % (len(read), read)
        texts = {name: text for name, text in vars(scripts).items() if isinstance(text, bytes) and name[0].isupper()}
        self._scripts = {name: Script(text, rename) for name, text in texts.items()}
        self._plain = self._scripts["EXSET_PLAIN"]
        self.commands: Mapping[str, Rewrite] = {
            "EXSET": self.exset,
            "EXGET": self.exget,
            "EXSETVER": self.exsetver,
            "EXINCRBY": self.exincrby,
            "EXINCRBYFLOAT": self.exincrbyfloat,
            "EXCAS": self.excas,
            "EXCAD": self.excad,
            "EXAPPEND": self.exappend,
            "EXPREPEND": self.exprepend,
            "EXGAE": self.exgae,
        }

    def _run(self, script: str, key: bytes, *args: bytes) -> Request:
        return self._scripts[script].on(key, args), exact_integers

    def _refuse(self, key: bytes, error: GateError) -> Request:
        """An error that comes after WRONGTYPE."""
        return self._run("REFUSE", key, error.text.encode())

    def exset(self, args: Sequence[bytes]) -> Request:
        """``EXSET key value …``."""
        if len(args) == 3:
            return self._plain.on(args[1], args[2:]), exact_integers
        options = parse(list(args), 3, words.EXSET)
        command, ms = expiry(options)
        guard, version = versions(options)
        flags = options.flags()
        marks = b"" if flags is None else b"%d" % flags
        shows = FLAG[b"WITHVERSION" in options.words]
        return self._run("EXSET", args[1], args[2], guard, version, condition(options), command, ms, marks, shows)

    def exget(self, args: Sequence[bytes]) -> Request:
        """``EXGET key [WITHFLAGS]``: all of its fields, of another hash three at most, of no key an empty list."""
        if len(args) > 3:
            raise wrong_arity("exget")
        if len(args) == 3 and args[2].upper() != b"WITHFLAGS":
            raise GateError(SYNTAX)
        request = b"%b$%d\r\n%b\r\n$1\r\n3\r\n$10\r\nWITHVALUES\r\n" % (self._read, len(args[1]), args[1])
        return request, _versioned if len(args) == 2 else _with_flags

    def exsetver(self, args: Sequence[bytes]) -> Request:
        """``EXSETVER key version``: a missing key is 0 before the version is looked at."""
        try:
            if integer(args[2], SYNTAX) <= 0:
                raise GateError(SYNTAX)
        except GateError as error:
            return self._run("EXSETVER", args[1], b"", error.text.encode())
        return self._run("EXSETVER", args[1], args[2])

    def exincrby(self, args: Sequence[bytes]) -> Request:
        """``EXINCRBY key n …``."""
        options = parse(list(args), 3, words.EXINCRBY)
        try:
            integer(args[2], words.NOT_INTEGER)
            default = options.text(b"DEF") or b""
            if options.text(b"DEF") is not None:
                integer(default, words.NOT_INTEGER)
            command, ms = expiry(options)
            guard, version = versions(options)
            low, high = self._bounds(options)
        except GateError as error:
            return self._refuse(args[1], error)
        return self._run(
            "EXINCRBY",
            args[1],
            args[2],
            guard,
            version,
            condition(options),
            command,
            ms,
            low,
            high,
            default,
            FLAG[b"NONEGATIVE" in options.words],
            FLAG[b"WITHVERSION" in options.words],
        )

    @staticmethod
    def _bounds(options: ExOptions) -> tuple[bytes, bytes]:
        low, high = options.text(b"MIN"), options.text(b"MAX")
        bottom = None if low is None else integer(low, words.WRONG_BOUNDS)
        top = None if high is None else integer(high, words.WRONG_BOUNDS)
        if bottom is not None and top is not None and top < bottom:
            raise GateError(words.WRONG_BOUNDS)
        return low or b"", high or b""

    def exincrbyfloat(self, args: Sequence[bytes]) -> Request:
        """``EXINCRBYFLOAT key n …``."""
        try:
            step = _float(args[2], words.NOT_FLOAT)
            options = parse(list(args), 3, words.EXINCRBYFLOAT)
            command, ms = expiry(options)
            guard, version = versions(options)
            low, high = _float_bound(options, b"MIN"), _float_bound(options, b"MAX")
            if low is not None and high is not None and high < low:
                raise GateError(words.WRONG_BOUNDS)
        except GateError as error:
            return self._refuse(args[1], error)
        alone = outside(step, low, high)
        low, high, never = finite(step, low, high)
        amount = b"0" if step.infinite else args[2]
        return self._run(
            "EXINCRBYFLOAT",
            args[1],
            amount,
            guard,
            version,
            condition(options),
            command,
            ms,
            decimal(low),
            decimal(high),
            FLAG[never],
            FLAG[alone],
        )

    def excas(self, args: Sequence[bytes]) -> Request:
        """``EXCAS key value version …``."""
        options = parse(list(args), 4, words.EXCAS)
        options.time()
        asked = integer(args[3], words.VERSION_NOT_INTEGER)
        command, ms = expiry(options)
        if asked < 0:
            raise GateError(SYNTAX)
        return self._run("EXCAS", args[1], args[2], args[3], command, ms)

    def excad(self, args: Sequence[bytes]) -> Request:
        """``EXCAD key version``."""
        try:
            integer(args[2], words.VERSION_NOT_INTEGER)
        except GateError as error:
            return self._refuse(args[1], error)
        return self._run("EXCAD", args[1], args[2])

    def _extend(self, args: Sequence[bytes], *, front: bool) -> Request:
        options = parse(list(args), 3, words.EXAPPEND)
        guard, version = versions(options)
        return self._run("EXTEND", args[1], args[2], condition(options), guard, version, FLAG[front])

    def exappend(self, args: Sequence[bytes]) -> Request:
        """``EXAPPEND key value …``."""
        return self._extend(args, front=False)

    def exprepend(self, args: Sequence[bytes]) -> Request:
        """``EXPREPEND key value …``."""
        return self._extend(args, front=True)

    def exgae(self, args: Sequence[bytes]) -> Request:
        """``EXGAE key EX | EXAT | PX | PXAT time``."""
        return self._run("EXGAE", args[1], *expiry(parse(list(args), 2, words.EXGAE)))


def _float(text: bytes, error: str) -> Float80:
    value = parse_float80(text)
    if value is None:
        raise GateError(error)
    return value


def _float_bound(options: ExOptions, name: bytes) -> Float80 | None:
    text = options.text(name)
    return None if text is None else _float(text, words.WRONG_BOUNDS)


def outside(step: Float80, low: Float80 | None, high: Float80 | None) -> bool:
    """Whether the step alone, which is the sum where there was nothing, crosses a bound."""
    return (low is not None and step < low) or (high is not None and high < step)


def finite(step: Float80, low: Float80 | None, high: Float80 | None) -> tuple[Float80 | None, Float80 | None, bool]:
    """The bounds that a number may cross, without infinite ones; and whether no sum can be within them, or the step is
    infinite."""
    never = step.infinite
    if low is not None and low.infinite:
        never, low = never or low.mantissa >= 0, None
    if high is not None and high.infinite:
        never, high = never or high.mantissa < 0, None
    return low, high, never


def fields_of(raw: bytes) -> dict[bytes, bytes]:
    """Names and values of the pairs in a reply to HRANDFIELD, which RESP3 puts into arrays of two."""
    texts: list[bytes] = []
    at, size = 0, len(raw)
    while at < size:
        end = raw.find(b"\r\n", at)
        if raw[at : at + 1] == b"$":
            length = int(raw[at + 1 : end])
            texts.append(raw[end + 2 : end + 2 + length])
            end += length + 2
        at = end + 2
    return dict(zip(texts[::2], texts[1::2], strict=True))


_EMPTY: Final = (b"*0\r\n", b"~0\r\n")
_WRONG_TYPE: Final = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


_VALUE_FIRST: Final = b"*4\r\n$%d\r\n%b\r\n" % (len(VALUE), VALUE)
_VERSION_FIRST: Final = b"*4\r\n$%d\r\n%b\r\n" % (len(VERSION), VERSION)
_THEN_VALUE: Final = _VALUE_FIRST[4:]
_THEN_VERSION: Final = _VERSION_FIRST[4:]


def _versioned(raw: bytes) -> bytes:
    """EXGET's reply. The usual form, two fields in RESP2, takes no general reader."""
    if raw.startswith(_VERSION_FIRST):
        start = raw.find(b"\n", len(_VERSION_FIRST)) + 1
        end = raw.find(b"\n", start) + 1
        if raw.startswith(_THEN_VALUE, end):
            return b"*2\r\n%b:%b" % (raw[end + len(_THEN_VALUE) :], raw[start:end])
    elif raw.startswith(_VALUE_FIRST):
        start = len(_VALUE_FIRST)
        line = raw.find(b"\n", start)
        end = line + 3 + int(raw[start + 1 : line])
        if raw.startswith(_THEN_VERSION, end):
            return b"*2\r\n%b:%b" % (raw[start:end], raw[raw.find(b"\n", end + len(_THEN_VERSION)) + 1 :])
    return _read(raw, flags=False)


def _with_flags(raw: bytes) -> bytes:
    return _read(raw, flags=True)


def _read(raw: bytes, *, flags: bool) -> bytes:
    """The reply of whatever was read. RESP2's nil: the gate makes RESP3's of it."""
    if raw[:1] == b"-":
        return raw
    if raw in _EMPTY:
        return b"$-1\r\n"
    found = fields_of(raw)
    version = found.get(VERSION)
    if version is None:
        return _WRONG_TYPE
    value = found.get(VALUE, b"")
    if flags:
        return b"*3\r\n$%d\r\n%b\r\n:%b\r\n:%b\r\n" % (len(value), value, version, found.get(FLAGS, b"0"))
    return b"*2\r\n$%d\r\n%b\r\n:%b\r\n" % (len(value), value, version)
