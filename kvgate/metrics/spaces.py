"""What one process has counted, by the namespaces that have a label of their own and by `OTHER` for the rest.

Which namespaces have one changes while the gate runs, and what is exported may never fall: what a namespace had counted as a
part of `OTHER` stays there when it gets its label, which then begins with nothing; and the other way round. The functions
that look through everything are generators that pause every fraction of a millisecond, so that the lane can go on.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from heapq import nlargest
from itertools import islice
from typing import Final

import attrs

from kvgate.commands.table import every_command
from kvgate.metrics.ledger import NO_NAMESPACE, OTHER, Account, Ledger
from kvgate.metrics.times import BOUNDS, fold

NONE: Final = "none"
"""The label of what is about no key (PING, SCAN); an empty one would be no label at all."""
STEP: Final = 64
"""Accounts between two pauses: about 0.2 ms."""
MOST_CODES: Final = 64
"""Codes of refusals with a label of their own; there are about twenty."""
CLASSES: Final[Mapping[str, str]] = {
    spec.lower: "write" if spec.write else "read" if spec.readonly else "other" for spec in every_command()
}
"""A command's name → its class."""
WIDTH: Final = 6 + len(BOUNDS) + 1
"""Numbers in a vector of a class: calls, errors, misses, bytes in, bytes out, seconds, and the buckets of times."""

Vectors = dict[str, list[float]]
"""Of one namespace: a class → `WIDTH` numbers; ``refused CODE`` → how often; `WAITED` → how many
commands waited for their turn, and the seconds of all of them. None of them ever falls."""
REFUSED: Final = "refused "
WAITED: Final = "waited"


@attrs.define(slots=True)
class Gathered:
    """What one process has counted so far."""

    namespaces: dict[str, Vectors]
    """By label."""
    commands: dict[str, list[float]]
    """A command's name → calls, errors, misses."""
    seen: int
    """How many namespaces have counts."""


class Spaces:
    """The accounts of one process by label."""

    def __init__(self, ledger: Ledger) -> None:
        """Of `ledger`; no namespace has been shown yet."""
        self._ledger = ledger
        self._named: dict[str, Vectors] = {}  # that were shown with a label of their own, and what they had counted then
        self._others: set[str] = set()  # shown as a part of OTHER
        self._bases: dict[str, Vectors] = {}  # what those had counted whose label has changed, when it did
        self._carried: Vectors = {}  # what stays in OTHER of those that have left it
        self._codes: set[str] = set()

    def busiest(self, most: int, named: Collection[str]) -> Generator[None, None, list[tuple[str, int]]]:
        """The `most` namespaces with the most calls, and those of `named` that are there: names and calls."""
        first: list[tuple[str, int]] = []
        kept: list[tuple[str, int]] = []
        for number, name in enumerate(self._ledger.namespaces(), 1):
            if name not in (OTHER, NO_NAMESPACE):
                calls = sum(account.calls for account in self._ledger.of(name))
                (kept if name in named else first).append((name, calls))
            if len(first) > 4 * most + STEP:
                first = nlargest(most, first, key=_calls)
            if not number % STEP:
                yield
        return nlargest(most, first, key=_calls) + kept

    def gather(self, named: Collection[str]) -> Generator[None, None, Gathered]:
        """Everything, with a label for each of `named`. One at a time: it remembers what it has shown."""
        refused = yield from self._refused()
        shown: dict[str, Vectors] = {}
        own: dict[str, Vectors] = {}
        commands: dict[str, list[float]] = {}
        other: Vectors = {}
        names = list(dict.fromkeys([*self._ledger.namespaces(), *refused]))
        count = 0
        for name in names:
            accounts = self._ledger.of(name)
            vectors = _vectors(accounts, refused.get(name, {}))
            _by_command(commands, accounts)
            base = self._bases.get(name)
            if name == NO_NAMESPACE:
                shown[NONE] = vectors
            elif name in named and name != OTHER:
                if name in self._others:
                    self._others.discard(name)
                    _add(self._carried, _less(vectors, base))
                    base = self._bases[name] = vectors
                shown[name] = _less(vectors, base)
                own[name] = vectors
            else:
                if name in self._named:
                    base = self._bases[name] = self._named[name]
                self._others.add(name)
                _add(other, _less(vectors, base))
            count += len(accounts) + 1
            if count > STEP:
                count = 0
                yield
        self._named = own
        _add(other, self._carried)
        if other:
            shown[OTHER] = other
        return Gathered(shown, commands, sum(name not in (OTHER, NO_NAMESPACE) for name in names))

    def _refused(self) -> Generator[None, None, dict[str, Vectors]]:
        """Refusals, and commands that waited, by namespace. Codes beyond the limit, which do not exist, would be one."""
        found: dict[str, Vectors] = {}
        for number, ((name, code), times) in enumerate(list(self._ledger.refusals.items()), 1):
            if code not in self._codes and len(self._codes) < MOST_CODES and code.isalpha() and code.isupper():
                self._codes.add(code)
            key = REFUSED + (code if code in self._codes else "OTHER")
            numbers = found.setdefault(name, {}).setdefault(key, [0])
            numbers[0] += times
            if not number % (4 * STEP):
                yield
        for number, (name, times) in enumerate(list(self._ledger.waits.items()), 1):
            found.setdefault(name, {})[WAITED] = [times, self._ledger.waited[name] / 1_000_000]
            if not number % (4 * STEP):
                yield
        return found


