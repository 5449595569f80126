"""``kvgate store`` on an LMDB folder: check and count one snapshot, copy it, rewrite the file without its free pages.

Everything but compaction reads beside a serving gate. A reader holds its snapshot until it is done, and LMDB does not use
pages again that a snapshot may still see: while it lasts, the file grows by what is written. So that the snapshot has all that
the gate has acknowledged, it comes in as another gate would (kvgate_lmdb.access), until it has begun; to copy, until the end.
"""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb

from kvgate.backend import Progress, StoreStatistics
from kvgate.errors import ConfigurationError, GateError
from kvgate.model import census, keyspace
from kvgate.model.check import Check
from kvgate.model.overlay import Snapshot
from kvgate_lmdb import access, journal
from kvgate_lmdb.engine import LmdbEngine, Pages
from kvgate_lmdb.environment import MAX_READERS, check_format, check_size

DATA: Final = "data.mdb"
LOCK: Final = "lock.mdb"
_COMPACTING: Final = "compacting"
_STEP: Final = 1000  # records between two words about progress
_LOOK: Final = 0.1  # seconds between two looks at a growing copy


def has_store(path: Path) -> bool:
    """Whether LMDB's file lies there."""
    return (path / DATA).is_file()


@contextmanager
def _opened(path: Path, *, lock: bool = True) -> Iterator[lmdb.Environment]:
    """The store, to be read. Without `lock` no gate knows of the reader: then none may be running."""
    try:
        # A map size of 0 takes the file's own; the lock file is as a gate would make it, since one may join later
        options: dict[str, Any] = {"map_size": 0, "mode": 0o600, "max_readers": MAX_READERS}
        env = lmdb.open(str(path), readonly=True, create=False, lock=lock, **options)
    except (OSError, lmdb.Error) as error:
        raise ConfigurationError([f"{path}: cannot open the store: {error}"]) from error
    try:
        check_size(env, path)
        with env.begin() as txn:
            raw = txn.get(keyspace.HEADER)
        if raw is None:
            raise ConfigurationError([f"{path}: the file is LMDB's, but there is no store of kvgate in it"])
        check_format(raw, path)
        yield env
    except GateError as error:  # a header or record that this version does not know
        raise ConfigurationError([f"{path}: {error.text.removeprefix('ERR ')}"]) from error
    except lmdb.Error as error:
        raise ConfigurationError([f"{path}: the file cannot be read: {error}"]) from error
    finally:
        env.close()


@contextmanager
def _company(path: Path, *, always: bool = False) -> Iterator[None]:
    """Inside, LMDB's file has everything: no gate has a journal, and what one that was killed has left there is taken over.
    Nothing is done where no gate may have had one yet, unless `always`: for long work, during which one may come."""
    held: access.Access | None = None
    if always or access.is_used(path) or journal.exists(path):
        try:
            held = access.shared(path, lambda: _recover(path))
        except OSError as error:
            if journal.exists(path):
                why = f"{error.strerror}; without them what lies in its journal cannot be seen"
                raise ConfigurationError([f"{path}: cannot use the locks of the store: {why}"]) from error
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _recover(path: Path) -> None:
    if not journal.exists(path):
        return
    engine = LmdbEngine(path)
    try:
        engine.open()
        engine.recover()
    except lmdb.Error as error:
        raise ConfigurationError([f"{path}: the journal cannot be taken over: {error}; nothing is lost"]) from error
    finally:
        engine.close()


@contextmanager
def _begun(path: Path) -> Iterator[tuple[lmdb.Environment, "lmdb.Transaction[bytes]"]]:
    """The store, and a snapshot of all that is acknowledged; a gate has its journal again as soon as that has begun."""
    with ExitStack() as stack:
        with _company(path):
            env = stack.enter_context(_opened(path))
            txn = stack.enter_context(env.begin())
        yield env, txn


@contextmanager
def _snapshot(path: Path, what: str, progress: Progress) -> Iterator[tuple[lmdb.Environment, Snapshot, Callable[[], None]]]:
    """The store as it is now, and what to call for each record that was read."""
    with _begun(path) as (env, txn):
        total, done = txn.stat(env.open_db(None, txn=txn))["entries"], 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % _STEP == 0:
                progress(what, done, total)

        yield env, Pages(txn), step
        progress(what, total, total)


def check(path: Path, progress: Progress) -> Iterator[str]:
    """As `StoreTools.check_store`."""
    with _snapshot(path, "records checked", progress) as (_, snapshot, step):
        problems = Check(snapshot, step).problems()
        while True:
            try:
                problem = next(problems, None)
            except lmdb.Error as error:
                yield f"the file itself is damaged: {error}"
                return
            if problem is None:
                return
            yield problem


