"""What a comparison with Redis cannot show of hashes: where fields lie, what each command touches, walks, what sweeps see."""


import pytest

from kvgate.errors import Conflict
from kvgate.model import fields, keyspace
from kvgate.model.elements import Element, decode_element, decode_small, encode_element, encode_small, find_small
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import KvTxn, TooLong, transact
from kvgate.model.meta import CHUNK, HASH, Meta, UnreadableRecordError
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK, Reply, Simple
from tests.model.hash_world import Counted, counted, everything, hash_of, meta_of, walk, words
from tests.model.world import World

# ---------------------------------------------------------------------- where fields lie


@pytest.mark.parametrize(("number", "elements"), [(1, 0), (128, 0), (129, 129)])
async def test_a_hash_of_more_than_128_fields_moves_out(number: int, elements: int) -> None:
    world = await hash_of(number)
    assert len(await world.records(b"D", b"E")) == elements
    assert await everything(world) == dict(zip(words(number)[::2], words(number)[1::2], strict=True))


async def test_a_hash_of_more_than_4_kib_moves_out() -> None:
    world = World()
    await world.ask(b"HSET", b"h", b"f", b"v" * (4096 - 10))  # 10: flags, two lengths, the name
    assert await world.records(b"D", b"E") == []
    assert len((await meta_of(world)).payload) == 4096
    await world.ask(b"HSET", b"h", b"f", b"v" * (4096 - 9))
    assert len(await world.records(b"D", b"E")) == 1
    assert await everything(world) == {b"f": b"v" * (4096 - 9)}


async def test_a_big_hash_stays_big_until_it_is_empty() -> None:
    world = await hash_of(200)
    await world.ask(b"HDEL", b"h", *words(199)[::2])
    assert len(await world.records(b"D", b"E")) == 1
    assert await everything(world) == {b"field199": b"value199"}
    await world.ask(b"HSET", b"h", b"a", b"1")
    assert await world.ask(b"HDEL", b"h", b"a", b"field199", b"none") == 2
    assert await world.ask(b"TYPE", b"h") == Simple(b"none")
    await world.sweep()
    assert [key for key in await world.records() if key[:1] in b"MDQ"] == []
    await world.ask(b"HSET", b"h", b"a", b"1")
    assert await world.records(b"D", b"E") == []


async def test_moving_out_keeps_the_expiry_and_counts_exactly() -> None:
    world = await hash_of(127)
    await world.ask(b"EXPIRE", b"h", b"100")
    assert await world.ask(b"HSET", b"h", b"field1", b"other", b"new1", b"", b"new2", b"", b"new1", b"x") == 2
    assert len(await world.records(b"D", b"E")) == 129
    assert await world.ask(b"TTL", b"h") == 100
    assert await world.ask(b"HMGET", b"h", b"field1", b"new1", b"none") == [b"other", b"x", None]


@pytest.mark.parametrize("others", [0, 200])
async def test_long_fields_and_long_values(others: int) -> None:
    world, values = World(), {b"n" * 400: b"1", b"n" * 401: b"2", b"n" * 5000: b"v" * CHUNK, b"m" * 500: b"v" * (CHUNK + 1)}
    values |= {b"": b"", b"\x00\xff": bytes(3 * CHUNK), b"f": b"v" * (2 * CHUNK + 7)}
    if others:
        await world.ask(b"HSET", b"h", *words(others))
    await world.ask(b"HSET", b"h", *(word for pair in values.items() for word in pair))
    assert {name: await world.ask(b"HGET", b"h", name) for name in values} == values
    assert {name: await world.ask(b"HSTRLEN", b"h", name) for name in values} == {n: len(v) for n, v in values.items()}
    assert (await everything(world)).items() >= values.items()
    assert len(await world.records(b"D", b"E")) == others + len(values) + 2 + 3 + 3
    assert max(map(len, await world.records())) <= 440
    txn = await world.engine.begin()
    assert max(len(raw) for _, raw in await txn.scan(b"\x00", b"\xff", 1000)) < CHUNK + 6000


async def test_chunks_of_long_values_go_with_their_value() -> None:
    world = World()
    for name in (b"a", b"b", b"c"):
        await world.ask(b"HSET", b"h", name, bytes(3 * CHUNK))
    assert len(await world.records(b"D", b"E")) == 3 + 9
    await world.ask(b"HSET", b"h", b"a", b"short")
    await world.ask(b"HSET", b"h", b"b", b"x" * (CHUNK + 1))
    await world.ask(b"HDEL", b"h", b"c")
    assert len(await world.records(b"D", b"E")) == 2 + 2
    assert await everything(world) == {b"a": b"short", b"b": b"x" * (CHUNK + 1)}
    await world.ask(b"DEL", b"h")
    await world.sweep()
    assert await world.records(b"D", b"E") == []


# ---------------------------------------------------------------------- what is touched


