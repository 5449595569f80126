"""Engine values: the meta record of a key, the header of the store, generations (docs/keyspace.md)."""

import struct
from typing import Final

import attrs

from kvgate.errors import GateError

STRING: Final = 1
HASH: Final = 2
EXSTRING: Final = 6
EXHASH: Final = 7
MODULE_TYPES: Final = frozenset((EXSTRING, EXHASH))
"""On a Redis they are types of Tair's modules, which cannot be copied."""
TYPE_NAMES: Final = {
    STRING: b"string",
    HASH: b"hash",
    3: b"list",
    4: b"set",
    5: b"zset",
    EXSTRING: b"exstrtype",
    EXHASH: b"tairhash-",
    8: b"stream",
}
"""What TYPE answers; the numbers are stored and never change."""

CHUNK: Final = 32_640
"""Bytes of a chunk, and the longest string that lies in its meta: 8 pages of LMDB, nearly full."""

_EXPIRES, _LONG, _OUT, _VERSION, _MARKS, _FIELDS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_KNOWN = _EXPIRES | _LONG | _OUT | _VERSION | _MARKS | _FIELDS
_HEADER = struct.Struct(">BBQQ")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_PLACE = struct.Struct(">QQI")
_TIMES = struct.Struct(">QQQ")
_NEVER: Final[frozenset[int]] = frozenset()
_STORE = struct.Struct(">BIIQ16s")
_PROGRESS = struct.Struct(">BQ6s")


@attrs.frozen(slots=True)
class Outside:
    """Where the data lie when they are not in the meta."""

    identity: int
    size: int
    """Bytes of a string, number of elements of anything else."""
    unit: int
    """Bytes in a chunk; 0 for anything but strings."""


@attrs.frozen(slots=True)
class FieldTimes:
    """When fields of a versioned hash expire: of one in which some do. Times are Unix time in ms."""

    next: int
    """No field expires before; the index of expiries has an entry for it."""
    latest: int
    """No field expires after."""
    lasting: int
    """The number of fields that do not expire."""


@attrs.frozen(slots=True)
class Meta:
    """One key's record. `generation`, `revision` and `long_key` are given by the transaction that writes it."""

    type: int
    generation: int = 0
    revision: int = 0
    expires: int = 0
    """Unix time in ms; 0 for never."""
    payload: bytes = b""
    outside: Outside | None = None
    long_key: bytes | None = None
    """The whole key, when the engine key has its digest only."""
    version: int | None = None
    marks: int | None = None
    times: FieldTimes | None = None
    """None when no field expires."""

    def gone(self, now_ms: int) -> bool:
        """Whether its time is over: the key's own, or that of its last field."""
        if 0 < self.expires <= now_ms:
            return True
        return self.times is not None and not self.times.lasting and self.times.latest <= now_ms

    def moments(self) -> frozenset[int]:
        """The times (ms) of its entries in the index of expiries: one entry for each."""
        if self.times is None:
            return frozenset((self.expires,)) if self.expires else _NEVER
        return frozenset((self.times.next, self.expires) if self.expires else (self.times.next,))


_ALONE: Final = Meta(STRING)

PLAIN_STRING: Final = bytes((STRING, 0))
"""How the record of a string begins that has no expiry and lies in it whole: behind `PLAIN_STRING_HEAD` bytes."""
PLAIN_STRING_HEAD: Final = _HEADER.size


class UnreadableRecordError(GateError):
    """A stored record that this program does not know; it is answered to the client and never guessed at."""

    def __init__(self, what: str) -> None:
        """`what` names the unknown part."""
        super().__init__(f"ERR store holds {what}, unknown to this version of kvgate: upgrade it")


def encode(meta: Meta, generation: int, revision: int, long_key: bytes | None) -> bytes:
    """The stored bytes of a meta, with what its writer gives it (see `Meta`)."""
    plain = not meta.expires and long_key is None and meta.outside is None
    if plain and meta.version is None and meta.marks is None and meta.times is None:
        return _HEADER.pack(meta.type, 0, generation, revision) + meta.payload
    flags, fields = 0, []
    if meta.expires:
        flags |= _EXPIRES
        fields.append(_U64.pack(meta.expires))
    if long_key is not None:
        flags |= _LONG
        fields += [_U32.pack(len(long_key)), long_key]
    if meta.outside is not None:
        flags |= _OUT
        fields.append(_PLACE.pack(meta.outside.identity, meta.outside.size, meta.outside.unit))
    if meta.version is not None:
        flags |= _VERSION
        fields.append(_U64.pack(meta.version))
    if meta.marks is not None:
        flags |= _MARKS
        fields.append(_U32.pack(meta.marks))
    if meta.times is not None:
        flags |= _FIELDS
        fields.append(_TIMES.pack(meta.times.next, meta.times.latest, meta.times.lasting))
    return b"".join((_HEADER.pack(meta.type, flags, generation, revision), *fields, meta.payload))


