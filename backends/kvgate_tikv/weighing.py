"""`Weighing` over a cluster: pages of snapshots of their own, with pauses."""

from typing import Final

import trio

from kvgate.backend import Scale
from kvgate.errors import try_again
from kvgate.model.weighing import Walk
from kvgate_tikv.bridge import Unavailable
from kvgate_tikv.engine import TikvEngine

REST: Final = 3.0
"""Pauses are so many times as long as the reads before them: a store that has much to do is asked less often."""
TRIES: Final = 5
"""Times in a row that a page may be refused."""
PAUSE: Final = 0.5
"""Seconds between those."""
PATIENCE: Final = 5.0
"""Seconds that one page may take."""


async def weigh(engine: TikvEngine, scale: Scale) -> None:
    """As `Weighing.weigh`."""
    walk, failures = Walk(scale), 0
    while not walk.done:
        began = trio.current_time()
        why = "the store did not answer in time"
        with trio.move_on_after(PATIENCE):
            try:
                txn = await engine.begin()
                try:
                    await walk.step(txn, engine.now_ms())
                    failures, why = 0, ""
                finally:
                    await txn.rollback()
            except Unavailable as error:
                why = str(error)
        if why:
            failures += 1
            if failures == TRIES:
                raise try_again(why)
            await trio.sleep(PAUSE)
        else:
            await trio.sleep((trio.current_time() - began) * REST)
