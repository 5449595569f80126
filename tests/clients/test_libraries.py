"""Each client library's check (compat/clients) against a gate before two redis-servers."""

from collections.abc import Iterator

import pytest

from compat.clients.run import CLIENTS, Client, Unavailable, check, prepare
from compat.clients.setting import two_stores
from tests.support.servers import NO_REDIS, Gate, redis_binary


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with two_stores() as gate:
        yield gate


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name.replace(" ", "-"))
def test_a_library_does_its_everyday_work(client: Client, gate: Gate) -> None:
    try:
        prepare(client)
    except Unavailable as why:
        pytest.skip(f"{client.name}: {why}")
    line = check(client, gate.url)
    assert line.endswith(
        ": ok, strings, pipeline, several, transactions, hashes, expiry, channels, blocking, scanning, scripts"
    )
    gate.check_log()
