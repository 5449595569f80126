"""Versioned hashes (TairHash) on a store without the module: each command as one script (`kvgate_redis.exhash_scripts`).

What the options say is found out here. The order of checks is the module's: most commands look at the type first, so what
is wrong with their options is told to the script as the error to answer.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from kvgate.errors import SYNTAX, GateError, reserved_field, syntax_error, wrong_arity
from kvgate.model import exhash_options as words
from kvgate.model.exhash_options import AT_ONCE, FieldOptions, field_options, moment
from kvgate.model.exstring_options import NOT_INTEGER, integer
from kvgate.model.floats import Float80, parse_float80
from kvgate.wire.request import parse_length
from kvgate_redis import exhash_scripts as scripts
from kvgate_redis.exstrings import FLAG, Request, Rewrite, condition, decimal, finite, outside
from kvgate_redis.lua import MARK, Script, exact_integers, store_name

CURSOR_MAX: Final = 2**64 - 1

_SECONDS: Final = (b"EX", b"EXAT")
_RELATIVE: Final = (b"EX", b"PX")
_EXPIRIES: Final = {
    "EXHEXPIRE": (b"IN", 1000),
    "EXHEXPIREAT": (b"AT", 1000),
    "EXHPEXPIRE": (b"IN", 1),
    "EXHPEXPIREAT": (b"AT", 1),
}
_WHOLE: Final = {"EXHGETALL": b"FV", "EXHGETALLWITHVER": b"FVN", "EXHKEYS": b"F", "EXHVALS": b"V"}


def _now() -> int:
    """For checks of sizes only: what a script compares with is the store's clock."""
    return int(time.time() * 1000)


def _time(text: bytes, *, factor: int, relative: bool) -> tuple[bytes, bytes]:
    """``IN`` or ``AT``, and milliseconds. Raises GateError: syntax error."""
    if moment(text, _now(), seconds=factor == 1000, relative=relative) == AT_ONCE:
        return b"AT", b"%d" % AT_ONCE
    return b"IN" if relative else b"AT", b"%d" % (int(text) * factor)


def _expiry(options: FieldOptions) -> tuple[bytes, bytes]:
    """``IN``, ``AT``, ``KEEP`` or nothing, and milliseconds."""
    if not options.expires:
        return (b"KEEP" if b"KEEPTTL" in options.words.words else b""), b"0"
    unit, text = options.words.values[b"TIME"]
    return _time(text, factor=1000 if unit in _SECONDS else 1, relative=unit in _RELATIVE)


def _guard(options: FieldOptions) -> tuple[bytes, bytes]:
    """``VER``, ``ABS`` or ``GT``, and the version; nothing where there is nothing to compare or set."""
    return (options.guard, b"%d" % options.asked) if options.asked else (b"", b"")


