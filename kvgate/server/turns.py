"""Commands that wait for their turn, since a rate was used up: the lines, and the task that gives them their turns.

A command that meets several limits pays one after the other, and stands in the line of the one that it cannot pay; so what it
has paid is not lost while it waits for the rest. A connection whose turn it is brings on a share of what it sent behind that
command; the shares of all who wait come to one batch, so that the line goes on quickly.
"""

import heapq
import logging
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Final

import attrs
import trio

from kvgate.commands.table import resolve
from kvgate.errors import throttled
from kvgate.lane.client import Client
from kvgate.policy.prepaid import Limit, Prepaid

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.gate")

STEP: Final = 0.004
"""Seconds between two looks at a line: tokens gather meanwhile, so that a look is worth its cost."""
TURN: Final = 0.001
"""Seconds that commands are given turns in a row, before the lane has its own."""
PORTION: Final = 16
"""Commands that are looked at anew in a row."""

Charges = list[tuple[Limit, float]]
"""What a command costs: limit and amount."""


@attrs.define(slots=True, eq=False)
class Waiter:
    """A command that waits for its turn."""

    client: Client
    args: list[bytes]
    said: tuple[list[bytes], bytes]
    """Its arguments and bytes as the client sent them: without the prefix of a home namespace."""
    quiet: bool
    """Whether no reply is wanted."""
    charges: Charges
    prepaid: Prepaid | None
    """What the lane pays from for commands like this one."""
    namespace: str
    began: float
    deadline: float
    paid: int = 0
    """How many of the charges are paid; it stands in the line of the next one."""
    over: bool = False
    """It had its turn, or will have none."""


