"""Whether a history is linearizable: its operations fit one order in which each stands between its call and its return.

The search is that of Wing and Gong (Testing and Verifying Concurrent Objects, 1993) with Lowe's memory of configurations
(Testing for Linearizability, 2017), for each set of keys by itself that operations connect: linearizability is local.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from tests.linearizability.history import NEVER, Operation
from tests.linearizability.redis_model import Model, State, reads_only

MOST_CONFIGURATIONS: Final = 1_000_000
"""Looked at before the search gives up: some 500 MB."""
_SHOWN: Final = 12


class UndecidedError(Exception):
    """The history has too many orders to look at them all: record shorter ones, or less that is in doubt."""


@attrs.frozen(slots=True)
class Violation:
    """Operations for which there is no order."""

    operations: Sequence[Operation]
    """All on the same keys."""
    order: Sequence[Operation]
    """The longest beginning of an order that was found …"""
    stuck: Sequence[Operation]
    """… and what could have come next, by its time, but has other replies."""

    def explain(self) -> str:
        """Where it cannot go on, for people."""
        keys = ", ".join(sorted({key.decode() for each in self.operations for key in each.keys}))
        lines = [f"no order for {len(self.operations)} operations on {keys}; the longest has {len(self.order)}, its end:"]
        lines += [f"  {each.shown()}" for each in self.order[-_SHOWN:]]
        lines += ["after which none of these fits:", *(f"  {each.shown()}" for each in self.stuck[:_SHOWN])]
        return "\n".join(lines)


def parts(operations: Iterable[Operation]) -> list[list[Operation]]:
    """Operations on the same keys; operations on several keys join those."""
    groups: list[tuple[set[bytes], list[Operation]]] = []
    for each in operations:
        touched = [group for group in groups if not group[0].isdisjoint(each.keys)]
        merged: tuple[set[bytes], list[Operation]] = (set(each.keys), [each])
        for keys, members in touched:
            merged[0].update(keys)
            merged[1].extend(members)
        groups = [group for group in groups if group not in touched] + [merged]
    return [sorted(members, key=lambda one: one.called) for _, members in groups]


def check(operations: Iterable[Operation], most: int = MOST_CONFIGURATIONS) -> list[Violation]:
    """What cannot be put into an order; empty when the history is linearizable.

    Raises:
        UndecidedError: after `most` configurations of one part.
    """
    return [wrong for part in parts(operations) if (wrong := _Search(part, most).run())]


class _Search:
    """The search for an order of the operations of one part.

    Open operations (of unknown outcome) may stand anywhere after their call, or nowhere. An operation that only reads and
    fits is taken at once, without alternatives: from any order without it at this place it can be moved here. For the same
    reason open operations that only read say nothing, and are left out.
    """

    def __init__(self, operations: Sequence[Operation], most: int) -> None:
        self._all = operations
        closed = [each for each in operations if each.returned != NEVER]
        self._open = [each for each in operations if each.returned == NEVER and not reads_only(each)]
        self._operations = [*closed, *self._open]
        self._reads = [reads_only(each) for each in self._operations]
        self._model = Model(key for each in operations for key in each.keys)
        self._most = most
        self._left = len(closed)
        # The calls and returns of closed operations by time, as a doubly linked list between two ends; a call at the same
        # time as a return comes first, since the two may have been in either order
        events = sorted([(each.called, 0, at) for at, each in enumerate(closed)]
                        + [(each.returned, 1, at) for at, each in enumerate(closed)])  # fmt: skip
        self._event = [(time, bool(kind), at) for time, kind, at in events]
        self._next = [*range(1, len(events) + 1), -1]
        self._before = [*range(-1, len(events))]
        self._first = 0
        self._where = [[0, 0] for _ in closed]
        for place, (_, kind, at) in enumerate(events):
            self._where[at][kind] = place
        self._used = [False] * len(self._operations)

    def run(self) -> Violation | None:
        """None: there is an order."""
        state, mask = self._model.initial, 0
        seen: set[tuple[int, State]] = set()
        taken: list[tuple[int, State, Iterator[int]]] = []
        longest: list[int] = []
        stuck: list[int] = []
        choices = iter(self._choices(state))
        while self._left:
            for at in choices:
                after = self._model.step(state, self._operations[at])
                if after is None or (after == state and self._operations[at].returned == NEVER):
                    continue
                configuration = (mask | 1 << at, after)
                if configuration in seen:
                    continue
                seen.add(configuration)
                if len(seen) > self._most:
                    raise UndecidedError(f"{len(self._all)} operations, {len(self._open)} of unknown outcome")
                taken.append((at, state, choices))
                self._take(at)
                mask, state = configuration
                choices = iter(self._choices(state))
                break
            else:
                if len(taken) >= len(longest):
                    longest, stuck = [at for at, _, _ in taken], [*self._candidates()]
                if not taken:
                    names = self._operations
                    return Violation(self._all, [names[at] for at in longest], [names[at] for at in stuck])
                at, state, choices = taken.pop()
                self._give_back(at)
                mask ^= 1 << at
        return None

    def _candidates(self) -> Iterator[int]:
        """What could come next by its time: closed operations called before the first return, then open ones."""
        place = self._first
        while place < len(self._event):
            time, is_return, at = self._event[place]
            if is_return:
                break
            yield at
            place = self._next[place]
        else:
            time = NEVER
        closed = len(self._where)
        for number, each in enumerate(self._open):
            if each.called > time:
                return
            if not self._used[closed + number]:
                yield closed + number

    def _choices(self, state: State) -> list[int]:
        candidates = [*self._candidates()]
        for at in candidates:
            if self._reads[at] and self._model.step(state, self._operations[at]) is not None:
                return [at]
        return candidates

    def _take(self, at: int) -> None:
        self._used[at] = True
        if at < len(self._where):
            self._left -= 1
            for place in self._where[at]:
                self._unlink(place)

    def _give_back(self, at: int) -> None:
        self._used[at] = False
        if at < len(self._where):
            self._left += 1
            for place in reversed(self._where[at]):
                self._link(place)

    def _unlink(self, place: int) -> None:
        before, following = self._before[place], self._next[place]
        if before < 0:
            self._first = following
        else:
            self._next[before] = following
        self._before[following] = before

    def _link(self, place: int) -> None:
        before, following = self._before[place], self._next[place]
        if before < 0:
            self._first = place
        else:
            self._next[before] = place
        self._before[following] = place
