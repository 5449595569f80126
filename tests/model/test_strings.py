"""What a comparison with Redis cannot show of the handlers: other types' records, chunks, revisions, indexes."""

import pytest

from kvgate.errors import WRONG_TYPE
from kvgate.model import keyspace
from kvgate.model.kv import SuspendedError, run_now
from kvgate.model.meta import CHUNK, HASH, Meta, Outside, decode
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK, Simple
from tests.model.world import World

BIG = bytes(range(251)) * 1000


@pytest.mark.parametrize(
    "command",
    [
        (b"GET", b"h"),
        (b"STRLEN", b"h"),
        (b"INCR", b"h"),
        (b"DECRBY", b"h", b"1"),
        (b"GETSET", b"h", b"v"),
        (b"GETDEL", b"h"),
        (b"GETEX", b"h", b"EX", b"0"),
        (b"SET", b"h", b"v", b"GET"),
        (b"SET", b"h", b"v", b"NX", b"GET"),
    ],
)
async def test_a_hash_is_no_string(command: tuple[bytes, ...]) -> None:
    world = World()
    await world.put(b"h", Meta(HASH, payload=b"fields"))
    before = await world.records()
    assert await world.ask(*command) == WRONG_TYPE.encode()
    assert await world.records() == before
    assert await world.ask(b"TYPE", b"h") == Simple(b"hash")


