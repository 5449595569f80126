"""A running embedded store for tests, asked as the gate asks it."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from kvgate.backend import CallContext, Command, View
from kvgate.commands.table import lookup
from kvgate.wire.reply import Raw, Reply, encode
from kvgate.wire.request import encode_request
from kvgate_lmdb import LmdbBackend

ALL = View(has=lambda _key: True, everything=True)

journaled = os.environ.get("KVGATE_TEST_JOURNAL", "1") == "1"
"""Whether stores have a journal, unless a test says otherwise (conftest.py)."""


class Clock:
    """Unix time in ms that stands still until it is moved."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def command(*args: bytes) -> Command:
    """A checked command; keys are left to the gate, the store does not look at them."""
    spec = lookup(args)
    assert spec is not None, args
    return Command(args=list(args), spec=spec, keys=(), frame=encode_request(args))


def context(proto: int = 2, seconds: float = 20.0) -> CallContext:
    return CallContext(proto=proto, user="default", deadline=trio.current_time() + seconds)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Look often until `condition` is true; trio.TooSlowError after `seconds`."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes and threads
            await trio.sleep(0.005)


class Store:
    """Asks a backend: reads in place first, as the lane does, then the other way; raw replies."""

    def __init__(self, backend: LmdbBackend) -> None:
        self.backend = backend

    async def ask(self, *args: bytes, proto: int = 2) -> bytes:
        found = self.backend.execute_now(command(*args), context(proto))
        if found is None:
            (found,) = await self.backend.execute([command(*args)], context(proto))
        return found if isinstance(found, Raw) else encode(found, proto)

    async def pipeline(self, commands: Sequence[Sequence[bytes]], proto: int = 2) -> list[bytes]:
        """All in one call, reads too."""
        replies: Sequence[Raw | Reply] = await self.backend.execute([command(*one) for one in commands], context(proto))
        return [reply if isinstance(reply, Raw) else encode(reply, proto) for reply in replies]

    async def keys(
        self, view: View = ALL, *, count: int = 10, match: bytes | None = None, kind: bytes | None = None
    ) -> list[bytes]:
        """A whole SCAN, in the order of its pages."""
        found, cursor = [], 0
        while True:
            cursor, page = await self.backend.scan(0, cursor, count=count, match=match, kind=kind, view=view, call=context())
            found += page
            if not cursor:
                return found


@asynccontextmanager
async def running(path: Path, *, clock: Callable[[], int] | None = None, **options: Any) -> AsyncIterator[Store]:
    """A store in `path`, open until the end of the block; with a journal where `journaled` says so."""
    if clock is not None:
        options["clock"] = clock
    defaults = {"map_size": 256 << 20, "durable": False, "journal": journaled}
    backend = LmdbBackend("local", path, **{**defaults, **options})
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        yield Store(backend)
        nursery.cancel_scope.cancel()
