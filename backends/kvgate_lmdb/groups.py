"""Writes of all clients, gathered while the disk is busy and committed together on a thread.

A command that fails leaves the others alone; a group whose commit fails is run again command by command, and only what
fails then is told its clients. A reply goes out after the commit that its command is in.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs
import lmdb
import trio

from kvgate.errors import GateError, in_doubt, try_again
from kvgate.model.kv import KvTxn, TooLong, run_now
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import NULL_ARRAY, Error, Reply
from kvgate_lmdb.engine import Group, LmdbEngine
from kvgate_lmdb.environment import nearly_full

log = logging.getLogger("kvgate.lmdb")

MOST_WORDS: Final = 4096
"""Words of the commands in one group, about 15 ms of Python: who comes next waits for it. A single command may have more."""
WATCH, QUIET_WATCH = 0.05, 0.25
"""Seconds between looks for queued writes whose time is over, while there are any and while there are none."""
MOST_BYTES: Final = 16 << 20
"""Of arguments in one group, unless a single command has more; with `RESERVE` it keeps room for deletes."""


MOST_SHORT: Final = 5000
"""Records of a read that runs beside any number of others, or between writes: about 10 ms of Python."""


def error_reply(error: GateError) -> Error:
    """The reply that says it, without line ends."""
    return Error(error.reply[1:-2])


def run_handler(handler: Handler, tx: Transaction, args: list[bytes]) -> Reply:
    """The handler's reply; its errors and its mistakes as error replies."""
    try:
        return run_now(handler(tx, args))
    except GateError as error:
        return error_reply(error)
    except (lmdb.Error, TooLong):
        raise
    except Exception:
        log.exception("command %r failed", args[:1])
        return Error(b"ERR internal error of the gate; its log has the details")


def revisions(txn: KvTxn, keys: Iterable[bytes], now: int) -> list[int]:
    """The keys' revisions; 0 for one that is missing, expired or flushed."""
    metas = run_now(Transaction(txn, now).load_many(list(keys)))
    return [0 if meta is None else meta.revision for meta in metas]


@attrs.define(slots=True)  # one for each command: a frozen one takes three times as long to make
class Write:
    """One command of a job."""

    handler: Handler
    args: list[bytes]
    grows: bool
    """Whether it is refused while the store is nearly full (Redis' flag ``denyoom``)."""
    reads: bool = False
    """Whether it only reads: then up to `MOST_SHORT` records, since other clients' writes wait meanwhile."""

    @property
    def words(self) -> int:
        """Its arguments, its name included."""
        return len(self.args)

    @property
    def size(self) -> int:
        """Bytes of its arguments."""
        return sum(map(len, self.args))


@attrs.frozen(slots=True)
class Block:
    """A MULTI: its writes in one commit, nothing between them, and only if what was watched is as it was."""

    writes: Sequence[Write]
    watched: Mapping[bytes, int]
    """Key → revision; 0: missing."""

    @property
    def words(self) -> int:
        """All arguments."""
        return sum(write.words for write in self.writes)

    @property
    def size(self) -> int:
        """Bytes of all arguments."""
        return sum(write.size for write in self.writes)


@attrs.define(slots=True, eq=False)
class _Job:
    """Commands of one client, in order."""

    writes: Sequence[Write | Block]
    replies: list[Reply] = attrs.field(factory=list)
    answered: bool = False
    """Its replies are those to be sent: what they tell is committed."""
    taken: bool = False
    """A group has begun to run it."""
    given_up: bool = False
    finish: Callable[[], None] = attrs.field(kw_only=True)
    """Called in trio's thread once `replies` are complete."""
    flush: Callable[[], None] | None = attrs.field(default=None, kw_only=True)
    """Called once for all jobs of a group that have the same."""
    deadline: float = attrs.field(default=math.inf, kw_only=True)
    """On trio's clock; `WriteGroups` itself answers the job then."""


