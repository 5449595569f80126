"""SUBSCRIBE and its kin: upstream connections that feed one client with what it did not ask for one by one.

A channel is routed like a key. A pattern lies inside one namespace by its literal beginning and goes to all shards of its
backend, or to every store that the user may see; messages are filtered by their channel's namespace on delivery. The pump
that reads a feed also writes the confirmations, so that no message can overtake the confirmation of its SUBSCRIBE.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import trio

from kvgate.backend import BrokenUpstream, OwnConnection
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, no_namespace, no_perm_channel, not_supported, try_again
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.routing.namespaces import KEY_EVENTS
from kvgate.server.blocking import open_own
from kvgate.server.locate import channel_place
from kvgate.server.places import Place
from kvgate.wire.reply import Push, Raw, Reply, decode, encode
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.pubsub")

MESSAGES: Final = {b"message": 1, b"pmessage": 2, b"smessage": 1}
"""Kind of a message → where its channel stands."""
CONFIRMATIONS: Final = frozenset(
    {b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe"}
)


@attrs.define(slots=True, eq=False)
class Wanted:
    """One name of a SUBSCRIBE or UNSUBSCRIBE, until all feeds that it concerns have confirmed it."""

    kind: bytes
    """``subscribe``, ``punsubscribe`` …"""
    name: bytes
    missing: int
    said: bool = False
    """Whether the client has its confirmation."""
    confirmed: trio.Event = attrs.field(factory=trio.Event)
    refusal: bytes = b""


class Feed:
    """One upstream connection that carries messages for one client."""

    def __init__(self, place: Place, connection: OwnConnection) -> None:
        """`place` says which shard it comes from."""
        self.place = place
        self.connection = connection
        self.scope = trio.CancelScope()
        self.expected: deque[Wanted] = deque()
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

    async def ask(self, kind: bytes, family: bytes, name: bytes, feeds: list[Feed]) -> None:
        """Send one name to its feeds, and wait until all have confirmed."""
        wanted = Wanted(kind, name, len(feeds))
        for feed in feeds:
            feed.expected.append(wanted)
            if kind.startswith((b"un", b"pun", b"sun")):
                feed.names.discard((family, name))
            else:
                feed.names.add((family, name))
            await feed.connection.send(encode_request([kind, name]))
        budget = self.gate.configuration.gate.command_timeout
        with trio.move_on_after(budget):
            await wanted.confirmed.wait()
        if not wanted.confirmed.is_set():
            self._give_up(feeds, (family, name))
            raise try_again(f"the store did not confirm it within {budget} s")
        if wanted.refusal:
            raise GateError(wanted.refusal.decode("utf-8", "surrogateescape"))

    def _give_up(self, feeds: list[Feed], unconfirmed: tuple[bytes, bytes]) -> None:
        """End feeds that confirm nothing: a later confirmation would be a lie. With one that carries more the client is
        closed, as with any feed that is lost."""
        for feed in feeds:
            feed.names.discard(unconfirmed)
            if feed.names:
                self.gate.driver.close_client(self.client)
            feed.close()
        self.feeds = {at: feed for at, feed in self.feeds.items() if feed not in feeds}

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
                wanted.confirmed.set()
            return
        reply = decode(raw)
        items = reply.items if isinstance(reply, Push) else reply
        if not isinstance(items, list) or not items:
            return
        kind = items[0]
        if kind in CONFIRMATIONS and feed.expected:
            self._confirm(feed.expected.popleft())
        elif isinstance(kind, bytes) and kind in MESSAGES and self._visible(feed, items[MESSAGES[kind]]):
            proto = self.client.session.proto
            same = (raw[:1] == b">") == (proto == 3)
            self.gate.lane.push(self.client, raw if same else encode(Push(items), proto))

    def _confirm(self, wanted: Wanted) -> None:
        """Say it to the client: of a SUBSCRIBE the first feed's word, before its messages; of an UNSUBSCRIBE the last."""
        begins = wanted.kind[-9:] == b"subscribe" and not wanted.kind.startswith((b"un", b"pun", b"sun"))
        family = wanted.kind[:1] if wanted.kind[:1] in (b"p", b"s") and wanted.kind != b"subscribe" else b""
        names = self.families[family]
        wanted.missing -= 1
        if begins and not wanted.said:
            names.add(wanted.name)
            wanted.said = True
            self.say(wanted.kind, wanted.name, family)
        elif not begins and not wanted.missing:
            names.discard(wanted.name)
            self.say(wanted.kind, wanted.name, family)
        if not wanted.missing:
            wanted.confirmed.set()

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


def _subscribe(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    session: Session = client.session
    user = session.user
    if user is None:
        return
    pattern = spec.name == "PSUBSCRIBE"
    wanted = [(name, _places(gate, user, spec, name, pattern=pattern)) for name in args[1:]]
    gate.tasks.alone(client, _listen, gate, client, spec.lower.encode(), wanted, silent=True)


async def _listen(
    gate: "Dispatcher", client: Client, kind: bytes, wanted: list[tuple[bytes, list[Place]]]
) -> Raw | Reply:
    session: Session = client.session
    subscriptions = session.subscriptions
    if subscriptions is None:
        subscriptions = session.subscriptions = Subscriptions(gate, client)
        gate.refit(client)
    family = kind[:1] if kind != b"subscribe" else b""
    try:
        for name, places in wanted:
            await subscriptions.ask(kind, family, name, [await subscriptions.feed(place) for place in places])
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
    gate.tasks.alone(client, _listen_no_more, gate, client, spec.lower.encode(), args[1:], silent=True)


async def _listen_no_more(gate: "Dispatcher", client: Client, kind: bytes, names: list[bytes]) -> Raw | Reply:
    session: Session = client.session
    subscriptions = session.subscriptions or Subscriptions(gate, client)
    family = kind[:1] if kind != b"unsubscribe" else b""
    chosen: list[bytes | None] = [*(names or sorted(subscriptions.families[family]))]
    for name in chosen or [None]:
        feeds = [feed for feed in subscriptions.feeds.values() if (family, name) in feed.names]
        if name is None or not feeds:
            subscriptions.say(kind, name, family)  # what was not subscribed is confirmed all the same
            continue
        try:
            await subscriptions.ask(kind, family, name, feeds)
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
