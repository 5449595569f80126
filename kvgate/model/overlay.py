"""Writes that wait over a snapshot: the part of a transaction that engines which answer at once have in common."""

from collections.abc import Callable, Sequence
from typing import Protocol


class Snapshot(Protocol):
    """An unchanging state that can be read without waiting."""

    def get(self, key: bytes) -> bytes | None:
        """The value, None when there is none."""

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` pairs with ``start <= key < end``, ascending."""

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Their keys."""


class Overlay:
    """Buffered writes over a snapshot; what was read is remembered when `record`, to be checked against a later state.

    Has all of `kvgate.model.kv.KvTxn` but `commit` and `rollback`.
    """

    def __init__(self, snapshot: Snapshot, next_revision: Callable[[], int], *, record: bool) -> None:
        """Stand on `snapshot` with no writes."""
        self.writes: dict[bytes, bytes | None] = {}
        self.generations: dict[bytes, int] = {}
        self._snapshot = snapshot
        self._next_revision = next_revision
        self._record = record
        self._reads: dict[bytes, bytes | None] = {}
        self._ranges: list[tuple[bytes, bytes, int, list[bytes]]] = []
        self._pages: list[tuple[bytes, bytes, int, list[tuple[bytes, bytes]]]] = []

    def _get(self, key: bytes) -> bytes | None:
        if key in self.writes:
            return self.writes[key]
        value = self._snapshot.get(key)
        if self._record:
            self._reads[key] = value
        return value

    async def get(self, key: bytes) -> bytes | None:
        """As `KvTxn.get`."""
        return self._get(key)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `KvTxn.get_many`."""
        return [self._get(key) for key in keys]

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `KvTxn.scan`."""
        own = {key: value for key, value in self.writes.items() if start <= key < end}
        wanted = limit + len(own)  # each own deletion may hide one pair
        page = self._snapshot.range(start, end, wanted)
        if self._record:
            self._pages.append((start, end, wanted, page))
        if own:
            # What lies behind a full page is unknown, so own writes behind it must wait for the next page
            full_to = page[-1][0] if len(page) == wanted else None
            merged = {**dict(page), **{k: v for k, v in own.items() if full_to is None or k <= full_to}}
            page = [(key, value) for key, value in sorted(merged.items()) if value is not None]
        return page[:limit]

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `KvTxn.scan_keys`."""
        own = {key: value for key, value in self.writes.items() if start <= key < end}
        wanted = limit + len(own)
        page = self._snapshot.range_keys(start, end, wanted)
        if self._record:
            self._ranges.append((start, end, wanted, page))
        if own:
            full_to = page[-1] if len(page) == wanted else None
            kept = {key for key in page if own.get(key, b"") is not None}
            kept |= {k for k, v in own.items() if v is not None and (full_to is None or k <= full_to)}
            page = sorted(kept)
        return page[:limit]

    def put(self, key: bytes, value: bytes) -> None:
        """As `KvTxn.put`."""
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        """As `KvTxn.delete`."""
        self.writes[key] = None

    def revision(self) -> int:
        """As `KvTxn.revision`."""
        return self._next_revision()

    async def fence(self) -> int:
        """As `KvTxn.fence`: revisions of such engines are counted, one by one."""
        return self._next_revision()

    def holds(self, state: Snapshot) -> bool:
        """Whether everything that was read reads the same in `state`."""
        return (
            all(state.get(key) == value for key, value in self._reads.items())
            and all(state.range_keys(start, end, limit) == keys for start, end, limit, keys in self._ranges)
            and all(state.range(start, end, limit) == page for start, end, limit, page in self._pages)
        )
