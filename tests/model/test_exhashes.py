"""Versioned hashes, command by command: every option, reply and error of the module's, in small hashes and in big ones."""

from collections.abc import Sequence
from typing import Any

import pytest

from kvgate.commands.table_versioned import EXHASH
from kvgate.errors import WRONG_TYPE
from kvgate.model.handlers import HANDLERS
from kvgate.model.meta import CHUNK
from kvgate.wire.reply import OK, Simple, decode, encode
from tests.model.world import World

SYNTAX = b"ERR syntax error"
STALE = b"ERR update version is stale"
NOT_INTEGER = b"ERR value is not an integer"
NOT_FLOAT = b"ERR value is not an float"
OVERFLOW = b"ERR increment or decrement would overflow"
INT_BOUND = b"ERR min or max is specified, but value is not an integer"
FLOAT_BOUND = b"ERR min or max is specified, but value is not a float"
CROSSED = b"ERR min value is bigger than max value"
WRONG = WRONG_TYPE.encode()
MAX = b"9223372036854775807"


def arity(command: bytes) -> bytes:
    return b"ERR wrong number of arguments for '%b' command" % command.lower()


@pytest.fixture(params=["small", "big"])
async def world(request: pytest.FixtureRequest) -> World:
    """A store with a versioned hash ``h`` of nothing but other fields, so that it is there, small or big."""
    made = World()
    number = 300 if request.param == "big" else 1
    assert await made.ask(b"EXHMSET", b"h", *(word for each in range(number) for word in (b"other%d" % each, b"o"))) == OK
    return made


async def said(world: World, line: bytes) -> Any:
    """The reply to a line of words as a client of RESP2 decodes it; an error as its text."""
    reply = await world.ask(*line.split())
    return reply if isinstance(reply, bytes) else decode(encode(reply))


async def follow(world: World, dialogue: Sequence[tuple[bytes, Any]]) -> None:
    for line, reply in dialogue:
        assert (line, await said(world, line)) == (line, reply)


# ---------------------------------------------------------------------- EXHSET


async def test_exhset_says_whether_the_field_is_new(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHSET h f v", 1),
            (b"EXHGETWITHVER h f", [b"v", 1]),
            (b"EXHSET h f w", 0),
            (b"EXHGETWITHVER h f", [b"w", 2]),
            (b"EXHSET h f x nx", -1),
            (b"EXHSET h f x NX NX", -1),
            (b"EXHSET h g x XX", -1),
            (b"EXHSET h g x NX", 1),
            (b"EXHSET h f x XX", 0),
            (b"EXHSET none f x XX", -1),
            (b"EXISTS none", 0),
            (b"EXHSET none f x NX", 1),
            (b"EXHMGET h f g", [b"x", b"x"]),
        ],
    )


@pytest.mark.parametrize(
    "options",
    [
        b"NX XX",
        b"XX NX",
        b"EX",
        b"EX x",
        b"EX -1",
        b"EX 1.5",
        b"EX 1 EX 1",
        b"EX 1 PX 1",
        b"EXAT 1 PXAT 1",
        b"EX 1 KEEPTTL",
        b"KEEPTTL EX 1",
        b"PXAT -1",
        b"EX 9223372036854775",
        b"EX 9223372036854775808",
        b"PX " + MAX,
        b"VER",
        b"VER x",
        b"VER -1",
        b"VER 1 ABS 1",
        b"ABS 1 GT 1",
        b"GT 1 VER 1",
        b"ABS 0",
        b"GT 0",
        b"ABS -1",
        b"VER 9223372036854775808",
        b"FLAGS 1",
        b"WITHVERSION",
        b"MIN 1",
        b"x",
    ],
)
async def test_exhset_refuses(world: World, options: bytes) -> None:
    await follow(world, [(b"EXHSET h f v " + options, SYNTAX), (b"EXHSET none f v " + options, SYNTAX), (b"EXISTS none", 0)])
    await follow(world, [(b"SET s v", OK), (b"EXHSET s f v " + options, WRONG), (b"EXHEXISTS h f", 0)])


