"""The short way of the commonest read: a string that is all in its record, by engines that answer at once.

It knows one form of record; whatever else it meets goes the long way, through a handler, which knows all of them.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Literal

from kvgate.model.keyspace import locate
from kvgate.model.meta import PLAIN_STRING, PLAIN_STRING_HEAD, generation_in


class Way(enum.Enum):
    """Ways to an answer."""

    LONG = "ask the handler"


def get(
    read: Callable[[bytes], bytes | None], generations: Mapping[bytes, int], key: bytes
) -> bytes | Literal[Way.LONG] | None:
    """The string under `key` in the snapshot that `read` reads and `generations` belong to; None when there is no record."""
    place, group = locate(key)
    generation = generations.get(group)
    if generation is None:
        return Way.LONG
    raw = read(place)
    if raw is None:
        return None
    if not raw.startswith(PLAIN_STRING) or generation_in(raw) < generation:
        return Way.LONG
    return raw[PLAIN_STRING_HEAD:]
