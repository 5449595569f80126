"""Whether a store keeps what docs/keyspace.md promises: every record is read, every reference followed, both ways.

It reads one snapshot, so it can run beside a gate that writes. Nothing is changed or mended.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from kvgate.model import elements as fields
from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.check_elements import KINDS, STRINGS, Elements, Owner, attempt, shown, text_of, wrong_times
from kvgate.model.meta import EXHASH, EXSTRING, HASH, TYPE_NAMES, Meta
from kvgate.model.overlay import Snapshot

V = TypeVar("V")

LONGEST_KEY: Final = 440
"""Bytes of an engine key, on every engine."""
_PAGE: Final = 500
_MARK: Final = b"\x01"
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
        self._owners: dict[int, Owner] = {}
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
                counter, why = attempt(records.decode_counter, value)
                if counter is None or len(value) != 9:
                    yield f"the record of the last revision cannot be read: {why or 'its length is wrong'}"
                self._revision = counter or 0
            elif key == keyspace.JOURNAL:
                if attempt(records.decode_counter, value)[0] is None:
                    yield "the record of the journal's last record cannot be read"
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
            generation, why = attempt(records.decode_counter, value)
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
        progress, why = attempt(records.decode_progress, value)
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
            meta, why = attempt(records.decode, raw)
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
                self._owners[meta.outside.identity] = Owner(name, meta.type, meta.outside, meta.times)

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
        for moment in sorted(meta.moments()):
            if self._snapshot.get(keyspace.expiry_key(place, moment)) != _MARK:
                what = "it expires" if moment == meta.expires else "its fields expire"
                yield f"{what} at {moment}, which the index of expiries does not have"
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
            meta, _ = (None, "") if raw is None else attempt(records.decode, raw)
            name = f"the entry {key.hex()} of the index of expiries"
            if raw is None:
                yield f"{name}: there is no such key"
            elif meta is not None and expires not in meta.moments():
                times = ", ".join(map(str, sorted(meta.moments()))) or "no time"
                yield f"{name}: its key expires at {times}, not at {expires}"
            elif key != keyspace.expiry_key(place, expires) or value != _MARK:
                yield f"{name}: unknown form"

    # Elements

    def _elements(self) -> Iterator[str]:
        seen: Elements | None = None
        for key, value, wrong in self._records(b"D", b"E"):
            if wrong or len(key) < 11:
                yield wrong or f"record {key.hex()}: no element has so short a key"
                continue
            identity = int.from_bytes(key[1:9], "big")
            if seen is None or seen.identity != identity:
                yield from self._after(seen)
                seen = Elements(identity, self._owners.pop(identity, None))
                yield from self._before(seen)
            if seen.owner is not None:
                yield from (f"{seen.owner.name}: {what}" for what in seen.element(seen.owner, key, value))
        yield from self._after(seen)
        for owner in self._owners.values():
            if owner.type not in STRINGS and owner.outside.size:  # a string's chunks may all be zero bytes, and not be there
                yield f"{owner.name}: it has {owner.outside.size} elements, and there are none"

    def _before(self, seen: Elements) -> Iterator[str]:
        queued = seen.identity in self._queued
        if seen.owner is None and not queued:
            yield f"elements of id {seen.identity:016x}: they belong to no key, and the sweeper does not know of them"
        elif seen.owner is not None and queued:
            yield f"{seen.owner.name}: the sweeper has an order to delete its elements"

    def _after(self, seen: Elements | None) -> Iterator[str]:
        if seen is not None and seen.owner is not None:
            yield from (f"{seen.owner.name}: {what}" for what in seen.end(seen.owner))

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


def _key(place: bytes, meta: Meta) -> tuple[bytes | None, str]:
    """The whole key of a meta, or None and what is wrong with its tail."""
    if len(place) < 8:
        return None, "no meta has so short a key"
    return text_of(place[7:], meta.long_key)


def _versions(meta: Meta) -> Iterator[str]:
    """What is wrong with the version and the flags of a key."""
    if meta.type == EXSTRING:
        if meta.version is None:
            yield "it is a versioned string without a version"
        if meta.marks == 0:
            yield "it has flags, and they are 0"
    elif meta.version is not None or meta.marks is not None:
        yield "it has a version or flags, which its type does not have"
    if meta.type != EXHASH and meta.times is not None:
        yield "it knows of fields that expire, which its type does not have"


def _payload(meta: Meta) -> Iterator[str]:
    """What is wrong with the data in a meta."""
    if meta.type not in KINDS:
        yield f"its type {TYPE_NAMES[meta.type].decode()} is not written by this version"
    elif meta.outside is not None:
        if meta.payload:
            yield "it has data in its record, and elements"
        if not meta.outside.size:
            yield "it has elements, and is empty"
        if bool(meta.outside.unit) != (meta.type in STRINGS):
            yield f"its unit is {meta.outside.unit}"
    elif meta.type == HASH:
        yield from _small(meta, fields.decode_small, fields.encode_small)
    elif meta.type == EXHASH:
        yield from _small(meta, fields.decode_versioned, fields.encode_versioned)
        small, _ = attempt(fields.decode_versioned, meta.payload)
        expiries = [element.expires for element in (small or {}).values()]
        yield from wrong_times(meta.times, expiries.count(0), [each for each in expiries if each])


def _small(meta: Meta, decode: Callable[[bytes], dict[bytes, V]], encode: Callable[[dict[bytes, V]], bytes]) -> Iterator[str]:
    small, why = attempt(decode, meta.payload)
    if small is None:
        yield f"its fields cannot be read: {why}"
    elif not small:
        yield "it is a hash without fields"
    elif encode(small) != meta.payload:
        yield "its fields are cut, or one is there twice"