async def test_versions(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHSET h f v VER 77", 1),  # a new field has none that could be wrong
            (b"EXHSET h f v VER 77", STALE),
            (b"EXHSET h f v VER 1", 0),
            (b"EXHSET h f v VER 0", 0),
            (b"EXHVER h f", 3),
            (b"EXHSET h f v VER 9 VER 3", 0),  # the module takes it twice
            (b"EXHVER h f", 4),
            (b"EXHSET h f v ABS 2", 0),
            (b"EXHVER h f", 2),
            (b"EXHSET h f v GT 2", STALE),
            (b"EXHSET h f v gt 1", STALE),
            (b"EXHSET h f w GT 10", 0),
            (b"EXHGETWITHVER h f", [b"w", 10]),
            (b"EXHSET h g v GT 5", 1),
            (b"EXHVER h g", 5),
            (b"EXHSET h g v NX VER 1", -1),  # before the version
            (b"EXHSET h g v ABS " + MAX, 0),
            (b"EXHSET h g v GT " + MAX, STALE),
            (b"EXHSET h g v VER " + MAX, 0),
            (b"EXHVER h g", -(2**63)),
            (b"EXHSET h g v", 0),
            (b"EXHVER h g", -(2**63) + 1),
            (b"EXHSET h g v GT 1", 0),
        ],
    )


async def test_expiry_of_exhset(world: World) -> None:
    now = world.now
    await follow(
        world,
        [
            (b"EXHSET h f v EX 10", 1),
            (b"EXHTTL h f", 10),
            (b"EXHPTTL h f", 10_000),
            (b"EXHSET h f v KEEPTTL", 0),
            (b"EXHTTL h f", 10),
            (b"EXHSET h f v", 0),
            (b"EXHTTL h f", -1),
            (b"EXHSET h f v PX 1500", 0),
            (b"EXHPTTL h f", 1500),
            (b"EXHTTL h f", 2),
            (b"EXHSET h f v EXAT %d" % (now // 1000 + 5), 0),
            (b"EXHPTTL h f", 5000),
            (b"EXHSET h f v PXAT %d" % (now + 1), 0),
            (b"EXHPTTL h f", 1),
            (b"EXHSET h g v KEEPTTL", 1),
            (b"EXHTTL h g", -1),
            (b"TTL h", -1),
        ],
    )


@pytest.mark.parametrize("time", [b"EX 0", b"PX 0", b"EXAT 0", b"PXAT 0", b"EXAT 5", b"PXAT 1700000000000"])
async def test_a_time_that_is_over_ends_the_field_at_once(world: World, time: bytes) -> None:
    await follow(world, [(b"EXHSET h f v " + time, 1), (b"EXHEXISTS h f", 0), (b"EXHSET h f v", 1), (b"EXHVER h f", 1)])
    await follow(world, [(b"EXHSET h f v " + time, 0), (b"EXHEXISTS h f", 0), (b"EXHSET h f v XX", -1)])
    await follow(world, [(b"EXHSET new f v " + time, 1), (b"EXISTS new", 0), (b"TYPE new", Simple(b"none"))])
    await follow(world, [(b"EXHINCRBY new f 7 " + time, 7), (b"EXISTS new", 0)])


# ---------------------------------------------------------------------- other writes


async def test_exhsetnx(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHSETNX h f v", 1),
            (b"EXHGETWITHVER h f", [b"v", 0]),
            (b"EXHSETNX h f w", 0),
            (b"EXHSET h f w VER 0", 0),
            (b"EXHGETWITHVER h f", [b"w", 1]),
            (b"EXHSETNX new f v", 1),
            (b"SET s v", OK),
            (b"EXHSETNX s f v", WRONG),
        ],
    )


async def test_exhmset(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHSET h f v EX 10 ABS 7", 1),
            (b"EXHMSET h f a g b f c", OK),
            (b"EXHMGETWITHVER h f g", [[b"c", 9], [b"b", 1]]),
            (b"EXHTTL h f", 10),
            (b"EXHMSET h f", arity(b"EXHMSET")),
            (b"EXHMSET h f a g", arity(b"EXHMSET")),
            (b"SET s v", OK),
            (b"EXHMSET s f a g", arity(b"EXHMSET")),
            (b"EXHMSET s f a", WRONG),
        ],
    )


