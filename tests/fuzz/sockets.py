"""The third side: the same programs through the driver's own sockets, so that `serve`, `flush` and `rounds` of the paths in C
run, too.

Clients and stores are the other ends of socket pairs, with small buffers where the setup says so: what is sent goes in parts,
readers stay away, connections end or are reset, callbacks fail. Several say something before anybody looks. Time is the
machine's here, so what came when is not compared, but all bytes are.
"""

import math
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import attrs
import trio

from kvgate.lane.client import Client
from kvgate.lane.connect import Connected
from kvgate.lane.driver import Driver, Limits, Transport
from kvgate.lane.slots import Pending
from kvgate.lane.upstream import Upstream
from kvgate.metrics.ledger import Account
from tests.fuzz.peers import AT_ONCE, Peer
from tests.fuzz.program import EVENTS_HERE, Play, program
from tests.fuzz.rounds import InPieces, Rounds, Trace
from tests.fuzz.scene import Scene, Setup
from tests.lane.world import Store

SMALL: Final = 4096
"""Bytes asked for as a buffer in the kernel, where they are to be small; it gives about twice that."""
MOST_ROUNDS: Final = 3000


class Failing(RuntimeError):  # noqa: N818 - it stands for a callback that fails, by an error that nobody expects
    """What the gate above the lane raises now and then."""


class _Nursery:
    """Takes the tasks that would connect."""

    def __init__(self, scene: "SocketScene") -> None:
        self._scene = scene

    def start_soon(self, _connect: Callable[..., Any], up: Upstream) -> None:
        self._scene.connecting.append(up)


