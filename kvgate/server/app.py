"""`kvgate serve`: one process that does everything, or a parent with workers; the banner and the signals."""

import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from kvgate.errors import ConfigurationError
from kvgate.server import logs
from kvgate.server.figures import Figures
from kvgate.server.http import HttpServer, told
from kvgate.server.listeners import Bound, bind, bind_metrics, close, doors, remove_files
from kvgate.server.monitor import Here, Monitor, Watched
from kvgate.server.process import Process, mistakes
from kvgate.server.reload import Build, Reloader
from kvgate.server.supervisor import Supervisor
from kvgate.server.surroundings import Ending, leave_rotation, raise_file_limit, spare_the_collector, write_banner

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
    raise_file_limit(gate.max_clients)
    bound = bind(gate)
    metrics: list[socket.socket] = []
    try:
        metrics = bind_metrics(gate)
        if gate.workers > 1:
            return run(Supervisor(build, text, configuration, backends, bound, worker, metrics).serve)
        return run(_serve_alone, build, text, Process(build, configuration, backends), bound, metrics)
    finally:
        close(bound)
        for sock in metrics:
            sock.close()
        remove_files(bound)


def run(main: Callable[..., Awaitable[int]], *args: object) -> int:
    """`trio.run`; what is wrong with the configuration comes out as one ConfigurationError, however deep it was found."""
    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as group:
        _, others = group.split(ConfigurationError)
        if others is not None:
            raise
        raise ConfigurationError(mistakes(group)) from None


async def _serve_alone(
    build: Build, text: bytes, process: Process, bound: Sequence[Bound], metrics: Sequence[socket.socket]
) -> int:
    dispatcher, driver, ending = process.dispatcher, process.driver, Ending()
    reloader = Reloader(build, text, dispatcher.configuration, dispatcher.backends, lambda: [process])
    dispatcher.reload = reloader.reload
    here = Here(Figures(dispatcher))
    watched = Watched(reloader, ending, lambda: [here])

    async def drain() -> None:
        await leave_rotation(dispatcher.configuration.gate, ending.number)
        await process.drain(dispatcher.configuration.gate.drain_finish)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(reloader.run)
            nursery.start_soon(ending.listen, signals, reloader.quietly)
            nursery.start_soon(HttpServer(Monitor(watched).answer).serve, metrics)
            await nursery.start(process.run)
            names = [(each.name, each.listen.kind, each.admin) for each in bound]
            for each, door in zip(bound, doors(dispatcher.configuration.gate, names), strict=True):
                driver.listen(each.sock, door)
            watched.serving = True
            write_banner(dispatcher.configuration, bound, [*await process.introduction(), *told(metrics)])
            spare_the_collector()
            await ending.asked.wait()
            await ending.unless_hurried(drain)
            nursery.cancel_scope.cancel()
    return 0
