"""What a run reports: sections of tables, the machine, and docs/benchmarks.md, replaced section by section."""

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import attrs

from bench.figures import Table, markdown, plain
from bench.peers import NAMES, ROOT, default_gate
from bench.plots import Plot, svg


@attrs.frozen(slots=True)
class Settings:
    """What the command line asked for."""

    short: bool = False
    rounds: int = 3
    peers: tuple[str, ...] = NAMES
    gate: tuple[str, ...] = attrs.field(factory=lambda: tuple(default_gate()))

    def left_out(self, missing: Mapping[str, str]) -> list[str]:
        """One sentence for each peer that could not be started."""
        return [f"Not measured: {name}, because {reason}" for name, reason in missing.items()]


@attrs.frozen(slots=True)
class Section:
    """One measurement, ready to print."""

    name: str
    """The subcommand."""
    title: str
    about: str
    tables: tuple[Table, ...]
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    once: bool = False
    """Measured a single time, whatever the number of rounds."""
    plots: tuple[Plot, ...] = ()
    """Under the tables; the files go into a folder ``plots`` beside the document."""

    def plain(self) -> str:
        """For a terminal."""
        return "\n\n".join([self.title, *(plain(table) for table in self.tables), "\n".join(self.notes)])

    def markdown(self, provenance: str) -> str:
        """For the document, with the sentence that says when and how it was measured."""
        parts = [f"## {self.title}", self.about, *(markdown(table) for table in self.tables)]
        parts += [plot.markdown() for plot in self.plots]
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        parts += ["Loads:\n\n```text\n" + "\n".join(self.commands) + "\n```"] if self.commands else []
        return "\n\n".join([*parts, f"*{provenance}*"])


def first_line(command: Sequence[str]) -> str:
    """The first line that a program prints, on either stream; or that it is not installed, or does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    except OSError:
        return "not installed"
    if done.returncode:
        return f"does not run (status {done.returncode})"
    return (done.stdout.strip() or done.stderr.strip() or "no version").splitlines()[0]


def _from_file(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found.group(1) if found else "unknown"


def machine(lane: str) -> list[tuple[str, str]]:
    """What the figures depend on: processor, kernel, versions of everything measured; `lane` as `bench.peers.lane` has it."""
    memory = int(_from_file("/proc/meminfo", r"^MemTotal:\s+(\d+) kB")) / 1024 / 1024
    processor = _from_file("/proc/cpuinfo", r"^model name\s*:\s*(.+)$")
    return [
        ("processor", f"{processor}, {os.cpu_count()} cores, nothing pinned"),
        ("memory", f"{memory:.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", f"{platform.python_version()}, trio {metadata.version('trio')}"),
        ("Redis", first_line(["redis-server", "--version"])),
        ("redis-benchmark", first_line(["redis-benchmark", "--version"])),
        ("Twemproxy", first_line(["nutcracker", "--version"])),
        ("HAProxy", first_line(["haproxy", "-v"])),
        ("C compiler", first_line([os.environ.get("CC", "gcc"), "--version"]) + " (bench/pace.c)"),
        ("kvgate", f"{first_line([default_gate()[0], '--version'])}, its lane: {lane}"),
    ]


def provenance(settings: Settings, lane: str, *, once: bool) -> str:
    """When, from which commit with which lane, how, and how busy the machine was at the end of the run."""
    now = dt.datetime.now(dt.UTC)
    commit = first_line(["git", "describe", "--always", "--dirty"])
    kind = "short form, " if settings.short else ""
    rounds = f"medians of {settings.rounds} rounds" if settings.rounds > 1 else "one round"
    how = "measured once, one peer after the other" if once else f"{rounds}, peers alternating"
    load = os.getloadavg()[0]
    return (
        f"Measured {now:%Y-%m-%d %H:%M} UTC at commit {commit}, lane {lane}: {kind}{how}; load average {load:.1f} at the end,"
        " the run's own load included."
    )


HEAD = """# Benchmarks

Written by `make bench` (`python -m bench all --write docs/benchmarks.md`); a section is replaced when it is measured
again, and the table of versions with it. `make bench-short` is the short form for every day, and `python -m bench SECTION`
measures one section. Every ratio within a section comes from one run on one machine, with the peers taking turns; compare
ratios, not absolute figures of different days. Processor time is utime + stime of all processes of a proxy, children
included, divided by the requests done (the kernel counts it in ticks of 10 ms); it is steadier than throughput, for which
the load generator, the proxy and the stores compete."""

_SECTION = "<!-- bench:{} -->"
ORDER = (
    "core",
    "matrix",
    "latency",
    "idle",
    "namespaces",
    "tenants",
    "connect",
    "lrange",
    "embedded",
    "footprint",
    "workers",
    "growth",
    "versioned",
    "tikv",
)


def write_plots(folder: Path, sections: Sequence[Section]) -> None:
    """Each section's pictures into `folder`, which is made."""
    for plot in (plot for section in sections for plot in section.plots):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plot.name}.svg").write_text(svg(plot), encoding="utf-8")


def written(old: str, sections: Mapping[str, str], lane: str) -> str:
    """The document with `sections` (name → Markdown) put in or replaced, the others of `old` kept, in the fixed order.

    `lane` stands in the table of versions.
    """
    kept = dict(re.findall(r"<!-- bench:(\w+) -->\n(.*?)\n<!-- /bench -->", old, re.DOTALL))
    kept.update(sections)
    parts = [f"{_SECTION.format(name)}\n{kept[name]}\n<!-- /bench -->" for name in ORDER if name in kept]
    versions = "\n".join(f"| {name} | {value} |" for name, value in machine(lane))
    return "\n\n".join([HEAD, f"| machine and versions | |\n|---|---|\n{versions}", *parts]) + "\n"
