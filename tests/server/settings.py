"""The settings that these tests serve: which namespaces lie on which real stores, for the fixture in conftest.py."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import attrs

from kvgate.routing.slots import crc32_slot, hash_text
from tests.support.servers import Gate, RedisServer

SLOTS = 1024


@attrs.frozen
class Setting:
    """A gate and the stores behind it."""

    gate: Gate
    stores: tuple[RedisServer, ...]

    def flush(self) -> None:
        """Empty the stores themselves, whatever the gate thinks."""
        for store in self.stores:
            store.cmd("FLUSHALL")


def redis(name: str, store: RedisServer, more: str = "") -> str:
    """One ``[backends.NAME]`` of one store."""
    return f'[backends.{name}]\ntype = "redis"\nurl = "{store.url}"\n{more}\n'


def sharded(name: str, *stores: RedisServer, more: str = "") -> str:
    """One ``[backends.NAME]`` spread over the stores by crc32, in equal ranges of slots."""
    step = SLOTS // len(stores)
    ranges = [f'"{at * step}-{(at + 1) * step - 1 if at + 1 < len(stores) else SLOTS - 1}"' for at in range(len(stores))]
    groups = "\n".join(f'{text} = "{store.url}"' for text, store in zip(ranges, stores, strict=True))
    return f'[backends.{name}]\ntype = "redis"\nslots = {SLOTS}\n{more}\n[backends.{name}.groups]\n{groups}\n'


def user(name: str, *namespaces: str, password: str | None = None, more: str = "") -> str:
    """One ``[users.NAME]``; the password is ``NAME-secret``."""
    digest = hashlib.sha256((password or f"{name}-secret").encode()).hexdigest()
    listed = ", ".join(f'"{each}"' for each in namespaces)
    return f'[users.{name}]\npassword_sha256 = ["{digest}"]\nnamespaces = [{listed}]\n{more}\n'


def namespaces(**backends: str) -> str:
    """``[namespaces]``; ``Ads_P="x"`` stands for ``"Ads.P" = "x"``, ``Ads__`` for ``"Ads.*"``."""
    lines = [f'"{name.replace("__", ".*").replace("_", ".")}" = "{backend}"' for name, backend in backends.items()]
    return "[namespaces]\n" + "\n".join(lines) + "\n"


ALL_IN_A = namespaces(default="a")
"""Every key lies in backend ``a``."""


def shard_of(key: str, shards: int) -> int:
    """Which of the equal ranges of `sharded` a key lies in."""
    return min(crc32_slot(SLOTS)(hash_text(key.encode())) // (SLOTS // shards), shards - 1)


def keys_on(shard: int, shards: int, count: int, prefix: str = "Ads.P:") -> list[str]:
    """`count` keys that lie on one shard of `sharded`."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"{prefix}{number}"
        number += 1
        if shard_of(key, shards) == shard:
            found.append(key)
    return found


@contextmanager
def serving(config: str, *stores: RedisServer, gate: str = "") -> Iterator[Setting]:
    """A gate over stores that run."""
    with Gate(config, gate=gate) as running:
        yield Setting(running, stores)


@contextmanager
def stores(count: int, **options: object) -> Iterator[list[RedisServer]]:
    """Fresh redis-servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(RedisServer(**options)) for _ in range(count)]  # type: ignore[arg-type]  # passed on
