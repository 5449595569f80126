"""The keys of a stream that come most often, in bounded memory: Space-Saving, over the last minutes.

Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (2005). A sketch of m
counters over a stream of weight N never counts a key too low, and too high by at most N / m: a counter that is taken from
the rarest key starts with that key's count, and remembers it as its `error`. So every key of more than N / m is there.
Every `HALF_LIFE` seconds all that was counted is halved, N too, which keeps both bounds.
"""

from collections.abc import Iterator
from typing import Final

HALF_LIFE: Final = 60.0
"""Seconds; what came five of them ago counts a thirty-second."""
COUNTERS: Final = 64
"""Of one sketch, about 16 kB: a key with more than a sixty-fourth of the stream is seen."""
MOST_HALVINGS: Final = 32
"""After so many nothing is left of a count."""


class Counter:
    """What is known of one key."""

    __slots__ = ("count", "error", "reads")

    def __init__(self, count: float, error: float, reads: float) -> None:
        """See the attributes."""
        self.count = count  # weight; at least what the key had, at most `error` more
        self.error = error
        self.reads = reads  # weight of reads, since the counter is this key's


class SpaceSaving:
    """One sketch. Times are in seconds on any steady clock, weights in any unit."""

    __slots__ = ("_at", "_least", "_rarest", "_seconds", "capacity", "counters", "total")

    def __init__(self, now: float, capacity: int = COUNTERS) -> None:
        """Nothing has come yet."""
        self.capacity = capacity
        self.counters: dict[bytes, Counter] = {}
        self.total = 0.0
        """Weight of the stream, halved as the counts are."""
        self._at = now  # when it was halved last
        self._seconds = 0.0  # that `total` stands for, up to then
        self._rarest: list[bytes] = []  # keys that had the smallest count when it was last looked for
        self._least = 0.0  # that count

    def add(self, key: bytes, weight: float, now: float, *, read: bool) -> None:
        """Count a key."""
        if now - self._at >= HALF_LIFE:
            self.age(now)
        self.total += weight
        counters = self.counters
        counter = counters.get(key)
        if counter is None:
            least = 0.0
            if len(counters) >= self.capacity:
                least = counters.pop(self._give_way()).count
            counter = counters[key] = Counter(least, least, 0.0)
        counter.count += weight
        if read:
            counter.reads += weight

    def age(self, now: float) -> None:
        """Halve what was counted, once for each `HALF_LIFE` that has passed."""
        times = int((now - self._at) / HALF_LIFE)
        for _ in range(min(times, MOST_HALVINGS)):
            self._seconds = (self._seconds + HALF_LIFE) / 2
        share = 0.5 ** min(times, MOST_HALVINGS)
        self._at += times * HALF_LIFE
        self._rarest.clear()
        if times >= MOST_HALVINGS:
            self.counters.clear()
        self.total *= share
        for counter in self.counters.values():
            counter.count *= share
            counter.error *= share
            counter.reads *= share

    def seconds(self, now: float) -> float:
        """How much time `total` stands for: recent time counts whole, that before it half, and so on."""
        return self._seconds + max(0.0, now - self._at)

    def __iter__(self) -> Iterator[tuple[bytes, Counter]]:
        """Keys with their counters, in no order."""
        yield from self.counters.items()

    def _give_way(self) -> bytes:
        """A key with the smallest count. Those that shared it are remembered: in a stream of rare keys, which all give way
        to one another, they are looked for once in many."""
        counters = self.counters
        while self._rarest:
            key = self._rarest.pop()
            counter = counters.get(key)
            if counter is not None and counter.count == self._least:  # counts grow only, and new ones are larger
                return key
        self._least = min(counter.count for counter in counters.values())
        self._rarest = [key for key, counter in counters.items() if counter.count == self._least]
        return self._rarest.pop()
