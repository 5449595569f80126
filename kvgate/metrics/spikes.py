"""Spikes: times of something that were above a threshold, the longest of each second, as Redis' latency monitor keeps them."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

SECONDS: Final = 160
"""Seconds with spikes that are kept of each event; Redis keeps as many."""
MOST_EVENTS: Final = 256
"""Events are stores and the lane, so there are few; what comes later is not kept."""


@attrs.define(slots=True)
class Event:
    """One kind of spike."""

    worst: int = 0
    """Milliseconds, since the start or the last reset."""
    history: "deque[list[int]]" = attrs.field(factory=lambda: deque(maxlen=SECONDS))
    """``[second since the epoch, milliseconds]``, the oldest first."""

    def add(self, second: int, milliseconds: int) -> None:
        """Keep a spike; of several in a second the longest."""
        self.worst = max(self.worst, milliseconds)
        if self.history and self.history[-1][0] == second:
            self.history[-1][1] = max(self.history[-1][1], milliseconds)
        else:
            self.history.append([second, milliseconds])


class Spikes:
    """The events of one process, or of several."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.events: dict[str, Event] = {}

    def add(self, name: str, second: float, seconds: float) -> None:
        """Something took `seconds`; `second` is when it ended, in seconds since the epoch."""
        event = self.events.get(name)
        if event is None:
            if len(self.events) >= MOST_EVENTS:
                return
            event = self.events[name] = Event()
        event.add(int(second), max(1, int(seconds * 1000)))

    def reset(self, names: Iterable[str]) -> int:
        """Forget these events, or all of them when none is named; how many there were."""
        chosen = [name for name in names if name in self.events] or ([] if list(names) else list(self.events))
        for name in dict.fromkeys(chosen):
            del self.events[name]
        return len(set(chosen))

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return {name: [event.worst, list(event.history)] for name, event in self.events.items()}


def together(parts: Iterable[Mapping[str, Any]]) -> Spikes:
    """Of several processes: in each second the longest."""
    found = Spikes()
    for part in parts:
        for name, (worst, history) in part.items():
            event = found.events.setdefault(name, Event())
            longest: dict[int, int] = {each[0]: each[1] for each in event.history}
            for second, milliseconds in history:
                longest[second] = max(milliseconds, longest.get(second, 0))
            event.worst = max(event.worst, worst)
            event.history = deque(([second, longest[second]] for second in sorted(longest)), maxlen=SECONDS)
    return found
