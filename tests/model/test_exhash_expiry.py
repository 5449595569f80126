"""Fields that expire: gone for every command at their millisecond, later swept, and the key with the last of them."""

import random
from typing import Any

import pytest

from kvgate.model import keyspace
from kvgate.model.check import Check
from kvgate.model.memory import _State
from kvgate.model.meta import CHUNK, StoreHeader, encode_counter, encode_header
from kvgate.model.sweeper import Sweeper
from kvgate.wire.reply import OK, Reply, Simple, decode, encode
from tests.model.hash_world import counted, meta_of
from tests.model.world import World

MANY = 300
LONG = b"n" * 500
BIG = bytes(range(256)) * 300  # three chunks


def problems(world: World) -> list[str]:
    """What the check of the store finds; the engine in memory keeps no header and no counter."""
    data = dict(world.engine._state.data)
    data[keyspace.HEADER] = encode_header(StoreHeader(1, 1, world.now, b"i" * 16))
    data[keyspace.REVISION] = encode_counter(1_000_000)
    return list(Check(_State(data)).problems())


async def others(world: World, number: int, *options: bytes) -> None:
    for each in range(number):
        assert await world.ask(b"EXHSET", b"h", b"other%d" % each, b"o", *options) == 1


@pytest.fixture(params=[1, MANY])
async def world(request: pytest.FixtureRequest) -> World:
    """A store with the hash ``h`` of `lasting` fields and ``f``, which expires in 5 s: a small one, and a big one."""
    made = World()
    await others(made, request.param)
    await made.ask(b"EXHSET", b"h", b"f", b"5", b"PX", b"5000")
    return made


async def flat(world: World, *args: bytes) -> Any:
    return decode(encode(await world.ask(*args)))


# ---------------------------------------------------------------------- at its millisecond


async def test_a_field_lives_until_its_millisecond(world: World) -> None:
    number: Any = await world.ask(b"EXHLEN", b"h")
    world.now += 4999
    assert await world.ask(b"EXHGET", b"h", b"f") == b"5"
    assert await world.ask(b"EXHPTTL", b"h", b"f") == 1
    assert await world.ask(b"EXHTTL", b"h", b"f") == 0
    assert await world.ask(b"EXHLEN", b"h") == number
    for command in (b"EXHKEYS", b"EXHGETALL", b"EXHGETALLWITHVER"):
        assert b"f" in await flat(world, command, b"h")
    world.now += 1
    assert await world.ask(b"EXHLEN", b"h") == await world.ask(b"EXHLEN", b"h", b"NOEXP") == number - 1


async def test_a_field_is_gone_for_every_read(world: World) -> None:
    world.now += 5000
    for command, reply in (
        (b"EXHGET", None),
        (b"EXHGETWITHVER", None),
        (b"EXHMGET", [None]),
        (b"EXHMGETWITHVER", [None]),
        (b"EXHEXISTS", 0),
        (b"EXHSTRLEN", 0),
        (b"EXHVER", -2),
        (b"EXHTTL", -3),
        (b"EXHPTTL", -3),
    ):
        assert (command, await world.ask(command, b"h", b"f")) == (command, reply)
    for command in (b"EXHKEYS", b"EXHVALS", b"EXHGETALL", b"EXHGETALLWITHVER"):
        assert not {b"f", b"5"} & set(await flat(world, command, b"h"))
    cursor, page = await flat(world, b"EXHSCAN", b"h", b"0", b"COUNT", b"1000")
    assert b"f" not in page
    assert cursor == b"0"
    assert problems(world) == []


