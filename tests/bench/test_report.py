"""docs/benchmarks.md is replaced section by section, and the configurations of the peers are what their programs accept."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.figures import Table
from bench.peers import PASSWORD, Shard, default_gate, gate_config
from bench.process import started
from bench.report import Section, Settings, written

FIGURES = Table("T", ("a", "b"), (("1", "2"),))
SECTION = Section("core", "Core", "About.", (FIGURES,), ("redis-benchmark …",), ("Not measured: x",))


def test_sections_are_replaced_and_the_others_kept() -> None:
    first = written("", {"lrange": "## Lists\n\nold lists", "core": "## Core\n\nold core"})
    second = written(first, {"core": SECTION.markdown("Measured now.")})
    assert "old core" not in second
    assert "| 1 | 2 |" in second
    assert "*Measured now.*" in second
    assert second.index("## Core") < second.index("old lists")
    assert second.count("<!-- /bench -->") == 2
    assert second.count("# Benchmarks\n") == 1


def test_a_run_that_measured_nothing_keeps_every_section() -> None:
    first = written("", {"core": "## Core\n\nfigures"})
    assert written(first, {}) == first


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
