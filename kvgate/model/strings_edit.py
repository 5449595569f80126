"""Strings in parts: what reads or changes some bytes of a long string touches the chunks that hold them, and no others."""

import os
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from kvgate.errors import string_too_long
from kvgate.model.keyspace import chunk_key
from kvgate.model.meta import CHUNK, STRING, Meta, Outside
from kvgate.model.transaction import Transaction, wrong_type

PAGE: Final = 32 * CHUNK
"""Bytes that a walk over a string reads at once: about 1 MB, well under TiKV's 4 MiB response."""


def string(meta: Meta | None) -> Meta | None:
    """The meta, if it is a string's or there is none.

    Raises:
        GateError: WRONGTYPE.
    """
    if meta is not None and meta.type != STRING:
        raise wrong_type()
    return meta


def length(meta: Meta | None) -> int:
    """Bytes of a string; 0 without one."""
    if meta is None:
        return 0
    return len(meta.payload) if meta.outside is None else meta.outside.size


def check_length(tx: Transaction, size: int) -> None:
    """Whether a string may become so long.

    Raises:
        GateError: Redis' text, with the limit in force instead of proto-max-bulk-len.
    """
    if size > tx.longest:
        raise string_too_long(tx.longest)


async def equals(tx: Transaction, meta: Meta, value: bytes) -> bool:
    """Whether the string is `value`; one of another length is not read."""
    return length(meta) == len(value) and await tx.text(meta) == value


async def number(tx: Transaction, meta: Meta | None, most: int) -> bytes:
    """The text of a number, ``0`` without one. One of more than `most` bytes is not read, and empty, which is no number."""
    if meta is None:
        return b"0"
    return await tx.text(meta) if length(meta) <= most else b""


async def part(tx: Transaction, meta: Meta, start: int, stop: int) -> bytes:
    """The bytes from `start` up to, not including, `stop`, as far as the string goes."""
    place = meta.outside
    if place is None:
        return meta.payload[start:stop]
    stop = min(stop, place.size)
    if start >= stop:
        return b""
    if start == 0 and stop == place.size:
        return await tx.text(meta)
    unit = place.unit
    first = start // unit
    chunks = await tx.kv.get_many([chunk_key(place.identity, each) for each in range(first, -(-stop // unit))])
    found = b"".join(bytes(unit) if chunk is None else chunk[1:].ljust(unit, b"\x00") for chunk in chunks)
    return found[start - first * unit : stop - first * unit]


def pages(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """`start` to `stop` in pieces of up to `PAGE` bytes that end where chunks do."""
    while start < stop:
        end = min(stop, (start // PAGE + 1) * PAGE)
        yield start, end
        start = end


class Editor:
    """A string that is changed in places: `read` and `write`, then `save`. The one way of commands that keep the rest.

    Chunks are read when they are first needed, or several at once by `load`; what is overwritten whole is not read.
    """

    __slots__ = ("_changed", "_chunks", "_key", "_meta", "_stored", "_tx", "size")

    def __init__(self, tx: Transaction, key: bytes, meta: Meta | None) -> None:
        """Edit the string of `meta`, an empty one when there is none."""
        self._tx = tx
        self._key = key
        self._meta = Meta(STRING) if meta is None else meta
        self._chunks: dict[int, bytearray] = {} if self._meta.outside else {0: bytearray(self._meta.payload)}
        self._changed: set[int] = set()
        self._stored = self.size = length(meta)
        """`size` is the present length in bytes; it may be raised: what is between is zero."""

    @property
    def _unit(self) -> int:
        return CHUNK if self._meta.outside is None else self._meta.outside.unit

    async def load(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Read the chunks of the bytes from … up to … in one round trip, those that there are."""
        place, unit = self._meta.outside, self._unit
        if place is None:
            return
        touched = (range(start // unit, -(-min(stop, self._stored) // unit)) for start, stop in ranges)
        numbers = sorted({number for one in touched for number in one} - self._chunks.keys())
        if numbers:
            found = await self._tx.kv.get_many([chunk_key(place.identity, number) for number in numbers])
            for number, chunk in zip(numbers, found, strict=True):
                self._chunks[number] = bytearray() if chunk is None else bytearray(chunk[1:])

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`; zeros behind the end."""
        await self.load([(start, stop)])
        unit, found = self._unit, bytearray()
        for number in range(start // unit, -(-stop // unit)):
            base = number * unit
            piece = self._chunks.get(number, b"")[max(start - base, 0) : stop - base]
            found += piece.ljust(min(stop, base + unit) - max(start, base), b"\x00")
        return bytes(found)

    async def write(self, start: int, data: bytes) -> None:
        """Replace what is at `start`, or lengthen the string."""
        unit, stop = self._unit, start + len(data)
        await self.load([(start, start + 1), (stop - 1, stop)])  # those between are overwritten whole
        for number in range(start // unit, -(-stop // unit)):
            base = number * unit
            low, high = max(start, base), min(stop, base + unit)
            known, piece = number in self._chunks and stop <= self.size, data[low - start : high - start]
            chunk = self._chunks.setdefault(number, bytearray())
            if known and chunk[low - base : high - base].ljust(high - low, b"\x00") == piece:
                continue
            if len(chunk) < low - base:
                chunk.extend(bytes(low - base - len(chunk)))
            chunk[low - base : high - base] = piece
            self._changed.add(number)
        self.size = max(self.size, stop)

    @property
    def changes(self) -> bool:
        """Whether `save` would store other bytes than there are."""
        return bool(self._changed) or self.size > self._stored

    async def save(self) -> None:
        """Write the changed chunks and the meta, also when nothing is changed: the key counts as touched."""
        place = self._meta.outside
        if place is None and self.size <= CHUNK:
            payload = bytes(self._chunks[0].ljust(self.size, b"\x00"))
            await self._tx.put(self._key, attrs.evolve(self._meta, payload=payload))
            return
        if place is None:
            identity = int.from_bytes(os.urandom(8), "big")
            self._changed.add(0)
        else:
            identity = place.identity
        for number in self._changed:
            self._tx.kv.put(chunk_key(identity, number), b"\x01" + self._chunks[number])
        outside = Outside(identity, self.size, self._unit)
        await self._tx.put(self._key, attrs.evolve(self._meta, payload=b"", outside=outside))
