"""Trials: clients work through two processes while things go wrong, and what they recorded is checked."""

import os
import random
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from kvgate_lmdb import tools
from tests.linearizability import clients
from tests.linearizability.checker import Violation, check
from tests.linearizability.clients import Act, Crowd, Keys, final_reads
from tests.linearizability.history import History, write
from tests.server.processes import children
from tests.support.servers import Gate, wait_for
from tests.tikv.cluster import Cluster
from tests.tikv.program import TikvServer

TIKV: Final = """
[backends.ledger]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}"

[backends.audit]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}"

[namespaces]
"Bank.Ledger" = "ledger"
"Bank.Audit" = "audit"
"""
LMDB: Final = """
[backends.local]
type = "lmdb"
path = "$DIR/data"
durability = "{durability}"

[namespaces]
default = "local"
"""

Progress = Callable[[int], None]
"""Waits until clients have done so many operations more."""
Trouble = Callable[[Progress, random.Random], None]
"""Something that goes wrong; all is well again when it returns."""


@attrs.frozen(slots=True)
class Outcome:
    """What came of one trial."""

    history: History
    violations: Sequence[Violation]
    kept: Path | None
    """Where the operations are, when there is no order for them."""

    @property
    def in_doubt(self) -> int:
        """Operations of unknown outcome."""
        return sum(each.replies is None for each in self.history.operations)

    def explain(self) -> str:
        """For people."""
        return "\n".join([*(each.explain() for each in self.violations), f"all operations: {self.kept}"])


def tikv_gates(tikv: Cluster, number: int = 2) -> list[Gate]:
    """Gates on one new store, not started yet. Its two namespaces lie on two ``[backends.*]`` that are one place."""
    pd = ", ".join(f'"{address}"' for address in tikv.pd)
    config = TIKV.format(pd=pd, prefix=tikv.prefix)
    return [Gate(config) for _ in range(number)]


def lmdb_gate(durability: str = "always", workers: int = 2) -> Gate:
    """One gate on the embedded store, not started yet. With one worker it has a journal."""
    return Gate(LMDB.format(durability=durability), gate=f"workers = {workers}\n")


def trial(
    gates: Sequence[Gate], acts: Callable[[Keys], list[Act]], troubles: Sequence[Trouble], *, name: str, operations: int
) -> Outcome:
    """Let six clients do about `operations` in all, one trouble after the other meanwhile. `name` is the seed, and a part of
    all keys, so that it must be new on this store."""
    history, keys, chance = History(), Keys(name), random.Random(name)
    with Crowd(gates, history, acts(keys), seed=name) as crowd:

        def progress(number: int) -> None:
            def done() -> int:
                return len(history.operations) + history.not_executed

            wanted = done() + number
            wait_for(lambda: crowd.failures or done() >= wanted, f"{number} more operations", 60)

        share = max(1, operations // (len(troubles) + 1))
        progress(share)
        for trouble in troubles:
            trouble(progress, chance)
            progress(share)
    final_reads(gates, history, keys)
    violations, kept = check(history.operations), None
    if violations:
        kept = Path(tempfile.mkdtemp(prefix="kvgate-history-")) / f"{name}.jsonl"
        write(kept, history.operations)
    return Outcome(history, violations, kept)


# What goes wrong


def killed(gate: Gate) -> Trouble:
    """The gate is killed in the middle of everything, and started again while the others go on."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        progress(chance.randint(1, 5))
        gate.kill()
        gate.start()

    return trouble


def counted(gate: Gate) -> Trouble:
    """Somebody counts what is in the embedded store, for which the gate gives up its journal for a while."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        data = gate.directory / "data"
        for _ in range(2):
            wait_for((data / "journal-0").exists, "the gate to be alone")
            progress(chance.randint(1, 30))
            assert int(tools.statistics(data, lambda *_: None).figures["keys"]) > 0

    return trouble


def killed_worker(gate: Gate) -> Trouble:
    """One of the gate's workers is killed; its parent starts another."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        progress(chance.randint(1, 5))
        workers = children(gate.pid)
        victim = chance.choice(workers)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(set(children(gate.pid)) - {victim}) == len(workers), "another worker")

    return trouble


def storm(server: TikvServer, *kinds: str, method: str = "", rate: float = 0.1) -> Trouble:
    """Calls to the stores fail, each kind for a while (faults.go says which there are)."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        for kind in kinds:
            server.fault(kind, method, rate=rate)
            progress(chance.randint(10, 20))
            server.clear()

    return trouble


def splits(server: TikvServer, prefix: bytes) -> Trouble:
    """Regions are split under load, and change their leaders."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        for _ in range(3):
            key = prefix + b"M" + chance.randbytes(2)
            server.split(key)
            server.transfer(key)
            progress(5)

    return trouble


def silent_pd(server: TikvServer) -> Trouble:
    """The placement driver answers nobody for a while."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        server.pause_pd()
        progress(chance.randint(1, 4))
        server.resume_pd()

    return trouble


def killed_cluster(server: TikvServer) -> Trouble:
    """All of the cluster is killed and started again."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        progress(chance.randint(1, 5))
        server.kill()
        server.start()

    return trouble


def lost_store(server: TikvServer) -> Trouble:
    """One store does not take connections for a while."""

    def trouble(progress: Progress, chance: random.Random) -> None:
        store = chance.randrange(3)
        server.down(store)
        progress(chance.randint(3, 10))
        server.up(store)

    return trouble


STORMS: Final = ("not_leader", "epoch_not_match", "region_not_found", "server_is_busy", "unavailable", "lost_reply")


def everything(keys: Keys) -> list[Act]:
    """Commands on single keys and blocks."""
    return [*clients.single_keys(keys), *clients.blocks(keys)]
