"""Each test over a running store runs with a journal and without one, unless it is about one of the two, or long."""

from inspect import iscoroutinefunction

import pytest

from tests.kvgate_lmdb import store

WAYS = {"journal": True, "direct": False}


def pytest_configure(config: pytest.Config) -> None:
    """The markers of these tests."""
    config.addinivalue_line("markers", "direct: about commits of LMDB, so without a journal")
    config.addinivalue_line("markers", "journal: about what only a store with a journal does")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both ways for what is asked of a store; by lot, which takes long, with a journal only."""
    if not iscoroutinefunction(metafunc.function):
        return
    if metafunc.definition.get_closest_marker("direct"):
        ways = ["direct"]
    elif metafunc.definition.get_closest_marker("journal") or "by_lot" in metafunc.function.__name__:
        ways = ["journal"]
    else:
        ways = [*WAYS]
    metafunc.parametrize("way", ways, indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """``journal`` or ``direct``: what `store.running` and the workers of the tests make; ``journal`` where nobody asks."""
    if not hasattr(request, "param"):
        return "journal"
    monkeypatch.setenv("KVGATE_TEST_JOURNAL", str(int(WAYS[request.param])))
    monkeypatch.setattr(store, "journaled", WAYS[request.param])
    return str(request.param)
