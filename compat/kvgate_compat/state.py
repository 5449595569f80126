"""What a server holds under some keys: TYPE, PTTL, and the value as the type's own commands show it."""

from collections.abc import Sequence
from typing import Final

from kvgate_compat.connection import Connection
from kvgate_compat.readings import read

_VALUE: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"string": (b"GET",),
    b"hash": (b"HGETALL",),
    b"list": (b"LRANGE", b"0", b"-1"),
    b"set": (b"SMEMBERS",),
    b"zset": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
    b"stream": (b"XINFO|STREAM", b"FULL", b"COUNT", b"0"),  # entries, groups, consumers, and what is pending
}


def state_of(server: Connection, keys: Sequence[bytes]) -> dict[bytes, tuple[object, ...]]:
    """For each key ``(TYPE, PTTL, value)``, comparable by `kvgate_compat.readings.same`. Raises Ended."""
    probes = [probe for key in keys for probe in ((b"TYPE", key), (b"PTTL", key))]
    answers = server.pipeline(probes)
    kinds = {key: answers[2 * at].text for at, key in enumerate(keys)}
    wanted = [(key, [*_VALUE[kind][0].split(b"|"), key, *_VALUE[kind][1:]]) for key, kind in kinds.items() if kind in _VALUE]
    values = dict(zip((key for key, _ in wanted), server.pipeline([request for _, request in wanted]), strict=True))
    found: dict[bytes, tuple[object, ...]] = {}
    for at, key in enumerate(keys):
        left = read("PTTL", server.ask, (b"PTTL", key), answers[2 * at + 1])
        value: object = None
        if key in values:
            name = _VALUE[kinds[key]][0].decode("ascii")
            value = read(name, server.ask, (name.encode(), key), values[key])
        found[key] = (answers[2 * at].raw, left, value)
    return found
