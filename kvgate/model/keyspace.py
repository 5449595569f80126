"""Engine keys: how a Redis key becomes the bytes that an engine sorts by (docs/keyspace.md, whose vectors are tested)."""

from hashlib import blake2b
from typing import Final

FORMAT: Final = 1
"""The format that this program writes, and the newest one that it reads."""
TEXT_LIMIT: Final = 400
"""Longer keys and fields are represented by their digest. May never change."""
GROUP_LIMIT: Final = 64
POSITIONS: Final = 1 << 48
CURSOR_SHIFT: Final = 7
"""A cursor is the upper 41 of a position's 48 bits."""

STORE_GENERATION: Final = b"G\x00"
GROUPS_START: Final = b"G\x01"
GROUPS_END: Final = b"G\x02"
METAS_END: Final = b"N"
HEADER: Final = b"Sformat"
REVISION: Final = b"Srevision"
PROBE: Final = b"Sprobe"
JOURNAL: Final = b"Sjournal"
"""Up to which number the records of an embedded store's journal are in its file."""
QUEUE_START: Final = b"Q"
QUEUE_END: Final = b"R"
QUEUE_STORE: Final = b"Q\x03"
EXPIRIES_START: Final = b"X"
EXPIRIES_END: Final = b"Y"
EXPIRY_SHARDS: Final = 256
CHUNK_KIND: Final = b"\x01"
FIELD_EXPIRY_KIND: Final = b"\x08"
FIELD_KIND: Final = b"\x0b"
VALUE_CHUNK_KIND: Final = b"\x0c"
EXHASH_FIELD_KIND: Final = b"\x0d"
PLACES: Final = 1 << 48
"""Places of the fields of a hash; a cursor of HSCAN is one of them."""

_HEADS_LIMIT = 65_536  # groups remembered; applications that make a group for each key must not grow it for ever
_heads: dict[bytes, int] = {}


def hash64(text: bytes) -> int:
    """`H` of docs/keyspace.md: unkeyed BLAKE2b of 8 bytes."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def group_of(key: bytes) -> bytes:
    """The text before the first ``:`` when it has a dot and at most 64 bytes, else the empty group."""
    at = key.find(b":", 0, GROUP_LIMIT + 1)
    if at > 0:
        group = key[:at]
        if b"." in group:
            return group
    return b""


def _head(group: bytes) -> int:
    """The group's bucket, shifted to its place in a position."""
    head = _heads.get(group)
    if head is None:
        if len(_heads) >= _HEADS_LIMIT:
            _heads.clear()
        head = _heads[group] = hash64(group) >> 52 << 36
    return head


def bucket_of(group: bytes) -> int:
    """12 bits of the group's hash: its metas lie in positions ``bucket << 36`` and up."""
    return _head(group) >> 36


def position_of(key: bytes) -> int:
    """48 bits: the bucket of the key's group, then 36 bits of the key's hash."""
    return _head(group_of(key)) | hash64(key) >> 28


def tail(text: bytes) -> bytes:
    """`text` behind ``00``, or its 32-byte digest behind ``01`` when it is longer than 400 bytes."""
    if len(text) <= TEXT_LIMIT:
        return b"\x00" + text
    return b"\x01" + blake2b(text, digest_size=32).digest()


def locate(key: bytes) -> tuple[bytes, bytes]:
    """The meta's engine key, and the key's group. The one function on the path of every command."""
    group = group_of(key)
    position = _head(group) | int.from_bytes(blake2b(key, digest_size=8).digest(), "big") >> 28
    if len(key) <= TEXT_LIMIT:
        return b"M%b\x00%b" % (position.to_bytes(6, "big"), key), group
    return b"M" + position.to_bytes(6, "big") + tail(key), group


def meta_key(key: bytes) -> bytes:
    """The engine key of a key's meta."""
    return locate(key)[0]


def metas_from(position: int) -> bytes:
    """Where the metas of `position` (up to and including 2**48) begin."""
    return METAS_END if position >= POSITIONS else b"M" + position.to_bytes(6, "big")


def position_in(meta: bytes) -> int:
    """The position that a meta's engine key holds."""
    return int.from_bytes(meta[1:7], "big")


def text_in(meta: bytes) -> bytes | None:
    """The whole key that a meta's engine key holds, None when it is a digest (the key is in the value then)."""
    return meta[8:] if meta[7] == 0 else None


def group_key(group: bytes) -> bytes:
    """The record of a group: its generation, and its place in the directory."""
    return b"G\x01" + bucket_of(group).to_bytes(2, "big") + group


def groups_from(bucket: int) -> bytes:
    """Where the directory's groups of `bucket` (up to and including 4096) begin."""
    return b"G\x01" + bucket.to_bytes(2, "big")


def group_in(record: bytes) -> tuple[int, bytes]:
    """The bucket and the group of a directory record's engine key."""
    return int.from_bytes(record[2:4], "big"), record[4:]