class SocketScene(Scene):
    """A scene whose clients and stores are on sockets."""

    def __init__(self, setup: Setup, *, in_c: bool, trace: Trace | None = None) -> None:
        """Everybody is connected. `trace`: that of the same program in C, for a scene without."""
        super().__init__(attrs.evolve(setup, slow=False), in_c=in_c)
        self.small = setup.slow
        self.until = 0.0 if setup.hurried else math.inf
        self.trace: Trace = [] if trace is None else trace
        self.failing: dict[str, int] = {}  # of the gate's methods → how often each succeeds before it fails once
        self._in_turn = False
        self.meanwhile: list[Callable[[], None]] = []  # what happens elsewhere while the next request is looked at
        self.blocked: set[int] = set()  # clients that leave when they send no more
        self.lane.slow_after = math.inf
        limits, kind = Limits(out_pause=50_000, bytes_in=200_000, commands=500), Driver if in_c else InPieces
        self.driver = kind(self.lane, lambda *_: b"", limits=limits)
        self.driver._nursery = cast("trio.Nursery", _Nursery(self))
        self.peers: dict[int, Peer] = {}  # of clients
        self.behind: dict[Upstream, Peer] = {}  # of stores
        self.all_peers: list[Peer] = []
        self.rounds = Rounds(self.driver, self.trace)
        for client in self.clients:
            mine, peer = self._pair(None)
            transport = client.transport = Transport(mine, self.driver._client_readable, client)
            transport.carries = True
            self.driver.clients[client.id] = client
            self.driver._transports[transport.fd] = transport
            self.driver._epoll.register(transport.fd, select.EPOLLIN)
            self.peers[client.id] = peer
        for up in self.links:
            self._connect(up)

    def _pair(self, store: Store | None) -> tuple[socket.socket, Peer]:
        mine, other = socket.socketpair()
        for sock in (mine, other):
            sock.setblocking(False)
            if self.small:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        peer = Peer(other, store, self.setup.apart)
        self.all_peers.append(peer)
        self.rounds.socks.append(mine)
        return mine, peer

    def _connect(self, up: Upstream) -> None:
        mine, self.behind[up] = self._pair(self.links[up].store)
        self.driver._connected(up, Connected(mine, None, b"", 2))

    def settle(self) -> None:
        """Rounds of the driver, in which everybody sends and reads, until nothing happens any more."""
        for _ in range(MOST_ROUNDS):
            busy = [peer.pump() for peer in self.all_peers]
            if not self._turn() and not any(busy):
                break
        self.driver._settle(math.inf)

    def _turn(self) -> bool:
        """One look at the sockets, or as many as find something, up to the setup's number at once; whether any did."""
        self._in_turn = True
        try:
            if self.setup.looks < 2:
                return self.driver._round(self.until)
            looks = 0
            while looks < MOST_ROUNDS and self.rounds.run(self.until, self.setup.looks):
                looks += 1
            return looks > 0
        finally:
            self._in_turn = False

    def leave(self, client: Client) -> None:
        """The client goes away."""
        self.peers[client.id].close()

    def drop(self, up: Upstream, why: str = "cut") -> None:
        """The store's connection ends, once it has read what was sent."""
        del why
        self.behind[up].close()

    def connect(self) -> None:
        """All that connect succeed."""
        while self.connecting:
            self._connect(self.connecting.pop())
        self.settle()

    def run_to_the_end(self) -> None:
        """Everybody reads, all tasks end."""
        for peer in self.all_peers:
            peer.reads = True
        for _ in range(MOST_ROUNDS):
            self.settle()
            if not self.tasks and not self.connecting:
                break
            while self.tasks:
                self.tasks.pop(0)()
                self.driver._settle(math.inf)
            self.connect()

    def may_fail(self, what: str) -> None:
        """Fail, when it is time for it and one of the gate's sockets is served."""
        if self._in_turn and what in self.failing:
            self.failing[what] -= 1
            if self.failing[what] < 0:
                del self.failing[what]
                self.journal.append(("fails", what))
                raise Failing(what)

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """As always, if it does not fail."""
        while self._in_turn and self.meanwhile:
            self.meanwhile.pop()()
        self.may_fail("request")
        super().request(client, args, frame, now)
        self.may_fail("requested")

    def serve_here(self, client: Client, spec: Any, args: list[bytes], frame: bytes, now: float, account: Account) -> None:
        """As always, if it does not fail."""
        self.may_fail("here")
        super().serve_here(client, spec, args, frame, now, account)

    def run_batch(self, client: Client) -> None:
        """As always, if it does not fail."""
        self.may_fail("batch")
        super().run_batch(client)

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """As always, if it does not fail."""
        self.may_fail("large")
        super().too_large(client, args, size, now)

    def left(self, client: Client) -> None:
        """As always, if it does not fail."""
        super().left(client)
        self.may_fail("left")

    def half_closed(self, client: Client) -> None:
        """As always, if it does not fail."""
        super().half_closed(client)
        if client.id in self.blocked:
            self.driver.close_client(client)
        self.may_fail("half")

    def sampled(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """As always, if it does not fail."""
        self.may_fail("sampled")
        return super().sampled(client, account, args)

    def _fill(self, client: Client, slot: Pending, raw: bytes) -> None:
        self.may_fail("answer")
        super()._fill(client, slot, raw)

    def check(self) -> None:
        """Between rounds the driver's queues are in the kernel: only the end is looked at."""

    def seen(self) -> list[Any]:
        """What can be compared: no times."""
        lane, driver = self.lane, self.driver
        return [
            [(bytes(peer.got), peer.ended) for peer in self.all_peers],
            [
                (a.namespace, a.command, a.calls, a.errors, a.misses, a.bytes_in, a.bytes_out, sum(a.buckets), a.codes)
                for a in [*self.ledger, *filter(None, [self.follow])]
            ],
            (lane.commands, lane.unsampled, lane.retries, lane.failures, self.asked),
            (driver.failures, len(driver.clients), self.rounds.made),
            [
                (
                    *(c.received, c.sent, c.out_size, c.inflight, c.inflight_bytes, c.held, c.backlog_size, len(c.queue)),
                    *(c.closed, c.eof, c.closing, c.transport.paused, c.transport.want_out),
                )
                for c in self.clients
            ],
            [(up.state.value, up.queued, up.sent, len(up.fifo), up.held) for up in self.links],
            [_timeless(entry) for entry in self.journal],
            [store.executed for store in self.stores],
        ]

    def end(self) -> None:
        """Close everything."""
        self.failing.clear()
        for peer in self.all_peers:
            peer.close()
        self.driver._close_all()


class SocketPlay(Play):
    """One run of a program on sockets: some events mean what they can mean there."""

    scene: SocketScene

    def run(self, data: bytes) -> None:
        """Play it to its end."""
        for portion, event, argument in program(data):
            self.add(portion)
            _ON_SOCKETS.get(event, EVENTS_HERE.get(event, SocketPlay.cut))(self, argument)
            self.mark = len(self.said)
        self.cut(0)
        self.scene.run_to_the_end()

    @property
    def peer(self) -> Peer:
        """Who speaks."""
        speaker = self.speaker
        return self.scene.peers[speaker.id] if isinstance(speaker, Client) else self.scene.behind[speaker]

    def cut(self, _argument: int) -> None:
        """What was said is sent."""
        data, self.said, self.mark = bytes(self.said), bytearray(), 0
        peer = self.peer
        if data and peer.sends:
            peer.waiting += data
        self.scene.settle()

    def lay(self) -> None:
        """What was said is a portion, which is sent when the others have spoken, too."""
        data, self.said, self.mark = bytes(self.said), bytearray(), 0
        peer = self.peer
        if data and peer.sends:
            peer.say(data)

    def next(self, argument: int) -> None:
        """A portion ends, and another client, or a store, speaks before anybody looks."""
        self.lay()
        scene = self.scene
        links = list(scene.links)
        self.speaker = scene.clients[argument % 4] if argument < 128 else links[argument % len(links)]

    def vanish(self, argument: int) -> None:
        """Who speaks says its last, and ends the connection, or its half of it, before anybody looks."""
        self.lay()
        peer = self.peer
        if peer.ended:
            return
        peer.send()
        if argument & 1:
            peer.close()
        else:
            peer.portions.clear()
            peer.end()

    def fail(self, argument: int) -> None:
        """One of the gate's methods fails in one of its next calls."""
        self.cut(0)
        self.scene.failing[_FAIL[argument % len(_FAIL)]] = argument // len(_FAIL) % 8

    def meanwhile(self, argument: int) -> None:
        """While the gate looks at the next request, a client is killed, or somebody ends, sends no more, or is gone with what
        the kernel had named; or, from now on, a client leaves when it sends no more."""
        self.cut(0)
        scene, what, who = self.scene, argument % 6, argument // 6
        client = scene.clients[who % 4]
        everybody: list[Client | Upstream] = [*scene.clients, *scene.links]
        other = everybody[who % len(everybody)]
        peer = scene.peers[other.id] if isinstance(other, Client) else scene.behind[other]

        def lose() -> None:
            if other.transport is not None and other.transport.fd >= 0:
                with suppress(OSError):
                    other.transport.sock.recv(AT_ONCE)

        def vanish() -> None:
            lose()
            peer.close()

        if what < 5:
            kill = partial(scene.driver.close_client, client)
            scene.meanwhile.append((kill, peer.close, peer.end, lose, vanish)[what])
        else:
            scene.blocked.add(client.id)

    def read(self, argument: int) -> None:
        """A client, or a store, reads, or does not, from now on."""
        self.cut(0)
        peers = list(self.scene.behind.values()) if argument & 64 else list(self.scene.peers.values())
        peers[argument // 2 % 32 % len(peers)].reads = argument & 1 == 1

    def end(self, argument: int) -> None:
        """A client will send no more."""
        self.cut(0)
        peer = self.scene.peers[argument % 4]
        if not peer.waiting and not peer.portions:
            peer.end()
        self.scene.settle()

    def task(self, argument: int) -> None:
        """A slow task ends."""
        self.cut(0)
        if self.scene.tasks:
            self.scene.tasks.pop(argument % len(self.scene.tasks))()
            self.scene.driver._settle(math.inf)

    def connect(self, argument: int) -> None:
        """Connections are made; or, for an odd argument, the store is not to be had at first."""
        self.cut(0)
        if argument & 1:
            for up in self.scene.connecting:
                self.scene.lane.unreachable(up, "away")
            self.scene.settle()
        self.scene.connect()

    def drop(self, argument: int) -> None:
        """A connection to a store breaks."""
        self.cut(0)
        self.scene.drop(list(self.scene.links)[argument % len(self.scene.links)])
        self.scene.settle()

    def leave(self, argument: int) -> None:
        """A client's connection ends."""
        self.cut(0)
        self.scene.leave(self.scene.clients[argument % 4])
        self.scene.settle()


_FAIL: Final = ("request", "requested", "here", "batch", "half", "left", "large", "sampled", "answer")
"""What `SocketPlay.fail` chooses from: see `SocketScene.may_fail`."""

_ON_SOCKETS: Final[dict[str, Callable[[SocketPlay, int], None]]] = {
    "t": SocketPlay.read,
    "d": SocketPlay.cut,
    "w": SocketPlay.cut,
    "e": SocketPlay.end,
    "k": SocketPlay.task,
    "C": SocketPlay.connect,
    "D": SocketPlay.drop,
    "l": SocketPlay.leave,
    "|": SocketPlay.cut,
    "+": SocketPlay.next,
    "X": SocketPlay.vanish,
    "F": SocketPlay.fail,
    "M": SocketPlay.meanwhile,
}

EVENTS_ON_SOCKETS: Final = "".join(_ON_SOCKETS)
"""The letters that mean something else, or anything, on this side."""


def _timeless(entry: Any) -> Any:
    if isinstance(entry, tuple | list):
        return [_timeless(each) for each in entry if not isinstance(each, float)]
    return entry
