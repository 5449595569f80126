"""The contract of `kvgate.model.kv.KvEngine`: a class of tests that every engine passes.

A subclass in a test file gives the fixture `engine`: an open, empty engine.

    class TestMine(EngineContract):
        @pytest.fixture
        async def engine(self) -> KvEngine: ...
"""

import trio

from kvgate.errors import Conflict, GateError
from kvgate.model.kv import KvEngine, KvTxn, transact

ODD_KEYS = [b"\x00", b"\x00\x00", b"\x00\xff", b"a", b"a\x00", b"a\x00\x00", b"aa", b"b\r\n", b"\x7f"]
ODD_KEYS += [b"\x80", b"\xfe\xff", b"\xff"]


async def fill(engine: KvEngine, pairs: dict[bytes, bytes]) -> None:
    """Commit the pairs."""

    async def body(txn: KvTxn) -> None:
        for key, value in pairs.items():
            txn.put(key, value)

    await transact(engine, body)


async def value_of(engine: KvEngine, key: bytes) -> bytes | None:
    """The committed value."""
    txn = await engine.begin()
    try:
        return await txn.get(key)
    finally:
        await txn.rollback()


async def everything(engine: KvEngine) -> list[tuple[bytes, bytes]]:
    """All committed pairs that these tests can have written."""
    txn = await engine.begin()
    try:
        return await txn.scan(b"\x00", b"\xff\xff", 10_000)
    finally:
        await txn.rollback()


