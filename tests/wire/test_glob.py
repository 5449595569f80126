"""Glob patterns against those of a real server."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate.wire.glob import glob_matcher, literal_prefix
from tests.support.resp import Resp
from tests.support.servers import RedisServer

EVERY_SIGN = st.text(alphabet="ab*?[]^-\\c", max_size=9).map(str.encode)
TEXT = st.text(alphabet="abc*?[]^-\\", min_size=1, max_size=6).map(str.encode)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(pattern=EVERY_SIGN, texts=st.lists(TEXT, min_size=1, max_size=8, unique=True))
def test_the_same_keys_match_as_in_redis(pattern: bytes, texts: list[bytes], module_redis: RedisServer) -> None:
    with Resp(module_redis.address) as client:
        client.cmd("FLUSHALL")
        for text in texts:
            client.cmd("SET", text, "")
        said = sorted(client.cmd("KEYS", pattern))
    matches = glob_matcher(pattern)
    assert sorted(text for text in texts if matches(text)) == said
    assert all(text.startswith(literal_prefix(pattern)) for text in said)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (b"h[^e]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"[z-a]", b"m", True),
        (b"[]", b"", False),
        (b"[]", b"]", False),
        (b"[^]", b"x", True),
        (b"[ab", b"b", True),
        (b"a[b-", b"a-", True),
        (b"\\*", b"*", True),
        (b"\\*", b"x", False),
        (b"[\\]]", b"]", True),
        (b"a\\", b"a\\", True),
        (b"*", b"", True),
        (b"?", b"", False),
        (b"", b"", True),
        (b"", b"x", False),
        (b"a*", b"b", False),
        (b"*a*b", b"xaxbb", True),
        (b"\xff?", b"\xff\x00", True),
        (b"A*", b"ab", False),
    ],
)
def test_patterns(pattern: bytes, text: bytes, *, matches: bool) -> None:
    assert glob_matcher(pattern)(text) is matches


@pytest.mark.parametrize(("pattern", "text"), [(b"GE?", b"get"), (b"[G-H]et", b"GET"), (b"get", b"GeT"), (b"\\GE*", b"get")])
def test_case_may_be_ignored(pattern: bytes, text: bytes) -> None:
    assert glob_matcher(pattern, ignore_case=True)(text)
    assert not glob_matcher(pattern, ignore_case=True)(b"x" + text)


def test_many_stars_cost_no_more_than_length_times_length() -> None:
    """A matcher that tries every star again for every byte would not come back from this."""
    assert not glob_matcher(b"*a" * 200 + b"b")(b"a" * 2000)
    assert glob_matcher(b"*a" * 200)(b"a" * 2000)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (b"Ads.Profile:*", b"Ads.Profile:"),
        (b"a\\*b?", b"a*b"),
        (b"*", b""),
        (b"plain", b"plain"),
        (b"a[b]", b"a"),
        (b"a\\", b"a\\"),
    ],
)
def test_literal_prefix(pattern: bytes, prefix: bytes) -> None:
    assert literal_prefix(pattern) == prefix
