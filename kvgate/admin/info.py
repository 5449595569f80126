"""INFO: the sections of Redis 7.0 with the gate's own figures, and ``# Gate`` with what only a gate has.

A section tells what the gate can say truly: figures of data are the stores' (``# Keyspace`` is empty: DBSIZE counts what
the user sees).
"""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from kvgate.admin.commandstats import collect, commandstats, counted, errorstats, latencystats
from kvgate.admin.common import REDIS_VERSION, session_of, user_of
from kvgate.admin.info_gate import gate_section
from kvgate.lane.client import Client
from kvgate.lane.machine import Lane
from kvgate.metrics.totals import Totals
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.wire.reply import Reply, Verbatim

Lines = list[tuple[str, str | int]]
Section = Callable[[Site, Client, float], Lines]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SHORTEST_SAMPLE: Final = 0.5
"""Seconds between two counts that a rate is made of; what asks oftener is told the last rate again."""


@attrs.define(slots=True)
class _Rate:
    """Commands per second between the last two calls of INFO; since the start at the first."""

    at: float
    """On the lane's clock."""
    count: int = 0
    rate: int = 0

    def look(self, count: int, now: float) -> int:
        passed = now - self.at
        if passed >= _SHORTEST_SAMPLE:
            self.rate = round((count - self.count) / passed)
            self.at, self.count = now, count
        return self.rate


_rates: "WeakKeyDictionary[Lane, _Rate]" = WeakKeyDictionary()


def total_commands(site: Site) -> int:
    """Commands of clients since the start, whoever served them."""
    return site.lane.commands + site.commands


def _ops(site: Site, now: float) -> int:
    rate = _rates.get(site.lane)
    if rate is None:
        rate = _rates[site.lane] = _Rate(at=now - (time.time() - site.started))
    return rate.look(total_commands(site), now)


