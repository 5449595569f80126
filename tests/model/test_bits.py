"""Bitmap commands on long strings: pages, places where they may run; BITFIELD on numbers by lot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import TooLong
from kvgate.model.meta import CHUNK
from kvgate.model.strings_edit import PAGE
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK
from tests.model.counting import counted
from tests.model.world import World

LONG = 5 * PAGE + 12_345


async def test_long_strings_are_walked_in_pages() -> None:
    world = World()
    await world.ask(b"SET", b"k", b"\x81" * LONG)
    await world.ask(b"SET", b"zeros", bytes(LONG))
    for command, reply in (
        ((b"BITCOUNT", b"k"), 2 * LONG),
        ((b"BITCOUNT", b"k", b"1", b"-2", b"BIT"), 2 * LONG - 2),
        ((b"BITPOS", b"zeros", b"1"), -1),
        ((b"BITPOS", b"zeros", b"1", b"5"), -1),
        ((b"BITPOS", b"k", b"1", b"%d" % (8 * 3 * PAGE + 1), b"-1", b"BIT"), 8 * 3 * PAGE + 7),
        ((b"BITOP", b"XOR", b"d", b"k", b"zeros"), LONG),
    ):
        got, did = await counted(world, *command)
        assert got == reply, command
        assert did.most <= PAGE // CHUNK + 2, command
    assert await world.ask(b"GET", b"d") == b"\x81" * LONG
    assert await world.ask(b"BITOP", b"NOT", b"d", b"zeros") == LONG
    assert await world.ask(b"BITPOS", b"d", b"0") == 8 * LONG
    assert await world.ask(b"BITPOS", b"d", b"0", b"0", b"-1") == -1


async def test_a_search_ends_where_it_finds() -> None:
    world = World()
    await world.ask(b"SETRANGE", b"k", b"%d" % LONG, b"\x00\x10")
    await world.ask(b"SETRANGE", b"k", b"%d" % (PAGE + 7), b"\x01")
    reply, did = await counted(world, b"BITPOS", b"k", b"1")
    assert reply == 8 * (PAGE + 7) + 7
    assert did.read <= 3 + 2 * PAGE // CHUNK


@pytest.mark.parametrize(
    ("command", "stays"),
    [
        ((b"GETBIT", b"k", b"1"), True),
        ((b"GETRANGE", b"k", b"0", b"100"), True),
        ((b"BITCOUNT", b"k", b"0", b"1000"), True),
        ((b"BITFIELD_RO", b"k", b"GET", b"u8", b"0"), True),
        ((b"OBJECT", b"ENCODING", b"k"), True),
        ((b"BITCOUNT", b"k"), False),
        ((b"BITPOS", b"k", b"1"), False),
    ],
)
async def test_which_reads_may_run_in_the_lane(command: tuple[bytes, ...], stays: bool) -> None:
    world = World()
    await world.ask(b"SET", b"k", bytes(LONG))
    tx = Transaction(await world.engine.begin(), world.now, 128)
    name = "OBJECT|ENCODING" if command[0] == b"OBJECT" else command[0].decode()
    if stays:
        await HANDLERS[name](tx, list(command))
    else:
        with pytest.raises(TooLong):
            await HANDLERS[name](tx, list(command))


WIDTHS = st.tuples(st.booleans(), st.integers(1, 64)).filter(lambda width: width[0] or width[1] < 64)


@given(WIDTHS, st.integers(0, 70), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=24))
async def test_fields_wrap_saturate_and_fail(width: tuple[bool, int], offset: int, first: int, step: int, text: bytes) -> None:
    signed, bits = width
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    start = least + first % (most - least + 1)
    name = (b"i" if signed else b"u") + b"%d" % bits
    world = World()
    await world.ask(b"SET", b"k", text)
    place = (name, b"%d" % offset)
    total = start + step
    wrapped = least + (total - least) % (1 << bits)
    for how, expected in ((b"WRAP", wrapped), (b"SAT", min(max(total, least), most)), (b"FAIL", total)):
        await world.ask(b"BITFIELD", b"k", b"SET", *place, b"%d" % start) if start < 2**63 else None
        fits = least <= total <= most
        reply = await world.ask(b"BITFIELD", b"k", b"OVERFLOW", how, b"INCRBY", *place, b"%d" % step, b"GET", *place)
        assert reply == ([None, start] if how == b"FAIL" and not fits else [expected] * 2)
    after = await world.ask(b"GET", b"k")
    assert isinstance(after, bytes)
    size = max(len(text), -(-(offset + bits) // 8))
    assert len(after) == size
    mask = ((1 << bits) - 1) << size * 8 - offset - bits
    assert int.from_bytes(after, "big") & ~mask == int.from_bytes(text.ljust(size, b"\x00"), "big") & ~mask, "neighbours"


async def test_a_failed_bitfield_lengthens_the_string_as_redis_does() -> None:
    world = World()
    assert await world.ask(b"SET", b"k", b"a", b"EX", b"100") == OK
    assert await world.ask(b"BITFIELD", b"k", b"OVERFLOW", b"FAIL", b"INCRBY", b"u2", b"100", b"9") == [None]
    assert await world.ask(b"GET", b"k") == b"a" + bytes(12)
    assert await world.ask(b"TTL", b"k") == 100
