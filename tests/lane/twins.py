"""Two lanes that do the same work, one with the hot paths in C, one with those in Python, and all that can be seen of them."""

from collections.abc import Callable
from typing import Any

import attrs

from kvgate.lane import native
from kvgate.lane.slots import Part, Slot, Split
from tests.lane.world import World

NO_NATIVE = "kvgate.lane._native is not built (no C compiler?)"


@attrs.frozen
class Seen:
    """All that can be seen of a world."""

    said: list[tuple[bytes, bool]]
    received: list[bytes]
    accounts: list[tuple[Any, ...]]
    lane: tuple[Any, ...]
    clients: list[tuple[Any, ...]]
    samples: list[tuple[Any, ...]]
    tolls: list[tuple[int, int]]


def seen(world: World) -> Seen:
    """Of one world, in a form that may be compared with another's."""
    lane = world.lane
    return Seen(
        [(world.said[client.id].raw, world.said[client.id].closed) for client in world.clients],
        [link.received for link in world.links.values()],
        [
            (
                *(a.namespace, a.command, a.calls, a.errors, a.misses, a.bytes_in, a.bytes_out, round(a.seconds, 9)),
                *(a.buckets, a.codes),
            )
            for a in world.ledger
        ],
        (lane.commands, lane.unsampled, lane.retries, lane.failures, world.asked, len(world.slow_ones)),
        [
            (c.received, c.inflight, c.inflight_bytes, c.held, c.backlog_size, c.arrived, c.last_fed, c.touched, len(c.queue))
            for c in world.clients
        ],
        [(ident, account.command, args) for ident, account, args in world.samples],
        [(toll.commands, toll.bytes) for toll in world.route.tolls or () if toll is not None],
    )


def both(run: Callable[[], World], look: Callable[[World], Any] = seen) -> None:
    """Run it with each kind of paths; all that `look` sees of the worlds agrees."""
    found = []
    before = native.WANTED
    try:
        for wanted in (True, False):
            native.WANTED = wanted
            world = run()
            assert world.lane.in_c is wanted
            found.append(look(world))
    finally:
        native.WANTED = before
    assert found[0] == found[1]


def slots(queue: Any) -> list[tuple[Any, ...]]:
    """What stands in a queue of reply slots, in its order."""
    return [_slot(slot) for slot in queue]


def _slot(slot: Slot) -> tuple[Any, ...]:
    account, client = slot.account, slot.client
    return (
        type(slot).__name__, slot.want, slot.frames, slot.offset, list(slot.parts), slot.readonly, slot.retried, slot.started,
        None if account is None else (account.namespace, account.command), None if client is None else client.id,
        (slot.left, slot.merge, slot.order, list(slot.raws)) if isinstance(slot, Split) else None,
        (slot.number, slot.whole.left, slot.owner is not None) if isinstance(slot, Part) else None,
    )  # fmt: skip
