"""`kvgate store`: which adapter it asks, what it prints, and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvgate.backend import Progress, StoreStatistics
from kvgate.errors import ConfigurationError
from tests.cli.conftest import Run
from tests.config.adapters import install
from tests.routing.stores import TinyAdapter


class Files(TinyAdapter):
    """An adapter whose stores are folders with a file ``tiny``; each line of it is a problem."""

    def has_store(self, path: Path) -> bool:
        return (path / "tiny").is_file()

    def check_store(self, path: Path, progress: Progress) -> Iterator[str]:
        yield from (path / "tiny").read_text().splitlines()
        progress("records checked", 2000, 2000)

    def store_statistics(self, path: Path, progress: Progress) -> StoreStatistics:
        del path, progress
        return StoreStatistics(
            figures={"keys": 1234567, "format": "one"},
            groups={b"": (1, 10), b"Ads.T": (2, 2000), **{b"More.%d" % at: (1, 5) for at in range(25)}},
            types={"string": (3, 2010)},
        )

    def compact_store(self, path: Path, progress: Progress) -> tuple[int, int]:
        del progress
        raise ConfigurationError([f"{path}: a gate has the store open"])

    def back_up_store(self, path: Path, target: Path, progress: Progress) -> int:
        del path
        progress("bytes copied", 5, 10)
        progress("bytes copied", 10, 10)
        target.mkdir()
        return 10


@pytest.fixture
def tiny(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder with a good store, and an adapter for it beside one without tools."""
    install(monkeypatch, TinyAdapter("redis"), Files("files"))
    (tmp_path / "tiny").write_text("")
    return tmp_path


def test_a_good_store(run: Run, tiny: Path) -> None:
    code, out, err = run("store", "check", str(tiny))
    assert (code, out) == (0, f"{tiny}: good\n")
    assert "cannot be imported" in err, "an adapter that is broken is named, and hides no other"


def test_a_bad_store(run: Run, tiny: Path) -> None:
    (tiny / "tiny").write_text("".join(f"key {at}: wrong\n" for at in range(130)))
    code, out, _ = run("store", "check", str(tiny))
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "key 0: wrong"
    assert lines[-3:] == ["key 99: wrong", "… and 30 more", f"{tiny}: not good: 130 problems"]


def test_statistics_for_people_and_machines(run: Run, tiny: Path) -> None:
    code, out, _ = run("store", "stats", str(tiny))
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["keys", "1,234,567"] in lines
    assert ["string", "3", "2,010"] in lines
    assert lines.index(["Ads.T", "2", "2,000"]) + 1 == lines.index(["(none)", "1", "10"]), "the largest first"
    assert lines[-1] == ["…", "7", "others", "7", "35"]
    code, out, _ = run("store", "stats", "--json", str(tiny))
    found = json.loads(out)
    assert found["figures"]["keys"] == 1234567
    assert found["namespaces"]["Ads.T"] == {"keys": 2, "bytes": 2000}
    assert len(found["namespaces"]) == 27


def test_a_refusal_is_2(run: Run, tiny: Path) -> None:
    code, out, err = run("store", "compact", str(tiny))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"kvgate: {tiny}: a gate has the store open"


def test_no_store_is_2(run: Run, tiny: Path) -> None:
    code, out, err = run("store", "check", str(tiny / "nothing"))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"kvgate: {tiny / 'nothing'}: no store is there"


def test_a_backup_says_what_to_try(run: Run, tiny: Path) -> None:
    target = tiny / "backup"
    code, out, _ = run("store", "backup", str(tiny), str(target))
    assert (code, out) == (0, f"{target}: 10 bytes; try: kvgate store check {target}\n")


@pytest.mark.parametrize("arguments", [("store",), ("store", "check"), ("store", "backup", "x"), ("store", "mend", "x")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2
