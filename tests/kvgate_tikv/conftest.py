"""One cluster for all tests of a module; each takes a prefix of its own in it."""

from collections.abc import Iterator

import pytest

from tests.tikv.cluster import Cluster, cluster


@pytest.fixture(scope="module")
def tikv() -> Iterator[Cluster]:
    """A running cluster."""
    with cluster() as found:
        yield found


@pytest.fixture(autouse=True)
def no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What one test orders does not strike the next one."""
    yield
    if "tikv" in request.fixturenames:
        server = request.getfixturevalue("tikv").server
        if server is not None and server.running:
            server.clear()
            server.resume_pd()
