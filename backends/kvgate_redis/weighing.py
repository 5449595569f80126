"""`Weighing` over the shards of a store: SCAN in pages with pauses, and of a sample of the keys MEMORY USAGE, TYPE and length.

Every key is counted, up to `MOST_KEYS`; what a SCAN of a Redis finds first is a fair sample of what there is, since it goes
by hashes of the keys with a secret of the server's own. Each n-th key is asked for its size, so that about `MOST_SIZES` are.
"""

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

import trio

from kvgate.backend import INTERNAL_PREFIX, Scale
from kvgate.errors import GateError
from kvgate.wire.reply import Error, Reply, Simple

PAGE: Final = 500
"""COUNT of a page: about 0.2 ms of Redis' one thread."""
BATCH: Final = 100
"""Keys that are asked for their size together: about 0.3 ms of it, and 1 ms of the lane."""
MOST_KEYS: Final = 5_000_000
"""Keys of a shard that are counted: some minutes. Beyond it the rest is taken to be like them."""
MOST_SIZES: Final = 100_000
"""Keys of a shard that are asked for their size."""
REST: Final = 4.0
"""Pauses are so many times as long as the answers before them took: a store that has much to do is asked less often."""
ANSWER_SECONDS: Final = 1.5
COUNTED_ONCE: Final = 200_000
"""As in kvgate_redis.listing: keys that are remembered, since SCAN gives a few of them twice while the table changes."""
LENGTHS: Final = {
    b"hash": b"HLEN",
    b"list": b"LLEN",
    b"set": b"SCARD",
    b"zset": b"ZCARD",
    b"stream": b"XLEN",
}
"""Type → the command that tells the number of elements."""


class AskMany(Protocol):
    """Sends commands to a shard in one piece."""

    def __call__(self, shard: int, requests: Sequence[Sequence[bytes]]) -> Awaitable[Sequence[Reply]]:
        """Decoded RESP2 replies, errors as `Error` values. Raises GateError."""


class KeyWeighing:
    """Weighs one shard after the other."""

    def __init__(self, ask: AskMany, *, counts: bool) -> None:
        """`counts`: DBSIZE is exact and quick (kvgate_redis.dialect.Dialect)."""
        self._ask = ask
        self._counts = counts

    async def weigh(self, shard: int, scale: Scale) -> None:
        """As `Weighing.weigh`."""
        step, number, walked, cursor = 1, 0, 0, b"0"
        if self._counts:
            (size,) = await self._asked(shard, [[b"DBSIZE"]])
            scale.expected = size if isinstance(size, int) else 0
            step = 1 + (scale.expected - 1) // MOST_SIZES if scale.expected else 1
        scale.partly = step > 1
        chosen: list[bytes] = []
        seen: set[int] = set()
        while True:
            began = trio.current_time()
            cursor, keys = await self._page(shard, cursor)
            keys = [key for key in dict.fromkeys(keys) if hash(key) not in seen]
            if len(seen) < COUNTED_ONCE:
                seen.update(map(hash, keys))
            walked += len(keys)
            for key in keys:
                if not key.startswith(INTERNAL_PREFIX) and scale.found(key):
                    number += 1
                    if number % step == 0:
                        chosen.append(key)
            enough = walked >= MOST_KEYS
            while len(chosen) >= BATCH or (chosen and (enough or cursor == b"0")):
                await self._sizes(shard, chosen[:BATCH], scale)
                del chosen[:BATCH]
                await trio.sleep((trio.current_time() - began) * REST)
                began = trio.current_time()
            if cursor == b"0":
                return
            if enough:
                scale.partly = True
                return
            if not self._counts and number > MOST_SIZES * step:  # how many there are is found out by and by
                step *= 2
                scale.partly = True
            await trio.sleep((trio.current_time() - began) * REST)

    async def _page(self, shard: int, cursor: bytes) -> tuple[bytes, list[bytes]]:
        (reply,) = await self._asked(shard, [[b"SCAN", cursor, b"COUNT", b"%d" % PAGE]])
        if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes) and isinstance(reply[1], list):
            return reply[0], [key for key in reply[1] if isinstance(key, bytes)]
        raise GateError("ERR the store's answer to SCAN is none")

    async def _sizes(self, shard: int, keys: Sequence[bytes], scale: Scale) -> None:
        """Two rounds: what each key is and takes, then how long those are that have elements. What is gone weighs nothing."""
        asked: list[Sequence[bytes]] = [request for key in keys for request in ([b"TYPE", key], [b"MEMORY", b"USAGE", key])]
        replies = await self._ask(shard, asked)
        found: list[tuple[bytes, bytes, int]] = []
        for at, key in enumerate(keys):
            kind, size = replies[2 * at], replies[2 * at + 1]
            kind = kind.text if isinstance(kind, Simple) else kind
            if isinstance(kind, bytes) and kind != b"none" and size is not None:
                found.append((key, kind, size if isinstance(size, int) else 0))
        lengths = [[LENGTHS[kind], key] for key, kind, _ in found if kind in LENGTHS]
        told = iter(await self._ask(shard, lengths) if lengths else ())
        for key, kind, size in found:
            length = next(told) if kind in LENGTHS else 1
            scale.weighed(key, kind, length if isinstance(length, int) else 0, size)

    async def _asked(self, shard: int, requests: Sequence[Sequence[bytes]]) -> Sequence[Reply]:
        """The replies, none of which may be an error. Raises GateError."""
        replies = await self._ask(shard, requests)
        for reply in replies:
            if isinstance(reply, Error):
                raise GateError(reply.text.decode("utf-8", "surrogateescape"))
        return replies
