"""The backend on TiKV keeps the contract of backends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvgate_tikv import adapter
from tests.contract.backend import BackendContract, ListingContract, Served, serving
from tests.contract.weighing import WeighingContract
from tests.tikv.cluster import Cluster


class TestTikv(BackendContract, ListingContract, WeighingContract):
    @pytest.fixture
    async def served(self, tikv: Cluster) -> AsyncIterator[Served]:
        async with serving(adapter.prepare("ledger", {"pd": list(tikv.pd), "prefix": tikv.prefix}, Path())) as served:
            yield served
