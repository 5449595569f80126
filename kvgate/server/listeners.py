"""Listening sockets: TCP over IPv4 and IPv6, unix sockets, and what TLS clients are served with."""

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from kvgate.errors import ConfigurationError
from kvgate.lane.driver import Listener
from kvgate.lane.tls import TlsTransform, server_context
from kvgate.policy.settings import GateSettings, Listen, TlsSettings
from kvgate.policy.users import Network, parse_address

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel's somaxconn may be lower."""


@attrs.frozen(slots=True)
class Bound:
    """A bound, listening, non-blocking socket of one address of ``gate.listen``."""

    sock: socket.socket
    listen: Listen
    admin: bool = False
    """Whether it is ``gate.admin``, for operators."""
    file: tuple[int, int] | None = None
    """Device and inode of a unix socket's file."""

    @property
    def name(self) -> str:
        """For logs and CLIENT LIST's ``laddr``: with the port that the kernel chose."""
        if self.listen.kind == "unix":
            return self.listen.path
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(gate: GateSettings) -> list[Bound]:
    """Bind every listener of the configuration, that for operators last.

    Raises:
        ConfigurationError: an address that is taken or not this machine's, a certificate that cannot be read.
    """
    bound: list[Bound] = []
    try:
        for listen in (*gate.listen, *([gate.admin] if gate.admin else ())):
            admin = listen is gate.admin
            try:
                sockets = _unix(listen) if listen.kind == "unix" else _tcp(listen)
            except OSError as error:
                key = "gate.admin" if admin else "gate.listen"
                raise ConfigurationError([f'{key}: "{listen}" cannot be bound: {error.strerror or error}']) from None
            bound += [Bound(sock, listen, admin, _file(listen)) for sock in sockets]
    except BaseException:
        close(bound)
        raise
    return bound


def bind_metrics(gate: GateSettings) -> list[socket.socket]:
    """Bind ``gate.metrics``; nothing where there is none.

    Raises:
        ConfigurationError: the address is taken, or not this machine's.
    """
    if gate.metrics is None:
        return []
    try:
        return _tcp(gate.metrics)
    except OSError as error:
        raise ConfigurationError([f'gate.metrics: "{gate.metrics}" cannot be bound: {error.strerror or error}']) from None


def close(bound: Sequence[Bound]) -> None:
    """Stop listening."""
    for each in bound:
        each.sock.close()


def doors(gate: GateSettings, names: Sequence[tuple[str, str, bool]]) -> list[Listener]:
    """What the lane has to know of each bound socket: of its ``(name, kind, admin)``.

    Raises:
        ConfigurationError: a certificate that cannot be read.
    """
    tls = None if gate.tls is None else _tls(gate.tls)
    trusted = _trusted(gate.proxy_protocol)
    return [
        Listener(name, tls if kind == "tls" else None, None if admin else trusted, admin) for name, kind, admin in names
    ]


def _tcp(listen: Listen) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            for other in sockets:
                other.close()
            raise
        sockets.append(sock)
    return sockets


def _unix(listen: Listen) -> list[socket.socket]:
    """A socket file that a dead gate left behind is replaced; one that somebody serves is not."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(listen.path).st_mode) and not _served(listen.path):
            os.unlink(listen.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind(listen.path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return [sock]


def _served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def remove_files(bound: Sequence[Bound]) -> None:
    """Take away the unix sockets' files at the end, but not one that another gate has put in their place."""
    for each in bound:
        if each.file is not None and _file(each.listen) == each.file:
            with contextlib.suppress(OSError):
                os.unlink(each.listen.path)


def _file(listen: Listen) -> tuple[int, int] | None:
    try:
        found = os.stat(listen.path) if listen.kind == "unix" else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _tls(settings: TlsSettings) -> Callable[[], TlsTransform]:
    try:
        context = server_context(settings.cert, settings.key, settings.ca)
    except OSError as error:
        raise ConfigurationError([f"gate.tls: the certificate or key cannot be used: {error}"]) from None
    return partial(TlsTransform, context, server_side=True)


def _trusted(networks: Sequence[Network]) -> Callable[[str], bool] | None:
    if not networks:
        return None

    def trusted(host: str) -> bool:
        address = parse_address(host)
        return any(address in network for network in networks)

    return trusted
