"""Upstream connections that one client has for itself for a while, and their bounded pool, one for each backend.

Blocking commands, WATCH, subscriptions and WAIT run on these. A connection goes back to the pool only when it has proved
that nothing is unanswered on it; every doubt closes it.
"""

import random
import secrets
import socket
from collections import deque
from collections.abc import Awaitable
from types import TracebackType
from typing import Protocol, Self

import trio

from kvgate.backend import BrokenUpstream, Endpoint, Topology
from kvgate.errors import GateError, ProtocolError, try_again
from kvgate.lane.connect import CONNECT_TIMEOUT, Connected, ConnectFailed, Stream, away, connect
from kvgate.lane.tls import TlsError
from kvgate.wire.measure import Measurer
from kvgate.wire.reply import encode
from kvgate.wire.request import encode_request

LIMIT = 128
"""Connections of one pool, used and idle: 50 gates × 4 workers × 128 is what 25 stores with 1,000 of them each can bear."""
IDLE_SECONDS = 60.0
"""An unused connection is closed after this, so that a burst of blocking clients leaves nothing behind at the store."""
PROOF_SECONDS = 1.0
"""For the PING that proves a returned connection clean."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between tries to connect; doubled each time."""


class Connect(Protocol):
    """What `kvgate.lane.connect.connect` is: tests and adapters may put another one in its place."""

    def __call__(self, endpoint: Endpoint, *, proto: int, name: str, timeout: float) -> Awaitable[Connected]:
        """Raises `ConnectFailed` or `GateError`."""