async def test_exhmsetwithopts(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHMSETWITHOPTS h f v 4 10 g w 4 20", OK),
            (b"EXHMGETWITHVER h f g", [[b"v", 1], [b"w", 1]]),
            (b"EXHTTL h g", 20),
            (b"EXHMSETWITHOPTS h f x 1 10 g x 4 20", STALE),
            (b"EXHMGET h f g", [b"v", b"w"]),
            (b"EXHMSETWITHOPTS h f x 1 30 g x 0 0", OK),
            (b"EXHMGETWITHVER h f g", [[b"x", 2], None]),
            (b"EXHTTL h f", 30),
            (b"EXHMSETWITHOPTS h f x -1 10", SYNTAX),
            (b"EXHMSETWITHOPTS h f x 0 -1", SYNTAX),
            (b"EXHMSETWITHOPTS h f x y 1", SYNTAX),
            (b"EXHMSETWITHOPTS h f x 0 y", SYNTAX),
            (b"EXHMSETWITHOPTS h f x 9 1 g y 0 y", STALE),  # one after the other
            (b"EXHMSETWITHOPTS h f x 0 1 g", arity(b"EXHMSETWITHOPTS")),
            (b"EXHMSETWITHOPTS new f x y 1", SYNTAX),
            (b"EXISTS new", 0),
            (b"EXHMSETWITHOPTS new f x 5 1", OK),
            (b"SET s v", OK),
            (b"EXHMSETWITHOPTS s f x y 1", WRONG),
        ],
    )


async def test_exhdel(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHMSET h a 1 b 2 c 3", OK),
            (b"EXHDEL h a a none b", 2),
            (b"EXHDEL h a", 0),
            (b"EXHDEL none a", 0),
            (b"EXHSET new f v EX 10", 1),
            (b"EXHDEL new f", 1),
            (b"EXISTS new", 0),
            (b"SET s v", OK),
            (b"EXHDEL s a", WRONG),
        ],
    )


async def test_exhdelwithver(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHMSET h a 1 b 2 c 3 d 4", OK),
            (b"EXHDELWITHVER h a 1 b 2 none 0 c 0", 2),
            (b"EXHMGET h a b c d", [None, b"2", None, b"4"]),
            (b"EXHDELWITHVER h d 1 d 1", 1),
            (b"EXHDELWITHVER h b -1", 0),
            (b"EXHDELWITHVER h b x", SYNTAX),
            (b"EXHDELWITHVER h b 1 b x", SYNTAX),
            (b"EXHEXISTS h b", 1),
            (b"EXHDELWITHVER h b 1 b", arity(b"EXHDELWITHVER")),
            (b"EXHDELWITHVER none b x", 0),
            (b"SET s v", OK),
            (b"EXHDELWITHVER s b x", WRONG),
        ],
    )


# ---------------------------------------------------------------------- expiry and version


