"""Reads that do not run in the lane: on threads, and the long ones few at a time."""

from collections.abc import Sequence
from typing import Final

import lmdb
import trio

from kvgate.backend import CallContext, Command
from kvgate.errors import try_again
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import TooLong
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import Error, Raw, encode
from kvgate_lmdb.engine import LmdbEngine
from kvgate_lmdb.running import MOST_SHORT, run_handler

LONG_AT_ONCE: Final = 2
"""Reads of more than `MOST_SHORT` records (HGETALL of a huge hash) at a time: each may hold a reply of 256 MiB, and keeps a
snapshot's pages from being used again."""


class Reads:
    """Reads for one store. Must be made where trio runs, or before."""

    def __init__(self, engine: LmdbEngine) -> None:
        """Read from `engine`."""
        self._engine = engine
        self._long = trio.CapacityLimiter(LONG_AT_ONCE)
        self.long = 0
        """How many commands were long ones."""

    async def run(self, commands: Sequence[Command], call: CallContext) -> list[Raw]:
        """The encoded replies (a reply of a million strings takes a second to encode, which is spent here and not in the
        lane), each from a snapshot that is no older than the one before.

        Raises:
            GateError: ``TRYAGAIN`` when the store is not open, or a long read could not begin in time.
        """
        replies = await trio.to_thread.run_sync(self._read, commands, call.proto, MOST_SHORT)
        rest = commands[len(replies) :]
        if rest:
            await self._turn(call.deadline)
            try:
                self.long += 1
                replies += await trio.to_thread.run_sync(self._read, rest, call.proto, 0)
            finally:
                self._long.release()
        return replies

    async def _turn(self, deadline: float) -> None:
        try:
            with trio.fail_at(deadline):
                await self._long.acquire()
        except trio.TooSlowError:
            raise try_again("other long reads of the store were before it") from None

    def _read(self, commands: Sequence[Command], proto: int, most: int) -> list[Raw]:
        """Replies up to the first command that would read more than `most` records (0: all)."""
        replies: list[Raw] = []
        for command in commands:
            try:
                txn = self._engine.read_apart()
                try:
                    tx = Transaction(txn, self._engine.now_ms(), most)
                    replies.append(encode(run_handler(HANDLERS[command.spec.name], tx, command.args), proto))
                finally:
                    txn.end()
            except TooLong:
                break
            except lmdb.Error as error:
                replies.append(encode(Error(f"ERR store could not read ({error})".encode())))
        return replies
