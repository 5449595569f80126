"""Big hashes on LMDB: what runs in the lane and what does not, long reads, pipelines with them, the sweeper beside clients."""

from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.wire.reply import Error, Map, Raw, decode
from kvgate_lmdb import engine, groups
from kvgate_lmdb.reads import LONG_AT_ONCE
from kvgate_lmdb.running import MOST_SHORT
from tests.kvgate_lmdb.store import Store, command, context, running, until

LONG = MOST_SHORT + 1000


def words(number: int) -> list[bytes]:
    return [word for each in range(number) for word in (b"field%d" % each, b"value%d" % each)]


def pairs(number: int) -> set[tuple[bytes, bytes]]:
    return set(zip(words(number)[::2], words(number)[1::2], strict=True))


def map_of(raw: Any) -> set[Any]:
    assert isinstance(raw, bytes)
    found = decode(raw)
    assert isinstance(found, Map)
    assert len(found.pairs) == len(set(found.pairs))
    return set(found.pairs)


def now(store: Store, *args: bytes) -> Any:
    return store.backend.execute_now(command(*args), context(3))


async def test_what_is_read_in_place(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"HSET", b"small", *words(128))
        await store.ask(b"HSET", b"big", *words(129))
        await store.ask(b"HSET", b"long", b"f", bytes(16 << 20))
        for args in (
            (b"HGETALL", b"small"),
            (b"HKEYS", b"small"),
            (b"HRANDFIELD", b"small", b"-500"),
            (b"HGET", b"big", b"field5"),
            (b"HMGET", b"big", *words(60)),
            (b"HLEN", b"big"),
            (b"HSCAN", b"big", b"0"),
            (b"HSCAN", b"big", b"0", b"COUNT", b"100"),
            (b"HRANDFIELD", b"big"),
            (b"HSTRLEN", b"long", b"f"),
            (b"HGETALL", b"none"),
        ):
            assert now(store, *args) is not None, args
        for args in (
            (b"HGETALL", b"big"),
            (b"HKEYS", b"big"),
            (b"HVALS", b"big"),
            (b"HMGET", b"big", *words(100)),
            (b"HSCAN", b"big", b"0", b"COUNT", b"200"),
            (b"HRANDFIELD", b"big", b"100"),
            (b"HGET", b"long", b"f"),
            (b"HSET", b"small", b"a", b"1"),
        ):
            assert now(store, *args) is None, args
            assert (await store.ask(*args))[:1] in b"*$:", args


async def test_long_reads_run_by_themselves_and_are_encoded_there(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"HSET", b"short", *words(MOST_SHORT))
        await store.ask(b"HSET", b"h", *words(LONG))
        (reply,) = await store.backend.execute([command(b"HGETALL", b"short")], context(3))
        assert map_of(reply) == pairs(MOST_SHORT)
        assert store.backend._reads.long == 0
        commands = [command(b"HLEN", b"h"), command(b"HGETALL", b"h"), command(b"HGET", b"h", b"field1")]
        replies = await store.backend.execute(commands, context(3))
        assert all(isinstance(reply, Raw) for reply in replies)
        assert (replies[0], replies[2]) == (b":%d\r\n" % LONG, b"$6\r\nvalue1\r\n")
        assert map_of(replies[1]) == pairs(LONG)
        assert store.backend._reads.long == 1
        flat = await store.ask(b"HGETALL", b"h", proto=2)
        assert flat.startswith(b"*%d\r\n" % (2 * LONG))


