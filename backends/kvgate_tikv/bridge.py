"""The one place that knows the package tikv-client: its native classes behind coroutines of trio, its errors as ours.

    client = await connect(["127.0.0.1:2379"])
    txn = await client.begin()
    ...; await txn.commit({b"key": b"value", b"gone": None})

Another binding can take its place by offering `Client`, `Txn` and `Snapshot`. Rests on tikv-client 0.0.4 (the Rust client of
November 2023, pyo3-asyncio 0.19); `calls` says how.

**That client is not believed when it says "committed".** Where it cannot find a region or reach a store while it spreads
a prewrite or a commit, it leaves that part out and reports success (observed; client-rust issue 497 tells of it, too): any
part of a commit may be missing, its primary too. So each commit is read back, and what is missing is written again.
"""

import importlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from kvgate.errors import Conflict
from kvgate_tikv.calls import Runner, open_runner, wait

log = logging.getLogger("kvgate.tikv")

RPC_TIMEOUT: Final = 1.0
"""Seconds for one remote call; the native client makes up to 12 of them, with pauses of 1.5 s altogether, before it gives up.
Half a second is left of a command's 1.5 s to find out what became of a commit."""
CALL_LIMIT: Final = 2.0
"""Seconds for any call as a whole: asking PD for a timestamp has no limit of its own."""
ROLLBACK_LIMIT: Final = 5.0
SETTLE_LIMIT: Final = 5.0
"""Seconds to find out what a commit has done: locks that it left run out after 3."""
SETTLE_PAUSE: Final = 0.05
"""Seconds between two looks at what a commit has done."""
MOST_VALUES: Final = 100
"""Values in one reply: with 32,700 bytes each they stay under the 4 MiB that the native client takes."""
LOGICAL_BITS: Final = 18
"""Of a timestamp: the milliseconds since 1970 are above."""


class Unavailable(Exception):  # noqa: N818 - a state of the store
    """The store did not do it, and nothing was written: another try may succeed."""


class OutcomeUnknown(Exception):  # noqa: N818 - a state of a commit
    """A commit may or may not have happened, or not wholly. `ended`: the client library has given up on it, else it may still
    happen at any moment."""

    def __init__(self, why: str, *, ended: bool = True) -> None:
        """Keep what is known."""
        super().__init__(why)
        self.ended = ended


class _NotCommitted(Exception):  # noqa: N818 - what was found out
    """Nothing of a commit is there, and nothing will be."""


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


_NOTHING: Final[Mapping[bytes, bytes | None]] = {}


