"""CAS, CAD, DELIFEQ, DELEX and SET IFEQ over an engine in memory: conditions, order of errors, what is read and kept."""

import pytest

from kvgate.errors import SYNTAX, WRONG_TYPE
from kvgate.model.meta import CHUNK
from kvgate.wire.reply import OK, Reply
from tests.model.counting import counted
from tests.model.world import World

BIG = bytes(range(251)) * 1000  # 8 chunks
WRONG, BAD = WRONG_TYPE.encode(), SYNTAX.encode()
NO_DIGESTS = b"ERR the gate computes no digests (IFDEQ, IFDNE): use IFEQ or IFNE"
NO_CONDITION = b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"
ARITY = b"ERR wrong number of arguments for 'delex' command"


async def filled() -> World:
    """A string (that expires in 1,000 s), a hash and a versioned string."""
    world = World()
    for line in ("SET k v EX 1000", "HSET h f v", "EXSET e v"):
        await world.ask(*line.encode().split())
    return world


@pytest.mark.parametrize(
    ("line", "reply", "value", "ttl"),
    [
        ("CAS k v w", 1, b"w", -1),
        ("CAS k v w KEEPTTL", 1, b"w", 1000),
        ("CAS k v w keepttl KEEPTTL", 1, b"w", 1000),
        ("CAS k v w EX 10", 1, b"w", 10),
        ("CAS k v w px 20000", 1, b"w", 20),
        ("CAS k v w EXAT 1800000030", 1, b"w", 30),
        ("CAS k v w PXAT 1800000040000", 1, b"w", 40),
        ("CAS k v w PXAT 1", 1, None, -2),
        ("CAS k V w", 0, b"v", 1000),
        ("CAS k v w EX 10 KEEPTTL", BAD, b"v", 1000),
        ("CAS k v w EX 0", BAD, b"v", 1000),
        ("CAS k v w EX 9223372036854775807", BAD, b"v", 1000),
        ("CAS k v w PX 9223372036854775807", BAD, b"v", 1000),
        ("CAS k v w PX 7 PX 7", BAD, b"v", 1000),
        ("CAS k v w NX", BAD, b"v", 1000),
        ("CAS none v w", -1, b"v", 1000),
        ("CAS h v w", WRONG, b"v", 1000),
        ("CAS h v w EX x", BAD, b"v", 1000),
        ("CAD k v", 1, None, -2),
        ("CAD k w", 0, b"v", 1000),
        ("CAD none v", -1, b"v", 1000),
        ("CAD e v", WRONG, b"v", 1000),
        ("DELIFEQ k v", 1, None, -2),
        ("DELIFEQ k vv", 0, b"v", 1000),
        ("DELIFEQ none v", 0, b"v", 1000),
        ("DELIFEQ h v", WRONG, b"v", 1000),
        ("DELEX k", 1, None, -2),
        ("DELEX none", 0, b"v", 1000),
        ("DELEX k IFEQ v", 1, None, -2),
        ("DELEX k ifeq w", 0, b"v", 1000),
        ("DELEX k IfNe w", 1, None, -2),
        ("DELEX k IFNE v", 0, b"v", 1000),
        ("DELEX none IFNE v", 0, b"v", 1000),
        ("DELEX h IFEQ v", WRONG, b"v", 1000),
        ("DELEX e IFNE w", WRONG, b"v", 1000),
        ("DELEX h JUNK v", WRONG, b"v", 1000),
        ("DELEX k JUNK v", NO_CONDITION, b"v", 1000),
        ("DELEX none JUNK v", 0, b"v", 1000),
        ("DELEX k IFDEQ 0123456789abcdef", NO_DIGESTS, b"v", 1000),
        ("DELEX k ifdne 0123456789abcdef", NO_DIGESTS, b"v", 1000),
        ("DELEX k IFEQ", ARITY, b"v", 1000),
        ("DELEX none IFEQ v w", ARITY, b"v", 1000),
        ("SET k w IFEQ v", OK, b"w", -1),
        ("SET k w ifeq v KEEPTTL", OK, b"w", 1000),
        ("SET k w EX 10 IFEQ v", OK, b"w", 10),
        ("SET k w IFEQ V", None, b"v", 1000),
        ("SET k w IFEQ v GET", b"v", b"w", -1),
        ("SET k w GET IFEQ x", b"v", b"v", 1000),
        ("SET none w IFEQ v", None, b"v", 1000),
        ("SET none w IFEQ v GET", None, b"v", 1000),
        ("SET h w IFEQ v", WRONG, b"v", 1000),
        ("SET h w IFEQ v GET", WRONG, b"v", 1000),
        ("SET k w IFEQ v NX", BAD, b"v", 1000),
        ("SET k w NX IFEQ v", BAD, b"v", 1000),
        ("SET k w XX IFEQ v", BAD, b"v", 1000),
        ("SET k w IFEQ v XX", BAD, b"v", 1000),
        ("SET k w IFEQ v IFEQ v", BAD, b"v", 1000),
        ("SET k w IFEQ", BAD, b"v", 1000),
        ("SET h w IFEQ v EX 0", b"ERR invalid expire time in 'set' command", b"v", 1000),
    ],
)
async def test_each_condition(line: str, reply: Reply, value: bytes | None, ttl: int) -> None:
    world = await filled()
    others = [await world.ask(b"HGETALL", b"h"), await world.ask(b"EXGET", b"e"), await world.ask(b"EXISTS", b"none")]
    assert await world.ask(*line.encode().split()) == reply
    assert await world.ask(b"GET", b"k") == value
    assert await world.ask(b"TTL", b"k") == ttl
    assert [await world.ask(b"HGETALL", b"h"), await world.ask(b"EXGET", b"e"), await world.ask(b"EXISTS", b"none")] == others


@pytest.mark.parametrize("key", [b"k", b"h", b"e"])
async def test_without_a_condition_any_type_is_deleted(key: bytes) -> None:
    world = await filled()
    assert await world.ask(b"DELEX", key) == 1
    assert await world.ask(b"EXISTS", b"k", b"h", b"e") == 2


@pytest.mark.parametrize(
    "command", [(b"CAS", b"k", BIG + b"x", b"w"), (b"DELIFEQ", b"k", b""), (b"SET", b"k", b"w", b"IFEQ", BIG[1:])]
)
async def test_a_value_of_another_length_is_not_read(command: tuple[bytes, ...]) -> None:
    world = World()
    await world.ask(b"SET", b"k", BIG)
    before = await world.records()
    _, did = await counted(world, *command)
    assert not [key for key in did.keys if key[:1] == b"D"]
    assert await world.records() == before


async def test_long_values_are_compared_whole_and_swept() -> None:
    world, other = World(), BIG[:CHUNK] + b"!" + BIG[CHUNK + 1 :]
    await world.ask(b"SET", b"k", BIG)
    assert await world.ask(b"CAS", b"k", other, b"w") == 0
    assert await world.ask(b"CAS", b"k", BIG, other) == 1
    assert await world.ask(b"SET", b"k", BIG, b"IFEQ", other) == OK
    assert await world.ask(b"DELEX", b"k", b"IFNE", BIG) == 0
    assert await world.ask(b"CAD", b"k", BIG) == 1
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"M", b"N") == []
