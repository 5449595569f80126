"""The parent of several workers: it listens, hands each connection to the least busy worker, and replaces who dies.

What was handed to a worker that died before it took it goes to another one: only the clients that it served notice.

Each worker has a control channel (kvgate.server.control), a socket through which connections come, and a counter of ended
connections in shared memory; connections handed over less those ended is what a worker has. The parent serves no client.
"""

import contextlib
import errno
import logging
import mmap
import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import trio

from kvgate.backend import Backend
from kvgate.errors import ConfigurationError, GateError
from kvgate.lane.driver import HANDED
from kvgate.policy.blocks import load
from kvgate.policy.buckets import Ask, Pool
from kvgate.routing.configuration import Configuration
from kvgate.server.blocks import Master
from kvgate.server.control import Channel, Gone
from kvgate.server.http import HttpServer, told
from kvgate.server.listeners import Bound, close
from kvgate.server.monitor import Monitor, OfWorker, Watched
from kvgate.server.reload import Build, Reloader
from kvgate.server.surroundings import Ending, leave_rotation, write_banner

log = logging.getLogger("kvgate.supervisor")

COUNTER: Final = struct.Struct("=Q")
ACCEPTS: Final = 64
"""Connections accepted in a row before other tasks have their turn."""
START: Final = 30.0
"""Seconds that a worker may take until it serves."""
PREPARE, HOLD, SWITCH = 20.0, 5.0, 5.0
"""Seconds that a worker may take for each part of a reload; a start of backends may take 10, a command 1.5."""
ANSWER: Final = 2.0
"""Seconds that a worker may take to answer for its share; who waits for all waits 5."""
FREE: Final = 3
"""Deaths in a row, each within `STEADY` seconds of the start, after which the worker is replaced at once all the same."""
STEADY: Final = 5.0
AGAIN, LONGEST = 0.5, 10.0
"""Seconds before further replacements, doubled each time, and before those of workers that died before they served."""
NO_DESCRIPTORS: Final = 0.1
"""Seconds before the parent tries again to accept, when it may open no more files."""
GRACE: Final = 2.0
"""Seconds beyond the time for draining after which a worker is killed."""
MOST_BUDGETS: Final = 1000
"""Shared buckets beyond which those that are full again are dropped."""
_FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS)


