"""What a ``[backends.NAME]`` of type tikv may say, and what is said where the client library is missing."""

from pathlib import Path
from typing import Any

import pytest

from kvgate.errors import ConfigurationError
from kvgate_tikv import adapter, backend, bridge
from kvgate_tikv.bridge import NotInstalled


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no client library."""
    monkeypatch.setattr(backend, "load", lambda: None)


def mistakes(**options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        adapter.prepare("ledger", options, Path())
    return caught.value.mistakes


def test_defaults() -> None:
    made = adapter.prepare("ledger", {"pd": ["a:2379", "b:2379"]}, Path())
    assert (made.name, made.pd, made.prefix, made.max_value) == ("ledger", ("a:2379", "b:2379"), "kvg1", 128 << 10)
    assert not made.statistics().up


def test_the_order_of_placement_drivers_is_no_other_place() -> None:
    first, second, third = (
        adapter.prepare("l", options, Path()).location
        for options in ({"pd": ["a:1", "b:1"]}, {"pd": ["b:1", "a:1"]}, {"pd": ["a:1", "b:1"], "prefix": "other"})
    )
    assert first == second != third


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, 'pd: names the placement drivers, as in pd = ["127.0.0.1:2379"]'),
        ({"pd": "a:1"}, 'pd: must be a list of texts: ["…"]'),
        ({"pd": ["a"]}, 'pd: "a" is no host:port'),
        ({"pd": ["a:x"]}, 'pd: "a:x" is no host:port'),
        ({"pd": [":1"]}, 'pd: ":1" is no host:port'),
        ({"pd": ["a:1"], "prefix": ""}, "prefix: must have 1 to 32 bytes"),
        ({"pd": ["a:1"], "prefix": "x" * 33}, "prefix: must have 1 to 32 bytes"),
        ({"pd": ["a:1"], "max_value": "2mb"}, "max_value: must be at most 1mb: the client library copies values byte by byte"),
    ],
)
def test_mistakes(options: dict[str, Any], wanted: str) -> None:
    assert mistakes(**options) == [wanted]


def test_unknown_keys_are_mistakes() -> None:
    (mistake,) = mistakes(pd=["a:1"], prefxi="x")
    assert mistake.startswith("prefxi: ")


def test_without_the_client_library_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("kvgate_tikv.bridge.importlib.import_module", missing)
    monkeypatch.setattr(backend, "load", bridge.load)
    (mistake,) = mistakes(pd=["a:1"])
    assert mistake.startswith("type: tikv needs the package tikv-client 0.0.4, which exists for CPython 3.11 on Linux x86_64")
    with pytest.raises(NotInstalled):
        bridge.load()