def expiry_key(meta: bytes, expires: int) -> bytes:
    """The entry of the expiry index for the meta with this engine key."""
    return b"X" + meta[6:7] + expires.to_bytes(8, "big") + meta[1:]


def expiries(shard: int, until: int) -> tuple[bytes, bytes]:
    """The range of one shard's entries that are due at `until` (ms) or before."""
    head = b"X" + shard.to_bytes(1, "big")
    return head, head + (until + 1).to_bytes(8, "big")


def expiry_in(entry: bytes) -> tuple[int, bytes]:
    """The time in ms of an expiry entry, and the engine key of its meta."""
    return int.from_bytes(entry[2:10], "big"), b"M" + entry[10:]


def chunk_key(identity: int, number: int) -> bytes:
    """The engine key of one chunk of a string."""
    return b"D" + identity.to_bytes(8, "big") + CHUNK_KIND + number.to_bytes(4, "big")


def field_place(field: bytes) -> int:
    """48 bits of the field's hash, by which the fields of a big hash are ordered."""
    return hash64(field) >> 16


def field_key(identity: int, field: bytes, kind: bytes = FIELD_KIND) -> bytes:
    """The engine key of one field of a big hash, plain or (another `kind`) versioned."""
    place = blake2b(field, digest_size=8).digest()[:6]
    return b"D" + identity.to_bytes(8, "big") + kind + place + tail(field)


def fields_from(identity: int, place: int, kind: bytes = FIELD_KIND) -> bytes:
    """Where the fields of `place` (up to and including 2**48) begin."""
    head = b"D" + identity.to_bytes(8, "big")
    return head + bytes((kind[0] + 1,)) if place >= PLACES else head + kind + place.to_bytes(6, "big")


def place_in(element: bytes) -> int:
    """The place that a field's engine key holds."""
    return int.from_bytes(element[10:16], "big")


def field_in(element: bytes) -> bytes | None:
    """The whole field that its engine key holds, None when it is a digest (the field is in the value then)."""
    return element[17:] if element[16] == 0 else None


def field_expiry(element: bytes, expires: int) -> tuple[bytes, bytes]:
    """The record that the versioned field with this engine key expires: its key and its value."""
    return element[:9] + FIELD_EXPIRY_KIND + expires.to_bytes(8, "big") + element[16:], b"\x01" + element[10:16]


def field_expiries(identity: int, until: int) -> tuple[bytes, bytes]:
    """The range of a hash's records of fields that expire at `until` (ms, below 2**63) or before."""
    head = b"D" + identity.to_bytes(8, "big") + FIELD_EXPIRY_KIND
    return head, head + (until + 1).to_bytes(8, "big")


def later_field_expiries(identity: int, after: int) -> tuple[bytes, bytes]:
    """The range of those that expire later than `after`."""
    head = b"D" + identity.to_bytes(8, "big")
    return head + FIELD_EXPIRY_KIND + (after + 1).to_bytes(8, "big"), head + bytes((FIELD_EXPIRY_KIND[0] + 1,))


def expiring_field(entry: bytes, value: bytes) -> tuple[int, bytes]:
    """The time in ms of such a record, and the engine key of its field."""
    return int.from_bytes(entry[10:18], "big"), entry[:9] + EXHASH_FIELD_KIND + value[1:7] + entry[18:]


def value_chunk_key(identity: int, value: int, number: int) -> bytes:
    """The engine key of one chunk of a long value of a field."""
    return b"D" + identity.to_bytes(8, "big") + VALUE_CHUNK_KIND + value.to_bytes(8, "big") + number.to_bytes(4, "big")


def elements(identity: bytes) -> tuple[bytes, bytes]:
    """The range of all elements under an id, given as its 8 bytes."""
    start = b"D" + identity
    return start, start + b"\xff"  # kinds end far below 255


def queued_id(identity: int) -> bytes:
    """The sweeper's order to delete all elements of an id."""
    return b"Q\x01" + identity.to_bytes(8, "big")


def queued_group(group: bytes) -> bytes:
    """The sweeper's order to delete what a flush of `group` left behind."""
    return b"Q\x02" + group_key(group)[2:]


def receipt_key(ms: int, random: bytes) -> bytes:
    """The record of a committed group that began at `ms`; 17 random bytes."""
    return b"R" + random[:1] + ms.to_bytes(8, "big") + random[1:]


def receipts(first: int, until: int) -> tuple[bytes, bytes]:
    """The range of records whose first random byte is `first`, of groups that began before `until` (ms)."""
    head = b"R" + first.to_bytes(1, "big")
    return head, head + until.to_bytes(8, "big")


def lease_key(name: bytes) -> bytes:
    """The record of who does a work of which there is one for each store: ``sweeper``."""
    return b"L" + name
