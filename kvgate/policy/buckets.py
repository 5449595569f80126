"""Token buckets: one that fills by itself (`Bucket`), a store of them (`Pool`), and one process' part of a bucket that several
draw on (`Share`). Arithmetic only: the caller says what time it is, in seconds of any steady clock.

A bucket has a rate (tokens a second) and a capacity. What costs more than the capacity may pass when the bucket is full, and
leaves it in debt; so nothing is impossible, and the rate holds.
"""

from collections.abc import Iterable
from typing import Final

Ask = tuple[str, float, float, float, float]
"""What a `Share` asks for: the bucket's key, rate and capacity, the tokens wanted, and those owed."""

NEXT_TO_NOTHING: Final = 1e-6
"""Tokens by which sums of fractions may be wrong."""
SOON: Final = 0.001
"""Seconds after which more may have come of a shared bucket that was not known to be empty."""


class Bucket:
    """Fills by `rate` tokens a second, up to `capacity`."""

    __slots__ = ("capacity", "level", "rate", "since")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        """Full."""
        self.rate = rate
        self.capacity = capacity
        self.level = capacity
        self.since = now

    def refresh(self, now: float) -> None:
        """Add what has come since the last time."""
        if now > self.since:
            self.level = min(self.capacity, self.level + (now - self.since) * self.rate)
            self.since = now

    def wait(self, amount: float, now: float, ahead: float = 0.0) -> float:
        """Seconds until `amount` may be taken, behind those who wait for `ahead`; 0 when now."""
        self.refresh(now)
        missing = ahead + min(amount, self.capacity) - self.level
        return missing / self.rate if missing > NEXT_TO_NOTHING else 0.0

    def take(self, amount: float) -> None:
        """Take it, whether it is there or not."""
        self.level -= amount

    def put(self, amount: float) -> None:
        """Give back what was taken and not used; what is below 0 is taken."""
        self.level = min(self.capacity, self.level + amount)

    def change(self, rate: float, capacity: float, now: float) -> None:
        """Another rate and capacity from now on; what is there stays, as far as it fits."""
        self.refresh(now)
        self.rate, self.capacity = rate, capacity
        self.level = min(self.level, capacity)


class Pool:
    """Buckets by key that several processes draw on: the form in which the parent of workers keeps them. A Redis does the
    same arithmetic in Lua (kvgate.server.budget)."""

    def __init__(self) -> None:
        """Every bucket is full."""
        self._buckets: dict[str, Bucket] = {}

    def __len__(self) -> int:
        """The number of buckets that may not be full."""
        return len(self._buckets)

    def take(self, asks: Iterable[Ask], now: float) -> list[float]:
        """What each gets: all that it wants, or what is there. What is owed is taken first, as far as one capacity below 0."""
        granted: list[float] = []
        for key, rate, capacity, want, owed in asks:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = Bucket(rate, capacity, now)
            elif (bucket.rate, bucket.capacity) != (rate, capacity):
                bucket.change(rate, capacity, now)
            bucket.refresh(now)
            bucket.level = max(bucket.level - owed, -capacity)
            found = max(0.0, min(want, bucket.level))
            bucket.level -= found
            granted.append(found)
        return granted

    def forget_full(self, now: float) -> None:
        """Drop the buckets that are full again: one that is not there is taken to be full."""
        for key, bucket in list(self._buckets.items()):
            bucket.refresh(now)
            if bucket.level >= bucket.capacity:
                del self._buckets[key]


class Standing:
    """How one process stands with the place where shared buckets are kept; all its `Share`s look here."""

    __slots__ = ("away", "members")

    def __init__(self, members: int = 1) -> None:
        """Nothing was asked yet, and it is taken to be there."""
        self.members = members  # processes that draw on the buckets, as far as is known
        self.away = False


class Share:
    """One process' part of a bucket that is kept elsewhere: what was fetched and not used yet.

    While the place is away, the process goes by its own part of the rate, and owes what it takes so. The methods of `Bucket`
    mean the same here.
    """

    __slots__ = ("_empty_since", "_fetched", "_standing", "_was_away", "capacity", "level", "local", "owed", "rate", "since")

    def __init__(self, rate: float, capacity: float, local: float, standing: Standing, now: float) -> None:
        """Nothing was fetched yet. `local`: tokens to hold, so that a command seldom waits for the place's answer."""
        self.rate = rate
        self.capacity = capacity
        self.local = local
        self.level = 0.0
        self.owed = 0.0
        self.since = now
        self._standing = standing
        self._was_away = False
        self._fetched = False
        self._empty_since = -1.0  # when the place had less than was wanted; below 0: it had it all

    def refresh(self, now: float) -> None:
        """Add what has come since the last time, where nobody can be asked."""
        if self._standing.away:
            part = max(1, self._standing.members)
            if not self._was_away:
                self._was_away = True
                if not self._fetched:  # its first commands need not wait
                    self._mint(max(self.local / part, 1.0), max(self.local / part, 1.0))
            elif now > self.since:
                self._mint((now - self.since) * self.rate / part, max(self.capacity / part, 1.0))
        else:
            self._was_away = False
        self.since = max(self.since, now)

    def _mint(self, amount: float, most: float) -> None:
        amount = max(0.0, min(amount, most - self.level))
        self.level += amount
        self.owed = min(self.owed + amount, self.capacity)

    def wait(self, amount: float, now: float, ahead: float = 0.0) -> float:
        """See `Bucket.wait`; a guess, since others take their part, too."""
        self.refresh(now)
        missing = ahead + min(amount, self.capacity) - self.level
        if missing <= NEXT_TO_NOTHING:
            return 0.0
        if self._standing.away:
            return missing * max(1, self._standing.members) / self.rate
        if self._empty_since < 0:
            return SOON
        return max(SOON, missing / self.rate - (now - self._empty_since))

    def take(self, amount: float) -> None:
        """See `Bucket.take`."""
        self.level -= amount

    def put(self, amount: float) -> None:
        """See `Bucket.put`."""
        self.level = min(self.capacity, self.level + amount)

    def change(self, rate: float, capacity: float, local: float, now: float) -> None:
        """See `Bucket.change`."""
        self.refresh(now)
        self.rate, self.capacity, self.local = rate, capacity, local
        self.level = min(self.level, capacity)
        self.owed = min(self.owed, capacity)

    def want(self, queued: float, now: float) -> float:
        """What to ask for while commands wait for `queued` tokens; 0 when there is enough for now."""
        self.refresh(now)
        if self.level >= queued and self.level >= self.local / 2:
            return 0.0
        return min(max(self.local, queued) - self.level, 2 * self.capacity)

    def granted(self, amount: float, wanted: float, owed: float, now: float) -> None:
        """What came of asking for `wanted`, and saying what was `owed`."""
        self.level += amount
        self._fetched = True
        self.owed = max(0.0, self.owed - owed)
        self._empty_since = now if amount < wanted - NEXT_TO_NOTHING else -1.0
