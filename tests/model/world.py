"""Handlers over an engine in memory with a clock of its own."""

from collections.abc import Awaitable, Callable

from kvgate.backend import View
from kvgate.commands.scripts import served_as
from kvgate.commands.table import lookup
from kvgate.errors import GateError
from kvgate.model import listing
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn, transact
from kvgate.model.memory import MemoryEngine
from kvgate.model.meta import Meta
from kvgate.model.sweeper import Sweeper
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Reply
from kvgate.wire.request import BULK_LIMIT

ALL = View(has=lambda _key: True, everything=True)


class World:
    """A store in memory; `now` is its clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        self.longest = BULK_LIMIT
        self.engine = MemoryEngine(lambda: self.now)
        self.sweeper = Sweeper(self.engine)

    async def ask(self, *args: bytes) -> Reply:
        """The reply; an error as its text."""

        async def body(txn: KvTxn) -> Reply:
            spec = lookup(args)
            assert spec is not None, args
            return await HANDLERS[served_as(spec, args).name](Transaction(txn, self.now, longest=self.longest), list(args))

        try:
            return await transact(self.engine, body)
        except GateError as error:
            return error.text.encode()

    async def put(self, key: bytes, meta: Meta) -> None:
        """Write a record as a handler of a later type would."""

        await self.change(lambda tx: tx.put(key, meta))

    async def change(self, body: Callable[[Transaction], Awaitable[None]]) -> None:
        """Run `body` in a transaction."""

        async def run(txn: KvTxn) -> None:
            await body(Transaction(txn, self.now))

        await transact(self.engine, run)

    async def flush(self, view: View = ALL) -> None:
        async def body(txn: KvTxn) -> None:
            await listing.flush(Transaction(txn, self.now), view)

        await transact(self.engine, body)

    async def keys(
        self, view: View = ALL, *, count: int = 10, match: bytes | None = None, kind: bytes | None = None
    ) -> list[bytes]:
        """A whole SCAN."""
        found, cursor = [], 0
        while True:
            cursor, page = await listing.scan(self.engine, cursor, count=count, match=match, kind=kind, view=view)
            found += page
            if not cursor:
                return found

    async def records(self, start: bytes = b"\x00", end: bytes = b"\xff") -> list[bytes]:
        """Engine keys."""
        txn = await self.engine.begin()
        return await txn.scan_keys(start, end, 100_000)

    async def sweep(self) -> int:
        """Until nothing is left to do; how many steps found something."""
        steps = 0
        while await self.sweeper.step():
            steps += 1
            assert steps < 10_000, "the sweeper does not come to an end"
        return steps


def only(*groups: bytes) -> View:
    """A view of exactly these groups, which says so."""
    return View(
        has=lambda key: key.partition(b":")[0] in groups, everything=False, prefixes=tuple(group + b":" for group in groups)
    )


def without(*groups: bytes) -> View:
    """A view of everything but these groups, as `default` is."""
    return View(has=lambda key: key.partition(b":")[0] not in groups, everything=False)
