"""String commands."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import GateError, wrong_arity
from kvgate.model.floats import LONGEST_FLOAT, parse_float80
from kvgate.model.meta import CHUNK, STRING
from kvgate.model.numbers import INT64_MAX, INT64_MIN, LONGEST_INTEGER, parse_int64
from kvgate.model.options import expiry, getex_options, set_options
from kvgate.model.strings_edit import equals, length, number, string
from kvgate.model.transaction import Handler, Transaction, wrong_type
from kvgate.wire.reply import OK, Reply


async def get(tx: Transaction, args: list[bytes]) -> Reply:
    """``GET key``."""
    meta = await tx.load(args[1])
    if meta is None:
        return None
    if meta.type != STRING:
        raise wrong_type()
    return meta.payload if meta.outside is None else await tx.text(meta)


async def set_(tx: Transaction, args: list[bytes]) -> Reply:
    """``SET key value [NX | XX | IFEQ value] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]``."""
    if len(args) == 3:
        await tx.put_string(args[1], args[2])
        return OK
    options = set_options(args)
    expires = options.expires("set", tx.now_ms)
    meta = await tx.load(args[1])
    before: Reply = None
    if options.get and string(meta) is not None and meta is not None:
        before = await tx.text(meta)
    if (options.nx and meta is not None) or (options.xx and meta is None):
        return before
    if options.equals is not None:
        present = string(meta)
        if present is None or not await equals(tx, present, options.equals):
            return before
    if options.keep_ttl and meta is not None:
        expires = meta.expires
    await tx.put_string(args[1], args[2], expires)
    return before if options.get else OK


async def setnx(tx: Transaction, args: list[bytes]) -> Reply:
    """``SETNX key value``."""
    if await tx.load(args[1]) is not None:
        return 0
    await tx.put_string(args[1], args[2])
    return 1


async def setex(tx: Transaction, args: list[bytes]) -> Reply:
    """``SETEX key seconds value``."""
    await tx.put_string(args[1], args[3], expiry(args[2], b"EX", "setex", tx.now_ms))
    return OK


async def psetex(tx: Transaction, args: list[bytes]) -> Reply:
    """``PSETEX key milliseconds value``."""
    await tx.put_string(args[1], args[3], expiry(args[2], b"PX", "psetex", tx.now_ms))
    return OK


async def getset(tx: Transaction, args: list[bytes]) -> Reply:
    """``GETSET key value``."""
    meta = string(await tx.load(args[1]))
    before = None if meta is None else await tx.text(meta)
    await tx.put_string(args[1], args[2])
    return before


async def getdel(tx: Transaction, args: list[bytes]) -> Reply:
    """``GETDEL key``."""
    meta = string(await tx.load(args[1]))
    if meta is None:
        return None
    before = await tx.text(meta)
    await tx.remove(args[1])
    return before


async def getex(tx: Transaction, args: list[bytes]) -> Reply:
    """``GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]``."""
    options = getex_options(args)
    meta = string(await tx.load(args[1]))
    if meta is None:
        return None
    expires = options.expires("getex", tx.now_ms)
    value = await tx.text(meta)
    if expires or (options.persist and meta.expires):
        await tx.put(args[1], attrs.evolve(meta, expires=expires))
    return value


async def mget(tx: Transaction, args: list[bytes]) -> Reply:
    """``MGET key [key …]``; a key of another type answers nil."""
    metas = await tx.load_many(args[1:])
    tx.expects(sum(-(-meta.outside.size // CHUNK) for meta in metas if meta is not None and meta.outside is not None))
    return [None if meta is None or meta.type != STRING else await tx.text(meta) for meta in metas]


async def mset(tx: Transaction, args: list[bytes]) -> Reply:
    """``MSET key value [key value …]``."""
    if len(args) % 2 == 0:
        raise wrong_arity("mset")
    pairs = dict(zip(args[1::2], args[2::2], strict=True))  # of a key given twice the last value counts
    await tx.load_many(list(pairs))
    for key, value in pairs.items():
        await tx.put_string(key, value)
    return OK


async def msetnx(tx: Transaction, args: list[bytes]) -> Reply:
    """``MSETNX key value [key value …]``: all or none."""
    if len(args) % 2 == 0:
        raise wrong_arity("msetnx")
    pairs = dict(zip(args[1::2], args[2::2], strict=True))
    if any(meta is not None for meta in await tx.load_many(list(pairs))):
        return 0
    for key, value in pairs.items():
        await tx.put_string(key, value)
    return 1


async def strlen(tx: Transaction, args: list[bytes]) -> Reply:
    """``STRLEN key``."""
    return length(string(await tx.load(args[1])))


async def _increment(tx: Transaction, key: bytes, step: int) -> Reply:
    meta = string(await tx.load(key))
    before = parse_int64(await number(tx, meta, LONGEST_INTEGER))
    after = before + step
    if not INT64_MIN <= after <= INT64_MAX:
        raise GateError("ERR increment or decrement would overflow")
    await tx.put_string(key, b"%d" % after, 0 if meta is None else meta.expires)
    return after


async def incr(tx: Transaction, args: list[bytes]) -> Reply:
    """``INCR key``."""
    return await _increment(tx, args[1], 1)


async def decr(tx: Transaction, args: list[bytes]) -> Reply:
    """``DECR key``."""
    return await _increment(tx, args[1], -1)


async def incrby(tx: Transaction, args: list[bytes]) -> Reply:
    """``INCRBY key increment``."""
    return await _increment(tx, args[1], parse_int64(args[2]))


async def decrby(tx: Transaction, args: list[bytes]) -> Reply:
    """``DECRBY key decrement``."""
    step = parse_int64(args[2])
    if step == INT64_MIN:
        raise GateError("ERR decrement would overflow")
    return await _increment(tx, args[1], -step)


async def incrbyfloat(tx: Transaction, args: list[bytes]) -> Reply:
    """``INCRBYFLOAT key increment``."""
    meta = string(await tx.load(args[1]))
    before = parse_float80(await number(tx, meta, LONGEST_FLOAT))
    step = parse_float80(args[2])
    if before is None or step is None:
        raise GateError("ERR value is not a valid float")
    after = before + step
    if after is None:
        raise GateError("ERR increment would produce NaN or Infinity")
    text = after.human()
    await tx.put_string(args[1], text, 0 if meta is None else meta.expires)
    return text


STRINGS: Final[Sequence[tuple[str, Handler]]] = (
    ("GET", get),
    ("SET", set_),
    ("SETNX", setnx),
    ("SETEX", setex),
    ("PSETEX", psetex),
    ("GETSET", getset),
    ("GETDEL", getdel),
    ("GETEX", getex),
    ("MGET", mget),
    ("MSET", mset),
    ("MSETNX", msetnx),
    ("STRLEN", strlen),
    ("INCR", incr),
    ("DECR", decr),
    ("INCRBY", incrby),
    ("DECRBY", decrby),
    ("INCRBYFLOAT", incrbyfloat),
)