@pytest.mark.parametrize(
    ("command", "unit", "base"),
    [(b"EXHEXPIRE", 1000, 0), (b"EXHPEXPIRE", 1, 0), (b"EXHEXPIREAT", 1000, 1), (b"EXHPEXPIREAT", 1, 1)],
)
async def test_expire_commands(world: World, command: bytes, unit: int, base: int) -> None:
    def line(ms: int, rest: bytes = b"") -> bytes:
        return b"%b h f %d %b" % (command, (ms + base * world.now) // unit, rest)

    await follow(
        world,
        [
            (line(8000), 0),
            (b"%b none f 1" % command, 0),
            (b"EXHSET h f v", 1),
            (line(8000), 1),
            (b"EXHPTTL h f", 8000),
            (b"EXHVER h f", 2),
            (line(4000, b"VER 1"), STALE),
            (line(4000, b"ver 2"), 1),
            (line(4000, b"VER 0"), 1),
            (line(9000, b"ABS 3"), 1),
            (line(9000, b"GT 3"), STALE),
            (line(9000, b"GT 8"), 1),
            (b"EXHVER h f", 8),
            (b"EXHPTTL h f", 9000),
            (b"EXHGET h f", b"v"),
        ],
    )
    for refused in (b"x", b"-1", b"1.5", b"9223372036854775808", b"9223372036854775807 VER"):
        await follow(world, [(b"%b h f %b" % (command, refused), SYNTAX)])
    for options in (b"VER", b"VER x", b"VER -1", b"ABS 0", b"GT 0", b"VER 1 GT", b"VER 1 x", b"NX", b"KEEPTTL", b"EX 1"):
        await follow(world, [(line(1000, options), SYNTAX)])
    await follow(
        world,
        [
            (line(1000, b"VER 1 VER 1"), arity(command)),
            (b"SET s v", OK),
            (b"%b s f x" % command, SYNTAX),
            (b"%b s f 1 ABS 0" % command, SYNTAX),
            (b"%b s f 1" % command, WRONG),
            (b"%b h f 0" % command, 1),
            (b"EXHEXISTS h f", 0),
        ],
    )


async def test_ttls_persist_and_setver(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHTTL none f", -2),
            (b"EXHPTTL none f", -2),
            (b"EXHTTL h f", -3),
            (b"EXHPTTL h f", -3),
            (b"EXHVER none f", -1),
            (b"EXHVER h f", -2),
            (b"EXHPERSIST none f", 0),
            (b"EXHPERSIST h f", 0),
            (b"EXHSET h f v", 1),
            (b"EXHPERSIST h f", 0),
            (b"EXHEXPIRE h f 10", 1),
            (b"EXHPERSIST h f", 1),
            (b"EXHTTL h f", -1),
            (b"EXHVER h f", 2),
            (b"EXHSETVER h f 0", SYNTAX),
            (b"EXHSETVER h f -1", SYNTAX),
            (b"EXHSETVER h f x", SYNTAX),
            (b"EXHSETVER none f 0", SYNTAX),
            (b"EXHSETVER none f 1", 0),
            (b"EXHSETVER h none 1", 0),
            (b"EXHEXPIRE h f 10", 1),
            (b"EXHSETVER h f " + MAX, 1),
            (b"EXHVER h f", 2**63 - 1),
            (b"EXHTTL h f", 10),
            (b"EXHGET h f", b"v"),
            (b"SET s v", OK),
            (b"EXHSETVER s f 0", SYNTAX),
            (b"EXHSETVER s f 1", WRONG),
            (b"EXHPERSIST s f", WRONG),
            (b"EXHTTL s f", WRONG),
            (b"EXHVER s f", WRONG),
        ],
    )


# ---------------------------------------------------------------------- numbers


async def test_exhincrby(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHINCRBY h n 5", 5),
            (b"EXHINCRBY h n -7", -2),
            (b"EXHGETWITHVER h n", [b"-2", 2]),
            (b"EXHINCRBY h n 1 VER 1", STALE),
            (b"EXHINCRBY h n 1 VER 2 EX 10", -1),
            (b"EXHTTL h n", 10),
            (b"EXHINCRBY h n 1 KEEPTTL", 0),
            (b"EXHTTL h n", 10),
            (b"EXHINCRBY h n 1", 1),
            (b"EXHTTL h n", -1),
            (b"EXHINCRBY h n 1 ABS 40", 2),
            (b"EXHINCRBY h n 1 GT 40", STALE),
            (b"EXHINCRBY h n 1 GT 41", 3),
            (b"EXHVER h n", 41),
            (b"EXHINCRBY h n 1 MAX 3", OVERFLOW),
            (b"EXHINCRBY h n -1 MIN 3", OVERFLOW),
            (b"EXHINCRBY h n 1 MIN 4 MAX 4", 4),
            (b"EXHINCRBY h n 1 MAX 1 MAX 9", 5),
            (b"EXHINCRBY h n 1 VER 1 MAX 0", STALE),
            (b"EXHINCRBY new n 1 MAX 0", OVERFLOW),
            (b"EXISTS new", 0),
            (b"EXHINCRBY new n 1 MIN 1", 1),
            (b"EXHINCRBY h n " + MAX, OVERFLOW),
            (b"EXHINCRBY h n -9223372036854775808", 5 - 2**63),
            (b"EXHINCRBY h n -6", OVERFLOW),
            (b"EXHSET h t text", 1),
            (b"EXHINCRBY h t 1 VER 7", NOT_INTEGER),
            (b"EXHINCRBY h t 1 MAX -1", NOT_INTEGER),
        ],
    )
    for words, error in (
        (b"x MIN x", NOT_INTEGER),
        (b"1.0", NOT_INTEGER),
        (b"9223372036854775808", NOT_INTEGER),
        (b"1 MIN x", INT_BOUND),
        (b"1 MAX 1.5", INT_BOUND),
        (b"1 MIN 2 MAX 1", CROSSED),
        (b"1 MIN x EX -1", SYNTAX),
        (b"1 MIN x ABS 0", SYNTAX),
        (b"1 MIN", SYNTAX),
        (b"1 NX", SYNTAX),
        (b"1 XX", SYNTAX),
        (b"1 DEF 1", SYNTAX),
        (b"1 NONEGATIVE", SYNTAX),
    ):
        await follow(world, [(b"EXHINCRBY h n " + words, error), (b"EXHINCRBY h t " + words, error)])
    await follow(world, [(b"SET s v", OK), (b"EXHINCRBY s n x", WRONG)])


