"""LMDB as an engine of the model: snapshots, optimistic transactions, and groups of writes under one commit.

Snapshots are read in the caller's thread and never wait. Whatever writes runs on a thread, one at a time: beginning to write
waits for other processes, and a commit waits for the disk.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import lmdb
import trio

from kvgate.errors import ConfigurationError, Conflict, GateError, in_doubt, try_again
from kvgate.model import keyspace
from kvgate.model.kv import KvTxn, TooLong
from kvgate.model.meta import decode_counter, encode_counter
from kvgate.model.overlay import Overlay, Snapshot
from kvgate.model.short import NOTHING, Replies
from kvgate_lmdb import journal, mover
from kvgate_lmdb.environment import open_environment
from kvgate_lmdb.recent import Layer, Recent, Sight, through

T = TypeVar("T")

_GENERATIONS_LIMIT: Final = 65_536  # groups whose generation is remembered for one snapshot


class Pages:
    """`kvgate.model.overlay.Snapshot` over an LMDB transaction."""

    __slots__ = ("get", "txn")

    def __init__(self, txn: "lmdb.Transaction[bytes]") -> None:
        """Read through `txn`, which the caller ends."""
        self.txn = txn
        self.get: Callable[[bytes], bytes | None] = txn.get

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` pairs with ``start <= key < end``."""
        found: list[tuple[bytes, bytes]] = []
        with self.txn.cursor() as cursor:
            more = limit > 0 and cursor.set_range(start)
            while more and len(found) < limit and cursor.key() < end:
                found.append(cursor.item())
                more = cursor.next()
        return found

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Their keys; the values are not touched."""
        found: list[bytes] = []
        with self.txn.cursor() as cursor:
            more = limit > 0 and cursor.set_range(start)
            while more and len(found) < limit and (key := cursor.key()) < end:
                found.append(key)
                more = cursor.next()
        return found


class ReadTxn:
    """A `KvTxn` that only reads. With `most` keys at once as its limit, it raises `TooLong` beyond."""

    __slots__ = ("_get", "_most", "_sight", "_txn", "generations")

    def __init__(
        self,
        txn: "lmdb.Transaction[bytes]",
        generations: dict[bytes, int],
        most: int = 0,
        layers: Sequence[Layer] = (),
    ) -> None:
        """Read through `layers` and `txn`, which `rollback` ends."""
        self.generations = generations
        self._txn = txn
        self._sight: Snapshot = Sight(Pages(txn), layers) if layers else Pages(txn)
        self._get = self._sight.get
        self._most = most

    async def get(self, key: bytes) -> bytes | None:
        """As `KvTxn.get`."""
        return self._get(key)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `KvTxn.get_many`."""
        if self._most and len(keys) > self._most:
            raise TooLong
        get = self._get
        return [get(key) for key in keys]

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `KvTxn.scan`."""
        return self._sight.range(start, end, limit)

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `KvTxn.scan_keys`."""
        return self._sight.range_keys(start, end, limit)

    def put(self, key: bytes, value: bytes) -> None:
        """Refused: see `KvEngine.begin`."""
        del key, value
        raise lmdb.ReadonlyError("a transaction that was begun to read")

    def delete(self, key: bytes) -> None:
        """Refused: see `KvEngine.begin`."""
        del key
        raise lmdb.ReadonlyError("a transaction that was begun to read")

    def revision(self) -> int:
        """Refused: see `KvEngine.begin`."""
        raise lmdb.ReadonlyError("a transaction that was begun to read")

    async def fence(self) -> int:
        """Refused: see `KvEngine.begin`."""
        raise lmdb.ReadonlyError("a transaction that was begun to read")

    async def commit(self) -> None:
        """Nothing was written: as `rollback`."""
        self._txn.abort()

    async def rollback(self) -> None:
        """As `KvTxn.rollback`."""
        self._txn.abort()

    def end(self) -> None:
        """As `rollback`, for callers that do not wait."""
        self._txn.abort()


