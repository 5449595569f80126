"""Sums over accounts: what the commands of the namespaces that a user sees came to, of one process or of several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from kvgate.metrics.ledger import BUCKETS, NO_NAMESPACE, Ledger

Sees = Callable[[str], bool]
"""Whether a namespace, by its name, counts."""
PERCENTILES: Final = (50.0, 99.0, 99.9)


@attrs.define(slots=True)
class CommandTotal:
    """One command, over namespaces and processes."""

    calls: int = 0
    seconds: float = 0.0
    errors: int = 0
    rejected: int = 0
    buckets: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)
    """See `kvgate.metrics.ledger.BUCKETS`. Commands that waited for others' doing, or got no reply, are in none."""

    def add(self, calls: int, seconds: float, errors: int, rejected: int, buckets: Sequence[int]) -> None:
        """Add as much."""
        self.calls += calls
        self.seconds += seconds
        self.errors += errors
        self.rejected += rejected
        self.buckets = [mine + more for mine, more in zip(self.buckets, buckets, strict=True)]

    def percentile(self, percent: float) -> float:
        """Microseconds within which that part of the timed commands was answered; within a bucket, which is twice as long at
        its end as at its beginning, they are taken to lie evenly."""
        wanted = sum(self.buckets) * percent / 100
        seen = 0
        for number, count in enumerate(self.buckets):
            if count and seen + count >= wanted:
                low = 0.0 if not number else 2.0 ** (number - 1)
                return low + (2.0**number - low) * (wanted - seen) / count
            seen += count
        return 0.0


@attrs.define(slots=True)
class Totals:
    """What INFO and LATENCY show."""

    commands: dict[str, CommandTotal] = attrs.field(factory=dict)
    codes: dict[str, int] = attrs.field(factory=dict)
    """First words of error replies → how many there were, the gate's refusals among them."""
    hits: int = 0
    """Reads of keys that were answered, and not with nil."""
    misses: int = 0

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return attrs.asdict(self)

    def add_json(self, told: Mapping[str, Any]) -> None:
        """Add what another process has counted."""
        for name, fields in told["commands"].items():
            self.commands.setdefault(name, CommandTotal()).add(**fields)
        for code, count in told["codes"].items():
            self.codes[code] = self.codes.get(code, 0) + count
        self.hits += told["hits"]
        self.misses += told["misses"]

    @property
    def errors(self) -> int:
        """All error replies."""
        return sum(self.codes.values())


def totals(ledger: Ledger, sees: Sees) -> Totals:
    """Of this process. May run on a thread of its own, while the lane goes on counting."""
    found = Totals()
    seen: dict[str, bool] = {}
    for account in ledger.accounts():
        visible = seen.get(account.namespace)
        if visible is None:
            visible = seen[account.namespace] = sees(account.namespace)
        if not visible:
            continue
        command = found.commands.setdefault(account.command, CommandTotal())
        command.add(account.calls, account.seconds, account.errors, account.rejected, account.buckets)
        for raw, count in list((account.codes or {}).items()):
            name = raw.decode("ascii")
            found.codes[name] = found.codes.get(name, 0) + count
        if account.readonly and account.namespace != NO_NAMESPACE:
            found.misses += account.misses
            found.hits += max(0, account.calls - account.errors - account.misses)
    for (namespace, code), count in list(ledger.refusals.items()):
        if sees(namespace):
            found.codes[code] = found.codes.get(code, 0) + count
    return found


def together(parts: Iterable[Mapping[str, Any]]) -> Totals:
    """The sum over processes."""
    found = Totals()
    for part in parts:
        found.add_json(part)
    return found
