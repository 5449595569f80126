"""SCAN and its kin: nothing is missed, nothing foreign is shown, cursors hold no state."""

import random

import pytest

from kvgate.backend import View
from kvgate.model import keyspace, listing
from kvgate.model.meta import HASH, Meta
from tests.model.world import ALL, World, only, without


async def filled(per_group: int = 30) -> tuple[World, dict[bytes, set[bytes]]]:
    world, groups = World(), {}
    for group in (b"Ads.A", b"Ads.B", b"Bank.L", b"x.y"):
        groups[group] = {b"%b:%d" % (group, i) for i in range(per_group)}
    groups[b""] = {b"plain%d" % i for i in range(per_group)} | {b"ads:1", b"", b"a.b" * 200, b":"}
    for keys in groups.values():
        pairs = [word for key in keys for word in (key, b"v")]
        assert await world.ask(b"MSET", *pairs)
    return world, groups


@pytest.mark.parametrize("count", [1, 7, 100, 5000])
async def test_a_scan_shows_every_key_once(count: int) -> None:
    world, groups = await filled()
    everything = set().union(*groups.values())
    found = await world.keys(count=count)
    assert sorted(found) == sorted(everything)
    assert await listing.size(world.engine, ALL) == len(everything)


@pytest.mark.parametrize("count", [1, 7, 5000])
async def test_views_show_their_groups_alone(count: int) -> None:
    world, groups = await filled()
    everything = set().union(*groups.values())
    assert sorted(await world.keys(only(b"Ads.A", b"x.y"), count=count)) == sorted(groups[b"Ads.A"] | groups[b"x.y"])
    rest = everything - groups[b"Ads.A"] - groups[b"Bank.L"]
    assert set(await world.keys(without(b"Ads.A", b"Bank.L"), count=count)) == rest
    assert await world.keys(only(b"No.Such"), count=count) == []
    assert await listing.size(world.engine, only(b"Ads.B")) == len(groups[b"Ads.B"])


async def test_groups_that_share_a_bucket_are_told_apart() -> None:
    names: dict[int, bytes] = {}
    for number in range(100_000):
        name = b"G.%d" % number
        other = names.setdefault(keyspace.bucket_of(name), name)
        if other != name:
            break
    world = World()
    mine, foreign = [b"%b:%d" % (name, i) for i in range(200)], [b"%b:%d" % (other, i) for i in range(200)]
    await world.ask(b"MSET", *(word for key in mine + foreign for word in (key, b"v")))
    assert sorted(await world.keys(only(name))) == sorted(mine)
    await world.flush(only(name))
    assert sorted(await world.keys()) == sorted(foreign)
    await world.sweep()
    assert sorted(await world.keys()) == sorted(foreign)
    assert len(await world.records(b"M", b"N")) == 200


async def test_keys_that_stay_are_returned_whatever_else_changes() -> None:
    world, dice = World(), random.Random(3)
    stay = [b"Ads.A:stay%d" % i for i in range(100)]
    await world.ask(b"MSET", *(word for key in stay for word in (key, b"v")))
    cursor, found = 0, []
    while True:
        cursor, page = await listing.scan(world.engine, cursor, count=5, match=None, kind=None, view=ALL)
        found += page
        if not cursor:
            break
        for _ in range(5):
            await world.ask(b"SET", b"Ads.A:come%d" % dice.randrange(1000), b"v")
            await world.ask(b"DEL", b"Ads.A:come%d" % dice.randrange(1000))
    assert set(stay) <= set(found)


async def test_cursors_are_below_two_to_the_41_and_grow() -> None:
    world, _ = await filled()
    cursors, cursor = [], 0
    while True:
        cursor, _ = await listing.scan(world.engine, cursor, count=3, match=None, kind=None, view=ALL)
        if not cursor:
            break
        cursors.append(cursor)
    assert cursors == sorted(set(cursors))
    assert len(cursors) > 20
    assert max(cursors) < 2**41


