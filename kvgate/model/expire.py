"""The EXPIRE and TTL families, and PERSIST."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.model.meta import Meta
from kvgate.model.options import expire_conditions, expire_time
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply


def _allowed(meta: Meta, expires: int, conditions: set[bytes]) -> bool:
    """Whether the conditions let the expiry change; a key that never expires counts as one that expires last."""
    has = meta.expires > 0
    return not (
        (b"NX" in conditions and has)
        or (b"XX" in conditions and not has)
        or (b"GT" in conditions and (not has or expires <= meta.expires))
        or (b"LT" in conditions and has and expires >= meta.expires)
    )


def _expire(command: str, *, seconds: bool, relative: bool) -> Handler:
    async def handler(tx: Transaction, args: list[bytes]) -> Reply:
        conditions = expire_conditions(args)
        expires = expire_time(args[2], command, tx.now_ms, seconds=seconds, relative=relative)
        meta = await tx.load(args[1])
        if meta is None or not _allowed(meta, expires, conditions):
            return 0
        if expires <= tx.now_ms:
            await tx.remove(args[1])
        else:
            await tx.put(args[1], attrs.evolve(meta, expires=expires))
        return 1

    handler.__name__ = handler.__qualname__ = command
    return handler


def _left(command: str, *, seconds: bool, relative: bool) -> Handler:
    async def handler(tx: Transaction, args: list[bytes]) -> Reply:
        meta = await tx.load(args[1])
        if meta is None:
            return -2
        if not meta.expires:
            return -1
        left = meta.expires - tx.now_ms if relative else meta.expires
        return (left + 500) // 1000 if seconds else left

    handler.__name__ = handler.__qualname__ = command
    return handler


async def persist(tx: Transaction, args: list[bytes]) -> Reply:
    """``PERSIST key``."""
    meta = await tx.load(args[1])
    if meta is None or not meta.expires:
        return 0
    await tx.put(args[1], attrs.evolve(meta, expires=0))
    return 1


EXPIRY: Final[Sequence[tuple[str, Handler]]] = (
    ("EXPIRE", _expire("expire", seconds=True, relative=True)),
    ("PEXPIRE", _expire("pexpire", seconds=False, relative=True)),
    ("EXPIREAT", _expire("expireat", seconds=True, relative=False)),
    ("PEXPIREAT", _expire("pexpireat", seconds=False, relative=False)),
    ("TTL", _left("ttl", seconds=True, relative=True)),
    ("PTTL", _left("pttl", seconds=False, relative=True)),
    ("EXPIRETIME", _left("expiretime", seconds=True, relative=False)),
    ("PEXPIRETIME", _left("pexpiretime", seconds=False, relative=False)),
    ("PERSIST", persist),
)
