"""What the entry point of the Redis adapter names: checks a configuration table and makes the backend."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from kvgate.backend import Backend, Topology
from kvgate.errors import ConfigurationError
from kvgate.lane.own import LIMIT
from kvgate.policy.options import Options
from kvgate.routing.endpoints import parse_resp_store
from kvgate.wire.request import BULK_LIMIT
from kvgate_redis.backend import MAX_VALUE, RedisBackend
from kvgate_redis.dialect import Dialect, PlainCursors

OWN_OPTIONS: Final = ("resp3", "own_connections")
"""What the adapters read themselves, beyond the addresses."""

CAPABILITIES: Final = frozenset(
    {
        "string",
        "bitmap",
        "hyperloglog",
        "hash",
        "conditional",
        "exstring",
        "exhash",
        "lock",
        "list",
        "set",
        "zset",
        "geo",
        "stream",
        "generic",
        "expire",
        "listing",
        "transaction",
        "script",
        "function",
        "pubsub",
        "replication",
    }
)
"""Everything that has to do with data: what is left are the gate's own answers, and a process' administration."""


@attrs.frozen(slots=True)
class RespAdapter:
    """An `Adapter` (see kvgate.backend) for a store that speaks the Redis protocol, in its dialect."""

    dialect: Dialect
    resp3: bool
    """Whether HELLO 3 is understood, where the configuration does not say."""
    defaults: Mapping[str, int]

    @property
    def type(self) -> str:
        """See `Adapter`."""
        return self.dialect.type

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Adapter`."""
        return self.dialect.capabilities

    def prepare(self, name: str, options: Mapping[str, Any], base: Path) -> Backend:
        """See `Adapter.prepare`: `url`, or `groups` with `slots` and `hash`; `user`, `password`, `password_file`, `tls_…`,
        `rename`; `resp3 = false` for a store without HELLO 3; `own_connections`, the limit of connections for blocking
        commands, WATCH and subscriptions (128).
        """
        mistakes: list[str] = []
        reader = Options(options, mistakes)
        resp3 = reader.flag("resp3", default=self.resp3)
        own_connections = reader.integer("own_connections", LIMIT, 1, 65_536)
        topology: Topology | None = None
        try:
            topology = parse_resp_store(options, base, extra=OWN_OPTIONS, resp3=resp3)
        except ConfigurationError as error:
            mistakes += error.mistakes
        if not self.dialect.users and topology is not None and any(shard.user for shard in topology.shards):
            mistakes.append(f"user: {self.type} knows no users: its token is the password")
        if mistakes or topology is None:
            raise ConfigurationError(mistakes)
        return RedisBackend(name, topology, self.dialect, own_connections=own_connections)


adapter: Final = RespAdapter(
    Dialect("redis", CAPABILITIES, PlainCursors()),
    resp3=True,
    defaults=MappingProxyType({"max_value": MAX_VALUE, "largest_value": BULK_LIMIT}),
)
"""Redis and Valkey."""
