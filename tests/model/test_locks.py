"""Locks over the model: who gets one, who may keep it or give it back, and redis-py's scripts beside a real Redis."""

import random

import pytest
from redis.lock import Lock

from kvgate.commands.scripts import KNOWN_SCRIPTS, LOCK_EXTEND, LOCK_REACQUIRE, LOCK_RELEASE, sha_of
from kvgate.errors import NOT_AN_INTEGER, SYNTAX, WRONG_TYPE
from kvgate.model.meta import CHUNK
from kvgate.wire.reply import OK, Reply
from tests.model.world import World
from tests.support.servers import RedisServer

NAME = b"Bank.Locks:stock"
WRONG = WRONG_TYPE.encode()


def take(token: bytes, milliseconds: int = 1000, name: bytes = NAME) -> tuple[bytes, ...]:
    return (b"GATE", b"LOCK", name, token, b"PX", b"%d" % milliseconds)


def keep(token: bytes, milliseconds: int = 1000, name: bytes = NAME) -> tuple[bytes, ...]:
    return (b"GATE", b"EXTEND", name, token, b"PX", b"%d" % milliseconds)


def give(token: bytes, name: bytes = NAME) -> tuple[bytes, ...]:
    return (b"GATE", b"UNLOCK", name, token)


def fence_of(reply: Reply, token: bytes) -> int:
    assert isinstance(reply, list)
    assert reply[0] == token
    assert isinstance(reply[1], int)
    assert 0 < reply[1] < 1 << 63
    return reply[1]


async def test_one_holder_at_a_time() -> None:
    world = World()
    first = fence_of(await world.ask(*take(b"a")), b"a")
    assert await world.ask(*take(b"b")) is None
    assert await world.ask(*take(b"a")) is None, "a lock is taken once, whoever asks"
    assert await world.ask(*give(b"b")) == 0
    assert await world.ask(*give(b"a")) == 1
    assert await world.ask(*give(b"a")) == -1
    assert fence_of(await world.ask(*take(b"b")), b"b") > first


async def test_a_lock_ends_at_its_millisecond_and_its_late_holder_is_told() -> None:
    world = World()
    first = fence_of(await world.ask(*take(b"a", 1000)), b"a")
    world.now += 999
    assert await world.ask(*take(b"b")) is None
    world.now += 1
    assert await world.ask(*keep(b"a")) == -1
    assert await world.ask(*give(b"a")) == -1
    assert fence_of(await world.ask(*take(b"b")), b"b") > first
    assert await world.ask(*keep(b"a")) == 0
    assert await world.ask(*give(b"a")) == 0
    assert await world.ask(b"GET", NAME) == b"b"


async def test_extend_counts_from_now_and_only_for_the_holder() -> None:
    world = World()
    await world.ask(*take(b"a", 1000))
    world.now += 900
    assert await world.ask(*keep(b"b", 60_000)) == 0
    assert await world.ask(b"PTTL", NAME) == 100
    assert await world.ask(*keep(b"a", 5000)) == 1
    assert await world.ask(b"PTTL", NAME) == 5000
    assert await world.ask(*keep(b"a", 10)) == 1
    assert await world.ask(b"PTTL", NAME) == 10


async def test_a_lock_is_a_string_that_other_commands_see() -> None:
    world = World()
    await world.ask(*take(b"a"))
    assert await world.ask(b"GET", NAME) == b"a"
    assert await world.ask(b"SET", NAME, b"b", b"NX") is None
    assert await world.ask(b"DEL", NAME) == 1
    assert await world.ask(b"SET", NAME, b"b", b"NX", b"PX", b"50") == OK
    assert await world.ask(*take(b"a")) is None
    assert await world.ask(*give(b"b")) == 1


@pytest.mark.parametrize("command", [take(b"a"), keep(b"a"), give(b"a")])
async def test_another_type_is_no_lock(command: tuple[bytes, ...]) -> None:
    world = World()
    await world.ask(b"HSET", NAME, b"f", b"v")
    before = await world.records()
    assert await world.ask(*command) == WRONG
    assert await world.records() == before


@pytest.mark.parametrize("verb", [b"LOCK", b"EXTEND"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((b"EX", b"1000"), SYNTAX),
        ((b"", b"1000"), SYNTAX),
        ((b"PX", b"x"), NOT_AN_INTEGER),
        ((b"PX", b""), NOT_AN_INTEGER),
        ((b"PX", b"1.5"), NOT_AN_INTEGER),
        ((b"PX", b"9223372036854775808"), NOT_AN_INTEGER),
        ((b"PX", b"0"), "ERR invalid expire time in 'gate|%s' command"),
        ((b"PX", b"-1"), "ERR invalid expire time in 'gate|%s' command"),
        ((b"PX", b"9223372036854775807"), "ERR invalid expire time in 'gate|%s' command"),
    ],
)
async def test_wrong_options_are_told_before_the_key_is_looked_at(verb: bytes, words: tuple[bytes, bytes], told: str) -> None:
    world = World()
    await world.ask(b"HSET", NAME, b"f", b"v")
    expected = told.replace("%s", verb.decode().lower()).encode()
    assert await world.ask(b"GATE", verb, NAME, b"t", *words) == expected


