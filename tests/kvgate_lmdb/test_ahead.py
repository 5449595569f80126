"""Commands that are run before their commit begins: what they stood on may not come true, and nobody may notice."""

import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.errors import GateError
from kvgate.model import keyspace
from kvgate.model.kv import KvTxn, transact
from kvgate.model.meta import STRING, Meta, encode
from kvgate.wire.reply import OK, Error
from kvgate_lmdb import ahead, engine, groups
from tests.kvgate_lmdb.store import Store, command, context, running, until


async def all_at_once(store: Store, *commands: tuple[bytes, ...]) -> list[bytes]:
    """Each from a client of its own, in this order."""
    replies: dict[int, bytes] = {}

    async def client(number: int, command: tuple[bytes, ...]) -> None:
        replies[number] = await store.ask(*command)

    async with trio.open_nursery() as nursery:
        for number, command in enumerate(commands):
            nursery.start_soon(client, number, command)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
    return [replies[number] for number in range(len(commands))]


def landings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Filled with the outcome of each group that was run ahead: whether it came true."""
    seen: list[bool] = []
    land = ahead.Ahead.land

    def noted(group: ahead.Ahead) -> bool:
        seen.append(land(group))
        return seen[-1]

    monkeypatch.setattr(ahead.Ahead, "land", noted)
    return seen


@pytest.mark.direct
async def test_what_was_run_ahead_is_committed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = landings(monkeypatch)
    async with running(tmp_path) as store:
        replies = await all_at_once(store, *[(b"INCR", b"n")] * 200)
        assert sorted(int(reply[1:]) for reply in replies) == list(range(1, 201))
        assert await store.ask(b"GET", b"n") == b"$3\r\n200\r\n"
    assert seen
    assert all(seen)


@pytest.mark.direct
async def test_another_writer_in_between_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker of another process would write: after the command was run and before its commit."""
    seen = landings(monkeypatch)
    land = ahead.Ahead.land

    def write(env: lmdb.Environment) -> None:
        with env.begin(write=True) as txn:
            txn.put(keyspace.meta_key(b"n"), encode(Meta(STRING, payload=b"40"), 0, 1, None))

    async with running(tmp_path) as store:

        def meet(group: ahead.Ahead) -> bool:
            if not seen:
                write(store.backend.engine.env)
            return land(group)

        monkeypatch.setattr(ahead.Ahead, "land", meet)
        assert await store.ask(b"INCR", b"n") == b":41\r\n"
        assert seen == [False]
        assert await store.ask(b"INCR", b"n") == b":42\r\n"  # on the thread: another one is expected to be near
        assert seen == [False]
        monkeypatch.setattr(groups, "APART", 0.0)
        store.backend._groups._not_before = 0.0
        assert await store.ask(b"INCR", b"n") == b":43\r\n"
        assert seen == [False, True]


async def test_other_transactions_of_the_process_are_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as store:

        async def raise_it(txn: KvTxn) -> None:
            raw = await txn.get(keyspace.meta_key(b"m"))
            number = 0 if raw is None else int(raw[18:])
            # with a revision of its own, so that it reads nothing that the others write and loses to none of them
            txn.put(keyspace.meta_key(b"m"), encode(Meta(STRING, payload=b"%d" % (number + 1)), 0, 1, None))

        async def raise_often() -> None:
            for _ in range(20):
                await transact(store.backend.engine, raise_it)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_often)
            for _ in range(200):
                nursery.start_soon(store.ask, b"INCR", b"n")
                await trio.lowlevel.checkpoint()
        assert await store.ask(b"MGET", b"n", b"m") == b"*2\r\n$3\r\n200\r\n$2\r\n20\r\n"


@pytest.mark.direct
async def test_what_stands_on_a_commit_that_failed_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"n", b"0")
        commit, failed = engine.Group.commit, list[Any]()

        def fail(group: engine.Group) -> None:
            if len(failed) < 2:  # together, then alone
                failed.append(group)
                raise lmdb.MapFullError("full")
            commit(group)

        monkeypatch.setattr(engine.Group, "commit", fail)
        replies = await all_at_once(store, *[(b"INCR", b"n")] * 50)
        refused = [reply for reply in replies if reply.startswith(b"-ERR store is full")]
        assert len(refused) == 1
        counted = sorted(int(reply[1:]) for reply in replies if reply not in refused)
        assert counted == list(range(1, 50))
        assert await store.ask(b"GET", b"n") == b"$2\r\n49\r\n"


