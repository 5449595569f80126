"""The backend on TiKV: two gates on one store never lose an update, groups are large, transactions whole."""

import functools
import os

import pytest
import trio

from kvgate.backend import CallContext
from kvgate.model import keyspace
from kvgate.model.meta import decode
from kvgate.wire.reply import OK, Error, Reply
from tests.contract.backend import EVERYTHING, call, command, plain
from tests.kvgate_tikv.gates import backend, figure, gates, record, refused, surely, until
from tests.tikv.cluster import Cluster


async def side_by_side(number: int, work: object) -> None:
    async with trio.open_nursery() as nursery:
        for each in range(number):
            nursery.start_soon(work, each)  # type: ignore[arg-type]  # a coroutine function of one number


async def test_increments_of_two_gates_sum_up(tikv: Cluster) -> None:
    async with gates(tikv) as both:

        async def client(number: int) -> None:
            for _ in range(25):
                assert isinstance(await surely(both[number % 2], "INCR", "Bank.A:n"), int)

        await side_by_side(16, client)
        for served in both:
            assert await served.do("GET", "Bank.A:n") == b"400"


async def test_a_hash_between_two_gates_has_as_many_fields_as_it_says(tikv: Cluster) -> None:
    """HSET and HDEL of many fields, DEL of the whole hash: a big one, whose fields are records of their own."""
    async with gates(tikv) as both:
        await both[0].do("HSET", "Bank.A:h", *(word for n in range(200) for word in (f"f{n}", n)))

        async def writer(number: int) -> None:
            served = both[number % 2]
            for step in range(12):
                match (number + step) % 6:
                    case 0:
                        assert await surely(served, "DEL", "Bank.A:h") in (0, 1)
                    case 1 | 2:
                        assert await surely(served, "HDEL", "Bank.A:h", f"f{step}", f"f{number}") in (0, 1, 2)
                    case _:
                        words = (word for n in range(150) for word in (f"f{number * n}", "v"))
                        assert isinstance(await surely(served, "HSET", "Bank.A:h", *words), int)

        async def reader(number: int) -> None:
            """One snapshot shows both."""
            while True:
                length, fields = await both[number].do_all(["HLEN", "Bank.A:h"], ["HKEYS", "Bank.A:h"])
                assert isinstance(fields, list)
                assert length == len(fields)

        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(reader, number)
            await side_by_side(6, writer)
            nursery.cancel_scope.cancel()


async def test_blocks_are_whole_and_see_other_gates(tikv: Cluster) -> None:
    """Money moves between keys of two namespaces; at any moment there is as much as before."""
    async with gates(tikv) as both:
        assert await both[0].do_all(["SET", "Bank.A:x", 500], ["SET", "Bank.B:y", 500]) == [OK, OK]

        async def move(number: int) -> None:
            served = backend(both[number % 2])
            block = [command("DECRBY", "Bank.A:x", number), command("INCRBY", "Bank.B:y", number)]
            for _ in range(10):
                replies = await served.execute_block(block, {}, call())
                assert replies is not None
                x, y = map(plain, replies)
                assert isinstance(x, int)
                assert isinstance(y, int)
                assert x + y == 1000

        await side_by_side(4, move)
        assert await both[1].do("MGET", "Bank.A:x", "Bank.B:y") == [b"440", b"560"]


async def test_watch_sees_the_other_gate(tikv: Cluster) -> None:
    async with gates(tikv) as (here, there):
        key = b"Bank.A:k"
        for change in (["SET", key, 1], ["SET", key, 1], ["EXPIRE", key, 100], ["DEL", key], ["SET", key, 1]):
            (seen,) = await backend(here).revisions([key], call())
            again = await backend(here).execute_block([command("SET", "Bank.A:o", "x")], {key: seen}, call())
            assert again is not None
            await there.do(*change)
            assert await backend(here).execute_block([command("SET", "Bank.A:o", "y")], {key: seen}, call()) is None
        assert await there.do("GET", "Bank.A:o") == b"x"


