"""Several processes on one store: one alone with a journal, or all without, and what happens when they come and go."""

import os
import random
import shutil
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import lmdb
import pytest
import trio

from kvgate.errors import ConfigurationError
from kvgate_lmdb import LmdbBackend, access, backend, journal, recent
from kvgate_lmdb.access import Access, shared
from kvgate_lmdb.engine import LmdbEngine
from kvgate_lmdb.journal import Journal
from tests.kvgate_lmdb.store import Store, context, running, until
from tests.kvgate_lmdb.test_durability import worker
from tests.kvgate_lmdb.test_tools import good
from tests.support.servers import wait_for

pytestmark = pytest.mark.journal


def test_one_is_alone_until_another_one_asks(tmp_path: Path) -> None:
    first, second = Access(tmp_path), Access(tmp_path)
    assert first.try_alone()
    assert not first.is_wanted()
    assert first.try_alone(), "it still is"
    coming = threading.Thread(target=second.share)
    coming.start()
    wait_for(first.is_wanted, "the second one to ask")
    assert coming.is_alive()
    first.share()
    coming.join(10)
    assert not coming.is_alive()
    for _ in range(3):
        assert not first.try_alone()
        assert not second.try_alone()
    second.close()
    assert first.try_alone()
    first.close()


def test_who_asks_in_vain_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PATIENCE", 0.1)
    first = Access(tmp_path)
    assert first.try_alone()
    with pytest.raises(ConfigurationError, match="lets nobody in; stop it"):
        shared(tmp_path, lambda: pytest.fail("nothing may be done"))
    assert not first.is_wanted(), "it gave its lock back"
    first.close()
    with pytest.raises(ZeroDivisionError):
        shared(tmp_path, lambda: 1 / 0)
    held = shared(tmp_path, lambda: None)
    other = Access(tmp_path)
    assert not other.try_alone()
    held.close()
    assert other.try_alone()
    other.close()