@pytest.mark.parametrize(
    ("line", "reply", "after"),
    [
        (b"EXHSET h f v", 1, [b"v", 1]),
        (b"EXHSET h f v VER 7", 1, [b"v", 1]),
        (b"EXHSET h f v NX KEEPTTL", 1, [b"v", 1]),
        (b"EXHSET h f v XX", -1, None),
        (b"EXHSETNX h f v", 1, [b"v", 0]),
        (b"EXHMSET h f v", OK, [b"v", 1]),
        (b"EXHMSETWITHOPTS h f v 9 10", OK, [b"v", 1]),
        (b"EXHINCRBY h f 1", 1, [b"1", 1]),
        (b"EXHINCRBYFLOAT h f 1.5", b"1.5", [b"1.5", 1]),
        (b"EXHEXPIRE h f 10", 0, None),
        (b"EXHPERSIST h f", 0, None),
        (b"EXHSETVER h f 3", 0, None),
        (b"EXHDEL h f", 0, None),
        (b"EXHDELWITHVER h f 0", 0, None),
    ],
)
async def test_a_field_is_gone_for_every_write(world: World, line: bytes, reply: Reply, after: Reply) -> None:
    world.now += 5000
    assert await world.ask(*line.split()) == reply
    assert await world.ask(b"EXHGETWITHVER", b"h", b"f") == after
    assert await world.ask(b"EXHTTL", b"h", b"f") == (-3 if after is None else 10 if b"10" in line.split() else -1)
    assert problems(world) == []
    await world.sweep()
    assert await world.ask(b"EXHGETWITHVER", b"h", b"f") == after
    assert problems(world) == []


@pytest.mark.parametrize("number", [2, MANY])
async def test_a_hash_is_gone_with_its_last_field(number: int) -> None:
    world = World()
    await others(world, number, b"PX", b"1000")
    await world.ask(b"EXHSET", b"h", b"last", b"v", b"PX", b"2000")
    world.now += 1999
    assert await world.ask(b"EXISTS", b"h") == 1
    assert await world.ask(b"EXHLEN", b"h") == 1
    assert await world.keys() == [b"h"]
    world.now += 1
    assert await world.ask(b"EXISTS", b"h") == 0
    assert await world.ask(b"TYPE", b"h") == Simple(b"none")
    assert await world.keys() == []
    assert await world.ask(b"TTL", b"h") == -2
    assert await world.ask(b"RENAME", b"h", b"g") == b"ERR no such key"
    assert await world.ask(b"DUMP", b"h") is None
    assert await world.ask(b"EXHVER", b"h", b"last") == -1
    assert problems(world) == []
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQX"] == []


async def test_a_big_hash_is_gone_with_its_last_field_whatever_was_before() -> None:
    world = World()
    await others(world, MANY, b"PX", b"1000")
    await world.ask(b"EXHSET", b"h", b"late", b"v", b"PX", b"9000")
    await world.ask(b"EXHSET", b"h", b"later", b"v", b"PX", b"9000")
    await world.ask(b"EXHPEXPIRE", b"h", b"late", b"2000")
    await world.ask(b"EXHDEL", b"h", b"later")
    world.now += 1999
    assert await world.ask(b"EXISTS", b"h", b"h") == 2
    assert await world.keys() == [b"h"]
    world.now += 1
    assert await world.ask(b"EXISTS", b"h", b"h") == 0
    assert await world.ask(b"EXHLEN", b"h") == 0
    assert await world.ask(b"TYPE", b"h") == Simple(b"none")
    assert await world.keys() == []
    assert problems(world) == []
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQX"] == []


async def test_a_hash_that_is_gone_begins_anew() -> None:
    world = World()
    await others(world, MANY, b"PX", b"1000")
    world.now += 1000
    assert await world.ask(b"EXHSET", b"h", b"f", b"v") == 1
    assert await flat(world, b"EXHGETALL", b"h") == [b"f", b"v"]
    await world.sweep()
    assert await flat(world, b"EXHGETALL", b"h") == [b"f", b"v"]
    assert await world.records(b"D", b"E") == await world.records(b"X", b"Y") == []


# ---------------------------------------------------------------------- the sweeper


