"""Commands that are run before their commit begins: what they stood on may not come true, and nobody may notice."""

from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.model import keyspace
from kvgate.model.kv import KvTxn, transact
from kvgate.model.meta import STRING, Meta, encode
from kvgate_lmdb import ahead, engine, groups
from tests.kvgate_lmdb.store import Store, running


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

    def noted(group: ahead.Ahead, env: lmdb.Environment) -> bool:
        seen.append(land(group, env))
        return seen[-1]

    monkeypatch.setattr(ahead.Ahead, "land", noted)
    return seen


async def test_what_was_run_ahead_is_committed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = landings(monkeypatch)
    async with running(tmp_path) as store:
        replies = await all_at_once(store, *[(b"INCR", b"n")] * 200)
        assert sorted(int(reply[1:]) for reply in replies) == list(range(1, 201))
        assert await store.ask(b"GET", b"n") == b"$3\r\n200\r\n"
    assert seen
    assert all(seen)


async def test_another_writer_in_between_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker of another process would write: after the command was run and before its commit."""
    seen = landings(monkeypatch)
    land = ahead.Ahead.land

    def write(env: lmdb.Environment) -> None:
        with env.begin(write=True) as txn:
            txn.put(keyspace.meta_key(b"n"), encode(Meta(STRING, payload=b"40"), 0, 1, None))

    def meet(group: ahead.Ahead, env: lmdb.Environment) -> bool:
        if not seen:
            write(env)
        return land(group, env)

    async with running(tmp_path) as store:
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
            txn.put(keyspace.meta_key(b"m"), encode(Meta(STRING, payload=b"%d" % (number + 1)), 0, txn.revision(), None))

        async def raise_often() -> None:
            for _ in range(20):
                await transact(store.backend.engine, raise_it)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_often)
            for _ in range(200):
                nursery.start_soon(store.ask, b"INCR", b"n")
                await trio.lowlevel.checkpoint()
        assert await store.ask(b"MGET", b"n", b"m") == b"*2\r\n$3\r\n200\r\n$2\r\n20\r\n"


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
