"""The command line of the benchmarks: ``python -m bench SECTION|all``."""

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import (
    connect,
    core,
    embedded,
    growth,
    idle,
    latency,
    lrange,
    matrix,
    namespaces,
    tenants,
    tikv,
    versioned,
    workers,
)
from bench.peers import NAMES, default_gate, lane
from bench.process import BenchError, raise_file_limit
from bench.progress import ahead, clock
from bench.report import ORDER, Section, Settings, provenance, write_plots, written

SECTIONS: dict[str, Callable[[Settings], Section]] = {
    "core": core.section,
    "matrix": matrix.section,
    "latency": latency.section,
    "idle": idle.section,
    "namespaces": namespaces.section,
    "tenants": tenants.section,
    "connect": connect.section,
    "lrange": lrange.section,
    "embedded": embedded.section,
    "footprint": embedded.footprint,
    "workers": workers.section,
    "growth": growth.section,
    "tikv": tikv.section,
    "versioned": versioned.section,
}


def parser() -> argparse.ArgumentParser:
    """All options."""
    result = argparse.ArgumentParser(prog="python -m bench", description="Measure the gate beside other proxies.")
    result.add_argument("what", choices=[*ORDER, "all"], help="which measurement")
    result.add_argument("--short", action="store_true", help="fewer requests: for every day")
    result.add_argument("--rounds", type=int, default=3, help="rounds; the median is shown (default 3)")
    result.add_argument("--peers", default=",".join(NAMES), help=f"comma separated, of {','.join(NAMES)}")
    result.add_argument("--gate", default=shlex.join(default_gate()), help="the command that the configuration is added to")
    result.add_argument("--write", type=Path, metavar="FILE", help="put the sections into this Markdown file, plots beside it")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the tables as JSON too")
    return result


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings that the options ask for.

    Raises:
        BenchError: an unknown peer.
    """
    peers = tuple(options.peers.split(","))
    if unknown := set(peers) - set(NAMES):
        raise BenchError(f"unknown peers: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return Settings(options.short, options.rounds, peers, tuple(shlex.split(options.gate)))


def as_json(sections: Sequence[Section]) -> str:
    """The tables, cells as printed."""
    return json.dumps(
        {s.name: [{"caption": t.caption, "header": t.header, "rows": t.rows} for t in s.tables] for s in sections}, indent=1
    )


def write(document: Path, section: Section, settings: Settings) -> None:
    """Put a section into the document as soon as it is measured, so that what comes later cannot lose it."""
    old = document.read_text(encoding="utf-8") if document.exists() else ""
    ran = lane(settings.gate)
    pieces = {section.name: section.markdown(provenance(settings, ran, once=section.once))}
    document.write_text(written(old, pieces, ran), encoding="utf-8")
    write_plots(document.parent / "plots", [section])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; progress goes to stderr, tables to stdout. 0 good, 1 a measurement failed, 2 usage."""
    options = parser().parse_args(arguments)
    try:
        settings = settings_from(options)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers of the run end with it
    raise_file_limit()
    sections: list[Section] = []
    failed = False
    names = ORDER if options.what == "all" else (options.what,)
    start = time.perf_counter()
    for at, name in enumerate(names):
        print(ahead(names, at, short=settings.short, rounds=settings.rounds), file=sys.stderr)
        begin = time.perf_counter()
        try:
            section = SECTIONS[name](settings)
        except BenchError as error:
            print(f"{name} failed: {error}", file=sys.stderr)
            failed = True
            continue
        now = time.perf_counter()
        print(f"{name} took {clock(now - begin)}, the whole {clock(now - start)} so far", file=sys.stderr)
        sections.append(section)
        print(section.plain() + "\n", flush=True)
        if options.write:
            write(options.write, section, settings)
    if options.json:
        options.json.write_text(as_json(sections), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
