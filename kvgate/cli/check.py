"""`kvgate check`: say every mistake of a configuration."""

import argparse
import sys
from pathlib import Path
from typing import Any

from kvgate.config import load


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration",
        description="Say every mistake of a configuration, each with its key path. Connects to nothing.",
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path)
    parser.set_defaults(run=run)


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def run(arguments: argparse.Namespace) -> int:
    """0 when it can be served, whatever the warnings."""
    checked = load(arguments.config)
    for warning in checked.warnings:
        print(f"{arguments.config}: warning: {warning}", file=sys.stderr)
    users = _count(len(checked.users.by_name), "user") if checked.users.configured else "no users"
    print(
        f"{arguments.config}: good: {_count(len(checked.backends), 'backend')},"
        f" {_count(len(checked.namespaces.rules), 'namespace')}, {users}; sha256 {checked.sha256}"
    )
    return 0
