"""Progress of a command on standard error."""

import sys
import time
from typing import Final

from kvgate.backend import Progress

_ON_A_TERMINAL: Final = 0.1  # seconds between two updates of one line
_IN_A_LOG: Final = 5.0


def progress() -> Progress:
    """Shows progress on standard error: one line that changes on a terminal, a line now and then elsewhere."""
    terminal = sys.stderr.isatty()
    pause = _ON_A_TERMINAL if terminal else _IN_A_LOG
    last = time.monotonic() - (pause if terminal else 0)

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        now, ended = time.monotonic(), 0 < total <= done
        if now - last < pause and not (ended and terminal):
            return
        last = now
        share = f" of {total:,} ({min(done / total, 1):.0%})" if total else ""
        end = "\n" if ended or not terminal else ""
        print(f"{chr(13) if terminal else ''}{done:,}{share} {what}", end=end, file=sys.stderr, flush=True)

    return show
