"""Commands that every store process has to see (scripts, functions, PUBSUB): how their replies become one.

The same rules hold between the shards of one backend and between several backends. An error of one of them is the reply,
whatever the others said: what was loaded there stays loaded, and sending the command again is harmless (``SCRIPT LOAD``,
``FUNCTION LOAD REPLACE``, the flushes) or says so (``FUNCTION LOAD``: ``Library already exists``).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from kvgate.wire.reply import Error, Map, Reply


def merge_everywhere(name: str, replies: Sequence[Reply]) -> Reply:
    """One reply for the command `name` (``SCRIPT|LOAD``) out of one from each store process, at least one.

    Raises:
        KeyError: the command is none of `EVERYWHERE`.
    """
    rule = EVERYWHERE[name]
    for reply in replies:
        if isinstance(reply, Error):
            return reply
    return rule(replies)


def _same(replies: Sequence[Reply]) -> Reply:
    """OK, a digest, a library's name: all say the same."""
    return replies[0]


def _all_true(replies: Sequence[Reply]) -> Reply:
    """SCRIPT EXISTS: only what every process has can be run wherever the keys lie."""
    rows = [_items(reply) for reply in replies]
    return [min(_number(row[at]) for row in rows) for at in range(len(rows[0]))]


def _most(replies: Sequence[Reply]) -> Reply:
    """PUBSUB NUMPAT: a pattern is listened to on every process, and is one."""
    return max(map(_number, replies))


def _sum_pairs(replies: Sequence[Reply]) -> Reply:
    """PUBSUB NUMSUB: a channel asked for twice is answered twice, so places count and not names."""
    rows = [_items(reply) for reply in replies]
    merged: list[Reply] = list(rows[0])
    for at in range(1, len(merged), 2):
        merged[at] = sum(_number(row[at]) for row in rows)
    return merged


def _union(replies: Sequence[Reply]) -> Reply:
    """PUBSUB CHANNELS: each name once, in the order met."""
    names: dict[bytes, None] = {}
    for reply in replies:
        names.update((name, None) for name in _items(reply) if isinstance(name, bytes))
    return list(names)


def _libraries(replies: Sequence[Reply]) -> Reply:
    """FUNCTION LIST: each library once; one that only some processes have is shown too."""
    found: dict[Reply, Reply] = {}
    for reply in replies:
        for library in _items(reply):
            name = _field(library, b"library_name")
            found.setdefault(name if isinstance(name, bytes) else repr(library).encode(), library)
    return list(found.values())


def _busiest(replies: Sequence[Reply]) -> Reply:
    """FUNCTION STATS: of the process where a function runs now, if there is one."""
    return next((reply for reply in replies if _field(reply, b"running_script") is not None), replies[0])


def _items(reply: Reply) -> list[Reply]:
    return reply if isinstance(reply, list) else []


def _number(reply: Reply) -> int:
    return reply if isinstance(reply, int) else 0


def _field(reply: Reply, name: bytes) -> Reply:
    """A value of a map, which in RESP2 is a flat array; None when it is not there."""
    pairs = reply.pairs if isinstance(reply, Map) else list(zip(_items(reply)[::2], _items(reply)[1::2], strict=False))
    return next((value for key, value in pairs if key == name), None)


EVERYWHERE: Final[Mapping[str, Callable[[Sequence[Reply]], Reply]]] = MappingProxyType(
    {
        "SCRIPT|LOAD": _same,
        "SCRIPT|EXISTS": _all_true,
        "SCRIPT|FLUSH": _same,
        "FUNCTION|LOAD": _same,
        "FUNCTION|DELETE": _same,
        "FUNCTION|FLUSH": _same,
        "FUNCTION|RESTORE": _same,
        "FUNCTION|DUMP": _same,
        "FUNCTION|LIST": _libraries,
        "FUNCTION|STATS": _busiest,
        "PUBSUB|CHANNELS": _union,
        "PUBSUB|SHARDCHANNELS": _union,
        "PUBSUB|NUMSUB": _sum_pairs,
        "PUBSUB|SHARDNUMSUB": _sum_pairs,
        "PUBSUB|NUMPAT": _most,
    }
)
"""Command → how its replies are merged."""
