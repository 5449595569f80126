"""The driver on real sockets: bytes in any portions, clients that do not read, ends of all kinds, faults of one socket."""

import errno
import logging
import socket
import ssl
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

from kvgate.backend import Endpoint
from kvgate.lane import driver as driver_module
from kvgate.lane.driver import ACCEPTS
from kvgate.lane.machine import MOST_ABOVE
from kvgate.lane.tls import TlsTransform, server_context
from kvgate.wire.request import encode_request
from tests.lane.room import open_room, read, read_all
from tests.lane.stores import until
from tests.lane.world import bulk

MEGABYTE = 1 << 20


def get(key: bytes) -> bytes:
    return encode_request([b"GET", key])


def put(key: bytes, value: bytes) -> bytes:
    return encode_request([b"SET", key, value])


def little(stream: trio.SocketStream) -> None:
    """Small buffers, so that sends are partial."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)


async def ask(stream: trio.SocketStream, request: bytes, size: int) -> bytes:
    await stream.send_all(request)
    return await read(stream, size)


@pytest.mark.parametrize("learn", [True, False])
async def test_large_values_go_through_in_parts_both_ways(*, learn: bool) -> None:
    async with open_room(learn=learn) as room:
        value = bytes(range(256)) * (5 * 4096)
        stream = await room.connect()
        little(stream)
        for key in (b"a", b"b"):
            assert await ask(stream, put(key, value), 5) == b"+OK\r\n"
        assert await ask(stream, get(b"a") + get(b"b"), 2 * len(bulk(value))) == bulk(value) * 2
        assert room.data.data == {b"a": value, b"b": value}
        client = room.gate.clients[0]
        assert (client.out_size, client.inflight, client.inflight_bytes, client.held) == (0, 0, 0, 0)


async def test_bytes_one_by_one() -> None:
    async with open_room() as room:
        stream = await room.connect()
        for byte in put(b"k", b"v") + get(b"k"):
            await stream.send_all(bytes([byte]))
        assert await read(stream, 12) == b"+OK\r\n$1\r\nv\r\n"


async def test_a_reply_does_not_wait_for_the_next_one() -> None:
    """What is held back for company goes as soon as nothing else is ready, whether or not its client awaits more."""
    async with open_room() as room:
        room.data.says[b"GET"] = b""  # it never comes
        stream = await room.connect()
        await stream.send_all(put(b"A.b:1", b"v") + put(b"A.b:2", b"v") + get(b"A.b:1"))
        assert await read(stream, 10, within=1.0) == b"+OK\r\n" * 2


async def test_who_does_not_read_is_not_read_and_then_closed_and_the_others_are_served(caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "kvgate.lane")
    async with open_room(out_pause=MEGABYTE, out_hard=24 * MEGABYTE) as room:
        slow, other = await room.connect(), await room.connect()
        little(slow)
        room.data.data[b"big"] = b"x" * (4 * MEGABYTE)
        await slow.send_all(get(b"big") * 2)
        await until(lambda: room.gate.clients[0].transport.paused, "the slow reader to be paused")
        assert await ask(other, get(b"none"), 5) == b"$-1\r\n"
        assert not room.gate.clients[0].closed
        await slow.send_all(get(b"big") * 20)
        assert await read(slow, 2 * len(bulk(b"x" * 4 * MEGABYTE))) == bulk(b"x" * 4 * MEGABYTE) * 2
        await until(lambda: room.gate.clients[0].closed, "the slow reader to be closed at its limit")
        assert await ask(other, get(b"none"), 5) == b"$-1\r\n"
        assert room.driver.failures == 0


async def test_who_is_over_the_soft_limit_for_too_long_is_closed(caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "kvgate.lane")
    async with open_room(out_soft=MEGABYTE, out_soft_seconds=0.05) as room:
        slow = await room.connect()
        little(slow)
        room.data.data[b"big"] = b"x" * (16 * MEGABYTE)
        await slow.send_all(get(b"big"))
        await until(lambda: room.gate.clients[0].closed, "the slow reader to be closed")


async def test_half_read_requests_count_and_the_greediest_goes_first(caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL, "kvgate.lane")
    async with open_room(memory=8 * MEGABYTE) as room:
        modest, greedy = await room.connect(), await room.connect()
        part = b"x" * 2 * MEGABYTE
        await modest.send_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n" + part)
        await greedy.send_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await flood(greedy, b"x" * 65536)
        assert room.gate.asked == 0, "it was closed before its request was whole"
        await until(lambda: room.gate.clients[1].closed, "the greedy one to be closed")
        await modest.send_all(b"x" * (3_000_000 - len(part)) + b"\r\n")
        assert await read(modest, 5) == b"+OK\r\n"


async def test_the_number_of_clients_has_a_limit() -> None:
    async with open_room(clients=2) as room:
        first, second = await room.connect(), await room.connect()
        assert await ask(first, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        assert await ask(second, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        assert await read_all(await room.connect()) == b"-ERR max number of clients reached\r\n"
        await first.aclose()
        await until(lambda: len(room.driver.clients) == 1, "the place to be free")
        third = await room.connect()
        assert await ask(third, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        assert room.driver.refused == 1


async def test_what_was_sent_before_a_half_close_is_answered() -> None:
    async with open_room() as room:
        stream = await room.connect()
        await stream.send_all((b"SLOW 1\r\n" + get(b"k")) * 3)
        await stream.send_eof()
        got = b""
        for _ in range(3):
            await until(lambda: bool(room.gate.tasks), "the task to begin")
            room.end_tasks()
        got = await read_all(stream)
        assert got == (bulk(b"slow 1") + b"$-1\r\n") * 3


async def test_quit_and_an_end_lose_no_reply() -> None:
    async with open_room() as room:
        stream = await room.connect()
        await stream.send_all(b"TASK 1\r\nQUIT\r\n" + put(b"k", b"v"))
        await stream.send_eof()
        await until(lambda: room.gate.clients[0].transport.ended, "its end to be seen")
        assert not room.gate.clients[0].closed
        room.end_tasks()
        assert await read_all(stream) == bulk(b"task 1") + b"+OK\r\n"
        assert room.data.data == {}


async def test_an_aborted_client_is_closed_though_it_has_not_read() -> None:
    async with open_room() as room:
        stream = await room.connect()
        little(stream)
        room.data.data[b"big"] = b"x" * (16 * MEGABYTE)
        await stream.send_all(get(b"big"))
        await until(lambda: room.gate.clients[0].out_size > 0, "replies to wait")
        room.gate.lane.abort(room.gate.clients[0])
        room.driver.kick()
        assert room.gate.clients[0].closed


async def test_a_reset_leaves_no_trace() -> None:
    async with open_room() as room:
        stream, other = await room.connect(), await room.connect()
        await stream.send_all(b"TASK 1\r\n" + get(b"k"))
        await until(lambda: bool(room.gate.tasks), "the task to begin")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await until(lambda: room.gate.clients[0].closed, "the client to be gone")
        room.end_tasks()
        assert await ask(other, get(b"k"), 5) == b"$-1\r\n"
        assert len(room.driver.clients) == 1


# ---------------------------------------------------------------------- faults of one socket


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "kvgate.lane")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("stream", [b"BOOM\r\n", b"SLOW 1\r\nBOOM\r\n"])
async def test_an_exception_closes_its_own_socket_and_is_counted(stream: bytes) -> None:
    async with open_room() as room:
        faulty, other = await room.connect(), await room.connect()
        await faulty.send_all(stream)
        if b"SLOW" in stream:
            await until(lambda: bool(room.gate.tasks), "the task to begin")
            room.end_tasks()
        assert b"BOOM" not in await read_all(faulty)
        assert await ask(other, get(b"k"), 5) == b"$-1\r\n"
        assert room.driver.failures == 1


@pytest.mark.usefixtures("quiet")
async def test_an_exception_while_sending_closes_that_client() -> None:
    async with open_room() as room:
        faulty, other = await room.connect(), await room.connect()
        assert await ask(faulty, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        room.gate.clients[0].out.append("a bug")  # type: ignore[arg-type]  # no bytes
        await faulty.send_all(b"ECHO 1\r\n")
        assert await read_all(faulty) == b""
        assert await ask(other, get(b"k"), 5) == b"$-1\r\n"
        assert room.driver.failures == 1


@pytest.mark.usefixtures("quiet")
async def test_an_exception_while_sending_to_a_store_has_nothing_executed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room(learn=False) as room:
        stream, request, up = await room.connect(), room.gate.request, room.gate.shards[0].lines[0]
        room.gate.shards[0].lines = (up,) * 4

        def faulty(client: Any, args: list[bytes], frame: bytes, now: float) -> None:
            if args[0] == b"BUG":
                up.out.append("a bug")  # type: ignore[arg-type]  # no bytes
            else:
                request(client, args, frame, now)

        monkeypatch.setattr(room.gate, "request", faulty)
        assert await ask(stream, encode_request([b"APPEND", b"k", b"x"]), 4) == b":1\r\n"
        await stream.send_all(encode_request([b"APPEND", b"k", b"x"]) * 100 + b"BUG\r\n")
        await stream.send_all(get(b"other"))
        got = b""
        while not got.endswith(b"$-1\r\n"):
            got += await read(stream, 1)
        assert got.count(b"\r\n") == 101
        assert room.driver.failures == 1
        assert len(room.data.data[b"k"]) <= 101


@pytest.mark.usefixtures("quiet")
async def test_an_exception_in_a_tick_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room() as room:
        stream = await room.connect()

        def fails(_now: float) -> None:
            raise ValueError("a bug")

        monkeypatch.setattr(room.gate.lane, "tick", fails)
        await until(lambda: room.driver.failures > 1, "two ticks")
        assert await ask(stream, get(b"k"), 5) == b"$-1\r\n"


@pytest.mark.usefixtures("quiet")
async def test_without_descriptors_a_listener_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room() as room:
        fd, (sock, listener) = next(iter(room.driver._listeners.items()))
        tries = []

        class Exhausted:
            def fileno(self) -> int:
                return fd

            def close(self) -> None:
                sock.close()

            def accept(self) -> None:
                tries.append(1)
                raise OSError(errno.EMFILE, "Too many open files")

        room.driver._listeners[fd] = Exhausted(), listener  # type: ignore[assignment]
        room.driver._next_look = trio.current_time() + 1e9
        stream = await room.connect()
        await until(lambda: bool(tries), "the first try")
        turns = room.driver.turns
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert len(tries) == 1
        assert room.driver.turns <= turns + 2
        room.driver._listeners[fd] = sock, listener
        room.driver._next_look = 0.0
        assert await ask(stream, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")


# ---------------------------------------------------------------------- turns


async def flood(stream: trio.SocketStream, request: bytes) -> None:
    while True:
        await stream.send_all(request)


async def drain(stream: trio.SocketStream) -> None:
    while await stream.receive_some(1 << 20):
        pass


FLOOD = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    sock.setblocking(False)
    while True:
        for action in (lambda: sock.send(b"ECHO x\\r\\n" * 5000), lambda: sock.recv(1 << 20)):
            try:
                action()
            except BlockingIOError:
                pass
"""
"""A client that sends and reads as fast as it can; a process, so that it takes no turns from trio here."""


