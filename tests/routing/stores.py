"""Backends without a store behind them, for tests of what is decided about backends."""

from pathlib import Path
from typing import Any, ClassVar

from kvgate.backend import BackendStatistics, Topology
from kvgate.errors import ConfigurationError
from kvgate.routing.endpoints import parse_resp_store


class Embedded:
    """A backend that is no pass-through."""

    type = "lmdb"
    max_value = 1000

    def __init__(self, name: str, capabilities: frozenset[str]) -> None:
        self.name = name
        self.capabilities = capabilities

    async def run(self, **_: Any) -> None:
        raise NotImplementedError

    async def execute(self, commands: Any, call: Any) -> Any:
        raise NotImplementedError

    def statistics(self) -> BackendStatistics:
        return BackendStatistics(up=True)


class Passing(Embedded):
    """A pass-through backend."""

    type = "redis"

    def __init__(self, name: str, topology: Topology, capabilities: frozenset[str]) -> None:
        super().__init__(name, capabilities)
        self.topology = topology

    def attach(self, shared: Any) -> None:
        raise NotImplementedError

    async def own(self, shard: int, *, proto: int, deadline: float) -> Any:
        raise NotImplementedError


class TinyAdapter:
    """An adapter of a given type: ``redis`` takes RESP options, any other ``path`` and ``single_gate``."""

    defaults: ClassVar[dict[str, int]] = {"max_value": 1000}

    def __init__(self, kind: str, capabilities: frozenset[str] = frozenset({"string", "generic"})) -> None:
        self.type = kind
        self.capabilities = capabilities
        self.resp = kind == "redis"

    def prepare(self, name: str, options: Any, base: Path) -> Embedded:
        if self.resp:
            return Passing(name, parse_resp_store(options, base), self.capabilities)
        unknown = [f"{key}: unknown key" for key in options if key not in ("path", "single_gate", "durability")]
        if not options.get("path"):
            unknown.append("needs a path: path = …")
        if unknown:
            raise ConfigurationError(unknown)
        return Embedded(name, self.capabilities)
