"""What generated requests are made of: option words, times, payloads, and how strategies are put together."""

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

SPREAD = 10
"""Seconds between the times of two steps. GT and LT would hang on single milliseconds if two steps said the same relative
time; and a TTL that is off by a step is outside of the tolerance."""


class Option(bytes):
    """A word that the command knows by name: counted in the summary, written in any case."""

    __slots__ = ()


class Key(bytes):
    """A key of `kvgate_compat.pools.KEYS`. A search on other keys puts one of its own in its place."""

    __slots__ = ()


class Still(bytes):
    """An argument that is not made simpler when an example is cut down: a wait of 0 is for ever."""

    __slots__ = ()


@attrs.frozen(slots=True)
class Span:
    """A relative time: `base` seconds and `SPREAD` more for each step, in units of 1/`unit` second."""

    base: int
    unit: int = 1

    def at(self, step: int) -> bytes:
        """The argument."""
        return b"%d" % ((self.base + SPREAD * step) * self.unit)


@attrs.frozen(slots=True)
class Soon:
    """A short time, so that a key expires during the example: so many milliseconds from when it is sent, in units of
    1/`unit` second (rounded up); or the moment itself when `absolute`."""

    milliseconds: int
    unit: int = 1
    absolute: bool = False

    def at(self, now: int) -> bytes:
        """The argument; `now` is the server's time in milliseconds."""
        return b"%d" % -(-(self.milliseconds + now * self.absolute) * self.unit // 1000)

    def seconds(self) -> float:
        """How long after it is sent the moment may be at the latest."""
        return self.milliseconds / 1000 + (self.unit == 1)


@attrs.frozen(slots=True)
class Payload:
    """What DUMP answers for `key` on the server that gets the request, damaged in one of several ways."""

    key: bytes
    damage: str = ""
    """``""``, ``flip`` (one bit), ``cut`` (the last byte is missing), ``empty``."""

    @property
    def question(self) -> list[bytes]:
        """The request that gets it."""
        return [b"DUMP", self.key]

    def of(self, dump: bytes) -> bytes:
        """The argument, from the server's own DUMP (empty when there is no such key)."""
        return _damaged(dump, self.damage)


@attrs.frozen(slots=True)
class FunctionsPayload:
    """What FUNCTION DUMP answers on the server that gets the request, damaged as `Payload`."""

    damage: str = ""

    @property
    def question(self) -> list[bytes]:
        """The request that gets it."""
        return [b"FUNCTION", b"DUMP"]

    def of(self, dump: bytes) -> bytes:
        """The argument, from the server's own FUNCTION DUMP."""
        return _damaged(dump, self.damage)


def _damaged(dump: bytes, damage: str) -> bytes:
    if damage == "empty":
        return b""
    if damage == "cut":
        return dump[:-1]
    if damage == "flip" and dump:
        return bytes([dump[0] ^ 0x40]) + dump[1:]
    return dump


Arg = bytes | Span | Soon | Payload | FunctionsPayload
Args = list[Arg]
Part = bytes | SearchStrategy[Any]


@attrs.frozen(slots=True)
class Request:
    """One generated command."""

    name: str
    """As in the command table: ``SET``, ``OBJECT|ENCODING``."""
    args: tuple[Arg, ...]
    """Name first."""
    damaged: bool = False
    """An argument was dropped, added or replaced."""

    @property
    def label(self) -> str:
        """The command and the set of its options: ``SET EX NX``."""
        words = sorted({arg.upper().decode("ascii") for arg in self.args[1:] if isinstance(arg, Option)})
        return " ".join([self.name, *words, *(["(damaged)"] if self.damaged else [])])

    def for_step(self, step: int, now: int = 0) -> "Request":
        """With its times fixed; `now` is the time in milliseconds."""
        return attrs.evolve(self, args=tuple(_fixed(arg, step, now) for arg in self.args))


def _fixed(arg: Arg, step: int, now: int) -> Arg:
    if isinstance(arg, Soon):
        return arg.at(now)
    return arg.at(step) if isinstance(arg, Span) else arg


def by_lex(request: Request) -> bool:
    """Whether it is for a range of names in a sorted set."""
    return "LEX" in request.name or any(isinstance(arg, Option) and arg.upper() == b"BYLEX" for arg in request.args)


def _flat(parts: Sequence[Any]) -> Args:
    found: Args = []
    for part in parts:
        if isinstance(part, list | tuple):
            found += _flat(part)
        else:
            found.append(part)
    return found


def seq(*parts: Part) -> SearchStrategy[Args]:
    """The parts one after the other; strategies may give one argument or a list."""
    return st.tuples(*(part if isinstance(part, SearchStrategy) else st.just(part) for part in parts)).map(_flat)


def option(*words: str) -> SearchStrategy[Args]:
    """One of these option words."""
    return st.sampled_from([[Option(word.encode())] for word in words])


def maybe(part: SearchStrategy[Any]) -> SearchStrategy[Args]:
    """`part`, or nothing."""
    return st.one_of(st.just([]), part).map(lambda found: found if isinstance(found, list) else [found])


def some(part: SearchStrategy[Any], least: int = 1, most: int = 4) -> SearchStrategy[Args]:
    """`part` several times."""
    return st.lists(part, min_size=least, max_size=most).map(_flat)


def any_of(*alternatives: SearchStrategy[Args], most: int = 4) -> SearchStrategy[Args]:
    """Options in any order: alone, together, twice, and such as exclude each other."""
    return st.lists(st.one_of(*alternatives), max_size=most).map(_flat)


_JUNK: tuple[bytes, ...] = (b"", b"junk", b"-1", b"NX", b"1.5", b"\xff\x00", b" ")  # no number that would be a short time
_DAMAGES = [("", b"")] * 80 + [("drop", b""), ("drop last", b""), ("add", b"junk")] + [("replace", junk) for junk in _JUNK]


def requests(name: str, arguments: SearchStrategy[Args]) -> SearchStrategy[Request]:
    """Requests of the command `name`: mostly as `arguments` says, some in odd case, some damaged."""
    words = [Option(word) for word in name.encode().split(b"|")]
    cases = st.sampled_from((bytes.upper, bytes.upper, bytes.lower, _mixed))

    def make(args: Args, case: Any, damage: tuple[str, bytes], place: int) -> Request:
        how, junk = damage
        if how == "replace" and not args:
            how = ""
        at = place % len(args) if args else 0
        if how == "drop last" or (how == "drop" and args):
            args = args[:-1] if how == "drop last" else args[:at] + args[at + 1 :]
        elif how == "replace":
            args = [*args[:at], junk, *args[at + 1 :]]
        elif how == "add":
            args = [*args, junk]
        shown = tuple(Option(case(arg)) if isinstance(arg, Option) else arg for arg in [*words, *args])
        return Request(name, shown, damaged=how != "")

    @st.composite
    def request(draw: st.DrawFn) -> Request:  # hypothesis writes out a strategy that is no function of one's own: pages
        return make(draw(arguments), draw(cases), draw(st.sampled_from(_DAMAGES)), draw(st.integers(0, 7)))

    return request()


def _mixed(word: bytes) -> bytes:
    return b"".join(bytes([byte]).lower() if at % 2 else bytes([byte]).upper() for at, byte in enumerate(word))
