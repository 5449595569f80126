"""Versioned hashes on LMDB: what runs in the lane, the sweeper of a serving store, writers of one field, MULTI and WATCH."""

from pathlib import Path

import trio

from kvgate.model.check import Check
from kvgate.wire.reply import Error, decode
from kvgate_lmdb.engine import Pages
from tests.kvgate_lmdb.store import Clock, Store, command, context, running, until

STALE = b"-ERR update version is stale\r\n"


def words(number: int) -> list[bytes]:
    return [word for each in range(number) for word in (b"field%d" % each, b"value%d" % each)]


def problems(store: Store) -> list[str]:
    with store.backend.engine.env.begin() as txn:
        return list(Check(Pages(txn)).problems())


async def test_what_is_read_in_place(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"EXHMSET", b"small", *words(128))
        await store.ask(b"EXHMSET", b"big", *words(300))
        for args in (
            (b"EXHGETALL", b"small"),
            (b"EXHKEYS", b"small"),
            (b"EXHGET", b"big", b"field5"),
            (b"EXHGETWITHVER", b"big", b"field5"),
            (b"EXHMGETWITHVER", b"big", *words(50)),
            (b"EXHLEN", b"big"),
            (b"EXHSCAN", b"big", b"0"),
            (b"EXHTTL", b"big", b"field5"),
        ):
            assert store.backend.execute_now(command(*args), context()) is not None, args
        for args in ((b"EXHGETALL", b"big"), (b"EXHGETALLWITHVER", b"big"), (b"EXHVALS", b"big"), (b"EXHKEYS", b"big")):
            assert store.backend.execute_now(command(*args), context()) is None, args
            found = decode(await store.ask(*args))
            assert isinstance(found, list)
            assert len(found) in (300, 600, 900)


async def test_many_expired_fields_are_not_counted_in_the_lane(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        await store.ask(b"EXHMSET", b"h", *words(100))
        for number in range(500):
            await store.ask(b"EXHSET", b"h", b"soon%d" % number, b"v", b"PX", b"5")
        assert store.backend.execute_now(command(b"EXHLEN", b"h"), context()) == 600
        clock.now += 5
        assert await store.ask(b"EXHLEN", b"h") == b":100\r\n"
        await until(lambda: store.backend.execute_now(command(b"EXHLEN", b"h"), context()) == 100)
        await until(lambda: not problems(store))


async def test_a_serving_store_sweeps_fields_that_nobody_reads(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        await store.ask(b"EXHMSET", b"big", *words(300))
        await store.ask(b"EXHMSET", b"small", *words(3))
        for key in (b"big", b"small", b"gone"):
            await store.ask(b"EXHSET", key, b"f", b"v" * 100_000, b"PX", b"50")
        full = store.backend.engine.env.stat()["entries"]
        clock.now += 50
        # Of each its field, four chunks, the record of its expiry and the entry of the index; the third one's key too
        await until(lambda: store.backend.engine.env.stat()["entries"] <= full - 3 * 7 - 1)
        assert problems(store) == []
        assert await store.keys() == await store.keys(kind=b"tairhash-")
        assert sorted(await store.keys()) == [b"big", b"small"]


async def test_writers_that_compare_versions_lose_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"EXHMSET", b"h", *words(200))
        await store.ask(b"EXHSET", b"h", b"n", b"0")

        async def writer() -> None:
            done = 0
            while done < 20:
                pair = decode(await store.ask(b"EXHGETWITHVER", b"h", b"n"))
                assert isinstance(pair, list)
                value, version = pair
                assert isinstance(value, bytes)
                assert isinstance(version, int)
                told = await store.ask(b"EXHSET", b"h", b"n", b"%d" % (int(value) + 1), b"VER", b"%d" % version)
                assert told in (STALE, b":0\r\n")
                done += told != STALE

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(writer)
        assert decode(await store.ask(b"EXHGETWITHVER", b"h", b"n")) == [b"80", 81]


async def test_blocks_and_watched_hashes(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        backend = store.backend
        await store.ask(b"EXHSET", b"h", b"f", b"1", b"PX", b"1000")
        await store.ask(b"EXHSET", b"h", b"g", b"1", b"PX", b"2000")
        watched = {b"h": (await backend.revisions([b"h"], context()))[0]}
        block = [command(b"EXHINCRBY", b"h", b"f", b"1"), command(b"EXHSET", b"h", b"f", b"v", b"VER", b"1")]
        replies = await backend.execute_block(block, watched, context())
        assert replies == [2, Error(b"ERR update version is stale")]
        assert await backend.execute_block(block, watched, context()) is None, "it was written since"
        watched = {b"h": (await backend.revisions([b"h"], context()))[0]}
        await store.ask(b"EXHPERSIST", b"h", b"g")
        assert await backend.execute_block(block, watched, context()) is None
        await store.ask(b"EXHSET", b"new", b"f", b"1", b"PX", b"1000")
        watched = {b"new": (await backend.revisions([b"new"], context()))[0]}
        clock.now += 1000
        assert await backend.execute_block(block, watched, context()) is None, "the hash ended with its last field"


async def test_a_store_that_is_opened_again_has_them(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        await store.ask(b"EXHSET", b"h", b"f", b"v", b"EX", b"10", b"ABS", b"9")
        await store.ask(b"EXHSET", b"h", b"g", b"w")
    clock.now += 10_000
    async with running(tmp_path, clock=clock) as store:
        assert decode(await store.ask(b"EXHGETALLWITHVER", b"h")) == [b"g", b"w", 1]
        await until(lambda: not expiries(store))
        assert problems(store) == []


def expiries(store: Store) -> list[bytes]:
    """The index of expiries."""
    with store.backend.engine.env.begin() as txn:
        return Pages(txn).range_keys(b"X", b"Y", 1000)
