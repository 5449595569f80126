"""CONFIG GET: those of Redis' settings that clients ask for, with the values that are true of the gate.

Settings of a store's own (encodings, persistence files, replication) are not here: they are different on each store.
"""

from collections.abc import Callable, Mapping
from typing import Final

from kvgate.lane.client import Client
from kvgate.policy.settings import GateSettings
from kvgate.server.site import Answer, Site
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Map, Reply
from kvgate.wire.request import BULK_LIMIT

Value = Callable[[GateSettings], str | int]


def _port(kind: str) -> Value:
    return lambda gate: next((each.port for each in gate.listen if each.kind == kind), 0)


def _fixed(value: str | int) -> Value:
    return lambda _gate: value


def _output_limits(gate: GateSettings) -> str:
    normal = f"normal {gate.output_hard} {gate.output_soft} {int(gate.output_soft_time)}"
    subscribed = f"{gate.pubsub_output_hard} {gate.pubsub_output_soft} {int(gate.pubsub_output_soft_time)}"
    return f"{normal} slave 0 0 0 pubsub {subscribed}"


def _bind(gate: GateSettings) -> str:
    return " ".join(dict.fromkeys(each.host for each in gate.listen if each.kind != "unix"))


SETTINGS: Final[Mapping[str, Value]] = {
    "appendonly": _fixed("no"),  # whether a store keeps what it is given is the store's: see INFO, # Gate
    "bind": _bind,
    "client-output-buffer-limit": _output_limits,
    "client-query-buffer-limit": lambda gate: gate.pipeline_bytes,
    "cluster-enabled": _fixed("no"),
    "databases": _fixed(1),
    "io-threads": _fixed(1),
    "latency-monitor-threshold": lambda gate: int(gate.latency_threshold * 1000),
    "latency-tracking": _fixed("yes"),
    "loglevel": lambda gate: gate.log_level,
    "maxclients": lambda gate: gate.max_clients,
    "maxmemory": _fixed(0),
    "maxmemory-clients": lambda gate: gate.client_memory,
    "maxmemory-policy": _fixed("noeviction"),
    "notify-keyspace-events": _fixed(""),
    "port": _port("tcp"),
    "proto-max-bulk-len": _fixed(BULK_LIMIT),
    "replicaof": _fixed(""),
    "save": _fixed(""),
    "slaveof": _fixed(""),
    "slowlog-log-slower-than": lambda gate: int(gate.slowlog_time * 1_000_000),
    "slowlog-max-len": lambda gate: gate.slowlog_entries,
    "tcp-keepalive": lambda gate: int(gate.tcp_keepalive),
    "timeout": lambda gate: int(gate.idle_timeout),
    "tls-port": _port("tls"),
    "unixsocket": lambda gate: next((each.path for each in gate.listen if each.kind == "unix"), ""),
}


def _get(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Names and patterns, in any case; a name without wildcards is answered as it was written, as Redis does."""
    del client, now
    found: dict[str, bytes] = {}
    for pattern in args[2:]:
        if not any(special in pattern for special in b"*?["):
            name = pattern.decode("utf-8", "surrogateescape").lower()
            if name in SETTINGS:
                found.setdefault(name, pattern)
            continue
        matches = glob_matcher(pattern, ignore_case=True)
        for name in SETTINGS:
            if matches(name.encode()):
                found.setdefault(name, name.encode())
    gate = site.configuration.gate
    return Map([(shown, str(SETTINGS[name](gate)).encode("utf-8", "surrogateescape")) for name, shown in found.items()])


ANSWERS: Final[dict[str, Answer]] = {"CONFIG|GET": _get}
