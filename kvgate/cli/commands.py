"""`kvgate commands`: which command works on which kind of backend."""

import argparse
import json
import sys
from typing import Any

from kvgate.backend import Adapter
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command, supports
from kvgate.config import adapter, installed_types
from kvgate.errors import ConfigurationError


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "commands",
        help="the capability matrix",
        description="Say of every command whether each kind of backend can do it: yes, no, gate (the gate answers, whatever"
        " the backend) or refused (never available through the gate).",
    )
    parser.add_argument("--backend", metavar="TYPE", help="only this kind: redis, kvrocks, lmdb …")
    parser.add_argument("--json", action="store_true", help="as JSON, with flags, categories and reasons")
    parser.set_defaults(run=run)


def _adapters(wanted: str | None) -> dict[str, Adapter]:
    """The adapters to show. One that cannot be imported is an error when it was asked for, else a line on stderr."""
    found: dict[str, Adapter] = {}
    for kind in [wanted] if wanted is not None else installed_types():
        try:
            found[kind] = adapter(kind)
        except LookupError as error:
            if wanted is not None:
                raise ConfigurationError([f"--backend: {error.args[0]}"]) from None
            print(f"kvgate: {error.args[0]}", file=sys.stderr)
    return found


def _word(spec: CommandSpec, found: Adapter) -> str:
    if spec.action is Action.REFUSE:
        return "refused"
    if spec.capability == "gate":
        return "gate"
    return "yes" if supports(spec, found.capabilities) else "no"


def _as_json(spec: CommandSpec, adapters: dict[str, Adapter]) -> dict[str, Any]:
    return {
        "name": spec.lower,
        "group": spec.group,
        "since": spec.since,
        "summary": spec.summary,
        "arity": spec.arity,
        "flags": sorted(spec.flags),
        "categories": sorted(spec.categories),
        "action": spec.action.value,
        "merge": spec.merge.value,
        "capability": spec.capability,
        "why": spec.why,
        "backends": {kind: _word(spec, found) for kind, found in adapters.items()},
    }


def run(arguments: argparse.Namespace) -> int:
    """One row per command; containers by their subcommands."""
    adapters = _adapters(arguments.backend)
    specs = [spec for spec in every_command() if not spec.subcommands]
    if arguments.json:
        json.dump([_as_json(spec, adapters) for spec in specs], sys.stdout, indent=1)
        print()
        return 0
    rows = [("command", "capability", "action", *adapters, "note")]
    rows += [
        (spec.lower, spec.capability, spec.action.value, *(_word(spec, found) for found in adapters.values()), spec.why)
        for spec in specs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
    return 0
