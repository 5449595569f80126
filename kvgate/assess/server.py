"""What a Redis says of itself: version, role, databases, modules, and which commands it has run."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from kvgate.assess.link import Link
from kvgate.assess.pace import Pace
from kvgate.wire.reply import Error, Reply

SECTIONS: Final = ("commandstats", "server", "replication", "clients", "memory", "keyspace", "cluster", "modules", "gate")
"""Of INFO (gate: kvgate's own); commandstats first, so that none of our own commands is in it."""
PROBED: Final = 16
"""Databases that are tried one by one where INFO does not tell them: Redis' default number."""


@attrs.frozen(slots=True)
class Calls:
    """How often a command was run."""

    calls: int
    """Without those that failed."""
    failed: int = 0
    """That ran and answered an error (Redis 6.2 and newer tell); also those that were rejected before they ran."""


@attrs.frozen(slots=True)
class Server:
    """What was found out about the server."""

    version: str = ""
    """Empty: it did not tell."""
    kind: str = "Redis"
    """Or Valkey, KvRocks, kvgate."""
    role: str = ""
    """``master`` or ``slave``; empty: it did not tell."""
    cluster: bool = False
    memory: int | None = None
    """Bytes."""
    evicts: str = ""
    """The policy by which it removes keys when its memory is full; empty: it does not, or did not tell."""
    tracking: int = 0
    """Clients that cache with the server's help."""
    databases: Mapping[int, int] = attrs.field(factory=dict)
    """Number → keys, of those that have any."""
    modules: tuple[str, ...] = ()
    commands: Mapping[str, Calls] | None = None
    """Lower-case name (``config|get``) → calls since its start; None: it did not tell."""

    def at_least(self, major: int, minor: int) -> bool:
        """Whether it is a Redis of that version or a newer one; not so when it did not tell."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return match is not None and (int(match[1]), int(match[2])) >= (major, minor)


def look(link: Link, pace: Pace, unread: dict[str, str]) -> Server:
    """Ask for everything but keys. What is refused is written into `unread`: what → the store's words.

    Raises:
        Unreachable: the store does not answer.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for section in SECTIONS:
        began = pace.clock()
        reply = link.one(b"INFO", section.encode())
        pace.after(1, began)
        if isinstance(reply, bytes):
            pairs[section] = list(_pairs(reply))
        else:
            unread.setdefault("INFO", _words(reply))
            break  # the next one would be refused too
    one = {name: value for section in pairs.values() for name, value in section}
    databases = {int(name[2:]): _number(value, "keys") for name, value in pairs.get("keyspace", ()) if name[2:].isdigit()}
    if not databases:  # it did not tell, or there is nothing
        databases = _probe(link, pace, unread)
    return Server(
        version=one.get("redis_version", ""),
        kind=_kind(one),
        role=one.get("role", ""),
        cluster=one.get("redis_mode") == "cluster" or one.get("cluster_enabled") == "1",
        memory=_int(one.get("used_memory")),
        evicts="" if one.get("maxmemory", "0") == "0" else one.get("maxmemory_policy", "").replace("noeviction", ""),
        tracking=_int(one.get("tracking_clients")) or 0,
        databases={number: keys for number, keys in databases.items() if keys},
        modules=tuple(
            value.partition(",")[0].removeprefix("name=") for name, value in pairs.get("modules", ()) if name == "module"
        ),
        commands=_commands(pairs["commandstats"]) if "commandstats" in pairs else None,
    )


def _pairs(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            yield name, value


def _kind(one: Mapping[str, str]) -> str:
    for name, kind in (("kvgate_version", "kvgate"), ("kvrocks_version", "KvRocks"), ("valkey_version", "Valkey")):
        if name in one:
            return kind
    return "Redis"


def _number(value: str, name: str) -> int:
    """``keys`` of ``keys=3,expires=0``; 0 when it is not there."""
    match = re.search(rf"(?:^|,){name}=(\d+)", value)
    return int(match[1]) if match else 0


def _int(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _commands(pairs: list[tuple[str, str]]) -> dict[str, Calls]:
    found: dict[str, Calls] = {}
    for name, value in pairs:
        if name.startswith("cmdstat_"):
            calls, failed = _number(value, "calls"), _number(value, "failed_calls")
            found[name.removeprefix("cmdstat_").lower()] = Calls(calls - failed, failed + _number(value, "rejected_calls"))
    return found


def _words(reply: Reply) -> str:
    return reply.text.decode("utf-8", "replace") if isinstance(reply, Error) else "it answers something else"


def _probe(link: Link, pace: Pace, unread: dict[str, str]) -> dict[int, int]:
    """Sizes of the databases, one by one."""
    found: dict[int, int] = {}
    home = link.database
    for number in [home, *(other for other in range(PROBED) if other != home)]:
        began = pace.clock()
        if number != home and (refused := link.select(number)) is not None:
            if refused.text.startswith(b"ERR"):  # there is none of that number
                continue
            unread.setdefault("SELECT", _words(refused))
            break
        reply = link.one(b"DBSIZE")
        pace.after(2, began)
        if isinstance(reply, int):
            found[number] = reply
        else:
            unread.setdefault("DBSIZE", _words(reply))
            break
    link.select(home)
    return found
