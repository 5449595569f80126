"""The file of the audit log: whole lines, appended by several processes, rotated by whichever finds it full.

Every process holds a lock (a file beside it) while it writes a portion or rotates, so that lines never mix, no line goes to a
file that was rotated away, and a portion that the disk had no room for is taken back whole.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MODE: Final = 0o600
PATIENCE: Final = 1.0
"""Seconds to wait for the lock, which is held for the time of one write."""
LOOK: Final = 0.002


class AuditFile:
    """One of them; every method may raise OSError."""

    def __init__(self, path: Path, max_size: int, keep: int) -> None:
        """Begin another file after `max_size` bytes, `keep` full ones: ``PATH.1`` is the newest of them. Opens nothing yet."""
        self._path = path
        self._max_size = max_size
        self._keep = keep
        self._file = self._lock = -1

    def append(self, lines: bytes) -> None:
        """Write whole lines, all or none of them."""
        with self._locked():
            self._open()
            size = os.fstat(self._file).st_size
            if size and size + len(lines) > self._max_size:
                self._rotate()
                size = 0
            if size and os.pread(self._file, 1, size - 1) != b"\n":  # a process was killed while it wrote
                lines = b"\n" + lines
            try:
                left = memoryview(lines)
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError:
                os.ftruncate(self._file, size)
                raise

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock < 0:
            name = self._path.with_name(f".{self._path.name}.lock")
            self._lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _open(self) -> None:
        """Have the file that is there now: others may have rotated it, or somebody taken it away."""
        if self._file >= 0:
            with contextlib.suppress(FileNotFoundError):
                here, there = os.fstat(self._file), os.stat(self._path, follow_symlinks=False)
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return
            os.close(self._file)
            self._file = -1
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._file = os.open(self._path, flags, MODE)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        os.fchmod(self._file, MODE)

    def _rotate(self) -> None:
        def named(number: int) -> Path:
            return self._path.with_name(f"{self._path.name}.{number}")

        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                named(number).replace(named(number + 1))
        self._path.replace(named(1))
        self._open()
