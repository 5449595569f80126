"""Which keys expire during an example, and when: no command is sent near such a moment, where two servers may disagree."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

MARGIN: Final = 0.08
"""Seconds that a step keeps away from a moment, on either side. A step that takes longer and so meets one is not judged."""
SOON: Final = 5.0
"""Seconds: what expires within them is waited for; generated times are either far shorter or far longer."""


@attrs.define(slots=True)
class Deadlines:
    """The moments at which keys expire on any of the servers, by this machine's monotonic clock."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _moments: set[float] = attrs.field(factory=set)

    def forget(self) -> None:
        """The servers are empty again."""
        self._moments.clear()

    def add(self, seconds: float) -> None:
        """A key expires so long after now; nothing when that is far away, or over."""
        if 0 <= seconds < SOON:
            self._moments.add(self.clock() + seconds)

    @property
    def pending(self) -> int:
        """Moments ahead."""
        return len(self._moments)

    def keep_away(self) -> float:
        """Wait until no moment is near, and forget those that are over; the seconds that passed so."""
        began = self.clock()
        while True:
            now = self.clock()
            near = [moment for moment in self._moments if moment <= now + MARGIN]
            if not near:
                return now - began
            self._wait_for(near)

    def pass_all(self) -> float:
        """Wait until all moments are over; the seconds that passed so."""
        began = self.clock()
        if self._moments:
            self._wait_for(list(self._moments))
        return self.clock() - began

    def met(self) -> bool:
        """Whether one has come since `keep_away`."""
        now = self.clock()
        return any(moment <= now for moment in self._moments)

    def _wait_for(self, moments: Sequence[float]) -> None:
        end = max(moments) + MARGIN
        while (left := end - self.clock()) > 0:
            self.pause(left)
        self._moments.difference_update(moments)
