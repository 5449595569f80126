"""The short ways of the embedded store say what the handlers say, whatever is stored, and are taken where they should be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.commands.table import TABLE
from kvgate.model import short
from kvgate.wire.reply import Raw, Reply, encode
from kvgate_lmdb import ahead, backend, engine
from tests.kvgate_lmdb.store import ALL, Clock, Store, command, context, running, until

FAR = b"99999999999999"
FILL = [
    (b"SET", b"Ads.T:plain", b"value"),
    (b"SET", b"Ads.T:empty", b""),
    (b"SET", b"Ads.T:soon", b"value", b"PX", b"500"),
    (b"SET", b"Ads.T:later", b"value", b"PXAT", FAR),
    (b"SET", b"Ads.T:long", b"v" * 100_000),
    (b"SET", b"Ads.T:" + b"k" * 1000, b"value"),
    (b"HSET", b"Ads.T:hash", b"f", b"v"),
    (b"HSET", b"Ads.T:large", *[b"%d" % n for n in range(400)]),
    (b"EXSET", b"Ads.T:versioned", b"value"),
    (b"SET", b"no namespace", b"value"),
    (b"SET", b"\x00\xff:\r\n", b"value"),
]
KEYS = [line[1] for line in FILL] + [b"Ads.T:missing", b"Other.T:missing", b"missing"]


@pytest.fixture(params=["python", "c"], autouse=True)
def paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which functions run."""
    kind: str = request.param
    if kind == "c" and not short.BUILT:
        pytest.skip("kvgate.model._short is not built (no C compiler?)")
    for name in ("gets", "hgets", "sets", "hsets"):
        monkeypatch.setattr(short, name, getattr(short.native, name) if kind == "c" else getattr(short, f"py_{name}"))
    return kind


def replies(store: Store, proto: int) -> list[bytes]:
    """What GET and HGET of each key answer at once."""
    asked = [command(b"GET", key) for key in KEYS] + [command(b"HGET", key, b"f") for key in KEYS]
    found = [store.backend.execute_now(each, context(proto)) for each in asked]
    return [b"later" if reply is None else bytes(reply) if isinstance(reply, Raw) else encode(reply, proto) for reply in found]


@pytest.mark.parametrize("proto", [2, 3])
async def test_both_ways_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proto: int) -> None:
    clock, null = Clock(), b"$-1\r\n" if proto == 2 else b"_\r\n"
    async with running(tmp_path, clock=clock) as store:

        def both() -> tuple[list[bytes], list[bytes]]:
            shortly = replies(store, proto)
            with monkeypatch.context() as patch:
                patch.setattr(backend, "READS", {})
                return shortly, replies(store, proto)

        for line in FILL:
            await store.ask(*line)
            shortly, long = both()
            assert shortly == long
        assert shortly[:4] == [b"$5\r\nvalue\r\n", b"$0\r\n\r\n", b"$5\r\nvalue\r\n", b"$5\r\nvalue\r\n"]
        assert b"$1\r\nv\r\n" in shortly
        clock.now += 1000
        shortly, long = both()
        assert shortly == long
        assert shortly[2] == null
        await store.backend.flush(ALL, context())
        shortly, long = both()
        assert shortly == long
        assert set(shortly) == {null}
        await store.ask(*FILL[0])
        assert both()[0][0] == b"$5\r\nvalue\r\n"


