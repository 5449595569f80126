"""What commands on parts of a long string cost in records, and that editing in places is editing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import NOT_AN_INTEGER
from kvgate.model.kv import run_now
from kvgate.model.meta import CHUNK, STRING, Meta, Outside
from kvgate.model.strings_edit import PAGE, Editor, pages, part
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK
from tests.model.counting import counted
from tests.model.world import World

CHUNKS = 200
LONG = bytes(range(251)) * (CHUNKS * CHUNK // 251)
SIZE = len(LONG)
LAST = SIZE // CHUNK
FIELD = (b"INCRBY", b"u8", b"%d" % (16 * CHUNK))


def numbers(keys: list[bytes]) -> list[int]:
    """Of the chunks among the records."""
    return sorted({int.from_bytes(key[-4:], "big") for key in keys if key[:1] == b"D"})


@pytest.mark.parametrize(
    ("command", "reply", "read", "written"),
    [
        ((b"APPEND", b"k", b"x"), SIZE + 1, [LAST], [LAST]),
        ((b"APPEND", b"k", b""), SIZE, [], []),
        ((b"APPEND", b"k", bytes(3 * CHUNK)), SIZE + 3 * CHUNK, [LAST], [LAST, LAST + 1, LAST + 2, LAST + 3]),
        ((b"SETRANGE", b"k", b"%d" % (5 * CHUNK + 7), b"abc"), SIZE, [5], [5]),
        ((b"SETRANGE", b"k", b"%d" % (5 * CHUNK - 1), b"abc"), SIZE, [4, 5], [4, 5]),
        ((b"SETRANGE", b"k", b"%d" % (5 * CHUNK - 1), bytes(4 * CHUNK)), SIZE, [4, 8], [4, 5, 6, 7, 8]),
        ((b"SETRANGE", b"k", b"%d" % (9 * SIZE), b"z"), 9 * SIZE + 1, [], [9 * SIZE // CHUNK]),
        ((b"SETBIT", b"k", b"%d" % (8 * 17 * CHUNK), b"0"), 1, [17], [17]),
        ((b"SETBIT", b"k", b"%d" % (8 * 17 * CHUNK), b"1"), 1, [17], []),
        ((b"GETBIT", b"k", b"%d" % (8 * 17 * CHUNK)), LONG[17 * CHUNK] >> 7, [17], []),
        ((b"GETRANGE", b"k", b"%d" % (CHUNK - 1), b"%d" % CHUNK), LONG[CHUNK - 1 : CHUNK + 1], [0, 1], []),
        ((b"GETRANGE", b"k", b"-3", b"-1"), LONG[-3:], [LAST], []),
        ((b"STRLEN", b"k"), SIZE, [], []),
        ((b"BITCOUNT", b"k", b"%d" % CHUNK, b"%d" % CHUNK), LONG[CHUNK].bit_count(), [1], []),
        ((b"BITPOS", b"k", b"1"), 15, list(range(PAGE // CHUNK)), []),
        ((b"BITFIELD", b"k", b"GET", b"u16", b"#0", *FIELD, b"1"), [1, LONG[2 * CHUNK] + 1], [0, 2], [2]),
        ((b"BITFIELD", b"k", *FIELD, b"0"), [LONG[2 * CHUNK]], [2], []),
        ((b"INCR", b"k"), NOT_AN_INTEGER.encode(), [], []),
        ((b"INCRBYFLOAT", b"k", b"1"), b"ERR value is not a valid float", [], []),
        ((b"RENAME", b"k", b"other"), OK, [], []),
        ((b"OBJECT", b"ENCODING", b"k"), b"raw", [], []),
    ],
    ids=lambda value: value[0].decode() if isinstance(value, tuple) and isinstance(value[0], bytes) else "",
)
async def test_only_the_chunks_concerned_are_touched(
    command: tuple[bytes, ...], reply: object, read: list[int], written: list[int]
) -> None:
    world = World()
    await world.ask(b"SET", b"k", LONG)
    got, did = await counted(world, *command)
    assert got == reply
    assert numbers(did.keys) == read
    assert did.read == len(set(did.keys)), "something is read twice"
    assert numbers(did.written) == written
    assert did.trips <= 3


async def test_many_appends_cost_the_same_each() -> None:
    world = World()
    costs = set()
    for number in range(300):
        _, did = await counted(world, b"APPEND", b"k", b"%0500d" % number)
        costs.add((len(numbers(did.keys)), len(numbers(did.written))))
    assert max(costs) <= (1, 2)
    assert await world.ask(b"GET", b"k") == b"".join(b"%0500d" % number for number in range(300))


async def test_a_string_with_holes_stays_one() -> None:
    world = World()
    assert await world.ask(b"SETRANGE", b"k", b"%d" % (100 * CHUNK), b"end") == 100 * CHUNK + 3
    assert len(await world.records(b"D", b"E")) == 2  # the first, since the string left its meta, and the last
    assert await world.ask(b"GETRANGE", b"k", b"%d" % (50 * CHUNK), b"%d" % (50 * CHUNK + 4)) == bytes(5)
    assert await world.ask(b"BITCOUNT", b"k") == sum(byte.bit_count() for byte in b"end")
    assert await world.ask(b"BITPOS", b"k", b"1") == 8 * 100 * CHUNK + 1
    assert await world.ask(b"BITOP", b"NOT", b"n", b"k") == 100 * CHUNK + 3
    assert await world.ask(b"BITPOS", b"n", b"0") == 8 * 100 * CHUNK + 1
    assert await world.ask(b"COPY", b"k", b"c") == 1
    assert await world.ask(b"GET", b"c") == bytes(100 * CHUNK) + b"end"


async def test_chunks_of_another_size_are_kept() -> None:
    """The size of the chunks is in each meta: a later version may choose another one."""
    world = World()

    async def make(tx: Transaction) -> None:
        for number, chunk in enumerate((b"abcd", b"efgh", b"ij")):
            tx.kv.put(b"D" + (7).to_bytes(8, "big") + b"\x01" + number.to_bytes(4, "big"), b"\x01" + chunk)
        await tx.put(b"k", Meta(STRING, outside=Outside(7, 10, 4)))

    await world.change(make)
    assert await world.ask(b"GETRANGE", b"k", b"3", b"8") == b"defghi"
    assert await world.ask(b"SETRANGE", b"k", b"6", b"GHIJKL") == 12
    assert await world.ask(b"APPEND", b"k", b"mnop") == 16
    assert await world.ask(b"GET", b"k") == b"abcdefGHIJKLmnop"
    assert len(await world.records(b"D", b"E")) == 4


PLACES = st.integers(0, 3 * CHUNK + 10) | st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK])
DATA = st.binary(min_size=1, max_size=20) | st.sampled_from([bytes(CHUNK), b"x" * (CHUNK + 1), b"y" * (2 * CHUNK)])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([0, 5, CHUNK, CHUNK + 1, 2 * CHUNK + 3]), st.lists(st.tuples(PLACES, DATA), max_size=6), PLACES, PLACES)
async def test_an_editor_edits_as_a_bytearray_does(size: int, edits: list[tuple[int, bytes]], low: int, high: int) -> None:
    world, model = World(), bytearray(LONG[:size])
    await world.ask(b"SET", b"k", bytes(model))

    async def edit(tx: Transaction) -> None:
        editor = Editor(tx, b"k", await tx.load(b"k"))
        for at, data in edits:
            await editor.write(at, data)
            if len(model) < at:
                model.extend(bytes(at - len(model)))
            model[at : at + len(data)] = data
            assert await editor.read(at, at + 30) == bytes(model[at : at + 30]).ljust(30, b"\x00")
        assert editor.size == len(model)
        await editor.save()

    await world.change(edit)
    assert await world.ask(b"GET", b"k") == bytes(model)
    txn = await world.engine.begin()
    tx = Transaction(txn, world.now)
    meta = await tx.load(b"k")
    assert meta is not None
    assert run_now(part(tx, meta, low, high)) == bytes(model[low:high])


@given(st.integers(0, 3 * PAGE), st.integers(0, 5 * PAGE))
def test_pages_cover_a_range_and_end_where_chunks_do(start: int, stop: int) -> None:
    found = list(pages(start, stop))
    assert [each for page in found for each in page][1:-1:2] == [page[0] for page in found][1:]
    if start < stop:
        assert (found[0][0], found[-1][1]) == (start, stop)
    assert all(low < high <= low + PAGE for low, high in found)
    assert all(high % CHUNK == 0 for _, high in found[:-1])


async def test_nothing_grows_over_the_limit() -> None:
    world = World()
    world.longest = 100
    text = b"ERR string exceeds maximum allowed size (max_value of the backend: 100 bytes)"
    await world.ask(b"SET", b"k", bytes(90))
    before = await world.records()
    for command in (
        (b"APPEND", b"k", bytes(11)),
        (b"SETRANGE", b"k", b"100", b"x"),
        (b"SETRANGE", b"none", b"99", b"xy"),
        (b"SETBIT", b"k", b"800", b"1"),
        (b"BITFIELD", b"k", b"SET", b"u8", b"793", b"1"),
    ):
        assert await world.ask(*command) == text, command
        assert await world.records() == before
    assert await world.ask(b"APPEND", b"k", bytes(10)) == 100
    assert await world.ask(b"SETRANGE", b"k", b"99", b"x") == 100
    assert await world.ask(b"SETBIT", b"k", b"799", b"1") == 0
    assert await world.ask(b"BITFIELD", b"k", b"SET", b"u8", b"792", b"1") == [b"x"[0] | 1]
    assert await world.ask(b"SETRANGE", b"k", b"1000", b"") == 100
    assert await world.ask(b"GETBIT", b"k", b"4294967295") == 0
