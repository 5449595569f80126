"""How fast a store is asked: so many commands a second, and never busier with us than idle."""

import time
from collections.abc import Callable
from typing import Final

REST: Final = 2.0
"""Pauses are at least so many times as long as the answers before them took: a busy store is asked less often."""


class Pace:
    """Waits between portions of commands."""

    def __init__(
        self, rate: float, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`rate`: commands a second, at most."""
        self.rate = rate
        self.commands = 0
        """That were told to `after`, all together."""
        self.clock = clock
        self._sleep = sleep

    @property
    def portion(self) -> int:
        """Commands that may go out together: what a tenth of a second has room for, 200 at most."""
        return max(1, min(200, int(self.rate / 10)))

    def after(self, commands: int, began: float) -> None:
        """Wait as long as so many commands ask for that were begun at `began` and are answered now."""
        self.commands += commands
        took = self.clock() - began
        self._sleep(max(commands / self.rate - took, took * REST, 0.0))
