"""The ``[gate]`` table as values: listeners, limits and times, each with its default and the reason for it.

The fields' metadata (unit, bounds, reason) is what kvgate.config reads the table with and what docs/configuration.md is
held against by a test. Times are in seconds, sizes in bytes; the configuration may write them with units.
"""

import ipaddress
from pathlib import Path
from typing import Any, Final

import attrs

from kvgate.policy.users import Network

MIB: Final = 1024 * 1024


@attrs.frozen(slots=True)
class Listen:
    """One address to listen on."""

    kind: str
    """``tcp``, ``tls`` or ``unix``."""
    host: str = ""
    port: int = 0
    """0: any free one."""
    path: str = ""
    """Of a unix socket, absolute."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than ``localhost`` may mean anything, so it does not."""
        if self.kind == "unix" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """As the configuration writes it."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls:' if self.kind == 'tls' else ''}{host}:{self.port}"


def parse_listen(text: str, base: Path) -> Listen:
    """``127.0.0.1:6380``, ``[::1]:6380``, ``tls:0.0.0.0:6381``, ``unix:/run/kvgate.sock`` (relative to `base`).

    Raises:
        ValueError: with what is wrong.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "unix":
        if not rest:
            raise ValueError("no path: unix:/run/kvgate.sock")
        return Listen("unix", path=str(base.absolute() / rest))
    kind, rest = ("tls", rest) if colon and kind == "tls" else ("tcp", text)
    host, colon, port = rest.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError(f'"{text}" is no address: host:port, [::1]:port, tls:host:port or unix:/path')
    host = host[1:-1] if bracketed else host
    if not host:
        raise ValueError(f'"{text}" names no host: write 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface')
    if bracketed:
        ipaddress.IPv6Address(host.partition("%")[0])  # AddressValueError is a ValueError that says what is wrong
    return Listen(kind, host=host, port=int(port))


@attrs.frozen(slots=True)
class TlsSettings:
    """``[gate.tls]``, for listeners ``tls:…``; TLS 1.2 and newer."""

    cert: Path
    key: Path
    ca: Path | None = None
    """When given, clients must show a certificate that it signed."""


def _time(default: float, why: str, *, low: float = 0.0) -> Any:
    return attrs.field(default=default, metadata={"unit": "time", "why": why, "low": low})


def _size(default: int, why: str, *, low: int = 0) -> Any:
    return attrs.field(default=default, metadata={"unit": "size", "why": why, "low": low})


def _count(default: int, why: str, *, low: int = 1, high: int = 2**31 - 1) -> Any:
    return attrs.field(default=default, metadata={"unit": "count", "why": why, "low": low, "high": high})


@attrs.frozen(slots=True, kw_only=True)
class GateSettings:
    """``[gate]``. A field with a unit in its metadata is a key of that name."""

    listen: tuple[Listen, ...] = (Listen("tcp", "127.0.0.1", 6380),)
    admin: Listen | None = None
    """Where operators are served outside the limit on clients, and ahead of them; None: nowhere."""
    metrics: Listen | None = None
    """Where /metrics and /health are; None: nowhere."""
    traces: str = ""
    """Where spans are sent: the URL of an OTLP receiver, whole; empty: nowhere."""
    trace_sample: float = 0.001
    """The share of the commands that have a span, above 0, up to 1."""
    tls: TlsSettings | None = None
    proxy_protocol: tuple[Network, ...] = ()
    """Balancers whose PROXY protocol v2 header says who the client is; from elsewhere a header is a protocol error."""
    log_level: str = "warning"
    allowed_scripts: frozenset[str] = frozenset()
    """SHA-1s, lower-case hex, of scripts that run on a store which holds namespaces that the user may not see."""

    workers: int = _count(
        1, 'processes; one is enough until its core is full; "auto": what the machine or container allows', high=256
    )

    metrics_namespaces: int = _count(
        200, "namespaces with a label of their own in /metrics, those with the most calls; the rest is `other`", high=10_000
    )

    command_timeout: float = _time(
        1.5, "whole time of a command, blocking ones aside: clients give up and send again after 2 s", low=0.01
    )
    connect_timeout: float = _time(0.5, "one connection attempt to a store: leaves time for a second one", low=0.01)
    upstream_silence: float = _time(
        5.0, "a store's connection that owes replies and is silent so long is closed: a long script is no death", low=0.1
    )
    reconnect_first: float = _time(0.05, "wait before connecting to a store again, with jitter, doubling", low=0.001)
    reconnect_longest: float = _time(1.0, "what that wait grows to: no herd, and back within a second", low=0.001)
    shared_connections: int = _count(
        2, "per shard, protocol and worker: 50 gates × 4 workers × 2 protocols stay under 1,000", high=64
    )

    max_clients: int = _count(10_000, "per worker, as Redis")
    idle_timeout: float = _time(0.0, "0: an idle client is not closed, as Redis")
    tcp_keepalive: float = _time(300.0, "as Redis; 0: off")
    pipeline_commands: int = _count(10_000, "commands of a client in flight, beyond which it is not read: long pipelines work")
    pipeline_bytes: int = _size(16 * MIB, "their bytes, likewise", low=1024)
    output_hard: int = _size(
        256 * MIB, "replies a client has not taken, beyond which it is closed: a big HGETALL lives", low=MIB
    )
    output_soft: int = _size(64 * MIB, "the same, when it lasts for output_soft_time", low=MIB)
    output_soft_time: float = _time(60.0, "see output_soft")
    pubsub_output_hard: int = _size(32 * MIB, "of a subscribed client, as Redis", low=MIB)
    pubsub_output_soft: int = _size(8 * MIB, "of a subscribed client, as Redis", low=MIB)
    pubsub_output_soft_time: float = _time(60.0, "of a subscribed client, as Redis")
    client_memory: int = _size(
        1024 * MIB, "buffers of all clients of one worker; nearing it, the greediest are closed first", low=MIB
    )
    queued_commands: int = _count(10_000, "commands that MULTI queues, per client: bounded")
    queued_bytes: int = _size(16 * MIB, "their bytes, likewise", low=1024)

    drain_unready: float = _time(5.0, "after SIGTERM: /health says no, all is served: balancers look away")
    drain_finish: float = _time(20.0, "then commands in flight finish; with the 5 s before inside an orchestrator's 30 s")
    slowlog_time: float = _time(0.01, "a command that takes longer is noted, as Redis")
    slowlog_entries: int = _count(1024, "how many are kept", low=0)
    monitor_lines: int = _count(
        1000, "commands a second that MONITOR shows a client, of each worker; the rest is counted", high=1_000_000
    )
    usage_age: float = _time(
        60.0, "what GATE USAGE and BIGKEYS found is shown again until it is so old, and ten times as old as it took to find"
    )
    latency_threshold: float = _time(
        0.1, "a reply of a store, or a turn of the lane, that takes longer is kept for LATENCY; 0: none"
    )
    hotkeys_sample: int = _count(
        64, "one command in that many is looked at for GATE HOTKEYS, fewer when very many pass; 0: none", low=0, high=1_000_000
    )
    wrong_password_first: float = _time(0.1, "wait after a wrong password, per address and user, doubling")
    wrong_password_longest: float = _time(5.0, "what that wait grows to: safe behind NAT")
