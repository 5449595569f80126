"""The fields of a hash, wherever they lie: a small hash in its meta, a big one as elements under its id.

What reads or writes some fields touches the meta and those fields only, however many others there are.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from kvgate.errors import reply_too_large
from kvgate.model import keyspace
from kvgate.model.elements import (
    Element,
    count_small,
    decode_element,
    decode_small,
    decode_value,
    encode_element,
    encode_small,
    find_small,
)
from kvgate.model.meta import CHUNK, HASH, Meta, Outside
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Bulks

SMALL_FIELDS: Final = 128
"""A hash of more fields than this moves out of its meta: they are walked over to find one, about 50 µs at most."""
SMALL_BYTES: Final = 4096
"""Or of more bytes: a small hash is read and written whole, so this is what HGET of one field costs at most."""
PAGE: Final = 100
"""Elements in one read: the longest ones together stay under TiKV's 4 MiB response."""
NAMES_PAGE: Final = 1000
"""The same where only keys are read."""
MOST_REPLY: Final = 256 << 20
"""Bytes of names and values in one reply: the gate closes a client that would be sent more."""
Wanted = Callable[[bytes], bool]
"""Whether a field is looked for."""
_OVERHEAD: Final = 16  # counted for each bulk string of a reply, so that empty ones have a limit too


class Volume:
    """Counts the bytes of a reply while it is made."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._left = MOST_REPLY

    def add(self, size: int, strings: int = 1) -> None:
        """Count so many bytes in so many strings.

        Raises:
            GateError: it is too much for one reply.
        """
        self._left -= size + strings * _OVERHEAD
        if self._left < 0:
            raise reply_too_large(MOST_REPLY)


# ---------------------------------------------------------------------- reading


def length(meta: Meta) -> int:
    """The number of fields."""
    return count_small(meta.payload) if meta.outside is None else meta.outside.size


async def get(tx: Transaction, meta: Meta, field: bytes) -> bytes | None:
    """The value of a field, None when the hash has no such field."""
    if meta.outside is None:
        return find_small(meta.payload, field)
    identity = meta.outside.identity
    raw = await tx.kv.get(keyspace.field_key(identity, field))
    return None if raw is None else await _value(tx, identity, raw)


async def get_many(tx: Transaction, meta: Meta, fields: Sequence[bytes]) -> list[bytes | None]:
    """The values of fields, None for those that the hash does not have, in one round trip (but for long values)."""
    if meta.outside is None:
        known = decode_small(meta.payload)
        return [known.get(field) for field in fields]
    identity = meta.outside.identity
    found = await tx.kv.get_many([keyspace.field_key(identity, field) for field in fields])
    volume, values = Volume(), []
    for raw in found:
        value = None if raw is None else await _value(tx, identity, raw, volume)
        values.append(value)
    return values


async def size_of(tx: Transaction, meta: Meta, field: bytes) -> int | None:
    """The length of a field's value, None when the hash has no such field; a long value is not read."""
    if meta.outside is None:
        value = find_small(meta.payload, field)
        return None if value is None else len(value)
    raw = await tx.kv.get(keyspace.field_key(meta.outside.identity, field))
    return None if raw is None else decode_element(raw).size


async def _value(tx: Transaction, identity: int, raw: bytes, volume: Volume | None = None) -> bytes:
    """The whole value of a stored element; counted before it is read."""
    value = decode_value(raw)
    if value is None:
        element = decode_element(raw)
        if element.outside is not None:
            return await _long_value(tx, identity, element.outside, volume)
        value = element.value
    if volume is not None:
        volume.add(len(value))
    return value


async def _long_value(tx: Transaction, identity: int, place: Outside, volume: Volume | None) -> bytes:
    if volume is not None:
        volume.add(place.size)
    chunks = await tx.kv.get_many(_chunks(identity, place))
    return b"".join(chunk[1:] for chunk in chunks if chunk is not None)


