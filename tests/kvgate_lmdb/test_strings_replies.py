"""Commands on parts of strings, floating point numbers and LCS compared with a real Redis, raw."""

import random
from pathlib import Path

import pytest

from tests.kvgate_lmdb.replies import BIG, MAX, MIN, compare, read_script, read_scripts
from tests.kvgate_lmdb.store import running
from tests.support.servers import RedisServer

ODD = [b"inf", b"-INFINITY", b"nan", b"nan(1)", b"", b" 1", b"1 ", b".", b"e5", b"0x", b"1e", b"--1", b"1\x00"]
NAMES = [b"SET", b"APPEND", b"APPEND", b"GETRANGE", b"substr", b"SETRANGE", b"SETRANGE", b"MSETNX", b"DEL", b"STRLEN"]
KEYS = [b"a", b"b", b"Ads.T:a"]
PIECES = [b"", b"x", b"1", b"12.5", b"-7e3", b"hello", b"\x00\xff", BIG, b"y" * 32_639, b"y" * 32_641]
OFFSETS = [b"0", b"1", b"-1", b"5", b"-5", b"32639", b"32640", b"32641", b"-32640", b"65279", b"65281", b"x", b"1.0", MIN, MAX]
LCS_WORDS = [b"LEN", b"idx", b"IDX", b"WITHMATCHLEN", b"MINMATCHLEN", b"2", b"0", b"-1", b"junk"]


def number(dice: random.Random) -> bytes:
    """Of any size and form that strtold reads, and some that it does not."""
    kind = dice.randrange(8)
    if kind == 0:
        return b"%d" % dice.randrange(-(2**66), 2**66)
    if kind == 1:
        return b"%.*f" % (dice.randrange(25), dice.uniform(-10, 10) * 10 ** dice.randrange(-10, 20))
    if kind == 2:
        return b"%de%d" % (dice.randrange(-(10**25), 10**25), dice.randrange(-60, 60))
    if kind == 3:
        return b"%d.%dE%d" % (dice.randrange(100), dice.randrange(10**20), dice.randrange(-5000, 4960))
    if kind == 4:
        return b"-0x%x.%xP%d" % (dice.randrange(2**68), dice.randrange(2**20), dice.randrange(-100, 5))
    if kind == 5:
        return b"0x%xp%d" % (dice.randrange(2**70), dice.randrange(-16500, 16390))
    if kind == 6:
        return dice.choice(ODD)
    return dice.choice([b"0.1", b"0.2", b"-0.3", b"1e-17", b"-0", b"3.", b".5", b"1e17", b"9223372036854775807", b"+4"])


def by_lot(dice: random.Random) -> list[bytes]:
    key, piece, offset = dice.choice(KEYS), dice.choice(PIECES), dice.choice(OFFSETS)
    name = dice.choice(NAMES)
    if name == b"SET":
        return [name, key, piece, *([b"EX", b"5000"] if dice.random() < 0.5 else [])]
    if name == b"APPEND":
        return [name, key, piece]
    if name in (b"GETRANGE", b"substr"):
        return [name, key, offset, dice.choice(OFFSETS)]
    if name == b"SETRANGE":
        return [name, key, dice.choice([each for each in OFFSETS if each != MAX or not piece]), piece]
    if name == b"MSETNX":
        return [name, *(word for _ in range(dice.randrange(1, 3)) for word in (dice.choice(KEYS), dice.choice(PIECES)))]
    return [name, key]


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in read_scripts("replies_strings.txt"):
                await compare(store, redis, read_script(script), proto)


async def test_parts_by_lot(module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(20_261_121)
    async with running(tmp_path) as store:
        with module_redis.client() as redis:
            for _ in range(30):
                await compare(store, redis, [by_lot(dice) for _ in range(25)], 2)


async def test_floating_point_numbers_by_lot(module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(20_261_122)
    async with running(tmp_path) as store:
        with module_redis.client() as redis:
            for _ in range(1500):
                start, step = number(dice), number(dice)
                for command in ([b"SET", b"f", start], [b"INCRBYFLOAT", b"f", step], [b"INCRBYFLOAT", b"f", number(dice)]):
                    assert await store.ask(*command) == redis.raw_reply(*command), (start, step, command)
                assert await store.ask(b"GET", b"f") == redis.raw_reply(b"GET", b"f")


@pytest.mark.parametrize("proto", [2, 3])
async def test_common_subsequences_by_lot(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(20_261_123 + proto)
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for _ in range(400):
                letters = dice.choice([b"ab", b"abc", bytes(range(256))])
                for key in (b"a", b"b"):
                    value = bytes(dice.choices(letters, k=dice.choice([0, 1, 5, 9, 40, 70, 300])))
                    await store.ask(b"SET", key, value)
                    redis.cmd("SET", key, value)
                command = [b"LCS", b"a", b"b", *dice.choices(LCS_WORDS, k=dice.choice([0, 0, 1, 1, 2, 3]))]
                if dice.random() < 0.4:
                    command = [b"LCS", b"a", b"b", b"IDX", b"MINMATCHLEN", b"%d" % dice.randrange(5), b"WITHMATCHLEN"]
                assert await store.ask(*command, proto=proto) == redis.raw_reply(*command), command