class Turns:
    """All commands of this process that wait."""

    def __init__(self, gate: "Dispatcher", short: Callable[[Charges, float], None]) -> None:
        """`short` is told of charges that could not be paid, and the time."""
        self._gate = gate
        self._short = short
        self._calendar: list[tuple[float, int, Limit | Waiter]] = []  # when a line, or a command's time, is to be looked at
        self._numbers = count()
        self._again: list[Waiter] = []  # to be looked at anew, after a reload
        self._running = False
        self._earlier = trio.Event()
        self.waiting = 0
        """How many they are."""

    def stand_in_line(self, waiter: Waiter, now: float) -> bool:
        """Let the client's present command wait for its turn, and its client with it; False when it is its turn."""
        if self._advance(waiter, now):
            return False
        client, session = waiter.client, waiter.client.session
        session.turn, session.paused, client.busy = waiter, True, True
        self.waiting += 1
        heapq.heappush(self._calendar, (waiter.deadline, next(self._numbers), waiter))
        self._run()
        return True

    def _advance(self, waiter: Waiter, now: float) -> bool:
        """Pay as many of the charges as can be paid, and stand in the line of the next one; whether all are paid."""
        while waiter.paid < len(waiter.charges):
            limit, amount = waiter.charges[waiter.paid]
            if limit.queued > 0 or limit.wait(amount, now) > 0:
                limit.waiting.append(waiter)
                limit.queued += limit.need(amount)
                self._look_at(limit, now)
                self._short([(limit, amount)], now)
                return False
            limit.bucket.take(amount)
            waiter.paid += 1
        return True

    def _look_at(self, limit: Limit, now: float, step: float = STEP) -> None:
        """Have the line looked at when its first command may be paid, not before `step` seconds."""
        while limit.waiting and limit.waiting[0].over:
            limit.waiting.popleft()
        if not limit.waiting:
            return
        first: Waiter = limit.waiting[0]
        at = now + max(step, limit.bucket.wait(first.charges[first.paid][1], now))
        if limit.wake and limit.wake <= at:
            return
        limit.wake = at
        heapq.heappush(self._calendar, (at, next(self._numbers), limit))
        self._earlier.set()

    def look_at(self, limits: Iterable[Limit]) -> None:
        """Have these limits' lines looked at now: there is another amount than was thought."""
        now = time.monotonic()
        for limit in limits:
            if limit.waiting:
                limit.wake = now
                heapq.heappush(self._calendar, (now, next(self._numbers), limit))
        self._earlier.set()
        self._run()

    def begin_anew(self, limits: Iterable[Limit]) -> None:
        """What waits for these limits is looked at anew, with the age that it has: there are other limits now."""
        waiting = {each for limit in limits for each in limit.waiting if not each.over}
        for each in waiting:
            self._give_up(each)
        self._again += sorted(waiting, key=lambda each: each.began)
        self._run()

    def _give_up(self, waiter: Waiter) -> None:
        """Take it out of its line, and give back what it has paid."""
        waiter.over = True
        self.waiting -= 1
        waiter.client.session.turn = None
        for limit, amount in waiter.charges[: waiter.paid]:
            limit.bucket.put(amount)
        if waiter.paid < len(waiter.charges):
            limit, amount = waiter.charges[waiter.paid]
            limit.leave_line(amount)

    def left(self, session: "Session") -> None:
        """The client has gone: its command is not run."""
        if session.turn is not None:
            self._give_up(session.turn)

    # ------------------------------------------------------------------ whose turn it is

    def _run(self) -> None:
        if not self._running and (self._calendar or self._again):
            self._running = True
            self._gate.tasks.spawn(self._keep_time)
        self._earlier.set()

    async def _keep_time(self) -> None:
        """Give commands their turns, for as long as some wait."""
        try:
            while self._again or (self._calendar and self.waiting):
                self._earlier = trio.Event()
                self._again_some()
                self._serve_some()
                self._gate.driver.kick()
                until = 0.0 if self._again or not self._calendar else self._calendar[0][0] - time.monotonic()
                if until > 0:
                    with trio.move_on_after(until):
                        await self._earlier.wait()
                await trio.lowlevel.checkpoint()
        finally:
            self._running = False
            for _, _, due in self._calendar:  # of commands that have gone
                if isinstance(due, Limit):
                    due.wake = 0.0
            self._calendar.clear()

    def _serve_some(self) -> None:
        """What the calendar has for now, as far as there is time."""
        now = time.monotonic()
        until = now + TURN
        while self._calendar and self._calendar[0][0] <= now < until:
            at, _, due = heapq.heappop(self._calendar)
            try:
                if isinstance(due, Waiter):
                    if not due.over:
                        self._refuse(due, now)
                elif due.wake == at:
                    due.wake = 0.0
                    self._serve(due, until)
            except Exception as error:  # the others' turns come all the same
                log.exception("turn_failed", extra={"error": repr(error), "do": "report this"})
            now = time.monotonic()

    def _serve(self, limit: Limit, until: float) -> None:
        """Let the first in line go, as many as can be paid before `until`."""
        while (now := time.monotonic()) < until:
            while limit.waiting and limit.waiting[0].over:
                limit.waiting.popleft()
            if not limit.waiting:
                limit.queued = 0.0
                return
            first: Waiter = limit.waiting[0]
            amount = first.charges[first.paid][1]
            if limit.bucket.wait(amount, now) > 0:
                self._short([(limit, amount)], now)
                self._look_at(limit, now)
                return
            limit.waiting.popleft()
            limit.leave_line(amount)
            limit.bucket.take(amount)
            first.paid += 1
            if self._advance(first, now):
                self._go(first, now)
        self._look_at(limit, now, 0.0)

    def _go(self, waiter: Waiter, now: float) -> None:
        """Its turn has come: let it go on, and with it a share of what its client sent behind it."""
        client, session = waiter.client, waiter.client.session
        waiter.over = True
        self.waiting -= 1
        self._gate.ledger.had_to_wait(waiter.namespace, now - waiter.began)
        session.paid = True
        if not self._look_again(waiter, now):
            return
        prepaid = waiter.prepaid
        if prepaid is None or not client.backlog or client.stalled:
            return
        lines = [limit.waiting for limit in (*prepaid.operations, *prepaid.sizes)]
        prepaid.fill(now, len(waiter.said[1]), 1 / (1 + max(map(len, lines))))
        try:
            self._gate.lane.go_on(client, now)
        except Exception as error:  # noqa: BLE001 - it is logged; one client must not end the others' turns
            self._failed(client, error)
        if any(lines):
            prepaid.settle()  # the others are before whoever comes now

    def _look_again(self, waiter: Waiter, now: float) -> bool:
        """Let the gates look at it anew; whether its client may go on."""
        gate, client, session = self._gate, waiter.client, waiter.client.session
        session.turn, session.paused, client.busy = None, False, False
        session.quiet = waiter.quiet
        try:
            gate.look(client, *waiter.said, now)
            if client.batch:
                gate.run_batch(client)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(client, error)
            return False
        finally:
            session.paid = False
        if client.closed or client.busy:
            return False
        gate.lane.done(client)
        return True

    def _refuse(self, waiter: Waiter, now: float) -> None:
        """Its time is over before its turn came."""
        gate, client, session = self._gate, waiter.client, waiter.client.session
        rest = waiter.charges[waiter.paid :]
        self._give_up(waiter)
        wait = max((limit.wait(amount, now) for limit, amount in rest), default=0.0)
        session.paused, client.busy, session.quiet = False, False, waiter.quiet
        gate.refuse(client, resolve(waiter.args), waiter.args, throttled(milliseconds(wait), waiter.namespace))
        gate.lane.done(client)

    def _again_some(self) -> None:
        """After a reload: what waited is judged by the present configuration."""
        now = time.monotonic()
        some, self._again = self._again[:PORTION], self._again[PORTION:]
        for waiter in some:
            if not waiter.client.closed:
                self._look_again(waiter, now)

    def _failed(self, client: Client, error: Exception) -> None:
        log.error("command_failed", exc_info=error, extra={"error": repr(error), "do": "report this"})
        self._gate.driver.close_client(client)


def milliseconds(seconds: float) -> int:
    """As a refusal says them, rounded up: who comes back then should find it there."""
    return int(seconds * 1000) + 1