def _chunks(identity: int, place: Outside) -> list[bytes]:
    """The engine keys of a long value."""
    number = -(-place.size // place.unit)
    return [keyspace.value_chunk_key(identity, place.identity, each) for each in range(number)]


def _name(key: bytes, raw: bytes) -> bytes:
    name = keyspace.field_in(key)
    return name if name is not None else decode_element(raw).long_name or b""


async def pairs(tx: Transaction, meta: Meta) -> list[tuple[bytes, bytes]]:
    """All fields with their values; those of a small hash in the order in which they came.

    Raises:
        GateError: they are too much for one reply.
    """
    if meta.outside is None:
        return list(decode_small(meta.payload).items())
    tx.expects(meta.outside.size)
    identity = meta.outside.identity
    start, end = keyspace.fields_from(identity, 0), keyspace.fields_from(identity, keyspace.PLACES)
    found: list[tuple[bytes, bytes]] = []
    volume = Volume()
    while True:
        page = await tx.kv.scan(start, end, PAGE)
        found += await _read(tx, identity, page, volume)
        if len(page) < PAGE:
            return found
        start = page[-1][0] + b"\x00"


async def _read(
    tx: Transaction, identity: int, page: Iterable[tuple[bytes, bytes]], volume: Volume
) -> list[tuple[bytes, bytes]]:
    """Names and values of stored elements."""
    found = []
    for key, raw in page:
        name = _name(key, raw)
        volume.add(len(name))
        found.append((name, await _value(tx, identity, raw, volume)))
    return found


async def all_bulks(tx: Transaction, meta: Meta, *, names: bool, values: bool) -> Bulks:
    """All names, or values, or both in turn, as the strings of a reply, in the order of `pairs`.

    Raises:
        GateError: they are too much for one reply.
    """
    count = length(meta) * (names + values)
    if meta.outside is None:
        return Bulks(count, [_strings(decode_small(meta.payload).items(), names=names, values=values)], names and values)
    tx.expects(meta.outside.size)
    identity, volume = meta.outside.identity, Volume()
    start, end = keyspace.fields_from(identity, 0), keyspace.fields_from(identity, keyspace.PLACES)
    limit = PAGE if values else NAMES_PAGE
    pieces: list[bytes] = []
    while True:
        if values:
            page = await tx.kv.scan(start, end, limit)
            pieces.append(_strings(await _read(tx, identity, page, volume), names=names, values=True))
            keys = [key for key, _ in page]
        else:
            keys = await tx.kv.scan_keys(start, end, limit)
            pieces.append(_strings(await _names(tx, keys, volume), names=True, values=False))
        if len(keys) < limit:
            return Bulks(count, pieces, names and values)
        start = keys[-1] + b"\x00"


def _strings(found: Iterable[tuple[bytes, bytes]], *, names: bool, values: bool) -> bytes:
    """Names, or values, or both in turn, as bulk strings."""
    if names and values:
        return b"".join([b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value) for name, value in found])
    return b"".join([b"$%d\r\n%b\r\n" % (len(pair[values]), pair[values]) for pair in found])


async def _names(tx: Transaction, keys: Sequence[bytes], volume: Volume) -> list[tuple[bytes, bytes]]:
    """Names of elements, with nothing for their values, which are read only where the name is too long for a key."""
    found = []
    for key in keys:
        name = keyspace.field_in(key)
        if name is None:
            name = _name(key, await tx.kv.get(key) or b"")
        volume.add(len(name))
        found.append((name, b""))
    return found


async def element_keys(tx: Transaction, place: Outside) -> list[bytes]:
    """The engine keys of all fields of a big hash."""
    tx.expects(place.size)
    start, end = keyspace.fields_from(place.identity, 0), keyspace.fields_from(place.identity, keyspace.PLACES)
    found: list[bytes] = []
    while True:
        page = await tx.kv.scan_keys(start, end, NAMES_PAGE)
        found += page
        if len(page) < NAMES_PAGE:
            return found
        start = page[-1] + b"\x00"


async def scan(
    tx: Transaction, meta: Meta, cursor: int, count: int, wanted: Wanted | None
) -> tuple[int, list[tuple[bytes, bytes]]]:
    """One page of HSCAN: about `count` fields from `cursor` on are looked at, those that are `wanted` come with their values;
    and the cursor to go on from, 0 at the end. All fields of one cursor are in one page; a small hash is one page.
    """
    if meta.outside is None:
        small = decode_small(meta.payload).items()
        return 0, [(name, value) for name, value in small if wanted is None or wanted(name)]
    tx.expects(min(count, meta.outside.size) + 1)
    following, page = await _page(tx, meta.outside.identity, cursor, count)
    chosen = page if wanted is None else [(key, raw) for key, raw in page if wanted(_name(key, raw))]
    return following, await _read(tx, meta.outside.identity, chosen, Volume())


