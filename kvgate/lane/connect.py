"""Connecting to a store process: name, socket, TLS and the handshake, in one bounded step.

Used for the lane's shared connections and for the ones that a client has for itself. Names are resolved and the password
file is read at every call, so that a failover by name and a rotated password need no reload.
"""

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable

import attrs
import trio

from kvgate.backend import Endpoint
from kvgate.errors import GateError, ProtocolError, upstream_refused
from kvgate.lane.tls import TlsError, TlsTransform, client_context
from kvgate.wire.measure import Measurer
from kvgate.wire.request import encode_request

CONNECT_TIMEOUT = 0.5
"""Seconds for everything, handshake included: a second try still fits into a command's 1.5 s."""
KEEP_IDLE, KEEP_INTERVAL, KEEP_COUNT = 15, 5, 3
"""TCP keep-alive, in seconds and tries: a blocking pop may wait for hours, and a host that vanished must be noticed."""
RECEIVE_SIZE = 64 * 1024


class ConnectFailed(Exception):  # noqa: N818 - says what happened, as trio's own exceptions do
    """No usable connection came to be; nothing was executed. `why` is one clause, without secrets."""

    def __init__(self, why: str) -> None:
        """Keep `why`: ``connection refused``."""
        super().__init__(why)
        self.why = why


class StoreLoading(ConnectFailed):
    """The store is up and still reads its data (``-LOADING``): it counts as away."""


class Stream:
    """A non-blocking socket and its TLS transform, awaited. Sending and receiving may go on in two tasks at once.

    Errors come as `OSError` or `TlsError`; `close` wakes up whoever waits, with `trio.ClosedResourceError`.
    """

    __slots__ = ("_flushing", "_unsent", "sock", "tls")

    def __init__(self, sock: socket.socket, tls: TlsTransform | None = None) -> None:
        """Own `sock`, which is non-blocking and connected."""
        self.sock = sock
        self.tls = tls
        self._unsent = bytearray()
        self._flushing = trio.Lock()

    async def send_all(self, data: bytes) -> None:
        """Send. When cancelled, a part may have been sent; the rest goes out with the next call."""
        self._unsent += data if self.tls is None else self.tls.send(data)
        await self._flush()

    async def receive_some(self) -> bytes:
        """What has come, at least one byte; empty at the end. When cancelled, nothing is lost."""
        while True:
            data = await self._read_socket()
            if self.tls is None:
                return data
            plaintext = self.tls.receive(data)
            self._unsent += self.tls.outgoing()
            if self._unsent:
                await self._flush()
            if plaintext or self.tls.ended:
                return plaintext

    async def start_tls(self, tls: TlsTransform) -> bytes:
        """Do the handshake; plaintext that came with its end."""
        self.tls = tls
        self._unsent += tls.start()
        early = b""
        while not tls.established:
            await self._flush()
            early = tls.receive(await self._read_socket())
            self._unsent += tls.outgoing()
        await self._flush()
        return early

    def close(self) -> None:
        """Close at once; a TLS goodbye is sent if the socket takes it. Idempotent."""
        if self.sock.fileno() < 0:
            return
        try:
            if self.tls is not None and not self._unsent:
                self.sock.send(self.tls.close())
        except OSError:
            pass  # it is gone already, or full
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    async def _read_socket(self) -> bytes:
        while True:
            self._check_open()
            try:
                data = self.sock.recv(RECEIVE_SIZE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
            else:
                return data

    async def _flush(self) -> None:
        async with self._flushing:
            while self._unsent:
                self._check_open()
                try:
                    sent = self.sock.send(self._unsent)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.sock)
                else:
                    del self._unsent[:sent]

    def _check_open(self) -> None:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed here")


