"""The lane's driver: one epoll set with all listeners, clients and shared upstreams, served by one trio task.

It moves bytes between sockets and the state machine (kvgate.lane.machine), flushes each touched socket once per round, and
looks again without waiting for a bounded time before it gives trio a turn. Slow tasks call `kick` after they filled slots.
"""

import contextlib
import logging
import math
import os
import random
import select
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from kvgate.errors import GateError, ProtocolError, try_again
from kvgate.lane import native
from kvgate.lane.client import Client
from kvgate.lane.connect import Connected, ConnectFailed, away, connect
from kvgate.lane.machine import Lane
from kvgate.lane.proxy_protocol import BadProxyHeader, parse
from kvgate.lane.tls import TlsError, TlsTransform
from kvgate.lane.upstream import State, Upstream
from kvgate.metrics.ledger import BUCKETS
from kvgate.metrics.times import Times

log = logging.getLogger("kvgate.lane")

TURN = 0.0005
"""Seconds that the lane may go on before trio's other tasks have their turn."""
HANDED = struct.Struct("!IQ")
"""What comes with a connection from the parent: the number of its listener, and the client's id."""
RECEIVE = 64 * 1024
MOST_ROUNDS = 1000
"""Rounds in a row that end by their time long before."""
AHEAD = 8
"""Sockets of operators that are served at the beginning of a round."""
MOST_ADMINS = 64
"""Connections by the operators' listener; of those beyond, the oldest that has not proved to be an operator's gives way."""
ACCEPTS = 16
"""Connections accepted from one listener in a row: about half a turn."""
HANDSHAKES = 2
"""Steps of TLS handshakes in one turn; with a private key one costs a millisecond, twice a turn's time."""
GREETING = 5.0
"""Seconds that a trusted balancer has for its PROXY header; the protocol's text asks receivers to wait three at least."""
BACKLOGS = 512
"""Times that many may wait when a listener is closed: twice the longest queue that the gate asks the kernel for."""
LOOK = 1.0
"""Seconds between looks at what is in no hurry."""
PAUSE_LOOK, PAUSE_LOOK_COMMANDS = 1024 * 1024, 1000
"""In flight below which no limit of a client can be near."""
SEND = 256 * 1024
"""Bytes joined for one send when a peer is behind."""
TIMED_EVERY = 8
"""Sends to a store on one connection of which one is timed, up to the last reply: to time all would cost a hundredth."""
TICK = 0.05
"""Seconds between looks at the time limits: a thirtieth of a command's budget."""
QUIET_TICK = 0.25
"""The same while nothing comes and nothing is awaited; a limit of 1.5 s is then kept within 1.75 s, below the clients' 2 s."""
_IN, _OUT, _HUNG_UP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP


@attrs.define
class Limits:
    """What a client may keep in flight and leave unread; contract.md "Defaults"."""

    clients: int = 10_000
    commands: int = 10_000
    bytes_in: int = 16 * 1024 * 1024
    out_hard: int = 256 * 1024 * 1024
    out_soft: int = 64 * 1024 * 1024
    out_soft_seconds: float = 60.0
    pubsub_hard: int = 32 * 1024 * 1024
    pubsub_soft: int = 8 * 1024 * 1024
    pubsub_soft_seconds: float = 60.0
    out_pause: int = 1024 * 1024
    """Reply bytes waiting for a slow reader at which it is not read any more."""
    idle: float = 0.0
    """Seconds of silence after which a client is closed; 0: never."""
    keepalive: int = 300
    """Seconds of silence before TCP asks a client whether it is there; 0: never."""
    connect_timeout: float = 0.5
    reconnect_first: float = 0.05
    reconnect_longest: float = 1.0
    memory: int = 1024 * 1024 * 1024
    """Bytes that clients' requests and replies may hold together; beyond it the greediest clients are closed."""
    long_turn: float = math.inf
    """Seconds that a turn may take without anybody being told."""


class Transport:
    """One socket of the set, and what serves it when it is readable."""

    __slots__ = (
        "address",
        "ahead",
        "behind",
        "carries",
        "ended",
        "fd",
        "host",
        "ident",
        "listener",
        "on_readable",
        "owner",
        "paused",
        "proxy",
        "sock",
        "tls",
        "want_out",
    )

    def __init__(self, sock: socket.socket, on_readable: Callable[["Transport"], None], owner: Any) -> None:
        """`sock` is non-blocking; `owner` is the Client or Upstream that it carries."""
        self.sock = sock
        self.fd = sock.fileno()
        self.on_readable = on_readable
        self.owner = owner
        self.carries = False  # whether all that is read is its owner's, a Client's or an Upstream's
        self.tls: TlsTransform | None = None
        self.ahead = False  # it came by the operators' listener, and is looked at before the others
        self.ident = 0  # the client's id, where the parent gave it
        self.address = ""
        self.listener = ""  # its name, once it carries a client
        self.host = ""  # of the balancer, while its header is awaited
        self.ended = False  # the other side sends no more
        self.behind: deque[memoryview] = deque()  # what the kernel did not take yet (clients only)
        self.want_out = False
        self.paused = False
        self.proxy: bytes | None = None  # a PROXY header's beginning, while one is expected


