"""SUBSCRIBE and its kin: upstream connections that feed one client with what it did not ask for one by one.

A channel is routed like a key. A pattern lies inside one namespace by its literal beginning and goes to all shards of its
backend, or to every store that the user may see; messages are filtered by their channel's namespace on delivery. The pump
that reads a feed also writes the confirmations, so that no message can overtake the confirmation of its SUBSCRIBE, which is
said when every feed of the name has confirmed it: what is published after it is heard, on every shard.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from kvgate.backend import BrokenUpstream, OwnConnection
from kvgate.commands.home import Home
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, no_namespace, no_perm_channel, not_supported, try_again, upstream_refused
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.routing.namespaces import KEY_EVENTS, notification
from kvgate.server.blocking import open_own
from kvgate.server.locate import channel_place
from kvgate.server.places import Place
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Push, Raw, Reply, decode, encode
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.pubsub")

MESSAGES: Final = {b"message": (b"", 1), b"pmessage": (b"p", 2), b"smessage": (b"s", 1)}
"""Kind of a message → the family of the name that it comes for, which stands behind the kind, and where its channel stands."""
CONFIRMATIONS: Final = frozenset(
    {b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe"}
)


@attrs.define(slots=True, eq=False)
class Wanted:
    """One name of a SUBSCRIBE or UNSUBSCRIBE, until all feeds that it concerns have confirmed it."""

    kind: bytes
    """``subscribe``, ``punsubscribe`` …"""
    name: bytes
    """As the client knows it."""
    asked: "Sequence[tuple[Feed, bytes]]"
    """The feeds, each with what its store knows the name as."""
    missing: int
    """Confirmations that are still to come."""
    news: frozenset[tuple[bytes, bytes]] = frozenset()
    """(family, name as the stores know it) of what the client does not listen to yet: messages for it are `held`."""
    silent: bool = False
    """The client is told nothing of it."""
    held: "list[tuple[Feed, bytes]]" = attrs.field(factory=list)
    """Raw messages of feeds that have confirmed it while others have not: the client has them after its confirmation."""
    confirmed: trio.Event = attrs.field(factory=trio.Event)
    refusal: bytes = b""
    refusers: "list[Feed]" = attrs.field(factory=list)

    @property
    def begins(self) -> bool:
        """Whether it is a SUBSCRIBE."""
        return self.kind in (b"subscribe", b"psubscribe", b"ssubscribe")

    @property
    def family(self) -> bytes:
        """As in `Subscriptions.families`."""
        return self.kind[:1] if self.kind[:1] in (b"p", b"s") and self.kind != b"subscribe" else b""


class Feed:
    """One upstream connection that carries messages for one client."""

    def __init__(self, place: Place, connection: OwnConnection) -> None:
        """`place` says which shard it comes from."""
        self.place = place
        self.connection = connection
        self.scope = trio.CancelScope()
        self.expected: deque[Wanted] = deque()
        self.begun: Wanted | None = None  # what it has confirmed and other feeds have not
        self.names: set[tuple[bytes, bytes]] = set()  # (family, name), so that a feed without any is closed
        self.closed = False

    def close(self) -> None:
        """End it; what it still brings is for nobody."""
        self.closed = True
        self.scope.cancel()
        self.connection.close()


class Subscriptions:
    """All that one client listens to. `families`: names by kind of SUBSCRIBE."""

    def __init__(self, gate: "Dispatcher", client: Client) -> None:
        """Listen to nothing yet."""
        self.gate = gate
        self.client = client
        self.feeds: dict[tuple[str, int], Feed] = {}
        self.families: dict[bytes, set[bytes]] = {b"": set(), b"p": set(), b"s": set()}
        self.monitor = False  # it is shown commands, too (kvgate.server.command_monitor)
        self.at_end: Callable[[], None] | None = None  # ends that
        self.home: Home | None = client.session.home  # stays while there are subscriptions
        self.meant: dict[tuple[bytes, bytes], list[bytes]] = {}
        """At home: (family, name as the stores know it) → the client's names that it serves."""

    @property
    def channels(self) -> set[bytes]:
        """Names, for CLIENT LIST's ``sub``."""
        return self.families[b""]

    @property
    def patterns(self) -> set[bytes]:
        """Names, for CLIENT LIST's ``psub``."""
        return self.families[b"p"]

    @property
    def shard_channels(self) -> set[bytes]:
        """Names, for CLIENT LIST's ``ssub``."""
        return self.families[b"s"]

    def count(self, family: bytes) -> int:
        """What a confirmation says: channels and patterns together, shard channels by themselves."""
        return len(self.families[b"s"]) if family == b"s" else len(self.families[b""]) + len(self.families[b"p"])

    async def feed(self, place: Place) -> Feed:
        """The feed from a place's shard, opened when it is the first time."""
        index = -1 if place.shard is None else place.shard.index
        found = self.feeds.get((place.backend.name, index))
        if found is None:
            connection = await open_own(self.gate, self.client.session, place)
            found = self.feeds[place.backend.name, index] = Feed(place, connection)
            self.gate.tasks.spawn(self.pump, found)
        return found

    def wholes(self, family: bytes, name: bytes) -> list[bytes]:
        """What stores are asked for, for one of the client's names."""
        if self.home is None:
            return [name]
        return self.home.patterns(name) if family == b"p" else [self.home.whole(name)]

    def only_for(self, family: bytes, name: bytes, whole: bytes) -> bool:
        """Whether nobody misses it when the client's name is given up."""
        return self.home is None or self.meant.get((family, whole)) in (None, [name])

    async def ask(self, kind: bytes, name: bytes, asked: list[tuple[Feed, bytes]]) -> None:
        """Send one of the client's names to its feeds, each with what its store knows it as; wait until all have confirmed."""
        wanted = Wanted(kind, name, asked, len(asked))
        family = wanted.family
        new = [(feed, whole) for feed, whole in asked if wanted.begins and (family, whole) not in feed.names]
        wanted.news = frozenset((family, whole) for _, whole in new)
        for feed, whole in asked:
            feed.expected.append(wanted)
            if wanted.begins:
                feed.names.add((family, whole))
            await feed.connection.send(encode_request([kind, whole]))
        budget = self.gate.configuration.gate.command_timeout
        with trio.move_on_after(budget):
            await wanted.confirmed.wait()
        if not wanted.confirmed.is_set():
            self._let_go(wanted)
            for feed, whole in new:
                feed.names.discard((family, whole))
            self._give_up(list(dict.fromkeys(feed for feed, _ in asked)))
            raise try_again(f"the store did not confirm it within {budget} s")
        if wanted.refusal:
            await self._take_back(wanted, new)
            raise GateError(wanted.refusal.decode("utf-8", "surrogateescape"))
        if not wanted.begins:
            for feed, whole in asked:
                feed.names.discard((family, whole))

    def _give_up(self, feeds: list[Feed]) -> None:
        """End feeds that confirm nothing: a later confirmation would be a lie. With one that carries more the client is
        closed, as with any feed that is lost."""
        for feed in feeds:
            if feed.names:
                self.gate.driver.close_client(self.client)
            feed.close()
        self.feeds = {at: feed for at, feed in self.feeds.items() if feed not in feeds}

    async def _take_back(self, wanted: Wanted, new: list[tuple[Feed, bytes]]) -> None:
        """One feed has refused the name: the others are not to bring its messages."""
        self._let_go(wanted)
        for feed, whole in new:
            feed.names.discard((wanted.family, whole))
            if feed.names and feed not in wanted.refusers:
                kind = wanted.kind.replace(b"sub", b"unsub")
                feed.expected.append(Wanted(kind, wanted.name, [(feed, whole)], 1, silent=True))
                await feed.connection.send(encode_request([kind, whole]))
        self.drop_idle()

    async def pump(self, feed: Feed) -> None:
        """Bring what comes to the client, until the feed ends; if the store ended it, the client is closed."""
        with feed.scope:
            try:
                while not feed.closed:
                    self._take(feed, await feed.connection.receive())
                    self.gate.driver.kick()
            except BrokenUpstream as error:
                if feed.closed:
                    return
                log.warning("subscriber_closed", extra={"client": self.client.id, "why": str(error)})
                for wanted in feed.expected:
                    wanted.refusal = b"TRYAGAIN not executed, may be sent again: the store's connection ended"
                    wanted.confirmed.set()
                self.gate.driver.close_client(self.client)

    def _take(self, feed: Feed, raw: bytes) -> None:
        if raw[:1] not in (b"*", b">"):
            if raw[:1] == b"-" and feed.expected:
                wanted = feed.expected.popleft()
                wanted.refusal = raw[1:-2]
                wanted.refusers.append(feed)
                if raw.startswith((b"-NOAUTH", b"-NOPERM")):  # said to the gate, not to its client
                    wanted.refusal = upstream_refused(raw[1:-2].decode("utf-8", "replace")).reply[1:-2]
                wanted.confirmed.set()
            return
        items = _items(raw)
        if not items:
            return
        kind = items[0]
        if kind in CONFIRMATIONS and feed.expected:
            self._confirm(feed, feed.expected.popleft())
        elif isinstance(kind, bytes) and kind in MESSAGES:
            begun, name = feed.begun, items[1]
            if begun is not None and isinstance(name, bytes) and (MESSAGES[kind][0], name) in begun.news:
                if not begun.refusal:  # else it is being taken back
                    self._hold(begun, feed, raw)
            else:
                self._deliver(feed, items, raw)

    def _hold(self, wanted: Wanted, feed: Feed, raw: bytes) -> None:
        """Keep a message until the client has its confirmation; it counts as what the client has not read."""
        wanted.held.append((feed, raw))
        self.client.held += len(raw)
        self.gate.lane.touch(self.client)  # the driver looks at its limits

    def _let_go(self, wanted: Wanted) -> list[tuple[Feed, bytes]]:
        """What was held for a name, and is no more."""
        held, wanted.held = wanted.held, []
        if not self.client.closed:
            self.client.held -= sum(len(raw) for _, raw in held)
        return held

    def _deliver(self, feed: Feed, items: list[Reply], raw: bytes) -> None:
        """A message, for the client if it may have it. `raw` is as the store wrote it."""
        kind, proto = items[0], self.client.session.proto
        if self.home is not None:
            for message in self._at_home(self.home, feed, items):
                self.gate.lane.push(self.client, encode(Push(message), proto))
        elif isinstance(kind, bytes) and self._visible(feed, items[MESSAGES[kind][1]]):
            same = (raw[:1] == b">") == (proto == 3)
            self.gate.lane.push(self.client, raw if same else encode(Push(items), proto))

    def _confirm(self, feed: Feed, wanted: Wanted) -> None:
        """Say it to the client when all feeds have confirmed it: after a SUBSCRIBE's confirmation no message may be missed."""
        wanted.missing -= 1
        if wanted.silent:
            feed.begun = None
            return
        if wanted.missing or wanted.refusal:
            feed.begun = wanted
            return
        family = wanted.family
        if wanted.begins:
            self.families[family].add(wanted.name)
            if self.home is not None:
                for whole in self.wholes(family, wanted.name):
                    meant = self.meant.setdefault((family, whole), [])
                    meant += [wanted.name] if wanted.name not in meant else []
            self.say(wanted.kind, wanted.name, family)
        else:
            self.given_up(wanted.kind, wanted.name, family)
        wanted.confirmed.set()
        for other, _ in wanted.asked:
            other.begun = None
        for other, raw in self._let_go(wanted):
            self._deliver(other, _items(raw), raw)

    def given_up(self, kind: bytes, name: bytes, family: bytes) -> None:
        """Confirm the end of a name, which no feed carries any more, or for other names only."""
        self.families[family].discard(name)
        if self.home is not None:
            for whole in self.wholes(family, name):
                left = [other for other in self.meant.pop((family, whole), []) if other != name]
                if left:
                    self.meant[family, whole] = left
        self.say(kind, name, family)

    def say(self, kind: bytes, name: bytes | None, family: bytes) -> None:
        self.gate.lane.push(self.client, encode(Push([kind, name, self.count(family)]), self.client.session.proto))

    def _visible(self, feed: Feed, channel: Reply) -> bool:
        """Whether the user may hear of the channel, and this feed is where it belongs."""
        user: User | None = self.client.session.user
        if user is None or not isinstance(channel, bytes):
            return False
        namespace = self.gate.places.namespaces.of_channel(channel)
        if namespace is None or not user.sees(namespace):
            return False
        blocks = self.gate.places.blocks
        if blocks.active and any(not block.writes_only for block in blocks.of_namespace(namespace)):
            return False
        return namespace is KEY_EVENTS or channel_place(self.gate.places, namespace, channel).shard is feed.place.shard

    def _at_home(self, home: Home, feed: Feed, items: list[Reply]) -> Iterator[list[Reply]]:
        """A message as the client knows it; of a pattern, for each of the client's patterns that it matches."""
        kind, name, channel, body = items[0], items[1], items[-2], items[-1]
        user: User | None = self.client.session.user
        namespace = self.gate.places.namespaces.of(home.prefix)
        if not (isinstance(name, bytes) and isinstance(channel, bytes) and isinstance(body, bytes)):
            return
        said = home.said(channel)
        if said is None or namespace is None or user is None or not user.sees(namespace):
            return
        blocks = self.gate.places.blocks
        if blocks.active and any(not block.writes_only for block in blocks.of_namespace(namespace)):
            return
        key = notification(channel)[1]
        if home.is_event(channel):
            if not body.startswith(home.prefix):
                return
            key, body = body, body[len(home.prefix) :]
        if self.gate.places.place(namespace, key).shard is not feed.place.shard:
            return
        if kind != b"pmessage":
            yield [kind, said, body]
            return
        for pattern in self.meant.get((b"p", name), ()):
            if glob_matcher(pattern)(said):
                yield [kind, pattern, said, body]

    def close(self) -> None:
        """End all feeds."""
        if self.at_end is not None:
            self.at_end()
        for feed in self.feeds.values():
            feed.close()

    def drop_idle(self) -> None:
        """Close the feeds that carry nothing any more."""
        for at, feed in list(self.feeds.items()):
            if not feed.names and not self.monitor:
                feed.close()
                del self.feeds[at]


