"""Writing the fields of a plain hash, and what that has in common with a versioned one.

What writes some fields touches the meta and those fields only, however many others there are.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from kvgate.model import keyspace
from kvgate.model.elements import (
    Element,
    decode_element,
    decode_small,
    decode_value,
    encode_element,
    encode_small,
    find_small,
)
from kvgate.model.fields import chunk_keys, value_of
from kvgate.model.meta import CHUNK, HASH, Meta, Outside
from kvgate.model.transaction import Transaction

SMALL_FIELDS: Final = 128
"""A hash of more fields than this moves out of its meta: they are walked over to find one, about 50 µs at most."""
SMALL_BYTES: Final = 4096
"""Or of more bytes: a small hash is read and written whole, so this is what HGET of one field costs at most."""


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
    value = new(None if raw is None else await value_of(tx, place.identity, raw))
    if value is None:
        return False
    if raw is not None:
        _drop(tx, place.identity, raw)
    _put(tx, place.identity, field, value)
    await _touch(tx, key, meta, place, place.size + (raw is None))
    return True


async def _move_out(tx: Transaction, key: bytes, meta: Meta, fields: Mapping[bytes, bytes]) -> None:
    identity = new_id()
    for name, value in fields.items():
        _put(tx, identity, name, value)
    await tx.put(key, attrs.evolve(meta, payload=b"", outside=Outside(identity, len(fields), 0)))


async def _store_elements(tx: Transaction, key: bytes, meta: Meta, place: Outside, fields: Mapping[bytes, bytes]) -> int:
    before = await tx.kv.get_many([keyspace.field_key(place.identity, name) for name in fields])
    for (name, value), raw in zip(fields.items(), before, strict=True):
        if raw is not None:
            _drop(tx, place.identity, raw)
        _put(tx, place.identity, name, value)
    new = before.count(None)
    await _touch(tx, key, meta, place, place.size + new)
    return new


async def _touch(tx: Transaction, key: bytes, meta: Meta, place: Outside, size: int) -> None:
    """Write the meta with another size, or the same: its revision makes transactions on one hash conflict."""
    await tx.put(key, attrs.evolve(meta, outside=attrs.evolve(place, size=size)))


def _put(tx: Transaction, identity: int, name: bytes, value: bytes) -> None:
    put_element(tx, identity, keyspace.field_key(identity, name), name, Element(value))


def _drop(tx: Transaction, identity: int, raw: bytes) -> None:
    """Remove the chunks of a stored element that is about to go."""
    if decode_value(raw) is None:
        drop_value(tx, identity, decode_element(raw))


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
            _drop(tx, place.identity, raw)
            tx.kv.delete(element)
            removed += 1
    if removed == place.size:
        await tx.remove(key)
    elif removed:
        await _touch(tx, key, meta, place, place.size - removed)
    return removed


# ---------------------------------------------------------------------- for versioned hashes too


def new_id() -> int:
    """64 random bits, for elements or for a long value."""
    return int.from_bytes(os.urandom(8), "big")


def put_element(tx: Transaction, identity: int, key: bytes, name: bytes, element: Element) -> None:
    """Write the element with the engine key `key`; a value that is too long for it goes into chunks, one that lies there
    already stays."""
    if len(name) > keyspace.TEXT_LIMIT:
        element = attrs.evolve(element, long_name=name)
    if len(element.value) > CHUNK:
        value, place = element.value, Outside(new_id(), len(element.value), CHUNK)
        for number, chunk in enumerate(chunk_keys(identity, place)):
            tx.kv.put(chunk, b"\x01" + value[number * CHUNK : (number + 1) * CHUNK])
        element = attrs.evolve(element, value=b"", outside=place)
    tx.kv.put(key, encode_element(element))


def drop_value(tx: Transaction, identity: int, element: Element) -> int:
    """Remove the chunks of an element's value; how many there are."""
    chunks = [] if element.outside is None else chunk_keys(identity, element.outside)
    for chunk in chunks:
        tx.kv.delete(chunk)
    return len(chunks)
