"""Fixtures of the tests of the gate's own commands."""

from collections.abc import Iterator

import pytest

from tests.admin.rooms import CONFIG, OPEN_CONFIG, Room, open_room


@pytest.fixture
def room() -> Iterator[Room]:
    """A gate with the users ads (sees Ads.*), bank (Bank.*) and boss (everything, all commands)."""
    with open_room(CONFIG) as opened:
        yield opened


@pytest.fixture
def open_gate() -> Iterator[Room]:
    """A gate without users."""
    with open_room(OPEN_CONFIG) as opened:
        yield opened
