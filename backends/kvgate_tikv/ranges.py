"""Paging over a range without asking all its regions at once.

The native client asks every region of a range for as many pairs as the whole page shall have. So a wide range is cut where
a page should end, judging by how dense the keys were last time; keys are spread evenly by their hashes.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_DIGITS: Final = 8
"""Bytes after the type byte that are taken as a number."""
_SPARE: Final = 2.0
"""A cut leaves room for so many pages, as long as keys are as dense as they were."""
_WIDEN: Final = 8.0
"""A cut that came out with less than a page: so much sparser are the keys taken to be."""


def _number(key: bytes, kind: bytes) -> int:
    """Where a key stands among those of its type; the end of the type for keys of a later one."""
    if key[:1] > kind:
        return 1 << 8 * _DIGITS
    return int.from_bytes(key[1 : 1 + _DIGITS].ljust(_DIGITS, b"\x00"), "big")


class Strides:
    """How far one has to go in the keys of each type for one pair."""

    def __init__(self) -> None:
        """Nothing known: the first page asks for the whole range."""
        self._per_pair: dict[bytes, float] = {}

    def cut(self, start: bytes, end: bytes, wanted: int) -> bytes:
        """Where to end a range from `start` that should have `wanted` pairs; `end` at the latest."""
        kind = start[:1]
        per_pair = self._per_pair.get(kind)
        if per_pair is None:
            return end
        first = _number(start, kind)
        stop = first + max(1, int(per_pair * wanted * _SPARE))
        if stop >= _number(end, kind):
            return end
        return kind + stop.to_bytes(_DIGITS, "big")

    def learn(self, start: bytes, last: bytes, pairs: int) -> None:
        """A full page of `pairs` went from `start` to `last`."""
        span = _number(last, start[:1]) - _number(start, start[:1])
        if pairs > 1 and span > 0:
            self._per_pair[start[:1]] = span / pairs

    def widen(self, start: bytes) -> None:
        """A cut had less than a page."""
        kind = start[:1]
        if kind in self._per_pair:
            self._per_pair[kind] *= _WIDEN


async def paged(
    strides: Strides,
    fetch: Callable[[bytes, bytes, int], Awaitable[list[T]]],
    key_of: Callable[[T], bytes],
    start: bytes,
    end: bytes,
    limit: int,
    most: int,
) -> list[T]:
    """The first `limit` of a range, by calls of `fetch` (start, end, number) for at most `most` each."""
    found: list[T] = []
    while start < end and len(found) < limit:
        wanted = min(limit - len(found), most)
        stop = strides.cut(start, end, wanted)
        page = await fetch(start, stop, wanted)
        found += page
        if len(page) == wanted:
            last = key_of(page[-1])
            strides.learn(start, last, wanted)
            start = last + b"\x00"
        else:
            if stop != end:
                strides.widen(start)
            start = stop
    return found
