"""The one place that knows the package tikv-client: its native classes behind coroutines of trio, its errors as ours.

    client = await connect(["127.0.0.1:2379"])
    txn = await client.begin()
    ...; await txn.commit({b"key": b"value", b"gone": None})

Another binding can take its place by offering `Client`, `Txn` and `Snapshot`. Rests on tikv-client 0.0.4 (the Rust client of
November 2023, pyo3-asyncio 0.19); `calls` says how.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio

from kvgate.errors import Conflict
from kvgate_tikv.calls import Runner, open_runner, wait

RPC_TIMEOUT: Final = 1.0
"""Seconds for one remote call; the native client makes up to 12 of them, with pauses of 1.5 s altogether, before it gives up.
Half a second is left of a command's 1.5 s to find out what became of a commit."""
CALL_LIMIT: Final = 2.0
"""Seconds for any call as a whole: asking PD for a timestamp has no limit of its own."""
ROLLBACK_LIMIT: Final = 5.0
LOGICAL_BITS: Final = 18
"""Of a timestamp: the milliseconds since 1970 are above."""


class Unavailable(Exception):  # noqa: N818 - a state of the store
    """The store did not do it, and nothing was written: another try may succeed."""


class OutcomeUnknown(Exception):  # noqa: N818 - a state of a commit
    """A commit may or may not have happened. `ended`: the client has given up on it, so a look at the store decides; else it
    may still happen at any moment."""

    def __init__(self, why: str, *, ended: bool) -> None:
        """Keep what the client said."""
        super().__init__(why)
        self.ended = ended


class NotInstalled(Exception):  # noqa: N818 - says what is
    """The package tikv-client is not there."""


NOT_INSTALLED: Final = (
    "needs the package tikv-client 0.0.4, which exists for CPython 3.11 on Linux x86_64 (and macOS, Windows) only;"
    " pip install tikv-client==0.0.4 in such an environment"
)

_CONFLICT: Final = re.compile(r"conflict: Some\(|already_exist: Some\(|txn_not_found: Some\(")
"""In an error of a commit: another transaction wrote a key first, or has rolled this one back. Nothing was written."""
_LOCKED: Final = re.compile(r"Failed to resolve lock|locked: Some\(")
"""A lock of another transaction stayed; a commit meets it while it writes its own locks, so nothing is committed."""


def load() -> Any:
    """The native module.

    Raises:
        NotInstalled: with what to do.
    """
    try:
        return importlib.import_module("tikv_client.tikv_client")
    except ImportError as error:
        raise NotInstalled(NOT_INSTALLED) from error


def milliseconds(timestamp: int) -> int:
    """The physical part of a timestamp: PD's clock, Unix time in ms."""
    return timestamp >> LOGICAL_BITS


def _said(error: BaseException) -> str:
    """One short line of an error whose text may be long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def told(error: BaseException) -> Exception:
    """Our exception for a native one of a call that does not commit. A panic is a `BaseException` there."""
    if isinstance(error, trio.TooSlowError):
        return Unavailable("it did not answer in time")
    return Unavailable(_said(error))


def told_of_commit(error: BaseException) -> Exception:
    """Our exception for a native one of a commit. Only what is certainly not committed is `Conflict` or `Unavailable`: even a
    region error can follow an attempt that was carried out and whose reply was lost."""
    text = str(error)
    if _CONFLICT.search(text):
        return Conflict(_said(error))
    if _LOCKED.search(text):
        return Unavailable(_said(error))
    if isinstance(error, trio.TooSlowError):
        return OutcomeUnknown("the store did not answer in time", ended=False)
    return OutcomeUnknown(_said(error), ended=True)


class _Bound:
    """Native calls of one object."""

    def __init__(self, runner: Runner, native: Any) -> None:
        self._runner = runner
        self._native = native

    async def _call(self, make: Callable[[], Any], late: Callable[[Any], None] | None = None) -> Any:
        try:
            return await wait(self._runner, make, CALL_LIMIT, late)
        except (trio.Cancelled, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # panics too
            raise told(error) from error


class _Reader(_Bound):
    """What snapshots and transactions have in common."""

    async def get(self, key: bytes) -> bytes | None:
        """The value, None when there is none. Raises `Unavailable`."""
        value: bytes | None = await self._call(lambda: self._native.get(key))
        return value

    async def batch_get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The keys that exist, with their values; the reply must stay under 4 MiB. Raises `Unavailable`."""
        return dict(await self._call(lambda: self._native.batch_get(list(keys))))

    async def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first pairs of a range, ascending; each region of the range is asked for `limit`. Raises `Unavailable`."""
        pairs: list[tuple[bytes, bytes]] = await self._call(
            lambda: self._native.scan(start=start, end=end, limit=limit, include_start=True, include_end=False)
        )
        return pairs

    async def scan_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `scan`, without values."""
        keys: list[bytes] = await self._call(
            lambda: self._native.scan_keys(start=start, end=end, limit=limit, include_start=True, include_end=False)
        )
        return keys