async def test_exhincrbyfloat(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHINCRBYFLOAT h n 0.1", b"0.1"),
            (b"EXHINCRBYFLOAT h n 0.2", b"0.3"),
            (b"EXHGETWITHVER h n", [b"0.3", 2]),
            (b"EXHINCRBYFLOAT h n 1e3 VER 1", STALE),
            (b"EXHINCRBYFLOAT h n -5e-1 EX 10 ABS 9", b"-0.2"),
            (b"EXHVER h n", 9),
            (b"EXHINCRBYFLOAT h n 0.2 KEEPTTL", b"0"),
            (b"EXHTTL h n", 10),
            (b"EXHINCRBYFLOAT h n 1 GT 3", STALE),
            (b"EXHINCRBYFLOAT h n 1.5 MIN 1.5 MAX 1.5", b"1.5"),
            (b"EXHTTL h n", -1),
            (b"EXHINCRBYFLOAT h n 1 MAX 2.4", OVERFLOW),
            (b"EXHINCRBYFLOAT h n -1 MIN 0.6", OVERFLOW),
            (b"EXHINCRBYFLOAT h n 1 MIN -inf MAX inf", b"2.5"),
            (b"EXHINCRBYFLOAT h n inf", OVERFLOW),
            (b"EXHINCRBYFLOAT h n 1 VER 1 MAX 0", STALE),
            (b"EXHINCRBYFLOAT new n inf", OVERFLOW),
            (b"EXISTS new", 0),
            (b"EXHINCRBYFLOAT new n 1e-17", b"0.00000000000000001"),
            (b"EXHSET h t text", 1),
            (b"EXHINCRBYFLOAT h t 1 VER 7", NOT_FLOAT),
        ],
    )
    for words, error in (
        (b"x MIN x", NOT_FLOAT),
        (b"nan", NOT_FLOAT),
        (b"1 MIN x", FLOAT_BOUND),
        (b"1 MAX nan", FLOAT_BOUND),
        (b"1 MIN 2 MAX 1.9", CROSSED),
        (b"1 MIN inf MAX -inf", CROSSED),
        (b"1 MIN x PX -1", SYNTAX),
        (b"1 NX", SYNTAX),
    ):
        await follow(world, [(b"EXHINCRBYFLOAT h n " + words, error), (b"EXHINCRBYFLOAT h t " + words, error)])
    await follow(world, [(b"SET s v", OK), (b"EXHINCRBYFLOAT s n x", WRONG)])


async def test_a_value_that_is_too_long_for_a_number_is_not_read(world: World) -> None:
    assert await world.ask(b"EXHSET", b"h", b"n", b"1" * (3 * CHUNK)) == 1
    await follow(world, [(b"EXHINCRBY h n 1", NOT_INTEGER), (b"EXHINCRBYFLOAT h n 1", NOT_FLOAT)])


# ---------------------------------------------------------------------- reads