async def test_fields_are_swept_without_being_read(world: World) -> None:
    before = len(await world.records())
    await world.ask(b"EXHSET", b"h", LONG, BIG, b"PX", b"4000")
    await world.ask(b"EXHSET", b"h", b"later", b"v", b"PX", b"9000")
    world.now += 3999
    await world.sweep()
    assert await world.ask(b"EXHSTRLEN", b"h", LONG) == len(BIG)
    world.now += 1
    assert await world.sweep() == 1
    assert (await meta_of(world)).times is not None
    assert await world.ask(b"EXHMGET", b"h", b"f", b"later") == [b"5", b"v"]
    world.now += 1000
    assert await world.sweep() == 1
    assert problems(world) == []
    world.now += 4000
    assert await world.sweep() == 1
    assert (await meta_of(world)).times is None
    assert problems(world) == []
    assert await world.records(b"X", b"Y") == []
    if before < MANY:  # it had become big by the long value, and stays so
        assert len(await world.records(b"D", b"E")) == 1
    else:
        assert len(await world.records(b"D", b"E")) == MANY


async def test_a_small_hash_is_swept() -> None:
    world = World()
    await world.ask(b"EXHMSET", b"h", b"a", b"1", b"b", b"2")
    await world.ask(b"EXHEXPIRE", b"h", b"a", b"5")
    assert len(await world.records(b"X", b"Y")) == 1
    world.now += 5000
    assert await world.sweep() == 1
    assert b"\x00\x00\x00\x01a" not in (await meta_of(world)).payload
    assert await world.records(b"X", b"Y") == []
    assert await flat(world, b"EXHGETALL", b"h") == [b"b", b"2"]


async def test_many_fields_are_swept_in_parts() -> None:
    world = World()
    words = [word for each in range(1200) for word in (b"f%d" % each, b"v", b"0", b"1")]
    await world.ask(b"EXHMSETWITHOPTS", b"h", *words)
    await world.ask(b"EXHSET", b"h", b"stays", b"v")
    world.now += 1000
    sweeper = Sweeper(world.engine, lambda: 0.0)  # a clock that stands: only the number of records bounds a step
    assert await sweeper.step() > 0
    assert 0 < len(await world.records(b"D", b"E")) < 2 * 1200
    assert await world.ask(b"EXHLEN", b"h") == 1
    assert await flat(world, b"EXHGETALL", b"h") == [b"stays", b"v"]
    assert problems(world) == []
    while await sweeper.step():
        assert problems(world) == []
    assert len(await world.records(b"D", b"E")) == 1

    ticks = iter(range(10**9))
    await world.ask(b"EXHMSETWITHOPTS", b"h", *words)
    world.now += 1000
    hasty = Sweeper(world.engine, lambda: float(next(ticks)))  # every step is over at once
    steps = 0
    while await hasty.step():
        steps += 1
        assert problems(world) == []
    assert 12 <= steps <= 14, "a page at least in each"
    assert len(await world.records(b"D", b"E")) == 1


async def test_many_hashes_are_swept_together() -> None:
    world = World()
    for number in range(250):
        await world.ask(b"EXHSET", b"h%d" % number, b"a", b"1", b"PX", b"%d" % (1000 + number % 3))
        await world.ask(b"EXHSET", b"h%d" % number, b"b", b"1")
        await world.ask(b"SET", b"s%d" % number, b"v", b"PX", b"1000")
    world.now += 2000
    assert await world.sweep() < 20
    assert await world.records(b"X", b"Y") == []
    assert len(await world.keys()) == 250
    assert problems(world) == []


async def test_an_expiry_that_is_set_again_and_again_does_not_move_the_index() -> None:
    world = World()
    await others(world, 3)
    await world.ask(b"EXHSET", b"h", b"f", b"v", b"PX", b"1000")
    entry = await world.records(b"X", b"Y")
    for _ in range(3):
        world.now += 300
        _, did = await counted(world, b"EXHSET", b"h", b"f", b"v", b"PX", b"1000")
        assert [key[:1] for key in did.written] == [b"M"]
    assert await world.records(b"X", b"Y") == entry
    world.now += 100
    assert await world.sweep() == 1
    assert await world.records(b"X", b"Y") != entry
    assert await world.ask(b"EXHPTTL", b"h", b"f") == 900
    assert problems(world) == []


# ---------------------------------------------------------------------- the key's own expiry


