"""One process that serves: its lane, its dispatcher, its backends; and the switch from one configuration to another."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from kvgate.backend import Backend, Introduced, PassThrough
from kvgate.errors import ConfigurationError, GateError
from kvgate.lane.driver import Driver, Limits
from kvgate.lane.upstream import Shard
from kvgate.policy.settings import GateSettings
from kvgate.routing.configuration import Configuration
from kvgate.server import switching, traces
from kvgate.server.difference import kept_open, location
from kvgate.server.dispatch import Dispatcher
from kvgate.server.places import Places
from kvgate.server.reload import Build, beside_the_lane, in_effect
from kvgate.server.site import LANE_TURN
from kvgate.server.surroundings import raise_file_limit
from kvgate.server.switching import Moving

log = logging.getLogger("kvgate")

START: Final = 10.0
"""Seconds that a backend may take to start during a reload."""
RETIRE_LOOK: Final = 0.25
"""Seconds between looks whether a backend that is served no more has answered everything."""
DRAIN_STEP: Final = 0.05
"""Seconds between looks for clients that can be closed while draining."""
DRAIN_SHARE: Final = 0.75
"""Of the time for draining, in which idle clients are closed evenly: they do not all come back elsewhere at once, and what
is left of the time is for those that were busy at their turn."""


@attrs.frozen(slots=True)
class _Prepared:
    configuration: Configuration
    """With what is in effect of its ``[gate]``."""
    backends: Mapping[str, Backend]
    places: Places
    moving: Moving
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
        self.driver.above = lambda: self.dispatcher.commands
        self.driver.shaken = self.dispatcher.identified
        self.driver.tell_long_turn = partial(self.dispatcher.note_spike, LANE_TURN)
        self.driver.turned_away = lambda address, listener: self.dispatcher.audit.connection_refused(address, listener, "ERR")
        self._scopes: dict[Backend, trio.CancelScope] = {}
        self._prepared: _Prepared | None = None
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once all backends run. Clients come by what is told to `driver`.

        Raises:
            ConfigurationError: what a backend found out about its configuration only now, in an exception group.
        """
        audit, configuration = self.dispatcher.audit, self.dispatcher.configuration
        audit.configure(configuration.audit, configuration.sha256)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self.driver.run)
                await nursery.start(self.dispatcher.tasks.run)
                if configuration.gate.traces:
                    nursery.start_soon(traces.run, self.dispatcher, configuration.gate.traces)
                for backend in self.dispatcher.backends.values():
                    await nursery.start(self._run_backend, backend)
                task_status.started()
        finally:
            audit.close()

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

    async def prepare_text(self, text: bytes) -> None:
        """`prepare` in a worker. Raises GateError."""
        try:
            _, configuration, backends = await beside_the_lane(lambda: self._build(text))
        except ConfigurationError as error:
            raise GateError("ERR " + "; ".join(error.mistakes)) from None
        await self.prepare(text, configuration, backends)

    async def prepare(self, text: bytes, configuration: Configuration, made: Mapping[str, Backend]) -> None:
        """See `Target`."""
        del text
        configuration = attrs.evolve(configuration, gate=in_effect(self.dispatcher.configuration.gate, configuration.gate))
        await self.discard()
        now = self.dispatcher
        backends: dict[str, Backend] = {}
        fresh: list[str] = []
        for name, backend in made.items():
            present = now.backends.get(name)
            same = present is not None and now.configuration.backends[name] == configuration.backends[name]
            if present is not None and (same or kept_open(present, backend)):
                backends[name] = present
                continue
            if not isinstance(backend, PassThrough) and location(backend) in map(location, self._scopes):
                raise GateError(f"ERR backends.{name}: this store is open under another name; that needs a restart")
            backends[name] = backend
            fresh.append(name)
        places = Places(configuration, backends, now.ledger, now.places)
        moving = await beside_the_lane(lambda: Moving(now.places, places))
        now.attach(places, fresh)
        self._prepared = _Prepared(configuration, backends, places, moving, tuple(fresh))
        try:
            for name in fresh:
                await self._start(name, backends[name])
        except GateError:
            await self.discard()
            raise

    async def _start(self, name: str, backend: Backend) -> None:
        """Run a backend; what it finds out about its configuration before it has started becomes a GateError."""
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
                failure.append("; ".join(mistakes(error)))
                task_status.started()

        with trio.move_on_after(START) as scope:
            await self._nursery.start(guarded)
        if failure or scope.cancelled_caught:
            raise GateError(f"ERR backends.{name}: {failure[0] if failure else 'it did not start in time'}")

    async def hold(self) -> None:
        """See `Target`."""
        if self._prepared is not None:
            await self.dispatcher.pauses.begin_hold(self._prepared.moving).settled(self.dispatcher.lane.budget)

    async def discard(self) -> None:
        """See `Target`."""
        prepared, self._prepared = self._prepared, None
        self.dispatcher.pauses.end_hold()
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
        self.dispatcher.audit.configuration_refused()

    async def switch(self) -> None:
        """See `Target`. Commands under way finish on the old way; where keys move, new ones have waited for them."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise GateError("ERR there is nothing prepared to switch to")
        dispatcher, gate = self.dispatcher, prepared.configuration.gate
        old = dispatcher.backends
        gone = [shard for name, shards in dispatcher.places.shards.items() for shard in shards
                if shards is not prepared.places.shards.get(name)]  # fmt: skip
        retired = [backend for backend in old.values() if backend not in prepared.backends.values()]
        used = {backend: switching.users_of(dispatcher, backend) for backend in retired}
        if gate.max_clients != dispatcher.configuration.gate.max_clients:
            raise_file_limit(gate.max_clients)
        self.driver.limits = limits(gate)
        logging.getLogger().setLevel(gate.log_level.upper())
        dispatcher.audit.configure(prepared.configuration.audit, prepared.configuration.sha256)
        switching.switch(dispatcher, prepared.configuration, prepared.backends, prepared.places, prepared.moving)
        await switching.adopt_all(dispatcher)
        dispatcher.pauses.end_hold()
        self.driver.kick()
        dispatcher.moving = None
        if gone or retired:
            self._nursery.start_soon(self._retire, gone, used)

    async def _retire(self, shards: Sequence[Shard], used: Mapping[Backend, Callable[[], bool]]) -> None:
        """End what is served no more, once nobody uses it and nothing is unanswered there."""
        while any(each() for each in used.values()):  # noqa: ASYNC110 - many places end a use
            await trio.sleep(RETIRE_LOOK)
        while any(up.fifo for shard in shards for up in shard.lines):  # noqa: ASYNC110 - the lane tells nobody
            await trio.sleep(RETIRE_LOOK)
        for shard in shards:
            for up in shard.lines:
                self.driver.retire(up)
        for backend in used:
            self._stop(backend)
            log.info("backend_retired", extra={"backend": backend.name})

    # ------------------------------------------------------------------ the end

    async def drain(self, seconds: float) -> None:
        """Take no new clients; then each client has its turn, evenly over most of the time: what it has sent is finished, and
        it is closed. Who waits for others' doing (BLPOP, a subscriber) has sent nothing more. Whoever is left after `seconds`,
        in the middle of sending a command or waiting for a reply, is cut.
        """
        driver = self.driver
        driver.ready = False
        driver.stop_listening()
        begun = time.monotonic()
        while driver.clients and (left := begun + seconds - time.monotonic()) > 0:
            steps = int((left - (1 - DRAIN_SHARE) * seconds) / DRAIN_STEP)
            most = -(-len(driver.clients) // max(1, steps))
            turn = [client for client in driver.clients.values() if client.scanner.idle and not client.eof]
            for client in turn[:most]:
                if client.idle or client.session.blocked:
                    driver.close_idle(client)
                else:
                    driver.finish(client)
            driver.kick()
            if driver.clients:
                await trio.sleep(min(DRAIN_STEP, left))
        log.info("drained", extra={"clients_cut": len(driver.clients)})


def mistakes(error: BaseException) -> list[str]:
    """What an exception says, or each of those in a group: of a ConfigurationError all that it has found, once each."""
    if isinstance(error, BaseExceptionGroup):
        return list(dict.fromkeys(text for each in error.exceptions for text in mistakes(each)))
    return error.mistakes if isinstance(error, ConfigurationError) else [str(error) or repr(error)]


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
        long_turn=gate.latency_threshold or math.inf,
        idle=gate.idle_timeout,
        keepalive=int(gate.tcp_keepalive),
        connect_timeout=gate.connect_timeout,
        reconnect_first=gate.reconnect_first,
        reconnect_longest=gate.reconnect_longest,
    )
