"""One gate for each backend, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Gate
from tests.versioned.gates import BACKENDS, gate_before


@pytest.fixture(scope="module", params=BACKENDS)
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """A gate before the backend of the test's name."""
    with gate_before(request.param) as found:
        yield found