class ExHashes:
    """The rewriting of TairHash's commands for one store."""

    def __init__(self, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        texts = {
            name: text for name, text in vars(scripts).items() if isinstance(text, bytes) and name[0].isupper()
        }
        self._rename = rename
        self._scripts = {name: Script(text, rename) for name, text in texts.items()}
        self.commands: Mapping[str, Rewrite] = {
            "EXHSET": self._exhset,
            "EXHSETNX": self._plain("EXHSETNX"),
            "EXHMSET": self._exhmset,
            "EXHMSETWITHOPTS": self._exhmsetwithopts,
            **{name: self._expire(name) for name in _EXPIRIES},
            "EXHTTL": lambda args: self._run("EXHTTL", args[1], args[2], b"1000"),
            "EXHPTTL": lambda args: self._run("EXHTTL", args[1], args[2], b"1"),
            "EXHPERSIST": self._plain("EXHPERSIST"),
            "EXHVER": self._plain("EXHVER"),
            "EXHSETVER": self._exhsetver,
            "EXHINCRBY": self._exhincrby,
            "EXHINCRBYFLOAT": self._exhincrbyfloat,
            "EXHGET": self._plain("EXHGET"),
            "EXHGETWITHVER": self._plain("EXHGETWITHVER"),
            "EXHMGET": self._plain("EXHMGET"),
            "EXHMGETWITHVER": self._plain("EXHMGETWITHVER"),
            **{name: self._whole(what) for name, what in _WHOLE.items()},
            "EXHLEN": self._exhlen,
            "EXHEXISTS": self._plain("EXHEXISTS"),
            "EXHSTRLEN": self._plain("EXHSTRLEN"),
            "EXHDEL": self._plain("EXHDEL"),
            "EXHDELWITHVER": self._exhdelwithver,
            "EXHSCAN": self._exhscan,
        }

    def _run(self, script: str, key: bytes, *args: bytes) -> Request:
        return self._scripts[script].on(key, args), exact_integers

    def _refuse(self, key: bytes, error: GateError) -> Request:
        """An error that comes after WRONGTYPE."""
        return self._run("REFUSE", key, error.text.encode())

    def _plain(self, name: str) -> Rewrite:
        """A command that takes no options: its arguments are the script's."""
        script = self._scripts[name]

        def rewrite(args: Sequence[bytes]) -> Request:
            return script.on(args[1], args[2:]), exact_integers

        return rewrite

    def _whole(self, what: bytes) -> Rewrite:
        return lambda args: self._run("EXHGETALL", args[1], what)

    def _exhset(self, args: Sequence[bytes]) -> Request:
        try:
            options = field_options(list(args), 4, words.EXHSET, _now())
            expiry, guard = _expiry(options), _guard(options)
        except GateError as error:
            return self._refuse(args[1], error)
        return self._run("EXHSET", args[1], args[2], args[3], *expiry, *guard, condition(options.words))

    def _exhmset(self, args: Sequence[bytes]) -> Request:
        if len(args) % 2:
            raise wrong_arity("exhmset")
        return self._run("EXHMSET", *args[1:])

    def _exhmsetwithopts(self, args: Sequence[bytes]) -> Request:
        """The fields up to the first with a wrong version or time are compared before that is said, as in the module."""
        if (len(args) - 2) % 4:
            raise wrong_arity("exhmsetwithopts")
        fields: list[bytes] = []
        for at in range(2, len(args), 4):
            try:
                how, ms = _time(args[at + 3], factor=1000, relative=True)
                if integer(args[at + 2], SYNTAX) < 0:
                    raise syntax_error()
            except GateError as error:
                return self._run("EXHMSETWITHOPTS", args[1], error.text.encode(), *fields)
            fields += [*args[at : at + 3], b"0" if how == b"AT" else ms]
        return self._run("EXHMSETWITHOPTS", args[1], b"", *fields)

    def _expire(self, name: str) -> Rewrite:
        how, factor = _EXPIRIES[name]

        def rewrite(args: Sequence[bytes]) -> Request:
            if len(args) > 7:
                raise wrong_arity(name.lower())
            expiry = _time(args[3], factor=factor, relative=how == b"IN")
            guard = _guard(field_options(list(args), 4, words.EXHEXPIRE, _now()))
            return self._run("EXHEXPIRE", args[1], args[2], *expiry, *guard)

        return rewrite

    def _exhsetver(self, args: Sequence[bytes]) -> Request:
        if integer(args[3], SYNTAX) <= 0:
            raise syntax_error()
        return self._run("EXHSETVER", args[1], args[2], args[3])

    def _exhincrby(self, args: Sequence[bytes]) -> Request:
        try:
            integer(args[3], NOT_INTEGER)
            options = field_options(list(args), 4, words.EXHINCRBY, _now())
            expiry, guard = _expiry(options), _guard(options)
            texts = options.words.text(b"MIN"), options.words.text(b"MAX")
            low, high = (None if text is None else integer(text, words.BOUND_NOT_INTEGER) for text in texts)
            if low is not None and high is not None and high < low:
                raise GateError(words.BOUNDS_CROSSED)
        except GateError as error:
            return self._refuse(args[1], error)
        bounds = (text or b"" for text in texts)
        return self._run(
            "EXHINCRBY", args[1], *args[2:4], *expiry, *guard, *bounds, self._name("HINCRBY"), NOT_INTEGER.encode(), b""
        )

    def _exhincrbyfloat(self, args: Sequence[bytes]) -> Request:
        try:
            step = _float(args[3], words.NOT_FLOAT)
            options = field_options(list(args), 4, words.EXHINCRBY, _now())
            expiry, guard = _expiry(options), _guard(options)
            texts = options.words.text(b"MIN"), options.words.text(b"MAX")
            low, high = (None if text is None else _float(text, words.BOUND_NOT_FLOAT) for text in texts)
            if low is not None and high is not None and high < low:
                raise GateError(words.BOUNDS_CROSSED)
        except GateError as error:
            return self._refuse(args[1], error)
        alone = outside(step, low, high)
        low, high, never = finite(step, low, high)
        return self._run(
            "EXHINCRBY",
            args[1],
            args[2],
            b"0" if step.infinite else args[3],
            *expiry,
            *guard,
            decimal(low),
            decimal(high),
            self._name("HINCRBYFLOAT"),
            words.NOT_FLOAT.encode(),
            FLAG[never],
            FLAG[alone],
        )

    def _name(self, command: str) -> bytes:
        return store_name(command, self._rename)

    def _exhlen(self, args: Sequence[bytes]) -> Request:
        """With and without NOEXP the living fields are counted."""
        if len(args) > 3:
            raise wrong_arity("exhlen")
        if len(args) == 3 and args[2].upper() != b"NOEXP":
            raise syntax_error()
        return self._run("EXHLEN", args[1])

    def _exhdelwithver(self, args: Sequence[bytes]) -> Request:
        if len(args) % 2:
            raise wrong_arity("exhdelwithver")
        wrong = any(parse_length(version) is None for version in args[3::2])
        return self._run("EXHDELWITHVER", args[1], SYNTAX.encode() if wrong else b"", *args[2:])

    def _exhscan(self, args: Sequence[bytes]) -> Request:
        if len(args) > 7:
            raise wrong_arity("exhscan")
        try:
            return self._run("EXHSCAN", args[1], *_scan_options(args))
        except GateError as error:
            return self._refuse(args[1], error)


def _scan_options(args: Sequence[bytes]) -> list[bytes]:
    """Cursor, MATCH and COUNT as HSCAN takes them. Raises GateError: syntax error."""
    if not args[2].isdigit() or int(args[2]) > CURSOR_MAX:
        raise syntax_error()
    found = {b"COUNT": b"10"}
    rest = iter(args[3:])
    for word in rest:
        name, value = word.upper(), next(rest, None)
        if value is None or name not in (b"MATCH", b"COUNT"):
            raise syntax_error()
        found[name] = value if name == b"MATCH" else b"%d" % max(1, integer(value, SYNTAX))
    return [args[2], *(part for option in found.items() for part in option)]


def _float(text: bytes, error: str) -> Float80:
    value = parse_float80(text)
    if value is None:
        raise GateError(error)
    return value


_FIELDS_STEP: Final = {
    **dict.fromkeys((b"EXHDEL", b"EXHMGET", b"EXHMGETWITHVER", b"HDEL", b"HMGET"), 1),
    **dict.fromkeys((b"EXHMSET", b"EXHDELWITHVER", b"HSET", b"HMSET"), 2),
    b"EXHMSETWITHOPTS": 4,
}
"""Commands with several fields: how far one is from the next."""


def reserved(args: Sequence[bytes]) -> None:
    """Refuse names of fields that the encoding has for itself.

    Raises:
        GateError: a field of the command begins as such a name does.
    """
    step = _FIELDS_STEP.get(args[0].upper())
    for field in args[2:3] if step is None else args[2::step]:
        if field.startswith(MARK):
            raise reserved_field()
