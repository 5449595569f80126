"""Writes that are in the journal and not in LMDB's file yet: what every reader of the store sees above LMDB's snapshot.

A group of writes is appended to the journal, which is all that its clients wait for. Its records then lie in the newest
layer here. When that is large or old it is frozen, a new one begins, and the frozen one is moved to LMDB's file, sorted and in
portions (kvgate_lmdb.moving), while further groups are appended. Whoever needs all of it in LMDB's file (a transaction over
LMDB, a read on another thread) settles first: everything is moved at once.

Two locks, always taken in this order: the engine's, which is around every transaction that writes to LMDB, and `landing`,
which is around whatever appends to the journal. Layers are changed in trio's thread only, where readers are, so that none
sees half of a group; other threads put another tuple of layers in the place of the present one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final

import attrs
import lmdb

from kvgate.errors import in_doubt
from kvgate.model import keyspace
from kvgate.model.kv import TooLong
from kvgate.model.meta import encode_counter
from kvgate.model.overlay import Snapshot
from kvgate_lmdb.journal import Journal, Writes
from kvgate_lmdb.mover import in_order, put_records
from kvgate_lmdb.syncing import Syncer

log = logging.getLogger("kvgate.lmdb")

MOST_RECORDS: Final = 32_768
MOST_BYTES: Final = 16 << 20
"""Of a layer, which is frozen then: the larger, the more of its records share LMDB's pages, and the more memory is used."""
PAGE: Final = 4096
"""Bytes of one of LMDB's pages."""
OLD: Final = 1.0
"""Seconds after which a layer is frozen however small it is."""
SLOWER: Final = 0.005
"""Seconds that a group waits for each layer's worth that is in the newest layer beyond one, while LMDB takes longer."""
PATIENCE: Final = 0.5
"""Seconds that a group waits then at most."""
_ELEMENT, _GENERATION = ord("D"), ord("G")  # how keys of such records begin, see kvgate.model.keyspace
_ID: Final = 9  # bytes of an element's key up to and including the id that it is under

Look = Callable[[bytes], bytes | None]


class Layer:
    """Records, newer than all that lies below."""

    __slots__ = ("_elements", "file", "last", "records", "since", "size")

    def __init__(self) -> None:
        """Begin without any."""
        self.records: dict[bytes, bytes | None] = {}
        self.size = 0
        self.last = 0
        self.file = ""
        """The number of the journal's last record that is in it, and the name of the file that has all of them, and no others
        before it; once it is frozen."""
        self.since = 0.0
        """When its first record came, on the monotonic clock."""
        self._elements: dict[bytes, dict[bytes, None]] = {}

    def add(self, writes: Writes, *, elements: bool) -> None:
        """Let `writes` lie above what is there; `elements`: whether there may be elements of large values among them."""
        if not self.records:
            self.since = time.monotonic()
        self.records.update(writes)
        if elements:
            for key in writes:
                if key[0] == _ELEMENT:
                    self._elements.setdefault(key[:_ID], {})[key] = None

    @property
    def is_large(self) -> bool:
        """Whether it is to be frozen."""
        return len(self.records) >= MOST_RECORDS or self.size >= MOST_BYTES

    def elements(self, identity: bytes) -> Sequence[bytes]:
        """The keys of the elements under an id, given as the beginning of their keys."""
        return tuple(self._elements.get(identity, ()))


