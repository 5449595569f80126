"""KvRocks' SCAN cursors, which do not fit into 2**41: kept in the store itself, under a number that does.

With ``redis-cursor-compatible yes`` (the default since 2.8) a cursor is a number with a type in bits 61 to 63; else it is
the last key with a ``_`` before it. Either way it is kept as it came, in an internal key of the shard that gave it, so that
every worker and every gate can go on with it. KvRocks itself remembers only its last 16,384 numeric cursors, and begins
anew, without an error, for one that it has forgotten: then keys come twice, as SCAN may.
"""

import secrets

from kvgate.backend import INTERNAL_PREFIX
from kvgate.errors import GateError, try_again
from kvgate.wire.reply import Reply, Simple
from kvgate_redis.dialect import CURSOR_LIMIT, Ask

KEPT_SECONDS = 3600
"""How long a client may take between two pages."""
KEPT_AFTER_USE = 300
"""How long a page may be asked for again (its reply was lost, say). Shorter, so that a long scan leaves few keys behind."""
TRIES = 4
"""Numbers tried, should one be taken; of 2**41, so never in practice."""


class StoredCursors:
    """`Cursors` (see kvgate_redis.dialect)."""

    async def outgoing(self, cursor: bytes, ask: Ask) -> int:
        """Keep the cursor under a random number, that no other gate uses now."""
        for _ in range(TRIES):
            number = 1 + secrets.randbelow(CURSOR_LIMIT - 1)
            kept = await _sent(ask, b"SET", _key(number), cursor, b"NX", b"EX", b"%d" % KEPT_SECONDS)
            if isinstance(kept, Simple):
                return number
        raise try_again("no number was free for the cursor")

    async def incoming(self, number: int, ask: Ask) -> bytes:
        """The cursor kept under the number.

        Raises:
            GateError: Redis' ``ERR invalid cursor``: it never was, or is too old; beginning anew silently might never end.
        """
        cursor = await _sent(ask, b"GETEX", _key(number), b"EX", b"%d" % KEPT_AFTER_USE)
        if not isinstance(cursor, bytes):
            raise GateError("ERR invalid cursor")
        return cursor


def _key(number: int) -> bytes:
    return INTERNAL_PREFIX + b"cursor:%d" % number


async def _sent(ask: Ask, *args: bytes) -> Reply:
    """Ask; a write of our own that is in doubt changes no data, so that the client may simply scan again."""
    try:
        return await ask(args)
    except GateError as error:
        if error.text.startswith("INDOUBT"):
            raise try_again("the store went away while it kept the cursor") from error
        raise
