"""What a command that the gate answers itself may know and do: the `Site`, and the form of such a command."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from kvgate.backend import Backend
from kvgate.lane.client import Client
from kvgate.lane.driver import Driver
from kvgate.lane.machine import Lane
from kvgate.metrics.ledger import Ledger
from kvgate.metrics.spikes import Spikes
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.server.audit import Audit
from kvgate.server.hotkeys import HotKeys
from kvgate.server.places import Places
from kvgate.server.slowlog import SlowLog
from kvgate.server.tasks import Tasks
from kvgate.server.traces import Tracer
from kvgate.wire.reply import Raw, Reply

LANE_TURN: Final = "lane-turn"
"""The event of LATENCY that a turn of the lane took long."""

Answer = Callable[["Site", Client, list[bytes], float], Reply | Raw | None]
"""A command of the gate's own: ``answer(site, client, args, now)`` gives its reply, encoded already (`Raw`) or not; None
when it has replied by itself or must not reply (CLIENT REPLY OFF). It raises GateError for an error reply. `now` is the
lane's clock (`time.monotonic`). ``client.session`` is the kvgate.server.session.Session. It never waits."""


Collect = Callable[["Site", User, list[bytes], float], Any]
"""One process' part of what a command tells of all processes: ``collect(site, user, args, now)`` gives JSON."""


class Site(Protocol):
    """The gate as its own commands see it; kvgate.server.dispatch.Dispatcher is one."""

    configuration: Configuration
    backends: Mapping[str, Backend]
    lane: Lane
    driver: Driver
    """``driver.clients`` maps client ids to clients; ``driver.close_client(client)`` ends one at once."""
    started: float
    """Seconds since the epoch when the gate began to serve."""
    loaded: float
    """Likewise, when the present configuration was taken into service."""
    reload_error: str
    """Why the last reload was refused; empty when it was not."""
    audit: Audit
    """What is written to the audit log."""
    tracer: Tracer | None
    """Follows commands for traces, where the configuration says so."""
    tasks: Tasks
    """What runs beside the lane."""
    run_id: str
    """40 hex digits, new at each start."""
    connections: int
    """Accepted since the start, for INFO."""
    commands: int
    """Since the start, for INFO: those that ``lane.commands`` does not count, being forwarded by nobody as they are."""

    places: Places
    number: int
    """Of this process among the gate's workers, from 0."""
    ledger: Ledger
    """What every command came to, in this process."""
    hotkeys: HotKeys
    slowlog: SlowLog
    spikes: Spikes
    parts: Sequence[Any] | None
    """What all processes have collected for the present command, this one first; None: there is no other one to ask."""

    @property
    def paused_until(self) -> float:
        """On the lane's clock; 0 when CLIENT PAUSE is not in force."""

    def become(self, client: Client, user: User | None, *, proto: int | None = None) -> None:
        """Give the client a user (after AUTH; None: it has to authenticate again) and, when said, another protocol.

        Raises:
            GateError: the user lacks the client's present database; the client stays who it was.
        """

    def select(self, client: Client, number: int) -> None:
        """SELECT: another of the user's databases.

        Raises:
            GateError: the user has no such database.
        """

    def reset(self, client: Client) -> None:
        """RESET: drop MULTI, WATCH, subscriptions, MONITOR, the name, the reply mode; RESP2; the initial user."""

    def reply_mode(self, client: Client, mode: str) -> None:
        """CLIENT REPLY ``ON``, ``OFF`` or ``SKIP``."""

    def hang_up(self, client: Client) -> None:
        """Close the client once all its replies, this command's too, are flushed (QUIT)."""

    def kill(self, client: Client) -> None:
        """CLIENT KILL of another client: at once, whatever it is doing; of the caller itself: after the reply."""

    def pause(self, until: float, *, writes_only: bool) -> None:
        """CLIENT PAUSE until a time on the lane's clock: clients' commands (or writes only) wait."""

    def unpause(self) -> None:
        """CLIENT UNPAUSE."""

    def unblock(self, client: Client, how: str) -> bool:
        """CLIENT UNBLOCK: end a blocked command with ``TIMEOUT`` (nil) or ``ERROR``; whether it was blocked."""
