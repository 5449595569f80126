"""How keys of a namespace with ``ttl_default`` or ``ttl_max`` get their expiry, whatever command writes them.

`HOW` says it of each command: its own arguments are changed (`SET k v` becomes ``SET k v PX n``), or the key is looked at
after it, in one transaction with it, and gets an expiry if it has none, or one that is too long.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from kvgate.backend import After
from kvgate.commands.keys import integer, keys_with_flags
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError
from kvgate.model.numbers import INT64_MAX
from kvgate.model.options import getex_options, option, set_options
from kvgate.model.transaction import Handler, Transaction
from kvgate.policy.limits import LOCKS, Expiry
from kvgate.wire.reply import Reply

_SECONDS: Final = (b"EX", b"EXAT")
_MILLISECONDS: Final = {b"EX": b"PX", b"PX": b"PX", b"EXAT": b"PXAT", b"PXAT": b"PXAT"}


@attrs.frozen(slots=True)
class Lasting:
    """What is to be run instead of a command."""

    args: list[bytes]
    """The command's arguments; a changed name is upper case."""
    after: tuple[After, ...] = ()


def lasting(spec: CommandSpec, args: list[bytes], rules: Sequence[tuple[int, Expiry | None]], now_ms: int) -> Lasting | None:
    """What is to be run instead of a checked command, None for the command itself. `rules`: of each key its index in `args`
    and its namespace's; `now_ms` is the time of day in milliseconds."""
    how = HOW.get(spec.name, NEVER if not spec.write else AFTER)
    if how is NEVER:
        return None
    if how is not AFTER:
        first = rules[0][1] if rules else None
        if first is None:
            return None
        changed = how(first, args, now_ms)
        if changed is not None:
            return None if changed is args else Lasting(changed)
    by_index = dict(rules)
    written = [at for at, flags in keys_with_flags(spec, args) if flags & _WRITTEN and "delete" not in flags]
    after = tuple(_after(args[at], rule) for at in written if (rule := by_index.get(at)) is not None)
    return Lasting(args, after) if after else None


_WRITTEN: Final = frozenset({"RW", "OW"})


def _after(key: bytes, rule: Expiry) -> After:
    if rule.longest is None:
        return After(key, rule.given())
    return After(key, rule.given(), rule.longest, rule.cut())


# What is done to commands that have an expiry of their own: the arguments to be run, the same list for no change, None when
# the key has to be looked at after the command.

_Change = Callable[[Expiry, list[bytes], int], list[bytes] | None]


def _time(rule: Expiry, unit: bytes, text: bytes, now_ms: int) -> tuple[bytes, bytes] | None:
    """Another option and its value; None when it may stay, or is one that is refused."""
    value = integer(text)
    if value is None or value <= 0:
        return None
    if unit in _SECONDS:
        value *= 1000
    absolute = unit in (b"EXAT", b"PXAT")
    if value > INT64_MAX - (0 if absolute else now_ms):
        return None  # no time that a store takes: it says so
    changed = rule.moment(value, now_ms) if absolute else rule.kept(value)
    return None if changed == value else (_MILLISECONDS[unit], b"%d" % changed)


def _with_time(args: list[bytes], begin: int, unit: bytes, changed: tuple[bytes, bytes]) -> list[bytes]:
    """The arguments with another time; `unit` is there once, behind `begin`."""
    at = next(at for at in range(begin, len(args)) if option(args[at]) == unit)
    return [*args[:at], *changed, *args[at + 2 :]]


def _set(rule: Expiry, args: list[bytes], now_ms: int) -> list[bytes] | None:
    if len(args) == 3:
        return [*args, b"PX", b"%d" % rule.given()]
    try:
        options = set_options(args)
    except GateError:
        return None
    if options.keep_ttl or options.equals is not None:
        return None
    if not options.unit:
        return [*args, b"PX", b"%d" % rule.given()]
    if sum(option(arg) == options.unit for arg in args[3:]) != 1:
        return None
    changed = _time(rule, options.unit, options.time, now_ms)
    return args if changed is None else _with_time(args, 3, options.unit, changed)


def _getex(rule: Expiry, args: list[bytes], now_ms: int) -> list[bytes] | None:
    try:
        options = getex_options(args)
    except GateError:
        return args  # the store's to refuse
    if not options.unit:
        return args
    if sum(option(arg) == options.unit for arg in args[2:]) != 1:
        return None
    changed = _time(rule, options.unit, options.time, now_ms)
    return args if changed is None else _with_time(args, 2, options.unit, changed)


def _in_seconds(name: bytes, unit: bytes) -> _Change:
    """SETEX, EXPIRE and their kin: the time is argument 2; `name` is the command that takes milliseconds."""

    def change(rule: Expiry, args: list[bytes], now_ms: int) -> list[bytes] | None:
        changed = _time(rule, unit, args[2], now_ms)
        return args if changed is None else [name, args[1], changed[1], *args[3:]]

    return change


def _restore(rule: Expiry, args: list[bytes], now_ms: int) -> list[bytes] | None:
    value = integer(args[2])
    absolute = any(option(arg) == b"ABSTTL" for arg in args[4:])
    if value is None or value < 0 or value > INT64_MAX - (0 if absolute else now_ms):
        return args  # the store's to refuse
    if not value:
        changed = rule.given() + (now_ms if absolute else 0)
    else:
        changed = rule.moment(value, now_ms) if absolute else rule.kept(value)
    return args if changed == value else [*args[:2], b"%d" % changed, *args[3:]]


