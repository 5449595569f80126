"""A driver on real sockets with the tests' own gate above it and a scripted store below."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import trio

from kvgate.backend import Endpoint
from kvgate.lane.client import Client
from kvgate.lane.driver import Driver, Limits, Listener, Transport
from kvgate.lane.tls import TlsTransform
from kvgate.lane.upstream import Shard
from tests.lane.stores import ScriptedStore
from tests.lane.world import Store, World
from tests.support.ports import free_port


class Upstairs(World):
    """The gate of the model world over a store that is really connected to; ``BOOM`` is a bug in it."""

    def __init__(self, endpoint: Endpoint, *, learn: bool = True) -> None:
        """All shared connections are still to be made."""
        super().__init__(1, learn=learn, quick=16 << 20)
        self.shards = [Shard("s", 0, endpoint)]
        self.route.tables = [[self.shards[0].lines[line]] for line in range(4)]
        self.links.clear()
        self.lane.upstreams.clear()
        self.hosts: list[tuple[str, str]] = []

    def welcome(self, transport: Transport, host: str, listener: Listener) -> Client | bytes:
        """Everybody is, but for one balancer's client."""
        del listener
        self.hosts.append((host, transport.address))
        if host == "10.9.9.9":
            return b"-DENIED\r\n"
        if host == "10.8.8.8":
            raise ValueError("a bug")
        client = self.client()
        client.transport = transport
        return client

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """As in the model world."""
        if args[0] == b"BOOM":
            raise ValueError("a bug")
        super().request(client, args, frame, now)


@attrs.define
class Room:
    """One driver with one listener."""

    gate: Upstairs
    driver: Driver
    store: ScriptedStore
    data: Store
    port: int
    nursery: trio.Nursery
    raw: list[socket.socket] = attrs.field(factory=list)

    async def connect(self) -> trio.SocketStream:
        """A new client."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.nursery.start_soon(_close_at_end, stream)
        return stream

    def end_tasks(self) -> None:
        """The slow tasks of the model world end."""
        while self.gate.tasks:
            self.gate.tasks.pop(0)()
        self.driver.kick()


async def _close_at_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


@contextlib.asynccontextmanager
async def open_room(
    *,
    learn: bool = True,
    trusted: Callable[[str], bool] | None = None,
    tls: ssl.SSLContext | None = None,
    endpoint: Callable[[Endpoint], Endpoint] = lambda it: it,
    store_tls: ssl.SSLContext | None = None,
    **limits: Any,
) -> AsyncIterator[Room]:
    """Serve until the block ends."""
    data = Store()
    data.says[b"PING"] = b"+PONG\r\n"
    data.says[b"CLIENT"] = b"+OK\r\n"
    store = ScriptedStore(data.execute)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        where = store.endpoint
        if store_tls is not None:
            listeners = await trio.open_ssl_over_tcp_listeners(0, store_tls, host="127.0.0.1")
            port = listeners[0].transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined]  # it is a SocketListener
            await nursery.start(trio.serve_listeners, store._serve, listeners)
            where = attrs.evolve(where, port=port)
        gate = Upstairs(endpoint(where), learn=learn)
        driver = Driver(gate.lane, gate.welcome, limits=Limits(**limits))
        await nursery.start(driver.run)
        sock = socket.create_server(("127.0.0.1", free_port()), backlog=512)
        sock.setblocking(False)
        transform = None if tls is None else lambda: TlsTransform(tls, server_side=True)
        driver.listen(sock, Listener("test", transform, trusted))
        yield Room(gate, driver, store, data, sock.getsockname()[1], nursery)
        nursery.cancel_scope.cancel()


async def read(stream: trio.abc.ReceiveStream, size: int, within: float = 20.0) -> bytes:
    """Exactly `size` bytes, or fewer if the stream ends.

    Raises:
        trio.TooSlowError: they did not come.
    """
    got = bytearray()
    with trio.fail_after(within):
        while len(got) < size:
            part = await stream.receive_some(min(65536, size - len(got)))
            if not part:
                break
            got += part
    return bytes(got)


async def read_all(stream: trio.abc.ReceiveStream, within: float = 20.0) -> bytes:
    """Everything up to the end; a connection that was reset has ended, too."""
    got = b""
    with trio.fail_after(within), contextlib.suppress(trio.BrokenResourceError):
        async for part in stream:
            got += part
    return got
