"""The journal, or LMDB behind it, cannot be written: what clients are told is true, also after the next start."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.errors import ConfigurationError, try_again
from kvgate.wire.reply import OK
from kvgate_lmdb import LmdbBackend, environment, groups, journal, mover, moving, recent, syncing, tools
from kvgate_lmdb.engine import Group, LmdbEngine
from kvgate_lmdb.journal import Journal
from kvgate_lmdb.syncing import Syncer
from tests.kvgate_lmdb import tight
from tests.kvgate_lmdb.store import Store, command, context, running, until
from tests.kvgate_lmdb.test_tools import good, quiet

pytestmark = pytest.mark.journal


class Disk:
    """Fails when it is told to, for the journal only: before a record is written, or behind that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = ""
        self.failed = 0
        depart = recent.Recent.depart

        def failing(made: recent.Recent, syncer: Syncer, *rest: Any) -> bool:
            return depart(made, _Failing(syncer, self) if self.fails else syncer, *rest)

        monkeypatch.setattr(recent.Recent, "depart", failing)
        monkeypatch.setattr(os, "pwrite", self._call("pwrite", os.pwrite))
        monkeypatch.setattr(os, "fdatasync", self._call("fdatasync", os.fdatasync))

    def _call(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if self.fails == name:
                self.failed += 1
                raise OSError(errno.EIO, "Input/output error")
            return real(*args)

        return call


class _Failing:
    """A syncer on that disk."""

    def __init__(self, real: Syncer, disk: Disk) -> None:
        self._real, self._disk, self._fails = real, disk, disk.fails

    def start(self, file: int, data: bytes, place: int, sync: bool) -> None:
        self._real.start(file, data if self._fails == "fdatasync" else data[:7], place, sync)

    def result(self) -> int:
        self._disk.failed += 1
        self._real.result()
        return errno.EIO

    def close(self) -> None:
        raise AssertionError("whoever made the real one closes it")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


CALLS = [("c", "pwrite"), ("c", "fdatasync"), ("python", "pwrite"), ("python", "fdatasync"), ("at once", "pwrite")]
"""The three ways to the journal, with what each calls."""


@pytest.fixture(params=["c", "python", "at once"])
def durable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Which of the three ways to the journal is gone."""
    if request.param == "c" and not syncing.WANTED:
        pytest.skip("the extension in C was not built, or is not wanted")
    if request.param == "python":
        monkeypatch.setattr(groups, "made", lambda _notify: None)
    return bool(request.param != "at once")


def killed(store: Store) -> None:
    """Let the block around `store` end as if its process were killed."""
    store.backend.engine.end_journal = lambda: None  # type: ignore[method-assign] # nobody would be there to do it


@pytest.mark.parametrize(("durable", "call"), CALLS, indirect=["durable"])
async def test_what_the_journal_did_not_take_is_committed_by_lmdb(
    tmp_path: Path, durable: bool, call: str, disk: Disk
) -> None:
    """Once: the record that may lie in the journal is not replayed."""
    async with running(tmp_path, durable=durable) as store:
        for number in range(1, 31):
            disk.fails = call if number % 7 in (3, 4) else ""
            assert await store.ask(b"INCR", b"n") == b":%d\r\n" % number
            assert await store.ask(b"GET", b"n") == b"$%d\r\n%d\r\n" % (len(str(number)), number)
        disk.fails = ""
        assert disk.failed >= 4
        killed(store)
    for _ in range(2):
        async with running(tmp_path) as store:
            assert await store.ask(b"GET", b"n") == b"$2\r\n30\r\n"
    assert good(tmp_path)


@pytest.mark.parametrize(("durable", "call"), CALLS, indirect=["durable"])
@pytest.mark.parametrize("dies", [True, False])
async def test_when_nothing_can_be_written_it_is_in_doubt(
    tmp_path: Path, durable: bool, call: str, dies: bool, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:

    def full(*_args: object) -> None:
        raise lmdb.DiskError("No space left on device")

    async with running(tmp_path, durable=durable) as store:
        assert await store.ask(b"INCR", b"n") == b":1\r\n"
        with monkeypatch.context() as patch:
            patch.setattr(recent, "put_records", full)
            patch.setattr(Group, "commit", full)
            disk.fails = call
            for _ in range(3):
                assert (await store.ask(b"INCR", b"n"))[:8] in (b"-INDOUBT", b"-ERR sto")
                assert await store.ask(b"GET", b"n") == b"$1\r\n1\r\n"
            if dies:
                killed(store)
            else:
                patch.undo()
                disk.fails = ""
                assert await store.ask(b"INCR", b"n") == b":2\r\n"
                killed(store)
    disk.fails = ""
    async with running(tmp_path) as store:
        found = await store.ask(b"GET", b"n")
        assert found in ([b"$1\r\n1\r\n", b"$1\r\n2\r\n"] if dies else [b"$1\r\n2\r\n"])


@pytest.mark.parametrize("where", ["store", "thread"])
async def test_a_record_that_may_be_there_is_never_called_not_executed(
    tmp_path: Path, durable: bool, where: str, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although LMDB, or a thread to use it, cannot be had: the next start may find the record."""

    def closed(*_args: object) -> None:
        raise try_again("the store is not open")

    def none(*_args: object) -> None:
        raise RuntimeError("can't start new thread")

    if where == "thread" and durable and not (syncing.WANTED and vars(groups)["made"] is syncing.made):
        where = "store"  # a thread of Python's has written the journal
    async with running(tmp_path, durable=durable) as store:
        assert await store.ask(b"INCR", b"n") == b":1\r\n"
        with monkeypatch.context() as patch:
            disk.fails = "fdatasync" if durable else "pwrite"
            if where == "store":
                patch.setattr(LmdbEngine, "write", closed)
            else:
                patch.setattr(trio.lowlevel, "start_thread_soon", none)
            assert (await store.ask(b"INCR", b"n")).startswith(b"-INDOUBT")
        disk.fails = ""
        assert await store.ask(b"INCR", b"n") == b":2\r\n"
        assert await store.ask(b"INCR", b"n") == b":3\r\n"


async def test_a_closing_store_whose_disk_fails_leaves_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object) -> None:
        raise lmdb.MapFullError("full")

    with monkeypatch.context() as patch:
        async with running(tmp_path) as store:
            await store.ask(b"MSET", b"a", b"1", b"Ads.T:b", b"2")
            patch.setattr(recent, "put_records", full)
    assert "is taken over at the next start" in caplog.text
    assert journal.exists(tmp_path)
    async with running(tmp_path) as store:
        assert await store.ask(b"MGET", b"a", b"Ads.T:b") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
    assert not journal.exists(tmp_path)


