"""One process that serves: its lane, its dispatcher, its backends; and the switch from one configuration to another."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

from kvgate.backend import Backend, Introduced, PassThrough
from kvgate.errors import ConfigurationError, GateError
from kvgate.lane.driver import Driver, Limits
from kvgate.lane.upstream import Shard
from kvgate.policy.settings import GateSettings
from kvgate.routing.configuration import Configuration
from kvgate.server.dispatch import Dispatcher
from kvgate.server.places import Places
from kvgate.server.reload import Build, compare, location

log = logging.getLogger("kvgate")

START: Final = 10.0
"""Seconds that a backend may take to start during a reload."""
RETIRE_LOOK: Final = 0.25
"""Seconds between looks whether a backend that is served no more has answered everything."""
DRAIN_STEP: Final = 0.05
"""Seconds between looks for clients that can be closed while draining."""
HERD: Final = 0.02
"""The share of the clients that is closed in one step, so that they do not all come back at once elsewhere."""


@attrs.frozen(slots=True)
class _Prepared:
    configuration: Configuration
    backends: Mapping[str, Backend]
    places: Places
    fresh: tuple[str, ...]
    """Names of backends that were started for it."""


class Process:
    """What serves in one process; a kvgate.server.reload.Target."""

    def __init__(self, build: Build, configuration: Configuration, backends: Mapping[str, Backend]) -> None:
        """Put together; nothing runs yet."""
        self._build = build
        self.dispatcher = Dispatcher(configuration, backends)
        self.driver = self.dispatcher.driver = Driver(
            self.dispatcher.lane, self.dispatcher.welcome, limits=limits(configuration.gate), name="kvgate"
        )
        self._scopes: dict[Backend, trio.CancelScope] = {}
        self._prepared: _Prepared | None = None
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once all backends run. Clients come by what is told to `driver`.

        Raises:
            ConfigurationError: what a backend found out about its configuration only now, in an exception group.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.driver.run)
            await nursery.start(self.dispatcher.run)
            for backend in self.dispatcher.backends.values():
                await nursery.start(self._run_backend, backend)
            task_status.started()

    async def _run_backend(
        self, backend: Backend, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as scope:
            self._scopes[backend] = scope
            try:
                await backend.run(task_status=task_status)
            finally:
                del self._scopes[backend]

    async def introduction(self) -> list[str]:
        """A line for each backend: what lies there, and what it says of itself."""
        lines = []
        for backend in self.dispatcher.backends.values():
            spaces = [rule.name for rule in self.dispatcher.configuration.namespaces.on(backend.name)]
            holds = ", ".join(spaces[:6]) + (f" and {len(spaces) - 6} more" if len(spaces) > 6 else "")
            about = await backend.banner() if isinstance(backend, Introduced) else ""
            lines.append(f"  {backend.name} ({backend.type}) holds {holds or 'no namespace'}{': ' + about if about else ''}")
        return lines

    # ------------------------------------------------------------------ another configuration

    async def prepare(self, text: bytes) -> None:
        """See `Target`: the lane goes on meanwhile; what is parsed is parsed in a thread."""
        try:
            _, configuration, made = await trio.to_thread.run_sync(self._build, text)
        except ConfigurationError as error:
            raise GateError("ERR " + "; ".join(error.mistakes)) from None
        await self.discard()
        now = self.dispatcher
        backends: dict[str, Backend] = {}
        fresh: list[str] = []
        for name, backend in made.items():
            present = now.backends.get(name)
            same = present is not None and now.configuration.backends[name] == configuration.backends[name]
            if present is not None and (same or not isinstance(backend, PassThrough)):
                backends[name] = present  # an embedded store cannot be open twice: its other options wait for a restart
                continue
            if not isinstance(backend, PassThrough) and location(backend) in map(location, now.backends.values()):
                raise GateError(f"ERR backends.{name}: this store is open under another name; that needs a restart")
            backends[name] = backend
            fresh.append(name)
        places = Places(configuration, backends, now.places)
        now.attach(places, fresh)
        self._prepared = _Prepared(configuration, backends, places, tuple(fresh))
        for name in fresh:
            await self._start(name, backends[name])

    async def _start(self, name: str, backend: Backend) -> None:
        failure: list[str] = []

        async def guarded(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            started = False

            class Status:
                def started(self, value: None = None) -> None:
                    nonlocal started
                    started = True
                    task_status.started(value)

            try:
                await self._run_backend(backend, task_status=Status())
            except Exception as error:
                if started:
                    raise
                failure.append(str(error))
                task_status.started()

        with trio.move_on_after(START) as scope:
            await self._nursery.start(guarded)
        if failure or scope.cancelled_caught:
            await self.discard()
            raise GateError(f"ERR backends.{name}: {failure[0] if failure else 'it did not start in time'}")

    async def discard(self) -> None:
        """See `Target`."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            for name in prepared.fresh:
                self._stop(prepared.backends[name])

    def _stop(self, backend: Backend) -> None:
        scope = self._scopes.get(backend)
        if scope is not None:
            scope.cancel()

    async def failed(self, why: str) -> None:
        """See `Target`."""
        self.dispatcher.reload_error = why

    async def switch(self) -> None:
        """See `Target`. Commands in flight finish on the old way; where keys move, new ones wait for them."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise GateError("ERR there is nothing prepared to switch to")
        dispatcher = self.dispatcher
        old = dispatcher.backends
        moved = compare(dispatcher.configuration, old, prepared.configuration, prepared.backends).moved
        if moved:
            await dispatcher.hold()
        gone = [shard for name, shards in dispatcher.places.shards.items() for shard in shards
                if shards is not prepared.places.shards.get(name)]  # fmt: skip
        self.driver.limits = limits(prepared.configuration.gate)
        dispatcher.switch(prepared.configuration, prepared.backends, prepared.places, moved)
        if moved:
            dispatcher.release()
        self.driver.kick()
        logging.getLogger().setLevel(prepared.configuration.gate.log_level.upper())
        retired = [backend for backend in old.values() if backend not in prepared.backends.values()]
        if gone or retired:
            self._nursery.start_soon(self._retire, gone, retired)

    async def _retire(self, shards: Sequence[Shard], backends: Sequence[Backend]) -> None:
        """End what is served no more, once nothing is unanswered there and no client has a connection of it."""
        while any(up.fifo for shard in shards for up in shard.lines):  # noqa: ASYNC110 - the lane tells nobody
            await trio.sleep(RETIRE_LOOK)
        for shard in shards:
            for up in shard.lines:
                self.driver.retire(up)
        for backend in backends:
            while self.dispatcher.uses(backend):  # noqa: ASYNC110 - many places end a use
                await trio.sleep(RETIRE_LOOK)
            self._stop(backend)
            log.info("backend_retired", extra={"backend": backend.name})

    # ------------------------------------------------------------------ the end

    async def drain(self, seconds: float) -> None:
        """Take no new clients, let commands finish, close clients a few at a time; whoever is left after `seconds` is cut.

        Who waits for others' doing (BLPOP, a subscriber) counts as idle.
        """
        driver = self.driver
        driver.ready = False
        driver.stop_listening()
        until = time.monotonic() + seconds
        while driver.clients and time.monotonic() < until:
            most = max(1, int(len(driver.clients) * HERD))
            idle = [client for client in driver.clients.values() if client.idle or client.session.blocked]
            for client in idle[:most]:
                driver.close_client(client)
            if driver.clients:
                await trio.sleep(DRAIN_STEP)
        log.info("drained", extra={"clients_cut": len(driver.clients)})


def limits(gate: GateSettings) -> Limits:
    """The driver's limits, as the configuration says them."""
    return Limits(
        clients=gate.max_clients,
        commands=gate.pipeline_commands,
        bytes_in=gate.pipeline_bytes,
        out_hard=gate.output_hard,
        out_soft=gate.output_soft,
        out_soft_seconds=gate.output_soft_time,
        pubsub_hard=gate.pubsub_output_hard,
        pubsub_soft=gate.pubsub_output_soft,
        pubsub_soft_seconds=gate.pubsub_output_soft_time,
        memory=gate.client_memory,
        idle=gate.idle_timeout,
        keepalive=int(gate.tcp_keepalive),
        connect_timeout=gate.connect_timeout,
        reconnect_first=gate.reconnect_first,
        reconnect_longest=gate.reconnect_longest,
    )
