"""What every command meets, in order, when the lane did not take it by itself: the gates, then its way.

`Dispatcher.look` is the list: known, authenticated, permitted, possible in this context, held back or not, queued by MULTI or
not; then the command's row in the table says which way it goes: answered by the gate (kvgate.server.answering), to the stores
of its keys (kvgate.server.stores), or alone on another path. Every refusal comes before anything is sent to a store.
"""

import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from kvgate.admin.common import administers
from kvgate.backend import Backend, PassThrough
from kvgate.commands.keys import needs_own_connection
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import lookup, resolve
from kvgate.errors import (
    BAD_DATABASE,
    NO_AUTH,
    GateError,
    no_perm_command,
    not_an_operator,
    refused,
    select_while_subscribed,
)
from kvgate.lane.client import NO_ROUTES, Client
from kvgate.lane.driver import Driver, Listener, Transport
from kvgate.lane.machine import Lane
from kvgate.lane.slots import Slot
from kvgate.lane.upstream import Upstream
from kvgate.metrics import families
from kvgate.metrics.ledger import NO_NAMESPACE, Account, Ledger
from kvgate.metrics.spikes import Spikes
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.server import (
    answering,
    blocking,
    blocks,
    command_monitor,
    listing,
    logins,
    reloading,
    scripts,
    stores,
    subscriptions,
    switching,
    transactions,
    watch,
    weighing,
)
from kvgate.server.audit import Audit
from kvgate.server.blocks import Keeper
from kvgate.server.difference import Difference
from kvgate.server.execution import Execution
from kvgate.server.fleet import Fleet
from kvgate.server.hotkeys import HotKeys
from kvgate.server.locate import largest_of
from kvgate.server.pauses import Pauses
from kvgate.server.places import Places
from kvgate.server.samples import Samples
from kvgate.server.seats import Seats
from kvgate.server.session import Session
from kvgate.server.shared import Shared
from kvgate.server.slowlog import SlowLog
from kvgate.server.switching import Moving
from kvgate.server.tasks import Tasks
from kvgate.server.throttle import Throttle
from kvgate.server.traces import Tracer
from kvgate.wire.reply import Error, Raw, Reply, encode

log = logging.getLogger("kvgate.gate")

Way = Callable[["Dispatcher", Client, CommandSpec, list[bytes], bytes, float], None]
"""What is done with a checked command: ``way(dispatcher, client, spec, args, frame, now)``."""

WHILE_SUBSCRIBED: Final = frozenset(
    {"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE", "PING", "QUIT", "RESET"}
)
NEVER_QUEUED: Final = frozenset({"EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"})
"""What Redis runs at once inside MULTI."""
BEFORE_AUTH: Final = frozenset({"AUTH", "HELLO", "QUIT", "RESET"})
_LOGS_IN: Final = frozenset({"AUTH", "HELLO"})

WAYS: Final[Mapping[str, Way]] = {
    **listing.WAYS,
    **scripts.WAYS,
    **transactions.WAYS,
    **subscriptions.WAYS,
    **watch.WAYS,
    **blocking.WAYS,
    **reloading.WAYS,
    **blocks.WAYS,
    **weighing.WAYS,
    **command_monitor.WAYS,
}
"""Commands with a way of their own, by row name; each module says which."""