class Snapshot(_Reader):
    """The state at one timestamp."""


class Txn(_Reader):
    """An optimistic transaction: a snapshot, and a commit that fails when a key it writes was written meanwhile. Whoever
    begins one ends it by `commit` or `rollback`: the native object must not be dropped open."""

    _ended = False

    async def commit(self, writes: Mapping[bytes, bytes | None], limit: float = CALL_LIMIT) -> int:
        """Write (None: delete) and commit; the commit's timestamp, 0 when there was nothing to write. Not interrupted by a
        cancellation. At `limit` seconds it goes on in the background.

        Raises:
            Conflict: nothing was written, another transaction was faster.
            Unavailable: nothing was written.
            OutcomeUnknown: it is not known whether it was written.
        """
        with trio.CancelScope(shield=True):
            try:
                await self._buffer(writes)
            except Unavailable:
                await self.rollback()
                raise
            self._ended = True
            try:
                timestamp = await wait(self._runner, self._native.commit, limit, _forget)
            except BaseException as error:  # panics too; this is shielded from cancellation
                wrong = told_of_commit(error)
                if not isinstance(wrong, OutcomeUnknown):
                    await self._unlock()
                raise wrong from error
        return timestamp or 0

    async def _buffer(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Hand the writes to the native buffer: all at once, since each is a call of its own."""
        if not writes:
            return
        native, left, done = self._native, len(writes), trio.Event()
        wrong: list[BaseException] = []

        def finished(value: object, error: BaseException | None) -> None:
            nonlocal left
            del value
            left -= 1
            if error is not None:
                wrong.append(error)
            if not left:
                done.set()

        for key, value in writes.items():
            self._runner.start(_write(native, key, value), finished)
        with trio.move_on_after(CALL_LIMIT):
            await done.wait()
        if wrong or left:
            raise told(wrong[0] if wrong else trio.TooSlowError())

    async def rollback(self) -> None:
        """End it without writing; does nothing when it has ended. Costs no remote call unless a commit was refused."""
        if not self._ended:
            self._ended = True
            await self._unlock()

    async def _unlock(self) -> None:
        """Take back what a refused commit has locked: the locks would stand for 3 s."""
        with trio.CancelScope(shield=True):
            try:
                await wait(self._runner, self._native.rollback, ROLLBACK_LIMIT, _forget)
            except BaseException:  # noqa: BLE001 - then the locks run out
                return


def _write(native: Any, key: bytes, value: bytes | None) -> Callable[[], Any]:
    return (lambda: native.delete(key)) if value is None else (lambda: native.put(key, value))


def _forget(value: object) -> None:
    del value


class Client(_Bound):
    """A connection to one cluster. There is no way to close the native one: it ends with the process."""

    @property
    def way(self) -> str:
        """``shim`` or ``thread``: how native calls come back (see `kvgate_tikv.calls`)."""
        return self._runner.name

    async def begin(self) -> Txn:
        """A transaction on the present state: one timestamp from PD. Raises `Unavailable`."""

        def late(native: Any) -> None:  # nobody waits for it any more, but it is open
            self._runner.start(native.rollback, lambda value, error: None)  # noqa: ARG005 - as `Finished`

        return Txn(self._runner, await self._call(lambda: self._native.begin(pessimistic=False), late))

    def snapshot(self, timestamp: int) -> Snapshot:
        """The state at a timestamp that PD gave. (One that is out of range would panic.)"""
        return Snapshot(self._runner, self._native.snapshot(timestamp, pessimistic=False))

    async def current_timestamp(self) -> int:
        """Ask PD: unique, and greater than any that was given before. Raises `Unavailable`."""
        timestamp: int = await self._call(self._native.current_timestamp)
        return timestamp

    async def gc(self, safepoint: int) -> None:
        """Let the cluster forget versions that no reader at `safepoint` or later can see; resolves older locks. Raises
        `Unavailable`."""
        await self._call(lambda: self._native.gc(safepoint))


async def connect(
    pd: Sequence[str],
    timeout: float = RPC_TIMEOUT,  # noqa: ASYNC109 - not of this call but of each remote one
    *,
    thread: bool = False,
) -> Client:
    """Connect to the cluster of the placement drivers `pd` (``host:port``); `timeout` in seconds for each remote call.
    `thread`: without trying the shim.

    Raises:
        NotInstalled: see `load`.
        Unavailable: no placement driver answered.
    """
    native = load().TransactionClient
    runner = await open_runner(lambda: native.connect([]), thread=thread)
    try:
        found = await wait(runner, lambda: native.connect(list(pd), timeout=timeout), CALL_LIMIT + timeout, _forget)
    except (trio.Cancelled, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics too
        raise told(error) from error
    return Client(runner, found)
