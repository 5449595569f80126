"""A TCP relay that tests put between the gate and a store: it cuts, delays or stalls at an exact byte, and counts."""

import contextlib
import heapq
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import attrs

from tests.support.ports import free_port
from tests.support.resp import connect

Direction = Literal["up", "down"]
"""``up``: from the connecting side (the gate) to the target (the store); ``down``: back."""
CHUNK = 1 << 16
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
"""SO_LINGER on, zero seconds: close sends a reset."""


@attrs.define
class Cut:
    """Close both sides of a connection once exactly `after` bytes were passed on in `direction`; the rest is dropped."""

    direction: Direction
    after: int
    reset: bool = False
    """With a TCP reset instead of an orderly end."""


@attrs.define(eq=False)
class _Side:
    """One socket of a pair, and what waits to be written to it."""

    sock: socket.socket
    direction: Direction
    """Of what is read from this socket."""
    pair: "_Pair"
    pending: "deque[tuple[float, bytes]]" = attrs.field(factory=deque)
    """(not before, bytes) to write to this socket; empty bytes: half-close."""
    read_ended: bool = False
    write_ended: bool = False


@attrs.define(eq=False)
class _Pair:
    near: _Side = attrs.field(init=False)
    far: _Side = attrs.field(init=False)
    passed: "dict[str, int]" = attrs.field(factory=lambda: {"up": 0, "down": 0})
    cut: Cut | None = None
    hold: "tuple[Direction, int] | None" = None
    """Pass on no more than so many bytes in this direction, until `Relay.flow`."""
    open: bool = True

    def other(self, side: _Side) -> _Side:
        return self.far if side is self.near else self.near

    def room(self, direction: Direction, size: int) -> int:
        """How many of `size` bytes may be passed on in `direction` now."""
        if self.cut is not None and self.cut.direction == direction:
            size = min(size, self.cut.after - self.passed[direction])
        if self.hold is not None and self.hold[0] == direction:
            size = min(size, self.hold[1] - self.passed[direction])
        return size

    @property
    def held(self) -> Direction | None:
        """The direction in which nothing more may be passed on for now."""
        return self.hold[0] if self.hold is not None and self.passed[self.hold[0]] >= self.hold[1] else None