class Glance(ReadTxn):
    """Keys that LMDB has, without those that layers say are gone."""

    __slots__ = ("_there",)

    def __init__(self, txn: "lmdb.Transaction[bytes]", layers: Sequence[Layer]) -> None:
        """Look through `layers` and `txn`, which `rollback` ends."""
        super().__init__(txn, {})
        self._there = through(lambda _key: b"", [layer.records for layer in layers])

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `KvTxn.scan_keys`."""
        found: list[bytes] = []
        while True:
            page = self._sight.range_keys(start, end, limit)
            found += [key for key in page if self._there(key) is not None]
            if len(page) < limit or len(found) >= limit:
                return found[:limit]
            start = page[-1] + b"\x00"


class OptimisticTxn(Overlay):
    """A `KvTxn` over a snapshot; its commit checks, under the write lock, everything it has read."""

    def __init__(self, engine: "LmdbEngine", txn: "lmdb.Transaction[bytes]") -> None:
        """Stand on the snapshot `txn`, which `commit` and `rollback` end."""
        super().__init__(Pages(txn), self._count, record=True)
        self._engine = engine
        self._txn = txn
        self._seen = txn.id()
        self._revision = 0

    def _count(self) -> int:
        if not self._revision:
            self._revision = decode_counter(self._get(keyspace.REVISION))
        self._revision += 1
        self.put(keyspace.REVISION, encode_counter(self._revision))
        return self._revision

    async def commit(self) -> None:
        """As `KvTxn.commit`."""
        self._txn.abort()  # an old snapshot keeps pages from being used again
        if not self.writes:
            return
        await self._engine.in_thread(self._apply)

    def _apply(self) -> None:
        with self._engine.env.begin(write=True) as txn:
            if txn.id() != self._seen + 1 and not self.holds(Pages(txn)):
                raise Conflict
            apply_writes(txn, self.writes)

    async def rollback(self) -> None:
        """As `KvTxn.rollback`."""
        self._txn.abort()


class Group:
    """Several commands in one LMDB write transaction, one after the other; used in the writer's thread only."""

    def __init__(self, env: lmdb.Environment) -> None:
        """Begin to write; waits while another process does."""
        self._txn: lmdb.Transaction[bytes] = env.begin(write=True)
        self._pages = Pages(self._txn)
        self._before = self._revision = decode_counter(self._txn.get(keyspace.REVISION))
        self._generations: dict[bytes, int] = {}

    @property
    def number(self) -> int:
        """LMDB's number of this transaction: one more than that of the last one that wrote anything."""
        return self._txn.id()

    def _count(self) -> int:
        self._revision += 1
        return self._revision

    def command(self) -> "GroupTxn":
        """A transaction for one command: it sees what the commands before it wrote. `take` or `drop` ends it."""
        txn = GroupTxn(self._pages, self._count, record=False)
        txn.generations = self._generations
        return txn

    def take(self, command: "GroupTxn") -> None:
        """Let a command's writes be part of the group."""
        apply_writes(self._txn, command.writes)

    def drop(self, command: "GroupTxn") -> None:
        """Forget a command's writes, and the generations that it may have known by them."""
        command.generations.clear()

    def put(self, writes: dict[bytes, bytes | None], revision: int) -> None:
        """Let writes that were made elsewhere be part of the group; `revision` is the last one among them. LMDB counts the
        transaction then, even if all were deletions of what is not there."""
        apply_writes(self._txn, writes)
        self._txn.put(keyspace.REVISION, encode_counter(revision))
        self._before = self._revision = revision

    def commit(self) -> None:
        """Make all of it durable. Raises lmdb.Error; then nothing was written."""
        if self._revision != self._before:
            self._txn.put(keyspace.REVISION, encode_counter(self._revision))
        self._txn.commit()

    def abort(self) -> None:
        """Forget all of it; does nothing after `commit`."""
        self._txn.abort()


class GroupTxn(Overlay):
    """One command's `KvTxn` inside a `Group`; its commit is the group's."""

    async def commit(self) -> None:
        """Nothing: the group commits."""

    async def rollback(self) -> None:
        """As `KvTxn.rollback`."""
        self.writes.clear()


def apply_writes(txn: "lmdb.Transaction[bytes]", writes: dict[bytes, bytes | None]) -> None:
    """Put and delete what an overlay holds."""
    for key, value in writes.items():
        if value is None:
            txn.delete(key)
        else:
            txn.put(key, value)


