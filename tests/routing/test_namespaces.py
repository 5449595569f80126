"""Namespaces of keys, channels and patterns."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.routing.namespaces import KEY_EVENTS, Namespace, Namespaces, check_name

RULES = {"Ads.Profile": "profile", "Ads.*": "cache", "Bank.Ledger": "ledger", "Bank.Ledger.V2": "ledger", "default": "local"}
ALL = Namespaces(Namespace(name=name, rule=name, backend=backend, max_value=7) for name, backend in RULES.items())
NO_DEFAULT = Namespaces(rule for rule in ALL.rules if rule.name != "default")


def shown(namespace: Namespace | None) -> tuple[str, str, str] | None:
    return None if namespace is None else (namespace.name, namespace.rule, namespace.backend)


DEFAULT = ("default", "default", "local")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"Ads.Profile:1", ("Ads.Profile", "Ads.Profile", "profile")),
        (b"Ads.Profile:", ("Ads.Profile", "Ads.Profile", "profile")),
        (b"Ads.Profile:1:2", ("Ads.Profile", "Ads.Profile", "profile")),
        (b"Ads.Other:1", ("Ads.Other", "Ads.*", "cache")),
        (b"Ads.Profile.X:1", ("Ads.Profile.X", "Ads.*", "cache")),
        (b"Bank.Ledger.V2:1", ("Bank.Ledger.V2", "Bank.Ledger.V2", "ledger")),
        (b"Bank.Other:1", DEFAULT),
        (b"Ads.Profile", DEFAULT),
        (b"ads.profile:1", DEFAULT),
        (b"Ads:1", DEFAULT),
        (b"Adser.X:1", DEFAULT),
        (b":Ads.Profile:1", DEFAULT),
        (b"", DEFAULT),
        (b":", DEFAULT),
        (b"default:1", DEFAULT),
        (b"*:1", DEFAULT),
        (b"Ads." + b"x" * 60 + b":1", ("Ads." + "x" * 60, "Ads.*", "cache")),
        (b"Ads." + b"x" * 61 + b":1", DEFAULT),
        (b"Ads.\xff:1", ("Ads.\udcff", "Ads.*", "cache")),
        (b"{Ads.Profile}:1", DEFAULT),
    ],
)
def test_keys(key: bytes, expected: tuple[str, str, str]) -> None:
    for _ in range(2):  # the second time, a wildcard's name is known
        assert shown(ALL.of(key)) == expected
    assert shown(NO_DEFAULT.of(key)) == (None if expected == DEFAULT else expected)


def test_a_wildcard_s_names_have_its_settings() -> None:
    found = ALL.of(b"Ads.Other:1")
    assert found is not None
    assert found.max_value == 7
    assert ALL.of(b"Ads.Other:2") is found


def test_names_seen_are_bounded() -> None:
    namespaces = Namespaces([Namespace(name="Ads.*", rule="Ads.*", backend="b")])
    for number in range(70_000):
        assert namespaces.of(b"Ads.%d:1" % number) is not None
    assert len(namespaces._names) <= 65_536


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ads.Profile", ("Ads.Profile", "Ads.Profile", "profile")),
        ("Ads.Other", ("Ads.Other", "Ads.*", "cache")),
        ("Ads.*", ("Ads.*", "Ads.*", "cache")),
        ("default", DEFAULT),
        ("Nope.X", None),
        ("Bank.*", None),
        ("", None),
    ],
)
def test_names(name: str, expected: tuple[str, str, str] | None) -> None:
    assert shown(ALL.of_name(name)) == expected


def test_prefixes() -> None:
    assert [rule.prefix for rule in ALL.rules] == [b"Ads.Profile:", b"Ads.", b"Bank.Ledger:", b"Bank.Ledger.V2:", None]
    assert KEY_EVENTS.prefix is None


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (b"Ads.Profile:news", "Ads.Profile"),
        (b"news", "default"),
        (b"__keyspace@0__:Ads.Profile:1", "Ads.Profile"),
        (b"__keyspace@15__:Ads.X:1", "Ads.X"),
        (b"__keyspace@0__:plain", "default"),
        (b"__keyspace@0__:", "default"),
        (b"__keyevent@0__:del", "*"),
        (b"__keyevent@0__:", "*"),
        (b"__keyspace@x__:Ads.Profile:1", "default"),
        (b"__keyspace@__:Ads.Profile:1", "default"),
        (b"__keyspace@0_:Ads.Profile:1", "default"),
        (b"__keyspace@0", "default"),
    ],
)
def test_channels(channel: bytes, expected: str) -> None:
    found = ALL.of_channel(channel)
    assert found is not None
    assert found.name == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (b"Ads.Profile:*", "Ads.Profile"),
        (b"Ads.Profile:", "Ads.Profile"),
        (b"Ads\\.Profile:[ab]", "Ads.Profile"),
        (b"Ads.Profile:?", "Ads.Profile"),
        (b"Ads.Profile*", None),
        (b"Ads.Profile*:x", None),
        (b"Ads.Profil?:x", None),
        (b"Ads.[P]rofile:x", None),
        (b"*", None),
        (b"", "default"),
        (b"news", "default"),
        (b"news*", None),
        (b"news:*", "default"),
        (b"new\\*s", "default"),
        (b"\\", "default"),
        (b"__keyspace@0__:Ads.Profile:*", "Ads.Profile"),
        (b"__keyspace@0__:Ads.Profile*", None),
        (b"__keyspace@0__:*", None),
        (b"__keyspace@*__:Ads.Profile:1", None),
        (b"__key*", None),
        (b"__keyevent@0__:*", "*"),
        (b"__keyevent@*__:del", None),
    ],
)
def test_patterns(pattern: bytes, expected: str | None) -> None:
    found = ALL.of_pattern(pattern)
    assert (found and found.name) == expected


WORDS = st.sampled_from(
    ["Ads", ".", "Profile", ":", "x", "__keyspace@", "__keyevent@", "0", "__:", "*", "?", "[ab]", "[^a]", "\\*", "\\:", "@"]
)


def _regex(pattern: str) -> "re.Pattern[str]":
    """Redis' glob in the terms of fnmatch, for patterns made of WORDS."""
    return re.compile(fnmatch.translate(pattern.replace("\\*", "[*]").replace("\\:", ":").replace("[^", "[!")))


