"""Namespaces: which one a key, a channel or a pattern belongs to.

A key's namespace is the text before its first ``:`` when the configuration names it, exactly or as ``App.*``; every other
key belongs to ``default``. What is here runs for each key, so it is one search and one or two dictionary accesses.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from kvgate.policy.limits import Limits
from kvgate.policy.rates import Rate

LONGEST_NAME: Final = 64  # bytes. docs/keyspace.md relies on it: a longer text before the ":" is part of no namespace
DEFAULT: Final = "default"
_MOST_SEEN: Final = 65_536  # names met under App.* rules that are remembered; about 20 MB
_FORBIDDEN: Final = frozenset(":*?[]{}\\\"'")  # separators, glob and hash-tag characters: they would mean two things


@attrs.frozen(slots=True)
class Namespace:
    """A namespace with the settings of the rule that it falls under."""

    name: str
    """``Ads.Profile``; ``default``; of a wildcard rule itself: ``Ads.*``."""
    rule: str
    """The line of ``[namespaces]`` that matched: ``Ads.Profile``, ``Ads.*``, ``default``."""
    backend: str
    max_key: int | None = None
    """Bytes; None: no limit of its own."""
    max_value: int | None = None
    """Bytes; None: the backend's."""
    versioned: bool = False
    """Whether versioned keys are kept on a store that lacks the modules."""
    upstream_user: str = ""
    """The store's own user that is held to this namespace's keys; empty: none."""
    limits: Limits | None = None
    """What else its commands are held to; None: nothing."""
    rate: Rate | None = None
    """What all users together may ask for in a second, of all namespaces of the rule together; None: no limit."""

    @property
    def prefix(self) -> bytes | None:
        """What all its keys begin with, None for ``default``; of a rule ``Ads.*``: ``Ads.``."""
        if self.name in (DEFAULT, "*"):
            return None
        stem = self.name[:-1] if self.name.endswith(".*") else self.name + ":"
        return stem.encode("utf-8", "surrogateescape")


KEY_EVENTS: Final = Namespace(name="*", rule="*", backend="")
"""Of the channels ``__keyevent@0__:del``: their messages carry keys of every namespace, so only who sees all sees them."""


def check_name(name: str) -> str:
    """What is wrong with a name of ``[namespaces]``, empty when nothing."""
    if name == DEFAULT:
        return ""
    stem = name.removesuffix(".*")
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        return f"a namespace's name has at most {LONGEST_NAME} bytes"
    if not stem or any(letter in _FORBIDDEN or letter.isspace() or not letter.isprintable() for letter in stem):
        return 'a name is "App.Table", "App.*" or default; no spaces, quotes or any of : * ? [ ] { } \\ in it'
    if name.endswith(".*"):
        return 'the wildcard is "App.*", App without a dot' if "." in stem else ""
    if "." not in stem:
        return f'a namespace\'s name has a dot: "App.{stem}"'
    return "" if stem.partition(".")[0] else "the application's name, before the dot, is empty"


class Namespaces:
    """All of ``[namespaces]``."""

    def __init__(self, rules: Iterable[Namespace]) -> None:
        """Each rule as a `Namespace` whose name is the rule's; names were checked by `check_name`."""
        self.rules = tuple(rules)
        self._exact = {_bytes(rule.name): rule for rule in self.rules if not rule.name.endswith("*")}
        self.default = self._exact.pop(DEFAULT.encode(), None)
        """None: keys outside of all other namespaces are refused."""
        self._wild = {_bytes(rule.name[:-2]): rule for rule in self.rules if rule.name.endswith(".*")}
        self._names = dict(self._exact)  # and the names seen under wildcards

    def of(self, key: bytes) -> Namespace | None:
        """The key's namespace; None when it falls under no rule and there is no default."""
        colon = key.find(b":", 0, LONGEST_NAME + 1)
        if colon > 0:
            head = key[:colon]
            found = self._names.get(head)
            if found is not None:
                return found
            if self._wild:
                return self._by_wildcard(head)
        return self.default

    def _by_wildcard(self, head: bytes) -> Namespace | None:
        app, dot, _ = head.partition(b".")
        rule = self._wild.get(app) if dot else None
        if rule is None:
            return self.default
        if len(self._names) >= _MOST_SEEN + len(self._exact):
            self._names = dict(self._exact)  # names are the clients' choice: what is remembered of them is bounded
        found = attrs.evolve(rule, name=head.decode("utf-8", "surrogateescape"))
        self._names[head] = found
        return found

    def of_name(self, name: str) -> Namespace | None:
        """The namespace of that name: ``Ads.Profile``, ``default``, or a rule ``Ads.*``; None when no rule covers it."""
        if name == DEFAULT:
            return self.default
        if name.endswith(".*"):
            return self._wild.get(_bytes(name[:-2]))
        found = self.of(_bytes(name) + b":")
        return None if found is self.default else found

    def of_channel(self, channel: bytes) -> Namespace | None:
        """A channel's namespace: by its name as if that were a key; a keyspace notification's is that of the key it names;
        `KEY_EVENTS` for notifications that carry the key in the message."""
        kind, rest = notification(channel)
        if kind == b"__keyevent@":
            return KEY_EVENTS
        return self.of(rest)

    def of_pattern(self, pattern: bytes) -> Namespace | None:
        """The namespace that every channel matching the glob lies in, as its literal beginning shows; None when that does
        not show: the pattern goes to every store that the user may see, and messages are filtered on delivery."""
        literal, whole = _literal_prefix(pattern)
        kind, rest = notification(literal)
        if kind == b"__keyevent@":
            return KEY_EVENTS
        return self.of(rest) if whole or b":" in rest else None

    def of_beginning(self, literal: bytes) -> tuple[Namespace, ...]:
        """Every namespace (or rule ``App.*``) that a key beginning with `literal` may lie in; none when there may be keys
        that fall under no rule."""
        if b":" in literal[: LONGEST_NAME + 1]:
            found = self.of(literal)
            return () if found is None else (found,)
        if self.default is None:
            return ()
        app, dot, _ = literal.partition(b".")
        wild = [self._wild[app]] if dot and app in self._wild else []
        if not dot:
            wild = [rule for name, rule in self._wild.items() if name.startswith(literal)]
        exact = [rule for name, rule in self._exact.items() if name.startswith(literal)]
        return (self.default, *wild, *exact)

    def on(self, backend: str) -> tuple[Namespace, ...]:
        """The rules that lead to a backend."""
        return tuple(rule for rule in self.rules if rule.backend == backend)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def notification(channel: bytes) -> tuple[bytes, bytes]:
    """(``__keyspace@`` or ``__keyevent@``, the rest after ``__:``) of a notification channel, else (empty, all of it)."""
    for kind in (b"__keyspace@", b"__keyevent@"):
        if channel.startswith(kind):
            database, found, rest = channel[len(kind) :].partition(b"__:")
            if found and database.isdigit():
                return kind, rest
    return b"", channel


def _literal_prefix(pattern: bytes) -> tuple[bytes, bool]:
    """What every match of the glob begins with, and whether that is all of it. Redis' glob: ``* ? [ ]``, ``\\`` escapes."""
    literal = bytearray()
    at = 0
    while at < len(pattern):
        letter = pattern[at : at + 1]
        if letter in (b"*", b"?", b"["):
            return bytes(literal), False
        if letter == b"\\" and at + 1 < len(pattern):
            at += 1
            letter = pattern[at : at + 1]
        literal += letter
        at += 1
    return bytes(literal), True
