"""What every command meets, in order, when the lane did not take it by itself: the gates, then its way.

`Dispatcher.request` is the list: known, authenticated, permitted, possible in this context, queued by MULTI or not; then
the command's row in the table says which way it goes: answered here, forwarded, split, executed by an adapter, or alone on
another path. Every refusal comes before anything is sent to a store.
"""

import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs
import trio

from kvgate.admin.answers import ANSWERS
from kvgate.admin.client import NO_SUCH_CLIENT
from kvgate.backend import INTERNAL_PREFIX, Backend, CallContext, Command, PassThrough
from kvgate.commands.keys import channels, fixed_keys, hidden_patterns, key_indices, needs_own_connection
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import lookup, resolve, supports
from kvgate.errors import (
    NO_AUTH,
    GateError,
    cross_slot,
    no_namespace,
    no_perm_channel,
    no_perm_command,
    no_perm_key,
    not_supported,
    refused,
    too_large,
)
from kvgate.lane.client import NO_ROUTES, Client
from kvgate.lane.driver import Driver, Listener, Transport
from kvgate.lane.machine import Lane
from kvgate.lane.slots import Call
from kvgate.lane.upstream import Upstream
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import Namespace, notification
from kvgate.routing.slots import hash_text
from kvgate.server import blocking, listing, reloading, scripts, subscriptions, switching, transactions, watch
from kvgate.server.difference import Difference
from kvgate.server.fleet import FOR_ALL, Fleet
from kvgate.server.places import Place, Places
from kvgate.server.session import Answer, Emulated, Session
from kvgate.server.split import merge, part
from kvgate.server.switching import Hold, Moving
from kvgate.wire.reply import Error, Raw, Reply, decode, encode
from kvgate.wire.request import encode_request

log = logging.getLogger("kvgate.gate")

Way = Callable[["Dispatcher", Client, CommandSpec, list[bytes], bytes, float], None]
"""What is done with a checked command: ``way(dispatcher, client, spec, args, frame, now)``."""

WHILE_SUBSCRIBED: Final = frozenset(
    {"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE", "PING", "QUIT", "RESET"}
)
NEVER_QUEUED: Final = frozenset({"EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"})
"""What Redis runs at once inside MULTI."""
HELD_PORTION: Final = 64
"""Commands that a pause held back and that are looked at in a row, before the lane has its turn."""
BEFORE_AUTH: Final = frozenset({"AUTH", "HELLO", "QUIT", "RESET"})

WAYS: Final[Mapping[str, Way]] = {
    **listing.WAYS,
    **scripts.WAYS,
    **transactions.WAYS,
    **subscriptions.WAYS,
    **watch.WAYS,
    **blocking.WAYS,
    **reloading.WAYS,
}
"""Commands with a way of their own, by row name; each module says which."""


