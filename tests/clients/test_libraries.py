"""Each client library's program (compat/clients): redis-py and Tair's library on every backend, the others on one each."""

from collections.abc import Iterator

import pytest

from tests.clients.libraries import CLIENTS, Client, Unavailable, prepare
from tests.clients.run import check
from tests.clients.setting import BACKENDS, Setting, gate_before

EVERYWHERE = ("redis-py 4.4.4 RESP2", "redis-py 8.1.0 RESP3", "tair-py 1.3.7 RESP2")
"""They are quick and have most to say; `make clients` runs all libraries on all backends."""


def pairs() -> Iterator[tuple[str, Client]]:
    """Backend and library, by backend; the others, in the newest protocol of each version, take the backends in turn."""
    newest = {(client.name, client.version): client for client in CLIENTS}
    others = [client for client in newest.values() if client.label not in EVERYWHERE]
    for place, backend in enumerate(BACKENDS):
        yield from ((backend, client) for client in CLIENTS if client.label in EVERYWHERE)
        yield from ((backend, client) for client in others[place :: len(BACKENDS)])


@pytest.fixture(scope="module")
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    with gate_before(request.param) as setting:
        yield setting


@pytest.mark.parametrize(
    ("setting", "client"),
    [pytest.param(backend, client, id=f"{backend}-{client.label.replace(' ', '-')}") for backend, client in pairs()],
    indirect=["setting"],
)
def test_a_library_works_by_its_own_means(setting: Setting, client: Client) -> None:
    try:
        prepare(client, build=False)
    except Unavailable as why:
        pytest.skip(f"{client.label}: {why}")
    result = check(client, setting)
    assert result.failures == {}
    assert setting.gate is not None
    setting.gate.check_log()