def _items(raw: bytes) -> list[Reply]:
    """Of a push, or an array; empty for anything else."""
    reply = decode(raw)
    items = reply.items if isinstance(reply, Push) else reply
    return items if isinstance(items, list) else []


def _places(gate: "Dispatcher", user: User, spec: CommandSpec, name: bytes, *, pattern: bool) -> list[Place]:
    """Where to listen for a channel or a pattern.

    Raises:
        GateError: NOPERM, NONAMESPACE, not supported by the backend.
    """
    spaces = gate.places.namespaces
    namespace = spaces.of_pattern(name) if pattern else spaces.of_channel(name)
    if namespace is not None and not user.sees(namespace):
        raise no_perm_channel()
    if namespace is None and not pattern:
        raise no_namespace(name)
    if gate.places.blocks.active and namespace is not None:
        for block in gate.places.blocks.of_namespace(namespace):
            if not block.writes_only:
                raise block.error
    if namespace is not None and namespace is not KEY_EVENTS:
        backend = gate.backends[namespace.backend]
        if "pubsub" not in backend.capabilities:
            raise not_supported(spec.lower, backend.name, backend.type)
        if not pattern:
            return [channel_place(gate.places, namespace, name)]
        return [Place(namespace, backend, shard) for shard in gate.places.shards[backend.name]]
    places = [
        Place(KEY_EVENTS, backend, shard)
        for backend in gate.places.visible(user)
        if "pubsub" in backend.capabilities
        for shard in gate.places.shards.get(backend.name, ())
    ]
    if not places:
        raise GateError(f"ERR command '{spec.lower}' is not supported by any backend that this user may see")
    return places


