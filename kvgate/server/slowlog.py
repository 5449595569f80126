"""The slow log of one process: commands that took longer than `slowlog_time` from their arrival to their reply's.

Of a run of commands that were sent together one entry tells the first and how many more there were: they were all under way
for as long. Commands that wait for others' doing (BLPOP) are not slow. What is noted is bounded, in size and in number.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from kvgate.commands.keys import fixed_keys, key_indices
from kvgate.commands.table import lookup
from kvgate.lane.client import Client
from kvgate.lane.slots import Asked, Slot
from kvgate.lane.upstream import Upstream

if TYPE_CHECKING:
    from kvgate.metrics.ledger import Account
    from kvgate.routing.namespaces import Namespaces
    from kvgate.server.session import Multi

MOST_ARGUMENTS: Final = 32
LONGEST_ARGUMENT: Final = 128
"""Bytes; both are Redis' (slowlog.h)."""
LOOKED_AT: Final = 256
"""Arguments whose keys are looked for; where there are more, only who sees every namespace is shown the entry."""
PASSED_OVER: Final = 64
"""Answered commands of a run that are passed over to find the first slow one."""
MOST_IN_A_SECOND: Final = 200
"""Entries: when a store hangs, thousands of commands are slow at once, and noting them would make it worse."""
EVERYTHING: Final = "*"
"""In `Entry.namespaces`: there may be others."""


@attrs.frozen(slots=True)
class Entry:
    """One slow command."""

    id: int
    time: int
    """Seconds since the epoch, when it was answered."""
    usec: int
    """From its arrival to its reply's, or to when it was given up."""
    args: tuple[bytes, ...]
    """Shortened as Redis does."""
    address: str
    name: bytes
    """Of the client (CLIENT SETNAME)."""
    user: str
    namespaces: tuple[str, ...]
    """Of its keys; none: it was about no key."""
    upstream: str
    """``backend/shard``, ``backend``; empty when it was asked of no single one."""
    queued: int | None
    """Microseconds of `usec`, as far as it is known, that passed before the store could begin: its connection was still made,
    earlier replies on it were awaited, or the command waited for its turn among the client's. None: not known."""
    more: int
    """Commands sent together with it that were as slow."""


def redacted(args: Sequence[bytes]) -> list[bytes]:
    """The arguments without what nobody may read: passwords of AUTH, HELLO and MIGRATE."""
    name = args[0].upper() if args else b""
    shown = list(args)
    if name == b"AUTH":
        shown[1:] = [b"(redacted)"] * (len(args) - 1)
    elif name in (b"HELLO", b"MIGRATE"):
        for at, word in enumerate(args):
            if at and word.upper() in (b"AUTH", b"AUTH2"):
                shown[at + 1 : at + 3] = [b"(redacted)"] * len(shown[at + 1 : at + 3])
    return shown


def shortened(args: Sequence[bytes], total: int, lengths: Sequence[int]) -> tuple[bytes, ...]:
    """At most 32 arguments of at most 128 bytes, as Redis shows them. `args` may be cut: there are `total` in all, of these
    `lengths`."""
    most = MOST_ARGUMENTS - 1 if total > MOST_ARGUMENTS else MOST_ARGUMENTS
    shown = [
        arg if size <= LONGEST_ARGUMENT else arg[:LONGEST_ARGUMENT] + b"... (%d more bytes)" % (size - LONGEST_ARGUMENT)
        for arg, size in zip(args[:most], lengths, strict=False)
    ]
    if total > MOST_ARGUMENTS:
        shown.append(b"... (%d more arguments)" % (total - most))
    return tuple(shown)


@attrs.frozen(slots=True)
class _Words:
    """The beginning of one request: its arguments, cut, and what they were before."""

    args: list[bytes]
    lengths: list[int]
    total: int


def _cut(args: Sequence[bytes]) -> _Words:
    some = redacted(args[:LOOKED_AT])
    return _Words([arg[:LONGEST_ARGUMENT] for arg in some], list(map(len, some)), len(args))


