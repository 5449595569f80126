"""Layers at the moments that chance seldom meets: who settles, moves or reads between two steps of somebody else."""

import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import lmdb
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kvgate.errors import GateError
from kvgate.model import keyspace
from kvgate.model.meta import STRING, Meta, decode_counter, encode
from kvgate.wire.reply import Raw
from kvgate.wire.reply import encode as reply_bytes
from kvgate_lmdb import ahead, mover, moving, recent
from kvgate_lmdb.engine import LmdbEngine
from kvgate_lmdb.recent import Layer, through
from tests.kvgate_lmdb import tight
from tests.kvgate_lmdb.store import ALL, Clock, Store, command, context, running, until
from tests.kvgate_lmdb.test_tools import good
from tests.support.servers import ROOT

pytestmark = pytest.mark.journal


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers move when the test says so."""

    async def idle(*_args: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(moving.Mover, "run", idle)


@pytest.fixture
def bounds() -> Iterator[None]:
    """Layers are small, and a process moves them in small portions."""
    with tight.installed():
        yield


def record(value: bytes) -> bytes:
    """Of a string, as somebody else would write it."""
    return encode(Meta(STRING, payload=value), 0, 1_000, None)


def put(engine: LmdbEngine, key: bytes, value: bytes) -> None:
    """Straight into LMDB's file."""

    def work() -> None:
        with engine.env.begin(write=True) as txn:
            txn.put(keyspace.meta_key(key), record(value))

    engine.write(work)


def freeze(store: Store) -> Layer:
    store.backend.engine.recent.freeze()
    top, frozen = store.backend.engine.recent.layers
    assert not top.records
    return frozen


async def test_the_elements_of_a_hash_lie_everywhere(tmp_path: Path, still: None) -> None:
    """In LMDB's file, in a frozen layer and in the newest one; the newest counts."""

    async def change(fields: range, letter: bytes) -> None:
        await store.ask(b"HSET", b"h", *[word for at in fields for word in (b"f%02d" % at, letter * 300)])
        expected.update((b"f%02d" % at, letter * 300) for at in fields)

    async def drop(*fields: int) -> None:
        await store.ask(b"HDEL", b"h", *[b"f%02d" % at for at in fields])
        for at in fields:
            del expected[b"f%02d" % at]

    async def look() -> None:
        """In place: neither may settle."""
        words = reply(store, b"HGETALL", b"h")
        assert dict(zip(words[::2], words[1::2], strict=True)) == expected
        found: list[bytes] = []
        cursor = b"0"
        while cursor != b"0" or not found:
            cursor, page = reply(store, b"HSCAN", b"h", cursor, b"COUNT", b"3")
            found += page
        assert dict(zip(found[::2], found[1::2], strict=True)) == expected
        assert reply(store, b"HKEYS", b"h") == sorted(expected, key=keyspace.field_place)

    expected: dict[bytes, bytes] = {}
    async with running(tmp_path) as store:
        await change(range(20), b"l")
        await look()
        store.backend.engine.settle()
        await look()
        await change(range(5, 25), b"f")
        await drop(0, 6)
        await look()
        frozen = freeze(store)
        await look()
        await change(range(10, 30), b"t")
        await drop(1, 7, 11)
        await change(range(6, 7), b"again")
        await look()
        assert frozen in store.backend.engine.recent.layers
        store.backend.engine.move(frozen)
        assert frozen not in store.backend.engine.recent.layers
        await look()
        store.backend.engine.settle()
        await look()