class Worker:
    """One worker process as the parent sees it; a kvgate.server.reload.Target."""

    def __init__(
        self,
        number: int,
        place: int,
        process: trio.Process,
        channel: Channel,
        handoff: tuple[socket.socket, socket.socket],
        ended: mmap.mmap,
    ) -> None:
        """`number` is for logs, `place` its number among those that serve at the same time, from 0; `handoff` is this end of
        the socket for connections and the worker's own, whose queue outlives the worker; `ended` is the counter that
        the worker writes."""
        self.number = number
        self.place = place
        self.process = process
        self.channel = channel
        self._handing, self._handed_end = handoff
        self.serves = False
        self.has_served = False
        self.failure = ""
        """Why it could not start."""
        self._handed = 0
        self._ended = ended

    @property
    def clients(self) -> int:
        """Connections that it has now."""
        return self._handed - int(COUNTER.unpack_from(self._ended)[0])

    def hand_over(self, sock: socket.socket, listener: int, ident: int) -> bool:
        """Give it a connection; False when it takes none now."""
        try:
            socket.send_fds(self._handing, [HANDED.pack(listener, ident)], [sock.fileno()], socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno not in _FULL:
                log.warning("handover_failed", extra={"worker": self.number, "error": str(error), "do": "report this"})
                self.serves = False
                self.process.kill()
            return False
        self._handed += 1
        return True

    def take_back(self) -> Iterator[tuple[socket.socket, int, int]]:
        """The connections that it was given and never took, now that it has ended: socket, listener, id."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._handed_end, HANDED.size, 1)
                for descriptor in descriptors:  # none, when there are too many open files
                    listener, ident = HANDED.unpack(data)
                    yield socket.socket(fileno=descriptor), listener, ident

    def close(self) -> None:
        """It has ended, or is ended now."""
        self.serves = False
        self._handing.close()
        self._handed_end.close()
        self._ended.close()
        if self.process.returncode is None:
            self.process.kill()

    async def prepare(self, text: bytes, configuration: Configuration, backends: Mapping[str, Backend]) -> None:
        """See `Target`."""
        del configuration, backends
        await self._call("prepare", text.decode("utf-8", "surrogateescape"), patience=PREPARE)

    async def hold(self) -> None:
        """See `Target`."""
        await self._call("hold", patience=HOLD)

    async def switch(self) -> None:
        """See `Target`. One that cannot is replaced by one that begins with the new configuration."""
        try:
            await self._call("switch", patience=SWITCH)
        except GateError as error:
            log.error("worker_not_switched", extra={"worker": self.number, "why": error.text, "do": "report this"})
            self.serves = False
            self.process.kill()

    async def discard(self) -> None:
        """See `Target`."""
        await self._call("discard", patience=SWITCH)

    async def failed(self, why: str) -> None:
        """See `Target`."""
        await self._call("failed", why, patience=SWITCH)

    async def _call(self, name: str, *arguments: Any, patience: float) -> None:
        try:
            await self.channel.call(name, *arguments, patience=patience)
        except Gone:
            if self.process.returncode is None and not self.channel.gone.is_set():
                raise GateError(f"ERR worker {self.number} did not answer within {patience:.0f} s") from None
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
        metrics: Sequence[socket.socket] = (),
    ) -> None:
        """`text` is the configuration that is served; `command` starts a worker, its descriptors' numbers follow. /metrics and
        /health are served on the sockets `metrics`."""
        self._bound = bound
        self._command = command
        self._size = configuration.gate.workers
        self._workers: list[Worker] = []
        self._numbers = count(1)
        self._ids = count(1)
        self._ending = Ending()
        self._someone_serves = trio.Event()
        self._nursery: trio.Nursery
        self._run_id = secrets.token_hex(20)
        self._started = time.time()
        self._blocks = Master()
        self._budgets = Pool()
        self._most_budgets = MOST_BUDGETS
        self._reloader = Reloader(build, text, configuration, backends, self._serving)
        self._metrics = metrics
        self._watched = Watched(self._reloader, self._ending, self._sources, parent=True)

    def _serving(self) -> list[Worker]:
        return [each for each in self._workers if each.serves]

    def _sources(self) -> list[OfWorker]:
        return [OfWorker(each.number, each.channel) for each in self._serving()]

    async def serve(self) -> int:
        """Until SIGTERM or SIGINT; the exit code.

        Raises:
            ConfigurationError: a worker cannot start, in an exception group.
        """
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._reloader.run)
                nursery.start_soon(self._ending.listen, signals, self._reloader.quietly)
                nursery.start_soon(HttpServer(Monitor(self._watched).answer).serve, self._metrics)
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._until_asked, accepting.cancel_scope)
                    async with trio.open_nursery() as starting:
                        for place in range(self._size):
                            starting.start_soon(nursery.start, self._keep_one, place)
                    self._watched.serving = True
                    introduction = [*await self._introduction(), *told(self._metrics)]
                    write_banner(self._reloader.configuration, self._bound, introduction)
                    for index, bound in enumerate(self._bound):
                        accepting.start_soon(self._accept, index, bound.sock)
                await self._ending.unless_hurried(self._drain)
                nursery.cancel_scope.cancel()
        return 0

    async def _until_asked(self, accepting: trio.CancelScope) -> None:
        await self._ending.asked.wait()
        if self._serving():
            await leave_rotation(self._reloader.gate, self._ending.number)
        accepting.cancel()

    async def _introduction(self) -> list[str]:
        for worker in self._serving():
            try:
                found: list[str] = await worker.channel.call("introduction")
            except (Gone, GateError):
                continue
            return found
        return []

    # ------------------------------------------------------------------ connections

    async def _accept(self, index: int, listening: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(ACCEPTS):
                try:
                    sock, _ = listening.accept()
                except BlockingIOError:
                    break
                except ConnectionAbortedError:  # it has left already
                    continue
                except OSError as error:
                    log.warning("accept_failed", extra={"error": str(error), "do": "raise the open-files limit"})
                    await trio.sleep(NO_DESCRIPTORS)
                    break
                await self._place(sock, index, next(self._ids))

    async def _place(self, sock: socket.socket, index: int, ident: int) -> None:
        """Hand a connection to the worker with the fewest; wait when none takes it."""
        with sock:
            while not self._hand_over(sock, index, ident):
                if self._serving():
                    await trio.sleep(0.01)  # all of them have connections to take up still
                else:
                    if self._someone_serves.is_set():
                        self._someone_serves = trio.Event()
                    await self._someone_serves.wait()

    def _hand_over(self, sock: socket.socket, index: int, ident: int) -> bool:
        return any(each.hand_over(sock, index, ident) for each in sorted(self._serving(), key=lambda each: each.clients))

    def _hand_over_rest(self) -> None:
        """Those that the kernel has accepted already: they are served before the end."""
        for index, bound in enumerate(self._bound):
            with contextlib.suppress(OSError):  # BlockingIOError at the end, or no descriptors
                while True:
                    sock, _ = bound.sock.accept()
                    with sock:
                        self._hand_over(sock, index, next(self._ids))

    # ------------------------------------------------------------------ workers

    async def _keep_one(self, place: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run a worker, and another one in its place when it has died, until the end."""
        serves, early_deaths = trio.Event(), 0

        def served() -> None:
            if not serves.is_set():
                serves.set()
                task_status.started()

        while True:
            begun = trio.current_time()
            worker = await self._run_one(place, served)
            if self._ending.asked.is_set():
                return
            if not serves.is_set():
                code = worker.process.returncode
                why = worker.failure or f"a worker ended with {code} before it served; what it wrote is above"
                raise ConfigurationError([why.removeprefix("ERR ")])
            self._watched.restarts += 1
            if worker.failure:
                log.error("worker_not_started", extra={"worker": worker.number, "why": worker.failure})
            early_deaths = early_deaths + 1 if trio.current_time() - begun < STEADY else 0
            early = early_deaths - FREE if worker.has_served else early_deaths
            if early > 0:
                await trio.sleep(min(LONGEST, AGAIN * 2 ** (early - 1)))

    async def _run_one(self, place: int, served: Callable[[], None]) -> Worker:
        """Start a worker and wait for its end."""
        worker = await self._spawn(place)
        self._workers.append(worker)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_in_touch, worker)
                nursery.start_soon(self._start, worker, served)
                await worker.process.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._workers.remove(worker)
            left = list(worker.take_back())
            worker.close()
            for sock, index, ident in left:
                self._nursery.start_soon(self._place, sock, index, ident)
        if not self._ending.asked.is_set():
            facts = {"worker": worker.number, "pid": worker.process.pid, "exit": worker.process.returncode}
            log.error("worker_died", extra=facts | {"do": "it is replaced; its clients connect again"})
        return worker

    async def _spawn(self, place: int) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        handing, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("kvgate-ended")
        os.ftruncate(memory, mmap.PAGESIZE)
        descriptors = (theirs.fileno(), handed.fileno(), memory)
        try:
            # A session of its own: what a terminal sends to all (Ctrl-C, also while the worker starts) goes to the parent.
            process = await trio.lowlevel.open_process(
                [*self._command, *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            handing.setblocking(False)  # noqa: FBT003 - the method takes it so
            handed.setblocking(False)  # noqa: FBT003 - for the worker, too: the flag belongs to the socket
            ended = mmap.mmap(memory, mmap.PAGESIZE)
        except BaseException:
            ours.close()
            handing.close()
            handed.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        channel = Channel(
            stream, {"others": self._others, "reload": self._reload, "block": self._block, "budget": self._budget}
        )
        return Worker(next(self._numbers), place, process, channel, (handing, handed), ended)

    async def _keep_in_touch(self, worker: Worker) -> None:
        """A worker that cannot be spoken to any more cannot be told to end, either."""
        await worker.channel.run()
        with trio.move_on_after(GRACE):
            await worker.process.wait()
            return
        worker.process.kill()

    async def _start(self, worker: Worker, served: Callable[[], None]) -> None:
        """Have it serve what all serve now."""
        names = [(each.name, each.listen.kind, each.admin) for each in self._bound]
        reloader = self._reloader
        text = reloader.text
        start = {
            "first_text": reloader.first_text.decode("utf-8", "surrogateescape"),
            "text": text.decode("utf-8", "surrogateescape"),
            "listeners": names,
            "workers": self._size,
            "number": worker.place,
            "run_id": self._run_id,
            "started": self._started,
            "error": reloader.error,
            "blocks": (blocks := self._blocks.dump()),
        }
        try:
            await worker.channel.call("start", start, patience=START)
            async with reloader.quiet_time:
                if reloader.text is not text:  # a reload came between
                    await worker.channel.call("prepare", reloader.text.decode("utf-8", "surrogateescape"), patience=PREPARE)
                    await worker.channel.call("switch", patience=SWITCH)
                while blocks[0] != self._blocks.version:  # one came between
                    blocks = self._blocks.dump()
                    await worker.channel.call("blocks", blocks, patience=SWITCH)
                worker.serves = worker.has_served = True
        except Gone:
            if not worker.channel.gone.is_set():
                worker.failure = f"ERR worker {worker.number} did not start within {START:.0f} s"
        except GateError as error:
            worker.failure = error.text
        if worker.serves:
            self._someone_serves.set()
            served()
            return
        if worker.failure:
            worker.process.kill()

    async def _others(self, name: str, arguments: list[Any], asking: int) -> list[Any]:
        """What all workers but the asking one answer; who does not is left out."""
        answers: list[Any] = []

        async def ask(worker: Worker) -> None:
            try:
                answers.append(await worker.channel.call(name, *arguments, patience=ANSWER))
            except (Gone, GateError) as error:
                log.warning("worker_did_not_answer", extra={"worker": worker.number, "call": name, "error": str(error)})

        async with trio.open_nursery() as nursery:
            for worker in self._serving():
                if worker.process.pid != asking:
                    nursery.start_soon(ask, worker)
        return answers

    async def _block(self, dump: list[Any] | None, kind: str, name: str) -> tuple[bool, int]:
        """Change what is blocked, and tell all workers; how many have not confirmed it. Raises GateError."""
        found = self._blocks.change(None if dump is None else load(dump), kind, name.encode("latin-1"))
        blocks, unconfirmed = self._blocks.dump(), 0

        async def tell(worker: Worker) -> None:
            nonlocal unconfirmed
            try:
                await worker.channel.call("blocks", blocks, patience=ANSWER)
            except (Gone, GateError) as error:
                if not worker.channel.gone.is_set():
                    unconfirmed += 1
                    facts = {"worker": worker.number, "error": str(error), "do": "send GATE BLOCK again"}
                    log.warning("block_not_confirmed", extra=facts)

        async with trio.open_nursery() as nursery:
            for worker in self._serving():
                nursery.start_soon(tell, worker)
        return found, unconfirmed

    async def _budget(self, asks: list[Ask]) -> list[Any]:
        """What buckets that the workers share give (kvgate.server.budget), and how many workers there are."""
        now = time.monotonic()
        if len(self._budgets) > self._most_budgets:
            self._budgets.forget_full(now)
            self._most_budgets = max(MOST_BUDGETS, 2 * len(self._budgets))
        return [self._budgets.take(asks, now), max(1, len(self._serving()))]

    # ------------------------------------------------------------------ reload, end

    async def _reload(self, dry_run: bool) -> list[Any]:  # noqa: FBT001 - arguments of a message
        difference = await self._reloader.reload(dry_run)
        return [list(difference.lines), list(difference.moves), sorted(difference.moved), list(difference.restart)]

    async def _drain(self) -> None:
        self._hand_over_rest()
        close(self._bound)
        seconds = self._reloader.gate.drain_finish
        with trio.move_on_after(seconds + GRACE):
            async with trio.open_nursery() as nursery:
                for worker in list(self._workers):
                    nursery.start_soon(self._drain_one, worker, seconds)

    async def _drain_one(self, worker: Worker, seconds: float) -> None:
        """Wait for its end; it is killed when that takes too long."""
        if not worker.serves:
            return
        with contextlib.suppress(Gone, GateError):
            await worker.channel.call("drain", seconds, patience=seconds + GRACE)
        await worker.process.wait()