async def test_the_keys_own_expiry_is_another_one(world: World) -> None:
    assert await world.ask(b"TTL", b"h") == -1
    assert await world.ask(b"PEXPIRE", b"h", b"5000") == 1  # the field's very moment: one entry for both
    assert len(await world.records(b"X", b"Y")) == 1
    assert await world.ask(b"PERSIST", b"h") == 1
    assert len(await world.records(b"X", b"Y")) == 1
    assert await world.ask(b"EXHPTTL", b"h", b"f") == 5000
    await world.ask(b"PEXPIRE", b"h", b"3000")
    assert len(await world.records(b"X", b"Y")) == 2
    assert problems(world) == []
    await world.ask(b"EXHPERSIST", b"h", b"f")
    assert await world.ask(b"PTTL", b"h") == 3000
    assert problems(world) == []
    await world.ask(b"EXHSET", b"h", b"g", b"v", b"PX", b"1000")
    world.now += 1000
    await world.sweep()
    assert await world.ask(b"PTTL", b"h") == 2000
    world.now += 2000
    assert await world.ask(b"EXISTS", b"h") == 0
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQX"] == []


async def test_both_times_over_in_one_step_of_the_sweeper(world: World) -> None:
    await world.ask(b"PEXPIRE", b"h", b"6000")
    world.now += 9000
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQX"] == []


# ---------------------------------------------------------------------- what else happens to a key


async def test_rename_and_what_replaces_a_hash(world: World) -> None:
    await world.ask(b"EXPIRE", b"h", b"100")
    everything = await flat(world, b"EXHGETALLWITHVER", b"h")
    elements = await world.records(b"D", b"E")
    assert await world.ask(b"RENAME", b"h", b"g") == OK
    assert await world.records(b"D", b"E") == elements
    assert await flat(world, b"EXHGETALLWITHVER", b"g") == everything
    assert await world.ask(b"EXHPTTL", b"g", b"f") == 5000
    assert problems(world) == []
    world.now += 5000
    await world.sweep()
    assert await world.ask(b"EXHEXISTS", b"g", b"f") == 0
    assert problems(world) == []
    await world.ask(b"EXHSET", b"g", b"f", b"v", b"EX", b"5")
    _, did = await counted(world, b"DEL", b"g")
    assert len(did.written) <= 4, "the meta, two entries of the index, an order for the sweeper"
    assert await world.records(b"X", b"Y") == []
    assert problems(world) == []
    await world.ask(b"EXHSET", b"g", b"f", b"v", b"EX", b"5")
    assert await world.ask(b"SET", b"g", b"v") == OK
    assert await world.records(b"X", b"Y") == []
    await world.sweep()
    assert await world.records(b"D", b"E") == []


async def test_flush(world: World) -> None:
    await world.flush()
    assert await world.ask(b"EXHGET", b"h", b"f") is None
    world.now += 5000
    assert await world.ask(b"EXHSET", b"h", b"g", b"v", b"EX", b"1") == 1
    assert problems(world) == []
    await world.sweep()
    assert await flat(world, b"EXHGETALL", b"h") == [b"g", b"v"]
    assert problems(world) == []
    await world.flush()
    world.now += 5000  # the entry of a flushed hash comes before the order to remove it is done
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQX"] == []


async def test_dump_and_restore(world: World) -> None:
    await world.ask(b"EXHSET", b"h", b"old", b"v", b"PX", b"1000")
    await world.ask(b"EXHSET", b"h", LONG, BIG, b"ABS", b"77")
    raw = await world.ask(b"DUMP", b"h")
    assert isinstance(raw, bytes)
    world.now += 2000
    assert await world.ask(b"RESTORE", b"g", b"0", raw) == OK
    assert await world.ask(b"RESTORE", b"g", b"0", raw) == b"BUSYKEY Target key name already exists."
    found = [await flat(world, b"EXHGETALLWITHVER", key) for key in (b"h", b"g")]
    triples = [sorted(zip(each[::3], each[1::3], each[2::3], strict=True)) for each in found]
    assert triples[0] == triples[1]
    assert await world.ask(b"EXHPTTL", b"g", b"f") == 3000
    assert await world.ask(b"EXHEXISTS", b"g", b"old") == 0
    assert await world.ask(b"RESTORE", b"g", b"500", raw, b"REPLACE") == OK
    assert await world.ask(b"PTTL", b"g") == 500
    assert problems(world) == []
    only = World()
    await only.ask(b"EXHSET", b"h", b"f", b"v", b"PX", b"1000")
    raw = await only.ask(b"DUMP", b"h")
    assert isinstance(raw, bytes)
    only.now += 1000
    assert await only.ask(b"RESTORE", b"g", b"0", raw) == OK
    assert await only.ask(b"EXISTS", b"g") == 0


