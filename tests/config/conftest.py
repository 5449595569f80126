"""Adapters of the tests in place of the installed ones."""

import pytest

from tests.config.adapters import Installed, install
from tests.routing.stores import TinyAdapter


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Adapters ``redis`` and ``lmdb`` that check options and hold nothing, and ``broken``, whose import fails."""
    return install(monkeypatch, TinyAdapter("redis"), TinyAdapter("lmdb"))