@pytest.mark.direct
async def test_a_command_that_is_too_long_for_it_takes_its_pipeline_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = landings(monkeypatch)
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"long", bytes(8 << 20))
        seen.clear()
        assert await store.pipeline([(b"INCR", b"n"), (b"GETDEL", b"long"), (b"INCR", b"n")]) == [
            b":1\r\n",
            b"$%d\r\n%b\r\n" % (8 << 20, bytes(8 << 20)),
            b":2\r\n",
        ]
        assert not seen
        assert await store.pipeline([(b"INCR", b"n"), (b"GETDEL", b"long"), (b"INCR", b"n")]) == [
            b":3\r\n",
            b"$-1\r\n",
            b":4\r\n",
        ]
        assert seen == [True]


async def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        replies = await all_at_once(
            store,
            (b"SET", b"s", b"text"),
            (b"INCR", b"s"),
            (b"HSET", b"s", b"f", b"v"),
            (b"MSETNX", b"new", b"1", b"s", b"2"),
            (b"GETSET", b"s", b"more"),
            (b"INCR", b"new"),
        )
        assert [reply[:4] for reply in replies] == [b"+OK\r", b"-ERR", b"-WRO", b":0\r\n", b"$4\r\n", b":1\r\n"]


async def test_no_snapshot_is_left_open(tmp_path: Path) -> None:
    """A reader that stays keeps the file growing, and takes one of LMDB's places for readers."""
    async with running(tmp_path) as store:
        for _ in range(5):
            await all_at_once(store, *[(b"INCR", b"n"), (b"GET", b"n"), (b"INCR", b"text"), (b"SET", b"text", b"x")] * 20)
        readers = store.backend.engine.env.readers().splitlines()
        assert len(readers) < 10, readers
        assert all(line.split()[-1] == "-" for line in readers[1:]), readers


class SlowDisk:
    """Commits that wait until they are let through, one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self._through = threading.Semaphore(0)
        commit = engine.Group.commit

        def wait(group: engine.Group) -> None:
            self.waiting += 1
            assert self._through.acquire(timeout=20)
            commit(group)

        monkeypatch.setattr(engine.Group, "commit", wait)

    def let(self, number: int = 1) -> None:
        self._through.release(number)

    async def reached(self, number: int) -> None:
        """Until so many commits have come here, in all."""
        await until(lambda: self.waiting >= number)


@pytest.mark.direct
async def test_all_that_waits_goes_with_the_next_commit_but_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a command that had to go to the thread, when there is time for one queued job at each landing only."""
    disk = SlowDisk(monkeypatch)
    monkeypatch.setattr(groups, "CATCH_UP", 0.0)
    async with running(tmp_path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.ask, b"SET", b"first", b"v")
        await disk.reached(1)
        nursery.start_soon(store.ask, b"SET", b"large", bytes(100_000))
        await until(lambda: len(store.backend._groups._queue) == 1)
        disk.let()
        await disk.reached(2)  # the large one, on the thread
        for number in range(300):
            nursery.start_soon(store.ask, b"SET", b"k%d" % number, b"v")
        await until(lambda: len(store.backend._groups._queue) == 300)
        disk.let()
        await disk.reached(3)  # one of them
        await until(lambda: not store.backend._groups._queue)
        disk.let(2)
        await disk.reached(4)  # all the others
        await until(lambda: store.backend._groups.commands == 302)
        assert disk.waiting == 4


