"""Where a reply ends: measuring RESP2 and RESP3 replies without decoding them.

`measure` looks at a reply that lies whole in one buffer, `Measurer` follows one over any number of portions and looks at
each byte once. What comes from a store is trusted to be RESP; a first byte that begins no reply raises.
"""

import re

from kvgate.errors import ProtocolError

_LINES = frozenset(b"+-:_#,(")
_BULKS = frozenset(b"$=!")
_AGGREGATES = {0x2A: 1, 0x7E: 1, 0x3E: 1, 0x25: 2, 0x7C: 2}  # * ~ > hold n values, % and | n pairs
_KINDS = _LINES | _BULKS | _AGGREGATES.keys()
_ATTRIBUTE = 0x7C
_RUN = 8  # from this many values on, a run of them is worth to be looked at as a whole
_FIRST_LOOK = 3  # an aggregate's header (or the rest of a cut one) and two values, which show whether they are equally long


def _plain_value() -> str:
    """A pattern of one value: a line, null, or a string of up to 999 bytes.

    A regular expression cannot count, so the lengths are spelled out, as a tree of their digits: ``.{430}`` behind ``$430``
    is one addition for the matcher, and a value costs it a tenth of what a turn of the loop in `measure` does. A value is an
    atomic group: there is one way to read RESP, and none to come back to.
    """

    def behind(digits: str) -> str:
        longer = [f"{digit}{behind(digits + digit)}" for digit in "0123456789"] if digits != "0" and len(digits) < 3 else []
        return f"(?:{'|'.join([f'{_EOL}.{{{digits}}}', *longer])})"

    lengths = "|".join(f"{digit}{behind(digit)}" for digit in "0123456789")
    return rf"(?>[$=!](?:{lengths}|-1){_EOL}|[-+:_#,(][^\n]*+\n)"


_SHORT = {b"$%d\r\n" % length: length for length in range(1024)}
_FEW = {b"*%d\r\n" % count: count for count in range(64)}
"""What the usual headers say."""

_EOL = "\r\n"
_BLOCK = re.compile(f"{_plain_value()}{{{_RUN}}}".encode(), re.DOTALL).match


def measure(data: bytes, pos: int) -> int:
    """The position after the reply that begins at `pos`, or -1 when `data` ends before it does.

    Raises:
        ProtocolError: when the bytes at `pos` (or inside an aggregate) begin no reply.
    """
    left, size, find, before = 1, len(data), data.find, b""
    look, pause = _FIRST_LOOK, _RUN
    while left:
        if left >= _RUN:
            if not look:
                left, pos, look = _skip_blocks(data, pos, left, pause)
                pause = 2 * look
                continue
            look -= 1
        at = find(b"\n", pos)
        if at < 0:
            return _unfinished(data, pos)
        kind = data[pos]
        left -= 1
        if kind in _BULKS:
            header = data[pos : at + 1]
            known = _SHORT.get(header)
            length = _number(header) if known is None else known
            pos = at + 1 if length < 0 else at + 3 + length
            if header == before and left >= _RUN:
                left, pos = _equal_run(data, pos, left, header, length)
            before = header
        elif kind in _LINES:
            pos = at + 1
        else:
            header = data[pos : at + 1]
            known = _FEW.get(header)
            left += _values(header) if known is None else known
            pos = at + 1
    return pos if pos <= size else -1


def _unfinished(data: bytes, pos: int) -> int:
    """-1, since the line at `pos` has no end yet; but what begins no reply is not waited for."""
    if pos < len(data) and data[pos] not in _KINDS:
        raise ProtocolError(f"Protocol error: {data[pos : pos + 1]!r} begins no reply")
    return -1


def _number(header: bytes) -> int:
    try:
        return int(header[1:-2])
    except ValueError:
        raise ProtocolError(f"Protocol error: {header[:32]!r} has no length") from None


def _skip_blocks(data: bytes, pos: int, left: int, pause: int) -> tuple[int, int, int]:
    """Step over as many whole blocks of plain values as stand at `pos`.

    Gives the values left, the position, and how many values to take one by one before the next try: `pause`, which its
    caller doubles from vain try to vain try, so that long or nested values cost few of them; a few after a good one.
    """
    while left >= _RUN and (block := _BLOCK(data, pos)):
        pos = block.end()
        left -= _RUN
        pause = _RUN
    return left, pos, pause


def _equal_run(data: bytes, pos: int, left: int, header: bytes, length: int) -> tuple[int, int]:
    """Step over bulk strings that have the same header as the one before, many in one comparison.

    A list of equally long values (counters, ids, candles) costs a few slices that way and not a step for each value. Each
    header stands a whole stride after the one before, so that comparing strided slices with it compares every header.
    """
    if length < 0 or pos > len(data):
        return left, pos
    stride = len(header) + length + 2
    many = _RUN
    while left:
        many = min(many, left, (len(data) - pos) // stride)
        end = pos + stride * many
        if not many or any(data[pos + i : end : stride] != header[i : i + 1] * many for i in range(len(header))):
            break
        pos = end
        left -= many
        many *= 8
    return left, pos


def _values(header: bytes) -> int:
    """How many further values an aggregate's header asks for."""
    per = _AGGREGATES.get(header[0])
    if per is None:
        raise ProtocolError(f"Protocol error: {header[:1]!r} begins no reply")
    count = _number(header)
    if header[0] == _ATTRIBUTE:
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
        look, pause, size, before = _FIRST_LOOK, _RUN, len(data), b""
        if self._skip:
            step = min(self._skip, size - pos)
            self._skip -= step
            pos += step
            if self._skip:
                return -1
        while self._left:
            if self._left >= _RUN:
                if not look:
                    self._left, pos, look = _skip_blocks(data, pos, self._left, pause)
                    pause = 2 * look
                    continue
                look -= 1
            at = data.find(b"\n", pos)
            if at < 0:
                self._line += data[pos:]
                return _unfinished(self._line, 0)
            line = self._line + data[pos : at + 1]
            self._line = b""
            pos = at + 1
            self._left -= 1
            if line[0] in _BULKS:
                length = _number(line)
                if length >= 0:
                    if pos + length + 2 > size:
                        self._skip = pos + length + 2 - size
                        return -1
                    pos += length + 2
                    if line == before and self._left >= _RUN:
                        self._left, pos = _equal_run(data, pos, self._left, line, length)
                before = line
            elif line[0] not in _LINES:
                self._left += _values(line)
        return pos
