"""Reading a table of the configuration."""

from pathlib import Path

import pytest

from kvgate.policy.options import Options, did_you_mean, key_path, parse_seconds, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("500ms", 0.5), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), (250, 0.25), (0, 0), ("0.1s", 0.1), (" 5 S ", 5)],
)
def test_times(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize("value", ["", "5", "s", "-1s", "1.s", "1 day", "1e3s", -1, True, 1.5, None, [], "٣s", "1kb"])
def test_no_times(value: object) -> None:
    with pytest.raises(ValueError, match="a time is"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("128kb", 131072),
        ("64mb", 67108864),
        ("1gb", 1073741824),
        ("1k", 1000),
        ("1M", 1000000),
        ("2MiB", 2097152),
        ("1.5kb", 1536),
        ("7b", 7),
        ("7", 7),
        (7, 7),
        (0, 0),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "kb", "-1", "1tb", "1 k b", -1, False, 1.5, None, {}, "1s"])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="a size is"):
        parse_size(value)


def test_key_paths_are_written_as_in_toml() -> None:
    assert key_path("namespaces", "Ads.Profile", "backend") == 'namespaces."Ads.Profile".backend'
    assert key_path("backends", 'a"b', "0-511") == 'backends."a\\"b".0-511'


def test_suggestions() -> None:
    assert did_you_mean("profil", ["profile", "cache"]) == ' (did you mean "profile"?)'
    assert did_you_mean("PROFIL", ["Profile"]) == ' (did you mean "Profile"?)'
    assert did_you_mean("zzz", ["profile", "cache"]) == ""


def test_every_reader_takes_its_kind_and_the_default() -> None:
    mistakes: list[str] = []
    options = Options(
        {
            "text": "t",
            "texts": ["a", "b"],
            "integer": 5,
            "flag": True,
            "seconds": "2s",
            "size": "1kb",
            "file": "x/y",
            "below": {"key": 1},
        },
        mistakes,
        "top",
    )
    assert options.text("text") == "t"
    assert options.texts("texts") == ["a", "b"]
    assert options.integer("integer", 1) == 5
    assert options.flag("flag")
    assert options.seconds("seconds", 9) == 2
    assert options.size("size") == 1024
    assert options.file("file", Path("/etc")) == Path("/etc/x/y")
    below = options.subtable("below")
    assert below is not None
    assert below.integer("key", 0) == 1
    assert (options.text("no", "d"), options.texts("no"), options.integer("no", 3), options.flag("no", default=True)) == (
        "d",
        None,
        3,
        True,
    )
    assert (options.seconds("no", 4), options.size("no"), options.file("no", Path("/")), options.subtable("no")) == (
        4,
        None,
        None,
        None,
    )
    options.done()
    below.done()
    assert mistakes == []


def test_every_reader_notes_a_wrong_kind_with_its_path() -> None:
    mistakes: list[str] = []
    keys = ["text", "choice", "texts", "mixed", "integer", "bool", "high", "flag", "seconds", "short", "size", "low", "below"]
    options = Options(
        {
            "text": 1,
            "choice": "crc33",
            "texts": "a",
            "mixed": ["a", 1],
            "integer": "5",
            "bool": True,
            "high": 11,
            "flag": 1,
            "seconds": "2 days",
            "short": "1ms",
            "size": "big",
            "low": 1,
            "below": 3,
        },
        mistakes,
        "a.b",
    )
    options.text("text")
    options.text("choice", choices=["crc32"])
    options.texts("texts")
    options.texts("mixed")
    options.integer("integer", 0)
    options.integer("bool", 0)
    options.integer("high", 0, 0, 10)
    options.flag("flag")
    options.seconds("seconds", 0)
    options.seconds("short", 0, 0.1)
    options.size("size")
    options.size("low", low=2)
    options.subtable("below")
    options.done()
    assert [mistake.partition(":")[0] for mistake in mistakes] == [f'"a.b".{key}' for key in keys]
    assert 'did you mean "crc32"' in mistakes[1]


def test_unknown_keys_are_mistakes_with_suggestions() -> None:
    mistakes: list[str] = []
    options = Options({"max_vlaue": 1, "zzz": 1, "max_value": 2}, mistakes, "n")
    options.size("max_value")
    options.done()
    assert mistakes == ['n.max_vlaue: unknown key (did you mean "max_value"?)', "n.zzz: unknown key"]
