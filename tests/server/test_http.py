"""The HTTP server of /metrics and /health: what is answered to which request, and that nobody can hold it up."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from kvgate.server import http
from kvgate.server.http import Answer, HttpServer, told

LARGE = 8 * 1024 * 1024


async def answer(path: str, accept: str) -> Answer | None:
    """What the tests ask for."""
    if path == "/broken":
        raise ValueError("on purpose")
    bodies = {"/here": b"here " + accept.encode(), "/large": b"x" * LARGE}
    return Answer(200, bodies[path], "text/plain") if path in bodies else None


@asynccontextmanager
async def served(server: HttpServer | None = None) -> AsyncIterator[Callable[[], Awaitable[trio.SocketStream]]]:
    """Gives what makes a connection to the server."""
    server = server or HttpServer(answer)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    assert told([sock]) == [f"  metrics: http://127.0.0.1:{port}/metrics and /health"]
    sock.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, [sock])
        with trio.fail_after(10):

            async def connect() -> trio.SocketStream:
                return await trio.open_tcp_stream("127.0.0.1", port)

            yield connect
        nursery.cancel_scope.cancel()


async def until_closed(stream: trio.SocketStream) -> bytes:
    data = b""
    while more := await stream.receive_some(65536):
        data += more
    return data


async def ask(connect: Callable[[], Awaitable[trio.SocketStream]], request: bytes) -> bytes:
    """All that is answered on a connection of its own, up to its end."""
    stream = await connect()
    async with stream:
        await stream.send_all(request)
        return await until_closed(stream)


LAST = b"Host: x\r\nConnection: close\r\n\r\n"


async def test_a_get_and_a_head() -> None:
    async with served() as connect:
        got = await ask(connect, b"GET /here?a=b HTTP/1.1\r\nAccept: one\r\nAccept: two\r\n" + LAST)
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (b"content-length: 13" in head.lower(), body) == (True, b"here one, two")
        got = await ask(connect, b"HEAD /here HTTP/1.1\r\n" + LAST)
        assert b"content-length: 5" in got.lower()
        assert got.endswith(b"\r\n\r\n")
        assert (await ask(connect, b"GET /here HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_several_requests_on_one_connection_whatever_the_pieces() -> None:
    async with served() as connect:
        stream = await connect()
        async with stream:
            for byte in b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n":
                await stream.send_all(bytes([byte]))
            await stream.send_all(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\nHEAD /here HTTP/1.1\r\n" + LAST)
            assert (await until_closed(stream)).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n" + LAST, 404),
        (b"GET http://x/here HTTP/1.1\r\n" + LAST, 404),
        (b"POST /here HTTP/1.1\r\nContent-Length: 3\r\n" + LAST + b"abc", 405),
        (b"DELETE /here HTTP/1.1\r\n" + LAST, 405),
        (b"GET /here HTTP/1.1\r\nContent-Length: 3\r\n" + LAST + b"abc", 413),
        (b"GET /here HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + LAST, 413),
        (b"GET /here HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET /" + b"x" * http.MOST_HEAD, 431),
        (b"GET /here HTTP/1.1\r\nX: " + b"x" * http.MOST_HEAD, 431),
        (b"GET /here HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + LAST, 400),
    ],
)
async def test_what_is_not_served_is_refused(request_: bytes, status: int) -> None:
    async with served() as connect:
        got = await ask(connect, request_)
        assert got.startswith(b"HTTP/1.1 %d " % status), got
        assert got.count(b"HTTP/1.1") == 1


async def test_an_answer_that_fails_is_a_500_and_the_next_one_is_served(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as connect:
        assert (await ask(connect, b"GET /broken HTTP/1.1\r\n" + LAST)).startswith(b"HTTP/1.1 500 ")
        assert "http_failed" in caplog.text
        assert (await ask(connect, b"GET /here HTTP/1.1\r\n" + LAST)).startswith(b"HTTP/1.1 200 ")


async def test_who_sends_too_slowly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_TIME", 0.05)
    async with served() as connect:
        assert (await ask(connect, b"GET /here HTTP/1.1\r\nHos")).startswith(b"HTTP/1.1 408 ")
        assert await ask(connect, b"") == b"", "who says nothing is told nothing"


async def test_who_reads_too_slowly_is_closed_and_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_TIME", 0.1)
    server = HttpServer(answer)
    async with served(server) as connect:
        slow = await connect()
        async with slow:
            await slow.send_all(b"GET /large HTTP/1.1\r\n" + LAST)
            await slow.receive_some(1)
            assert (await ask(connect, b"GET /here HTTP/1.1\r\n" + LAST)).startswith(b"HTTP/1.1 200 ")
            while server.connections:  # noqa: ASYNC110 - the slow one's; nobody is told of its end
                await trio.sleep(0.01)
            got = 0
            try:
                while more := await slow.receive_some(65536):
                    got += len(more)
            except trio.BrokenResourceError:
                pass
            assert got < LARGE


async def test_a_further_connection_takes_the_place_of_the_one_that_has_waited_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 3)
    server = HttpServer(answer)
    async with served(server) as connect:
        held = [await connect() for _ in range(3)]
        for stream in held:
            await stream.send_all(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await stream.receive_some(1000)
        await held[0].send_all(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await held[0].receive_some(1000)
        assert (await ask(connect, b"GET /here HTTP/1.1\r\n" + LAST)).startswith(b"HTTP/1.1 200 ")
        assert await held[1].receive_some(1000) == b""
        for stream in (held[0], held[2]):
            await stream.send_all(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200 ")
        silent = [await connect() for _ in range(20)]
        assert (await ask(connect, b"GET /here HTTP/1.1\r\n" + LAST)).startswith(b"HTTP/1.1 200 ")
        assert server.connections <= 3
        for stream in (*held, *silent):
            await stream.aclose()


async def test_there_are_few_connections_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 3)

    async def slow(path: str, accept: str) -> Answer | None:
        asked.append(path)
        await trio.sleep_forever()
        return await answer(path, accept)

    asked: list[str] = []
    server = HttpServer(lambda path, accept: slow(path, accept) if path == "/slow" else answer(path, accept))
    async with served(server) as connect:
        held = [await connect() for _ in range(3)]
        for stream in held:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        while len(asked) < 3:
            await trio.lowlevel.checkpoint()
        fourth = await connect()
        async with fourth:
            assert (await until_closed(fourth)).startswith(b"HTTP/1.1 503 ")
        for stream in held:
            await stream.aclose()
