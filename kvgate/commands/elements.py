"""How many elements a request carries, and which of its arguments are names of hash fields: what limits on both count."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.commands.spec import CommandSpec


@attrs.frozen(slots=True)
class Elements:
    """Where the elements of a request are: from argument `first`, `step` arguments each, but for the last `behind`."""

    first: int
    step: int = 1
    behind: int = 0
    options: frozenset[bytes] = frozenset()
    """Words that may stand before the first element."""

    def most(self, arguments: int) -> int:
        """How many elements a request of so many arguments can have."""
        return max(0, -((self.first + self.behind - arguments) // self.step))

    def count(self, args: Sequence[bytes]) -> int:
        """How many elements the request has."""
        first = self.first
        while first < len(args) and args[first].upper() in self.options:
            first += 1
        return max(0, -((first + self.behind - len(args)) // self.step))


_ZADD: Final = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})
_GEOADD: Final = frozenset({b"NX", b"XX", b"CH"})

ELEMENTS: Final[dict[str, Elements]] = {
    # keys
    **dict.fromkeys(("DEL", "EXISTS", "MGET", "PFCOUNT", "PFMERGE", "TOUCH", "UNLINK", "WATCH"), Elements(1)),
    **dict.fromkeys(("SDIFF", "SINTER", "SUNION"), Elements(1)),
    **dict.fromkeys(("SDIFFSTORE", "SINTERSTORE", "SUNIONSTORE"), Elements(2)),
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMAX", "BZPOPMIN"), Elements(1, behind=1)),
    **dict.fromkeys(("MSET", "MSETNX"), Elements(1, 2)),
    "BITOP": Elements(3),
    # fields, members, entries of one key
    **dict.fromkeys(("HDEL", "HMGET", "EXHDEL", "EXHMGET", "EXHMGETWITHVER"), Elements(2)),
    **dict.fromkeys(("HSET", "HMSET", "EXHMSET", "EXHDELWITHVER"), Elements(2, 2)),
    "EXHMSETWITHOPTS": Elements(2, 4),
    **dict.fromkeys(("LPUSH", "LPUSHX", "RPUSH", "RPUSHX"), Elements(2)),
    **dict.fromkeys(("SADD", "SREM", "SMISMEMBER"), Elements(2)),
    **dict.fromkeys(("ZREM", "ZMSCORE"), Elements(2)),
    "ZADD": Elements(2, 2, options=_ZADD),
    **dict.fromkeys(("GEOHASH", "GEOPOS"), Elements(2)),
    "GEOADD": Elements(2, 3, options=_GEOADD),
    "PFADD": Elements(2),
    "XACK": Elements(3),
    "XADD": Elements(3, 2),  # options count as fields, at most three of them
    "XCLAIM": Elements(5),
    "XDEL": Elements(2),
    **dict.fromkeys(("BITFIELD", "BITFIELD_RO"), Elements(2, 3)),
}
"""Commands that take any number of elements. Of every other command the keys are counted."""


_EVERY_OTHER: Final = ("HSET", "HMSET", "EXHMSET")
_ONE: Final = (
    *("HSETNX", "HINCRBY", "HINCRBYFLOAT"),
    *("EXHSET", "EXHSETNX", "EXHINCRBY", "EXHINCRBYFLOAT", "EXHSETVER"),
)
FIELDS: Final[dict[str, slice]] = {
    **dict.fromkeys(_EVERY_OTHER, slice(2, None, 2)),
    **dict.fromkeys(_ONE, slice(2, 3)),
    "EXHMSETWITHOPTS": slice(2, None, 4),
}
"""Commands that may make fields of hashes → where their names are. Reading or deleting a field that is too long finds none."""


def elements(spec: CommandSpec, args: Sequence[bytes], keys: int) -> int:
    """How many elements the request has; `keys` is how many keys it names."""
    found = ELEMENTS.get(spec.name)
    return keys if found is None else found.count(args)


def most_elements(spec: CommandSpec, arguments: int) -> int:
    """How many elements a request of one key and so many arguments, its name among them, can have."""
    found = ELEMENTS.get(spec.name)
    return 1 if found is None else found.most(arguments)


def fields(spec: CommandSpec, args: Sequence[bytes]) -> Sequence[bytes]:
    """The names of fields that the request may make."""
    where = FIELDS.get(spec.name)
    return () if where is None else args[where]