@pytest.mark.parametrize("number", [200, 3000])
async def test_a_write_to_a_big_hash_touches_its_meta_and_its_own_fields(number: int) -> None:
    world = await hash_of(number)
    await world.ask(b"EXPIRE", b"h", b"100")
    for args, named, written in (
        ((b"HSET", b"h", b"field7", b"x", b"new", b"y"), 2, 3),
        ((b"HSETNX", b"h", b"newer", b"x"), 1, 2),
        ((b"HINCRBY", b"h", b"n", b"1"), 1, 2),
        ((b"HINCRBYFLOAT", b"h", b"n", b"1.5"), 1, 2),
        ((b"HDEL", b"h", b"field3", b"none"), 2, 2),
        ((b"HSETNX", b"h", b"newer", b"x"), 1, 0),
        ((b"HDEL", b"h", b"none"), 1, 0),
    ):
        _, did = await counted(world, *args)
        assert did.read == 3 + named, args  # generations, meta; each field once
        assert len([key for key in did.written if key[:1] != b"X"]) == written, args
        if written:
            assert keyspace.meta_key(b"h") in did.written, args


@pytest.mark.parametrize("number", [200, 3000])
async def test_a_read_of_a_big_hash_touches_its_meta_and_its_own_fields(number: int) -> None:
    world = await hash_of(number)
    for args, most in (
        ((b"HLEN", b"h"), 3),
        ((b"HGET", b"h", b"field5"), 4),
        ((b"HEXISTS", b"h", b"field5"), 4),
        ((b"HMGET", b"h", b"field5", b"none"), 5),
        ((b"HRANDFIELD", b"h"), 3 + 16 + 1),
        ((b"HRANDFIELD", b"h", b"-3"), 3 + 3 * 17),
        ((b"HSCAN", b"h", b"0"), 3 + 11),
    ):
        _, did = await counted(world, *args)
        assert did.read <= most, args
        assert did.written == []


async def test_the_length_of_a_long_value_is_known_without_reading_it() -> None:
    world = World()
    await world.ask(b"HSET", b"h", b"f", bytes(100 * CHUNK))
    reply, did = await counted(world, b"HSTRLEN", b"h", b"f")
    assert (reply, did.read) == (100 * CHUNK, 4)
    reply, did = await counted(world, b"HEXISTS", b"h", b"f")
    assert (reply, did.read) == (1, 4)


async def test_reading_all_is_paged_and_reads_each_once() -> None:
    world = await hash_of(3000)
    for command in (b"HGETALL", b"HVALS", b"HKEYS"):
        _, did = await counted(world, command, b"h")
        assert did.read == 3000 + 3
        assert did.most <= (fields.NAMES_PAGE if command == b"HKEYS" else fields.PAGE)


@pytest.mark.parametrize("number", [3, 300])
async def test_two_transactions_on_different_fields_conflict(number: int) -> None:
    world = await hash_of(number)
    first, second = await world.engine.begin(write=True), await world.engine.begin(write=True)
    for txn, name in ((first, b"field1"), (second, b"field2")):
        await HANDLERS["HSET"](Transaction(txn, world.now), [b"HSET", b"h", name, b"x"])
    await first.commit()
    with pytest.raises(Conflict):
        await second.commit()


async def test_each_write_has_a_new_revision() -> None:
    world, seen = await hash_of(200), []
    for args in ((b"HSET", b"h", b"field1", b"x"), (b"HDEL", b"h", b"field2"), (b"HINCRBY", b"h", b"n", b"1")):
        await world.ask(*args)
        seen.append((await meta_of(world)).revision)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    "end",
    [
        (b"DEL", b"h"),
        (b"UNLINK", b"h"),
        (b"SET", b"h", b"v"),
        (b"EXPIRE", b"h", b"0"),
        (b"RENAME", b"other", b"h"),
        (b"HDEL", b"h", *words(300)[::2]),
    ],
)
async def test_what_ends_a_big_hash_queues_its_id_once(end: tuple[bytes, ...]) -> None:
    world = await hash_of(300)
    await world.ask(b"SET", b"other", b"v")
    before = set(await world.records(b"D", b"E"))
    _, did = await counted(world, *end)
    if end[0] != b"HDEL":
        assert did.read + len(did.written) <= 12
        assert set(await world.records(b"D", b"E")) == before
    assert len(await world.records(b"Q", b"R")) == 1
    assert await world.ask(b"HSET", b"g", b"a", b"1") == 1
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []


async def test_a_hash_that_moves_keeps_its_elements() -> None:
    world = await hash_of(300)
    before, fields_before = await world.records(b"D", b"E"), await everything(world)
    await world.ask(b"EXPIRE", b"h", b"100")
    assert await world.ask(b"RENAME", b"h", b"Ads.T:moved") == OK
    await world.sweep()
    assert await world.records(b"D", b"E") == before
    assert await everything(world, b"Ads.T:moved") == fields_before
    assert await world.ask(b"TTL", b"Ads.T:moved") == 100


