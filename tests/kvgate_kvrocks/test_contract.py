"""The KvRocks adapter keeps the contract: over redis-server, which stands in for what both share, and over a KvRocks.

``KVROCKS_URL=redis://:token@host:port make test`` names a real one. The namespace of its token must be empty (a test fails
before it touches anything when it is not), and is emptied after every test.
"""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kvgate_kvrocks import adapter
from tests.contract.backend import EVERYTHING, BackendContract, ListingContract, Served, call, serving
from tests.contract.weighing import WeighingContract
from tests.support.servers import RedisServer

KVROCKS_URL = os.environ.get("KVROCKS_URL", "")


class TestOverRedis(BackendContract, ListingContract, WeighingContract):
    @pytest.fixture(params=[1, 2], ids=["one shard", "two shards"])
    async def served(
        self, request: pytest.FixtureRequest, redis_servers: "Callable[..., RedisServer]"
    ) -> AsyncIterator[Served]:
        groups = {str(slot): redis_servers(password="token").url for slot in range(request.param)}
        backend = adapter.prepare("rocks", {"groups": groups, "slots": request.param}, Path())
        async with serving(backend) as served:
            yield served


@pytest.mark.skipif(not KVROCKS_URL, reason="no KvRocks: set KVROCKS_URL to test against a real one")
class TestKvRocks(BackendContract, ListingContract, WeighingContract):
    @pytest.fixture
    async def served(self) -> AsyncIterator[Served]:
        async with serving(adapter.prepare("rocks", {"url": KVROCKS_URL}, Path())) as served:
            assert await served.listing.size(EVERYTHING, call()) == 0, "KVROCKS_URL names a namespace that holds keys"
            yield served
            await served.listing.flush(EVERYTHING, call())
