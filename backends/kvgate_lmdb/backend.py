"""The embedded store as a backend: the model's handlers over one LMDB file per ``[backends.NAME]`` of type lmdb."""

import fcntl
import logging
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import lmdb
import trio

from kvgate.backend import BackendStatistics, CallContext, Command, Scale, View
from kvgate.commands.spec import CommandSpec
from kvgate.errors import ConfigurationError, GateError, not_supported
from kvgate.model import keyspace, listing, short
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvEngine, KvTxn, TooLong, run_now
from kvgate.model.lasting import handler_with
from kvgate.model.sweeper import Sweeper
from kvgate.model.transaction import Transaction
from kvgate.policy.options import Options
from kvgate.wire.reply import OK, Error, Raw, Reply
from kvgate_lmdb import tools
from kvgate_lmdb.access import LOOK, Access
from kvgate_lmdb.engine import LmdbEngine, ReadTxn
from kvgate_lmdb.groups import MOST_WORDS, WriteGroups
from kvgate_lmdb.jobs import Block, Kind, Run, Write
from kvgate_lmdb.measures import measures
from kvgate_lmdb.moving import Mover
from kvgate_lmdb.reads import Reads
from kvgate_lmdb.running import error_reply, revisions
from kvgate_lmdb.weighing import weigh

log = logging.getLogger("kvgate.lmdb")

T = TypeVar("T")

MOST_IN_PLACE: Final = 128
"""Records that one read may fetch in the lane (about 0.2 ms); longer ones go to a thread."""
SHORT: Final = {
    "SET": Kind(short.sets, HANDLERS["SET"], b"SET", grows=True),
    "HSET": Kind(short.hsets, HANDLERS["HSET"], b"HSET", grows=True),
}
"""Writes of which many are run at once."""
ALONE_AGAIN: Final = 5.0
"""Seconds between two tries to be the only process with the store."""
SMALL_MAP: Final = 1 << 30
"""Bytes of a map below which there is no journal."""
PROBES: Final = 5
"""Commits that are measured when the gate starts."""
PROBE_TIME: Final = 10.0
"""Seconds that a commit may take which is measured."""
SWEEP_SPAN: Final = 0.0005
"""Seconds that a portion of the sweeper's work may take in the lane's thread, about."""
SWEEP_PATIENCE: Final = 30.0
"""Seconds within which it is committed, or tried again."""
SWEEP_PAUSE: Final = 0.5
"""Seconds between two looks for expired keys: what is due is gone from the disk within a second or two."""

MAX_VALUE: Final = 16 << 20
"""Bytes; a client's copying cost, and what one commit may weigh."""

READS: Final = {"GET": 1, "HGET": 2}
WRITES: Final = {"SET": 2, "HSET": 3}
"""What is taken in runs, with the arguments behind its name."""

CAPABILITIES: Final = frozenset({*HANDLERS, "exstring", "exhash", "conditional", "listing", "transaction"})


