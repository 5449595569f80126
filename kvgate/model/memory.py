"""An engine in memory, for tests of the model and for third parties: snapshots, optimistic commits, conflicts."""

import itertools
import time
from bisect import bisect_left
from collections.abc import Callable

import trio

from kvgate.errors import Conflict
from kvgate.model.kv import KvTxn
from kvgate.model.overlay import Overlay


class _State:
    """An unchanging state. A commit copies it whole: this engine is for small data."""

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self.data = data
        self._order = sorted(data)

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        first = bisect_left(self._order, start)
        return self._order[first : min(bisect_left(self._order, end), first + limit)]

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return [(key, self.data[key]) for key in self.range_keys(start, end, limit)]


class MemoryEngine:
    """`kvgate.model.kv.KvEngine` without a disk."""

    max_key = 512
    max_value = 64 * 1024 * 1024

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """Begin empty; `clock` gives Unix time in ms."""
        self.now_ms = clock
        self._state = _State({})
        self._revisions = itertools.count(1)

    async def begin(self, *, write: bool = False) -> KvTxn:
        """As `KvEngine.begin`."""
        await trio.lowlevel.checkpoint()
        return _MemoryTxn(self, self._state, write=write)

    def _commit(self, txn: "_MemoryTxn") -> None:
        if not txn.holds(self._state):
            raise Conflict
        data = dict(self._state.data)
        for key, value in txn.writes.items():
            if value is None:
                data.pop(key, None)
            else:
                data[key] = value
        self._state = _State(data)

    def _revision(self) -> int:
        return next(self._revisions)


class _MemoryTxn(Overlay):
    def __init__(self, engine: MemoryEngine, state: _State, *, write: bool) -> None:
        super().__init__(state, engine._revision, record=write)
        self._engine = engine

    async def commit(self) -> None:
        await trio.lowlevel.checkpoint()
        self._engine._commit(self)

    async def rollback(self) -> None:
        self.writes.clear()