@attrs.frozen(slots=True)
class _Commit:
    """What was to be written, and what is known of it."""

    writes: Mapping[bytes, bytes | None]
    timestamp: int
    """0: the client library did not say."""
    mark: bytes
    before: Mapping[bytes, bytes | None]


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
        """The keys that exist, with their values. Raises `Unavailable`."""
        found: dict[bytes, bytes] = {}
        for at in range(0, len(keys), MOST_VALUES):
            part = list(keys[at : at + MOST_VALUES])
            found.update(await self._call(lambda part=part: self._native.batch_get(part)))  # type: ignore[misc]  # of bytes
        return found

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """As `batch_get`, with None for keys that do not exist."""
        found = await self.batch_get(keys)
        return {key: found.get(key) for key in keys}

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

    def __init__(self, client: "Client", native: Any) -> None:
        """Of `client`; `native` is open."""
        super().__init__(client.runner, native)
        self._client = client
        self._ended = False
        self.trouble = ""
        """What was unusual about the commit; empty for most."""

    async def commit(
        self,
        writes: Mapping[bytes, bytes | None],
        limit: float = CALL_LIMIT,
        *,
        mark: bytes = b"",
        before: Mapping[bytes, bytes | None] = _NOTHING,
    ) -> int:
        """Write (None: delete) and commit; a timestamp at which it is there, 0 when there was nothing to write. Not
        interrupted by a cancellation. At `limit` seconds it goes on in the background. `mark`: a key that is new with these
        writes; its presence decides where the client library does not know. `before`: what is known to have been there.

        Raises:
            Conflict: nothing was written, another transaction was faster.
            Unavailable: nothing was written.
            OutcomeUnknown: it is not known whether it was written.
        """
        end, timestamp = trio.current_time() + limit, 0
        with trio.CancelScope(shield=True):
            try:
                await self._buffer(writes, mark)
            except Unavailable:
                await self.rollback()
                raise
            timestamp = await self._native_commit(limit, decidable=bool(mark))
            if writes:
                commit = _Commit(writes, timestamp, mark, before)
                timestamp = await self._settle(commit, max(end, trio.current_time() + SETTLE_LIMIT))
        return timestamp

    async def _native_commit(self, limit: float, *, decidable: bool) -> int:
        """The timestamp that the client library says, 0 when it does not know and that can be decided. Raises as `commit`."""
        self._ended = True
        try:
            timestamp: int | None = await wait(self._runner, self._native.commit, limit, _forget)
        except BaseException as error:  # panics too; this is shielded from cancellation
            wrong = told_of_commit(error)
            if not isinstance(wrong, OutcomeUnknown):
                await self._unlock()
                raise wrong from error
            self.trouble = str(wrong)
            if not (decidable and wrong.ended):
                raise wrong from error
            return 0
        return timestamp or 0

    async def _settle(self, commit: "_Commit", end: float) -> int:
        """Read back what a commit should have written, and write what it left out, until `end` (trio's clock). Raises as
        `commit`."""
        why = "it could not be read back"
        with trio.move_on_at(end):
            while True:
                try:
                    timestamp = commit.timestamp or await self._client.current_timestamp()
                    found = await self._client.snapshot(timestamp).batch_get(list(commit.writes))
                    missing = {key: found.get(key) for key, value in commit.writes.items() if found.get(key) != value}
                    if missing:
                        await self._mend(commit, missing)
                except (Unavailable, Conflict) as error:
                    why = str(error)  # a lock still stands, or the store is away
                    await trio.sleep(SETTLE_PAUSE)
                except _NotCommitted:
                    raise Unavailable("the client library did not carry out the commit") from None
                else:
                    return timestamp
        raise OutcomeUnknown(why)

    async def _mend(self, commit: "_Commit", missing: Mapping[bytes, bytes | None]) -> None:
        """Write the `missing` records (with what is there instead), unless all are, or others have written there.

        Raises:
            Conflict, Unavailable: try again.
            OutcomeUnknown: others have written there.
        """
        before = commit.before
        if commit.timestamp:
            before = await self._client.snapshot(commit.timestamp - 1).get_many(list(commit.writes))
            if not any(key not in missing and before[key] != value for key, value in commit.writes.items()):
                raise _NotCommitted
        elif commit.mark in missing:
            raise _NotCommitted  # an error: then its primary, the mark, was committed first, or nothing
        if any(before.get(key, instead) != instead for key, instead in missing.items()):
            raise OutcomeUnknown("the client library may have left out a part of the commit")
        log.error("a commit left out %d of %d records; they are written now", len(missing), len(commit.writes))
        self.trouble = "a part was left out"
        txn = await self._client.begin()
        try:
            found = await txn.get_many(list(missing))
            left = {key: commit.writes[key] for key in missing if found[key] != commit.writes[key]}
            if any(found[key] != missing[key] for key in left):
                raise OutcomeUnknown("a part of the commit was left out, and others have written there since: it is torn")
            try:
                await txn.commit(left)
            except OutcomeUnknown as error:
                raise Unavailable(str(error)) from error  # the next look tells
        finally:
            await txn.rollback()

    async def _buffer(self, writes: Mapping[bytes, bytes | None], mark: bytes) -> None:
        """Hand the writes to the native buffer: the mark first, since the native client takes the first one for its primary;
        the others all at once, since each is a call of its own."""
        if mark:
            await self._call(_write(self._native, mark, writes[mark]))
        rest = {key: value for key, value in writes.items() if key != mark}
        if not rest:
            return
        native, left, done = self._native, len(rest), trio.Event()
        wrong: list[BaseException] = []

        def finished(value: object, error: BaseException | None) -> None:
            nonlocal left
            del value
            left -= 1
            if error is not None:
                wrong.append(error)
            if not left:
                done.set()

        for key, value in rest.items():
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
    def runner(self) -> Runner:
        """What starts its native calls."""
        return self._runner

    @property
    def way(self) -> str:
        """``shim`` or ``thread``: how native calls come back (see `kvgate_tikv.calls`)."""
        return self._runner.name

    async def begin(self) -> Txn:
        """A transaction on the present state: one timestamp from PD. Raises `Unavailable`."""

        def late(native: Any) -> None:  # nobody waits for it any more, but it is open
            self._runner.start(native.rollback, lambda value, error: None)  # noqa: ARG005 - as `Finished`

        return Txn(self, await self._call(lambda: self._native.begin(pessimistic=False), late))

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
