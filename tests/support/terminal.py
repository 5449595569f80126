"""A program in a pseudo-terminal, as a person at a keyboard uses it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07")


class Terminal:
    """Runs `line` on a terminal of 100 columns; `expect` waits for output, `type` writes."""

    def __init__(self, line: list[str], environment: "dict[str, str] | None" = None) -> None:
        """Start it."""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        self.seen = ""
        self.process = subprocess.Popen(
            line,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "vt100", **(environment or {})},
        )
        os.close(slave)

    def __enter__(self) -> Self:
        """The terminal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def type(self, text: str) -> None:
        """Press the keys of `text`, and Enter."""
        os.write(self.master, text.encode() + b"\r")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self.master, b"\x03")

    def expect(self, pattern: str, timeout: float = 15.0) -> str:
        """Wait for output that matches; gives what came before its end, without escape sequences, and forgets it.

        Raises:
            AssertionError: it did not come; says what came instead.
        """
        deadline = time.monotonic() + timeout
        while (match := re.search(pattern, self.seen)) is None:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(0.0, left))
            data = b""
            if ready:
                with contextlib.suppress(OSError):  # EIO: the program ended
                    data = os.read(self.master, 1 << 16)
            assert data, f"waited for {pattern!r}, saw {self.seen[-2000:]!r}"
            self.seen = ESCAPES.sub("", self.seen + data.decode("utf-8", "replace"))
        before = self.seen[: match.end()]
        self.seen = self.seen[match.end() :]
        return before

    def rest(self, timeout: float = 15.0) -> str:
        """Everything until the program ends, without escape sequences and carriage returns."""
        deadline = time.monotonic() + timeout
        while True:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no end after {timeout} s, saw {self.seen[-2000:]!r}"
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # EIO: the program ended
                return self.seen.replace("\r", "")
            self.seen = ESCAPES.sub("", self.seen + data.decode("utf-8", "replace"))

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout)
