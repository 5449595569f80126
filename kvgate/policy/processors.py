"""How many processors this process may use: its affinity, and what a container's cgroup leaves of that."""

import math
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
SELF: Final = Path("/proc/self/cgroup")


def available_processors(*, cgroup: Path = CGROUP, own: Path = SELF) -> int:
    """At least 1. A limit of two and a half processors counts as 2: one worker more would wait for its turn.

    The limit is the smallest one on the way from this process' cgroup up to the root, as the kernel applies it.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, math.floor(min([allowed, *_quotas(cgroup, own)])))


def _quotas(cgroup: Path, own: Path) -> list[float]:
    """Processors by each limit that applies, of cgroup v2 (``cpu.max``) and v1 (``cpu.cfs_quota_us``)."""
    found: list[float] = []
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inner = path.strip("/")
        if number == "0" and not controllers:
            found += [quota for folder in _upwards(cgroup, inner) if (quota := _version_2(folder)) is not None]
        elif "cpu" in controllers.split(","):
            root = cgroup / controllers
            root = root if root.is_dir() else cgroup / "cpu"
            found += [quota for folder in _upwards(root, inner) if (quota := _version_1(folder)) is not None]
    return found


def _upwards(root: Path, inner: str) -> list[Path]:
    """The cgroup's folder and those above it; inside a container the own path may not exist, the root then is its own."""
    folder = root / inner
    return [folder, *(each for each in folder.parents if each == root or root in each.parents)]


def _version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text("utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _version_1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text("utf-8"))
        return None if quota <= 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return None
