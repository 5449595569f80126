"""The gate that client checks talk to: two namespaces over two redis-servers, one of them sharded over both."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import Gate, RedisServer

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
    with RedisServer() as first, RedisServer() as second, Gate(CONFIG.format(first=first.url, second=second.url)) as gate:
        yield gate
