"""Versioned strings (TairString): a value, a version that each write raises, and flags. Rules and texts: docs/versioned.md."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import SYNTAX, GateError, syntax_error, wrong_arity
from kvgate.model import exstring_options as words
from kvgate.model.exstring_options import VERSIONS, ExOptions, integer, parse
from kvgate.model.floats import LONGEST_FLOAT, Float80, parse_float80
from kvgate.model.meta import EXSTRING, Meta
from kvgate.model.numbers import INT64_MAX, INT64_MIN, LONGEST_INTEGER
from kvgate.model.strings_edit import Editor, length, number
from kvgate.model.transaction import Handler, Transaction, wrong_type
from kvgate.wire.reply import OK, Reply, Simple

CAS_FAILED: Final = Simple(b"CAS_FAILED")
_EMPTY: Final = Simple(b"")


def shown(version: int) -> int:
    """A stored version as clients see it: signed, so that what follows 2**63 - 1 is negative."""
    return version - VERSIONS if version > INT64_MAX else version


def _exstring(meta: Meta | None) -> Meta | None:
    """The meta, if it is a versioned string's or there is none.

    Raises:
        GateError: WRONGTYPE.
    """
    if meta is not None and meta.type != EXSTRING:
        raise wrong_type()
    return meta


def _barred(options: ExOptions, meta: Meta | None) -> bool:
    """Whether NX or XX keeps the command from doing anything."""
    return bool(options.words) and (b"XX" if meta is None else b"NX") in options.words


def _following(options: ExOptions, asked: int, meta: Meta | None) -> int:
    """The version after a write; `asked` is that of VER or ABS.

    Raises:
        GateError: the version is not that of VER. 0 is not compared, and a missing key has none.
    """
    if options.absolute:
        return asked
    version = 0 if meta is None else meta.version or 0
    if asked and meta is not None and asked != version:
        raise GateError(words.STALE)
    return (version + 1) % VERSIONS


async def _write(
    tx: Transaction,
    key: bytes,
    value: bytes,
    meta: Meta | None,
    options: ExOptions,
    expires: int,
    version: int,
    flags: int | None = None,
) -> None:
    """Replace the value. Without a new expiry or KEEPTTL the key will not expire; without `flags` the old ones stay."""
    if meta is not None:
        if not expires and b"KEEPTTL" in options.words:
            expires = meta.expires
        if flags is None:
            flags = meta.marks
    await tx.put_string(key, value, expires, EXSTRING, version, flags or None)


async def exset(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXSET key value [EX | EXAT | PX | PXAT time] [NX | XX] [VER | ABS n] [FLAGS u32] [WITHVERSION] [KEEPTTL]``."""
    options = parse(args, 3, words.EXSET)
    expires, asked, flags = options.expires(tx.now_ms), options.version(), options.flags()
    meta = _exstring(await tx.load(args[1]))
    if _barred(options, meta):
        return None
    version = _following(options, asked, meta)
    await _write(tx, args[1], args[2], meta, options, expires, version, flags)
    return shown(version) if b"WITHVERSION" in options.words else OK


