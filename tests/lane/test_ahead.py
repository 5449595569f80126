"""Operators' connections: counted apart, and looked at before all that is ready already."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kvgate.backend import Endpoint
from kvgate.lane.driver import AHEAD, Driver, Limits, Listener
from tests.lane.room import Upstairs
from tests.support.resp import frame


class Bench:
    """A driver whose rounds are made by hand."""

    def __init__(self, stack: ExitStack, clients: int = 10_000) -> None:
        """One listener for everybody, one for operators."""
        self._stack = stack
        gate = Upstairs(Endpoint(url="redis://store"))
        self.driver = Driver(gate.lane, gate.welcome, limits=Limits(clients=clients))
        stack.callback(self.driver._close_all)
        self.ports = []
        for admin in (False, True):
            sock = socket.create_server(("127.0.0.1", 0))
            sock.setblocking(False)
            self.driver.listen(sock, Listener("admin" if admin else "all", admin=admin))
            self.ports.append(sock.getsockname()[1])

    def connect(self, *, admin: bool = False) -> socket.socket:
        """A connection that was accepted or refused."""
        before = self.driver.refused + sum(self.driver.accepted.values())
        sock = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.ports[admin])))
        sock.setblocking(False)
        while self.driver.refused + sum(self.driver.accepted.values()) == before:
            self.round()
        return sock

    def round(self) -> None:
        """One round that has no time: it serves one socket of those that are ready, and the operators'."""
        self.driver._round(time.monotonic() - 1)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def answered(sock: socket.socket) -> bool:
    try:
        return sock.recv(1000) == b"$6\r\nECHO x\r\n"
    except BlockingIOError:
        return False


def test_an_operator_goes_before_all_that_were_ready_before(stack: ExitStack) -> None:
    bench = Bench(stack)
    others, boss = [bench.connect() for _ in range(30)], bench.connect(admin=True)
    for sock in others:
        sock.send(frame("ECHO", "x"))
    bench.round()
    for _ in range(5):
        boss.send(frame("ECHO", "x"))
        bench.round()
        assert answered(boss)
    assert sum(map(answered, others)) == 6, "one in each round: nobody starves"


def test_operators_leave_a_turn_to_the_others(stack: ExitStack) -> None:
    bench = Bench(stack)
    other, bosses = bench.connect(), [bench.connect(admin=True) for _ in range(3 * AHEAD)]
    for sock in (other, *bosses):
        sock.send(frame("ECHO", "x"))
    bench.round()
    assert answered(other), "eight operators, then whoever is next"
    replies = sum(map(answered, bosses))
    assert replies == AHEAD
    for _ in range(2):
        bench.round()
        replies += sum(map(answered, bosses))
    assert replies == 3 * AHEAD


def test_the_limit_on_clients_counts_no_operators(stack: ExitStack) -> None:
    bench = Bench(stack, clients=2)
    first = [bench.connect(admin=True), bench.connect(), bench.connect()]
    late = bench.connect()
    assert late.recv(100).startswith(b"-ERR max number of clients")
    boss = bench.connect(admin=True)
    boss.send(frame("ECHO", "x"))
    bench.round()
    assert answered(boss)
    assert (len(bench.driver.clients), len(bench.driver.admins)) == (4, 2)
    first[0].close()
    boss.close()
    for _ in range(4):
        bench.round()
    assert (len(bench.driver.clients), len(bench.driver.admins)) == (2, 0)
