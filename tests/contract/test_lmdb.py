"""The engine on LMDB keeps the contract, with and without waiting for the disk, and with a journal."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvgate.model import keyspace
from kvgate.model.kv import KvEngine, KvTxn, transact
from kvgate_lmdb.engine import LmdbEngine
from tests.contract.engine import EngineContract, everything


class TestLmdb(EngineContract):
    @pytest.fixture(params=["always", "no", "journal"])
    async def engine(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[KvEngine]:
        engine = LmdbEngine(tmp_path, durable=request.param == "always", map_size=64 << 20)
        engine.open()
        if request.param == "journal":
            assert engine.start_journal(lambda: True)

        async def clear(txn: KvTxn) -> None:
            txn.delete(keyspace.HEADER)  # the contract wants an empty store

        await transact(engine, clear)
        yield engine
        engine.end_journal()
        engine.close()

    async def test_an_unwritten_commit_costs_nothing(self, engine: KvEngine) -> None:
        assert isinstance(engine, LmdbEngine)
        before = engine.env.info()["last_txnid"]
        txn = await engine.begin(write=True)
        await txn.commit()
        assert engine.env.info()["last_txnid"] == before
        assert await everything(engine) == []
