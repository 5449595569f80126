"""What a store holds: keys and bytes by group and by type, and what waits for the sweeper."""

from collections.abc import Callable, Iterator

import attrs

from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.check import pairs
from kvgate.model.meta import TYPE_NAMES
from kvgate.model.overlay import Snapshot


@attrs.define(slots=True)
class Amount:
    """Keys, and the bytes of all their records: engine keys and values, elements and index entries included."""

    keys: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One key more."""
        self.keys += 1
        self.bytes += size


@attrs.define(slots=True)
class Census:
    """The result of `take`. A key that is dead (expired or flushed) counts there, and not under its group and type."""

    groups: dict[bytes, Amount] = attrs.field(factory=dict)
    """By group (docs/keyspace.md): the text before the first ``:``, when that could be a namespace; else the empty one."""
    types: dict[str, Amount] = attrs.field(factory=dict)
    expired: Amount = attrs.field(factory=Amount)
    """Past their time, and not swept yet."""
    flushed: Amount = attrs.field(factory=Amount)
    """Left by FLUSHDB, and not swept yet."""
    queued: int = 0
    """Orders for the sweeper."""
    garbage: Amount = attrs.field(factory=Amount)
    """Values that were deleted or overwritten, and whose elements are not swept yet."""
    with_expiry: int = 0
    records: int = 0
    bytes: int = 0
    """Of all records."""


def take(snapshot: Snapshot, now_ms: int, step: Callable[[], None] = lambda: None) -> Census:
    """Read a whole store at the time `now_ms`; `step` is called for each record.

    Raises:
        UnreadableRecordError: for a record that this program does not know.
    """
    return _Taking(snapshot, now_ms, step).take()


class _Taking:
    def __init__(self, snapshot: Snapshot, now_ms: int, step: Callable[[], None]) -> None:
        self._snapshot = snapshot
        self._now_ms = now_ms
        self._step = step
        self._census = Census()
        self._elements: dict[int, int] = {}  # id → bytes
        self._generations: dict[bytes, int] = {}
        self._store_generation = 0

    def take(self) -> Census:
        census = self._census
        for key, value in self._records(b"D", b"E"):
            identity = int.from_bytes(key[1:9], "big")
            self._elements[identity] = self._elements.get(identity, 0) + len(key) + len(value)
        for key, value in self._records(b"G", b"H"):
            if key == keyspace.STORE_GENERATION:
                self._store_generation = records.decode_counter(value)
            else:
                self._generations[keyspace.group_in(key)[1]] = records.decode_counter(value)
        for place, raw in self._records(b"M", b"N"):
            self._key(place, raw)
        census.queued = sum(1 for _ in self._records(keyspace.QUEUE_START, keyspace.QUEUE_END))
        for _ in self._records(b"R", b"Y"):
            pass  # counted among all records; an index entry's bytes are its key's
        for size in self._elements.values():
            census.garbage.add(size)
        return census

    def _records(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in pairs(self._snapshot, start, end):
            self._step()
            self._census.records += 1
            self._census.bytes += len(key) + len(value)
            yield key, value

    def _key(self, place: bytes, raw: bytes) -> None:
        census, meta = self._census, records.decode(raw)
        size = len(place) + len(raw)
        if meta.outside is not None:
            size += self._elements.pop(meta.outside.identity, 0)
        for moment in meta.moments():
            size += len(keyspace.expiry_key(place, moment)) + 1
        key = keyspace.text_in(place)
        group = keyspace.group_of((meta.long_key or b"") if key is None else key)
        if meta.generation < max(self._store_generation, self._generations.get(group, 0)):
            census.flushed.add(size)
        elif meta.gone(self._now_ms):
            census.expired.add(size)
        else:
            census.with_expiry += meta.expires > 0
            census.groups.setdefault(group, Amount()).add(size)
            census.types.setdefault(TYPE_NAMES[meta.type].decode(), Amount()).add(size)
