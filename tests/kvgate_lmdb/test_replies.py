"""Replies compared with a real Redis, raw: every command and option, by hand and by lot, in both protocols."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvgate.commands.table import every_command, lookup
from kvgate.model.handlers import HANDLERS
from tests.kvgate_lmdb.replies import FUTURE, FUTURE_MS, MAX, MIN, compare, read_script, read_scripts, same
from tests.kvgate_lmdb.store import running
from tests.support.additions import NOT_IN_REDIS
from tests.support.servers import RedisServer

SCRIPTS = read_scripts("replies.txt")


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in SCRIPTS:
                await compare(store, redis, read_script(script), proto)


def test_scripts_name_every_command() -> None:
    """Those of this file and those of its neighbours, hash commands aside (test_hash_replies.py)."""
    named = set()
    for path in Path(__file__).parent.glob("*.txt"):
        commands = [args for script in read_scripts(path.name) for args in read_script(script)]
        named |= {spec.name for spec in map(lookup, commands) if spec is not None}
    specs = [spec for spec in every_command() if spec.name in HANDLERS and spec.name not in NOT_IN_REDIS]
    assert named >= {spec.name for spec in specs if spec.group != "hash"}


NAMES = sorted({args[0].upper() for script in SCRIPTS for args in read_script(script)})
KEYS = [b"a", b"b", b"Ads.T:a", b"Ads.T:b", b"Ads.U:" + b"l" * 500]
FRESH = b"a time by itself"  # GT and LT would hang on single ms if two commands said the same relative time
TIMES = [FRESH] * 3 + [b"0", b"-1", MAX, MIN, b"x", b"", b"%d" % FUTURE, b"%d" % FUTURE_MS]
TIMES += [b"9223372036854775", b"-9223372036854776"]
VALUES = [b"", b"1", b"-5", b"007", b"abc", MAX, MIN, b"x" * 33_000]
SET_WORDS = [b"NX", b"xx", b"GET", b"KEEPTTL", b"EX", b"PX", b"EXAT", b"PXAT", b"PERSIST", b"junk", FRESH, FRESH]
SET_WORDS += [b"%d" % FUTURE, b"%d" % FUTURE_MS]


def by_lot(dice: random.Random, fresh: "Iterator[int]") -> list[bytes]:
    """A command with arguments that are seldom senseless, none of which lets a key expire within the test."""
    return [b"%d" % (10_000 * next(fresh)) if word is FRESH else word for word in _by_lot(dice)]


def _by_lot(dice: random.Random) -> list[bytes]:

    def key() -> bytes:
        return dice.choice(KEYS)

    def value() -> bytes:
        return dice.choice(VALUES)

    def time_() -> bytes:
        return dice.choice(TIMES)

    name = dice.choice(NAMES)
    some = [dice.choice(SET_WORDS) for _ in range(dice.choice([0, 0, 1, 2, 2, 3, 4]))]
    conditions = [dice.choice([b"NX", b"XX", b"GT", b"lt", b"no"]) for _ in range(dice.choice([0, 0, 1, 1, 2, 3]))]
    if name == b"SET":
        return [name, key(), value(), *some]
    if name == b"GETEX":
        return [name, key(), *some]
    if name in (b"SETNX", b"GETSET"):
        return [name, key(), value()]
    if name in (b"SETEX", b"PSETEX"):
        return [name, key(), time_(), value()]
    if name in (b"INCRBY", b"DECRBY"):
        return [name, key(), dice.choice([b"1", b"-1", b"77", MAX, MIN, b"x", b"9223372036854775808"])]
    if name in (b"EXPIRE", b"EXPIREAT", b"PEXPIRE", b"PEXPIREAT"):
        return [name, key(), time_(), *conditions]
    if name == b"MSET":
        return [name, *(word for _ in range(dice.randrange(1, 4)) for word in (key(), value()))]
    if name in (b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"MGET"):
        return [name, *(key() for _ in range(dice.randrange(1, 4)))]
    return [name, key()]


@pytest.mark.parametrize("proto", [2, 3])
async def test_by_lot(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    seed = 20_261_120 + proto
    dice, fresh = random.Random(seed), itertools.count(20)
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for _ in range(40):
                commands = [by_lot(dice, fresh) for _ in range(25)]
                await compare(store, redis, commands, proto)


async def test_a_pipeline_answers_as_single_commands_do(module_redis: RedisServer, tmp_path: Path) -> None:
    dice, fresh = random.Random(7), itertools.count(20)
    async with running(tmp_path) as store:
        with module_redis.client() as redis:
            redis.cmd("FLUSHALL")
            for _ in range(40):
                commands = [by_lot(dice, fresh) for _ in range(30)]
                theirs = [redis.raw_reply(*command) for command in commands]
                ours = await store.pipeline(commands)
                for command, one, other in zip(commands, ours, theirs, strict=True):
                    assert same(command[0], one, other), (command, one[:200], other[:200])
