"""Commands that have to wait before they are looked at: CLIENT PAUSE, and the hold while a reload moves their keys."""

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import trio

from kvgate.commands.spec import CommandSpec
from kvgate.lane.client import Client
from kvgate.policy.blocks import may_write
from kvgate.server.switching import Hold, Moving

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.gate")

PORTION: Final = 64
"""Commands that were held back and that are looked at in a row, before the lane has its turn."""
_DURING_PAUSE: Final = frozenset(
    {"CLIENT|UNPAUSE", "CLIENT|PAUSE", "CLIENT|KILL", "CLIENT|LIST", "QUIT", "RESET", "AUTH", "HELLO",
     "GATE|BLOCK", "GATE|UNBLOCK", "GATE|BLOCKED"}
)
"""What a paused gate still answers: the ways out of the pause."""


@attrs.frozen(slots=True, eq=False)
class _Held:
    client: Client
    args: list[bytes]
    frame: bytes
    quiet: bool = attrs.field(kw_only=True)
    """Whether its reply is wanted."""


class Pauses:
    """What holds commands back at present, and the commands that wait for its end."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Hold nothing back."""
        self._gate = gate
        self._held: deque[_Held] = deque()
        self._writes_only = False
        self.until = 0.0
        """The end of the pause on the lane's clock; 0 while there is none."""
        self.hold: Hold | None = None
        """While a reload moves keys."""

    @property
    def possible(self) -> bool:
        """Whether any command may have to wait now."""
        return bool(self.until or self.hold)

    # ------------------------------------------------------------------ what begins and ends

    def pause(self, until: float, *, writes_only: bool) -> None:
        """CLIENT PAUSE; a longer pause in force is not shortened, as in Redis."""
        self._writes_only = writes_only if not self.until else self._writes_only and writes_only
        self.until = max(self.until, until)
        self._refit()
        self._gate.tasks.spawn(self._end)

    async def _end(self) -> None:
        until = self.until
        await trio.sleep(max(0.0, until - time.monotonic()))
        if self.until == until:  # else it was lifted, or made longer by a later CLIENT PAUSE with its own task
            self.unpause()
            self._gate.driver.kick()

    def unpause(self) -> None:
        """CLIENT UNPAUSE."""
        self.until = 0.0
        self._refit()
        self._go_on()

    def begin_hold(self, moving: Moving) -> Hold:
        """Let new commands on what moves wait until `end_hold`; the lane forgets how it would take them by itself."""
        self._gate.places.unlearn(moving.key)
        self.hold = Hold(self._gate, moving)
        return self.hold

    def end_hold(self) -> None:
        """Let commands go on, on whatever way is theirs now."""
        self.hold = None
        self._go_on()

    def _refit(self) -> None:
        """During a pause the lane takes nothing by itself."""
        for client in self._gate.driver.clients.values():
            self._gate.refit(client)

    # ------------------------------------------------------------------ one command

    def hold_back(self, session: "Session", spec: CommandSpec, args: list[bytes]) -> bool:
        """Whether the command has to wait."""
        if self.hold is not None and self.hold.stops(session, spec, args):
            return True
        if not self.until:
            return False
        return (not self._writes_only or writes(session, spec)) and spec.name not in _DURING_PAUSE

    def later(self, client: Client, args: list[bytes], frame: bytes) -> None:
        """Look at the client's present command again when it need not wait any more."""
        session: Session = client.session
        held = _Held(client, args, frame, quiet=session.quiet)
        session.paused = True

        def start() -> None:
            self._held.append(held)
            if not self.possible:  # over while the client's earlier commands were awaited
                self._go_on()

        self._gate.lane.alone(client, start)

    def _go_on(self) -> None:
        if self._held:
            self._gate.tasks.spawn(self._look_again)

    async def _look_again(self) -> None:
        """Look at what was held back, a portion at a time; what has to wait again stays."""
        for _ in range(-(-len(self._held) // PORTION)):
            for _ in range(min(PORTION, len(self._held))):
                held = self._held.popleft()
                try:
                    self._again(held)
                except Exception as error:
                    log.exception("command_failed", extra={"error": repr(error), "do": "report this"})
                    self._gate.driver.close_client(held.client)
            self._gate.driver.kick()
            await trio.lowlevel.checkpoint()

    def _again(self, held: _Held) -> None:
        gate, client, session = self._gate, held.client, held.client.session
        if client.closed:
            return
        session.paused = False
        client.busy = False
        session.quiet = held.quiet
        gate.look(client, held.args, held.frame, time.monotonic())
        if client.batch:
            gate.run_batch(client)
        if not client.busy:
            gate.lane.done(client)


def writes(session: "Session", spec: CommandSpec) -> bool:
    """Whether CLIENT PAUSE WRITE holds it back: writes, and what may write or reach replicas, as in Redis."""
    if spec.name == "EXEC":
        return session.multi is not None and any(may_write(queued.spec) for queued in session.multi.commands)
    return may_write(spec)
