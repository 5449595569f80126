"""Hash commands."""

from collections.abc import Sequence
from typing import Final

from kvgate.errors import GateError, syntax_error, wrong_arity
from kvgate.model import field_writes, fields, random_fields
from kvgate.model.floats import Float80, parse_float80
from kvgate.model.meta import HASH, Meta
from kvgate.model.numbers import INT64_MAX, INT64_MIN, parse_int64
from kvgate.model.options import option
from kvgate.model.transaction import Handler, Transaction, wrong_type
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import OK, Map, PairsOf, Reply
from kvgate.wire.request import parse_cursor

_SCAN_COUNT: Final = 10
"""Fields of one HSCAN page, as in Redis."""


async def _hash(tx: Transaction, key: bytes) -> Meta | None:
    """The hash's record, None when the key is missing."""
    meta = await tx.load(key)
    if meta is not None and meta.type != HASH:
        raise wrong_type()
    return meta


# ---------------------------------------------------------------------- writing


def _arguments(args: list[bytes], command: str) -> dict[bytes, bytes]:
    """The fields of HSET: of one given twice the last value counts."""
    if len(args) % 2:
        raise wrong_arity(command)
    return dict(zip(args[2::2], args[3::2], strict=True))


async def hset(tx: Transaction, args: list[bytes]) -> Reply:
    """``HSET key field value [field value …]``."""
    new = _arguments(args, "hset")
    return await field_writes.store(tx, args[1], await _hash(tx, args[1]), new)


async def hmset(tx: Transaction, args: list[bytes]) -> Reply:
    """``HMSET key field value [field value …]``."""
    new = _arguments(args, "hmset")
    await field_writes.store(tx, args[1], await _hash(tx, args[1]), new)
    return OK


async def hsetnx(tx: Transaction, args: list[bytes]) -> Reply:
    """``HSETNX key field value``."""
    meta = await _hash(tx, args[1])
    return int(await field_writes.change(tx, args[1], meta, args[2], lambda before: args[3] if before is None else None))


async def hdel(tx: Transaction, args: list[bytes]) -> Reply:
    """``HDEL key field [field …]``."""
    meta = await _hash(tx, args[1])
    return 0 if meta is None else await field_writes.discard(tx, args[1], meta, args[2:])


async def hincrby(tx: Transaction, args: list[bytes]) -> Reply:
    """``HINCRBY key field increment``."""
    step, after = parse_int64(args[3]), 0

    def add(text: bytes | None) -> bytes:
        nonlocal after
        after = step + (0 if text is None else _integer(text))
        if not INT64_MIN <= after <= INT64_MAX:
            raise GateError("ERR increment or decrement would overflow")
        return b"%d" % after

    await field_writes.change(tx, args[1], await _hash(tx, args[1]), args[2], add)
    return after


def _integer(text: bytes) -> int:
    """The number in a field."""
    try:
        return parse_int64(text)
    except GateError:
        raise GateError("ERR hash value is not an integer") from None


async def hincrbyfloat(tx: Transaction, args: list[bytes]) -> Reply:
    """``HINCRBYFLOAT key field increment``."""
    step, after = parse_float80(args[3]), b""
    if step is None:
        raise GateError("ERR value is not a valid float")
    if step.infinite:
        raise GateError("ERR value is NaN or Infinity")

    def add(text: bytes | None) -> bytes:
        nonlocal after
        before = Float80() if text is None else parse_float80(text)
        if before is None:
            raise GateError("ERR hash value is not a float")
        total = before + step
        if total is None:
            raise GateError("ERR increment would produce NaN or Infinity")
        after = total.human()
        return after

    await field_writes.change(tx, args[1], await _hash(tx, args[1]), args[2], add)
    return after


# ---------------------------------------------------------------------- reading


async def hget(tx: Transaction, args: list[bytes]) -> Reply:
    """``HGET key field``."""
    meta = await _hash(tx, args[1])
    return None if meta is None else await fields.get(tx, meta, args[2])


async def hmget(tx: Transaction, args: list[bytes]) -> Reply:
    """``HMGET key field [field …]``."""
    meta = await _hash(tx, args[1])
    return [None] * (len(args) - 2) if meta is None else [*await fields.get_many(tx, meta, args[2:])]