async def test_keys_of_any_type_can_be_counted_expired_and_overwritten() -> None:
    world = World()
    await world.put(b"h", Meta(HASH, payload=b"fields"))
    assert await world.ask(b"MGET", b"h") == [None]
    assert await world.ask(b"EXISTS", b"h") == 1
    assert await world.ask(b"EXPIRE", b"h", b"10") == 1
    assert await world.ask(b"TYPE", b"h") == Simple(b"hash")
    assert await world.ask(b"SET", b"h", b"v", b"KEEPTTL") == OK
    assert await world.ask(b"TTL", b"h") == 10
    assert await world.ask(b"GET", b"h") == b"v"


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 16 << 20])
async def test_strings_around_a_chunk(size: int) -> None:
    world, value = World(), (BIG * (size // len(BIG) + 1))[:size]
    assert await world.ask(b"SET", b"k", value) == OK
    assert await world.ask(b"GET", b"k") == value
    assert await world.ask(b"STRLEN", b"k") == size
    assert len(await world.records(b"D", b"E")) == (0 if size <= CHUNK else -(-size // CHUNK))


async def test_missing_chunks_are_zero_bytes() -> None:
    world = World()
    await world.put(b"k", Meta(1, outside=Outside(5, CHUNK + 10, CHUNK)))
    assert await world.ask(b"GET", b"k") == bytes(CHUNK + 10)


@pytest.mark.parametrize(
    "end", [(b"SET", b"k", b"v"), (b"DEL", b"k"), (b"GETDEL", b"k"), (b"SET", b"k", BIG), (b"EXPIRE", b"k", b"0")]
)
async def test_what_replaces_a_big_value_touches_none_of_its_chunks(end: tuple[bytes, ...]) -> None:
    world = World()
    await world.ask(b"SET", b"k", BIG)
    old = await world.records(b"D", b"E")
    await world.ask(*end)
    assert set(old) <= set(await world.records(b"D", b"E"))
    assert len(await world.records(b"Q", b"R")) == 1
    await world.sweep()
    assert not set(old) & set(await world.records(b"D", b"E"))
    assert await world.records(b"Q", b"R") == []
    assert await world.ask(b"GET", b"k") == (end[2] if end[0] == b"SET" else None)


async def test_changing_the_expiry_of_a_big_value_keeps_it() -> None:
    world = World()
    await world.ask(b"SET", b"k", BIG)
    for command in ((b"EXPIRE", b"k", b"100"), (b"PERSIST", b"k"), (b"GETEX", b"k", b"EX", b"50")):
        await world.ask(*command)
    await world.sweep()
    assert await world.ask(b"GET", b"k") == BIG


async def test_a_key_expires_at_its_millisecond_for_every_command() -> None:
    world = World()
    await world.ask(b"SET", b"k", b"5", b"PX", b"100")
    world.now += 99
    assert await world.ask(b"PTTL", b"k") == 1
    assert await world.ask(b"INCR", b"k") == 6
    world.now += 1
    for command, reply in (
        ((b"GET", b"k"), None),
        ((b"EXISTS", b"k"), 0),
        ((b"PTTL", b"k"), -2),
        ((b"DEL", b"k"), 0),
        ((b"PERSIST", b"k"), 0),
        ((b"TYPE", b"k"), Simple(b"none")),
        ((b"GETDEL", b"k"), None),
        ((b"MGET", b"k"), [None]),
        ((b"SET", b"k", b"x", b"XX"), None),
        ((b"INCR", b"k"), 1),
        ((b"PTTL", b"k"), -1),
    ):
        assert await world.ask(*command) == reply, command


async def test_expired_keys_are_swept_without_being_read_and_others_stay() -> None:
    world = World()
    for number in range(700):
        await world.ask(b"SET", b"gone%d" % number, b"v", b"PX", b"%d" % (1 + number))
    await world.ask(b"SET", b"big", BIG, b"PX", b"10")
    await world.ask(b"SET", b"later", b"v", b"PX", b"5000")
    await world.ask(b"SET", b"moved", b"v", b"PX", b"10")
    await world.ask(b"PEXPIRE", b"moved", b"90000")
    await world.ask(b"SET", b"kept", b"v", b"PX", b"10")
    await world.ask(b"PERSIST", b"kept")
    world.now += 1000
    await world.sweep()
    assert sorted(await world.keys()) == [b"kept", b"later", b"moved"]
    assert len(await world.records(b"M", b"N")) == 3
    assert len(await world.records(b"X", b"Y")) == 2
    assert await world.records(b"D", b"E") == []


async def test_the_sweeper_leaves_a_key_alone_that_was_made_again() -> None:
    world = World()
    await world.ask(b"SET", b"k", b"old", b"PX", b"10")
    world.now += 20
    await world.ask(b"SET", b"k", b"new", b"PX", b"100")
    await world.sweep()
    assert await world.ask(b"GET", b"k") == b"new"
    assert len(await world.records(b"X", b"Y")) == 1


async def test_revisions_never_restart_and_the_long_key_is_kept_whole() -> None:
    world, key, seen = World(), b"Ads.A:" + b"k" * 600, []
    for command in ((b"SET", key, b"1"), (b"INCR", key), (b"DEL", key), (b"SET", key, b"1"), (b"EXPIRE", key, b"9")):
        await world.ask(*command)
        txn = await world.engine.begin()
        raw = await txn.get(keyspace.meta_key(key))
        if raw is not None:
            meta = decode(raw)
            assert meta.long_key == key
            seen.append(meta.revision)
    assert seen == sorted(set(seen))
    assert len(seen) == 4


async def test_every_group_that_has_a_key_is_in_the_directory() -> None:
    world = World()
    for key in (b"a", b"Ads.A:1", b"Ads.A:2", b"x.y:z", b"no.colon", b"nodot:1"):
        await world.ask(b"SET", key, b"v")
    groups = {keyspace.group_in(record)[1] for record in await world.records(b"G\x01", b"G\x02")}
    assert groups == {b"", b"Ads.A", b"x.y"}


async def test_reads_write_nothing() -> None:
    world = World()
    for command in ((b"GET", b"x.y:k"), (b"MGET", b"a.b:1", b"c"), (b"TTL", b"q"), (b"DEL", b"none"), (b"EXPIRE", b"n", b"1")):
        await world.ask(*command)
    assert await world.records() == []


async def test_a_handler_that_waits_is_no_handler_for_an_engine_in_place() -> None:
    world = World()
    with pytest.raises(SuspendedError):
        run_now(world.engine.begin())
    txn = await world.engine.begin()
    assert run_now(Transaction(txn, world.now).load(b"k")) is None
