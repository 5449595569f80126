"""TiKV as an engine of the model: snapshots by timestamp, optimistic transactions, all keys under one prefix."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from kvgate.errors import in_doubt, try_again
from kvgate.model.kv import KvTxn
from kvgate_tikv.bridge import MOST_VALUES, Client, OutcomeUnknown, Snapshot, Txn, Unavailable, milliseconds
from kvgate_tikv.layers import Layer, Source
from kvgate_tikv.ranges import Strides, paged

MOST_KEYS: Final = 4096
"""Keys without values in one reply; the longest have some 460 bytes."""


class Space:
    """The keys of one store within a cluster: those that begin with its prefix."""

    def __init__(self, prefix: bytes) -> None:
        """`prefix` goes before every key."""
        self.prefix = prefix
        self.strides = Strides()

    def inside(self, key: bytes) -> bytes:
        """The cluster's key for one of the store's."""
        return self.prefix + key

    def outside(self, key: bytes) -> bytes:
        """The store's key for one of the cluster's."""
        return key[len(self.prefix) :]

    def writes(self, writes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """Writes as the cluster takes them."""
        return {self.prefix + key: value for key, value in writes.items()}


class Reads:
    """`kvgate_tikv.layers.Source` over a native snapshot or transaction: no reply is too large, no scan goes everywhere.

    Everything here raises `kvgate_tikv.bridge.Unavailable`: a read that may be tried again on a new snapshot.
    """

    def __init__(self, space: Space, native: Snapshot | Txn) -> None:
        """Read `native`, which the caller ends."""
        self._space = space
        self._native = native

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Source.get_many`."""
        inside = [self._space.inside(key) for key in keys]
        if len(inside) == 1:
            return [await self._native.get(inside[0])]
        found = await self._native.batch_get(inside)
        return [found.get(key) for key in inside]

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `Source.scan`."""
        inside, outside = self._space.inside, self._space.outside

        async def fetch(first: bytes, stop: bytes, wanted: int) -> list[tuple[bytes, bytes]]:
            page = await self._native.scan(inside(first), inside(stop), wanted)
            return [(outside(key), value) for key, value in page]

        return await paged(self._space.strides, fetch, lambda pair: pair[0], start, end, limit, MOST_VALUES)

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `Source.scan_keys`."""
        inside, outside = self._space.inside, self._space.outside

        async def fetch(first: bytes, stop: bytes, wanted: int) -> list[bytes]:
            return [outside(key) for key in await self._native.scan_keys(inside(first), inside(stop), wanted)]

        return await paged(self._space.strides, fetch, lambda key: key, start, end, limit, MOST_KEYS)


class SnapshotTxn(Layer):
    """A `KvTxn` begun to read."""

    def __init__(self, below: Source, timestamp: int) -> None:
        """The state at `timestamp`."""
        super().__init__(below, self._refuse, {}, self._refuse_fence)
        self.timestamp = timestamp

    def _refuse(self) -> int:
        raise TypeError("a transaction that was begun to read")

    async def _refuse_fence(self) -> int:
        return self._refuse()

    async def commit(self) -> None:
        """As `KvTxn.commit`.

        Raises:
            TypeError: it was begun to read.
        """
        if self.writes:
            self._refuse()

    async def rollback(self) -> None:
        """Nothing is held."""
        self.writes.clear()


class WriteTxn(Layer):
    """A `KvTxn` begun to write. Its revision is a timestamp of its own, taken after its start's, since the native client does
    not say that one: so it is above the commits of all that this transaction can see, hence above their revisions. Each fence
    is one more timestamp: PD had given those of all transactions that it can see before this one asks."""

    def __init__(self, space: Space, native: Txn, revision: int, fence: Callable[[], Awaitable[int]]) -> None:
        """Stand on `native`, which `commit` and `rollback` end."""
        super().__init__(Reads(space, native), lambda: revision, {}, fence)
        self._space = space
        self._native = native

    async def commit(self) -> None:
        """As `KvTxn.commit`; without writes, no remote call."""
        if not self.writes:
            await self._native.rollback()
            return
        try:
            await self._native.commit(self._space.writes(self.writes))
        except Unavailable as error:
            raise try_again(str(error)) from error
        except OutcomeUnknown as error:
            raise in_doubt(str(error)) from error

    async def rollback(self) -> None:
        """As `KvTxn.rollback`."""
        self.writes.clear()
        await self._native.rollback()


class TikvEngine:
    """`kvgate.model.kv.KvEngine` on a cluster. `begin` and all reads raise `Unavailable` while it is away."""

    max_key = 512
    max_value = 36 << 10
    """The model's largest record has 32,640 bytes of data, a head and a key of at most 400."""

    def __init__(self, prefix: bytes) -> None:
        """Under `prefix`; without a client yet."""
        self.space = Space(prefix)
        self._client: Client | None = None
        self._heard = (0, 0.0)  # PD's clock in ms, and ours in seconds at that moment

    @property
    def client(self) -> Client:
        """The connection. Raises `Unavailable`: there is none (yet)."""
        if self._client is None:
            raise Unavailable("the cluster is not connected")
        return self._client

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None

    def use(self, client: Client | None) -> None:
        """Work with this connection from now on; None: with none."""
        self._client = client

    async def timestamp(self) -> int:
        """A new timestamp of PD, which also sets `now_ms`. Raises `Unavailable`."""
        timestamp = await self.client.current_timestamp()
        self._heard = (milliseconds(timestamp), time.monotonic())
        return timestamp

    def now_ms(self) -> int:
        """PD's clock, by the last timestamp heard and the time since then."""
        told, at = self._heard
        return told + int((time.monotonic() - at) * 1000) if told else 0

    def read(self, timestamp: int) -> Reads:
        """The state at a timestamp."""
        return Reads(self.space, self.client.snapshot(timestamp))

    async def begin(self, *, write: bool = False) -> KvTxn:
        """As `KvEngine.begin`: one call to PD, with `write` two."""
        if not write:
            timestamp = await self.timestamp()
            return SnapshotTxn(self.read(timestamp), timestamp)
        native = await self.client.begin()
        try:
            revision = await self.timestamp()
        except BaseException:
            await native.rollback()
            raise
        return WriteTxn(self.space, native, revision, self.timestamp)