async def test_it_is_a_type_of_its_own(world: World) -> None:
    assert await world.ask(b"TYPE", b"h") == Simple(b"tairhash-")
    assert await world.keys(kind=b"tairhash-") == [b"h"]
    assert await world.keys(kind=b"hash") == []
    assert await world.ask(b"OBJECT", b"ENCODING", b"h") == b"raw"
    assert await world.ask(b"COPY", b"h", b"g") == b"ERR not supported for this module key"
    wrong = b"WRONGTYPE Operation against a key holding the wrong kind of value"
    await world.ask(b"HSET", b"plain", b"f", b"v")
    for args in ((b"HGET", b"h", b"f"), (b"HGETALL", b"h"), (b"HSET", b"h", b"f", b"v"), (b"GET", b"h"), (b"EXGET", b"h")):
        assert await world.ask(*args) == wrong
    for args in ((b"EXHGET", b"plain", b"f"), (b"EXHSET", b"plain", b"f", b"v"), (b"EXHLEN", b"plain")):
        assert await world.ask(*args) == wrong
    assert await world.ask(b"HGETALL", b"plain") is not None


async def test_each_write_has_a_new_revision(world: World) -> None:
    seen = [(await meta_of(world)).revision]
    for command in (b"SET h f v", b"SETVER h f 9", b"EXPIRE h f 9", b"PERSIST h f", b"DEL h f", b"INCRBY h f 1"):
        line = b"EXH" + command
        await world.ask(*line.split())
        seen.append((await meta_of(world)).revision)
    assert seen == sorted(set(seen))
    before = await meta_of(world)
    for line in (b"EXHDEL h none", b"EXHSETNX h f v", b"EXHSET h f v NX", b"EXHPERSIST h f", b"EXHEXPIRE h none 1"):
        _, did = await counted(world, *line.split())
        assert did.written == [], line
    assert await meta_of(world) == before


# ---------------------------------------------------------------------- what is touched


@pytest.mark.parametrize("number", [200, 3000])
async def test_what_a_command_on_a_big_hash_touches(number: int) -> None:
    world = World()
    await world.ask(b"EXHMSET", b"h", *(word for each in range(number) for word in (b"f%d" % each, b"v")))
    await world.ask(b"EXHSET", b"h", b"first", b"v", b"PX", b"1")  # so that no later one changes the index
    for line, read, written in (
        (b"EXHSET h f7 x", 4, 2),
        (b"EXHSET h f7 x EX 10", 4, 3),
        (b"EXHSET h f7 x EX 20", 4, 4),
        (b"EXHEXPIRE h f7 30", 4, 4),
        (b"EXHSETVER h f7 30", 4, 2),
        (b"EXHPERSIST h f7", 4, 3),
        (b"EXHMSET h f8 x new y", 5, 3),
        (b"EXHINCRBY h n 1", 4, 2),
        (b"EXHDEL h f9 f10", 5, 3),
        (b"EXHGET h f7", 4, 0),
        (b"EXHMGETWITHVER h f7 f8 none", 6, 0),
        (b"EXHLEN h", 3, 0),
        (b"EXHTTL h f7", 4, 0),
    ):
        _, did = await counted(world, *line.split())
        assert (line, did.read, len(did.written)) == (line, read, written)
        assert not written or keyspace.meta_key(b"h") in did.written
    world.now += 1
    reply, did = await counted(world, b"EXHLEN", b"h")
    assert (reply, did.read) == (number, 4)  # with `n` and `new`, without f9 and f10; only what is not swept is counted


