"""RENAME, COPY, OBJECT, DUMP, RESTORE, and commands on the wrong type, compared with a real Redis, raw."""

import random
from pathlib import Path

import pytest

from tests.kvgate_lmdb.replies import BIG, compare, read_script, read_scripts
from tests.kvgate_lmdb.store import running
from tests.support.servers import RedisServer

NAMES = [b"SET", b"HSET", b"RENAME", b"RENAMENX", b"COPY", b"COPY", b"EXPIRE", b"DEL", b"PERSIST", b"HDEL", b"APPEND"]
KEYS = [b"a", b"b", b"Ads.T:c", b"Ads.U:" + b"l" * 500]
COPY_WORDS = [b"REPLACE", b"replace", b"DB", b"0", b"77", b"x", b"junk"]


def by_lot(dice: random.Random) -> list[bytes]:
    key, other = dice.choice(KEYS), dice.choice(KEYS)
    name = dice.choice(NAMES)
    if name == b"SET":
        return [name, key, dice.choice([b"1", b"", BIG]), *([b"EX", b"5000"] if dice.random() < 0.3 else [])]
    if name == b"HSET":
        return [name, key, dice.choice([b"f", b"g"]), dice.choice([b"1", BIG])]
    if name == b"COPY":
        return [name, key, other, *dice.choices(COPY_WORDS[:5] if dice.random() < 0.9 else COPY_WORDS, k=dice.randrange(3))]
    if name == b"EXPIRE":
        return [name, key, dice.choice([b"100000", b"200000", b"-1"]), *([b"NX"] if dice.random() < 0.5 else [])]
    if name in (b"RENAME", b"RENAMENX"):
        return [name, key, other]
    if name in (b"DEL", b"PERSIST"):
        return [name, key]
    return [name, key, b"f"]


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in read_scripts("replies_generic.txt"):
                await compare(store, redis, read_script(script), proto)


async def test_by_lot(module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(20_261_121)
    async with running(tmp_path) as store:
        with module_redis.client() as redis:
            for _ in range(40):
                await compare(store, redis, [by_lot(dice) for _ in range(25)], 2)