async def _page(tx: Transaction, identity: int, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Stored elements: one more than `count` is read, to know where the next page begins."""
    start, end = keyspace.fields_from(identity, cursor), keyspace.fields_from(identity, keyspace.PLACES)
    found: list[tuple[bytes, bytes]] = []
    volume = Volume()
    while start < end:
        limit = min(PAGE, max(count + 1 - len(found), 2))
        page = await tx.kv.scan(start, end, limit)
        volume.add(sum(len(raw) for _, raw in page), 2 * len(page))
        found += page
        if len(page) < limit:
            break
        following = keyspace.place_in(found[-1][0])
        if len(found) > count and following != keyspace.place_in(found[0][0]):
            kept = bisect_left(found, following, key=lambda pair: keyspace.place_in(pair[0]))
            return following, found[:kept]
        start = page[-1][0] + b"\x00"
    return 0, found


async def read(tx: Transaction, place: Outside, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Fields and values of elements of a big hash, by their engine keys."""
    found: list[tuple[bytes, bytes]] = []
    volume = Volume()
    for at in range(0, len(keys), PAGE):
        part = keys[at : at + PAGE]
        raws = await tx.kv.get_many(part)
        page = [(key, raw) for key, raw in zip(part, raws, strict=True) if raw is not None]
        found += await _read(tx, place.identity, page, volume)
    return found


# ---------------------------------------------------------------------- writing


async def store(tx: Transaction, key: bytes, meta: Meta | None, fields: Mapping[bytes, bytes]) -> int:
    """Write some fields of the hash that `load` found under `key`; how many of them are new."""
    meta = meta or Meta(HASH)
    if meta.outside is not None:
        return await _store_elements(tx, key, meta, meta.outside, fields)
    known = decode_small(meta.payload)
    before = len(known)
    known.update(fields)
    if len(known) <= SMALL_FIELDS and len(payload := encode_small(known)) <= SMALL_BYTES:
        await tx.put(key, attrs.evolve(meta, payload=payload))
    else:
        await _move_out(tx, key, meta, known)
    return len(known) - before


async def change(
    tx: Transaction, key: bytes, meta: Meta | None, field: bytes, new: Callable[[bytes | None], bytes | None]
) -> bool:
    """Read one field, once, and write what `new` makes of its value (None: there is no such field), unless that is None.

    Whether it was written; what `new` raises passes.
    """
    if meta is None or meta.outside is None:
        value = new(None if meta is None else find_small(meta.payload, field))
        if value is not None:
            await store(tx, key, meta, {field: value})
        return value is not None
    place = meta.outside
    raw = await tx.kv.get(keyspace.field_key(place.identity, field))
    value = new(None if raw is None else await _value(tx, place.identity, raw))
    if value is None:
        return False
    _drop_value(tx, place.identity, raw)
    _put(tx, place.identity, field, value)
    await _touch(tx, key, meta, place, place.size + (raw is None))
    return True


async def _move_out(tx: Transaction, key: bytes, meta: Meta, fields: Mapping[bytes, bytes]) -> None:
    identity = int.from_bytes(os.urandom(8), "big")
    for name, value in fields.items():
        _put(tx, identity, name, value)
    await tx.put(key, attrs.evolve(meta, payload=b"", outside=Outside(identity, len(fields), 0)))


async def _store_elements(tx: Transaction, key: bytes, meta: Meta, place: Outside, fields: Mapping[bytes, bytes]) -> int:
    before = await tx.kv.get_many([keyspace.field_key(place.identity, name) for name in fields])
    for (name, value), raw in zip(fields.items(), before, strict=True):
        _drop_value(tx, place.identity, raw)
        _put(tx, place.identity, name, value)
    new = before.count(None)
    await _touch(tx, key, meta, place, place.size + new)
    return new


async def _touch(tx: Transaction, key: bytes, meta: Meta, place: Outside, size: int) -> None:
    """Write the meta with another size, or the same: its revision makes transactions on one hash conflict."""
    await tx.put(key, attrs.evolve(meta, outside=attrs.evolve(place, size=size)))


def _put(tx: Transaction, identity: int, name: bytes, value: bytes) -> None:
    long_name = name if len(name) > keyspace.TEXT_LIMIT else None
    place = None
    if len(value) > CHUNK:
        place = Outside(int.from_bytes(os.urandom(8), "big"), len(value), CHUNK)
        for number, chunk in enumerate(_chunks(identity, place)):
            tx.kv.put(chunk, b"\x01" + value[number * CHUNK : (number + 1) * CHUNK])
        value = b""
    tx.kv.put(keyspace.field_key(identity, name), encode_element(Element(value, place, long_name)))


def _drop_value(tx: Transaction, identity: int, raw: bytes | None) -> None:
    """Remove the chunks of a stored element that is about to go."""
    if raw is not None and decode_value(raw) is None:
        place = decode_element(raw).outside
        for chunk in _chunks(identity, place) if place else ():
            tx.kv.delete(chunk)


async def discard(tx: Transaction, key: bytes, meta: Meta, fields: Iterable[bytes]) -> int:
    """Remove some fields; how many there were. A hash without fields is removed itself."""
    distinct = list(dict.fromkeys(fields))
    if meta.outside is not None:
        return await _discard_elements(tx, key, meta, meta.outside, distinct)
    known = decode_small(meta.payload)
    removed = sum(known.pop(name, None) is not None for name in distinct)
    if not known:
        await tx.remove(key)
    elif removed:
        await tx.put(key, attrs.evolve(meta, payload=encode_small(known)))
    return removed


async def _discard_elements(tx: Transaction, key: bytes, meta: Meta, place: Outside, fields: Sequence[bytes]) -> int:
    keys = [keyspace.field_key(place.identity, name) for name in fields]
    removed = 0
    for element, raw in zip(keys, await tx.kv.get_many(keys), strict=True):
        if raw is not None:
            _drop_value(tx, place.identity, raw)
            tx.kv.delete(element)
            removed += 1
    if removed == place.size:
        await tx.remove(key)
    elif removed:
        await _touch(tx, key, meta, place, place.size - removed)
    return removed