def test_never_two_alone_and_never_one_beside_others(tmp_path: Path) -> None:
    """Whatever several of them do at the same time; who tries to be alone is among the others all the while."""
    states = dict[int, str]()
    wrong = list[object]()
    alones = 0
    guard = threading.Lock()

    def note(name: int, state: str) -> int:
        nonlocal alones
        with guard:
            states[name] = state
            alones += state == "alone"
            if [*states.values()].count("alone") > ("shared" not in states.values()):
                wrong.append(dict(states))
            return alones

    def live(name: int) -> None:
        dice = random.Random(name)
        mine = Access(tmp_path)
        mine.share()
        for _ in range(200):
            before = note(name, "shared")
            if dice.random() < 0.3:  # it ends, and another one begins
                note(name, "")
                mine.close()
                mine = Access(tmp_path)
                alone = mine.try_alone()
            else:
                note(name, "")
                alone = mine.try_alone()
                if not alone and note(name, "shared") != before:
                    wrong.append("somebody was alone meanwhile")
            if alone:
                note(name, "alone")
                while not mine.is_wanted() and dice.random() < 0.95:
                    pass
                note(name, "")
                mine.share()
        note(name, "")
        mine.close()

    threads = [threading.Thread(target=live, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong, wrong[:3]
    assert alones


def test_who_could_make_no_journal_lets_others_in(tmp_path: Path) -> None:
    """It is alone then, without one."""
    first, second = Access(tmp_path), Access(tmp_path)
    assert first.try_alone()
    coming = threading.Thread(target=second.share)
    coming.start()
    wait_for(first.is_wanted, "the second one to ask")
    assert not first.try_alone()  # its next look
    coming.join(10)
    assert not coming.is_alive()
    for each in (first, second):
        each.close()


def test_no_file_is_left_open_without_the_second_lock(tmp_path: Path) -> None:
    (tmp_path / access.COMPANY).mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IsADirectoryError):
        Access(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is alone again soon."""
    monkeypatch.setattr(backend, "ALONE_AGAIN", 0.05)
    monkeypatch.setattr(backend, "LOOK", 0.01)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("durable", [True, False])
async def test_processes_that_come_and_go_count_with_one_that_stays(tmp_path: Path, durable: bool) -> None:
    counted, stop = 0, False
    seen: set[bool] = set()
    async with running(tmp_path, durable=durable) as store:

        async def count() -> None:
            nonlocal counted
            last = 0
            while not stop:
                number = int((await store.ask(b"INCR", b"n"))[1:])
                assert number > last
                last = number
                assert int((await store.ask(b"GET", b"n")).split(b"\r\n")[1]) >= number
                counted += 1
                seen.add(journal.exists(tmp_path))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(count)
            for turn in range(3):
                with worker("count", tmp_path, "n", "80", *[] if durable else ["no"]) as process:
                    assert process.stdin is not None
                    assert process.stdout is not None
                    assert await trio.to_thread.run_sync(process.stdout.readline) == b"ready\n"
                    assert store.backend.engine.recent.journal is None
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                    if turn == 1:
                        process.kill()
                    assert await trio.to_thread.run_sync(process.wait) == (-9 if turn == 1 else 0)
                await until(lambda: store.backend.engine.recent.journal is not None)
            stop = True
        total = int((await store.ask(b"GET", b"n")).split(b"\r\n")[1])
        assert counted + 160 <= total <= counted + 240  # what the one that was killed did, nobody knows
    assert seen == {True, False}
    async with running(tmp_path) as store:
        assert await store.ask(b"GET", b"n") == b"$%d\r\n%d\r\n" % (len(str(total)), total)
    assert good(tmp_path)


@pytest.mark.usefixtures("eager")
async def test_a_journal_that_is_left_is_taken_over_by_one_of_many(tmp_path: Path) -> None:
    """All start at once."""
    async with running(tmp_path) as store:
        for number in range(100):
            await store.ask(b"SET", b"k%d" % number, b"v")
        assert await store.ask(b"INCR", b"n") == b":1\r\n"
        await store.pipeline([(b"GET", b"n")])
        assert await store.ask(b"INCR", b"n") == b":2\r\n"
        store.backend.engine.end_journal = lambda: None  # type: ignore[method-assign] # as if it were killed
    assert journal.exists(tmp_path)
    async with AsyncExitStack() as stack:
        workers = [stack.enter_context(worker("count", tmp_path, "n", "40")) for _ in range(3)]
        for process in workers:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        for process in workers:
            assert await trio.to_thread.run_sync(process.wait) == 0
    async with running(tmp_path) as store:
        assert await store.ask(b"GET", b"n") == b"$3\r\n122\r\n"
        assert len(await store.keys()) == 101
    assert not journal.exists(tmp_path)
    assert good(tmp_path)


async def test_who_cannot_settle_lets_nobody_in_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object) -> None:
        raise lmdb.MapFullError("full")

    async with running(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(access, "PATIENCE", 1.0)
            patch.setattr(recent, "put_records", full)
            assert await store.ask(b"SET", b"k", b"v") == b"+OK\r\n"

            def come() -> None:
                with pytest.raises(ConfigurationError, match="lets nobody in"):
                    shared(tmp_path, lambda: None)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, come)
                for number in range(50):
                    assert await store.ask(b"SET", b"k%d" % number, b"v") == b"+OK\r\n"
                    await trio.lowlevel.checkpoint()
        held = await trio.to_thread.run_sync(shared, tmp_path, lambda: None)
        assert not journal.exists(tmp_path)
        assert await store.ask(b"SET", b"k", b"w") == b"+OK\r\n"
        held.close()
        assert await store.ask(b"GET", b"k49") == b"$1\r\nv\r\n"
    assert "full" in caplog.text


async def test_an_end_that_cannot_remove_its_files_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in them is in LMDB's file, and is not put there again over newer records."""

    def refuse(_folder: Path) -> None:
        raise PermissionError("removing is not allowed")

    monkeypatch.setattr(backend, "ALONE_AGAIN", 0.05)
    async with running(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(journal, "remove", refuse)
            await store.ask(b"SET", b"k", b"old")
            held = await trio.to_thread.run_sync(shared, tmp_path, lambda: None)
            assert journal.exists(tmp_path)
            assert await store.ask(b"SET", b"k", b"new") == b"+OK\r\n"
            held.close()
            await until(lambda: store.backend.engine.recent.journal is not None)
        assert await store.ask(b"GET", b"k") == b"$3\r\nnew\r\n"
        assert await store.ask(b"APPEND", b"k", b"er") == b":5\r\n"
        store.backend.engine.end_journal = lambda: None  # type: ignore[method-assign] # as if it were killed
    async with running(tmp_path) as store:
        assert await store.ask(b"GET", b"k") == b"$5\r\nnewer\r\n"


async def test_a_store_without_the_record_of_the_journal_is_taken(tmp_path: Path) -> None:
    """As an older kvgate left it; its first journal begins with record 1."""
    async with running(tmp_path, journal=False) as store:
        await store.ask(b"SET", b"k", b"v")
    async with running(tmp_path) as store:
        assert await store.ask(b"INCR", b"n") == b":1\r\n"
        made = store.backend.engine.recent.journal
        assert isinstance(made, Journal)
        assert made.last == 1
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"


async def test_a_copy_of_the_folder_of_a_gate_that_was_killed_is_whole(tmp_path: Path) -> None:
    async with running(tmp_path / "store") as store:
        for number in range(50):
            await store.ask(b"SET", b"k%d" % number, b"v")
        store.backend.engine.end_journal = lambda: None  # type: ignore[method-assign] # as if it were killed
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    for name in ("copy", "store"):
        async with running(tmp_path / name) as store:
            assert len(await store.keys()) == 50
            assert await store.ask(b"SET", b"k0", name.encode()) == b"+OK\r\n"
    async with running(tmp_path / "copy") as store:
        assert await store.ask(b"GET", b"k0") == b"$4\r\ncopy\r\n"


async def test_small_maps_have_no_journal(tmp_path: Path) -> None:
    made = LmdbBackend("local", tmp_path, map_size=256 << 20)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        assert await Store(made).ask(b"SET", b"k", b"v") == b"+OK\r\n"
        assert not journal.exists(tmp_path)
        assert (await made.revisions([b"k"], context()))[0] > 0
        nursery.cancel_scope.cancel()


def test_a_journal_of_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The store's file was lost: what the journal says of it begins in the middle."""
    left = Journal(tmp_path, 500, durable=False)
    left.append({b"k": b"v"})
    left.close()
    engine = LmdbEngine(tmp_path, map_size=64 << 20)
    engine.open()
    with pytest.raises(ConfigurationError, match="record 1 cannot be read"):
        engine.recover()
    engine.close()
    assert journal.exists(tmp_path)
