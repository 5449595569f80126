"""A small blocking Redis client: what the harness itself says to a peer, and the loop that counts connections."""

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from bench.process import BenchError

Value = bytes | int | None | list["Value"]


def request(*args: bytes | str) -> bytes:
    """One command as a RESP array of bulk strings."""
    parts = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Client:
    """One connection. An error reply raises `BenchError` with its text."""

    def __init__(self, port: int, auth: Sequence[str] = (), timeout: float = 20.0) -> None:
        """Connect to 127.0.0.1 and log in when `auth` (password, or user and password) is not empty.

        Raises:
            OSError: nobody listens.
            BenchError: the login was refused.
        """
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._reader = self.socket.makefile("rb")
        try:
            if auth:
                self.ask("AUTH", *auth)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._reader.close()
        self.socket.close()

    def ask(self, *args: bytes | str) -> Value:
        """Send one command, return its reply."""
        self.socket.sendall(request(*args))
        return self.reply()

    def ask_all(self, commands: Sequence[bytes]) -> None:
        """Send encoded commands as one pipeline and read their replies; an error among them raises."""
        self.socket.sendall(b"".join(commands))
        for _ in commands:
            self.reply()

    def reply(self) -> Value:
        """The next reply (RESP2)."""
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise BenchError("the connection ended before the reply")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self._reader.read(int(text) + 2)[:-2]
        if kind == b"*":
            return None if text == b"-1" else [self.reply() for _ in range(int(text))]
        raise BenchError(text.decode("utf-8", "replace") if kind == b"-" else f"not RESP2: {line!r}")


def answers_ping(port: int, auth: Sequence[str] = ()) -> bool:
    """Whether somebody listens, lets us in and answers PING. A refused login raises `BenchError`: waiting will not help.

    A gate whose workers have not fetched their first share of a rate yet answers ``THROTTLED``: there waiting helps.
    """
    try:
        with Client(port, auth, timeout=5.0) as client:
            return client.ask("PING") == b"PONG"
    except OSError:
        return False
    except BenchError as error:
        if str(error).startswith("THROTTLED"):
            return False
        raise
