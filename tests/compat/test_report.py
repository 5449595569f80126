"""docs/compatibility.md is what is known now, and tells of every command."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from kvgate.commands.spec import Action
from kvgate.commands.table import by_full_name, every_command, supports
from kvgate.config import adapter
from kvgate_compat.differences import KNOWN
from kvgate_compat.reach import is_command
from kvgate_compat.table import specs
from tests.compat import report, results
from tests.compat.setting import CONFIGURATIONS
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "compatibility.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == report.render(), "run: python -m tests.compat.report > docs/compatibility.md"


def test_every_command_is_on_it_once() -> None:
    tables = report.render().partition("\n## Differences\n")[0].partition("\n## Strings\n")[2]
    named = re.findall(r"^\| `([^`]+)`", tables, re.MULTILINE)
    for refused in re.findall(r"^Refused, or supported nowhere: (.*)\.$", tables, re.MULTILINE):
        named += re.findall(r"`([^`]+)`", refused)
    assert sorted(named) == sorted(spec.name.replace("|", " ") for spec in every_command() if is_command(spec))


def test_marks_follow_from_what_backends_claim() -> None:
    for spec in every_command():
        for configuration, (_, kind) in report.COLUMNS.items():
            refused = any(known.refuses for known in report.known_of(spec, configuration))
            served = supports(spec, adapter(kind).capabilities) and spec.action is not Action.REFUSE and not refused
            assert (report.mark(spec, configuration) != "–") is served, spec.name


@pytest.mark.parametrize(
    ("name", "configuration", "mark"),
    [
        ("GET", "redis", "="),
        ("GET", "lmdb", "="),
        ("GET", "kvrocks", "○"),
        ("OBJECT|ENCODING", "redis", "="),
        ("OBJECT|ENCODING", "lmdb", "≠"),
        ("LPUSH", "lmdb", "–"),
        ("EVAL", "home", "–"),
        ("SHUTDOWN", "redis", "–"),
        ("EXSET", "lmdb", "m"),
        ("GATE|ROUTE", "lmdb", "own"),
        ("WAIT", "redis", "?"),
    ],
)
def test_a_mark(name: str, configuration: str, mark: str) -> None:
    spec = by_full_name(name.encode())
    assert spec is not None
    assert report.mark(spec, configuration) == mark


def test_each_difference_has_its_place() -> None:
    text = report.render()
    anchors = re.findall(r'<a id="([a-z0-9-]+)">', text)
    assert anchors == [known.name for known in KNOWN]
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= {*anchors, "differences", "versioned-data", "the-search"}
    for known in KNOWN:
        for line in known.dialogue:
            assert f"> {line.text}\n" in text


ROW = {
    "name": "redis-py",
    "version": "5.2",
    "protocol": "3",
    "backend": "lmdb",
    "outcome": "works except locks",
    "notes": "a|b\nc",
    "date": "2026-11-21",
}


def test_results_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "tests" / "nothing.json"
    monkeypatch.setattr(report, "RESULTS", {"Client libraries": path})
    assert "No results yet (tests/nothing.json)." in report.render()
    other = {**ROW, "backend": "redis", "outcome": "works", "notes": "", "date": "2026-11-20"}
    third = {**ROW, "name": "another", "backend": "tikv", "outcome": "cannot", "notes": "no"}
    shown = ROOT / "tests" / "compat" / "nothing.json"
    monkeypatch.setattr(report, "RESULTS", {"Client libraries": shown})
    monkeypatch.setattr(report, "results", lambda _path: [ROW, other, third])
    text = re.sub(" +", " ", report.render().partition("\n## Client libraries\n")[2])
    assert "| name | version | protocol | lmdb | redis | tikv | what does not work, notes |" in text
    assert "| redis-py | 5.2 | 3 | partly | works | – | lmdb: except locks; a\\|b c |" in text
    assert "| another | 5.2 | 3 | – | – | cannot | tikv: no |" in text
    assert "Run from 2026-11-20 to 2026-11-21" in text


def test_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([ROW]), "utf-8")
    assert report.results(path) == [ROW]
    assert report.results(tmp_path / "nothing.json") == []


@pytest.mark.parametrize("change", [{"outcome": "perhaps"}, {"version": None}])
def test_results_that_are_not_as_agreed(tmp_path: Path, change: "dict[str, str | None]") -> None:
    row = {key: value for key, value in {**ROW, **change}.items() if value is not None}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([row]), "utf-8")
    with pytest.raises(ValueError, match="lacks"):
        report.results(path)


# Results of searches

FOUND: "dict[str, Any]" = {
    "seed": 1,
    "tried": {"examples": 40, "commands": 900, "combinations": 70, "protocols": [{"resp": 2}, {"resp": 3}]},
    "known": {"object-encoding": 3},
    "differences": [],
    "commands": {
        "GET": {"count": 900, "reason": ""},
        "LPOP": {"count": 0, "reason": "this server does not have it"},
        "HSET": {"count": 0, "reason": ""},
    },
}


def test_a_search_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(results, "PATH", tmp_path / "results.json")
    (tmp_path / "lmdb.json").write_text(json.dumps(FOUND), "utf-8")
    assert results.main([str(tmp_path)]) == 0
    taken = results.load(tmp_path / "results.json")["lmdb"]
    assert (taken.examples, taken.commands, taken.known) == (40, 900, {"object-encoding": 3})
    assert taken.tried == {"GET"}
    for change, said in (
        ({"differences": [{"command": "GET"}]}, "differences: GET"),
        ({"commands": {"GET": {"count": 0, "reason": "not asked for"}}}, "a part only"),
        ({"tried": {"protocols": [{"resp": 2}]}}, "a part only"),
    ):
        (tmp_path / "lmdb.json").write_text(json.dumps({**FOUND, **change}), "utf-8")
        assert results.main([str(tmp_path)]) == 1
        assert said in capsys.readouterr().err
        assert results.load(tmp_path / "results.json")["lmdb"] == taken


def test_what_no_search_has_tried_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    get, hset = by_full_name(b"GET"), by_full_name(b"HSET")
    assert get is not None
    assert hset is not None
    monkeypatch.setattr(report, "load", lambda: {"lmdb": results.result_of(FOUND, "2026-11-21")})
    assert [report.mark(spec, "lmdb") for spec in (get, hset)] == ["=", "?"]
    assert report.mark(get, "tikv") == "?"


def test_each_configuration_was_searched() -> None:
    found = results.load()
    assert list(found) == list(CONFIGURATIONS)
    for kind, result in found.items():
        assert result.examples >= LEAST, kind
        assert result.tried <= set(specs()), kind
        assert set(result.known) <= {known.name for known in KNOWN}, kind


LEAST: Final = 100
"""Examples of a search that the page may be about."""
