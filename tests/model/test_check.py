"""The check finds each thing that docs/keyspace.md does not allow, and nothing in what the handlers write."""

import random
import re
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from kvgate.model import census
from kvgate.model import keyspace as ks
from kvgate.model import meta as records
from kvgate.model.check import Check, pairs
from kvgate.model.elements import Element, decode_element, encode_element
from kvgate.model.memory import _State
from kvgate.model.meta import CHUNK, FieldTimes, Meta, Outside, StoreHeader
from tests.model.world import World, only

Data = dict[bytes, bytes]
LONG = b"Ads.T:" + b"k" * 500
BIG = bytes(range(256)) * 300  # three chunks
REVISION = 1_000_000


def finished(world: World) -> Data:
    """What a store on LMDB would hold: the engine in memory keeps no header and no counter."""
    header = records.encode_header(StoreHeader(1, 1, world.now, b"i" * 16))
    return {**world.engine._state.data, ks.HEADER: header, ks.REVISION: records.encode_counter(REVISION)}


def problems(data: Data) -> list[str]:
    return list(Check(_State(data)).problems())


async def filled() -> World:
    """One of everything, swept."""
    world = World()
    await world.ask(b"SET", b"plain", b"v")
    await world.ask(b"SET", b"Ads.T:expires", b"v", b"EX", b"100")
    await world.ask(b"SET", b"big", BIG)
    await world.ask(b"SET", LONG, b"v", b"EX", b"1000")
    await world.ask(b"SETBIT", b"sparse", b"2000000", b"1")
    await world.ask(b"EXSET", b"versioned", b"v", b"FLAGS", b"4")
    await world.ask(b"EXSET", b"Ads.T:versioned", BIG, b"EX", b"100")
    await world.ask(b"HSET", b"small", b"f", b"v", b"g", b"")
    fields = [word for number in range(300) for word in (b"f%d" % number, b"v")]
    await world.ask(b"HSET", b"Ads.T:hash", b"f" * 500, BIG, *fields)
    await world.sweep()
    return world


async def test_what_handlers_write_is_good() -> None:
    world = await filled()
    assert problems(finished(world)) == []
    await world.ask(b"DEL", b"Ads.T:hash", b"big")
    await world.ask(b"EXAPPEND", b"Ads.T:versioned", BIG)
    await world.ask(b"EXINCRBY", b"number", b"1", b"ABS", b"0")
    await world.ask(b"RENAME", LONG, b"short")
    await world.ask(b"HSET", b"hash", *[b"%d" % number for number in range(600)])
    await world.flush(only(b"Ads.T"))
    await world.ask(b"SET", b"Ads.T:again", b"v")
    assert problems(finished(world)) == [], "also with orders for the sweeper"
    await world.flush()
    await world.ask(b"SET", b"again", b"v")
    assert problems(finished(world)) == []
    await world.sweeper.step()
    assert problems(finished(world)) == []
    await world.sweep()
    assert problems(finished(world)) == []


async def test_every_record_is_read_once() -> None:
    data = finished(await filled())
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    check = Check(_State(data), step)
    assert list(check.problems()) == []
    assert steps == len(data)
    assert check.keys == 9
    assert dict(pairs(_State(data), b"\x00", b"\xff")) == data


async def test_random_work_is_good() -> None:
    dice = random.Random(11)
    world = World()
    keys = [b"a", b"Ads.T:a", LONG]
    for step in range(600):
        key, other = dice.choice(keys), dice.choice(keys)
        fields = [b"%d" % dice.randrange(400) for _ in range(dice.choice((2, 2, 400)))]
        await world.ask(
            *dice.choice(
                (
                    (b"SET", key, BIG[: dice.choice((3, 40_000, 70_000))]),
                    (b"SETRANGE", key, b"%d" % dice.choice((0, 32_640, 50_000)), b"xyz"),
                    (b"EXSET", key, BIG[: dice.choice((3, 70_000))], b"FLAGS", dice.choice((b"0", b"7"))),
                    (b"EXAPPEND", key, BIG[: dice.choice((3, 40_000))]),
                    (b"EXPREPEND", key, BIG[: dice.choice((3, 40_000))]),
                    (b"EXCAD", key, b"2"),
                    (b"EXGAE", key, b"PX", b"500"),
                    (b"HSET", key, *fields),
                    (b"HSET", key, b"f" * dice.choice((3, 450)), BIG[: dice.choice((3, 40_000, 70_000))]),
                    (b"HDEL", key, *fields),
                    (b"EXHSET", key, fields[0], BIG[: dice.choice((3, 70_000))], b"PX", b"%d" % dice.choice((300, 5000))),
                    (b"EXHMSET", key, *fields),
                    (b"EXHDEL", key, *fields),
                    (b"EXHPERSIST", key, fields[0]),
                    (b"RENAME", key, other),
                    (b"COPY", key, other, b"REPLACE"),
                    (b"EXPIRE", key, b"%d" % dice.choice((1, 100))),
                    (b"PERSIST", key),
                    (b"DEL", key),
                )
            )
        )
        world.now += dice.choice((0, 0, 400))
        if step % 40 == 0:
            await world.flush(only(b"Ads.T"))
        if step % 7 == 0:
            await world.sweeper.step()
        if step % 20 == 0:
            assert problems(finished(world)) == []
    await world.sweep()
    data = finished(world)
    assert problems(data) == []
    assert not [key for key in data if key[:1] == b"Q"]