class Pages:
    """A snapshot of records in memory."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        self.get = records.get
        self._records = records

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return [(key, self._records[key]) for key in sorted(self._records) if start <= key < end][:limit]

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        return [key for key, _ in self.range(start, end, limit)]


ELEMENTS = st.integers(0, 7).map(lambda at: b"D12345678" + bytes([at]))


@given(
    st.dictionaries(ELEMENTS, st.binary(max_size=1), min_size=3),
    st.lists(st.dictionaries(ELEMENTS, st.none() | st.binary(max_size=1), min_size=1), max_size=3),
    ELEMENTS,
    ELEMENTS,
    st.integers(1, 3),
)
def test_ranges_through_layers(
    below: dict[bytes, bytes], above: list[dict[bytes, bytes | None]], start: bytes, end: bytes, limit: int
) -> None:
    layers, whole = list[Layer](), dict[bytes, bytes | None](below)
    for writes in above:
        whole.update(writes)
        layers.insert(0, Layer())
        layers[0].add(writes, elements=True)
    sight = recent.Sight(Pages(below), layers)
    expected = [(key, value) for key, value in sorted(whole.items()) if value is not None and start <= key < end][:limit]
    assert sight.range(start, end, limit) == expected
    assert sight.range_keys(start, end, limit) == [key for key, _ in expected]
    assert [sight.get(key) for key in whole] == [*whole.values()]


def reply(store: Store, *args: bytes) -> Any:
    """Of a read in place."""
    found = store.backend.execute_now(command(*args), context())
    assert found is not None, "it was not done in place"
    reader = hiredis.Reader()
    reader.feed(found if isinstance(found, Raw) else reply_bytes(found, 2))
    return reader.gets()


async def test_a_flush_in_a_layer_is_seen_by_who_knows_the_generations(tmp_path: Path, still: None) -> None:
    async with running(tmp_path) as store:
        for key in (b"k", b"Ads.T:k"):
            await store.ask(b"SET", key, b"v")
        store.backend.engine.settle()
        number = store.backend.engine.env.info()["last_txnid"]
        for key in (b"k", b"Ads.T:k"):
            assert await store.ask(b"GET", key) == b"$1\r\nv\r\n"
        await store.backend.flush(ALL, context())
        for key in (b"k", b"Ads.T:k"):
            assert await store.ask(b"GET", key) == b"$-1\r\n"
        assert store.backend.engine.env.info()["last_txnid"] == number, "it was in a layer"
        await store.ask(b"SET", b"Ads.T:k", b"w")
        freeze(store)
        assert await store.ask(b"GET", b"Ads.T:k") == b"$1\r\nw\r\n"
        assert await store.ask(b"GET", b"k") == b"$-1\r\n"
        assert await store.keys() == [b"Ads.T:k"]


async def test_what_was_swept_is_not_swept_again_before_it_is_moved(tmp_path: Path, still: None) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        for number in range(450):
            await store.ask(b"SET", b"k%d" % number, b"v", b"PX", b"1")
            await store.ask(b"SET", b"big%d" % (number % 20), bytes(40_000))
        store.backend.engine.settle()
        clock.now += 5
        with trio.fail_after(20):
            while await store.backend._sweep_once():
                pass
        swept, groups = store.backend.swept, store.backend._groups.groups
        assert await store.backend._sweep_once() == 0
        assert store.backend.swept == swept < 1500
        assert store.backend._groups.groups == groups
        store.backend.engine.settle()
        assert await store.backend._sweep_once() == 0
        assert len(await store.keys()) == 20
    assert good(tmp_path)


async def test_a_group_that_others_settle_before_readers_see_it_hides_nothing(
    tmp_path: Path, still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, met = ahead.Ahead.publish, list[bool]()
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"before")

        def late(group: ahead.Ahead) -> None:
            if not met:
                met.append(True)
                put(store.backend.engine, b"k", b"newer")
            publish(group)

        monkeypatch.setattr(ahead.Ahead, "publish", late)
        assert await store.ask(b"SET", b"k", b"own") == b"+OK\r\n"
        assert met
        assert await store.ask(b"GET", b"k") == b"$5\r\nnewer\r\n"
        assert store.backend.engine.recent.is_empty
        assert await store.ask(b"APPEND", b"k", b"+") == b":6\r\n"


@pytest.mark.parametrize("portions", [1, 2, 3])
async def test_who_settles_between_two_portions_ends_the_mover(
    tmp_path: Path, still: None, portions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would put older records over newer ones: as the mover of a gate that was killed."""
    monkeypatch.setattr(mover, "PORTION", 3)
    async with running(tmp_path) as store:
        engine = store.backend.engine
        for number in range(12):
            await store.ask(b"SET", b"k%d" % number, b"old")
        frozen = freeze(store)
        await store.ask(b"SET", b"k0", b"top")
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if done == portions:
                for number in range(12):
                    put(engine, b"k%d" % number, b"new")

        assert not mover.move(engine.env, frozen.records, frozen.last, step)
        assert done == portions
        engine.moved(frozen)
        for number in range(12):
            assert await store.ask(b"GET", b"k%d" % number) == b"$3\r\nnew\r\n"
        assert engine.recent.is_empty


