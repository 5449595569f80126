"""Writes of all clients, gathered while a commit of their namespace is under way and committed together.

A group that meets another writer is run again, then each of its clients' commands alone, within the time for retries. What a
commit of unknown outcome did is decided by the record that each group leaves in the store (docs/keyspace.md, "R").
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from kvgate.errors import Conflict, GateError, in_doubt, try_again
from kvgate.metrics.times import Times
from kvgate.model import keyspace
from kvgate.wire.reply import Error, Reply
from kvgate_tikv.bridge import OutcomeUnknown, Txn, Unavailable, milliseconds
from kvgate_tikv.engine import Reads, TikvEngine
from kvgate_tikv.group import Block, Group, Write, receipt, too_large
from kvgate_tikv.job import Done, Job, Waiting, flush
from kvgate_tikv.layers import Cached
from kvgate_tikv.retry import Retries
from kvgate_tikv.run import error_reply, records_of, together

log = logging.getLogger("kvgate.tikv")

MOST_COMMANDS: Final = 1024
MOST_BYTES: Final = 4 << 20
"""Of arguments in one group, unless a single client has more."""
PATIENCE: Final = 0.25
"""Seconds after which a group is no longer waited for: the next one begins beside it (the cluster orders them)."""
MOST_GROUPS: Final = 8
"""Of one namespace side by side."""
TRIES_TOGETHER: Final = 3
COMMIT_LIMIT: Final = 12.0
"""Seconds until a commit is no longer listened for; its clients have left long before. The native client gives up by itself,
but for a timestamp it waits for ever."""


class _Job(Job[Reply]):
    """Writes, and reads among them."""

    __slots__ = ("committing", "units")

    def __init__(
        self,
        units: Sequence[Write | Block],
        deadline: float,
        done: Done | None = None,
        flush: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(deadline, done, flush)
        self.units = units
        self.committing = False  # from here on its deadline leaves it in doubt

    def late(self) -> GateError:
        """What it is answered at its deadline."""
        if self.committing:
            return in_doubt("the store did not commit in time")
        return try_again("the store did not come to it in time")

    def refuse(self, error: GateError) -> None:
        """Answer all commands with an error."""
        self.end([error_reply(error)] * len(self.units))

    @property
    def size(self) -> int:
        """Bytes of all arguments."""
        writes = [write for unit in self.units for write in (unit.writes if isinstance(unit, Block) else [unit])]
        return sum(len(arg) for write in writes for arg in write.args)


@attrs.define(slots=True)
class GroupCounts:
    """What statistics show."""

    groups: int = 0
    commands: int = 0
    conflicts: int = 0
    retries: int = 0
    unknown: int = 0
    """Commits whose outcome the client library did not know, or told wrongly …"""
    in_doubt: int = 0
    """… and those that stayed undecided."""


class WriteGroups:
    """The queues of one store, one for each namespace. `nursery` is where groups run: it outlives their clients."""

    def __init__(self, engine: TikvEngine, longest: int) -> None:
        """Write into `engine`, once `run` runs. `longest`: bytes that a string may grow to."""
        self._engine = engine
        self._longest = longest
        self._lanes: dict[bytes, _Lane] = {}
        self._nursery: trio.Nursery | None = None
        self._waiting: Waiting[Reply] = Waiting(_late)
        self.counts = GroupCounts()
        self.times = Times()
        """Of transactions, failed ones too."""

    async def run(self) -> None:
        """Let groups run until cancelled; commits that are under way are waited for, what has not begun is refused."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._waiting.run()
        finally:
            self._nursery = None
            for lane in self._lanes.values():
                for job in lane.queue:
                    job.refuse(try_again("the store is being closed"))
                flush(lane.queue)
            self._lanes.clear()
            self._waiting.end()

    async def submit(self, units: Sequence[Write | Block], deadline: float) -> list[Reply]:
        """Run the commands in order, in one transaction where they fit one; their replies once they are committed.

        Raises:
            GateError: at `deadline` (trio's clock): ``TRYAGAIN`` when nothing was sent to be committed, else ``INDOUBT``.
        """
        job = _Job(units, deadline)
        self._add(job)
        if await job.wait():
            return [*job.replies]
        raise job.late()

    def enqueue(self, units: Sequence[Write], deadline: float, done: Done, flush: Callable[[], None]) -> None:
        """As `submit`, without a task that waits: see `kvgate.backend.Queueing`. Raises GateError: nothing was taken."""
        job = _Job(units, deadline, done, flush)
        self._add(job)
        self._waiting.add(job)

    def _add(self, job: _Job) -> None:
        if self._nursery is None:
            raise try_again("the store is being closed")
        groups = {keyspace.group_of(key) for unit in job.units for key in unit.keys}
        name = groups.pop() if len(groups) == 1 else b":"  # no group has a colon: what spans several
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        lane.queue.append(job)
        if not lane.served:
            lane.served = True
            self._nursery.start_soon(self._serve, name, lane)

    async def _serve(self, name: bytes, lane: "_Lane") -> None:
        nursery, slots = self._nursery, trio.Semaphore(MOST_GROUPS)
        while lane.queue and nursery is not None:
            await slots.acquire()
            jobs, done = lane.take(), trio.Event()
            nursery.start_soon(self._group, jobs, done, slots)
            with trio.move_on_after(PATIENCE):
                await done.wait()
        lane.served = False
        if not lane.queue and self._lanes.get(name) is lane:
            del self._lanes[name]

    async def _group(self, jobs: Sequence[_Job], done: trio.Event, slots: trio.Semaphore) -> None:
        try:
            rest = jobs if len(jobs) == 1 else await self._together(jobs)
            async with trio.open_nursery() as nursery:
                for job in rest:
                    nursery.start_soon(self._alone, job)
        except trio.Cancelled:
            for job in jobs:
                if not job.answered:
                    job.refuse(try_again("the store is being closed"))
            raise
        finally:
            flush(jobs)
            done.set()
            slots.release()

    async def _together(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """Answer jobs by common transactions; those that are left when that does not come about soon."""
        retries = Retries(max(job.deadline for job in jobs))
        for _ in range(TRIES_TOGETHER):
            try:
                while jobs := [job for job in jobs if not job.left]:
                    over = await self._attempt(jobs, PATIENCE)
                    if len(over) == len(jobs):
                        return jobs  # the first one alone is too large
                    jobs = over
            except (Conflict, Unavailable) as error:
                self._count(error)
                if isinstance(error, Unavailable) or not await retries.again():
                    break
            else:
                return []
        return jobs

    async def _alone(self, job: _Job) -> None:
        """Answer one client's commands, in one transaction or, when they are too large for that, one by one."""
        retries = Retries(job.deadline)
        while not job.left:
            try:
                over = await self._attempt([job], None)
            except (Conflict, Unavailable) as error:
                self._count(error)
                if not await retries.again():
                    job.refuse(_why(error))
                    return
            else:
                if over:
                    await self._one_by_one(job)
                return

    def _count(self, error: Exception) -> None:
        self.counts.retries += 1
        if isinstance(error, Conflict):
            self.counts.conflicts += 1

    async def _one_by_one(self, job: _Job) -> None:
        if len(job.units) == 1:
            job.refuse(too_large())
            return
        replies: list[Reply] = []
        for unit in job.units:
            part = _Job([unit], job.deadline)
            part.committing, job.committing = job.committing, True  # what is committed of it stays
            await self._alone(part)
            replies += part.replies
        job.end(replies)

    # One transaction

    async def _attempt(self, jobs: Sequence[_Job], patience: float | None) -> Sequence[_Job]:
        """Run the jobs over one transaction, commit it and answer them; those that did not fit any more. `patience`: seconds
        until the records that they read first must be there.

        Raises:
            Conflict: nothing was written, another writer was faster.
            Unavailable: nothing was written, the store did not do it.
        """
        begun = time.monotonic()
        native = await self._engine.client.begin()
        try:
            group, now, taken, replies = await self._prepare(native, jobs, patience)
            wrong = None
            if group.writes:
                if any(job.left for job in taken):
                    raise Unavailable("a client was told TRYAGAIN meanwhile")  # so it must not be executed now
                wrong = await self._commit(native, group, now, taken)
        finally:
            await native.rollback()
            self.times.note(time.monotonic() - begun)
        self.counts.groups += 1
        for job, own in zip(taken, replies, strict=True):
            self.counts.commands += len(own)
            job.end(own if wrong is None else [wrong] * len(own))
        flush(taken)
        return jobs[len(taken) :]

    async def _prepare(
        self, native: Txn, jobs: Sequence[_Job], patience: float | None
    ) -> tuple[Group, int, list[_Job], list[list[Reply]]]:
        cached = Cached(Reads(self._engine.space, native))
        keys = records_of([key for job in jobs for unit in job.units for key in unit.keys])
        timestamp = 0
        with trio.move_on_after(patience or float("inf")):
            timestamp = await together(self._engine.timestamp, lambda: cached.prefetch(keys))
        if not timestamp:
            raise Unavailable("a key is locked, or the store is slow")
        now = milliseconds(timestamp)
        group = Group(cached, timestamp, self._engine.timestamp, now, self._longest)
        taken: list[_Job] = []
        replies: list[list[Reply]] = []
        for job in jobs:
            own = await group.run(job.units)
            if own is None:
                break
            taken.append(job)
            replies.append(own)
        return group, now, taken, replies

    async def _commit(self, native: Txn, group: Group, now: int, jobs: Sequence[_Job]) -> Error | None:
        """Commit for good. An error for all jobs when it stays unknown what happened. Raises as `_attempt`."""
        inside, mark = self._engine.space, receipt(now)
        writes = inside.writes({mark: b"\x01", **group.writes})
        before = inside.writes({mark: None, **group.before})
        for job in jobs:
            job.committing = True
        with trio.CancelScope(shield=True):  # a commit is never left half-known
            try:
                await native.commit(writes, COMMIT_LIMIT, mark=inside.inside(mark), before=before)
            except OutcomeUnknown as error:
                self.counts.in_doubt += 1
                log.warning("the outcome of a commit stays unknown: %s", error)
                return error_reply(in_doubt(str(error)))
            except (Conflict, Unavailable):
                self._not_committed(jobs)
                raise
            finally:
                self.counts.unknown += bool(native.trouble)
        return None

    def _not_committed(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            job.committing = False


class _Lane:
    """The queue of one namespace."""

    def __init__(self) -> None:
        self.queue: deque[_Job] = deque()
        self.served = False

    def take(self) -> list[_Job]:
        """The jobs of the next group."""
        jobs: list[_Job] = []
        commands = size = 0
        while self.queue:
            commands += len(self.queue[0].units)
            size += self.queue[0].size
            if jobs and (commands > MOST_COMMANDS or size > MOST_BYTES):
                break
            jobs.append(self.queue.popleft())
        return jobs


def _late(job: Job[Reply]) -> Sequence[Reply]:
    assert isinstance(job, _Job)  # noqa: S101 - nothing else is added
    return [error_reply(job.late())] * len(job.units)


def _why(error: Exception) -> GateError:
    if isinstance(error, Conflict):
        return try_again("other writers of the same keys were faster")
    return try_again(str(error))
