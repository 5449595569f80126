"""Running one command over a transaction: what groups of writes and batches of reads have in common."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import trio

from kvgate.errors import GateError
from kvgate.model import keyspace
from kvgate.model.kv import TooLong
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import Error, Reply
from kvgate_tikv.bridge import Unavailable
from kvgate_tikv.layers import NotCachedError

log = logging.getLogger("kvgate.tikv")

MOST_READ: Final = 100_000
"""Records that one command may be about to read: some 2 s, a hundred in a call. A command has 1.5 s altogether."""

A = TypeVar("A")


def error_reply(error: GateError) -> Error:
    """The reply that says it, without line ends."""
    return Error(error.reply[1:-2])


def too_many(records: int) -> GateError:
    """A command that reads more records than there is time for, which it would not have a second time either."""
    return GateError(f"ERR one command would read more than {records} records of the store: read them in parts, as with HSCAN")


async def run_handler(handler: Handler, tx: Transaction, args: list[bytes]) -> Reply:
    """The handler's reply; its errors and its mistakes as error replies.

    Raises:
        Unavailable: the store did not answer a read.
        NotCachedError: a read needs the store, and was told not to ask it.
    """
    try:
        return await handler(tx, args)
    except GateError as error:
        return error_reply(error)
    except TooLong:
        return error_reply(too_many(MOST_READ))
    except (Unavailable, NotCachedError):
        raise
    except Exception:
        log.exception("command %r failed", args[:1])
        return Error(b"ERR internal error of the gate; its log has the details")


def records_of(keys: Iterable[bytes]) -> list[bytes]:
    """Engine keys that a command on these keys reads first: their metas, and the generations of their groups."""
    places = [keyspace.locate(key) for key in keys]
    if not places:
        return []
    groups = {keyspace.group_key(group): None for _, group in places}
    return [keyspace.STORE_GENERATION, *groups, *(place for place, _ in places)]


async def together(first: Callable[[], Awaitable[A]], second: Callable[[], Awaitable[object]]) -> A:
    """The first one's result, once both are done; they are waited for side by side. Raises what one of them raised first."""
    found: list[A] = []
    wrong: list[Unavailable] = []

    async def run(work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Unavailable as error:
            wrong.append(error)
            nursery.cancel_scope.cancel()

    async def keep() -> None:
        found.append(await first())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, keep)
        nursery.start_soon(run, second)
    if wrong:
        raise wrong[0]
    return found[0]
