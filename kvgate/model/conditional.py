"""Writes on the condition that a plain string has a value: Tair's CAS and CAD, Valkey's DELIFEQ, Redis 8.4's DELEX.

``SET … IFEQ`` is with SET (`kvgate.model.strings`).
"""

from collections.abc import Sequence
from typing import Final

from kvgate.errors import GateError, no_digests, wrong_arity
from kvgate.model.exstring_options import EXCAS, parse
from kvgate.model.strings_edit import equals, string
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply


async def cas(tx: Transaction, args: list[bytes]) -> Reply:
    """``CAS key old new [EX | EXAT | PX | PXAT time] [KEEPTTL]``: 1, 0 (another value), -1 (no key). Without options the key
    will not expire. (The module forgets the expiry in spite of KEEPTTL; here it stays.)"""
    options = parse(args, 4, EXCAS)
    expires = options.expires(tx.now_ms)
    meta = string(await tx.load(args[1]))
    if meta is None:
        return -1
    if not await equals(tx, meta, args[2]):
        return 0
    if b"KEEPTTL" in options.words:
        expires = meta.expires
    await tx.put_string(args[1], args[3], expires)
    return 1


async def cad(tx: Transaction, args: list[bytes]) -> Reply:
    """``CAD key value``: 1, 0 (another value), -1 (no key)."""
    return await _delete_equal(tx, args, missing=-1)


async def delifeq(tx: Transaction, args: list[bytes]) -> Reply:
    """``DELIFEQ key value``: 1, 0 (another value, or no key)."""
    return await _delete_equal(tx, args, missing=0)


async def _delete_equal(tx: Transaction, args: list[bytes], *, missing: int) -> Reply:
    meta = string(await tx.load(args[1]))
    if meta is None:
        return missing
    if not await equals(tx, meta, args[2]):
        return 0
    await tx.remove(args[1])
    return 1


async def delex(tx: Transaction, args: list[bytes]) -> Reply:
    """``DELEX key [IFEQ | IFNE value]``: 1, 0. Without a condition it deletes a key of any type. A missing key is 0
    whatever the condition says, as in Redis; conditions on digests (XXH3) are refused."""
    if len(args) not in (2, 4):
        raise wrong_arity("delex")
    condition = args[2].upper() if len(args) == 4 else b""
    if condition in (b"IFDEQ", b"IFDNE"):
        raise no_digests()
    meta = await tx.load(args[1])
    if meta is None:
        return 0
    if condition:
        string(meta)
        if condition not in (b"IFEQ", b"IFNE"):
            raise GateError("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
        if await equals(tx, meta, args[3]) != (condition == b"IFEQ"):
            return 0
    await tx.remove(args[1])
    return 1


CONDITIONALS: Final[Sequence[tuple[str, Handler]]] = (
    ("CAS", cas),
    ("CAD", cad),
    ("DELIFEQ", delifeq),
    ("DELEX", delex),
)
