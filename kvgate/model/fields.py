"""Reading the fields of a hash, plain or versioned, wherever they lie: of a small one in its meta, of a big one as elements.

What reads some fields touches the meta and those fields only, however many others there are. No function here gives a field
whose time has come.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
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
    find_small,
    find_versioned,
    record_element,
    record_expires,
    record_value,
    split_versioned,
)
from kvgate.model.meta import EXHASH, HASH, Meta, Outside
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Bulks

KINDS: Final = {HASH: keyspace.FIELD_KIND, EXHASH: keyspace.EXHASH_FIELD_KIND}
"""The kind of a type's elements."""
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


# ---------------------------------------------------------------------- some fields


def length(meta: Meta) -> int:
    """The number of fields of a plain hash, none of which can have expired."""
    return count_small(meta.payload) if meta.outside is None else meta.outside.size


def element_key(meta: Meta, place: Outside, field: bytes) -> bytes:
    """The engine key of a field of the big hash `meta`."""
    return keyspace.field_key(place.identity, field, KINDS[meta.type])


def living(tx: Transaction, meta: Meta) -> dict[bytes, bytes]:
    """The fields of a small versioned hash with their bytes."""
    records = split_versioned(meta.payload)
    if meta.times is None or tx.now_ms < meta.times.next:
        return records
    return {name: record for name, record in records.items() if not 0 < record_expires(record) <= tx.now_ms}


def _small(tx: Transaction, meta: Meta) -> dict[bytes, bytes]:
    """The fields of a small hash, in the order in which they came."""
    if meta.type == HASH:
        return decode_small(meta.payload)
    return {name: record_value(name, record) for name, record in living(tx, meta).items()}


def _find(tx: Transaction, meta: Meta, field: bytes) -> bytes | None:
    """One field of a small hash."""
    if meta.type == HASH:
        return find_small(meta.payload, field)
    record = find_versioned(meta.payload, field)
    return None if record is None or 0 < record_expires(record) <= tx.now_ms else record_value(field, record)


async def get(tx: Transaction, meta: Meta, field: bytes) -> bytes | None:
    """The value of a field, None when the hash has no such field."""
    if meta.outside is None:
        return _find(tx, meta, field)
    raw = await tx.kv.get(element_key(meta, meta.outside, field))
    return None if raw is None else await value_of(tx, meta.outside.identity, raw)


async def get_many(tx: Transaction, meta: Meta, fields: Sequence[bytes]) -> list[bytes | None]:
    """The values of fields, None for those that the hash does not have, in one round trip (but for long values)."""
    if meta.outside is None:
        known = _small(tx, meta)
        return [known.get(field) for field in fields]
    place = meta.outside
    found = await tx.kv.get_many([element_key(meta, place, field) for field in fields])
    volume, values = Volume(), []
    for raw in found:
        value = None if raw is None else await value_of(tx, place.identity, raw, volume)
        values.append(value)
    return values


async def find_many(tx: Transaction, meta: Meta, fields: Sequence[bytes]) -> list[Element | None]:
    """The elements of fields of a versioned hash, None for those that it does not have; long values are not read."""
    if meta.outside is None:
        known = living(tx, meta)
        return [record_element(field, known[field]) if field in known else None for field in fields]
    place = meta.outside
    found = []
    for raw in await tx.kv.get_many([element_key(meta, place, field) for field in fields]):
        element = None if raw is None else decode_element(raw)
        found.append(None if element is None or element.gone(tx.now_ms) else element)
    return found


async def find(tx: Transaction, meta: Meta, field: bytes) -> Element | None:
    """As `find_many`, one field."""
    if meta.outside is None:
        record = find_versioned(meta.payload, field)
        return None if record is None or 0 < record_expires(record) <= tx.now_ms else record_element(field, record)
    return (await find_many(tx, meta, [field]))[0]


async def size_of(tx: Transaction, meta: Meta, field: bytes) -> int | None:
    """The length of a field's value, None when the hash has no such field; a long value is not read."""
    if meta.outside is None:
        value = _find(tx, meta, field)
        return None if value is None else len(value)
    raw = await tx.kv.get(element_key(meta, meta.outside, field))
    element = None if raw is None else decode_element(raw)
    return None if element is None or element.gone(tx.now_ms) else element.size


async def value_of(tx: Transaction, identity: int, raw: bytes, volume: Volume | None = None) -> bytes | None:
    """The whole value of a stored element, counted before it is read; None when its time is over."""
    value = decode_value(raw)
    if value is None:
        element = decode_element(raw)
        return None if element.gone(tx.now_ms) else await whole(tx, identity, element, volume)
    if volume is not None:
        volume.add(len(value))
    return value


async def whole(tx: Transaction, identity: int, element: Element, volume: Volume | None = None) -> bytes:
    """The whole value of an element, counted before it is read."""
    if volume is not None:
        volume.add(element.size)
    if element.outside is None:
        return element.value
    chunks = await tx.kv.get_many(chunk_keys(identity, element.outside))
    return b"".join(chunk[1:] for chunk in chunks if chunk is not None)


