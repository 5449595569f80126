"""Commands that are shown to who wants to see some or all of them: MONITOR, hot keys, traces. Costs nothing while nobody does.

There is one count for all of them, that of the lane (`Lane.sampling`), which runs over every command that passes: those in
runs are counted there, those that are looked at above it, or handed to a backend, here.
"""

import logging
import math
import random
from collections.abc import Callable
from typing import Final, Protocol

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import lookup
from kvgate.lane.client import Client
from kvgate.lane.machine import NEVER, Lane
from kvgate.metrics.ledger import Account, Ledger

log = logging.getLogger("kvgate.gate")

NOBODY: Final = 1 << 30


class Watcher(Protocol):
    """Is shown commands that passed all checks, at the time when they are sent on or answered. It must not wait, nor change
    anything of the command."""

    @property
    def every(self) -> int:
        """It wants one of so many commands, by lot; 1: all. May change at any time."""

    def take(self, client: Client, spec: CommandSpec, args: list[bytes]) -> None:
        """See one, as its client wrote it. It stands for `every`."""


class Follower(Protocol):
    """Is shown some commands as a `Watcher` is, and told when they are answered."""

    @property
    def every(self) -> int:
        """As of a `Watcher`."""

    def follow(self, client: Client, spec: CommandSpec) -> Callable[[Account], Account] | None:
        """Makes an account that counts in the one it is given, and tells what it is told; called for each store that takes
        part. None: it does not want this one."""


class Samples:
    """Who wants to see commands."""

    def __init__(self, lane: Lane, ledger: Ledger) -> None:
        """Nobody yet."""
        self._lane = lane
        self._ledger = ledger
        self._watchers: tuple[Watcher, ...] = ()
        self._follower: Follower | None = None
        self._every = NOBODY  # one of so many was shown by the present gap
        self.active = False
        """Whether anybody does; asked before `count` and `above`."""
        self.failures = 0

    def add(self, watcher: Watcher) -> None:
        """Show it commands from now on."""
        self._watchers = (*self._watchers, watcher)
        self._begin()

    def remove(self, watcher: Watcher) -> None:
        """Show it no more; one that is not there is no error."""
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        self._begin()

    def follow(self, follower: Follower | None) -> None:
        """Let this one follow commands from now on; None: nobody."""
        self._follower = follower
        self._begin()

    def _begin(self) -> None:
        self.active = bool(self._watchers) or self._follower is not None
        self._lane.followed = self._follower is not None
        self._lane.sampling = self._gap if self.active else None
        self._lane.unsampled = self._gap() if self.active else NEVER

    @property
    def follows(self) -> bool:
        """Whether somebody follows commands: then one that is shown may be counted elsewhere, and goes by itself."""
        return self._follower is not None

    def _gap(self) -> int:
        """How many commands are passed over before the next one that anybody is shown: by lot, so that nothing regular in
        what clients send is seen always or never."""
        every = min((each.every for each in self._watchers), default=NOBODY)
        if self._follower is not None:
            every = min(every, self._follower.every)
        self._every = every
        return 0 if every <= 1 else int(math.log(1.0 - random.random()) / math.log1p(-1 / every))  # noqa: S311 - no secret

    def _wants(self, every: int) -> bool:
        """Whether one who wants one of `every` wants this one, which anybody wants."""
        return every <= self._every or random.random() * every < self._every  # noqa: S311 - no secret

    # ------------------------------------------------------------------ a command

    def show(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """One of a run that is being sent on; where it is to be counted instead (kvgate.lane.machine.Gate.sampled)."""
        spec = lookup(args)
        return None if spec is None else self._show(client, spec, args, account)

    def count(self, client: Client, spec: CommandSpec, args: list[bytes], account: Account) -> Account:
        """Count one that the lane hands to a backend; where it is to be counted."""
        lane = self._lane
        lane.unsampled -= 1
        if lane.unsampled >= 0:
            return account
        found = self._show(client, spec, args, account)
        lane.unsampled = self._gap()
        return found or account

    def passed(self, client: Client, spec: CommandSpec, name: bytes, words: list[bytes], count: int) -> None:
        """As `count`, for a run of `count` commands while nobody `follows`: their `words` are those behind the `name`, of one
        command after the other."""
        lane = self._lane
        at = lane.unsampled
        if at < count:
            width = len(words) // count
            while at < count:
                self._watch(client, spec, [name, *words[at * width : (at + 1) * width]])
                at += 1 + self._gap()
        lane.unsampled = at - count

    def through(
        self, client: Client, spec: CommandSpec, args: list[bytes], account: Account, send: Callable[[Account], None]
    ) -> None:
        """As `count`, for one that is sent on in another form: that is not counted again."""
        account, lane = self.count(client, spec, args, account), self._lane
        left, lane.unsampled = lane.unsampled, NEVER
        send(account)
        lane.unsampled = left

    def above(self, client: Client, spec: CommandSpec, args: list[bytes], go: Callable[[], None] = lambda: None) -> None:
        """Let one go that was looked at above the lane: what comes of it is not counted again. One that is refused on its
        way is not shown."""
        lane, ledger = self._lane, self._ledger
        left = lane.unsampled - 1
        lane.unsampled = NEVER
        try:
            if left < 0 and self._follower is not None and self._wants(self._follower.every):
                ledger.wrapping = self._follower.follow(client, spec)
            go()
        finally:
            ledger.wrapping = None
            lane.unsampled = max(left, 0)
        if left < 0:
            self._watch(client, spec, args)
            lane.unsampled = self._gap() if self.active else NEVER

    def _show(self, client: Client, spec: CommandSpec, args: list[bytes], account: Account) -> Account | None:
        self._watch(client, spec, args)
        if self._follower is None or not self._wants(self._follower.every):
            return None
        follow = self._follower.follow(client, spec)
        return None if follow is None else follow(account)

    def _watch(self, client: Client, spec: CommandSpec, args: list[bytes]) -> None:
        for watcher in self._watchers:
            try:
                if self._wants(watcher.every):
                    watcher.take(client, spec, args)
            except Exception:  # what it fails at is not the client's affair whose command it was shown
                self.failures += 1
                log.exception("watcher_failed", extra={"command": spec.lower, "do": "report this"})
