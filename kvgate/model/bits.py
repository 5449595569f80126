"""Bitmap commands, but for BITFIELD: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP."""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final

from kvgate.errors import GateError, syntax_error
from kvgate.model.meta import CHUNK, Meta
from kvgate.model.numbers import parse_int64
from kvgate.model.options import option
from kvgate.model.strings_edit import Editor, check_length, length, pages, part, string
from kvgate.model.strings_ranges import bounds
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply
from kvgate.wire.request import BULK_LIMIT, parse_length

_OFFSETS: Final = BULK_LIMIT * 8
"""Bit offsets are below this: Redis' own limit with its default proto-max-bulk-len."""
_SIGN: Final = 1 << 63
_AT_ONCE: Final = CHUNK  # bytes in one integer: 0.05 ms, so that other threads are not kept waiting for the interpreter
_COUNTING: Final = 32  # counting the bits of a chunk takes as long as reading so many records
_SEARCHING: Final = 4
_NO_BIT: Final = "ERR bit is not an integer or out of range"


def bit_offset(text: bytes, width: int = 0) -> int:
    """An offset in bits; with a `width`, ``#n`` is n times the width.

    Raises:
        GateError: Redis' text: no integer, negative or too large.
    """
    counted = width > 0 and text[:1] == b"#"
    offset = parse_length(text[1:] if counted else text)
    if offset is not None and counted:
        offset = (offset * width + _SIGN) % (2 * _SIGN) - _SIGN  # in 64 bits, as Redis computes it
    if offset is None or not 0 <= offset < _OFFSETS:
        raise GateError("ERR bit offset is not an integer or out of range")
    return offset


async def setbit(tx: Transaction, args: list[bytes]) -> Reply:
    """``SETBIT key offset value``."""
    offset = bit_offset(args[2])
    if parse_length(args[3]) not in (0, 1):
        raise GateError(_NO_BIT)
    meta = string(await tx.load(args[1]))
    at, mask = offset >> 3, 0x80 >> (offset & 7)
    check_length(tx, at + 1)
    editor = Editor(tx, args[1], meta)
    before = (await editor.read(at, at + 1))[0]
    await editor.write(at, bytes([before | mask if args[3] == b"1" else before & ~mask]))
    if editor.changes:  # else the key does not count as touched, as in Redis 7.0
        await editor.save()
    return int(before & mask > 0)


async def getbit(tx: Transaction, args: list[bytes]) -> Reply:
    """``GETBIT key offset``; behind the end all bits are 0."""
    offset = bit_offset(args[2])
    meta = string(await tx.load(args[1]))
    byte = b"" if meta is None else await part(tx, meta, offset >> 3, (offset >> 3) + 1)
    return byte[0] >> (7 - (offset & 7)) & 1 if byte else 0


def _unit(arg: bytes) -> int:
    """Bits in what a range counts: ``BYTE`` or ``BIT``."""
    found = {b"BYTE": 8, b"BIT": 1}.get(option(arg))
    if found is None:
        raise syntax_error()
    return found


async def _bits(tx: Transaction, meta: Meta, start: int, stop: int, low: int, high: int, outside: int) -> bytes:
    """The bytes from `start` to `stop` whose bits before bit `low` and from bit `high` on are set to `outside`."""
    found = await part(tx, meta, start, stop)
    if start * 8 < low < stop * 8 or start * 8 < high < stop * 8:
        edited = bytearray(found)
        if start * 8 < low:
            mask = 0xFF >> (low & 7)
            edited[0] = edited[0] & mask if not outside else edited[0] | ~mask & 0xFF
        if high < stop * 8:
            mask = ~(0xFF >> (high & 7)) & 0xFF
            edited[-1] = edited[-1] & mask if not outside else edited[-1] | ~mask & 0xFF
        return bytes(edited)
    return found


