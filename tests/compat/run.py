"""``make compat``: a long search on every configuration of tests/compat/setting.py, and the totals of what was tried.

``make compat ARGS="--examples 5000 --only H.* --backend lmdb"``. Exit code 1 when anything differs.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from kvgate_compat.outcome import Outcome, count, summary
from kvgate_compat.pair import Tally
from kvgate_compat.progress import Progress
from kvgate_compat.run import Refused, Wanted, compare
from tests.compat.setting import CONFIGURATIONS, gate_before, known_in

RESULTS: Final = Path(".cache") / "compat"
"""Where each configuration's result is written as JSON (docs/compatibility-tool.md), with dialogues of any length."""


def parser() -> argparse.ArgumentParser:
    """Options of `kvgate compat`, but for the servers, which are started."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat.run", description=__doc__)
    parser.add_argument(
        "--backend", action="append", choices=list(CONFIGURATIONS), help="only this configuration; several times"
    )
    parser.add_argument("--examples", type=int, default=1000, metavar="N", help="in each protocol (1000)")
    parser.add_argument("--steps", type=int, default=30, metavar="N", help="most steps of an example (30)")
    parser.add_argument("--resp", type=int, choices=(2, 3), help="only this protocol")
    parser.add_argument("--only", default="", metavar="RE", help="only commands that match whole: 'H.*|DEL'")
    parser.add_argument("--most", type=int, default=20, metavar="N", help="differences in a protocol that end it (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), metavar="N", help="of an earlier search")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Search them all; 0 when nothing differs, 130 when it is interrupted before."""
    options = parser().parse_args(argv)
    progress = Progress(sys.stdout)
    outcomes: dict[str, Outcome] = {}
    lines = []
    for kind in options.backend or CONFIGURATIONS:
        progress.say(f"== {kind}")
        try:
            outcome = _search(kind, options, progress)
        except pytest.skip.Exception as why:
            lines.append(f"{kind}: skipped: {why}")
            continue
        except Refused as why:
            progress.say(f"{kind}: {why}")
            return 2
        outcomes[kind] = outcome
        lines.append(f"{kind}: {summary(outcome.tally)}; {count(len(outcome.found), 'difference')}")
        progress.say(outcome.text())
        _keep(kind, outcome)
        if outcome.interrupted:
            break
    total = Tally()
    for outcome in outcomes.values():
        total.add(outcome.tally)
    found = sum(len(outcome.found) for outcome in outcomes.values())
    progress.say("\n".join(["==", *lines, f"in all: {summary(total)}; {count(found, 'difference')} (--seed {options.seed})"]))
    if found:
        return 1
    return 130 if any(outcome.interrupted for outcome in outcomes.values()) else 0


def _search(kind: str, options: argparse.Namespace, progress: Progress) -> Outcome:
    with gate_before(kind) as setting:
        wanted = Wanted(
            examples=options.examples,
            steps=options.steps,
            seed=options.seed,
            most=options.most,
            only=options.only,
            protocols=(options.resp,) if options.resp else (2, 3),
            space=setting.space,
            known=known_in(kind),
        )
        return compare(setting.url, setting.against, wanted, progress)


def _keep(kind: str, outcome: Outcome) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{kind}.json"
    path.write_text(json.dumps(outcome.as_json(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
