"""How a store that speaks the Redis protocol differs from Redis: the values that tell the adapters apart."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs

from kvgate.errors import GateError
from kvgate.wire.reply import Reply

CURSOR_LIMIT = 1 << 41
"""What `Listing` promises of a cursor; the gate puts 12 bits of its own before it, and clients compute with doubles."""

Ask = Callable[[Sequence[bytes]], Awaitable[Reply]]
"""Sends one command to the shard in question, by its name in Redis; raises GateError, for an error reply too."""


class Cursors(Protocol):
    """How the store's own cursors become numbers below `CURSOR_LIMIT`, and back."""

    async def outgoing(self, cursor: bytes, ask: Ask) -> int:
        """The number that a client gets for the store's `cursor`, which is not ``0``."""

    async def incoming(self, number: int, ask: Ask) -> bytes:
        """The store's cursor for a number (not 0) that `outgoing` gave, here or in another gate. Raises GateError."""


class PlainCursors:
    """Redis' own: bits of a position in a hash table, below its size; 2**41 buckets would need terabytes."""

    async def outgoing(self, cursor: bytes, ask: Ask) -> int:
        """See `Cursors`."""
        del ask
        number = int(cursor)
        if number >= CURSOR_LIMIT:
            raise GateError('ERR the cursors of this store do not fit; say type = "kvrocks" if it is one')
        return number

    async def incoming(self, number: int, ask: Ask) -> bytes:
        """See `Cursors`."""
        del ask
        return b"%d" % number


@attrs.frozen(slots=True)
class Dialect:
    """One kind of store."""

    type: str
    capabilities: frozenset[str]
    cursors: Cursors
    users: bool = True
    """AUTH takes a user."""
    counts: bool = True
    """DBSIZE is exact and quick. Else keys are counted by SCAN."""
    globs: bool = True
    """SCAN's MATCH takes any pattern. Else only a literal beginning and a star at the end are sent."""
    scan_types: frozenset[bytes] | None = None
    """The words that SCAN's TYPE takes, where others are an error; in Redis they match no key."""
    flush: tuple[bytes, ...] = (b"FLUSHDB", b"ASYNC")
    """Empties the database of the connection."""
