"""TiKV as a backend: the model's handlers over transactions of a cluster, one store per prefix."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import trio

from kvgate.backend import BackendStatistics, CallContext, Command, Scale, View
from kvgate.errors import ConfigurationError, GateError, not_supported, try_again
from kvgate.model import listing
from kvgate.model.handlers import HANDLERS
from kvgate.model.lasting import handler_with
from kvgate.model.transaction import Transaction
from kvgate.policy.options import Options
from kvgate.wire.reply import OK, Error, Raw, Reply
from kvgate_tikv.bridge import NotInstalled, Unavailable, load
from kvgate_tikv.engine import TikvEngine
from kvgate_tikv.group import Block, Write, revisions
from kvgate_tikv.groups import WriteGroups
from kvgate_tikv.link import Link
from kvgate_tikv.measures import measures
from kvgate_tikv.reads import MANY, ReadBatches
from kvgate_tikv.retry import Retries
from kvgate_tikv.run import MOST_READ, error_reply
from kvgate_tikv.upkeep import Upkeep
from kvgate_tikv.weighing import weigh

T = TypeVar("T")

MAX_VALUE: Final = 128 << 10
"""Bytes; the native client copies values byte by byte, 2 ms for each 100 kB."""
LARGEST_VALUE: Final = 1 << 20
"""That `max_value` of a table may say."""
PREFIX: Final = "kvg1"
CONNECT_PATIENCE: Final = 1.0
"""Seconds that the start of the gate waits for a cluster; later it comes when it comes."""

CAPABILITIES: Final = frozenset({*HANDLERS, "exstring", "exhash", "conditional", "listing", "transaction"})


class TikvBackend:
    """`kvgate.backend.Backend`, `Queueing`, `Listing`, `Transactional` and `Weighing`."""

    type = "tikv"
    capabilities = CAPABILITIES
    sources = 1
    in_order = False
    """Groups of one client's commands could run side by side."""

    def __init__(
        self, name: str, pd: Sequence[str], *, prefix: str = PREFIX, max_value: int = MAX_VALUE, gc: bool = True
    ) -> None:
        """Prepare; no I/O."""
        self.name = name
        self.pd = tuple(pd)
        self.prefix = prefix
        self.max_value = max_value
        self.engine = TikvEngine(prefix.encode())
        self._link = Link(self.engine, self.pd)
        self._groups = WriteGroups(self.engine, max_value)
        self._reads = ReadBatches(self.engine)
        self._upkeep = Upkeep(self.engine, gc=gc)

    @property
    def location(self) -> Hashable:
        """As `kvgate.backend.Located`: the cluster, as far as its addresses tell, and the prefix in it."""
        return tuple(sorted(self.pd)), self.prefix

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Backend.run`."""
        tried = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._link.run, tried)
            nursery.start_soon(self._groups.run)
            nursery.start_soon(self._reads.run)
            nursery.start_soon(self._upkeep.run)
            with trio.move_on_after(CONNECT_PATIENCE):
                await tried.wait()
            task_status.started()

    # Commands

    def enqueue(
        self,
        commands: Sequence[Command],
        call: CallContext,
        done: Callable[[Sequence[Raw | Reply]], None],
        flush: Callable[[], None],
    ) -> bool:
        """As `Queueing.enqueue`: what `execute` does, without a task for each client."""
        if not self.engine.is_open or any(command.spec.name not in HANDLERS for command in commands):
            return False
        if all(command.spec.readonly for command in commands):
            self._reads.enqueue(commands, call, done, flush)
            return True
        try:
            self._groups.enqueue([_write(command) for command in commands], call.deadline, done, flush)
        except GateError:
            return False
        return True

    async def execute(self, commands: Sequence[Command], call: CallContext) -> Sequence[Raw | Reply]:
        """As `Backend.execute`: reads alone with others' reads; anything with writes in a group of writes."""
        unknown = [command.spec.lower for command in commands if command.spec.name not in HANDLERS]
        if unknown:
            return [error_reply(not_supported(unknown[0], self.name, self.type))] * len(commands)
        try:
            self._must_be_there()
            if all(command.spec.readonly for command in commands):
                return await self._reads.submit(commands, call)
            return await self._groups.submit([_write(command) for command in commands], call.deadline)
        except GateError as error:
            return [error_reply(error)] * len(commands)

    def _must_be_there(self) -> None:
        """Answer at once while the cluster is known to be away."""
        if not self.engine.is_open:
            raise try_again(f"backend '{self.name}' is away: {self._link.complaint}")

    # Transactional

    async def revisions(self, keys: Sequence[bytes], call: CallContext) -> list[int]:
        """As `Transactional.revisions`."""

        async def look() -> list[int]:
            txn = await self.engine.begin()
            try:
                return await revisions(txn, keys, self.engine.now_ms())
            finally:
                await txn.rollback()

        return await self._patiently(look, call)

    async def execute_block(
        self, commands: Sequence[Command], watched: Mapping[bytes, int], call: CallContext
    ) -> Sequence[Raw | Reply] | None:
        """As `Transactional.execute_block`: one part of one group of writes."""
        self._must_be_there()
        block = Block([_write(command) for command in commands], watched)
        (reply,) = await self._groups.submit([block], call.deadline)
        if isinstance(reply, Error):
            raise GateError(reply.text.decode("utf-8", "surrogateescape"))
        return reply if isinstance(reply, list) else None

    # Listing

    async def scan(
        self, source: int, cursor: int, *, count: int, match: bytes | None, kind: bytes | None, view: View, call: CallContext
    ) -> tuple[int, list[bytes]]:
        """As `Listing.scan`."""
        del source
        return await self._patiently(
            lambda: listing.scan(self.engine, cursor, count=count, match=match, kind=kind, view=view), call
        )

    async def size(self, view: View, call: CallContext) -> int:
        """As `Listing.size`."""
        return await self._patiently(lambda: listing.size(self.engine, view), call)

    async def random_key(self, view: View, call: CallContext) -> bytes | None:
        """As `Listing.random_key`."""
        return await self._patiently(lambda: listing.random_key(self.engine, view), call)

    async def flush(self, view: View, call: CallContext) -> None:
        """As `Listing.flush`: one change for all observers.

        Raises:
            GateError: it was not committed, or that is unknown.
        """

        async def handler(tx: Transaction, args: list[bytes]) -> Reply:
            del args
            await listing.flush(tx, view)
            return OK

        self._must_be_there()
        (reply,) = await self._groups.submit([Write(handler, [b"FLUSHDB"], ())], call.deadline)
        if isinstance(reply, Error):
            raise GateError(reply.text.decode("utf-8", "surrogateescape"))

    async def _patiently(self, work: Callable[[], Awaitable[T]], call: CallContext) -> T:
        """Read, again when the store does not answer.

        Raises:
            GateError: ``TRYAGAIN`` when it does not within the time for retries, or the call's.
        """
        self._must_be_there()
        retries = Retries(call.deadline)
        with trio.move_on_at(call.deadline):
            while True:
                try:
                    return await work()
                except Unavailable as error:
                    if not await retries.again():
                        raise try_again(str(error)) from error
        raise try_again("the store did not answer in time")

    # Weighing

    async def weigh(self, source: int, scale: Scale) -> None:
        """As `Weighing.weigh`."""
        del source
        self._must_be_there()
        await weigh(self.engine, scale)

    # Operation

    def statistics(self) -> BackendStatistics:
        """As `Backend.statistics`."""
        figures: dict[str, int | float | str] = {
            "prefix": self.prefix,
            "native_calls": self._link.way,
            "connects": self._link.connects,
            "read_batches": self._reads.batches,
            "read_commands": self._reads.commands,
            "read_retries": self._reads.retries,
            **{f"write_{key}": value for key, value in attrs.asdict(self._groups.counts).items()},
            "sweeping": int(self._upkeep.holding),
            "swept_records": self._upkeep.swept,
            "gc_runs": self._upkeep.gc_runs,
        }
        complaint = self._link.complaint
        shown = measures(self._link, self._groups, self._reads, self._upkeep)
        return BackendStatistics(up=not complaint, why_down=complaint, figures=figures, measures=shown)


def _write(command: Command) -> Write:
    keys = tuple(command.args[at] for at in command.keys)
    handler = HANDLERS[command.spec.name]
    if command.after:
        handler = handler_with(handler, command.after)
    return Write(handler, command.args, keys)


class TikvAdapter:
    """`kvgate.backend.Adapter`: what the entry point ``tikv`` names."""

    type = "tikv"
    capabilities = CAPABILITIES
    defaults: Mapping[str, int] = {
        "max_value": MAX_VALUE,
        "largest_value": LARGEST_VALUE,
        "many_read": MANY,
        "most_read": MOST_READ,
    }

    def prepare(self, name: str, options: Mapping[str, Any], base: Path) -> TikvBackend:
        """As `Adapter.prepare`. Options: ``pd`` (``["host:port"]``), ``prefix``, ``max_value``, ``gc``."""
        del base
        mistakes: list[str] = []
        table = Options(options, mistakes)
        pd = table.texts("pd") or []
        if not pd and not mistakes:
            table.wrong("pd", 'names the placement drivers, as in pd = ["127.0.0.1:2379"]')
        for address in pd:
            host, colon, port = address.rpartition(":")
            if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
                table.wrong("pd", f'"{address}" is no host:port')
        prefix = table.text("prefix", PREFIX)
        if not 1 <= len(prefix.encode()) <= 32:
            table.wrong("prefix", "must have 1 to 32 bytes")
        max_value = table.size("max_value", MAX_VALUE, low=1) or MAX_VALUE
        if max_value > LARGEST_VALUE:
            table.wrong("max_value", "must be at most 1mb: the client library copies values byte by byte")
        gc = table.flag("gc", default=True)
        table.done()
        try:
            load()
        except NotInstalled as error:
            table.wrong("type", f"tikv {error}")
        if mistakes:
            raise ConfigurationError(mistakes)
        return TikvBackend(name, pd, prefix=prefix, max_value=max_value, gc=gc)
