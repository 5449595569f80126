"""tests/compat/results.json: what the latest long search on each configuration has tried, for docs/compatibility.md.

``make compat`` leaves a file for each configuration in .cache/compat. ``python -m tests.compat.results [FOLDER]`` takes those
of whole searches (without ``--only``) that found nothing; the others of the file stay as they are.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tests.compat.setting import CONFIGURATIONS
from tests.support.servers import ROOT

PATH: Final = ROOT / "tests" / "compat" / "results.json"
MADE: Final = Path(".cache") / "compat"
"""Where `make compat` writes."""


class Unfit(Exception):  # noqa: N818 - said to people: the result is not taken
    """A result that says less, or other things, than the page needs; the text says which."""


@attrs.frozen(slots=True)
class Result:
    """One search on one configuration."""

    date: str
    """``2026-11-21``."""
    seed: int
    examples: int
    """Of both protocols."""
    commands: int
    """Sent to each of the two servers."""
    combinations: int
    known: dict[str, int]
    """Known differences that were met: name → times."""
    tried: frozenset[str]
    """Names of the commands that were sent."""


def result_of(found: dict[str, Any], date: str) -> Result:
    """Of the JSON of a search. Raises Unfit."""
    if found["differences"]:
        names = ", ".join(one["command"] for one in found["differences"])
        raise Unfit(f"differences: {names}: mend them, or say in kvgate_compat.differences why they cannot be")
    reasons = {command["reason"] for command in found["commands"].values()}
    if "not asked for" in reasons or len(found["tried"]["protocols"]) < 2:
        raise Unfit("a part only: --only or --resp")
    return Result(
        date=date,
        seed=found["seed"],
        examples=found["tried"]["examples"],
        commands=found["tried"]["commands"],
        combinations=found["tried"]["combinations"],
        known=found["known"],
        tried=frozenset(name for name, command in found["commands"].items() if command["count"]),
    )


def load(path: Path = PATH) -> dict[str, Result]:
    """Configuration → its latest result."""
    entries = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {kind: Result(**{**entry, "tried": frozenset(entry["tried"].split())}) for kind, entry in entries.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Take the results of a folder over; 1 when one was not fit."""
    words = sys.argv[1:] if argv is None else argv
    folder, wrong = Path(words[0]) if words else MADE, 0
    results = load(PATH)
    for kind in CONFIGURATIONS:
        path = folder / f"{kind}.json"
        if not path.exists():
            continue
        date = time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
        try:
            results[kind] = result_of(json.loads(path.read_text("utf-8")), date)
        except Unfit as why:
            print(f"{path}: {why}", file=sys.stderr)
            wrong = 1
    entries = {
        kind: {**attrs.asdict(results[kind]), "tried": " ".join(sorted(results[kind].tried))}
        for kind in CONFIGURATIONS
        if kind in results
    }
    PATH.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
