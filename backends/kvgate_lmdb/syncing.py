"""The thread in C that writes and syncs the journal (kvgate_lmdb/_syncer.c), where it was built."""

import os
from typing import Final, Protocol

try:
    from kvgate_lmdb import _syncer
except ImportError:
    _syncer = None  # type: ignore[assignment]  # BUILT says so; nobody uses it then

BUILT: Final = _syncer is not None
"""Whether there is one; on a machine without a compiler a thread of Python's does the same, for more processor time."""
WANTED: Final = BUILT and os.environ.get("KVGATE_NATIVE", "1") != "0"
"""Whether it is used, as for kvgate.lane.native."""


class Syncer(Protocol):
    """Does one thing at a time, and adds 1 to an eventfd when that is done."""

    def start(self, file: int, data: bytes, place: int, sync: bool, /) -> None:  # noqa: FBT001 - the form of a C function
        """Write `data` at `place` of a file, given by its descriptor, and `sync` it (fdatasync)."""

    def result(self) -> int:
        """Wait for it; its errno, 0 when all is well."""

    def close(self) -> None:
        """End the thread; what was started is done before."""


def made(notify: int) -> Syncer | None:
    """A syncer that tells the eventfd `notify`; None where there is none, or no thread can be had."""
    if not WANTED:
        return None
    try:
        return _syncer.Syncer(notify)
    except OSError:
        return None