class WriteGroups:
    """The queue, and the loop that empties it."""

    def __init__(self, engine: LmdbEngine, longest: int) -> None:
        """Write into `engine`, once `run` runs. `longest`: bytes that a string may grow to."""
        self._engine = engine
        self._longest = longest
        self._queue: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._wake = trio.Event()
        self._turn = threading.Lock()  # between a job that is taken on the thread and one that is given up on trio's
        self._closed = False
        self.groups = 0
        self.commands = 0

    async def submit(self, writes: Sequence[Write | Block], deadline: float) -> list[Reply]:
        """Run the commands in order, in one group; their replies once they are committed. When there are fewer replies than
        commands, the next one would read for too long here: nothing from it on was run.

        Raises:
            GateError: at `deadline` (trio's clock): ``TRYAGAIN`` when nothing was begun, else ``INDOUBT``.
        """
        if self._closed:
            raise try_again("the store is being closed")
        done = trio.Event()
        job = _Job(writes, finish=done.set)
        self._queue.append(job)
        self._wake.set()
        with trio.move_on_at(deadline):
            await done.wait()
            return job.replies
        with self._turn:
            job.given_up = True
        if job.taken:
            raise in_doubt("the store did not commit in time")
        raise try_again("the store did not come to it in time")

    def enqueue(
        self, writes: Sequence[Write], deadline: float, done: Callable[[list[Reply]], None], flush: Callable[[], None]
    ) -> None:
        """As `submit`, for writes only, without a task that waits: `done` gets the replies, or errors at the deadline."""

        def finish() -> None:
            done(job.replies)

        job = _Job(writes, finish=finish, flush=flush, deadline=deadline)
        if self._closed:
            job.replies = [error_reply(try_again("the store is being closed"))] * len(writes)
            finish()
            return
        self._queue.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Commit groups until cancelled; then what is queued is answered ``TRYAGAIN``."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                while True:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    while self._queue:
                        await self._run_group(self._take())
        finally:
            self._closed = True
            refusal = error_reply(try_again("the store is being closed"))
            for job in self._queue:
                job.replies = [refusal] * len(job.writes)
                job.finish()
            self._queue.clear()

    async def _watch(self) -> None:
        """Answer queued jobs whose time is over; those without a deadline are watched by whoever waits for them."""
        while True:
            await trio.sleep(WATCH if self._queue or self._running else QUIET_WATCH)
            now = trio.current_time()
            for job in [job for job in (*self._running, *self._queue) if job.deadline < now and not job.given_up]:
                with self._turn:
                    job.given_up = True
                error = in_doubt("the store did not commit in time")
                if not job.taken:
                    error = try_again("the store did not come to it in time")
                    self._queue.remove(job)
                job.replies = [error_reply(error)] * len(job.writes)
                self._tell([job])

    @staticmethod
    def _tell(jobs: Sequence[_Job]) -> None:
        for job in jobs:
            job.finish()
        for flush in {job.flush for job in jobs if job.flush is not None}:
            flush()

    def _take(self) -> list[_Job]:
        jobs, words, size = [self._queue.popleft()], 0, 0
        words, size = sum(write.words for write in jobs[0].writes), sum(write.size for write in jobs[0].writes)
        while self._queue:
            words += sum(write.words for write in self._queue[0].writes)
            size += sum(write.size for write in self._queue[0].writes)
            if words > MOST_WORDS or size > MOST_BYTES:
                break
            jobs.append(self._queue.popleft())
        return jobs

    async def _run_group(self, jobs: list[_Job]) -> None:
        self._running = jobs
        reply: Reply = error_reply(in_doubt("the gate failed while it was committed; its log has the details"))
        try:
            await self._engine.in_thread(lambda: self._commit(jobs))
        except GateError as error:
            reply = error_reply(error)
        except Exception:
            log.exception("a group of writes failed")
        finally:
            self._running = []
            for job in jobs:
                if not job.answered:  # not committed for certain
                    job.replies = [reply] * len(job.writes)
            self._tell([job for job in jobs if job.flush is None or not job.given_up])

    # On the writer's thread

    def _commit(self, jobs: list[_Job]) -> None:
        """Give each job its replies; those without are told what this raises."""
        taken = [job for job in jobs if self._begin(job)]
        short = nearly_full(self._engine.env, self._engine.path)
        try:
            self._attempt([(job, job.writes) for job in taken], short)
        except lmdb.Error as error:
            if self._engine.broken():
                raise
            log.warning("a group of %d writes failed (%s); each is tried alone", len(taken), error)
            for job in taken:
                self._one_by_one(job, short)

    def _begin(self, job: _Job) -> bool:
        with self._turn:
            job.taken = not job.given_up
            return job.taken

    def _attempt(self, parts: Sequence[tuple[_Job, Sequence[Write | Block]]], short: str) -> None:
        """Commit writes of jobs together, and add their replies. Raises lmdb.Error: then none of them has any effect."""
        now = self._engine.now_ms()
        group = Group(self._engine.env)
        try:
            replies = [self._commands(group, writes, now, short) for _, writes in parts]
            group.commit()
        finally:
            group.abort()
        for (job, _), own in zip(parts, replies, strict=True):
            job.replies += own
            job.answered = True
        self.groups += 1
        self.commands += sum(map(len, replies))

    def _one_by_one(self, job: _Job, short: str) -> None:
        for number, write in enumerate(job.writes):
            try:
                self._attempt([(job, [write])], short)
            except lmdb.Error as error:
                if self._engine.broken():
                    job.answered = False  # some of its commands are done, the rest never will be
                    raise
                job.replies.append(error_reply(self._engine.told(error)))
                job.answered = True
            if len(job.replies) <= number:  # it would read for too long here
                return

    def _commands(self, group: Group, writes: Sequence[Write | Block], now: int, short: str) -> list[Reply]:
        """Replies up to the first command that would read for too long."""
        replies: list[Reply] = []
        for write in writes:
            try:
                replies.append(self._command(group, write, now, short, MOST_SHORT))
            except TooLong:
                break
        return replies

    def _command(self, group: Group, write: Write | Block, now: int, short: str, most: int) -> Reply:
        if isinstance(write, Block):
            if revisions(group.command(), write.watched, now) != list(write.watched.values()):
                return NULL_ARRAY
            return [self._command(group, each, now, short, 0) for each in write.writes]  # atomic, however long
        if short and write.grows:
            return error_reply(GateError(f"ERR store refuses to grow: {short}"))
        txn = group.command()
        tx = Transaction(txn, now, most if write.reads else 0, self._longest)
        reply = run_handler(write.handler, tx, write.args)
        if not isinstance(reply, Error):
            group.take(txn)
        return reply
