"""Stores for the tests of upstream connections: endpoints of real servers, and a store that says what a script tells it."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from kvgate.backend import Endpoint, Topology
from kvgate.errors import ProtocolError
from kvgate.wire.request import RequestScanner
from tests.support.servers import RedisServer

Answer = Callable[[list[bytes]], bytes | None]
"""Arguments of a command → the raw reply; None: hang up without one."""


def endpoint_of(server: RedisServer, **changes: Any) -> Endpoint:
    """How to connect to a real server, with its password."""
    where: dict[str, Any] = {"path": server.path} if server.path else {"host": server.host, "port": server.port}
    return attrs.evolve(
        Endpoint(
            url=server.url.replace(f":{server.password}@", ""),
            password=server.password,
            tls=server.tls,
            tls_ca=server.ca_file if server.tls else None,
            **where,
        ),
        **changes,
    )


def topology_of(*endpoints: Endpoint, slots: Sequence[int] = (), **options: Any) -> Topology:
    """One slot for each shard, or as `slots` say; a key's slot is its last byte modulo the number of slots."""
    table = tuple(slots) or tuple(range(len(endpoints)))
    return Topology(shards=endpoints, slots=table, slot_of=lambda text: text[-1] % len(table), **options)


@attrs.define
class ScriptedStore:
    """A server on a free port of 127.0.0.1 whose replies a test chooses; `commands` is what it was sent."""

    answer: Answer
    greeting: bytes = b""
    port: int = 0
    commands: list[list[bytes]] = attrs.field(factory=list)
    connections: int = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._serve, listeners, task_status=_Started(task_status))

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        scanner = RequestScanner()
        try:
            if self.greeting:
                await stream.send_all(self.greeting)
            async for data in stream:
                pos = 0
                while pos < len(data):
                    pos = scanner.feed(bytes(data), pos)
                    if scanner.args is not None:
                        self.commands.append(scanner.args)
                        reply = self.answer(scanner.args)
                        if reply is None:
                            return
                        await stream.send_all(reply)
        except (trio.BrokenResourceError, ProtocolError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    @property
    def endpoint(self) -> Endpoint:
        """How to connect to it."""
        return Endpoint(url=f"redis://127.0.0.1:{self.port}/0", host="127.0.0.1", port=self.port)


@attrs.define
class _Started:
    """A task status that drops the value: `serve_listeners` tells its listeners, `run` promises nothing."""

    inner: trio.TaskStatus[None]

    def started(self, _value: object = None) -> None:
        self.inner.started()


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, within: float = 10.0) -> None:
    """Wait, letting other tasks run, until `condition` is true.

    Raises:
        AssertionError: it was not in time; says `what`.
    """
    with trio.move_on_after(within):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await trio.sleep(0.002)
    raise AssertionError(f"waited {within} s for {what}")


def write_secret(path: Path, secret: str) -> Path:
    """A password file, with the newline that editors leave."""
    path.write_text(secret + "\n", "utf-8")
    return path
