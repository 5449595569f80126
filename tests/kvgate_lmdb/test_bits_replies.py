"""Bitmap commands compared with a real Redis, raw: every option, by hand and by lot."""

import random
from pathlib import Path

import pytest

from tests.kvgate_lmdb.replies import BIG, MAX, MIN, compare, read_script, read_scripts
from tests.kvgate_lmdb.store import running
from tests.support.servers import RedisServer

NAMES = [b"SET", b"SETBIT", b"GETBIT", b"BITCOUNT", b"BITCOUNT", b"BITPOS", b"BITPOS", b"BITOP", b"BITFIELD", b"BITFIELD"]
KEYS = [b"a", b"b", b"c"]
VALUES = [b"", b"\x00", b"\xff\xff\xff", b"\x00\x00\x01\x80", b"foobar", bytes(40_000), b"\xff" * 33_000, BIG]
POSITIONS = [b"%d" % each for each in (0, 1, 2, 3, 7, 8, 9, 15, 20, -1, -2, -8, -9, -100, 32639, 32640, 261119, 261121)]
POSITIONS += [b"-32700", b"100000", b"819199", b"x", b"", b"1.5", MIN, MAX, b"01"]
WIDTHS = [b"u1", b"i1", b"u8", b"i8", b"u7", b"i13", b"u31", b"i32", b"u63", b"i64", b"i63", b"u64", b"i65", b"i0", b"x4"]
OFFSETS = [b"%d" % each for each in (0, 1, 5, 8, 63, 100, 261110, 261119, 261120, 522239, -1)] + [b"#0", b"#1", b"#7", b"#x"]
NUMBERS = [b"0", b"1", b"-1", b"2", b"100", b"-128", b"127", b"255", b"256", b"65535", MIN, MAX, b"x", b"9223372036854775808"]


def _field(dice: random.Random) -> list[bytes]:
    name = dice.choice([b"GET", b"get", b"SET", b"INCRBY", b"incrby", b"OVERFLOW", b"junk"])
    if name == b"OVERFLOW":
        return [name, dice.choice([b"WRAP", b"sat", b"SAT", b"FAIL", b"FAIL", b"junk"])]
    good = dice.random() < 0.9  # mostly, else no more than the first mistake would be seen
    place = [dice.choice(WIDTHS[:11] if good else WIDTHS), dice.choice(OFFSETS[:10] if good else OFFSETS)]
    return [name, *place] if name.upper() == b"GET" else [name, *place, dice.choice(NUMBERS[:12] if good else NUMBERS)]


def _range(dice: random.Random) -> list[bytes]:
    words = [dice.choice(POSITIONS) for _ in range(dice.choice([0, 1, 2, 2, 2]))]
    return [*words, *([dice.choice([b"BIT", b"byte", b"BYTE", b"junk"])] if dice.random() < 0.5 else [])]


def by_lot(dice: random.Random) -> list[bytes]:
    key = dice.choice(KEYS)
    name = dice.choice(NAMES)
    if name == b"SET":
        return [name, key, dice.choice(VALUES), *([b"EX", b"5000"] if dice.random() < 0.3 else [])]
    if name == b"SETBIT":
        return [name, key, dice.choice(POSITIONS[:20]), dice.choice([b"0", b"1", b"1", b"2", b"x"])]
    if name == b"GETBIT":
        return [name, key, dice.choice(POSITIONS)]
    if name == b"BITCOUNT":
        return [name, key, *_range(dice)]
    if name == b"BITPOS":
        return [name, key, dice.choice([b"0", b"1", b"0", b"1", b"2"]), *_range(dice)]
    if name == b"BITOP":
        operation = dice.choice([b"AND", b"OR", b"xor", b"NOT", b"NOT", b"NAND"])
        return [name, operation, key, *(dice.choice(KEYS) for _ in range(dice.choice([1, 1, 2, 3])))]
    fields = [word for _ in range(dice.randrange(4)) for word in _field(dice)]
    return [dice.choice([name, name, b"BITFIELD_RO"]), key, *fields]


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in read_scripts("replies_bits.txt"):
                await compare(store, redis, read_script(script), proto)


@pytest.mark.parametrize("proto", [2, 3])
async def test_by_lot(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(20_261_121 + proto)
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for _ in range(50):
                await compare(store, redis, [by_lot(dice) for _ in range(30)], proto)