# Each kind of damage


def meta_of(data: Data, key: bytes) -> Meta:
    return records.decode(data[ks.meta_key(key)])


def rewrite(data: Data, key: bytes, **changes: Any) -> None:
    meta = meta_of(data, key)
    fields = {name: getattr(meta, name) for name in meta.__slots__ if not name.startswith("__")} | changes
    meta = Meta(**fields)
    data[ks.meta_key(key)] = records.encode(meta, meta.generation, meta.revision, meta.long_key)


def identity(data: Data, key: bytes) -> int:
    outside = meta_of(data, key).outside
    assert outside is not None
    return outside.identity


def moved(data: Data, old: bytes, new: bytes) -> None:
    data[new] = data.pop(old)


def first_field(data: Data) -> bytes:
    return next(key for key in sorted(data) if key[:1] == b"D" and key[9] == 11 and key[16] == 0)


def no_more(data: Data, *kinds: int) -> None:
    for key in [key for key in data if key[:1] == b"D" and key[9] in kinds]:
        del data[key]


HASH_KEY = b"Ads.T:hash"
ONE = b"\x01"
DAMAGE: list[tuple[str, Callable[[Data], Any]]] = [
    ("the header of the store is missing", lambda d: d.pop(ks.HEADER)),
    ("the record of the last revision cannot be read", lambda d: d.update({ks.REVISION: b"\x01\x00"})),
    ('"Sother": unknown', lambda d: d.update({b"Sother": ONE})),
    (r"of a type that this version does not know", lambda d: d.update({b"Z\x01": ONE})),
    (r"of a type that this version does not know", lambda d: d.update({b"\x01": ONE})),
    (r"a key of 500 bytes; 440 are allowed", lambda d: d.update({b"X" * 500: ONE})),
    (r"its value is empty", lambda d: d.update({ks.meta_key(b"plain"): b""})),
    ('group "nodot": no group has such a name', lambda d: d.update({b"G\x01\x00\x00nodot": records.encode_counter(0)})),
    ('group "A.b".*another bucket', lambda d: d.update({b"G\x01\x00\x00A.b": records.encode_counter(0)})),
    ('group "Ads.T" cannot be read', lambda d: d.update({ks.group_key(b"Ads.T"): b"\x02" + bytes(8)})),
    (r"generation 2000000 is above the last", lambda d: d.update({ks.STORE_GENERATION: records.encode_counter(2 * REVISION)})),
    ('its group "Ads.T" has no record', lambda d: d.pop(ks.group_key(b"Ads.T"))),
    (r"an unknown order for the sweeper", lambda d: d.update({b"Q\x09": ONE})),
    (r"unknown value", lambda d: d.update({ks.queued_id(5): b"\x02"})),
    (r"order after a flush cannot be read", lambda d: d.update({ks.QUEUE_STORE: b"\x01"})),
    (r"generation 5 was never reached", lambda d: d.update({ks.QUEUE_STORE: records.encode_progress(5, 0)})),
    (r"another bucket than the group's", lambda d: d.update({b"Q\x02\x00\x00Ads.T": records.encode_progress(0, 0)})),
    (r"cannot be read: store holds a key of type 99", lambda d: d.update({ks.meta_key(b"plain"): b"\x63" + bytes(17)})),
    (r"with the flags 0x40", lambda d: d.update({ks.meta_key(b"plain"): b"\x01\x40" + bytes(16)})),
    (r"it is broken", lambda d: d.update({ks.meta_key(b"plain"): b"\x01\x00\x00"})),
    ('key "plain": it lies at another position', lambda d: moved(d, ks.meta_key(b"plain"), b"M" + bytes(6) + b"\x00plain")),
    (r"its whole text is missing", lambda d: rewrite(d, LONG, long_key=None)),
    (r"not that of its digest", lambda d: rewrite(d, LONG, long_key=LONG + b"x")),
    (r"it has its whole text twice", lambda d: rewrite(d, b"plain", long_key=b"plain")),
    ('key "plain": its generation 7 is above', lambda d: rewrite(d, b"plain", generation=7)),
    (
        'key "plain": it was flushed, and no order',
        lambda d: d.update({ks.group_key(b""): records.encode_counter(3)}),
    ),
    ('key "plain": its revision 0', lambda d: rewrite(d, b"plain", revision=0)),
    ('key "plain": its revision 1000001', lambda d: rewrite(d, b"plain", revision=REVISION + 1)),
    ('key "plain": it expires at 5, which the index', lambda d: rewrite(d, b"plain", expires=5)),
    (r'key "Ads.T:expires": it expires at \d+, which the index', lambda d: [d.pop(key) for key in list(d) if key[:1] == b"X"]),
    (r"there is no such key", lambda d: d.update({ks.expiry_key(ks.meta_key(b"nothing"), 7): ONE})),
    (r"its key expires at no time, not at 7", lambda d: d.update({ks.expiry_key(ks.meta_key(b"plain"), 7): ONE})),
    (r"is so short", lambda d: d.update({b"X\x01\x02": ONE})),
    (r"unknown form", lambda d: d.update({key: b"\x02" for key in d if key[:1] == b"X"})),
    (r'key "versioned": it is a versioned string without a version', lambda d: rewrite(d, b"versioned", version=None)),
    (r'key "versioned": it has flags, and they are 0', lambda d: rewrite(d, b"versioned", marks=0)),
    (r'key "plain": it has a version or flags', lambda d: rewrite(d, b"plain", version=1)),
    (r'key "small": it has a version or flags', lambda d: rewrite(d, b"small", marks=1)),
    (r'key "plain": its type list is not written', lambda d: rewrite(d, b"plain", type=3)),
    (r'key "small": its fields cannot be read', lambda d: rewrite(d, b"small", payload=b"\xff" + bytes(9))),
    (r'key "small": it is a hash without fields', lambda d: rewrite(d, b"small", payload=b"")),
    (r'key "small": its fields are cut', lambda d: rewrite(d, b"small", payload=meta_of(d, b"small").payload * 2)),
    (r'key "small": its fields are cut', lambda d: rewrite(d, b"small", payload=meta_of(d, b"small").payload[:-2])),
    (r'key "big": it has data in its record, and elements', lambda d: rewrite(d, b"big", payload=b"x")),
    (r"and is empty", lambda d: rewrite(d, b"big", outside=Outside(identity(d, b"big"), 0, CHUNK))),
    (r'key "Ads.T:hash": its unit is 5', lambda d: rewrite(d, HASH_KEY, outside=Outside(identity(d, HASH_KEY), 301, 5))),
    (r"it has the same elements as key", lambda d: rewrite(d, b"plain", payload=b"", outside=meta_of(d, b"big").outside)),
    (r"belong to no key, and the sweeper does not know", lambda d: d.pop(ks.meta_key(b"big"))),
    (r'"big": the sweeper has an order to delete', lambda d: d.update({ks.queued_id(identity(d, b"big")): ONE})),
    (r'"Ads.T:hash": it says that it has 301 elements, and there are 300', lambda d: d.pop(first_field(d))),
    (r'"Ads.T:hash": it has 301 elements, and there are none', lambda d: no_more(d, 11, 12)),
    (r"no element has so short a key", lambda d: d.update({b"D\x01": ONE})),
    (r'"big": an element of kind 11', lambda d: d.update({ks.field_key(identity(d, b"big"), b"f"): b"\x01\x00v"})),
    (r'"big": an element of type 9', lambda d: d.update({ks.chunk_key(identity(d, b"big"), 0): b"\x09x"})),
    (r'"big": chunk 9 is behind the end of its 76800', lambda d: d.update({ks.chunk_key(identity(d, b"big"), 9): b"\x01x"})),
    (r'"big": chunk 2 is longer', lambda d: d.update({ks.chunk_key(identity(d, b"big"), 2): b"\x01" + bytes(20_000)})),
    (r'"big": a chunk with an unknown key', lambda d: d.update({ks.chunk_key(identity(d, b"big"), 0) + b"x": b"\x01x"})),
    (r"which no field has", lambda d: d.update({ks.value_chunk_key(identity(d, HASH_KEY), 5, 0): b"\x01x"})),
    (r"a field cannot be read.*flags 0x80", lambda d: d.update({first_field(d): b"\x01\x80v"})),
    (
        r"it lies at another place",
        lambda d: moved(d, first_field(d), ks.fields_from(identity(d, HASH_KEY), 5) + b"\x00" + ks.field_in(first_field(d))),  # type: ignore[operator]  # short
    ),
    (r"whole text twice", lambda d: d.update({first_field(d): encode_element(Element(b"v", long_name=b"f"))})),
    (r"other bytes than its meaning", lambda d: d.update({first_field(d): b"\x01\x02\x00\x00\x00\x09abc"})),
]


