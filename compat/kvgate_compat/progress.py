"""What people see while a search runs: one line that is rewritten on a terminal, a line now and then elsewhere."""

import shutil
import time
from typing import Final, TextIO

from kvgate_compat.pair import Tally

REWRITTEN: Final = 0.2
"""Seconds between two looks of a line on a terminal."""
NOW_AND_THEN: Final = 15.0
"""Seconds between two lines in a file."""
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Where lines for people go, with the line of progress kept below them."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`."""
        self._out = out
        self._terminal = out.isatty()
        self._shown = False
        self._next = time.monotonic() + (0 if self._terminal else NOW_AND_THEN)

    def say(self, text: str) -> None:
        """A line, or several, that stay."""
        self.clear()
        print(text, file=self._out, flush=True)

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown:
            self._out.write(_CLEAR)
            self._shown = False

    def look(self, proto: int, wanted: int, tally: Tally, differences: int, *, shrinking: bool) -> None:
        """Show how far the search in RESP `proto` is, of `wanted` examples, when it is time."""
        if time.monotonic() < self._next:
            return
        doing = ", cutting down the last one" if shrinking else ""
        done = f"{tally.examples:,} of {wanted:,} examples, {tally.total:,} commands"
        text = f"RESP{proto}: {done}, {differences} differences{doing}"
        if self._terminal:
            wide = shutil.get_terminal_size((100, 0)).columns
            self._out.write(_CLEAR + text[: wide - 1])
            self._shown = True
        else:
            self._out.write(text + "\n")
        self._out.flush()
        self._next = time.monotonic() + (REWRITTEN if self._terminal else NOW_AND_THEN)
