"""Reading the limits of namespaces and users."""

from pathlib import Path

import pytest

from kvgate.config import parse
from kvgate.errors import ConfigurationError
from kvgate.policy.limits import Expiry, Limits

BASE = '[backends.a]\ntype = "redis"\nurl = "redis://127.0.0.1:1"\n[namespaces."A.B"]\nbackend = "a"\n'


def limits(text: str) -> Limits | None:
    return parse((BASE + text).encode(), Path()).namespaces.rules[0].limits


def test_all_of_them() -> None:
    found = limits(
        'max_field = "1kb"\nmax_elements = 100\nmax_reply = "1mb"\nmax_connections = 5\n'
        'forbidden = ["KEYS", "-@slow", "+get"]\n'
        'types = ["string", "hash"]\nkey_pattern = \'A\\.B:\\d+\'\nttl_default = "60s"\nttl_max = "1h"\nttl_jitter = 0.1\n'
    )
    assert found == Limits(
        max_field=1024,
        max_elements=100,
        max_reply=1024 * 1024,
        max_connections=5,
        forbidden=("-KEYS", "-@slow", "+get"),
        types=frozenset({"string", "hash"}),
        key_pattern="A\\.B:\\d+",
        expiry=Expiry(default=60_000, longest=3_600_000, jitter=0.1),
    )
    assert found is not None
    assert found.matches is not None
    assert found.matches(b"A.B:12")
    for other in (b"A.B:", b"A.B:x", b"A.B:1\n", b"xA.B:1", b"A.B:\xff"):
        assert not found.matches(other)


def test_none_of_them() -> None:
    assert limits("") is None
    assert limits("max_key = 10") is None


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("max_elements = 0", "max_elements: must be a whole number of at least 1"),
        ('max_reply = "1k"', "max_reply: must be at least 1024 bytes"),
        ('forbidden = ["nosuch"]', 'forbidden: "-nosuch": there is no command NOSUCH'),
        ('forbidden = [""]', 'forbidden: "-" is no rule'),
        ('forbidden = ["+get"]', "forbidden: begins by allowing"),
        ('types = ["zsets"]', 'types: "zsets" is none of string, hash'),
        ("types = []", "types: names none"),
        ('key_pattern = "("', "key_pattern: no regular expression as RE2 takes it: missing )"),
        ('key_pattern = "(a)\\\\1"', "key_pattern: no regular expression as RE2 takes it"),
        ('key_pattern = "((a{1,1000}){1,1000}){1,1000}"', "key_pattern: no regular expression as RE2 takes it"),
        ('ttl_default = "2s"\nttl_max = "1s"', "ttl_default: is above ttl_max"),
        ("ttl_jitter = 0.1", "ttl_jitter: spreads nothing"),
        ("ttl_max = 1000\nttl_jitter = 1", "ttl_jitter: is a share"),
        ("ttl_max = 0", "ttl_max: must be at least"),
    ],
)
def test_mistakes(text: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        limits(text)
    assert f'namespaces."A.B".{mistake}' in str(caught.value)


def test_a_hostile_key_takes_no_longer_than_another() -> None:
    """What makes a backtracking matcher take years is done in linear time."""
    found = limits("key_pattern = 'A\\.B:(a+)+b'")
    assert found is not None
    assert found.matches is not None
    assert not found.matches(b"A.B:" + b"a" * 100_000)
