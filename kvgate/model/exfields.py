"""Writing the fields of a versioned hash, and upkeep of what its meta and its records know of their expiries.

Reading them is `kvgate.model.fields`. What is written where says docs/keyspace.md, "M", "D" and "X".
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import attrs

from kvgate.model import fields, keyspace
from kvgate.model.elements import Element, decode_element, record_element, record_expires, versioned_record
from kvgate.model.field_writes import SMALL_BYTES, SMALL_FIELDS, drop_value, new_id, put_element
from kvgate.model.meta import EXHASH, FieldTimes, Meta, Outside
from kvgate.model.transaction import Transaction

_NEVER: Final = 2**63 - 1
"""Above every expiry that a command takes."""


async def count(tx: Transaction, meta: Meta) -> int:
    """The number of fields whose time has not come. Of a big hash only those are counted that wait for the sweeper."""
    if meta.outside is None:
        return len(fields.living(tx, meta))
    gone = 0
    if meta.times is not None and meta.times.next <= tx.now_ms:
        start, end = keyspace.field_expiries(meta.outside.identity, tx.now_ms)
        while True:
            page = await tx.kv.scan_keys(start, end, fields.PAGE)
            gone += len(page)
            if len(page) < fields.PAGE:
                break
            tx.expects(gone + fields.PAGE)
            start = page[-1] + b"\x00"
    return meta.outside.size - gone


# ---------------------------------------------------------------------- writing


class Edit:
    """Some fields of one versioned hash: read together (`edit`), changed one by one, written together."""

    __slots__ = ("_changed", "_key", "_meta", "_small", "_stored", "_tx")

    def __init__(
        self, tx: Transaction, key: bytes, meta: Meta, small: dict[bytes, bytes], stored: dict[bytes, Element]
    ) -> None:
        """`small`: all fields of a small hash, with their bytes; `stored`: named fields of a big one that have a record, whose
        time may have come."""
        self._tx = tx
        self._key = key
        self._meta = meta
        self._small = small
        self._stored = stored
        self._changed: dict[bytes, Element | None] = {}

    def get(self, name: bytes) -> Element | None:
        """The field as it is now, None when there is none; its value may lie outside."""
        if name in self._changed:
            return self._changed[name]
        record = self._small.get(name)
        if record is not None:
            return record_element(name, record)
        element = self._stored.get(name)
        return None if element is None or element.gone(self._tx.now_ms) else element

    async def value(self, element: Element) -> bytes:
        """The whole value of a field that was read."""
        place = self._meta.outside
        return element.value if place is None else await fields.whole(self._tx, place.identity, element)

    def set(self, name: bytes, element: Element) -> None:
        """Write a field; it is removed if its time has come already."""
        self._changed[name] = None if element.gone(self._tx.now_ms) else element

    def remove(self, name: bytes) -> bool:
        """Remove a field; whether there was one."""
        there = self.get(name) is not None
        if there:
            self._changed[name] = None
        return there

    async def save(self) -> None:
        """Write what was changed. A hash without fields is removed itself."""
        if not self._changed:
            return
        if self._meta.outside is None:
            await self._save_small()
        else:
            await self._save_elements(self._meta.outside)

    async def _save_small(self) -> None:
        records, meta = self._small, self._meta
        for name, new in self._changed.items():
            if new is None:
                records.pop(name, None)
            else:
                records[name] = versioned_record(name, new)
        if not records:
            await self._tx.remove(self._key)
            return
        times = _times(records.values(), meta.times, self._tx.now_ms)
        if len(records) <= SMALL_FIELDS and len(payload := b"".join(records.values())) <= SMALL_BYTES:
            await self._tx.put(self._key, attrs.evolve(meta, payload=payload, times=times))
            return
        identity = new_id()
        for name, record in records.items():
            _exchange(self._tx, identity, name, None, record_element(name, record))
        place = Outside(identity, len(records), 0)
        await self._tx.put(self._key, attrs.evolve(meta, payload=b"", outside=place, times=times))

    async def _save_elements(self, place: Outside) -> None:
        size, lasting = place.size, place.size
        times = self._meta.times
        first, latest = _NEVER, 0
        if times is not None:
            first, latest, lasting = times.next, times.latest, times.lasting
        for name, new in self._changed.items():
            old = self._stored.get(name)
            _exchange(self._tx, place.identity, name, old, new)
            size += (new is not None) - (old is not None)
            lasting += (new is not None and not new.expires) - (old is not None and not old.expires)
            if new is not None and new.expires:
                first, latest = min(first, new.expires), max(latest, new.expires)
        if not size:
            await self._tx.remove(self._key)
            return
        times = None if lasting == size else FieldTimes(first, latest, lasting)
        await self._tx.put(self._key, attrs.evolve(self._meta, outside=attrs.evolve(place, size=size), times=times))


async def edit(tx: Transaction, key: bytes, meta: Meta | None, names: Iterable[bytes]) -> Edit:
    """Read the named fields of the hash that `load` found under `key`, to change them; with None the hash is a new one."""
    if meta is None:
        return Edit(tx, key, Meta(EXHASH), {}, {})
    if meta.outside is None:
        return Edit(tx, key, meta, fields.living(tx, meta), {})
    place, stored = meta.outside, {}
    distinct = list(dict.fromkeys(names))
    raws = await tx.kv.get_many([fields.element_key(meta, place, name) for name in distinct])
    for name, raw in zip(distinct, raws, strict=True):
        if raw is not None:
            stored[name] = decode_element(raw)
    return Edit(tx, key, meta, {}, stored)


def _exchange(tx: Transaction, identity: int, name: bytes, old: Element | None, new: Element | None) -> None:
    """Write a field's record instead of `old`, or remove it, with what the two refer to: chunks, the record of the expiry."""
    key = keyspace.field_key(identity, name, keyspace.EXHASH_FIELD_KIND)
    if old is not None and (new is None or new.outside != old.outside):
        drop_value(tx, identity, old)
    before, after = old.expires if old is not None else 0, new.expires if new is not None else 0
    if before and before != after:
        tx.kv.delete(keyspace.field_expiry(key, before)[0])
    if after and before != after:
        tx.kv.put(*keyspace.field_expiry(key, after))
    if new is not None:
        put_element(tx, identity, key, name, new)
    elif old is not None:
        tx.kv.delete(key)


