"""LCS: the longest common subsequence of two strings, with Redis' choice among several that are equally long.

The table of lengths is kept as one integer per byte of the shorter string, a bit per byte of the longer (Hyyrö, "Bit-parallel
LCS-length computation revisited", 2004): a row is a few operations on long integers instead of a loop over its cells.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from kvgate.errors import GateError, syntax_error
from kvgate.model.meta import STRING
from kvgate.model.numbers import parse_int64
from kvgate.model.options import option
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Map, Reply

MOST_CELLS: Final = 128 << 20
"""Redis refuses a table over proto-max-bulk-len, 512 MiB by default, of 4 bytes per cell. As bits it is 16 MiB here."""
_CELLS_IN_PLACE: Final = 100  # cells that weigh as much as one record read


@attrs.define(slots=True)
class _Options:
    length: bool = False
    indexes: bool = False
    with_lengths: bool = False
    shortest: int = 0


@attrs.frozen(slots=True)
class Match:
    """Equal bytes: from `a` in the first and from `b` in the second string on, `size` of them."""

    a: int
    b: int
    size: int


def _options(args: list[bytes]) -> _Options:
    found, at = _Options(), 3
    while at < len(args):
        name = option(args[at])
        if name == b"IDX":
            found.indexes = True
        elif name == b"LEN":
            found.length = True
        elif name == b"WITHMATCHLEN":
            found.with_lengths = True
        elif name == b"MINMATCHLEN" and at + 1 < len(args):
            at += 1
            found.shortest = max(parse_int64(args[at]), 0)
        else:
            raise syntax_error()
        at += 1
    if found.length and found.indexes:
        raise GateError("ERR If you want both the length and indexes, please just use IDX.")
    return found


@attrs.frozen(slots=True)
class _Row:
    """The table's row for one byte: what it adds to the common subsequences with each beginning of the other string."""

    same: int
    """A bit for each byte of the other string: 1 where it lengthens nothing beyond what was found before it."""
    equal: int
    """1 where it is this row's byte."""

    def length(self, size: int) -> int:
        """Of the longest common subsequence with the first `size` bytes of the other string."""
        return size - (self.same & (1 << size) - 1).bit_count()


def _rows(short: bytes, long: bytes) -> Iterator[_Row]:
    full, text = (1 << len(long)) - 1, long[::-1]
    places: dict[int, int] = {}
    same = full
    for letter in short:
        if letter not in places:
            digits = bytearray(b"0" * 256)
            digits[letter] = 0x31
            places[letter] = int(text.translate(digits) or b"0", 2)
        equal = places[letter]
        met = same & equal
        same = (same + met | same & ~met) & full
        yield _Row(same, equal)


def common_length(a: bytes, b: bytes) -> int:
    """The length of the longest common subsequence."""
    short, long = sorted((a, b), key=len)
    last = None
    for last in _rows(short, long):  # noqa: B007 - the last one counts
        pass
    return 0 if last is None else last.length(len(long))


# Redis walks its table from the end: equal bytes are taken; else it leaves out a byte of `a` if only that keeps the length, or
# one of `b`. Each row makes all its steps at once; rows belong to the shorter string, so that there are few.


def _pairs_by_a(a: bytes, b: bytes) -> Iterator[tuple[int, int]]:
    table = list(_rows(a, b))
    j = len(b)
    for i in range(len(a), 0, -1):
        row = table[i - 1]
        j = ((~row.same | row.equal) & (1 << j) - 1).bit_length()
        if not j:
            return
        if a[i - 1] == b[j - 1]:
            j -= 1
            yield i - 1, j


def _pairs_by_b(a: bytes, b: bytes) -> Iterator[tuple[int, int]]:
    table = list(_rows(b, a))
    i = len(a)
    size = table[-1].length(i) if table else 0
    for j in range(len(b), 0, -1):
        if not size:
            return
        if a[i - 1] != b[j - 1]:
            if j > 1 and table[j - 2].length(i) == size:
                continue  # without this byte of `b` it is as long
            i = (table[j - 1].equal & (1 << i) - 1).bit_length()
        i, size = i - 1, size - 1
        yield i, j - 1


def matches(a: bytes, b: bytes) -> list[Match]:
    """The subsequence as runs of equal bytes, the last one first: the one that Redis finds among equally long ones."""
    found: list[Match] = []
    for i, j in _pairs_by_a(a, b) if len(a) <= len(b) else _pairs_by_b(a, b):
        if found and (found[-1].a, found[-1].b) == (i + 1, j + 1):
            found[-1] = Match(i, j, found[-1].size + 1)
        else:
            found.append(Match(i, j, 1))
    return found


async def lcs(tx: Transaction, args: list[bytes]) -> Reply:
    """``LCS key1 key2 [LEN | IDX [MINMATCHLEN n] [WITHMATCHLEN]]``."""
    metas = await tx.load_many(args[1:3])
    if any(meta is not None and meta.type != STRING for meta in metas):
        raise GateError("ERR The specified keys must contain string values")
    options = _options(args)
    a, b = [b"" if meta is None else await tx.text(meta) for meta in metas]
    cells = (len(a) + 1) * (len(b) + 1)
    if cells > MOST_CELLS:
        raise GateError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    tx.expects(cells // _CELLS_IN_PLACE)
    if options.length:
        return common_length(a, b)
    found = matches(a, b)
    if not options.indexes:
        return b"".join(a[match.a : match.a + match.size] for match in reversed(found))
    shown: list[Reply] = [_shown(match, options) for match in found if match.size >= options.shortest]
    return Map([(b"matches", shown), (b"len", sum(match.size for match in found))])


def _shown(match: Match, options: _Options) -> Reply:
    places: list[Reply] = [[match.a, match.a + match.size - 1], [match.b, match.b + match.size - 1]]
    return [*places, match.size] if options.with_lengths else places


STRINGS_LCS: Final[Sequence[tuple[str, Handler]]] = (("LCS", lcs),)
