"""Engine values of the fields of hashes: one element of a big hash, and a whole small hash (docs/keyspace.md, "M" and "D")."""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from kvgate.model.meta import Outside, UnreadableRecordError

_EXPIRES, _LONG, _OUT, _VERSION = 0x01, 0x02, 0x04, 0x08
_NAMES: Final = {0: 5, _EXPIRES: 13, _VERSION: 13, _EXPIRES | _VERSION: 21}
"""Bytes of a field of a small versioned hash before its name, by flags: these, expiry, version, length."""
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")  # a version is stored as a u64; one above 2**63 - 1 is a count that went over its end
_PLACE = struct.Struct(">QQI")
_HEAD = struct.Struct(">BI")


@attrs.frozen(slots=True)
class Element:
    """What the record of one field says."""

    value: bytes = b""
    outside: Outside | None = None
    """Where the value lies when it is too long for the record; its identity is the value's own."""
    long_name: bytes | None = None
    """The whole field, when the engine key has its digest only."""
    expires: int = 0
    """Unix time in ms; 0 for never. Of versioned hashes, as is the version."""
    version: int = 0

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return len(self.value) if self.outside is None else self.outside.size

    def gone(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return 0 < self.expires <= now_ms


def encode_element(element: Element) -> bytes:
    """The stored bytes of an element."""
    if element.outside is None and element.long_name is None and not element.expires and not element.version:
        return b"\x01\x00" + element.value
    flags, fields = 0, []
    if element.expires:
        flags |= _EXPIRES
        fields.append(_U64.pack(element.expires))
    if element.long_name is not None:
        flags |= _LONG
        fields += [_U32.pack(len(element.long_name)), element.long_name]
    if element.outside is not None:
        flags |= _OUT
        fields.append(_PLACE.pack(element.outside.identity, element.outside.size, element.outside.unit))
    if element.version:
        flags |= _VERSION
        fields.append(_I64.pack(element.version))
    return b"".join((b"\x01", flags.to_bytes(1, "big"), *fields, element.value))


def decode_element(raw: bytes) -> Element:
    """The element of stored bytes.

    Raises:
        UnreadableRecordError: for a type or flag that this program does not know.
    """
    flags = raw[1]
    if raw[0] != 1:
        raise UnreadableRecordError(f"an element of type {raw[0]}")
    if flags & ~(_EXPIRES | _LONG | _OUT | _VERSION):
        raise UnreadableRecordError(f"an element with the flags {flags:#x}")
    at, outside, long_name, expires, version = 2, None, None, 0, 0
    if flags & _EXPIRES:
        (expires,) = _U64.unpack_from(raw, at)
        at += 8
    if flags & _LONG:
        (length,) = _U32.unpack_from(raw, at)
        long_name = raw[at + 4 : at + 4 + length]
        at += 4 + length
    if flags & _OUT:
        outside = Outside(*_PLACE.unpack_from(raw, at))
        at += _PLACE.size
    if flags & _VERSION:
        (version,) = _I64.unpack_from(raw, at)
        at += 8
    return Element(raw[at:], outside, long_name, expires, version)


def decode_value(raw: bytes) -> bytes | None:
    """The value of an element that has nothing else, None for others: most of them, and faster."""
    return raw[2:] if raw[:2] == b"\x01\x00" else None


# ---------------------------------------------------------------------- small hashes


def encode_small(fields: Mapping[bytes, bytes]) -> bytes:
    """The payload of a small hash's meta."""
    parts: list[bytes] = []
    for name, value in fields.items():
        parts += (_HEAD.pack(0, len(name)), name, _U32.pack(len(value)), value)
    return b"".join(parts)


def _walk(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """For each field: where its name begins, where that ends (4 bytes before the value), where the value ends."""
    at, end = 0, len(payload)
    while at < end:
        flags, length = _HEAD.unpack_from(payload, at)
        if flags:
            raise UnreadableRecordError(f"a field with the flags {flags:#x}")
        name = at + 5
        name_end = name + length
        at = name_end + 4 + int.from_bytes(payload[name_end : name_end + 4], "big")
        yield name, name_end, at


def decode_small(payload: bytes) -> dict[bytes, bytes]:
    """The fields of a small hash, in the order in which they came.

    Raises:
        UnreadableRecordError: for a flag that this program does not know.
    """
    return {payload[name:name_end]: payload[name_end + 4 : end] for name, name_end, end in _walk(payload)}


def find_small(payload: bytes, field: bytes) -> bytes | None:
    """The value of one field of a small hash, None when it has none."""
    if field not in payload:
        return None
    size = len(field)
    for name, name_end, end in _walk(payload):
        if name_end - name == size and payload[name:name_end] == field:
            return payload[name_end + 4 : end]
    return None


def count_small(payload: bytes) -> int:
    """The number of fields of a small hash."""
    return sum(1 for _ in _walk(payload))


# ---------------------------------------------------------------------- small versioned hashes


def versioned_record(name: bytes, element: Element) -> bytes:
    """The bytes of one field in a small versioned hash."""
    flags, optional = 0, b""
    if element.expires:
        flags, optional = _EXPIRES, _U64.pack(element.expires)
    if element.version:
        flags |= _VERSION
        optional += _I64.pack(element.version)
    value = element.value
    return b"".join((flags.to_bytes(1, "big"), optional, _U32.pack(len(name)), name, _U32.pack(len(value)), value))


def split_versioned(payload: bytes) -> dict[bytes, bytes]:
    """The fields of a small versioned hash with their bytes, in the order in which they came: only the few that a command is
    about are worth being decoded.

    Raises:
        UnreadableRecordError: for a flag that this program does not know.
    """
    records: dict[bytes, bytes] = {}
    at, end = 0, len(payload)
    while at < end:
        name = at + _names_offset(payload[at])
        name_end = name + int.from_bytes(payload[name - 4 : name], "big")
        next_at = name_end + 4 + int.from_bytes(payload[name_end : name_end + 4], "big")
        records[payload[name:name_end]] = payload[at:next_at]
        at = next_at
    return records


def _names_offset(flags: int) -> int:
    """Bytes of a field before its name."""
    offset = _NAMES.get(flags)
    if offset is None:
        raise UnreadableRecordError(f"a field with the flags {flags:#x}")
    return offset


def find_versioned(payload: bytes, field: bytes) -> bytes | None:
    """The bytes of one field of a small versioned hash, None when it has none.

    Raises:
        UnreadableRecordError: for a flag that this program does not know.
    """
    if field not in payload:
        return None
    at, end = 0, len(payload)
    while at < end:
        name = at + _names_offset(payload[at])
        name_end = name + int.from_bytes(payload[name - 4 : name], "big")
        next_at = name_end + 4 + int.from_bytes(payload[name_end : name_end + 4], "big")
        if payload[name:name_end] == field:
            return payload[at:next_at]
        at = next_at
    return None


def record_expires(record: bytes) -> int:
    """When such a field expires, 0 for never."""
    return int.from_bytes(record[1:9], "big") if record[0] & _EXPIRES else 0


def record_value(name: bytes, record: bytes) -> bytes:
    """The value of such a field."""
    return record[_NAMES[record[0]] + len(name) + 4 :]


def record_element(name: bytes, record: bytes) -> Element:
    """All of such a field."""
    version = 0
    if record[0] & _VERSION:
        (version,) = _I64.unpack_from(record, _NAMES[record[0]] - 12)
    return Element(record_value(name, record), expires=record_expires(record), version=version)


def encode_versioned(fields: Mapping[bytes, Element]) -> bytes:
    """The payload of a small versioned hash's meta."""
    return b"".join(versioned_record(name, element) for name, element in fields.items())


def decode_versioned(payload: bytes) -> dict[bytes, Element]:
    """The fields of a small versioned hash, in the order in which they came.

    Raises:
        UnreadableRecordError: for a flag that this program does not know.
    """
    return {name: record_element(name, record) for name, record in split_versioned(payload).items()}
