"""The gate that client checks talk to: two namespaces over two redis-servers, one of them sharded over both."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

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


PASSWORD = "a:b@c/d"
"""With what has to be escaped in a URL; throw-away."""

USER = f"""
[users.app]
password_sha256 = ["{hashlib.sha256(PASSWORD.encode()).hexdigest()}"]
namespaces = ["*"]
commands = ["+@all"]
"""


@contextmanager
def two_stores(more: str = "") -> Iterator[Gate]:
    """A gate before two real redis-servers, until the end of the block; `more` is added to its configuration."""
    with (
        RedisServer() as first,
        RedisServer() as second,
        Gate(CONFIG.format(first=first.url, second=second.url) + more) as gate,
    ):
        yield gate


def with_user(url: str) -> str:
    """`url` with the name and password of `USER`."""
    return url.replace("redis://", f"redis://app:{quote(PASSWORD, safe='')}@")
