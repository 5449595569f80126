"""The gate's side of moving the journal to LMDB's file: when, and by whom."""

import subprocess
import sys
from collections.abc import Callable
from typing import Final

import trio

from kvgate.errors import GateError
from kvgate_lmdb.engine import BrokenStoreError, LmdbEngine
from kvgate_lmdb.recent import Layer

SMALL: Final = 2048
"""Records that are moved on a thread of the gate; more are given to a process."""
LOOK: Final = 0.1
"""Seconds between two looks whether a layer has become old."""
AGAIN: Final = 0.5
"""Seconds before what could not be moved is tried again."""


class Mover:
    """Moves one store's frozen layers; as long as it is busy, by a process of its own (kvgate_lmdb.mover)."""

    def __init__(self, engine: LmdbEngine, complain: Callable[[str], None]) -> None:
        """Move for `engine`; `complain` logs what goes wrong."""
        self._engine = engine
        self._complain = complain
        self._layer: Layer | None = None
        self._frozen = trio.Event()
        self._process: trio.Process | None = None
        engine.recent.frozen_one = self._take

    def _take(self, layer: Layer) -> None:
        self._layer = layer
        self._frozen.set()

    async def run(self) -> None:
        """Move layers until cancelled. What was given to the process is done by it, or by whoever settles."""
        try:
            while True:
                with trio.move_on_after(LOOK):
                    await self._frozen.wait()
                self._engine.recent.freeze_if_due()
                layer = self._layer
                if layer is None or not self._engine.is_open:
                    continue
                try:
                    await self._move(layer)
                except GateError as error:
                    self._complain(error.text)
                    await trio.sleep(AGAIN)
                except BrokenStoreError as error:
                    self._complain(self._engine.after(error).text)
                else:
                    self._layer, self._frozen = None, trio.Event()
                    self._engine.recent.freeze_if_due()  # it had to wait for this one
        finally:
            self._end()

    async def _move(self, layer: Layer) -> None:
        if len(layer.records) <= SMALL or not await self._moved_by_process(layer):
            await trio.to_thread.run_sync(self._engine.move, layer)
        else:
            await trio.to_thread.run_sync(self._engine.moved, layer)

    async def _moved_by_process(self, layer: Layer) -> bool:
        try:
            if self._process is None:
                self._process = await self._start()
            process = self._process
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
            await process.stdin.send_all(f"{layer.file} {layer.last}\n".encode())
            answer = b""
            while not answer.endswith(b"\n"):
                more = await process.stdout.receive_some()
                if not more:
                    raise trio.BrokenResourceError("it has ended")
                answer += more
        except (OSError, trio.BrokenResourceError) as error:
            self._complain(f"the process that moves the journal cannot be used: {error}")
            self._end()
            return False
        if answer.split() == [str(layer.last).encode()]:
            return True
        self._complain(f"the journal could not be moved by its process: {answer.decode(errors='replace').strip()}")
        return False

    async def _start(self) -> trio.Process:
        engine = self._engine
        size = engine.env.info()["map_size"]
        command = [sys.executable, "-P", "-m", "kvgate_lmdb.mover", str(engine.path), str(size)]
        # A session of its own: Ctrl-C on a terminal is for the gate, which ends this by closing its input
        return await trio.lowlevel.open_process(
            [*command, "always" if engine.durable else "no"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None