if native.BUILT:
    native.paths.bind_transport(Transport)


@attrs.frozen(slots=True)
class Listener:
    """What is special about the clients of one listening socket."""

    name: str
    tls: Callable[[], TlsTransform] | None = None
    trusted: Callable[[str], bool] | None = None
    """Whether a peer address is a balancer that sends a PROXY v2 header."""
    admin: bool = False
    """Whether its clients are operators: they are outside the limit on clients, and served ahead of the others."""


Welcome = Callable[[Transport, str, Listener], Client | bytes]
"""Makes the Client of a new connection from its address (``ip:port``), or gives the error that it is refused with."""


class Driver:
    """Owns the sockets. Everything here is synchronous but `run`, which waits, and the tasks that connect."""

    def __init__(self, lane: Lane, welcome: Welcome, *, limits: Limits | None = None, name: str = "kvgate") -> None:
        """`welcome` is asked for each accepted connection. `name` is what stores show in CLIENT LIST."""
        self.lane = lane
        self.welcome = welcome
        self.shaken: Callable[[Client, frozenset[str]], None] | None = None
        """Told the names in a client's certificate when its TLS handshake is done, before anything that it sent is served."""
        self.limits = limits or Limits()
        self.name = name
        self.clients: dict[int, Client] = {}
        self.failures = 0  # exceptions that closed a socket: each is a bug, or the kernel's
        self.refused = 0
        self.accepted: Counter[str] = Counter()  # by listener, as the next two
        self.present: Counter[str] = Counter()
        self.refused_at: Counter[str] = Counter()
        self.above: Callable[[], int] = lambda: 0  # commands that were not forwarded but served above the lane
        self.turned_away: Callable[[str, str], None] = _nobody  # told of connections beyond the limit: address, listener
        self.ready = True  # False while draining
        self.turn_max = 0.0
        self.turns = 0
        self.turn_times = Times()
        self.command_times = Times()
        """As often as there were commands, the time of the turn in which each was read, or its task was begun: what the gate
        alone takes on the way in, at most. The way out is a turn, too."""
        self._commands = 0
        self.tell_long_turn: Callable[[float], None] = lambda _seconds: None
        """Called with the seconds of a turn that took longer than `Limits.long_turn`."""
        self._ready: deque[tuple[int, int]] = deque()  # sockets that epoll named and the last turn had no time for
        self._shaking: deque[Transport] = deque()  # of those in TLS handshakes, the ones that wait for a turn
        self._handshakes = HANDSHAKES  # steps left in this turn
        self._greeted: dict[Transport, float] = {}  # since when a PROXY header is awaited
        self._resting: list[int] = []  # listeners that are not looked at: there are no descriptors left
        self._epoll = select.epoll()
        self._epoll_fd = self._epoll.fileno()
        self._ahead = select.epoll()  # of operators' sockets; it stands in the other one, which wakes the lane
        self._epoll.register(self._ahead.fileno(), _IN)
        self._has_ahead = False  # whether it was ever needed
        self.admins: dict[int, Client] = {}
        """Those of `clients` that came by the operators' listener."""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, _IN | select.EPOLLET)  # an edge only: nobody has to read it
        self._transports: dict[int, Transport] = {}
        self._listeners: dict[int, tuple[socket.socket, Listener]] = {}
        self._handoff: socket.socket | None = None
        self._handed_by: Sequence[Listener] = ()
        self._tell_ended: Callable[[], None] = lambda: None
        self._paused: set[Transport] = set()
        self._nursery: trio.Nursery | None = None
        self._next_look = 0.0
        self._heavy: set[Client] = set()  # clients that hold, or held lately, more than a little memory

    # ------------------------------------------------------------------ the task

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._ticks)
            task_status.started()
            try:
                while True:
                    if self._ready or self._shaking or self.lane.resumable:
                        await trio.lowlevel.checkpoint()
                    else:
                        await trio.lowlevel.wait_readable(self._epoll.fileno())
                    self._turn()
            finally:
                self._close_all()

    def _turn(self) -> None:
        begun = time.monotonic()
        until = begun + TURN
        self._go_on_shaking()
        going = self._round(until)
        while going and time.monotonic() < until:
            if trio.lowlevel.current_statistics().tasks_runnable:
                break
            going = self._rounds(until)
        self.turns += 1
        took = time.monotonic() - begun
        if took > self.limits.long_turn:
            self.tell_long_turn(took)
        if took > self.turn_max:
            self.turn_max = took
        times, at = self.turn_times, int(took * 1_000_000).bit_length()
        if at >= BUCKETS:
            at = BUCKETS - 1
        times.buckets[at] += 1
        times.seconds += took
        commands = self.lane.commands + self.above()
        if commands != self._commands:
            times, fresh = self.command_times, commands - self._commands
            self._commands = commands
            times.buckets[at] += fresh
            times.seconds += fresh * took

    def _round(self, until: float) -> bool:
        """Serve the sockets that are ready, then send everything; whether there was anything. The time is looked at after
        each socket: those that are left are the first ones of the next turn."""
        events = self._ready
        if self._has_ahead and self._serve(deque(self._ahead.poll(0, AHEAD)), math.inf):
            self._settle(until)
        if not events and self.lane.in_c:
            return self._rounds_in_c(until, 1)
        if not events:
            events.extend(self._epoll.poll(0, 512))
            if not events and not self.lane.resumable:
                return False
        self._serve(events, until)
        self._settle(until)
        return True

    def _rounds(self, until: float) -> bool:
        """Rounds until there is nothing or no time, or something was called that may have woken a task; whether to look
        again. Who has to look between two rounds calls it for one after the other."""
        if self._has_ahead or self._ready or not self.lane.in_c:
            return self._round(until)
        return self._rounds_in_c(until, MOST_ROUNDS)

    def _rounds_in_c(self, until: float, most: int) -> bool:
        again = native.paths.rounds(self, self.lane, self._transports, self._ready, self._epoll_fd, until, most)
        if again:
            self._settle(until)
        return again

    def _serve(self, events: deque[tuple[int, int]], until: float) -> bool:
        """Serve sockets that are ready, at least one, as many as there is time for; whether there were any."""
        transports, clock, any_event = self._transports, time.monotonic, bool(events)
        if self.lane.in_c:
            return native.paths.serve(self, transports, events, until)
        while events:
            fd, mask = events.popleft()
            transport = transports.get(fd)
            if transport is None:
                self._accept_some(fd)
            else:
                self._serve_one(transport, mask)
            if clock() > until:
                break
        return any_event

    def _serve_one(self, transport: Transport, mask: int) -> None:
        try:
            if mask & _OUT:
                self._writable(transport)
            if mask & _HUNG_UP and transport.paused:
                self._gone_while_paused(transport)
            elif mask & ~_OUT and transport.sock.fileno() >= 0:
                transport.on_readable(transport)
        except Exception as error:  # noqa: BLE001 - one socket must not end the lane; it is logged and counted
            self._failed(transport, error)

    def _set_of(self, transport: Transport) -> select.epoll:
        return self._ahead if transport.ahead else self._epoll

    async def _ticks(self) -> None:
        turns, awaited = -1, True
        while True:
            quiet = not awaited and turns == self.turns and not self._heavy
            turns = self.turns
            await trio.sleep(QUIET_TICK if quiet else TICK)
            now = time.monotonic()
            try:
                awaited = self.lane.tick(now)
                self._look_after(now)
            except Exception as error:  # as for a socket
                self.failures += 1
                log.exception("tick_failed", extra={"error": repr(error), "do": "report this"})
            self.kick()

    def _look_after(self, now: float) -> None:
        """What is looked at from time to time: readers that are too slow, clients that say nothing, listeners that rest."""
        self._watch_output(now)
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        if self.limits.idle:
            self._close_idle(now)
        for transport, since in list(self._greeted.items()):
            if now - since > GREETING:
                facts = {"peer": transport.address, "error": f"no header in {GREETING:g} s", "do": "make it send PROXY v2"}
                log.warning("bad_proxy_header", extra=facts)
                self._forget(transport)
        for fd in self._resting:
            if fd in self._listeners:
                self._set_of_listener(fd).modify(fd, _IN)
        self._resting.clear()

    def kick(self) -> None:
        """Flush what a task outside the lane has filled, at once."""
        self._settle(time.monotonic() + TURN)
        if self.lane.resumable:
            os.eventfd_write(self._wake, 1)  # the rest is for the lane's next turn

    def _settle(self, until: float) -> None:
        """Let waiting clients go on, open and drop connections, and send everything."""
        lane = self.lane
        upstreams, clients = lane.touched_upstreams, lane.touched_clients
        if lane.resumable:
            self._go_on(until)
        while upstreams or clients or lane.to_drop or lane.to_connect:
            if lane.in_c:
                native.paths.flush(self, lane)
            else:
                self._flush(upstreams, clients)
            while lane.to_drop:
                self.drop(*lane.to_drop.pop())
            while lane.to_connect:
                self._start_connecting(lane.to_connect.pop())
        if self._paused:
            self._let_read()

    def _flush(self, upstreams: list[Upstream], clients: list[Client]) -> None:
        """Send all that these have to send, to each at once."""
        for up in upstreams:  # the loops see what is added while they run
            up.touched = False
            try:
                self._flush_upstream(up)
            except Exception as error:  # noqa: BLE001 - one socket must not end the lane, see _serve_one
                self._failed(up.transport, error)
        upstreams.clear()
        for client in clients:
            client.touched = False
            if not client.closed:
                try:
                    self._flush_client(client)
                except Exception as error:  # noqa: BLE001 - one socket must not end the lane, see _serve_one
                    self._failed(client.transport, error)
        clients.clear()

    def _go_on(self, until: float) -> None:
        """Let clients go on whose queue ran empty: at least one, and as many as there is time for."""
        lane = self.lane
        while lane.resumable:
            client = lane.resumable.popleft()
            now = time.monotonic()
            try:
                lane.go_on(client, now)
            except Exception as error:  # noqa: BLE001 - one socket must not end the lane, see _serve_one
                self._failed(client.transport, error)
            if now > until:
                return

    def _failed(self, transport: Transport, error: Exception) -> None:
        """An exception while serving one socket closes that socket and nothing else."""
        self.failures += 1
        log.error("socket_failed", exc_info=error, extra={"peer": transport.address, "do": "report this"})
        try:
            if isinstance(transport.owner, Client):
                self.close_client(transport.owner)
            elif isinstance(transport.owner, Upstream):
                self.drop(transport.owner, "the gate failed to read its replies")
            else:
                self._forget(transport)
        except Exception as second:
            log.exception("close_failed", extra={"peer": transport.address, "error": repr(second), "do": "report this"})

    # ------------------------------------------------------------------ clients

    def listen(self, sock: socket.socket, listener: Listener) -> None:
        """Accept clients from now on; `sock` is bound, listening and non-blocking."""
        self._listeners[sock.fileno()] = sock, listener
        self._count_at(listener.name)
        self._set_of_listener(sock.fileno()).register(sock.fileno(), _IN)

    def _set_of_listener(self, fd: int) -> select.epoll:
        if not self._listeners[fd][1].admin:
            return self._epoll
        self._has_ahead = True
        return self._ahead

    def take_over(self, handoff: socket.socket, listeners: Sequence[Listener], ended: Callable[[], None]) -> None:
        """Serve the connections that the parent accepts and hands over; `ended` is called when one of them has ended."""
        self._handoff, self._handed_by, self._tell_ended = handoff, listeners, ended
        self._epoll.register(handoff.fileno(), _IN)
        for listener in listeners:
            self._count_at(listener.name)

    def _count_at(self, listener: str) -> None:
        """Begin with nothing: a counter that appears with its first event does not show that it grew."""
        for counter in (self.accepted, self.present, self.refused_at):
            counter[listener] += 0

    def stop_listening(self) -> None:
        """Accept nobody any more, but for those that the kernel or the parent has accepted already."""
        for fd, (sock, _) in self._listeners.items():
            self._accept_rest(fd)
            self._set_of_listener(fd).unregister(fd)
            sock.close()
        self._listeners.clear()
        if self._handoff is not None:
            self._accept_rest(self._handoff.fileno())
            self._epoll.unregister(self._handoff.fileno())
            self._handoff.close()
            self._handoff = None

    def _accept_rest(self, fd: int) -> None:
        """Take all that wait at a listener before it is closed: the kernel has told them that they are connected."""
        for _ in range(BACKLOGS):
            if not self._accept_some(fd):
                return

    def _accept_some(self, fd: int) -> bool:
        """Serve a few that wait at a listener, or at the parent's hand; whether there may be more."""
        try:
            if self._handoff is not None and fd == self._handoff.fileno():
                return self._accept_handed(self._handoff)
            return self._accept(fd)
        except Exception as error:
            self.failures += 1
            log.exception("accept_failed", extra={"error": repr(error), "do": "report this"})
            return True

    def _accept_handed(self, handoff: socket.socket) -> bool:
        """Take a few that the parent has accepted; whether there may be more."""
        for _ in range(ACCEPTS):
            try:
                data, descriptors, _, _ = socket.recv_fds(handoff, HANDED.size, 1)
            except OSError:
                return False
            if not data:  # the parent is gone; its channel tells, too
                return False
            if not descriptors:
                self._tell_ended()
                log.warning("accept_failed", extra={"error": "too many open files", "do": "raise the open-files limit"})
                continue
            index, ident = HANDED.unpack(data)
            sock = socket.socket(fileno=descriptors[0])
            try:
                peer = sock.getpeername()
            except OSError:  # it has left already
                sock.close()
                self._tell_ended()
                continue
            self._accepted(sock, peer, self._handed_by[index], ident)
        return True

    def _accept(self, fd: int) -> bool:
        """Take a few from a listener; whether there may be more."""
        listening, listener = self._listeners.get(fd, (None, None))
        if listening is None or listener is None:
            return False
        for _ in range(ACCEPTS):
            try:
                sock, peer = listening.accept()
            except BlockingIOError:
                return False
            except ConnectionAbortedError:  # it has left already
                continue
            except OSError as error:  # no more descriptors: it would stay readable, and the lane would do nothing else
                facts = {"listener": listener.name, "error": str(error), "do": "raise the open-files limit"}
                log.warning("accept_failed", extra=facts)
                self._set_of_listener(fd).modify(fd, 0)
                self._resting.append(fd)
                return False
            self._accepted(sock, peer, listener)
        return True

    def _accepted(self, sock: socket.socket, peer: object, listener: Listener, ident: int = 0) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the method takes it so
        transport = Transport(sock, self._greet, listener)
        transport.ident = ident
        try:
            self._admit(transport, peer, listener)
        except Exception as error:  # noqa: BLE001 - one socket must not end the lane, see _serve_one
            self._failed(transport, error)

    def _admit(self, transport: Transport, peer: object, listener: Listener) -> None:
        sock = transport.sock
        if sock.family == socket.AF_UNIX:
            host, address = "", f"{listener.name}:0"
        else:
            assert isinstance(peer, tuple)  # noqa: S101 - what the kernel gives for AF_INET and AF_INET6
            host, address = str(peer[0]), f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.limits.keepalive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.limits.keepalive)
        transport.address = address
        if listener.admin:
            transport.ahead = self._has_ahead = True
        if listener.tls is not None:
            transport.tls = listener.tls()
        if listener.trusted is not None and listener.trusted(host):
            transport.proxy = b""
            transport.host = host
            self._greeted[transport] = time.monotonic()
        elif not self._begin(transport, listener, host):
            return
        self._transports[transport.fd] = transport
        self._set_of(transport).register(transport.fd, _IN)

    def _begin(self, transport: Transport, listener: Listener, host: str) -> bool:
        """Make a client of a new connection, or refuse it."""
        refusal: bytes | Client = b"-ERR max number of clients reached\r\n"
        if self._room_for_admin() if listener.admin else len(self.clients) - len(self.admins) < self.limits.clients:
            refusal = self.welcome(transport, host, listener)
        else:
            self.turned_away(transport.address, listener.name)
        if isinstance(refusal, Client):
            transport.owner = self.clients[refusal.id] = refusal
            if listener.admin:
                self.admins[refusal.id] = refusal
            transport.on_readable = self._client_readable if transport.tls is None else self._shake
            transport.carries = transport.tls is None
            transport.listener = listener.name
            self.accepted[listener.name] += 1
            self.present[listener.name] += 1
            return True
        self.refused += 1
        self.refused_at[listener.name] += 1
        with contextlib.suppress(OSError):
            if transport.tls is None:
                transport.sock.send(refusal)
        transport.sock.close()
        if transport.ident:
            self._tell_ended()
        return False

    def _room_for_admin(self) -> bool:
        """Whether one more fits; who holds a place without being an operator loses it."""
        if len(self.admins) >= MOST_ADMINS:
            stranger = next((client for client in self.admins.values() if not client.admitted), None)
            if stranger is not None:
                self.close_client(stranger)
        return len(self.admins) < MOST_ADMINS

    def _greet(self, transport: Transport) -> None:
        """Read the PROXY header of a connection from a trusted balancer; only then it is a client."""
        listener = transport.owner
        assert isinstance(listener, Listener) and transport.proxy is not None  # noqa: S101, PT018 - set by _accepted
        try:
            data = transport.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        transport.proxy += data
        try:
            header = parse(transport.proxy)
        except BadProxyHeader as problem:
            facts = {"peer": transport.address, "error": str(problem), "do": "make the balancer send PROXY v2"}
            log.warning("bad_proxy_header", extra=facts)
            data, header = b"", None
        if header is None:
            if not data:
                self._forget(transport)
            return
        length, source = header
        rest, transport.proxy = transport.proxy[length:], None
        host = transport.host
        if source is not None:
            host = source[0]
            transport.address = f"[{host}]:{source[1]}" if ":" in host else f"{host}:{source[1]}"
        self._epoll.unregister(transport.fd)
        del self._transports[transport.fd]
        del self._greeted[transport]
        if self._begin(transport, listener, host):
            self._transports[transport.fd] = transport
            self._epoll.register(transport.fd, _IN)
            if rest:
                self._take_in(transport, rest)  # of a handshake at most the first message

    def _shake(self, transport: Transport) -> None:
        """Take a step of a TLS handshake, a few in each turn; who comes too late waits in line."""
        if self._handshakes <= 0:
            self._shaking.append(transport)
            self._set_of(transport).modify(transport.fd, 0)
            return
        self._handshakes -= 1
        self._client_readable(transport)
        if transport.tls is not None and transport.tls.established:
            transport.on_readable = self._client_readable

    def _go_on_shaking(self) -> None:
        """The first in line take their steps; the turn's other sockets have the rest of its time."""
        self._handshakes = HANDSHAKES
        while self._shaking and self._handshakes:
            transport = self._shaking.popleft()
            if self._transports.get(transport.fd) is transport:
                try:
                    self._watch(transport)
                    self._shake(transport)
                except Exception as error:  # noqa: BLE001 - one socket must not end the lane, see _serve_one
                    self._failed(transport, error)

    def _client_readable(self, transport: Transport) -> None:
        try:
            data = transport.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            self.close_client(transport.owner)
            return
        if transport.tls is None and data and not transport.paused:
            client = transport.owner
            self.lane.feed(client, data, time.monotonic())
            if (
                client.inflight_bytes > PAUSE_LOOK
                or client.inflight > PAUSE_LOOK_COMMANDS
                or client.backlog_size
                or client.scanner.size > PAUSE_LOOK
            ):
                self._maybe_pause(transport, client)
        else:
            self._take_in(transport, data)

    def _take_in(self, transport: Transport, data: bytes) -> None:
        """Bytes of a client (none: it sends no more), off the hot path."""
        client, tls = transport.owner, transport.tls
        if not data and (transport.ended or tls is not None):
            self._half_closed(transport, client)
            return
        if tls is not None:
            shaking = not tls.established
            try:
                data = tls.receive(data)
            except TlsError as problem:
                log.info("tls_failed", extra={"peer": transport.address, "error": str(problem)})
                with contextlib.suppress(OSError):
                    transport.sock.send(tls.close())
                self.close_client(client)
                return
            if shaking and tls.established and self.shaken is not None:
                self.shaken(client, tls.peer_names(time.time()))
            self._send(transport, client, tls.outgoing())
            if client.closed or (not data and not tls.ended):
                return
        if data:
            self.lane.feed(client, data, time.monotonic())
            self._maybe_pause(transport, client)
        if not data or (tls is not None and tls.ended):
            self._half_closed(transport, client)

    def _half_closed(self, transport: Transport, client: Client) -> None:
        if client.closed:
            return
        if transport.ended:
            self.close_client(client)
            return
        transport.ended = True
        self.lane.ended(client)
        if not client.closed:
            self._watch(transport)

    def _maybe_pause(self, transport: Transport, client: Client) -> None:
        limits = self.limits
        if client.closed:
            return
        self._heavy.add(client)
        if (
            client.inflight > limits.commands
            or client.inflight_bytes > limits.bytes_in
            or client.backlog_size > _backlog(limits, client)
            or client.out_size + client.held > limits.out_pause
        ):
            transport.paused = True
            self._paused.add(transport)
            self._watch(transport)

    def _let_read(self) -> None:
        """Read those clients again that have come down to half of their limits."""
        limits = self.limits
        for transport in list(self._paused):
            client = transport.owner
            if (
                client.inflight * 2 < limits.commands
                and client.inflight_bytes * 2 < limits.bytes_in
                and client.backlog_size * 2 < _backlog(limits, client)
                and (client.out_size + client.held) * 2 < limits.out_pause
            ):
                self._paused.discard(transport)
                transport.paused = False
                self._watch(transport)

    def _watch(self, transport: Transport) -> None:
        """Tell epoll what is wanted of a socket now."""
        wanted = _OUT if transport.want_out else 0
        if not transport.ended:
            wanted |= _HUNG_UP if transport.paused else _IN
        self._set_of(transport).modify(transport.fd, wanted)

    def _gone_while_paused(self, transport: Transport) -> None:
        """A client that is not read has sent its last: who waits for others' doing has left. What others sent is read when
        their turn comes, so it is not looked for again until then."""
        client = transport.owner
        self.lane.gate.half_closed(client)
        if not client.closed:
            self._set_of(transport).modify(transport.fd, _OUT if transport.want_out else 0)

    def _flush_client(self, client: Client) -> None:
        transport = client.transport
        out = client.out
        if client.cut:
            self.close_client(client)
            return
        if client.held > self.limits.out_pause:
            self._check_unread(transport, client)
            if client.closed:
                return
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if transport.tls is not None:
                data = transport.tls.send(data)
            self._send(transport, client, data)
        if client.closing and not transport.behind and not client.closed:
            self.close_client(client)

    def _send(self, transport: Transport, client: Client, data: bytes) -> None:
        client.sent += len(data)
        if not transport.behind:
            if not data:
                return
            try:
                sent = transport.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close_client(client)
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._left_over(transport, client, data)

    def _left_over(self, transport: Transport, client: Client, data: bytes) -> None:
        """Keep what the kernel did not take."""
        if not transport.behind:
            transport.want_out = True
            self._heavy.add(client)
            self._watch(transport)
        transport.behind.append(memoryview(data))
        client.out_size += len(data)
        self._check_unread(transport, client)

    def _check_unread(self, transport: Transport, client: Client) -> None:
        """Replies wait, for the client to read them or for an earlier one: it is not read, or closed, if they are many."""
        unread = client.out_size + client.held
        if unread > (self.limits.pubsub_hard if client.subscribed else self.limits.out_hard):
            self._too_slow(client)
        elif unread > self.limits.out_pause and not transport.paused:
            self._maybe_pause(transport, client)

    def _writable(self, transport: Transport) -> None:
        owner = transport.owner
        if isinstance(owner, Upstream):
            transport.want_out = False
            self._watch(transport)
            self._flush_upstream(owner)
            return
        behind = transport.behind
        while behind:
            data = behind[0]
            try:
                sent = transport.sock.send(data[:SEND])
            except BlockingIOError:
                return
            except OSError:
                self.close_client(owner)
                return
            owner.out_size -= sent
            if sent < len(data):
                behind[0] = data[sent:]
            else:
                behind.popleft()
        transport.want_out = False
        self._watch(transport)
        if owner.closing:
            self.close_client(owner)

    def _watch_output(self, now: float) -> None:
        """Close readers that were too slow for too long, and the greediest when all together hold too much."""
        total, limits = 0, self.limits
        for client in list(self._heavy):
            soft, seconds = limits.out_soft, limits.out_soft_seconds
            if client.subscribed:
                soft, seconds = limits.pubsub_soft, limits.pubsub_soft_seconds
            holds = _holds(client)
            total += holds
            if holds < PAUSE_LOOK and not client.out_size:
                self._heavy.discard(client)
            if client.out_size <= soft:
                client.over_since = 0.0
            elif not client.over_since:
                client.over_since = now
            elif now - client.over_since > seconds:
                self._too_slow(client)
        while total > limits.memory and self._heavy:
            greediest = max(self._heavy, key=_holds)
            log.warning("memory_limit", extra={"client": greediest.id, "peer": greediest.transport.address, "held": total})
            total -= _holds(greediest)
            self.close_client(greediest)

    def _too_slow(self, client: Client) -> None:
        facts = {"client": client.id, "peer": client.transport.address, "unread": client.out_size, "waiting": client.held}
        log.warning("client_too_slow", extra=facts)
        self.close_client(client)

    def _close_idle(self, now: float) -> None:
        before = now - self.limits.idle
        for client in [each for each in self.clients.values() if each.last_fed < before]:
            if client.idle and not client.subscribed:
                self.close_client(client)

    def close_idle(self, client: Client) -> bool:
        """End a client's connection if nothing of it is unanswered, in the kernel neither; whether it has ended."""
        if not client.closed:
            try:
                if client.transport.sock.recv(1, socket.MSG_PEEK):
                    return False  # a command came meanwhile: the lane is about to see it
            except BlockingIOError:
                pass
            except OSError:
                pass  # it is gone
            self.close_client(client)
        return True

    def finish(self, client: Client) -> None:
        """Read nothing more of a client: what came is finished and flushed, then it is closed."""
        if not client.closed and not client.eof:
            self._half_closed(client.transport, client)

    def close_client(self, client: Client) -> None:
        """End a client's connection now; idempotent."""
        if client.closed:
            return
        transport: Transport = client.transport
        self.clients.pop(client.id, None)
        self.admins.pop(client.id, None)
        self.present[transport.listener] -= 1
        self._heavy.discard(client)
        self._paused.discard(transport)
        try:
            self.lane.leave(client)
        finally:
            if transport.tls is not None and not transport.behind:
                with contextlib.suppress(OSError):
                    transport.sock.send(transport.tls.close())
            if not self.ready:  # it was not told: unread bytes would turn its last replies into a reset
                with contextlib.suppress(OSError):
                    transport.sock.shutdown(socket.SHUT_WR)
                    for _ in range(ACCEPTS):  # as much as the kernel keeps
                        if not transport.sock.recv(RECEIVE):
                            break
            self._forget(transport)

    def _forget(self, transport: Transport) -> None:
        if self._transports.pop(transport.fd, None) is not None:
            self._set_of(transport).unregister(transport.fd)
            transport.fd = -1  # the number may soon be another's
        if transport.ident:
            transport.ident = 0
            self._tell_ended()
        self._greeted.pop(transport, None)
        transport.behind.clear()
        transport.sock.close()

    # ------------------------------------------------------------------ upstreams

    def _start_connecting(self, up: Upstream) -> None:
        if self._nursery is None:
            raise RuntimeError("the driver is not running")
        self._nursery.start_soon(self._connecting, up)

    async def _connecting(self, up: Upstream) -> None:
        """Connect, again and again with growing pauses, until it succeeds."""
        delay = self.limits.reconnect_first
        if up.in_a_hurry:
            up.in_a_hurry = False
        else:
            await trio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, decides nothing secret
        while not up.retired:
            try:
                connected = await connect(up.endpoint, proto=up.proto, name=self.name, timeout=self.limits.connect_timeout)
            except Exception as failure:
                if isinstance(failure, (ConnectFailed, GateError)):
                    why = away(up.endpoint, failure)
                else:
                    self.failures += 1
                    log.exception("connect_failed", extra={"store": up.name, "do": "report this"})
                    why = f"{up.endpoint.url}: the gate failed to connect, its log says more"
                if up.state is not State.DOWN:
                    facts = {"store": up.name, "why": why, "do": "start it or correct its url; the gate goes on trying"}
                    log.warning("store_down", extra=facts)
                self.lane.unreachable(up, why, failure if isinstance(failure, GateError) else None)
                self.kick()
                await trio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
                delay = min(2 * delay, self.limits.reconnect_longest)
            else:
                if not up.retired:
                    self._connected(up, connected)
                else:
                    connected.stream.close()
                return

    def _connected(self, up: Upstream, connected: Connected) -> None:
        if up.state is State.DOWN:
            log.warning("store_up", extra={"store": up.name})
        transport = Transport(connected.sock, self._upstream_readable, up)
        transport.carries = True
        transport.tls = connected.tls
        up.transport = transport
        self._transports[transport.fd] = transport
        self._epoll.register(transport.fd, _IN)
        up.last_read = up.since = time.monotonic()
        self.lane.connected(up)
        if connected.leftover:  # it speaks before it is asked
            try:
                self.lane.fed_by(up, connected.leftover, up.last_read)
            except ProtocolError as problem:
                self.drop(up, str(problem))
        self.kick()

    def _upstream_readable(self, transport: Transport) -> None:
        up: Upstream = transport.owner
        try:
            data = transport.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(up, error.errno or 0)
            return
        try:
            if data:
                if transport.tls is not None:
                    data = transport.tls.receive(data)
                if data:
                    now = time.monotonic()
                    self.lane.fed_by(up, data, now)
                    if up.timed is not None and not up.timed.want:
                        self._time_taken(up, now)
                return
        except (ProtocolError, TlsError) as problem:
            self._out_of_step(up, problem)
            return
        self._broken(up, 0)

    def _broken(self, up: Upstream, number: int) -> None:
        """A shared connection has ended, by the error of that number; 0: in order."""
        broke = f"the connection to {up.name} broke: {os.strerror(number)}"
        self.drop(up, broke if number else f"store {up.name} closed the connection")

    def _out_of_step(self, up: Upstream, problem: ProtocolError | TlsError) -> None:
        """What a store sent is no answer to anything."""
        log.error("store_out_of_step", extra={"store": up.name, "error": str(problem)})
        self.drop(up, str(problem))

    @staticmethod
    def _take_time(up: Upstream) -> None:
        """One send in a few is timed, up to its last reply."""
        up.untimed = TIMED_EVERY - 1
        up.timed, up.timed_at = up.fifo[-1], time.monotonic()

    @staticmethod
    def _time_taken(up: Upstream, now: float) -> None:
        up.trips.times.note(now - up.timed_at)
        up.timed = None

    def _flush_upstream(self, up: Upstream) -> None:
        transport = up.transport
        if transport is None or transport.want_out:
            return
        out = up.out
        while up.unsent or (out and not up.held):  # a command of which a part was sent is sent to its end
            if up.unsent:
                data = up.unsent
            else:
                data = out[0] if len(out) == 1 else b"".join(out)
                out.clear()
                if transport.tls is not None:
                    up.sent += len(data)  # what TLS has taken can not be taken back
                    data = transport.tls.send(data)
            try:
                sent = transport.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent = 0  # the end of the connection is found when it is read
                up.unsent = data
                return
            if transport.tls is None:
                up.sent += sent
            if sent < len(data):
                up.unsent = memoryview(data)[sent:]
                transport.want_out = True
                self._watch(transport)
                return
            up.unsent = b""
            up.untimed -= 1
            if up.untimed < 0 and up.timed is None and up.fifo and not up.out:
                self._take_time(up)

    def retire(self, up: Upstream) -> None:
        """End a shared connection that is served no more: nothing is unanswered on it. Whoever asks it all the same is told
        to ask again."""
        up.retired = True
        up.state = State.DOWN
        up.refusal = try_again(f"store {up.name} is served no more").reply
        self.lane.upstreams.discard(up)
        if up.transport is not None:
            self._forget(up.transport)
            up.transport = None

    def drop(self, up: Upstream, why: str) -> None:
        """End a shared connection: `Lane.lost` decides about what was on it, and a new one is made if it is wanted."""
        transport = up.transport
        if transport is None:
            return
        held = up.held
        up.trips.lost += 1
        self._forget(transport)
        log.warning("store_connection_lost", extra={"store": up.name, "why": why, "unanswered": len(up.fifo)})
        up.in_a_hurry = not held and time.monotonic() - up.since > self.limits.reconnect_longest  # else it would be a storm
        self.lane.lost(up, why)

    # ------------------------------------------------------------------ the end

    def _close_all(self) -> None:
        for client in list(self.clients.values()):
            self.close_client(client)
        for transport in list(self._transports.values()):
            self._forget(transport)
        self.stop_listening()
        self._epoll.close()
        self._ahead.close()
        os.close(self._wake)


def _nobody(address: str, listener: str) -> None:
    """Tell nobody."""


def _holds(client: Client) -> int:
    """Bytes that are in memory for a client."""
    return client.out_size + client.held + client.backlog_size + client.inflight_bytes + client.scanner.held


def _backlog(limits: Limits, client: Client) -> int:
    """Bytes of a client that may wait to be looked at. Without a reason of its own to wait, it only lets others go first."""
    return limits.bytes_in if client.stalled and not client.depth else RECEIVE
