"""A shared connection to one store process, as the lane knows it: what is to be sent, and who waits for which reply."""

import enum
from collections import deque
from typing import TYPE_CHECKING, Any

from kvgate.lane.slots import Slot
from kvgate.metrics.times import Times
from kvgate.wire.measure import Measurer

if TYPE_CHECKING:
    from kvgate.backend import Endpoint


class State(enum.Enum):
    """Of a shared connection. While IDLE or CONNECTING commands wait for it, within their budget."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"
    """The last connect failed: commands are refused at once until one succeeds."""


class Trips:
    """What is counted of the shared connections to the shards of one backend, whatever reloads make of it."""

    __slots__ = ("lost", "made", "times")

    def __init__(self) -> None:
        """Nothing yet."""
        self.made = 0  # connections
        self.lost = 0  # of these, those that ended while the shard was served
        self.times = Times()
        """From the moment when a run of commands was sent to its last reply's. It is a sample: of each connection one send in
        a few is timed, one at a time, and of what was sent together the last run."""


class Upstream:
    """One of the shared connections to one shard in one protocol; it outlives the sockets that carry it."""

    __slots__ = (
        "aside",
        "endpoint",
        "fifo",
        "held",
        "in_a_hurry",
        "last_error",
        "last_read",
        "made",
        "measurer",
        "name",
        "out",
        "partial",
        "partial_size",
        "proto",
        "queued",
        "read_before",
        "refusal",
        "retired",
        "sent",
        "since",
        "state",
        "timed",
        "timed_at",
        "touched",
        "transport",
        "trips",
        "unasked",
        "unsent",
        "untimed",
        "why_down",
    )

    def __init__(
        self, name: str, endpoint: "Endpoint", proto: int, made: list[int] | None = None, trips: Trips | None = None
    ) -> None:
        """`name` is for logs and INFO: backend, shard, protocol, number. `made` is the `Shard`'s."""
        self.name = name
        self.endpoint = endpoint
        self.proto = proto
        self.state = State.IDLE
        self.why_down = ""
        self.refusal = b""  # what commands are answered with while the store is down
        self.transport: Any = None  # the driver's
        self.fifo: deque[Slot] = deque()  # every slot whose replies are still to come, sent or not
        self.out: list[bytes] = []  # for the driver to send
        self.queued = 0  # bytes ever put on this connection's way, counted from its start
        self.sent = 0  # of those, taken by the kernel
        self.in_a_hurry = True  # connect without a pause first
        self.unsent: bytes | memoryview = b""  # what the driver joined and the kernel did not take
        self.measurer: Measurer | None = None  # stands inside an unfinished reply
        self.partial: list[bytes] = []
        self.partial_size = 0
        self.aside = False  # the unfinished reply is a push or an error: it may be meant for the gate
        self.unasked = False  # nobody waited when it began: it is dropped at its end
        self.last_read = 0.0
        self.read_before = 0.0  # when it was read from the time before
        self.last_error = ""  # why it was lost, or could not be had, the last time
        self.since = 0.0  # when the present connection was made
        self.made = [0] if made is None else made
        self.trips = trips or Trips()
        self.timed: Slot | None = None  # whose time is taken, since `timed_at`
        self.timed_at = 0.0
        self.untimed = 0  # sends until the next one that is timed
        self.touched = False
        self.retired = False  # of a configuration that is served no more
        self.held = False  # a store that refuses writes is left: nothing more is sent before the reconnect

    def __repr__(self) -> str:
        """For logs and failing tests."""
        return f"<Upstream {self.name} {self.state.value} fifo={len(self.fifo)} unsent={self.queued - self.sent}>"

    def put(self, slot: Slot) -> None:
        """Queue a slot and its bytes behind everything already there."""
        slot.offset = self.queued
        self.queued += len(slot.frames)
        self.fifo.append(slot)
        self.out.append(slot.frames)

    def is_sent(self, slot: Slot) -> bool:
        """Whether any byte of the slot's commands went to the kernel."""
        return slot.offset < self.sent

    def start_over(self, slots: list[Slot]) -> None:
        """Forget the connection; `slots` are to be sent on the next one, in this order."""
        self.transport = None
        self.timed = None
        self.measurer = None
        self.partial.clear()
        self.partial_size = 0
        self.held = False
        self.fifo.clear()
        self.out.clear()
        self.unsent = b""
        self.queued = self.sent = 0
        for slot in slots:
            self.put(slot)

    def requeue(self, slots: list[Slot]) -> None:
        """Make `slots` the FIFO; those that are missing were not sent, and what they wanted will never be executed."""
        self.fifo.clear()
        self.fifo.extend(slots)
        waiting = [other for other in slots if not self.is_sent(other)]
        tail = b""
        last = next((other for other in reversed(slots) if self.is_sent(other)), None)
        if last is not None:
            tail = last.frames[self.sent - last.offset :]  # the kernel may have taken a part of one slot
        if self.transport is None or self.transport.tls is None:  # what TLS has taken counts as sent, and stays
            self.unsent = tail
        self.out.clear()
        self.queued = self.sent + len(tail)
        for other in waiting:
            other.offset = self.queued
            self.queued += len(other.frames)
            self.out.append(other.frames)


class Shard:
    """One store process of a backend with its shared connections; `lines[client.line]` is the one of a client."""

    __slots__ = ("endpoint", "index", "lines", "made", "name")

    def __init__(
        self, name: str, index: int, endpoint: "Endpoint", per_protocol: int = 2, trips: Trips | None = None
    ) -> None:
        """`per_protocol` connections for RESP2 clients, as many for RESP3 clients; opened when first needed. `trips` are
        those of the backend."""
        self.name = name
        self.index = index
        self.endpoint = endpoint
        self.made = [0]
        """How many connections its lines have made in all."""
        trips = trips or Trips()
        self.lines = tuple(
            Upstream(f"{name}/{index}/resp{proto}/{number}", endpoint, proto, self.made, trips)
            for proto in (2, 3)
            for number in range(per_protocol)
        )

    def __repr__(self) -> str:
        """For logs and failing tests."""
        return f"<Shard {self.name}/{self.index} {self.endpoint.url}>"
