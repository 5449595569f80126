"""One limit as it is enforced: a bucket with the line of commands that wait for it, and what was prepaid from it.

No I/O, no clock.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from kvgate.policy.buckets import NEXT_TO_NOTHING, Bucket, Share
from kvgate.policy.compiled import Toll

UNLIMITED: Final = 1 << 60
"""In a `Toll`: of what nothing limits."""
BATCH: Final = 0.01
"""Seconds: what a rate gives in them is paid to the lane at once."""


class Limit:
    """A rate of one user, or of one line of ``[namespaces]``: operations, writes, reads or bytes."""

    __slots__ = ("bucket", "key", "prepaid", "queued", "waiting", "wake")

    def __init__(self, key: str, bucket: Bucket | Share) -> None:
        """`key` names it for every process that shares it: ``user:ads:operations``."""
        self.key = key
        self.bucket = bucket
        self.waiting: deque[Any] = deque()  # commands; those that were given up stay here until it is their turn
        self.queued = 0.0  # tokens that they wait for
        self.prepaid: set[Prepaid] = set()  # what was paid from it, and may not be used up
        self.wake = 0.0  # when the line is looked at next; 0: it is not

    def __repr__(self) -> str:
        """For logs and failing tests."""
        return f"<Limit {self.key} level={self.bucket.level:.2f} waiting={len(self.waiting)}>"

    def need(self, amount: float) -> float:
        """Tokens that have to be there for what costs `amount`."""
        return min(amount, self.bucket.capacity)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until a command that comes now has its turn; 0: at once."""
        return self.bucket.wait(amount, now, self.queued)

    def leave_line(self, amount: float) -> None:
        """One that waited for `amount` does not any more."""
        left = self.queued - self.need(amount)
        self.queued = left if left > NEXT_TO_NOTHING else 0.0

    def reclaim(self) -> None:
        """Take back what was prepaid and not used: there are commands that need it."""
        for each in list(self.prepaid):
            each.settle()


class Prepaid:
    """A toll that the lane pays from, and the limits that it was filled from."""

    __slots__ = ("operations", "sizes", "toll")

    def __init__(self, operations: Sequence[Limit], sizes: Sequence[Limit]) -> None:
        """`operations` are limits of commands, `sizes` of bytes; at least one of them is not empty."""
        self.toll = Toll()
        self.operations = tuple(operations)
        self.sizes = tuple(sizes)

    def fill(self, now: float, usual: int, share: float = 1.0) -> None:
        """Pay for what comes next: `share` of a batch, or what is there. `usual` is the size of such a command in bytes: the
        lane looks at the bytes after a run of commands only, so that their number has to keep them near what there is."""
        self.settle()
        commands = min((_spare(limit, now, share) for limit in self.operations), default=UNLIMITED)
        size = min((_spare(limit, now, share) for limit in self.sizes), default=UNLIMITED)
        if commands <= 0 or size <= 0:
            return
        if self.sizes:
            commands = min(commands, max(1, size // usual))
        self.toll.commands, self.toll.bytes = commands, size
        for amount, limits in ((commands, self.operations), (size, self.sizes)):
            for limit in limits:
                limit.bucket.take(amount)
                limit.prepaid.add(self)

    def settle(self) -> None:
        """Give back what is left of it, and pay what is owed."""
        for amount, limits in ((self.toll.commands, self.operations), (self.toll.bytes, self.sizes)):
            for limit in limits:
                limit.bucket.put(amount)
                limit.prepaid.discard(self)
        self.toll.commands = self.toll.bytes = 0


def _spare(limit: Limit, now: float, share: float) -> int:
    bucket = limit.bucket
    bucket.refresh(now)
    return min(int(bucket.level), max(1, int(bucket.rate * BATCH * share)))
