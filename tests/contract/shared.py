"""A stand-in for the lane's shared connections, for testing pass-through adapters without a lane."""

from collections.abc import Sequence

import trio

from kvgate.backend import BrokenUpstream, Topology
from kvgate.errors import in_doubt, try_again
from kvgate.lane.own import Own, OwnConnections


class StandInShared:
    """`SharedConnections` (see kvgate.backend): one connection for each shard and protocol, one request at a time on it."""

    def __init__(self, topology: Topology) -> None:
        """Connect when asked."""
        self.asked: list[tuple[int, bytes]] = []
        """(shard, request) in the order sent."""
        self._pool = OwnConnections(topology)
        self._open: dict[tuple[int, int], Own] = {}
        self._turns: dict[tuple[int, int], trio.Lock] = {}

    async def ask(self, shard: int, frame: bytes, *, proto: int, deadline: float, readonly: bool) -> bytes:
        """See `SharedConnections.ask`."""
        place, sent = (shard, proto), False
        with trio.move_on_at(deadline):
            async with self._turns.setdefault(place, trio.Lock()):
                own = await self._connection(place, deadline)
                try:
                    sent = True
                    self.asked.append((shard, frame))
                    await own.send(frame)
                    return await own.receive()
                except BrokenUpstream as error:
                    raise (try_again if readonly else in_doubt)(str(error)) from error
                except trio.Cancelled:
                    own.close()
                    raise
        raise (in_doubt if sent and not readonly else try_again)("no answer in time")

    async def ask_all(self, shard: int, frames: Sequence[bytes], *, deadline: float) -> list[bytes]:
        """See `SharedConnections.ask_all`."""
        return [await self.ask(shard, frame, proto=2, deadline=deadline, readonly=True) for frame in frames]

    def generation(self, shard: int) -> int:
        """See `SharedConnections.generation`: here the processes stay the same."""
        return shard

    async def _connection(self, place: tuple[int, int], deadline: float) -> Own:
        own = self._open.get(place)
        if own is None or not own.still_good():
            if own is not None:
                own.close()
            own = self._open[place] = await self._pool.own(place[0], proto=place[1], deadline=deadline)
        return own

    def close(self) -> None:
        """Close everything."""
        self._pool.close()
