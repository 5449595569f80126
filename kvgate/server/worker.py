"""A worker process: it serves what the parent hands it, and ends when the parent does."""

import logging
import mmap
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import trio

from kvgate.errors import ConfigurationError, GateError
from kvgate.server import logs
from kvgate.server.control import Channel, Handler
from kvgate.server.fleet import Behind
from kvgate.server.listeners import doors
from kvgate.server.process import Process
from kvgate.server.reload import Build
from kvgate.server.supervisor import COUNTER
from kvgate.server.surroundings import raise_file_limit

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
        self._over = trio.Event()
        self._nursery: trio.Nursery
        self._channel: Channel

    async def run(self) -> int:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._control))
        handlers: dict[str, Handler] = {
            "start": self._start,
            "introduction": self._introduction,
            "answer": self._answer,
            "prepare": self._prepare,
            "switch": self._switch,
            "discard": self._discard,
            "failed": self._failed,
            "drain": self._drain,
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
            _, configuration, backends = self._build(text)
            logs.start(configuration.gate.log_level)
            raise_file_limit(configuration.gate.max_clients)
            process = Process(self._build, configuration, backends)
            listeners = doors(configuration.gate, [(name, kind) for name, kind in start["listeners"]])
            fleet = Behind(self._channel, start["workers"], os.getpid())
            process.dispatcher.fleet = fleet
            process.dispatcher.reload = fleet.reload
            started = trio.Event()
            self._nursery.start_soon(self._serve, process, started.set)
            await started.wait()
        except ConfigurationError as error:
            raise GateError("ERR " + "; ".join(error.mistakes)) from None
        process.driver.take_over(self._handoff, listeners, self._count_ended)
        self._process = process

    async def _serve(self, process: Process, started: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run)
            started()

    def _count_ended(self) -> None:
        self._ended += 1
        COUNTER.pack_into(self._counter, 0, self._ended)

    async def _introduction(self) -> list[str]:
        return await self.process.introduction()

    async def _answer(self, words: list[str], user: str, ident: int, proto: int) -> str:
        return await self.process.dispatcher.answer_for_other(words, user, ident, proto)

    async def _prepare(self, text: str) -> None:
        await self.process.prepare(text.encode("utf-8", "surrogateescape"))

    async def _switch(self) -> None:
        await self.process.switch()

    async def _discard(self) -> None:
        await self.process.discard()

    async def _failed(self, why: str) -> None:
        await self.process.failed(why)

    async def _drain(self, seconds: float) -> None:
        await self.process.drain(seconds)
        self._nursery.start_soon(self._end_soon)

    async def _end_soon(self) -> None:
        """After the answer to the parent went out."""
        await trio.sleep(0.05)
        self._over.set()
