"""`kvgate serve`: one process that does everything, or a parent with workers; the banner and the signals."""

import logging
import signal
from collections.abc import Awaitable, Callable, Sequence

import trio

from kvgate.errors import ConfigurationError
from kvgate.server import logs
from kvgate.server.listeners import Bound, bind, close, doors, remove_files
from kvgate.server.process import Process
from kvgate.server.reload import Build, Reloader
from kvgate.server.supervisor import Supervisor
from kvgate.server.surroundings import leave_rotation, raise_file_limit, write_banner

log = logging.getLogger("kvgate")


def serve(build: Build, worker: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. `worker` is the command that starts a worker process.

    Raises:
        ConfigurationError: also for what only shows when it is used: an address that is taken, a broken certificate.
    """
    text, configuration, backends = build(None)
    gate = configuration.gate
    logs.start(gate.log_level)
    for warning in configuration.warnings:
        log.warning("configuration", extra={"mistake": warning})
    if gate.metrics is not None:
        log.warning("metrics_not_served", extra={"metrics": gate.metrics, "do": "this version has no /metrics; see INFO"})
    raise_file_limit(gate.max_clients)
    bound = bind(gate)
    try:
        if gate.workers > 1:
            return run(Supervisor(build, text, configuration, backends, bound, worker).serve)
        return run(_serve_alone, build, Process(build, configuration, backends), bound)
    finally:
        close(bound)
        remove_files(gate.listen)


def run(main: Callable[..., Awaitable[int]], *args: object) -> int:
    """`trio.run`; what is wrong with the configuration comes out as one ConfigurationError, however deep it was found."""
    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as group:
        _, others = group.split(ConfigurationError)
        if others is not None:
            raise
        raise ConfigurationError(_mistakes(group)) from None


def _mistakes(group: BaseExceptionGroup[BaseException]) -> list[str]:
    found: list[str] = []
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            found += _mistakes(each)
        elif isinstance(each, ConfigurationError):
            found += each.mistakes
    return found


async def _serve_alone(build: Build, process: Process, bound: Sequence[Bound]) -> int:
    dispatcher, driver = process.dispatcher, process.driver
    gate = dispatcher.configuration.gate
    reloader = Reloader(build, dispatcher.configuration, dispatcher.backends, lambda: [process])

    dispatcher.reload = reloader.reload
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run)
            for each, door in zip(bound, doors(gate, [(b.name, b.listen.kind) for b in bound]), strict=True):
                driver.listen(each.sock, door)
            write_banner(dispatcher.configuration, bound, await process.introduction())
            async for number in signals:
                if number == signal.SIGHUP:
                    nursery.start_soon(reloader.quietly)
                    continue
                await leave_rotation(gate, number)
                await process.drain(dispatcher.configuration.gate.drain_finish)
                break
            nursery.cancel_scope.cancel()
    return 0
