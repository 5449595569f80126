"""What one client's commands that were handed to a store wait for: their replies, or their deadline."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

import trio

from kvgate.wire.reply import Raw, Reply

R = TypeVar("R", bound=Raw | Reply)

LOOK: Final = 0.05
"""Seconds between looks for jobs whose time is over, while there are any."""

Done = Callable[[Sequence[Raw | Reply]], None]
"""Gets the replies, once."""


class Job(Generic[R]):
    """Commands of one client, in order. Somebody waits in `wait`, or `done` and `flush` are called (see `Queueing`)."""

    __slots__ = ("_event", "answered", "deadline", "done", "flush", "left", "replies")

    def __init__(self, deadline: float, done: Done | None = None, flush: Callable[[], None] | None = None) -> None:
        """`deadline` is on trio's clock."""
        self.deadline = deadline
        self.done = done
        self.flush = flush
        self.replies: Sequence[R] = ()
        self.answered = False
        self.left = False
        """Its client has been told something, or is gone: it must not be run (again)."""
        self._event: trio.Event | None = None

    def end(self, replies: Sequence[R]) -> None:
        """Answer, unless it is too late."""
        if self.answered:
            return
        self.replies, self.answered = replies, True
        if self._event is not None:
            self._event.set()
        if self.done is not None:
            self.done(replies)

    async def wait(self) -> bool:
        """Until it is answered, or its deadline: then, and when this is cancelled, it has `left`. Whether it was answered."""
        try:
            with trio.move_on_at(self.deadline):
                if not self.answered:
                    self._event = trio.Event()
                    await self._event.wait()
        finally:
            self.left = True
        return self.answered


def flush(jobs: Iterable[Job[R]]) -> None:
    """Have the replies of all answered jobs sent, once for all that are sent together."""
    wanted = set()
    for job in jobs:
        if job.flush is not None and job.answered:
            wanted.add(job.flush)
            job.flush = None
    for each in wanted:
        each()


class Waiting(Generic[R]):
    """Jobs that nobody waits for, and who answers them when their time is over."""

    def __init__(self, late: Callable[[Job[R]], Sequence[R]]) -> None:
        """`late` says what such a job is answered."""
        self._late = late
        self._jobs: list[Job[R]] = []
        self._wake = trio.Event()

    def add(self, job: Job[R]) -> None:
        """Look after it until it is answered."""
        self._jobs.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Look at intervals until cancelled."""
        while True:
            await self._wake.wait()
            await trio.sleep(LOOK)
            self.end(trio.current_time())
            if not self._jobs:
                self._wake = trio.Event()

    def end(self, now: float = math.inf) -> None:
        """Answer those whose deadline is `now` or before; by default all."""
        over = [job for job in self._jobs if job.deadline <= now and not job.answered]
        self._jobs = [job for job in self._jobs if job.deadline > now and not job.answered]
        for job in over:
            job.left = True
            job.end(self._late(job))
        flush(over)
