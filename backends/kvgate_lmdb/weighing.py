"""`Weighing` over an LMDB file: short snapshots, read on a thread, with pauses."""

import time
from typing import Final

import lmdb
import trio

from kvgate.backend import Scale
from kvgate.errors import GateError
from kvgate.model.kv import run_now
from kvgate.model.weighing import Walk
from kvgate_lmdb.engine import LmdbEngine

SLICE: Final = 0.0005
"""Seconds of one portion: so long the lane may have to wait for the interpreter, a disk that has to be read aside."""
REST: Final = 4.0
"""Pauses are so many times as long as the portions: a fifth of a processor, half a minute for a million keys."""


async def weigh(engine: LmdbEngine, scale: Scale) -> None:
    """As `Weighing.weigh`. Each portion is a snapshot of its own: one that lived for minutes would make the file grow."""
    walk = Walk(scale)

    def portion() -> float:
        began = time.perf_counter()
        until = began + SLICE
        txn = engine.read_apart()
        try:
            run_now(walk.step(txn, engine.now_ms(), lambda: time.perf_counter() > until))
        finally:
            txn.end()
        return time.perf_counter() - began

    while not walk.done:
        try:
            took = await trio.to_thread.run_sync(portion)
        except lmdb.Error as error:
            raise GateError(f"ERR store could not read ({error})") from error
        await trio.sleep(took * REST)
