"""Tests marked ``alone`` hold a limit in time: pytest's other process waits meanwhile (``make test`` runs two of them)."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_RUN: Final = "PYTEST_XDIST_TESTRUNUID"
"""The variable by which processes of one run know each other; not set where there is one process."""


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Wait until a test may run, and hold off the others meanwhile: all of them if it is to run `alone`.

    Who waits for a room of its own holds the door, so that it does not wait for ever while others come and go.
    """
    if _RUN not in os.environ:
        yield
        return
    name = Path(tempfile.gettempdir()) / f"kvgate-tests-{os.environ[_RUN]}"
    with name.with_suffix(".door").open("w") as door, name.with_suffix(".room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


def clear() -> None:
    """Remove the locks of this run."""
    if _RUN in os.environ:
        for suffix in (".door", ".room"):
            (Path(tempfile.gettempdir()) / f"kvgate-tests-{os.environ[_RUN]}{suffix}").unlink(missing_ok=True)
