"""The Redis adapter keeps the contract, on one shard, on two, and where its commands have other names."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kvgate_redis import adapter
from tests.contract.backend import BackendContract, ListingContract, Served, serving
from tests.contract.weighing import WeighingContract
from tests.support.servers import RedisServer

NAMED_APART = ["--rename-command", "FLUSHDB", "fl", "--rename-command", "SCAN", "sc", "--rename-command", "SET", "st"]


def one(servers: "Callable[..., RedisServer]") -> dict[str, Any]:
    return {"url": servers().url}


def two(servers: "Callable[..., RedisServer]") -> dict[str, Any]:
    return {"groups": {"0-511": servers().url, "512-1023": servers(password="p").url}}


def renamed(servers: "Callable[..., RedisServer]") -> dict[str, Any]:
    return {"url": servers(config=NAMED_APART).url, "rename": {"FLUSHDB": "fl", "SCAN": "sc", "SET": "st"}}


def without_resp3(servers: "Callable[..., RedisServer]") -> dict[str, Any]:
    return {"url": servers(unix=True).url + "?db=3", "resp3": False}


class TestRedis(BackendContract, ListingContract, WeighingContract):
    @pytest.fixture(params=[one, two, renamed, without_resp3], ids=lambda make: make.__name__)
    async def served(
        self, request: pytest.FixtureRequest, redis_servers: "Callable[..., RedisServer]"
    ) -> AsyncIterator[Served]:
        async with serving(adapter.prepare("cache", request.param(redis_servers), Path())) as served:
            yield served