async def hexists(tx: Transaction, args: list[bytes]) -> Reply:
    """``HEXISTS key field``."""
    meta = await _hash(tx, args[1])
    return 0 if meta is None else int(await fields.size_of(tx, meta, args[2]) is not None)


async def hstrlen(tx: Transaction, args: list[bytes]) -> Reply:
    """``HSTRLEN key field``."""
    meta = await _hash(tx, args[1])
    return 0 if meta is None else await fields.size_of(tx, meta, args[2]) or 0


async def hlen(tx: Transaction, args: list[bytes]) -> Reply:
    """``HLEN key``."""
    meta = await _hash(tx, args[1])
    return 0 if meta is None else fields.length(meta)


async def hgetall(tx: Transaction, args: list[bytes]) -> Reply:
    """``HGETALL key``."""
    meta = await _hash(tx, args[1])
    return Map([]) if meta is None else await fields.all_bulks(tx, meta, names=True, values=True)


async def hkeys(tx: Transaction, args: list[bytes]) -> Reply:
    """``HKEYS key``."""
    meta = await _hash(tx, args[1])
    return [] if meta is None else await fields.all_bulks(tx, meta, names=True, values=False)


async def hvals(tx: Transaction, args: list[bytes]) -> Reply:
    """``HVALS key``."""
    meta = await _hash(tx, args[1])
    return [] if meta is None else await fields.all_bulks(tx, meta, names=False, values=True)


async def hrandfield(tx: Transaction, args: list[bytes]) -> Reply:
    """``HRANDFIELD key [count [WITHVALUES]]``."""
    if len(args) == 2:
        meta = await _hash(tx, args[1])
        if meta is None:
            return None
        ((name, _),) = await random_fields.with_repeats(tx, meta, 1)
        return name
    count, values = _random_options(args)
    meta = await _hash(tx, args[1])
    if meta is None or not count:
        return []
    draw = random_fields.distinct if count > 0 else random_fields.with_repeats
    found = await draw(tx, meta, abs(count))
    return PairsOf([*found]) if values else [name for name, _ in found]


def _random_options(args: list[bytes]) -> tuple[int, bool]:
    """The count, and whether values are wanted; the errors in Redis' order."""
    count = parse_int64(args[2])
    if count == INT64_MIN:
        raise GateError(f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    values = len(args) > 3
    if len(args) > 4 or (values and option(args[3]) != b"WITHVALUES"):
        raise syntax_error()
    if values and abs(count) > INT64_MAX // 2:
        raise GateError("ERR value is out of range")
    return count, values


# ---------------------------------------------------------------------- HSCAN


async def hscan(tx: Transaction, args: list[bytes]) -> Reply:
    """``HSCAN key cursor [MATCH pattern] [COUNT count]``. The options are looked at only if there is a hash, as in Redis."""
    cursor = parse_cursor(args[2])
    if cursor is None:
        raise GateError("ERR invalid cursor")
    meta = await _hash(tx, args[1])
    if meta is None:
        return [b"0", []]
    count, match = _scan_options(args)
    wanted = None if match in (None, b"*") else glob_matcher(match or b"")
    following, found = await fields.scan(tx, meta, cursor, count, wanted)
    return [b"%d" % following, [word for pair in found for word in pair]]


def _scan_options(args: list[bytes]) -> tuple[int, bytes | None]:
    count, match = _SCAN_COUNT, None
    for at in range(3, len(args), 2):
        name, last = option(args[at]), at + 1 == len(args)
        if name == b"COUNT" and not last:
            count = parse_int64(args[at + 1])
            if count < 1:
                raise syntax_error()
        elif name == b"MATCH" and not last:
            match = args[at + 1]
        else:
            raise syntax_error()
    return count, match


HASHES: Final[Sequence[tuple[str, Handler]]] = (
    ("HSET", hset),
    ("HMSET", hmset),
    ("HSETNX", hsetnx),
    ("HGET", hget),
    ("HMGET", hmget),
    ("HDEL", hdel),
    ("HLEN", hlen),
    ("HEXISTS", hexists),
    ("HGETALL", hgetall),
    ("HKEYS", hkeys),
    ("HVALS", hvals),
    ("HSTRLEN", hstrlen),
    ("HINCRBY", hincrby),
    ("HINCRBYFLOAT", hincrbyfloat),
    ("HRANDFIELD", hrandfield),
    ("HSCAN", hscan),
)
