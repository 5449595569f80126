"""What each type of backend offers, as far as an assessment asks: taken from the adapters that are installed."""

from typing import Final

import attrs

from kvgate.backend import Adapter
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name, supports

KINDS: Final = {
    "string": ("SET", "GET"),
    "hash": ("HSET", "HGET"),
    "list": ("LPUSH", "LRANGE"),
    "set": ("SADD", "SMEMBERS"),
    "zset": ("ZADD", "ZRANGE"),
    "stream": ("XADD", "XRANGE"),
    "exstrtype": ("EXSET", "EXGET"),
    "tairhash-": ("EXHSET", "EXHGET"),
}
"""Type as TYPE answers → the commands without which a store has no use for it."""
NAMES: Final = {
    "string": "strings",
    "hash": "hashes",
    "list": "lists",
    "set": "sets",
    "zset": "sorted sets",
    "stream": "streams",
    "exstrtype": "versioned strings",
    "tairhash-": "versioned hashes",
}
"""For people."""


@attrs.frozen(slots=True)
class Store:
    """One type of backend."""

    type: str
    capabilities: frozenset[str] = attrs.field(repr=False)
    max_value: int | None
    """Bytes of one argument, where no configuration says more; None: no limit."""
    largest_value: int | None
    """That configuration may raise it to."""
    many_read: int | None
    """Elements from which on a command that reads all of them may be refused for lack of time; None: any number."""
    most_read: int | None
    """Elements from which on it is always refused."""

    def does(self, spec: CommandSpec) -> bool:
        """Whether the command works there, through the gate."""
        return spec.action is not Action.REFUSE and supports(spec, self.capabilities)

    def has(self, kind: str) -> bool:
        """Whether keys of that type may lie there."""
        names = KINDS.get(kind)
        specs = [by_full_name(name.encode()) for name in names or ()]
        return bool(specs) and all(spec is not None and self.does(spec) for spec in specs)

    @property
    def takes_versioned(self) -> bool:
        """Whether versioned keys ask for ``versioned = true``: where bytes are passed on to a store that may lack them."""
        return self.has("tairhash-") and "script" in self.capabilities


def store_of(found: Adapter) -> Store:
    """What an adapter's capabilities and defaults say."""
    limits = found.defaults
    largest = limits.get("max_value")
    return Store(
        type=found.type,
        capabilities=found.capabilities,
        max_value=largest,
        largest_value=limits.get("largest_value", largest),
        many_read=limits.get("many_read"),
        most_read=limits.get("most_read"),
    )
