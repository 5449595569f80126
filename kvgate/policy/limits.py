"""Limits of one namespace beyond the sizes of keys and values: what its commands may name, carry, answer and leave behind."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import attrs

from kvgate import errors
from kvgate.commands.elements import elements, fields
from kvgate.commands.spec import CommandSpec
from kvgate.policy.rules import CommandRules, command_rules

TYPES: Final = ("string", "hash", "list", "set", "zset", "stream", "exstring", "exhash")
"""What ``types`` may list, as TYPE calls them; ``exstring`` and ``exhash`` are the versioned ones."""
_OF_GROUP: Final = {
    **dict.fromkeys(("string", "bitmap", "hyperloglog", "conditional"), "string"),
    **dict.fromkeys(("hash", "list", "set", "stream", "exstring", "exhash"), ""),
    **dict.fromkeys(("sorted-set", "geo"), "zset"),
}
_DUMPED: Final = {
    **dict.fromkeys((0,), "string"),
    **dict.fromkeys((1, 10, 14, 18), "list"),
    **dict.fromkeys((2, 11, 20), "set"),
    **dict.fromkeys((3, 5, 12, 17), "zset"),
    **dict.fromkeys((4, 9, 13, 16), "hash"),
    **dict.fromkeys((15, 19, 21), "stream"),
}
"""The first byte of what DUMP gives → type (Redis' rdb.h)."""
LOCKS: Final = frozenset({"GATE|LOCK", "GATE|EXTEND", "GATE|UNLOCK"})
_SCRIPTS: Final = ("script", "function")
_MOVES: Final = frozenset({"COPY", "RENAME", "RENAMENX"})


def type_of(spec: CommandSpec) -> str:
    """The type of value that the command is about, empty for commands on keys of any type."""
    found = _OF_GROUP.get(spec.group, None)
    return spec.group if found == "" else found or ""


def dumped_type(payload: bytes) -> str:
    """The type of a key that RESTORE would make, empty when it is none that is known."""
    return _DUMPED.get(payload[0], "") if payload else ""


def _word(option: bytes) -> bytes:
    """An option's name as Redis reads it: up to a NUL, in any case."""
    return option.partition(b"\x00")[0].upper()


@attrs.frozen(slots=True, kw_only=True)
class Expiry:
    """Which expiry keys get and may have. Times are in milliseconds."""

    default: int | None = None
    """Of keys that were written without one."""
    longest: int | None = None
    jitter: float = 0.0
    """A share of the time, from 0 up to and without 1."""

    def given(self) -> int:
        """For a key without an expiry: the default, and up to a share more, never more than the longest; without a default,
        or with one as long, as `cut`."""
        if self.default is None or self.default == self.longest:
            return self.cut()
        return self.kept(self.default)

    def cut(self) -> int:
        """For a key whose expiry is too long: the longest, or up to a share less."""
        longest = self.longest or self.default or 0
        return max(1, int(longest * (1 - self.jitter * random.random())))  # noqa: S311 - it spreads, and hides nothing

    def kept(self, milliseconds: int) -> int:
        """For an expiry that a client gave: up to a share more, never less, unless it is too long."""
        if self.longest is not None and milliseconds > self.longest:
            return self.cut()
        room = milliseconds * self.jitter
        if self.longest is not None:
            room = min(room, self.longest - milliseconds)
        return milliseconds + int(room * random.random())  # noqa: S311 - as above

    def moment(self, milliseconds: int, now_ms: int) -> int:
        """The same for a moment: who names one means it, so that it is only cut."""
        if self.longest is None or milliseconds - now_ms <= self.longest:
            return milliseconds
        return now_ms + self.cut()


class _Pattern:
    """A regular expression that a whole key has to match, in time linear in the key, whatever key and pattern are."""

    __slots__ = ("matches",)

    def __init__(self, text: str) -> None:
        """Raises ValueError: it is none, or the package that does it is not installed."""
        try:
            import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - 10 ms and some memory, for who uses it
        except ImportError:
            raise ValueError("needs the package google-re2, which has no wheel for this machine") from None
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # keys are bytes
        options.log_errors = False
        options.never_capture = True
        options.max_mem = 1 << 20
        try:
            pattern: Any = re2.compile(text.encode("utf-8", "surrogateescape"), options)
        except re2.error as error:
            told = error.args[0] if error.args else "?"
            text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
            raise ValueError(f"no regular expression as RE2 takes it: {text}") from None
        self.matches: Callable[[bytes], object] = pattern.fullmatch


@lru_cache(maxsize=4096)
def key_pattern(text: str) -> Callable[[bytes], object]:
    """Tells whether a whole key matches. Raises ValueError, with what is wrong with the pattern."""
    return _Pattern(text).matches


def prohibition(rules: Sequence[str]) -> tuple[str, ...]:
    """``forbidden`` as rules: ``keys`` and ``-keys`` forbid, ``+keys`` takes it back."""
    return tuple(rule if rule[:1] in ("+", "-") else "-" + rule for rule in rules)


@attrs.frozen(slots=True, kw_only=True)
class Limits:
    """Of one rule of ``[namespaces]``. None and empty: no limit."""

    max_field: int | None = None
    """Bytes of the name of a hash field."""
    max_elements: int | None = None
    """Keys, fields, members … in one request."""
    max_reply: int | None = None
    """Bytes of one reply."""
    max_connections: int | None = None
    """Clients that have used the namespace."""
    forbidden: tuple[str, ...] = ()
    """As `prohibition` writes them."""
    types: frozenset[str] | None = None
    key_pattern: str = ""
    expiry: Expiry | None = None
    rules: CommandRules | None = attrs.field(init=False, repr=False, eq=False)
    matches: Callable[[bytes], object] | None = attrs.field(init=False, repr=False, eq=False)

    @rules.default
    def _rules(self) -> CommandRules | None:
        return command_rules(("+@all", *self.forbidden)) if self.forbidden else None

    @matches.default
    def _matches(self) -> Callable[[bytes], object] | None:
        return key_pattern(self.key_pattern) if self.key_pattern else None

    @property
    def holds_scripts(self) -> bool:
        """Whether a script could break what the gate looks at in commands."""
        return bool(self.types is not None or self.key_pattern or self.expiry is not None)

    def forbids(self, spec: CommandSpec) -> bool:
        """Whether ``forbidden`` names the command."""
        return self.rules is not None and not self.rules.granted(spec)

    def check_command(self, spec: CommandSpec, namespace: str) -> None:
        """What holds for every request of the command.

        Raises:
            GateError: it is forbidden there, of a type that the namespace does not have, or would leave a key for ever.
        """
        if self.forbids(spec):
            raise errors.forbidden_command(spec.lower, namespace)
        kind = type_of(spec)
        if self.types is not None and kind and kind not in self.types:
            raise errors.wrong_type_there(spec.lower, kind, namespace, ", ".join(sorted(self.types)))
        if self.expiry is not None and spec.name == "PERSIST":
            raise errors.lasting_key(spec.lower, namespace)

    def check_script(self, spec: CommandSpec, namespace: str, *, known: bool) -> None:
        """Whether a script may be run there; `known`: it is one of those that are trusted, by their SHA-1.

        Raises:
            GateError: no.
        """
        if self.holds_scripts and spec.capability in _SCRIPTS and not spec.readonly and not known:
            raise errors.unlimited_script(spec.lower, namespace)

    def check_key(self, key: bytes, namespace: str) -> None:
        """Whether there may be such a key.

        Raises:
            GateError: no.
        """
        if self.matches is not None and self.matches(key) is None:
            raise errors.wrong_key(namespace)

    def check_request(self, spec: CommandSpec, args: Sequence[bytes], keys: int, namespace: str) -> None:
        """What depends on the arguments; `keys` is the number of keys among them.

        Raises:
            GateError: too many elements, a field's name that is too long, a key of a type that the namespace does not have,
                one without an expiry.
        """
        if self.max_elements is not None:
            count = elements(spec, args, keys)
            if count > self.max_elements:
                raise errors.too_many_elements(count, self.max_elements, namespace)
        if self.max_field is not None:
            longest = max(map(len, fields(spec, args)), default=0)
            if longest > self.max_field:
                raise errors.too_large("field", longest, self.max_field, namespace)
        if self.types is not None and spec.name == "RESTORE" and len(args) > 3:
            kind = dumped_type(args[3])
            if kind not in self.types:
                raise errors.wrong_type_there(spec.lower, kind or "unknown", namespace, ", ".join(sorted(self.types)))
        if self.expiry is not None and spec.name == "GETEX" and any(_word(arg) == b"PERSIST" for arg in args[2:]):
            raise errors.lasting_key("getex … persist", namespace)

    def check_target(self, spec: CommandSpec, source: "Limits | None", namespace: str) -> None:
        """Whether a key may become one of this namespace: by SORT … STORE, or from a namespace with the limits `source`.

        Raises:
            GateError: it may be of another type.
        """
        if self.types is None:
            return
        if spec.name == "SORT" and "list" not in self.types:
            raise errors.wrong_type_there("sort … store", "list", namespace, ", ".join(sorted(self.types)))
        if spec.name in _MOVES and (source is None or source.types is None or not source.types <= self.types):
            raise errors.wrong_type_there(spec.lower, "any", namespace, ", ".join(sorted(self.types)))
