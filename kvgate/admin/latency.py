"""LATENCY LATEST, HISTORY, RESET, GRAPH and DOCTOR: long turns of the lane, and slow stores, in Redis' form.

Events are ``lane-turn`` (all clients of a process waited so long) and ``store:NAME`` (a reply of that backend took so long,
from the command's arrival). LATENCY HISTOGRAM is in `kvgate.admin.commandstats`.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from kvgate.admin.common import parts_of, text
from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.metrics.spikes import Event, Spikes, together
from kvgate.policy.users import User
from kvgate.server.site import LANE_TURN, Answer, Collect, Site
from kvgate.wire.reply import Reply, Verbatim

NOTHING: Final = "No reply of a store and no turn of the lane took longer than latency_threshold ({} ms).\n"
ADVICE: Final = {
    LANE_TURN: "one piece of work held all clients of a process up: INFO gate shows lane_turn_max_usec, GATE SLOWLOG the"
    " commands; large replies of embedded stores and a machine that is too busy do that",
    "store:": "GATE SLOWLOG shows the commands, with the time that each waited for its turn; GATE UPSTREAMS what is queued;"
    " the store's own SLOWLOG tells whether the time was spent there",
}
WIDTH: Final = 80
LEVELS: Final = "_o#"
ROWS: Final = 4


def collect(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' events."""
    del user, args, now
    return site.spikes.to_json()


def _known(site: Site, client: Client, args: list[bytes], now: float) -> Spikes:
    return together(parts_of(site, client, args, now, collect))


def _latest(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Each event with the second and the milliseconds of its last spike, and the worst of all."""
    events = _known(site, client, args, now).events
    return [[name.encode(), *event.history[-1], event.worst] for name, event in events.items() if event.history]


def _history(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    event = _known(site, client, args, now).events.get(text(args[2]))
    return [] if event is None else [[second, milliseconds] for second, milliseconds in event.history]


def _reset(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """How many events were forgotten: all of them, or those that are named; with several workers the sum."""
    del client, now
    return site.spikes.reset([text(word) for word in args[2:]])


def _graph(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    name = text(args[2])
    event = _known(site, client, args, now).events.get(name)
    if event is None or not event.history:
        raise GateError(f"ERR No samples available for event '{name}'")
    history = list(event.history)[-WIDTH:]
    values = [milliseconds for _, milliseconds in history]
    head = f"{name} - high {max(values)} ms, low {min(values)} ms (all time high {event.worst} ms)"
    return Verbatim("\n".join([head, "-" * WIDTH, *_bars(values), *_ages(history), ""]).encode())


def _bars(values: Sequence[int]) -> list[str]:
    """One column for each value, from the lowest at the bottom to the highest at the top."""
    low, high = min(values), max(values)
    steps = ROWS * len(LEVELS) - 1
    heights = [round((value - low) * steps / max(1, high - low)) for value in values]
    lines = []
    for row in reversed(range(ROWS)):
        filled = [height - row * len(LEVELS) for height in heights]
        lines.append("".join(" " if level < 0 else LEVELS[min(level, len(LEVELS) - 1)] for level in filled))
    return lines


def _ages(history: Sequence[Sequence[int]]) -> list[str]:
    """How long ago each was, written downwards."""
    now = int(time.time())
    labels = [_age(max(0, now - second)) for second, _ in history]
    longest = max(map(len, labels))
    return ["".join(label.ljust(longest)[at] for label in labels).rstrip() for at in range(longest)]


def _age(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _doctor(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    events = _known(site, client, args, now).events
    if not events:
        return Verbatim(NOTHING.format(int(site.configuration.gate.latency_threshold * 1000)).encode())
    lines = [f"{number}. {_told(name, event)}" for number, (name, event) in enumerate(sorted(events.items()), 1)]
    advice = [f"- {kind.rstrip(':')}: {words}." for kind, words in ADVICE.items() if any(n.startswith(kind) for n in events)]
    return Verbatim("\n".join([*lines, "", *advice, ""]).encode())


def _told(name: str, event: Event) -> str:
    values = [milliseconds for _, milliseconds in event.history]
    average = sum(values) // max(1, len(values))
    return f"{name}: {len(values)} latency spikes (average {average} ms). Worst all time event {event.worst} ms."


ANSWERS: Final[dict[str, Answer]] = {
    "LATENCY|DOCTOR": _doctor,
    "LATENCY|GRAPH": _graph,
    "LATENCY|HISTORY": _history,
    "LATENCY|LATEST": _latest,
    "LATENCY|RESET": _reset,
}
PARTS: Final[dict[str, Collect]] = dict.fromkeys(
    ("LATENCY|DOCTOR", "LATENCY|GRAPH", "LATENCY|HISTORY", "LATENCY|LATEST"), collect
)