def human(size: int) -> str:
    """Bytes as Redis writes them for people: ``919.11K``, ``0B``."""
    power = min(max(0, size.bit_length() - 1) // 10, 5)
    return f"{size / 1024**power:.2f}{'BKMGTP'[power]}" if power else f"{size}B"


def _port(client: Client) -> int:
    """Of the listener that this client came by; 0 on a unix socket."""
    if not session_of(client).host:
        return 0
    try:
        return int(client.transport.sock.getsockname()[1])
    except OSError:
        return 0


def _server(site: Site, client: Client, now: float) -> Lines:
    del now
    seconds = int(time.time() - site.started)
    sees_all, path = user_of(client).sees_all, site.configuration.path
    return [
        ("redis_version", REDIS_VERSION.decode()),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_build_id", "0"),
        ("redis_mode", "standalone"),
        ("os", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("arch_bits", 64 if sys.maxsize > 2**32 else 32),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", "epoll"),
        ("process_id", os.getpid()),
        ("process_supervised", "no"),
        ("run_id", site.run_id),
        ("tcp_port", _port(client)),
        ("server_time_usec", time.time_ns() // 1000),
        ("uptime_in_seconds", seconds),
        ("uptime_in_days", seconds // 86400),
        ("executable", sys.executable if sees_all else ""),
        ("config_file", str(path) if sees_all and path is not None else ""),
        ("io_threads_active", 0),
    ]


def _clients(site: Site, client: Client, now: float) -> Lines:
    del client, now
    clients = site.driver.clients
    return [
        ("connected_clients", len(clients) - len(site.driver.admins)),
        ("cluster_connections", 0),
        ("maxclients", site.configuration.gate.max_clients),
        ("blocked_clients", sum(session_of(each).blocked for each in clients.values())),
        ("tracking_clients", 0),
    ]


def _memory(site: Site, client: Client, now: float) -> Lines:
    """Of the whole process: what Redis calls used is its resident size here."""
    del site, client, now
    resident = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    peak = max(resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return [
        ("used_memory", resident),
        ("used_memory_human", human(resident)),
        ("used_memory_rss", resident),
        ("used_memory_rss_human", human(resident)),
        ("used_memory_peak", peak),
        ("used_memory_peak_human", human(peak)),
        ("total_system_memory", total),
        ("total_system_memory_human", human(total)),
        ("maxmemory", 0),
        ("maxmemory_human", "0B"),
        ("maxmemory_policy", "noeviction"),
    ]


def _persistence(site: Site, client: Client, now: float) -> Lines:
    """The gate itself keeps nothing; what a store keeps is its own."""
    del site, client, now
    return [
        ("loading", 0),
        ("async_loading", 0),
        ("rdb_bgsave_in_progress", 0),
        ("rdb_last_bgsave_status", "ok"),
        ("aof_enabled", 0),
        ("aof_rewrite_in_progress", 0),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_last_write_status", "ok"),
    ]


def _stats(site: Site, client: Client, now: float) -> Lines:
    found = counted(site, client, [], now)
    return [
        ("total_connections_received", site.connections),
        ("total_commands_processed", total_commands(site)),
        ("instantaneous_ops_per_sec", _ops(site, now)),
        ("rejected_connections", site.driver.refused),
        ("expired_keys", 0),
        ("evicted_keys", 0),
        ("keyspace_hits", found.hits),
        ("keyspace_misses", found.misses),
        ("total_error_replies", found.errors),
    ]


def _replication(site: Site, client: Client, now: float) -> Lines:
    del client, now
    return [
        ("role", "master"),
        ("connected_slaves", 0),
        ("master_failover_state", "no-failover"),
        ("master_replid", site.run_id),
        ("master_replid2", "0" * 40),
        ("master_repl_offset", 0),
        ("second_repl_offset", -1),
        ("repl_backlog_active", 0),
    ]


def _cpu(site: Site, client: Client, now: float) -> Lines:
    del site, client, now
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        ("used_cpu_sys", f"{own.ru_stime:.6f}"),
        ("used_cpu_user", f"{own.ru_utime:.6f}"),
        ("used_cpu_sys_children", f"{children.ru_stime:.6f}"),
        ("used_cpu_user_children", f"{children.ru_utime:.6f}"),
    ]


def _nothing(site: Site, client: Client, now: float) -> Lines:
    del site, client, now
    return []


def _of_commands(shown: Callable[[Totals], Lines]) -> Section:
    def section(site: Site, client: Client, now: float) -> Lines:
        return shown(counted(site, client, [], now))

    return section


def _cluster(site: Site, client: Client, now: float) -> Lines:
    del site, client, now
    return [("cluster_enabled", 0)]


SECTIONS: Final[Mapping[str, Section]] = {
    "Server": _server,
    "Clients": _clients,
    "Memory": _memory,
    "Persistence": _persistence,
    "Stats": _stats,
    "Replication": _replication,
    "CPU": _cpu,
    "Modules": _nothing,
    "Commandstats": _of_commands(commandstats),
    "Errorstats": _of_commands(errorstats),
    "Latencystats": _of_commands(latencystats),
    "Cluster": _cluster,
    "Keyspace": _nothing,
    "Gate": gate_section,
}
"""In Redis' order, the gate's own last."""
_EVERYTHING: Final = frozenset({"all", "everything"})
_COUNTED: Final = frozenset({"Stats", "Commandstats", "Errorstats", "Latencystats"})
"""What is made of the commands' accounts."""
_ON_REQUEST: Final = frozenset({"Commandstats", "Latencystats"})
"""Not among the default ones, as in Redis."""


def _chosen(names: Sequence[bytes]) -> list[str]:
    wanted = {name.decode("utf-8", "surrogateescape").lower() for name in names}
    if wanted & _EVERYTHING:
        return list(SECTIONS)
    usual = not wanted or "default" in wanted
    return [title for title in SECTIONS if title.lower() in wanted or (usual and title not in _ON_REQUEST)]


def _info(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Sections once each, in Redis' order, whatever the order they were asked for in; unknown ones are passed over."""
    parts = []
    for title in _chosen(args[1:]):
        lines = "".join(f"{name}:{_one_line(value)}\r\n" for name, value in SECTIONS[title](site, client, now))
        parts.append(f"# {title}\r\n{lines}")
    return Verbatim("\r\n".join(parts).encode("utf-8", "surrogateescape"))


def _one_line(value: str | int) -> str:
    return str(value).replace("\r", " ").replace("\n", " ")


def _part(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """What is counted of commands, if a section shows it."""
    if _COUNTED.isdisjoint(_chosen(args[1:])):
        return Totals().to_json()
    return collect(site, user, args, now)


ANSWERS: Final[dict[str, Answer]] = {"INFO": _info}
PARTS: Final[dict[str, Collect]] = {"INFO": _part}
