"""Reply values, and their encoding in RESP2 and RESP3.

A reply is made of Python's own types wherever one fits: ``None`` is null, ``int`` an integer, ``bytes`` a bulk string,
``list`` an array. The other RESP types have a small class here. A handler returns such a value; `encode` turns it into the
bytes of the protocol that the client asked for, with Redis' own RESP2 fallbacks (a map is a flat array, a double a bulk
string, a boolean 1 or 0).
"""

from typing import Final, NewType, Union

import attrs

Raw = NewType("Raw", bytes)
"""One whole reply, already encoded."""


@attrs.frozen(slots=True)
class Simple:
    """``+text``, without line ends."""

    text: bytes


@attrs.frozen(slots=True)
class Error:
    """``-text``, without line ends, code first."""

    text: bytes


@attrs.frozen(slots=True)
class Map:
    """Pairs in order: ``%n`` in RESP3, a flat array in RESP2."""

    pairs: "list[tuple[Reply, Reply]]"


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

Reply = Union[  # noqa: UP007 - a recursive alias with forward references needs the old form on 3.11
    None, int, bytes, "list[Reply]", Simple, Error, Map, SetOf, Push, Double, Boolean, BigNumber, Verbatim, NullArray
]