async def test_options_are_taken_in_any_case_and_tokens_of_any_bytes() -> None:
    world = World()
    for token in (b"", b"\x00\r\n", b"x" * (2 * CHUNK + 1)):
        fence_of(await world.ask(b"gate", b"lock", NAME, token, b"px", b"1000"), token)
        assert await world.ask(*give(token + b"!")) == 0
        assert await world.ask(b"gate", b"extend", NAME, token, b"Px", b"2000") == 1
        assert await world.ask(*give(token)) == 1
    await world.sweep()
    assert await world.records(b"D", b"E") == []


async def test_fences_of_all_locks_grow_and_forget_nothing() -> None:
    world, dice = World(), random.Random(6)
    last: dict[bytes, int] = {}
    locks = [b"Bank.Locks:%d" % number for number in range(3)]
    holders: dict[bytes, bytes] = {}
    for turn in range(400):
        name, token = dice.choice(locks), b"%d" % turn
        match dice.randrange(5):
            case 0:
                world.now += dice.choice([1, 500, 1500])
            case 1 if name in holders:
                assert await world.ask(*give(holders[name], name)) in (1, -1)
            case 2:
                await world.ask(b"DEL", name)
            case 3:
                await world.flush()
            case _:
                reply = await world.ask(*take(token, 1000, name))
                if reply is not None:
                    fence = fence_of(reply, token)
                    assert fence > last.get(name, 0)
                    last[name], holders[name] = fence, token
    assert len(last) == len(locks)


# ---------------------------------------------------------------------- redis-py's scripts


def test_the_scripts_are_those_of_redis_py() -> None:
    texts = (Lock.LUA_RELEASE_SCRIPT, Lock.LUA_EXTEND_SCRIPT, Lock.LUA_REACQUIRE_SCRIPT)
    assert [sha_of(text.encode()) for text in texts] == [LOCK_RELEASE, LOCK_EXTEND, LOCK_REACQUIRE]
    assert set(KNOWN_SCRIPTS) == {LOCK_RELEASE, LOCK_EXTEND, LOCK_REACQUIRE}


TEXTS = {
    LOCK_RELEASE: Lock.LUA_RELEASE_SCRIPT.encode(),
    LOCK_EXTEND: Lock.LUA_EXTEND_SCRIPT.encode(),
    LOCK_REACQUIRE: Lock.LUA_REACQUIRE_SCRIPT.encode(),
}
BEFORE: list[tuple[bytes, ...]] = [
    (b"DEL", b"k"),
    (b"SET", b"k", b"t"),
    (b"SET", b"k", b"t", b"PX", b"100000"),
    (b"SET", b"k", b"other", b"PX", b"100000"),
    (b"HSET", b"k", b"f", b"v"),
]
MORE: list[tuple[bytes, ...]] = [
    (),
    (b"1000",),
    (b"1000", b"0"),
    (b"1000", b"1"),
    (b"-50000", b"0"),
    (b"-200000", b"0"),
    (b"-1", b"1"),
    (b"0", b"1"),
    (b"x", b"1"),
    (b"10.5", b"0"),
    (b"10.5", b"1"),
    (b"9223372036854775807", b"0"),
    (b"9223372036854775807", b"1"),
    (b"100000000000000000", b"0"),
    (b"99999999999000000", b"0"),
]


@pytest.mark.parametrize("sha", KNOWN_SCRIPTS)
async def test_each_script_answers_as_in_redis(sha: str, module_redis: RedisServer) -> None:
    world = World()
    with module_redis.client() as redis:
        redis.cmd("FLUSHALL")
        for before in BEFORE:
            for keys in ([b"1", b"k"], [b"0"], [b"2", b"k", b"z"]):
                for rest in ((), *((b"t", *more) for more in MORE)):
                    for head in ((b"EVAL", TEXTS[sha]), (b"EVALSHA", sha.upper().encode())):
                        command = (*head, *keys, *rest)
                        await world.ask(b"DEL", b"k")
                        redis.cmd("DEL", b"k")
                        await world.ask(*before)
                        redis.cmd(*before)
                        ours, theirs = await world.ask(*command), redis.ask(*command)
                        assert ours == (str(theirs).encode() if isinstance(theirs, Exception) else theirs), command[2:]
                        left = await world.ask(b"PTTL", b"k")
                        assert isinstance(left, int)
                        assert abs(left - redis.cmd("PTTL", b"k")) < 30_000, command[2:]
                        assert await world.ask(b"EXISTS", b"k") == redis.cmd("EXISTS", b"k"), command[2:]
