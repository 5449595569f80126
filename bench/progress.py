"""Progress of a run on stderr: what was just measured, how far the section is, and about how long the rest will take."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

EXPECTED: dict[str, tuple[float, float]] = {
    "core": (152, 26),
    "matrix": (450, 75),
    "latency": (222, 32),
    "idle": (130, 45),
    "namespaces": (122, 20),
    "tenants": (150, 30),
    "connect": (18, 3),
    "lrange": (42, 6),
    "embedded": (360, 50),
    "footprint": (39, 8),
    "workers": (42, 8),
    "growth": (540, 65),
    "versioned": (205, 36),
    "tikv": (130, 18),
}
"""Seconds of each section on 2 cores: in full with 3 rounds, and in the short form with one."""
ONCE = frozenset({"idle", "footprint"})
"""Measured a single time, whatever the number of rounds."""


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


class Progress:
    """The steps of one section; what is left is told from the mean step so far."""

    def __init__(
        self, section: str, total: int, *, now: Callable[[], float] = time.perf_counter, out: TextIO | None = None
    ) -> None:
        """`total` steps will be told."""
        self._section, self._total, self._done = section, total, 0
        self._now, self._out = now, out
        self._begin = now()

    def step(self, text: str) -> None:
        """One step is done; `text` says which and what came out."""
        self._done += 1
        gone = self._now() - self._begin
        left = gone / self._done * max(0, self._total - self._done)
        share = f"{self._done}/{self._total}, {clock(gone)} gone, about {clock(left)} left"
        print(f"  {self._section} {share} · {text}", file=self._out or sys.stderr, flush=True)


def expected(names: Sequence[str], *, short: bool, rounds: int) -> float:
    """About how many seconds these sections take together; those of which nothing is known count for nothing."""
    times = {name: 1.0 if name in ONCE else rounds / (1 if short else 3) for name in names}
    return sum(EXPECTED[name][short] * times[name] for name in names if name in EXPECTED)


def ahead(names: Sequence[str], at: int, *, short: bool, rounds: int) -> str:
    """The line before section `at` of `names`: which it is, how long it takes, what comes after it."""
    this, rest = (expected(some, short=short, rounds=rounds) for some in (names[at : at + 1], names[at + 1 :]))
    about = f", about {clock(this)}" if this else ""
    after = names[at + 1 :]
    then = f"; then {', '.join(after)}" + (f", about {clock(rest)}" if rest else "") if after else ""
    return f"[{at + 1}/{len(names)}] {names[at]}{about}{then}"
