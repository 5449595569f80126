"""Budgets that processes share: the store's arithmetic against ours, and a store that goes away and comes back."""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from kvgate.backend import Endpoint
from kvgate.policy.buckets import Ask, Pool, Share, Standing
from kvgate.server.budget import Away, Fetching, SharedRedis
from tests.support.ports import free_port
from tests.support.servers import RedisServer, RedisServers


def endpoint(server: RedisServer, **more: object) -> Endpoint:
    return Endpoint(f"redis://{server.host}:{server.port}", server.host, server.port, **more)  # type: ignore[arg-type]


def run(function: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        with trio.fail_after(10):
            await function()

    trio.run(within)


def test_the_store_gives_what_the_arithmetic_says(redis_server: RedisServer) -> None:
    """Every grant of a few hundred, by the store's own clock, for buckets in all states."""
    seeded = random.Random(7)
    rates = {f"user:u{n}:operations": (10.0 ** seeded.randint(0, 6), seeded.uniform(0.02, 3)) for n in range(20)}

    async def compare() -> None:
        places = [SharedRedis(endpoint(redis_server), "test:") for _ in range(2)]
        pool, origin = Pool(), 0
        for turn in range(150):
            keys = seeded.sample(sorted(rates), seeded.randint(1, 8))
            asks: list[Ask] = []
            for key in keys:
                rate, burst = rates[key]
                capacity = max(1.0, rate * burst)
                asks.append((key, rate, capacity, seeded.uniform(0, capacity / 2), seeded.choice([0.0, 0.0, capacity / 7])))
            granted, members, now = await places[turn % 2].ask(asks)
            origin = origin or now
            assert granted == pytest.approx(pool.take(asks, (now - origin) / 1e6), rel=1e-6, abs=1e-6)
            assert members == min(2, turn + 1)
        for place in places:
            place.close()

    run(compare)
    with redis_server.client() as client:
        keys = client.cmd("KEYS", "*")
        assert all(key.startswith(b"{test:}:") for key in keys)
        assert all(0 < client.cmd("PTTL", key) <= 11_000 for key in keys), "nothing of ours stays"


def test_a_bucket_that_is_broken_in_the_store_is_a_full_one(redis_server: RedisServer) -> None:
    async def ask() -> None:
        place = SharedRedis(endpoint(redis_server), "test:")
        assert (await place.take([("a", 10, 10, 4, 0)]))[0] == [4]
        redis_server.cmd("SET", "{test:}:a", "what")
        assert (await place.take([("a", 10, 10, 99, 0)]))[0] == [10]
        redis_server.cmd("DEL", "{test:}:a")
        redis_server.cmd("LPUSH", "{test:}:a", "what")
        with pytest.raises(Away, match="WRONGTYPE"):
            await place.take([("a", 10, 10, 99, 0)])
        redis_server.cmd("DEL", "{test:}:a")
        assert (await place.take([("a", 10, 10, 99, 0)]))[0] == [10], "the connection goes on"
        place.close()

    run(ask)


def test_the_password_is_read_from_its_file_at_every_connection(redis_servers: RedisServers, tmp_path: Path) -> None:
    server = redis_servers(password="right")
    secret = tmp_path / "secret"

    async def ask() -> None:
        place = SharedRedis(endpoint(server, password_file=secret), "test:")
        secret.write_text("wrong\n")
        with pytest.raises(Away) as caught:
            await place.take([("a", 10, 10, 4, 0)])
        assert "wrong" not in caught.value.why.replace("WRONGPASS", "")
        secret.write_text("right\n")
        assert (await place.take([("a", 10, 10, 4, 0)]))[0] == [4]
        place.close()

    run(ask)


def test_a_store_that_stops_answering_is_away_and_its_late_answer_is_nobodys(redis_server: RedisServer) -> None:
    async def ask() -> None:
        place = SharedRedis(endpoint(redis_server), "test:")
        await place.take([("a", 1, 100, 10, 0)])
        redis_server.pause()
        with pytest.raises(Away, match="no answer"):
            await place.take([("a", 1, 100, 20, 0)])
        redis_server.resume()
        while True:  # it may count as away for a moment
            try:
                granted, _ = await place.take([("b", 1, 100, 33, 0)])
                break
            except Away:
                await trio.lowlevel.checkpoint()
        assert granted == [33]
        place.close()

    run(ask)


def test_nobody_there_is_away() -> None:
    async def ask() -> None:
        place = SharedRedis(Endpoint("redis://there", "127.0.0.1", free_port()), "test:")
        with pytest.raises(Away, match="redis://there: connection refused"):
            await place.take([("a", 1, 100, 10, 0)])

    run(ask)


class MadeUp:
    """A place that answers as the test says: with everything, or not."""

    name = "made up"
    connected = True

    def __init__(self) -> None:
        self.is_away = False
        self.asked: list[Sequence[Ask]] = []
        self.asked_thrice = trio.Event()
        self.closed = False

    async def take(self, asks: Sequence[Ask]) -> tuple[list[float], int]:
        self.asked.append(asks)
        if len(self.asked) == 3:
            self.asked_thrice.set()
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Away("made up, too")
        return [ask[3] for ask in asks], 3

    def close(self) -> None:
        self.closed = True


def test_only_who_wants_is_asked_for_and_all_in_one_question() -> None:
    async def fetch() -> None:
        place, standing, told = MadeUp(), Standing(), list[str]()
        fetching = Fetching(place, standing, told.extend)
        shares = {key: Share(100, 100, 10, standing, 0.0) for key in ("a", "b", "c")}
        shares["c"].level = 50
        for key, share in shares.items():
            fetching.hungry(key, share, lambda: 20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetching.run)
            await trio.testing.wait_all_tasks_blocked()
            assert [[ask[0] for ask in asks] for asks in place.asked] == [["a", "b"]]
            assert told == ["a", "b"]
            assert (shares["a"].level, shares["c"].level, standing.members) == (20, 50, 3)
            await trio.testing.wait_all_tasks_blocked()
            assert len(place.asked) == 1, "nobody wants more"
            fetching.stop()
        assert place.closed

    run(fetch)


def test_a_place_that_is_away_is_said_once_and_asked_again_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def fetch() -> None:
        place, standing = MadeUp(), Standing()
        place.is_away = True
        back = trio.Event()
        fetching = Fetching(place, standing, lambda _: None if standing.away else back.set())
        share = Share(100, 100, 10, standing, 0.0)
        fetching.hungry("a", share, lambda: 20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetching.run)
            await place.asked_thrice.wait()
            assert standing.away
            assert fetching.failures == 2
            assert share.owed > 0, "it goes by its own part"
            place.is_away = False
            await back.wait()
            assert share.owed == 0, "which was told"
            assert place.asked[-1][0][4] > 0
            fetching.stop()

    run(fetch)
    assert [record.message for record in caplog.records] == ["shared_rates_away", "shared_rates_back"]