async def test_after_a_settling_that_failed_layers_move_again(
    tmp_path: Path, still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was frozen before is a part of the newest layer then, and the files of the journal take turns all the same."""
    async with running(tmp_path) as store:
        engine = store.backend.engine
        await store.ask(b"SET", b"a", b"1")
        frozen = freeze(store)
        await store.ask(b"SET", b"b", b"2")
        with monkeypatch.context() as patch:

            def full(*_args: object) -> None:
                raise lmdb.MapFullError("full")

            patch.setattr(recent, "put_records", full)
            with pytest.raises(lmdb.MapFullError):
                engine.settle()
            assert (await store.pipeline([(b"GET", b"a")]))[0].startswith(b"-ERR")
        assert len(engine.recent.layers) == 1
        for key, value in ((b"a", b"$1\r\n1\r\n"), (b"b", b"$1\r\n2\r\n")):
            assert await store.ask(b"GET", key) == value
        engine.move(frozen)  # its mover was not disturbed
        await store.ask(b"SET", b"c", b"3")
        second = freeze(store)
        engine.move(second)
        assert engine.recent.is_empty
        with engine.env.begin() as txn:
            assert decode_counter(txn.get(keyspace.JOURNAL)) == second.last
        for key in (b"a", b"b", b"c"):
            assert (await store.ask(b"GET", key))[:2] == b"$1"


async def test_a_layer_that_is_frozen_while_another_one_is_moved_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is being moved is settled meanwhile, so that the next one can be frozen."""
    move, seen = moving.Mover._move, list[Layer]()

    async def slowly(self: moving.Mover, layer: Layer) -> None:
        seen.append(layer)
        if len(seen) == 1:
            await trio.to_thread.run_sync(store.backend.engine.settle)
            assert await store.ask(b"SET", b"b", b"2") == b"+OK\r\n"
            freeze(store)
        await move(self, layer)

    monkeypatch.setattr(moving.Mover, "_move", slowly)
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"a", b"1")
        await until(lambda: len(seen) >= 2 and store.backend.engine.recent.is_empty)
        assert await store.ask(b"MGET", b"a", b"b") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


async def test_nothing_is_kept_of_layers_that_were_moved(tmp_path: Path, bounds: None) -> None:
    async with running(tmp_path) as store:
        for number in range(1000):
            await store.ask(b"SET", b"k%d" % number, b"v" * 100)
            await store.ask(b"GET", b"k%d" % number)
        await until(lambda: store.backend.engine.recent.is_empty)
        await until(lambda: store.backend._mover._layer is None)
        gc.collect()
        assert len([each for each in gc.get_objects() if isinstance(each, Layer)]) <= 2
        readers = store.backend.engine.env.readers().splitlines()
        assert all(line.split()[-1] == "-" for line in readers[1:]), readers
        assert len(readers) < 12


@pytest.mark.parametrize("durable", [True, False])
async def test_readers_see_all_or_nothing_and_never_go_back(tmp_path: Path, bounds: None, durable: bool) -> None:
    """Reads in place and on threads, of pairs that are written together, while layers freeze and move and settle."""
    seen = 0
    async with running(tmp_path, durable=durable) as store, trio.open_nursery() as nursery:

        async def write(name: int) -> None:
            number = 0
            while True:
                number += 1
                pair = (b"MSET", b"Ads.T:%d" % name, b"%d" % number, b"other%d" % name, b"%d" % number)
                if number % 3:
                    assert await store.ask(*pair) == b"+OK\r\n"
                else:
                    block = [command(b"SET", *pair[at : at + 2]) for at in (1, 3)]
                    assert await store.backend.execute_block(block, {}, context())
                assert await store.ask(b"GET", b"other%d" % name) == b"$%d\r\n%d\r\n" % (len(b"%d" % number), number)

        async def read(name: int, *, in_place: bool) -> None:
            nonlocal seen
            last = 0
            words = (b"MGET", b"Ads.T:%d" % name, b"other%d" % name)
            while True:
                await trio.lowlevel.checkpoint()
                raw = await store.ask(*words) if in_place else (await store.pipeline([words]))[0]
                one, other = raw.split(b"\r\n")[2:5:2] if b"$-1" not in raw else (b"0", b"0")
                assert one == other
                assert int(one) >= last
                seen += int(one) > last
                last = int(one)

        for name in range(6):
            nursery.start_soon(write, name)
            nursery.start_soon(partial(read, name, in_place=True))
        nursery.start_soon(partial(read, 0, in_place=False))
        await until(lambda: seen > 2000)
        nursery.cancel_scope.cancel()


# The process


async def fill(store: Store, number: int, value: bytes = b"v") -> None:
    for at in range(number):
        assert await store.ask(b"SET", b"k%d" % at, value) == b"+OK\r\n"


