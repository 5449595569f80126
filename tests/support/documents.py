"""Finds the command blocks of README.md and docs/, runs their commands on a terminal, and compares what they print.

Rules for writers. A fenced block ``console`` is a dialogue: lines that begin with ``$ `` are commands, the lines after each
are what it prints. A block ``sh`` is commands alone, which must end with 0. A comment before a block says where it runs:

- none: in an empty folder (one for each document, its blocks in order), with `kvgate` and Python on the PATH;
- ``<!-- run with: gate -->``: beside a gate with the embedded store, on port 6380 of the text;
- ``<!-- run with: demo -->``: beside ``make run-demo``: its gate is port 6380 of the text, its stores 7001 and 7002;
- ``<!-- not run: reason -->``: not run; the tests count and list these.

Servers get free ports, put in for those of the text. ``…`` stands for anything within a line, a line ``…`` for any lines.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.support.servers import ROOT
from tests.support.terminal import Terminal

BLOCK = re.compile(r"(?:^<!-- (?P<marker>.+?) -->\n)?^```(?P<kind>[a-z]+)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = ("console", "sh")


@attrs.frozen
class Block:
    """One fenced block of commands."""

    document: str
    line: int
    kind: str
    body: str
    setting: str
    """``""``, ``gate``, ``demo``, or ``not run``."""
    reason: str = ""
    """Why it is not run."""

    @property
    def name(self) -> str:
        """For test ids and messages."""
        return f"{self.document}:{self.line}"

    def steps(self) -> "list[tuple[str, str]]":
        """(command, what it prints); of ``sh`` blocks nothing is said about the output (``…``)."""
        if self.kind == "sh":
            lines = re.sub(r"\\\n\s*", "", self.body).splitlines()
            return [(line, "…") for line in lines if line.strip() and not line.startswith("#")]
        parts = re.split(r"^\$ ", self.body, flags=re.MULTILINE)
        assert not parts[0].strip(), f"{self.name}: output before the first command"
        return [(command, output) for command, _, output in (part.partition("\n") for part in parts[1:])]


def documents() -> list[Path]:
    """README.md and docs/, generated pages too."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks() -> list[Block]:
    """Every command block of every document.

    Raises:
        ValueError: a marker that is none.
    """
    found = []
    for path in documents():
        text = path.read_text("utf-8")
        for match in BLOCK.finditer(text):
            if match["kind"] not in KINDS:
                continue
            setting, _, rest = (match["marker"] or "").partition(": ")
            name, line = str(path.relative_to(ROOT)), text.count("\n", 0, match.start("kind")) + 1
            if setting == "run with" and rest in {"gate", "demo"}:
                setting, rest = rest, ""
            elif setting == "not run" and len(rest) > 10:
                pass
            elif setting:
                msg = f"{name}:{line}: unknown marker {match['marker']!r}"
                raise ValueError(msg)
            found.append(Block(name, line, match["kind"], match["body"], setting, rest))
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is `expected`, with ``…`` for what differs; spaces at line ends and empty lines at the end aside."""

    def line_pattern(line: str) -> str:
        return r"(?:[^\n]*\n)*" if line == "…" else r"[^\n]*".join(map(re.escape, line.split("…"))) + r"\n"

    pattern = "".join(line_pattern(line.rstrip()) for line in expected.rstrip().splitlines())
    shown = "".join(line.rstrip() + "\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, shown) is not None


def with_ports(text: str, ports: Mapping[int, int]) -> str:
    """`text` with each port of the documents replaced by the real one."""
    return re.sub(r"\b\d{4}\b", lambda match: str(ports.get(int(match[0]), match[0])), text)


def run(command: str, folder: Path, timeout: float = 60.0) -> tuple[int, str]:
    """Run a shell command on a terminal; its exit code and what it printed."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'backends'}"
    with Terminal(["bash", "-c", f"cd {folder} && {command}\n"], environment) as terminal:
        printed = terminal.rest(timeout)
        return terminal.wait(timeout), printed