@pytest.mark.parametrize(("says", "damage"), DAMAGE, ids=[f"{at}-{says[:40]}" for at, (says, _) in enumerate(DAMAGE)])
async def test_damage_is_found(says: str, damage: Callable[[Data], Any]) -> None:
    data = finished(await filled())
    damage(data)
    found = problems(data)
    assert any(re.search(says, problem) for problem in found), found


# Versioned hashes


async def versioned() -> World:
    """Two of them, of two fields that expire and others that do not: a small one, and a big one with a long value."""
    world = World()
    for key, number in ((b"small", 3), (b"big", 200)):
        await world.ask(b"EXHMSET", key, *[word for each in range(number) for word in (b"f%d" % each, b"v")])
        await world.ask(b"EXHSET", key, b"first", b"v", b"EX", b"10")
        await world.ask(b"EXHSET", key, b"last", b"v", b"EX", b"20")
    await world.ask(b"EXHSET", b"big", b"f0", BIG)
    assert problems(finished(world)) == []
    return world


async def test_the_census_counts_versioned_hashes() -> None:
    world = await versioned()
    await world.ask(b"EXHSET", b"gone", b"f", b"v", b"PX", b"1")
    world.now += 1
    found = census.take(_State(finished(world)), world.now)
    assert {kind: amount.keys for kind, amount in found.types.items()} == {"tairhash-": 2}
    assert (found.expired.keys, found.garbage.keys, found.with_expiry) == (1, 0, 0)
    others = sum(len(key) + len(value) for key, value in finished(world).items() if key[:1] in b"GQS")
    assert sum(part.bytes for part in (*found.groups.values(), found.expired)) + others == found.bytes


