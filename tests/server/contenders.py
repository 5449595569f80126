"""Users of one lock who compete for it through several gates, and what their notes prove about who held it when."""

import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs
import hiredis

from tests.support.resp import Closed, Resp
from tests.support.servers import Gate, wait_for

CLOCK_STEP: Final = 0.002
"""Seconds: servers cut times to whole milliseconds, when a lock is given and when it is looked at."""


@attrs.define
class Hold:
    """One time that somebody had the lock. Times on the monotonic clock of this machine."""

    token: str
    fence: int
    asked: float
    """When LOCK was sent; the reply came at `told`."""
    told: float
    until: float
    """Nobody else may have had it before, as far as its expiry goes."""
    unlock_asked: float = 0.0
    """When UNLOCK was sent; 0: never."""
    unlocked: int | None = None
    """Its reply; None: there was none."""

    @property
    def end(self) -> float:
        """The lock was surely its own up to here."""
        if self.unlock_asked and self.unlocked is None:
            return min(self.until, self.unlock_asked)  # it may have been carried out
        return self.unlock_asked if self.unlocked == 1 else self.until


@attrs.define
class Contenders:
    """Threads that take one lock again and again: some give it back, some forget it, some extend it, some come too late."""

    gates: Sequence[Gate]
    name: str
    milliseconds: int
    count: int = 6
    holds: list[Hold] = attrs.field(factory=list)
    refused: int = 0
    failures: list[str] = attrs.field(factory=list)
    _ending: bool = False
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        """Begin."""
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the last replies."""
        self._ending = True
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)

    def go_on(self, holds: int) -> None:
        """Wait until the lock was held so many times more."""
        wanted = len(self.holds) + holds
        wait_for(lambda: len(self.holds) >= wanted or self.failures, f"{holds} holders", 60)
        assert not self.failures, self.failures

    def _run(self, number: int) -> None:
        dice, turn = random.Random(number), 0
        while not self._ending:
            try:
                with dice.choice(self.gates).client() as client:
                    while not self._ending:
                        turn += 1
                        self._once(client, f"{number}-{turn}", dice)
            except (OSError, Closed):  # its gate was killed, or does not run yet
                continue
            except Exception as error:
                self.failures.append(repr(error))
                raise

    def _once(self, client: Resp, token: str, dice: random.Random) -> None:
        asked = time.monotonic()
        reply = _ask(client, "GATE", "LOCK", self.name, token, "PX", self.milliseconds)
        if reply is None:
            self.refused += 1
            return
        assert reply[0] == token.encode()
        told = time.monotonic()
        hold = Hold(token, reply[1], asked, told, asked + self.milliseconds / 1000)
        self.holds.append(hold)
        what = dice.randrange(4)
        if what == 0:
            return  # it dies with its lock
        if what == 1:
            asked = time.monotonic()
            if _ask(client, "GATE", "EXTEND", self.name, token, "PX", self.milliseconds) == 1:
                hold.until = asked + self.milliseconds / 1000
        if what == 2:  # it is too late
            wait_for(lambda: self.holds[-1] is not hold or self._ending, "the next holder", 30)
        hold.unlock_asked = time.monotonic()
        hold.unlocked = _ask(client, "GATE", "UNLOCK", self.name, token)


def _ask(client: Resp, *words: str | int) -> Any:
    """The reply; again as long as it was not executed. Raises Closed when that is unknown, as if the gate were gone."""
    while True:
        reply = client.ask(*words)
        if not isinstance(reply, hiredis.ReplyError):
            return reply
        if not str(reply).startswith(("TRYAGAIN", "INDOUBT")):
            raise reply
        if str(reply).startswith("INDOUBT"):
            raise Closed(b"")


def prove(holds: Sequence[Hold]) -> None:
    """By the order of their fences no two had the lock at once, and no UNLOCK took the lock of another."""
    assert len({hold.fence for hold in holds}) == len(holds), "a fence was given twice"
    free, began = 0.0, 0.0
    for hold in sorted(holds, key=lambda each: each.fence):
        assert hold.told > began, f"{hold} has a later fence than somebody who came later"
        assert hold.told > free - CLOCK_STEP, f"{hold} had the lock while it was another's until {free}"
        began, free = max(began, hold.asked), max(free, hold.end)
