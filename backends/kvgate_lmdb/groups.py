"""Writes of all clients, gathered while the disk is busy and committed together.

A command that fails leaves the others alone; a group whose commit fails is run again command by command, and only what
fails then is told its clients. A reply goes out after the commit that its command is in.

Short commands are run when they come, ahead of their commit (kvgate_lmdb.ahead), which is then one of these: a record of the
journal that the syncer's thread writes and syncs (`_arrived` follows); one that is copied to the kernel at once, where nobody
waits for the disk; a commit of LMDB on a thread (`_landed` follows), where there is no journal, or where it cannot be had now.
The other commands are run on that thread (kvgate_lmdb.running). What runs is in this order: the group under way, `_ahead`,
`_queue`.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import lmdb
import trio

from kvgate.errors import Conflict, GateError, in_doubt, try_again
from kvgate.metrics.times import Times
from kvgate.model.kv import TooLong
from kvgate.model.short import UNIT
from kvgate.wire.reply import Raw, Reply
from kvgate_lmdb.ahead import Ahead
from kvgate_lmdb.engine import BrokenStoreError, LmdbEngine
from kvgate_lmdb.environment import nearly_full
from kvgate_lmdb.jobs import Block, Job, Run, Write
from kvgate_lmdb.running import Limits, OnLmdb, error_reply, run_write
from kvgate_lmdb.syncing import Syncer, made

log = logging.getLogger("kvgate.lmdb")

MOST_WORDS: Final = 4096
"""Words of the commands in one group, about 15 ms of Python: who comes next waits for it. A single command may have more."""
WATCH, QUIET_WATCH = 0.05, 0.25
"""Seconds between looks for queued writes whose time is over, while there are any and while there are none."""
MOST_BYTES: Final = 16 << 20
"""Of arguments in one group, unless a single command has more; with `RESERVE` it keeps room for deletes."""
AHEAD_WORDS: Final = 512
AHEAD_BYTES: Final = 64 << 10
"""Of one client's commands that are run ahead: about a millisecond of Python."""
CATCH_UP: Final = 0.0005
"""Seconds that queued jobs are run ahead before the group is committed."""
APART: Final = 0.1
"""Seconds in which nothing is run ahead after another writer was met: the next one is probably near."""
MOST_OLD: Final = 100
"""Milliseconds that a group may wait after it was run ahead: a key that expired for readers meanwhile must not live on."""
GROUPS_KEPT: Final = 65_536
"""Groups whose generation is remembered."""


def _flush(jobs: Iterable[Job]) -> None:
    for flush in {job.flush for job in jobs if job.flush is not None}:
        flush()


