"""A backend's own requests on the connections that clients share: what its listings and health checks are asked over."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from kvgate.errors import GateError
from kvgate.lane.slots import Call
from kvgate.lane.upstream import Shard

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher


class Shared:
    """The lane's connections to one backend (kvgate.backend.SharedConnections)."""

    def __init__(self, gate: "Dispatcher", shards: Sequence[Shard]) -> None:
        """`shards` are the backend's; the gate's driver runs by the time of the first `ask`."""
        self._gate = gate
        self._shards = shards

    async def ask(self, shard: int, frame: bytes, *, proto: int, deadline: float, readonly: bool) -> bytes:
        """Send one request, wait for its raw reply.

        Raises:
            GateError: TRYAGAIN, INDOUBT: what the lane answers in the store's place.
        """
        lane = self._gate.lane
        answered = trio.Event()
        replies: list[bytes] = []

        def answer(raw: bytes) -> None:
            replies.append(raw)
            answered.set()

        patience = deadline - trio.current_time() - lane.budget
        call = Call(frame, time.monotonic(), answer, readonly=readonly, patience=patience)
        lines = self._shards[shard].lines
        lane.ask(lines[0 if proto == 2 else len(lines) // 2], call)
        self._gate.driver.kick()
        await answered.wait()
        raw = replies[0]
        if raw.startswith((b"-TRYAGAIN", b"-INDOUBT")):
            raise GateError(raw[1:-2].decode("utf-8", "surrogateescape"))
        return raw

    async def ask_all(self, shard: int, frames: Sequence[bytes], *, deadline: float) -> list[bytes]:
        """See `kvgate.backend.SharedConnections`."""
        lane = self._gate.lane
        answered = trio.Event()
        replies: list[bytes] = []

        def answer(raw: bytes) -> None:
            replies.append(raw)
            if len(replies) == len(frames):
                answered.set()

        patience = deadline - trio.current_time() - lane.budget
        whole = b"".join(frames)
        call = Call(whole, time.monotonic(), answer, readonly=True, want=len(frames), patience=patience)
        lane.ask(self._shards[shard].lines[0], call)
        self._gate.driver.kick()
        await answered.wait()
        return replies

    def generation(self, shard: int) -> int:
        """See `kvgate.backend.SharedConnections`."""
        return self._shards[shard].made[0]
