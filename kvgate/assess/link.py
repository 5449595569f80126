"""One blocking connection to the Redis that is looked at: requests in portions, and the lines of MONITOR."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Final

from kvgate.backend import Endpoint
from kvgate.errors import ProtocolError
from kvgate.wire.measure import measure
from kvgate.wire.reply import Error, Reply, decode
from kvgate.wire.request import encode_request

TIMEOUT: Final = 10.0
"""Seconds that connecting, and waiting for more of a reply, may take."""
LONGEST_LINE: Final = 1 << 18
"""Bytes of one line of MONITOR that are kept; a command with a huge value is read on, and its rest forgotten."""
_NOT_NOW: Final = (b"LOADING", b"BUSY", b"MASTERDOWN", b"NOAUTH")


class Unreachable(Exception):  # noqa: N818 - an event that callers decide about
    """The store is not there, does not let us in, or cannot answer now; says why, without user or password."""


class Link:
    """One connection, made when it is needed, and again after it was closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Nothing is connected yet. `endpoint` says user, password and TLS too; its database is left to `select`."""
        self.endpoint = endpoint
        self.database = 0
        """That commands go to."""
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def ask(self, requests: Sequence[Sequence[bytes]]) -> list[Reply]:
        """The replies, errors as `Error` values; the requests are sent in one piece.

        Raises:
            Unreachable: the store is away, refuses the password, or answers LOADING, BUSY or MASTERDOWN.
        """
        with self._explained():
            if self._socket is None:
                self._connect()
            return self._exchange(requests)

    def one(self, *words: bytes) -> Reply:
        """The reply to one request; see `ask`."""
        return self.ask([words])[0]

    def select(self, database: int) -> Error | None:
        """Go to a database; the store's error when there is none of that number. Raises `Unreachable`."""
        if database == self.database:
            return None  # also when there is no connection yet: it begins there
        reply = self.one(b"SELECT", b"%d" % database)
        if isinstance(reply, Error):
            return reply
        self.database = database
        return None

    def monitor(self, seconds: float) -> Iterator[bytes]:
        """The lines of MONITOR for that long, without ``+`` and line end, cut at `LONGEST_LINE`; closes the connection.

        Raises:
            Unreachable: as `ask`; also when MONITOR is refused.
        """
        reply = self.one(b"MONITOR")
        if isinstance(reply, Error):
            raise Unreachable(reply.text.decode("utf-8", "replace"))
        assert self._socket is not None  # noqa: S101 - it has just answered
        until = time.monotonic() + seconds
        try:
            with self._explained():
                yield from self._lines(self._socket, until)
        finally:
            self.close()

    def _lines(self, sock: socket.socket, until: float) -> Iterator[bytes]:
        cut = False  # whether the line that is being read is over its length: its beginning was given already
        while (left := until - time.monotonic()) > 0:
            end = self._buffer.find(b"\r\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if not cut:
                    yield line[1:]
                cut = False
                continue
            if len(self._buffer) > LONGEST_LINE:
                if not cut:
                    yield bytes(self._buffer[1:LONGEST_LINE])
                cut = True
                del self._buffer[:-1]  # the line end may be cut in two
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                self._receive(sock)

    def _connect(self) -> None:
        where = self.endpoint
        if where.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(TIMEOUT)
            self._socket = sock
            sock.connect(where.path)
        else:
            self._socket = sock = socket.create_connection((where.host, where.port), TIMEOUT)
            if where.tls:
                context = ssl.create_default_context(cafile=where.tls_ca)
                self._socket = context.wrap_socket(sock, server_hostname=where.tls_server_name or where.host)
        if where.password:
            login = [where.user.encode("utf-8", "surrogateescape")] if where.user else []
            (reply,) = self._exchange([[b"AUTH", *login, where.password.encode("utf-8", "surrogateescape")]])
            if isinstance(reply, Error):
                raise Unreachable(reply.text.decode("utf-8", "replace"))
        self._exchange([[b"CLIENT", b"SETNAME", b"kvgate-assess"]])  # for who looks at CLIENT LIST; it may be refused
        if self.database:
            (reply,) = self._exchange([[b"SELECT", b"%d" % self.database]])
            if isinstance(reply, Error):
                raise Unreachable(reply.text.decode("utf-8", "replace"))

    def _exchange(self, requests: Sequence[Sequence[bytes]]) -> list[Reply]:
        sock = self._socket
        assert sock is not None  # noqa: S101 - the caller has connected
        sock.settimeout(TIMEOUT)
        sock.sendall(b"".join(encode_request(words) for words in requests))
        replies: list[Reply] = []
        while len(replies) < len(requests):
            data, at = bytes(self._buffer), 0
            while len(replies) < len(requests) and at < len(data) and (end := measure(data, at)) >= 0:
                replies.append(decode(data[at:end]))
                at = end
            del self._buffer[:at]
            if len(replies) < len(requests):
                self._receive(sock)
        for reply in replies:
            if isinstance(reply, Error) and reply.text.startswith(_NOT_NOW):
                raise Unreachable(reply.text.decode("utf-8", "replace"))
        return replies

    def _receive(self, sock: socket.socket) -> None:
        more = sock.recv(1 << 16)
        if not more:
            raise OSError("the store closed the connection")
        self._buffer += more

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What breaks closes the connection, and is told as `Unreachable`."""
        try:
            yield
        except (OSError, ProtocolError) as error:
            self.close()
            raise Unreachable(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()  # what was asked may still be answered
            raise

    def close(self) -> None:
        """End the connection; idempotent."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer.clear()
