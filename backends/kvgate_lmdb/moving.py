"""The gate's side of moving the journal to LMDB's file: when, and by whom."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from kvgate.errors import GateError
from kvgate_lmdb.engine import BrokenStoreError, LmdbEngine
from kvgate_lmdb.recent import Layer

SMALL: Final = 2048
"""Records that are moved on a thread of the gate; more are given to a process."""
LOOK: Final = 0.25
"""Seconds between two looks whether a layer has become old."""
AGAIN: Final = 0.5
"""Seconds before what could not be moved is tried again."""
SILENCE: Final = 60.0
"""Seconds after which a process that has done nothing is ended. It may have LMDB's lock for writers, which the kernel gives to
the next one then."""
REST: Final = 60.0
"""Seconds before another process is started after one that was of no use."""
ENDS: Final = 5.0
"""Seconds to wait for the end of a process that was killed."""
IDLE: Final = 60.0
"""Seconds after which a process that was not needed is ended: it holds about 20 MB."""

PROGRAM: Final = "import sys; from kvgate_lmdb.mover import main; main(*sys.argv[1:])"
"""Not ``-m``, for which Python would warn that the package has imported the module already, and import it a second time."""


class Mover:
    """Moves one store's frozen layers; as long as it is busy, by a process of its own (kvgate_lmdb.mover)."""

    def __init__(self, engine: LmdbEngine, complain: Callable[[str], None]) -> None:
        """Move for `engine`; `complain` logs what goes wrong."""
        self._engine = engine
        self._complain = complain
        self._layer: Layer | None = None
        self._frozen = trio.Event()
        self._process: trio.Process | None = None
        self._used = 0.0  # when the process was last needed, on trio's clock
        self._not_before = 0.0  # no other process is started until then
        engine.recent.frozen_one = self._take

    def _take(self, layer: Layer) -> None:
        self._layer = layer
        self._frozen.set()

    async def run(self) -> None:
        """Move layers until cancelled. What was given to the process is done by it, or by whoever settles."""
        try:
            while True:
                if self._layer is None:
                    with trio.move_on_after(LOOK):
                        await self._frozen.wait()
                    self._engine.recent.freeze_if_due()
                if self._process is not None and trio.current_time() - self._used > IDLE:
                    await self._end()
                self._frozen = trio.Event()
                layer = self._layer
                if layer is not None and not await self._tried(layer):
                    await trio.sleep(AGAIN)
        finally:
            await self._end()

    async def _tried(self, layer: Layer) -> bool:
        """Move a layer; False: it has to be tried again."""
        if not self._engine.is_open:
            return False
        try:
            await self._move(layer)
        except GateError as error:
            self._complain(error.text)
            return False
        except BrokenStoreError as error:
            self._complain(self._engine.after(error).text)
            return False
        if self._layer is layer:  # else it was settled meanwhile, and the next one was frozen
            self._layer = None
        self._engine.recent.freeze_if_due()  # it had to wait for this one
        return True

    async def _move(self, layer: Layer) -> None:
        if len(layer.records) <= SMALL or not await self._moved_by_process(layer):
            await trio.to_thread.run_sync(self._engine.move, layer)
        else:
            await trio.to_thread.run_sync(self._engine.moved, layer)

    async def _moved_by_process(self, layer: Layer) -> bool:
        """Whether the process has moved it."""
        if trio.current_time() < self._not_before:
            return False
        try:
            if self._process is None:
                self._process = await self._start()
            self._used = trio.current_time()
            answer = await self._ask(self._process, f"{layer.file} {layer.last}\n".encode())
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            why = "it does nothing" if isinstance(error, trio.TooSlowError) else str(error)
            self._complain(f"the process that moves the journal cannot be used: {why}")
            self._not_before = trio.current_time() + REST
            await self._end()
            return False
        if answer == b"%d" % layer.last:
            return True
        if layer in self._engine.recent.layers:  # else others have settled meanwhile
            self._complain(f"the journal could not be moved by its process: {answer.decode(errors='replace')}")
        return False

    @staticmethod
    async def _ask(process: trio.Process, line: bytes) -> bytes:
        """What the process says to a line in the end; it says a dot for each portion that it has moved."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        with trio.fail_after(SILENCE) as silence:
            await process.stdin.send_all(line)
            answer = b""
            while not answer.endswith(b"\n"):
                more = await process.stdout.receive_some()
                if not more:
                    raise trio.BrokenResourceError("it has ended")
                answer += more
                silence.deadline = trio.current_time() + SILENCE
        return answer.strip().lstrip(b".")

    async def _start(self) -> trio.Process:
        engine = self._engine
        size = engine.env.info()["map_size"]
        command = [sys.executable, "-P", "-c", PROGRAM, str(engine.path), str(size)]
        # A session of its own: Ctrl-C on a terminal is for the gate, which ends this by closing its input
        return await trio.lowlevel.open_process(
            [*command, "always" if engine.durable else "no"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # it has to find what the gate found
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with trio.move_on_after(ENDS, shield=True):  # a process that waits for a disk stays for a while
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(trio.BrokenResourceError):
                        await stream.aclose()
            await process.wait()
