"""How many processors count, from made-up cgroup trees and the affinity of this process."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvgate.policy.processors import available_processors

MACHINE = 16


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(MACHINE)))


def processors(tmp_path: Path, own: str, files: Mapping[str, str]) -> int:
    """With `own` as /proc/self/cgroup and `files` below /sys/fs/cgroup."""
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    of_process = tmp_path / "self"
    of_process.write_text(own, "utf-8")
    return available_processors(cgroup=root, own=of_process)


@pytest.mark.parametrize(
    ("quota", "found"),
    [
        ("max 100000\n", MACHINE),
        ("400000 100000\n", 4),
        ("250000 100000\n", 2),  # a third worker would wait for its turn
        ("50000 100000\n", 1),
        ("100000 50000\n", 2),
        ("9900000 100000\n", MACHINE),
        ("", MACHINE),
        ("lots\n", MACHINE),
        ("x 100000\n", MACHINE),
        ("100000 0\n", MACHINE),
    ],
)
def test_version_2_in_a_container(tmp_path: Path, quota: str, found: int) -> None:
    assert processors(tmp_path, "0::/\n", {"cpu.max": quota}) == found


def test_version_2_of_a_service_and_what_is_above_it(tmp_path: Path) -> None:
    files = {
        "system.slice/cpu.max": "300000 100000\n",
        "system.slice/kvgate.service/cpu.max": "800000 100000\n",
        "user.slice/cpu.max": "100000 100000\n",  # another branch
    }
    assert processors(tmp_path, "0::/system.slice/kvgate.service\n", files) == 3


@pytest.mark.parametrize("path", ["/../../other", "/docker/0123", "/a/../../.."])
def test_a_path_of_outside_of_the_container_leaves_its_root(tmp_path: Path, path: str) -> None:
    assert processors(tmp_path, f"0::{path}\n", {"cpu.max": "200000 100000\n"}) == 2


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, mount: str) -> None:
    own = "12:pids:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/system.slice\n"
    files = {f"{mount}/docker/abc/cpu.cfs_quota_us": "300000\n", f"{mount}/docker/abc/cpu.cfs_period_us": "100000\n"}
    assert processors(tmp_path, own, files) == 3


def test_version_1_inside_a_container_shows_its_own_limit_at_the_root(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "150000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert processors(tmp_path, "4:cpu,cpuacct:/docker/abc\n", files) == 1


@pytest.mark.parametrize(("quota", "period"), [("-1\n", "100000\n"), ("0\n", "100000\n"), ("5\n", "0\n"), ("", "")])
def test_version_1_without_a_limit(tmp_path: Path, quota: str, period: str) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": quota, "cpu,cpuacct/cpu.cfs_period_us": period}
    assert processors(tmp_path, "4:cpu,cpuacct:/\n", files) == MACHINE


@pytest.mark.parametrize("own", ["", "\n", "nonsense\n", "0:\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, own: str) -> None:
    assert processors(tmp_path, own, {"cpu/x": ""}) == MACHINE


def test_without_cgroups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert available_processors(cgroup=tmp_path / "none", own=tmp_path / "none") == 2


def test_the_affinity_is_below_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1})
    assert processors(tmp_path, "0::/\n", {"cpu.max": "800000 100000\n"}) == 1