async def test_without_a_process_a_thread_moves(
    tmp_path: Path, bounds: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def fail(_self: moving.Mover) -> trio.Process:
        nonlocal tries
        tries += 1
        raise OSError("no more processes")

    monkeypatch.setattr(moving, "REST", 1000.0)
    monkeypatch.setattr(moving.Mover, "_start", fail)
    async with running(tmp_path) as store:
        for _ in range(3):
            await fill(store, 200)
        await until(lambda: store.backend.engine.recent.is_empty)
        with store.backend.engine.env.begin() as txn:
            assert txn.get(keyspace.meta_key(b"k199"))
    assert tries == 1
    assert "cannot be used: no more processes" in caplog.text


STOPPED = """
import os, signal, sys
from kvgate_lmdb import mover
put_records = mover.put_records
def stop(*args):
    put_records(*args)
    os.kill(os.getpid(), signal.SIGSTOP)
mover.put_records = stop
mover.main(*sys.argv[1:])
"""


ENDED = "import os; os.read(0, 100); os._exit(3)"
OTHER = "print('- it is late', flush=True); input()"


@pytest.mark.parametrize("script", [STOPPED, ENDED, OTHER])
async def test_a_process_that_stops_or_ends_in_its_work_keeps_nobody_up(
    tmp_path: Path, bounds: None, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Also with LMDB's lock for writers, which whoever settles waits for."""
    started: list[trio.Process] = []

    async def start(self: moving.Mover) -> trio.Process:
        engine = self._engine
        command = [sys.executable, "-c", script, str(engine.path), str(engine.env.info()["map_size"]), "no"]
        started.append(
            await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=tight.environment()
            )
        )
        return started[-1]

    monkeypatch.setattr(moving, "SILENCE", 1.0)
    monkeypatch.setattr(moving, "REST", 1000.0)
    monkeypatch.setattr(moving.Mover, "_start", start)
    async with running(tmp_path) as store:
        await fill(store, 100)
        await until(lambda: started)
        if script is STOPPED:
            stat = Path(f"/proc/{started[0].pid}/stat")
            await until(lambda: stat.read_text("ascii").split()[2] == "T")
        assert await store.backend.size(ALL, context()) == 100
        await fill(store, 100, b"w")
        assert await store.pipeline([(b"GET", b"k99")]) == [b"$1\r\nw\r\n"]
        await until(lambda: store.backend.engine.recent.is_empty)
        if script is STOPPED:
            assert started[0].returncode == -signal.SIGKILL
    assert len(started) == 1


async def test_a_store_that_is_not_open_is_not_asked_all_the_time(
    tmp_path: Path, still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    tried, asked = moving.Mover._tried, 0

    async def counted(self: moving.Mover, layer: Layer) -> bool:
        nonlocal asked
        asked += 1
        return await tried(self, layer)

    monkeypatch.setattr(moving.Mover, "_tried", counted)
    monkeypatch.setattr(moving, "AGAIN", 0.05)
    async with running(tmp_path, journal=True) as store:
        await store.ask(b"SET", b"k", b"v")
        engine = store.backend.engine
        frozen = freeze(store)
        with monkeypatch.context() as patch:
            patch.setattr(LmdbEngine, "is_open", False)
            await until(lambda: asked >= 5)
            before = asked
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
            assert asked - before < 100
        await until(lambda: frozen not in engine.recent.layers)


async def test_a_move_that_fails_is_tried_again_and_readers_see_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = 0

    def full(*_args: object) -> None:
        nonlocal failed
        failed += 1
        raise lmdb.MapFullError("full")

    monkeypatch.setattr(moving, "AGAIN", 0.02)
    async with running(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(mover, "put_records", full)
            await store.ask(b"SET", b"k", b"v")
            await until(lambda: failed > 3)
            await store.ask(b"SET", b"k2", b"v")
            assert await store.ask(b"MGET", b"k", b"k2") == reply_bytes([b"v", b"v"], 2)
        await until(lambda: store.backend.engine.recent.is_empty)
        with pytest.raises(GateError, match="TRYAGAIN"):
            LmdbEngine(tmp_path).settle()
    assert caplog.text.count("store is full") == 1


def test_what_was_settled_before_it_was_published_is_not_put_again(tmp_path: Path) -> None:
    """A group that is in the journal, and that trio's thread has not come to yet; then others write what it wrote."""
    engine = LmdbEngine(tmp_path, durable=False)
    engine.open()
    assert engine.start_journal(lambda: True)
    writes = {b"Mx": b"old"}
    number = engine.recent.append(writes, engine.recent.changes)
    assert number

    def change() -> None:
        with engine.env.begin(write=True) as txn:
            assert txn.get(b"Mx") == b"old"
            txn.put(b"Mx", b"new")

    engine.write(change)
    engine.settle()
    engine.recent.publish(number, writes, size=3, kinds=set())
    txn, layers = engine.look()
    assert through(txn.get, [layer.records for layer in layers])(b"Mx") == b"new"
    txn.abort()
    engine.end_journal()
    engine.close()
