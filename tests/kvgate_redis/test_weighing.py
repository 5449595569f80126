"""What is told of a store that is too large to be looked through: a sample stands for the rest, and says that it does."""

import pytest

from kvgate.metrics.weights import Weights
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.wire.reply import Reply, decode
from kvgate.wire.request import encode_request
from kvgate_redis import weighing
from kvgate_redis.weighing import KeyWeighing
from tests.support.servers import RedisServer

SPACES = Namespaces([Namespace("Ads.P", "Ads.P", "a"), Namespace("Ads.Q", "Ads.Q", "a")])


async def look(store: RedisServer, *, counts: bool = True) -> tuple[Weights, list[bytes]]:
    asked: list[bytes] = []
    with store.client() as client:

        async def ask(shard: int, requests: object) -> list[Reply]:
            assert shard == 0
            replies = []
            for request in requests:  # type: ignore[attr-defined]  # a sequence of requests
                asked.append(request[0])
                client.send_raw(encode_request(request))
                replies.append(decode(client.read_one()))
            return replies

        weights = Weights(SPACES.of)
        await KeyWeighing(ask, counts=counts).weigh(0, weights)
    return weights, asked


@pytest.fixture
def filled(redis_server: RedisServer) -> RedisServer:
    with redis_server.client() as client:
        for number in range(6000):
            client.send_raw(encode_request([b"SET", b"Ads.%c:%d" % (b"PPPQ"[number % 4], number), b"x" * 50]))
        for _ in range(6000):
            client.read_one()
    return redis_server


@pytest.mark.parametrize("counts", [True, False])
async def test_few_of_many_are_asked_for_their_size(
    filled: RedisServer, monkeypatch: pytest.MonkeyPatch, *, counts: bool
) -> None:
    monkeypatch.setattr(weighing, "MOST_SIZES", 300)
    whole = (await look(filled))[0] if counts else None
    weights, asked = await look(filled, counts=counts)
    assert weights.partly
    ads = weights.shares["Ads.P"]
    assert ads.seen == weights.keys(ads) == 4500
    assert weights.shares["Ads.Q"].seen == 1500
    assert 150 <= asked.count(b"MEMORY") <= 1600
    each = weights.bytes(ads) / 4500
    assert 100 < each < 180
    assert whole is None or whole.bytes(whole.shares["Ads.P"]) == pytest.approx(weights.bytes(ads), rel=0.05)


async def test_beyond_the_limit_the_rest_is_taken_to_be_alike(filled: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "MOST_KEYS", 1500)
    weights, asked = await look(filled)
    assert weights.partly
    assert 1500 <= weights.walked < 2600
    assert asked.count(b"SCAN") <= 4
    assert weights.keys(weights.shares["Ads.P"]) == pytest.approx(4500, rel=0.1)
    assert weights.keys(weights.shares["Ads.Q"]) == pytest.approx(1500, rel=0.25)
