"""How replies about the server itself are read: by their shape, where each server tells of its own clock and settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kvgate_compat.chance import Ask, Reading, unordered
from kvgate_compat.connection import Node

SETTINGS: Final = (b"appendonly", b"databases", b"maxmemory", b"maxmemory-policy", b"save", b"timeout", b"proto-max-bulk-len")
"""What CONFIG GET is asked for by name: settings that clients look at, so that any server should have them."""


def _pairs(reply: Node) -> "list[tuple[Node, Node]]":
    return list(zip(reply.items[::2], reply.items[1::2], strict=False))


def integer(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """A number that is each server's own (CLIENT ID, COMMAND COUNT, SLOWLOG LEN)."""
    del ask, args
    return "an integer" if reply.kind == b":" and int(reply.text) >= 0 else reply.raw


def array(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """A list (or map) of what happened on each server (SLOWLOG GET, LATENCY LATEST)."""
    del ask, args
    return reply.kind if reply.kind in (b"*", b"%") else reply.raw


def text(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """A text of each server's own (LATENCY DOCTOR)."""
    del ask, args
    return reply.kind if reply.kind in (b"$", b"=") and reply.text else reply.raw


def _time(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """TIME: seconds of this century, and microseconds."""
    del ask, args
    fine = len(reply.items) == 2 and all(item.kind == b"$" and item.text.isdigit() for item in reply.items)
    if not fine or len(reply.items[0].text) != 10 or int(reply.items[1].text) >= 1_000_000:
        return reply.raw
    return "a time"


def _hello(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """HELLO: exactly, but for the version (its form counts) and the connection's number."""
    del ask, args
    found = []
    for name, value in _pairs(reply):
        about = value.raw
        if name.text == b"version":
            about = re.sub(rb"\d+", b"N", value.text)
        elif name.text == b"id":
            about = value.kind
        found.append((name.raw, about))
    return (reply.kind, reply.text, tuple(found))


_NEWER: Final = (
    b"lib-name",
    b"lib-ver",
    b"tot-net-in",
    b"tot-net-out",
    b"tot-cmds",
    b"watch",
    b"rbp",
    b"rbs",
    b"ssub",
    b"io-thread",
)
"""Fields that came to CLIENT LIST during Redis 7, which a server may have or not."""


def _clients(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """CLIENT LIST, CLIENT INFO: the names of a line's fields; how many clients there are is each server's own."""
    del ask, args
    if reply.kind not in (b"$", b"="):
        return reply.raw
    lines = reply.text.removeprefix(b"txt:").splitlines()
    names = {tuple(field.partition(b"=")[0] for field in line.split()) for line in lines}
    shapes = {tuple(name for name in line if name not in _NEWER) for line in names}
    return (reply.kind, tuple(sorted(shapes)))


def _help(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """HELP: that it is one, of the right command; each server says it in its own words."""
    del ask, args
    return (reply.kind, reply.items[0].raw, all(item.kind == b"+" for item in reply.items)) if reply.items else reply.raw


def _command_info(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """COMMAND INFO: exactly, but for the order of flags, categories and subcommands; without tips, and notes on keys."""
    del ask, args
    return _unordered(reply) if reply.items and len(reply.items) < 100 else (reply.kind, bool(reply.items))


def _unordered(reply: Node) -> object:
    if not reply.items:
        return reply.raw
    items = reply.items[:7] + reply.items[8:] if len(reply.items) == 10 and reply.items[1].kind == b":" else reply.items
    if items[0].text == b"notes":
        items = items[2:]
    parts = [_unordered(item) for item in items]
    if reply.kind == b"~" or {item.kind for item in reply.items} in ({b"+"}, {b"*"}):
        parts.sort(key=repr)
    return (reply.kind, tuple(parts))


def _some_of(known: "frozenset[bytes]") -> Reading:
    """A list of names, of which only those count that every server has."""

    def reading(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
        del ask, args
        return (reply.kind, tuple(sorted(item.text for item in reply.items if item.text in known)))

    return reading


_COMMON: Final = frozenset(
    (b"get", b"set", b"del", b"hset", b"zadd", b"xadd", b"eval", b"publish", b"ping", b"config|get", b"client|list", b"sort")
)
_CATEGORIES: Final = frozenset(
    (b"string", b"hash", b"list", b"set", b"sortedset", b"stream", b"keyspace", b"read", b"write", b"fast", b"slow")
)


def _settings(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """CONFIG GET: of the settings that any server should have the names; the values are each server's own."""
    del ask, args
    names = [name.text for name, _ in _pairs(reply) if name.text.lower() in SETTINGS]
    return (reply.kind, tuple(sorted(names)))


_SECTIONS: Final = (b"Server", b"Clients", b"Memory", b"Stats", b"Replication", b"CPU", b"Cluster", b"Keyspace")


def _info(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """INFO: which of Redis' usual sections there are; the figures are each server's own."""
    del ask, args
    if reply.kind not in (b"$", b"="):
        return reply.raw
    found = re.findall(rb"^# (\w+)\r$", reply.text.removeprefix(b"txt:"), re.MULTILINE)
    return (reply.kind, tuple(sorted(name for name in found if name in _SECTIONS)))


def _password(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """ACL GENPASS: as many hexadecimal digits."""
    del ask, args
    return re.sub(rb"[0-9a-f]", b"x", reply.raw) if reply.kind == b"$" else reply.raw


def _libraries(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """FUNCTION LIST: libraries, and functions in them, in any order."""
    del ask, args
    return _sorted_maps(reply)


def _sorted_maps(reply: Node) -> object:
    """Arrays of maps (flat arrays of pairs in RESP2) in any order; all else as it is."""
    if reply.kind not in (b"*", b"%", b"~") or not reply.items:
        return reply.raw
    parts = [_sorted_maps(item) for item in reply.items]
    if reply.kind == b"~" or all(item.kind in (b"*", b"%") for item in reply.items):
        parts.sort(key=repr)
    return (reply.kind, tuple(parts))


_HELPFUL: Final = (
    *("ACL", "CLIENT", "COMMAND", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "OBJECT", "PUBSUB", "SCRIPT", "SLOWLOG"),
    *("XGROUP", "XINFO"),
)
SERVER_READINGS: Final[Mapping[str, Reading]] = {
    "ACL|CAT": _some_of(_COMMON | _CATEGORIES),
    "ACL|GENPASS": _password,
    "CLIENT|ID": integer,
    "CLIENT|INFO": _clients,
    "CLIENT|LIST": _clients,
    "COMMAND": _command_info,
    "COMMAND|COUNT": integer,
    "COMMAND|DOCS": array,
    "COMMAND|INFO": _command_info,
    "COMMAND|LIST": _some_of(_COMMON),
    "CONFIG|GET": _settings,
    "FUNCTION|LIST": _libraries,
    "HELLO": _hello,
    **{f"{name}|HELP": _help for name in _HELPFUL},
    "PUBSUB|CHANNELS": unordered,
    "PUBSUB|SHARDCHANNELS": unordered,
    "INFO": _info,
    "LATENCY|DOCTOR": text,
    "LATENCY|HISTOGRAM": array,
    "LATENCY|HISTORY": array,
    "LATENCY|LATEST": array,
    "LATENCY|RESET": integer,
    "MEMORY|USAGE": integer,
    "SLOWLOG|GET": array,
    "SLOWLOG|LEN": integer,
    "TIME": _time,
}
"""By command."""
