"""Adapters of the tests, and a way to run the command line in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kvgate.cli.main import main
from tests.config.adapters import install
from tests.routing.stores import TinyAdapter

CONFIGURATION = """
[backends.profile]
type = "redis"
[backends.profile.groups]
"0-511" = "redis://127.0.0.1:7001"
"512-1023" = "redis://u:hunter2@127.0.0.1:7002"
[backends.local]
type = "lmdb"
path = "data"
[namespaces]
"Ads.*" = "profile"
"Own.Data" = "local"
[users.ads]
password_sha256 = ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
namespaces = ["Ads.*"]
"""


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `kvgate` with arguments, in an empty folder; adapters ``redis`` and ``lmdb`` are the tests'."""
    install(monkeypatch, TinyAdapter("redis", frozenset({"string", "hash", "generic"})), TinyAdapter("lmdb"))
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_it


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration of two backends and a user: ``gate.toml``."""
    (tmp_path / "gate.toml").write_text(CONFIGURATION)
    return "gate.toml"
