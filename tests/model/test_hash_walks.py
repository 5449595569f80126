"""HSCAN keeps its promise with cursors that hold no state; HRANDFIELD is fair."""

import random
from hashlib import blake2b
from typing import Any

import pytest

from kvgate.model import keyspace
from tests.model.hash_world import counted, hash_of, walk, words


@pytest.mark.parametrize("count", [b"1", b"10", b"99", b"100", b"101", b"5000", b"9223372036854775807"])
async def test_a_walk_shows_each_field_once(count: bytes) -> None:
    world = await hash_of(1000)
    assert sorted(await walk(world, b"COUNT", count)) == sorted(words(1000)[::2])


async def test_a_walk_reads_each_field_about_once() -> None:
    world = await hash_of(1000)
    cursor, read, pages = b"0", 0, 0
    while True:
        reply, did = await counted(world, b"HSCAN", b"h", cursor, b"COUNT", b"50")
        assert isinstance(reply, list)
        read, pages, cursor = read + did.read, pages + 1, reply[0]  # type: ignore[assignment]  # a cursor is bytes
        assert did.read <= 51 + 3
        if cursor == b"0":
            break
    assert pages == 20
    assert read <= 1000 + pages * 4


async def test_what_stays_is_returned_while_others_come_and_go() -> None:
    world, dice = await hash_of(300), random.Random(8)

    async def change() -> None:
        await world.ask(b"HSET", b"h", *(word for _ in range(20) for word in (b"x%d" % dice.randrange(500), b"")))
        await world.ask(b"HDEL", b"h", *(b"x%d" % dice.randrange(500) for _ in range(20)))

    found = await walk(world, b"COUNT", b"7", between=change)
    assert set(words(300)[::2]) <= set(found)


async def test_a_hash_that_turns_big_or_is_made_again_between_pages() -> None:
    world = await hash_of(100)
    assert await world.ask(b"HSCAN", b"h", b"0", b"COUNT", b"5") == [b"0", words(100)]  # small: one page
    await world.ask(b"HSET", b"h", *words(100, start=100))
    assert sorted(await walk(world)) == sorted(words(200)[::2])
    reply: Any = await world.ask(b"HSCAN", b"h", b"0")
    await world.ask(b"DEL", b"h")
    await world.ask(b"HSET", b"h", b"again", b"1")
    assert await world.ask(b"HSCAN", b"h", reply[0]) == [b"0", [b"again", b"1"]]


async def test_fields_on_one_place_are_in_one_page(monkeypatch: pytest.MonkeyPatch) -> None:

    class Coarse:
        """Four places for all fields."""

        def __init__(self, text: bytes, *, digest_size: int) -> None:
            self._digest = blake2b(text, digest_size=digest_size).digest()
            if digest_size == 8 and text.startswith(b"field"):
                self._digest = bytes([self._digest[0] & 0xC0]) + bytes(7)

        def digest(self) -> bytes:
            return self._digest

    monkeypatch.setattr(keyspace, "blake2b", Coarse)
    world = await hash_of(700)
    for count in (b"1", b"10", b"150", b"1000"):
        pages = 0

        async def one() -> None:
            nonlocal pages
            pages += 1

        assert sorted(await walk(world, b"COUNT", count, between=one)) == sorted(words(700)[::2])
        assert pages <= 3
    assert pages == 0


@pytest.mark.parametrize("number", [50, 500])
async def test_match_looks_at_fields_alone(number: int) -> None:
    world = await hash_of(number)
    await world.ask(b"HSET", b"h", b"n" * 1000, b"field", b"other", b"field")
    assert sorted(await walk(world, b"MATCH", b"field*")) == sorted(words(number)[::2])
    assert await walk(world, b"MATCH", b"n*") == [b"n" * 1000]
    assert await walk(world, b"MATCH", b"value*") == []


async def test_cursors_beyond_the_last_place_end_the_walk() -> None:
    world = await hash_of(300)
    for cursor in (2**48, 2**48 - 1, 2**64 - 1):
        assert await world.ask(b"HSCAN", b"h", b"%d" % cursor) == [b"0", []]


# ---------------------------------------------------------------------- HRANDFIELD


@pytest.mark.parametrize("number", [100, 1000])
async def test_fields_by_lot_are_fields_and_all_come_up(number: int) -> None:
    world, names = await hash_of(number), set(words(number)[::2])
    for count in (1, 5, number // 4, number // 2, number - 1, number, number + 1):
        reply: Any = await world.ask(b"HRANDFIELD", b"h", b"%d" % count)
        assert len(reply) == len(set(reply)) == min(count, number)
        assert set(reply) <= names
    reply = await world.ask(b"HRANDFIELD", b"h", b"%d" % (-20 * number), b"WITHVALUES")
    assert len(reply.pairs) == 20 * number
    assert dict(reply.pairs) == dict(zip(words(number)[::2], words(number)[1::2], strict=True))


async def test_draws_from_a_big_hash_are_fairly_even() -> None:
    world, dice = await hash_of(400), random.getstate()
    random.seed(5)
    try:
        seen: dict[bytes, int] = {}
        for _ in range(400):
            reply: Any = await world.ask(b"HRANDFIELD", b"h", b"-20")
            for name in reply:
                seen[name] = seen.get(name, 0) + 1
    finally:
        random.setstate(dice)
    assert len(seen) == 400  # 20 times each on average; with draws by gap alone some would come up nearly never
    assert max(seen.values()) < 80
