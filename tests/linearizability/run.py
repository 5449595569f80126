"""``make histories``: trials with new seeds, one after the other, for as long as is wanted; ends at the first bad history."""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.linearizability import trials
from tests.linearizability.checker import UndecidedError
from tests.linearizability.clients import single_keys
from tests.linearizability.trials import Outcome, Trouble, everything, trial
from tests.tikv.cluster import Cluster
from tests.tikv.program import TikvServer

Trials = Callable[[str], Outcome]
"""Runs one trial of that name."""


@contextmanager
def on_lmdb(operations: int) -> Iterator[Trials]:
    """Two workers on one embedded store, which are killed now and then. (One that dies often is replaced with pauses, so that
    each trial has a gate of its own.)"""

    def run(name: str) -> Outcome:
        with trials.lmdb_gate() as gate:
            return trial([gate], everything, [trials.killed_worker(gate)] * 3, name=name, operations=operations * 4)

    yield run


@contextmanager
def on_tikv(operations: int) -> Iterator[Trials]:
    """Two gates on one store; every second trial loses stores or all of the cluster too, and leaves blocks out."""
    with ExitStack() as stack:
        server = stack.enter_context(TikvServer())
        cluster = Cluster((server.pd,), server)
        gates = [stack.enter_context(gate) for gate in trials.tikv_gates(cluster)]
        prefix = b"kvgtest-"
        mild: list[Trouble] = [
            *(trials.killed(gate) for gate in gates), trials.storm(server, *trials.STORMS), trials.splits(server, prefix),
            trials.silent_pd(server), trials.storm(server, "lost_reply", "unavailable", method="KvCommit", rate=0.3),
        ]  # fmt: skip
        hard: list[Trouble] = [*mild, trials.killed_cluster(server), trials.lost_store(server)]

        def run(name: str) -> Outcome:
            chance = random.Random(f"troubles {name}")
            if chance.random() < 0.5:
                return trial(gates, everything, chance.sample(mild, 3), name=name, operations=operations)
            return trial(gates, single_keys, chance.sample(hard, 3), name=name, operations=operations)

        yield run


WORLDS = {"tikv": on_tikv, "lmdb": on_lmdb}


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every history has an order; 1: one has none (it is kept, and explained on stdout)."""
    parser = argparse.ArgumentParser(prog="python -m tests.linearizability.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long in all (default 5)")
    parser.add_argument("--only", choices=sorted(WORLDS), help="one store; else both in turn")
    parser.add_argument("--operations", type=int, default=500, help="of one trial on TiKV; four times as many on LMDB")
    parser.add_argument("--name", help="one trial of this name (see the lines on stderr), with the same choices")
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.minutes * 60
    with ExitStack() as stack:
        names = [options.only] if options.only else list(WORLDS)
        worlds = {name: stack.enter_context(WORLDS[name](options.operations)) for name in names}
        while True:
            for world, run in worlds.items():
                name = options.name or f"{world}-{os.urandom(4).hex()}"
                begun = time.monotonic()
                try:
                    outcome = run(name)
                except UndecidedError as error:
                    sys.stderr.write(f"{name}: undecided: {error}\n")
                    continue
                history = outcome.history
                sys.stderr.write(
                    f"{name}: {len(history.operations)} operations, {outcome.in_doubt} in doubt, {history.not_executed} not"
                    f" executed, {time.monotonic() - begun:.1f} s\n"
                )
                if outcome.violations:
                    sys.stdout.write(outcome.explain() + "\n")
                    return 1
            if options.name or time.monotonic() > end:
                return 0


if __name__ == "__main__":
    sys.exit(main())
