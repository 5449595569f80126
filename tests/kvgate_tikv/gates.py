"""Several backends over one store, as several gates have them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from kvgate.model import keyspace
from kvgate.wire.reply import Error, Reply
from kvgate_tikv import TikvBackend, adapter
from tests.contract.backend import Served, start
from tests.tikv.cluster import Cluster


def prepare(tikv: Cluster, prefix: str, **options: Any) -> TikvBackend:
    """A backend that does not run yet."""
    return adapter.prepare("ledger", {"pd": list(tikv.pd), "prefix": prefix, **options}, Path())


@asynccontextmanager
async def gates(tikv: Cluster, number: int = 2, prefix: str = "", **options: Any) -> AsyncIterator[list[Served]]:
    """`number` running backends over one new store."""
    prefix = prefix or tikv.prefix
    async with trio.open_nursery() as nursery:
        yield [await start(nursery, prepare(tikv, prefix, **options)) for _ in range(number)]
        nursery.cancel_scope.cancel()


def backend(served: Served) -> TikvBackend:
    """As what it is."""
    assert isinstance(served.backend, TikvBackend)
    return served.backend


def record(served: Served, key: bytes) -> bytes:
    """The cluster's key for the record of a key."""
    return backend(served).engine.space.inside(keyspace.meta_key(key))


def figure(served: Served, name: str) -> int:
    """One of its statistics."""
    return int(served.backend.statistics().figures[name])


def refused(reply: Reply, code: bytes) -> bool:
    """Whether it is the error with that code."""
    return isinstance(reply, Error) and reply.text.startswith(code + b" ")


async def surely(served: Served, *args: str | bytes | int) -> Reply:
    """Send again as long as the answer is that it was not executed."""
    while refused(reply := await served.do(*args), b"TRYAGAIN"):
        await trio.lowlevel.checkpoint()
    return reply


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Look often until `condition` (a function, or one of a coroutine) is true; trio.TooSlowError after `seconds`."""
    with trio.fail_after(seconds):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await trio.sleep(0.01)  # what is waited for happens in another process
