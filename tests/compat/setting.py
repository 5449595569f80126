"""What the harness is run on when no URL is given: gates in front of a Redis and of the embedded store, and a plain Redis."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.support.servers import Gate, RedisServer

CONFIGURATIONS = {
    "lmdb": '[backends.one]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n[namespaces]\ndefault = "one"\n',
    "redis": '[backends.one]\ntype = "redis"\nurl = "$URL"\n[namespaces]\ndefault = "one"\n',
}
"""By backend type. Durability changes no reply, and waiting for the disk would halve what a search tries."""
_ONE_DATABASE = ["--databases", "1"]  # as the gate has one


@attrs.frozen(slots=True)
class Setting:
    """Servers that run until the end of the block."""

    url: str
    """Of the gate."""
    against: str
    """Of the Redis that it is compared with."""
    data: Path
    """The embedded store's folder; only with lmdb."""


@contextmanager
def reference() -> Iterator[str]:
    """The URL of a plain, empty redis-server."""
    with RedisServer(config=_ONE_DATABASE) as server:
        yield server.url


@contextmanager
def gate_before(kind: str) -> Iterator[Setting]:
    """A gate with one backend of type `kind`, and a redis-server beside it."""
    with ExitStack() as stack:
        against = stack.enter_context(reference())
        store = stack.enter_context(RedisServer(config=_ONE_DATABASE)).url if kind == "redis" else ""
        gate = stack.enter_context(Gate(CONFIGURATIONS[kind].replace("$URL", store)))
        yield Setting(gate.url, against, gate.directory / "data")
        gate.check_log()
