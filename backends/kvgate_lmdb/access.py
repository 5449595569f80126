"""Who may write to an embedded store in which way: one process alone, with a journal; or several, straight into LMDB's file.

What lies in the journal is known to the process that writes it alone. So it holds a lock of the folder exclusively while
there is a journal, and whoever else opens the store (a gate's second worker, ``kvgate store``) takes that lock shared. Before
it waits for the lock it says so by a second one, which the first process looks at often: it moves the journal to LMDB's
file and lets the others in. The kernel gives locks back when a process dies.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kvgate.errors import ConfigurationError

ALONE: Final = "alone.lock"
"""Exclusive: there may be a journal. Shared: there is none while this lock is held."""
COMPANY: Final = "company.lock"
"""Shared: somebody wants to have, or has, the other one shared."""
LOOK: Final = 0.2
"""Seconds between two looks whether somebody else wants to come in."""
PATIENCE: Final = 20.0
"""Seconds to wait for who is alone; it may have to move a large journal first."""


class Access:
    """One process' locks on a store's folder."""

    def __init__(self, folder: Path) -> None:
        """Without any lock. Raises OSError: the files cannot be made."""
        self._folder = folder
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        self._alone = os.open(folder / ALONE, flags, 0o600)
        try:
            self._company = os.open(folder / COMPANY, flags, 0o600)
        except OSError:
            os.close(self._alone)
            raise

    def try_alone(self) -> bool:
        """Be alone, if nobody else is there or wants to come; else with the others, as `share`, which may have to wait for
        them where this process was not among them before. The caller sees to it that nothing is written meanwhile.

        Who is among the others keeps one of its locks all the time: a lock that cannot be made exclusive is lost for a moment,
        but nobody else is alone without having both.

        Raises:
            ConfigurationError: as `share`.
        """
        if _try(self._company, fcntl.LOCK_EX) and _try(self._alone, fcntl.LOCK_EX):
            fcntl.flock(self._company, fcntl.LOCK_UN)
            return True
        self.share()
        return False

    def share(self) -> None:
        """Let others in, or wait until who is alone does.

        Raises:
            ConfigurationError: it does not.
        """
        fcntl.flock(self._company, fcntl.LOCK_SH)
        until = time.monotonic() + PATIENCE
        while not _try(self._alone, fcntl.LOCK_SH):
            if time.monotonic() > until:
                why = f"another process writes to the store in {self._folder} and lets nobody in; stop it"
                raise ConfigurationError([f"path: {why}"])
            time.sleep(LOOK / 4)

    def is_wanted(self) -> bool:
        """Whether somebody else wants to come in; to be asked by who is alone."""
        if not _try(self._company, fcntl.LOCK_EX):
            return True
        fcntl.flock(self._company, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Give the locks back."""
        os.close(self._alone)
        os.close(self._company)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_used(folder: Path) -> bool:
    """Whether a process may be alone there, or have been: none is without having made the locks' files."""
    return (folder / ALONE).exists()


def shared(folder: Path, recover: Callable[[], object]) -> Access:
    """Come in beside the others, or wait until that is possible, and `recover` what a process that died left in the journal.
    The caller closes what it gets.

    Raises:
        ConfigurationError: who is alone there lets nobody in.
        OSError: the locks' files cannot be made.
    """
    access = Access(folder)
    try:
        access.share()
        recover()
    except BaseException:
        access.close()
        raise
    return access
