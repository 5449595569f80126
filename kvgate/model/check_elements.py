"""The part of a store's check that is about the elements of one id, and what it shares with the rest."""

import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, TypeVar

import attrs

from kvgate.errors import GateError
from kvgate.model import elements as fields
from kvgate.model import keyspace
from kvgate.model.meta import EXHASH, EXSTRING, HASH, STRING, FieldTimes, Outside, UnreadableRecordError

T = TypeVar("T")

STRINGS: Final = (STRING, EXSTRING)
KINDS: Final = {STRING: (1,), EXSTRING: (1,), HASH: (11, 12), EXHASH: (8, 12, 13)}
"""The kinds of elements that a type has."""
_MARK: Final = b"\x01"
_FIELD_HEAD: Final = 1 + 8 + 1 + 6  # "D", id, kind, place: then the field's tail
_EXPIRY_LENGTH: Final = 1 + 8 + 1 + 8 + 1  # "D", id, kind, ms, and at least the first byte of a tail


def shown(text: bytes) -> str:
    """A key or field for people: quoted, what is not ASCII escaped, cut when it is long."""
    quoted = '"' + repr(text[:60])[2:-1].replace('"', '\\"') + '"'
    return quoted if len(text) <= 60 else f"{quoted}… ({len(text)} bytes)"


def attempt(decode: Callable[[bytes], T], raw: bytes) -> tuple[T | None, str]:
    """The decoded value, or None and why it cannot be had."""
    try:
        return decode(raw), ""
    except UnreadableRecordError as error:
        return None, error.text.removeprefix("ERR ")
    except (struct.error, IndexError, ValueError, GateError) as error:
        return None, f"it is broken ({error})"


def text_of(tail: bytes, long_text: bytes | None) -> tuple[bytes | None, str]:
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


def wrong_times(times: FieldTimes | None, lasting: int, expiries: Sequence[int]) -> Iterator[str]:
    """What is wrong with what a meta knows of expiries of fields: `expiries` are those of fields that do expire, `lasting` is
    the number of the others."""
    if times is None or not expiries:
        if times is not None or expiries:
            yield f"{len(expiries)} of its fields expire, and it says that {'some' if times else 'none'} do"
        return
    if times.lasting != lasting:
        yield f"it says that {times.lasting} of its fields do not expire, and {lasting} do not"
    if times.next > min(expiries):
        yield f"it says that no field expires before {times.next}, and one does at {min(expiries)}"
    if times.latest < max(expiries):
        yield f"it says that no field expires after {times.latest}, and one does at {max(expiries)}"


@attrs.frozen(slots=True)
class Owner:
    """A key whose data are elements."""

    name: str
    type: int
    outside: Outside
    times: FieldTimes | None


@attrs.define(slots=True)
class Elements:
    """What the elements of one id were."""

    identity: int
    owner: Owner | None
    _fields: int = attrs.field(default=0, init=False)
    _values: dict[int, Outside] = attrs.field(factory=dict, init=False)
    """Values of fields that lie in chunks."""
    _chunks: dict[int, list[tuple[bytes, int]]] = attrs.field(factory=dict, init=False)
    """Value id → number and size of each chunk: a value's chunks may come before its field."""
    _expiries: dict[bytes, int] = attrs.field(factory=dict, init=False)
    """Field → when it expires, by the records of that."""
    _expiring: list[int] = attrs.field(factory=list, init=False)
    """When fields expire, as they say themselves."""

    def element(self, owner: Owner, key: bytes, value: bytes) -> Iterator[str]:
        """What is wrong with one element."""
        if owner.type not in KINDS:
            return
        kind = key[9]
        if kind not in KINDS[owner.type]:
            yield f"an element of kind {kind}, which its type does not have"
        elif value[:1] != _MARK:
            yield f"an element of type {value[0]}"
        elif kind == 1:
            yield from _chunk("", owner.outside, key[10:], len(value) - 1)
        elif kind == 8:
            yield from self._expiry(key, value)
        elif kind == 12:
            number = int.from_bytes(key[10:18], "big")
            self._chunks.setdefault(number, []).append((key[18:], len(value) - 1))
        else:
            self._fields += 1
            yield from self._field(owner, key, value)

    def end(self, owner: Owner) -> Iterator[str]:
        """What is wrong with all of them together."""
        if owner.type in STRINGS or owner.type not in KINDS:
            return
        size = owner.outside.size
        if self._fields != size:
            yield f"it says that it has {size} elements, and there are {self._fields}"
        for value, chunks in self._chunks.items():
            outside = self._values.get(value)
            if outside is None:
                yield f"a chunk of the value {value:016x}, which no field has"
            else:
                for number, length in chunks:
                    yield from _chunk("of a field's value ", outside, number, length)
        for element, expires in self._expiries.items():
            yield f"a record that the field {element.hex()} expires at {expires}, which it does not, or is not there"
        yield from wrong_times(owner.times, self._fields - len(self._expiring), self._expiring)

    def _expiry(self, key: bytes, value: bytes) -> Iterator[str]:
        if len(key) < _EXPIRY_LENGTH or len(value) != 7:
            yield f"record {key.hex()}: no record of a field's expiry looks like this"
            return
        expires, element = keyspace.expiring_field(key, value)
        if element in self._expiries:
            yield f"field {element.hex()}: two records say when it expires"
        self._expiries[element] = expires

    def _field(self, owner: Owner, key: bytes, value: bytes) -> Iterator[str]:
        element, why = attempt(fields.decode_element, value)
        if element is None:
            yield f"a field cannot be read: {why}"
            return
        text, why = text_of(key[_FIELD_HEAD:], element.long_name)
        if text is None:
            yield f"field {key.hex()}: {why}"
        elif key != keyspace.field_key(self.identity, text, key[9:10]):
            yield f"field {shown(text)}: it lies at another place than its hash says"
        if fields.encode_element(element) != value:
            yield f"field {key.hex()}: its record has other bytes than its meaning"
        if element.outside is not None:
            if element.outside.identity in self._values:
                yield f"field {key.hex()}: another field has the same value id"
            self._values[element.outside.identity] = element.outside
        if owner.type == HASH and (element.expires or element.version):
            yield f"field {key.hex()}: it has an expiry or a version, and its hash is not a versioned one"
        elif element.expires:
            self._expiring.append(element.expires)
            if self._expiries.pop(key, None) != element.expires:
                yield f"field {key.hex()}: it expires at {element.expires}, and no record says so"


def _chunk(of: str, place: Outside, number: bytes, length: int) -> Iterator[str]:
    at = int.from_bytes(number, "big") * place.unit
    if len(number) != 4:
        yield f"a chunk {of}with an unknown key"
    elif at >= place.size:
        yield f"chunk {int.from_bytes(number, 'big')} {of}is behind the end of its {place.size} bytes"
    elif length > min(place.unit, place.size - at):
        yield f"chunk {int.from_bytes(number, 'big')} {of}is longer than it may be"