class Dispatcher:
    """The gate above the lane (kvgate.lane.machine.Gate, kvgate.server.site.Site)."""

    def __init__(self, configuration: Configuration, backends: Mapping[str, Backend]) -> None:
        """Serve `backends` as `configuration` says; the `driver` and the run of `tasks` follow."""
        gate = configuration.gate
        self.configuration = configuration
        self.backends = backends
        self.lane = Lane(self, budget=gate.command_timeout, silence=gate.upstream_silence)
        self.ledger = Ledger()
        self.slowlog = SlowLog()
        self.spikes = Spikes()
        self.spike_after = math.inf  # seconds
        self.samples = Samples(self.lane, self.ledger)
        self.hotkeys = HotKeys(self.samples)
        self.places = Places(configuration, backends, self.ledger)
        self.tasks = Tasks(self)
        self.execution = Execution(self)
        self.pauses = Pauses(self)
        self.seats = Seats(self)
        self.keeper = Keeper(self)
        self.tracer: Tracer | None = None  # follows commands, where ``traces`` says so
        self.lent: dict[str, command_monitor.Lent] = {}  # what clients of other workers monitor here
        self.weighings = weighing.Weighings(self)
        self.hashing = logins.Hashing()
        self.audit = Audit(self)
        self.fleet: Fleet | None = None  # the other workers; None: there are none
        self.throttle = Throttle(self)
        self.started = time.time()
        self.run_id = secrets.token_hex(20)
        self.find_largest_value()
        self.connections = 0
        self.commands = 0
        self.driver: Driver
        self.present: Client | None = None  # whose request is being looked at
        self.present_args: list[bytes] = []
        self.moving: Moving | None = None  # what the last switch moved, until every client knows of it
        self._next_id = 1
        self.number = 0  # among the workers
        self.parts: Sequence[Any] | None = None  # see Site
        self.reload: Callable[[bool], Awaitable[Difference]] | None = None
        """Takes the configuration file into service (or only looks, when True) in all workers."""
        self.loaded = self.started
        self.reload_error = ""
        self.replaced = families.Samples()
        """What backends that are served no more had counted (/metrics)."""
        self._shared_connections = configuration.gate.shared_connections
        self.attach(self.places, backends)
        self.fit()

    def fit(self) -> None:
        """Look at commands as closely as the configuration says."""
        gate = self.configuration.gate
        slow_after = gate.slowlog_time if gate.slowlog_entries else math.inf
        self.spike_after = gate.latency_threshold or math.inf
        self.lane.slow_after = min(slow_after, self.spike_after)
        self.slowlog.fit(slow_after, gate.slowlog_entries, self.configuration.namespaces)
        self.hotkeys.fit(gate.hotkeys_sample, self.configuration.namespaces)

    def attach(self, places: Places, names: Iterable[str]) -> None:
        """Tell backends, before they run, how to reach the lane's connections to them."""
        for name in names:
            backend = places.backends[name]
            if isinstance(backend, PassThrough):
                backend.attach(Shared(self, places.shards[name]))

    # ------------------------------------------------------------------ clients come and go

    def welcome(self, transport: Transport, host: str, listener: Listener) -> Client | bytes:
        """Make a client of a new connection (kvgate.lane.driver.Welcome)."""
        user = self.configuration.users.initial(host)
        if user is None and not self.configuration.users.configured:
            self.audit.connection_refused(transport.address, listener.name, "DENIED")
            return b"-DENIED this gate has no users and serves this machine only: add [users.*] to its configuration\r\n"
        ident = transport.ident
        if not ident:
            ident = self._next_id
            self._next_id += 1
        session = Session(transport.address, host, listener.name, user)
        session.places = self.places
        session.home = self.places.home(user, session.database)
        session.admin = listener.admin
        try:
            self.seats.admit(session, user)
        except GateError as error:
            return error.reply
        client = Client(ident, session, transport)
        client.since = time.monotonic()
        self.fit_limits(client)
        self.connections += 1
        self.refit(client)
        return client

    def identified(self, client: Client, names: frozenset[str]) -> None:
        """The client's certificate was verified and has these names: it may make the client a user."""
        session: Session = client.session
        session.certificate = names
        if names:
            user = self.configuration.users.initial(session.host, names)
            known = "" if user is None else user.name
            log.info("client_certificate", extra={"peer": session.address, "names": ", ".join(sorted(names)), "user": known})
            try:
                self.become(client, user)
            except GateError as error:  # as many clients as that user may have: this one has to be another one
                log.info("client_refused", extra={"peer": session.address, "user": known, "why": error.text})
                self.become(client, None)
            self.audit.certified(client)

    def left(self, client: Client) -> None:
        """The client's connection has ended: what runs for it is cancelled, its own connections are closed."""
        session: Session = client.session
        if session.running is not None:
            session.running.cancel()
        self.throttle.left(session)
        transactions.forget(session)
        subscriptions.forget(session)
        self.seats.left(session)

    def half_closed(self, client: Client) -> None:
        """The client sends no more. Who waits in a blocking command or is subscribed has left."""
        session: Session = client.session
        if session.blocked or session.subscriptions is not None:
            self.driver.close_client(client)

    def find_largest_value(self) -> None:
        """Look for the largest value that any namespace allows: what is larger is not even gathered."""
        self._largest_value = max((largest_of(self.places, rule) for rule in self.places.namespaces.rules), default=0)

    def fit_limits(self, client: Client) -> None:
        """Tell the client's scanner how large a value may be."""
        client.scanner.value_limit = self._largest_value

    def refit(self, client: Client) -> None:
        """Tell the lane what it may do for this client now: the session changed in a way that it has to know."""
        session: Session = client.session
        client.scanner.authenticated = session.user is not None
        if session.user is not None and session.plain and not self.pauses.until:
            client.routes = self.places.compiled(session.owner or session.user, session.proto).routes
        else:
            client.routes = NO_ROUTES
        client.prefix = b"" if session.home is None else session.home.prefix
        client.admitted = not session.admin or (session.user is not None and administers(session.user))
        client.depth = (session.user is not None and session.user.max_pipeline) or 0
        client.subscribed = session.subscriptions is not None
        of_protocol = self._shared_connections
        self.lane.move(client, client.id % of_protocol + (of_protocol if session.proto == 3 else 0))

    # ------------------------------------------------------------------ the gates, in order

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Serve one request."""
        session: Session = client.session
        session.commands += 1
        self.commands += 1
        session.quiet = session.silent or session.skip_next
        if session.skip_next:
            session.skip_next = False
            self.refit(client)
        self.look(client, args, frame, now)

    def look(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """All the gates; of a command that had to wait, again."""
        session: Session = client.session
        self.present, self.present_args = client, args
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
            if not client.admitted and spec.name not in BEFORE_AUTH:
                raise not_an_operator()
            if not user.allows(spec):
                raise no_perm_command(spec.lower, user.name)
            _possible_now(session, spec, args)
            said = args, frame
            if session.home is not None:
                args, frame = session.home.request(spec, args, frame)  # from here on keys are whole
                self.present_args = args
            if self.places.blocks.active:
                self.keeper.refuse(session, user, spec, args)
            if self.places.forbidding and not spec.name.startswith("GATE"):
                self.places.refuse_keyless(user, spec, args, session.home)
            if session.owner is not None:
                self.seats.use(session, user, spec, args)
            if self.pauses.possible and self.pauses.hold_back(session, spec, args):
                self.pauses.later(client, *said)
                return
            if self.throttle.active and not self.throttle.admits(client, user, spec, args, frame, said, now):
                return
            record = session.record = None if self.audit.rules is None else self.audit.begin(client, spec, args)
            if session.multi is not None and spec.name not in NEVER_QUEUED:
                transactions.queue(self, client, user, spec, args, frame)
                if self.samples.active:
                    self.samples.above(client, spec, args)
            elif self.samples.active:
                self.samples.above(client, spec, args, partial(self._go, client, user, spec, args, frame, now))
            else:
                self._go(client, user, spec, args, frame, now)
            if record is not None:
                self.audit.started(record, session, spec, way=spec.name in WAYS)
        except GateError as error:
            if spec is None and args[0].upper() == b"EXEC":
                spec = lookup(args)  # of wrong arity
            self.refuse(client, spec, args, error)

    def refuse(self, client: Client, spec: CommandSpec | None, args: list[bytes], error: GateError) -> None:
        """Answer a command with an error, nothing of it having been sent. `spec` is None when it is no command."""
        self.ledger.refused(error.namespace or NO_NAMESPACE, error.code)
        self.audit.refused(client, args, error)
        meant = spec or lookup(args)
        if meant is not None:
            self.ledger.account(NO_NAMESPACE, meant.lower, readonly=meant.readonly).rejected += 1
        self.reply(client, transactions.fail(self, client, spec, error))

    def slow(self, up: Upstream, slot: Slot, replies: int, now: float) -> None:
        """A store was slow to reply (kvgate.lane.machine.Gate)."""
        del replies
        self.note_spike(f"store:{up.name.partition('/')[0]}", now - slot.started)
        try:
            self.slowlog.forwarded(up, slot, now)
        except Exception:  # a mistake there must not end a connection that all share
            self.lane.failures += 1
            log.exception("slowlog_failed", extra={"store": up.name, "do": "report this"})

    def note_spike(self, name: str, seconds: float) -> None:
        """Keep a time for LATENCY, if it is long."""
        if seconds >= self.spike_after:
            self.spikes.add(name, time.time(), seconds)

    def sampled(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """One command of many (kvgate.lane.machine.Gate)."""
        return self.samples.show(client, account, args)

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
        if answering.asks_all(self, spec):
            self.tasks.alone(client, answering.for_all, self, client, spec, args, now)
        elif way is not None:
            way(self, client, spec, args, frame, now)
        elif spec.action is Action.REFUSE:
            raise refused(spec.lower, spec.why)
        elif spec.name in _LOGS_IN:
            logins.log_in(self, client, spec, args, frame, now)
        elif spec.name == "RESET":
            answering.in_turn(self, client, spec, args, now)
        elif spec.action is Action.GATE:
            answering.at_once(self, client, spec, args, frame, now)
        elif spec.action is Action.OWN and needs_own_connection(spec, args):
            blocking.block(self, client, spec, args, frame, now)
        else:
            stores.to_stores(self, client, user, spec, args, frame, now)

    def run_batch(self, client: Client) -> None:
        """All that came at once is looked at: adapters execute what was collected of it."""
        self.execution.run_batch(client)

    def reply(self, client: Client, reply: Raw | Reply) -> None:
        """Answer the present command."""
        if not client.session.quiet:
            self.lane.reply(client, reply if isinstance(reply, Raw) else encode(reply, client.session.proto))

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """An argument was larger than any namespace allows; its bytes were dropped as they came."""
        del now
        session: Session = client.session
        session.quiet = session.silent or session.skip_next
        session.skip_next = False
        if session.multi is not None:
            session.multi.aborted = True
        self.refit(client)
        limit = client.scanner.value_limit
        text = b"ERR value of %d bytes is over the limit of %d bytes, the largest of any namespace" % (size, limit)
        self.audit.refused(client, args, GateError("ERR"))
        self.reply(client, Error(text))

    # ------------------------------------------------------------------ what the gate's own commands ask for (Site)

    def become(self, client: Client, user: User | None, *, proto: int | None = None) -> None:
        """Give the client a user and, when said, another protocol (Site)."""
        session: Session = client.session
        if user is not None and not user.has_database(session.database):
            raise GateError(BAD_DATABASE)
        home = self.places.home(user, session.database)
        if session.subscriptions is not None and home != session.home:
            raise select_while_subscribed()
        if user is not session.user:
            self.seats.admit(session, user)
            session.user = user
            session.certified = user is not None and user is self.configuration.users.certified(session.certificate)
        session.home = home
        if proto is not None:
            session.proto = proto
        self.refit(client)

    def select(self, client: Client, number: int) -> None:
        """SELECT."""
        session: Session = client.session
        if session.user is None or not session.user.has_database(number):
            raise GateError(BAD_DATABASE)
        home = self.places.home(session.user, number)
        if session.subscriptions is not None and home != session.home:
            raise select_while_subscribed()
        session.database, session.home = number, home
        self.refit(client)

    def reset(self, client: Client) -> None:
        """RESET."""
        session: Session = client.session
        transactions.forget(session)
        subscriptions.forget(session)
        session.quiet = session.quiet and not session.silent  # it ends OFF at once; a SKIP before it is of its own reply
        session.silent = session.skip_next = False
        session.name = b""
        session.database = 0
        session.no_evict = False
        try:
            self.become(client, self.configuration.users.initial(session.host, session.certificate), proto=2)
        except GateError:  # that one has as many clients as it may: this one has to authenticate
            self.become(client, None, proto=2)

    def reply_mode(self, client: Client, mode: str) -> None:
        """CLIENT REPLY."""
        session: Session = client.session
        if mode == "SKIP":
            session.skip_next = not session.silent
        else:
            session.silent = mode == "OFF"
            session.skip_next = False
            session.quiet = session.silent
        self.refit(client)

    def hang_up(self, client: Client) -> None:
        """QUIT: close after the replies."""
        self.lane.hang_up(client)

    def kill(self, client: Client) -> None:
        """CLIENT KILL: at once, but the caller itself after its reply."""
        if client is self.present:
            self.lane.hang_up(client)
        else:
            self.driver.close_client(client)

    @property
    def paused_until(self) -> float:
        """The end of CLIENT PAUSE on the lane's clock; 0 when it is not in force."""
        return self.pauses.until

    def pause(self, until: float, *, writes_only: bool) -> None:
        """CLIENT PAUSE."""
        self.pauses.pause(until, writes_only=writes_only)

    def unpause(self) -> None:
        """CLIENT UNPAUSE."""
        self.pauses.unpause()

    def unblock(self, client: Client, how: str) -> bool:
        """CLIENT UNBLOCK."""
        session: Session = client.session
        if not session.blocked or session.running is None:
            return False
        session.unblocked_by = how
        session.blocked = False  # a second CLIENT UNBLOCK finds it unblocked
        session.running.cancel()
        return True


def _authenticated(session: Session, spec: CommandSpec) -> User:
    if session.user is not None:
        return session.user
    if spec.name in BEFORE_AUTH:
        return _NOBODY
    raise GateError(NO_AUTH)


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