class EngineContract:
    """The tests."""

    async def test_missing_put_overwrite_delete(self, engine: KvEngine) -> None:
        assert await value_of(engine, b"k") is None
        await fill(engine, {b"k": b"1"})
        assert await value_of(engine, b"k") == b"1"
        await fill(engine, {b"k": b"2"})
        assert await value_of(engine, b"k") == b"2"

        async def delete(txn: KvTxn) -> None:
            txn.delete(b"k")
            txn.delete(b"never there")

        await transact(engine, delete)
        assert await value_of(engine, b"k") is None

    async def test_get_many_keeps_the_order_and_repeats(self, engine: KvEngine) -> None:
        await fill(engine, {b"a": b"1", b"b": b"2"})
        txn = await engine.begin()
        assert await txn.get_many([b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert await txn.get_many([]) == []
        await txn.rollback()

    async def test_scans_are_in_byte_order_and_half_open(self, engine: KvEngine) -> None:
        await fill(engine, dict.fromkeys(ODD_KEYS, b"v"))
        txn = await engine.begin()
        assert await txn.scan_keys(b"\x00", b"\xff\xff", 100) == sorted(ODD_KEYS)
        assert await txn.scan_keys(b"a", b"aa", 100) == [b"a", b"a\x00", b"a\x00\x00"]
        assert await txn.scan_keys(b"a", b"a", 100) == []
        assert await txn.scan_keys(b"b", b"a", 100) == []
        assert await txn.scan(b"\x00", b"\xff\xff", 2) == [(b"\x00", b"v"), (b"\x00\x00", b"v")]
        await txn.rollback()

    async def test_pages_cover_a_range_once(self, engine: KvEngine) -> None:
        pairs = {b"p%05d" % i: b"%d" % i for i in range(257)}
        await fill(engine, pairs)
        txn = await engine.begin()
        start, found = b"p", []
        while page := await txn.scan(start, b"q", 16):
            found += page
            start = page[-1][0] + b"\x00"
        await txn.rollback()
        assert found == sorted(pairs.items())

    async def test_smallest_and_largest_keys_and_values(self, engine: KvEngine) -> None:
        size = min(engine.max_value, 1 << 20)
        pairs = {b"\x00": b"\x00", b"k" * engine.max_key: b"x", b"value": bytes(size)}
        await fill(engine, pairs)
        for key, value in pairs.items():
            assert await value_of(engine, key) == value

    async def test_a_transaction_sees_its_own_writes(self, engine: KvEngine) -> None:
        await fill(engine, {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"})
        txn = await engine.begin(write=True)
        txn.put(b"bb", b"new")
        txn.put(b"c", b"changed")
        txn.delete(b"a")
        assert await txn.get(b"a") is None
        assert await txn.get_many([b"bb", b"c"]) == [b"new", b"changed"]
        assert await txn.scan(b"a", b"z", 2) == [(b"b", b"2"), (b"bb", b"new")]
        assert await txn.scan(b"c", b"z", 9) == [(b"c", b"changed"), (b"d", b"4")]
        assert await txn.scan_keys(b"a", b"z", 9) == [b"b", b"bb", b"c", b"d"]
        assert await txn.scan_keys(b"a", b"z", 1) == [b"b"]
        await txn.rollback()

    async def test_rollback_leaves_nothing_and_may_be_repeated(self, engine: KvEngine) -> None:
        txn = await engine.begin(write=True)
        txn.put(b"k", b"1")
        await txn.rollback()
        await txn.rollback()
        assert await everything(engine) == []

    async def test_a_snapshot_does_not_move(self, engine: KvEngine) -> None:
        await fill(engine, {b"a": b"1", b"b": b"1"})
        txn = await engine.begin()
        assert await txn.get(b"a") == b"1"
        await fill(engine, {b"a": b"2", b"b": b"2", b"c": b"2"})
        assert await txn.get(b"b") == b"1"
        assert await txn.scan_keys(b"a", b"z", 9) == [b"a", b"b"]
        await txn.rollback()
        assert await value_of(engine, b"b") == b"2"

    async def test_writes_are_invisible_before_the_commit(self, engine: KvEngine) -> None:
        txn = await engine.begin(write=True)
        txn.put(b"k", b"1")
        assert await value_of(engine, b"k") is None
        await txn.commit()
        await txn.rollback()
        assert await value_of(engine, b"k") == b"1"

    async def test_a_write_on_a_stale_read_conflicts(self, engine: KvEngine) -> None:
        await fill(engine, {b"k": b"1"})
        late = await engine.begin(write=True)
        assert await late.get(b"k") == b"1"
        await fill(engine, {b"k": b"2"})
        late.put(b"k", b"3")
        try:
            await late.commit()
        except Conflict:
            assert await value_of(engine, b"k") == b"2"
        else:
            raise AssertionError("an update was lost")
        finally:
            await late.rollback()

    async def test_unrelated_writes_do_not_conflict(self, engine: KvEngine) -> None:
        txn = await engine.begin(write=True)
        assert await txn.get(b"mine") is None
        await fill(engine, {b"another": b"1"})
        txn.put(b"mine", b"2")
        await txn.commit()
        await txn.rollback()
        assert await everything(engine) == [(b"another", b"1"), (b"mine", b"2")]

    async def test_counters_of_many_tasks_sum_up(self, engine: KvEngine) -> None:
        async def add(txn: KvTxn) -> None:
            txn.put(b"n", b"%d" % (int(await txn.get(b"n") or 0) + 1))

        async def client() -> None:
            done = 0
            while done < 10:
                try:
                    await transact(engine, add)
                except GateError as error:
                    if not error.text.startswith("TRYAGAIN"):
                        raise
                else:
                    done += 1  # after TRYAGAIN (conflicts in a row) nothing was executed: the sum shows it

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(client)
        assert await value_of(engine, b"n") == b"80"

    async def test_readers_see_all_of_a_commit_or_nothing(self, engine: KvEngine) -> None:
        await fill(engine, {b"a": b"50", b"b": b"50"})

        async def move(txn: KvTxn) -> None:
            a, b = await txn.get_many([b"a", b"b"])
            txn.put(b"a", b"%d" % (int(a or 0) - 1))
            txn.put(b"b", b"%d" % (int(b or 0) + 1))

        async def writer() -> None:
            for _ in range(20):
                await transact(engine, move)
            nursery.cancel_scope.cancel()

        async def reader() -> None:
            while True:
                txn = await engine.begin()
                a = await txn.get(b"a")
                await trio.lowlevel.checkpoint()
                b = await txn.get(b"b")
                await txn.rollback()
                assert int(a or 0) + int(b or 0) == 100

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            nursery.start_soon(writer)
        assert await value_of(engine, b"a") == b"30"

    async def test_fences_only_grow_within_a_transaction_and_from_one_to_the_next(self, engine: KvEngine) -> None:
        seen: list[int] = []

        async def body(txn: KvTxn) -> list[int]:
            await txn.get(b"lock")
            fences = [await txn.fence(), await txn.fence(), await txn.fence()]
            txn.put(b"lock", b"%d" % fences[-1])
            return fences

        for _ in range(4):
            seen += await transact(engine, body)
        assert seen[0] > 0
        assert seen == sorted(set(seen))
        assert seen[-1] < 1 << 63

    async def test_revisions_grow_with_each_transaction(self, engine: KvEngine) -> None:
        seen = []
        for _ in range(3):
            txn = await engine.begin(write=True)
            seen.append(txn.revision())
            txn.put(b"k", b"%d" % seen[-1])
            await txn.commit()
            await txn.rollback()
        assert 0 < seen[0] < seen[1] < seen[2]
