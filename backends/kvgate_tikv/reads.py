"""Reads that wait together share one timestamp, taken after the last of them arrived, and one read of all their records."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from kvgate.backend import CallContext, Command
from kvgate.errors import GateError, try_again
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn, run_now
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Raw, encode
from kvgate_tikv.bridge import Unavailable, milliseconds
from kvgate_tikv.engine import SnapshotTxn, TikvEngine
from kvgate_tikv.job import Done, Job, Waiting, flush
from kvgate_tikv.layers import Cached, NotCachedError, Source
from kvgate_tikv.retry import Retries
from kvgate_tikv.run import MOST_READ, error_reply, records_of, run_handler, too_many

MOST_JOBS: Final = 256
"""Clients whose reads go together."""
PATIENCE: Final = 0.15
"""Seconds after which a batch is no longer waited for: the next one begins beside it, and its own clients go on each alone,
since one key that another client has locked holds up a read of many for 1.5 s."""
MOST_BATCHES: Final = 16
BESIDE, CROWD = 2, 16
"""So many batches side by side, the second one only for at least so many clients: so the store and the gate both have work."""


MANY: Final = 10_000
"""Records of one command that are the reason when it is not answered in time."""


class _Counted(Transaction):
    """Tells the job how much is read."""

    __slots__ = ("_job",)

    def __init__(self, kv: KvTxn, now_ms: int, job: "_Job") -> None:
        super().__init__(kv, now_ms, MOST_READ)
        self._job = job

    def expects(self, records: int) -> None:
        self._job.records = max(self._job.records, records)
        super().expects(records)


class _Job(Job[Raw]):
    """Reads, one snapshot for all."""

    __slots__ = ("commands", "proto", "records")

    def __init__(
        self, commands: Sequence[Command], call: CallContext, done: Done | None = None, flush: Callable[[], None] | None = None
    ) -> None:
        super().__init__(call.deadline, done, flush)
        self.commands = commands
        self.proto = call.proto
        self.records = 0  # the most that one of the commands has said it reads

    @property
    def keys(self) -> list[bytes]:
        """Its keys."""
        return [command.args[at] for command in self.commands for at in command.keys]

    def late(self) -> GateError:
        """What it is answered at its deadline."""
        if self.records > MANY and len(self.commands) == 1:
            return too_many(MANY)  # not TRYAGAIN: it would take as long again
        return try_again("the store did not answer in time")

    def refuse(self, error: GateError) -> None:
        """Answer all commands with an error."""
        self.end([encode(error_reply(error), self.proto)] * len(self.commands))


class ReadBatches:
    """The queue of reads of one store, and what empties it."""

    def __init__(self, engine: TikvEngine) -> None:
        """Read from `engine`, once `run` runs."""
        self._engine = engine
        self._queue: deque[_Job] = deque()
        self._wake = trio.Event()
        self._ahead: set[_Batch] = set()  # the batches that the next one waits for
        self._changed = trio.Event()
        self._waiting: Waiting[Raw] = Waiting(_late)
        self._slots = trio.CapacityLimiter(MOST_BATCHES)
        self.batches = self.commands = self.retries = 0

    async def submit(self, commands: Sequence[Command], call: CallContext) -> list[Raw]:
        """The encoded replies.

        Raises:
            GateError: ``TRYAGAIN`` when the store did not answer in time.
        """
        job = _Job(commands, call)
        self._queue.append(job)
        self._wake.set()
        if len(self._queue) == CROWD:
            self._changed.set()
        if await job.wait():
            return [*job.replies]
        raise job.late()

    def enqueue(self, commands: Sequence[Command], call: CallContext, done: Done, flush: Callable[[], None]) -> None:
        """As `submit`, without a task that waits: see `kvgate.backend.Queueing`."""
        job = _Job(commands, call, done, flush)
        self._queue.append(job)
        self._wake.set()
        if len(self._queue) == CROWD:
            self._changed.set()
        self._waiting.add(job)

    async def run(self) -> None:
        """Serve the queue until cancelled; then who waits is refused."""
        try:
            await self._run()
        finally:
            self._waiting.end()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._waiting.run)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._queue:
                    await self._slots.acquire_on_behalf_of(jobs := self._take())
                    self._ahead.add(jobs)
                    nursery.start_soon(self._serve, jobs)
                    with trio.move_on_after(PATIENCE) as patience:
                        await self._room()
                    if patience.cancelled_caught:
                        self._ahead.clear()

    async def _room(self) -> None:
        """Until no batch is under way, or only one, and a crowd waits for the next."""
        while self._ahead and not (len(self._ahead) < BESIDE and len(self._queue) >= CROWD):
            self._changed = trio.Event()
            await self._changed.wait()

    def _free(self, batch: "_Batch") -> None:
        """The batch has what it read together; what is left of it runs on beside the next one."""
        self._ahead.discard(batch)
        self._changed.set()

    def _take(self) -> "_Batch":
        jobs: list[_Job] = []
        while self._queue and len(jobs) < MOST_JOBS:
            job = self._queue.popleft()
            if not job.left:
                jobs.append(job)
        return _Batch(jobs)

    async def _serve(self, batch: "_Batch") -> None:
        try:
            rest = batch.jobs if len(batch.jobs) == 1 else await self._shared(batch)
            if len(rest) < len(batch.jobs):
                self._free(batch)
            async with trio.open_nursery() as nursery:
                for job in rest:
                    nursery.start_soon(self._alone, job)
        finally:
            self._free(batch)
            self._slots.release_on_behalf_of(batch)

    async def _shared(self, batch: "_Batch") -> Sequence[_Job]:
        """Answer jobs from one snapshot; those that are left when the store does not give it soon, or not all of it."""
        jobs = batch.jobs
        cached = None
        with trio.move_on_after(PATIENCE):
            try:
                timestamp, cached = await self._open(jobs)
            except Unavailable:
                self.retries += 1
        if cached is None:
            return jobs
        longer = [job for job in jobs if not self._at_once(job, cached, timestamp)]
        flush(jobs)
        self._free(batch)
        async with trio.open_nursery() as nursery:
            for job in longer:
                nursery.start_soon(self._longer, job, cached, timestamp)
        return [job for job in longer if not job.answered]

    async def _open(self, jobs: Sequence[_Job]) -> tuple[int, Cached]:
        """A snapshot of this moment with all records that the jobs read first."""
        timestamp = await self._engine.timestamp()
        cached = Cached(self._engine.read(timestamp))
        await cached.prefetch(records_of([key for job in jobs for key in job.keys]))
        self.batches += 1
        return timestamp, cached

    def _at_once(self, job: _Job, cached: Cached, timestamp: int) -> bool:
        try:
            job.end(run_now(self._replies(job, cached.known(), timestamp)))
        except NotCachedError:
            return False
        return True

    async def _longer(self, job: _Job, cached: Cached, timestamp: int) -> None:
        with trio.CancelScope(deadline=job.deadline):
            try:
                job.end(await self._replies(job, cached, timestamp))
                flush([job])
            except Unavailable:
                self.retries += 1

    async def _alone(self, job: _Job) -> None:
        retries = Retries(job.deadline)
        with trio.CancelScope(deadline=job.deadline):
            while True:
                try:
                    timestamp, cached = await self._open([job])
                    job.end(await self._replies(job, cached, timestamp))
                    flush([job])
                except Unavailable as error:
                    self.retries += 1
                    why = str(error)
                else:
                    return
                if not await retries.again():
                    job.refuse(try_again(why))
                    flush([job])
                    return

    async def _replies(self, job: _Job, source: Source, timestamp: int) -> list[Raw]:
        replies = []
        for command in job.commands:
            tx = _Counted(SnapshotTxn(source, timestamp), milliseconds(timestamp), job)
            replies.append(encode(await run_handler(HANDLERS[command.spec.name], tx, command.args), job.proto))
        self.commands += len(job.commands)
        return replies


def _late(job: Job[Raw]) -> Sequence[Raw]:
    assert isinstance(job, _Job)  # noqa: S101 - nothing else is added
    return [encode(error_reply(job.late()), job.proto)] * len(job.commands)


@attrs.frozen(slots=True, eq=False)
class _Batch:
    jobs: list[_Job]