def decode(raw: bytes) -> Meta:
    """The meta of stored bytes.

    Raises:
        UnreadableRecordError: for a type or flag that this program does not know.
    """
    kind, flags, generation, revision = _HEADER.unpack_from(raw)
    if kind not in TYPE_NAMES:
        raise UnreadableRecordError(f"a key of type {kind}")
    if not flags:
        return Meta(kind, generation, revision, 0, raw[18:])
    if flags & ~_KNOWN:
        raise UnreadableRecordError(f"a key with the flags {flags:#x}")
    return _decode_fields(raw, kind, flags, generation, revision)


def generation_in(raw: bytes) -> int:
    """The generation of a meta's bytes."""
    return int.from_bytes(raw[2:10], "big")


def references(raw: bytes) -> Meta:
    """As `decode`, for whoever asks only what the record refers to: most records refer to nothing, which is told quickly."""
    return _ALONE if raw[1] == 0 and raw[0] in TYPE_NAMES else decode(raw)


def _decode_fields(raw: bytes, kind: int, flags: int, generation: int, revision: int) -> Meta:
    at, expires, long_key, outside, version, marks, times = _HEADER.size, 0, None, None, None, None, None
    if flags & _EXPIRES:
        (expires,) = _U64.unpack_from(raw, at)
        at += 8
    if flags & _LONG:
        (length,) = _U32.unpack_from(raw, at)
        long_key = raw[at + 4 : at + 4 + length]
        at += 4 + length
    if flags & _OUT:
        outside = Outside(*_PLACE.unpack_from(raw, at))
        at += _PLACE.size
    if flags & _VERSION:
        (version,) = _U64.unpack_from(raw, at)
        at += 8
    if flags & _MARKS:
        (marks,) = _U32.unpack_from(raw, at)
        at += 4
    if flags & _FIELDS:
        times = FieldTimes(*_TIMES.unpack_from(raw, at))
        at += _TIMES.size
    return Meta(kind, generation, revision, expires, raw[at:], outside, long_key, version, marks, times)


def encode_counter(value: int) -> bytes:
    """A generation, or the last revision: ``01 · u64``."""
    return b"\x01" + _U64.pack(value)


def decode_counter(raw: bytes | None) -> int:
    """The number in such a record; one that is missing counts as 0."""
    if raw is None:
        return 0
    if raw[0] != 1:
        raise UnreadableRecordError(f"a counter of type {raw[0]}")
    return int.from_bytes(raw[1:9], "big")


@attrs.frozen(slots=True)
class StoreHeader:
    """What a store says of itself."""

    format: int
    oldest: int
    """The lowest format that a program must know to read and write this store."""
    created_ms: int
    store_id: bytes


def encode_header(header: StoreHeader) -> bytes:
    """The stored bytes of a header."""
    return _STORE.pack(1, header.format, header.oldest, header.created_ms, header.store_id)


def decode_header(raw: bytes) -> StoreHeader:
    """The header of stored bytes; what a newer format may have added behind it is not looked at."""
    if raw[0] != 1:
        raise UnreadableRecordError(f"a header of type {raw[0]}")
    return StoreHeader(*_STORE.unpack_from(raw)[1:])


def encode_progress(generation: int, position: int) -> bytes:
    """How far the sweeper has come in what a flush left behind."""
    return _PROGRESS.pack(1, generation, position.to_bytes(6, "big"))


def decode_progress(raw: bytes) -> tuple[int, int]:
    """The flush's generation, and the position to go on from."""
    kind, generation, position = _PROGRESS.unpack(raw)
    if kind != 1:
        raise UnreadableRecordError(f"a sweeper's order of type {kind}")
    return generation, int.from_bytes(position, "big")
