"""The third side: the same programs through the driver's own sockets, so that `serve` and `flush` of the paths in C run, too.

Clients and stores are the other ends of socket pairs, with small buffers where the setup says so: what is sent goes in parts,
readers stay away, connections break. Time is the machine's here, so what came when is not compared, but all bytes are.
"""

import math
import select
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import attrs
import trio

from kvgate.lane.client import Client
from kvgate.lane.connect import Connected
from kvgate.lane.driver import Driver, Limits, Transport
from kvgate.lane.upstream import Upstream
from kvgate.wire.request import RequestScanner
from tests.fuzz.program import EVENTS_HERE, Play, program
from tests.fuzz.scene import Scene, Setup
from tests.lane.world import Store

SMALL: Final = 4096
"""Bytes asked for as a buffer in the kernel, where they are to be small; it gives about twice that."""
MOST_ROUNDS: Final = 3000


@attrs.define(eq=False)
class Peer:
    """The other end of a socket of the gate."""

    sock: socket.socket
    store: Store | None = None
    """Whose replies it gives; None: it is a client."""
    waiting: bytearray = attrs.field(factory=bytearray)
    """What the kernel did not take yet."""
    got: bytearray = attrs.field(factory=bytearray)
    reads: bool = True
    ended: bool = False
    silent: bool = False
    """It has said that it will send no more."""
    scanner: RequestScanner = attrs.field(factory=RequestScanner)

    def pump(self) -> bool:
        """Send and receive what is possible now; whether anything was."""
        return self._send() | self._receive()

    def _send(self) -> bool:
        if not self.waiting or self.ended:
            return False
        try:
            del self.waiting[: self.sock.send(self.waiting[:65536])]
        except BlockingIOError:
            return False
        except OSError:
            self.waiting.clear()
        return True

    def _receive(self) -> bool:
        if not self.reads or self.ended:
            return False
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return True
        self.got += data
        pos = 0
        while self.store is not None and pos < len(data):
            pos = self.scanner.feed(data, pos)
            if self.scanner.args is not None:
                self.waiting += self.store.execute(self.scanner.args)
        return True

    def close(self) -> None:
        """End the connection."""
        self.ended = True
        self.sock.close()


class _Nursery:
    """Takes the tasks that would connect."""

    def __init__(self, scene: "SocketScene") -> None:
        self._scene = scene

    def start_soon(self, _connect: Callable[..., Any], up: Upstream) -> None:
        self._scene.connecting.append(up)


class SocketScene(Scene):
    """A scene whose clients and stores are on sockets."""

    def __init__(self, setup: Setup, *, in_c: bool) -> None:
        """Everybody is connected."""
        super().__init__(attrs.evolve(setup, slow=False), in_c=in_c)
        self.small = setup.slow
        self.lane.slow_after = math.inf
        self.driver = Driver(self.lane, lambda *_: b"", limits=Limits(out_pause=50_000, bytes_in=200_000, commands=500))
        self.driver._nursery = cast("trio.Nursery", _Nursery(self))
        self.peers: dict[int, Peer] = {}  # of clients
        self.behind: dict[Upstream, Peer] = {}  # of stores
        self.all_peers: list[Peer] = []
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
        peer = Peer(other, store)
        self.all_peers.append(peer)
        return mine, peer

    def _connect(self, up: Upstream) -> None:
        mine, self.behind[up] = self._pair(self.links[up].store)
        self.driver._connected(up, Connected(mine, None, b"", 2))

    def settle(self) -> None:
        """Rounds of the driver, in which everybody sends and reads, until nothing happens any more."""
        for _ in range(MOST_ROUNDS):
            busy = [peer.pump() for peer in self.all_peers]
            if not self.driver._round(math.inf) and not any(busy):
                break
        self.driver._settle(math.inf)

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
            (lane.commands, lane.unsampled, lane.retries, lane.failures, self.asked, driver.failures, len(driver.clients)),
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

    def cut(self, _argument: int) -> None:
        """What was said is sent."""
        data, self.said, self.mark = bytes(self.said), bytearray(), 0
        speaker = self.speaker
        if data:
            peer = self.scene.peers[speaker.id] if isinstance(speaker, Client) else self.scene.behind[speaker]
            if not peer.ended and not peer.silent:
                peer.waiting += data
        self.scene.settle()

    def read(self, argument: int) -> None:
        """A client reads, or does not, from now on."""
        self.cut(0)
        self.scene.peers[argument // 2 % 4].reads = argument & 1 == 1

    def end(self, argument: int) -> None:
        """A client will send no more."""
        self.cut(0)
        peer = self.scene.peers[argument % 4]
        if not peer.ended and not peer.waiting:
            peer.silent = True
            peer.sock.shutdown(socket.SHUT_WR)
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
}


def _timeless(entry: Any) -> Any:
    if isinstance(entry, tuple | list):
        return [_timeless(each) for each in entry if not isinstance(each, float)]
    return entry
