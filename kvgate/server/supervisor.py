"""The parent of several workers: it listens, hands each connection to the least busy worker, and replaces who dies.

Each worker has a control channel (kvgate.server.control), a socket through which connections come, and a counter of ended
connections in shared memory; connections handed over less those ended is what a worker has. The parent serves no client.
"""

import errno
import logging
import mmap
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

import trio

from kvgate.backend import Backend
from kvgate.errors import GateError
from kvgate.lane.driver import HANDED
from kvgate.routing.configuration import Configuration
from kvgate.server.control import Channel, Gone
from kvgate.server.listeners import Bound, close
from kvgate.server.reload import Build, Reloader
from kvgate.server.surroundings import leave_rotation, write_banner

log = logging.getLogger("kvgate.supervisor")

COUNTER: Final = struct.Struct("=Q")
ACCEPTS: Final = 64
"""Connections accepted in a row before other tasks have their turn."""
START: Final = 10.0
"""Seconds that a worker may take until it serves."""
RELOAD: Final = 60.0
"""Seconds that a worker may take to prepare a configuration."""
AGAIN: Final = 0.5
"""Seconds before a worker is replaced whose forerunner died before it served: it would die again."""
GRACE: Final = 2.0
"""Seconds beyond the time for draining after which a worker is killed."""
_FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS)


