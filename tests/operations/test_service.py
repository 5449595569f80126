"""The unit of systemd and the container file: they are what their tools accept, and fit the gate's defaults."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvgate.policy.settings import GateSettings
from tests.support.servers import ROOT

UNIT = ROOT / "docs" / "operations" / "kvgate.service"
CONTAINERFILE = ROOT / "docs" / "operations" / "Containerfile"


def setting(name: str) -> str:
    """The value of one line of the unit."""
    found = re.search(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    assert found, name
    return found[1]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    kvgate = Path(sys.executable).parent / "kvgate"
    assert kvgate.exists()
    unit = tmp_path / "kvgate.service"
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/kvgate/bin/kvgate", str(kvgate)), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    bad = tmp_path / "bad.service"
    bad.write_text(unit.read_text("utf-8").replace("KillMode=mixed", "KillMode=softly"), "utf-8")
    told = subprocess.run(["systemd-analyze", "verify", str(bad)], capture_output=True, text=True, timeout=60, check=False)
    assert "softly" in told.stderr, "the tool reads what it is given"


def test_the_unit_leaves_time_to_drain_and_descriptors_for_all_clients() -> None:
    defaults = GateSettings()
    assert float(setting("TimeoutStopSec")) > defaults.drain_unready + defaults.drain_finish
    assert int(setting("LimitNOFILE")) > 2 * defaults.max_clients
    assert setting("KillMode") == "mixed", "else the workers are told to end beside the parent that drains them"


def test_the_container_serves(tmp_path: Path) -> None:
    docker = shutil.which("docker") or shutil.which("podman")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("no docker or podman that runs: the container file is built by nobody here")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=60)
    build = [docker, "build", "-q", "-f", str(clone / CONTAINERFILE.relative_to(ROOT)), "-t", "kvgate-test", str(clone)]
    subprocess.run(build, check=True, timeout=600)
    shown = [docker, "run", "--rm", "kvgate-test", "--version"]
    done = subprocess.run(shown, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("kvgate ")
