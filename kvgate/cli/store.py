"""`kvgate store`: check, count, compact and back up a store that is files of this machine."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kvgate.backend import StoreStatistics, StoreTools
from kvgate.cli.progress import progress
from kvgate.config import adapter, installed_types
from kvgate.errors import ConfigurationError

_MOST_SHOWN: Final = 100  # problems
_TOP: Final = 20  # groups


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "store",
        help="check, count, compact or back up an embedded store",
        description="Work on the files of an embedded store. All but compact may run while a gate serves it. Progress goes to"
        " standard error.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="verify everything (the gate may run)",
        description="Read every record of one moment, and say what docs/keyspace.md does not allow. Exits 1 when there is such"
        " a thing. A gate may serve the store meanwhile; its file grows by what is written until the check is done.",
    )
    check.set_defaults(run=_check)
    stats = actions.add_parser(
        "stats",
        help="keys and bytes, by namespace and type (the gate may run)",
        description="Count keys and bytes by namespace and by type, and what waits for the sweeper. A gate may serve the"
        " store.",
    )
    stats.add_argument("--json", action="store_true", help="everything as JSON")
    stats.set_defaults(run=_stats)
    compact = actions.add_parser(
        "compact",
        help="give free space back to the disk (the gate must be stopped)",
        description="Rewrite the file without its free pages, and put it in the place of the old one at the end. The gate must"
        " be stopped: the command refuses to begin while one has the store open, and one that starts meanwhile waits. The disk"
        " needs room for the second file.",
    )
    compact.set_defaults(run=_compact)
    backup = actions.add_parser(
        "backup",
        help="copy the state of one moment (the gate may run)",
        description="Copy the state of one moment to the new folder TARGET, which is a store like the one it comes from. A"
        " gate may serve the store. TARGET appears when the copy is whole and on the disk.",
    )
    for action in (check, stats, compact, backup):
        action.add_argument("path", metavar="PATH", type=Path, help="the store's folder: the backend's path, ./kvgate-data")
    backup.add_argument("target", metavar="TARGET", type=Path)
    backup.set_defaults(run=_backup)


def _tools(path: Path) -> StoreTools:
    """The tools of the adapter whose store lies at `path`.

    Raises:
        ConfigurationError: there is none.
    """
    for kind in installed_types():
        try:
            found = adapter(kind)
        except LookupError as error:  # one adapter that cannot be imported does not hide the others
            print(f"kvgate: {error.args[0]}", file=sys.stderr)
            continue
        if isinstance(found, StoreTools) and found.has_store(path):
            return found
    raise ConfigurationError([f"{path}: no store is there"])


def _check(arguments: argparse.Namespace) -> int:
    """1 when something is wrong."""
    wrong = 0
    for problem in _tools(arguments.path).check_store(arguments.path, progress()):
        wrong += 1
        if wrong <= _MOST_SHOWN:
            print(problem, flush=True)
    if wrong > _MOST_SHOWN:
        print(f"… and {wrong - _MOST_SHOWN:,} more")
    print(f"{arguments.path}: {'good' if not wrong else f'not good: {wrong:,} problems'}")
    return 1 if wrong else 0


def _stats(arguments: argparse.Namespace) -> int:
    found = _tools(arguments.path).store_statistics(arguments.path, progress())
    if arguments.json:
        json.dump(_as_json(found), sys.stdout, indent=1)
        print()
        return 0
    width = max(map(len, found.figures))
    for name, figure in found.figures.items():
        print(f"{name:<{width}}  {figure:>18,}" if isinstance(figure, int) else f"{name:<{width}}  {figure:>18}")
    _table("type", found.types)
    ordered = sorted(found.groups.items(), key=lambda item: -item[1][1])
    top = {_name(group): amount for group, amount in ordered[:_TOP]}
    rest = [amount for _, amount in ordered[_TOP:]]
    if rest:
        top[f"… {len(rest):,} others"] = (sum(keys for keys, _ in rest), sum(size for _, size in rest))
    _table("namespace", top)
    return 0


def _table(title: str, rows: Mapping[str, tuple[int, int]]) -> None:
    if rows:
        width = max(len(title), *map(len, rows))
        print(f"\n{title:<{width}}  {'keys':>14}  {'bytes':>18}")
        for name, (keys, size) in rows.items():
            print(f"{name:<{width}}  {keys:>14,}  {size:>18,}")


def _name(group: bytes) -> str:
    return group.decode("utf-8", "backslashreplace") or "(none)"


def _as_json(found: StoreStatistics) -> dict[str, Any]:
    return {
        "figures": dict(found.figures),
        "types": {name: {"keys": keys, "bytes": size} for name, (keys, size) in found.types.items()},
        "namespaces": {
            group.decode("utf-8", "backslashreplace"): {"keys": keys, "bytes": size}
            for group, (keys, size) in found.groups.items()
        },
    }


def _compact(arguments: argparse.Namespace) -> int:
    before, after = _tools(arguments.path).compact_store(arguments.path, progress())
    print(f"{arguments.path}: {before:,} bytes before, {after:,} now")
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    size = _tools(arguments.path).back_up_store(arguments.path, arguments.target, progress())
    print(f"{arguments.target}: {size:,} bytes; try: kvgate store check {arguments.target}")
    return 0
