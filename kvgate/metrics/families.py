"""What is exported: families of metrics, their samples of one process, and their sums over all processes of a gate.

Counters and histograms of processes are added up as they grow, so that what a process had counted stays when it ends and
another one begins at nothing. Gauges are those of the processes that answer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from kvgate.backend import Measure

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SUM, LARGEST, SMALLEST, OWN = "sum", "max", "min", "own"
"""How the samples of several processes become one. `OWN`: they do not, each has a label of its own."""


@attrs.frozen(slots=True)
class Family:
    """One metric. Its name has the prefix ``kvgate_`` and the unit, of a counter no ``_total``: the exposition adds that."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    merge: str = SUM


Counted = tuple[Any, ...]
"""What something that was counted is known by."""
Value = Sequence[float]
"""Of a counter or gauge one number; of a histogram as `kvgate.metrics.times.Times.vector`. The first number of a counter or
histogram never falls while a process lives."""
Key = tuple[str, tuple[str, ...]]
"""A family's name and the values of its labels."""


class Samples:
    """All samples of one process, or of several as one."""

    def __init__(self) -> None:
        """There is none."""
        self.families: dict[str, Family] = {}
        self.values: dict[Key, Value] = {}

    def put(self, family: Family, value: float | Value, *labels: str) -> None:
        """Add a sample; one with the same labels is there once, merged as two processes' would be."""
        self.families[family.name] = family
        key = family.name, labels
        new: Value = value if isinstance(value, Sequence) else (value,)
        present = self.values.get(key)
        self.values[key] = new if present is None else merged(family, present, new)

    def put_measures(self, backend: str, measures: "Iterable[Measure]", *, counted: bool = False) -> None:
        """Add the figures of a backend; `counted`: those that never fall only."""
        for each in measures:
            if not counted or each.kind != GAUGE:
                self.put(Family(f"kvgate_{each.name}", each.kind, each.help, ("backend",), each.merge), each.value, backend)

    def add(self, more: "Samples") -> None:
        """Add all of these."""
        for key, value in more.values.items():
            self.put(more.families[key[0]], value, *key[1])

    def to_json(self) -> list[list[object]]:
        """As one list for each family: name, kind, help, labels, merge, and the samples as labels and values."""
        samples: dict[str, list[object]] = {name: [] for name in self.families}
        for (name, labels), value in self.values.items():
            samples[name].append([list(labels), list(value)])
        return [
            [each.name, each.kind, each.help, list(each.labels), each.merge, samples[each.name]]
            for each in self.families.values()
        ]

    @classmethod
    def from_json(cls, data: Iterable[Sequence[object]]) -> "Samples":
        """What `to_json` gave in another process of this gate."""
        found = cls()
        for name, kind, help_, labels, merge, samples in data:
            assert isinstance(labels, list) and isinstance(samples, list)  # noqa: S101, PT018 - both ends are this program
            family = Family(str(name), str(kind), str(help_), tuple(labels), str(merge))
            for values_of_labels, value in samples:
                found.put(family, value, *values_of_labels)
        return found


def merged(family: Family, one: Value, two: Value) -> Value:
    """The samples of two processes as one; only gauges, which are one number, have a largest and a smallest."""
    if family.merge == LARGEST:
        return (max(one[0], two[0]),)
    if family.merge == SMALLEST:
        return (min(one[0], two[0]),)
    return [a + b for a, b in zip(one, two, strict=True)]


class Totals:
    """What all processes that ever were have counted. A process is known by a number that never comes again."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.values: dict[Counted, list[float]] = {}
        self._last: dict[int, dict[Counted, Value]] = {}

    def take(self, process: int, values: Mapping[Counted, Value]) -> None:
        """Add what a process has counted since it was last asked. Where its first number fell, it began anew (a backend was
        replaced by a reload)."""
        last = self._last.setdefault(process, {})
        for key, new in values.items():
            old = last.get(key)
            if old is None or new[0] < old[0] or len(new) != len(old):
                grown: Value = new
            else:  # sums of seconds may fall by a rounding
                grown = [max(0.0, b - a) for a, b in zip(old, new, strict=True)]
            present = self.values.get(key)
            self.values[key] = list(grown) if present is None else [a + b for a, b in zip(present, grown, strict=True)]
            last[key] = new

    def keep(self, processes: Collection[int]) -> None:
        """All others have ended: what they had counted stays."""
        self._last = {number: last for number, last in self._last.items() if number in processes}

    def forget(self, keys: Iterable[Counted]) -> None:
        """These are exported no more; should they come again, they begin with what is counted then."""
        for key in keys:
            self.values.pop(key, None)
            for last in self._last.values():
                last.pop(key, None)
