"""Reply values, and their encoding in RESP2 and RESP3.

A reply is made of Python's own types wherever one fits: ``None`` is null, ``int`` an integer, ``bytes`` a bulk string,
``list`` an array. The other RESP types have a small class here. A handler returns such a value; `encode` turns it into the
bytes of the protocol that the client asked for, with Redis' own RESP2 fallbacks (a map is a flat array, a double a bulk
string, a boolean 1 or 0).
"""

from collections.abc import Callable
from typing import Final, Union

import attrs

from kvgate.errors import ProtocolError


class Raw(bytes):
    """One whole reply, already encoded; a plain `bytes` is a bulk string."""

    __slots__ = ()


@attrs.frozen(slots=True)
class Simple:
    """``+text``, without line ends."""

    text: bytes


@attrs.frozen(slots=True)
class Error:
    """``-text``, code first; line ends in it (a client's bytes shown back) are written as spaces, as Redis does."""

    text: bytes


@attrs.frozen(slots=True)
class Map:
    """Pairs in order: ``%n`` in RESP3, a flat array in RESP2."""

    pairs: "list[tuple[Reply, Reply]]"


@attrs.frozen(slots=True)
class PairsOf:
    """Pairs in order: an array of arrays of two in RESP3, a flat array in RESP2 (HRANDFIELD WITHVALUES)."""

    pairs: "list[tuple[Reply, Reply]]"


@attrs.frozen(slots=True)
class Bulks:
    """Bulk strings (or integers) in an array, encoded as they were read: a reply of a million of them would hold up every
    other thread while as many small objects are made one string, and freed."""

    count: int
    """Of strings."""
    pieces: "list[bytes]"
    """One or more whole strings each."""
    pairs: bool = False
    """Whether they are a map's keys and values."""


@attrs.frozen(slots=True)
class SetOf:
    """``~n`` in RESP3, an array in RESP2."""

    items: "list[Reply]"


@attrs.frozen(slots=True)
class Push:
    """``>n`` in RESP3, an array in RESP2 (pub/sub messages)."""

    items: "list[Reply]"


@attrs.frozen(slots=True)
class Double:
    """``,text`` in RESP3, a bulk string in RESP2; `text` as Redis prints it."""

    text: bytes


@attrs.frozen(slots=True)
class Boolean:
    """``#t``/``#f`` in RESP3, 1 or 0 in RESP2."""

    value: bool


@attrs.frozen(slots=True)
class BigNumber:
    """``(digits`` in RESP3, a bulk string in RESP2."""

    digits: bytes


@attrs.frozen(slots=True)
class Verbatim:
    """``=n txt:text`` in RESP3, a bulk string in RESP2."""

    text: bytes
    kind: bytes = b"txt"


class NullArray:
    """``*-1`` in RESP2 (a failed EXEC, a blocking pop that timed out), ``_`` in RESP3."""

    __slots__ = ()


NULL_ARRAY: Final = NullArray()
OK: Final = Simple(b"OK")

Reply = Union[
    None,
    int,
    bytes,
    "list[Reply]",
    Simple,
    Error,
    Map,
    PairsOf,
    Bulks,
    SetOf,
    Push,
    Double,
    Boolean,
    BigNumber,
    Verbatim,
    NullArray,
]


_OK: Final = Raw(b"+OK\r\n")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def encode(reply: Reply, proto: int = 2) -> Raw:
    """The bytes of `reply` in RESP `proto` (2 or 3)."""
    if isinstance(reply, bytes):  # most replies of a store are
        return Raw(b"$%d\r\n%b\r\n" % (len(reply), reply))
    if reply is OK:
        return _OK
    parts: list[bytes] = []
    _write(reply, proto, parts.append)
    return Raw(b"".join(parts))


