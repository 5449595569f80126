"""Commands that speak for all workers: each runs the gate's own answer, and their replies become one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from kvgate.server.control import Channel, Gone
from kvgate.server.reload import Difference
from kvgate.wire.reply import Error, Reply, Verbatim


class Fleet(Protocol):
    """The other processes of this gate, as one of them sees them."""

    size: int
    """How many serve, this one included."""

    async def others(self, name: str, *arguments: Any) -> list[Any]:
        """What the handler `name` of every other worker returned; those that are gone are left out."""


class Behind:
    """The fleet as a worker sees it: behind its channel to the parent."""

    def __init__(self, channel: Channel, size: int, own: int) -> None:
        """`size` is the configured number of workers, `own` this one's process id."""
        self._channel = channel
        self._own = own
        self.size = size

    async def others(self, name: str, *arguments: Any) -> list[Any]:
        """See `Fleet`."""
        try:
            found: list[Any] = await self._channel.call("others", name, list(arguments), self._own)
        except Gone:
            return []
        return found

    async def reload(self, dry_run: bool) -> Difference:  # noqa: FBT001 - the form of Dispatcher.reload
        """Have the parent do it for all workers."""
        lines, moves, moved, restart = await self._channel.call("reload", dry_run, patience=60.0)
        return Difference(tuple(lines), tuple(moves), frozenset(moved), tuple(restart))


def _together(replies: Sequence[Reply]) -> Reply:
    """CLIENT LIST: one text after the other, by client id."""
    texts = [reply.text if isinstance(reply, Verbatim) else reply for reply in replies]
    lines = [line for text in texts if isinstance(text, bytes) for line in text.splitlines()]
    lines.sort(key=lambda line: int(line[3 : line.index(b" ")]))
    text = b"".join(line + b"\n" for line in lines)
    return Verbatim(text) if isinstance(replies[0], Verbatim) else text


def _sum(replies: Sequence[Reply]) -> Reply:
    """Counts are added; where it is OK or an error (old CLIENT KILL), one OK is enough."""
    numbers = [reply for reply in replies if isinstance(reply, int)]
    if numbers:
        return sum(numbers)
    return next((reply for reply in replies if not isinstance(reply, Error)), replies[0])


def _first(replies: Sequence[Reply]) -> Reply:
    return replies[0]


SUMMED: Final = frozenset(
    {
        b"connected_clients",
        b"blocked_clients",
        b"pubsub_clients",
        b"clients",
        b"clients_output_bytes",
        b"used_memory",
        b"used_memory_rss",
        b"total_connections_received",
        b"total_commands_processed",
        b"instantaneous_ops_per_sec",
        b"rejected_connections",
        b"lane_forwarded_commands",
        b"lane_retries",
        b"lane_turns",
        b"lane_failures",
        b"slow_tasks",
        b"pubsub_channels",
        b"pubsub_patterns",
    }
)
"""Fields of INFO that are counts of one process."""
LARGEST: Final = frozenset({b"lane_turn_max_usec"})


def _info(replies: Sequence[Reply]) -> Reply:
    """INFO: counts of all workers are added, the rest is that of the one that was asked."""
    texts = [reply.text if isinstance(reply, Verbatim) else reply for reply in replies]
    found: dict[bytes, list[int]] = {}
    for text in texts:
        for line in text.split(b"\r\n") if isinstance(text, bytes) else ():
            name, _, value = line.partition(b":")
            if name in SUMMED | LARGEST and value.isdigit():
                found.setdefault(name, []).append(int(value))
    first = texts[0]
    if not isinstance(first, bytes):
        return replies[0]
    lines = []
    for line in first.split(b"\r\n"):
        name = line.partition(b":")[0]
        numbers = found.get(name)
        if numbers is not None:
            line = b"%b:%d" % (name, max(numbers) if name in LARGEST else sum(numbers))
        lines.append(line)
    merged = b"\r\n".join(lines)
    return Verbatim(merged) if isinstance(replies[0], Verbatim) else merged


FOR_ALL: Final[Mapping[str, Callable[[Sequence[Reply]], Reply]]] = {
    "CLIENT|LIST": _together,
    "CLIENT|KILL": _sum,
    "CLIENT|UNBLOCK": _sum,
    "CLIENT|PAUSE": _first,
    "CLIENT|UNPAUSE": _first,
    "INFO": _info,
}
"""Commands that every worker runs → how their replies become one; the asked worker's reply comes first."""
