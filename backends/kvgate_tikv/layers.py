"""Writes that wait over a store that is far away: reads go down through layers of them, in as few calls as possible."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Source(Protocol):
    """A state that does not change while it is read."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys."""

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` pairs with ``start <= key < end``, ascending; fewer mean that the range ended."""

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Their keys."""


class NotCachedError(Exception):
    """A read went beyond what was read before; nothing has been done."""


class Cached:
    """A source that keeps what single keys were found to be."""

    def __init__(self, below: Source) -> None:
        """Read `below`."""
        self._below = below
        self._known: dict[bytes, bytes | None] = {}

    def known(self) -> "Known":
        """What is here, and nothing else."""
        return Known(self._known)

    async def prefetch(self, keys: Iterable[bytes]) -> None:
        """Read the keys together, so that `get_many` finds them here."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._known]
        if wanted:
            self._known.update(zip(wanted, await self._below.get_many(wanted), strict=True))

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Source.get_many`."""
        await self.prefetch(keys)
        known = self._known
        return [known[key] for key in keys]

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `Source.scan`; pages are not kept."""
        return await self._below.scan(start, end, limit)

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `Source.scan_keys`."""
        return await self._below.scan_keys(start, end, limit)


class Known:
    """A source of what a cache holds: it never waits, and raises `NotCachedError` for everything else."""

    def __init__(self, known: Mapping[bytes, bytes | None]) -> None:
        """Of `known`."""
        self._known = known

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Source.get_many`."""
        try:
            return [self._known[key] for key in keys]
        except KeyError:
            raise NotCachedError from None

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Raises `NotCachedError`."""
        del start, end, limit
        raise NotCachedError

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Raises `NotCachedError`."""
        del start, end, limit
        raise NotCachedError


class Layer:
    """Buffered writes over a source. Has all of `kvgate.model.kv.KvTxn` but `commit` and `rollback`, and is a `Source`."""

    def __init__(
        self,
        below: Source,
        next_revision: Callable[[], int],
        generations: dict[bytes, int],
        next_fence: Callable[[], Awaitable[int]],
    ) -> None:
        """No writes yet; `generations` as `KvTxn.generations`."""
        self.writes: dict[bytes, bytes | None] = {}
        self.generations = generations
        self.reads: dict[bytes, bytes | None] = {}
        """What was found below, key by key."""
        self._below = below
        self._next_revision = next_revision
        self._next_fence = next_fence

    async def get(self, key: bytes) -> bytes | None:
        """As `KvTxn.get`."""
        return (await self.get_many((key,)))[0]

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `KvTxn.get_many`."""
        writes, reads = self.writes, self.reads
        missing = [key for key in keys if key not in writes and key not in reads]
        if missing:
            reads.update(zip(missing, await self._below.get_many(missing), strict=True))
        return [writes[key] if key in writes else reads[key] for key in keys]

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `KvTxn.scan`."""
        own = self._within(start, end)
        wanted = limit + len(own)  # each own deletion may hide one pair
        page = await self._below.scan(start, end, wanted)
        if own:
            full_to = page[-1][0] if len(page) == wanted else None
            kept = _merged(dict(page), own, full_to)
            page = [(key, value) for key, value in sorted(kept.items()) if value is not None]
        return page[:limit]

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `KvTxn.scan_keys`."""
        own = self._within(start, end)
        wanted = limit + len(own)
        page = await self._below.scan_keys(start, end, wanted)
        if own:
            full_to = page[-1] if len(page) == wanted else None
            kept = _merged(dict.fromkeys(page, b""), own, full_to)
            page = sorted(key for key, value in kept.items() if value is not None)
        return page[:limit]

    def _within(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        return {key: value for key, value in self.writes.items() if start <= key < end}

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
        """As `KvTxn.fence`."""
        return await self._next_fence()


def _merged(
    page: dict[bytes, bytes], own: Mapping[bytes, bytes | None], full_to: bytes | None
) -> dict[bytes, bytes | None]:
    """Own writes over a page. What lies behind a full page is unknown, so own writes there wait for the next one."""
    return {**page, **{key: value for key, value in own.items() if full_to is None or key <= full_to}}
