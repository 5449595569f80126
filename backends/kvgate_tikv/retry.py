"""How long the gate itself tries again: within 500 ms, with pauses that are longer each time and never the same."""

import random
from typing import Final

import trio

BUDGET: Final = 0.5
"""Seconds; a command has 1.5 s altogether, and a try may take long."""
FIRST_PAUSE: Final = 0.004
LONGEST_PAUSE: Final = 0.1


class Retries:
    """The tries of one thing."""

    def __init__(self, deadline: float) -> None:
        """From now; not beyond `deadline` (trio's clock)."""
        self._end = min(trio.current_time() + BUDGET, deadline)
        self._pause = FIRST_PAUSE

    async def again(self) -> bool:
        """Pause before another try; False, at once, when there is no time for one."""
        pause = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - no secret
        if trio.current_time() + pause >= self._end:
            return False
        await trio.sleep(pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return True