def _write(reply: Reply, proto: int, put: "Callable[[bytes], None]") -> None:
    if isinstance(reply, bytes):
        put(b"$%d\r\n%b\r\n" % (len(reply), reply))
    elif isinstance(reply, bool):
        raise TypeError("a Python bool is no reply: say Boolean(…) or 1")
    elif isinstance(reply, int):
        put(b":%d\r\n" % reply)
    elif reply is None:
        put(b"$-1\r\n" if proto == 2 else b"_\r\n")
    elif isinstance(reply, Simple):
        put(b"+%b\r\n" % reply.text)
    elif isinstance(reply, Error):
        put(b"-%b\r\n" % reply.text.translate(_ONE_LINE))
    elif isinstance(reply, NullArray):
        put(b"*-1\r\n" if proto == 2 else b"_\r\n")
    elif isinstance(reply, list):
        _write_items(b"*", reply, proto, put)
    elif isinstance(reply, Map):
        put(b"*%d\r\n" % (2 * len(reply.pairs)) if proto == 2 else b"%%%d\r\n" % len(reply.pairs))
        for key, value in reply.pairs:
            _write(key, proto, put)
            _write(value, proto, put)
    elif isinstance(reply, PairsOf):
        if proto == 3:
            _write_items(b"*", [list(pair) for pair in reply.pairs], proto, put)
        else:
            _write_items(b"*", [word for pair in reply.pairs for word in pair], proto, put)
    elif isinstance(reply, Bulks):
        put(b"%%%d\r\n" % (reply.count // 2) if reply.pairs and proto == 3 else b"*%d\r\n" % reply.count)
        for piece in reply.pieces:
            put(piece)
    elif isinstance(reply, SetOf):
        _write_items(b"*" if proto == 2 else b"~", reply.items, proto, put)
    elif isinstance(reply, Push):
        _write_items(b"*" if proto == 2 else b">", reply.items, proto, put)
    else:
        _write_scalar(reply, proto, put)


def _write_items(sigil: bytes, items: "list[Reply]", proto: int, put: "Callable[[bytes], None]") -> None:
    put(b"%b%d\r\n" % (sigil, len(items)))
    for item in items:
        _write(item, proto, put)


def _write_scalar(reply: "Double | Boolean | BigNumber | Verbatim", proto: int, put: "Callable[[bytes], None]") -> None:
    """The RESP3 scalars, which are bulk strings or integers in RESP2."""
    if isinstance(reply, Boolean):
        put((b"#t\r\n" if reply.value else b"#f\r\n") if proto == 3 else b":%d\r\n" % reply.value)
    elif isinstance(reply, Double):
        put(b",%b\r\n" % reply.text if proto == 3 else encode(reply.text))
    elif isinstance(reply, BigNumber):
        put(b"(%b\r\n" % reply.digits if proto == 3 else encode(reply.digits))
    else:
        text = reply.kind + b":" + reply.text
        put(b"=%d\r\n%b\r\n" % (len(text), text) if proto == 3 else encode(reply.text))


def decode(raw: bytes) -> Reply:
    """The value of one whole reply; what `encode` gave in RESP3 comes back equal (`NULL_ARRAY` as None).

    Raises:
        ProtocolError: when `raw` is not exactly one reply.
    """
    reply, end = decode_at(raw, 0)
    if end != len(raw):
        raise ProtocolError("Protocol error: bytes after the end of a reply")
    return reply


def decode_at(raw: bytes, pos: int) -> tuple[Reply, int]:
    """The value of the whole reply at `pos`, and the position after it.

    Raises:
        ProtocolError: when no whole reply stands there.
    """
    at = raw.find(b"\r\n", pos)
    if at < 0:
        raise ProtocolError("Protocol error: a reply ends too early")
    sigil, text, after = raw[pos : pos + 1], raw[pos + 1 : at], at + 2
    line = _LINE_TYPES.get(sigil)
    try:
        if line is not None:
            return line(text), after
        if sigil not in _SIZED:
            raise ProtocolError(f"Protocol error: {sigil!r} begins no reply")
        length = int(text)
    except ValueError:
        raise ProtocolError(f"Protocol error: {raw[pos:at][:32]!r} has no number") from None
    if sigil in (b"$", b"=", b"!"):
        return _decode_bulk(raw, sigil, length, after)
    if sigil == b"|":  # attributes describe the reply behind them; nothing here needs them
        for _ in range(2 * length):
            _, after = decode_at(raw, after)
        return decode_at(raw, after)
    if length < 0:
        return NULL_ARRAY, after
    items: list[Reply] = []
    for _ in range(2 * length if sigil == b"%" else length):
        item, after = decode_at(raw, after)
        items.append(item)
    if sigil == b"%":
        return Map(list(zip(items[::2], items[1::2], strict=True))), after
    return SetOf(items) if sigil == b"~" else Push(items) if sigil == b">" else items, after


def _decode_bulk(raw: bytes, sigil: bytes, length: int, after: int) -> tuple[Reply, int]:
    if length < 0:
        return None, after
    end = after + length
    if end + 2 > len(raw):
        raise ProtocolError("Protocol error: a reply ends too early")
    text = raw[after:end]
    if sigil == b"!":
        return Error(text), end + 2
    if sigil == b"=":
        return Verbatim(text[4:], text[:3]), end + 2
    return text, end + 2


_SIZED = frozenset((b"$", b"=", b"!", b"*", b"~", b">", b"%", b"|"))
_LINE_TYPES: "dict[bytes, Callable[[bytes], Reply]]" = {
    b"+": Simple,
    b"-": Error,
    b":": int,
    b"_": lambda _text: None,
    b"#": lambda text: Boolean(text == b"t"),
    b",": Double,
    b"(": BigNumber,
}
