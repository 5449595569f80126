"""Commands on keys of any type, but for expiry and listing."""

from collections.abc import Sequence
from typing import Final

from kvgate.model.meta import TYPE_NAMES
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply, Simple


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


GENERIC: Final[Sequence[tuple[str, Handler]]] = (
    ("DEL", delete),
    ("UNLINK", delete),
    ("EXISTS", exists),
    ("TOUCH", exists),
    ("TYPE", type_),
)