@attrs.frozen(slots=True)
class Connected:
    """A connection to a store on which the handshake is done and nothing is unanswered."""

    sock: socket.socket
    """Non-blocking; whoever has it closes it."""
    tls: TlsTransform | None
    leftover: bytes
    """Plaintext read beyond the handshake: the beginning of what comes next."""
    proto: int
    """2 where 3 was asked for and the endpoint does not know it."""

    @property
    def stream(self) -> Stream:
        """The same, awaited."""
        return Stream(self.sock, self.tls)


async def connect(
    endpoint: Endpoint,
    *,
    proto: int,
    name: str,
    timeout: float = CONNECT_TIMEOUT,  # noqa: ASYNC109 - its end is one of the answers, and it is shared by the addresses
) -> Connected:
    """Connect and shake hands within `timeout` seconds. `name` is what the store's CLIENT LIST shows, if it has that.

    Raises:
        GateError: ``ERR upstream …``: the store refused the gate's password, user or database; an operator has to act.
        StoreLoading: it is reading its data.
        ConnectFailed: it is away, does not answer, or is something else.
    """
    deadline = trio.current_time() + timeout
    with trio.move_on_at(deadline):
        try:
            return await _connect(endpoint, 3 if proto == 3 and endpoint.resp3 else 2, name, deadline)
        except TlsError as error:
            raise ConnectFailed(str(error)) from error
        except ProtocolError as error:
            raise ConnectFailed(f"it does not speak the Redis protocol ({error.text})") from error
        except OSError as error:
            raise ConnectFailed(_words(error)) from error
    raise ConnectFailed(f"no answer within {timeout:g} s")


async def _connect(endpoint: Endpoint, proto: int, name: str, deadline: float) -> Connected:
    secret = await _password(endpoint)
    stream = Stream(await _open(endpoint, deadline))
    try:
        early = b""
        if endpoint.tls:
            early = await stream.start_tls(await _transform(endpoint))
        leftover = await _shake_hands(stream, early, _steps(endpoint, proto, name, secret), secret)
    except BaseException:
        stream.close()
        raise
    return Connected(stream.sock, stream.tls, leftover, proto)


async def _password(endpoint: Endpoint) -> bytes:
    if endpoint.password_file is None:
        return endpoint.password.encode("utf-8", "surrogateescape")
    try:
        return (await trio.Path(endpoint.password_file).read_bytes()).rstrip(b"\r\n")
    except OSError as error:
        raise ConnectFailed(f"password_file {endpoint.password_file}: {_words(error)}") from error


async def _transform(endpoint: Endpoint) -> TlsTransform:
    try:
        context = await trio.to_thread.run_sync(client_context, endpoint)
    except ssl.SSLError as error:
        raise ConnectFailed(f"tls_ca, tls_cert or tls_key hold no usable certificate or key: {error.reason}") from error
    except OSError as error:
        raise ConnectFailed(f"{error.filename or 'tls_ca, tls_cert or tls_key'}: {_words(error)}") from error
    return TlsTransform(context, server_name=endpoint.tls_server_name or endpoint.host)


async def _open(endpoint: Endpoint, deadline: float) -> socket.socket:
    """A connected socket: the name's addresses are tried in turn, each with its share of the time that is left."""
    if endpoint.path:
        return await _open_address(socket.AF_UNIX, endpoint.path)
    try:
        found = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ConnectFailed(f"name {endpoint.host!r} is not known: {error.strerror}") from error
    last: OSError = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    for position, (family, _, _, _, address) in enumerate(found):
        share = (deadline - trio.current_time()) / (len(found) - position)
        with trio.move_on_after(share):
            try:
                return await _open_address(family, address)
            except OSError as error:
                last = error
    raise last


async def _open_address(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)
        code = sock.connect_ex(address)  # type: ignore[arg-type]  # what getaddrinfo gave, or a path
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:  # a unix socket with a full backlog says EAGAIN: busy counts as away
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_COUNT)


@attrs.frozen(slots=True)
class _Step:
    """One command of the handshake; `judge` raises when its error reply (code, text) means that there is no connection."""

    args: list[bytes]
    judge: Callable[[str, str], None]
    answer: bytes = b""
    """What a reply that is no error begins with."""


