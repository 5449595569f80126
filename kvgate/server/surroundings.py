"""The process and its surroundings: the banner, the limit on open files, and leaving a balancer's rotation."""

import gc
import logging
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import trio

from kvgate import __version__
from kvgate.policy.settings import GateSettings
from kvgate.routing.configuration import Configuration
from kvgate.server.listeners import Bound

log = logging.getLogger("kvgate")

SPARE_FILES = 256
"""Descriptors beyond those of clients: stores, files, listeners."""
OBJECTS_BETWEEN: Final = 50_000
"""Objects that may come to be before Python looks for circles among the youngest; 700 is its default."""


def spare_the_collector() -> None:
    """Leave what is there now out of Python's search for circular garbage, and search less often. A request leaves no circles
    behind, but a thousand under way look like it: a tenth of the processor time of writes went there."""
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN, 20, 20)


class Ending:
    """What the process is told by signals: SIGTERM and SIGINT ask it to end, SIGINT once more to cut the wait short, SIGHUP
    to read its configuration again."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.asked = trio.Event()
        self.hurry = trio.Event()
        self.number = 0

    async def listen(self, signals: AsyncIterator[int], reload: Callable[[], Awaitable[None]]) -> None:
        """Hear signals until cancelled, also while the process drains: one that nobody takes would end it."""
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP:
                    if not self.asked.is_set():
                        nursery.start_soon(reload)
                elif not self.asked.is_set():
                    self.number = number
                    self.asked.set()
                elif number == signal.SIGINT:
                    self.hurry.set()

    async def unless_hurried(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what the end asks for, as far as the wait for it is not cut short."""
        async with trio.open_nursery() as nursery:

            async def cut_short() -> None:
                await self.hurry.wait()
                log.warning("draining_cut_short", extra={"clients": "closed at once"})
                nursery.cancel_scope.cancel()

            nursery.start_soon(cut_short)
            await work()
            nursery.cancel_scope.cancel()


async def leave_rotation(gate: GateSettings, number: int) -> None:
    """Say that the gate is not ready, and serve on, so that balancers look away.

    Being not ready is for those who ask /health: without `metrics` nobody can, and nothing is waited for. SIGINT is a
    person at a terminal: the wait is left out, too.
    """
    log.info("draining", extra={"signal": signal.Signals(number).name})
    if number == signal.SIGTERM and gate.metrics is not None:
        await trio.sleep(gate.drain_unready)


def write_banner(configuration: Configuration, bound: Sequence[Bound], introduction: Sequence[str]) -> None:
    """Say on standard output where the gate is and what it serves; one `redis-cli` line to try."""
    workers = configuration.gate.workers
    serves = f"kvgate {__version__} serves {', '.join(each.name + ' (admin)' * each.admin for each in bound)}"
    if workers > 1:
        serves += f" with {workers} workers"
    lines = [serves, *introduction, f"  try: {_try(configuration, bound)}"]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _try(configuration: Configuration, bound: Sequence[Bound]) -> str:
    first = bound[0]
    where = f"-s {first.name}" if first.listen.kind == "unix" else f"-p {first.name.rpartition(':')[2]}"
    user = f" --user {next(iter(configuration.users.by_name))} --askpass" if configuration.users.configured else ""
    return f"redis-cli {where}{' --tls' if first.listen.kind == 'tls' else ''}{user} SET Demo.First:1 hello"


def raise_file_limit(clients: int) -> None:
    """As many descriptors as the clients need, or as many as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_FILES
    if soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    if most < wanted:
        log.warning("few_files", extra={"limit": most, "wanted": wanted, "do": "raise LimitNOFILE, or lower gate.max_clients"})
