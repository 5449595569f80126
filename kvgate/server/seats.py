"""How many clients are a user's, or have used a namespace: ``max_connections``, over all workers.

Each worker counts its own, tells the others of every change, and adds what they told it. A client whose uses are counted has
compiled routes of its own, so that its first command in each namespace comes to the dispatcher; later ones cost nothing.
"""

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, too_many_connections
from kvgate.policy.users import User
from kvgate.server.session import Owner, Session

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

GATHER: Final = 0.05
"""Seconds for which changes are gathered before they are told."""
REPEAT: Final = 3.0
"""Seconds after which a worker tells its counts again, for those that started meanwhile."""
FORGET: Final = 10.0
"""Seconds without a word after which a worker's counts are forgotten: it died."""
_USER, _NAMESPACE = "user", "namespace"


class Seats:
    """Who counts where."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Nobody is counted yet."""
        self._gate = gate
        self._own: Counter[str] = Counter()
        self._others: dict[int, tuple[float, dict[str, int]]] = {}
        self._changed: trio.Event | None = None  # while a task tells the others

    def taken(self, seat: str) -> int:
        """How many clients count there, in all workers."""
        oldest = time.monotonic() - FORGET
        return self._own[seat] + sum(counts.get(seat, 0) for at, counts in self._others.values() if at > oldest)

    def admit(self, session: Session, user: User | None) -> None:
        """Let a client be `user` from now on: it gives back all that it had.

        Raises:
            GateError: the user has as many clients as it may; the client keeps what it had.
        """
        seat = _seat(user)
        if seat and user is not None and user.max_connections is not None and seat not in session.seats:
            self._check(seat, user.max_connections)
        self._give_back(session, but=seat)
        if seat:
            self._take(session, seat)
        self.watch(session, user)

    def keep(self, session: Session, user: User | None) -> None:
        """After a reload: nobody has to go, but who is there counts, whatever it was before."""
        seat = _seat(user)
        if seat:
            self._take(session, seat)
        self.watch(session, user)

    def watch(self, session: Session, user: User | None) -> None:
        """See to it that the client's uses of namespaces are counted where any of them is limited."""
        counted = user is not None and any(user.sees_some(rule) for rule in self._gate.places.seated)
        session.owner = Owner(user.name) if user is not None and counted else None

    def use(self, session: Session, user: User, spec: CommandSpec, args: list[bytes]) -> None:
        """Count the client in the namespaces of a command's keys.

        Raises:
            GateError: one has as many clients as it may.
        """
        try:
            indices = key_indices(spec, args)
        except GateError:
            return  # it is answered so where its keys are looked for
        for index in indices:
            namespace = self._gate.places.namespaces.of(args[index])
            if namespace is None or namespace.limits is None or namespace.limits.max_connections is None:
                continue
            seat = f"{_NAMESPACE} '{namespace.rule}'"
            if seat not in session.seats and user.sees(namespace):
                self._check(seat, namespace.limits.max_connections)
                self._take(session, seat)

    def left(self, session: Session) -> None:
        """The client's connection has ended."""
        self._give_back(session)

    def hear(self, worker: int, counts: dict[str, int]) -> None:
        """What another worker counts."""
        if counts:
            self._others[worker] = time.monotonic(), counts
        else:
            self._others.pop(worker, None)

    def _check(self, seat: str, most: int) -> None:
        if self.taken(seat) >= most:
            raise too_many_connections(most, seat)

    def _take(self, session: Session, seat: str) -> None:
        if seat not in session.seats:
            session.seats.add(seat)
            self._own[seat] += 1
            self._tell()

    def _give_back(self, session: Session, but: str = "") -> None:
        for seat in [seat for seat in session.seats if seat != but]:
            session.seats.discard(seat)
            self._own[seat] -= 1
            if not self._own[seat]:
                del self._own[seat]
            self._tell()

    def _tell(self) -> None:
        if self._gate.fleet is None:
            return
        if self._changed is None:
            self._changed = trio.Event()
            self._gate.tasks.spawn(self._keep_telling)
        self._changed.set()

    async def _keep_telling(self) -> None:
        """Tell the others of changes, and again at intervals, as long as anybody is counted here."""
        told: dict[str, int] = {}
        while self._own or told:
            event = self._changed
            if event is not None:
                with trio.move_on_after(REPEAT):
                    await event.wait()
            await trio.sleep(GATHER)
            self._changed = trio.Event()
            told = dict(self._own)
            if self._gate.fleet is not None:
                await self._gate.fleet.others("seats", os.getpid(), told)
        self._changed = None


def _seat(user: User | None) -> str:
    """Where a user's clients count; empty when they do not."""
    return "" if user is None or user.max_connections is None else f"{_USER} '{user.name}'"
