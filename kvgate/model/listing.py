"""SCAN, KEYS, DBSIZE, RANDOMKEY and FLUSHDB over an engine: keys in the order of their positions, cursors without state.

A listing that sees some groups only steps over the others by the directory of groups (docs/keyspace.md, "G").
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from kvgate.backend import View
from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.kv import KvEngine
from kvgate.model.transaction import Transaction
from kvgate.wire.glob import glob_matcher, literal_prefix

PAGE: Final = 100
"""Metas in one read: the longest ones together stay under TiKV's 4 MiB response."""
_DIRECTORY_PAGE: Final = 256
_MOST_STEPS: Final = 4  # directory pages without a visible group, before a SCAN answers an empty page
_MOST_EXACT: Final = 64  # groups that a view names: above, the directory is asked
_BUCKETS: Final = 4096


@attrs.frozen(slots=True)
class _Range:
    """What a listing looks for, and where."""

    has: Callable[[bytes], bool]
    everything: bool
    buckets: tuple[int, ...] | None
    """The only buckets with such keys, ascending; None when the directory has to be asked."""
    matches: Callable[[bytes], bool] | None
    kind: bytes | None


def _range(view: View, match: bytes | None, kind: bytes | None) -> _Range:
    groups: Sequence[bytes] | None = None
    if match is not None and b":" in (prefix := literal_prefix(match)):
        groups = [keyspace.group_of(prefix)]
    elif 0 < len(view.prefixes) <= _MOST_EXACT and all(prefix.endswith(b":") for prefix in view.prefixes):
        groups = [keyspace.group_of(prefix) for prefix in view.prefixes]
    buckets = None if groups is None else tuple(sorted({keyspace.bucket_of(group) for group in groups}))
    matches = None if match in (None, b"*") else glob_matcher(match or b"")
    everything = view.everything and buckets is None
    return _Range(view.has, everything, buckets, matches, None if kind is None else kind.lower())


async def scan(
    engine: KvEngine, cursor: int, *, count: int, match: bytes | None, kind: bytes | None, view: View
) -> tuple[int, list[bytes]]:
    """One page of SCAN, as `kvgate.backend.Listing.scan`: about `count` keys are looked at, those of one cursor together."""
    wanted = _range(view, match, kind)
    keys: list[bytes] = []
    start, left = keyspace.metas_from(cursor << keyspace.CURSOR_SHIFT), count
    while True:
        txn = await engine.begin()
        try:
            tx = Transaction(txn, engine.now_ms())
            bucket, known = await _next_bucket(tx, wanted, keyspace.position_in(start) >> 36)
            if bucket is None:
                return 0, keys
            if not known:
                return _cursor(keyspace.metas_from(bucket << 36)), keys
            start = max(start, keyspace.metas_from(bucket << 36))
            end = keyspace.METAS_END if wanted.everything else keyspace.metas_from(bucket + 1 << 36)
            pairs = await txn.scan(start, end, PAGE)
            following, left = await _take(tx, wanted, pairs, left, keys)
        finally:
            await txn.rollback()
        if following is not None:
            return following, keys
        if len(pairs) == PAGE:
            start = pairs[-1][0] + b"\x00"
        elif end == keyspace.METAS_END:
            return 0, keys
        else:
            start = end
            if left <= 0:  # the bucket ended together with the page
                return _cursor(end), keys


def _cursor(place: bytes) -> int:
    return keyspace.position_in(place) >> keyspace.CURSOR_SHIFT


async def _next_bucket(tx: Transaction, wanted: _Range, bucket: int) -> tuple[int | None, bool]:
    """The first bucket from `bucket` on where visible keys may lie, None when there is none; and whether that is known (or
    the directory was read for long enough, and the search goes on from the bucket at the next call)."""
    if wanted.everything:
        return bucket, True
    if wanted.buckets is not None:
        return next((one for one in wanted.buckets if one >= bucket), None), True
    start = keyspace.groups_from(bucket)
    for _ in range(_MOST_STEPS):
        page = await tx.kv.scan_keys(start, keyspace.GROUPS_END, _DIRECTORY_PAGE)
        for record in page:
            found, group = keyspace.group_in(record)
            if wanted.has(group + b":"):
                return found, True
        if len(page) < _DIRECTORY_PAGE:
            return None, True
        start = page[-1] + b"\x00"
    reached = keyspace.group_in(page[-1])[0]
    # The groups of one bucket are read together, since a cursor cannot point between them
    return (reached, False) if reached > bucket else (bucket, True)


