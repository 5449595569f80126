"""What an engine is to the model: ordered bytes under transactions. LMDB, TiKV and `kvgate.model.memory` are engines."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from kvgate.errors import Conflict, try_again

T = TypeVar("T")

ATTEMPTS = 8
"""How often a transaction that conflicts is run before its caller hears ``TRYAGAIN``."""


class KvTxn(Protocol):
    """One transaction: a snapshot to read, and writes that become visible together or not at all. It sees its own writes.

    Keys have 1 to `KvEngine.max_key` bytes, values at least 1. Whoever begins one ends it: `commit`, or `rollback`, which
    may follow anything.
    """

    generations: dict[bytes, int]
    """Effective generations of groups in this snapshot: a cache for the model, which equal snapshots may share."""

    async def get(self, key: bytes) -> bytes | None:
        """The value, None when there is none."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys, in one round trip."""

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """One page: the first `limit` pairs with ``start <= key < end``, ascending. Fewer mean that the range ended."""

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `scan`, without the values."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write on commit."""

    def delete(self, key: bytes) -> None:
        """Remove on commit; a key that is not there is no error."""

    def revision(self) -> int:
        """A revision for a record that this transaction writes: above those of all transactions that it can see."""

    async def fence(self) -> int:
        """A number for the holder of a lock that this transaction gives: 1 to 2**63 - 1, above every one that transactions
        got whose writes this one has read before it asks, and above those that it got itself."""

    async def commit(self) -> None:
        """Make the writes durable and visible, if what was read still holds.

        Raises:
            Conflict: it does not hold; nothing was written; run it again on a new transaction.
            GateError: ``INDOUBT`` when the outcome is unknown; ``ERR store …`` when nothing was written.
        """

    async def rollback(self) -> None:
        """Forget the writes; idempotent, does nothing after `commit`."""


class KvEngine(Protocol):
    """A store of ordered bytes."""

    max_key: int
    max_value: int

    async def begin(self, *, write: bool = False) -> KvTxn:
        """A transaction on the present state; only with `write` may it put, delete and commit."""

    def now_ms(self) -> int:
        """The store's clock: Unix time in ms."""


async def transact(engine: KvEngine, body: Callable[[KvTxn], Awaitable[T]]) -> T:
    """Run `body` in a transaction and commit it. **`body` may run several times**: it has no effect but its writes.

    Raises:
        GateError: ``TRYAGAIN`` after `ATTEMPTS` conflicts; what `body` or the commit raises.
    """
    for _ in range(ATTEMPTS):
        txn = await engine.begin(write=True)
        try:
            result = await body(txn)
            await txn.commit()
        except Conflict:
            continue
        finally:
            await txn.rollback()
        return result
    raise try_again(f"{ATTEMPTS} attempts met other writers of the same keys")


class TooLong(Exception):  # noqa: N818 - no error: the read goes to another place
    """A read would take too long where it runs; it has done nothing."""


class SuspendedError(RuntimeError):
    """A coroutine that was to run in place waited for something: a mistake in the program."""


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends (its engine answers at once) without an event loop.

    Raises:
        SuspendedError: it did suspend; it is closed.
    """
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise SuspendedError(repr(work))
