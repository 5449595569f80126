"""DUMP and RESTORE among the gate's own stores, in a format of the gate's own (docs/keyspace.md, "DUMP")."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs

from kvgate.errors import GateError, syntax_error
from kvgate.model import field_writes, fields
from kvgate.model.elements import Element, decode_small, decode_versioned, encode_small, encode_versioned
from kvgate.model.exfields import edit
from kvgate.model.meta import EXHASH, EXSTRING, HASH, STRING, TYPE_NAMES, Meta
from kvgate.model.numbers import INT64_MAX, parse_int64
from kvgate.model.options import option
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import OK, Reply

V = TypeVar("V")

_HEAD: Final = struct.Struct(">BB")
_FOOT: Final = struct.Struct(">4sI")
_VERSIONED: Final = struct.Struct(">QI")
_FORMAT: Final = b"kvg\x01"


@attrs.frozen(slots=True)
class Dumped:
    """A value without its key and expiry."""

    type: int
    payload: bytes
    """A string's bytes; version, flags and bytes of a versioned string; the fields of a hash (or versioned hash) as those of a
    small one, however many they are."""


def encode(value: Dumped) -> bytes:
    """The bytes of DUMP."""
    body = _HEAD.pack(value.type, 0) + value.payload + _FORMAT
    return body + zlib.crc32(body).to_bytes(4, "big")


def decode(raw: bytes) -> Dumped:
    """The value of such bytes.

    Raises:
        GateError: Redis' text: another format or version, damaged, or whole and still no value.
    """
    if len(raw) < _HEAD.size + _FOOT.size or _FOOT.unpack_from(raw, len(raw) - _FOOT.size) != (_FORMAT, zlib.crc32(raw[:-4])):
        raise GateError("ERR DUMP payload version or checksum are wrong")
    kind, flags = _HEAD.unpack_from(raw)
    payload = raw[_HEAD.size : -_FOOT.size]
    if flags or not _is_value(kind, payload):
        raise GateError("ERR Bad data format")
    return Dumped(kind, payload)


def _is_value(kind: int, payload: bytes) -> bool:
    """Whether the bytes are those of a value of this type."""
    if kind == EXSTRING:
        return len(payload) >= _VERSIONED.size
    if kind == HASH:
        return _is_hash(payload, decode_small, encode_small)
    if kind == EXHASH:
        if not _is_hash(payload, decode_versioned, encode_versioned):
            return False
        return all(element.expires <= INT64_MAX for element in decode_versioned(payload).values())
    return kind == STRING


def _is_hash(payload: bytes, read: Callable[[bytes], dict[bytes, V]], write: Callable[[dict[bytes, V]], bytes]) -> bool:
    """Whether the bytes are those that their fields would be written as: lengths that agree, no field twice."""
    try:
        known = read(payload)
    except (GateError, struct.error, IndexError):
        return False
    return bool(known) and write(known) == payload


async def dump(tx: Transaction, args: list[bytes]) -> Reply:
    """``DUMP key``."""
    meta = await tx.load(args[1])
    if meta is None:
        return None
    if meta.type == STRING:
        return encode(Dumped(STRING, await tx.text(meta)))
    if meta.type == EXSTRING:
        return encode(Dumped(EXSTRING, _VERSIONED.pack(meta.version or 0, meta.marks or 0) + await tx.text(meta)))
    if meta.type == HASH:
        payload = meta.payload if meta.outside is None else encode_small(dict(await fields.pairs(tx, meta)))
        return encode(Dumped(HASH, payload))
    if meta.type == EXHASH:
        versioned = await _versioned(tx, meta)
        return encode(Dumped(EXHASH, encode_versioned(versioned))) if versioned else None
    raise GateError(f"ERR DUMP does not know the type {TYPE_NAMES[meta.type].decode()}")


async def _versioned(tx: Transaction, meta: Meta) -> dict[bytes, Element]:
    """The fields of a versioned hash as a small one would have them."""
    found = await fields.elements(tx, meta)
    return {name: Element(each.value, expires=each.expires, version=each.version) for name, each in found}


@attrs.define(slots=True)
class _Options:
    replace: bool = False
    absolute: bool = False


def _options(args: list[bytes]) -> _Options:
    """RESTORE's options; how long the key was idle and how often it was used are checked, and not kept.

    Raises:
        GateError: Redis' text.
    """
    found, idle, used, at = _Options(), False, False, 4
    while at < len(args):
        name, more = option(args[at]), at + 1 < len(args)
        if name == b"REPLACE":
            found.replace = True
        elif name == b"ABSTTL":
            found.absolute = True
        elif name == b"IDLETIME" and more and not used:
            at, idle = at + 1, True
            if parse_int64(args[at]) < 0:
                raise GateError("ERR Invalid IDLETIME value, must be >= 0")
        elif name == b"FREQ" and more and not idle:
            at, used = at + 1, True
            if not 0 <= parse_int64(args[at]) <= 255:
                raise GateError("ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise syntax_error()
        at += 1
    return found


async def restore(tx: Transaction, args: list[bytes]) -> Reply:
    """``RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ n]``."""
    options = _options(args)
    if await tx.load(args[1]) is not None and not options.replace:
        raise GateError("BUSYKEY Target key name already exists.")
    expires = parse_int64(args[2])
    if expires < 0:
        raise GateError("ERR Invalid TTL value, must be >= 0")
    value = decode(args[3])
    if expires and not options.absolute:
        expires += tx.now_ms
    if 0 < expires <= tx.now_ms or expires > INT64_MAX:  # beyond 64 bits Redis' sum is negative, so it has passed
        await tx.remove(args[1])
    elif value.type == STRING:
        await tx.put_string(args[1], value.payload, expires)
    elif value.type == EXSTRING:
        version, flags = _VERSIONED.unpack_from(value.payload)
        await tx.put_string(args[1], value.payload[_VERSIONED.size :], expires, EXSTRING, version, flags or None)
    elif value.type == EXHASH:
        hand = await edit(tx, args[1], Meta(EXHASH, expires=expires), ())
        for name, element in decode_versioned(value.payload).items():
            hand.set(name, element)
        await hand.save()
    else:
        await field_writes.store(tx, args[1], Meta(HASH, expires=expires), decode_small(value.payload))
    return OK


DUMPS: Final[Sequence[tuple[str, Handler]]] = (
    ("DUMP", dump),
    ("RESTORE", restore),
)