async def test_a_copy_has_elements_of_its_own() -> None:
    world = await hash_of(300)
    await world.ask(b"HSET", b"h", b"long", bytes(2 * CHUNK), b"n" * 500, b"1")
    assert await world.ask(b"COPY", b"h", b"g") == 1
    await world.ask(b"HSET", b"h", b"field1", b"changed")
    await world.ask(b"DEL", b"h")
    await world.sweep()
    assert len(await everything(world, b"g")) == 302
    assert await world.ask(b"HMGET", b"g", b"field1", b"long", b"n" * 500) == [b"value1", bytes(2 * CHUNK), b"1"]


async def test_a_big_hash_expires_for_every_command_and_is_swept() -> None:
    world = await hash_of(300)
    await world.ask(b"PEXPIRE", b"h", b"100")
    world.now += 100
    assert await everything(world) == {}
    assert await world.ask(b"HRANDFIELD", b"h") is None
    assert await world.ask(b"HSCAN", b"h", b"0") == [b"0", []]
    assert await world.ask(b"HSET", b"h", b"a", b"1") == 1
    assert await everything(world) == {b"a": b"1"}
    assert await world.ask(b"TTL", b"h") == -1
    await world.sweep()
    assert await world.records(b"D", b"E") == []


# ---------------------------------------------------------------------- limits, records that are not understood


@pytest.mark.parametrize("number", [100, 300])
async def test_replies_have_a_limit(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await hash_of(number)
    assert await world.ask(b"HRANDFIELD", b"h", b"-4000000000000000000") == (
        b"ERR reply of more than 256 MiB: read the hash in parts, with HSCAN"
    )
    monkeypatch.setattr(fields, "MOST_REPLY", 4000)
    for args in ((b"HGETALL", b"h"), (b"HRANDFIELD", b"h", b"-1000"), (b"HVALS", b"h")):
        reply = await world.ask(*args)
        assert number == 100 or (isinstance(reply, bytes) and reply.startswith(b"ERR reply of more than")), args
    assert len(await walk(world)) == number


async def test_reads_say_beforehand_that_they_are_long() -> None:
    world = await hash_of(300)
    long = (b"HGETALL", b"h"), (b"HKEYS", b"h"), (b"HSCAN", b"h", b"0", b"COUNT", b"200"), (b"HRANDFIELD", b"h", b"100")
    for args in long:
        txn = Counted(await world.engine.begin())
        with pytest.raises(TooLong):
            await HANDLERS[args[0].decode()](Transaction(txn, world.now, 128), list(args))
        assert txn.read <= 3
    for args in ((b"HGET", b"h", b"field1"), (b"HSCAN", b"h", b"0"), (b"HRANDFIELD", b"h"), (b"HLEN", b"h")):
        txn = Counted(await world.engine.begin())
        assert await HANDLERS[args[0].decode()](Transaction(txn, world.now, 128), list(args)) is not None


def test_small_hashes_and_elements_come_back() -> None:
    small = {b"": b"", b"a": b"\x00" * 9, b"\xff\r\n": b"v", b"aa": b"a"}
    assert decode_small(encode_small(small)) == small
    assert {name: find_small(encode_small(small), name) for name in small} == small
    assert find_small(encode_small(small), b"\x00" * 9) is None  # a value, not a field
    assert find_small(encode_small({}), b"") is None
    for element in (Element(b"v"), Element(b""), Element(b"v", long_name=b"n" * 500)):
        assert decode_element(encode_element(element)) == element


@pytest.mark.parametrize("raw", [b"\x02\x00v", b"\x01\x10v", b"\x01\x80v"])
def test_unknown_elements_are_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableRecordError, match="unknown to this version"):
        decode_element(raw)


async def test_a_small_hash_with_an_unknown_flag_is_refused() -> None:
    world = World()
    await world.put(b"h", Meta(HASH, payload=b"\x01" + encode_small({b"a": b"1"})[1:]))
    for args in ((b"HGET", b"h", b"a"), (b"HLEN", b"h"), (b"HSET", b"h", b"b", b"1"), (b"HSCAN", b"h", b"0")):
        reply = await world.ask(*args)
        assert isinstance(reply, bytes)
        assert reply.startswith(b"ERR store holds a field with the flags 0x1")


async def test_a_handler_that_runs_twice_leaves_the_elements_of_one_run() -> None:
    world, runs = World(), 0

    async def body(txn: KvTxn) -> Reply:
        nonlocal runs
        runs += 1
        reply = await HANDLERS["HSET"](Transaction(txn, world.now), [b"HSET", b"h", *words(200)])
        if runs == 1:
            await world.ask(b"HSET", b"h", b"field0", b"first")
        return reply

    assert await transact(world.engine, body) == 199
    assert runs == 2
    assert len(await world.records(b"D", b"E")) == 200
