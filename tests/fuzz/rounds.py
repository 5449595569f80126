"""`rounds` of kvgate/lane/_native.c by the Python methods: as many looks, and the same sends between them.

The gate's own Python way sends after each look. Here it waits for company as the C does, so that the kernel's buffers fill in
the same steps and everything can be compared. That `rounds` came back early, because a method of Python's was called, is the
only thing that is taken from what it did: how much of each socket was left unread then.
"""

import fcntl
import os
import socket
import struct
import termios
from collections import deque
from typing import Final

import attrs

from kvgate.lane import native
from kvgate.lane.client import Client
from kvgate.lane.driver import Driver
from kvgate.lane.upstream import Upstream
from tests.fuzz.build import PLACE

MUCH: Final = 32 * 1024
"""Bytes for one store that wait for nothing, as in _native.c."""
AT_A_LOOK: Final = 512
"""Sockets that one look names, as in _native.c."""
PATIENT: Final = PLACE in os.environ
"""Whether what is to be sent waits as long as there is company: the fuzzer's builds have no limit of time for it."""
PIECES: Final = 64
"""Of what is sent, that go at once: as in _native.c."""
UNREAD: Final = struct.Struct("i")

Left = tuple[int, ...]
"""Unread bytes of each of the gate's sockets, -1 of one that is closed, -2 where the end was read."""

Trace = list[tuple[Left, bool]]
"""What each call of `rounds` in C left, and whether it asked for another look."""


class InPieces(Driver):
    """A driver whose Python methods send as many pieces at once as the C does: not all of them when they are many."""

    def _flush_upstream(self, up: Upstream) -> None:
        out = up.out
        while len(out) > PIECES and up.transport is not None and not (up.transport.want_out or up.unsent or up.held):
            rest = out[PIECES:]
            del out[PIECES:]
            super()._flush_upstream(up)
            if up.unsent:
                up.unsent = b"".join([up.unsent, *rest])
            else:
                out[:] = rest
        super()._flush_upstream(up)

    def _flush_client(self, client: Client) -> None:
        transport, out = client.transport, client.out
        if len(out) <= PIECES or client.cut or client.closing or client.held > self.limits.out_pause or transport.behind:
            super()._flush_client(client)
            return
        client.sent += sum(map(len, out))
        while out:
            data = b"".join(out[:PIECES])
            try:
                sent = transport.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close_client(client)
                return
            del out[:PIECES]
            if sent < len(data):
                rest = b"".join([data[sent:], *out])
                out.clear()
                self._left_over(transport, client, rest)


@attrs.define
class Rounds:
    """Calls `rounds`, or does the same."""

    driver: Driver
    trace: Trace
    socks: list[socket.socket] = attrs.field(factory=list)
    """The gate's ends, in the order in which they were made."""
    made: int = 0
    """Calls."""

    def run(self, until: float, most: int) -> bool:
        """Up to so many looks; whether to look again. `until` is in the past, for one socket at a time, or infinite."""
        driver = self.driver
        if driver._ready:
            return driver._round(until)
        self.made += 1
        most = most if PATIENT else min(most, 2)  # up to two looks nothing depends on how long they took
        if driver.lane.in_c:
            again = native.paths.rounds(
                driver, driver.lane, driver._transports, driver._ready, driver._epoll_fd, until, most
            )  # fmt: skip
            self.trace.append((self.left(), again))
        else:
            again = self._in_python(until, most)
        if again:
            driver._settle(until)
        return again

    def left(self) -> Left:
        """What is unread."""
        ended = {transport.fd for transport in self.driver._transports.values() if transport.ended}
        return tuple(-1 if sock.fileno() < 0 else -2 if sock.fileno() in ended else _unread(sock) for sock in self.socks)

    def _in_python(self, until: float, most: int) -> bool:
        driver, lane, trace = self.driver, self.driver.lane, self.trace
        upstreams, clients = lane.touched_upstreams, lane.touched_clients
        wanted, again = trace[self.made - 1] if self.made <= len(trace) else ((), False)
        while True:
            events = deque(driver._epoll.poll(0, AT_A_LOOK))
            if not events:
                driver._flush(upstreams, clients)
                return bool(lane.resumable or lane.to_drop or lane.to_connect)
            driver._serve(events, until)
            driver._ready.extend(events)
            if self._is_to_settle():
                return True
            if most < 2 or not until:
                driver._flush(upstreams, clients)
            else:
                if any(up.queued - up.sent > MUCH for up in upstreams):
                    driver._flush(upstreams, [])
                self._flush_those_who_await_nothing()
            most -= 1
            if self._is_to_settle() or most <= 0 or not until or (again and self.left() == wanted):
                return True

    def _flush_those_who_await_nothing(self) -> None:
        clients = self.driver.lane.touched_clients
        waiting = []
        for client in clients:  # sees what is added while it runs
            if client.queue:
                waiting.append(client)
            else:
                self.driver._flush([], [client])
        clients[:] = waiting

    def _is_to_settle(self) -> bool:
        lane = self.driver.lane
        return bool(lane.resumable or lane.to_drop or lane.to_connect or self.driver._paused)


def _unread(sock: socket.socket) -> int:
    size: int = UNREAD.unpack(fcntl.ioctl(sock, termios.FIONREAD, bytes(UNREAD.size)))[0]
    return size
