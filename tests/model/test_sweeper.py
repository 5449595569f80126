"""The sweeper: steps bounded in records and in time, nothing read twice, nothing left."""

from typing import Any

import pytest

from kvgate.model import sweeper
from kvgate.model.kv import KvTxn
from kvgate.model.sweeper import Sweeper
from tests.model.hash_world import hash_of
from tests.model.world import World


async def orphans(number: int) -> World:
    world = await hash_of(number)
    await world.ask(b"DEL", b"h")
    return world


async def test_a_step_of_the_sweeper_takes_a_bounded_number_of_elements() -> None:
    world = await orphans(2500)
    left = []
    still = Sweeper(world.engine, lambda: 0.0)
    while await still.step():
        left.append(len(await world.records(b"D", b"E")))
    assert left[:2] == [1500, 500]
    assert left[-1] == 0


async def test_a_step_of_the_sweeper_takes_a_bounded_time() -> None:
    world, now = await orphans(2500), 0.0

    def clock() -> float:
        nonlocal now
        now += sweeper.SLICE / 2  # a page takes long on this machine
        return now

    slow = Sweeper(world.engine, clock)
    assert 0 < await slow.step() <= 500
    steps = 1
    while await slow.step():
        steps += 1
    assert steps >= 5
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []


async def test_expired_keys_too_are_removed_in_bounded_time() -> None:
    world, now = World(), 0.0
    for number in range(200):
        await world.ask(b"SET", b"k%d" % number, b"v", b"PX", b"10")
    world.now += 20

    def clock() -> float:
        nonlocal now
        now += sweeper.SLICE
        return now

    slow = Sweeper(world.engine, clock)
    assert await slow.step() == 50
    while await slow.step():
        pass
    assert [key for key in await world.records() if key[:1] in b"MX"] == []


async def test_the_sweeper_goes_on_where_it_ended_and_another_one_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world, begin = await orphans(3500), type(World().engine).begin
    seen: list[bytes] = []

    async def watched(engine: Any, *, write: bool = False) -> KvTxn:
        txn = await begin(engine, write=write)
        scan_keys = txn.scan_keys

        async def noted(start: bytes, end: bytes, limit: int) -> list[bytes]:
            if start[:1] == b"D":
                seen.append(start)
            return await scan_keys(start, end, limit)

        monkeypatch.setattr(txn, "scan_keys", noted)
        return txn

    monkeypatch.setattr(type(world.engine), "begin", watched)
    still = Sweeper(world.engine, lambda: 0.0)
    await still.step()
    await still.step()
    assert seen == sorted(set(seen)), "no range is read twice"
    assert len(await world.records(b"D", b"E")) == 1500
    other = Sweeper(world.engine)
    while await other.step():
        pass
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []


async def test_big_hashes_of_a_flushed_store_are_swept() -> None:
    world = await hash_of(300)
    await world.ask(b"SET", b"k", b"v")
    await world.flush()
    assert await world.ask(b"HGET", b"h", b"field1") is None
    assert await world.ask(b"HSET", b"h", b"a", b"1") == 1
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []
    assert await world.ask(b"HLEN", b"h") == 1


async def test_many_small_orders_are_done_together() -> None:
    world = World()
    for number in range(10):
        await world.ask(b"HSET", b"h%d" % number, b"f", bytes(5000))
        await world.ask(b"DEL", b"h%d" % number)
    assert await Sweeper(world.engine, lambda: 0.0).step() == 20
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []
