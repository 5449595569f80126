"""What a command costs: the records that its transaction reads and writes, counted."""

from collections.abc import Sequence

from kvgate.commands.table import lookup
from kvgate.errors import GateError
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Reply
from tests.model.world import World


class Counted:
    """A `KvTxn` that counts what goes through it."""

    def __init__(self, txn: KvTxn) -> None:
        """Pass everything on to `txn`."""
        self._txn = txn
        self.generations = txn.generations
        self.keys: list[bytes] = []
        """Of the records read, in order; those of scans as they came."""
        self.trips = 0
        """Calls that read: round trips of an engine that is elsewhere."""
        self.most = 0
        """Records of the largest of them."""
        self.written: list[bytes] = []
        """Keys put or deleted."""

    @property
    def read(self) -> int:
        """The number of records read."""
        return len(self.keys)

    def _note(self, keys: Sequence[bytes]) -> None:
        self.keys += keys
        self.trips += 1
        self.most = max(self.most, len(keys))

    async def get(self, key: bytes) -> bytes | None:
        self._note([key])
        return await self._txn.get(key)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._note(keys)
        return await self._txn.get_many(keys)

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        page = await self._txn.scan(start, end, limit)
        self._note([key for key, _ in page])
        return page

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        page = await self._txn.scan_keys(start, end, limit)
        self._note(page)
        return page

    def put(self, key: bytes, value: bytes) -> None:
        self.written.append(key)
        self._txn.put(key, value)

    def delete(self, key: bytes) -> None:
        self.written.append(key)
        self._txn.delete(key)

    def revision(self) -> int:
        return self._txn.revision()

    async def fence(self) -> int:
        return await self._txn.fence()

    async def commit(self) -> None:
        await self._txn.commit()

    async def rollback(self) -> None:
        await self._txn.rollback()


async def counted(world: World, *args: bytes) -> tuple[Reply, Counted]:
    """The reply of one command (an error as its text), and what it cost."""
    spec = lookup(args)
    assert spec is not None, args
    txn = Counted(await world.engine.begin(write=True))
    try:
        reply = await HANDLERS[spec.name](Transaction(txn, world.now, longest=world.longest), list(args))
        await txn.commit()
    except GateError as error:
        reply = error.text.encode()
    finally:
        await txn.rollback()
    return reply, txn
