"""Background removal of what no reader sees any more: expired keys and fields, elements without a meta, what a flush left
behind.

Each step is one transaction, bounded in records and in time, so that no client waits long behind it; what is not done stays
queued in the store.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from kvgate.model import exfields, keyspace
from kvgate.model import meta as records
from kvgate.model.kv import KvEngine, KvTxn, transact
from kvgate.model.transaction import Transaction

EXPIRED_BATCH: Final = 200
"""Expired keys removed in one transaction; each is looked up."""
ELEMENTS_BATCH: Final = 1000
"""Elements removed in one transaction, about; those of queued ids are not looked at, and lie side by side."""
T = TypeVar("T")

SLICE: Final = 0.002
"""Seconds after which a transaction takes no more work, whatever its number of records: a slow disk, large records. Its
commit then takes about as long again, and the disk's own time."""
_QUEUE_PAGE: Final = 16
_ELEMENTS_PAGE: Final = 250
_EXPIRED_PAGE: Final = 50
_META_PAGE: Final = 100  # as kvgate.model.listing.PAGE: their values come along


class Transact(Protocol):
    """What `kvgate.model.kv.transact` does."""

    async def __call__(self, engine: KvEngine, body: Callable[[KvTxn], Awaitable[T]], /) -> T:
        """Run `body` in a transaction and commit it; it may run several times. Raises GateError."""


class Sweeper:
    """The sweeper of one store: there is one at a time, in whichever process holds the store's lock for it."""

    def __init__(
        self,
        engine: KvEngine,
        clock: Callable[[], float] = time.perf_counter,
        *,
        span: float | None = None,
        transact: "Transact" = transact,
    ) -> None:
        """Sweep `engine`; `clock` measures a step, in seconds. `span` is in the place of `SLICE`, `transact` in that of
        `kvgate.model.kv.transact`, for an engine that has a better way."""
        self._engine = engine
        self._clock = clock
        self._span = span
        self._transact = transact
        # Order → where its first remaining element is. Only a hint, lost with the process: engines that keep deleted records
        # for a while (TiKV) would otherwise walk over all of them again in each step
        self._reached: dict[bytes, bytes] = {}

    async def step(self) -> int:
        """One transaction of each kind of work; how many records it removed or looked at, 0: there is nothing to do now."""
        return await self._expired() + await self._queue()

    def _until(self) -> Callable[[], bool]:
        """Whether the time of a step that begins now is over."""
        end = self._clock() + (SLICE if self._span is None else self._span)
        return lambda: self._clock() >= end

    async def _expired(self) -> int:
        """Remove keys whose time has come, and fields of versioned hashes."""
        now = self._engine.now_ms()

        async def due(txn: KvTxn) -> list[bytes]:
            found: list[bytes] = []
            for shard in range(keyspace.EXPIRY_SHARDS):
                found += await txn.scan_keys(*keyspace.expiries(shard, now), EXPIRED_BATCH - len(found))
                if len(found) >= EXPIRED_BATCH:
                    break
            return found

        entries = await _read(self._engine, due)
        if not entries:
            return 0

        async def remove(txn: KvTxn) -> int:
            over, tx, done = self._until(), Transaction(txn, now), 0
            while done < len(entries) and not (done and over()):
                done += await _remove_expired(tx, entries[done : done + _EXPIRED_PAGE], over)
            return done

        return await self._transact(self._engine, remove)

    async def _queue(self) -> int:
        """Do a part of the first orders in the queue."""

        async def first(txn: KvTxn) -> list[bytes]:
            return await txn.scan_keys(keyspace.QUEUE_START, keyspace.QUEUE_END, _QUEUE_PAGE)

        orders = await _read(self._engine, first)
        if not orders:
            return 0
        ids = [order for order in orders if order[1] == 1]
        if not ids:
            return await self._transact(self._engine, lambda txn: _flushed(txn, orders[0], self._engine.now_ms()))
        done, order, start = await self._transact(self._engine, lambda txn: self._elements(txn, ids))
        self._reached = {order: start} if start else {}
        return done

    async def _elements(self, txn: KvTxn, orders: Sequence[bytes]) -> tuple[int, bytes, bytes]:
        """Delete elements of the queued ids; an order goes with its last element. How many records, and the order that is
        not done with the place to go on from (empty when all are done)."""
        done, over = 0, self._until()
        for order in orders:
            start, end = keyspace.elements(order[2:10])
            start = self._reached.get(order, start)
            while True:
                if done >= ELEMENTS_BATCH or (done and over()):
                    return done, order, start
                page = await txn.scan_keys(start, end, min(_ELEMENTS_PAGE, ELEMENTS_BATCH - done))
                for element in page:
                    txn.delete(element)
                done += len(page)
                if not page:
                    break
                start = page[-1] + b"\x00"
            txn.delete(order)
            done += 1
        return done, b"", b""


