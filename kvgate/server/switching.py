"""One process goes from one configuration to another, as its clients meet it.

First, where keys move, new commands on them wait until those under way are answered (`Hold`). Then routing and users are
exchanged in one step: the lane knows nothing any more, so that every client's next command comes to the dispatcher, which
makes the client one of the new configuration (`adopt`) before it looks at the command. The others are adopted in portions.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import trio

from kvgate.admin.answers import ANSWERS
from kvgate.backend import Backend
from kvgate.commands.keys import channels, key_indices
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE
from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.lane.slots import Slot
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.server.difference import location
from kvgate.server.locate import located
from kvgate.server.places import Place, Places
from kvgate.server.session import MOVED, REVOKED, Session

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.subscriptions import Subscriptions

LOOK: Final = 0.001
"""Seconds between looks whether what was under way is answered; the lane tells nobody."""
PORTION: Final = 200
"""Clients adopted in a row, about half a millisecond, before the lane has its turn."""
_NEVER_WAIT: Final = frozenset({"MULTI", "DISCARD", "UNWATCH", "GATE|RELOAD"})


class Moving:
    """Which keys a configuration looks for elsewhere than the one before it."""

    def __init__(self, old: Places, new: Places) -> None:
        """From `old` to `new`; takes milliseconds where there are thousands of namespaces."""
        self._old = old
        self._new = new
        self._known: dict[tuple[str, str], bool] = {}
        self.sources = frozenset(self._find_sources())
        """Names of the backends that lose keys."""

    def key(self, key: bytes) -> bool:
        """Whether the key's commands go elsewhere."""
        return self._differs(self._old.namespaces.of(key), self._new.namespaces.of(key))

    def channel(self, channel: bytes) -> bool:
        """Whether the channel's do."""
        return self._differs(self._old.namespaces.of_channel(channel), self._new.namespaces.of_channel(channel))

    def place(self, place: Place) -> bool:
        """Whether the keys of a namespace that lay there are looked for elsewhere."""
        return self._differs(place.namespace, _named(self._new.namespaces, place.namespace.name))

    def _find_sources(self) -> Iterator[str]:
        names = {rule.name for rule in (*self._old.namespaces.rules, *self._new.namespaces.rules)}
        for name in names:
            here = _named(self._old.namespaces, name)
            if here is not None and self._differs(here, _named(self._new.namespaces, name)):
                yield here.backend

    def _differs(self, here: Namespace | None, there: Namespace | None) -> bool:
        if here is None or not here.backend:
            return False  # nobody could use it, or it is no one's
        if there is None:
            return True
        pair = here.backend, there.backend
        known = self._known.get(pair)
        if known is None:
            backends = self._old.backends[here.backend], self._new.backends[there.backend]
            known = self._known[pair] = location(backends[0]) != location(backends[1])
        return known


def _named(spaces: Namespaces, name: str) -> Namespace | None:
    return spaces.of_name(name) or spaces.default


class Hold:
    """While it is in force, commands on keys that are about to move wait."""

    def __init__(self, gate: "Dispatcher", moving: Moving) -> None:
        """Take note of what is under way."""
        self._gate = gate
        self._moving = moving
        self._slots = list(_unanswered(gate, moving))
        self._busy = [(client, client.session.commands) for client in gate.driver.clients.values() if _is_busy(client)]

    def stops(self, session: Session, spec: CommandSpec, args: list[bytes]) -> bool:
        """Whether a command has to wait. Raises GateError when its keys cannot be found out."""
        keys, names = key_indices(spec, args), channels(spec, args)
        if keys or names:
            return any(self._moving.key(args[at]) for at in keys) or any(self._moving.channel(args[at]) for at in names)
        if spec.name == "EXEC":
            return session.multi is not None and any(
                self.stops(session, queued.spec, queued.args) for queued in session.multi.commands
            )
        return session.multi is None and spec.name not in ANSWERS and spec.name not in _NEVER_WAIT

    async def settled(self, patience: float) -> None:
        """Return when what was under way is answered, or after `patience` seconds."""
        with trio.move_on_after(patience):
            while any(slot.want for slot in self._slots) or any(_still_busy(*each) for each in self._busy):  # noqa: ASYNC110
                await trio.sleep(LOOK)


def _unanswered(gate: "Dispatcher", moving: Moving) -> Iterator[Slot]:
    for name in moving.sources:
        for shard in gate.places.shards.get(name, ()):
            for up in shard.lines:
                yield from up.fifo
    for client in gate.driver.clients.values():
        if client.session.batching or client.session.enqueued:
            yield from client.queue


def _is_busy(client: Client) -> bool:
    """Whether a command of the client runs by itself, or is about to, that waits neither for others' doing nor for this."""
    session: Session = client.session
    runs = client.busy or client.waiting is not None
    return runs and not session.blocked and not session.paused and session.last_command != "gate|reload"


def _still_busy(client: Client, commands: int) -> bool:
    return not client.closed and client.session.commands == commands and _is_busy(client)


def switch(
    gate: "Dispatcher", configuration: Configuration, backends: Mapping[str, Backend], places: Places, moving: Moving
) -> None:
    """Serve another configuration from the next command of every connection on; `adopt_all` has to follow."""
    old_configuration = gate.configuration
    for name, backend in gate.backends.items():
        if backends.get(name) is not backend:
            gate.replaced.put_measures(name, backend.statistics().measures, counted=True)
    old, before = gate.places, gate.configuration.users.backoff
    backoff, configuration.users.backoff = configuration.users.backoff, before  # who guessed wrong is not forgiven
    before.first, before.longest = backoff.first, backoff.longest
    configuration.users.remembered = gate.configuration.users.remembered
    gate.configuration, gate.backends, gate.places, gate.moving = configuration, backends, places, moving
    gate.lane.budget, gate.lane.silence = configuration.gate.command_timeout, configuration.gate.upstream_silence
    gate.find_largest_value()
    gate.fit()
    gate.loaded, gate.reload_error = time.time(), ""
    old.unlearn(lambda _: True)
    gate.throttle.adopt(old_configuration)


