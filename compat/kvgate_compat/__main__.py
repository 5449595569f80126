"""``python -m kvgate_compat``: search for differences between a RESP server and a Redis, and say what was tried.

Without ``--url``: gates in front of a Redis and of the embedded store, which are started for it. **The servers are emptied**:
one that has keys is refused. Exit code 1 when they differ.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from kvgate_compat.search import Difference, Plan, Tally, is_empty, plan, search
from kvgate_compat.table import LEFT_OUT
from tests.compat.setting import CONFIGURATIONS, gate_before, reference

DIALOGUES: Final = Path(".cache") / "compat"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the searches; 0 when nothing differs."""
    options = _parser().parse_args(argv)
    differences = 0
    for kind in [""] if options.url else options.backend or list(CONFIGURATIONS):
        with ExitStack() as stack:
            if options.url:
                url, against, title = options.url, options.against or stack.enter_context(reference()), options.url
            else:
                setting = stack.enter_context(gate_before(kind))
                url, against, title = setting.url, setting.against, f"a gate before {kind}"
            for each in (url, against):
                if not is_empty(each):
                    print(f"{each} has keys, and would be emptied: give an empty server", file=sys.stderr)
                    return 2
            differences += _compare(title, url, against, options)
    return 1 if differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kvgate_compat", description=__doc__)
    parser.add_argument("--url", help="the server to look at: redis://…, rediss://…, unix://…")
    parser.add_argument("--against", help="the server to compare it with; without it a redis-server is started")
    parser.add_argument("--backend", action="append", choices=list(CONFIGURATIONS), help="without --url: only this type")
    parser.add_argument("--examples", type=int, default=1000, help="sequences of commands for each protocol (1000)")
    parser.add_argument("--steps", type=int, default=30, help="most steps of a sequence (30)")
    parser.add_argument("--resp", type=int, choices=(2, 3), help="only this protocol")
    parser.add_argument("--only", default="", help="only commands that this regular expression matches whole: 'H.*|DEL'")
    parser.add_argument("--most", type=int, default=20, help="stop after so many differences for each protocol (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="what the last line of a search named")
    return parser


def _compare(title: str, url: str, against: str, options: argparse.Namespace) -> int:
    wanted = plan(url, against, options.only)
    print(f"{title}: {len(wanted.names)} commands", flush=True)
    found: list[Difference] = []
    for proto in [options.resp] if options.resp else [2, 3]:
        tally, began = Tally(), time.monotonic()

        def tell(difference: Difference, proto: int = proto) -> None:
            path = _keep(difference, proto, title)
            print(f"RESP{proto} {difference}\n  whole, for redis-cli < FILE: {path}", flush=True)

        sizes = {"examples": options.examples, "steps": options.steps, "most": options.most}
        sizes["first_seed"] = options.seed + proto * 10**9  # other examples for each protocol
        found += search(url, against, wanted, tally, proto=proto, tell=tell, **sizes)
        print(f"RESP{proto}: {summary(tally)}, {time.monotonic() - began:.0f} s", flush=True)
    print(skipped(wanted))
    result = f"{len(found)} differences" if found else "no difference found"
    print(f"{title}: {result} (--seed {options.seed})", flush=True)
    return len(found)


def summary(tally: Tally) -> str:
    """What was tried, in one line."""
    return (
        f"{tally.examples:,} examples, {tally.total:,} commands of {len(tally.commands)} kinds,"
        f" {len(tally.combinations):,} combinations of options, {tally.pipelines:,} pipelines,"
        f" {tally.transactions:,} transactions, {sum(tally.known.values()):,} known differences"
    )


def skipped(wanted: Plan) -> str:
    """What was not tried, and why, for people."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in wanted.skipped.items():
        by_reason.setdefault(reason, []).append(name)
    lines = [f"  {', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    lines += [f"  {what}: {reason}" for what, reason in LEFT_OUT.items()]
    return "not tried:\n" + "\n".join(lines)


def _keep(difference: Difference, proto: int, title: str) -> Path:
    """Write the dialogue to a file that redis-cli can read."""
    DIALOGUES.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{title}-resp{proto}-{difference.command}")
    path = DIALOGUES / f"{name}.txt"
    path.write_text("\n".join(difference.dialogue) + "\n", "utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