def _calls(each: tuple[str, int]) -> int:
    return each[1]


def _vectors(accounts: Iterable[Account], refused: Vectors) -> Vectors:
    found = dict(refused)
    for each in accounts:
        numbers = [
            each.calls, each.errors, each.misses, each.bytes_in, each.bytes_out, each.seconds, *fold(each.buckets)
        ]  # fmt: skip
        kind = CLASSES.get(each.command, "other")
        present = found.get(kind)
        found[kind] = numbers if present is None else [a + b for a, b in zip(present, numbers, strict=True)]
    return found


def _by_command(commands: dict[str, list[float]], accounts: Iterable[Account]) -> None:
    for each in accounts:
        numbers = commands.setdefault(each.command if each.command in CLASSES else "other", [0, 0, 0])
        numbers[0] += each.calls
        numbers[1] += each.errors
        numbers[2] += each.misses


def _less(vectors: Vectors, base: Vectors | None) -> Vectors:
    """What came since `base`."""
    if base is None:
        return vectors
    return {
        key: [a - b for a, b in zip(numbers, base[key], strict=True)] if key in base else numbers
        for key, numbers in vectors.items()
    }


def _add(to: Vectors, more: Vectors) -> None:
    for key, numbers in more.items():
        present = to.get(key)
        to[key] = list(numbers) if present is None else [a + b for a, b in zip(present, numbers, strict=True)]


class Labels:
    """Which namespaces have a label of their own: those with the most calls, and not another choice at every look."""

    AHEAD = 1.5
    """A namespace takes another one's label when it has so many times its calls."""

    def __init__(self) -> None:
        """None has."""
        self.named: dict[str, int] = {}
        """Their calls, when it was last looked."""

    def choose(self, calls: Mapping[str, int], most: int) -> set[str]:
        """Look at the calls of all candidates, let at most `most` have a label; those that have lost theirs."""
        before = set(self.named)
        now = {name: calls.get(name, self.named[name]) for name in self.named}
        ordered = sorted(now, key=lambda name: now[name], reverse=True)
        now = {name: now[name] for name in islice(ordered, most)}
        for name in sorted(calls, key=lambda name: calls[name], reverse=True):
            if name in now:
                continue
            if len(now) < most:
                now[name] = calls[name]
                continue
            least = min(now, key=lambda name: now[name], default=None)
            if least is None or calls[name] <= now[least] * self.AHEAD:
                break
            del now[least]
            now[name] = calls[name]
        self.named = now
        return before - set(now)
