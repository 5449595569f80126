"""Commands on keys of any type, but for expiry, listing, OBJECT and DUMP."""

import os
from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import BAD_DATABASE, GateError, syntax_error
from kvgate.model import keyspace
from kvgate.model.meta import MODULE_TYPES, TYPE_NAMES, Outside
from kvgate.model.numbers import parse_int64
from kvgate.model.options import option
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import OK, Reply, Simple

_PAGE: Final = 100
"""Elements copied at once: the longest ones together stay under TiKV's 4 MiB response."""
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1


async def delete(tx: Transaction, args: list[bytes]) -> Reply:
    """``DEL key [key …]``, and UNLINK, since a big value costs no more here than a small one."""
    keys = list(dict.fromkeys(args[1:]))
    removed = 0
    for key, meta in zip(keys, await tx.load_many(keys), strict=True):
        if meta is not None:
            await tx.remove(key)
            removed += 1
    return removed


async def exists(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXISTS key [key …]``, and TOUCH; a key given twice counts twice."""
    return sum(meta is not None for meta in await tx.load_many(args[1:]))


async def type_(tx: Transaction, args: list[bytes]) -> Reply:
    """``TYPE key``."""
    meta = await tx.load(args[1])
    return Simple(b"none" if meta is None else TYPE_NAMES[meta.type])


async def rename(tx: Transaction, args: list[bytes]) -> Reply:
    """``RENAME key newkey``; the data of a big value stay where they are."""
    source, target = await tx.load_many(args[1:3])
    del target  # loaded together with the source, for one round trip
    if source is None:
        raise GateError("ERR no such key")
    if args[1] != args[2]:
        await tx.move(args[1], source, args[2])
    return OK


async def renamenx(tx: Transaction, args: list[bytes]) -> Reply:
    """``RENAMENX key newkey``."""
    source, target = await tx.load_many(args[1:3])
    if source is None:
        raise GateError("ERR no such key")
    if target is not None:  # also when both are the same key
        return 0
    await tx.move(args[1], source, args[2])
    return 1


def _replaces(args: list[bytes]) -> bool:
    """COPY's options: whether it may overwrite. There is one database.

    Raises:
        GateError: Redis' text; its text for a database that is not there, for any but 0.
    """
    replace, at = False, 3
    while at < len(args):
        name = option(args[at])
        if name == b"REPLACE":
            replace = True
        elif name == b"DB" and at + 1 < len(args):
            at += 1
            number = parse_int64(args[at])
            if not _INT_MIN <= number <= _INT_MAX:
                raise GateError(f"ERR value is out of range, value must between {_INT_MIN} and {_INT_MAX}")
            if number:
                raise GateError(BAD_DATABASE)
        else:
            raise syntax_error()
        at += 1
    return replace


async def copy(tx: Transaction, args: list[bytes]) -> Reply:
    """``COPY source destination [DB 0] [REPLACE]``; takes the time that the data take."""
    replace = _replaces(args)
    if args[1] == args[2]:
        raise GateError("ERR source and destination objects are the same")
    source, target = await tx.load_many(args[1:3])
    if source is None or (target is not None and not replace):
        return 0
    if source.type in MODULE_TYPES:
        raise GateError("ERR not supported for this module key")
    place = None if source.outside is None else await _copy_elements(tx, source.outside)
    await tx.put(args[2], attrs.evolve(source, outside=place))
    return 1


async def _copy_elements(tx: Transaction, place: Outside) -> Outside:
    """All elements again, under an id of their own: their keys and values name no id."""
    head = b"D" + (identity := os.urandom(8))
    start, end = keyspace.elements(place.identity.to_bytes(8, "big"))
    while True:
        page = await tx.kv.scan(start, end, _PAGE)
        for key, value in page:
            tx.kv.put(head + key[len(head) :], value)
        if len(page) < _PAGE:
            return attrs.evolve(place, identity=int.from_bytes(identity, "big"))
        start = page[-1][0] + b"\x00"


GENERIC: Final[Sequence[tuple[str, Handler]]] = (
    ("DEL", delete),
    ("UNLINK", delete),
    ("EXISTS", exists),
    ("TOUCH", exists),
    ("TYPE", type_),
    ("RENAME", rename),
    ("RENAMENX", renamenx),
    ("COPY", copy),
)