def _never(rule: Expiry, args: list[bytes], now_ms: int) -> list[bytes]:
    del rule, now_ms
    return args


def _afterwards(rule: Expiry, args: list[bytes], now_ms: int) -> None:
    del rule, args, now_ms


NEVER: Final[_Change] = _never
"""It makes no key and changes no expiry."""
AFTER: Final[_Change] = _afterwards
"""It may make a key or change an expiry: the keys that it writes are looked at after it."""

HOW: Final[Mapping[str, _Change]] = {
    # the time is among the arguments
    "SET": _set,
    "SETEX": _in_seconds(b"PSETEX", b"EX"),
    "PSETEX": _in_seconds(b"PSETEX", b"PX"),
    "GETEX": _getex,
    "EXPIRE": _in_seconds(b"PEXPIRE", b"EX"),
    "PEXPIRE": _in_seconds(b"PEXPIRE", b"PX"),
    "EXPIREAT": _in_seconds(b"PEXPIREAT", b"EXAT"),
    "PEXPIREAT": _in_seconds(b"PEXPIREAT", b"PXAT"),
    "RESTORE": _restore,
    # they may make a key
    **dict.fromkeys(("APPEND", "DECR", "DECRBY", "GETSET", "INCR", "INCRBY", "INCRBYFLOAT", "MSET", "MSETNX"), AFTER),
    **dict.fromkeys(("SETNX", "SETRANGE", "BITFIELD", "BITOP", "SETBIT", "PFADD", "PFMERGE"), AFTER),
    **dict.fromkeys(("HINCRBY", "HINCRBYFLOAT", "HMSET", "HSET", "HSETNX"), AFTER),
    **dict.fromkeys(("BLMOVE", "BRPOPLPUSH", "LMOVE", "LPUSH", "RPOPLPUSH", "RPUSH"), AFTER),
    **dict.fromkeys(("SADD", "SDIFFSTORE", "SINTERSTORE", "SMOVE", "SUNIONSTORE"), AFTER),
    **dict.fromkeys(("ZADD", "ZDIFFSTORE", "ZINCRBY", "ZINTERSTORE", "ZRANGESTORE", "ZUNIONSTORE"), AFTER),
    **dict.fromkeys(("GEOADD", "GEORADIUS", "GEORADIUSBYMEMBER", "GEOSEARCHSTORE"), AFTER),
    **dict.fromkeys(("XADD", "XGROUP|CREATE"), AFTER),
    **dict.fromkeys(("COPY", "RENAME", "RENAMENX", "SORT"), AFTER),
    **dict.fromkeys(("CAS", "EXAPPEND", "EXCAS", "EXGAE", "EXINCRBY", "EXINCRBYFLOAT", "EXPREPEND", "EXSET"), AFTER),
    **dict.fromkeys(("EXHINCRBY", "EXHINCRBYFLOAT", "EXHMSET", "EXHMSETWITHOPTS", "EXHSET", "EXHSETNX"), AFTER),
    # they change a key that is there, or take it away
    **dict.fromkeys(("CAD", "DEL", "DELEX", "DELIFEQ", "GETDEL", "UNLINK", "EXCAD", "EXSETVER"), NEVER),
    **dict.fromkeys(("BLMPOP", "BLPOP", "BRPOP", "LINSERT", "LMPOP", "LPOP", "LPUSHX", "LREM", "LSET", "LTRIM"), NEVER),
    **dict.fromkeys(("RPOP", "RPUSHX", "SPOP", "SREM", "HDEL"), NEVER),
    **dict.fromkeys(("BZMPOP", "BZPOPMAX", "BZPOPMIN", "ZMPOP", "ZPOPMAX", "ZPOPMIN", "ZREM"), NEVER),
    **dict.fromkeys(("ZREMRANGEBYLEX", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE"), NEVER),
    **dict.fromkeys(("XACK", "XAUTOCLAIM", "XCLAIM", "XDEL", "XREADGROUP", "XSETID", "XTRIM"), NEVER),
    **dict.fromkeys(("XGROUP|CREATECONSUMER", "XGROUP|DELCONSUMER", "XGROUP|DESTROY", "XGROUP|SETID"), NEVER),
    **dict.fromkeys(("EXHDEL", "EXHDELWITHVER", "EXHSETVER"), NEVER),
    # times of fields, not of keys
    **dict.fromkeys(("EXHEXPIRE", "EXHEXPIREAT", "EXHPERSIST", "EXHPEXPIRE", "EXHPEXPIREAT"), NEVER),
    # refused before (kvgate.policy.limits)
    "PERSIST": NEVER,
    # a lock lasts as long as who holds it was told
    **dict.fromkeys(sorted(LOCKS), NEVER),
}
"""Every command that may write keys."""


def handler_with(handler: Handler, after: Sequence[After]) -> Handler:
    """The handler, and behind it, in the same transaction, what keys are to get."""

    async def both(tx: Transaction, args: list[bytes]) -> Reply:
        reply = await handler(tx, args)
        for each in after:
            meta = await tx.load(each.key)
            if meta is None:
                continue
            if not meta.expires:
                await tx.put(each.key, attrs.evolve(meta, expires=tx.now_ms + each.given))
            elif each.longest and meta.expires - tx.now_ms > each.longest:
                await tx.put(each.key, attrs.evolve(meta, expires=tx.now_ms + each.cut))
        return reply

    return both
