"""Writing versioned hashes (TairHash): a write of a field raises its version, or says which. Rules: docs/versioned.md.

A command that fails changes nothing; the module leaves an empty hash behind where a new one was to be written.
"""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import SYNTAX, GateError, syntax_error, wrong_arity
from kvgate.model import exhash_options as words
from kvgate.model.elements import Element
from kvgate.model.exfields import Edit, edit
from kvgate.model.exhash_options import FieldOptions, field_options, moment, raised
from kvgate.model.exhashes import exhash
from kvgate.model.exstring_options import BEYOND, NOT_INTEGER, STALE, integer
from kvgate.model.floats import LONGEST_FLOAT, Float80, parse_float80
from kvgate.model.numbers import INT64_MAX, INT64_MIN, LONGEST_INTEGER
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import OK, Reply

_EXPIRE_WORDS: Final = 7


async def exhset(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHSET key field value [EX | EXAT | PX | PXAT time] [NX | XX] [VER | ABS | GT n] [KEEPTTL]``: 1 for a new field, 0 for
    one that was there, −1 when NX or XX kept it as it is."""
    meta = await exhash(tx, args[1])
    options = field_options(args, 4, words.EXHSET, tx.now_ms)
    hand = await edit(tx, args[1], meta, args[2:3])
    before = hand.get(args[2])
    if options.bars(before):
        return -1
    await _write(hand, args[2], args[3], before, options)
    return int(before is None)


async def _write(hand: Edit, name: bytes, value: bytes, before: Element | None, options: FieldOptions) -> None:
    version, expires = options.version_after(before), options.expires_after(before)
    hand.set(name, Element(value, expires=expires, version=version))
    await hand.save()


async def exhsetnx(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHSETNX key field value``; the new field's version is 0."""
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2:3])
    if hand.get(args[2]) is not None:
        return 0
    hand.set(args[2], Element(args[3]))
    await hand.save()
    return 1


async def exhmset(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHMSET key field value [field value …]``; expiries stay."""
    if len(args) % 2:
        raise wrong_arity("exhmset")
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2::2])
    for name, value in zip(args[2::2], args[3::2], strict=True):
        before = hand.get(name) or Element()
        hand.set(name, Element(value, expires=before.expires, version=raised(before.version)))
    await hand.save()
    return OK


async def exhmsetwithopts(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHMSETWITHOPTS key field value version seconds [field value version seconds …]``: all, if each version is that of its
    field (0 compares nothing), which is raised; 0 seconds are over at once."""
    if len(args) % 4 != 2:
        raise wrong_arity("exhmsetwithopts")
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2::4])
    expiries = []
    for at in range(2, len(args), 4):
        expiries.append(moment(args[at + 3], tx.now_ms, seconds=True, relative=True))
        asked, before = integer(args[at + 2], SYNTAX), hand.get(args[at])
        if asked < 0:
            raise syntax_error()
        if before is not None and 0 != asked != before.version:
            raise GateError(STALE)
    for name, value, expires in zip(args[2::4], args[3::4], expiries, strict=True):
        before = hand.get(name) or Element()
        hand.set(name, Element(value, expires=expires, version=raised(before.version)))
    await hand.save()
    return OK


# ---------------------------------------------------------------------- expiry and version


def _expire(command: str, *, seconds: bool, relative: bool) -> Handler:
    async def handler(tx: Transaction, args: list[bytes]) -> Reply:
        """Give a field another expiry; its version is raised."""
        if len(args) > _EXPIRE_WORDS:
            raise wrong_arity(command)
        expires = moment(args[3], tx.now_ms, seconds=seconds, relative=relative)
        options = field_options(args, 4, words.EXHEXPIRE, tx.now_ms)
        hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2:3])
        before = hand.get(args[2])
        if before is None:
            return 0
        hand.set(args[2], attrs.evolve(before, expires=expires, version=options.version_after(before)))
        await hand.save()
        return 1

    handler.__name__ = handler.__qualname__ = command
    return handler


async def exhpersist(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHPERSIST key field``; the version stays."""
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2:3])
    before = hand.get(args[2])
    if before is None or not before.expires:
        return 0
    hand.set(args[2], attrs.evolve(before, expires=0))
    await hand.save()
    return 1


async def exhsetver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHSETVER key field version``; the expiry stays."""
    version = integer(args[3], SYNTAX)
    if version <= 0:
        raise syntax_error()
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2:3])
    before = hand.get(args[2])
    if before is None:
        return 0
    hand.set(args[2], attrs.evolve(before, version=version))
    await hand.save()
    return 1


# ---------------------------------------------------------------------- numbers


