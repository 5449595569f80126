"""MONITOR and GATE MONITOR: the commands that pass the gate, in all workers, as far as they are the user's to see.

A store's own MONITOR would show the neighbours, and halves what a Redis can do; so the gate shows what passes itself. A
command is shown if every key in it lies in namespaces that the user sees. One without keys is shown if the
same user sent it. Scripts of others are shown without their text, others' addresses and passwords and administration never.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from kvgate.commands.keys import hidden_patterns, integer
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import by_full_name
from kvgate.errors import NOT_AN_INTEGER, GateError, no_perm_key, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.server.locate import located
from kvgate.server.places import Place
from kvgate.server.subscriptions import Subscriptions
from kvgate.wire.reply import OK, Reply

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.session import Session

MOST_ARGUMENTS: Final = 64
LONGEST_ARGUMENT: Final = 1024
"""Bytes that are shown of one; of the rest its length."""
LOOK: Final = 0.1
"""Seconds between two looks at what other workers have seen, and whether the client is still there and may see."""
LEASE: Final = 2.0
"""Seconds after which a worker shows no more to who has not asked for it again."""
THINNER: Final = 32
"""While more lines come than may be shown, only one of so many commands is looked at."""
LARGEST_SAMPLE: Final = 1_000_000
NEVER_SHOWN: Final = frozenset({"AUTH", "HELLO", "QUIT", "RESET", "MIGRATE"})
"""They carry passwords, or end the monitoring; CONFIG, ACL … have the flag ``admin``, and are not shown, as in Redis."""
_MONITOR: Final = "MONITOR"


class Watch:
    """What one monitoring client is to see of the commands that pass this worker; a kvgate.server.samples.Watcher."""

    def __init__(self, gate: "Dispatcher", user: str, only: str, sample: int, put: Callable[[bytes], None]) -> None:
        """`only`: a namespace or ``App.*``, empty for all that the `user` sees; `put` takes the lines."""
        self._gate = gate
        self._user = user
        self._only = only
        self._sample = sample
        self._put = put
        self._known: tuple[User | None, User | None] = (None, None)
        self._second = 0
        self._left = 0
        self.dropped = 0
        """Commands that were not shown because there were too many, about; who reports it sets it back."""

    @property
    def every(self) -> int:
        """See `Watcher`."""
        return self._sample * THINNER if self._left <= 0 and int(time.time()) == self._second else self._sample

    def take(self, client: Client, spec: CommandSpec, args: list[bytes]) -> None:
        """See `Watcher`."""
        shown = self._shown(client, spec, args)
        if shown is None:
            return
        now = time.time()
        if int(now) != self._second:
            self._second, self._left = int(now), self._gate.configuration.gate.monitor_lines
        if self._left <= 0:
            self.dropped += self.every
            return
        self._left -= 1
        self._put(line(now, *shown))

    def _reader(self) -> User | None:
        """The user as one who may write wherever it may read: it is shown the writes of others."""
        user = self._gate.configuration.users.get(self._user)
        if user is None or not user.read_only:
            return user
        if self._known[0] is not user:
            self._known = user, attrs.evolve(user, namespaces=user.namespaces + user.read_only, read_only=())
        return self._known[1]

    def _shown(self, client: Client, spec: CommandSpec, args: list[bytes]) -> tuple[int, str, list[bytes]] | None:
        """Database, address and arguments as the user may see them; None when it may not, or nobody may."""
        session: Session = client.session
        user, places = self._reader(), self._gate.places
        if user is None or session.user is None or spec.name in NEVER_SHOWN or "admin" in spec.flags:
            return None
        if session.subscriptions is not None and session.subscriptions.monitor:
            return None
        own = user.sees_all or session.user.name == user.name
        try:
            found = located(places, user, spec, args)
        except GateError:
            return None
        if not found and (not own or self._only):
            return None
        if self._only and not all(within(place.namespace.name, self._only) for _, place in found):
            return None
        database = session.database
        if user.databases and found:
            told = self._at_home(user, spec, args, found)
            if told is None:
                return None
            database, args = told
        if not own and spec.capability in ("script", "function"):
            args = [args[0], b"(not shown)", *(args[index] for index, _ in found)]
        return database, session.address if own else "0.0.0.0:0", args

    def _at_home(
        self, user: User, spec: CommandSpec, args: list[bytes], found: list[tuple[int, Place]]
    ) -> tuple[int, list[bytes]] | None:
        """Database and arguments as a user with databases knows them; None when the keys are in none of these."""
        names = {place.namespace.name for _, place in found}
        number = next((each for each, name in user.databases.items() if names == {name}), -1)
        home = self._gate.places.home(user, number)
        if home is None:
            return None
        shown = dict(enumerate(args))
        for index in (*(index for index, _ in found), *hidden_patterns(spec, args)):
            shown[index] = home.said(args[index]) or b""
        return number, [*shown.values()]


def within(name: str, only: str) -> bool:
    """Whether a namespace is the one named, or one of ``App.*``."""
    return name == only or (only.endswith(".*") and name.startswith(only[:-1]))


def line(now: float, database: int, address: str, args: list[bytes]) -> bytes:
    """As Redis writes it."""
    words = [quoted(arg) for arg in args[:MOST_ARGUMENTS]]
    if len(args) > MOST_ARGUMENTS:
        words.append(quoted(b"... (%d more arguments)" % (len(args) - MOST_ARGUMENTS)))
    where = address.encode("utf-8", "replace")
    return b"+%d.%06d [%d %b] %b\r\n" % (int(now), int(now * 1_000_000) % 1_000_000, database, where, b" ".join(words))


_ESCAPES: Final = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}
_SHOWN: Final = {at: _ESCAPES.get(at, chr(at) if 0x20 <= at < 0x7F else f"\\x{at:02x}") for at in range(256)}


def quoted(arg: bytes) -> bytes:
    """In quotes, and escaped as Redis' ``sdscatrepr`` does; a long one is cut."""
    cut = b""
    if len(arg) > LONGEST_ARGUMENT:
        cut = b"... (%d more bytes)" % (len(arg) - LONGEST_ARGUMENT)
        arg = arg[:LONGEST_ARGUMENT]
    return b'"%b%b"' % (arg.decode("latin-1").translate(_SHOWN).encode("ascii"), cut)


