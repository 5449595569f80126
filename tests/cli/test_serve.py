"""`kvgate serve`: the configuration that the server is given."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from kvgate.cli.source import Source
from kvgate.policy.settings import Listen
from kvgate.routing.configuration import Configuration
from kvgate.server.reload import Build
from tests.cli.conftest import Run

Served = Callable[[], Configuration]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """A server that only keeps its configuration; gives the one it was called with."""
    configurations: list[Configuration] = []

    def serve(build: Build, worker: Sequence[str]) -> int:
        text, configuration, backends = build(None)
        assert set(backends) == set(configuration.backends)
        assert build(text)[1].sha256 == configuration.sha256
        handed = Source.from_json(json.loads(worker[-1]))
        assert handed.build(text)[1].gate == configuration.gate, "a worker serves what its parent does"
        configurations.append(configuration)
        return 0

    app = ModuleType("kvgate.server.app")
    app.serve = serve  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "kvgate.server.app", app)

    def only() -> Configuration:
        assert len(configurations) == 1
        return configurations[0]

    return only


def test_without_a_configuration(run: Run, served: Served, tmp_path: Path) -> None:
    assert run("serve").code == 0
    assert served().gate.listen == (Listen("tcp", "127.0.0.1", 6380),)
    assert served().gate.workers == 1
    assert served().base == tmp_path
    assert served().backends["local"].options["path"] == "kvgate-data"


def test_with_listeners_folder_and_workers(run: Run, served: Served) -> None:
    assert run("serve", "--listen", "127.0.0.1:1", "--listen", "[::1]:2", "--data-dir", "d", "--workers", "3").code == 0
    assert [str(listen) for listen in served().gate.listen] == ["127.0.0.1:1", "[::1]:2"]
    assert served().gate.workers == 3
    assert served().backends["local"].options["path"] == "d"


def test_with_a_configuration(run: Run, served: Served, file: str) -> None:
    assert run("serve", file, "--listen", "0.0.0.0:1").code == 2  # the embedded store is not said to be single
    assert run("serve", file, "--listen", "127.0.0.1:1", "--workers", "2").code == 0
    assert [str(listen) for listen in served().gate.listen] == ["127.0.0.1:1"]
    assert set(served().backends) == {"profile", "local"}


def test_beyond_loopback_without_users_says_what_to_add(run: Run) -> None:
    code, _, err = run("serve", "--listen", "0.0.0.0:6380")
    assert code == 2
    assert 'kvgate: gate.listen: "0.0.0.0:6380" can be reached from other machines' in err
    assert "[users.NAME]" in err


def test_a_data_folder_besides_a_configuration_is_a_mistake(run: Run, file: str) -> None:
    code, _, err = run("serve", file, "--data-dir", "d")
    assert code == 2
    assert "--data-dir goes without a configuration" in err


def test_mistakes_are_all_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[gate]\nworkers = 0\nlisten = ['x']\n")
    code, out, err = run("serve", "bad.toml")
    assert (code, out) == (2, "")
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [
        "gate.listen",
        "gate.workers",
        "backends",
        "namespaces",
    ]