async def test_runs_of_reads_end_where_a_handler_has_to_look(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        for line in FILL:
            await store.ask(*line)
        read = store.backend.read_run
        words = [b"Ads.T:plain", b"Other.T:missing", b"no namespace", b"Ads.T:later", b"Ads.T:long", b"Ads.T:plain"]
        value = b"$5\r\nvalue\r\n"
        assert read("GET", words, 0, b"$-1\r\n") == (value + b"$-1\r\n" + value + value, 4, 1)
        assert read("GET", words, 4, b"$-1\r\n") == (b"", 0, 0)
        assert read("GET", words, 5, b"$-1\r\n") == (value, 1, 0)
        fields = [b"Ads.T:hash", b"f", b"Ads.T:missing", b"f", b"Ads.T:hash", b"g", b"Ads.T:large", b"f"]
        assert read("HGET", fields, 0, b"_\r\n") == (b"$1\r\nv\r\n_\r\n_\r\n", 3, 2)
        assert read("HGET", [b"Ads.T:plain", b"f"], 0, b"_\r\n") == (b"", 0, 0)
        store.backend.engine.close()
        assert read("GET", words, 0, b"$-1\r\n") == (b"", 0, 0)


class Runs:
    """Runs of writes that were handed to a store, and what came of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.told: list[Sequence[Raw | Reply]] = []
        self.flushed = 0

    def add(self, name: bytes, *words: bytes, seconds: float = 20.0) -> None:
        """Hand one over."""
        spec = TABLE[name]
        count = len(words) // self.store.backend.runs[spec.name]

        def flush() -> None:
            self.flushed += 1

        deadline = trio.current_time() + seconds
        size = len(b"".join(words))
        self.store.backend.enqueue_run(spec, list(words), count, size, deadline, self.told.append, flush)

    def replies(self) -> list[bytes]:
        """Those of all that were answered, each run's joined."""
        return [b"".join(r if isinstance(r, Raw) else encode(r, 2) for r in told) for told in self.told]


def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Notes for every run whether it was taken at once."""
    noted: list[bool] = []
    run = ahead.Ahead.run

    def note(self: ahead.Ahead, one: Any) -> bytes | None:
        found = run(self, one)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(ahead.Ahead, "run", note)
    return noted


async def test_runs_of_writes_do_what_the_commands_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ways(monkeypatch)
    async with running(tmp_path) as store:
        runs = Runs(store)
        runs.add(b"SET", b"Ads.T:a", b"1", b"Ads.T:b", b"2")  # the first one of its group makes the group's record
        runs.add(b"SET", b"Ads.T:a", b"3", b"Ads.T:c", b"4")
        runs.add(b"HSET", b"Ads.T:h", b"f", b"v", b"Ads.T:h", b"f", b"w", b"Ads.T:a", b"f", b"v")
        runs.add(b"HSET", b"Ads.T:h", b"f", b"x", b"Ads.T:h", b"g", b"y")
        await until(lambda: len(runs.told) == 4)
        wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        assert runs.replies() == [b"+OK\r\n" * 2, b"+OK\r\n" * 2, b":1\r\n:0\r\n" + wrong, b":0\r\n:1\r\n"]
        assert taken == [False, True, False, True]
        assert await store.ask(b"MGET", b"Ads.T:a", b"Ads.T:b", b"Ads.T:c") == encode([b"3", b"2", b"4"], 2)
        assert await store.ask(b"HGETALL", b"Ads.T:h") == encode([b"f", b"x", b"g", b"y"], 2)
        assert runs.flushed


async def test_a_write_takes_an_expiry_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, clock = ways(monkeypatch), Clock()
    async with running(tmp_path, clock=clock) as store:
        await store.ask(b"SET", b"k", b"v", b"PX", b"1000")
        runs = Runs(store)
        runs.add(b"SET", b"k", b"w")
        await until(lambda: runs.told)
        assert taken == [False]
        clock.now += 2000
        assert await store.ask(b"GET", b"k") == b"$1\r\nw\r\n"
        assert await store.ask(b"TTL", b"k") == b":-1\r\n"


async def test_runs_stand_in_line_with_other_writes(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"n", b"1")
        runs, replies_ = Runs(store), list[Sequence[Raw | Reply]]()
        runs.add(b"SET", b"n", b"5")
        store.backend.enqueue([command(b"INCR", b"n")], context(), replies_.append, lambda: None)
        runs.add(b"SET", b"n", b"7", b"m", b"8")
        store.backend.enqueue([command(b"INCR", b"n")], context(), replies_.append, lambda: None)
        await until(lambda: len(replies_) == 2)
        assert replies_ == [[6], [8]]
        assert await store.ask(b"MGET", b"n", b"m") == encode([b"8", b"8"], 2)


async def test_watch_sees_the_writes_of_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        (before,) = await store.backend.revisions([b"k"], context())
        runs = Runs(store)
        runs.add(b"SET", b"k", b"v", b"k", b"v")
        await until(lambda: runs.told)
        (after,) = await store.backend.revisions([b"k"], context())
        assert after == before + 2


@pytest.mark.direct
async def test_after_another_writer_runs_are_run_again_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        land = ahead.Ahead.land
        landed: list[bool] = []

        def late(self: ahead.Ahead) -> bool:
            if not landed:  # another process writes in between
                with store.backend.engine.env.begin(write=True) as txn:
                    txn.put(b"Sprobe", b"\x01")
            landed.append(land(self))
            return landed[-1]

        monkeypatch.setattr(ahead.Ahead, "land", late)
        runs = Runs(store)
        runs.add(b"SET", b"k", b"w", b"other", b"x")
        await until(lambda: runs.told)
        assert landed == [False]
        assert runs.replies() == [b"+OK\r\n" * 2]
        assert await store.ask(b"MGET", b"k", b"other") == encode([b"w", b"x"], 2)


@pytest.mark.direct
async def test_runs_are_answered_at_their_deadline(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        runs = Runs(store)
        hold = store.backend.engine.env.begin(write=True)  # as another process does
        try:
            runs.add(b"SET", b"k", b"w", b"m", b"x", seconds=0.05)
            runs.add(b"SET", b"k", b"y", seconds=0.05)
            await until(lambda: len(runs.told) == 2)
        finally:
            hold.abort()
        first, second = runs.replies()
        assert first.count(b"-INDOUBT") + first.count(b"-TRYAGAIN") == 2
        assert second.count(b"-INDOUBT") + second.count(b"-TRYAGAIN") == 1


@pytest.mark.direct
async def test_a_run_whose_commit_fails_is_in_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of it is told so, and the next one is done."""
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        with monkeypatch.context() as patch:
            patch.setattr(engine.LmdbEngine, "broken", staticmethod(lambda _env: True))
            patch.setattr(engine.Group, "commit", lambda _self: lmdb.open("/nowhere", create=False))
            runs = Runs(store)
            runs.add(b"SET", b"k", b"w", b"m", b"x")
            await until(lambda: runs.told)
        assert runs.replies()[0].count(b"-INDOUBT") == 2
        await until(lambda: store.backend.statistics().up)
        assert await store.ask(b"SET", b"k", b"again") == b"+OK\r\n"
        assert await store.ask(b"MGET", b"k", b"m") == encode([b"again", None], 2)


async def test_runs_after_the_end_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        runs = Runs(store)
    runs.add(b"SET", b"k", b"v", b"m", b"w")
    assert runs.replies()[0].count(b"-TRYAGAIN") == 2
