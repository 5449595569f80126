"""Whether a store keeps what docs/keyspace.md promises: every record is read, every reference followed, both ways.

It reads one snapshot, so it can run beside a gate that writes. Nothing is changed or mended.
"""

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final, TypeVar

import attrs

from kvgate.errors import GateError
from kvgate.model import elements as fields
from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.meta import EXSTRING, HASH, STRING, TYPE_NAMES, Meta, Outside, UnreadableRecordError
from kvgate.model.overlay import Snapshot

T = TypeVar("T")

LONGEST_KEY: Final = 440
"""Bytes of an engine key, on every engine."""
_PAGE: Final = 500
_STRINGS: Final = (STRING, EXSTRING)
_MARK: Final = b"\x01"
_FIELD_HEAD = 1 + 8 + 1 + 6  # "D", id, kind, place: then the field's tail
_KINDS: Final = {STRING: (1,), EXSTRING: (1,), HASH: (11, 12)}
_KNOWN: Final = ((b"D", b"E"), (b"G", b"H"), (b"M", b"N"), (b"Q", b"R"), (b"R", b"S"), (b"S", b"T"), (b"X", b"Y"))
_END: Final = b"\xff" * 512


def pairs(snapshot: Snapshot, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All records with ``start <= key < end``, ascending."""
    while True:
        page = snapshot.range(start, end, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        start = page[-1][0] + b"\x00"


def shown(text: bytes) -> str:
    """A key or field for people: quoted, what is not ASCII escaped, cut when it is long."""
    quoted = '"' + repr(text[:60])[2:-1].replace('"', '\\"') + '"'
    return quoted if len(text) <= 60 else f"{quoted}… ({len(text)} bytes)"


@attrs.frozen(slots=True)
class _Owner:
    """A key whose data are elements."""

    name: str
    type: int
    outside: Outside


@attrs.define(slots=True)
class _Seen:
    """What the elements of one id were."""

    identity: int
    owner: _Owner | None
    fields: int = 0
    values: dict[int, Outside] = attrs.field(factory=dict)
    """Values of fields that lie in chunks."""


class Check:
    """One reading of a store."""

    def __init__(self, snapshot: Snapshot, step: Callable[[], None] = lambda: None) -> None:
        """Read `snapshot`, which the caller keeps; `step` is called for each record."""
        self._snapshot = snapshot
        self._step = step
        self._revision = 0
        self._store_generation = 0
        self._groups: dict[bytes, int] = {}
        self._queued: set[int] = set()
        self._flushes: dict[bytes, tuple[int, int]] = {}  # queue record → generation and position
        self._owners: dict[int, _Owner] = {}
        self.keys = 0

    def problems(self) -> Iterator[str]:
        """Everything that is wrong, one line each, in the order of reading.

        Raises:
            UnreadableRecordError: the header is not one of this program's formats.
        """
        yield from self._store()
        yield from self._directory()
        yield from self._queue()
        yield from self._metas()
        yield from self._expiries()
        yield from self._elements()
        yield from self._groups_committed()
        yield from self._strangers()

    # Each kind of record

    def _records(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes, str]]:
        """The records of a range; with each, what is wrong with it whatever it means, empty when nothing is."""
        for key, value in pairs(self._snapshot, start, end):
            self._step()
            wrong = ""
            if len(key) > LONGEST_KEY:
                wrong = f"record {key[:40].hex()}…: a key of {len(key)} bytes; {LONGEST_KEY} are allowed"
            elif not value:
                wrong = f"record {key.hex()}: its value is empty"
            yield key, value, wrong

    def _store(self) -> Iterator[str]:
        for key, value, wrong in self._records(b"S", b"T"):
            if wrong:
                yield wrong
            elif key == keyspace.HEADER:
                records.decode_header(value)
            elif key == keyspace.REVISION:
                counter, why = _try(records.decode_counter, value)
                if counter is None or len(value) != 9:
                    yield f"the record of the last revision cannot be read: {why or 'its length is wrong'}"
                self._revision = counter or 0
            elif key != keyspace.PROBE:
                yield f"record {shown(key)}: unknown"
        if self._snapshot.get(keyspace.HEADER) is None:
            yield "the header of the store is missing"

    def _directory(self) -> Iterator[str]:
        for key, value, wrong in self._records(b"G", b"H"):
            if wrong:
                yield wrong
                continue
            name = "the generation of the store"
            group = b""
            if key != keyspace.STORE_GENERATION:
                if not keyspace.GROUPS_START <= key < keyspace.GROUPS_END or len(key) < 4:
                    yield f"record {key.hex()}: unknown"
                    continue
                group = key[4:]
                name = f"group {shown(group)}"
                if group and keyspace.group_of(group + b":") != group:
                    yield f"{name}: no group has such a name"
                elif key != keyspace.group_key(group):
                    yield f"{name}: its record is in another bucket than its hash says"
            generation, why = _try(records.decode_counter, value)
            if generation is None or len(value) != 9:
                yield f"{name} cannot be read: {why or 'its length is wrong'}"
                continue
            if generation > self._revision:
                yield f"{name}: generation {generation} is above the last revision, {self._revision}"
            if key == keyspace.STORE_GENERATION:
                self._store_generation = generation
            else:
                self._groups[group] = generation

    def _queue(self) -> Iterator[str]:
        for key, value, wrong in self._records(keyspace.QUEUE_START, keyspace.QUEUE_END):
            if wrong:
                yield wrong
            elif key[1:2] == b"\x01" and len(key) == 10:
                self._queued.add(int.from_bytes(key[2:], "big"))
                if value != _MARK:
                    yield f"the sweeper's order for id {key[2:].hex()}: unknown value"
            elif key == keyspace.QUEUE_STORE or (key[1:2] == b"\x02" and len(key) >= 4):
                yield from self._flush(key, value)
            else:
                yield f"record {key.hex()}: an unknown order for the sweeper"

    def _flush(self, key: bytes, value: bytes) -> Iterator[str]:
        whole = key == keyspace.QUEUE_STORE
        name = "the sweeper's order after a flush" + ("" if whole else f" of group {shown(key[4:])}")
        progress, why = _try(records.decode_progress, value)
        if progress is None:
            yield f"{name} cannot be read: {why}"
            return
        if not whole and key != keyspace.queued_group(key[4:]):
            yield f"{name}: it names another bucket than the group's"
        generation = self._store_generation if whole else self._groups.get(key[4:], -1)
        if progress[0] > generation:
            yield f"{name}: generation {progress[0]} was never reached"
        self._flushes[key] = progress

    def _metas(self) -> Iterator[str]:
        for place, raw, wrong in self._records(b"M", b"N"):
            self.keys += 1
            if wrong:
                yield wrong
                continue
            meta, why = _try(records.decode, raw)
            if meta is None:
                yield f"record {place.hex()} cannot be read: {why}"
                continue
            key, why = _key(place, meta)
            if key is None:
                yield f"record {place.hex()}: {why}"
                continue
            name = f"key {shown(key)}"
            yield from (f"{name}: {what}" for what in self._meta(place, key, meta, raw))
            if meta.outside is not None:
                twin = self._owners.get(meta.outside.identity)
                if twin is not None:
                    yield f"{name}: it has the same elements as {twin.name}"
                self._owners[meta.outside.identity] = _Owner(name, meta.type, meta.outside)

    def _meta(self, place: bytes, key: bytes, meta: Meta, raw: bytes) -> Iterator[str]:
        """What is wrong with one key's record, apart from its elements."""
        if place != keyspace.meta_key(key):
            yield "it lies at another position than its hash says"
        if records.encode(meta, meta.generation, meta.revision, meta.long_key) != raw:
            yield "its record has other bytes than its meaning"
        group = keyspace.group_of(key)
        known = self._groups.get(group)
        if known is None:
            yield f"its group {shown(group)} has no record"
        effective = max(known or 0, self._store_generation)
        if meta.generation > effective:
            yield f"its generation {meta.generation} is above that of its group, {effective}"
        elif meta.generation < effective and not self._will_be_swept(place, group, meta.generation):
            yield "it was flushed, and no order of the sweeper covers it"
        if not 0 < meta.revision <= self._revision:
            yield f"its revision {meta.revision} is above the store's last one, {self._revision}"
        if meta.expires:
            entry = self._snapshot.get(keyspace.expiry_key(place, meta.expires))
            if entry != _MARK:
                yield f"it expires at {meta.expires}, which the index of expiries does not have"
        yield from _versions(meta)
        yield from _payload(meta)

    def _will_be_swept(self, place: bytes, group: bytes, generation: int) -> bool:
        position = keyspace.position_in(place)
        orders = (self._flushes.get(keyspace.QUEUE_STORE), self._flushes.get(keyspace.queued_group(group)))
        return any(order is not None and generation < order[0] and position >= order[1] for order in orders)

    def _expiries(self) -> Iterator[str]:
        for key, value, wrong in self._records(b"X", b"Y"):
            if wrong:
                yield wrong
                continue
            if len(key) < 17:
                yield f"record {key.hex()}: no entry of the index of expiries is so short"
                continue
            expires, place = keyspace.expiry_in(key)
            raw = self._snapshot.get(place)
            meta, _ = (None, "") if raw is None else _try(records.decode, raw)
            name = f"the entry {key.hex()} of the index of expiries"
            if raw is None:
                yield f"{name}: there is no such key"
            elif meta is not None and meta.expires != expires:
                yield f"{name}: its key expires at {meta.expires or 'no time'}, not at {expires}"
            elif key != keyspace.expiry_key(place, expires) or value != _MARK:
                yield f"{name}: unknown form"

    # Elements

    def _elements(self) -> Iterator[str]:
        seen: _Seen | None = None
        for key, value, wrong in self._records(b"D", b"E"):
            if wrong or len(key) < 11:
                yield wrong or f"record {key.hex()}: no element has so short a key"
                continue
            identity = int.from_bytes(key[1:9], "big")
            if seen is None or seen.identity != identity:
                yield from self._after(seen)
                seen = _Seen(identity, self._owners.pop(identity, None))
                yield from self._before(seen)
            if seen.owner is not None:
                yield from (f"{seen.owner.name}: {what}" for what in _element(seen, key, value))
        yield from self._after(seen)
        for owner in self._owners.values():
            if owner.type not in _STRINGS and owner.outside.size:  # a string's chunks may all be zero bytes, and not be there
                yield f"{owner.name}: it has {owner.outside.size} elements, and there are none"

    def _before(self, seen: _Seen) -> Iterator[str]:
        queued = seen.identity in self._queued
        if seen.owner is None and not queued:
            yield f"elements of id {seen.identity:016x}: they belong to no key, and the sweeper does not know of them"
        elif seen.owner is not None and queued:
            yield f"{seen.owner.name}: the sweeper has an order to delete its elements"

    def _after(self, seen: _Seen | None) -> Iterator[str]:
        if seen is not None and seen.owner is not None and seen.owner.type not in _STRINGS:
            size = seen.owner.outside.size
            if seen.owner.type in _KINDS and seen.fields != size:
                yield f"{seen.owner.name}: it says that it has {size} elements, and there are {seen.fields}"

    # The rest

    def _groups_committed(self) -> Iterator[str]:
        for key, value, wrong in self._records(b"R", b"S"):
            if wrong:
                yield wrong
            elif len(key) != 26 or value != _MARK:
                yield f"record {key.hex()}: no record of a committed group looks like this"

    def _strangers(self) -> Iterator[str]:
        start = b""
        for known, end in (*_KNOWN, (_END, _END)):
            for key, _, wrong in self._records(start or b"\x00", known):
                yield wrong or f"record {key[:40].hex()}: of a type that this version does not know"
            start = end


def _try(decode: Callable[[bytes], T], raw: bytes) -> tuple[T | None, str]:
    """The decoded value, or None and why it cannot be had."""
    try:
        return decode(raw), ""
    except UnreadableRecordError as error:
        return None, error.text.removeprefix("ERR ")
    except (struct.error, IndexError, ValueError, GateError) as error:
        return None, f"it is broken ({error})"


def _key(place: bytes, meta: Meta) -> tuple[bytes | None, str]:
    """The whole key of a meta, or None and what is wrong with its tail."""
    if len(place) < 8:
        return None, "no meta has so short a key"
    return _tail(place[7:], meta.long_key)


def _tail(tail: bytes, long_text: bytes | None) -> tuple[bytes | None, str]:
    """The text of a key or field from its engine key and its record."""
    if tail[:1] == b"\x00":
        if long_text is not None:
            return None, "it has its whole text twice"
        if len(tail) - 1 > keyspace.TEXT_LIMIT:
            return None, "its text is longer than an engine key may hold"
        return tail[1:], ""
    if tail[:1] != b"\x01" or len(tail) != 33:
        return None, "its engine key has an unknown form"
    if long_text is None:
        return None, "its whole text is missing"
    if len(long_text) <= keyspace.TEXT_LIMIT or blake2b(long_text, digest_size=32).digest() != tail[1:]:
        return None, "its whole text is not that of its digest"
    return long_text, ""


def _versions(meta: Meta) -> Iterator[str]:
    """What is wrong with the version and the flags of a key."""
    if meta.type == EXSTRING:
        if meta.version is None:
            yield "it is a versioned string without a version"
        if meta.marks == 0:
            yield "it has flags, and they are 0"
    elif meta.version is not None or meta.marks is not None:
        yield "it has a version or flags, which its type does not have"


def _payload(meta: Meta) -> Iterator[str]:
    """What is wrong with the data in a meta."""
    if meta.type not in _KINDS:
        yield f"its type {TYPE_NAMES[meta.type].decode()} is not written by this version"
    elif meta.outside is not None:
        if meta.payload:
            yield "it has data in its record, and elements"
        if not meta.outside.size:
            yield "it has elements, and is empty"
        if bool(meta.outside.unit) != (meta.type in _STRINGS):
            yield f"its unit is {meta.outside.unit}"
    elif meta.type == HASH:
        small, why = _try(fields.decode_small, meta.payload)
        if small is None:
            yield f"its fields cannot be read: {why}"
        elif not small:
            yield "it is a hash without fields"
        elif fields.encode_small(small) != meta.payload:
            yield "its fields are cut, or one is there twice"


def _element(seen: _Seen, key: bytes, value: bytes) -> Iterator[str]:
    """What is wrong with one element of an owner."""
    owner = seen.owner
    kind = key[9]
    if owner is None or owner.type not in _KINDS:
        return
    if kind not in _KINDS[owner.type]:
        yield f"an element of kind {kind}, which its type does not have"
    elif value[:1] != _MARK:
        yield f"an element of type {value[0]}"
    elif kind == 1:
        yield from _chunk("", owner.outside, key[10:], value)
    elif kind == 12:
        outside = seen.values.get(int.from_bytes(key[10:18], "big"))
        if outside is None:
            yield f"a chunk of the value {key[10:18].hex()}, which no field has"
        else:
            yield from _chunk("of a field's value ", outside, key[18:], value)
    else:
        seen.fields += 1
        yield from _field(seen, key, value)


def _chunk(of: str, place: Outside, number: bytes, value: bytes) -> Iterator[str]:
    at = int.from_bytes(number, "big") * place.unit
    if len(number) != 4:
        yield f"a chunk {of}with an unknown key"
    elif at >= place.size:
        yield f"chunk {int.from_bytes(number, 'big')} {of}is behind the end of its {place.size} bytes"
    elif len(value) - 1 > min(place.unit, place.size - at):
        yield f"chunk {int.from_bytes(number, 'big')} {of}is longer than it may be"


def _field(seen: _Seen, key: bytes, value: bytes) -> Iterator[str]:
    element, why = _try(fields.decode_element, value)
    if element is None:
        yield f"a field cannot be read: {why}"
        return
    text, why = _tail(key[_FIELD_HEAD:], element.long_name)
    if text is None:
        yield f"field {key.hex()}: {why}"
    elif key != keyspace.field_key(seen.identity, text):
        yield f"field {shown(text)}: it lies at another place than its hash says"
    if fields.encode_element(element) != value:
        yield f"field {key.hex()}: its record has other bytes than its meaning"
    if element.outside is not None:
        if element.outside.identity in seen.values:
            yield f"field {key.hex()}: another field has the same value id"
        seen.values[element.outside.identity] = element.outside
