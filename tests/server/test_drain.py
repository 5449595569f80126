"""The end of a gate, as its clients meet it: who is finished, who is cut, how fast, and what signals do meanwhile."""

import contextlib
import os
import select
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.server.processes import children
from tests.server.reloads import BOTH, in_log, redis, rules
from tests.support.ports import free_port
from tests.support.resp import Closed, Resp
from tests.support.servers import Gate, Gates, Program, RedisServer, wait_for

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n[namespaces]\ndefault = "local"\n'
SLACK = 2.0
"""Seconds that a shared machine may add."""


def takes_no_more(gate: Gate) -> bool:
    with contextlib.suppress(OSError), gate.client():
        return False
    return True


@BOTH
def test_idle_clients_are_closed_evenly_and_in_time(gates: Gates, workers: int) -> None:
    seconds, count = 4.0, 200
    gate = gates(LOCAL, gate=f'drain_finish = "{seconds:g}s"\nworkers = {workers}\n')
    clients = [gate.client() for _ in range(count)]
    poll = select.epoll()
    for client in clients:
        assert client.cmd("PING") == b"PONG"
        poll.register(client.sock.fileno(), select.EPOLLIN)
    gate.signal(signal.SIGTERM)
    begun, ends = time.monotonic(), list[float]()
    while len(ends) < count and time.monotonic() - begun < seconds + SLACK:
        for descriptor, _ in poll.poll(1):
            poll.unregister(descriptor)
            ends.append(time.monotonic() - begun)
    assert gate.wait_ended() == 0
    assert len(ends) == count
    assert ends[-1] < seconds
    assert ends[count // 2] > 0.25 * seconds, "half of them came back at once"
    most = max(sum(at <= other < at + 0.2 for other in ends) for at in ends)
    assert most < count // 4, "a herd"
    poll.close()
    for client in clients:
        client.close()


@BOTH
def test_who_does_not_finish_is_cut_in_time(gates: Gates, workers: int) -> None:
    gate = gates(LOCAL, gate=f'drain_finish = "1s"\nlog_level = "info"\nworkers = {workers}\n')
    with gate.client() as half, gate.client() as idle:
        half.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nab")
        idle.cmd("PING")
        begun = time.monotonic()
        assert gate.stop() == 0
        assert 0.9 < time.monotonic() - begun < 1 + SLACK + 2
        assert half.read_all() == b""
        assert "drained clients_cut=1" in gate.log


@BOTH
def test_commands_under_way_are_waited_for(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    gate = gates(redis("a", redis_server.url) + rules(default="a"), gate=f"workers = {workers}\n")
    with gate.client() as client:
        client.cmd("SET", "k", "1")
        redis_server.pause()
        client.send("INCR", "k")
        gate.signal(signal.SIGTERM)
        wait_for(lambda: takes_no_more(gate), "the listener to be closed")
        assert gate.running
        redis_server.resume()
        assert client.read() == 2
        assert client.read_all() == b""
    assert gate.wait_ended() == 0


@BOTH
def test_who_was_accepted_by_the_kernel_is_served(gates: Gates, workers: int) -> None:
    gate = gates(LOCAL, gate=f"workers = {workers}\n")
    gate.pause()
    clients = [gate.client() for _ in range(20)]
    for client in clients:
        client.send("ECHO", "here")
    gate.signal(signal.SIGTERM)
    gate.resume()
    for client in clients:
        assert client.read() == b"here"
        assert client.read_all() == b""
        client.close()
    assert gate.wait_ended() == 0


@BOTH
def test_balancers_that_ask_are_given_time(gates: Gates, workers: int) -> None:
    """With `metrics` somebody asks whether the gate is ready; all is served until it has looked away."""
    gate = gates(LOCAL, gate=f'drain_unready = "1s"\nmetrics = "127.0.0.1:{free_port()}"\nworkers = {workers}\n')
    with gate.client() as before:
        gate.signal(signal.SIGTERM)
        begun = time.monotonic()
        served = 0
        while not takes_no_more(gate):
            with contextlib.suppress(OSError, Closed), gate.client() as client:
                client.cmd("PING")
                served += 1
        assert 0.8 < time.monotonic() - begun < 1 + SLACK
        assert served > 3
        assert before.read_all() == b""
    assert gate.wait_ended() == 0


@BOTH
def test_signals_during_the_drain_do_no_harm_and_a_second_interrupt_cuts_it_short(gates: Gates, workers: int) -> None:
    gate = gates(LOCAL, gate=f"workers = {workers}\n")
    with gate.client() as half:
        half.send_raw(b"*1\r\n$4\r\nPI")
        gate.signal(signal.SIGTERM)
        wait_for(lambda: takes_no_more(gate), "the drain to begin")
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            gate.signal(number)
        half.send_raw(b"N")
        assert half.silent(0.3), "it is still waited for"
        begun = time.monotonic()
        gate.signal(signal.SIGINT)
        assert gate.wait_ended() == 0
        assert time.monotonic() - begun < SLACK
        assert half.read_all() == b""
    assert "draining_cut_short" in gate.log
    assert "Traceback" not in gate.log


@BOTH
def test_what_is_executed_is_answered(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    gate = gates(redis("a", redis_server.url) + rules(default="a"), gate=f'drain_finish = "2s"\nworkers = {workers}\n')
    told = [0] * 20

    def count(number: int) -> None:
        with gate.client() as client, contextlib.suppress(Closed):
            while True:
                told[number] = client.cmd("INCR", f"counter:{number}")

    threads = [threading.Thread(target=count, args=(number,)) for number in range(len(told))]
    for thread in threads:
        thread.start()
    wait_for(lambda: min(told) > 20, "all of them to count")
    gate.stop()
    for thread in threads:
        thread.join()
    assert [int(redis_server.cmd("GET", f"counter:{number}")) for number in range(len(told))] == told


# Two gates behind a balancer

haproxy = shutil.which("haproxy")


class Balancer(Program):
    """HAProxy before gates; it looks every 100 ms which of them are there."""

    name = "haproxy"

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self.port = free_port()
        servers = "".join(f"  server gate{port} 127.0.0.1:{port} check inter 100ms fall 1 rise 1\n" for port in ports)
        (self.directory / "haproxy.cfg").write_text(
            f"global\n  stats socket {self.directory}/admin.sock level admin\ndefaults\n  mode tcp\n"
            "  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  retries 3\n  option redispatch 1\n"
            f"listen redis\n  bind 127.0.0.1:{self.port}\n  balance leastconn\n{servers}",
            "utf-8",
        )

    def command(self) -> list[str]:
        assert haproxy is not None
        return [haproxy, "-db", "-f", "haproxy.cfg"]

    def is_ready(self) -> bool:
        return self.up() == 2

    def up(self) -> int:
        """How many gates it uses."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(Path(self.directory) / "admin.sock"))
            sock.sendall(b"show stat -1 4 -1\n")
            return sock.makefile().read().count(",UP,")
        return -1

    def stop(self, timeout: float = 5.0) -> int | None:
        """It has nothing to finish."""
        del timeout
        self.kill()
        return 0


class Retrying(threading.Thread):
    """Counts, and sends a command again when the connection ended before its reply, or when it is told to."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.address = ("127.0.0.1", port)
        self.key = f"counter:{number}"
        self.told = 0
        self.ended = 0
        self.errors: list[str] = []
        self.ending = False

    def run(self) -> None:
        client: Resp | None = None
        while not self.ending:
            try:
                client = client or Resp(self.address)
                reply = client.ask("INCR", self.key)
            except (OSError, Closed):
                self.ended += 1
                if client is not None:
                    client.close()
                client = None
                continue
            if isinstance(reply, int):
                self.told += 1
            elif not str(reply).startswith("TRYAGAIN"):
                self.errors.append(str(reply))
        if client is not None:
            client.close()


@pytest.mark.skipif(haproxy is None, reason="haproxy is not installed (Debian package haproxy)")
@BOTH
def test_a_rolling_restart_behind_haproxy_loses_nothing(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    config = redis("a", redis_server.url) + rules(default="a")
    both = [gates(config, gate=f'drain_finish = "3s"\nworkers = {workers}\n') for _ in range(2)]
    with Balancer(*(gate.port for gate in both)) as balancer:
        clients = [Retrying(balancer.port, number) for number in range(20)]
        for client in clients:
            client.start()

        def flows() -> None:
            before = [client.told for client in clients]
            wait_for(lambda: all(c.told > b + 20 for c, b in zip(clients, before, strict=True)), "all to go on", 20)

        flows()
        for gate in both:
            gate.stop()
            wait_for(lambda: balancer.up() == 1, "the balancer to notice")
            flows()
            gate.start()
            wait_for(lambda: balancer.up() == 2, "the balancer to use it again")
            os.kill(gate.pid, signal.SIGHUP)  # what `systemctl reload` does
            in_log(gate, "reloaded")
            flows()
        for client in clients:
            client.ending = True
        for client in clients:
            client.join(20)
    assert [error for client in clients for error in client.errors] == []
    assert sum(client.ended for client in clients) >= len(clients) / 2, "the restarts were felt"
    counted = [int(redis_server.cmd("GET", client.key)) for client in clients]
    assert counted == [client.told for client in clients], "acknowledged, and nothing else"
    assert all(not children(gate.pid) or len(children(gate.pid)) == workers for gate in both)
