"""Versioned strings on the embedded store: read in place, written in groups, and the tools know them."""

from pathlib import Path

from kvgate.wire.reply import encode
from kvgate_lmdb import tools
from tests.kvgate_lmdb.store import command, context, running

BIG = bytes(16 << 20)


async def test_a_read_runs_in_place_unless_it_is_long(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        now = store.backend.execute_now
        assert now(command(b"EXSET", b"k", b"v"), context()) is None
        assert now(command(b"EXGAE", b"k", b"EX", b"9"), context()) is None
        assert now(command(b"EXGET", b"k"), context(2)) == b"$-1\r\n"
        assert now(command(b"EXGET", b"k"), context(3)) == b"_\r\n"
        assert await store.ask(b"EXSET", b"k", b"v") == b"+OK\r\n"
        assert now(command(b"EXGET", b"k"), context()) == [b"v", 1]
        await store.ask(b"EXSET", b"k", BIG)
        assert now(command(b"EXGET", b"k"), context()) is None
        assert await store.ask(b"EXGET", b"k") == encode([BIG, 2])


async def test_writes_of_one_portion_see_one_another(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        lines = (
            "EXINCRBY k 1",
            "EXINCRBY k 1 WITHVERSION",
            "EXCAS k 9 2",
            "EXGET k",
            "EXSET k 1 VER 2",
            "EXCAS k 1 2",
            "EXAPPEND k 0",
            "EXCAD k 4",
            "EXGET k",
        )
        replies = await store.pipeline([line.encode().split() for line in lines])
        assert replies == [
            b":1\r\n",
            b"*2\r\n:2\r\n:2\r\n",
            b"*3\r\n+OK\r\n+\r\n:3\r\n",
            b"*2\r\n$1\r\n9\r\n:3\r\n",
            b"-ERR update version is stale\r\n",
            b"*3\r\n+CAS_FAILED\r\n$1\r\n9\r\n:3\r\n",
            b":4\r\n",
            b":1\r\n",
            b"$-1\r\n",
        ]


async def test_the_tools_know_them(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"EXSET", b"short", b"v", b"FLAGS", b"7", b"EX", b"1000")
        await store.ask(b"EXSET", b"long", BIG[:100_000])
        await store.ask(b"SET", b"plain", b"v")

    def quiet(what: str, done: int, total: int) -> None:
        del what, done, total

    assert list(tools.check(tmp_path, quiet)) == []
    kinds = tools.statistics(tmp_path, quiet).types
    assert {name: keys for name, (keys, _) in kinds.items()} == {"exstrtype": 2, "string": 1}
    assert kinds["exstrtype"][1] > 100_000
