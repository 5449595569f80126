"""One gate process from start to end: backends and lane put together, the banner, signals, the drain."""

import logging
import resource
import signal
import sys
from collections.abc import Mapping

import trio

from kvgate import __version__
from kvgate.backend import Backend, Introduced
from kvgate.errors import ConfigurationError
from kvgate.lane.driver import Driver, Limits, Listener
from kvgate.policy.settings import GateSettings
from kvgate.routing.configuration import Configuration
from kvgate.server import logs
from kvgate.server.dispatch import Dispatcher
from kvgate.server.listeners import bind, remove_files

log = logging.getLogger("kvgate")

DRAIN_STEP = 0.05
"""Seconds between looks for clients that can be closed while draining."""
HERD = 0.02
"""The share of the clients that is closed in one step, so that they do not all come back at once elsewhere."""
SPARE_FILES = 256
"""Descriptors beyond those of clients: stores, files, listeners."""


def serve(configuration: Configuration, backends: Mapping[str, Backend]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        ConfigurationError: what only shows when it is used: an address that is taken, a certificate that cannot be read.
    """
    logs.start(configuration.gate.log_level)
    for warning in configuration.warnings:
        log.warning("configuration", extra={"mistake": warning})
    _raise_file_limit(configuration.gate.max_clients)
    _tell_unserved(configuration.gate)
    try:
        trio.run(_serve, configuration, backends)
    except BaseExceptionGroup as group:
        _, others = group.split(ConfigurationError)
        if others is not None:
            raise
        raise ConfigurationError(_mistakes(group)) from None
    return 0


def _mistakes(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """What backends found out about their configuration only when they began to run."""
    found: list[str] = []
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            found += _mistakes(each)
        elif isinstance(each, ConfigurationError):
            found += each.mistakes
    return found


def _tell_unserved(gate: GateSettings) -> None:
    """Say which settings this version takes and does not serve yet."""
    if gate.workers > 1:
        log.warning("workers_not_served", extra={"workers": gate.workers, "do": "this version serves with one process"})
    if gate.metrics is not None:
        log.warning("metrics_not_served", extra={"metrics": gate.metrics, "do": "this version has no /metrics; see INFO"})


async def _serve(configuration: Configuration, backends: Mapping[str, Backend]) -> None:
    dispatcher = Dispatcher(configuration, backends)
    driver = dispatcher.driver = Driver(
        dispatcher.lane, dispatcher.welcome, limits=_limits(configuration.gate), name="kvgate"
    )
    listeners = bind(configuration.gate)
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(driver.run)
                await nursery.start(dispatcher.run)
                for backend in backends.values():
                    await nursery.start(backend.run)
                for listener in listeners:
                    driver.listen(listener)
                await _banner(configuration, backends, listeners)
                async for number in signals:
                    await _drain(driver, configuration.gate, number)
                    break
                nursery.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.sock.close()
        remove_files(configuration.gate.listen)


def _limits(gate: GateSettings) -> Limits:
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


async def _drain(driver: Driver, gate: GateSettings, number: int) -> None:
    """Let balancers look away, take no new clients, let commands finish, close clients a few at a time.

    Being not ready first is for those who ask /health: without `metrics` nobody can, and nothing is waited for. SIGINT is a
    person at a terminal: that wait is left out, too.
    """
    log.info("draining", extra={"signal": signal.Signals(number).name, "clients": len(driver.clients)})
    driver.ready = False
    if number == signal.SIGTERM and gate.metrics is not None:
        await trio.sleep(gate.drain_unready)
    driver.stop_listening()
    with trio.move_on_after(gate.drain_finish):
        while driver.clients:
            most = max(1, int(len(driver.clients) * HERD))
            idle = [client for client in driver.clients.values() if client.idle or client.session.blocked]
            for client in idle[:most]:
                driver.close_client(client)
            await trio.sleep(DRAIN_STEP if driver.clients else 0)
    log.info("drained", extra={"clients_cut": len(driver.clients)})


async def _banner(configuration: Configuration, backends: Mapping[str, Backend], listeners: list[Listener]) -> None:
    """Say on standard output where the gate is and what it serves; one `redis-cli` line to try."""
    lines = [f"kvgate {__version__} serves {', '.join(listener.name for listener in listeners)}"]
    for backend in backends.values():
        spaces = ", ".join(rule.name for rule in configuration.namespaces.on(backend.name)[:6]) or "no namespace"
        details = await backend.banner() if isinstance(backend, Introduced) else ""
        lines.append(f"  {backend.name} ({backend.type}) holds {spaces}{': ' + details if details else ''}")
    lines.append(f"  try: {_try(configuration, listeners)}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _try(configuration: Configuration, listeners: list[Listener]) -> str:
    listen = configuration.gate.listen[0]
    name = listeners[0].name
    where = f"-s {listen.path}" if listen.kind == "unix" else f"-p {name.rpartition(':')[2]}"
    user = f" --user {next(iter(configuration.users.by_name))} --askpass" if configuration.users.configured else ""
    return f"redis-cli {where}{' --tls' if listen.kind == 'tls' else ''}{user} SET Demo.First:1 hello"


def _raise_file_limit(clients: int) -> None:
    """As many descriptors as the clients need, or as many as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_FILES
    if soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    if most < wanted:
        log.warning("few_files", extra={"limit": most, "wanted": wanted, "do": "raise LimitNOFILE, or lower gate.max_clients"})