async def test_a_long_value_is_not_read_for_its_length_version_or_expiry() -> None:
    world = World()
    await world.ask(b"EXHSET", b"h", b"f", bytes(100 * CHUNK))
    for line in (b"EXHSTRLEN h f", b"EXHVER h f", b"EXHTTL h f", b"EXHEXISTS h f", b"EXHEXPIRE h f 10", b"EXHSETVER h f 5"):
        _, did = await counted(world, *line.split())
        assert did.read == 4, line
    assert await world.ask(b"EXHSTRLEN", b"h", b"f") == 100 * CHUNK
    assert await world.ask(b"EXHGETWITHVER", b"h", b"f") == [bytes(100 * CHUNK), 5]
    assert problems(world) == []
    await world.ask(b"EXHSET", b"h", b"f", b"short")
    assert len(await world.records(b"D", b"E")) == 1


# ---------------------------------------------------------------------- by lot


def line_by_lot(lot: random.Random) -> list[bytes]:
    """A command on one of few fields, times around the steps of the clock."""
    field, time = lot.choice((b"a", b"b", b"c", LONG)), b"%d" % lot.choice((0, 1, 2, 3, 5, 50))
    value = lot.choice((b"1", b"22", b"3.5", BIG))
    expiry = lot.choice(([], [b"PX", time], [b"KEEPTTL"]))
    guard = lot.choice(([], [], [b"VER", b"%d" % lot.randrange(4)], [b"ABS", b"2"], [b"GT", b"3"]))
    return lot.choice(
        (
            [b"EXHSET", b"h", field, value, *expiry, *guard, *lot.choice(([], [], [b"NX"], [b"XX"]))],
            [b"EXHSET", b"h", field, value, *expiry],
            [b"EXHSETNX", b"h", field, value],
            [b"EXHMSET", b"h", field, b"4", b"b", b"5"],
            [b"EXHPEXPIRE", b"h", field, time, *guard],
            [b"EXHPERSIST", b"h", field],
            [b"EXHSETVER", b"h", field, b"1"],
            [b"EXHINCRBY", b"h", field, b"1", *expiry, *guard],
            [b"EXHINCRBYFLOAT", b"h", field, b"0.5", *expiry],
            [b"EXHDEL", b"h", field, b"b"],
            [b"EXHDELWITHVER", b"h", field, b"1"],
            [b"EXHMGETWITHVER", b"h", b"a", b"b", b"c", LONG],
            [b"EXHPTTL", b"h", field],
            [b"EXHLEN", b"h"],
            [b"PEXPIRE", b"h", b"40"],
            [b"PERSIST", b"h"],
            [b"PTTL", b"h"],
        )
    )


@pytest.mark.parametrize("seed", range(12))
async def test_a_small_hash_and_a_big_one_answer_the_same(seed: int) -> None:
    lot = random.Random(seed)
    worlds = [World() for _ in range(3)]
    hidden = [word for each in range(MANY) for word in (b"hidden%d" % each, b"")]
    await worlds[1].ask(b"EXHMSET", b"h", *hidden)  # stays big; it is never gone
    for step in range(150):
        line = line_by_lot(lot)
        if not lot.randrange(3):
            for world in worlds:
                world.now += 1
        replies = [decode(encode(await world.ask(*line))) for world in worlds]
        if await worlds[1].ask(b"EXISTS", b"h") == 0:
            await worlds[1].ask(b"EXHMSET", b"h", *hidden)
        assert replies[0] == replies[2], (step, line)
        if line[0] not in (b"EXHLEN", b"EXHPTTL", b"PEXPIRE", b"PERSIST", b"PTTL"):  # which tell whether there are others
            assert replies[0] == replies[1], (step, line)
        if not lot.randrange(8):
            await worlds[1].sweep()
            await worlds[2].sweep()  # not the first one: nobody can tell
        for world in worlds:
            assert problems(world) == [], (step, line)
