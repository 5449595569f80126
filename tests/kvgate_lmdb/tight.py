"""The journal with small bounds, so that layers are frozen, and moved by the mover's process in portions, all the time.

``python -m tests.kvgate_lmdb.tight FOLDER MAP_SIZE always|no`` is the mover's process of such a store.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import trio

from kvgate_lmdb import mover, moving, recent
from tests.support.servers import ROOT

RECORDS = 60
SMALL = 20
PORTION = 7


def environment() -> dict[str, str]:
    """Of processes that run what is tested."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}


async def _start(self: moving.Mover) -> trio.Process:
    engine = self._engine
    size = engine.env.info()["map_size"]
    command = [sys.executable, "-m", "tests.kvgate_lmdb.tight", str(engine.path), str(size)]
    return await trio.lowlevel.open_process(
        [*command, "always" if engine.durable else "no"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=ROOT,
        env=environment(),
    )


def install() -> None:
    """For the rest of this process."""
    recent.MOST_RECORDS = RECORDS  # type: ignore[misc] # as the tests want it
    moving.SMALL = SMALL  # type: ignore[misc] # as above
    mover.PORTION = PORTION  # type: ignore[misc] # as above
    moving.REST = 0.0  # type: ignore[misc] # as above
    moving.Mover._start = _start  # type: ignore[method-assign] # as above


@contextmanager
def installed() -> Iterator[None]:
    """Inside."""
    with (
        patch.object(recent, "MOST_RECORDS", RECORDS),
        patch.object(moving, "SMALL", SMALL),
        patch.object(mover, "PORTION", PORTION),
        patch.object(moving, "REST", 0.0),
        patch.object(moving.Mover, "_start", _start),
    ):
        yield


if __name__ == "__main__":
    install()
    mover.main(*sys.argv[1:])