async def test_a_slow_task_gets_its_turn_beside_a_flood() -> None:
    """Each step of another task waits for one turn of the lane at most, counted in turns."""
    async with open_room() as room:
        flooding = subprocess.Popen([sys.executable, "-c", FLOOD, str(room.port)])  # noqa: ASYNC220 - it returns at once
        try:
            await until(lambda: room.driver.turns > 50, "the flood")
            waits = []
            for _ in range(200):
                before = room.driver.turns
                await trio.lowlevel.checkpoint()
                waits.append(room.driver.turns - before)
        finally:
            flooding.kill()
            flooding.wait()
        assert max(waits) <= 2
        assert sum(waits) > 20, "the lane had turns between its steps"


async def test_a_turn_ends_though_much_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all, a turn serves one socket; the others are the next turns' first, so nobody is left out."""
    async with open_room() as room:
        streams = [await room.connect() for _ in range(20)]
        await until(lambda: len(room.driver.clients) == 20, "all clients")
        monkeypatch.setattr(driver_module, "TURN", -1.0)
        served: list[tuple[int, int]] = []
        whole = room.gate.request

        def request(client: Any, *rest: Any) -> None:
            served.append((room.driver.turns, client.id))
            whole(client, *rest)

        monkeypatch.setattr(room.gate, "request", request)
        for stream in streams:
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await stream.send_all(b"ECHO 1\r\n" * 3)
        for stream in streams:
            assert await read(stream, 36) == bulk(b"ECHO 1") * 3
        for turn in {turn for turn, _ in served}:
            assert len({ident for each, ident in served if each == turn}) == 1


