"""Versioned hashes on TiKV: writers of two gates that compare versions; fields that expire by its clock, and are swept."""

import functools

import trio

from kvgate.wire.reply import Error, Simple
from tests.contract.backend import EVERYTHING, Served, call
from tests.kvgate_tikv.gates import figure, gates, surely, until
from tests.tikv.cluster import Cluster

STALE = Error(b"ERR update version is stale")
H = "Bank.A:h"


async def test_writers_of_two_gates_that_compare_versions_lose_nothing(tikv: Cluster) -> None:
    async with gates(tikv) as both:
        await both[0].do("EXHMSET", H, *(word for n in range(200) for word in (f"f{n}", n)))
        await both[0].do("EXHSET", H, "n", 0)

        async def writer(number: int) -> None:
            served, done = both[number % 2], 0
            while done < 10:
                pair = await served.do("EXHGETWITHVER", H, "n")
                assert isinstance(pair, list)
                value, version = pair
                assert isinstance(value, bytes)
                assert isinstance(version, int)
                told = await surely(served, "EXHSET", H, "n", int(value) + 1, "VER", version, "EX", 100)
                assert told in (STALE, 0)
                done += told == 0

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(writer, number)
        for served in both:
            assert await served.do("EXHGETWITHVER", H, "n") == [b"40", 41]
            assert await served.do("EXHLEN", H) == 201


async def gone(served: Served) -> bool:
    """Whether the field has expired for this gate."""
    return await served.do("EXHEXISTS", H, "soon") == 0


async def test_fields_expire_and_are_swept(tikv: Cluster) -> None:
    server = tikv.faulty
    async with gates(tikv) as both:
        for served in both:
            await served.do("EXHMSET", H, *(word for n in range(200) for word in (f"f{n}", n)))
        for key in (H, "Bank.A:small", "Bank.A:gone"):
            await both[0].do("EXHSET", key, "soon", "v" * 40_000 if key == H else "v", "EX", 60)
        await both[0].do("EXHSET", "Bank.A:small", "stays", "v")
        await both[0].do("EXHSET", "Bank.A:gone", "too", "v", "EX", 50)
        before = sum(figure(served, "swept_records") for served in both)
        server.step_clock(60_001)
        for served in both:
            await until(functools.partial(gone, served))  # a gate's clock is the cluster's, of a moment ago
            assert await served.do("EXHLEN", H) == 200
            assert await served.do("EXHGETALL", "Bank.A:small") == [b"stays", b"v"]
            assert await served.do("TYPE", "Bank.A:gone") == Simple(b"none")
            assert await served.listing.size(EVERYTHING, call()) == 2
        await until(lambda: sum(figure(served, "swept_records") for served in both) >= before + 3)
        assert await both[1].do("EXHMGET", H, "soon", "f7") == [None, b"7"]
        assert await both[1].do("EXHSET", H, "soon", "again") == 1
        assert await both[0].do("EXHGETWITHVER", H, "soon") == [b"again", 1]
