"""The contract of `kvgate.backend.Weighing`: a class of tests for whoever offers it (see tests/contract/backend.py)."""

from kvgate.backend import Weighing
from kvgate.metrics.weights import Share, Weights
from kvgate.routing.namespaces import Namespace, Namespaces
from tests.contract.backend import Served

SPACES = Namespaces(
    [Namespace("Contract.A", "Contract.A", "x"), Namespace("Contract.B", "Contract.B", "x"), Namespace("No.*", "No.*", "y")]
)


def ours(key: bytes) -> Namespace | None:
    found = SPACES.of(key)
    return found if found is not None and found.backend == "x" else None


async def weigh(served: Served) -> list[Weights]:
    """A run over all sources."""
    assert isinstance(served.backend, Weighing)
    runs = []
    for source in range(served.backend.sources):
        runs.append(Weights(ours))
        await served.backend.weigh(source, runs[-1])
    return runs


def shares(runs: list[Weights], name: str) -> list[Share]:
    return [run.shares[name] for run in runs if name in run.shares]


class WeighingContract:
    """The tests of `kvgate.backend.Weighing`."""

    async def test_an_empty_store_weighs_nothing(self, served: Served) -> None:
        assert all(not run.shares for run in await weigh(served))

    async def test_keys_are_counted_and_weighed(self, served: Served) -> None:
        await served.fill(*(f"Contract.A:{number}" for number in range(700)), "No.Such:key", "elsewhere")
        await served.do("SET", "Contract.B:long", "x" * 100_000)
        await served.do("HSET", "Contract.B:hash", *(word for n in range(3000) for word in (f"f{n}", "v" * 20)))
        await served.do("HSET", "Contract.B:small", "f", "v", "g", "w")
        await served.do("SET", "Contract.B:gone", "v", "PX", "1")
        await served.do("DEL", "Contract.A:0")
        while await served.do("EXISTS", "Contract.B:gone"):
            pass
        runs = await weigh(served)
        assert set().union(*(run.shares for run in runs)) == {"Contract.A", "Contract.B"}
        assert sum(run.keys(share) for run in runs for share in shares([run], "Contract.A")) == 699
        assert sum(share.sized for share in shares(runs, "Contract.A")) == 699
        assert not any(run.partly for run in runs)
        found = {heavy.key: heavy for share in shares(runs, "Contract.B") for heavy in share.by_bytes}
        told = {key: (heavy.kind, heavy.elements) for key, heavy in found.items()}
        assert told == {
            b"Contract.B:long": (b"string", 1),
            b"Contract.B:hash": (b"hash", 3000),
            b"Contract.B:small": (b"hash", 2),
        }
        assert 100_000 < found[b"Contract.B:long"].bytes < 140_000
        assert 3000 * 24 < found[b"Contract.B:hash"].bytes < 3000 * 150
        assert sum(share.bytes for share in shares(runs, "Contract.B")) == sum(heavy.bytes for heavy in found.values())
        longest = max(heavy for share in shares(runs, "Contract.B") for heavy in share.by_elements)
        assert longest.key == b"Contract.B:hash"