class Dispatcher:
    """The gate above the lane (kvgate.lane.machine.Gate, kvgate.server.site.Site)."""

    def __init__(self, configuration: Configuration, backends: Mapping[str, Backend]) -> None:
        """Serve `backends` as `configuration` says; `attach` and `run` follow."""
        gate = configuration.gate
        self.configuration = configuration
        self.backends = backends
        self.lane = Lane(self, budget=gate.command_timeout, silence=gate.upstream_silence)
        self.places = Places(configuration, backends)
        self.started = time.time()
        self.run_id = secrets.token_hex(20)
        self.find_largest_value()
        self.paused_until = 0.0
        self.connections = 0
        self.commands = 0
        self.driver: Driver
        self._present: Client | None = None  # whose request is being looked at
        self._paused_writes_only = False
        self.hold: Hold | None = None  # while a reload moves keys
        self.moving: Moving | None = None  # what the last switch moved, until every client knows of it
        self._held: deque[_Held] = deque()  # commands that wait for the end of a pause or a hold
        self._next_id = 1
        self._nursery: trio.Nursery
        self.fleet: Fleet | None = None  # the other workers; None: there are none
        self.reload: Callable[[bool], Awaitable[Difference]] | None = None
        """Takes the configuration file into service (or only looks, when True) in all workers."""
        self.loaded = self.started
        self.reload_error = ""
        self._shared_connections = configuration.gate.shared_connections
        self.attach(self.places, backends)

    def attach(self, places: Places, names: Iterable[str]) -> None:
        """Tell backends, before they run, how to reach the lane's connections to them."""
        for name in names:
            backend = places.backends[name]
            if isinstance(backend, PassThrough):
                backend.attach(_Shared(self, places.shards[name]))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the tasks of slow commands until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # ------------------------------------------------------------------ clients come and go

    def welcome(self, transport: Transport, host: str, listener: Listener) -> Client | bytes:
        """Make a client of a new connection (kvgate.lane.driver.Welcome)."""
        user = self.configuration.users.initial(host)
        if user is None and not self.configuration.users.configured:
            return b"-DENIED this gate has no users and serves this machine only: add [users.*] to its configuration\r\n"
        ident = transport.ident
        if not ident:
            ident = self._next_id
            self._next_id += 1
        session = Session(transport.address, host, listener.name, user)
        session.places = self.places
        client = Client(ident, session, transport)
        self.fit_limits(client)
        self.connections += 1
        self._fit(client)
        return client

    def left(self, client: Client) -> None:
        """The client's connection has ended: what runs for it is cancelled, its own connections are closed."""
        session: Session = client.session
        if session.running is not None:
            session.running.cancel()
        transactions.forget(session)
        subscriptions.forget(session)

    def half_closed(self, client: Client) -> None:
        """The client sends no more. Who waits in a blocking command or is subscribed has left."""
        session: Session = client.session
        if session.blocked or session.subscriptions is not None:
            self.driver.close_client(client)

    def find_largest_value(self) -> None:
        """Look for the largest value that any namespace allows: what is larger is not even gathered."""
        self._largest_value = max((self.largest_of(rule) for rule in self.configuration.namespaces.rules), default=0)

    def fit_limits(self, client: Client) -> None:
        """Tell the client's scanner how large a value may be."""
        client.scanner.value_limit = self._largest_value

    def _fit(self, client: Client) -> None:
        """Tell the lane what it may do for this client now."""
        session: Session = client.session
        client.scanner.authenticated = session.user is not None
        if session.user is not None and session.plain and not self.paused_until:
            client.routes = self.places.compiled(session.user, session.proto).routes
        else:
            client.routes = NO_ROUTES
        client.subscribed = session.subscriptions is not None
        of_protocol = self._shared_connections
        self.lane.move(client, client.id % of_protocol + (of_protocol if session.proto == 3 else 0))

    # ------------------------------------------------------------------ the gates, in order

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Serve one request."""
        session: Session = client.session
        session.commands += 1
        self.commands += 1
        self._present = client
        session.quiet = session.silent or session.skip_next
        if session.skip_next:
            session.skip_next = False
            self._fit(client)
        self._look(client, args, frame, now)

    def _look(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """All the gates; of a command that had to wait, again."""
        session: Session = client.session
        if session.places is not self.places:
            switching.adopt(self, client)
            if client.closed:
                return
        spec: CommandSpec | None = None
        try:
            spec = self._known(client, args)
            if spec is None:
                return
            session.last_command = spec.lower
            user = _authenticated(session, spec)
            if not user.allows(spec):
                raise no_perm_command(spec.lower, user.name)
            _possible_now(session, spec, args)
            if (self.paused_until or self.hold) and self._has_to_wait(session, spec, args):
                self._later(client, args, frame)
            elif session.multi is not None and spec.name not in NEVER_QUEUED:
                transactions.queue(self, client, user, spec, args, frame)
            else:
                self._go(client, user, spec, args, frame, now)
        except GateError as error:
            if spec is None and args[0].upper() == b"EXEC":
                spec = lookup(args)  # of wrong arity
            self.reply(client, transactions.fail(self, client, spec, error))

    def _known(self, client: Client, args: list[bytes]) -> CommandSpec | None:
        """The command's row; None when the connection has to end without a word, as in Redis."""
        if args[0].lower() in (b"post", b"host:"):  # a browser was made to speak to us
            log.warning("http_request_refused", extra={"peer": client.session.address})
            self.lane.abort(client)
            return None
        return resolve(args)

    def _go(self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
        """The command's way."""
        way = WAYS.get(spec.name)
        if self.fleet is not None and spec.name in FOR_ALL:
            self.alone(client, self._for_all, client, spec, args, now)
        elif way is not None:
            way(self, client, spec, args, frame, now)
        elif spec.action is Action.REFUSE:
            raise refused(spec.lower, spec.why)
        elif spec.name in _CHANGES_PROTOCOL:
            self._answer_in_turn(client, spec, args, now)
        elif spec.action is Action.GATE:
            reply = self.answer(spec, client, args, now)
            if reply is not None:
                self.reply(client, reply)
        elif spec.action is Action.OWN and needs_own_connection(spec, args):
            blocking.block(self, client, spec, args, frame, now)
        else:
            self._to_stores(client, user, spec, args, frame, now)

    def answer(self, spec: CommandSpec, client: Client, args: list[bytes], now: float) -> Raw | Reply:
        """The reply of a command that the gate answers itself, without waiting."""
        found = ANSWERS.get(spec.name)
        if found is None:
            raise refused(spec.lower, "it takes a subcommand")
        return found(self, client, args, now)

    async def _for_all(self, client: Client, spec: CommandSpec, args: list[bytes], now: float) -> Raw | Reply:
        """A command that speaks for all workers: this one's reply and those of the others, as one."""
        session: Session = client.session
        own: Raw | Reply
        self._present = client
        try:
            own = self.answer(spec, client, args, now)
        except GateError as error:
            if error.text != NO_SUCH_CLIENT:  # that may be another worker's
                raise
            own = Error(error.reply[1:-2])
        replies: list[Reply] = [decode(own) if isinstance(own, Raw) else own]
        if self.fleet is not None and session.user is not None:
            words = [arg.decode("latin-1") for arg in args]
            others = await self.fleet.others("answer", words, session.user.name, client.id, session.proto)
            replies += [decode(other.encode("latin-1")) for other in others]
        return FOR_ALL[spec.name](replies, args)

    async def answer_for_other(self, words: list[str], user: str, ident: int, proto: int) -> str:
        """The same, asked by another worker for its client `ident`."""
        args = [word.encode("latin-1") for word in words]
        session = Session("", "", "", self.configuration.users.get(user))
        session.proto = proto
        self._present = None
        try:
            reply = self.answer(resolve(args), Client(ident, session), args, time.monotonic())
        except GateError as error:
            reply = Raw(error.reply)
        self.driver.kick()
        return (reply if isinstance(reply, Raw) else encode(reply, proto)).decode("latin-1")

    def _answer_in_turn(self, client: Client, spec: CommandSpec, args: list[bytes], now: float) -> None:
        """Answer once everything before is answered: what changes the protocol changes the connections to the stores, too,
        so nothing may be under way on the old ones."""
        session: Session = client.session
        quiet = session.quiet

        def start() -> None:
            session.quiet = quiet
            try:
                reply = self.answer(spec, client, args, now)
            except GateError as error:
                reply = Raw(error.reply)
            raw = reply if isinstance(reply, Raw) else encode(reply, session.proto)
            self.lane.done(client, b"" if session.quiet else raw)

        self.lane.alone(client, start)

    # ------------------------------------------------------------------ to the stores

    def located(self, user: User, spec: CommandSpec, args: list[bytes]) -> list[tuple[int, Place]]:
        """Where the command's keys and channels lie, each checked: seen by the user, served there, not too large.

        Raises:
            GateError: NONAMESPACE, NOPERM, not supported, over a limit.
        """
        places = self.places
        found: list[tuple[int, Place]] = []
        for index in key_indices(spec, args):
            key = args[index]
            found.append((index, places.place(places.namespace(user, key), key)))
        found += [(index, self.channel(user, args[index])) for index in channels(spec, args)]
        for pattern in hidden_patterns(spec, args):
            self._pattern_stays(user, args[pattern], found)
        for index, place in found:
            if not supports(spec, place.backend.capabilities):
                raise not_supported(spec.lower, place.backend.name, place.backend.type)
            limit = place.namespace.max_key
            if limit is not None and len(args[index]) > limit:
                raise too_large("key", len(args[index]), limit, place.namespace.name)
        if found:
            self._fits(args, found)
        return found

    def channel(self, user: User, channel: bytes) -> Place:
        """Where a channel lies: as a key of that name would."""
        namespace = self.places.namespaces.of_channel(channel)
        if namespace is None:
            raise no_namespace(channel)
        if not user.sees(namespace) or not namespace.backend:
            raise no_perm_channel()
        return self.channel_place(namespace, channel)

    def channel_place(self, namespace: Namespace, channel: bytes) -> Place:
        """Where a channel of the namespace lies: a key's notifications come from the key's shard."""
        return self.places.place(namespace, notification(channel)[1])

    def _pattern_stays(self, user: User, pattern: bytes, found: list[tuple[int, Place]]) -> None:
        """SORT's BY and GET patterns may only reach keys of namespaces that the user sees, on the same single shard."""
        literal = pattern[: pattern.find(b"*")]  # to SORT all but the first star is literal
        reached = self.places.namespaces.of_beginning(literal)
        if not reached or not all(user.sees(namespace) for namespace in reached):
            raise no_perm_key()
        if INTERNAL_PREFIX.startswith(literal[: len(INTERNAL_PREFIX)]) and literal:
            raise no_perm_key()
        here = found[0][1]
        if any(namespace.backend != here.namespace.backend for namespace in reached):
            raise cross_slot()
        one = len(self.places.shards.get(here.namespace.backend, ())) == 1
        tagged = b"}" in literal and hash_text(literal) != literal  # all that the pattern names have this tag
        if not one and not (tagged and self.places.place(here.namespace, literal).shard is here.shard):
            raise cross_slot()

    def _fits(self, args: list[bytes], found: list[tuple[int, Place]]) -> None:
        """No argument is larger than the smallest limit of the namespaces involved."""
        longest = max(map(len, args))
        for _, place in found:
            limit = self.largest_of(place.namespace)
            if longest > limit:
                raise too_large("value", longest, limit, place.namespace.name)

    def largest_of(self, namespace: Namespace) -> int:
        """Bytes that one argument may have in a namespace."""
        return self.backends[namespace.backend].max_value if namespace.max_value is None else namespace.max_value

    def _to_stores(self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
        session: Session = client.session
        found = self.located(user, spec, args)
        if spec.capability in ("script", "function"):
            self._forward_script(client, user, spec, args, frame, found, now)
            return
        if not found:
            raise refused(spec.lower, "it names no key that would say which store is meant")
        if session.watch is not None and watch.takes(self, client, spec, args, frame, found):
            return
        first = found[0][1]
        if len(found) == 1 or all(place.backend is first.backend and place.shard is first.shard for _, place in found):
            if first.shard is None:
                keys = tuple(index for index, _ in found)
                if keys == (1,) and not session.quiet and _is_plain(spec, args):
                    self._learn_local(client, user, spec, args, frame, first)
                self._emulate(client, first.backend, spec, args, frame, keys, now)
            else:
                self._forward(client, user, spec, args, frame, first, now)
        elif spec.action is Action.SPLIT:
            self._split(client, spec, args, frame, found, now)
        else:
            raise cross_slot()

    def _forward_script(
        self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, found: Any, now: float
    ) -> None:
        place = scripts.place(self, user, spec, args, [place for _, place in found])
        if client.session.watch is not None and watch.takes(self, client, spec, args, frame, [(0, place)]):
            return
        self._forward(client, user, spec, args, frame, place, now)

    def _forward(
        self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, place: Place, now: float
    ) -> None:
        """Send the client's own bytes on, and let the lane do so from now on where that is right for every such request."""
        assert place.shard is not None  # noqa: S101 - the caller asked
        up = place.shard.lines[client.line]
        sent = self.renamed(place, spec, args, frame)
        if not self.speaks(client, place):
            self._forward_converted(client, up, spec, args, sent, now)
            return
        if sent is frame and not client.session.quiet and _is_plain(spec, args):
            head = frame[: frame.find(b"\r\n$", 5)]
            self.places.learn(
                user,
                client.session.proto,
                place,
                args[1],
                head,
                len(args) - 2,
                spec=spec,
                most=self.largest_of(place.namespace),
            )
        self.lane.forward(client, up, sent, now, readonly=spec.readonly, quiet=client.session.quiet)

    def _forward_converted(
        self, client: Client, up: Upstream, spec: CommandSpec, args: list[bytes], frame: bytes, now: float
    ) -> None:
        """Send on what a store without RESP3 will answer, and turn its reply into RESP3."""
        slot = self.lane.pending(client, now, len(frame), quiet=client.session.quiet)

        def answer(raw: bytes) -> None:
            slot.fill(in_resp3(spec, args, raw))
            self.lane.settle(client)

        self.lane.ask(up, Call(frame, now, answer, readonly=spec.readonly, owner=client))

    def renamed(self, place: Place, spec: CommandSpec, args: list[bytes], frame: bytes) -> bytes:
        """The request as the place's store knows it."""
        topology = self.places.topologies.get(place.backend.name)
        name = None if topology is None else topology.rename.get(spec.name.partition("|")[0])
        return frame if name is None else encode_request([name.encode("utf-8", "surrogateescape"), *args[1:]])

    def speaks(self, client: Client, place: Place) -> bool:
        """Whether the place's store answers in the client's protocol."""
        return client.session.proto == 2 or place.shard is None or place.shard.endpoint.resp3

    def in_protocol(self, client: Client, place: Place, spec: CommandSpec, args: list[bytes], raw: bytes) -> Raw:
        """A store's reply, in the client's protocol."""
        return Raw(raw if self.speaks(client, place) else in_resp3(spec, args, raw))

    def _split(
        self, client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, found: list[tuple[int, Place]], now: float
    ) -> None:
        """Ask every store for its keys, side by side; the last answer makes the reply. Not atomic: see docs/commands.md."""
        groups: dict[tuple[str, int], list[int]] = {}
        places: dict[tuple[str, int], Place] = {}
        for index, place in found:
            at = (place.backend.name, -1 if place.shard is None else place.shard.index)
            groups.setdefault(at, []).append(index)
            places[at] = place
        step = spec.keys[0].step
        slot = self.lane.pending(client, now, len(frame), quiet=client.session.quiet)
        parts: list[tuple[Sequence[int], bytes]] = []

        def answer(indices: Sequence[int], raw: bytes) -> None:
            parts.append((indices, raw))
            if len(parts) == len(groups):
                slot.fill(merge(spec, parts, [index for index, _ in found]))
                self.lane.settle(client)

        for at, indices in groups.items():
            place, chosen = places[at], part(args, indices, step)
            if place.shard is None:
                keys = tuple(range(1, len(chosen), step))
                command = Command(chosen, spec, keys, encode_request(chosen))
                client.batch.append(Emulated(place.backend, command, Answer(partial(answer, indices))))
            else:
                request = self.renamed(place, spec, chosen, encode_request(chosen))
                take = partial(answer, indices)
                if not self.speaks(client, place):
                    take = partial(_converted, take, spec, chosen)
                call = Call(request, now, take, readonly=spec.readonly, owner=client)
                self.lane.ask(place.shard.lines[client.line], call)

    # ------------------------------------------------------------------ adapters that execute

    def _learn_local(
        self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, place: Place
    ) -> None:
        """Let the lane hand such requests to the backend without asking anything again."""
        backend = place.backend

        def local(client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
            session: Session = client.session
            session.commands += 1
            self.commands += 1
            session.quiet = False
            session.last_command = spec.lower
            self._emulate(client, backend, spec, args, frame, FIRST, now)

        head = frame[: frame.find(b"\r\n$", 5)]
        most = self.largest_of(place.namespace)
        self.places.learn(
            user, client.session.proto, place, args[1], head, len(args) - 2, spec=spec, most=most, local=local
        )

    def _emulate(
        self,
        client: Client,
        backend: Backend,
        spec: CommandSpec,
        args: list[bytes],
        frame: bytes,
        keys: tuple[int, ...],
        now: float,
    ) -> None:
        """Have an adapter execute the command: at once where it can, else together with all that came with it."""
        session: Session = client.session
        command = Command(args, spec, keys, frame)
        if not client.batch and not session.batches and not session.batching and not session.enqueued:
            in_place = self.places.in_place.get(backend.name)
            if in_place is not None:
                reply = in_place.execute_now(command, _AT_ONCE[session.proto])
                if reply is not None:
                    self.reply(client, reply)
                    return
        slot = self.lane.pending(client, now, len(frame), quiet=session.quiet)
        client.batch.append(Emulated(backend, command, slot))

    def run_batch(self, client: Client) -> None:
        """Run what the present portion of the client's bytes has collected, behind what runs already."""
        session: Session = client.session
        batch, client.batch = client.batch, []
        if not session.batches and not session.batching and self._enqueue(client, batch):
            return
        session.batches.extend(batch)
        self._start_batches(client)

    def _start_batches(self, client: Client) -> None:
        session: Session = client.session
        if session.batches and not session.batching and not session.enqueued:
            session.batching = True
            self.spawn(self._run_batches, client)

    def _enqueue(self, client: Client, batch: list[Emulated]) -> bool:
        """Hand a portion to a backend that needs no task for it; whether it took it."""
        session: Session = client.session
        backend = batch[0].backend
        queueing = self.places.queueing.get(backend.name)
        if queueing is None or any(each.backend is not backend for each in batch):
            return False
        proto = session.proto

        def done(replies: Sequence[Raw | Reply]) -> None:
            session.enqueued -= 1
            for each, reply in zip(batch, replies, strict=True):
                each.slot.fill(reply if isinstance(reply, Raw) else encode(reply, proto))
            self.lane.settle(client)
            if not session.enqueued and session.batches:
                self._start_batches(client)

        if not queueing.enqueue([each.command for each in batch], self.context(session), done, self.driver.kick):
            return False
        session.enqueued += 1
        return True

    async def _run_batches(self, client: Client) -> None:
        session: Session = client.session
        try:
            while session.batches:
                backend = session.batches[0].backend
                batch: list[Emulated] = []
                while session.batches and session.batches[0].backend is backend:
                    batch.append(session.batches.popleft())
                session.in_batch = backend
                replies = await self.execute(backend, [each.command for each in batch], session)
                session.in_batch = None
                for each, reply in zip(batch, replies, strict=True):
                    each.slot.fill(reply)
                self.lane.settle(client)
                self.driver.kick()
        finally:
            session.batching = False

    async def execute(self, backend: Backend, commands: Sequence[Command], session: Session) -> list[Raw]:
        """Raw replies, one for each command, whatever happens."""
        proto = session.proto
        try:
            replies = await backend.execute(commands, self.context(session))
        except GateError as error:
            return [Raw(error.reply)] * len(commands)
        except Exception as error:  # an adapter's mistake must not end the gate
            log.exception("adapter_failed", extra={"backend": backend.name, "error": repr(error), "do": "report this"})
            sorry = GateError(f"ERR the gate failed inside backend '{backend.name}'; its log says more")
            return [Raw(sorry.reply)] * len(commands)
        return [reply if isinstance(reply, Raw) else encode(reply, proto) for reply in replies]

    def context(self, session: Session) -> CallContext:
        """For whom, and until when."""
        return CallContext(
            proto=session.proto,
            user="" if session.user is None else session.user.name,
            deadline=trio.current_time() + self.configuration.gate.command_timeout,
        )

    # ------------------------------------------------------------------ pauses and holds

    def begin_hold(self, moving: Moving) -> Hold:
        """Let new commands on what moves wait until `end_hold`; the lane forgets how it would take them by itself."""
        self.places.unlearn(moving.key)
        self.hold = Hold(self, moving)
        return self.hold

    def end_hold(self) -> None:
        """Let commands go on, on whatever way is theirs now."""
        self.hold = None
        self._go_on()

    def _open(self) -> None:
        """The end of a pause."""
        for client in self.driver.clients.values():
            self._fit(client)
        self._go_on()

    def _go_on(self) -> None:
        if self._held:
            self.spawn(self._look_again)

    async def _look_again(self) -> None:
        """Look at what was held back, a portion at a time; what has to wait again stays."""
        for _ in range(-(-len(self._held) // HELD_PORTION)):
            for _ in range(min(HELD_PORTION, len(self._held))):
                held = self._held.popleft()
                try:
                    self._again(held)
                except Exception as error:
                    log.exception("command_failed", extra={"error": repr(error), "do": "report this"})
                    self.driver.close_client(held.client)
            self.driver.kick()
            await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------------ tasks and replies

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run a slow task beside the lane."""
        self._nursery.start_soon(self._guarded, function, args)

    async def _guarded(self, function: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except Exception:
            log.exception("task_failed", extra={"task": function.__qualname__, "do": "report this"})

    def alone(
        self,
        client: Client,
        function: Callable[..., Coroutine[Any, Any, Raw | Reply]],
        *args: Any,
        blocked: bool = False,
        silent: bool = False,
    ) -> None:
        """Run `function` for the client's present command once everything before is answered; nothing of the client's
        starts before its reply. A client that leaves cancels it. `blocked`: it waits for others' doing. `silent`: its
        result is no reply, it has replied itself."""
        quiet = client.session.quiet

        def start() -> None:
            self.spawn(self._alone, client, function, args, blocked, silent or quiet)

        self.lane.alone(client, start)

    async def _alone(
        self,
        client: Client,
        function: Callable[..., Coroutine[Any, Any, Raw | Reply]],
        args: tuple[Any, ...],
        blocked: bool,  # noqa: FBT001 - start_soon takes no keywords
        silent: bool,  # noqa: FBT001
    ) -> None:
        session: Session = client.session
        reply: Raw | Reply
        with trio.CancelScope() as scope:
            session.running, session.blocked, session.blocked_since = scope, blocked, time.monotonic()
            session.unblocked_by = ""
            if client.closed:
                return
            if blocked and client.eof:  # it left, or half-closed, before its turn came: nothing may be popped for nobody
                session.running, session.blocked = None, False
                self.lane.hang_up(client)
                self.lane.done(client)
                self.driver.kick()
                return
            try:
                reply = await function(*args)
            except GateError as error:
                reply = Raw(error.reply)
            except Exception as error:
                facts = {"command": session.last_command, "error": repr(error), "do": "report this"}
                log.exception("command_failed", extra=facts)
                reply = Error(b"ERR the gate failed to run this command; its log says more")
        session.running, session.blocked, session.waits_on = None, False, None
        if scope.cancelled_caught:
            if client.closed:
                return
            reply = blocking.unblocked(session)
        raw = b"" if silent else reply if isinstance(reply, Raw) else encode(reply, session.proto)
        self.lane.done(client, raw)
        self.driver.kick()

    def reply(self, client: Client, reply: Raw | Reply) -> None:
        """Answer the present command."""
        if not client.session.quiet:
            self.lane.reply(client, reply if isinstance(reply, Raw) else encode(reply, client.session.proto))

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """An argument was larger than any namespace allows; its bytes were dropped as they came."""
        del args, now
        session: Session = client.session
        session.quiet = session.silent or session.skip_next
        session.skip_next = False
        if session.multi is not None:
            session.multi.aborted = True
        self._fit(client)
        limit = client.scanner.value_limit
        text = b"ERR value of %d bytes is over the limit of %d bytes, the largest of any namespace" % (size, limit)
        self.reply(client, Error(text))

    # ------------------------------------------------------------------ what the gate's own commands ask for (Site)

    def become(self, client: Client, user: User | None, *, proto: int | None = None) -> None:
        """Give the client a user and, when said, another protocol."""
        session: Session = client.session
        session.user = user
        if proto is not None:
            session.proto = proto
        self._fit(client)

    def refit(self, client: Client) -> None:
        """The session changed in a way that the lane has to know."""
        self._fit(client)

    def reset(self, client: Client) -> None:
        """RESET."""
        session: Session = client.session
        transactions.forget(session)
        subscriptions.forget(session)
        session.silent = session.skip_next = session.quiet = False
        session.name = b""
        session.database = 0
        session.no_evict = False
        self.become(client, self.configuration.users.initial(session.host), proto=2)

    def reply_mode(self, client: Client, mode: str) -> None:
        """CLIENT REPLY."""
        session: Session = client.session
        if mode == "SKIP":
            session.skip_next = not session.silent
        else:
            session.silent = mode == "OFF"
            session.skip_next = False
            session.quiet = session.silent
        self._fit(client)

    def hang_up(self, client: Client) -> None:
        """QUIT: close after the replies."""
        self.lane.hang_up(client)

    def kill(self, client: Client) -> None:
        """CLIENT KILL: at once, but the caller itself after its reply."""
        if client is self._present:
            self.lane.hang_up(client)
        else:
            self.driver.close_client(client)

    def pause(self, until: float, *, writes_only: bool) -> None:
        """CLIENT PAUSE; a longer pause in force is not shortened, as in Redis."""
        self._paused_writes_only = writes_only if not self.paused_until else self._paused_writes_only and writes_only
        self.paused_until = max(self.paused_until, until)
        for client in self.driver.clients.values():
            self._fit(client)
        self.spawn(self._end_pause)

    async def _end_pause(self) -> None:
        until = self.paused_until
        await trio.sleep(max(0.0, until - time.monotonic()))
        if self.paused_until == until:  # else it was lifted, or made longer by a later CLIENT PAUSE with its own task
            self.unpause()
            self.driver.kick()

    def unpause(self) -> None:
        """CLIENT UNPAUSE."""
        self.paused_until = 0.0
        self._open()

    def _has_to_wait(self, session: Session, spec: CommandSpec, args: list[bytes]) -> bool:
        """Whether a pause, or the switch to another configuration, holds the command back."""
        if self.hold is not None and self.hold.stops(session, spec, args):
            return True
        if not self.paused_until:
            return False
        return (not self._paused_writes_only or _may_write(session, spec)) and spec.name not in _DURING_PAUSE

    def _later(self, client: Client, args: list[bytes], frame: bytes) -> None:
        """Look at the command again when the pause is over."""
        session: Session = client.session
        held = _Held(client, args, frame, quiet=session.quiet)
        session.paused = True

        def start() -> None:
            self._held.append(held)
            if not self.paused_until and self.hold is None:  # over while the client's earlier commands were awaited
                self._go_on()

        self.lane.alone(client, start)

    def _again(self, held: "_Held") -> None:
        client, session = held.client, held.client.session
        if client.closed:
            return
        session.paused = False
        client.busy = False
        session.quiet = held.quiet
        self._present = client
        self._look(client, held.args, held.frame, time.monotonic())
        if client.batch:
            self.run_batch(client)
        if not client.busy:
            self.lane.done(client)

    def unblock(self, client: Client, how: str) -> bool:
        """CLIENT UNBLOCK."""
        session: Session = client.session
        if not session.blocked or session.running is None:
            return False
        session.unblocked_by = how
        session.blocked = False  # a second CLIENT UNBLOCK finds it unblocked
        session.running.cancel()
        return True


@attrs.frozen(slots=True, eq=False)
class _Held:
    """A command that waits for the end of a pause or a hold."""

    client: Client
    args: list[bytes]
    frame: bytes
    quiet: bool = attrs.field(kw_only=True)
    """Whether its reply is wanted."""


class _Shared:
    """A backend's way to the lane's shared connections (kvgate.backend.SharedConnections)."""

    def __init__(self, dispatcher: Dispatcher, shards: Sequence[Any]) -> None:
        self._dispatcher = dispatcher
        self._shards = shards

    async def ask(self, shard: int, frame: bytes, *, proto: int, deadline: float, readonly: bool) -> bytes:
        """Send one request, wait for its reply."""
        dispatcher = self._dispatcher
        answered = trio.Event()
        replies: list[bytes] = []

        def answer(raw: bytes) -> None:
            replies.append(raw)
            answered.set()

        patience = deadline - trio.current_time() - dispatcher.lane.budget
        call = Call(frame, time.monotonic(), answer, readonly=readonly, patience=patience)
        lines = self._shards[shard].lines
        dispatcher.lane.ask(lines[0 if proto == 2 else len(lines) // 2], call)
        dispatcher.driver.kick()
        await answered.wait()
        raw = replies[0]
        if raw.startswith((b"-TRYAGAIN", b"-INDOUBT")):
            raise GateError(raw[1:-2].decode("utf-8", "surrogateescape"))
        return raw


FIRST: Final = (1,)
"""Where the key is of the commands that the lane hands to a backend by itself."""
_AT_ONCE: Final = {proto: CallContext(proto=proto, user="", deadline=math.inf) for proto in (2, 3)}
"""For commands that are answered before anything else happens."""
_DURING_PAUSE: Final = frozenset(
    {"CLIENT|UNPAUSE", "CLIENT|PAUSE", "CLIENT|KILL", "CLIENT|LIST", "QUIT", "RESET", "AUTH", "HELLO"}
)
"""What a paused gate still answers: the ways out of the pause."""


def _authenticated(session: Session, spec: CommandSpec) -> User:
    if session.user is not None:
        return session.user
    if spec.name in BEFORE_AUTH:
        return _NOBODY
    raise GateError(NO_AUTH)


def _may_write(session: Session, spec: CommandSpec) -> bool:
    """Whether CLIENT PAUSE WRITE holds it back: writes, and what may write or reach replicas, as in Redis."""
    if spec.name == "EXEC":
        return session.multi is not None and any(_may_write(session, queued.spec) for queued in session.multi.commands)
    return spec.write or spec.name in _MAY_WRITE


_MAY_WRITE: Final = frozenset({"EVAL", "EVALSHA", "FCALL", "PFCOUNT", "PUBLISH", "SPUBLISH", "SCRIPT|LOAD", "SCRIPT|FLUSH"})
_CHANGES_PROTOCOL: Final = frozenset({"HELLO", "RESET"})


def _converted(take: Callable[[bytes], None], spec: CommandSpec, args: list[bytes], raw: bytes) -> None:
    take(in_resp3(spec, args, raw))


_NOBODY: Final = User(name="", commands=("-@all",))
"""Stands for a client before AUTH: it may run what an ACL cannot take away, and nothing else."""


def _possible_now(session: Session, spec: CommandSpec, args: list[bytes]) -> None:
    """In RESP2 a subscribed connection carries messages, and takes few commands; one that monitors takes none on keys."""
    del args
    if session.subscriptions is None:
        return
    if session.subscriptions.monitor:
        if spec.write or spec.readonly or spec.capability in ("script", "function") or spec.name == "PUBLISH":
            raise GateError("ERR Replica can't interact with the keyspace")
    elif session.proto == 2 and spec.name not in WHILE_SUBSCRIBED:
        raise GateError(
            f"ERR Can't execute '{spec.lower}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed"
            " in this context"
        )


def _is_plain(spec: CommandSpec, args: list[bytes]) -> bool:
    """Whether every request with this name and number of arguments has its first argument as its one key."""
    if spec.action not in (Action.FORWARD, Action.SPLIT) or spec.subcommands or "|" in spec.name:
        return False
    if fixed_keys(spec) == (1,):
        return True
    only = spec.keys[0] if len(spec.keys) == 1 else None
    return only is not None and only.index == 1 and only.last == -1 and not only.unknown and len(args) == 1 + only.step