async def exget(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXGET key [WITHFLAGS]``."""
    if len(args) > 2:
        if len(args) > 3:
            raise wrong_arity("exget")
        if args[2].upper() != b"WITHFLAGS":
            raise syntax_error()
    meta = await tx.load(args[1])
    if meta is None:
        return None
    if meta.type != EXSTRING:
        raise wrong_type()
    value = meta.payload if meta.outside is None else await tx.text(meta)
    reply: list[Reply] = [value, shown(meta.version or 0)]
    return reply if len(args) == 2 else [*reply, meta.marks or 0]


async def exsetver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXSETVER key version``; expiry and flags stay."""
    meta = _exstring(await tx.load(args[1]))
    if meta is None:
        return 0
    version = integer(args[2], SYNTAX)
    if version <= 0:
        raise syntax_error()
    await tx.put(args[1], attrs.evolve(meta, version=version))
    return 1


def _bound(options: ExOptions, name: bytes) -> int | None:
    text = options.text(name)
    return None if text is None else integer(text, words.WRONG_BOUNDS)


async def exincrby(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXINCRBY key n [DEF n] [EX | EXAT | PX | PXAT time] [NX | XX] [VER | ABS n] [MIN n] [MAX n] [NONEGATIVE] [WITHVERSION]
    [KEEPTTL]``. DEF is what a missing key becomes, instead of being incremented."""
    options = parse(args, 3, words.EXINCRBY)
    meta = _exstring(await tx.load(args[1]))
    step = integer(args[2], words.NOT_INTEGER)
    text = options.text(b"DEF")
    default = None if text is None else integer(text, words.NOT_INTEGER)
    expires, asked = options.expires(tx.now_ms), options.version()
    low, high = _bound(options, b"MIN"), _bound(options, b"MAX")
    if low is not None and high is not None and high < low:
        raise GateError(words.WRONG_BOUNDS)
    if _barred(options, meta):
        return None
    before = integer(await number(tx, meta, LONGEST_INTEGER), words.NOT_INTEGER)
    version = _following(options, asked, meta)
    after = default if meta is None and default is not None else _sum(before, step, low, high)
    if b"NONEGATIVE" in options.words:
        after = max(after, 0)
    await _write(tx, args[1], b"%d" % after, meta, options, expires, version)
    return [after, shown(version)] if b"WITHVERSION" in options.words else after


def _sum(before: int, step: int, low: int | None, high: int | None) -> int:
    after = before + step
    if not (INT64_MIN if low is None else low) <= after <= (INT64_MAX if high is None else high):
        raise GateError(words.BEYOND)
    return after


def _float(text: bytes, error: str) -> Float80:
    value = parse_float80(text)
    if value is None:
        raise GateError(error)
    return value


def _float_bound(options: ExOptions, name: bytes) -> Float80 | None:
    text = options.text(name)
    return None if text is None else _float(text, words.WRONG_BOUNDS)


async def exincrbyfloat(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXINCRBYFLOAT key n [EX | EXAT | PX | PXAT time] [NX | XX] [VER | ABS n] [MIN n] [MAX n] [KEEPTTL]``."""
    meta = _exstring(await tx.load(args[1]))
    step = _float(args[2], words.NOT_FLOAT)
    options = parse(args, 3, words.EXINCRBYFLOAT)
    expires, asked = options.expires(tx.now_ms), options.version()
    low, high = _float_bound(options, b"MIN"), _float_bound(options, b"MAX")
    if low is not None and high is not None and high < low:
        raise GateError(words.WRONG_BOUNDS)
    if _barred(options, meta):
        return None
    before = _float(await number(tx, meta, LONGEST_FLOAT), words.NOT_FLOAT)
    version = _following(options, asked, meta)
    after = before + step
    if after is None or (high is not None and high < after) or (low is not None and after < low):
        raise GateError(words.BEYOND)
    text = after.human()
    await _write(tx, args[1], text, meta, options, expires, version)
    return text


async def excas(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXCAS key value version [EX | EXAT | PX | PXAT time] [KEEPTTL]``."""
    options = parse(args, 4, words.EXCAS)
    options.time()
    asked = integer(args[3], words.VERSION_NOT_INTEGER)
    expires = options.expires(tx.now_ms)
    if asked < 0:
        raise syntax_error()
    meta = _exstring(await tx.load(args[1]))
    if meta is None:
        return -1
    version = meta.version or 0
    if asked != version:
        return [CAS_FAILED, await tx.text(meta), shown(version)]
    version = (version + 1) % VERSIONS
    await _write(tx, args[1], args[2], meta, options, expires, version)
    return [OK, _EMPTY, shown(version)]


async def excad(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXCAD key version``; a negative one is never equal, not even to what is shown so."""
    meta = _exstring(await tx.load(args[1]))
    asked = integer(args[2], words.VERSION_NOT_INTEGER)
    if meta is None:
        return -1
    if asked != meta.version:
        return 0
    await tx.remove(args[1])
    return 1


async def _extend(tx: Transaction, args: list[bytes], *, front: bool) -> Reply:
    """EXAPPEND and EXPREPEND: expiry and flags stay."""
    options = parse(args, 3, words.EXAPPEND)
    asked = options.version()
    meta = await tx.load(args[1])
    if _barred(options, meta):  # before the type is looked at
        return None
    version = _following(options, asked, _exstring(meta))
    if meta is None:
        await tx.put_string(args[1], args[2], 0, EXSTRING, version)
        return shown(version)
    if length(meta) + len(args[2]) > tx.longest:
        raise GateError(words.APPEND_FAILED)
    if front:
        value = args[2] + await tx.text(meta)
        await tx.put_string(args[1], value, meta.expires, EXSTRING, version, meta.marks)
    else:
        editor = Editor(tx, args[1], attrs.evolve(meta, version=version))
        if args[2]:
            await editor.write(editor.size, args[2])
        await editor.save()
    return shown(version)


async def exappend(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXAPPEND key value [NX | XX] [VER | ABS n]``: a long value's other chunks are not touched."""
    return await _extend(tx, args, front=False)


async def exprepend(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXPREPEND key value [NX | XX] [VER | ABS n]``: the whole value is written again."""
    return await _extend(tx, args, front=True)


async def exgae(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXGAE key EX | EXAT | PX | PXAT time``: reads it and gives it an expiry; the version stays."""
    expires = parse(args, 2, words.EXGAE).expires(tx.now_ms)
    meta = _exstring(await tx.load(args[1]))
    if meta is None:
        return None
    value = await tx.text(meta)
    await tx.put(args[1], attrs.evolve(meta, expires=expires))
    return [value, shown(meta.version or 0), meta.marks or 0]


EXSTRINGS: Final[Sequence[tuple[str, Handler]]] = (
    ("EXSET", exset),
    ("EXGET", exget),
    ("EXSETVER", exsetver),
    ("EXINCRBY", exincrby),
    ("EXINCRBYFLOAT", exincrbyfloat),
    ("EXCAS", excas),
    ("EXCAD", excad),
    ("EXAPPEND", exappend),
    ("EXPREPEND", exprepend),
    ("EXGAE", exgae),
)