async def test_a_journal_that_the_store_has_no_room_for_is_said_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise lmdb.MapFullError("full")

    async with running(tmp_path, journal=True) as store:
        for number in range(50):
            await store.ask(b"SET", b"k%d" % number, bytes(30_000))
        killed(store)
    assert journal.exists(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(mover, "put_records", full)
        with pytest.raises(ConfigurationError, match=r"cannot take over the journal .*nothing is lost"):
            await LmdbBackend("local", tmp_path).run()
        with pytest.raises(ConfigurationError, match=r"cannot be taken over: .*nothing is lost"):
            tools.statistics(tmp_path, quiet)
    async with running(tmp_path) as store:
        assert await store.ask(b"STRLEN", b"k49") == b":30000\r\n"


async def test_a_journal_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "__init__", refuse)
        with pytest.raises(ConfigurationError, match="cannot make the journal"):
            await LmdbBackend("local", tmp_path).run()
    async with running(tmp_path) as store:
        assert await store.ask(b"SET", b"k", b"v") == b"+OK\r\n"


async def idle(_self: moving.Mover) -> None:
    """A mover that moves nothing."""
    await trio.sleep_forever()


async def test_what_waits_for_lmdb_is_moved_before_a_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may need a page for each record, which would be more than the map has; but it shares them."""
    monkeypatch.setattr(moving.Mover, "run", idle)
    async with running(tmp_path, map_size=8 << 20, journal=True) as store:
        for number in range(3000):
            assert await store.ask(b"SET", b"k%d" % number, bytes(100)) == b"+OK\r\n"
        assert len(await store.keys()) == 3000


async def test_what_waits_for_lmdb_counts_when_room_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged must find room in LMDB's file: it is refused in time, and deletes help."""
    monkeypatch.setattr(moving.Mover, "run", idle)
    async with running(tmp_path, map_size=8 << 20, journal=True) as store:
        accepted = 0
        while (reply := await store.ask(b"SET", b"k%d" % accepted, bytes(20_000))) == b"+OK\r\n":
            accepted += 1
            assert accepted < 1000
        assert reply.startswith(b"-ERR store refuses to grow")
        assert accepted > 100
        await trio.to_thread.run_sync(store.backend.engine.settle)
        for number in range(accepted):
            assert await store.ask(b"DEL", b"k%d" % number) == b":1\r\n"
        assert await store.keys() == []
        await until(lambda: not environment.nearly_full(store.backend.engine.env, tmp_path))
        assert await store.ask(b"SET", b"k", bytes(20_000)) == b"+OK\r\n"


