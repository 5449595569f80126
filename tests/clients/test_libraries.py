"""Each client library's check (compat/clients) against a gate before two redis-servers."""

from collections.abc import Iterator

import pytest

from tests.clients.run import CLIENTS, Client, Unavailable, check, prepare
from tests.clients.setting import USER, two_stores, with_user
from tests.support.servers import NO_REDIS, Gate, redis_binary


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with two_stores() as gate:
        yield gate


@pytest.fixture(scope="module")
def gate_with_users() -> Iterator[Gate]:
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with two_stores(USER) as gate:
        yield gate


def works(client: Client, gate: Gate, url: str) -> None:
    try:
        prepare(client)
    except Unavailable as why:
        pytest.skip(f"{client.name}: {why}")
    line = check(client, url)
    assert line.endswith(
        ": ok, strings, pipeline, several, transactions, hashes, expiry, channels, blocking, scanning, scripts"
    )
    gate.check_log()


def named(client: Client) -> str:
    return client.name.replace(" ", "-")


@pytest.mark.parametrize("client", CLIENTS, ids=named)
def test_a_library_does_its_everyday_work(client: Client, gate: Gate) -> None:
    works(client, gate, gate.url)


LOGGING_IN = ("redis-py 4.4.4", "redis-py 8.1.0", "ioredis 6.0.0", "node-redis 6.3.1", "go-redis 9 RESP3", "Lettuce 7.7.0")
"""They send a password in different ways: AUTH, HELLO 3 AUTH, with SETNAME."""


@pytest.mark.parametrize("client", [client for client in CLIENTS if client.name in LOGGING_IN], ids=named)
def test_a_library_logs_in(client: Client, gate_with_users: Gate) -> None:
    works(client, gate_with_users, with_user(gate_with_users.url))
