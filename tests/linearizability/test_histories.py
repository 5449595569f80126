"""Short histories through two gates on TiKV and workers on the embedded store; ``make histories`` records long ones."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.linearizability import trials
from tests.linearizability.clients import single_keys
from tests.linearizability.trials import Outcome, everything, trial
from tests.support.servers import Gate
from tests.tikv.cluster import Cluster, cluster

NAME = os.urandom(3).hex()
"""The seed: another one in each run. What fails is kept whole, and needs none to be looked at again."""


@pytest.fixture(scope="module")
def tikv() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture(scope="module")
def pair(tikv: Cluster) -> Iterator[list[Gate]]:
    """Two gates on one store."""
    with ExitStack() as stack:
        yield [stack.enter_context(gate) for gate in trials.tikv_gates(tikv)]


@pytest.fixture
def workers() -> Iterator[Gate]:
    with trials.lmdb_gate() as gate:
        yield gate


def assert_fine(outcome: Outcome) -> None:
    """There is an order, and something happened."""
    assert not outcome.violations, outcome.explain()
    done = [each for each in outcome.history.operations if each.replies is not None]
    assert len(done) > 100
    assert any(each.expected for each in done), "no comparison came out well"


def test_two_workers_on_the_embedded_store(workers: Gate) -> None:
    """One of them is killed twice."""
    troubles = [trials.killed_worker(workers)] * 2
    assert_fine(trial([workers], everything, troubles, name=f"{NAME}w", operations=1500))


@pytest.mark.parametrize("durability", ["always", "no"])
def test_one_worker_with_a_journal(durability: str) -> None:
    """It is killed twice, and others look at its store meanwhile."""
    with trials.lmdb_gate(durability, workers=1) as gate:
        troubles = [trials.killed(gate), trials.counted(gate), trials.killed(gate)]
        assert_fine(trial([gate], everything, troubles, name=f"{NAME}{durability}", operations=2000))


def test_two_gates_on_tikv(tikv: Cluster, pair: list[Gate]) -> None:
    """A gate is killed; what may go wrong without a lost store goes wrong."""
    server = tikv.faulty
    troubles = [trials.killed(pair[0]), trials.storm(server, "not_leader", "lost_reply")]
    assert_fine(trial(pair, everything, troubles, name=f"{NAME}g", operations=300))


def test_a_cluster_that_is_killed(tikv: Cluster, pair: list[Gate]) -> None:
    """On single keys: what the client library leaves out of a block then is seen for a moment (docs/tikv.md)."""
    assert_fine(trial(pair, single_keys, [trials.killed_cluster(tikv.faulty)], name=f"{NAME}c", operations=300))