def _words_at(frames: bytes, pos: int) -> _Words:
    """The request at `pos`, without copying what is long."""
    find, end = frames.find, frames.find(b"\n", pos)
    total, at = int(frames[pos + 1 : end - 1]), end + 1
    args: list[bytes] = []
    lengths: list[int] = []
    for _ in range(min(total, LOOKED_AT)):
        end = find(b"\n", at)
        size = int(frames[at + 1 : end - 1])
        args.append(frames[end + 1 : end + 1 + min(size, LONGEST_ARGUMENT)])
        lengths.append(size)
        at = end + 3 + size
    shown = redacted(args)
    sizes = [size if one is arg else len(one) for one, arg, size in zip(shown, args, lengths, strict=True)]
    return _Words(shown, sizes, total)


class SlowLog:
    """The newest entries of one process."""

    def __init__(self) -> None:
        """Nothing is kept before `fit`."""
        self.entries: deque[Entry] = deque(maxlen=0)
        self.missed = 0
        """Slow commands that were not noted, there being too many."""
        self.number, self.processes = 0, 1
        """Of this process among those of the gate: ids are theirs in turn, so that none is given twice."""
        self._given = 0
        self._after = 0.0
        self._namespaces: Namespaces
        self._second = 0.0
        self._noted = 0
        self._run = (0, 0.0)  # the run that was noted last

    def fit(self, seconds: float, entries: int, namespaces: "Namespaces") -> None:
        """Keep `entries` commands that take longer than `seconds`; `namespaces`: whose keys are which."""
        self._after = seconds
        self._namespaces = namespaces
        if entries != self.entries.maxlen:
            self.entries = deque(self.entries, maxlen=entries)

    def takes(self, seconds: float) -> bool:
        """Whether a command that took so long is noted."""
        return seconds > self._after and self.entries.maxlen != 0

    def forwarded(self, up: Upstream, slot: Slot, now: float) -> None:
        """Note commands that were passed on: those of the slot that are unanswered yet."""
        account, run = slot.account, (id(slot), slot.started)
        if account is None or run == self._run or not self.takes(now - slot.started):
            return
        self._run = run
        if self._too_many(now, slot.want):
            return
        began = max(up.since, up.read_before)
        queued = min(max(0.0, began - slot.started), now - slot.started)
        client = slot.owner if isinstance(slot, Asked) else slot.client
        words, name = _first_unanswered(slot), account.command.encode().upper().split(b"|")
        spec = lookup(words.args)
        if spec is None:  # the store knows it by another name
            words.args[: len(name)] = name
        names, keys = self._whose(words, account)
        if spec is not None and spec.lower != account.command:  # the store was asked something else in its place
            words = _cut([*name, *keys])
        shard = up.name.rsplit("/", 2)[0]
        self._keep(client, words, names, now - slot.started, shard, queued, slot.want - 1)

    def executed(
        self, client: Client, args: list[bytes], account: "Account", seconds: float, backend: str, queued: float, more: int = 0
    ) -> None:
        """Note a command that an adapter executed."""
        if self.takes(seconds) and not self._too_many(time.monotonic(), more + 1):
            words = _cut(args)
            self._keep(client, words, self._whose(words, account)[0], seconds, backend, queued, more)

    def ran(self, client: Client, args: list[bytes], seconds: float, queued: float) -> None:
        """Note a command that ran alone, as a task."""
        if self.takes(seconds) and not self._too_many(time.monotonic(), 1):
            words = _cut(args)
            self._keep(client, words, self._whose(words, None)[0], seconds, "", queued, 0)

    def block(self, client: Client, multi: "Multi", seconds: float) -> None:
        """Note a transaction: EXEC, with each queued command as one argument."""
        if not self.takes(seconds) or self._too_many(time.monotonic(), len(multi.commands)):
            return
        queued = multi.commands[:LOOKED_AT]
        lines = [b" ".join(arg[:LONGEST_ARGUMENT] for arg in each.args[:MOST_ARGUMENTS]) for each in queued]
        namespaces: set[str] = set()
        for each in queued:
            namespaces.update(self._names(each.args[at] for at in each.keys[:LOOKED_AT]))
            if len(each.keys) > LOOKED_AT:
                namespaces.add(EVERYTHING)
        if len(multi.commands) > LOOKED_AT:
            namespaces.add(EVERYTHING)
        words = _Words([b"EXEC", *lines], [4, *map(len, lines)], 1 + len(multi.commands))
        place = multi.target
        upstream = "" if place is None else place.backend.name
        self._keep(client, words, tuple(sorted(namespaces)), seconds, upstream, None, 0)

    def reset(self, forget: Callable[[Entry], bool]) -> None:
        """Forget the entries for which `forget` is true."""
        self.entries = deque((entry for entry in self.entries if not forget(entry)), maxlen=self.entries.maxlen)

    def _too_many(self, now: float, commands: int) -> bool:
        if now - self._second > 1.0:
            self._second, self._noted = now, 0
        self._noted += 1
        if self._noted > MOST_IN_A_SECOND:
            self.missed += commands
            return True
        return False

    def _whose(self, words: _Words, account: "Account | None") -> tuple[tuple[str, ...], list[bytes]]:
        """The namespaces of a request, and its keys."""
        spec, keys = lookup(words.args), list[bytes]()
        names: set[str] = set()
        try:
            if spec is None or (words.total > len(words.args) and fixed_keys(spec) is None):
                names.add(EVERYTHING)
            else:
                keys = [words.args[at] for at in key_indices(spec, words.args)]
                names = self._names(keys)
        except Exception:  # noqa: BLE001 - arguments are cut here, and nobody who reads them expects that
            names, keys = {EVERYTHING}, []
        if account is not None and account.namespace:
            names.add(account.namespace)
        return tuple(sorted(names)), keys

    def _names(self, keys: Iterable[bytes]) -> set[str]:
        found = {self._namespaces.of(key) for key in keys}
        return {EVERYTHING if namespace is None else namespace.name for namespace in found}

    def _keep(
        self,
        client: Client | None,
        words: _Words,
        namespaces: tuple[str, ...],
        seconds: float,
        upstream: str,
        queued: float | None,
        more: int,
    ) -> None:
        session = None if client is None else client.session
        self.entries.append(
            Entry(
                id=self._given * self.processes + self.number,
                time=int(time.time()),
                usec=int(seconds * 1e6),
                args=shortened(words.args, words.total, words.lengths),
                address="" if session is None else session.address,
                name=b"" if session is None else session.name,
                user="" if session is None or session.user is None else session.user.name,
                namespaces=namespaces,
                upstream=upstream,
                queued=None if queued is None else int(queued * 1e6),
                more=more,
            )
        )
        self._given += 1


def _first_unanswered(slot: Slot) -> _Words:
    """The first command of the slot that is unanswered, as far as it is found quickly, else only its name."""
    frames, want = slot.frames, slot.want
    if want == 1 and isinstance(slot, Asked):
        return _words_at(frames, 0)
    starts, pos, size = [0], 0, len(frames)
    if frames.count(b"*") != want:  # some are answered, or an argument has a star
        find = frames.find
        while pos < size and len(starts) <= PASSED_OVER:  # what is passed on is spelled in one way: lengths tell all
            end = find(b"\n", pos)
            arguments, pos = int(frames[pos + 1 : end]), end + 1
            for _ in range(arguments):
                end = find(b"\n", pos)
                pos = end + 3 + int(frames[pos + 1 : end])
            starts.append(pos)
        if pos < size:
            first = _words_at(frames, 0)
            return _Words([first.args[0], b"(one of several commands)"], [len(first.args[0]), 25], 2)
        starts.pop()
    return _words_at(frames, starts[-want] if len(starts) >= want else 0)
