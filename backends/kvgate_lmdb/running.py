"""How commands of groups of writes are run: one on a group, wherever that stands, and many straight on LMDB, on the writer's
thread."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import attrs
import lmdb

from kvgate.errors import GateError
from kvgate.model.kv import KvTxn, TooLong, run_now
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import NULL_ARRAY, Error, Reply
from kvgate_lmdb.engine import Group, GroupTxn, LmdbEngine
from kvgate_lmdb.jobs import Block, Job, Write

log = logging.getLogger("kvgate.lmdb")

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


class Gathering(Protocol):
    """Where commands write together: `Group`, or kvgate_lmdb.ahead.Ahead."""

    def command(self) -> GroupTxn:
        """As `Group.command`."""

    def take(self, command: GroupTxn) -> None:
        """As `Group.take`."""

    def drop(self, command: GroupTxn) -> None:
        """As `Group.drop`."""


@attrs.frozen(slots=True)
class Limits:
    """What holds for all commands of a group."""

    now: int
    """Unix time in ms."""
    short: str
    """Why no write may grow the store; empty when it may."""
    longest: int
    """Bytes that a string may grow to."""


def run_write(group: Gathering, write: Write | Block, limits: Limits, most: int = MOST_SHORT) -> Reply:
    """Run a command, or a MULTI; its writes are the group's unless its reply is an error. A read looks at `most` records.

    Raises:
        TooLong: it would look at more.
    """
    if isinstance(write, Block):
        try:
            if revisions(group.command(), write.watched, limits.now) != list(write.watched.values()):
                return NULL_ARRAY
        except GateError as error:
            return error_reply(error)
        return [run_write(group, each, limits, 0) for each in write.writes]  # atomic, however long
    if limits.short and write.grows:
        return error_reply(GateError(f"ERR store refuses to grow: {limits.short}"))
    txn = group.command()
    tx = Transaction(txn, limits.now, most if write.reads else 0, limits.longest)
    try:
        reply = run_handler(write.handler, tx, write.args)
    except TooLong:
        group.drop(txn)
        raise
    if isinstance(reply, Error):
        group.drop(txn)
    else:
        group.take(txn)
    return reply


class OnLmdb:
    """Runs jobs in transactions of LMDB; what it does is around `LmdbEngine.write`."""

    def __init__(self, engine: LmdbEngine, longest: int, count: Callable[[int], None]) -> None:
        """Run on `engine`; `longest`: see `Limits`; `count` is told how many commands each commit had."""
        self._engine = engine
        self._longest = longest
        self._count = count

    def together(self, jobs: Sequence[Job], short: str) -> None:
        """Run jobs in one commit of LMDB; each alone when it fails."""
        for job in jobs:
            job.replies = []
        try:
            self._attempt([(job, job.writes) for job in jobs], short)
        except lmdb.Error as error:
            if self._engine.broken(self._engine.env):
                raise
            log.warning("a group of %d writes failed (%s); each is tried alone", len(jobs), error)
            self.each_alone(jobs, short)

    def each_alone(self, jobs: Sequence[Job], short: str) -> None:
        """Run each command in a commit of its own; what fails is told its client."""
        for job in jobs:
            job.replies = []
            self._one_by_one(job, short)

    def _attempt(self, parts: Sequence[tuple[Job, Sequence[Write | Block]]], short: str) -> None:
        """Commit writes of jobs together, and add their replies. Raises lmdb.Error: then none of them has any effect."""
        limits = Limits(self._engine.now_ms(), short, self._longest)
        group = Group(self._engine.env)
        try:
            replies = [_run_all(group, writes, limits) for _, writes in parts]
            group.commit()
        finally:
            group.abort()
        for (job, _), own in zip(parts, replies, strict=True):
            job.replies += own
            job.answered = True
        self._count(sum(map(len, replies)))

    def _one_by_one(self, job: Job, short: str) -> None:
        for number, write in enumerate(job.writes):
            try:
                self._attempt([(job, [write])], short)
            except lmdb.Error as error:
                if self._engine.broken(self._engine.env):
                    job.answered = False  # some of its commands are done, the rest never will be
                    raise
                job.replies.append(error_reply(self._engine.told(error)))
                job.answered = True
            if len(job.replies) <= number:  # it would read for too long here
                return


def _run_all(group: Group, writes: Sequence[Write | Block], limits: Limits) -> list[Reply]:
    """Replies up to the first command that would read for too long."""
    replies: list[Reply] = []
    for write in writes:
        try:
            replies.append(run_write(group, write, limits))
        except TooLong:
            break
    return replies
