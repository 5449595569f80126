"""A gate before each backend, for tests that ask all of them the same."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary
from tests.tikv.cluster import cluster
from tests.versioned.cases import NAMESPACE

BACKENDS: Final = ("lmdb", "tikv", "redis", "shards", "kvrocks")
"""The last is KvRocks' adapter before a redis-server: what it asks of a store and makes of its RESP2, but no KvRocks."""
SCRIPTED: Final = ("redis", "shards", "kvrocks")
"""Those where versioned keys are scripts."""

_PATIENT: Final = 'command_timeout = "9s"\n'
"""A thousand writes of one hash in one pipeline may take a busy machine longer than the usual time of one command."""

_EMBEDDED: Final = """
[backends.store]
type = "lmdb"
path = "data"
durability = "no"
"""
_TIKV: Final = """
[backends.store]
type = "tikv"
pd = [{pd}]
prefix = "{prefix}"
"""
_REDIS: Final = """
[backends.store]
type = "{kind}"
url = "{url}"
"""
_SHARDS: Final = """
[backends.store]
type = "redis"
hash = "crc32"
slots = 64
[backends.store.groups]
"0-31" = "{first}"
"32-63" = "{second}"
"""
_NAMESPACES: Final = f"""
[namespaces]
"Bank.Plain" = "store"
default = "store"
[namespaces."{NAMESPACE}"]
backend = "store"
versioned = true
"""


def _store(kind: str, stack: ExitStack) -> str:
    """The configuration of the store, which runs until the stack is closed. Skips where it cannot be had."""
    if kind == "lmdb":
        return _EMBEDDED
    if kind == "tikv":
        found = stack.enter_context(cluster())
        return _TIKV.format(pd=", ".join(f'"{address}"' for address in found.pd), prefix=found.prefix)
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    first = stack.enter_context(RedisServer())
    if kind != "shards":
        return _REDIS.format(kind=kind, url=first.url)
    return _SHARDS.format(first=first.url, second=stack.enter_context(RedisServer()).url)


class KindOfGate(Gate):
    """A gate that knows what it stands before."""

    def __init__(self, config: str, kind: str) -> None:
        """`kind` is one of `BACKENDS`."""
        super().__init__(config, gate=_PATIENT)
        self.kind = kind


@contextmanager
def gate_before(kind: str) -> Iterator[KindOfGate]:
    """A gate before a new store of that kind."""
    with ExitStack() as stack:
        yield stack.enter_context(KindOfGate(_store(kind, stack) + _NAMESPACES, kind))