async def test_long_reads_are_few_at_a_time_and_short_ones_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"HSET", b"h", *words(LONG))
        limiter, borrowers = store.backend._reads._long, [object() for _ in range(LONG_AT_ONCE)]
        for borrower in borrowers:
            await limiter.acquire_on_behalf_of(borrower)
        (reply,) = await store.backend.execute([command(b"HKEYS", b"h")], context(seconds=0.05))
        assert isinstance(reply, Error)
        assert reply.text.startswith(b"TRYAGAIN")
        assert await store.ask(b"HSCAN", b"h", b"0", b"COUNT", b"1000") != b""
        replies: list[bytes] = []

        async def patient() -> None:
            replies.append(await store.ask(b"HKEYS", b"h"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            await until(lambda: limiter.statistics().tasks_waiting)
            limiter.release_on_behalf_of(borrowers[0])
        assert replies[0].startswith(b"*%d\r\n" % LONG)
        assert limiter.statistics().borrowed_tokens == LONG_AT_ONCE - 1


async def test_a_long_read_between_writes_sees_what_came_before_it(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        replies = await store.pipeline(
            [
                (b"HSET", b"h", *words(LONG)),
                (b"HGETALL", b"h"),
                (b"HDEL", b"h", b"field0"),
                (b"HLEN", b"h"),
                (b"HKEYS", b"h"),
                (b"HVALS", b"h"),
                (b"SET", b"k", b"v"),
                (b"HSET", b"k", b"a", b"1"),
                (b"GET", b"k"),
            ],
            3,
        )
        assert [replies[at] for at in (0, 2, 3)] == [b":%d\r\n" % LONG, b":1\r\n", b":%d\r\n" % (LONG - 1)]
        assert [replies[at] for at in (6, 8)] == [b"+OK\r\n", b"$1\r\nv\r\n"]
        assert map_of(replies[1]) == pairs(LONG)
        assert [reply[: len(b"*%d" % LONG)] for reply in replies[4:6]] == [b"*%d" % (LONG - 1)] * 2
        assert replies[7].startswith(b"-WRONGTYPE")
        assert store.backend._reads.long == 3


async def test_a_long_read_after_a_failed_commit_is_found_when_each_is_tried_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failures = engine.Group.commit, iter([True])

    def fails_once(group: engine.Group) -> None:
        if next(failures, False):
            raise lmdb.Error("the disk hiccuped")
        commit(group)

    async with running(tmp_path) as store:
        await store.ask(b"HSET", b"h", *words(LONG))
        monkeypatch.setattr(engine.Group, "commit", fails_once)
        replies = await store.pipeline([(b"HSET", b"h", b"new", b"1"), (b"HKEYS", b"h"), (b"HDEL", b"h", b"new")])
        assert (replies[0], replies[2]) == (b":1\r\n", b":1\r\n")
        assert replies[1].startswith(b"*%d\r\n" % (LONG + 1))


async def test_a_block_is_not_cut_however_long_it_reads(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        block = [command(b"HSET", b"h", *words(LONG)), command(b"HKEYS", b"h"), command(b"DEL", b"h")]
        replies = await store.backend.execute_block(block, {}, context())
        assert replies is not None
        assert (replies[0], replies[2]) == (LONG, 1)
        assert store.backend._reads.long == 0


async def test_a_pipeline_is_cut_into_groups_of_bounded_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []
    submit = groups.WriteGroups.submit

    async def noted(self: groups.WriteGroups, writes: Any, deadline: float) -> Any:
        deadlines.append(deadline)
        assert len(writes) == 1 or sum(write.words for write in writes) <= groups.MOST_WORDS
        return await submit(self, writes, deadline)

    monkeypatch.setattr(groups.WriteGroups, "submit", noted)
    async with running(tmp_path) as store:
        replies = await store.pipeline([(b"HSET", b"h", *words(900)), (b"HSET", b"g%d" % 1, b"a", b"1")] * 10)
        assert replies == [b":900\r\n", b":1\r\n"] + [b":0\r\n"] * 18
        assert len(deadlines) == 5
        assert deadlines == sorted(set(deadlines))  # each has the whole time from its own beginning on
        deadlines.clear()
        await store.pipeline([(b"HSET", b"one", *words(9000)), (b"HLEN", b"one")])
        assert len(deadlines) == 2  # a command is not cut


@pytest.mark.direct
async def test_sweeping_leaves_room_for_others(tmp_path: Path) -> None:
    fields = 20_000
    async with running(tmp_path) as store:
        await store.ask(b"HSET", b"h", *words(fields))
        await until(lambda: store.backend.sweeping)
        assert await store.ask(b"DEL", b"h") == b":1\r\n"
        before = int(store.backend.statistics().figures["write_commands"])
        writes = 0
        with trio.fail_after(60):
            while store.backend.swept < fields:
                assert await store.ask(b"INCR", b"n") == b":%d\r\n" % (writes + 1)
                writes += 1
        steps = int(store.backend.statistics().figures["write_commands"]) - before - writes
        assert steps >= fields // 1000
        assert writes >= steps // 4  # as a rule each step of the sweeper lets one of theirs pass
        await until(lambda: store.backend.engine.env.stat()["entries"] < 10)
