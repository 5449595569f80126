"""Hashes in a store in memory, for the tests of this folder."""

from collections.abc import Sequence
from typing import Any

from kvgate.model import keyspace
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn
from kvgate.model.meta import Meta, decode
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Reply, encode
from kvgate.wire.reply import decode as read_reply
from tests.model.world import World


def words(number: int, start: int = 0) -> list[bytes]:
    return [word for each in range(start, start + number) for word in (b"field%d" % each, b"value%d" % each)]


async def hash_of(number: int, key: bytes = b"h") -> World:
    world = World()
    assert await world.ask(b"HSET", key, *words(number)) == number
    return world


async def everything(world: World, key: bytes = b"h") -> dict[bytes, bytes]:
    """The hash, as HGETALL answers; HLEN, HKEYS and HVALS say the same."""
    map_ = read_reply(encode(await world.ask(b"HGETALL", key), 3))
    pairs: list[tuple[Any, Any]] = getattr(map_, "pairs", [])
    assert await world.ask(b"HLEN", key) == len(pairs)
    assert read_reply(encode(await world.ask(b"HKEYS", key))) == [name for name, _ in pairs]
    assert read_reply(encode(await world.ask(b"HVALS", key))) == [value for _, value in pairs]
    found = dict(pairs)
    assert len(found) == len(pairs), "no field twice"
    return found


async def meta_of(world: World, key: bytes = b"h") -> Meta:
    txn = await world.engine.begin()
    raw = await txn.get(keyspace.meta_key(key))
    assert raw is not None
    return decode(raw)


async def walk(world: World, *options: bytes, between: Any = None) -> list[bytes]:
    """The fields of all pages of HSCAN; `between` runs between two."""
    cursor, found, last = b"0", [], -1
    while True:
        reply: Any = await world.ask(b"HSCAN", b"h", cursor, *options)
        cursor, page = reply
        assert len(page) % 2 == 0
        found += page[::2]
        if cursor == b"0":
            return found
        assert last < int(cursor) < 2**48
        last = int(cursor)
        if between is not None:
            await between()


class Counted:
    """Hands everything on to another `KvTxn`, and counts: metas and scanned keys too, unlike tests.model.costs."""

    def __init__(self, txn: KvTxn) -> None:
        self.txn = txn
        self.generations = txn.generations
        self.read = 0
        """Records looked up, and records that scans gave."""
        self.most = 0
        """Records of the largest call."""
        self.written: list[bytes] = []

    def _count(self, records: int) -> None:
        self.read += records
        self.most = max(self.most, records)

    async def get(self, key: bytes) -> bytes | None:
        self._count(1)
        return await self.txn.get(key)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._count(len(keys))
        return await self.txn.get_many(keys)

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = await self.txn.scan(start, end, limit)
        self._count(len(found))
        return found

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        found = await self.txn.scan_keys(start, end, limit)
        self._count(len(found))
        return found

    def put(self, key: bytes, value: bytes) -> None:
        self.written.append(key)
        self.txn.put(key, value)

    def delete(self, key: bytes) -> None:
        self.written.append(key)
        self.txn.delete(key)

    def revision(self) -> int:
        return self.txn.revision()

    async def fence(self) -> int:
        return await self.txn.fence()

    async def commit(self) -> None:
        await self.txn.commit()

    async def rollback(self) -> None:
        await self.txn.rollback()


async def counted(world: World, *args: bytes) -> tuple[Reply, Counted]:
    """Run one command in a transaction of its own: its reply and what it did."""
    txn = Counted(await world.engine.begin(write=True))
    reply = await HANDLERS[args[0].decode()](Transaction(txn, world.now), list(args))
    await txn.commit()
    return reply, txn