async def bitcount(tx: Transaction, args: list[bytes]) -> Reply:
    """``BITCOUNT key [start end [BYTE | BIT]]``."""
    meta = string(await tx.load(args[1]))
    if meta is None:
        return 0
    size, unit = length(meta), 8
    low, high = 0, size * 8
    if len(args) > 2:
        if len(args) not in (4, 5):
            raise syntax_error()
        start, end = parse_int64(args[2]), parse_int64(args[3])
        if start < 0 and end < 0 and start > end:
            return 0
        if len(args) == 5:
            unit = _unit(args[4])
        low, high = (position * unit for position in bounds(start, end, size * 8 // unit))
    tx.expects((high - low) // 8 * _COUNTING // CHUNK)
    total = 0
    for start, stop in pages(low // 8, -(-high // 8)):
        found = await _bits(tx, meta, start, stop, low, high, 0)
        total += sum(_number(found, at).bit_count() for at in range(0, len(found), _AT_ONCE))
    return total


def _number(data: bytes, at: int) -> int:
    """Up to `_AT_ONCE` bytes from `at` on, as one integer."""
    return int.from_bytes(data[at : at + _AT_ONCE], "big")


async def bitpos(tx: Transaction, args: list[bytes]) -> Reply:
    """``BITPOS key bit [start [end [BYTE | BIT]]]``."""
    bit = parse_int64(args[2])
    if bit not in (0, 1):
        raise GateError("ERR The bit argument must be 1 or 0.")
    meta = await tx.load(args[1])
    if meta is None:
        return -1 if bit else 0
    string(meta)
    size, unit = length(meta), 8
    low, high = 0, size * 8
    if len(args) > 3:
        if len(args) > 6:
            raise syntax_error()
        start = parse_int64(args[3])
        if len(args) == 6:
            unit = _unit(args[5])
        units = size * 8 // unit
        end = parse_int64(args[4]) if len(args) > 4 else units - 1
        low, high = _span(start, end, units)
        low, high = low * unit, high * unit
    if low >= high:
        return -1
    found = await _find(tx, meta, bit, low, high)
    if found < 0 and not bit and len(args) < 5:
        return size * 8  # without an end, what lies behind the string counts as zeros
    return found


def _span(start: int, end: int, size: int) -> tuple[int, int]:
    """As `bounds`, but two negative positions in the wrong order may still meet at 0."""
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    return start, min(end, size - 1) + 1


async def _find(tx: Transaction, meta: Meta, bit: int, low: int, high: int) -> int:
    """The first place from `low` to before `high` that holds `bit`, -1 when there is none."""
    tx.expects((high - low) // 8 * _SEARCHING // CHUNK)
    other = b"\x00" if bit else b"\xff"
    blank = other * _AT_ONCE
    for start, stop in pages(low // 8, -(-high // 8)):
        found = await _bits(tx, meta, start, stop, low, high, 1 - bit)
        for at in range(0, len(found), _AT_ONCE):
            piece = found[at : at + _AT_ONCE]
            if not blank.startswith(piece):
                rest = piece.lstrip(other)
                byte = rest[0] if bit else ~rest[0] & 0xFF
                return (start + at + len(piece) - len(rest)) * 8 + 8 - byte.bit_length()
    return -1


_OPERATIONS: Final[dict[bytes, Callable[[int, int], int]]] = {
    b"AND": operator.and_,
    b"OR": operator.or_,
    b"XOR": operator.xor,
}


async def bitop(tx: Transaction, args: list[bytes]) -> Reply:
    """``BITOP AND | OR | XOR | NOT destination key [key …]``; an empty result deletes the destination."""
    name = option(args[1])
    if name not in _OPERATIONS and name != b"NOT":
        raise syntax_error()
    if name == b"NOT" and len(args) != 4:
        raise GateError("ERR BITOP NOT must be called with a single source key.")
    sources = [string(meta) for meta in await tx.load_many(args[3:])]
    longest = max(map(length, sources))
    if not longest:
        await tx.remove(args[2])
        return 0
    result = bytearray()
    for start, stop in pages(0, longest):
        pieces = [await _piece(tx, meta, start, stop) for meta in sources]
        for at in range(0, stop - start, _AT_ONCE):
            size = min(_AT_ONCE, stop - start - at)
            numbers = [_number(piece, at) for piece in pieces]
            value = numbers[0] ^ (1 << 8 * size) - 1 if name == b"NOT" else reduce(_OPERATIONS[name], numbers)
            result += value.to_bytes(size, "big")
    await tx.put_string(args[2], bytes(result))
    return longest


async def _piece(tx: Transaction, meta: Meta | None, start: int, stop: int) -> bytes:
    """Zeros where the string has ended."""
    return (b"" if meta is None else await part(tx, meta, start, stop)).ljust(stop - start, b"\x00")


BITS: Final[Sequence[tuple[str, Handler]]] = (
    ("SETBIT", setbit),
    ("GETBIT", getbit),
    ("BITCOUNT", bitcount),
    ("BITPOS", bitpos),
    ("BITOP", bitop),
)
