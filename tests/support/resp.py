"""A small blocking RESP client for tests: exact bytes of replies, and their values as hiredis reads them."""

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import hiredis

Arg = bytes | str | int | float


class Closed(Exception):  # noqa: N818 - an event that tests wait for
    """The other side closed the connection (or reset it)."""


def to_bytes(arg: Arg) -> bytes:
    """Text as UTF-8 (surrogates give back the raw byte), numbers as Python prints them."""
    return arg if isinstance(arg, bytes) else str(arg).encode("utf-8", "surrogateescape")


def frame(*args: Arg) -> bytes:
    """The canonical RESP request."""
    parts = [to_bytes(arg) for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def reply_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where the reply at `start` ends, or -1 when it is not all there. Written apart from the gate's own scanner.

    Raises:
        ValueError: what is there is no RESP reply.
    """
    missing, at = 1, start
    while missing:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return -1
        kind, head = data[at : at + 1], bytes(data[at + 1 : line_end])
        at = line_end + 2
        missing -= 1
        if kind in b"+-:_,#(" and kind:
            continue
        if kind not in b"$=!*~>%|" or not kind:
            msg = f"no RESP type at {start}: {bytes(data[start : start + 80])!r}"
            raise ValueError(msg)
        size = int(head)
        if kind in b"$=!":
            at += size + 2 if size >= 0 else 0
            if at > len(data):
                return -1
        elif size > 0:
            missing += size * 2 if kind in b"%|" else size
        if kind == b"|":
            missing += 1  # an attribute stands before the reply it belongs to
    return at


def parse(raw: bytes) -> Any:
    """The value of one whole reply; an error is a `hiredis.ReplyError` value, not raised."""
    reader = hiredis.Reader(protocolError=ValueError)
    reader.feed(raw)
    return reader.gets()


def connect(address: "tuple[str, int] | str", timeout: float = 10.0) -> socket.socket:
    """A connected socket: ``(host, port)`` or the path of a unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock
    sock = socket.create_connection(address, timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Resp:
    """One connection. Closed by `close` or as a context manager; every wait ends after `timeout` with TimeoutError."""

    def __init__(
        self,
        address: "tuple[str, int] | str",
        *,
        proto: int = 2,
        password: str = "",
        user: str = "default",
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
        timeout: float = 10.0,
    ) -> None:
        """Connect; with `password` AUTH is sent, with `proto` 3 HELLO 3; both must be answered without an error."""
        self.sock: socket.socket = connect(address, timeout)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.timeout = timeout
        self.proto = proto
        self.buffer = bytearray()
        try:
            if password:
                self.cmd("AUTH", user, password)
            if proto == 3:
                self.cmd("HELLO", 3)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close at once; idempotent."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset, as a client that is killed with unread data."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def half_close(self) -> None:
        """Say that nothing more is sent; replies can still be read."""
        self.sock.shutdown(socket.SHUT_WR)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def send(self, *args: Arg) -> None:
        """Send one request, read nothing."""
        self.send_raw(frame(*args))

    def read_one(self, timeout: float | None = None) -> bytes:
        """The exact bytes of the next reply or push.

        Raises:
            Closed: the connection ended first; `args[0]` is what was left of a broken reply.
            TimeoutError: after `timeout` seconds (the connection's own by default).
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while (end := reply_end(self.buffer)) < 0:
            self._receive(deadline)
        raw = bytes(self.buffer[:end])
        del self.buffer[:end]
        return raw

    def read_raw(self, replies: int = 1, timeout: float | None = None) -> bytes:
        """The exact bytes of the next `replies` replies, together."""
        return b"".join(self.read_one(timeout) for _ in range(replies))

    def read(self, timeout: float | None = None) -> Any:
        """The value of the next reply or push; errors as values."""
        return parse(self.read_one(timeout))

    def read_all(self, timeout: float | None = None) -> bytes:
        """Everything until the other side closes."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        with contextlib.suppress(Closed):
            while True:
                self._receive(deadline)
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing arrives for so long (use after something that would have been answered by then)."""
        if self.buffer:
            return False
        try:
            self._receive(time.monotonic() + seconds)
        except TimeoutError:
            return True
        return False

    def raw_reply(self, *args: Arg) -> bytes:
        """Send one request; the exact bytes of its reply."""
        self.send(*args)
        return self.read_one()

    def ask(self, *args: Arg) -> Any:
        """Send one request; the value of its reply, an error as a `hiredis.ReplyError` value."""
        return parse(self.raw_reply(*args))

    def cmd(self, *args: Arg) -> Any:
        """Send one request; the value of its reply.

        Raises:
            hiredis.ReplyError: it was answered with an error.
        """
        value = self.ask(*args)
        if isinstance(value, hiredis.ReplyError):
            raise value
        return value

    def pipeline(self, commands: "Sequence[Sequence[Arg]]") -> list[Any]:
        """Send all, then read all; errors as values."""
        self.send_raw(b"".join(frame(*command) for command in commands))
        return [self.read() for _ in commands]

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            msg = f"no whole reply in time; so far: {bytes(self.buffer[:200])!r}"
            raise TimeoutError(msg)
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            msg = f"no whole reply in time; so far: {bytes(self.buffer[:200])!r}"
            raise TimeoutError(msg) from None
        except (ConnectionError, ssl.SSLEOFError):
            raise Closed(bytes(self.buffer)) from None
        if not data:
            raise Closed(bytes(self.buffer))
        self.buffer += data
