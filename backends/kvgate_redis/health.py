"""Whether the shards of a backend are up: asked once a second over the connections that clients' commands take."""

import random
from collections.abc import Awaitable, Callable

import trio

from kvgate.backend import BackendStatistics, Endpoint, SharedConnections
from kvgate.errors import GateError
from kvgate.lane.connect import ConnectFailed, away, connect
from kvgate.wire.request import encode_request

EVERY = 1.0
"""Seconds between two looks; /health is a second old at most."""
PATIENCE = 5.0
"""Seconds without an answer that mean down: the time after which the lane gives up a silent connection."""
PING = encode_request([b"PING"])


class Health:
    """What is known of each shard. A shard counts as up until the first look, which comes at once."""

    def __init__(self, shards: tuple[Endpoint, ...]) -> None:
        """Know nothing yet."""
        self._shards = shards
        self._down: dict[int, str] = {}

    @property
    def down(self) -> int:
        """How many shards are."""
        return len(self._down)

    async def watch(self, shared: SharedConnections, found_up: Callable[[int], Awaitable[None]]) -> None:
        """Look until cancelled; `found_up` is called for a shard after each look at which it was up."""
        async with trio.open_nursery() as nursery:
            for shard in range(len(self._shards)):
                nursery.start_soon(self._watch_one, shared, shard, found_up)

    def statistics(self, **figures: int) -> BackendStatistics:
        """Up when every shard is; else which are not, and why."""
        down = [self._down[shard] for shard in sorted(self._down)]
        up = len(self._shards) - len(down)
        return BackendStatistics(not down, "; ".join(down), {"shards": len(self._shards), "shards_up": up, **figures})

    async def _watch_one(
        self, shared: SharedConnections, shard: int, found_up: Callable[[int], Awaitable[None]]
    ) -> None:
        while True:
            why = await self._look(shared, shard)
            if why:
                self._down[shard] = why
            else:
                self._down.pop(shard, None)
                await found_up(shard)
            await trio.sleep(EVERY * random.uniform(0.9, 1.1))  # noqa: S311 - so that the workers do not ask in step

    async def _look(self, shared: SharedConnections, shard: int) -> str:
        """Why the shard is down; empty when it is up. Any answer but LOADING is a sign of life."""
        endpoint = self._shards[shard]
        try:
            raw = await shared.ask(shard, PING, proto=2, deadline=trio.current_time() + PATIENCE, readonly=True)
        except GateError as error:
            return await self._reason(endpoint) or f"{endpoint.url}: {error.text}"
        if raw.startswith((b"-LOADING", b"-NOAUTH", b"-MASTERDOWN", b"-ERR upstream", b"-TRYAGAIN", b"-INDOUBT")):
            return f"{endpoint.url}: {raw[1:-2].decode('utf-8', 'replace')}"
        return ""

    async def _reason(self, endpoint: Endpoint) -> str:
        """What a connection of our own fails with: the lane tells clients only that the store is away."""
        try:
            connected = await connect(endpoint, proto=2, name="kvgate-health")
        except (ConnectFailed, GateError) as error:
            return away(endpoint, error)
        connected.stream.close()
        return ""
