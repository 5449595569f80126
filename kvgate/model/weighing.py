"""How much there is of what in an engine: every key with its type, its elements and its bytes, a page at a time."""

from collections.abc import Callable
from typing import Final

import attrs

from kvgate.backend import Scale
from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.elements import count_small, split_versioned
from kvgate.model.kv import KvTxn
from kvgate.model.meta import EXHASH, HASH, TYPE_NAMES, Meta
from kvgate.model.transaction import Transaction

PAGE: Final = 64
"""Records in one step: about 0.3 ms of work, and 2 MB of the longest ones."""
CHUNK_OVERHEAD: Final = len(keyspace.chunk_key(0, 0)) + 1
"""Bytes of a chunk's engine key, and the byte before its data."""


@attrs.define(slots=True)
class _Elements:
    """A key whose elements are being added up."""

    key: bytes
    kind: bytes
    count: int
    size: int
    start: bytes
    end: bytes


class Walk:
    """One walk over all keys. It has no transaction of its own: each `step` is told one, so that none lives long, and
    between two steps anything may pass. What is deleted while its elements are added up counts as far as it was seen."""

    def __init__(self, scale: Scale) -> None:
        """Begin at the first key; tell `scale`."""
        self._scale = scale
        self._start = keyspace.metas_from(0)
        self._big: list[_Elements] = []
        self.done = False

    async def step(self, kv: KvTxn, now_ms: int, enough: Callable[[], bool] = lambda: True) -> None:
        """Look at pages of a snapshot until there is `enough`, or nothing is left.

        Raises:
            UnreadableRecordError: for a record that this program does not know.
        """
        tx = Transaction(kv, now_ms)
        while not self.done:
            if self._big:
                await self._elements(kv, self._big[-1])
            else:
                await self._keys(tx)
            if enough():
                return

    async def _keys(self, tx: Transaction) -> None:
        page = await tx.kv.scan(self._start, keyspace.METAS_END, PAGE)
        for place, raw in page:
            meta = records.decode(raw)
            key = keyspace.text_in(place)
            if key is None:
                key = meta.long_key or b""
            if meta.generation < await tx.generation(keyspace.group_of(key)) or await tx.gone(meta):
                continue
            if self._scale.found(key):
                self._key(key, meta, len(place) + len(raw) + _index(place, meta))
        if len(page) < PAGE:
            self.done = not self._big
            self._start = keyspace.METAS_END
        else:
            self._start = page[-1][0] + b"\x00"

    def _key(self, key: bytes, meta: Meta, size: int) -> None:
        kind, place = TYPE_NAMES[meta.type], meta.outside
        if place is None:
            self._scale.weighed(key, kind, _inside(meta), size)
        elif place.unit:  # a string: its chunks are not read
            size += place.size + -(-place.size // place.unit) * CHUNK_OVERHEAD
            self._scale.weighed(key, kind, 1, size)
        else:
            start, end = keyspace.elements(place.identity.to_bytes(8, "big"))
            self._big.append(_Elements(key, kind, place.size, size, start, end))

    async def _elements(self, kv: KvTxn, big: _Elements) -> None:
        page = await kv.scan(big.start, big.end, PAGE)
        big.size += sum(len(key) + len(value) for key, value in page)
        if len(page) == PAGE:
            big.start = page[-1][0] + b"\x00"
            return
        self._scale.weighed(big.key, big.kind, big.count, big.size)
        self._big.pop()


def _index(place: bytes, meta: Meta) -> int:
    """Bytes of the key's entries in the index of expiries."""
    return sum(len(keyspace.expiry_key(place, moment)) + 1 for moment in meta.moments())


def _inside(meta: Meta) -> int:
    """Elements of a value that lies in its meta."""
    if meta.type == HASH:
        return count_small(meta.payload)
    return len(split_versioned(meta.payload)) if meta.type == EXHASH else 1
