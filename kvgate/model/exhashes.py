"""Reading versioned hashes (TairHash): each field has a version, and maybe an expiry. Rules and texts: docs/versioned.md.

A field whose time has come is not there for any command, swept or not.
"""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import SYNTAX, syntax_error, wrong_arity
from kvgate.model import exfields, fields
from kvgate.model.elements import Element
from kvgate.model.exstring_options import integer
from kvgate.model.fields import Volume
from kvgate.model.meta import EXHASH, Meta
from kvgate.model.transaction import Handler, Transaction, wrong_type
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Reply, Simple
from kvgate.wire.request import parse_cursor

_SCAN_COUNT: Final = 10
"""Fields of one page of EXHSCAN, as in the module."""
_SCAN_WORDS: Final = 7


async def exhash(tx: Transaction, key: bytes) -> Meta | None:
    """The versioned hash's record, None when the key is missing.

    Raises:
        GateError: WRONGTYPE.
    """
    meta = await tx.load(key)
    if meta is not None and meta.type != EXHASH:
        raise wrong_type()
    return meta


async def _find(tx: Transaction, args: list[bytes]) -> tuple[Meta | None, Element | None]:
    meta = await exhash(tx, args[1])
    return meta, None if meta is None else await fields.find(tx, meta, args[2])


async def _with_version(tx: Transaction, meta: Meta, element: Element | None, volume: Volume) -> Reply:
    if element is None:
        return None
    identity = 0 if meta.outside is None else meta.outside.identity
    return [await fields.whole(tx, identity, element, volume), element.version]


async def exhget(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHGET key field``."""
    meta = await exhash(tx, args[1])
    return None if meta is None else await fields.get(tx, meta, args[2])


async def exhgetwithver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHGETWITHVER key field``: value and version."""
    meta, element = await _find(tx, args)
    return None if meta is None else await _with_version(tx, meta, element, Volume())


async def exhmget(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHMGET key field [field …]``."""
    meta = await exhash(tx, args[1])
    return [None] * (len(args) - 2) if meta is None else [*await fields.get_many(tx, meta, args[2:])]


async def exhmgetwithver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHMGETWITHVER key field [field …]``: a pair of value and version for each."""
    meta = await exhash(tx, args[1])
    if meta is None:
        return [None] * (len(args) - 2)
    volume = Volume()
    return [await _with_version(tx, meta, each, volume) for each in await fields.find_many(tx, meta, args[2:])]


async def exhexists(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHEXISTS key field``."""
    return int((await _find(tx, args))[1] is not None)


async def exhstrlen(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHSTRLEN key field``; 0 for a missing one."""
    element = (await _find(tx, args))[1]
    return 0 if element is None else element.size


async def exhver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHVER key field``; −1 without the key, −2 without the field."""
    meta, element = await _find(tx, args)
    if element is None:
        return -1 if meta is None else -2
    return element.version


def _left(command: str, *, seconds: bool) -> Handler:
    async def handler(tx: Transaction, args: list[bytes]) -> Reply:
        """The time that a field has left; −2 without the key, −3 without the field, −1 without an expiry."""
        meta, element = await _find(tx, args)
        if element is None:
            return -2 if meta is None else -3
        if not element.expires:
            return -1
        left = element.expires - tx.now_ms
        return (left + 500) // 1000 if seconds else left

    handler.__name__ = handler.__qualname__ = command
    return handler


async def exhlen(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHLEN key [NOEXP]``. The module counts fields that wait to be swept unless NOEXP is given; here none ever is."""
    if len(args) > 3:
        raise wrong_arity("exhlen")
    if len(args) == 3 and args[2].upper() != b"NOEXP":
        raise syntax_error()
    meta = await exhash(tx, args[1])
    return 0 if meta is None else await exfields.count(tx, meta)


async def exhgetall(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHGETALL key``: fields and values in turn, in RESP3 too."""
    meta = await exhash(tx, args[1])
    return [] if meta is None else attrs.evolve(await fields.all_bulks(tx, meta, names=True, values=True), pairs=False)


async def exhgetallwithver(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHGETALLWITHVER key``: fields, values and versions in turn."""
    meta = await exhash(tx, args[1])
    return [] if meta is None else await fields.all_bulks(tx, meta, names=True, values=True, versions=True)


async def exhkeys(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHKEYS key``."""
    meta = await exhash(tx, args[1])
    return [] if meta is None else await fields.all_bulks(tx, meta, names=True, values=False)


async def exhvals(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHVALS key``."""
    meta = await exhash(tx, args[1])
    return [] if meta is None else await fields.all_bulks(tx, meta, names=False, values=True)


async def exhscan(tx: Transaction, args: list[bytes]) -> Reply:
    """``EXHSCAN key cursor [MATCH pattern] [COUNT count]``. Unlike HSCAN's the options are looked at without a key too."""
    if len(args) > _SCAN_WORDS:
        raise wrong_arity("exhscan")
    meta = await exhash(tx, args[1])
    cursor = parse_cursor(args[2])
    if cursor is None:
        raise syntax_error()
    count, match = _scan_options(args)
    if meta is None:
        return [Simple(b"0"), []]
    wanted = None if match in (None, b"*") else glob_matcher(match or b"")
    following, found = await fields.scan(tx, meta, cursor, count, wanted)
    return [b"%d" % following, [word for pair in found for word in pair]]


def _scan_options(args: list[bytes]) -> tuple[int, bytes | None]:
    count, match = _SCAN_COUNT, None
    for at in range(3, len(args), 2):
        name = args[at].upper()
        if name not in (b"MATCH", b"COUNT") or at + 1 == len(args):
            raise syntax_error()
        if name == b"MATCH":
            match = args[at + 1]
        else:
            count = max(integer(args[at + 1], SYNTAX), 1)  # the module takes what is below 1 too, and looks at a bucket or so
    return count, match


EXHASH_READS: Final[Sequence[tuple[str, Handler]]] = (
    ("EXHGET", exhget),
    ("EXHGETWITHVER", exhgetwithver),
    ("EXHMGET", exhmget),
    ("EXHMGETWITHVER", exhmgetwithver),
    ("EXHEXISTS", exhexists),
    ("EXHSTRLEN", exhstrlen),
    ("EXHVER", exhver),
    ("EXHTTL", _left("exhttl", seconds=True)),
    ("EXHPTTL", _left("exhpttl", seconds=False)),
    ("EXHLEN", exhlen),
    ("EXHGETALL", exhgetall),
    ("EXHGETALLWITHVER", exhgetallwithver),
    ("EXHKEYS", exhkeys),
    ("EXHVALS", exhvals),
    ("EXHSCAN", exhscan),
)