class Sight:
    """A `kvgate.model.overlay.Snapshot` through layers, the newest first, onto a snapshot of LMDB."""

    __slots__ = ("_layers", "_pages", "get")

    def __init__(self, pages: Snapshot, layers: Sequence[Layer]) -> None:
        """Look through `layers`, in trio's thread."""
        self._pages = pages
        self._layers = layers
        self.get = through(pages.get, [layer.records for layer in layers])

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `Snapshot.range`. Raises TooLong where that would be long work: anything but elements of one id."""
        above = self._above(start, end)
        return with_above(self._pages.range(start, end, limit + len(above)), above, limit)

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `Snapshot.range_keys`. Raises TooLong, as `range`."""
        above = self._above(start, end)
        return keys_with_above(self._pages.range_keys(start, end, limit + len(above)), above, limit)

    def _above(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        if not any(layer.records for layer in self._layers):
            return {}
        identity = start[:_ID]
        if start[0] != _ELEMENT or end[:_ID] != identity or len(start) < _ID:
            raise TooLong
        above: dict[bytes, bytes | None] = {}
        for layer in reversed(self._layers):
            above.update((key, layer.records[key]) for key in layer.elements(identity) if start <= key < end)
        return above


def with_above(page: Sequence[tuple[bytes, bytes]], above: Writes, limit: int) -> list[tuple[bytes, bytes]]:
    """The first `limit` pairs of a range: `page` has `limit` and as many more as there are newer records `above`."""
    merged = {**dict(page), **above}
    return [(key, value) for key, value in sorted(merged.items()) if value is not None][:limit]


def keys_with_above(page: Sequence[bytes], above: Writes, limit: int) -> list[bytes]:
    """As `with_above`, the keys."""
    return sorted(key for key in {*page, *above} if above.get(key, b"") is not None)[:limit]


def through(get: Look, layers: Sequence[Mapping[bytes, bytes | None]]) -> Look:
    """`get` where none of `layers` has the key, the newest of which is the first."""
    above = [layer for layer in layers if layer]
    if not above:
        return get
    if len(above) == 1:
        (only,) = above

        def look(key: bytes) -> bytes | None:
            return only[key] if key in only else get(key)

        return look

    def look_at_all(key: bytes) -> bytes | None:
        for layer in above:
            if key in layer:
                return layer[key]
        return get(key)

    return look_at_all


@attrs.frozen(slots=True)
class _Landed:
    """A group that is in the journal and that readers do not see yet."""

    number: int
    writes: Writes


@attrs.frozen(slots=True)
class _Flight:
    """A group that is being written and synced by another thread."""

    syncer: Syncer
    writes: Writes


class Recent:
    """The layers of one store, and the journal behind them. Without a journal there never is anything in the layers."""

    def __init__(self) -> None:
        """Begin without a journal."""
        self.layers: tuple[Layer, ...] = (Layer(),)
        self.journal: Journal | None = None
        self.landing = threading.Lock()
        self.changes = 0
        """How often LMDB was written to by anything but what moves layers: what was run ahead of that stands on sand."""
        self.generation_changes = 0
        """How often generations were published."""
        self.frozen_one: Callable[[Layer], None] = lambda _layer: None
        """Called in trio's thread with each layer that was frozen (kvgate_lmdb.moving.Mover)."""
        self._landed: deque[_Landed] = deque()
        self._taken = 0  # up to this number LMDB has the journal's records
        self._swap = threading.Lock()  # around each change of `layers` and `_landed`; nobody waits long for it
        self._flight: _Flight | None = None
        self._arrival: int | OSError = 0
        self._wanted = False  # freeze when next there is an occasion

    @property
    def is_empty(self) -> bool:
        """Whether LMDB has everything that readers see."""
        return not any(layer.records for layer in self.layers)

    @property
    def weight(self) -> int:
        """Bytes that LMDB's file may grow by when it takes over the layers: each record may lie on a page of its own, of which
        LMDB writes a copy."""
        return sum(len(layer.records) * PAGE + layer.size for layer in self.layers)

    @property
    def records(self) -> int:
        """How many records are not in LMDB's file yet, those counted twice that lie in two layers."""
        return sum(len(layer.records) for layer in self.layers)

    @property
    def is_doubtful(self) -> bool:
        """Whether the journal may have a record at its end of which nobody was told that it is there."""
        return self.journal is not None and self.journal.failed

    @property
    def is_behind(self) -> bool:
        """Whether LMDB takes longer than the writers: the newest layer is large already, and the one before is still there."""
        return len(self.layers) > 1 and self.layers[0].is_large

    def wait_for_room(self) -> None:
        """Let a group wait while LMDB takes longer than the writers: the longer the more is waiting, so that they come to the
        same pace without a long stop; but not for ever. On the writer's thread."""
        top = self.layers[0]
        over = max(len(top.records) / MOST_RECORDS, top.size / MOST_BYTES) - 1
        until = time.monotonic() + min(PATIENCE, SLOWER * over)
        while self.is_behind and time.monotonic() < until:
            time.sleep(0.001)

    # Groups of writes

    def append(self, writes: Writes, changes: int) -> int | None:
        """Write a group to the journal, in the writer's thread; its number, for `publish`. None: there is no journal to
        write to, or LMDB was written to since there were so many `changes`; then nothing was done.

        Raises:
            OSError: nobody knows what is in the journal; the next who settles sees to it that it comes to nothing.
        """
        with self.landing:
            return self._append(writes, changes)

    def append_at_once(self, writes: Writes, changes: int) -> int | None:
        """As `append`, in trio's thread: None also where others would have to be waited for."""
        if not self.landing.acquire(blocking=False):
            return None
        try:
            return self._append(writes, changes)
        finally:
            self.landing.release()

    def _append(self, writes: Writes, changes: int) -> int | None:
        journal = self._journal_for(changes)
        if journal is None:
            return None
        number = journal.append(writes)
        with self._swap:
            self._landed.append(_Landed(number, writes))
        return number

    def _journal_for(self, changes: int) -> Journal | None:
        journal = self.journal
        return None if journal is None or journal.failed or changes != self.changes else journal

    def depart(self, syncer: Syncer, writes: Writes, changes: int) -> bool:
        """Begin to write a group to the journal, in trio's thread; `arrive` follows when `syncer` says so. False, as `None` of
        `append_at_once`."""
        if not self.landing.acquire(blocking=False):
            return False
        try:
            journal = self._journal_for(changes)
            if journal is None:
                return False
            journal.depart(syncer, writes)
            self._flight = _Flight(syncer, writes)
        finally:
            self.landing.release()
        return True

    def arrive(self) -> int | None:
        """The number of the group that departed, when it is in the journal; in trio's thread. None: somebody settles just now,
        ask again a moment later. Raises OSError, as `append`."""
        if not self.landing.acquire(blocking=False):
            return None
        try:
            self._touch_down()
        finally:
            self.landing.release()
        if isinstance(self._arrival, OSError):
            raise self._arrival
        return self._arrival

    def wait_for_arrival(self) -> None:
        """Until what departed is in the journal, or cannot be. On a thread; `arrive` says the rest."""
        with self.landing:
            self._touch_down()

    def _touch_down(self) -> None:
        """End what departed, if anything did: whoever holds `landing` first waits for it."""
        flight, journal = self._flight, self.journal
        if flight is None or journal is None:
            return
        error = flight.syncer.result()
        self._flight = None
        try:
            self._arrival = journal.arrive(error)
        except OSError as failed:
            self._arrival = failed
            return
        with self._swap:
            self._landed.append(_Landed(journal.last, flight.writes))

    def publish(self, number: int, writes: Writes, *, size: int, kinds: AbstractSet[int]) -> None:
        """Let readers see a group that was appended: so many bytes, with keys that begin so. In trio's thread, before the next
        group is appended."""
        with self._swap:
            if self._landed and self._landed[0].number == number:
                self._landed.popleft()
            if _GENERATION in kinds:
                self.generation_changes += 1
            if number <= self._taken:  # who settled meanwhile has put it into LMDB's file, where others may have changed it
                return
            top = self.layers[0]
            top.add(writes, elements=_ELEMENT in kinds)
            top.size += size
        if self._wanted or top.is_large:
            self.freeze()

    # To LMDB's file

    def freeze_if_due(self) -> None:
        """Freeze the newest layer if it is large or old. In trio's thread."""
        top = self.layers[0]
        if top.is_large or (top.records and time.monotonic() - top.since > OLD):
            self.freeze()

    def freeze(self) -> None:
        """Begin a new layer, unless there is a frozen one; if that cannot be now, when the next group was published. In trio's
        thread."""
        if len(self.layers) > 1:
            return
        self._wanted = True
        if self._flight is not None or not self.landing.acquire(blocking=False):
            return
        try:
            with self._swap:
                journal, layer = self.journal, self.layers[0]
                if journal is None or journal.failed or self._landed or len(self.layers) > 1:
                    return
                layer.last, layer.file = journal.last, journal.turn(self._taken)
                if not layer.file:
                    return
                self.layers = (Layer(), layer)
                self._wanted = False
        finally:
            self.landing.release()
        self.frozen_one(layer)

    def moved(self, layer: Layer) -> None:
        """LMDB's file has all of a frozen layer; the engine's own lock is held. The layer is gone already if others have
        settled, or part of another one if they could not."""
        with self._swap:
            self._taken = max(self._taken, layer.last)
            if layer in self.layers:
                self.layers = self.layers[:-1]

    @contextmanager
    def settled(self, env: lmdb.Environment) -> Iterator[None]:
        """Inside, LMDB has everything and nothing is appended; the engine's own lock is held. On a thread.

        Raises:
            lmdb.Error: LMDB could not take it; nothing is lost.
            GateError: ``INDOUBT``: so it is, and there is a group of which nobody knows whether it is in the journal.
        """
        if self.journal is None:
            yield
            return
        with self.landing:
            self._touch_down()
            self._settle(env)
            yield

    def _settle(self, env: lmdb.Environment) -> None:
        journal = self.journal
        if journal is None:
            return
        with self._swap:
            layers, landed = self.layers, tuple(self._landed)
            if self.is_empty and not landed and not journal.failed:
                return
            self.layers = (Layer(), *layers)
        mark = journal.last + journal.failed
        try:
            with env.begin(write=True) as txn:
                for writes in (*(layer.records for layer in reversed(layers)), *(group.writes for group in landed)):
                    put_records(txn, in_order(writes))
                txn.put(keyspace.JOURNAL, encode_counter(mark))
        except lmdb.Error as error:
            self._put_back()
            if journal.failed:
                raise in_doubt(f"neither the journal nor the store could be written ({error}); check the disk") from error
            raise
        with self._swap:
            self.layers = (Layer(),)
            self._landed.clear()  # once more would be over what others write from here on
            self._taken = mark
        if journal.failed:
            journal.renew()
        else:
            journal.restart()

    def _put_back(self) -> None:
        """After a failure: one layer with all of them."""
        with self._swap:
            whole = Layer()
            for layer in reversed(self.layers):
                if layer.records:
                    whole.add(layer.records, elements=True)
                    whole.size += layer.size
            self.layers = (whole,)

    # Beginning and end

    def begin(self, journal: Journal) -> None:
        """Write to `journal` from now on; LMDB has all that was written before. Both locks are held."""
        self.journal, self._taken = journal, journal.last
        self.changes += 1

    def end(self) -> None:
        """Write to it no more; all is settled, both locks are held."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None
            self.changes += 1
