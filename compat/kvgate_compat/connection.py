"""One blocking connection to any RESP server: whole raw replies, and the tree of types and texts inside them."""

import contextlib
import io
import socket
import ssl
from collections.abc import Sequence
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

TIMEOUT = 30.0
"""Seconds for one reply; a server that needs longer is taken for one that hangs."""


class Ended(Exception):  # noqa: N818 - what a server did, which is compared like a reply
    """The server closed the connection, or said nothing for `TIMEOUT` seconds; the text says which."""


@attrs.frozen(slots=True)
class Node:
    """One reply: `kind` is its type byte (``_`` for every null), `text` what stands in it, `items` what an aggregate holds
    (a map: key, value …)."""

    kind: bytes
    text: bytes
    items: "tuple[Node, ...]"
    raw: bytes


_SIZED = (b"$", b"=", b"!")
_AGGREGATES = (b"*", b"~", b">", b"%")
_LINES = (b"+", b"-", b":", b"_", b",", b"#", b"(")


def encode(args: Sequence[bytes]) -> bytes:
    """The canonical RESP request."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


def without_password(url: str) -> str:
    """The URL as people, logs and files may see it."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user.partition(":")[0] + at + place)) if parts.password else url


class Connection:
    """A connection to ``redis://[user:password@]host:port``, ``rediss://…`` or ``unix:///path`` in RESP `proto`."""

    def __init__(self, url: str, proto: int = 2) -> None:
        """Connect, log in when the URL has a password, and choose the protocol. Raises OSError, or Ended."""
        self.url = url
        self.proto = proto
        self._socket, self._file = _connect(url)
        parts = urlsplit(url)
        try:
            if parts.password:
                self.expect_ok("AUTH", unquote(parts.username or "default"), unquote(parts.password))
            if proto == 3:
                self.expect_ok("HELLO", "3")
        except Ended:
            self.close()
            raise

    def close(self) -> None:
        """Close; idempotent."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._socket.close()

    def expect_ok(self, *words: str) -> Node:
        """The reply of a command that has to work. Raises Ended with the error otherwise."""
        reply = self.ask([word.encode() for word in words])
        if reply.kind == b"-":
            raise Ended(f"{without_password(self.url)} answered {words[0]} with {reply.text.decode('utf-8', 'replace')}")
        return reply

    def ask(self, args: Sequence[bytes]) -> Node:
        """One request, one reply. Raises Ended."""
        return self.pipeline([args])[0]

    def pipeline(self, requests: Sequence[Sequence[bytes]]) -> list[Node]:
        """All requests at once, then as many replies. Raises Ended."""
        try:
            self._socket.sendall(b"".join(map(encode, requests)))
            return [self._read() for _ in requests]
        except TimeoutError:
            raise Ended(f"no reply within {TIMEOUT:.0f} s") from None
        except OSError:
            raise Ended("the connection was closed") from None

    def _read(self) -> Node:
        return read_node(self._file)


def parse(raw: bytes) -> Node:
    """One whole reply. Raises Ended when it is none."""
    return read_node(io.BytesIO(raw))


def read_node(file: BinaryIO) -> Node:
    """The next reply of a stream. Raises Ended, OSError."""
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise Ended("the connection was closed")
    kind, text = line[:1], line[1:-2]
    if kind in _LINES:
        return Node(kind, text, (), line)
    if kind not in _SIZED + _AGGREGATES:
        raise Ended(f"no RESP reply: {line[:80]!r}")
    count = int(text)
    if count < 0:
        return Node(b"_", b"", (), line)
    if kind in _SIZED:
        body = file.read(count + 2)
        if len(body) < count + 2:
            raise Ended("the connection was closed")
        return Node(kind, body[:-2], (), line + body)
    items = tuple(read_node(file) for _ in range(count * 2 if kind == b"%" else count))
    return Node(kind, text, items, line + b"".join(item.raw for item in items))


def _connect(url: str) -> tuple[socket.socket, BinaryIO]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.connect(unquote(parts.path))
        except OSError:
            connected.close()
            raise
    elif parts.scheme in ("redis", "rediss"):
        connected = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), TIMEOUT)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        msg = f"{without_password(url)}: begins with redis://, rediss:// or unix://"
        raise ValueError(msg)
    connected.settimeout(TIMEOUT)
    if parts.scheme == "rediss":
        try:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=parts.hostname)
        except OSError:
            connected.close()
            raise
    return connected, connected.makefile("rb")
