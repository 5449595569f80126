"""The engine in memory keeps the contract."""

import pytest

from kvgate.model.kv import KvEngine
from kvgate.model.memory import MemoryEngine
from tests.contract.engine import EngineContract


class TestMemory(EngineContract):
    @pytest.fixture
    def engine(self) -> KvEngine:
        return MemoryEngine()