def _places_at_home(gate: "Dispatcher", user: User, spec: CommandSpec, home: Home, whole: bytes) -> list[Place]:
    """Where to listen for a channel or a pattern of a home namespace, as the stores know it.

    Raises:
        GateError: NOPERM, not supported by the backend.
    """
    namespace = gate.places.namespaces.of(home.prefix)
    if namespace is None or not user.sees(namespace):
        raise no_perm_channel()
    if gate.places.blocks.active:
        for block in gate.places.blocks.of_namespace(namespace):
            if not block.writes_only:
                raise block.error
    backend = gate.backends[namespace.backend]
    if "pubsub" not in backend.capabilities:
        raise not_supported(spec.lower, backend.name, backend.type)
    if spec.name != "PSUBSCRIBE" and not home.is_event(whole):
        return [channel_place(gate.places, namespace, whole)]
    return [Place(namespace, backend, shard) for shard in gate.places.shards[backend.name]]


def _wanted(gate: "Dispatcher", client: Client, spec: CommandSpec, name: bytes) -> tuple[bytes, list[tuple[Place, bytes]]]:
    """One of the client's names, and where to ask for what. `name` is whole where it is a channel's. Raises GateError."""
    session: Session = client.session
    user, home, pattern = session.user, session.home, spec.name == "PSUBSCRIBE"
    if user is None:
        raise no_perm_channel()
    if home is None:
        return name, [(place, name) for place in _places(gate, user, spec, name, pattern=pattern)]
    wholes = home.patterns(name) if pattern else [name]
    asked = [(place, whole) for whole in wholes for place in _places_at_home(gate, user, spec, home, whole)]
    return (name if pattern else home.said(name) or b""), asked


