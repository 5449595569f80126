"""Hash commands compared with a real Redis, raw: small hashes byte for byte, big ones as sets of fields; walks; by lot."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kvgate.model.hashes import HASHES
from kvgate.wire.reply import decode
from tests.kvgate_lmdb.replies import read_script, read_scripts, same
from tests.kvgate_lmdb.store import Store, running
from tests.support.resp import Resp
from tests.support.servers import RedisServer

SCRIPTS = read_scripts("replies_hashes.txt")
STATE = ((b"TYPE",), (b"PTTL",), (b"HLEN",), (b"HGETALL",))
UNORDERED = {b"HGETALL": 2, b"HKEYS": 1, b"HVALS": 1}
"""How many strings belong together."""


def strings(raw: bytes) -> list[bytes]:
    """All strings of an array, a map or an array of pairs, in order."""
    found: list[bytes] = []

    def visit(value: Any) -> None:
        if isinstance(value, bytes):
            found.append(value)
        else:
            for each in getattr(value, "pairs", value):
                visit(each)

    visit(decode(raw))
    return found


def groups(raw: bytes, size: int) -> "Counter[tuple[bytes, ...]]":
    words = strings(raw)
    return Counter(tuple(words[at : at + size]) for at in range(0, len(words), size))


def head(raw: bytes) -> bytes:
    return raw.partition(b"\r\n")[0]


def alike(args: list[bytes], ours: bytes, theirs: bytes, state: bytes, *, ordered: bool) -> bool:
    """Whether the replies say the same; `state` is the hash as a reply of HGETALL."""
    name = args[0].upper()
    if same(name, ours, theirs):
        return True
    if name == b"HRANDFIELD":
        if len(args) == 2:
            return ours[:1] == theirs[:1] == b"$" and (decode(ours),) in {pair[:1] for pair in groups(state, 2)}
        return head(ours) == head(theirs) and drawn(args, ours, theirs, state)
    if ordered or head(ours) != head(theirs):
        return False
    if name == b"HSCAN":  # a page of either is some part of the hash
        return ours[:1] == b"*" and page_of(ours) <= set(groups(state, 2))
    return name in UNORDERED and groups(ours, UNORDERED[name]) == groups(theirs, UNORDERED[name])


def page_of(raw: bytes) -> set[tuple[bytes, ...]]:
    words = strings(raw)[1:]
    return set(zip(words[::2], words[1::2], strict=True))


def drawn(args: list[bytes], ours: bytes, theirs: bytes, state: bytes) -> bool:
    """Whether a reply of HRANDFIELD is a possible one; as many fields as Redis gave are known by equal heads."""
    size = 2 if len(args) == 4 else 1
    mine, known = groups(ours, size), {pair[:size] for pair in groups(state, 2)}
    distinct = len(args) > 2 and int(args[2]) > 0
    nested = b"*2\r\n" in theirs[1:] and ours.startswith(head(ours) + b"\r\n*2\r\n")
    shape = nested == (b"\r\n*2\r\n$" in theirs[: len(head(theirs)) + 8])
    return shape and set(mine) <= known and (not distinct or max(mine.values()) == 1)


async def check(store: Store, redis: Resp, args: list[bytes], proto: int, *, ordered: bool) -> None:
    """One command on both, and the state of its key after it."""
    state = redis.raw_reply(b"HGETALL", args[1]) if len(args) > 1 else b""
    ours, theirs = await store.ask(*args, proto=proto), redis.raw_reply(*args)
    shown = [arg[:60] for arg in args]
    assert alike(args, ours, theirs, state, ordered=ordered), (shown, ours[:300], theirs[:300])
    for (probe,) in STATE:
        ours, theirs = await store.ask(probe, args[1], proto=proto), redis.raw_reply(probe, args[1])
        assert alike([probe], ours, theirs, b"", ordered=ordered), (shown, probe, ours[:300], theirs[:300])


async def clear(store: Store, redis: Resp) -> None:
    redis.cmd("FLUSHALL")
    for key in await store.keys():
        await store.ask(b"DEL", key)


@pytest.mark.parametrize("proto", [2, 3])
async def test_scripts(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for script in SCRIPTS:
                await clear(store, redis)
                for args in read_script(script):
                    args = [arg.replace(b"{space}", b" ") for arg in args]
                    await check(store, redis, args, proto, ordered=True)


def test_scripts_name_every_command() -> None:
    named = {args[0].decode().upper() for script in SCRIPTS for args in read_script(script)}
    assert {name for name, _ in HASHES} <= named


KEYS = [b"h", b"Ads.T:h", b"Ads.U:" + b"l" * 500]
SMALL_NAMES = [b"a", b"b", b"f", b"", b"\x00", b"\xff\r\n", b"number", b"x" * 64]
SMALL_VALUES = [b"", b"1", b"-7", b"2.5", b"text", b"\r\n", b"9223372036854775807", b"v" * 64]
BIG_NAMES = [b"f%d" % number for number in range(300)] + [b"", b"n" * 400, b"n" * 401, b"n" * 5000, b"\x01" * 400]
BIG_VALUES = [*SMALL_VALUES, b"v" * 300, b"v" * 32_640, b"v" * 32_641, b"w" * 70_000]
NUMBERS = [b"1", b"-1", b"0.5", b"9223372036854775807", b"-9223372036854775808", b"x", b"1e3"]
WRITES = [b"HSET", b"HMSET", b"HSETNX", b"HDEL", b"HINCRBY", b"HINCRBYFLOAT", b"DEL", b"EXPIRE", b"PERSIST"]
READS = [b"HGET", b"HMGET", b"HEXISTS", b"HSTRLEN", b"HRANDFIELD", b"HSCAN", b"HKEYS", b"HVALS", b"HGETALL", b"HLEN"]


def by_lot(dice: random.Random, names: list[bytes], values: list[bytes], many: int) -> list[bytes]:
    """A command; HSET and HDEL of up to `many` fields."""
    name, key = dice.choice([*WRITES, *READS, b"HSET", b"HSET", b"HDEL"]), dice.choice(KEYS)

    def some() -> list[bytes]:
        return [dice.choice(names) for _ in range(dice.choice([1, 1, 2, 5, many]))]

    if name == b"DEL" and dice.random() < 0.7:
        return [b"HLEN", key]
    if name in (b"HSET", b"HMSET"):
        return [name, key, *(word for field in some() for word in (field, dice.choice(values)))]
    if name in (b"HDEL", b"HMGET"):
        return [name, key, *some()]
    if name == b"HSETNX":
        return [name, key, dice.choice(names), dice.choice(values)]
    if name in (b"HINCRBY", b"HINCRBYFLOAT"):
        return [name, key, dice.choice(names), dice.choice(NUMBERS)]
    if name == b"EXPIRE":
        return [name, key, b"100000"]
    if name in (b"HGET", b"HEXISTS", b"HSTRLEN"):
        return [name, key, dice.choice(names)]
    if name == b"HRANDFIELD":
        counts = [b"0", b"1", b"3", b"-3", b"50", b"-50", b"200", b"-2000", b"1000"]
        return [name, key, *dice.choice([[], [dice.choice(counts)], [dice.choice(counts), b"WITHVALUES"]])]
    if name == b"HSCAN":
        return [name, key, b"0", *dice.choice([[], [b"COUNT", b"1000"], [b"MATCH", b"f*"], [b"MATCH", b"*1", b"COUNT", b"7"]])]
    return [name, key]


@pytest.mark.parametrize("proto", [2, 3])
async def test_small_hashes_by_lot(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(40 + proto)
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for _ in range(30):
                await clear(store, redis)
                for _ in range(25):
                    await check(store, redis, by_lot(dice, SMALL_NAMES, SMALL_VALUES, 7), proto, ordered=True)


@pytest.mark.parametrize("proto", [2, 3])
async def test_big_hashes_by_lot(proto: int, module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(50 + proto)
    async with running(tmp_path) as store:
        with module_redis.client(proto=proto) as redis:
            for _ in range(6):
                await clear(store, redis)
                for _ in range(50):
                    await check(store, redis, by_lot(dice, BIG_NAMES, BIG_VALUES, 60), proto, ordered=False)
                for key in KEYS:
                    assert await walk(store, key) == set(groups(redis.raw_reply(b"HGETALL", key), 2))


async def walk(store: Store, key: bytes, count: bytes = b"10") -> set[tuple[bytes, ...]]:
    cursor, found = b"0", set()
    while True:
        raw = await store.ask(b"HSCAN", key, cursor, b"COUNT", count)
        cursor = strings(raw)[0]
        found |= page_of(raw)
        if cursor == b"0":
            return found


async def test_a_pipeline_answers_as_single_commands_do(module_redis: RedisServer, tmp_path: Path) -> None:
    dice = random.Random(60)
    async with running(tmp_path) as store:
        with module_redis.client() as redis:
            redis.cmd("FLUSHALL")
            for _ in range(20):
                commands = [by_lot(dice, SMALL_NAMES, SMALL_VALUES, 7) for _ in range(30)]
                commands = [args for args in commands if args[0] != b"HRANDFIELD"]
                theirs = [redis.raw_reply(*args) for args in commands]
                for args, one, other in zip(commands, await store.pipeline(commands), theirs, strict=True):
                    assert same(args[0], one, other), (args, one[:200], other[:200])