async def adopt_all(gate: "Dispatcher") -> None:
    """Make every client one of the present configuration, in portions."""
    clients = list(gate.driver.clients.values())
    for begin in range(0, len(clients), PORTION):
        for client in clients[begin : begin + PORTION]:
            if client.session.places is not gate.places and not client.closed:
                adopt(gate, client)
        gate.driver.kick()
        await trio.lowlevel.checkpoint()


def adopt(gate: "Dispatcher", client: Client) -> None:
    """Make a client one of the present configuration. It is closed when its user is not there any more, or may not come
    from its address, when its certificate does not make it that user any more, and when it listens to what it may not hear
    any more, or to a store that is served no more. A command that waits for what is not the user's any more is ended."""
    session: Session = client.session
    session.places = gate.places
    users = gate.configuration.users
    if session.user is None:
        session.user = users.initial(session.host, session.certificate)
        session.certified = session.user is not None and users.certified(session.certificate) is session.user
    else:
        session.user = users.get(session.user.name)
        lost = session.certified and users.certified(session.certificate) is not session.user
        if session.user is None or lost or not session.user.from_address(session.host):
            if client.busy and session.last_command == "gate|reload":  # it is told what it has done, and nothing more
                session.user = None
                gate.lane.hang_up(client)
            else:
                gate.driver.close_client(client)
            return
    if not _at_home(gate, session):
        gate.driver.close_client(client)
        return
    gate.seats.keep(session, session.user)
    gate.fit_limits(client)
    if session.subscriptions is not None and not _may_listen(gate, session, session.subscriptions):
        gate.driver.close_client(client)
        return
    watch, moving = session.watch, gate.moving
    losing = moving.sources if moving is not None else ()
    if watch is not None and (not _stays(gate, watch.place) or watch.place.backend.name in losing):
        watch.broken = True
        watch.close()
    if session.blocked and session.waits_on is not None and moving is not None and moving.place(session.waits_on):
        gate.unblock(client, MOVED)
    if session.blocked and session.waits_for is not None and not _may_wait(gate, session.user, *session.waits_for):
        gate.unblock(client, REVOKED)
    gate.refit(client)


def _may_listen(gate: "Dispatcher", session: Session, subscriptions: "Subscriptions") -> bool:
    """Whether the client may go on listening: the stores stay, and its user may hear all that it subscribed to."""
    if not all(_stays(gate, feed.place) for feed in subscriptions.feeds.values()):
        return False
    user = session.user
    if user is None:
        return False
    if subscriptions.monitor and not user.allows(TABLE[b"MONITOR"]):
        return False
    spaces = gate.places.namespaces
    if subscriptions.home is not None:
        own = spaces.of(subscriptions.home.prefix)
        return own is not None and user.sees(own)
    names = {name for feed in subscriptions.feeds.values() for name in feed.names}
    found = (spaces.of_pattern(name) if family == b"p" else spaces.of_channel(name) for family, name in names)
    return all(namespace is None or user.sees(namespace) for namespace in found)


def _may_wait(gate: "Dispatcher", user: User | None, spec: CommandSpec, args: list[bytes]) -> bool:
    """Whether the user may (still) have what a blocking command waits for."""
    try:
        if user is not None:
            located(gate.places, user, spec, args)
    except GateError:
        return False
    return user is not None and user.allows(spec)


def _at_home(gate: "Dispatcher", session: Session) -> bool:
    """Give the client the namespace that its database stands for now; False when there is no such database any more, or it
    listens to another namespace's channels. A transaction over two namespaces is none: it is aborted."""
    if session.user is not None and not session.user.has_database(session.database):
        return False
    home = gate.places.home(session.user, session.database)
    if home != session.home:
        if session.subscriptions is not None:
            return False
        if session.multi is not None:
            session.multi.aborted = True
        if session.watch is not None:
            session.watch.broken = True
            session.watch.close()
        session.home = home
    return True


def _stays(gate: "Dispatcher", place: Place) -> bool:
    """Whether what was taken from a place is still to be taken from there, by the same connections."""
    if place.shard is None:
        return gate.backends.get(place.backend.name) is place.backend
    if not any(place.shard is shard for shard in gate.places.shards.get(place.backend.name, ())):
        return False
    return gate.moving is None or not gate.moving.place(place)


def users_of(gate: "Dispatcher", backend: Backend) -> Callable[[], bool]:
    """Tells, whenever it is called, whether a client that was there now still uses the backend: a command of its own that
    runs since then, commands under way in an embedded store, a watched connection."""
    running = [
        (client, client.session.running) for client in gate.driver.clients.values() if client.session.running is not None
    ]

    def busy(client: Client, scope: trio.CancelScope) -> bool:
        session: Session = client.session
        elsewhere = session.blocked and session.waits_on is not None and session.waits_on.backend is not backend
        return session.running is scope and not elsewhere

    def watching(session: Session) -> bool:
        return session.watch is not None and not session.watch.broken and session.watch.place.backend is backend

    def used() -> bool:
        if any(busy(*each) for each in running):
            return True
        sessions: list[Session] = [client.session for client in gate.driver.clients.values()]
        return any(
            watching(session) or any(each.backend is backend for each in session.batches) or session.in_batch is backend
            for session in sessions
        )

    return used