def _times(records: Collection[bytes], before: FieldTimes | None, now_ms: int) -> FieldTimes | None:
    """What the meta of a small hash says of the expiries of its fields."""
    expiries = [expires for expires in map(record_expires, records) if expires]
    if not expiries:
        return None
    first, latest, lasting = min(expiries), max(expiries), len(records) - len(expiries)
    if before is not None and now_ms < before.next < first:
        first = before.next  # the entry of the index stays as it is; the sweeper looks at the hash once more than it must
    return FieldTimes(first, latest, lasting)


# ---------------------------------------------------------------------- sweeping


async def sweep(tx: Transaction, key: bytes, meta: Meta, most: int, over: Callable[[], bool]) -> int:
    """Remove fields whose time has come; not all, when they are more than about `most` records or `over` says that time is up.
    How many records were written. The hash's next entry in the index says when there is more to do; that may be now."""
    if meta.outside is not None:
        return await _sweep_elements(tx, key, meta, meta.outside, most, over)
    left = fields.living(tx, meta)
    if left:
        times = _times(left.values(), None, tx.now_ms)
        await tx.put(key, attrs.evolve(meta, payload=b"".join(left.values()), times=times))
    else:
        await tx.remove(key)
    return 1


async def _sweep_elements(
    tx: Transaction, key: bytes, meta: Meta, place: Outside, most: int, over: Callable[[], bool]
) -> int:
    start, end = keyspace.field_expiries(place.identity, tx.now_ms)
    size, deleted, limit = place.size, 1, fields.PAGE
    while True:
        due = await tx.kv.scan(start, end, limit)
        size -= len(due)
        deleted += await _remove_due(tx, place, due)
        start = due[-1][0] + b"\x00" if due else start
        if len(due) < limit or deleted >= most or over():
            break
    if not size:
        await tx.remove(key)
        return deleted
    following = await tx.kv.scan_keys(start, keyspace.later_field_expiries(place.identity, tx.now_ms)[1], 1)
    times = None
    if following and meta.times is not None:
        times = attrs.evolve(meta.times, next=keyspace.expiring_field(following[0], bytes(7))[0])
    await tx.put(key, attrs.evolve(meta, outside=attrs.evolve(place, size=size), times=times))
    return deleted


async def _remove_due(tx: Transaction, place: Outside, due: Sequence[tuple[bytes, bytes]]) -> int:
    """Remove the fields that these records of expiries name; how many records that are."""
    deleted = 2 * len(due)
    elements = [keyspace.expiring_field(*entry)[1] for entry in due]
    for (entry, _), element, raw in zip(due, elements, await tx.kv.get_many(elements), strict=True):
        tx.kv.delete(entry)
        tx.kv.delete(element)
        if raw is not None:
            deleted += drop_value(tx, place.identity, decode_element(raw))
    return deleted