@given(st.lists(WORDS, max_size=7).map("".join), st.lists(st.sampled_from("ab:.*x_0"), max_size=8))
def test_what_matches_a_pattern_lies_in_its_namespace(pattern: str, letters: list[str]) -> None:
    inside = ALL.of_pattern(pattern.encode())
    if inside is None:
        return
    fill = iter([*letters, *"a" * 20])

    def one(match: "re.Match[str]") -> str:
        word = match[0]
        if word.startswith("\\"):
            return word[1:]
        if word.startswith("["):
            return "b"
        return next(fill) if word == "?" else "".join(letters)

    channel = re.sub(r"\\.|\[\^?ab?\]|\?|\*", one, pattern)
    assert _regex(pattern).match(channel), (pattern, channel)
    assert ALL.of_channel(channel.encode()) is inside or shown(ALL.of_channel(channel.encode())) == shown(inside)


@pytest.mark.parametrize("name", ["default", "Ads.Profile", "Ads.*", "A.B.C", "Ads-1.x_y", "Ä.ö", "A." + "x" * 62])
def test_good_names(name: str) -> None:
    assert check_name(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "Ads", "Ads:x", "Ads.x:y", "A.B.*", "*", "*.x", "Ads.P*", ".*", ".x", "A b.c", "A.\n", "A.?", "A.[x]", "A.{x}",
     "A.\\x", 'A."x', "A." + "x" * 63, "Ä." + "ö" * 31, "A.\x7f"],
)
def test_bad_names(name: str) -> None:
    assert check_name(name)