async def test_match_and_type() -> None:
    world, groups = await filled()
    await world.put(b"Ads.A:h", Meta(HASH, payload=b""))
    assert sorted(await world.keys(match=b"Ads.A:1*")) == sorted(k for k in groups[b"Ads.A"] if k.startswith(b"Ads.A:1"))
    assert sorted(await world.keys(match=b"*9")) == sorted(k for keys in groups.values() for k in keys if k.endswith(b"9"))
    assert await world.keys(match=b"*", kind=b"HASH") == [b"Ads.A:h"]
    assert await world.keys(kind=b"no such type") == []
    assert await world.keys(only(b"Ads.B"), match=b"Ads.A:*") == []
    assert b"Ads.A:h" not in await world.keys(kind=b"string")


async def test_dead_keys_are_not_listed() -> None:
    world = World()
    await world.ask(b"MSET", b"a", b"1", b"b", b"2")
    await world.ask(b"PEXPIRE", b"a", b"10")
    world.now += 9
    assert sorted(await world.keys()) == [b"a", b"b"]
    world.now += 1
    assert await world.keys() == [b"b"]
    assert await listing.size(world.engine, ALL) == 1


async def test_random_keys_come_from_the_whole_view() -> None:
    world, groups = await filled(per_group=5)
    for view, wanted in ((ALL, set().union(*groups.values())), (only(b"Ads.A"), groups[b"Ads.A"]), (without(b""), None)):
        seen = {await listing.random_key(world.engine, view) for _ in range(300)}
        assert wanted is None or seen <= wanted
        assert len(seen) > 3
        assert all(key is not None and view.has(key) for key in seen)
    assert await listing.random_key(world.engine, only(b"No.Such")) is None
    await world.flush()
    assert await listing.random_key(world.engine, ALL) is None
    assert await listing.random_key(World().engine, ALL) is None


async def test_flush_of_everything() -> None:
    world, _ = await filled()
    await world.flush()
    assert await world.keys() == []
    assert await world.ask(b"GET", b"Ads.A:1") is None
    assert await world.ask(b"INCR", b"Ads.A:1") == 1
    assert await world.keys() == [b"Ads.A:1"]
    await world.sweep()
    assert await world.keys() == [b"Ads.A:1"]
    assert len(await world.records(b"M", b"N")) == 1
    assert await world.records(b"Q", b"R") == []


async def test_flush_of_a_view_leaves_the_neighbours() -> None:
    world, groups = await filled()
    everything = set().union(*groups.values())
    await world.flush(only(b"Ads.A"))
    assert set(await world.keys()) == everything - groups[b"Ads.A"]
    await world.flush(without(b"Ads.A", b"Bank.L"))
    assert set(await world.keys()) == groups[b"Bank.L"]
    await world.ask(b"SET", b"Ads.A:new", b"v")
    await world.sweep()
    assert set(await world.keys()) == groups[b"Bank.L"] | {b"Ads.A:new"}
    assert len(await world.records(b"M", b"N")) == len(groups[b"Bank.L"]) + 1


async def test_a_key_made_again_after_a_flush_has_no_expiry_and_a_higher_revision() -> None:
    world = World()
    await world.ask(b"SET", b"k", b"1", b"EX", b"10")
    await world.flush()
    assert await world.ask(b"TTL", b"k") == -2
    assert await world.ask(b"SET", b"k", b"2", b"KEEPTTL") is not None
    assert await world.ask(b"TTL", b"k") == -1
    world.now += 20_000
    await world.sweep()
    assert await world.ask(b"GET", b"k") == b"2"


async def test_two_flushes_and_many_groups() -> None:
    world = World()
    for number in range(600):  # more than a page of the directory
        await world.ask(b"SET", b"T.%d:k" % number, b"v")
    assert len(await world.keys(count=50)) == 600
    view = only(*(b"T.%d" % n for n in range(100)))
    assert len(await world.keys(view, count=50)) == 100
    await world.flush(view)
    await world.flush(view)
    assert len(await world.keys()) == 500
    await world.sweep()
    assert len(await world.records(b"M", b"N")) == 500


async def test_a_sparse_view_answers_empty_pages_instead_of_reading_for_ever() -> None:
    world = World()
    await world.ask(b"MSET", *(word for n in range(3000) for word in (b"T.%d:k" % n, b"v")))
    view = View(has=lambda key: key.startswith(b"T.77:"), everything=False)
    pages, cursor, found = 0, 0, []
    while True:
        cursor, page = await listing.scan(world.engine, cursor, count=10, match=None, kind=None, view=view)
        found += page
        pages += 1
        if not cursor:
            break
    assert found == [b"T.77:k"]
    assert pages > 1