async def _take(
    tx: Transaction, wanted: _Range, pairs: list[tuple[bytes, bytes]], left: int, keys: list[bytes]
) -> tuple[int | None, int]:
    """Append the keys that are wanted; the cursor to stop at, None to go on, and how many keys may still be looked at."""
    previous = None
    for place, raw in pairs:
        cursor = _cursor(place)
        if left <= 0 and previous is not None and cursor != previous:
            return cursor, left
        left -= 1
        previous = cursor
        key = await _key_of(tx, wanted, place, raw)
        if key is not None:
            keys.append(key)
    return None, left


async def _key_of(tx: Transaction, wanted: _Range, place: bytes, raw: bytes) -> bytes | None:
    """The key of a meta, None when it is dead or not looked for."""
    meta = records.decode(raw)
    key = keyspace.text_in(place)
    if key is None:
        key = meta.long_key or b""
    if wanted.matches is not None and not wanted.matches(key):
        return None
    if wanted.kind is not None and records.TYPE_NAMES[meta.type] != wanted.kind:
        return None
    if not wanted.everything and not wanted.has(key):
        return None
    if await tx.gone(meta) or meta.generation < await tx.generation(keyspace.group_of(key)):
        return None
    return key


async def size(engine: KvEngine, view: View) -> int:
    """The number of keys in the view, counted one by one."""
    cursor, total = await scan(engine, 0, count=PAGE, match=None, kind=None, view=view)
    found = len(total)
    while cursor:
        cursor, keys = await scan(engine, cursor, count=PAGE, match=None, kind=None, view=view)
        found += len(keys)
    return found


async def random_key(engine: KvEngine, view: View) -> bytes | None:
    """Some key of the view: of a group by lot, the next one after a position by lot."""
    first = cursor = await _random_cursor(engine, view)
    wrapped = False
    while True:
        cursor, keys = await scan(engine, cursor, count=10, match=None, kind=None, view=view)
        if keys:
            return keys[0] if cursor == 0 else random.choice(keys)  # noqa: S311 - no secret
        if cursor == 0:
            if wrapped or first == 0:
                return None
            wrapped = True
        elif wrapped and cursor > first:
            return None


async def _random_cursor(engine: KvEngine, view: View) -> int:
    position = random.randrange(keyspace.POSITIONS)  # noqa: S311 - no secret
    if not view.everything:
        txn = await engine.begin()
        try:
            buckets = [keyspace.bucket_of(group) for group in await visible_groups(Transaction(txn, 0), view)]
        finally:
            await txn.rollback()
        if not buckets:
            return 0
        position = random.choice(buckets) << 36 | position & 0xFFFFFFFFF  # noqa: S311 - no secret
    return position >> keyspace.CURSOR_SHIFT


async def visible_groups(tx: Transaction, view: View) -> list[bytes]:
    """The groups of the directory that lie in the view."""
    start, groups = keyspace.GROUPS_START, []
    while True:
        page = await tx.kv.scan_keys(start, keyspace.GROUPS_END, _DIRECTORY_PAGE)
        for record in page:
            group = keyspace.group_in(record)[1]
            if view.has(group + b":"):
                groups.append(group)
        if len(page) < _DIRECTORY_PAGE:
            return groups
        start = page[-1] + b"\x00"


async def flush(tx: Transaction, view: View) -> None:
    """Let every key of the view be dead at once; the sweeper removes them later."""
    generation = tx.kv.revision()
    counter, progress = records.encode_counter(generation), records.encode_progress
    if view.everything:
        tx.kv.put(keyspace.STORE_GENERATION, counter)
        tx.kv.put(keyspace.QUEUE_STORE, progress(generation, 0))
    else:
        for group in await visible_groups(tx, view):
            tx.kv.put(keyspace.group_key(group), counter)
            tx.kv.put(keyspace.queued_group(group), progress(generation, keyspace.bucket_of(group) << 36))
    tx.kv.generations.clear()