def _subscribe(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    wanted = [_wanted(gate, client, spec, name) for name in args[1:]]
    gate.tasks.alone(client, _listen, gate, client, spec.lower.encode(), wanted, silent=True)


async def _listen(
    gate: "Dispatcher", client: Client, kind: bytes, wanted: list[tuple[bytes, list[tuple[Place, bytes]]]]
) -> Raw | Reply:
    session: Session = client.session
    subscriptions = session.subscriptions
    if subscriptions is None:
        subscriptions = session.subscriptions = Subscriptions(gate, client)
        gate.refit(client)
    try:
        for name, places in wanted:
            await subscriptions.ask(kind, name, [(await subscriptions.feed(place), whole) for place, whole in places])
    except BrokenUpstream:
        gate.driver.close_client(client)
    except GateError as error:
        gate.lane.push(client, error.reply)
    finally:
        if client.closed:
            subscriptions.close()  # a feed that was opened while the client left
    _maybe_over(gate, client)
    return None


def _unsubscribe(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    home: Home | None = client.session.home
    names = args[1:] if home is None or spec.name == "PUNSUBSCRIBE" else [home.said(name) or b"" for name in args[1:]]
    gate.tasks.alone(client, _listen_no_more, gate, client, spec.lower.encode(), names, silent=True)


async def _listen_no_more(gate: "Dispatcher", client: Client, kind: bytes, names: list[bytes]) -> Raw | Reply:
    session: Session = client.session
    subscriptions = session.subscriptions or Subscriptions(gate, client)
    family = kind[:1] if kind != b"unsubscribe" else b""
    chosen: list[bytes | None] = [*(names or sorted(subscriptions.families[family]))]
    for name in chosen or [None]:
        if name is None or name not in subscriptions.families[family]:
            subscriptions.say(kind, name, family)  # what was not subscribed is confirmed all the same
            continue
        wholes = [each for each in subscriptions.wholes(family, name) if subscriptions.only_for(family, name, each)]
        feeds = subscriptions.feeds.values()
        asked = [(feed, whole) for feed in feeds for whole in wholes if (family, whole) in feed.names]
        if not asked:
            subscriptions.given_up(kind, name, family)
            continue
        try:
            await subscriptions.ask(kind, name, asked)
        except BrokenUpstream:
            gate.driver.close_client(client)
            return None
    subscriptions.drop_idle()
    _maybe_over(gate, client)
    return None


def _maybe_over(gate: "Dispatcher", client: Client) -> None:
    """A client that listens to nothing is an ordinary one again."""
    session: Session = client.session
    subscriptions = session.subscriptions
    if subscriptions is not None and not subscriptions.monitor and not any(subscriptions.families.values()):
        forget(session)
        if not client.closed:
            gate.refit(client)


def forget(session: "Session") -> None:
    """The client left, or said RESET."""
    if session.subscriptions is not None:
        session.subscriptions.close()
        session.subscriptions = None


WAYS: "dict[str, Way]" = {
    "SUBSCRIBE": _subscribe,
    "PSUBSCRIBE": _subscribe,
    "SSUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "PUNSUBSCRIBE": _unsubscribe,
    "SUNSUBSCRIBE": _unsubscribe,
}
