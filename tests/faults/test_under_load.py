"""A store that is killed, stopped or paused and comes back, under many pipelining clients who know what they were told."""

import pytest

from tests.faults.load import load
from tests.faults.world import BUDGET, SLACK, over
from tests.support.servers import Gates, RedisServer, RedisServers

DURABLE = ["--appendonly", "yes", "--appendfsync", "always"]
CLIENTS = 12
NEIGHBOURS = 2


@pytest.fixture
def stores(redis_servers: RedisServers) -> tuple[RedisServer, RedisServer]:
    """One that will fail and keeps every acknowledged write, and one that stays up."""
    return redis_servers(config=DURABLE), redis_servers()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_store_ends_and_comes_back(stores: tuple[RedisServer, RedisServer], gates: Gates, end: str) -> None:
    failing, healthy = stores
    gate = gates(over(a=failing.url, b=healthy.url))
    with load(gate, "A.T", CLIENTS) as there, load(gate, "B.T", NEIGHBOURS) as elsewhere:
        for _ in range(3):
            there.flows()
            getattr(failing, end)()
            there.feels()
            elsewhere.flows()
            failing.start()
        there.flows()
    there.check(failing)
    elsewhere.check(healthy)
    assert not elsewhere.errors
    assert elsewhere.slowest < BUDGET
    assert there.slowest < BUDGET + SLACK


def test_a_store_is_silent_and_comes_back(stores: tuple[RedisServer, RedisServer], gates: Gates) -> None:
    failing, healthy = stores
    gate = gates(over(a=failing.url, b=healthy.url))
    with load(gate, "A.T", CLIENTS) as there, load(gate, "B.T", NEIGHBOURS) as elsewhere:
        there.flows()
        failing.pause()
        there.feels()
        elsewhere.flows()
        failing.resume()  # before the connection is given up: the late replies are dropped, the others fit
        there.flows()
    there.check(failing)
    elsewhere.check(healthy)
    assert any(text.endswith(f"did not answer within {BUDGET} s") for text in there.errors)
    assert not elsewhere.errors
    assert elsewhere.slowest < BUDGET
    assert there.slowest < BUDGET + SLACK