async def _read(engine: KvEngine, look: Callable[[KvTxn], Awaitable[list[bytes]]]) -> list[bytes]:
    txn = await engine.begin()
    try:
        return await look(txn)
    finally:
        await txn.rollback()


async def _remove_expired(tx: Transaction, entries: Sequence[bytes], over: Callable[[], bool]) -> int:
    """Do what entries of the index of expiries say; how many were done: all, unless there are versioned hashes among them."""
    places = [keyspace.expiry_in(entry) for entry in entries]
    metas = await tx.kv.get_many([place for _, place in places])
    swept = 0
    for done, (entry, (expires, place), raw) in enumerate(zip(entries, places, metas, strict=True)):
        meta = None if raw is None else records.decode(raw)
        if meta is None or expires not in meta.moments():
            tx.kv.delete(entry)
        elif meta.expires == expires:
            await tx.remove_at(place)
        else:
            if swept and (swept >= ELEMENTS_BATCH or over()):
                return done
            swept += await _sweep_fields(tx, place, meta, over)
    return len(entries)


async def _sweep_fields(tx: Transaction, place: bytes, meta: records.Meta, over: Callable[[], bool]) -> int:
    key = _key(place, meta)
    alive = await tx.load(key)  # again: it may have been flushed, and its other entry may have come before this one
    if alive is None:
        await tx.remove_at(place)
        return 1
    return await exfields.sweep(tx, key, alive, ELEMENTS_BATCH, over)


async def _flushed(txn: KvTxn, order: bytes, now_ms: int) -> int:
    """Delete metas below a flush's generation, one page from where the last step ended."""
    progress = await txn.get(order)
    if progress is None:
        return 1
    generation, position = records.decode_progress(progress)
    whole = order == keyspace.QUEUE_STORE
    bucket = int.from_bytes(order[2:4], "big")
    start = keyspace.metas_from(position)
    end = keyspace.METAS_END if whole else keyspace.metas_from(bucket + 1 << 36)
    page, limit = await txn.scan(start, end, _META_PAGE), _META_PAGE
    while len(page) == limit and keyspace.position_in(page[-1][0]) == position:
        limit *= 2  # more metas on one position than a page holds
        page = await txn.scan(start, end, limit)
    tx = Transaction(txn, now_ms)
    for place, raw in page:
        meta = records.decode(raw)
        if meta.generation < generation and (whole or _group(place, meta) == order[4:]):
            await tx.remove_at(place)
    if len(page) < limit:
        txn.delete(order)
    else:
        txn.put(order, records.encode_progress(generation, keyspace.position_in(page[-1][0])))
    return max(1, len(page))


def _key(place: bytes, meta: records.Meta) -> bytes:
    key = keyspace.text_in(place)
    return (meta.long_key or b"") if key is None else key


def _group(place: bytes, meta: records.Meta) -> bytes:
    return keyspace.group_of(_key(place, meta))
