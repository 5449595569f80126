"""Locks: GATE LOCK, EXTEND and UNLOCK, and what redis-py's Lock does by scripts. A lock is a string, its holder's token."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.commands.scripts import LOCK_EXTEND, LOCK_REACQUIRE, LOCK_RELEASE, claim
from kvgate.errors import NOT_AN_INTEGER, WRONG_TYPE, GateError, syntax_error
from kvgate.model.meta import STRING, Meta
from kvgate.model.numbers import INT64_MAX, parse_int64
from kvgate.model.options import expiry, invalid_expire, option
from kvgate.model.strings_edit import equals, string
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply

_DOUBLE_AS_INTEGER: Final = 10**17
"""Lua writes a sum of this size or more with an exponent, which PEXPIRE does not take."""


async def lock(tx: Transaction, args: list[bytes]) -> Reply:
    """``GATE LOCK name token PX milliseconds`` → ``[token, fence]``, nil while anybody holds it, whoever asks."""
    expires = lock_expiry(args, "gate|lock", tx.now_ms)
    if string(await tx.load(args[2])) is not None:
        return None
    await tx.put_string(args[2], args[3], expires)
    return [args[3], await tx.kv.fence()]


async def extend(tx: Transaction, args: list[bytes]) -> Reply:
    """``GATE EXTEND name token PX milliseconds`` (from now) → 1, 0 when another holds it, -1 when nobody does."""
    expires = lock_expiry(args, "gate|extend", tx.now_ms)
    meta = string(await tx.load(args[2]))
    if meta is None:
        return -1
    if not await equals(tx, meta, args[3]):
        return 0
    await tx.put(args[2], attrs.evolve(meta, expires=expires))
    return 1


async def unlock(tx: Transaction, args: list[bytes]) -> Reply:
    """``GATE UNLOCK name token`` → 1, 0 when another holds it, -1 when nobody does."""
    meta = string(await tx.load(args[2]))
    if meta is None:
        return -1
    if not await equals(tx, meta, args[3]):
        return 0
    await tx.remove(args[2])
    return 1


def lock_expiry(args: Sequence[bytes], command: str, now_ms: int) -> int:
    """The absolute expiry in ms of ``GATE LOCK | EXTEND name token PX milliseconds``. `command` in lower case, for the error.

    Raises:
        GateError: another word than PX, no integer, not positive, beyond 64 bits.
    """
    if option(args[4]) != b"PX":
        raise syntax_error()
    return expiry(args[5], b"PX", command, now_ms)


# ---------------------------------------------------------------------- scripts
# `EVAL script numkeys key … token …`, or EVALSHA. Replies and errors were observed on Redis 7.0.15.


async def _release(tx: Transaction, args: list[bytes]) -> Reply:
    key, _, meta = await _held(tx, args, RELEASE)
    if meta is None:
        return 0
    await tx.remove(key)
    return 1


async def _extend(tx: Transaction, args: list[bytes]) -> Reply:
    """Further arguments: milliseconds, and ``0`` when they are to be added to those that are left."""
    key, more, meta = await _held(tx, args, EXTEND)
    if meta is None or not meta.expires:
        return 0
    milliseconds = _milliseconds(more, EXTEND)
    if more[1:2] == [b"0"]:
        milliseconds += meta.expires - tx.now_ms
        if abs(milliseconds) >= _DOUBLE_AS_INTEGER:
            raise EXTEND.failed(NOT_AN_INTEGER, EXTEND.writes)
    return await _expire(tx, key, meta, milliseconds, EXTEND)


async def _reacquire(tx: Transaction, args: list[bytes]) -> Reply:
    """A further argument: milliseconds."""
    key, more, meta = await _held(tx, args, REACQUIRE)
    if meta is None:
        return 0
    return await _expire(tx, key, meta, _milliseconds(more, REACQUIRE), REACQUIRE)


@attrs.frozen(slots=True)
class _Script:
    """One script that is known, as the errors of Redis name it."""

    sha: str
    writes: int
    """The line with its write; the one that reads the token is line 2."""

    def failed(self, text: str, line: int) -> GateError:
        """An error inside the script."""
        return GateError(f"{text} script: {self.sha}, on @user_script:{line}.")


RELEASE: Final = _Script(LOCK_RELEASE, 6)
EXTEND: Final = _Script(LOCK_EXTEND, 18)
REACQUIRE: Final = _Script(LOCK_REACQUIRE, 6)
_NO_TEXT: Final = "ERR Lua redis lib command arguments must be strings or integers"


async def _held(tx: Transaction, args: list[bytes], script: _Script) -> tuple[bytes, list[bytes], Meta | None]:
    """The lock's key, the arguments behind the token, and the lock's meta if the token is its holder's."""
    count = parse_int64(args[2])
    keys, rest = args[3 : 3 + count], args[3 + count :]
    if not keys:
        raise script.failed(_NO_TEXT, 2)
    meta = await tx.load(keys[0])
    if meta is not None and meta.type != STRING:
        raise script.failed(WRONG_TYPE, 2)
    if meta is None or not rest or not await equals(tx, meta, rest[0]):
        return keys[0], [], None
    return keys[0], rest[1:], meta


def _milliseconds(more: list[bytes], script: _Script) -> int:
    if not more:
        raise script.failed(_NO_TEXT, script.writes)
    try:
        return parse_int64(more[0])
    except GateError as error:
        raise script.failed(error.text, script.writes) from None


async def _expire(tx: Transaction, key: bytes, meta: Meta, milliseconds: int, script: _Script) -> int:
    """PEXPIRE: a time that is over ends the lock."""
    expires = milliseconds + tx.now_ms
    if expires > INT64_MAX:
        raise script.failed(invalid_expire("pexpire").text, script.writes)
    if expires <= tx.now_ms:
        await tx.remove(key)
    else:
        await tx.put(key, attrs.evolve(meta, expires=expires))
    return 1


LOCKS: Final[Sequence[tuple[str, Handler]]] = (
    ("GATE|LOCK", lock),
    ("GATE|EXTEND", extend),
    ("GATE|UNLOCK", unlock),
    (claim(LOCK_RELEASE), _release),
    (claim(LOCK_EXTEND), _extend),
    (claim(LOCK_REACQUIRE), _reacquire),
)
