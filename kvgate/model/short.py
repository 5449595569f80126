"""The short ways of the commonest commands: strings and small hashes that are all in their record, over engines that answer
at once.

They know few forms of records; whatever else they meet goes the long way, through a handler, which knows all of them. There
are two of each: those in Python here, which are the reference, and those in C (kvgate/model/_short.c) where that was built.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from kvgate.model.field_writes import SMALL_BYTES, SMALL_FIELDS
from kvgate.model.keyspace import TEXT_LIMIT, locate
from kvgate.model.meta import CHUNK, HASH, STRING, TYPE_NAMES

try:
    from kvgate.model import _short
except ImportError:
    _short = None  # type: ignore[assignment]  # BUILT says so; nobody uses it then

native = _short
BUILT: Final = native is not None
"""Whether the C functions are there; a machine without a compiler installs the gate without them."""

UNIT: Final = 512
"""What is read and written is counted in units: one for each record, and one for each so many bytes of it."""
HEAD: Final = 18
"""Bytes of a record before an expiry or the payload: type, flags, generation, revision."""
EXPIRES: Final = 1
"""The flag of a record with an expiry, 8 bytes behind `HEAD`."""

Get = Callable[[bytes], bytes | None]
Replies = tuple[bytes, int, int]
"""The replies of the first reads of a run, joined; how many they are; how many of them are null."""
NOTHING: Final[Replies] = (b"", 0, 0)
Written = tuple[bytes, int, int]
"""The replies of a run of writes, joined; the units that it read and wrote; its last revision."""


# ---------------------------------------------------------------------- reads


def py_gets(get: Get, generations: Mapping[bytes, int], now: int, null: bytes, words: list[bytes], start: int) -> Replies:
    """GET of each key in `words` from the index `start` on, up to the first one that a handler has to look at: in the snapshot
    that `get` reads and `generations` belong to, at `now` (Unix time in ms). `null` is the reply for a missing key."""
    return _reads(get, generations, now, null, words[start:], 1)


def py_hgets(get: Get, generations: Mapping[bytes, int], now: int, null: bytes, words: list[bytes], start: int) -> Replies:
    """As `py_gets`, HGET: `words` are keys and fields in turn."""
    return _reads(get, generations, now, null, words[start:], 2)


def _reads(get: Get, generations: Mapping[bytes, int], now: int, null: bytes, words: list[bytes], width: int) -> Replies:
    kind = STRING if width == 1 else HASH
    replies: list[bytes] = []
    misses = 0
    for at in range(0, len(words) - width + 1, width):
        if len(words[at]) > TEXT_LIMIT:
            break
        place, group = locate(words[at])
        generation = generations.get(group)
        if generation is None:
            break
        raw, value = get(place), None
        if raw is not None:
            if len(raw) < HEAD or raw[0] != kind or raw[1] & ~EXPIRES or (raw[1] and len(raw) < HEAD + 8):
                break
            payload = raw[HEAD + 8 * raw[1] :]
            if int.from_bytes(raw[2:10], "big") >= generation and not (raw[1] and _is_over(raw, now)):
                value = payload
                if width == 2:
                    span = _find(payload, words[at + 1])
                    if span is None:
                        break
                    value = payload[span[0] + 4 : span[1]] if span[1] else None
        misses += value is None
        replies.append(null if value is None else b"$%d\r\n%b\r\n" % (len(value), value))
    return b"".join(replies), len(replies), misses


def _is_over(raw: bytes, now: int) -> bool:
    return 0 < int.from_bytes(raw[HEAD : HEAD + 8], "big") <= now


def _find(payload: bytes, field: bytes) -> tuple[int, int, int] | None:
    """In a small hash's payload: where the length of the field's value stands, where the value ends (0: there is no such
    field), and how many fields there are. None: it has what the handlers have to look at."""
    at = start = end = count = 0
    while at < len(payload):
        name = at + 5
        if len(payload) - at < 9 or payload[at]:
            return None
        after = name + int.from_bytes(payload[at + 1 : name], "big")
        if after + 4 > len(payload):
            return None
        at = after + 4 + int.from_bytes(payload[after : after + 4], "big")
        if at > len(payload):
            return None
        count += 1
        if not end and payload[name:after] == field:
            start, end = after, at
    return start, end, count


# ---------------------------------------------------------------------- writes


def py_sets(
    get: Get,
    writes: dict[bytes, bytes | None],
    below: Mapping[bytes, bytes | None],
    generations: Mapping[bytes, int],
    revision: int,
    words: list[bytes],
) -> Written | bytes | None:
    """SET of the keys and values (in turn) in `words`, all or none: the records go to `writes`, which stands over `below`,
    which stands over what `get` reads. `revision` is the last one that was given.

    None: a handler has to do it. Bytes: the group whose generation is not in `generations`. Nothing was done then.
    """
    return _writes(get, writes, below, generations, revision, words, 2)


def py_hsets(
    get: Get,
    writes: dict[bytes, bytes | None],
    below: Mapping[bytes, bytes | None],
    generations: Mapping[bytes, int],
    revision: int,
    words: list[bytes],
) -> Written | bytes | None:
    """As `py_sets`, HSET: keys, fields and values in turn."""
    return _writes(get, writes, below, generations, revision, words, 3)


def _writes(
    get: Get,
    writes: dict[bytes, bytes | None],
    below: Mapping[bytes, bytes | None],
    generations: Mapping[bytes, int],
    revision: int,
    words: list[bytes],
    width: int,
) -> Written | bytes | None:
    fresh: dict[bytes, bytes | None] = {}
    replies: list[bytes] = []
    units = 0
    for at in range(0, len(words) - width + 1, width):
        if len(words[at]) > TEXT_LIMIT:
            return None
        place, group = locate(words[at])
        generation = generations.get(group)
        if generation is None:
            return group
        for layer in (fresh, writes, below):
            if place in layer:
                raw = layer[place]
                break
        else:
            raw = get(place)
        if raw is not None and (len(raw) < HEAD or raw[1] or raw[0] not in TYPE_NAMES):
            return None
        value = words[at + width - 1]
        if width == 2:
            if len(value) > CHUNK:
                return None
            kind, payload, reply = STRING, value, b"+OK\r\n"
        else:
            lives = raw is not None and int.from_bytes(raw[2:10], "big") >= generation
            if lives and raw is not None and raw[0] != HASH:
                return None
            changed = _with_field(raw[HEAD:] if lives and raw is not None else b"", words[at + 1], value)
            if changed is None:
                return None
            kind, (payload, reply) = HASH, changed
        revision += 1
        record = bytes((kind, 0)) + generation.to_bytes(8, "big") + revision.to_bytes(8, "big") + payload
        units += 2 + (0 if raw is None else len(raw) // UNIT) + len(record) // UNIT
        fresh[place] = record
        replies.append(reply)
    writes.update(fresh)
    return b"".join(replies), units, revision


def _with_field(payload: bytes, field: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    """A small hash's payload with one field more, or changed, and HSET's reply; None: a handler has to do it."""
    span = _find(payload, field)
    if span is None:
        return None
    start, end, count = span
    if end:
        payload, reply = payload[:start] + len(value).to_bytes(4, "big") + value + payload[end:], b":0\r\n"
    else:
        added = b"\x00" + len(field).to_bytes(4, "big") + field + len(value).to_bytes(4, "big") + value
        payload, count, reply = payload + added, count + 1, b":1\r\n"
    return None if count > SMALL_FIELDS or len(payload) > SMALL_BYTES else (payload, reply)


WANTED: Final = BUILT and os.environ.get("KVGATE_NATIVE", "1") != "0"
"""Whether the C functions are used, as for kvgate.lane.native."""
gets = native.gets if WANTED else py_gets
hgets = native.hgets if WANTED else py_hgets
sets = native.sets if WANTED else py_sets
hsets = native.hsets if WANTED else py_hsets
