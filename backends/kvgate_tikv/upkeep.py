"""What one gate does for a store that several gates serve: sweeping, old records of groups, TiKV's own garbage.

Who does it holds a lease, a record with a time; another gate takes over when the time has passed.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from kvgate.errors import Conflict, GateError
from kvgate.model import keyspace
from kvgate.model.kv import KvTxn, transact
from kvgate.model.sweeper import Sweeper
from kvgate_tikv.bridge import LOGICAL_BITS, Unavailable
from kvgate_tikv.engine import TikvEngine

log = logging.getLogger("kvgate.tikv")

LEASE_MS: Final = 6000
RENEW: Final = 2.0
"""Seconds: a lease is renewed three times within its length, and taken over within `LEASE_MS` and this."""
IDLE, LONGEST_IDLE = 1.0, 4.0
"""Seconds between two looks for something to sweep: doubled each time that there was nothing."""
LOOK: Final = 256
"""Entries of the index of expiries that one look reads, keys only. If there are not more, and none is due, it has seen all;
else it cannot tell, and the 256 parts of the index are asked one by one."""
RECEIPTS_EVERY: Final = 2.0
"""Seconds between two looks for old records of groups, at one of 256 ranges each."""
SWEEPER: Final = keyspace.lease_key(b"sweeper")
RECEIPT_AGE_MS: Final = 600_000
RECEIPTS_BATCH: Final = 1000
GC_EVERY: Final = 600.0
GC_AGE_MS: Final = 600_000
"""Versions younger than this are kept: a listing or a long read may still want them."""
_SLOWER: Final = 0.01
"""The sweeper bounds its steps for a local disk; a cluster's round trips get a hundred times as long."""


class Upkeep:
    """The upkeep of one store by this process, when it holds the lease."""

    def __init__(self, engine: TikvEngine, *, gc: bool) -> None:
        """Of `engine`'s store; `gc`: of the cluster's old versions too."""
        self._engine = engine
        self._gc = gc
        self._holder = os.urandom(16)
        self._sweeper = Sweeper(engine, lambda: time.perf_counter() * _SLOWER)
        self._first = 0
        self._until = 0.0  # of the lease, on the monotonic clock
        self.swept = 0
        self.gc_runs = 0

    @property
    def holding(self) -> bool:
        """Whether the lease is ours."""
        return self._until > time.monotonic()

    async def run(self) -> None:
        """Renew the lease and do what there is, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._sweep_receipts)
            if self._gc:
                nursery.start_soon(self._collect)

    async def _keep(self) -> None:
        while True:
            await _patiently(self._renew)
            await trio.sleep(RENEW)

    async def _renew(self) -> None:
        asked = time.monotonic()

        async def claim(txn: KvTxn) -> bool:
            now = self._engine.now_ms()
            found = await txn.get(SWEEPER)
            if found is not None and found[9:] != self._holder and int.from_bytes(found[1:9], "big") > now:
                return False
            txn.put(SWEEPER, b"\x01" + (now + LEASE_MS).to_bytes(8, "big") + self._holder)
            return True

        mine = await transact(self._engine, claim)
        self._until = asked + LEASE_MS / 1000 if mine else 0.0

    async def _sweep(self) -> None:
        pause = IDLE
        while True:
            removed = 0
            if self.holding and await _patiently(self._look):
                removed = await _patiently(self._sweeper.step)
                self.swept += removed
            await trio.sleep(0 if removed else pause)
            pause = IDLE if removed else min(pause * 2, LONGEST_IDLE)

    async def _look(self) -> bool:
        """Whether there may be something to sweep: two short reads, where a step that finds nothing has 257."""
        txn = await self._engine.begin()
        now = self._engine.now_ms()
        entries = await txn.scan_keys(keyspace.EXPIRIES_START, keyspace.EXPIRIES_END, LOOK)
        if len(entries) == LOOK or any(keyspace.expiry_in(entry)[0] <= now for entry in entries):
            return True
        return bool(await txn.scan_keys(keyspace.QUEUE_START, keyspace.QUEUE_END, 1))

    async def _sweep_receipts(self) -> None:
        while True:
            removed = await _patiently(self._receipts) if self.holding else 0
            self.swept += removed
            await trio.sleep(0 if removed else RECEIPTS_EVERY)

    async def _receipts(self) -> int:
        """Remove old records of groups: of one of 256 ranges in each step."""
        start, end = keyspace.receipts(self._first, max(0, self._engine.now_ms() - RECEIPT_AGE_MS))

        async def remove(txn: KvTxn) -> int:
            old = await txn.scan_keys(start, end, RECEIPTS_BATCH)
            for key in old:
                txn.delete(key)
            return len(old)

        removed = await transact(self._engine, remove)
        if removed < RECEIPTS_BATCH:
            self._first = (self._first + 1) % 256
        return removed

    async def _collect(self) -> None:
        while True:
            await trio.sleep(GC_EVERY)
            if self.holding:
                await _patiently(self.collect)

    async def collect(self) -> None:
        """Let the cluster forget versions older than ten minutes. Raises `Unavailable`."""
        await self._engine.client.gc((await self._engine.timestamp()) - (GC_AGE_MS << LOGICAL_BITS))
        self.gc_runs += 1


async def _patiently(work: Callable[[], Awaitable[int | None]]) -> int:
    """Do it; what went wrong is tried again by the next round."""
    try:
        return await work() or 0
    except (Unavailable, Conflict, GateError) as error:
        log.debug("upkeep: %s", error)
        return 0