def chunk_keys(identity: int, place: Outside) -> list[bytes]:
    """The engine keys of a long value."""
    number = -(-place.size // place.unit)
    return [keyspace.value_chunk_key(identity, place.identity, each) for each in range(number)]


def _name(key: bytes, raw: bytes) -> bytes:
    name = keyspace.field_in(key)
    return name if name is not None else decode_element(raw).long_name or b""


# ---------------------------------------------------------------------- all fields


def _all(meta: Meta, place: Outside, start: int = 0) -> tuple[bytes, bytes]:
    """The range of the elements of a big hash, from a place on."""
    kind = KINDS[meta.type]
    return keyspace.fields_from(place.identity, start, kind), keyspace.fields_from(place.identity, keyspace.PLACES, kind)


async def pairs(tx: Transaction, meta: Meta) -> list[tuple[bytes, bytes]]:
    """All fields with their values; those of a small hash in the order in which they came.

    Raises:
        GateError: they are too much for one reply.
    """
    if meta.outside is None:
        return list(_small(tx, meta).items())
    return [(name, element.value) for name, element in await elements(tx, meta)]


async def elements(tx: Transaction, meta: Meta) -> list[tuple[bytes, Element]]:
    """All fields with their elements, which have the whole values.

    Raises:
        GateError: they are too much for one reply.
    """
    if meta.outside is None:
        return [(name, record_element(name, record)) for name, record in living(tx, meta).items()]
    tx.expects(meta.outside.size)
    start, end = _all(meta, meta.outside)
    found: list[tuple[bytes, Element]] = []
    volume = Volume()
    while True:
        page = await tx.kv.scan(start, end, PAGE)
        found += await _elements(tx, meta.outside.identity, page, volume)
        if len(page) < PAGE:
            return found
        start = page[-1][0] + b"\x00"


async def _elements(
    tx: Transaction, identity: int, page: Iterable[tuple[bytes, bytes]], volume: Volume
) -> list[tuple[bytes, Element]]:
    """Names and stored elements, with their whole values."""
    found = []
    for key, raw in page:
        element = decode_element(raw)
        if not element.gone(tx.now_ms):
            name = _name(key, raw)
            volume.add(len(name))
            value = await whole(tx, identity, element, volume)
            found.append((name, attrs.evolve(element, value=value)))
    return found


async def _read(
    tx: Transaction, identity: int, page: Iterable[tuple[bytes, bytes]], volume: Volume
) -> list[tuple[bytes, bytes]]:
    """Names and values of stored elements."""
    found = []
    for key, raw in page:
        value = await value_of(tx, identity, raw, volume)
        if value is not None:
            name = _name(key, raw)
            volume.add(len(name))
            found.append((name, value))
    return found


async def all_bulks(tx: Transaction, meta: Meta, *, names: bool, values: bool, versions: bool = False) -> Bulks:
    """All names, or values, or both in turn, as the strings of a reply, in the order of `pairs`; both are those of a map.
    With `versions` names, values and versions (integers) in turn.

    Raises:
        GateError: they are too much for one reply.
    """
    number, is_map = names + values + versions, names and values and not versions
    if meta.outside is None:
        if versions:
            known = await elements(tx, meta)
            return Bulks(len(known) * number, [_with_versions(known)])
        small = _small(tx, meta)
        return Bulks(len(small) * number, [_strings(small.items(), names=names, values=values)], is_map)
    tx.expects(meta.outside.size)
    identity, volume = meta.outside.identity, Volume()
    start, end = _all(meta, meta.outside)
    records = values or (meta.times is not None and meta.times.next <= tx.now_ms)  # without them none is known to have expired
    limit = PAGE if records else NAMES_PAGE
    pieces: list[bytes] = []
    count = 0
    while True:
        page = await tx.kv.scan(start, end, limit) if records else []
        keys = [key for key, _ in page] if records else await tx.kv.scan_keys(start, end, limit)
        if versions:
            versioned = await _elements(tx, identity, page, volume)
            pieces.append(_with_versions(versioned))
            count += len(versioned) * number
        else:
            found = await _read(tx, identity, page, volume) if records else await _names(tx, keys, volume)
            pieces.append(_strings(found, names=names, values=values))
            count += len(found) * number
        if len(keys) < limit:
            return Bulks(count, pieces, is_map)
        start = keys[-1] + b"\x00"


def _with_versions(found: Iterable[tuple[bytes, Element]]) -> bytes:
    """Names, values and versions in turn, as bulk strings and integers."""
    return b"".join(
        b"$%d\r\n%b\r\n$%d\r\n%b\r\n:%d\r\n" % (len(name), name, len(element.value), element.value, element.version)
        for name, element in found
    )


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
    """The engine keys of all fields of a big plain hash."""
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
        small = _small(tx, meta).items()
        return 0, [(name, value) for name, value in small if wanted is None or wanted(name)]
    tx.expects(min(count, meta.outside.size) + 1)
    following, page = await _page(tx, _all(meta, meta.outside, cursor), count)
    chosen = page if wanted is None else [(key, raw) for key, raw in page if wanted(_name(key, raw))]
    return following, await _read(tx, meta.outside.identity, chosen, Volume())


async def _page(tx: Transaction, within: tuple[bytes, bytes], count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Stored elements: one more than `count` is read, to know where the next page begins."""
    start, end = within
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
    """Fields and values of elements of a big plain hash, by their engine keys."""
    found: list[tuple[bytes, bytes]] = []
    volume = Volume()
    for at in range(0, len(keys), PAGE):
        part = keys[at : at + PAGE]
        raws = await tx.kv.get_many(part)
        page = [(key, raw) for key, raw in zip(part, raws, strict=True) if raw is not None]
        found += await _read(tx, place.identity, page, volume)
    return found
