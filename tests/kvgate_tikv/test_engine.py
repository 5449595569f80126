"""The engine on TiKV keeps the contract, in one region and over several."""

import pytest

from kvgate.model.kv import KvEngine, KvTxn, transact
from kvgate_tikv.bridge import connect
from kvgate_tikv.engine import TikvEngine
from tests.contract.engine import EngineContract, everything, fill
from tests.tikv.cluster import Cluster


@pytest.fixture(params=[False, True], ids=["shim", "thread"])
async def engine(tikv: Cluster, request: pytest.FixtureRequest) -> TikvEngine:
    engine = TikvEngine(tikv.prefix.encode())
    client = await connect(tikv.pd, thread=request.param)
    assert client.way == ("thread" if request.param else "shim")
    if tikv.server is not None:
        for key in (b"", b"b", b"p00100", b"\xf0"):
            tikv.server.split(engine.space.inside(key))
    engine.use(client)
    return engine


class TestTikv(EngineContract):
    """`engine` above."""


async def test_pages_are_cut_where_they_should_end(engine: TikvEngine, tikv: Cluster) -> None:
    """A scan over many regions asks few of them."""
    server = tikv.faulty
    keys = [b"M" + (number * 2**32 // 1000).to_bytes(4, "big") for number in range(1000)]
    await fill(engine, dict.fromkeys(keys, b"v"))
    for number in range(50):
        server.split(engine.space.inside(b"M" + (number * 2**32 // 50).to_bytes(4, "big")))
    txn = await engine.begin()
    assert await txn.scan_keys(b"M", b"N", 20) == keys[:20]  # learns how dense they are
    before = server.calls()["KvScan"]
    start, found, pages = b"M", list[bytes](), 0
    while page := await txn.scan_keys(start, b"N", 20):
        found += page
        start = page[-1] + b"\x00"
        pages += 1
    await txn.rollback()
    assert found == keys
    assert pages == 50
    assert server.calls()["KvScan"] - before < 50 * 5  # asking every region would take 50 * 51 / 2


async def test_the_clock_is_the_placement_drivers(engine: TikvEngine, tikv: Cluster) -> None:
    server = tikv.faulty
    await engine.timestamp()
    before = engine.now_ms()
    server.step_clock(3_600_000)
    await engine.timestamp()
    assert 3_600_000 <= engine.now_ms() - before < 3_660_000


async def test_two_stores_in_one_cluster_do_not_meet(engine: TikvEngine, tikv: Cluster) -> None:
    other = TikvEngine(tikv.prefix.encode())
    other.use(engine.client)
    await fill(engine, {b"k": b"ours"})
    await fill(other, {b"k": b"theirs", b"l": b"theirs"})
    assert await everything(engine) == [(b"k", b"ours")]
    assert await everything(other) == [(b"k", b"theirs"), (b"l", b"theirs")]


async def test_a_snapshot_begun_to_read_does_not_write(engine: KvEngine) -> None:
    txn = await engine.begin()
    txn.put(b"k", b"v")
    with pytest.raises(TypeError, match="begun to read"):
        await txn.commit()
    await txn.rollback()


async def test_calls_of_one_transaction(engine: TikvEngine, tikv: Cluster) -> None:
    """As docs/tikv.md counts them; both keys are in one region that is known."""
    server = tikv.faulty
    await fill(engine, {b"k": b"v"})
    await fill(engine, {b"kk": b"v"})  # one by one: a second record of one commit would follow in the background

    async def counted(write: bool) -> dict[str, int]:
        before = server.calls()
        if write:
            await transact(engine, _copy)
        else:
            txn = await engine.begin()
            assert await txn.get_many([b"k", b"kk"]) == [b"v", b"v"]
            await txn.rollback()
        after = server.calls()
        return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}

    assert await counted(write=False) == {"Tso": 1, "KvBatchGet": 1}
    calls = await counted(write=True)
    assert calls == {"Tso": 3, "KvGet": 1, "KvPrewrite": 1, "KvCommit": 1, "KvBatchGet": 1}  # the last one reads it back


async def _copy(txn: KvTxn) -> None:
    txn.put(b"k", await txn.get(b"k") or b"none")
