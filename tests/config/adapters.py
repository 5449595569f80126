"""Entry points that tests make."""

import pytest

from tests.routing.stores import TinyAdapter

Installed = dict[str, TinyAdapter]


class Point:
    """As importlib.metadata's EntryPoint, as far as kvgate looks."""

    def __init__(self, name: str, adapter: TinyAdapter | None) -> None:
        self.name = name
        self.value = f"kvgate_{name}:adapter"
        self.adapter = adapter

    def load(self) -> TinyAdapter:
        if self.adapter is None:
            msg = "no module of this name"
            raise ImportError(msg)
        return self.adapter


def install(monkeypatch: pytest.MonkeyPatch, *adapters: TinyAdapter) -> Installed:
    """Make these the only installed ones, and one that cannot be imported."""
    points = [*(Point(adapter.type, adapter) for adapter in adapters), Point("broken", None)]
    # not what it asks: what it has found is kept for the life of the process
    monkeypatch.setattr("kvgate.config.adapters._entry_points", lambda: {point.name: point for point in points})
    return {adapter.type: adapter for adapter in adapters}
