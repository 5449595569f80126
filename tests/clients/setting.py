"""The gates that client checks talk to: one before each kind of store, one for a user who does not prefix keys."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import attrs
import pytest

from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary
from tests.tikv.cluster import cluster

CONFIG = """
[backends.carts]
type = "redis"
url = "{first}"

[backends.profiles]
type = "redis"
hash = "crc32"
slots = 1024
[backends.profiles.groups]
"0-511" = "{first}"
"512-1023" = "{second}"

[namespaces]
"Shop.Cart" = "carts"
"Ads.*" = "profiles"
default = "carts"
"""
"""`Shop.Cart` and one half of `Ads.*` share the first store: a listing that does not filter would show the neighbour."""


@contextmanager
def two_stores() -> Iterator[Gate]:
    """A gate before two real redis-servers, until the end of the block."""
    with (
        RedisServer() as first,
        RedisServer() as second,
        Gate(CONFIG.format(first=first.url, second=second.url)) as gate,
    ):
        yield gate


BACKENDS = ("lmdb", "tikv", "redis", "shards", "home")
"""Whom the checks run on: the kinds of store, and one Redis of a user with `databases`, in whose home keys have no prefix."""

_STORES = {
    "lmdb": 'type = "lmdb"\npath = "data"\ndurability = "no"',
    "tikv": 'type = "tikv"\npd = [{pd}]\nprefix = "{prefix}"',
    "redis": 'type = "redis"\nurl = "{first}"',
    "shards": 'type = "redis"\nslots = 64\n[backends.store.groups]\n"0-31" = "{first}"\n"32-63" = "{second}"',
    "home": 'type = "redis"\nurl = "{first}"',
}
_PATIENT = 'command_timeout = "9s"\n'
"""So that a busy machine is no failure; the programs themselves wait 10 s."""
_PREFIXED = """
[namespaces]
"Shop.Cart" = "store"
"Ads.*" = "store"
[namespaces."Bank.Stock"]
backend = "store"
versioned = true
"""
_PASSWORD = "a:b@c/d"
"""With what has to be escaped in a URL; throw-away."""
_HOME = f"""
[namespaces]
"Ads.Home" = "store"
[namespaces."Ads.Stock"]
backend = "store"
versioned = true
[users.app]
password_sha256 = ["{hashlib.sha256(_PASSWORD.encode()).hexdigest()}"]
databases = {{ 0 = "Ads.Home", 1 = "Ads.Stock" }}
commands = ["+@all"]
"""


@attrs.frozen(slots=True)
class Setting:
    """Where a program is to go, and what it may use there."""

    url: str
    keys: tuple[str, str]
    """Beginnings of keys, of two namespaces where there are any."""
    types: str
    """``all``, or ``strings+hashes``: whether there are lists, sorted sets, channels and scripts."""
    versioned: tuple[str, str]
    """URL and beginning of keys that may be versioned."""
    gate: Gate | None = None


def a_server(url: str, types: str) -> Setting:
    """A server that somebody else has started."""
    return Setting(url, ("Shop.Cart", "Ads.Profile"), types, (url, "Bank.Stock"))


@contextmanager
def gate_before(backend: str) -> Iterator[Setting]:
    """A gate of one of `BACKENDS`, with a new store. Skips, with the reason, where the store cannot be had."""
    with ExitStack() as stack:
        values = {}
        if backend == "tikv":
            found = stack.enter_context(cluster())
            values = {"pd": ", ".join(f'"{address}"' for address in found.pd), "prefix": found.prefix}
        elif backend != "lmdb":
            if redis_binary is None:
                pytest.skip(NO_REDIS)
            values = {name: stack.enter_context(RedisServer()).url for name in ("first", "second")}
        store = f"[backends.store]\n{_STORES[backend].format(**values)}\n"
        gate = stack.enter_context(Gate(store + (_HOME if backend == "home" else _PREFIXED), gate=_PATIENT))
        if backend == "home":
            url = gate.url.replace("redis://", f"redis://app:{quote(_PASSWORD, safe='')}@")
            yield Setting(url, ("cart", "profile"), "all", (f"{url}/1", "stock"), gate)
        else:
            types = "strings+hashes" if backend in ("lmdb", "tikv") else "all"
            yield attrs.evolve(a_server(gate.url, types), gate=gate)
        gate.check_log()
