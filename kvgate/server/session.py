"""What the gate knows of one client beyond its bytes: who it is, how it talks, and what it is in the middle of."""

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    import trio

    from kvgate.backend import Backend, Command, Rewritten
    from kvgate.commands.home import Home
    from kvgate.commands.spec import CommandSpec
    from kvgate.errors import GateError
    from kvgate.lane.slots import Pending
    from kvgate.metrics.ledger import Account
    from kvgate.policy.users import User
    from kvgate.server.audit import Record
    from kvgate.server.places import Place, Places
    from kvgate.server.subscriptions import Subscriptions
    from kvgate.server.turns import Waiter
    from kvgate.server.watch import Watch


MOVED: Final = "MOVED"
"""In `Session.unblocked_by`: what the client waits for will not come where it waits."""
BLOCKED: Final = "BLOCKED"
"""In `Session.unblocked_by`: an operator has blocked what the client waits for."""
REVOKED: Final = "REVOKED"
"""Likewise: it may not have what it waits for any more."""


@attrs.frozen(slots=True)
class Answer:
    """Takes the reply to a part of a split command, where a `Pending` would take that to a whole one."""

    fill: "Callable[[bytes], None]"


@attrs.define(slots=True)
class Emulated:
    """One command that an adapter executes, and the place of its reply in the client's queue."""

    backend: "Backend"
    command: "Command"
    slot: "Pending | Answer"
    account: "Account"
    began: float
    """When it arrived, on the lane's clock."""
    cap: "tuple[int, bytes] | None" = None
    """The bytes that the reply may have, and the raw error in the place of a longer one."""

    def fill(self, raw: bytes, now: float) -> None:
        """Answer it, and count that."""
        if self.cap is not None and len(raw) > self.cap[0]:
            raw = self.cap[1]
        self.account.note_reply(raw, now - self.began, len(self.command.frame))
        self.slot.fill(raw)


@attrs.define(slots=True)
class Queued:
    """One command of an open MULTI, checked."""

    spec: "CommandSpec"
    args: list[bytes]
    frame: bytes
    keys: tuple[int, ...]
    """The indices of its keys in `args`."""
    rewritten: "Rewritten | None" = None
    """What the store is sent in its place; `frame` has its bytes already."""
    home: "Home | None" = None
    """Whose prefix is taken off the keys in its reply."""
    command: "Command | None" = None
    """As an adapter that runs blocks itself gets it."""
    silent: bool = False
    """Whether the gate put it there, so that the client gets no reply to it."""


@attrs.define(slots=True)
class Multi:
    """An open MULTI."""

    commands: list[Queued] = attrs.field(factory=list)
    size: int = 0
    """Bytes of all frames."""
    aborted: bool = False
    """A command was refused when it was to be queued: EXEC answers EXECABORT."""
    places: Any = None
    """The kvgate.server.places.Places that the commands were checked with; None while there are none."""
    cap: "tuple[int, bytes] | None" = None
    """What holds for EXEC's reply: the smallest limit of all namespaces involved."""
    target: Any = None
    """The kvgate.server.targets.Target that all keys lie on; None while no command had keys."""


class Owner:
    """Stands for a client that has compiled routes of its own, and shares those of its user with nobody."""

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        """`name` is its user's."""
        self.name = name


class Session:
    """State of one client; the lane keeps it and never looks inside. Names follow the fields of Redis' CLIENT LIST."""

    __slots__ = (
        "address",
        "admin",
        "asked",
        "batches",
        "batching",
        "blocked",
        "blocked_since",
        "certificate",
        "certified",
        "commands",
        "created",
        "database",
        "enqueued",
        "home",
        "host",
        "in_batch",
        "last_command",
        "lib_name",
        "lib_ver",
        "listener",
        "multi",
        "name",
        "no_evict",
        "owner",
        "paid",
        "paused",
        "places",
        "proto",
        "quiet",
        "record",
        "refusal",
        "running",
        "seats",
        "silent",
        "skip_next",
        "subscriptions",
        "turn",
        "unblocked_by",
        "user",
        "waits_for",
        "waits_on",
        "watch",
    )

    def __init__(self, address: str, host: str, listener: str, user: "User | None") -> None:
        """`address` is ``ip:port`` as CLIENT LIST shows it, `host` the ip alone (empty on a unix socket)."""
        self.address = address
        self.host = host
        self.listener = listener
        self.admin = False  # it came by the operators' listener
        self.user = user  # None: has to authenticate first
        self.certificate: frozenset[str] = frozenset()  # the names in its verified certificate
        self.certified = False  # the user is who the certificate says, not who AUTH said
        self.created = time.time()
        self.last_command = ""  # lower case, ``client|list``
        self.commands = 0
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.proto = 2
        self.database = 0
        self.home: Home | None = None  # the namespace that the database stands for; None: keys are whole already
        self.no_evict = False
        self.silent = False  # CLIENT REPLY OFF
        self.skip_next = False  # CLIENT REPLY SKIP
        self.batches: deque[Emulated] = deque()  # commands for adapters that wait for those before them
        self.enqueued = 0  # portions that an adapter has taken (kvgate.backend.Queueing) and not answered
        self.batching = False  # a task runs them
        self.quiet = False  # the command that is being looked at wants no reply
        self.multi: Multi | None = None
        self.watch: Watch | None = None
        self.subscriptions: Subscriptions | None = None
        self.running: trio.CancelScope | None = None  # of the command that runs alone
        self.blocked = False  # that command waits for others' doing (BLPOP, WAIT …): a client that leaves ends it
        self.blocked_since = 0.0
        self.in_batch: Backend | None = None  # where the commands are now that the task runs
        self.waits_on: Place | None = None  # where the command that runs alone has a connection for itself
        self.waits_for: tuple[CommandSpec, list[bytes]] | None = None  # that command, while it waits for others' doing
        self.asked = False  # a store knows of that command
        self.refusal: GateError | None = None  # why it was ended, when an operator has blocked it
        self.record: Record | None = None  # of the audit log, while its command is looked at or runs alone
        self.places: Places | None = None  # the routing that all of this belongs to
        self.unblocked_by = ""  # CLIENT UNBLOCK's word: TIMEOUT or ERROR; MOVED or BLOCKED
        self.seats: set[str] = set()  # where it is counted (kvgate.server.seats)
        self.owner: Owner | None = None  # None: its routes are those of its user
        self.turn: Waiter | None = None  # its command waits for its turn (kvgate.server.turns)
        self.paid = False  # the command that is looked at has waited, and its rates have been charged
        self.paused = False  # its command waits for the end of a pause or a reload, or for its turn

    @property
    def plain(self) -> bool:
        """Whether the lane may take this client's commands by itself."""
        return not (
            self.user is None
            or self.multi is not None
            or self.watch is not None
            or self.subscriptions is not None
            or self.silent
            or self.skip_next
            or self.admin
        )
