"""One gate for each backend, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.versioned.gates import BACKENDS, KindOfGate, gate_before


@pytest.fixture(scope="module", params=BACKENDS)
def gate(request: pytest.FixtureRequest) -> Iterator[KindOfGate]:
    """A gate before the backend of the test's name."""
    with gate_before(request.param) as found:
        yield found
