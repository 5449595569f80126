"""String commands on a part of a value: APPEND, GETRANGE, SUBSTR, SETRANGE."""

from collections.abc import Sequence
from typing import Final

from kvgate.errors import GateError
from kvgate.model.numbers import parse_int64
from kvgate.model.strings_edit import Editor, check_length, length, part, string
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Reply


def bounds(start: int, end: int, size: int) -> tuple[int, int]:
    """Redis' two inclusive positions, from the end where negative, as a half-open range within `size`; 0, 0 when empty."""
    if start < 0 and end < 0 and start > end:
        return 0, 0
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    stop = min(end, size - 1) + 1
    return (start, stop) if start < stop else (0, 0)


async def append(tx: Transaction, args: list[bytes]) -> Reply:
    """``APPEND key value``."""
    meta = string(await tx.load(args[1]))
    if meta is not None:  # a value that is too long by itself does not come here
        check_length(tx, length(meta) + len(args[2]))
    editor = Editor(tx, args[1], meta)
    if args[2]:
        await editor.write(editor.size, args[2])
    await editor.save()
    return editor.size


async def getrange(tx: Transaction, args: list[bytes]) -> Reply:
    """``GETRANGE key start end``, and SUBSTR, its old name."""
    start, end = parse_int64(args[2]), parse_int64(args[3])
    meta = string(await tx.load(args[1]))
    if meta is None:
        return b""
    return await part(tx, meta, *bounds(start, end, length(meta)))


async def setrange(tx: Transaction, args: list[bytes]) -> Reply:
    """``SETRANGE key offset value``; an empty value changes nothing."""
    offset = parse_int64(args[2])
    if offset < 0:
        raise GateError("ERR offset is out of range")
    meta = string(await tx.load(args[1]))
    if not args[3]:
        return length(meta)
    check_length(tx, offset + len(args[3]))
    editor = Editor(tx, args[1], meta)
    await editor.write(offset, args[3])
    await editor.save()
    return editor.size


STRING_RANGES: Final[Sequence[tuple[str, Handler]]] = (
    ("APPEND", append),
    ("GETRANGE", getrange),
    ("SUBSTR", getrange),
    ("SETRANGE", setrange),
)