class Relay:
    """Listens on a free port of 127.0.0.1 and passes every connection on to `target`, bytes unchanged and in order.

    All methods may be called from any thread while it runs; they take effect before they return.
    """

    def __init__(self, target: "tuple[str, int] | str") -> None:
        """Pass on to ``(host, port)`` or to the path of a unix socket."""
        self.target = target
        self.port = free_port()
        self.accepted = 0
        """Connections taken so far."""
        self.total = {"up": 0, "down": 0}
        """Bytes passed on so far, of all connections."""
        self.record: dict[str, bytearray] = {"up": bytearray(), "down": bytearray()}
        """What was passed on, of all connections together; for reports of what a client sent."""
        self._next_cut: Cut | None = None
        self._stalled: set[str] = set()
        self._delay = {"up": 0.0, "down": 0.0}
        self._refusing = False
        self._pairs: list[_Pair] = []
        self._timers: list[float] = []
        self._calls: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakes = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._thread = threading.Thread(target=self._run, name=f"relay-{self.port}", daemon=True)
        self._ending = False
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Start."""
        self._listener.setblocking(False)
        self._wakes.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._wakes, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all connections and the listener; an exception of the relay itself is raised here."""
        self._ending = True
        self._waker.send(b"x")
        self._thread.join()
        for sock in (self._waker, self._wakes, self._listener):
            sock.close()
        self._selector.close()
        if self.failure is not None and kind is None:
            raise self.failure

    @property
    def address(self) -> "tuple[str, int]":
        """Where it listens."""
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        """For the gate's configuration."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._pairs)

    def cut_next(self, direction: Direction, after: int, *, reset: bool = False) -> None:
        """The next connection that is made is cut after `after` bytes in `direction` (once)."""
        self._do(lambda: setattr(self, "_next_cut", Cut(direction, after, reset)))

    def cut_now(self, direction: Direction, after: int, *, reset: bool = False) -> None:
        """Each connection that is open now is cut after `after` further bytes in `direction`; 0: before the next one."""

        def arm() -> None:
            for pair in self._pairs:
                pair.cut = Cut(direction, pair.passed[direction] + after, reset)

        self._do(arm)

    def uncut(self) -> None:
        """Forget cuts that have not come yet."""

        def disarm() -> None:
            self._next_cut = None
            for pair in self._pairs:
                pair.cut = None

        self._do(disarm)

    def break_all(self, *, reset: bool = False) -> None:
        """End every open connection now."""

        def end() -> None:
            for pair in list(self._pairs):
                self._close(pair, reset=reset)

        self._do(end)

    def stall(self, *directions: Direction) -> None:
        """Stop reading in these directions (both by default): bytes stay in the kernel, as with a hung store."""
        self._do(lambda: self._stalled.update(directions or ("up", "down")))

    def stall_after(self, direction: Direction, after: int) -> None:
        """Each connection that is open now passes on `after` more bytes in `direction`, then no more until `flow`.

        Ends a `stall` of that direction.
        """

        def arm() -> None:
            self._stalled.discard(direction)
            for pair in self._pairs:
                pair.hold = direction, pair.passed[direction] + after

        self._do(arm)

    def holds(self, direction: Direction) -> bool:
        """Whether a connection has passed on all that `stall_after` lets it."""
        holds = [(pair, pair.hold) for pair in self._pairs]
        return any(hold is not None and hold[0] == direction and pair.passed[direction] >= hold[1] for pair, hold in holds)

    def flow(self) -> None:
        """End `stall` and `stall_after`."""

        def release() -> None:
            self._stalled.clear()
            for pair in self._pairs:
                pair.hold = None

        self._do(release)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Pass on each chunk this much later than it came (both directions by default); order is kept."""
        self._do(lambda: self._delay.update(dict.fromkeys(directions or ("up", "down"), seconds)))

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset new connections at once; open ones go on."""
        self._do(lambda: setattr(self, "_refusing", refusing))

    def _do(self, call: Callable[[], None]) -> None:
        done = threading.Event()
        self._calls.append((call, done))
        self._waker.send(b"x")
        while not done.wait(1.0):
            if not self._thread.is_alive():
                msg = "the relay has ended"
                raise RuntimeError(msg) from self.failure

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        except BaseException as failure:  # noqa: BLE001 - kept for the test's own thread
            self.failure = failure
        for pair in list(self._pairs):
            self._close(pair, reset=False)

    def _turn(self) -> None:
        self._update_interest()
        now = time.monotonic()
        timeout = max(0.0, self._timers[0] - now) if self._timers else None
        events = self._selector.select(timeout)
        now = time.monotonic()
        while self._timers and self._timers[0] <= now:
            heapq.heappop(self._timers)
        for key, mask in events:
            side: _Side | None = key.data
            if side is None:
                self._control(key.fileobj)
            elif side.pair.open:
                if mask & selectors.EVENT_READ:
                    self._read(side, now)
                if mask & selectors.EVENT_WRITE and side.pair.open:
                    self._write(side, now)
        for pair in list(self._pairs):
            for side in (pair.near, pair.far):
                if pair.open and side.pending and side.pending[0][0] <= now:
                    self._write(side, now)

    def _control(self, which: object) -> None:
        if which is self._listener:
            self._accept()
            return
        with contextlib.suppress(BlockingIOError):
            self._wakes.recv(4096)
        while self._calls:
            call, done = self._calls.popleft()
            call()
            done.set()

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except BlockingIOError:
            return
        self.accepted += 1
        if self._refusing:
            self._end(near, reset=True)
            return
        try:
            far = connect(self.target, 5.0)
        except OSError:
            self._end(near, reset=True)
            return
        pair = _Pair(cut=self._next_cut)
        self._next_cut = None
        pair.near, pair.far = _Side(near, "up", pair), _Side(far, "down", pair)
        for side in (pair.near, pair.far):
            side.sock.setblocking(False)
            if side.sock.family != socket.AF_UNIX:
                side.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(pair)
        self._check_cut(pair)

    def _update_interest(self) -> None:
        now = time.monotonic()
        for pair in self._pairs:
            for side in (pair.near, pair.far):
                wanted = 0
                if not side.read_ended and side.direction not in self._stalled:
                    wanted |= selectors.EVENT_READ
                if side.pending and side.pending[0][0] <= now and pair.held != pair.other(side).direction:
                    wanted |= selectors.EVENT_WRITE
                self._register(side, wanted)

    def _register(self, side: _Side, wanted: int) -> None:
        registered = self._selector.get_map().get(side.sock)
        if registered is None:
            if wanted:
                self._selector.register(side.sock, wanted, side)
        elif not wanted:
            self._selector.unregister(side.sock)
        elif registered.events != wanted:
            self._selector.modify(side.sock, wanted, side)

    def _read(self, side: _Side, now: float) -> None:
        try:
            data = side.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(side.pair, reset=True)
            return
        target, due = side.pair.other(side), now + self._delay[side.direction]
        if not data:
            side.read_ended = True
        target.pending.append((due, data))
        if due > now:
            heapq.heappush(self._timers, due)

    def _write(self, side: _Side, now: float) -> None:
        pair, direction = side.pair, side.pair.other(side).direction
        while side.pending and side.pending[0][0] <= now and pair.held != direction:
            due, data = side.pending.popleft()
            if not data:
                self._half_close(side)
                return
            allowed = pair.room(direction, len(data))
            try:
                sent = side.sock.send(data[:allowed]) if allowed else 0
            except BlockingIOError:
                side.pending.appendleft((due, data))
                return
            except OSError:
                self._close(pair, reset=True)
                return
            self._count(pair, direction, data[:sent])
            if self._check_cut(pair):
                return
            if sent < len(data):
                side.pending.appendleft((due, data[sent:]))

    def _count(self, pair: _Pair, direction: Direction, data: bytes) -> None:
        pair.passed[direction] += len(data)
        self.total[direction] += len(data)
        self.record[direction] += data

    def _check_cut(self, pair: _Pair) -> bool:
        """Close a pair that has reached its cut. A cut at 0 comes with the connection, or with the next byte."""
        if pair.cut is None or pair.passed[pair.cut.direction] < pair.cut.after:
            return False
        self._close(pair, reset=pair.cut.reset)
        return True

    def _half_close(self, side: _Side) -> None:
        side.write_ended = True
        with contextlib.suppress(OSError):
            side.sock.shutdown(socket.SHUT_WR)
        if side.pair.near.write_ended and side.pair.far.write_ended:
            self._close(side.pair, reset=False)

    def _close(self, pair: _Pair, *, reset: bool) -> None:
        pair.open = False
        if pair in self._pairs:
            self._pairs.remove(pair)
        for side in (pair.near, pair.far):
            self._register(side, 0)
            self._end(side.sock, reset=reset)

    @staticmethod
    def _end(sock: socket.socket, *, reset: bool) -> None:
        if reset:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            # Unread input would turn close into a reset, which can overtake bytes that were passed on.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                os.set_blocking(sock.fileno(), False)
                while sock.recv(CHUNK):
                    pass
        sock.close()