async def _number(hand: Edit, before: Element | None, most: int) -> bytes:
    """The text of a number, ``0`` without a field. One of more than `most` bytes is not read, and is empty: no number."""
    if before is None:
        return b"0"
    return b"" if before.size > most else await hand.value(before)


async def exhincrby(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHINCRBY key field n [EX | EXAT | PX | PXAT time] [VER | ABS | GT n] [MIN n] [MAX n] [KEEPTTL]``."""
    meta = await exhash(tx, args[1])
    step = integer(args[3], NOT_INTEGER)
    options = field_options(args, 4, words.EXHINCRBY, tx.now_ms)
    low, high = (_bound(options, name) for name in (b"MIN", b"MAX"))
    if low is not None and high is not None and high < low:
        raise GateError(words.BOUNDS_CROSSED)
    hand = await edit(tx, args[1], meta, args[2:3])
    before = hand.get(args[2])
    after = integer(await _number(hand, before, LONGEST_INTEGER), NOT_INTEGER) + step
    options.version_after(before)  # a wrong version is said before an overflow
    if not (INT64_MIN if low is None else low) <= after <= (INT64_MAX if high is None else high):
        raise GateError(BEYOND)
    await _write(hand, args[2], b"%d" % after, before, options)
    return after


def _bound(options: FieldOptions, name: bytes) -> int | None:
    text = options.words.text(name)
    return None if text is None else integer(text, words.BOUND_NOT_INTEGER)


async def exhincrbyfloat(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHINCRBYFLOAT key field n [EX | EXAT | PX | PXAT time] [VER | ABS | GT n] [MIN n] [MAX n] [KEEPTTL]``."""
    meta = await exhash(tx, args[1])
    step = _float(args[3], words.NOT_FLOAT)
    options = field_options(args, 4, words.EXHINCRBY, tx.now_ms)
    low, high = (_float_bound(options, name) for name in (b"MIN", b"MAX"))
    if low is not None and high is not None and high < low:
        raise GateError(words.BOUNDS_CROSSED)
    hand = await edit(tx, args[1], meta, args[2:3])
    before = hand.get(args[2])
    after = _float(await _number(hand, before, LONGEST_FLOAT), words.NOT_FLOAT) + step
    options.version_after(before)
    if after is None or (high is not None and high < after) or (low is not None and after < low):
        raise GateError(BEYOND)
    text = after.human()
    await _write(hand, args[2], text, before, options)
    return text


def _float(text: bytes, error: str) -> Float80:
    value = parse_float80(text)
    if value is None:
        raise GateError(error)
    return value


def _float_bound(options: FieldOptions, name: bytes) -> Float80 | None:
    text = options.words.text(name)
    return None if text is None else _float(text, words.BOUND_NOT_FLOAT)


# ---------------------------------------------------------------------- removing


async def exhdel(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHDEL key field [field …]``: how many there were."""
    hand = await edit(tx, args[1], await exhash(tx, args[1]), args[2:])
    removed = sum(hand.remove(name) for name in args[2:])
    await hand.save()
    return removed


async def exhdelwithver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHDELWITHVER key field version [field version …]``: how many had that version; 0 is any."""
    if len(args) % 2:
        raise wrong_arity("exhdelwithver")
    meta = await exhash(tx, args[1])
    if meta is None:
        return 0  # the module looks at no version then
    hand = await edit(tx, args[1], meta, args[2::2])
    removed = 0
    for name, text in zip(args[2::2], args[3::2], strict=True):
        asked, before = integer(text, SYNTAX), hand.get(name)
        if before is not None and asked in (0, before.version):
            removed += hand.remove(name)
    await hand.save()
    return removed


EXHASH_WRITES: Final[Sequence[tuple[str, Handler]]] = (
    ("EXHSET", exhset),
    ("EXHSETNX", exhsetnx),
    ("EXHMSET", exhmset),
    ("EXHMSETWITHOPTS", exhmsetwithopts),
    ("EXHEXPIRE", _expire("exhexpire", seconds=True, relative=True)),
    ("EXHPEXPIRE", _expire("exhpexpire", seconds=False, relative=True)),
    ("EXHEXPIREAT", _expire("exhexpireat", seconds=True, relative=False)),
    ("EXHPEXPIREAT", _expire("exhpexpireat", seconds=False, relative=False)),
    ("EXHPERSIST", exhpersist),
    ("EXHSETVER", exhsetver),
    ("EXHINCRBY", exhincrby),
    ("EXHINCRBYFLOAT", exhincrbyfloat),
    ("EXHDEL", exhdel),
    ("EXHDELWITHVER", exhdelwithver),
)
