"""docs/benchmarks.md is replaced section by section, and the configurations of the peers are what their programs accept."""

import hashlib
import tomllib
from pathlib import Path

import pytest

import bench.__main__ as command_line
from bench.__main__ import main
from bench.figures import Table
from bench.peers import PASSWORD, Shard, default_gate, gate_config, lane
from bench.plots import Line, Panel, Plot
from bench.process import BenchError, started
from bench.report import Section, Settings, machine, provenance, write_plots, written
from kvgate.cli.main import main as main_of_the_gate
from kvgate.lane import native

FIGURES = Table("T", ("a", "b"), (("1", "2"),))
SECTION = Section("core", "Core", "About.", (FIGURES,), ("redis-benchmark …",), ("Not measured: x",))


def test_sections_are_replaced_and_the_others_kept() -> None:
    first = written("", {"lrange": "## Lists\n\nold lists", "core": "## Core\n\nold core"}, "native")
    second = written(first, {"core": SECTION.markdown("Measured now.")}, "native")
    assert "old core" not in second
    assert "| 1 | 2 |" in second
    assert "*Measured now.*" in second
    assert second.index("## Core") < second.index("old lists")
    assert second.count("<!-- /bench -->") == 2
    assert second.count("# Benchmarks\n") == 1


def test_a_run_that_measured_nothing_keeps_every_section() -> None:
    first = written("", {"core": "## Core\n\nfigures"}, "native")
    assert written(first, {}, "native") == first


def test_plots_are_beside_the_document_and_named_in_it(tmp_path: Path) -> None:
    plot = Plot("core-x", "A plot", "clients", (Panel("rate", (Line("a", ((1, 2.0), (3, 4.0))),)),))
    section = Section("core", "Core", "About.", (FIGURES,), plots=(plot,))
    write_plots(tmp_path / "plots", [section, SECTION])
    assert "![A plot](plots/core-x.svg)" in section.markdown("now")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["core-x.svg"]
    assert (tmp_path / "plots" / "core-x.svg").read_text(encoding="utf-8").startswith("<svg")


def test_without_plots_there_is_no_folder(tmp_path: Path) -> None:
    write_plots(tmp_path / "plots", [SECTION])
    assert not (tmp_path / "plots").exists()


def test_the_versions_tell_which_lane_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lane(default_gate()) == ("native" if native.WANTED else "python")
    monkeypatch.setenv("KVGATE_NATIVE", "0")
    assert lane(default_gate()) == "python"
    assert dict(machine("python"))["kvgate"].endswith(", its lane: python")
    assert ", lane python: medians" in provenance(Settings(), "python", once=False)


def test_a_gate_that_does_not_start_has_no_lane() -> None:
    assert lane(["false"]).startswith("unknown: lane ended with status 1")


def test_one_round_has_no_median() -> None:
    assert "short form, one round, peers alternating" in provenance(Settings(short=True, rounds=1), "native", once=False)
    assert ": medians of 3 rounds, peers alternating" in provenance(Settings(), "native", once=False)


def test_a_missing_peer_is_named() -> None:
    assert Settings().left_out({"kvgate": "it ended"}) == ["Not measured: kvgate, because it ended"]


def test_unknown_peers_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["core", "--peers", "direct,envoy"]) == 2
    assert "envoy" in capsys.readouterr().err


def test_the_default_gate_is_this_environments() -> None:
    assert default_gate()[1:] == ["serve"]
    assert Settings().gate == tuple(default_gate())


def test_the_gates_configuration_covers_all_slots_and_grants(tmp_path: Path) -> None:
    with started("nothing", ["true"], tmp_path) as server:
        shards = [Shard(7001, server, "secret"), Shard(7002, server, "secret"), Shard(7003, server, "secret")]
    read = tomllib.loads(gate_config(7000, shards, ["Ads.A", "Ads.B"]))
    assert read["backends"]["profile"]["groups"] == {
        "0-340": "redis://:secret@127.0.0.1:7001",
        "341-681": "redis://:secret@127.0.0.1:7002",
        "682-1023": "redis://:secret@127.0.0.1:7003",
    }
    assert read["namespaces"]["Ads.B"] == {"backend": "profile", "max_key": "1kb", "max_value": "128kb"}
    assert read["users"]["ads"]["password_sha256"] == [hashlib.sha256(PASSWORD.encode()).hexdigest()]
    assert set(read["namespaces"]) == {"Ads.A", "Ads.B"}


def test_what_production_has_is_switched_on(tmp_path: Path) -> None:
    with started("nothing", ["true"], tmp_path) as server:
        text = gate_config(7000, [Shard(7001, server)], ["Ads.A"], "16mb")
    read = tomllib.loads(text)
    assert read["gate"]["metrics"].startswith("127.0.0.1:")
    assert read["users"]["ads"]["rate"] == {"operations": 10_000_000, "bytes": "100gb"}
    assert read["users"]["ads"]["namespaces"] == ["Ads.*"]
    assert read["namespaces"]["Ads.A"] == {"backend": "profile", "max_key": "1kb", "max_value": "16mb"}
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    assert main_of_the_gate(["check", str(tmp_path / "gate.toml")]) == 0


def test_what_was_measured_is_in_the_document_whatever_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(settings: Settings) -> Section:
        raise BenchError("no store")

    def crashes(settings: Settings) -> Section:
        raise ZeroDivisionError

    document = tmp_path / "page.md"
    monkeypatch.setattr(command_line, "ORDER", ("idle", "core", "lrange"))
    monkeypatch.setattr(command_line, "SECTIONS", {"idle": fails, "core": lambda _: SECTION, "lrange": crashes})
    with pytest.raises(ZeroDivisionError):
        main(["all", "--gate", "false", "--write", str(document)])
    assert "## Core" in document.read_text(encoding="utf-8")
    told = capsys.readouterr().err
    assert "[1/3] idle" in told
    assert "idle failed: no store" in told
    assert "core took 0:00, the whole 0:00 so far" in told
    monkeypatch.setattr(command_line, "ORDER", ("idle", "core"))
    assert main(["all", "--gate", "false"]) == 1