@pytest.mark.direct
async def test_an_unreadable_record_that_is_watched_is_told_to_its_client_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    async with running(tmp_path) as store:
        with store.backend.engine.env.begin(write=True) as txn:
            txn.put(keyspace.meta_key(b"newer"), b"\xc8" + bytes(17))
        told: list[str] = []

        async def block() -> None:
            with pytest.raises(GateError) as refused:
                await store.backend.execute_block([command(b"SET", b"a", b"1")], {b"newer": 1}, context())
            told.append(str(refused.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.ask, b"SET", b"first", b"v")
            await disk.reached(1)
            nursery.start_soon(store.ask, b"SET", b"large", bytes(100_000))
            await until(lambda: len(store.backend._groups._queue) == 1)
            nursery.start_soon(block)  # behind it, in the queue
            await until(lambda: len(store.backend._groups._queue) == 2)
            disk.let(3)
        assert told
        assert "unknown to this version" in told[0]
        disk.let(2)
        await block()
        assert await store.ask(b"SET", b"b", b"1") == b"+OK\r\n"
        assert await store.ask(b"EXISTS", b"a", b"b", b"first", b"large") == b":3\r\n"


@pytest.mark.direct
async def test_a_folder_that_is_away_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as store:
        with monkeypatch.context() as patch:

            def away(*_args: object) -> str:
                raise FileNotFoundError("the folder is away")

            patch.setattr(groups, "nearly_full", away)
            assert (await store.ask(b"SET", b"a", b"1")).startswith(b"-INDOUBT")
        assert await store.ask(b"SET", b"b", b"1") == b"+OK\r\n"


@pytest.mark.direct
async def test_without_a_thread_nothing_is_executed_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as store:
        with monkeypatch.context() as patch:

            def none(*_args: object) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(trio.lowlevel, "start_thread_soon", none)
            assert (await store.ask(b"SET", b"a", b"1")).startswith(b"-TRYAGAIN")
        assert await store.ask(b"SET", b"b", b"1") == b"+OK\r\n"
        assert await store.keys() == [b"b"]


async def test_a_broken_environment_is_opened_anew_once_and_both_writers_are_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of writes and the sweeper may meet it both; who comes second asks an environment that is whole again."""
    async with running(tmp_path) as store:
        made, errors = store.backend.engine, list[engine.BrokenStoreError]()

        def fail() -> None:
            raise lmdb.DiskError("input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(engine.LmdbEngine, "broken", staticmethod(lambda _env: True))
            for _ in range(2):
                with pytest.raises(engine.BrokenStoreError) as broke:
                    made.write(fail)
                errors.append(broke.value)
        first = made.env
        assert made.after(errors[0]).reply.startswith(b"-INDOUBT")
        second = made.env
        assert second is not first
        assert made.after(errors[1]).reply.startswith(b"-INDOUBT")
        assert made.env is second
        assert await store.ask(b"SET", b"k", b"v") == b"+OK\r\n"


@pytest.mark.direct
async def test_long_work_is_not_done_in_the_lane_however_it_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = landings(monkeypatch)
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"large", bytes(3 << 20))
        seen.clear()
        replies = await store.pipeline([(b"GETEX", b"large")] * 5 + [(b"SETRANGE", b"large", b"1", b"x")] * 5)
        assert [len(reply) for reply in replies] == [len(b"$3145728\r\n") + (3 << 20) + 2] * 5 + [len(b":3145728\r\n")] * 5
        many = [word for number in range(200) for word in (b"k%d" % number, bytes(200))]
        assert await store.pipeline([(b"MSET", *many), (b"MGET", *many[::2])] * 2) != []
        assert not any(seen)


@pytest.mark.direct
async def test_who_was_told_at_the_deadline_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    told: list[object] = []
    async with running(tmp_path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.ask, b"SET", b"first", b"v")
        await disk.reached(1)
        for _ in range(10):
            enqueued = store.backend.enqueue(
                [command(b"SET", b"large", bytes(1 << 20))], context(seconds=0.05), told.extend, lambda: None
            )
            assert enqueued
        await until(lambda: len(told) == 10)
        assert all(isinstance(reply, Error) and reply.text.startswith(b"TRYAGAIN") for reply in told)
        assert not store.backend._groups._queue
        disk.let()


async def test_a_client_that_cannot_be_told_hinders_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []

    def fails(replies: object) -> None:
        raise ZeroDivisionError

    async with running(tmp_path) as store:
        for done in (fails, told.extend):
            assert store.backend.enqueue([command(b"SET", b"k", b"v")], context(), done, lambda: None)
        await until(lambda: told)
    assert told == [OK]
    assert "ZeroDivisionError" in caplog.text