async def test_reads_of_fields(world: World) -> None:
    await follow(
        world,
        [
            (b"EXHSET h f value", 1),
            (b"EXHGET h f", b"value"),
            (b"EXHGET h none", None),
            (b"EXHGET none f", None),
            (b"EXHGETWITHVER h none", None),
            (b"EXHGETWITHVER none f", None),
            (b"EXHMGET h none f f", [None, b"value", b"value"]),
            (b"EXHMGET none f g", [None, None]),
            (b"EXHMGETWITHVER h none f", [None, [b"value", 1]]),
            (b"EXHMGETWITHVER none f g", [None, None]),
            (b"EXHSTRLEN h f", 5),
            (b"EXHSTRLEN h none", 0),
            (b"EXHSTRLEN none f", 0),
            (b"EXHEXISTS h f", 1),
            (b"EXHEXISTS h none", 0),
            (b"EXHEXISTS none f", 0),
            (b"SET s v", OK),
        ],
    )
    for command in (b"EXHGET", b"EXHGETWITHVER", b"EXHMGET", b"EXHMGETWITHVER", b"EXHSTRLEN", b"EXHEXISTS"):
        await follow(world, [(command + b" s f", WRONG)])


async def test_reads_of_all_fields() -> None:
    world = World()
    await follow(
        world,
        [
            (b"EXHMSET h f 1 g 2 f 3", OK),
            (b"EXHLEN h", 2),
            (b"EXHLEN h noexp", 2),
            (b"EXHLEN h x", SYNTAX),
            (b"EXHLEN h NOEXP NOEXP", arity(b"EXHLEN")),
            (b"EXHLEN none", 0),
            (b"EXHGETALL h", [b"f", b"3", b"g", b"2"]),
            (b"EXHGETALLWITHVER h", [b"f", b"3", 2, b"g", b"2", 1]),
            (b"EXHKEYS h", [b"f", b"g"]),
            (b"EXHVALS h", [b"3", b"2"]),
            (b"SET s v", OK),
            (b"EXHLEN s x", SYNTAX),
        ],
    )
    for command in (b"EXHGETALL", b"EXHGETALLWITHVER", b"EXHKEYS", b"EXHVALS"):
        await follow(world, [(command + b" none", []), (command + b" s", WRONG)])
        reply = await world.ask(command, b"h")
        assert encode(reply, 3)[:1] == b"*", "flat in RESP3 too"
    await follow(world, [(b"EXHLEN s", WRONG)])


async def test_exhscan() -> None:
    world = World()
    await follow(
        world,
        [
            (b"EXHMSET h aa 1 ab 2 ba 3", OK),
            (b"EXHSCAN h 0", [b"0", [b"aa", b"1", b"ab", b"2", b"ba", b"3"]]),
            (b"EXHSCAN h 0 MATCH a* COUNT 1", [b"0", [b"aa", b"1", b"ab", b"2"]]),
            (b"EXHSCAN h 0 count -5 match *", [b"0", [b"aa", b"1", b"ab", b"2", b"ba", b"3"]]),
            (b"EXHSCAN none 0", [Simple(b"0"), []]),
            (b"EXHSCAN none 7 MATCH x", [Simple(b"0"), []]),
            (b"EXHSCAN h x", SYNTAX),
            (b"EXHSCAN none x", SYNTAX),
            (b"EXHSCAN none 0 x", SYNTAX),
            (b"EXHSCAN h 0 COUNT", SYNTAX),
            (b"EXHSCAN h 0 COUNT x", SYNTAX),
            (b"EXHSCAN h 0 MATCH a COUNT 1 COUNT", arity(b"EXHSCAN")),
            (b"SET s v", OK),
            (b"EXHSCAN s x", WRONG),
        ],
    )


async def test_exhscan_walks_over_a_big_hash() -> None:
    world, found, cursor = World(), [], b"0"
    names = [b"f%d" % each for each in range(500)]
    await world.ask(b"EXHMSET", b"h", *(word for name in names for word in (name, b"v")))
    for _ in range(1000):
        reply: Any = await world.ask(b"EXHSCAN", b"h", cursor, b"COUNT", b"20")
        cursor, page = reply
        assert 1 <= len(page[::2]) <= 30
        found += page[::2]
        if cursor == b"0":
            break
    assert sorted(found) == sorted(names)


def test_every_command_of_the_table_is_there() -> None:
    assert {row[0] for row in EXHASH} <= HANDLERS.keys()