def field(data: Data, name: bytes = b"first") -> bytes:
    return ks.field_key(identity(data, b"big"), name, ks.EXHASH_FIELD_KIND)


def expiry(data: Data, name: bytes = b"first") -> tuple[bytes, bytes]:
    return ks.field_expiry(field(data, name), decode_element(data[field(data, name)]).expires)


def times(data: Data, key: bytes, **changes: int) -> None:
    before = meta_of(data, key).times
    assert before is not None
    rewrite(data, key, times=attrs.evolve(before, **changes))


VERSIONED_DAMAGE: list[tuple[str, Callable[[Data], Any]]] = [
    ('"small": its fields cannot be read', lambda d: rewrite(d, b"small", payload=b"\x02" + bytes(9))),
    ('"small": its fields are cut', lambda d: rewrite(d, b"small", payload=meta_of(d, b"small").payload * 2)),
    ('"small": it is a hash without fields', lambda d: rewrite(d, b"small", payload=b"")),
    ('"small": 2 of its fields expire, and it says that none do', lambda d: rewrite(d, b"small", times=None)),
    ('"small": it says that 9 of its fields do not expire, and 3', lambda d: times(d, b"small", lasting=9)),
    ('"small": it says that no field expires before 2000000000000', lambda d: times(d, b"small", next=2 * 10**12)),
    ('"small": it says that no field expires after 7', lambda d: times(d, b"small", latest=7)),
    ('"small": its fields expire at 7, which the index', lambda d: times(d, b"small", next=7)),
    ('"small": it has a version or flags', lambda d: rewrite(d, b"small", version=1)),
    ('"plain": it knows of fields that expire', lambda d: rewrite(d, b"plain", times=FieldTimes(5, 5, 0))),
    ('"big": 2 of its fields expire, and it says that none do', lambda d: rewrite(d, b"big", times=None)),
    ('"big": it says that 9 of its fields do not expire, and 200', lambda d: times(d, b"big", lasting=9)),
    ('"big": it says that no field expires before 2000000000000', lambda d: times(d, b"big", next=2 * 10**12)),
    ('"big": it says that no field expires after 7', lambda d: times(d, b"big", latest=7)),
    ('"big": it says that it has 202 elements, and there are 201', lambda d: d.pop(field(d))),
    ('"big": a record that the field .* expires at .* which it does not', lambda d: d.pop(field(d))),
    ('"big": a record that the field .* expires', lambda d: d.update({field(d): encode_element(Element(b"v"))})),
    ('"big": field .* and no record says so', lambda d: d.pop(expiry(d)[0])),
    ('"big": field .*: two records say when it expires', lambda d: d.update([ks.field_expiry(field(d), 7)])),
    ('"big": record .*: no record of a field.s expiry looks like', lambda d: d.update({expiry(d)[0]: ONE})),
    ('"big": an element of kind 11', lambda d: moved(d, field(d), ks.field_key(identity(d, b"big"), b"first"))),
    ('"big": field "xx": it lies at another place', lambda d: moved(d, field(d), field(d, b"f0")[:-2] + b"xx")),
    (
        '"big": a chunk of the value .* which no field has',
        lambda d: d.update({ks.field_key(identity(d, b"big"), b"f0", ks.EXHASH_FIELD_KIND): encode_element(Element())}),
    ),
    ('"hash": .* its hash is not a versioned one', lambda d: d.update({first_field(d): encode_element(Element(version=1))})),
]