class WriteGroups:
    """The queue, and the loop that empties it."""

    def __init__(self, engine: LmdbEngine, longest: int) -> None:
        """Write into `engine`, once `run` runs. `longest`: bytes that a string may grow to."""
        self._engine = engine
        self._longest = longest
        self._on_lmdb = OnLmdb(engine, longest, self._count)
        self._queue: deque[Job] = deque()
        self._ahead: Ahead | None = None
        self._flying: Ahead | None = None  # the group that was run ahead and is being committed
        self._running: Sequence[Job] = ()  # the jobs of the group under way, run ahead or not
        self._generations: dict[bytes, int] = {}
        self._syncer: Syncer | None = None
        self._departed = 0.0  # when the group under way was given to the syncer, on the monotonic clock
        self._not_before = 0.0  # nothing is run ahead until then
        self._wake = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._token: trio.lowlevel.TrioToken
        self._turn = threading.Lock()  # between a job that is taken on the thread and one that is given up on trio's
        self._closed = False
        self.groups = 0
        self.commands = 0
        self.times = Times()
        """Of groups on the writer's thread: running what was not run ahead, and the commit, which waits for the disk."""

    async def submit(self, writes: Sequence[Write | Block], deadline: float) -> list[Reply]:
        """Run the commands in order, in one group; their replies once they are committed. When there are fewer replies than
        commands, the next one would read for too long here: nothing from it on was run.

        Raises:
            GateError: at `deadline` (trio's clock): ``TRYAGAIN`` when nothing was begun, else ``INDOUBT``.
        """
        if self._closed:
            raise try_again("the store is being closed")
        done, told = trio.Event(), list[Reply]()

        def tell(replies: list[Reply]) -> None:
            told.extend(replies)
            done.set()

        job = Job(writes, tell)
        self._add(job)
        with trio.move_on_at(deadline):
            await done.wait()
            return told
        with self._turn:
            job.given_up = True
        if job.taken:
            raise in_doubt("the store did not commit in time")
        raise try_again("the store did not come to it in time")

    def enqueue(
        self, writes: Sequence[Write], deadline: float, done: Callable[[list[Reply]], None], flush: Callable[[], None]
    ) -> None:
        """As `submit`, for writes only, without a task that waits: `done` gets the replies, or errors at the deadline."""
        if self._closed:
            done([error_reply(try_again("the store is being closed"))] * len(writes))
            return
        self._add(Job(writes, done, flush, deadline))

    def add_run(self, run: Run) -> None:
        """As `enqueue`, for simple writes of one kind; it may be answered by one `Raw` with all replies."""
        if self._closed:
            run.answer([error_reply(try_again("the store is being closed"))] * run.count)
        else:
            self._add(run)

    def _add(self, job: Job) -> None:
        if self._queue or not self._run_ahead(job):
            self._queue.append(job)
        self._wake.set()

    # Ahead

    def _run_ahead(self, job: Job) -> bool:
        """Run a job's commands before their commit begins; False: that cannot be, or would take too long here."""
        if job.too_long or job.words > AHEAD_WORDS or job.size > AHEAD_BYTES:
            return False
        ahead = self._ahead
        if ahead is None:
            ahead = self._ahead = self._begin_ahead()
        if ahead is None or ahead.words + job.words > MOST_WORDS or ahead.size + job.size > MOST_BYTES:
            return False
        if ahead.units > MOST_BYTES // UNIT:
            return False
        if isinstance(job, Run) and not ahead.short:
            try:
                replies = ahead.run(job)
            except lmdb.Error:  # the commands meet it again, one by one
                replies = None
            if replies is not None:
                job.replies = [Raw(replies)]
                ahead.add(job)
                return True
        ahead.begin(job)
        try:
            limits = Limits(self._engine.now_ms(), ahead.short, self._longest)
            for write in job.writes:
                job.replies.append(run_write(ahead, write, limits))
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread will meet it too, and tell
            ahead.undo()
            job.replies, job.too_long = [], True
            if not isinstance(error, TooLong | lmdb.Error):
                log.warning("a command is run again on the thread: %r", error)
            return False
        ahead.add(job, ahead.spent)
        return True

    def _begin_ahead(self) -> Ahead | None:
        """A group to be run ahead; None when what it would stand on is not known."""
        if time.monotonic() < self._not_before or (self._running and self._flying is None):
            return None
        if self._flying is None or len(self._generations) > GROUPS_KEPT:
            self._generations = {}
        engine = self._engine
        try:
            short = nearly_full(engine.env, engine.path, engine.recent.weight)
            if short and not nearly_full(engine.env, engine.path):
                return None  # there will be room when LMDB has what waits, for which the thread sees
            return Ahead(engine, self._flying, self._generations, short=short, now=engine.now_ms())
        except Conflict:
            self._not_before = time.monotonic() + APART
        except (GateError, lmdb.Error, OSError):  # not open, broken, its folder is away: the thread meets that too, and tells
            pass
        return None

    def _catch_up(self) -> None:
        """Run queued jobs ahead for a short time; `run` comes back when there are more that can be."""
        until = time.monotonic() + CATCH_UP
        while self._queue and (self._queue[0].given_up or self._run_ahead(self._queue[0])):
            self._queue.popleft()
            if time.monotonic() > until:
                self._wake.set()
                return

    def _fall_back(self) -> None:
        """What was run ahead stood on something that did not come true: it will be run on the thread."""
        ahead, self._ahead = self._ahead, None
        self._generations = {}
        if ahead is not None:
            ahead.end()
            for job in reversed(ahead.jobs):
                job.replies = []
                self._queue.appendleft(job)

    # The loop

    async def run(self) -> None:
        """Commit groups until cancelled; then what is queued is answered ``TRYAGAIN``."""
        self._token = trio.lowlevel.current_trio_token()
        notify = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._syncer = made(notify)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._arrivals, notify)
                while True:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    if self._running:
                        self._catch_up()
                    else:
                        self._depart()
        finally:
            self._closed = True
            with trio.CancelScope(shield=True):
                if self._departed:  # on a thread: the disk may take its time, and others are closing, too
                    await trio.to_thread.run_sync(self._engine.recent.wait_for_arrival)
                while not self._arrived():  # noqa: ASYNC110 - who settles is a thread, which tells nobody when it is done
                    await trio.sleep(0.001)
                await self._idle.wait()
            if self._syncer is not None:
                self._syncer.close()
            os.close(notify)
            self._fall_back()
            refusal = error_reply(try_again("the store is being closed"))
            for job in self._queue:
                job.answer([refusal] * job.count)
            self._queue.clear()

    async def _watch(self) -> None:
        """Answer waiting jobs whose time is over; those without a deadline are watched by whoever waits for them."""
        while True:
            waiting = [*self._running, *(self._ahead.jobs if self._ahead is not None else ()), *self._queue]
            await trio.sleep(WATCH if waiting else QUIET_WATCH)
            now = trio.current_time()
            late = [job for job in waiting if job.deadline < now and not job.given_up]
            for job in late:
                with self._turn:
                    job.given_up = True
                error = in_doubt("the store did not commit in time")
                if not job.taken:
                    error = try_again("the store did not come to it in time")
                self._tell(job, [error_reply(error)] * job.count)
            if late:
                _flush(late)
                self._queue = deque(job for job in self._queue if not job.given_up)

    @staticmethod
    def _tell(job: Job, replies: list[Reply]) -> None:
        try:
            job.answer(replies)
        except Exception:
            log.exception("a client of a group could not be told")

    def _next(self) -> tuple[Sequence[Job], Ahead | None]:
        """The jobs of the next group: those that were run ahead, or the first ones of the queue."""
        self._catch_up()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.jobs:
            return ahead.jobs, ahead
        if ahead is not None:
            ahead.end()  # its first command was too long for it
        return self._take(), None

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        words = size = 0
        while self._queue:
            words += self._queue[0].words
            size += self._queue[0].size
            if jobs and (words > MOST_WORDS or size > MOST_BYTES):
                break
            jobs.append(self._queue.popleft())
        return jobs

    def _depart(self) -> None:
        """Let the next group be committed; its clients are told by `_arrived`, `_land_at_once` or `_landed`."""
        jobs, ahead = self._next()
        if not jobs:
            return
        if ahead is not None:
            ahead.seal()
        work = partial(self._commit, jobs, ahead)
        if ahead is not None and ahead.is_journaled and self._boards(jobs, ahead):
            if not self._engine.durable and self._land_at_once(jobs, ahead):
                return
            if self._engine.durable and self._syncer is not None and ahead.depart(self._syncer):
                self._running, self._flying, self._departed = jobs, ahead, time.monotonic()
                if self._queue:
                    self._wake.set()
                return
            work = partial(self._append, jobs, ahead)
        self._on_thread(work, jobs, ahead)
        if self._queue:
            self._wake.set()

    def _on_thread(self, work: Callable[[], bool], jobs: Sequence[Job], ahead: Ahead | None) -> None:
        def commit() -> bool:
            begun = time.monotonic()
            try:
                return work()
            finally:
                self.times.note(time.monotonic() - begun)

        def deliver(result: Any) -> None:  # an outcome.Outcome[bool]
            self._token.run_sync_soon(self._landed, jobs, ahead, result)

        self._running, self._flying, self._idle = jobs, ahead, trio.Event()
        try:
            trio.lowlevel.start_thread_soon(commit, deliver, "kvgate-writer")
        except Exception:
            log.exception("no thread can be had to write")
            why = "the gate can start no thread; raise its limits of processes and memory"
            refusal = in_doubt(why) if self._engine.recent.is_doubtful else try_again(why)
            self._done(jobs, ahead, landed=False, reply=error_reply(refusal))

    async def _arrivals(self, notify: int) -> None:
        """Tell the clients of each group that the syncer is done with."""
        while True:
            await trio.lowlevel.wait_readable(notify)
            with suppress(BlockingIOError):
                os.eventfd_read(notify)
            while not self._arrived():  # noqa: ASYNC110 - who settles is a thread, which nobody waits for here
                await trio.sleep(0.001)

    def _arrived(self) -> bool:
        """Go on after what departed, if anything did; False: ask again a moment later."""
        jobs, ahead, begun = self._running, self._flying, self._departed
        if ahead is None or not begun:
            return True
        try:
            if not ahead.arrive():
                return False
        except OSError as error:
            self._departed = 0.0
            self._journal_failed(error)
            self._on_thread(partial(self._instead, jobs), jobs, ahead)
            return True
        self._departed = 0.0
        self.times.note(time.monotonic() - begun)
        self._came_true(jobs)
        self._done(jobs, ahead, landed=True)
        return True

    def _boards(self, jobs: Sequence[Job], ahead: Ahead) -> bool:
        """Take the jobs of a group that is to be appended to the journal as it is; False where they have to be run again: a
        client was told meanwhile that its command was not executed, or what has expired since might matter."""
        if any(job.given_up for job in jobs) or self._is_late(ahead):
            return False
        for job in jobs:
            job.taken = True
        return True

    def _land_at_once(self, jobs: Sequence[Job], ahead: Ahead) -> bool:
        """Commit a group here, where that means to copy it to the kernel; False: a thread has to do it."""
        begun = time.monotonic()
        try:
            if not ahead.land_at_once():
                return False
        except OSError as error:
            self._journal_failed(error)
            return False
        self.times.note(time.monotonic() - begun)
        self._came_true(jobs)
        ahead.end()
        ahead.publish()
        for job in jobs:
            self._tell(job, job.replies)
        _flush(jobs)
        if self._ahead is not None or self._queue:
            self._wake.set()
        return True

    def _came_true(self, jobs: Sequence[Job]) -> None:
        """What was run ahead is committed."""
        commands = 0
        for job in jobs:
            job.answered = True
            commands += job.count
        self._count(commands)

    def _journal_failed(self, error: OSError) -> None:
        log.warning("the journal in %s could not be written (%s); LMDB's own commit follows", self._engine.path, error)

    def _is_late(self, ahead: Ahead) -> bool:
        """Whether what has expired since it was run might matter."""
        return self._engine.now_ms() - ahead.since > MOST_OLD

    def _landed(self, jobs: Sequence[Job], ahead: Ahead | None, result: Any) -> None:
        """The next group departs, then the clients of this one are told. Nothing may be raised here: it would end trio."""
        landed, reply = False, error_reply(in_doubt("the gate failed while it was committed; its log has the details"))
        try:
            landed = result.unwrap()
            if landed:
                self._came_true(jobs)
        except GateError as error:
            reply = error_reply(error)
        except (lmdb.Error, BrokenStoreError) as error:
            reply = error_reply(self._engine.after(error))
        except Exception:
            log.exception("a group of writes failed")
        self._done(jobs, ahead, landed=landed, reply=reply)

    def _done(self, jobs: Sequence[Job], ahead: Ahead | None, *, landed: bool, reply: Reply = None) -> None:
        """Go on after a group; `reply` is for those of its jobs that are not answered."""
        self._running, self._flying = (), None
        idle = self._idle
        try:
            if ahead is not None:
                ahead.end()
                if landed:
                    ahead.publish()
                else:
                    self._fall_back()
            if not self._closed and (self._ahead is not None or self._queue):
                self._depart()
        except Exception:
            log.exception("the next group of writes could not begin")
            self._wake.set()
        for job in jobs:
            self._tell(job, job.replies if job.answered else [reply] * job.count)  # else not committed for certain
        _flush(jobs)
        idle.set()

    # On the writer's thread

    def _append(self, jobs: Sequence[Job], ahead: Ahead) -> bool:
        """Append what was run ahead to the journal; else run it on LMDB. As `_commit`."""
        try:
            if ahead.land():
                return True
        except OSError as error:
            self._journal_failed(error)
        return self._instead(jobs)

    def _instead(self, jobs: Sequence[Job]) -> bool:
        """Run on LMDB what could not be appended to the journal."""
        try:
            self._engine.write(lambda: self._on_lmdb.together(jobs, nearly_full(self._engine.env, self._engine.path)))
        except GateError as error:
            if self._engine.recent.is_doubtful:  # not "nothing was executed": a record may lie there, and be taken over
                raise in_doubt(f"the journal could not be written, and then: {error.text}") from error
            raise
        return False

    def _commit(self, jobs: Sequence[Job], ahead: Ahead | None) -> bool:
        """Give each job its replies; those without are told what this raises. Whether what was run `ahead` came true."""
        taken = [job for job in jobs if self._begin(job)]
        short = nearly_full(self._engine.env, self._engine.path)
        work = self._on_lmdb.together
        if ahead is not None:
            try:
                if self._land(ahead, taken):
                    return True
            except lmdb.Error as error:
                log.warning("a group of %d writes failed (%s); each is tried alone", len(taken), error)
                work = self._on_lmdb.each_alone
        self._engine.write(lambda: work(taken, short))
        return False

    def _land(self, ahead: Ahead, taken: Sequence[Job]) -> bool:
        """Commit what was run ahead, unless one of its clients was told meanwhile that it was not executed, or what has
        expired since might matter."""
        if len(taken) < len(ahead.jobs) or self._is_late(ahead):
            return False
        if not ahead.land():
            self._not_before = time.monotonic() + APART
            return False
        return True

    def _count(self, commands: int) -> None:
        self.groups += 1
        self.commands += commands

    def _begin(self, job: Job) -> bool:
        with self._turn:
            job.taken = not job.given_up
            return job.taken
