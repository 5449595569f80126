"""Adapters of the tests in place of the installed ones."""

import importlib

import pytest

from tests.config.adapters import Installed, install
from tests.routing.stores import TinyAdapter


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Adapters ``redis`` and ``lmdb`` that check options and hold nothing, and ``broken``, whose import fails."""
    return install(monkeypatch, TinyAdapter("redis"), TinyAdapter("lmdb"))


@pytest.fixture
def real_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own adapters, whether this checkout is installed or not."""
    adapters = [importlib.import_module(f"kvgate_{kind}").adapter for kind in ("redis", "kvrocks", "lmdb")]
    install(monkeypatch, *adapters)
