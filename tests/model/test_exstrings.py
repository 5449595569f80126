"""Versioned strings over an engine in memory: what is stored, what a command costs, which of several errors comes first.

Their replies, row by row and on every backend, are in tests/versioned.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import SYNTAX, WRONG_TYPE
from kvgate.model import exstring_options as words
from kvgate.model import keyspace
from kvgate.model.exstrings import EXSTRINGS
from kvgate.model.meta import CHUNK, EXSTRING, Meta
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import OK, Reply, Simple
from tests.model.counting import counted
from tests.model.world import World, only

BIG = bytes(range(251)) * 1000  # 8 chunks
LAST = len(BIG) // CHUNK
NEVER = b"33177117420000"  # in the year 3021
YES = b"WITHVERSION"


async def found(world: World, key: bytes = b"k") -> Meta | None:
    return await Transaction(await world.engine.begin(), world.now).load(key)


async def stored(world: World, key: bytes = b"k") -> Meta:
    meta = await found(world, key)
    assert meta is not None
    return meta


def numbers(keys: list[bytes]) -> list[int]:
    """Of the chunks among the records."""
    return sorted({int.from_bytes(key[-4:], "big") for key in keys if key[:1] == b"D"})


# What is stored


async def test_the_record_is_the_documented_one() -> None:
    world = World()
    await world.ask(b"EXSET", b"k", b"v", b"ABS", b"3", b"FLAGS", b"4", b"PXAT", b"1900000000000")
    meta = await stored(world)
    assert (meta.type, meta.payload, meta.version, meta.marks, meta.expires) == (EXSTRING, b"v", 3, 4, 1_900_000_000_000)
    await world.ask(b"EXSET", b"k", b"v", b"ABS", b"0", b"FLAGS", b"0")
    meta = await stored(world)
    assert (meta.version, meta.marks, meta.expires) == (0, None, 0)


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
async def test_values_around_a_chunk(size: int) -> None:
    world, value = World(), BIG[:size]
    assert await world.ask(b"EXSET", b"k", value, b"FLAGS", b"7") == OK
    assert await world.ask(b"EXGET", b"k", b"WITHFLAGS") == [value, 1, 7]
    assert len(await world.records(b"D", b"E")) == (0 if size <= CHUNK else -(-size // CHUNK))
    assert await world.ask(b"EXAPPEND", b"k", b"xy") == 2
    assert await world.ask(b"EXPREPEND", b"k", b"ab") == 3
    assert await world.ask(b"EXGET", b"k", b"WITHFLAGS") == [b"ab" + value + b"xy", 3, 7]
    assert await world.ask(b"EXCAS", b"k", b"short", b"3") == [OK, Simple(b""), 4]
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"Q", b"R") == []
    assert await world.ask(b"EXGET", b"k") == [b"short", 4]


@pytest.mark.parametrize(
    ("command", "read", "written"),
    [
        ((b"EXAPPEND", b"k", b"x"), [LAST], [LAST]),
        ((b"EXAPPEND", b"k", b""), [], []),
        ((b"EXAPPEND", b"k", b"x", b"VER", b"9"), [], []),
        ((b"EXSETVER", b"k", b"9"), [], []),
        ((b"EXSET", b"k", b"v"), [], []),
        ((b"EXSET", b"k", b"v", b"NX"), [], []),
        ((b"EXINCRBY", b"k", b"1"), [], []),
        ((b"EXINCRBYFLOAT", b"k", b"1"), [], []),
        ((b"EXCAS", b"k", b"v", b"1"), [], []),
        ((b"EXCAS", b"k", b"v", b"2"), list(range(LAST + 1)), []),
        ((b"EXCAD", b"k", b"1"), [], []),
        ((b"EXGAE", b"k", b"EX", b"100"), list(range(LAST + 1)), []),
        ((b"EXPREPEND", b"k", b"x"), list(range(LAST + 1)), list(range(LAST + 1))),
        ((b"RENAME", b"k", b"other"), [], []),
        ((b"DEL", b"k"), [], []),
    ],
    ids=lambda value: b" ".join(value[:4]).decode() if isinstance(value, tuple) else "",
)
async def test_only_the_chunks_concerned_are_touched(command: tuple[bytes, ...], read: list[int], written: list[int]) -> None:
    world = World()
    await world.ask(b"EXSET", b"k", BIG)
    _, did = await counted(world, *command)
    assert numbers(did.keys) == read
    assert numbers(did.written) == written


@pytest.mark.parametrize("command", [b"EXAPPEND", b"EXPREPEND"])
async def test_the_longest_value(command: bytes) -> None:
    world = World()
    world.longest = 100
    await world.ask(b"EXSET", b"k", b"v" * 60)
    assert await world.ask(command, b"k", b"w" * 41) == words.APPEND_FAILED.encode()
    assert await world.ask(b"EXGET", b"k") == [b"v" * 60, 1]
    assert await world.ask(command, b"k", b"w" * 40) == 2


async def test_the_index_of_expiries_follows() -> None:
    world = World()
    for command, expires in (
        ((b"EXSET", b"k", b"5", b"PXAT", NEVER), True),
        ((b"EXSET", b"k", b"5", b"KEEPTTL"), True),
        ((b"EXAPPEND", b"k", b"5"), True),
        ((b"EXSET", b"k", b"5"), False),
        ((b"EXGAE", b"k", b"PX", b"1000"), True),
        ((b"EXINCRBY", b"k", b"1"), False),
        ((b"EXINCRBYFLOAT", b"k", b"1", b"EX", b"9"), True),
        ((b"EXCAS", b"k", b"5", b"6"), False),
        ((b"EXCAS", b"k", b"5", b"7", b"EX", b"9"), True),
        ((b"EXCAD", b"k", b"8"), False),
    ):
        reply = await world.ask(*command)
        assert not (isinstance(reply, bytes) and reply[:3] == b"ERR"), (command, reply)
        meta = await found(world)
        wanted = [keyspace.expiry_key(keyspace.meta_key(b"k"), meta.expires)] if expires and meta is not None else []
        assert len(wanted) == expires, command
        assert await world.records(b"X", b"Y") == wanted, command


async def test_a_key_expires_at_its_millisecond_and_is_swept() -> None:
    world = World()
    await world.ask(b"EXSET", b"k", BIG, b"PX", b"100")
    world.now += 99
    assert await world.ask(b"EXGET", b"k") == [BIG, 1]
    world.now += 1
    for command, reply in (
        ((b"EXGET", b"k"), None),
        ((b"EXSETVER", b"k", b"3"), 0),
        ((b"EXCAS", b"k", b"v", b"1"), -1),
        ((b"EXCAD", b"k", b"1"), -1),
        ((b"EXGAE", b"k", b"EX", b"1"), None),
        ((b"EXSET", b"k", b"v", b"XX"), None),
    ):
        assert await world.ask(*command) == reply, command
    await world.sweep()
    assert await world.records(b"D", b"E") == await world.records(b"M", b"N") == await world.records(b"X", b"Y") == []
    assert await world.ask(b"EXAPPEND", b"k", b"v") == 1, "a version begins again"


async def test_every_write_has_a_new_revision_and_no_other_command_has() -> None:
    world, seen = World(), []
    for command in (
        (b"EXSET", b"k", b"5"),
        (b"EXSETVER", b"k", b"1"),
        (b"EXINCRBY", b"k", b"0"),
        (b"EXINCRBYFLOAT", b"k", b"0"),
        (b"EXCAS", b"k", b"5", b"3"),
        (b"EXAPPEND", b"k", b""),
        (b"EXPREPEND", b"k", b""),
        (b"EXGAE", b"k", b"EX", b"9"),
    ):
        await world.ask(*command)
        seen.append((await stored(world)).revision)
    assert seen == sorted(set(seen))
    assert len(seen) == 8
    for line in (
        "EXGET k",
        "EXSET k v NX",
        "EXSET k v VER 1",
        "EXCAS k v 1",
        "EXCAD k 1",
        "EXSETVER k 0",
        "EXINCRBY k 1 MAX 0",
        "EXAPPEND k v NX",
    ):
        await world.ask(*line.encode().split())
        assert (await stored(world)).revision == seen[-1], line


async def test_generic_commands() -> None:
    world = World()
    await world.ask(b"EXSET", b"Ads.T:a", BIG, b"FLAGS", b"9", b"ABS", b"5")
    await world.ask(b"SET", b"Ads.T:s", b"v")
    assert await world.ask(b"OBJECT", b"ENCODING", b"Ads.T:a") == b"raw"
    assert await world.ask(b"OBJECT", b"REFCOUNT", b"Ads.T:a") == 1
    assert await world.keys(kind=b"exstrtype") == [b"Ads.T:a"]
    assert await world.keys(kind=b"string") == [b"Ads.T:s"]
    assert await world.ask(b"RENAME", b"Ads.T:a", b"Ads.U:b") == OK
    await world.sweep()
    assert await world.ask(b"EXGET", b"Ads.U:b", b"WITHFLAGS") == [BIG, 5, 9]
    before = await world.records()
    assert await world.ask(b"COPY", b"Ads.U:b", b"c") == b"ERR not supported for this module key"
    assert await world.ask(b"COPY", b"Ads.U:b", b"Ads.T:s") == 0
    assert await world.ask(b"COPY", b"Ads.U:b", b"Ads.T:s", b"REPLACE") == b"ERR not supported for this module key"
    assert await world.records() == before
    assert await world.ask(b"EXPIRE", b"Ads.U:b", b"100") == 1
    assert await world.ask(b"PERSIST", b"Ads.U:b") == 1
    assert await world.ask(b"EXGET", b"Ads.U:b", b"WITHFLAGS") == [BIG, 5, 9]
    await world.flush(only(b"Ads.U"))
    assert await world.ask(b"EXGET", b"Ads.U:b") is None
    assert await world.ask(b"EXSET", b"Ads.U:b", b"v", YES) == 1
    await world.sweep()
    assert await world.records(b"D", b"E") == []
    assert await world.ask(b"SET", b"Ads.U:b", b"plain") == OK
    assert await world.ask(b"GET", b"Ads.U:b") == b"plain"


@pytest.mark.parametrize("key", [b"s", b"h"])
async def test_its_commands_on_other_types(key: bytes) -> None:
    world = World()
    await world.ask(b"SET", b"s", b"5")
    await world.ask(b"HSET", b"h", b"f", b"5")
    before = await world.records()
    least: dict[str, tuple[bytes, ...]] = {
        "EXGET": (),
        "EXCAS": (b"v", b"1"),
        "EXGAE": (b"EX", b"100"),
        "EXINCRBYFLOAT": (b"nan",),
        "EXSETVER": (b"x",),
        "EXCAD": (b"x",),
        "EXINCRBY": (b"x",),
    }
    for name, _ in EXSTRINGS:
        assert await world.ask(name.encode(), key, *least.get(name, (b"1",))) == WRONG_TYPE.encode(), name
    assert await world.records() == before


@pytest.mark.parametrize(
    "command",
    [
        (b"GET",),
        (b"APPEND", b"v"),
        (b"SETRANGE", b"0", b"v"),
        (b"GETBIT", b"0"),
        (b"SETBIT", b"0", b"1"),
        (b"BITCOUNT",),
        (b"INCR",),
        (b"STRLEN",),
        (b"GETDEL",),
        (b"GETEX",),
        (b"SET", b"v", b"GET"),
        (b"SET", b"v", b"IFEQ", b"5"),
        (b"CAS", b"5", b"6"),
        (b"CAD", b"5"),
        (b"DELIFEQ", b"5"),
        (b"DELEX", b"IFNE", b"6"),
        (b"HGET", b"f"),
        (b"HSET", b"f", b"v"),
        (b"HDEL", b"f"),
        (b"HGETALL",),
        (b"HSCAN", b"0"),
    ],
    ids=lambda command: command[0].decode(),
)
async def test_other_commands_on_it(command: tuple[bytes, ...]) -> None:
    world = World()
    await world.ask(b"EXSET", b"k", b"5")
    before = await world.records()
    assert await world.ask(command[0], b"k", *command[1:]) == WRONG_TYPE.encode()
    assert await world.records() == before
    assert await world.ask(b"MGET", b"k") == [None]


# Versions


@pytest.mark.parametrize(
    ("version", "following"),
    [
        (b"0", 1),
        (b"1", 2),
        (b"9007199254740993", 9007199254740994),
        (b"9223372036854775806", 2**63 - 1),
        (b"9223372036854775807", -(2**63)),
    ],
)
async def test_the_version_after(version: bytes, following: int) -> None:
    for command in (
        (b"EXSET", b"k", b"5", YES),
        (b"EXSET", b"k", b"5", YES, b"VER", version),
        (b"EXSET", b"k", b"5", YES, b"VER", b"0"),
        (b"EXAPPEND", b"k", b"5", b"VER", version),
        (b"EXPREPEND", b"k", b"5"),
    ):
        world = World()
        await world.ask(b"EXSET", b"k", b"5", b"ABS", version)
        assert await world.ask(*command) == following
        assert (await stored(world)).version == int(version) + 1
    world = World()
    await world.ask(b"EXSET", b"k", b"5", b"ABS", version)
    assert await world.ask(b"EXINCRBY", b"k", b"1", YES) == [6, following]
    await world.ask(b"EXSET", b"k", b"v", b"ABS", version)
    assert await world.ask(b"EXCAS", b"k", b"7", version) == [OK, Simple(b""), following]


async def test_after_the_last_version_comes_0() -> None:
    world = World()
    await world.put(b"k", Meta(EXSTRING, payload=b"v", version=2**64 - 1))
    assert await world.ask(b"EXGET", b"k") == [b"v", -1]
    assert await world.ask(b"EXCAD", b"k", b"-1") == 0
    assert await world.ask(b"EXSET", b"k", b"w", YES) == 0
    assert await world.ask(b"EXGET", b"k") == [b"w", 0]


# Which error comes first: each line has at least two mistakes, or one and a key in the way

WRONG, STALE = WRONG_TYPE.encode(), words.STALE.encode()
INT, FLOAT = words.NOT_INTEGER.encode(), words.NOT_FLOAT.encode()
BOUNDS, OVER, VERSION = words.WRONG_BOUNDS.encode(), words.BEYOND.encode(), words.VERSION_NOT_INTEGER.encode()
BAD = SYNTAX.encode()


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("EXSET plain v JUNK", BAD),
        ("EXSET plain v EX 0", BAD),
        ("EXSET plain v VER -1", BAD),
        ("EXSET plain v FLAGS 4294967296", BAD),
        ("EXSET plain v NX", WRONG),
        ("EXSET text v NX VER 9", None),
        ("EXSET none v XX VER 9", None),
        ("EXSETVER plain x", WRONG),
        ("EXSETVER none x", 0),
        ("EXSETVER text x", BAD),
        ("EXINCRBY plain x JUNK", BAD),
        ("EXINCRBY plain 1 FLAGS 1", BAD),
        ("EXINCRBY plain x EX 0", WRONG),
        ("EXINCRBY text x DEF y EX 0", INT),
        ("EXINCRBY text 1 DEF y EX 0", INT),
        ("EXINCRBY text 1 EX 0 MIN x", BAD),
        ("EXINCRBY text 1 VER x MIN x", BAD),
        ("EXINCRBY text 1 MIN x NX", BOUNDS),
        ("EXINCRBY text 1 MIN 3 MAX 2 NX", BOUNDS),
        ("EXINCRBY none 1 MIN 3 MAX 2 XX", BOUNDS),
        ("EXINCRBY text 1 NX VER 9", None),
        ("EXINCRBY none 1 XX MAX 0", None),
        ("EXINCRBY text 1 VER 9", INT),
        ("EXINCRBY number 1 VER 9 MAX 0", STALE),
        ("EXINCRBY number 1 VER 1 MAX 0", OVER),
        ("EXINCRBY none 1 VER 9 MAX 0", OVER),
        ("EXINCRBY none 1 DEF 7 MAX 0", 7),
        ("EXINCRBY none 1 DEF -7 NONEGATIVE", 0),
        ("EXINCRBY number -9 MIN 0 NONEGATIVE", OVER),
        ("EXINCRBY number -9 NONEGATIVE", 0),
        ("EXINCRBY none 9223372036854775807", 2**63 - 1),
        ("EXINCRBY number 9223372036854775807", OVER),
        ("EXINCRBY number -9223372036854775808", 5 - 2**63),
        ("EXINCRBYFLOAT plain x JUNK", WRONG),
        ("EXINCRBYFLOAT text x JUNK", FLOAT),
        ("EXINCRBYFLOAT text 1 JUNK MIN x", BAD),
        ("EXINCRBYFLOAT text 1 DEF 1", BAD),
        ("EXINCRBYFLOAT text 1 WITHVERSION", BAD),
        ("EXINCRBYFLOAT text 1 EX 0 MIN x", BAD),
        ("EXINCRBYFLOAT text 1 MIN nan NX", BOUNDS),
        ("EXINCRBYFLOAT text 1 MIN inf MAX -inf NX", BOUNDS),
        ("EXINCRBYFLOAT text 1 NX VER 9", None),
        ("EXINCRBYFLOAT text 1 VER 9", FLOAT),
        ("EXINCRBYFLOAT number inf VER 9", STALE),
        ("EXINCRBYFLOAT number inf", OVER),
        ("EXINCRBYFLOAT infinite -inf", OVER),
        ("EXINCRBYFLOAT number 1 MIN -inf MAX inf", b"6"),
        ("EXINCRBYFLOAT number 1 MIN inf", OVER),
        ("EXINCRBYFLOAT number 1 MAX 5.9", OVER),
        ("EXINCRBYFLOAT number 1 MIN 6 MAX 6", b"6"),
        ("EXCAS plain v x JUNK", BAD),
        ("EXCAS plain v x EX y", BAD),
        ("EXCAS plain v x EX 0", VERSION),
        ("EXCAS plain v 1 EX 0", BAD),
        ("EXCAS plain v -1", BAD),
        ("EXCAS plain v 1", WRONG),
        ("EXCAS none v -1", BAD),
        ("EXCAD plain x", WRONG),
        ("EXCAD none x", VERSION),
        ("EXCAD text x", VERSION),
        ("EXAPPEND plain v NX", None),
        ("EXAPPEND plain v VER x NX", BAD),
        ("EXAPPEND plain v VER 9", WRONG),
        ("EXPREPEND text v NX VER 9", None),
        ("EXPREPEND none v XX VER 9", None),
        ("EXGAE plain EX x", BAD),
        ("EXGAE none EX 0", BAD),
        ("EXGAE none NX XX", BAD),
        ("EXGET plain FLAGS", BAD),
        ("EXGET none FLAGS", BAD),
        ("EXGET none WITHFLAGS JUNK", b"ERR wrong number of arguments for 'exget' command"),
    ],
)
async def test_which_error_comes_first(line: str, reply: Reply) -> None:
    world = World()
    for text in ("SET plain 5", "EXSET text words", "EXSET number 5", "EXSET infinite inf"):
        assert await world.ask(*text.encode().split()) == OK
    before = await world.records()
    assert await world.ask(*line.encode().split()) == reply
    if reply is None or (isinstance(reply, bytes) and b" " in reply):
        assert await world.records() == before


# Numbers


@settings(max_examples=60, deadline=None)
@given(st.from_regex(rb"[+-]?[0-9]{0,20}\.?[0-9]{0,20}(e-?[0-9]{1,3})?", fullmatch=True))
async def test_floats_are_those_of_incrbyfloat(text: bytes) -> None:
    world = World()
    for _ in range(2):
        plain = await world.ask(b"INCRBYFLOAT", b"s", text)
        versioned = await world.ask(b"EXINCRBYFLOAT", b"k", text)
        assert versioned == (plain if isinstance(plain, bytes) and b" " not in plain else FLOAT), text


async def test_floats_are_of_80_bits() -> None:
    world = World()
    for step, total in (
        (b"0.1", b"0.1"),
        (b"0.2", b"0.3"),
        (b"9223372036854775807", b"9223372036854775807.5"),
        (b"-9223372036854775807", b"0.5"),
        (b"1e-17", b"0.50000000000000001"),
        (b"-1e-18", b"0.50000000000000001"),
        (b"-0.50000000000000001", b"0"),
    ):
        assert await world.ask(b"EXINCRBYFLOAT", b"k", step) == total
    assert await world.ask(b"EXGET", b"k") == [b"0", 7]