class Own:
    """An `OwnConnection` (see kvgate.backend). One task may send while another one receives.

    ``async with await pool.own(…) as upstream:`` gives it back at the end of the block, and closes it when the block raises
    or is cancelled.
    """

    def __init__(self, pool: "OwnConnections", shard: int, connected: Connected) -> None:
        """Made by the pool."""
        self.proto = connected.proto
        self.shard = shard
        self.idle_since = 0.0
        self._pool = pool
        self._stream: Stream = connected.stream
        self._data = connected.leftover
        self._pos = 0
        self._parts: list[bytes] = []
        self._measurer = Measurer()
        self._doubtful = False  # a send or a receive was cut off, or failed: never used for another client
        self._closed = False

    def __repr__(self) -> str:
        """Shard, protocol and state."""
        state = "closed" if self._closed else "doubtful" if self._doubtful else "open"
        return f"<Own connection to shard {self.shard}, RESP{self.proto}, {state}>"

    async def send(self, frame: bytes) -> None:
        """Send all of it. When cancelled, a part may have gone out: the connection can only be closed.

        Raises:
            BrokenUpstream: the connection ended, before or now; what was sent may have been executed.
        """
        try:
            await self._stream.send_all(frame)
        except (OSError, TlsError, trio.ClosedResourceError) as error:
            raise self._broken(error) from error
        except trio.Cancelled:
            self._doubtful = True
            raise

    async def receive(self) -> bytes:
        """One whole raw reply or push. No time limit of its own.

        When cancelled, no byte is lost and it may be called again; but the connection will not be used for another client.

        Raises:
            BrokenUpstream: the connection ended first.
        """
        while True:
            if self._pos < len(self._data):
                raw = self._whole()
                if raw is not None:
                    return raw
            try:
                data = await self._stream.receive_some()
            except (OSError, TlsError, trio.ClosedResourceError) as error:
                raise self._broken(error) from error
            except trio.Cancelled:
                self._doubtful = True
                raise
            if not data:
                raise self._broken(EOFError("the store closed the connection"))
            self._data, self._pos = data, 0

    async def give_back(self) -> None:
        """Return it to the pool for anybody's use; it is closed instead where its state is in doubt.

        The caller has received every reply and left MULTI, WATCH, subscriptions and MONITOR. That is proved with a PING,
        whose answer must be the very next thing that comes; while the pool runs, in the background: the reply that the
        caller holds waits for nothing.
        """
        if self._closed:
            return
        if self._doubtful or self._unread:
            self.close()
        elif self._pool.background is not None:
            self._pool.background.start_soon(self._prove, self._pool.proof())
        else:
            await self._prove(self._pool.proof())

    def close(self) -> None:
        """End it at once, whatever its state; idempotent. Whoever waits in `send` or `receive` gets BrokenUpstream."""
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        self._pool.forget(self)

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back, or close it after an exception or a cancellation."""
        if kind is None:
            await self.give_back()
        else:
            self.close()

    def still_good(self) -> bool:
        """See `OwnConnection`: False when there is anything unread, its end too."""
        if self._closed or self._unread:
            return False
        try:
            self._stream.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # the end, or something unasked for: a goodbye, or a reply that belongs to nobody

    @property
    def _unread(self) -> bool:
        return self._pos < len(self._data) or bool(self._parts)

    async def _prove(self, ended: trio.Event) -> None:
        """Put it back when it is clean, else close it."""
        clean, marker = False, self._pool.marker()
        try:
            with trio.move_on_after(PROOF_SECONDS):
                await self.send(encode_request([b"PING", marker]))
                clean = await self.receive() == encode(marker) and not self._unread
        except BrokenUpstream:
            clean = False
        finally:
            self._pool.proving.remove(ended)
            if clean and not self._doubtful:
                self._pool.keep(self)
            else:
                self.close()
            ended.set()

    def _whole(self) -> bytes | None:
        """The reply that the buffer completes; None (and an empty buffer) when more is wanted."""
        data, pos = self._data, self._pos
        try:
            end = self._measurer.feed(data, pos)
        except (ProtocolError, ValueError) as error:
            raise self._broken(ValueError(f"the store sent what is no reply: {error}")) from error
        if end < 0:
            self._parts.append(data[pos:])
            self._data, self._pos = b"", 0
            return None
        raw = data[pos:end]
        if self._parts:
            raw = b"".join([*self._parts, raw])
            self._parts.clear()
        self._pos = end
        self._measurer = Measurer()
        if raw.startswith(b">"):
            self._doubtful = True  # in RESP3 a subscription does not show in how PING is answered
        return raw

    def _broken(self, error: Exception) -> BrokenUpstream:
        self._doubtful = True
        why = "the gate closed the connection" if isinstance(error, trio.ClosedResourceError) else str(error)
        return BrokenUpstream(why)


class OwnConnections:
    """All such connections of one backend, used and idle, over all its shards and both protocols.

    `run` is a task that somebody starts: it proves what is given back, and closes what has been idle for long.
    """

    def __init__(
        self, topology: Topology, *, limit: int = LIMIT, name: str = "kvgate", connect: Connect = connect
    ) -> None:
        """At most `limit` connections to the shards of `topology`; `name` is shown in the stores' CLIENT LIST."""
        self.limit = limit
        self.failures: dict[int, str] = {}
        """shard → why the last try to connect failed, for those whose last try did."""
        self.proving: list[trio.Event] = []
        """Of each connection that was given back and is not proved clean yet: set when it is, or is closed."""
        self.background: trio.Nursery | None = None
        """Of `run`, while it runs."""
        self._topology = topology
        self._name = name
        self._connect = connect
        self._open: set[Own] = set()
        self._connecting = 0
        self._idle: dict[tuple[int, int], deque[Own]] = {}
        self._closed = False
        self._token = secrets.token_hex(8).encode()
        self._proofs = 0

    @property
    def size(self) -> int:
        """Connections that exist or are being made."""
        return len(self._open) + self._connecting

    @property
    def idle(self) -> int:
        """Connections that wait to be used."""
        return sum(map(len, self._idle.values()))

    async def own(self, shard: int, *, proto: int, deadline: float) -> Own:
        """A clean connection to `shard`: an idle one, else a new one. `deadline` on trio's clock.

        A store that was not reachable at the last try gets one try; one that was gets tries until the deadline.

        Raises:
            GateError: ``TRYAGAIN`` when the store is away or the pool is at its limit, ``ERR upstream …`` when the store
                refuses the gate.
        """
        endpoint = self._topology.shards[shard]
        while True:
            spare = self._idle.get((shard, 3 if proto == 3 and endpoint.resp3 else 2))
            while spare:
                own = spare.pop()  # the one used last: the others may become idle for long enough to be closed
                if own.still_good():
                    return own
                own.close()
            if not self.proving or self.idle or self.size < self.limit:
                break
            await self.proving[0].wait()  # one that was just given back will be free in a moment, or closed
        self._make_room()
        self._connecting += 1
        try:
            connected = await self._reach(shard, endpoint, proto, deadline)
        finally:
            self._connecting -= 1
        own = Own(self, shard, connected)
        self._open.add(own)
        if self._closed:
            own.close()
            raise try_again("this backend is being closed")
        return own

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Close what is idle for too long, until cancelled; then close everything."""
        try:
            async with trio.open_nursery() as self.background:
                task_status.started()
                while True:
                    await trio.sleep(IDLE_SECONDS / 4)
                    self.close_idle(trio.current_time() - IDLE_SECONDS)
        finally:
            self.background = None
            self.close()

    def close_idle(self, since: float) -> None:
        """Close what has been idle since before `since` (trio's clock), or was closed by its store."""
        for spare in self._idle.values():
            for own in list(spare):
                if own.idle_since < since or not own.still_good():
                    own.close()

    def close(self) -> None:
        """Close every connection, used ones too; later ones are refused."""
        self._closed = True
        for own in list(self._open):
            own.close()

    def keep(self, own: Own) -> None:
        """Take a connection that is proved clean (`Own.give_back` calls this)."""
        own.idle_since = trio.current_time()
        self._idle.setdefault((own.shard, own.proto), deque()).append(own)

    def forget(self, own: Own) -> None:
        """A connection was closed (`Own.close` calls this)."""
        self._open.discard(own)
        spare = self._idle.get((own.shard, own.proto))
        if spare and own in spare:
            spare.remove(own)

    def proof(self) -> trio.Event:
        """A connection is going to be proved clean (`Own.give_back` calls this)."""
        ended = trio.Event()
        self.proving.append(ended)
        return ended

    def marker(self) -> bytes:
        """Bytes that no earlier command of any client can be answered with."""
        self._proofs += 1
        return b"kvgate-%b-%d" % (self._token, self._proofs)

    def _make_room(self) -> None:
        """Make room for one more; an idle connection, the longest idle one, gives way."""
        if self.size < self.limit:
            return
        idle = [spare[0] for spare in self._idle.values() if spare]
        if not idle:
            raise try_again(
                f"all {self.limit} connections for blocking commands, WATCH and subscriptions to this store are in use"
            )
        min(idle, key=lambda own: own.idle_since).close()

    async def _reach(self, shard: int, endpoint: Endpoint, proto: int, deadline: float) -> Connected:
        pause = FIRST_PAUSE
        while True:
            patient = shard not in self.failures
            timeout = min(CONNECT_TIMEOUT, max(deadline - trio.current_time(), 0.001))
            try:
                connected = await self._connect(endpoint, proto=proto, name=self._name, timeout=timeout)
            except GateError as error:
                self.failures[shard] = away(endpoint, error)
                raise
            except ConnectFailed as error:
                failed = away(endpoint, error)
                if not patient or trio.current_time() + pause >= deadline:
                    self.failures[shard] = failed
                    raise try_again(f"the store is not reachable: {failed}") from error
            else:
                self.failures.pop(shard, None)
                return connected
            await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause = min(2 * pause, LAST_PAUSE)
