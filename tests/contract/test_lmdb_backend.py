"""The embedded store keeps the contract of backends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvgate_lmdb import adapter
from tests.contract.backend import BackendContract, InPlaceContract, ListingContract, Served, serving
from tests.contract.weighing import WeighingContract


class TestLmdb(BackendContract, InPlaceContract, ListingContract, WeighingContract):
    @pytest.fixture
    async def served(self, tmp_path: Path) -> AsyncIterator[Served]:
        async with serving(adapter.prepare("local", {"path": "data"}, tmp_path)) as served:
            yield served