class LmdbBackend:
    """`kvgate.backend.Backend`, `InPlace`, `Runs`, `Listing` and `Weighing`."""

    type = "lmdb"
    capabilities = CAPABILITIES
    runs: Mapping[str, int] = {**READS, **WRITES}
    sources = 1
    max_value = MAX_VALUE
    in_order = True

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        durable: bool = True,
        map_size: int = 0,
        single_gate: bool = False,
        journal: bool | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Prepare; no I/O. `clock` gives Unix time in ms. `journal`: whether there is one while no other process uses the
        store; else unless the map is small, in which what the journal has might find no room."""
        self.name = name
        self.path = path
        self.single_gate = single_gate
        self.engine = LmdbEngine(path, durable=durable, map_size=map_size, clock=clock)
        self.swept = 0
        self.sweeping = False
        self._may_journal = not 0 < map_size < SMALL_MAP if journal is None else journal
        self._access: Access | None = None
        self._complaint = ""
        self._groups = WriteGroups(self.engine, MAX_VALUE)
        self._reads = Reads(self.engine)
        self._mover = Mover(self.engine, self._complain)
        self._sweeper = Sweeper(_Glancing(self.engine), span=SWEEP_SPAN, transact=self._in_group)

    @property
    def location(self) -> str:
        """As `kvgate.backend.Located`: the folder, whatever way leads to it."""
        return str(self.path.resolve())

    @property
    def durability(self) -> str:
        """``always`` or ``no``."""
        return "always" if self.engine.durable else "no"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Backend.run`.

        Raises:
            ConfigurationError: the path cannot be used, or holds a store of a newer format.
        """
        await trio.to_thread.run_sync(self._open)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._groups.run)
                nursery.start_soon(self._mover.run)
                nursery.start_soon(self._mind_company)
                nursery.start_soon(self._sweep)
                task_status.started()
        finally:
            self._close()

    def _open(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            access = self._access = Access(self.path)
        except OSError as error:
            raise ConfigurationError([f"path: cannot open the store in {self.path}: {error}"]) from error
        try:
            alone = self._may_journal and access.try_alone()
            if not alone:
                access.share()
            self.engine.open()
            if groups := self.engine.recover():
                log.warning("%s: %d groups of writes taken over from the journal of a gate that was killed", self.path, groups)
            if alone:
                self.engine.start_journal(lambda: True)
        except OSError as error:
            self._close()
            raise ConfigurationError([f"path: cannot make the journal in {self.path}: {error}"]) from error
        except lmdb.Error as error:
            self._close()
            why = f"cannot take over the journal of a gate that was killed: {error}; nothing is lost"
            raise ConfigurationError([f"path: {self.path}: {why}; give the store more room (disk, map_size)"]) from error
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        try:
            self.engine.end_journal()
        except (GateError, lmdb.Error, OSError) as error:
            log.warning("%s: %s; what is in the journal is taken over at the next start", self.path, error)
        self.engine.close()
        if self._access is not None:
            self._access.close()

    # The journal

    async def _mind_company(self) -> None:
        """Let other processes in that want to use the store, and have a journal again when they have left."""
        access = self._access
        while self._may_journal and access is not None:
            journaled = self.engine.recent.journal is not None
            await trio.sleep(LOOK if journaled else ALONE_AGAIN)
            try:
                if not journaled:
                    await trio.to_thread.run_sync(self.engine.start_journal, access.try_alone)
                elif access.is_wanted():
                    await trio.to_thread.run_sync(self.engine.end_journal)
                    await trio.to_thread.run_sync(access.share)
            except (GateError, lmdb.Error, OSError) as error:
                self._complain(str(error))

    # Commands

    def execute_now(self, command: Command, call: CallContext) -> Raw | Reply | None:
        """As `InPlace.execute_now`; a reply that is null comes as its bytes, since None says that it was not run."""
        spec = command.spec
        handler = HANDLERS.get(spec.name)
        if handler is None or not spec.readonly:
            return None
        try:
            if spec.name in READS:
                raw, taken, _ = self.read_run(spec.name, command.args, 1, _null(call))
                if taken:
                    return Raw(raw)
            txn = self.engine.read(MOST_IN_PLACE)
            try:
                work = handler(Transaction(txn, self.engine.now_ms(), MOST_IN_PLACE), command.args)
                reply: Reply = run_now(work)
            finally:
                txn.end()
        except TooLong:
            return None
        except GateError as error:
            return error_reply(error)
        except lmdb.Error as error:
            return Error(f"ERR store could not read ({error})".encode())
        return _null(call) if reply is None else reply

    def enqueue(
        self,
        commands: Sequence[Command],
        call: CallContext,
        done: Callable[[Sequence[Raw | Reply]], None],
        flush: Callable[[], None],
    ) -> bool:
        """As `Queueing.enqueue`: writes, as many as one portion has. A read may turn out to be long, and goes another way."""
        for command in commands:
            if not command.spec.write or command.spec.name not in HANDLERS:
                return False
        if len(commands) > 1 and len(_portion(commands)) < len(commands):
            return False
        self._groups.enqueue([_write(command) for command in commands], call.deadline, done, flush)
        return True

    def read_run(self, name: str, words: list[bytes], start: int, null: bytes) -> tuple[bytes, int, int]:
        """As `Runs.read_run`."""
        try:
            return self.engine.read_run(short.gets if name == "GET" else short.hgets, words, start, READS[name], null)
        except (lmdb.Error, GateError):  # a handler meets it too, and tells
            return short.NOTHING

    def enqueue_run(
        self,
        spec: CommandSpec,
        words: list[bytes],
        count: int,
        size: int,
        deadline: float,
        done: Callable[[Sequence[Raw | Reply]], None],
        flush: Callable[[], None],
    ) -> None:
        """As `Runs.enqueue_run`."""
        self._groups.add_run(Run(SHORT[spec.name], words, count, size, done, flush, deadline))

    async def execute(self, commands: Sequence[Command], call: CallContext) -> Sequence[Raw | Reply]:
        """As `Backend.execute`: reads alone in one snapshot each, on threads; anything with writes in a group of writes."""
        unknown = [command.spec.lower for command in commands if command.spec.name not in HANDLERS]
        if unknown:
            return [error_reply(not_supported(unknown[0], self.name, self.type))] * len(commands)
        try:
            if all(command.spec.readonly for command in commands):
                return await self._reads.run(commands, call)
            return await self._mixed(commands, call)
        except GateError as error:
            return [error_reply(error)] * len(commands)

    async def _mixed(self, commands: Sequence[Command], call: CallContext) -> list[Raw | Reply]:
        """Run writes, and the reads between them, a portion in each group; a long read by itself, between two groups. Each has
        the time that the first one has, since a deep pipeline waits for itself."""
        replies: list[Raw | Reply] = []
        budget = call.deadline - trio.current_time()
        while len(replies) < len(commands):
            portion = _portion(commands[len(replies) :])
            call = attrs.evolve(call, deadline=trio.current_time() + budget) if replies else call
            try:
                told = await self._groups.submit([_write(command) for command in portion], call.deadline)
                if not told:
                    told = [*await self._reads.run(portion[:1], call)]
            except GateError as error:
                told = [error_reply(error)] * len(portion)
            replies += told
        return replies

    # Transactional

    async def revisions(self, keys: Sequence[bytes], call: CallContext) -> list[int]:
        """As `Transactional.revisions`."""
        del call

        def look(txn: ReadTxn) -> list[int]:
            try:
                return revisions(txn, keys, self.engine.now_ms())
            finally:
                txn.end()

        if len(keys) <= MOST_IN_PLACE:
            return look(self.engine.read())
        return await trio.to_thread.run_sync(lambda: look(self.engine.read_apart()))

    async def execute_block(
        self, commands: Sequence[Command], watched: Mapping[bytes, int], call: CallContext
    ) -> Sequence[Raw | Reply] | None:
        """As `Transactional.execute_block`: one part of one group of writes."""
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
        del source, call
        return await listing.scan(self.engine, cursor, count=count, match=match, kind=kind, view=view)

    async def size(self, view: View, call: CallContext) -> int:
        """As `Listing.size`."""
        del call
        return await listing.size(self.engine, view)

    async def random_key(self, view: View, call: CallContext) -> bytes | None:
        """As `Listing.random_key`."""
        del call
        return await listing.random_key(self.engine, view)

    async def flush(self, view: View, call: CallContext) -> None:
        """As `Listing.flush`: one change for all observers.

        Raises:
            GateError: it was not committed, or that is unknown.
        """

        async def handler(tx: Transaction, args: list[bytes]) -> Reply:
            del args
            await listing.flush(tx, view)
            return OK

        (reply,) = await self._groups.submit([Write(handler, [b"FLUSHDB"], grows=False)], call.deadline)
        if isinstance(reply, Error):
            raise GateError(reply.text.decode("utf-8", "surrogateescape"))

    # Weighing

    async def weigh(self, source: int, scale: Scale) -> None:
        """As `Weighing.weigh`."""
        del source
        await weigh(self.engine, scale)

    # Operation

    def statistics(self) -> BackendStatistics:
        """As `Backend.statistics`."""
        if not self.engine.is_open:
            return BackendStatistics(up=False, why_down=self._complaint or "not open")
        info, stat = self.engine.env.info(), self.engine.env.stat()
        return BackendStatistics(
            up=True,
            figures={
                "durability": self.durability,
                "records": stat["entries"],
                "file_bytes": (info["last_pgno"] + 1) * stat["psize"],
                "map_bytes": info["map_size"],
                "journal": int(self.engine.recent.journal is not None),
                "journal_records": self.engine.recent.records,
                "write_groups": self._groups.groups,
                "write_commands": self._groups.commands,
                "swept_records": self.swept,
                "sweeping": int(self.sweeping),
            },
            measures=measures(self, self._groups),
        )

    async def banner(self) -> str:
        """What the gate says of this store when it starts: how safe a write is, what that costs here, what is served."""
        took = await self.measure_commit()
        names = " ".join(sorted(name for name in HANDLERS if "|" not in name))
        cost = f"durability {self.durability}, a commit takes {took * 1000:.2f} ms here"
        return f"{self.path}, {cost}; serves {names} SCAN KEYS DBSIZE RANDOMKEY FLUSHDB"

    async def measure_commit(self) -> float:
        """Seconds that a commit of one small record takes here: the median of five."""

        async def probe(tx: Transaction, args: list[bytes]) -> Reply:
            del args
            tx.kv.put(keyspace.PROBE, b"\x01")
            return OK

        times = []
        for _ in range(PROBES):
            start = time.perf_counter()
            await self._groups.submit([Write(probe, [b"PROBE"], grows=False)], trio.current_time() + PROBE_TIME)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    async def _in_group(self, engine: KvEngine, body: Callable[[KvTxn], Awaitable[T]]) -> T:
        """As `kvgate.model.kv.transact`, in a group of writes: nothing has to be settled for it, and it loses to nobody."""
        del engine
        found: list[T] = []

        async def handler(tx: Transaction, args: list[bytes]) -> Reply:
            del args
            found[:] = [await body(tx.kv)]
            return OK

        (reply,) = await self._groups.submit([Write(handler, [b"SWEEP"], grows=False)], trio.current_time() + SWEEP_PATIENCE)
        if isinstance(reply, Error):
            raise GateError(reply.text.decode("utf-8", "surrogateescape"))
        return found[0]

    async def _sweep(self) -> None:
        """Sweep while this process holds the lock of the path; another one takes over when it ends."""
        descriptor = os.open(self.path / "sweeper.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while True:
                if not self.engine.is_open:
                    self._open_again()
                self.sweeping = self.sweeping or _try_lock(descriptor)
                began = time.perf_counter()
                removed = await self._sweep_once() if self.sweeping and self.engine.is_open else 0
                self.swept += removed
                # Half of the time is the clients': a write that meets the sweeper waits for its transaction, most meet none
                await trio.sleep(time.perf_counter() - began if removed else SWEEP_PAUSE)
        finally:
            self.sweeping = False
            os.close(descriptor)

    def _open_again(self) -> None:
        try:
            self.engine.open()
        except ConfigurationError as error:
            self._complain(str(error))

    async def _sweep_once(self) -> int:
        try:
            removed = await self._sweeper.step()
        except (GateError, lmdb.Error) as error:  # the disk is full, other writers were faster: it is tried again
            self._complain(str(error))
            return 0
        self._complaint = ""
        return removed

    def _complain(self, what: str) -> None:
        """Log it, once for as long as it stays the same."""
        if what != self._complaint:
            log.warning("%s: %s", self.path, what)
        self._complaint = what


def _write(command: Command) -> Write:
    spec = command.spec
    handler = HANDLERS[spec.name]
    if command.after:
        handler = handler_with(handler, command.after)
    return Write(handler, command.args, "denyoom" in spec.flags, spec.readonly)


def _portion(commands: Sequence[Command]) -> Sequence[Command]:
    """The first commands of a pipeline, as many as one group of writes takes."""
    words = 0
    for number, command in enumerate(commands):
        words += len(command.args)
        if number and words > MOST_WORDS:
            return commands[:number]
    return commands


class _Glancing:
    """The engine for the sweeper, which looks often whether there is anything to do; it does it, and reads it again before,
    by `LmdbBackend._in_group`."""

    def __init__(self, engine: LmdbEngine) -> None:
        self.max_key, self.max_value, self.now_ms = engine.max_key, engine.max_value, engine.now_ms
        self._engine = engine

    async def begin(self, *, write: bool = False) -> KvTxn:
        return await self._engine.begin(write=True) if write else self._engine.glance()


_NULL2: Final = Raw(b"$-1\r\n")
_NULL3: Final = Raw(b"_\r\n")


def _null(call: CallContext) -> Raw:
    return _NULL3 if call.proto == 3 else _NULL2


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class LmdbAdapter:
    """`kvgate.backend.Adapter` and `StoreTools`: what the entry point ``lmdb`` names."""

    type = "lmdb"
    capabilities = CAPABILITIES
    defaults: Mapping[str, int] = {"max_value": MAX_VALUE}

    def prepare(self, name: str, options: Mapping[str, Any], base: Path) -> LmdbBackend:
        """As `Adapter.prepare`. Options: ``path``, ``durability`` (always | no), ``map_size``, ``single_gate``."""
        mistakes: list[str] = []
        table = Options(options, mistakes)
        path = table.text("path")
        if not path and not mistakes:
            table.wrong("path", 'names the folder of the store, as in path = "kvgate-data"')
        durable = table.text("durability", "always", ("always", "no")) == "always"
        map_size = table.size("map_size", low=1 << 20) or 0
        single_gate = table.flag("single_gate", default=False)
        table.done()
        if mistakes:
            raise ConfigurationError(mistakes)
        folder = base / Path(path).expanduser()
        return LmdbBackend(name, folder, durable=durable, map_size=map_size, single_gate=single_gate)

    # As `StoreTools`

    has_store = staticmethod(tools.has_store)
    check_store = staticmethod(tools.check)
    store_statistics = staticmethod(tools.statistics)
    compact_store = staticmethod(tools.compact)
    back_up_store = staticmethod(tools.back_up)
