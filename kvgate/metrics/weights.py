"""What a store's keys weigh, by namespace: counts, bytes, the heaviest keys; what `kvgate.backend.Weighing` tells it to."""

import heapq
from collections.abc import Callable
from typing import Final

import attrs

from kvgate.metrics.ledger import MOST_NAMESPACES
from kvgate.routing.namespaces import Namespace

MOST_LISTED: Final = 100
"""Heaviest keys that are kept of a namespace, by bytes and by elements."""
MOST_IN_ALL: Final = 100_000
"""Of all namespaces together; where there are many, fewer are kept of each."""
LONGEST: Final = 1024
"""Bytes of a key that are kept; of a longer one its beginning."""


@attrs.frozen(slots=True, order=True)
class Heavy:
    """One key that weighs much."""

    weight: int
    """What it is listed by."""
    key: bytes
    kind: bytes
    elements: int
    bytes: int


@attrs.define(slots=True)
class Share:
    """One namespace's keys of one source, as far as they were looked at."""

    namespace: Namespace
    seen: int = 0
    sized: int = 0
    bytes: int = 0
    """Of the keys that were sized."""
    by_bytes: list[Heavy] = attrs.field(factory=list)
    """A heap, the least one first."""
    by_elements: list[Heavy] = attrs.field(factory=list)


class Weights:
    """A `kvgate.backend.Scale`: one run over one source."""

    def __init__(self, namespace_of: Callable[[bytes], Namespace | None]) -> None:
        """`namespace_of` is None for keys that the gate would not look for there."""
        self._namespace_of = namespace_of
        self.expected = 0
        self.partly = False
        self.walked = 0
        self.shares: dict[str, Share] = {}
        self.left_out = 0
        """Keys of namespaces beyond `MOST_NAMESPACES`."""

    def found(self, key: bytes) -> bool:
        """See `kvgate.backend.Scale`."""
        self.walked += 1
        namespace = self._namespace_of(key)
        if namespace is None:
            return False
        share = self.shares.get(namespace.name)
        if share is None:
            if len(self.shares) >= MOST_NAMESPACES:
                self.left_out += 1
                return False
            share = self.shares[namespace.name] = Share(namespace)
        share.seen += 1
        return True

    def weighed(self, key: bytes, kind: bytes, elements: int, size: int) -> None:
        """See `kvgate.backend.Scale`."""
        namespace = self._namespace_of(key)
        share = None if namespace is None else self.shares.get(namespace.name)
        if share is None:
            return
        share.sized += 1
        share.bytes += size
        most = max(1, min(MOST_LISTED, MOST_IN_ALL // len(self.shares)))
        _keep(share.by_bytes, most, size, key, kind, elements, size)
        _keep(share.by_elements, most, elements, key, kind, elements, size)

    def keys(self, share: Share) -> int:
        """Of a namespace: counted, or, where a part was looked at, what that part leads to expect."""
        if not self.partly or self.expected <= self.walked:
            return share.seen
        return round(share.seen * self.expected / self.walked)

    def bytes(self, share: Share) -> int:
        """Likewise."""
        if share.sized == share.seen and not self.partly:
            return share.bytes
        return round(share.bytes * self.keys(share) / share.sized) if share.sized else 0


def _keep(heap: list[Heavy], most: int, weight: int, key: bytes, kind: bytes, elements: int, size: int) -> None:
    if len(heap) >= most:
        if weight <= heap[0].weight:
            return
        while len(heap) >= most:
            heapq.heappop(heap)
    heapq.heappush(heap, Heavy(weight, key[:LONGEST], kind, elements, size))