async def test_commands_that_waited_are_taken_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that piled up much behind a slow command does not hold the lane when that ends."""
    async with open_room(bytes_in=64 * MEGABYTE) as room:
        stream = await room.connect()
        room.nursery.start_soon(drain, stream)
        many = b"ECHO 123456789\r\n" * 4000
        await stream.send_all(b"SLOW 1\r\n")
        await until(lambda: bool(room.gate.tasks), "the task to begin")
        for _ in range(40):
            await stream.send_all(many)
        await until(lambda: room.gate.clients[0].backlog_size == 40 * len(many), "all of it to wait")
        turns, asked = room.driver.turns, room.gate.asked
        monkeypatch.setattr(driver_module, "TURN", -1.0)
        room.end_tasks()
        assert room.gate.asked - asked <= MOST_ABOVE, "its share, at once"
        await until(lambda: room.gate.asked - asked == 40 * 4000, "the rest")
        assert room.driver.turns - turns >= 20


async def test_a_portion_of_many_small_commands_is_taken_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room() as room:
        flooder, other = await room.connect(), await room.connect()
        assert await ask(other, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        monkeypatch.setattr(driver_module, "TURN", -1.0)
        turns: list[int] = []
        whole = room.gate.request

        def request(client: Any, *rest: Any) -> None:
            turns.append(room.driver.turns)
            whole(client, *rest)

        monkeypatch.setattr(room.gate, "request", request)
        await flooder.send_all(b"ECHO 1\r\n" * 10_000)
        assert await read(flooder, 120_000) == bulk(b"ECHO 1") * 10_000
        assert max(turns.count(turn) for turn in set(turns)) <= 2 * MOST_ABOVE, "what just came, and what waited"


async def test_who_connects_in_a_crowd_waits_for_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room() as room:
        taken: list[int] = []
        whole = room.driver.welcome

        def welcome(*arguments: Any) -> Any:
            taken.append(room.driver.turns)
            return whole(*arguments)

        monkeypatch.setattr(room.driver, "welcome", welcome)
        monkeypatch.setattr(driver_module, "TURN", -1.0)
        socks = [socket.create_connection(("127.0.0.1", room.port)) for _ in range(200)]
        await until(lambda: len(taken) == 200, "all to be accepted")
        assert max(taken.count(turn) for turn in set(taken)) <= ACCEPTS
        for sock in socks:
            sock.close()


# ---------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return folder


def trusting(files: Path) -> Any:
    return ssl.create_default_context(cafile=str(files / "ca.pem"))


async def test_tls_on_the_clients_side(files: Path) -> None:
    async with open_room(tls=server_context(files / "cert.pem", files / "key.pem")) as room:
        raw = await room.connect()
        little(raw)
        stream = trio.SSLStream(raw, trusting(files), server_hostname="localhost", https_compatible=True)
        value = b"x" * (3 * MEGABYTE)
        await stream.send_all(put(b"k", value))
        assert await read(stream, 5) == b"+OK\r\n"
        await stream.send_all(get(b"k") + b"QUIT\r\n")
        assert await read_all(stream) == bulk(value) + b"+OK\r\n"


@pytest.mark.usefixtures("quiet")
async def test_what_is_no_tls_is_closed_and_is_no_failure(files: Path) -> None:
    async with open_room(tls=server_context(files / "cert.pem", files / "key.pem")) as room:
        stream = await room.connect()
        await stream.send_all(get(b"k"))
        assert b"nil" not in await read_all(stream)
        assert room.driver.failures == 0
        assert not room.driver.clients


async def test_tls_on_the_stores_side(files: Path) -> None:
    def with_tls(endpoint: Endpoint) -> Endpoint:
        return attrs.evolve(endpoint, tls=True, tls_ca=files / "ca.pem", tls_server_name="localhost")

    async with open_room(store_tls=server_context(files / "cert.pem", files / "key.pem"), endpoint=with_tls) as room:
        stream = await room.connect()
        value = b"x" * (3 * MEGABYTE)
        assert await ask(stream, put(b"k", value) + get(b"k"), 5 + len(bulk(value))) == b"+OK\r\n" + bulk(value)
        up = room.gate.shards[0].lines[0]
        assert up.queued == up.sent


async def test_a_flood_of_handshakes_takes_a_few_steps_in_each_turn(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room(tls=server_context(files / "cert.pem", files / "key.pem")) as room:
        steps: list[int] = []
        whole = TlsTransform._step

        def step(transform: TlsTransform) -> None:
            if transform._object.server_side:
                steps.append(room.driver.turns)
            whole(transform)

        monkeypatch.setattr(TlsTransform, "_step", step)
        monkeypatch.setattr(driver_module, "TURN", 1.0)
        done: list[int] = []

        async def shake(number: int) -> None:
            stream = trio.SSLStream(await room.connect(), trusting(files), server_hostname="localhost", https_compatible=True)
            await stream.send_all(b"ECHO %d\r\n" % number)
            assert await read(stream, len(bulk(b"ECHO %d" % number))) == bulk(b"ECHO %d" % number)
            done.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(shake, number)
        assert sorted(done) == list(range(30))
        assert len(steps) >= 60
        assert max(steps.count(turn) for turn in set(steps)) <= driver_module.HANDSHAKES


# ---------------------------------------------------------------------- PROXY v2


def header(family: int, addresses: bytes, command: int = 0x21, more: bytes = b"") -> bytes:
    body = addresses + more
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes([command, family]) + len(body).to_bytes(2, "big") + body


PORTS = struct.pack("!HH", 4321, 6380)
V4 = header(0x11, socket.inet_aton("10.1.2.3") + socket.inet_aton("10.0.0.1") + PORTS)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1")
V6 = header(0x21, SIX + PORTS, more=b"\x04\x00\x03abc")
LOCAL = header(0x00, b"", command=0x20)


@pytest.mark.parametrize(
    ("head", "host", "address"),
    [(V4, "10.1.2.3", "10.1.2.3:4321"), (V6, "2001:db8::7", "[2001:db8::7]:4321"), (LOCAL, "127.0.0.1", None)],
)
async def test_the_balancer_says_who_the_client_is_at_every_cut(head: bytes, host: str, address: str | None) -> None:
    async with open_room(trusted=lambda host: host == "127.0.0.1") as room:
        for cut in range(1, len(head) + 2):
            stream = await room.connect()
            data = head + b"ECHO 1\r\n"
            await stream.send_all(data[:cut])
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            await stream.send_all(data[cut:])
            assert await read(stream, 12) == bulk(b"ECHO 1")
            assert room.gate.hosts[-1][0] == host
            assert address is None or room.gate.hosts[-1][1] == address
            await stream.aclose()


@pytest.mark.usefixtures("quiet")
async def test_who_is_no_balancer_or_sends_no_header_is_no_client() -> None:
    async with open_room(trusted=lambda _host: True) as room:
        stream = await room.connect()
        await stream.send_all(b"*1\r\n$4\r\nPING\r\n")
        assert await read_all(stream) == b""
        assert room.gate.hosts == []
    async with open_room(trusted=lambda _host: False) as room:
        stream = await room.connect()
        await stream.send_all(V4 + b"ECHO 1\r\n")
        await until(lambda: room.gate.clients[0].scanner.held == len(V4) + 4, "its bytes")  # inline, with a NUL
        assert room.gate.hosts[0][0] == "127.0.0.1"
        assert room.gate.asked == 0


@pytest.mark.usefixtures("quiet")
async def test_a_balancers_client_may_be_refused_and_one_that_fails_is_closed() -> None:
    async with open_room(trusted=lambda _host: True) as room:
        for ip, said in (("10.9.9.9", b"-DENIED\r\n"), ("10.8.8.8", b"")):
            stream = await room.connect()
            await stream.send_all(V4.replace(socket.inet_aton("10.1.2.3"), socket.inet_aton(ip)))
            assert await read_all(stream) == said
        assert room.driver.failures == 1
        assert room.driver.refused == 1
        assert not room.driver._transports


@pytest.mark.usefixtures("quiet")
async def test_a_balancer_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room(trusted=lambda _host: True) as room:
        stream = await room.connect()
        await stream.send_all(V4[:10])
        await until(lambda: bool(room.driver._greeted), "the greeting")
        monkeypatch.setattr(driver_module, "GREETING", -1.0)
        room.driver._next_look = 0.0
        assert await read_all(stream) == b""
        assert not room.driver._greeted


async def test_idle_clients_are_closed_only_where_that_is_asked_for() -> None:
    async with open_room(idle=0.2) as room:
        stream, busy = await room.connect(), await room.connect()
        await busy.send_all(b"TASK 1\r\n")
        assert await ask(stream, b"ECHO 1\r\n", 12) == bulk(b"ECHO 1")
        assert await read_all(stream) == b""
        assert [client.id for client in room.driver.clients.values()] == [1]