async def test_a_watched_key_that_changes_during_the_commit_is_seen(tikv: Cluster) -> None:
    """The block writes other keys only; the one that it watches, or has read, is written while its commit is on its way."""
    async with gates(tikv) as (here, there):
        server = tikv.faulty
        await here.do_all(["SET", "Bank.A:w", 1], ["SET", "Bank.A:o", "old"])
        (seen,) = await backend(here).revisions([b"Bank.A:w"], call())
        before = server.struck().get("KvPrewrite delay", 0)
        server.fault("delay", "KvPrewrite", count=1, ms=400, key=record(here, b"Bank.A:o"))
        answers = []

        async def block() -> None:
            answers.append(await backend(here).execute_block([command("SET", "Bank.A:o", "new")], {b"Bank.A:w": seen}, call()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            await until(lambda: server.struck().get("KvPrewrite delay", 0) > before)
            assert await there.do("SET", "Bank.A:w", 2) == OK
        assert answers == [None]
        assert await there.do("GET", "Bank.A:o") == b"old"


async def test_two_copies_across_do_not_swap(tikv: Cluster) -> None:
    """Each reads what the other one writes: one of them comes first, so both keys have one value in the end."""
    async with gates(tikv) as both:
        for _ in range(15):
            await both[0].do_all(["SET", "Bank.A:x", "1"], ["SET", "Bank.A:y", "2"])

            async def copy(number: int) -> None:
                words = ("Bank.A:x", "Bank.A:y")[:: 1 if number else -1]
                assert await surely(both[number], "COPY", *words, "REPLACE") == 1

            await side_by_side(2, copy)
            found = await both[0].do("MGET", "Bank.A:x", "Bank.A:y")
            assert found in ([b"1", b"1"], [b"2", b"2"])


async def test_group_sizes(tikv: Cluster) -> None:
    """What 64 clients cost, in transactions for each command."""
    async with gates(tikv, 1) as (served,):

        async def work(of: str, number: int) -> None:
            key = "Bank.A:hot" if of == "INCR" else f"Bank.A:{number}"
            for _ in range(20):
                reply = await served.do(of, key, *(["v"] if of == "SET" else []))
                assert not isinstance(reply, Error)

        for name, figures, most in (
            ("SET", ("write_groups",), 0.5),
            ("INCR", ("write_groups",), 0.1),
            ("GET", ("read_batches",), 0.2),
        ):
            before = sum(figure(served, each) for each in figures)
            await side_by_side(64, functools.partial(work, name))
            assert sum(figure(served, each) for each in figures) - before <= most * 64 * 20
        assert await served.do("GET", "Bank.A:hot") == b"1280"


async def test_calls_of_commands_alone(tikv: Cluster) -> None:
    """As docs/tikv.md has them. The timestamp for the revision goes beside the read, so a write has 5 round trips."""
    server = tikv.faulty
    async with gates(tikv, 1, gc=False) as (served,):
        await served.do("SET", "Bank.A:warm", "up")
        read = {"Tso": 1, "KvBatchGet": 1}
        write = {"Tso": 3, "KvBatchGet": 2, "KvPrewrite": 1}  # and the commit, which the second read looks at
        locks = {**write, "Tso": 4}
        again = {"DEL": ("SET", "Bank.A:k", "v"), "GATE": ("GATE", "UNLOCK", "Bank.A:lock", "t")}
        for args, wanted in (
            (("SET", "Bank.A:k", "v"), write),
            (("GET", "Bank.A:k"), read),
            (("MGET", "Bank.A:k", "Bank.A:l"), read),
            (("INCR", "Bank.A:n"), write),
            (("DEL", "Bank.A:k"), write),
            (("HSET", "Bank.A:h", "f", "v"), write),
            (("HGETALL", "Bank.A:h"), read),
            (("SETNX", "Bank.A:n", "v"), {"Tso": 2, "KvBatchGet": 1}),
            (("GATE", "LOCK", "Bank.A:lock", "t", "PX", "60000"), locks),
        ):
            least: dict[str, int] = {}
            for _ in range(4):  # the watch of the cluster asks for a timestamp each second, a sweep comes by
                before = server.calls()
                await served.do(*args)
                after = server.calls()
                spent = {name: count - before.get(name, 0) for name, count in after.items()}
                # Of the primary; the other records' follows in the background, when nobody waits any more
                assert (spent.pop("KvCommit", 0) >= 1) is ("KvPrewrite" in wanted)
                least = {name: min(count, least.get(name, count)) for name, count in spent.items() if count}
                if least == wanted:
                    break
                if args[0] in again:
                    await served.do(*again[args[0]])
            assert least == wanted, args


async def test_what_is_too_large_is_refused_before_anything_is_sent(tikv: Cluster) -> None:
    async with gates(tikv, 1) as (served,):
        many = [word for number in range(5001) for word in (f"Bank.A:{number}", "v")]
        reply = await served.do("MSET", *many)
        assert isinstance(reply, Error)
        assert reply.text.startswith(b"ERR store refuses the command: it would write more than 5000 records")
        assert await served.listing.size(EVERYTHING, call()) == 0
        assert await served.do("MSET", *many[:8000]) == OK
        # A client's pipeline that is too large together is cut between commands
        assert await served.do_all(["MSET", *many[:6000]], ["MSET", *many[4000:]], ["GET", "Bank.A:5000"]) == [OK, OK, b"v"]
        assert await served.listing.size(EVERYTHING, call()) == 5001


MANY_FIELDS = 12_000


async def test_a_hash_of_many_fields(tikv: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    server, key = tikv.faulty, "Bank.A:many"
    async with gates(tikv, 1, gc=False) as (served,):

        async def fill(part: int) -> None:
            fields = range(part * 1000, part * 1000 + 1000)
            assert await surely(served, "HSET", key, *(word for n in fields for word in (f"f{n}", f"value {n}"))) == 1000

        await side_by_side(MANY_FIELDS // 1000, fill)
        txn = await backend(served).engine.begin()
        place = decode(await txn.get(keyspace.meta_key(key.encode())) or b"").outside
        assert place is not None
        for quarter in range(1, 4):
            server.split(backend(served).engine.space.inside(keyspace.fields_from(place.identity, quarter << 46)))
        assert await served.do("HLEN", key) == MANY_FIELDS
        assert await served.do("HGET", key, "f7777") == b"value 7777"
        assert await served.do_all(["HSET", key, "f7777", "x", "new", "y"], ["HDEL", key, "new", "f0"]) == [1, 2]
        found: dict[Reply, Reply] = {}
        cursor: Reply = None
        while cursor != b"0":
            page = await served.do("HSCAN", key, cursor if isinstance(cursor, bytes) else 0, "COUNT", 2000)
            assert isinstance(page, list)
            cursor, words = page
            assert isinstance(words, list)
            found.update(zip(words[::2], words[1::2], strict=True))
        assert found == {b"f%d" % n: b"x" if n == 7777 else b"value %d" % n for n in range(1, MANY_FIELDS)}
        everything = await served.do("HGETALL", key)
        assert isinstance(everything, list)
        assert dict(zip(everything[::2], everything[1::2], strict=True)) == found

        reply = await served.do("COPY", key, "Bank.A:copy")
        assert isinstance(reply, Error)
        assert reply.text.startswith(b"ERR store refuses the command: it would write more than 5000 records")
        for module in ("reads", "group"):
            monkeypatch.setattr(f"kvgate_tikv.{module}.MOST_READ", MANY_FIELDS - 2)
        for command_ in (["HGETALL", key], ["HKEYS", key], ["HVALS", key]):
            before = server.calls().get("KvScan", 0)
            alone, (written, together) = await served.do(*command_), await served.do_all(["SET", "Bank.A:s", 1], command_)
            assert written == OK
            for reply in (alone, together):
                assert isinstance(reply, Error)
                assert reply.text.startswith(b"ERR one command would read more than ")
            assert server.calls().get("KvScan", 0) - before < 10  # a look of the sweeper, at most

        before_del = server.calls()
        assert await served.do("DEL", key) == 1
        after_del = server.calls()
        assert sum(after_del.values()) - sum(before_del.values()) < 30
        assert await served.do_all(["HLEN", key], ["HGET", key, "f1"], ["HSET", key, "f1", "again"]) == [0, None, 1]
        assert await backend(served)._upkeep._sweeper.step() > 100
        assert await served.do("HGETALL", key) == [b"f1", b"again"]


async def test_what_is_not_read_in_time_says_why(tikv: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that takes too long would take as long again; what takes little would not."""
    monkeypatch.setattr("kvgate_tikv.reads.MANY", 150)
    async with gates(tikv, 1) as (served,):
        for fields in (200, 140):
            await served.do("HSET", "Bank.A:h", *(word for n in range(fields) for word in (n, "v")))
            before = tikv.faulty.struck().get("KvScan delay", 0)
            tikv.faulty.fault("delay", "KvScan", ms=200)
            context = CallContext(proto=2, user="default", deadline=trio.current_time() + 0.3)
            (reply,) = await served.backend.execute([command("HGETALL", "Bank.A:h")], context)
            assert tikv.faulty.struck()["KvScan delay"] > before
            tikv.faulty.clear()
            wanted = b"ERR one command would read more than 150 records" if fields == 200 else b"TRYAGAIN "
            assert isinstance(plain(reply), Error)
            assert plain(reply).text.startswith(wanted)  # type: ignore[union-attr]  # an error
            await served.do("DEL", "Bank.A:h")


async def test_values_in_chunks(tikv: Cluster) -> None:
    async with gates(tikv, 1, max_value="1mb") as (served,):
        value = os.urandom(1 << 20)
        assert await served.do("SET", "Bank.A:v", value) == OK
        assert await served.do("GET", "Bank.A:v") == value
        assert await served.do("APPEND", "Bank.A:short", "x" * 40_000) == 40_000
        assert refused(await served.do("APPEND", "Bank.A:v", "more"), b"ERR")


async def test_expiry_goes_by_the_placement_drivers_clock_and_is_swept(tikv: Cluster) -> None:
    server = tikv.faulty
    async with gates(tikv) as (here, there):
        assert await here.do("SET", "Bank.A:k", "v", "EX", 3600) == OK
        assert await there.do("TTL", "Bank.A:k") in (3599, 3600)
        server.step_clock(3_601_000)
        assert await there.do("GET", "Bank.A:k") is None
        engine = backend(here).engine

        async def swept() -> bool:
            txn = await engine.begin()
            return not [*await txn.scan_keys(b"M", b"N", 9), *await txn.scan_keys(b"X", b"Y", 9)]

        await until(swept, 30)
        assert sum(figure(served, "sweeping") for served in (here, there)) == 1


async def test_a_look_for_something_to_sweep_costs_little(tikv: Cluster) -> None:
    server = tikv.faulty
    async with gates(tikv, 1, gc=False) as (served,):
        upkeep = backend(served)._upkeep
        assert not await upkeep._look()
        for number in range(20):
            await served.do("SET", f"Bank.A:{number}", "v", "EX", 3600)

        async def cheap() -> bool:
            """The upkeep of the gate itself may come between."""
            before = server.calls()
            assert not await upkeep._look()
            after = server.calls()
            regions = len(server.regions())
            spent = {name: after[name] - before.get(name, 0) for name in after if name.startswith("Kv")}
            return {name: count for name, count in spent.items() if count} == {"KvScan": spent["KvScan"]} and (
                spent["KvScan"] <= 2 * regions
            )

        await until(cheap)
        server.step_clock(3_601_000)
        await backend(served).engine.timestamp()
        assert await upkeep._look() or upkeep.swept


async def test_records_of_groups_are_swept_after_ten_minutes(tikv: Cluster) -> None:
    server = tikv.faulty
    async with gates(tikv, 1) as (served,):
        await served.do("SET", "Bank.A:k", "v")
        engine, upkeep = backend(served).engine, backend(served)._upkeep

        async def records() -> list[bytes]:
            txn = await engine.begin()
            return await txn.scan_keys(b"R", b"S", 99)

        (mine,) = await records()
        upkeep._first = mine[1]
        assert await upkeep._receipts() == 0
        server.step_clock(601_000)
        await engine.timestamp()
        upkeep._first = mine[1]
        assert await upkeep._receipts() == 1
        assert await records() == []


async def test_another_gate_takes_the_lease_over(tikv: Cluster) -> None:
    prefix = tikv.prefix
    async with gates(tikv, 1, prefix) as (second,):
        async with gates(tikv, 1, prefix) as (first,):
            await until(lambda: figure(first, "sweeping") + figure(second, "sweeping"))
            holder = first if figure(first, "sweeping") else second
            if holder is second:
                assert not figure(first, "sweeping")
        await until(lambda: figure(second, "sweeping"))
        txn = await backend(second).engine.begin()
        assert await txn.get(keyspace.lease_key(b"sweeper")) is not None


async def test_gc_keeps_what_is_there(tikv: Cluster) -> None:
    server = tikv.faulty
    async with gates(tikv, 1) as (served,):
        for number in range(5):
            await served.do("SET", "Bank.A:k", number)
        server.step_clock(1_200_000)
        await backend(served)._upkeep.collect()
        assert await served.do("GET", "Bank.A:k") == b"4"
        assert server.calls()["UpdateGCSafePoint"] >= 1


async def test_a_flush_is_seen_by_the_other_gate_at_once(tikv: Cluster) -> None:
    async with gates(tikv) as (here, there):
        await here.fill("Bank.A:1", "Bank.B:1")
        await there.listing.flush(EVERYTHING, call())
        assert await here.do("EXISTS", "Bank.A:1", "Bank.B:1") == 0
        await here.fill("Bank.A:2")
        assert await there.scan(EVERYTHING) == [b"Bank.A:2"]
