"""Replies compared with a real Redis, raw: every command and option, by hand and by lot, in both protocols."""

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvgate.commands.table import TABLE
from kvgate.model.handlers import HANDLERS
from tests.kvgate_lmdb.store import Store, running
from tests.support.resp import Resp
from tests.support.servers import RedisServer

TOLERANCE = {b"TTL": 5, b"EXPIRETIME": 5, b"PTTL": 5000, b"PEXPIRETIME": 5000}
"""How far positive replies may differ: the two stores are asked one after the other. In the reply's unit, 5 s."""

MAX = b"9223372036854775807"
MIN = b"-9223372036854775808"
BIG = bytes(range(256)) * 400
FUTURE = int(time.time()) + 100_000
FUTURE_MS = FUTURE * 1000 + 123

SCRIPTS = [line for line in Path(__file__).with_name("replies.txt").read_text("ascii").splitlines() if line[:1] != "#"]
WORDS = {
    "{max}": MAX,
    "{min}": MIN,
    "{big}": BIG,
    "{empty}": b"",
    "{space}": b" ",
    "{noise}": b"\xff\r\n",
    "{longkey}": b"Ads.Profile:" + b"k" * 1000,
    "{at}": b"%d" % FUTURE,
    "{at_ms}": b"%d" % FUTURE_MS,
}


def read_word(word: str) -> bytes:
    return WORDS.get(word, word.replace("{nul}", "\x00").encode())


def read_script(script: str) -> list[list[bytes]]:
    return [[read_word(word) for word in line.split(" ")] for line in script.split("; ")]


def same(name: bytes, ours: bytes, theirs: bytes) -> bool:
    if ours == theirs:
        return True
    tolerance = TOLERANCE.get(name.upper(), 0)
    if not tolerance or ours[:1] != b":" or theirs[:1] != b":" or int(theirs[1:]) <= 0:
        return False
    return abs(int(ours[1:]) - int(theirs[1:])) <= tolerance


async def compare(store: Store, redis: Resp, commands: list[list[bytes]], proto: int) -> None:
    """Run each on both; replies, and then the state of every key that the command may have touched, must be equal."""
    redis.cmd("FLUSHALL")
    for key in await store.keys():
        await store.ask(b"DEL", key)
    done: list[list[bytes]] = []
    for args in commands:
        done.append([arg[:60] for arg in args])
        ours, theirs = await store.ask(*args, proto=proto), redis.raw_reply(*args)
        assert same(args[0], ours, theirs), (done, ours[:200], theirs[:200])
        for probe in (b"TYPE", b"PTTL", b"GET"):
            for key in set(args[1:]):
                ours, theirs = await store.ask(probe, key, proto=proto), redis.raw_reply(probe, key)
                assert same(probe, ours, theirs), (done, probe, key[:60], ours[:200], theirs[:200])
    assert sorted(await store.keys()) == sorted(redis.cmd("KEYS", "*"))


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in SCRIPTS:
                await compare(store, redis, read_script(script), proto)


def test_scripts_name_every_command() -> None:
    named = {args[0].decode().upper() for script in SCRIPTS for args in read_script(script)}
    assert named == set(NAMES)


NAMES = sorted(name for name in HANDLERS if TABLE[name.encode()].group != "hash")
"""Hash commands are compared in test_hash_replies.py."""
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

    name = dice.choice(NAMES).encode()
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