class Worker:
    """One worker process as the parent sees it; a kvgate.server.reload.Target."""

    def __init__(self, number: int, process: trio.Process, channel: Channel, handoff: socket.socket, ended: mmap.mmap) -> None:
        """`number` is for logs; `ended` is the counter that the worker writes."""
        self.number = number
        self.process = process
        self.channel = channel
        self.handoff = handoff
        self.serves = False
        self._handed = 0
        self._ended = ended

    @property
    def clients(self) -> int:
        """Connections that it has now."""
        return self._handed - int(COUNTER.unpack_from(self._ended)[0])

    def hand_over(self, sock: socket.socket, listener: int, ident: int) -> bool:
        """Give it a connection; False when it takes none now."""
        try:
            socket.send_fds(self.handoff, [HANDED.pack(listener, ident)], [sock.fileno()], socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno not in _FULL:
                self.serves = False  # it is gone; its end is noticed elsewhere
            return False
        self._handed += 1
        return True

    async def prepare(self, text: bytes) -> None:
        """See `Target`."""
        await self._call("prepare", text.decode("utf-8", "surrogateescape"))

    async def switch(self) -> None:
        """See `Target`."""
        await self._call("switch")

    async def discard(self) -> None:
        """See `Target`."""
        await self._call("discard")

    async def failed(self, why: str) -> None:
        """See `Target`."""
        await self._call("failed", why)

    async def _call(self, name: str, *arguments: Any) -> None:
        try:
            await self.channel.call(name, *arguments, patience=RELOAD)
        except Gone:
            if self.process.returncode is None and not self.channel.gone.is_set():
                raise GateError(f"ERR worker {self.number} did not answer within {RELOAD:.0f} s") from None
            # it died: whoever replaces it starts with the configuration that is served then


class Supervisor:
    """Runs the workers of one gate."""

    def __init__(
        self,
        build: Build,
        text: bytes,
        configuration: Configuration,
        backends: Mapping[str, Backend],
        bound: Sequence[Bound],
        command: Sequence[str],
    ) -> None:
        """`text` is the configuration that is served; `command` starts a worker, its descriptors' numbers follow."""
        self._bound = bound
        self._command = command
        self._text = text
        self._size = configuration.gate.workers
        self._workers: list[Worker] = []
        self._numbers = count(1)
        self._ids = count(1)
        self._draining = False
        self._someone_serves = trio.Event()
        self._reloader = Reloader(build, configuration, backends, lambda: [each for each in self._workers if each.serves])

    async def serve(self) -> int:
        """Until SIGTERM or SIGINT; the exit code."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as starting:
                    for _ in range(self._size):
                        starting.start_soon(nursery.start, self._keep_one)
                first = self._workers[0]
                write_banner(self._reloader.configuration, self._bound, await first.channel.call("introduction"))
                async with trio.open_nursery() as accepting:
                    for index, bound in enumerate(self._bound):
                        accepting.start_soon(self._accept, index, bound.sock)
                    async for number in signals:
                        if number != signal.SIGHUP:
                            break
                        nursery.start_soon(self._reloader.quietly)
                    await leave_rotation(self._reloader.configuration.gate, number)
                    accepting.cancel_scope.cancel()
                self._draining = True
                close(self._bound)
                await self._drain()
                nursery.cancel_scope.cancel()
        return 0

    # ------------------------------------------------------------------ connections

    async def _accept(self, index: int, listening: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(ACCEPTS):
                try:
                    sock, _ = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    log.warning("accept_failed", extra={"error": str(error), "do": "raise the open-files limit"})
                    await trio.sleep(AGAIN)
                    break
                with sock:
                    await self._place(sock, index)

    async def _place(self, sock: socket.socket, index: int) -> None:
        """Hand a connection to the worker with the fewest; wait when none takes it."""
        ident = next(self._ids)
        while True:
            for worker in sorted(self._workers, key=lambda worker: worker.clients):
                if worker.serves and worker.hand_over(sock, index, ident):
                    return
            if not any(worker.serves for worker in self._workers):
                self._someone_serves = trio.Event()
                await self._someone_serves.wait()
            else:
                await trio.sleep(0.01)  # all of them have connections to take up still

    # ------------------------------------------------------------------ workers

    async def _keep_one(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run a worker, and another one when it has died, until draining."""
        told = False

        def served() -> None:
            nonlocal told
            if not told:
                told = True
                task_status.started()

        while not self._draining:
            had_served = await self._run_one(served)
            if self._draining:
                return
            if not told:
                raise SystemExit(1)  # the log says why it could not start
            if not had_served:
                await trio.sleep(AGAIN)

    async def _run_one(self, served: Any) -> bool:
        number = next(self._numbers)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        handing, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("kvgate-ended")
        os.ftruncate(memory, mmap.PAGESIZE)
        descriptors = (theirs.fileno(), handed.fileno(), memory)
        process = await trio.lowlevel.open_process(
            [*self._command, *map(str, descriptors)], pass_fds=descriptors, start_new_session=False
        )
        theirs.close()
        handed.close()
        handing.setblocking(False)  # noqa: FBT003 - the method takes it so
        ended = mmap.mmap(memory, mmap.PAGESIZE)
        os.close(memory)
        channel = Channel(
            trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
            {"others": self._others, "reload": self._reload},
        )
        worker = Worker(number, process, channel, handing, ended)
        self._workers.append(worker)
        was_serving = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.run)
                nursery.start_soon(self._start, worker, served)
                await process.wait()
                was_serving = worker.serves
                nursery.cancel_scope.cancel()
        finally:
            self._workers.remove(worker)
            worker.serves = False
            handing.close()
            ended.close()
            if process.returncode is None:
                process.kill()
        if not self._draining:
            facts = {"worker": number, "pid": process.pid, "exit": process.returncode, "do": "its clients connect again"}
            log.error("worker_died", extra=facts)
        return was_serving

    async def _start(self, worker: Worker, served: Any) -> None:
        names = [(each.name, each.listen.kind) for each in self._bound]
        start = {"text": self._text.decode("utf-8", "surrogateescape"), "listeners": names, "workers": self._size}
        try:
            with trio.fail_after(START):
                await worker.channel.call("start", start, patience=START)
        except (Gone, GateError, trio.TooSlowError) as error:
            log.error("worker_not_started", extra={"worker": worker.number, "why": str(error)})
            worker.process.kill()
            return
        worker.serves = True
        self._someone_serves.set()
        served()

    async def _others(self, name: str, arguments: list[Any], asking: int) -> list[Any]:
        """What all workers but the asking one answer; who does not is left out."""
        answers: list[Any] = []

        async def ask(worker: Worker) -> None:
            try:
                answers.append(await worker.channel.call(name, *arguments))
            except (Gone, GateError) as error:
                log.warning("worker_did_not_answer", extra={"worker": worker.number, "call": name, "error": str(error)})

        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                if worker.serves and worker.process.pid != asking:
                    nursery.start_soon(ask, worker)
        return answers

    # ------------------------------------------------------------------ reload, end

    async def _reload(self, dry_run: bool) -> list[Any]:  # noqa: FBT001 - arguments of a message
        difference = await self._reloader.reload(dry_run)
        return [list(difference.lines), list(difference.moves), sorted(difference.moved), list(difference.restart)]

    async def _drain(self) -> None:
        seconds = self._reloader.configuration.gate.drain_finish
        with trio.move_on_after(seconds + GRACE):
            async with trio.open_nursery() as nursery:
                for worker in list(self._workers):
                    nursery.start_soon(partial(self._drain_one, worker, seconds))

    async def _drain_one(self, worker: Worker, seconds: float) -> None:
        try:
            await worker.channel.call("drain", seconds, patience=seconds + GRACE)
        except (Gone, GateError):
            return
        await worker.process.wait()
