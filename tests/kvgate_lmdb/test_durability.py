"""What survives: reopening, SIGKILL, a full map, a disk that takes no more; and several processes on one store."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest
import trio

from kvgate.errors import ConfigurationError
from kvgate.model import keyspace
from kvgate.model.keyspace import meta_key
from kvgate.model.meta import StoreHeader, decode_header, encode_header
from kvgate_lmdb import LmdbBackend
from tests.kvgate_lmdb.store import running, until
from tests.support.servers import ROOT


@contextmanager
def worker(mode: str, path: Path, *rest: str) -> "Iterator[subprocess.Popen[bytes]]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    command = [sys.executable, "-m", "tests.kvgate_lmdb.worker", mode, str(path), *rest]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("durable", [True, False])
async def test_data_are_there_after_reopening(tmp_path: Path, durable: bool) -> None:
    big = bytes(range(256)) * 1000
    async with running(tmp_path, durable=durable) as store:
        await store.ask(b"SET", b"k", b"v")
        await store.ask(b"SET", b"Ads.T:big", big, b"EX", b"1000")
        await store.ask(b"INCR", b"n")
    async with running(tmp_path, durable=durable) as store:
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"
        assert await store.ask(b"STRLEN", b"Ads.T:big") == b":%d\r\n" % len(big)
        assert await store.ask(b"INCR", b"n") == b":2\r\n"
        assert 990 <= int((await store.ask(b"TTL", b"Ads.T:big"))[1:]) <= 1000


async def test_revisions_go_on_after_reopening(tmp_path: Path) -> None:
    revisions = []
    for _ in range(2):
        async with running(tmp_path) as store:
            await store.ask(b"SET", b"k", b"v")
            txn = await store.backend.engine.begin(write=True)
            revisions.append(txn.revision())
            await txn.rollback()
    assert revisions == [2, 3]


def read_acks(process: "subprocess.Popen[bytes]", until: int) -> dict[int, int]:
    """The last acknowledged number of each key, over at least `until` acknowledgements; then SIGKILL and the rest."""
    assert process.stdout is not None
    last: dict[int, int] = {}
    for lines, line in enumerate(process.stdout, 1):
        if not line.endswith(b"\n"):
            break
        _, name, number = line.split()
        last[int(name)] = int(number)
        if lines == until:
            process.kill()
    return last


@pytest.mark.parametrize("durability", ["always", "no"])
@pytest.mark.parametrize("acks", [40, 150, 400])
async def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path, acks: int, durability: str) -> None:
    with worker("write", tmp_path, durability) as process:
        acknowledged = await trio.to_thread.run_sync(read_acks, process, acks)
    assert len(acknowledged) == 16
    async with running(tmp_path) as store:
        for name, number in acknowledged.items():
            value = (await store.ask(b"GET", b"Ads.T:%d" % name)).split(b"\r\n")[1]
            assert int(value.rstrip(b"x")) >= number


async def test_two_processes_count_together(tmp_path: Path) -> None:
    with worker("count", tmp_path, "n", "200") as one, worker("count", tmp_path, "n", "200") as other:
        for process in (one, other):
            assert process.stdin is not None
            assert process.stdout is not None
            assert await trio.to_thread.run_sync(process.stdout.readline) == b"ready\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        async with running(tmp_path) as store:  # a third one, here
            for _ in range(100):
                await store.ask(b"INCR", b"n")
            assert await trio.to_thread.run_sync(one.wait) == 0
            assert await trio.to_thread.run_sync(other.wait) == 0
            assert await store.ask(b"GET", b"n") == b"$3\r\n500\r\n"


async def test_a_flush_of_another_process_is_seen_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"Ads.T:1", b"v")
        assert await store.ask(b"GET", b"Ads.T:1") == b"$1\r\nv\r\n"  # and its group's generation is remembered
        with worker("flush", tmp_path) as process:
            assert await trio.to_thread.run_sync(process.wait) == 0
        assert await store.ask(b"GET", b"Ads.T:1") == b"$-1\r\n"
        assert await store.ask(b"SETNX", b"Ads.T:1", b"w") == b":1\r\n"
        assert await store.ask(b"GET", b"Ads.T:1") == b"$1\r\nw\r\n"


def test_a_process_with_few_addresses_takes_a_smaller_map(tmp_path: Path) -> None:
    with worker("narrow", tmp_path) as process:
        out, _ = process.communicate(timeout=60)
    reply, size = out.decode().split()
    assert reply == "b'+OK\\r\\n'"
    assert 1 << 30 <= int(size) < 8 << 30


async def test_one_process_sweeps_and_another_takes_over(tmp_path: Path) -> None:
    with worker("hold", tmp_path) as holder:
        assert holder.stdout is not None
        assert await trio.to_thread.run_sync(holder.stdout.readline) == b"sweeping\n"
        async with running(tmp_path) as store:
            for _ in range(3):  # of this process's own looks
                assert not store.backend.sweeping
                await store.ask(b"SET", b"k", b"v", b"PX", b"1")
                await until(lambda: not store.backend.engine.env.begin().get(meta_key(b"k")))  # swept over there
            assert store.backend.swept == 0
            holder.kill()
            await store.ask(b"SET", b"k", b"v", b"PX", b"1")
            await until(lambda: store.backend.swept)
            assert store.backend.sweeping


async def test_a_store_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
    with lmdb.open(str(tmp_path), map_size=64 << 20) as env, env.begin(write=True) as txn:
        header = decode_header(txn.get(keyspace.HEADER) or b"")
        assert (header.format, header.oldest) == (1, 1)
        txn.put(keyspace.HEADER, encode_header(StoreHeader(3, 2, header.created_ms, header.store_id)))
    with pytest.raises(ConfigurationError, match="newer kvgate"):
        await LmdbBackend("local", tmp_path, map_size=64 << 20).run()
    with lmdb.open(str(tmp_path), map_size=64 << 20) as env, env.begin(write=True) as txn:
        txn.put(keyspace.HEADER, encode_header(StoreHeader(3, 1, 0, b"i" * 16)))  # newer, but readable from format 1 on
    async with running(tmp_path, map_size=64 << 20) as store:
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"


@pytest.mark.direct
async def test_a_full_map_is_an_error_and_the_store_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, map_size=4 << 20) as store:
        accepted = 0
        while (reply := await store.ask(b"SET", b"k%d" % accepted, bytes(30_000))) == b"+OK\r\n":
            accepted += 1
            assert accepted < 500
        assert reply.startswith(b"-ERR store")
        assert b"map" in reply
        assert accepted > 50
        assert await store.ask(b"STRLEN", b"k0") == b":30000\r\n"
        assert await store.ask(b"EXPIRE", b"k0", b"1000") == b":1\r\n"
        assert (await store.ask(b"INCR", b"n")).startswith(b"-ERR store")
        for number in range(accepted):
            assert await store.ask(b"DEL", b"k%d" % number) == b":1\r\n"
        assert await store.ask(b"SET", b"k", bytes(30_000)) == b"+OK\r\n"
        assert sorted(await store.keys()) == [b"k"]


@pytest.mark.direct
async def test_one_command_too_many_does_not_undo_its_group(tmp_path: Path) -> None:
    async with running(tmp_path, map_size=4 << 20) as store:
        replies: dict[int, bytes] = {}

        async def client(number: int, size: int) -> None:
            replies[number] = await store.ask(b"SET", b"k%d" % number, bytes(size))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(client, number, 8 << 20 if number == 5 else 100)
        assert replies.pop(5).startswith(b"-ERR store is full")
        assert set(replies.values()) == {b"+OK\r\n"}
        assert len(await store.keys()) == 9


def test_a_disk_that_takes_no_more_is_an_error_and_deletes_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVGATE_TEST_JOURNAL", "0")
    with worker("full", tmp_path) as process:
        out, _ = process.communicate(timeout=60)
    lines = dict(line.split(" ", 1) for line in out.decode().splitlines())
    number, _, error = lines["refused"].partition(" ")
    assert int(number) > 20
    assert error.startswith("-ERR store could not write")
    assert str(tmp_path) in error
    assert lines["get"] == "b':30000\\r\\n'"
    assert lines["after"] == "b'+OK\\r\\n'"


async def test_a_path_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigurationError, match="cannot open the store"):
        await LmdbBackend("local", tmp_path / "file").run()


@pytest.mark.direct
async def test_a_group_waits_for_another_process_and_reads_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as store, trio.open_nursery() as nursery:
        await store.ask(b"SET", b"k", b"v")
        ready, leave = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def hold() -> None:  # the write lock, as another worker's commit does
            with store.backend.engine.env.begin(write=True):
                token.run_sync_soon(ready.set)
                trio.from_thread.run(leave.wait)

        nursery.start_soon(trio.to_thread.run_sync, hold)
        await ready.wait()
        done = []

        async def write() -> None:
            done.append(await store.ask(b"SET", b"k", b"new"))

        nursery.start_soon(write)
        for _ in range(50):
            assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"
            await trio.lowlevel.checkpoint()
        assert not done
        leave.set()
        await until(lambda: done)
        assert done == [b"+OK\r\n"]
        assert await store.ask(b"GET", b"k") == b"$3\r\nnew\r\n"
