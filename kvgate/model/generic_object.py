"""OBJECT: what Redis would say of a value of this kind and size. Nothing is counted or kept for it."""

from collections.abc import Sequence
from typing import Final

from kvgate.errors import GateError
from kvgate.model import keyspace
from kvgate.model.elements import decode_element, decode_small
from kvgate.model.meta import HASH, STRING, Meta
from kvgate.model.strings_edit import length
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply
from kvgate.wire.request import parse_length

_EMBEDDED: Final = 44
"""Bytes of the longest string that Redis keeps beside its header (OBJ_ENCODING_EMBSTR_SIZE_LIMIT)."""
_LISTPACK_FIELDS: Final = 512
"""Redis 7.0's default hash-max-listpack-entries."""
_LISTPACK_BYTES: Final = 64
"""Its hash-max-listpack-value."""
_SHARED_INTEGERS: Final = 10_000
_SHARED: Final = 2**31 - 1
"""The count of references that Redis shows for an integer that all keys share."""
_PAGE: Final = 100


def _integer(meta: Meta) -> int | None:
    """The number that Redis keeps such a string as."""
    if meta.type != STRING or not 0 < len(meta.payload) <= 20:
        return None
    return parse_length(meta.payload)


async def encoding(tx: Transaction, args: list[bytes]) -> Reply:
    """``OBJECT ENCODING key``: what Redis would choose for the value as it is now. (Redis also remembers: a short string that
    was once appended to stays ``raw`` there.)"""
    meta = await tx.load(args[2])
    if meta is None:
        return None
    if meta.type == HASH:
        return b"listpack" if await _is_compact(tx, meta) else b"hashtable"
    if _integer(meta) is not None:
        return b"int"
    return b"embstr" if meta.type == STRING and length(meta) <= _EMBEDDED else b"raw"


async def _is_compact(tx: Transaction, meta: Meta) -> bool:
    """Whether Redis would keep the hash as a listpack: few fields, none of them long."""
    if meta.outside is None:
        fields = decode_small(meta.payload)
        return all(len(field) <= _LISTPACK_BYTES and len(value) <= _LISTPACK_BYTES for field, value in fields.items())
    if meta.outside.size > _LISTPACK_FIELDS:
        return False
    tx.expects(meta.outside.size)
    start, end = keyspace.fields_from(meta.outside.identity, 0), keyspace.fields_from(meta.outside.identity, keyspace.PLACES)
    while True:
        page = await tx.kv.scan(start, end, _PAGE)
        for key, raw in page:
            field = keyspace.field_in(key)
            if field is None or len(field) > _LISTPACK_BYTES or decode_element(raw).size > _LISTPACK_BYTES:
                return False
        if len(page) < _PAGE:
            return True
        start = page[-1][0] + b"\x00"


async def refcount(tx: Transaction, args: list[bytes]) -> Reply:
    """``OBJECT REFCOUNT key``: 1, or Redis' number for small integers."""
    meta = await tx.load(args[2])
    if meta is None:
        return None
    number = _integer(meta)
    return 1 if number is None or not 0 <= number < _SHARED_INTEGERS else _SHARED


async def idletime(tx: Transaction, args: list[bytes]) -> Reply:
    """``OBJECT IDLETIME key``: always 0, since reads leave no trace in the store; who removes what idles removes nothing."""
    return None if await tx.load(args[2]) is None else 0


async def freq(tx: Transaction, args: list[bytes]) -> Reply:
    """``OBJECT FREQ key``: Redis' error without an LFU policy."""
    if await tx.load(args[2]) is None:
        return None
    raise GateError(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between"
        " policies at runtime LRU and LFU data will take some time to adjust."
    )


OBJECTS: Final[Sequence[tuple[str, Handler]]] = (
    ("OBJECT|ENCODING", encoding),
    ("OBJECT|REFCOUNT", refcount),
    ("OBJECT|IDLETIME", idletime),
    ("OBJECT|FREQ", freq),
)