def _steps(endpoint: Endpoint, proto: int, name: str, secret: bytes) -> list[_Step]:
    """All of the handshake; it is sent in one flight.

    A store without RESP3 (KvRocks) gets AUTH only, and what every store knows: its HELLO says 2, and older ones lack
    parts of CLIENT. PING ends it: a process that is stopped accepts connections and answers nothing, and of all commands
    here it alone is answered ``-LOADING`` by Redis (HELLO, AUTH and SELECT are allowed while it loads).
    """
    user = endpoint.user.encode("utf-8", "surrogateescape")
    steps = []
    if proto == 3:
        login = [b"AUTH", user or b"default", secret] if secret or user else []
        steps.append(_Step([b"HELLO", b"3", *login], _hello_failed, b"%"))
    elif secret or user:
        steps.append(_Step([b"AUTH", *([user] if user else []), secret], _refused))
    if name and endpoint.resp3:
        steps.append(_Step([b"CLIENT", b"SETNAME", name.encode("utf-8", "surrogateescape")], _not_logged_in))
    if endpoint.database:
        steps.append(_Step([b"SELECT", b"%d" % endpoint.database], _refused))
    steps.append(_Step([b"PING"], _not_logged_in))
    return steps


def _refused(_code: str, text: str) -> None:
    raise upstream_refused(text)


def _hello_failed(code: str, text: str) -> None:
    if code in {"NOPROTO", "ERR"}:
        raise ConnectFailed(f"it does not know HELLO 3 ({text}); say resp3 = false for this backend")
    raise upstream_refused(text)


def _not_logged_in(code: str, text: str) -> None:
    """Naming and PING may fail for many reasons (no right to them, a running script); only these mean no service."""
    if code in {"NOAUTH", "DENIED"}:
        raise upstream_refused(text)
    if "max number of clients" in text:
        raise ConnectFailed(f"it takes no more connections ({text})")
    if code == "MASTERDOWN":
        raise ConnectFailed(f"it is a replica without its master ({text})")


async def _shake_hands(stream: Stream, data: bytes, steps: list[_Step], secret: bytes) -> bytes:
    """Send all steps at once and judge each reply; the bytes behind the last one."""
    hidden = secret.decode("utf-8", "replace")
    with contextlib.suppress(ConnectionError):  # what it said before it hung up waits to be read
        await stream.send_all(b"".join(encode_request(step.args) for step in steps))
    said = ""
    for step in steps:
        raw, data = await _one_reply(stream, data, said)
        if raw[:1] == b"-":
            said = raw[1:].decode("utf-8", "replace").strip()
            if hidden:  # a store that lacks the command quotes its arguments
                said = said.replace(hidden, "***")
            code = said.partition(" ")[0]
            if code == "LOADING":
                raise StoreLoading(f"it is loading its data ({said})")
            step.judge(code, said)
        elif not raw.startswith(step.answer):
            raise ConnectFailed("it answers HELLO 3 in RESP2; say resp3 = false for this backend")
    return data


async def _one_reply(stream: Stream, data: bytes, said: str) -> tuple[bytes, bytes]:
    """One whole reply and what came behind it. `said` is the last error, which often explains why a store hangs up."""
    measurer = Measurer()
    parts: list[bytes] = []
    while True:
        if data:
            end = measurer.feed(data, 0)
            if end >= 0:
                return b"".join([*parts, data[:end]]), data[end:]
            parts.append(data)
        data = await stream.receive_some()
        if not data:
            last = said or b"".join(parts).decode("utf-8", "replace").strip()
            raise ConnectFailed("it closed the connection during the handshake" + (f" ({last})" if last else ""))


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def away(endpoint: Endpoint, failure: "ConnectFailed | GateError") -> str:
    """What an operator is told about a store that `connect` could not reach: its address and the reason."""
    return f"{endpoint.url}: {failure.why if isinstance(failure, ConnectFailed) else failure.text}"
