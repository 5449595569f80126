"""Background removal of what no reader sees any more: expired keys, elements without a meta, what a flush left behind.

Each step is one bounded transaction, so that no client waits long behind it; what is not done stays queued in the store.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.kv import KvEngine, KvTxn, transact
from kvgate.model.transaction import Transaction

BATCH: Final = 200
"""Records removed in one transaction: about 2 ms of Python over LMDB."""
_QUEUE_PAGE: Final = 16
_META_PAGE: Final = 100  # as kvgate.model.listing.PAGE: their values come along


async def sweep(engine: KvEngine) -> int:
    """One step of each kind of work; how many records it removed or looked at, 0 when there is nothing to do now."""
    return await sweep_expired(engine) + await sweep_queue(engine)


async def _read(engine: KvEngine, look: Callable[[KvTxn], Awaitable[list[bytes]]]) -> list[bytes]:
    txn = await engine.begin()
    try:
        return await look(txn)
    finally:
        await txn.rollback()


async def sweep_expired(engine: KvEngine) -> int:
    """Remove up to `BATCH` keys whose time has come."""
    now = engine.now_ms()

    async def due(txn: KvTxn) -> list[bytes]:
        found: list[bytes] = []
        for shard in range(keyspace.EXPIRY_SHARDS):
            found += await txn.scan_keys(*keyspace.expiries(shard, now), BATCH - len(found))
            if len(found) >= BATCH:
                break
        return found

    entries = await _read(engine, due)
    if not entries:
        return 0

    async def remove(txn: KvTxn) -> None:
        tx = Transaction(txn, now)
        places = [keyspace.expiry_in(entry) for entry in entries]
        metas = await txn.get_many([place for _, place in places])
        for entry, (expires, place), raw in zip(entries, places, metas, strict=True):
            txn.delete(entry)
            if raw is not None and records.decode(raw).expires == expires:
                await tx.remove_at(place)

    await transact(engine, remove)
    return len(entries)


async def sweep_queue(engine: KvEngine) -> int:
    """Do a part of the first order in the queue."""

    async def first(txn: KvTxn) -> list[bytes]:
        return await txn.scan_keys(keyspace.QUEUE_START, keyspace.QUEUE_END, _QUEUE_PAGE)

    orders = await _read(engine, first)
    if not orders:
        return 0
    ids = [order for order in orders if order[1] == 1]
    if ids:
        return await transact(engine, lambda txn: _elements(txn, ids))
    return await transact(engine, lambda txn: _flushed(txn, orders[0], engine.now_ms()))


async def _elements(txn: KvTxn, orders: list[bytes]) -> int:
    """Delete elements of the queued ids, up to `BATCH`; an order goes with its last element."""
    done = 0
    for order in orders:
        found = await txn.scan_keys(*keyspace.elements(order[2:10]), BATCH - done)
        for element in found:
            txn.delete(element)
        done += len(found)
        if done >= BATCH:
            return done
        txn.delete(order)
    return done + len(orders)


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


def _group(place: bytes, meta: records.Meta) -> bytes:
    key = keyspace.text_in(place)
    return keyspace.group_of((meta.long_key or b"") if key is None else key)