@pytest.mark.parametrize(
    ("says", "damage"), VERSIONED_DAMAGE, ids=[f"{at}-{says[:40]}" for at, (says, _) in enumerate(VERSIONED_DAMAGE)]
)
async def test_damage_of_versioned_hashes_is_found(says: str, damage: Callable[[Data], Any]) -> None:
    world = await versioned()
    await world.ask(b"SET", b"plain", b"v")
    await world.ask(b"HSET", b"hash", *[b"%d" % each for each in range(400)])
    data = finished(world)
    damage(data)
    found = problems(data)
    assert any(re.search(says, problem) for problem in found), found


async def test_two_fields_with_one_value_id() -> None:
    world = World()
    await world.ask(b"HSET", b"h", b"a", BIG, b"b", BIG)
    data = finished(world)
    first, second = (key for key in sorted(data) if key[:1] == b"D" and key[9] == 11)
    data[second] = encode_element(Element(outside=decode_element(data[first]).outside))
    assert any("another field has the same value id" in problem for problem in problems(data))


def test_an_unreadable_header_is_no_problem_but_the_end() -> None:
    data = {ks.HEADER: b"\x02" + bytes(40)}
    with pytest.raises(records.UnreadableRecordError):
        problems(data)


# Counting


async def test_the_census_counts_everything_once() -> None:
    world = await filled()
    await world.ask(b"SET", b"gone", b"v", b"PX", b"1")
    await world.ask(b"SET", b"Ads.U:flushed", BIG)
    await world.flush(only(b"Ads.U"))
    await world.ask(b"SET", b"Ads.U:new", b"v")
    await world.ask(b"DEL", b"big")
    world.now += 1
    data = finished(world)
    found = census.take(_State(data), world.now)
    assert found.records == len(data)
    assert found.bytes == sum(len(key) + len(value) for key, value in data.items())
    assert {group: amount.keys for group, amount in found.groups.items()} == {b"": 4, b"Ads.T": 4, b"Ads.U": 1}
    assert {kind: amount.keys for kind, amount in found.types.items()} == {"string": 5, "exstrtype": 2, "hash": 2}
    assert (found.expired.keys, found.flushed.keys, found.garbage.keys) == (1, 1, 1)
    assert found.flushed.bytes > len(BIG)
    assert found.garbage.bytes > len(BIG)
    assert found.queued == 2
    assert found.with_expiry == 3
    others = sum(len(key) + len(value) for key, value in data.items() if key[:1] in b"GQS")
    parts = [*found.groups.values(), found.expired, found.flushed, found.garbage]
    assert sum(part.bytes for part in parts) + others == found.bytes
    await world.sweep()
    swept = census.take(_State(finished(world)), world.now)
    assert (swept.expired.keys, swept.flushed.keys, swept.garbage.keys, swept.queued) == (0, 0, 0, 0)
    assert swept.groups == found.groups