class LmdbEngine:
    """`kvgate.model.kv.KvEngine` in a folder. Closed at first; `open` and `close` block."""

    max_key = 511
    max_value = 1 << 30

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        map_size: int = 0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Prepare; no I/O. `clock` gives Unix time in ms."""
        self.path = path
        self.durable = durable
        self.map_size = map_size
        self.now_ms = clock
        self.recent = Recent()
        """What LMDB's file does not have yet, where there is a journal."""
        self._env: lmdb.Environment | None = None
        self._writer = trio.CapacityLimiter(1)
        self._writing = threading.Lock()
        self._generations: dict[bytes, int] = {}
        self._generations_of = (-1, 0)  # the snapshot that they belong to: LMDB's transaction number, and `Recent`'s count

    @property
    def env(self) -> lmdb.Environment:
        """The open environment.

        Raises:
            GateError: ``TRYAGAIN``: it is not open.
        """
        if self._env is None:
            raise try_again("the store is not open")
        return self._env

    @property
    def is_open(self) -> bool:
        """Between `open` and `close`."""
        return self._env is not None

    def open(self) -> None:
        """Open or make the files. Not before a fork: LMDB's locks belong to the process.

        Raises:
            ConfigurationError: see `open_environment`.
        """
        self._env = open_environment(self.path, durable=self.durable, map_size=self.map_size)

    def close(self) -> None:
        """Close LMDB's files; idempotent."""
        if self._env is not None:
            self._env.close()
            self._env = None
            self._generations_of = (-1, 0)

    # The journal

    def recover(self) -> int:
        """Move what a gate has left in the journal to LMDB's file; how many groups of writes. Nobody writes to the journal.

        Raises:
            ConfigurationError: it is damaged, or cannot be read.
            lmdb.Error: LMDB could not take it; nothing is lost.
        """
        if not journal.exists(self.path):
            return 0
        groups = 0
        try:
            with self._writing, self.env.begin(write=True) as txn:
                taken = last = decode_counter(txn.get(keyspace.JOURNAL))
                for number, writes in journal.left_over(self.path, taken):
                    mover.put_records(txn, mover.in_order(writes))
                    last, groups = number, groups + 1
                if groups:
                    txn.put(keyspace.JOURNAL, encode_counter(last))
            self.env.sync(True)  # noqa: FBT003 - the form of py-lmdb; the journal may be of a gate that waited for the disk
            journal.remove(self.path)
        except OSError as error:
            raise ConfigurationError([f"path: the journal in {self.path} cannot be read: {error}"]) from error
        return groups

    def start_journal(self, alone: Callable[[], bool]) -> bool:
        """Write groups to a journal from now on, if `alone` says, while nothing is written, that no other process uses the
        store, nor will without asking (kvgate_lmdb.access); whether it does.

        Raises:
            OSError: the files cannot be made.
        """
        with self._writing, self.recent.landing:
            if not alone():
                return False
            with self.env.begin() as txn:
                last = decode_counter(txn.get(keyspace.JOURNAL))
            self.recent.begin(journal.Journal(self.path, last, durable=self.durable))
            return True

    def end_journal(self) -> None:
        """Have everything in LMDB's file, and write there from now on.

        Raises:
            lmdb.Error: LMDB could not take it; the journal stays.
            GateError: ``INDOUBT`` as `Recent.settled`, ``TRYAGAIN``: the store is not open.
        """
        with self._writing:
            if self.recent.journal is not None:
                with self.recent.settled(self.env):
                    self.recent.end()
                    journal.remove(self.path)

    def settle(self) -> None:
        """Have everything in LMDB's file. Raises as `end_journal`."""
        with self._writing, self.recent.settled(self.env):
            pass

    def move(self, layer: Layer) -> None:
        """Move a frozen layer to LMDB's file, if others have not done so.

        Raises:
            GateError: LMDB could not take it, or is not open; it stays where it is.
            BrokenStoreError: as for `write`.
        """
        with self._writing:
            env = self.env
            try:
                mover.move(env, layer.records, layer.last)
            except lmdb.Error as error:
                if self.broken(env):
                    raise BrokenStoreError(env, error) from error
                raise self.told(error) from error
            self.recent.moved(layer)

    def moved(self, layer: Layer) -> None:
        """LMDB's file has all of a frozen layer."""
        with self._writing:
            self.recent.moved(layer)

    # Reading

    def look(self) -> "tuple[lmdb.Transaction[bytes], tuple[Layer, ...]]":
        """A snapshot of LMDB that the caller ends, and the layers above it; in trio's thread."""
        env, recent = self.env, self.recent
        while True:
            layers = recent.layers
            txn = env.begin()
            if layers is recent.layers:
                return txn, layers if len(layers) > 1 or layers[0].records else ()
            txn.abort()

    def read(self, most: int = 0) -> ReadTxn:
        """A snapshot to read, at once; `most`: see `ReadTxn`. The caller rolls it back soon."""
        txn, layers = self.look()
        return ReadTxn(txn, self._known(txn), most, layers)

    def _known(self, txn: "lmdb.Transaction[bytes]") -> dict[bytes, int]:
        """What is known of generations in this snapshot, under the layers of now."""
        seen = txn.id(), self.recent.generation_changes
        if seen != self._generations_of or len(self._generations) > _GENERATIONS_LIMIT:
            self._generations_of, self._generations = seen, {}  # a new one: older snapshots keep theirs
        return self._generations

    def read_run(
        self, reads: Callable[..., Replies], words: list[bytes], start: int, width: int, null: bytes
    ) -> Replies:
        """As `short.gets` and its kin, of which `reads` is one that takes `width` words for each read, on the present state.
        Raises lmdb.Error."""
        if self._env is None:
            return NOTHING
        txn, layers = self.look()
        try:
            get = through(txn.get, [layer.records for layer in layers]) if layers else txn.get
            now, generations = self.now_ms(), self._known(txn)
            found = reads(get, generations, now, null, words, start)
            at = start + found[1] * width
            while at < len(words) and (group := keyspace.group_of(words[at])) not in generations:
                generations[group] = max(
                    decode_counter(get(keyspace.STORE_GENERATION)), decode_counter(get(keyspace.group_key(group)))
                )
                raw, taken, misses = reads(get, generations, now, null, words, at)
                found = found[0] + raw, found[1] + taken, found[2] + misses
                at += taken * width
            return found
        finally:
            txn.abort()

    def read_apart(self) -> ReadTxn:
        """A snapshot of LMDB alone, which has everything then: for other threads, and on them."""
        if self.recent.journal is None:
            return ReadTxn(self.env.begin(), {})
        return ReadTxn(self._begin_settled(), {})

    def _begin_settled(self) -> "lmdb.Transaction[bytes]":
        with self._writing, self.recent.settled(self.env):
            return self.env.begin()

    async def begin(self, *, write: bool = False) -> KvTxn:
        """As `KvEngine.begin`: a snapshot of LMDB alone."""
        await trio.lowlevel.checkpoint()
        try:
            txn = self.env.begin() if self.recent.is_empty else await trio.to_thread.run_sync(self._begin_settled)
        except lmdb.Error as error:
            raise self.told(error) from error
        return OptimisticTxn(self, txn) if write else ReadTxn(txn, {})

    def glance(self) -> ReadTxn:
        """A snapshot of LMDB, whatever is not there yet: for who only looks whether there may be something to do."""
        return Glance(*self.look())

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work that writes on a thread, one at a time; not abandoned when cancelled.

        Raises:
            GateError: ``ERR store …`` for LMDB's own errors, then nothing was written; ``INDOUBT`` when that is unknown.
        """
        try:
            return await trio.to_thread.run_sync(self.write, work, limiter=self._writer)
        except (lmdb.Error, BrokenStoreError) as error:
            raise self.after(error) from error

    def write(self, work: Callable[[], T]) -> T:
        """Run work that writes to LMDB's file, on the caller's thread and not beside another one's; the file has everything.

        Raises:
            lmdb.Error: nothing was written; `after` says what clients are told.
            BrokenStoreError: that is unknown; so does `after`.
        """
        with self._writing:
            env = self.env
            try:
                with self.recent.settled(env):
                    try:
                        return work()
                    finally:
                        self.recent.changes += 1
            except lmdb.Error as error:
                if self.broken(env):
                    raise BrokenStoreError(env, error) from error
                raise

    def after(self, error: "lmdb.Error | BrokenStoreError") -> GateError:
        """What clients are told of an error that ended a write. In trio's thread: a broken environment is opened anew."""
        if not isinstance(error, BrokenStoreError):
            return self.told(error)
        if self._env is error.env:
            with self._writing:
                self._reopen()
        return in_doubt(f"the disk failed during a commit ({error.error}); check the disk of {self.path}")

    def _reopen(self) -> None:
        with suppress(lmdb.Error):
            self.close()
        self._env = None
        with suppress(ConfigurationError):  # then it stays closed; the backend tries again
            self.open()

    @staticmethod
    def broken(env: lmdb.Environment) -> bool:
        """Whether LMDB refuses everything until the file is opened anew: it could not finish, or undo, a commit."""
        try:
            env.begin().abort()
        except lmdb.Error:
            return True
        return False

    def told(self, error: lmdb.Error) -> GateError:
        """LMDB's error in words for a client: nothing was written."""
        if isinstance(error, lmdb.MapFullError) and self._env is not None:
            size = self._env.info()["map_size"]
            return GateError(f"ERR store is full: its map of {size} bytes is used up; raise map_size or delete keys")
        return GateError(f"ERR store could not write ({error}); nothing was written; check the disk of {self.path}")


class BrokenStoreError(Exception):
    """A write ended with an environment that cannot be used any more, so that nobody knows what it did."""

    def __init__(self, env: lmdb.Environment, error: lmdb.Error) -> None:
        """`env` is the one that broke, by `error`."""
        super().__init__(str(error))
        self.env = env
        self.error = error
