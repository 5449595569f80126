"""A small client of a gate, for commands that look at one: blocking, one request at a time."""

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from kvgate.errors import ConfigurationError, ProtocolError
from kvgate.wire.measure import measure
from kvgate.wire.reply import Error, Reply, decode
from kvgate.wire.request import encode_request

TIMEOUT: Final = 5.0
"""Seconds that a connection and each answer may take."""


class Refused(Exception):  # noqa: N818 - an answer that callers decide about
    """The gate answered with an error; its text."""


class Lost(Exception):  # noqa: N818 - an event that callers decide about
    """The gate is not there, or is not one."""


@attrs.frozen(slots=True)
class Address:
    """Where a gate is, and who asks."""

    host: str = ""
    port: int = 0
    path: str = ""
    """Of a unix socket; then host and port are empty."""
    tls: bool = False
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    ca: Path | None = None

    def __str__(self) -> str:
        """Without who asks."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"


def parse_address(text: str, *, ca: Path | None = None) -> Address:
    """``redis://user:password@host:port``, ``rediss://…``, ``unix:///path``, ``host:port``.

    Raises:
        ConfigurationError: it is none of them. The text, which may hold a password, is not repeated.
    """
    try:
        parts = urlsplit(text if "://" in text else f"redis://{text}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix" and parts.path:
            return Address(path=parts.path, user=user, password=password)
        if parts.scheme in ("redis", "rediss") and parts.hostname:
            tls = parts.scheme == "rediss"
            return Address(parts.hostname, parts.port or 6380, tls=tls, user=user, password=password, ca=ca)
    except ValueError:
        pass
    raise ConfigurationError(["the gate's address is none: redis://user@127.0.0.1:6380, rediss://host:port, unix:///path"])


class Asking:
    """One connection, made when it is needed."""

    def __init__(self, address: Address) -> None:
        """Of the gate at `address`; nothing is connected yet."""
        self.address = address
        self._socket: socket.socket | None = None
        self._buffer = b""

    def ask(self, *words: str) -> Reply:
        """The reply.

        Raises:
            Refused: it is an error.
            Lost: the gate is not there, or did not answer in time. The next call connects anew.
        """
        return self._ask([word.encode("utf-8", "surrogateescape") for word in words])

    def _ask(self, words: Sequence[bytes]) -> Reply:
        try:
            if self._socket is None:
                self._connect()
            reply = self._exchange(words)
        except (OSError, ProtocolError) as error:
            self.close()
            raise Lost(str(error) or type(error).__name__) from error
        if isinstance(reply, Error):
            raise Refused(reply.text.decode("utf-8", "replace"))
        return reply

    def _connect(self) -> None:
        where = self.address
        if where.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(TIMEOUT)
            self._socket = sock
            sock.connect(where.path)
        else:
            self._socket = sock = socket.create_connection((where.host, where.port), TIMEOUT)
            if where.tls:
                context = ssl.create_default_context(cafile=where.ca)
                self._socket = context.wrap_socket(sock, server_hostname=where.host)
        if where.password:
            reply = self._exchange([b"AUTH", (where.user or "default").encode(), where.password.encode()])
            if isinstance(reply, Error):
                self.close()
                raise Refused(reply.text.decode("utf-8", "replace"))

    def _exchange(self, words: Sequence[bytes]) -> Reply:
        assert self._socket is not None  # noqa: S101 - the caller has connected
        self._socket.sendall(encode_request(words))
        while not self._buffer or (end := measure(self._buffer, 0)) < 0:
            more = self._socket.recv(1 << 16)
            if not more:
                raise OSError("the gate closed the connection")
            self._buffer += more
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        return decode(raw)

    def close(self) -> None:
        """End the connection; idempotent."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""
