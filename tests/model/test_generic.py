"""What a comparison with Redis cannot show of RENAME, COPY and OBJECT: records, indexes, the sweeper, conflicts."""

import pytest

from kvgate.errors import Conflict
from kvgate.model import keyspace
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn
from kvgate.model.meta import CHUNK
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK
from tests.model.counting import counted
from tests.model.world import World

BIG = bytes(range(251)) * 2000
LONG_KEY = b"Ads.A:" + b"k" * 600


@pytest.mark.parametrize("command", [b"RENAME", b"RENAMENX"])
async def test_a_big_value_moves_without_its_chunks(command: bytes) -> None:
    world = World()
    await world.ask(b"SET", b"k", BIG, b"PX", b"1000")
    chunks = await world.records(b"D", b"E")
    _, did = await counted(world, command, b"k", LONG_KEY)
    assert did.read + len(did.written) <= 14
    assert await world.records(b"Q", b"R") == []
    await world.sweep()
    assert await world.records(b"D", b"E") == chunks
    assert await world.ask(b"GET", LONG_KEY) == BIG
    assert [keyspace.expiry_in(entry) for entry in await world.records(b"X", b"Y")] == [
        (world.now + 1000, keyspace.meta_key(LONG_KEY))
    ]
    world.now += 1000
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"M", b"N") == await world.records(b"X", b"Y") == []


async def test_what_a_rename_overwrites_goes_to_the_sweeper() -> None:
    world = World()
    await world.ask(b"SET", b"old", BIG, b"EX", b"100")
    await world.ask(b"SET", b"new", b"v")
    assert await world.ask(b"RENAME", b"new", b"old") == OK
    assert await world.records(b"X", b"Y") == []
    await world.sweep()
    assert await world.records(b"D", b"E") == []
    assert await world.ask(b"GET", b"old") == b"v"
    assert await world.ask(b"EXISTS", b"new") == 0


async def test_a_rename_over_an_expired_key_counts_it_as_missing() -> None:
    world = World()
    await world.ask(b"SET", b"gone", BIG, b"PX", b"10")
    await world.ask(b"SET", b"k", b"v")
    world.now += 10
    assert await world.ask(b"RENAMENX", b"k", b"gone") == 1
    assert await world.ask(b"RENAME", b"gone", b"k") == OK
    assert await world.ask(b"COPY", b"none", b"k") == 0
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"X", b"Y") == []
    assert await world.ask(b"GET", b"k") == b"v"


async def test_a_copy_shares_nothing() -> None:
    world = World()
    await world.ask(b"SET", b"k", BIG, b"EX", b"100")
    _, did = await counted(world, b"COPY", b"k", b"c")
    assert did.most <= 100
    assert len(await world.records(b"D", b"E")) == 2 * -(-len(BIG) // CHUNK)
    assert await world.ask(b"TTL", b"c") == 100
    await world.ask(b"SETRANGE", b"k", b"0", b"changed")
    await world.ask(b"DEL", b"k")
    await world.sweep()
    assert await world.ask(b"GET", b"c") == BIG


async def test_renames_and_copies_conflict_with_writers_of_either_key() -> None:
    world = World()
    for key in (b"k", b"t"):
        await world.ask(b"SET", key, b"v")

    async def begun(*args: bytes) -> KvTxn:
        txn = await world.engine.begin(write=True)
        await HANDLERS[args[0].decode()](Transaction(txn, world.now), list(args))
        return txn

    for command in ((b"RENAME", b"k", b"t"), (b"COPY", b"k", b"t", b"REPLACE"), (b"BITOP", b"OR", b"t", b"k")):
        for key in (b"k", b"t"):
            txn = await begun(*command)
            assert await world.ask(b"APPEND", key, b"x") != 0
            with pytest.raises(Conflict):
                await txn.commit()


async def test_each_write_to_a_part_has_a_new_revision() -> None:
    world, seen = World(), []
    for command in (
        (b"APPEND", b"k", BIG),
        (b"APPEND", b"k", b""),
        (b"SETRANGE", b"k", b"0", b"x"),
        (b"SETBIT", b"k", b"0", b"1"),
        (b"SETBIT", b"k", b"0", b"0"),
        (b"BITFIELD", b"k", b"INCRBY", b"u8", b"0", b"1"),
    ):
        await world.ask(*command)
        meta = await Transaction(await world.engine.begin(), world.now).load(b"k")
        assert meta is not None
        seen.append(meta.revision)
    assert seen == sorted(set(seen))


async def test_a_bit_that_is_as_it_was_is_no_write() -> None:
    """As in Redis 7.0, other than the same bytes by SETRANGE: a client that watches the key goes on."""
    world, seen = World(), set()
    await world.ask(b"SET", b"k", BIG)
    same_bit, same_number = (b"SETBIT", b"k", b"7", b"%d" % (BIG[0] & 1)), (b"BITFIELD", b"k", b"INCRBY", b"u8", b"0", b"0")
    for command in ((b"GET", b"k"), same_bit, same_number):
        await world.ask(*command)
        meta = await Transaction(await world.engine.begin(), world.now).load(b"k")
        assert meta is not None
        seen.add(meta.revision)
    assert len(seen) == 1


async def test_objects_of_keys_with_many_or_long_fields() -> None:
    world = World()
    fields = [word for number in range(512) for word in (b"f%d" % number, b"v")]
    await world.ask(b"HSET", b"h", *fields)
    assert await world.ask(b"OBJECT", b"ENCODING", b"h") == b"listpack"
    await world.ask(b"HSET", b"h", b"f7", bytes(2 * CHUNK))
    _, did = await counted(world, b"OBJECT", b"ENCODING", b"h")
    assert did.most <= 100
    assert await world.ask(b"OBJECT", b"ENCODING", b"h") == b"hashtable"
    await world.ask(b"HSET", b"h", b"f7", b"v", b"one more", b"v")
    assert await world.ask(b"OBJECT", b"ENCODING", b"h") == b"hashtable"
    await world.ask(b"HDEL", b"h", b"f1", b"f2")
    await world.ask(b"HSET", b"h", b"n" * 500, b"v")
    assert await world.ask(b"OBJECT", b"ENCODING", b"h") == b"hashtable"
