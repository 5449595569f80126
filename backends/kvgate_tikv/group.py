"""One group of writes: the commands of several clients in one transaction of the cluster."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from kvgate.errors import GateError
from kvgate.model import keyspace
from kvgate.model.kv import KvTxn
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import NULL_ARRAY, Error, Reply
from kvgate_tikv.layers import Layer, Source
from kvgate_tikv.run import MOST_READ, run_handler

MOST_WRITES: Final = 5000
MOST_BYTES: Final = 10 << 20
"""Keys and bytes of one transaction: what TiKV takes well as one prewrite."""


@attrs.frozen(slots=True)
class Write:
    """One command."""

    handler: Handler
    args: list[bytes]
    keys: tuple[bytes, ...]


@attrs.frozen(slots=True)
class Block:
    """A MULTI: its commands with nothing between them, and only if what was watched is as it was."""

    writes: Sequence[Write]
    watched: Mapping[bytes, int]
    """Key → revision; 0: missing."""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the watched ones too."""
        return (*self.watched, *(key for write in self.writes for key in write.keys))


class CommandTxn(Layer):
    """One command's `KvTxn` inside a group: its writes become part of it, or not; the commit is the group's.

    `put` and `delete` raise GateError as soon as they are too many.
    """

    def put(self, key: bytes, value: bytes) -> None:
        """As `KvTxn.put`."""
        super().put(key, value)
        self._check()

    def delete(self, key: bytes) -> None:
        """As `KvTxn.delete`."""
        super().delete(key)
        self._check()

    def _check(self) -> None:
        if len(self.writes) > MOST_WRITES:
            raise too_large()

    async def commit(self) -> None:
        """Nothing: the group commits."""

    async def rollback(self) -> None:
        """As `KvTxn.rollback`."""
        self.writes.clear()


def within(layer: Layer) -> CommandTxn:
    """A transaction over another one's writes."""
    return CommandTxn(layer, layer.revision, dict(layer.generations), layer.fence)


def take(layer: Layer, done: Layer) -> None:
    """Let the writes of a transaction over `layer` be part of it."""
    layer.writes.update(done.writes)
    layer.generations = done.generations


def touch(layer: Layer, written: Iterable[bytes]) -> None:
    """Write again, as they are, the metas that a command has read beside those that it writes: two transactions that read one
    another's keys and each write their own would not conflict otherwise. `written`: keys that conflict anyhow."""
    if not layer.writes:
        return
    for key, value in layer.reads.items():
        if key[:1] == b"M" and key not in layer.writes and key not in written:
            layer.writes[key] = value  # None: a deletion of what is not there, which conflicts with its making


async def revisions(txn: KvTxn, keys: Iterable[bytes], now: int) -> list[int]:
    """The keys' revisions; 0 for one that is missing, expired or flushed."""
    metas = await Transaction(txn, now).load_many(list(keys))
    return [0 if meta is None else meta.revision for meta in metas]


class Group:
    """The commands of a group over one transaction. Runs without effect: `writes` are what to commit."""

    def __init__(self, below: Source, revision: int, fence: Callable[[], Awaitable[int]], now: int, longest: int) -> None:
        """Over the state `below`; `revision` for all records that are written, `fence` as `KvTxn.fence`, `now` in ms,
        `longest` as in `Transaction`."""
        self._top = Layer(below, lambda: revision, {}, fence)
        self._now = now
        self._longest = longest
        self._bytes = 0

    @property
    def writes(self) -> dict[bytes, bytes | None]:
        """Engine key → value, None: deleted."""
        return self._top.writes

    @property
    def before(self) -> dict[bytes, bytes | None]:
        """What was read from the store, key by key."""
        return self._top.reads

    async def run(self, units: Sequence[Write | Block]) -> list[Reply] | None:
        """The replies of one client's commands, in order, which are then part of the group; None, and they are not, when the
        group would become too large."""
        job = within(self._top)
        replies = [await self._unit(job, unit) for unit in units]
        writes, size = len(self.writes) + len(job.writes), self._bytes + weight(job.writes)
        if job.writes and (writes > MOST_WRITES or size > MOST_BYTES):
            return None
        self._bytes = size
        take(self._top, job)
        return replies

    async def _unit(self, job: Layer, unit: Write | Block) -> Reply:
        txn = within(job)
        if isinstance(unit, Write):
            reply = await self._command(txn, unit)
            if isinstance(reply, Error):
                return reply
        else:
            if unit.watched and await revisions(txn, unit.watched, self._now) != list(unit.watched.values()):
                return NULL_ARRAY
            reply = [await self._inner(txn, write) for write in unit.writes]
        touch(txn, {*job.writes, *self.writes})
        take(job, txn)
        return reply

    async def _inner(self, block: Layer, write: Write) -> Reply:
        txn = within(block)
        reply = await self._command(txn, write)
        if not isinstance(reply, Error):
            take(block, txn)
        return reply

    async def _command(self, txn: CommandTxn, write: Write) -> Reply:
        return await run_handler(write.handler, Transaction(txn, self._now, MOST_READ, self._longest), write.args)


def weight(writes: Mapping[bytes, bytes | None]) -> int:
    """Bytes of keys and values."""
    return sum(len(key) + len(value or b"") for key, value in writes.items())


def receipt(now: int) -> bytes:
    """A new R record's key: its presence says that the group that wrote it was committed."""
    return keyspace.receipt_key(now, os.urandom(17))


def too_large() -> GateError:
    """One command that would write more than a transaction takes; nothing was sent."""
    return GateError(
        f"ERR store refuses the command: it would write more than {MOST_WRITES} records or {MOST_BYTES >> 20} MB in one"
        " transaction; send it in parts"
    )
