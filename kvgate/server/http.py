"""A small HTTP server for whoever watches the gate: GET and HEAD of a few paths, with limits for everything; h11 parses.

It must not cost the clients of the gate anything: few connections, small requests, and a peer that reads or writes slowly
holds a task and its answer, for a bounded time, and nothing else.
"""

import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import attrs
import h11
import trio

from kvgate import __version__

log = logging.getLogger("kvgate.http")

MOST_CONNECTIONS: Final = 32
"""At a time; a further one takes the place of the one that has waited longest for its client, so that those that hang keep no
orchestrator from being told that the gate lives; when none waits, it is told 503. A few scrapers and balancers have one
each."""
MOST_HEAD: Final = 8192
"""Bytes of a request's line and header, what web servers commonly take."""
REQUEST_TIME: Final = 5.0
"""Seconds that a request may take to come."""
IDLE_TIME: Final = 75.0
"""Seconds that a connection may wait for its next request: Prometheus scrapes once a minute at most, by default."""
WRITE_TIME: Final = 10.0
"""Seconds that the answer may take to go; Prometheus itself gives up after ten."""
RECEIVE: Final = 4096


@attrs.frozen(slots=True)
class Answer:
    """What a path has to say."""

    status: int
    body: bytes
    content_type: str


Answering = Callable[[str, str], Awaitable[Answer | None]]
"""Of a path and the request's ``Accept``: the answer; None when there is no such path."""


def told(sockets: Sequence[socket.socket]) -> list[str]:
    """Lines for the gate's banner: where it can be watched."""
    lines = []
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        lines.append(f"  metrics: http://{f'[{host}]' if ':' in host else host}:{port}/metrics and /health")
    return lines


class HttpServer:
    """Serves the answers of one function."""

    def __init__(self, answer: Answering) -> None:
        """`answer` is called for each GET and HEAD. What it raises is logged, and a 500."""
        self._answer = answer
        self.connections = 0
        """How many there are now."""
        self._waiting: dict[_Connection, trio.CancelScope] = {}  # for their clients, those that do so longest first

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Until cancelled; `sockets` are bound and listen, and are closed at the end. Without any it has nothing to do."""
        if not sockets:
            return
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]
        try:
            await trio.serve_listeners(self._serve_one, listeners)
        except Exception as error:  # the gate goes on without being watched, and Prometheus tells that it is not
            log.exception("http_ended", extra={"error": repr(error), "do": "report this"})

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        full = self.connections >= MOST_CONNECTIONS
        if full and self._waiting:
            longest = next(iter(self._waiting))
            self._waiting.pop(longest).cancel()
            longest.unwanted, full = True, False
        self.connections += 1
        try:
            async with stream:
                await _Connection(stream, self._answer, self._waiting).run(full=full)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # it has left
        except Exception as error:  # one watcher must not end the gate
            log.exception("http_failed", extra={"error": repr(error), "do": "report this"})
        finally:
            self.connections -= 1


class _Connection:
    def __init__(
        self, stream: trio.SocketStream, answer: Answering, waiting: "dict[_Connection, trio.CancelScope]"
    ) -> None:
        """`waiting`: where it is noted while it waits for its client."""
        self._stream = stream
        self._answer = answer
        self._waiting = waiting
        self.unwanted = False
        """Whether another one has taken its place."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)

    async def run(self, *, full: bool) -> None:
        """Answer requests until one side wants to end, or is too slow."""
        if full:
            await self._send(Answer(503, b"too many connections\n", _TEXT), close=True)
            return
        patience = REQUEST_TIME
        while await self._one(patience):
            patience = IDLE_TIME
        if self.unwanted:
            return
        with self._patiently(REQUEST_TIME):  # what it still sends would turn the answer into a reset
            await self._stream.send_eof()
            while await self._stream.receive_some(RECEIVE):
                pass

    @contextmanager
    def _patiently(self, seconds: float) -> Iterator[trio.CancelScope]:
        """Wait for the client inside, for that long, or until another one needs the place."""
        with trio.move_on_after(seconds) as scope:
            self._waiting[self] = scope
            try:
                yield scope
            finally:
                self._waiting.pop(self, None)

    async def _one(self, patience: float) -> bool:
        """Answer one request, which has `patience` seconds to come; whether another one may follow."""
        try:
            with self._patiently(patience) as scope:
                request = await self._request()
        except h11.RemoteProtocolError as error:
            await self._send(Answer(error.error_status_hint, b"this is no HTTP request\n", _TEXT), close=True)
            return False
        if scope.cancelled_caught:
            if self._http.trailing_data[0] and not self.unwanted:  # a part of a request has come
                await self._send(Answer(408, b"the request took too long\n", _TEXT), close=True)
            return False
        return request is not None and await self._respond(request)

    async def _request(self) -> h11.Request | None:
        """The next request, its body (none of these has any) left alone; None when the peer has closed."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(RECEIVE))
            elif not isinstance(event, h11.EndOfMessage):
                return None

    async def _respond(self, request: h11.Request) -> bool:
        """Answer; whether another request may follow."""
        if request.method not in (b"GET", b"HEAD"):
            await self._send(Answer(405, b"only GET and HEAD\n", _TEXT), more=[(b"Allow", b"GET, HEAD")], close=True)
            return False
        head = request.method == b"HEAD"
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            await self._send(Answer(413, b"a request has no body here\n", _TEXT), head=head, close=True)
            return False
        path = request.target.decode("latin-1").partition("?")[0]
        accept = ", ".join(value.decode("latin-1") for name, value in request.headers if name == b"accept")
        try:
            answer = await self._answer(path, accept)
        except Exception as error:
            log.exception("http_failed", extra={"path": path, "error": repr(error), "do": "report this"})
            answer = Answer(500, b"the gate failed to answer; its log says more\n", _TEXT)
        await self._send(answer or NOWHERE, head=head)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _send(
        self, answer: Answer, *, head: bool = False, close: bool = False, more: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        headers = [
            (b"Content-Type", answer.content_type.encode()),
            (b"Content-Length", b"%d" % len(answer.body)),
            (b"Cache-Control", b"no-store"),
            (b"Server", f"kvgate/{__version__}".encode()),
            *more,
        ]
        reason = HTTPStatus(answer.status).phrase.encode()
        if close:
            headers.append((b"Connection", b"close"))
        data = self._http.send(h11.Response(status_code=answer.status, headers=headers, reason=reason)) or b""
        if not head:
            data += self._http.send(h11.Data(data=answer.body)) or b""
        with trio.move_on_after(WRITE_TIME) as scope:
            await self._stream.send_all(data + (self._http.send(h11.EndOfMessage()) or b""))
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("it reads too slowly")


_TEXT: Final = "text/plain; charset=utf-8"
NOWHERE: Final = Answer(404, b"there are /metrics, /health, /health/live and /health/ready\n", _TEXT)
