"""Commands that speak for all workers: each runs the gate's own answer, and their replies become one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from kvgate.admin.info import human
from kvgate.errors import GateError, cannot_block
from kvgate.policy.blocks import Block
from kvgate.policy.buckets import Ask
from kvgate.server.control import Channel, Gone
from kvgate.server.difference import Difference
from kvgate.wire.reply import Error, Reply, Verbatim

RELOAD: Final = 60.0
"""Seconds that GATE RELOAD waits for all workers; longer than each of them is given."""


class Fleet(Protocol):
    """The other processes of this gate, as one of them sees them."""

    size: int
    """How many serve, this one included."""

    async def others(self, name: str, *arguments: Any) -> list[Any]:
        """What the handler `name` of every other worker returned; those that are gone are left out."""

    async def budget(self, asks: Sequence[Ask], patience: float) -> tuple[list[float], int]:
        """What each of the buckets that all processes share gives (kvgate.policy.buckets.Pool.take), and how many processes
        serve. Raises `Gone` after `patience` seconds, GateError."""


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
        except (Gone, GateError):  # the parent is ending
            return []
        return found

    async def share(self, block: Block | None, kind: str, name: bytes) -> tuple[bool, int]:
        """Have the parent bring a change of what is blocked to all workers (kvgate.server.blocks.Share)."""
        dump = None if block is None else block.dump()
        try:
            found, unconfirmed = await self._channel.call("block", dump, kind, name.decode("latin-1"))
        except Gone:
            raise cannot_block("the parent process did not answer; it may be in force yet") from None
        return found, unconfirmed

    async def budget(self, asks: Sequence[Ask], patience: float) -> tuple[list[float], int]:
        """See `Fleet`."""
        granted, members = await self._channel.call("budget", list(asks), patience=patience)
        return granted, members

    async def reload(self, dry_run: bool) -> Difference:  # noqa: FBT001 - the form of Dispatcher.reload
        """Have the parent do it for all workers."""
        try:
            lines, moves, moved, restart = await self._channel.call("reload", dry_run, patience=RELOAD)
        except Gone:
            raise GateError(f"ERR the reload goes on after {RELOAD:.0f} s; INFO gate will show its end") from None
        return Difference(tuple(lines), tuple(moves), frozenset(moved), tuple(restart))


def _together(replies: Sequence[Reply], args: Sequence[bytes]) -> Reply:
    """CLIENT LIST: one text after the other, by client id; ``ID 3 1 3`` in the order that was asked for, as in Redis."""
    texts = [reply.text if isinstance(reply, Verbatim) else reply for reply in replies]
    lines = [line for text in texts if isinstance(text, bytes) for line in text.split(b"\n") if line]
    lines.sort(key=_id)
    if len(args) > 3 and args[2].upper() == b"ID":
        by_id = {_id(line): line for line in lines}
        lines = [by_id[int(ident)] for ident in args[3:] if int(ident) in by_id]
    text = b"".join(line + b"\n" for line in lines)
    return Verbatim(text) if isinstance(replies[0], Verbatim) else text


def _id(line: bytes) -> int:
    return int(line[3 : line.index(b" ")])


def _sum(replies: Sequence[Reply], args: Sequence[bytes]) -> Reply:
    """Counts are added; where it is OK or an error (old CLIENT KILL), one OK is enough."""
    del args
    numbers = [reply for reply in replies if isinstance(reply, int)]
    if numbers:
        return sum(numbers)
    return next((reply for reply in replies if not isinstance(reply, Error)), replies[0])


def _first(replies: Sequence[Reply], args: Sequence[bytes]) -> Reply:
    del args
    return replies[0]


SUMMED: Final = frozenset(
    {
        b"connected_clients",
        b"blocked_clients",
        b"pubsub_clients",
        b"clients",
        b"admin_clients",
        b"clients_output_bytes",
        b"maxclients",
        b"used_memory",
        b"used_memory_rss",
        b"used_memory_peak",
        b"used_cpu_sys",
        b"used_cpu_user",
        b"used_cpu_sys_children",
        b"used_cpu_user_children",
        b"total_connections_received",
        b"total_commands_processed",
        b"instantaneous_ops_per_sec",
        b"rejected_connections",
        b"lane_forwarded_commands",
        b"lane_retries",
        b"lane_turns",
        b"lane_failures",
        b"audit_written",
        b"audit_dropped",
        b"audit_failures",
        b"slow_tasks",
        b"slowlog_missed",
        b"trace_spans",
        b"upstream_connections",
        b"pubsub_channels",
        b"pubsub_patterns",
    }
)
"""Fields of INFO that count what one process has or has done."""
LARGEST: Final = frozenset({b"lane_turn_max_usec"})
_HUMAN: Final = b"_human"


def _added(values: Sequence[bytes]) -> bytes:
    """Whole numbers, seconds with six decimals, or counts by name: ``up=4,down=0``."""
    if b"=" in values[0]:
        counts: dict[bytes, int] = {}
        for value in values:
            for part in value.split(b","):
                name, _, number = part.partition(b"=")
                counts[name] = counts.get(name, 0) + int(number)
        return b",".join(b"%b=%d" % item for item in counts.items())
    if b"." in values[0]:
        return b"%.6f" % sum(map(float, values))
    return b"%d" % sum(map(int, values))


def _info(replies: Sequence[Reply], args: Sequence[bytes]) -> Reply:
    """INFO: counts of all workers are added, the rest is that of the one that was asked."""
    del args
    texts = [reply.text if isinstance(reply, Verbatim) else reply for reply in replies]
    found: dict[bytes, list[bytes]] = {}
    for text in texts:
        for line in text.split(b"\r\n") if isinstance(text, bytes) else ():
            name, _, value = line.partition(b":")
            if name in SUMMED | LARGEST and value:
                found.setdefault(name, []).append(value)
    first = texts[0]
    if not isinstance(first, bytes):
        return replies[0]
    merged = {name: b"%d" % max(map(int, values)) if name in LARGEST else _added(values) for name, values in found.items()}
    lines = []
    for line in first.split(b"\r\n"):
        name = line.partition(b":")[0]
        if name in merged:
            line = b"%b:%b" % (name, merged[name])
        elif name.endswith(_HUMAN) and name.removesuffix(_HUMAN) in merged:
            line = b"%b:%b" % (name, human(int(merged[name.removesuffix(_HUMAN)])).encode())
        lines.append(line)
    whole = b"\r\n".join(lines)
    return Verbatim(whole) if isinstance(replies[0], Verbatim) else whole


FOR_ALL: Final[Mapping[str, Callable[[Sequence[Reply], Sequence[bytes]], Reply]]] = {
    "CLIENT|LIST": _together,
    "CLIENT|KILL": _sum,
    "CLIENT|UNBLOCK": _sum,
    "CLIENT|PAUSE": _first,
    "CLIENT|UNPAUSE": _first,
    "INFO": _info,
    "LATENCY|RESET": _sum,
    "SLOWLOG|LEN": _sum,
    "SLOWLOG|RESET": _first,
}
"""Commands that every worker runs → how their replies become one; the asked worker's reply comes first."""