# ---------------------------------------------------------------------- other workers


class Lent:
    """A watch for a client of another worker: what it has seen waits to be fetched."""

    def __init__(self, gate: "Dispatcher", user: str, only: str, sample: int) -> None:
        """Begin."""
        self.lines: deque[bytes] = deque()
        self.asked = trio.current_time()
        self.watch = Watch(gate, user, only, sample, self.lines.append)

    def fetch(self) -> list[Any]:
        """The lines since the last time, and how many were dropped."""
        self.asked = trio.current_time()
        lines, dropped = [each.decode("latin-1") for each in self.lines], self.watch.dropped
        self.lines.clear()
        self.watch.dropped = 0
        return [lines, dropped]


async def for_other(gate: "Dispatcher", ident: str, user: str, only: str, sample: int) -> list[Any]:
    """What this worker has seen for a monitoring client of another one since it last asked; the first time: nothing yet."""
    lent = gate.lent.get(ident)
    if lent is None:
        lent = gate.lent[ident] = Lent(gate, user, only, sample)
        gate.samples.add(lent.watch)
        gate.tasks.spawn(_end_lease, gate, ident, lent)
    return lent.fetch()


async def _end_lease(gate: "Dispatcher", ident: str, lent: Lent) -> None:
    try:
        while (left := lent.asked + LEASE - trio.current_time()) > 0:  # noqa: ASYNC110 - it is put off again and again
            await trio.sleep(left)
    finally:
        del gate.lent[ident]
        gate.samples.remove(lent.watch)


# ---------------------------------------------------------------------- the commands


def _parse(gate: "Dispatcher", user: User, args: list[bytes]) -> tuple[str, int]:
    """``[namespace] [SAMPLE n]``: the namespace, empty for all, and n."""
    words, sample, only = args, 1, ""
    if len(words) >= 2 and words[-2].upper() == b"SAMPLE":
        number = integer(words[-1])
        if number is None or not 1 <= number <= LARGEST_SAMPLE:
            raise GateError(NOT_AN_INTEGER)
        sample, words = number, words[:-2]
    if len(words) > 1:
        raise syntax_error()
    if words:
        only = words[0].decode("utf-8", "surrogateescape")
        namespace = gate.places.namespaces.of_name(only)
        if namespace is None or not user.sees(namespace):
            raise no_perm_key()
    return only, sample


def _monitor(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    session: Session = client.session
    user = session.user
    if user is None:
        return
    only, sample = _parse(gate, user, args[2:]) if spec.name != _MONITOR else ("", 1)
    if session.subscriptions is not None and session.subscriptions.monitor:
        gate.reply(client, OK)
        return
    gate.tasks.alone(client, _begin, gate, client, user.name, only, sample)


async def _begin(gate: "Dispatcher", client: Client, user: str, only: str, sample: int) -> Reply:
    """Nothing is waited for here: the reply goes out before the first line."""
    session: Session = client.session
    subscriptions = session.subscriptions or Subscriptions(gate, client)
    watch = Watch(gate, user, only, sample, lambda text: gate.lane.push(client, text))
    subscriptions.monitor = True
    subscriptions.at_end = lambda: gate.samples.remove(watch)
    session.subscriptions = subscriptions
    gate.refit(client)
    gate.samples.add(watch)
    gate.tasks.spawn(_tend, gate, client, subscriptions, watch, user, only, sample)
    return OK


async def _tend(
    gate: "Dispatcher", client: Client, subscriptions: Subscriptions, watch: Watch, user: str, only: str, sample: int
) -> None:
    """Bring what other workers see, and say what was dropped, until the client leaves, says RESET, or may see no more."""
    session: Session = client.session
    ident, told = f"{os.getpid()}:{client.id}", time.monotonic()
    while not client.closed and session.subscriptions is subscriptions:
        known, spec = gate.configuration.users.get(user), by_full_name(_MONITOR.encode())
        if known is None or session.user is None or session.user.name != user or spec is None or not known.allows(spec):
            gate.driver.close_client(client)
            return
        if gate.fleet is not None:
            await _fetch(gate, client, subscriptions, watch, (ident, user, only, sample))
        if watch.dropped and time.monotonic() - told >= 1:
            told = time.monotonic()
            gate.lane.push(client, line(time.time(), 0, "kvgate:0", [b"DROPPED", b"%d" % watch.dropped]))
            watch.dropped = 0
        gate.driver.kick()
        await trio.sleep(LOOK)


async def _fetch(
    gate: "Dispatcher", client: Client, subscriptions: Subscriptions, watch: Watch, wanted: tuple[str, str, str, int]
) -> None:
    """What the other workers have seen."""
    assert gate.fleet is not None  # noqa: S101 - the caller asked
    for lines, dropped in await gate.fleet.others("watch", *wanted):
        watch.dropped += dropped
        if client.session.subscriptions is subscriptions:
            for each in lines:
                gate.lane.push(client, each.encode("latin-1"))


WAYS: "dict[str, Way]" = {"MONITOR": _monitor, "GATE|MONITOR": _monitor}