def statistics(path: Path, progress: Progress) -> StoreStatistics:
    """As `StoreTools.store_statistics`."""
    with _snapshot(path, "records counted", progress) as (env, snapshot, step):
        found = census.take(snapshot, time.time_ns() // 1_000_000, step)
        info, stat = env.info(), env.stat()
        pages = info["last_pgno"] + 1
        used = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return StoreStatistics(
            figures={
                "keys": sum(amount.keys for amount in found.types.values()),
                "keys_with_expiry": found.with_expiry,
                "expired_not_swept_keys": found.expired.keys,
                "expired_not_swept_bytes": found.expired.bytes,
                "flushed_not_swept_keys": found.flushed.keys,
                "flushed_not_swept_bytes": found.flushed.bytes,
                "deleted_not_swept_values": found.garbage.keys,
                "deleted_not_swept_bytes": found.garbage.bytes,
                "orders_for_the_sweeper": found.queued,
                "records": found.records,
                "record_bytes": found.bytes,
                "page_bytes": stat["psize"],
                "used_pages": used,
                "free_pages": pages - used - 2,  # two are LMDB's own; a few of these hold the list of the others
                "file_bytes": (path / DATA).stat().st_size,
                "map_bytes": info["map_size"],
            },
            groups={name: (amount.keys, amount.bytes) for name, amount in found.groups.items()},
            types={name: (amount.keys, amount.bytes) for name, amount in found.types.items()},
        )


def back_up(path: Path, target: Path, progress: Progress) -> int:
    """As `StoreTools.back_up_store`."""
    if target.exists():
        raise ConfigurationError([f"{target}: exists already; a backup goes to a new folder"])
    partial = target.with_name(target.name + ".partial")
    with _opened(path):
        pass  # refuse what is no store before anything is made
    with _company(path, always=True), _opened(path) as env, _new_folder(partial):
        size = _copy(env, partial, "bytes copied", progress)
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    return size


def compact(path: Path, progress: Progress) -> tuple[int, int]:
    """As `StoreTools.compact_store`. The new file replaces the old one at once, when it is whole and on the disk; until then
    the old one is untouched."""
    with _alone(path):
        pass
    with _company(path), _alone(path):
        before = (path / DATA).stat().st_size
        fresh = path / _COMPACTING
        shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
        with _opened(path, lock=False) as env, _new_folder(fresh):
            size = _copy(env, fresh, "bytes rewritten", progress)
            with _opened(fresh, lock=False) as copy:
                counts = [each.stat()["entries"] for each in (env, copy)]
            if counts[0] != counts[1]:
                raise ConfigurationError([f"{path}: the copy has {counts[1]} records, not {counts[0]}; nothing was changed"])
            (fresh / DATA).replace(path / DATA)
            _sync(path)
    return before, size


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold LMDB's own lock of the folder: while a process has the store open it keeps a shared lock on the first byte of the
    lock file; one that opens it waits for ours. So nobody can open the old file while it is being replaced."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError([f"{path / LOCK}: cannot be opened: {error.strerror}"]) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        yield
    except BlockingIOError:
        raise ConfigurationError([f"{path}: a gate (or another command) has the store open; stop it first"]) from None
    finally:
        os.close(descriptor)


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """A folder that is gone at the end, unless it was renamed."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ConfigurationError([f"{folder}: exists already; is another backup running? If not, remove it"]) from None
    except OSError as error:
        raise ConfigurationError([f"{folder}: cannot be made: {error.strerror}"]) from error
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(env: lmdb.Environment, folder: Path, what: str, progress: Progress) -> int:
    """Copy one snapshot without free pages into an empty folder, onto the disk; its bytes."""
    stat = env.stat()
    total = stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
    disk = os.statvfs(folder)
    left = disk.f_bavail * disk.f_frsize
    if left < total:
        raise ConfigurationError([f"{folder}: the copy needs {total} bytes, the disk has {left} left"])
    failed: list[Exception] = []

    def work() -> None:
        try:
            env.copy(str(folder), compact=True)
        except (OSError, lmdb.Error) as error:
            failed.append(error)

    copying = threading.Thread(target=work, daemon=True)
    copying.start()
    file = folder / DATA
    while copying.is_alive():
        copying.join(_LOOK)
        progress(what, file.stat().st_size if file.exists() else 0, total)
    if failed:
        raise ConfigurationError([f"{folder}: the copy failed: {failed[0]}"]) from failed[0]
    file.chmod(0o600)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    size = file.stat().st_size
    progress(what, size, size)
    return size


def _sync(folder: Path) -> None:
    """Let the names in a folder be on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
