"""Where a reply ends: measuring RESP2 and RESP3 replies without decoding them.

`measure` looks at a reply that lies whole in one buffer, `Measurer` follows one over any number of portions and looks at
each byte once. What comes from a store is trusted to be RESP; a first byte that begins no reply raises.
"""

from kvgate.errors import ProtocolError

_LINES = frozenset(b"+-:_#,(")
_BULKS = frozenset(b"$=!")
_AGGREGATES = {0x2A: 1, 0x7E: 1, 0x3E: 1, 0x25: 2, 0x7C: 2}  # * ~ > hold n values, % and | n pairs
_ATTRIBUTE = 0x7C
_EQUAL_RUN = 8  # this many equal bulk headers in a row and whole strides of them are compared at once


def measure(data: bytes, pos: int) -> int:
    """The position after the reply that begins at `pos`, or -1 when `data` ends before it does.

    Raises:
        ProtocolError: when the bytes at `pos` (or inside an aggregate) begin no reply.
    """
    left, size, find, before = 1, len(data), data.find, b""
    while left:
        at = find(b"\n", pos)
        if at < 0:
            return -1
        kind = data[pos]
        left -= 1
        if kind in _BULKS:
            header = data[pos : at + 1]
            length = int(header[1:-2])
            pos = at + 1 if length < 0 else at + 3 + length
            if header == before and left >= _EQUAL_RUN:
                left, pos = _equal_run(data, pos, left, header, length)
            before = header
        elif kind in _LINES:
            pos = at + 1
        else:
            left += _values(data, pos, at)
            pos = at + 1
    return pos if pos <= size else -1


def _equal_run(data: bytes, pos: int, left: int, header: bytes, length: int) -> tuple[int, int]:
    """Step over bulk strings that have the same header as the one before, many in one comparison.

    A list of equally long values (counters, ids, candles) costs a few slices that way and not a step for each value. Each
    header stands a whole stride after the one before, so that comparing strided slices with it compares every header.
    """
    if length < 0 or pos > len(data):
        return left, pos
    stride = len(header) + length + 2
    many = _EQUAL_RUN
    while left:
        many = min(many, left, (len(data) - pos) // stride)
        end = pos + stride * many
        if not many or any(data[pos + i : end : stride] != header[i : i + 1] * many for i in range(len(header))):
            break
        pos = end
        left -= many
        many *= 8
    return left, pos


def _values(data: bytes, pos: int, at: int) -> int:
    """How many further values the aggregate header ``data[pos:at]`` asks for."""
    per = _AGGREGATES.get(data[pos])
    if per is None:
        raise ProtocolError(f"Protocol error: {bytes(data[pos : pos + 1])!r} begins no reply")
    count = int(data[pos + 1 : at - 1])
    if data[pos] == _ATTRIBUTE:
        return 2 * count + 1  # an attribute stands before the reply that it belongs to
    return per * count if count > 0 else 0


class Measurer:
    """Follows one reply over several portions: ``feed`` each portion until it gives a position."""

    __slots__ = ("_left", "_line", "_skip")

    def __init__(self) -> None:
        """Stand before the first byte of a reply."""
        self._left = 1  # values still to come
        self._skip = 0  # bytes of the present bulk string (its line end included) still to come
        self._line = b""  # the beginning of a header whose end has not come

    def feed(self, data: bytes, pos: int) -> int:
        """The position in `data` after the reply, or -1 when all of ``data[pos:]`` belongs to it and more is to come.

        Raises:
            ProtocolError: as `measure`.
        """
        size, before = len(data), b""
        if self._skip:
            step = min(self._skip, size - pos)
            self._skip -= step
            pos += step
            if self._skip:
                return -1
        while self._left:
            at = data.find(b"\n", pos)
            if at < 0:
                self._line += data[pos:]
                return -1
            line = self._line + data[pos : at + 1]
            self._line = b""
            pos = at + 1
            self._left -= 1
            if line[0] in _BULKS:
                length = int(line[1:-2])
                if length >= 0:
                    if pos + length + 2 > size:
                        self._skip = pos + length + 2 - size
                        return -1
                    pos += length + 2
                    if line == before and self._left >= _EQUAL_RUN:
                        self._left, pos = _equal_run(data, pos, self._left, line, length)
                before = line
            elif line[0] not in _LINES:
                self._left += _values(line, 0, len(line) - 1)
        return pos
