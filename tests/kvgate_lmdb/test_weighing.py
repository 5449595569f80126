"""What keys weigh is exact: the bytes that `kvgate store stats` counts, however small the portions are."""

from pathlib import Path

import pytest

from kvgate.metrics.weights import Weights
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate_lmdb import tools, weighing
from tests.kvgate_lmdb.store import running

SPACES = Namespaces([Namespace("Ads.*", "Ads.*", "x"), Namespace("Bank.L", "Bank.L", "x")])


@pytest.mark.parametrize("portion", [0.0, weighing.SLICE])
async def test_bytes_are_those_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: float) -> None:
    monkeypatch.setattr(weighing, "SLICE", portion)
    async with running(tmp_path / "data") as store:
        for number in range(300):
            await store.ask(b"SET", b"Ads.P:%d" % number, b"v" * number, *((b"EX", b"1000") if number % 3 else ()))
        await store.ask(b"SET", b"Ads.P:long", bytes(range(256)) * 1000)
        await store.ask(b"SET", b"Ads.P:" + b"k" * 500, b"v")
        await store.ask(b"HSET", b"Ads.H:big", *(word for n in range(900) for word in (b"f%d" % n, b"v" * (n % 50))))
        await store.ask(b"HSET", b"Ads.H:big", b"long", b"w" * 100_000, b"f" * 500, b"v")
        await store.ask(b"HSET", b"Ads.H:small", b"f", b"v")
        await store.ask(b"EXHSET", b"Bank.L:versioned", b"f", b"v", b"EX", b"100")
        for number in range(500):
            await store.ask(b"EXHSET", b"Bank.L:versions", b"f%d" % number, b"v", b"EX", b"1000")
        await store.ask(b"EXSET", b"Bank.L:string", b"v")
        weights = Weights(SPACES.of)
        await store.backend.weigh(0, weights)
    counted = tools.statistics(tmp_path / "data", lambda *_: None).groups
    told = {name.encode(): (share.seen, share.bytes) for name, share in weights.shares.items()}
    assert told == {group: found for group, found in counted.items() if group}
    assert set(told) == {b"Ads.P", b"Ads.H", b"Bank.L"}
    elements = {heavy.key: heavy.elements for share in weights.shares.values() for heavy in share.by_elements}
    assert elements[b"Ads.H:big"] == 902
    assert elements[b"Ads.H:small"] == 1
    assert elements[b"Bank.L:versions"] == 500
