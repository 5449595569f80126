"""``python -m tests.clients.run``: every client library's program on every backend, a table, and results.json."""

import argparse
import json
import os
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.clients import libraries
from tests.clients.libraries import CLIENTS, Client, Failed, Unavailable, prepare
from tests.clients.setting import BACKENDS, Setting, a_server, gate_before

TIMEOUT = 120.0
"""Seconds for one program; a client that waits for a reply for ever is a failure."""
RESULTS = Path(__file__).parent / "results.json"
"""A list of `Result.entry`, in the order of `CLIENTS` and `BACKENDS`; docs/compatibility.md is made of it."""


@attrs.frozen(slots=True)
class Result:
    """What one program told."""

    client: Client
    backend: str
    parts: dict[str, str]
    """``ok``, ``unsupported`` or ``FAILED …`` for each part."""

    @property
    def failures(self) -> dict[str, str]:
        """Parts that went wrong, with the reasons."""
        return {part: told for part, told in self.parts.items() if told not in ("ok", "unsupported")}

    @property
    def outcome(self) -> str:
        """``works``, ``works except …``, ``cannot``."""
        lacking = [part for part, told in self.parts.items() if told != "ok"]
        if not lacking:
            return "works"
        return "cannot" if len(lacking) == len(self.parts) else f"works except {', '.join(lacking)}"

    def entry(self) -> dict[str, str]:
        """As it stands in results.json."""
        notes = [f"{part}: {told}" for part, told in self.failures.items()]
        if "unsupported" in self.parts.values():
            notes.append("what the store lacks is told by the library's ordinary error, and the connection goes on")
        return {
            "name": self.client.name,
            "version": self.client.version,
            "protocol": f"RESP{self.client.protocol}",
            "backend": self.backend,
            "outcome": self.outcome,
            "notes": "; ".join(notes),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }


def told(output: str, client: Client, types: str) -> dict[str, str]:
    """What the program wrote about each part; one that it left out, or that went otherwise than it has to, is a failure."""
    lines = dict(re.findall(r"^([a-z ]+): (ok|unsupported|FAILED.*)$", output, re.MULTILINE))
    parts = {}
    for part in client.parts:
        wanted = "unsupported" if part in libraries.BEYOND and types != "all" else "ok"
        line = lines.get(part, "FAILED nothing was told of it")
        parts[part] = line if line == wanted or line.startswith("FAILED") else f"FAILED told {line}, not {wanted}"
    return parts


def check(client: Client, setting: Setting, backend: str = "") -> Result:
    """Run its program, on keys that nobody has used. Raises `Failed` when it told nothing of its parts."""
    mark = f"{client.name.replace(' ', '-')}-{os.urandom(4).hex()}"
    url, keys = setting.url, ",".join(f"{beginning}:{mark}" for beginning in setting.keys)
    if client.versioned:
        url, keys = setting.versioned[0], f"{setting.versioned[1]}:{mark}"
    line = [*client.command, url, client.protocol, keys, setting.types]
    try:
        output = libraries.run(line, timeout=TIMEOUT, **client.environment)
    except Failed as failed:
        if not re.search(r"^[a-z ]+: FAILED", str(failed), re.MULTILINE):
            raise
        output = str(failed)
    return Result(client, backend, told(output, client, setting.types))


def _save(results: list[Result], path: Path) -> None:
    """Put the results into the file: others there stay, those of versions that are not checked any more go."""
    order = [(c.name, c.version, f"RESP{c.protocol}", backend) for c in CLIENTS for backend in BACKENDS]
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    entries: dict[Any, dict[str, str]] = {}
    for entry in [*known, *(result.entry() for result in results)]:
        entries[tuple(entry[field] for field in ("name", "version", "protocol", "backend"))] = entry
    kept = [entries[key] for key in order if key in entries]
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _table(cells: dict[tuple[str, str], str], labels: list[str], backends: list[str]) -> str:
    width = max(map(len, labels), default=0)
    rows = [("", backends), *((label, [cells.get((label, backend), "-") for backend in backends]) for label in labels)]
    return "\n".join(" ".join([f"{label:{width}}", *(f"{cell:>8}" for cell in row)]) for label, row in rows)


class Matrix:
    """Runs libraries on backends, one after another, and says how far it is."""

    def __init__(self, clients: list[Client], backends: list[str]) -> None:
        """Nothing runs yet."""
        self.clients, self.backends = clients, backends
        self.results: list[Result] = []
        self.cells: dict[tuple[str, str], str] = {}
        self.failed = False
        self._count = 0

    def _tell(self, label: str, backend: str, cell: str, text: str) -> None:
        self.cells[label, backend] = cell
        _say(f"[{self._count}/{len(self.clients) * len(self.backends)}] {label} on {backend}: {text}")

    def _one(self, client: Client, setting: Setting, backend: str) -> None:
        self._count += 1
        try:
            prepare(client)
            result = check(client, setting, backend)
        except Unavailable as why:
            self._tell(client.label, backend, "skipped", f"skipped, {why}")
            return
        except Failed as why:
            result = Result(client, backend, dict.fromkeys(client.parts, "FAILED it ended before"))
            self._tell(client.label, backend, "FAILED", f"FAILED\n{why}")
        else:
            cell = "FAILED" if result.failures else "works" if result.outcome == "works" else "partly"
            self._tell(client.label, backend, cell, "\n  ".join([result.outcome, *map(": ".join, result.failures.items())]))
        self.failed |= bool(result.failures)
        self.results.append(result)

    def run(self, url: str, types: str) -> None:
        """All of them; `url`: one server in place of the gates."""
        for backend in self.backends:
            place: AbstractContextManager[Setting] = nullcontext(a_server(url, types)) if url else gate_before(backend)
            try:
                with place as setting:
                    for client in self.clients:
                        self._one(client, setting, backend)
            except pytest.skip.Exception as why:
                self._count += len(self.clients)
                _say(f"{backend}: skipped, {why}")
        _say("\n" + _table(self.cells, [client.label for client in self.clients], self.backends))


def main() -> int:
    """Exit code 1 when a check failed; a missing tool chain is told and no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression for what is checked: 'redis-py 8', 'RESP3'")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="only on this one; may be repeated")
    parser.add_argument("--url", default="", help="a running gate or Redis in place of the gates; writes no results")
    parser.add_argument("--types", default="all", choices=("all", "strings+hashes"), help="with --url: what is there")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that results are put into")
    options = parser.parse_args()
    clients = [client for client in CLIENTS if re.search(options.only, client.label)]
    backends = ["url"] if options.url else [name for name in BACKENDS if name in (options.backend or BACKENDS)]
    matrix = Matrix(clients, backends)
    matrix.run(options.url, options.types)
    if not options.url:
        _save(matrix.results, options.results)
    return 1 if matrix.failed else 0


if __name__ == "__main__":
    sys.exit(main())
