"""One blocking connection to any RESP server: whole raw replies, and the tree of types and texts inside them."""

import contextlib
import fcntl
import io
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import BinaryIO, Final
from urllib.parse import quote

import attrs

from kvgate.backend import Endpoint
from kvgate.routing.endpoints import parse_url

TIMEOUT = 30.0
"""Seconds for one reply; a server that needs longer is taken for one that hangs."""


_SIOCOUTQ: Final = 0x5411
"""Linux' ``SIOCOUTQ`` (ioctl(2)): how many sent bytes the peer has not taken yet."""


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


def endpoint_of(url: str) -> Endpoint:
    """Where a URL leads. Raises ValueError, which never quotes the URL: it may hold a password."""
    endpoint = parse_url(url)
    if endpoint.database:
        raise ValueError("the whole server is emptied and compared, so no database can be chosen")
    return endpoint


def without_password(url: str) -> str:
    """The URL as people, logs and files may see it. Raises ValueError as `endpoint_of`."""
    endpoint = endpoint_of(url)
    shown = endpoint.url.removesuffix("/0") if not endpoint.path else endpoint.url
    return shown.replace("://", f"://{quote(endpoint.user)}@", 1) if endpoint.user else shown


class Connection:
    """A connection to ``redis://[user:password@]host:port``, ``rediss://…`` or ``unix:///path`` in RESP `proto`."""

    def __init__(self, url: str, proto: int = 2) -> None:
        """Connect, log in when the URL has a password, and choose the protocol. Raises OSError, Ended, or ValueError as
        `endpoint_of`."""
        self.url = url
        self.proto = proto
        self._endpoint = endpoint_of(url)
        self._socket, self._file = _connect(self._endpoint)
        try:
            self.log_in()
        except Ended:
            self.close()
            raise

    def log_in(self) -> None:
        """Say who this is, and choose the protocol: after connecting, and after RESET. Raises Ended."""
        where = self._endpoint
        if where.password:
            self.expect_ok("AUTH", where.user or "default", where.password)
        if self.proto == 3:
            self.expect_ok("HELLO", "3")

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
        self.send(b"".join(map(encode, requests)))
        return self.replies(len(requests))

    def send(self, data: bytes, *, wait: bool = False) -> None:
        """Send bytes; with `wait` until the peer has taken them, so that what follows comes by itself. Raises Ended."""
        try:
            self._socket.sendall(data)
            deadline = time.monotonic() + TIMEOUT
            while wait and self._untaken() and time.monotonic() < deadline:
                time.sleep(0.0002)
        except TimeoutError:
            raise Ended(f"took nothing for {TIMEOUT:.0f} s") from None
        except OSError:
            raise Ended("the connection was closed") from None

    def replies(self, count: int) -> list[Node]:
        """So many replies. Raises Ended."""
        try:
            return [self._read() for _ in range(count)]
        except TimeoutError:
            raise Ended(f"no reply within {TIMEOUT:.0f} s") from None
        except OSError:
            raise Ended("the connection was closed") from None

    def receive(self) -> Node:
        """The next reply or message. Raises Ended."""
        return self.replies(1)[0]

    def until(self, end: bytes) -> tuple[bytes, bool]:
        """All bytes until they end with `end`, or the connection is closed (then True). Raises Ended."""
        found = b""
        try:
            while not (end and found.endswith(end)):
                more = self._socket.recv(1 << 16)
                if not more:
                    return found, True
                found += more
        except TimeoutError:
            raise Ended(f"no end within {TIMEOUT:.0f} s, after {found[:200]!r}") from None
        except OSError:
            raise Ended("the connection was broken off") from None
        return found, False

    def _untaken(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._socket.fileno(), _SIOCOUTQ, b"\0" * 4))[0])

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
    try:
        count = int(text)
    except ValueError:
        raise Ended(f"no RESP reply: {line[:80]!r}") from None
    if count < 0:
        return Node(b"_", b"", (), line)
    if kind in _SIZED:
        body = file.read(count + 2)
        if len(body) < count + 2:
            raise Ended("the connection was closed")
        return Node(kind, body[:-2], (), line + body)
    items = tuple(read_node(file) for _ in range(count * 2 if kind == b"%" else count))
    return Node(kind, text, items, line + b"".join(item.raw for item in items))


def _connect(where: Endpoint) -> tuple[socket.socket, BinaryIO]:
    if where.path:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.connect(where.path)
        except OSError:
            connected.close()
            raise
    else:
        connected = socket.create_connection((where.host, where.port), TIMEOUT)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.settimeout(TIMEOUT)
    if where.tls:
        try:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=where.host)
        except OSError:
            connected.close()
            raise
    return connected, connected.makefile("rb")
