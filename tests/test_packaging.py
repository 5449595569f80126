"""What is published: the wheel and the sdist hold what they should, and a gate serves from the wheel in an empty folder."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.resp import Closed, Resp
from tests.support.servers import ROOT, Gate, wait_for

ADAPTERS = sorted(path.parent.name for path in (ROOT / "backends").glob("kvgate_*/__init__.py"))
PACKAGES = ["kvgate", *ADAPTERS, "kvgate_compat"]


def run(*line: str, folder: Path = ROOT, timeout: float = 300.0, **environment: str) -> str:
    """Output of a command that must end with 0."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        line, cwd=folder, env={**clean, **environment}, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{' '.join(line)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, as they are now: nothing that was only forgotten in the working folder."""
    folder = tmp_path_factory.mktemp("checkout")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the project is not known")
    for name in run("git", "ls-files", "-z").split("\0"):
        source = ROOT / name
        if name and source.exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, Path]":
    """(wheel, sdist), built as for publishing: the wheel from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(out), str(checkout))
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_the_packages_and_nothing_else(built: "tuple[Path, Path]") -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        head = wheel.read(metadata).decode()
        entry_points = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    info = metadata.removesuffix("/METADATA")
    assert {name.split("/")[0] for name in names} == {*PACKAGES, info}
    sources = {
        str(path.relative_to(base))
        for base in (ROOT, ROOT / "backends", ROOT / "compat")
        for package in PACKAGES
        for path in (base / package).rglob("*.py")
        if (base / package).exists()
    }
    tracked = set(run("git", "ls-files", "kvgate", "backends", "compat").split())
    sources = {name for name in sources if {name, f"backends/{name}", f"compat/{name}"} & tracked}
    assert sources <= names, sources - names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.startswith(info) and name.endswith("LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in head
    assert "kvgate = kvgate.cli.main:main" in entry_points
    for package in ADAPTERS:
        assert f"{package.removeprefix('kvgate_')} = {package}:adapter" in entry_points


def test_without_a_compiler_it_is_built_without_the_native_paths(
    built: "tuple[Path, Path]", checkout: Path, tmp_path: Path
) -> None:
    def natives(wheel: Path) -> list[str]:
        with zipfile.ZipFile(wheel) as opened:
            names = ("kvgate/lane/_native.", "kvgate/model/_short.", "kvgate_lmdb/_syncer.")
            return [name for name in opened.namelist() if name.startswith(names) and name.endswith(".so")]

    assert shutil.which("cc") is None or len(natives(built[0])) == 3
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(checkout), CC="false")
    (wheel,) = tmp_path.glob("*.whl")
    assert natives(wheel) == []


def test_the_sdist_holds_what_is_needed_to_test_and_document(built: "tuple[Path, Path]") -> None:
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = set(run("git", "ls-files").split())
    missing = {name for name in tracked if (ROOT / name).exists()} - names - {".gitignore"}
    assert not missing
    assert {"LICENSE", "README.md", "Makefile", "tests/conftest.py", "docs/errors.md", "pyproject.toml", ".ci/run"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".cache", ".git/"))]


@pytest.fixture(scope="module")
def installed(built: "tuple[Path, Path]", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(built[0]))
    return python


def test_it_serves_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    version = run(str(installed.with_name("kvgate")), "--version", folder=tmp_path).strip()
    assert version.startswith("kvgate ")
    with Gate(python=str(installed), environment={"PYTHONPATH": ""}, directory=tmp_path) as gate:
        assert gate.cmd("SET", "hello", "world", "EX", "100") == b"OK"
        assert gate.cmd("GET", "hello") == b"world"
        gate.restart()
        assert gate.cmd("GET", "hello") == b"world"
        assert 90 < gate.cmd("TTL", "hello") <= 100
        assert (tmp_path / "data").is_dir()


def test_its_command_line_answers(installed: Path, tmp_path: Path) -> None:
    kvgate = str(installed.with_name("kvgate"))
    run(kvgate, "init", "kvgate.toml", folder=tmp_path)
    run(kvgate, "check", "kvgate.toml", folder=tmp_path)
    assert "lmdb" in run(kvgate, "route", "kvgate.toml", "hello", folder=tmp_path)
    assert "GET" in run(kvgate, "commands", folder=tmp_path).upper()


def test_the_search_for_differences_comes_with_an_extra(built: "tuple[Path, Path]", installed: Path, tmp_path: Path) -> None:
    kvgate = str(installed.with_name("kvgate"))
    assert "usage: kvgate compat" in run(kvgate, "compat", "--help", folder=tmp_path)

    def compared() -> str:
        line = [kvgate, "compat", "redis://127.0.0.1:1", "--against", "redis://127.0.0.1:1"]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(line, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        return done.stderr

    assert "pip install 'kvgate[compat]'" in compared()
    run(str(installed), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{built[0]}[compat]")
    assert "Connection refused" in compared()


@pytest.fixture(scope="module")
def made(checkout: Path) -> "Iterator[tuple[Path, int]]":
    """`make run` on a clean clone: (folder, port of the gate that it started)."""
    port = free_port()
    log = checkout / "make.log"
    ours = {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "ARGS"}
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    with log.open("wb") as output:
        make = subprocess.Popen(
            ["make", "run", f"LISTEN=127.0.0.1:{port}"],
            cwd=checkout,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

        def answers() -> bool:
            assert make.poll() is None, log.read_text("utf-8")
            try:
                with Resp(("127.0.0.1", port)) as client:
                    return bool(client.cmd("PING"))
            except (OSError, Closed):
                return False

        try:
            wait_for(answers, "the gate of `make run`", 240)
            yield checkout, port
        finally:
            os.killpg(make.pid, signal.SIGINT)  # what Ctrl-C does: to make and to the gate
            try:
                make.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(make.pid, signal.SIGKILL)
                raise
    assert "Traceback" not in log.read_text("utf-8")


def test_make_run_serves_from_a_clean_clone(made: "tuple[Path, int]") -> None:
    folder, port = made
    with Resp(("127.0.0.1", port)) as client:
        assert client.cmd("SET", "k", "v") == b"OK"
        assert client.cmd("GET", "k") == b"v"
    assert (folder / "kvgate-data").is_dir()

    def banner() -> str:
        return (folder / "make.log").read_text("utf-8")

    wait_for(lambda: f"redis-cli -p {port}" in banner(), "the last line of the banner")
    for said in (f"127.0.0.1:{port}", "lmdb", "kvgate-data", "always", " ms"):
        assert said in banner(), banner()
