"""BITFIELD and BITFIELD_RO: integers of any width inside a string."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.errors import GateError, syntax_error
from kvgate.model.bits import bit_offset
from kvgate.model.numbers import parse_int64
from kvgate.model.options import option
from kvgate.model.strings_edit import Editor, check_length, string
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply
from kvgate.wire.request import parse_length

_WRAPS: Final = 1 << 64


@attrs.frozen(slots=True)
class _Width:
    """``i1`` to ``i64``, ``u1`` to ``u63``."""

    signed: bool
    bits: int

    @property
    def least(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def most(self) -> int:
        return (1 << self.bits - self.signed) - 1

    def of(self, value: int) -> int:
        """What the lowest bits of `value` mean."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value > self.most else value


@attrs.frozen(slots=True)
class _Operation:
    name: bytes
    width: _Width
    offset: int
    number: int = 0
    overflow: bytes = b"WRAP"

    @property
    def bytes_range(self) -> tuple[int, int]:
        return self.offset >> 3, -(-(self.offset + self.width.bits) // 8)


def _width(text: bytes) -> _Width:
    bits = parse_length(text[1:])
    if text[:1] in (b"i", b"u") and bits is not None and 0 < bits <= (64 if text[:1] == b"i" else 63):
        return _Width(text[:1] == b"i", bits)
    raise GateError("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")


_VALUES: Final = {b"GET": 2, b"SET": 3, b"INCRBY": 3}
_OVERFLOWS: Final = (b"WRAP", b"SAT", b"FAIL")


def _parse(args: list[bytes], *, readonly: bool) -> list[_Operation]:
    """The subcommands.

    Raises:
        GateError: Redis' text for the first mistake in them, from left to right.
    """
    found: list[_Operation] = []
    overflow, at = b"WRAP", 2
    while at < len(args):
        name, left = option(args[at]), len(args) - at - 1
        if name == b"OVERFLOW" and left:
            overflow = option(args[at + 1])
            if overflow not in _OVERFLOWS:
                raise GateError("ERR Invalid OVERFLOW type specified")
            at += 2
            continue
        if left < _VALUES.get(name, len(args)):
            raise syntax_error()
        width = _width(args[at + 1])
        offset = bit_offset(args[at + 2], width.bits)
        number = 0 if name == b"GET" else parse_int64(args[at + 3])
        found.append(_Operation(name, width, offset, number, overflow))
        at += 1 + _VALUES[name]
    if readonly and any(one.name != b"GET" for one in found):
        raise GateError("ERR BITFIELD_RO only supports the GET subcommand")
    return found


def _signed64(value: int) -> int:
    return (value + _WRAPS // 2) % _WRAPS - _WRAPS // 2


def _beyond(width: _Width, value: int, step: int) -> int:
    """1 when `value` + `step` is too large for the width, -1 when too small, 0 when it fits."""
    if width.signed:
        # Redis' order and arithmetic: room is counted in 64 bits, where it wraps for a SET far below the least value
        room, depth = _signed64(width.most - value), _signed64(width.least - value)
        if value > width.most or (width.bits < 64 and step > room) or (value >= 0 and step > max(room, 0)):
            return 1
        if value < width.least or (width.bits < 64 and step < depth) or (value < 0 and step < min(depth, 0)):
            return -1
        return 0
    if value > width.most or step > width.most - value:
        return 1
    return -1 if step < -value else 0


def _result(operation: _Operation, before: int) -> int | None:
    """The new number, None when it does not fit and OVERFLOW is FAIL."""
    width, number = operation.width, operation.number
    if operation.name == b"SET":
        before, number = (number if width.signed else number % _WRAPS), 0
    beyond = _beyond(width, before, number)
    if not beyond:
        return before + number
    if operation.overflow == b"FAIL":
        return None
    if operation.overflow == b"SAT":
        return width.most if beyond > 0 else width.least
    return width.of(before + number)


async def _run(editor: Editor, operation: _Operation) -> Reply:
    width, (start, stop) = operation.width, operation.bytes_range
    shift = stop * 8 - operation.offset - width.bits
    around = int.from_bytes(await editor.read(start, stop), "big")
    before = width.of(around >> shift)
    if operation.name == b"GET":
        return before
    after = _result(operation, before)
    if after is None:
        return None
    mask = (1 << width.bits) - 1
    around = around & ~(mask << shift) | (after & mask) << shift
    await editor.write(start, around.to_bytes(stop - start, "big"))
    return before if operation.name == b"SET" else after


async def _bitfield(tx: Transaction, args: list[bytes], *, readonly: bool) -> Reply:
    operations = _parse(args, readonly=readonly)
    editor = Editor(tx, args[1], string(await tx.load(args[1])))
    writes = [operation for operation in operations if operation.name != b"GET"]
    if writes:
        size = max(operation.bytes_range[1] for operation in writes)
        check_length(tx, size)
        editor.size = max(editor.size, size)  # also when none of them fits, as in Redis
    await editor.load([operation.bytes_range for operation in operations])
    replies = [await _run(editor, operation) for operation in operations]
    if editor.changes:  # else the key does not count as touched, as in Redis 7.0
        await editor.save()
    return replies


async def bitfield(tx: Transaction, args: list[bytes]) -> Reply:
    """``BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset n | INCRBY type offset n …]``."""
    return await _bitfield(tx, args, readonly=False)


async def bitfield_ro(tx: Transaction, args: list[bytes]) -> Reply:
    """``BITFIELD_RO key [GET type offset …]``."""
    return await _bitfield(tx, args, readonly=True)


BIT_FIELDS: Final[Sequence[tuple[str, Handler]]] = (
    ("BITFIELD", bitfield),
    ("BITFIELD_RO", bitfield_ro),
)
