"""``python -m tests.apps.run``: runs applications behind the gate and says what works where (tests/apps/results.json)."""

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tests.apps.catalogue import APPS, App, Unavailable
from tests.apps.settings import BACKENDS, Disturbed, place

RESULTS = Path(__file__).resolve().parent / "results.json"
TIMEOUT = 180.0
"""Seconds for one application's program; one that never ends does not work."""


@attrs.frozen
class Result:
    """How one application did at one place."""

    app: App
    backend: str
    worked: tuple[str, ...]
    failed: "dict[str, str]"
    """Name of a check → why."""
    said: str = ""
    """The program's stderr."""

    @property
    def outcome(self) -> str:
        """``works``, ``works except …`` (names of checks) or ``cannot`` (when it fails in most of what it was asked for)."""
        if self.worked and not self.failed:
            return "works"
        if "worker" in self.failed or len(self.worked) <= len(self.failed):
            return "cannot"
        return f"works except {', '.join(self.failed)}"

    @property
    def notes(self) -> str:
        """What failed and why, or what was needed."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.failed.items():
            reasons.setdefault(re.sub(r"[0-9a-f]{32}(?![0-9a-f]{8})", "…", re.sub(r"\s+", " ", why))[:240], []).append(name)
        found = [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
        if self.backend == "redis, two tenants" and self.app.scripts:
            found.append(f"needs allowed_scripts in [gate]: {', '.join(self.app.scripts)}")
        return "; ".join(found)

    def row(self) -> "dict[str, str]":
        """For results.json."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        return {
            "name": self.app.name, "version": self.app.version, "protocol": self.app.spoken, "backend": self.backend,
            "outcome": self.outcome, "notes": self.notes, "date": today,
        }  # fmt: skip


def run_program(app: App, backend: str, urls: Sequence[str], *more: str) -> Result:
    """Run the program of `app`; everything that goes wrong is in the result."""
    try:
        done = subprocess.run(
            [*app.command(*urls), *more],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(app, backend, (), {"end": f"no end after {TIMEOUT:.0f} s"})
    try:
        said: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
        found = Result(app, backend, tuple(said["worked"]), said["failed"], done.stderr)
    except (ValueError, KeyError, TypeError):
        return Result(app, backend, (), {"start": f"exit {done.returncode}: {done.stderr[-400:]}"}, done.stderr)
    if bool(found.failed) != bool(done.returncode):
        return attrs.evolve(found, failed={**found.failed, "end": f"exit {done.returncode}"})
    return found


def run_at(backend: str, apps: Sequence[App], *more: str) -> list[Result]:
    """Run `apps` at one place, at the same time (two, where they are tenants of one store).

    Raises:
        Unavailable: this machine lacks the store or the package index.
        Disturbed: they touched or saw what is not their own.
    """
    for app in apps:
        app.install()
    with place(backend, apps) as where, ThreadPoolExecutor(len(apps)) as pool:
        runs = [pool.submit(run_program, app, backend, urls, *more) for app, urls in zip(apps, where.urls, strict=True)]
        return [run.result() for run in runs]


def named(name: str, protocol: str = "") -> App:
    """The application of the catalogue."""
    return next(app for app in APPS if (app.name, app.protocol) == (name, protocol))


NEIGHBOURS = (
    ("Celery", "Celery"),
    ("Django", "RQ"),
    ("django-redis", "Flask-Caching, Flask-Session"),
    ("limits", "redis-py's Lock"),
    ("python-redis-lock", "pottery's Redlock"),
    ("Huey", "Dramatiq"),
)
"""Which are tenants of one store at the same time."""
WITHOUT_LISTS = (("Django", "Flask-Caching, Flask-Session"), ("django-redis", "redis-py's Lock"))
"""The same on the embedded store, of those that work there."""


def plan(backend: str) -> "list[tuple[App, ...]]":
    """Which applications are run together there."""
    if "two tenants" not in backend:
        return [(app,) for app in APPS]
    pairs = NEIGHBOURS if backend.startswith("redis") else WITHOUT_LISTS
    return [(named(one), named(other)) for one, other in pairs]


def run_all(backends: Sequence[str], only: str, report: Callable[[str], object]) -> "tuple[list[Result], int]":
    """Everything, told line by line; the results, and how many runs disturbed a neighbour."""
    results: list[Result] = []
    disturbed = 0
    for backend in backends:
        for apps in plan(backend):
            title = f"{' beside '.join(app.name for app in apps)} on {backend}"
            if not re.search(only, title):
                continue
            try:
                found = run_at(backend, apps)
            except Unavailable as why:
                report(f"{title}: skipped, {why}")
                continue
            except Disturbed as why:
                disturbed += 1
                report(f"{title}: DISTURBED, {why}")
                continue
            same = apps[0] is apps[-1]  # then the worse of both says how it is
            results += sorted(found, key=lambda result: -len(result.failed))[:1] if same else found
            for result in found:
                report(
                    f"{result.app.name} {result.app.version} {result.app.spoken} on {backend}: {result.outcome} {result.notes}"
                )
    return results, disturbed


def main() -> int:
    """Exit code 1 when a neighbour was disturbed, or something does otherwise than results.json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression for 'NAME on BACKEND'")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="this one only (may be given again)")
    parser.add_argument("--write", action="store_true", help="write tests/apps/results.json (with --only: these rows of it)")
    parser.add_argument("--verbose", action="store_true", help="what the programs that fail say")
    options = parser.parse_args()
    results, disturbed = run_all(options.backend or BACKENDS, options.only, lambda line: print(line, flush=True))
    if options.verbose:
        for result in results:
            if result.failed:
                print(f"---- {result.app.name} on {result.backend}\n{result.said}")
    rows = [result.row() for result in results]

    def identity(row: "dict[str, str]") -> "tuple[str, ...]":
        return row["name"], row["protocol"], row["backend"]

    old = {identity(row): row for row in (json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else [])}
    changed = [row for row in rows if old.get(identity(row), {}).get("outcome") != row["outcome"]]
    for row in changed:
        was = old.get(identity(row), {}).get("outcome", "not there")
        print(f"was {was!r}: {row['name']} on {row['backend']}: {row['outcome']}")
    if options.write:
        kept = {**old, **{identity(row): row for row in rows}}
        order = {(app.name, app.spoken): index for index, app in enumerate(APPS)}
        ordered = sorted(
            (row for row in kept.values() if (row["name"], row["protocol"]) in order),
            key=lambda row: (order[row["name"], row["protocol"]], BACKENDS.index(row["backend"])),
        )
        RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return 1 if disturbed else 0
    return 1 if disturbed or changed else 0


if __name__ == "__main__":
    sys.exit(main())