LIMITED = """
import resource, sys, trio
from pathlib import Path
from tests.kvgate_lmdb.store import running
async def main(path):
    async with running(Path(path), journal=True, durable=True) as store:
        number = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))
        while await store.ask(b"SET", b"k%d" % number, bytes(20_000)) == b"+OK\\r\\n":
            number += 1
        for each in range(number):
            assert await store.ask(b"STRLEN", b"k%d" % each) == b":20000\\r\\n", each
        print(number, flush=True)
        if sys.argv[2] == "more":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            for each in range(number, 2 * number):
                assert await store.ask(b"SET", b"k%d" % each, bytes(20_000)) == b"+OK\\r\\n"
        else:
            sys.stdin.read()
trio.run(main, sys.argv[1])
"""


def limited(path: Path, what: str) -> tuple[int, int]:
    """How many keys were set, and how the process ended."""
    command = [sys.executable, "-c", LIMITED, str(path), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=tight.environment()) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        if what == "killed":
            process.kill()
        process.communicate()
    return number, process.returncode


@pytest.mark.parametrize("what", ["more", "killed"])
async def test_files_that_may_not_grow(tmp_path: Path, what: str) -> None:
    """What was acknowledged is readable, and there after more room was given, or after the gate was killed."""
    number, status = await trio.to_thread.run_sync(limited, tmp_path, what)
    assert number > 100
    assert status == (0 if what == "more" else -9)
    async with running(tmp_path) as store:
        for each in range(number * (2 if what == "more" else 1)):
            assert await store.ask(b"STRLEN", b"k%d" % each) == b":20000\r\n"
    assert good(tmp_path)


class SlowSyncer:
    """A syncer whose disk does nothing until it is told to."""

    def __init__(self, real: Syncer) -> None:
        self._real = real
        self._todo: tuple[int, bytes, int, bool] | None = None
        self.goes_on = threading.Event()

    def start(self, file: int, data: bytes, place: int, sync: bool, /) -> None:
        self._todo = (file, data, place, sync)

    def result(self) -> int:
        assert self._todo is not None
        assert self.goes_on.wait(10), "nobody could let the disk go on"
        self._real.start(*self._todo)
        return self._real.result()

    def close(self) -> None:
        self._real.close()


@pytest.mark.skipif(not syncing.WANTED, reason="the extension in C was not built, or is not wanted")
async def test_a_store_that_is_closed_amid_a_sync_waits_for_it_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[SlowSyncer] = []

    def made(notify: int) -> Syncer:
        real = syncing.made(notify)
        assert real is not None
        slow.append(SlowSyncer(real))
        return slow[0]

    monkeypatch.setattr(groups, "made", made)
    told: list[object] = []
    async with trio.open_nursery() as others, running(tmp_path, durable=True) as store:
        assert store.backend.enqueue([command(b"SET", b"k", b"v")], context(), told.extend, lambda: None)
        await until(lambda: store.backend._groups._departed)

        async def let_it_go_on() -> None:  # when the store is closing already: trio has to be free for that
            await until(lambda: store.backend._groups._closed)
            assert not told
            slow[0].goes_on.set()

        others.start_soon(let_it_go_on)
    assert told == [OK]
    async with running(tmp_path) as store:
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"
