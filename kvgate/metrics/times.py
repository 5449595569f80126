"""How long something took, counted in powers of two of microseconds; and the bounds that /metrics shows of such counts."""

from collections.abc import Sequence
from typing import Final

from kvgate.metrics.ledger import BUCKETS

FIRST, LAST = 5, 21
"""Powers of two of the least and the greatest bound that is shown, in microseconds: 32 µs, below which nothing forwarded is
answered, and 2.1 s, above every time limit of a command."""
BOUNDS: Final = tuple(2**power / 1_000_000 for power in range(FIRST, LAST + 1))
"""Upper bounds of the buckets that are shown, in seconds; one more, without a bound, follows."""


class Times:
    """A histogram: bucket n has what took less than 2^n microseconds and does not fit the one before."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        """Nothing took any time yet."""
        self.buckets = [0] * BUCKETS
        self.seconds = 0.0  # all together

    def note(self, seconds: float, times: int = 1) -> None:
        """Something took `seconds`, `times` times."""
        self.buckets[min(int(seconds * 1_000_000).bit_length(), BUCKETS - 1)] += times
        self.seconds += seconds * times

    def vector(self) -> list[float]:
        """The count, the seconds, and the count of each bucket that is shown: what is added up over processes."""
        return [sum(self.buckets), self.seconds, *fold(self.buckets)]


def fold(buckets: Sequence[int]) -> list[int]:
    """`BUCKETS` counts as those of the buckets that are shown, ``len(BOUNDS) + 1``."""
    return [sum(buckets[: FIRST + 1]), *buckets[FIRST + 1 : LAST + 1], sum(buckets[LAST + 1 :])]
