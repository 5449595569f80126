"""A worker process: it serves what the parent hands it, and ends when the parent does."""

import logging
import mmap
import os
import signal
import socket
from typing import Any

import attrs
import trio

from kvgate.errors import ConfigurationError, GateError
from kvgate.server import answering, command_monitor, logs, weighing
from kvgate.server.control import Channel, Handler
from kvgate.server.figures import Figures
from kvgate.server.fleet import Behind
from kvgate.server.listeners import doors
from kvgate.server.process import Process, mistakes
from kvgate.server.reload import Build, in_effect
from kvgate.server.supervisor import COUNTER
from kvgate.server.surroundings import spare_the_collector

log = logging.getLogger("kvgate.worker")


def work(build: Build, control: int, handoff: int, ended: int) -> int:
    """Serve until the parent says so, or is gone; the exit code. The numbers are inherited descriptors.

    Signals that end a gate go to the parent, which ends its workers in order: here they are ignored.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return trio.run(_Work(build, control, handoff, ended).run)


class _Work:
    def __init__(self, build: Build, control: int, handoff: int, ended: int) -> None:
        self._build = build
        self._control = socket.socket(fileno=control)
        self._handoff = socket.socket(fileno=handoff)
        self._handoff.setblocking(False)  # noqa: FBT003 - the method takes it so
        self._counter = mmap.mmap(ended, mmap.PAGESIZE)
        os.close(ended)
        self._ended = 0
        self._process: Process | None = None
        self._figures: Figures | None = None
        self._over = trio.Event()
        self._nursery: trio.Nursery
        self._channel: Channel

    async def run(self) -> int:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._control))
        handlers: dict[str, Handler] = {
            "start": self._start,
            "introduction": self._introduction,
            "answer": self._answer,
            "weigh": self._weigh,
            "part": self._part,
            "watch": self._watch,
            "prepare": self._prepare,
            "hold": self._hold,
            "switch": self._switch,
            "discard": self._discard,
            "failed": self._failed,
            "blocks": self._blocks,
            "seats": self._seats,
            "drain": self._drain,
            "busiest": self._busiest,
            "figures": self._show,
            "health": self._health,
        }
        self._channel = Channel(stream, handlers)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._channel.run)
            nursery.start_soon(self._end_with_parent)
            await self._over.wait()
            nursery.cancel_scope.cancel()
        return 0

    async def _end_with_parent(self) -> None:
        """No orphan is left: without its parent nobody hands a worker clients, and nobody could end it."""
        await self._channel.gone.wait()
        self._over.set()

    @property
    def process(self) -> Process:
        if self._process is None:
            raise GateError("ERR this worker has not started")
        return self._process

    async def _start(self, start: dict[str, Any]) -> None:
        text = start["text"].encode("utf-8", "surrogateescape")
        try:
            _, first, _ = self._build(start["first_text"].encode("utf-8", "surrogateescape"))
            _, configuration, backends = self._build(text)
            gate = in_effect(first.gate, configuration.gate)
            configuration = attrs.evolve(configuration, gate=gate)
            logs.start(gate.log_level)
            process = Process(self._build, configuration, backends)
            listeners = doors(gate, [(name, kind, admin) for name, kind, admin in start["listeners"]])
        except ConfigurationError as error:
            raise GateError("ERR " + "; ".join(error.mistakes)) from None
        dispatcher = process.dispatcher
        dispatcher.fleet = fleet = Behind(self._channel, start["workers"], os.getpid())
        dispatcher.reload = fleet.reload
        dispatcher.keeper.share = fleet.share
        dispatcher.number = dispatcher.slowlog.number = start["number"]
        dispatcher.slowlog.processes = start["workers"]
        dispatcher.run_id, dispatcher.started, dispatcher.reload_error = start["run_id"], start["started"], start["error"]
        await self._run(process)
        dispatcher.keeper.take(start["blocks"])
        process.driver.take_over(self._handoff, listeners, self._count_ended)
        self._process = process
        self._figures = Figures(dispatcher)
        spare_the_collector()

    async def _run(self, process: Process) -> None:
        """Return when it serves. Raises GateError when it cannot."""
        failure: list[str] = []

        async def guarded(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            try:
                await process.run(task_status=task_status)
            except Exception as error:
                if self._process is not None or not _is_configuration(error):
                    raise
                failure.extend(mistakes(error))
                task_status.started()

        await self._nursery.start(guarded)
        if failure:
            raise GateError("ERR " + "; ".join(failure))

    def _count_ended(self) -> None:
        self._ended += 1
        COUNTER.pack_into(self._counter, 0, self._ended)

    async def _introduction(self) -> list[str]:
        return await self.process.introduction()

    async def _answer(self, words: list[str], user: str, ident: int, proto: int) -> str:
        return await answering.for_other(self.process.dispatcher, words, user, ident, proto)

    async def _watch(self, ident: str, user: str, only: str, sample: int) -> list[Any]:
        return await command_monitor.for_other(self.process.dispatcher, ident, user, only, sample)

    async def _weigh(self, leader: int, what: str, user: str, only: str, count: int) -> list[weighing.Row] | int | None:
        return await weighing.for_other(self.process.dispatcher, leader, what, user, only, count)

    async def _part(self, words: list[str], user: str) -> Any:
        return await answering.part_for_other(self.process.dispatcher, words, user)

    async def _prepare(self, text: str) -> None:
        await self.process.prepare_text(text.encode("utf-8", "surrogateescape"))

    async def _switch(self) -> None:
        await self.process.switch()

    async def _hold(self) -> None:
        await self.process.hold()

    async def _discard(self) -> None:
        await self.process.discard()

    async def _failed(self, why: str) -> None:
        await self.process.failed(why)

    async def _blocks(self, dump: list[Any]) -> None:
        self.process.dispatcher.keeper.take(dump)

    @property
    def figures(self) -> Figures:
        if self._figures is None:
            raise GateError("ERR this worker has not started")
        return self._figures

    async def _busiest(self, most: int, named: list[str]) -> list[tuple[str, int]]:
        return await self.figures.busiest(most, named)

    async def _show(self, process: str, named: list[str]) -> str:
        return await self.figures.as_text(process, named)

    async def _health(self) -> list[dict[str, Any]]:
        return await self.figures.health()

    async def _seats(self, worker: int, counts: dict[str, int]) -> None:
        self.process.dispatcher.seats.hear(worker, counts)

    async def _drain(self, seconds: float) -> None:
        await self.process.drain(seconds)
        self._over.set()


def _is_configuration(error: BaseException) -> bool:
    """Whether it says what is wrong with the configuration, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ConfigurationError)[1] is None
    return isinstance(error, ConfigurationError)
