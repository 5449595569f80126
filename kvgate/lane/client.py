"""A client as the lane knows it: its queue of replies, its buffers, and the compiled policy it is served under."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvgate.lane.slots import Slot
from kvgate.wire.request import RequestScanner

if TYPE_CHECKING:
    from kvgate.policy.compiled import Route

NO_ROUTES: "dict[bytes, Route]" = {}
"""For clients whose every command needs thought (MULTI, WATCH, SUBSCRIBE, not yet authenticated): the lane takes none."""


class Client:
    """One connection of a client. `session` belongs to the gate above the lane; the lane never looks into it."""

    __slots__ = (
        "admitted",
        "arrived",
        "backlog",
        "backlog_since",
        "backlog_size",
        "batch",
        "busy",
        "closed",
        "closing",
        "cut",
        "depth",
        "eof",
        "held",
        "hung_up",
        "id",
        "inflight",
        "inflight_bytes",
        "last_fed",
        "line",
        "out",
        "out_size",
        "over_since",
        "prefix",
        "queue",
        "received",
        "resuming",
        "routes",
        "scanner",
        "sent",
        "session",
        "since",
        "streaming",
        "subscribed",
        "touched",
        "transport",
        "waiting",
        "withheld",
    )

    def __init__(self, ident: int, session: Any, transport: Any = None) -> None:
        """`ident` is the CLIENT ID; `transport` is the driver's, and only passed back to it."""
        self.id = ident
        self.session = session
        self.transport = transport
        self.queue: deque[Slot] = deque()
        self.scanner = RequestScanner()
        self.routes: dict[bytes, Route] = NO_ROUTES
        self.prefix = b""  # put before every key; then all commands take the route of the text before its ":"
        self.line = ident & 1  # which of the shared connections: 0, 1 in RESP2, 2, 3 in RESP3; a client stays on one
        self.out: list[bytes] = []  # for the driver to send
        self.out_size = 0  # bytes that the driver could not send yet; `out` is not in it
        self.over_since = 0.0  # when out_size went over the soft limit
        self.depth = 0  # commands that may be in flight, 0: any number; what comes beyond waits until all are answered
        self.inflight = 0  # commands forwarded and not answered
        self.inflight_bytes = 0
        self.held = 0  # bytes of replies that wait for earlier ones, and of pushes that wait for the end of a reply
        self.backlog: deque[bytes] = deque()  # received, not scanned: the client is busy, or waits to be
        self.backlog_since: deque[float] = deque()  # when the first byte of each portion came, on the lane's clock
        self.backlog_size = 0
        self.batch: list[Any] = []  # commands for an adapter that the gate collects while one portion is scanned
        self.received = 0  # bytes that came of it
        self.sent = 0  # bytes that were put on the way to it
        self.since = 0.0  # when it came, on the lane's clock
        self.arrived = 0.0  # when the bytes that are looked at now came, on the lane's clock
        self.last_fed = 0.0  # when bytes of it came last, on the lane's clock
        self.busy = False  # a command of its own path runs: nothing else of this client may start
        self.waiting: Callable[[], None] | None = None  # starts such a command once the queue is empty
        self.withheld: list[bytes] = []  # pushes that wait for the end of a streamed reply
        self.streaming = False  # the beginning of a large reply went out, its end has not come
        self.subscribed = False  # messages pile up for who does not read: its output limits are smaller
        self.admitted = True  # False: it came by the operators' listener, and nobody knows yet that it is one's
        self.touched = False  # already on the lane's list of whom to flush
        self.eof = False  # it will send no more; what came is finished and flushed, then it is closed
        self.hung_up = False  # what it still sends is not looked at (QUIT, a protocol error)
        self.resuming = False  # on the lane's list of those that may go on
        self.closing = False  # close after the flush
        self.cut = False  # close without it
        self.closed = False

    def __repr__(self) -> str:
        """For logs and failing tests."""
        state = "closed" if self.closed else "closing" if self.closing else "busy" if self.busy else "open"
        return f"<Client {self.id} {state} queue={len(self.queue)} backlog={self.backlog_size}>"

    @property
    def idle(self) -> bool:
        """Whether nothing of it is unanswered, half received or unsent."""
        return not (
            self.queue or self.busy or self.waiting or self.backlog or self.batch or self.out or self.out_size
        ) and self.scanner.idle

    @property
    def stalled(self) -> bool:
        """Whether bytes that come now have to wait."""
        return self.busy or self.waiting is not None or self.closing or self.hung_up
