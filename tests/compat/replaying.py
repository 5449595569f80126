"""Replaying dialogues of known differences: the gates that they are said to, and what is answered."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from kvgate_compat.connection import Connection
from kvgate_compat.dialogue import words
from kvgate_compat.known import Line, told
from tests.support.servers import Gate, RedisServer
from tests.tikv.cluster import cluster

PASSWORD: Final = "home-secret"
_ONE: Final = '[namespaces]\ndefault = "one"\n'
_REDIS: Final = '[backends.one]\ntype = "redis"\n'
_SHARDS: Final = 'hash = "crc32"\nslots = 64\n[backends.one.groups]\n"0-31" = "{}"\n"32-63" = "{}"\n'
_HOME: Final = f"""\
[namespaces]
"Ads.*" = "one"
[users.default]
password_sha256 = ["{hashlib.sha256(PASSWORD.encode()).hexdigest()}"]
namespaces = ["*"]
commands = ["+@all"]
databases = {{ 0 = "Ads.Cache" }}
"""


def _configuration(kind: str, stack: ExitStack) -> str:
    """The gate's configuration; its stores run until the stack is closed. Skips where there is no TiKV."""
    if kind == "lmdb":
        return f'[backends.one]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n{_ONE}'
    if kind == "tikv":
        found = stack.enter_context(cluster())
        pd = ", ".join(f'"{address}"' for address in found.pd)
        return f'[backends.one]\ntype = "tikv"\npd = [{pd}]\nprefix = "{found.prefix}"\n{_ONE}'
    url = stack.enter_context(RedisServer()).url
    if kind == "shards":
        return _REDIS + _SHARDS.format(url, stack.enter_context(RedisServer()).url) + _ONE
    return f'{_REDIS}url = "{url}"\n{_HOME if kind == "home" else _ONE}'


@contextmanager
def gate_url(kind: str) -> Iterator[str]:
    """Where a gate of one of `kvgate_compat.known.CONFIGURATIONS` listens, for clients."""
    with ExitStack() as stack:
        gate = stack.enter_context(Gate(_configuration(kind, stack)))
        yield gate.url.replace("://", f"://:{PASSWORD}@") if kind == "home" else gate.url


def answers(url: str, lines: Sequence[Line]) -> list[str]:
    """What the emptied server answers to each line, as `told` writes it."""
    clients: dict[int, Connection] = {}
    try:
        for number in {1, *(line.client for line in lines)}:
            clients[number] = Connection(url)
        clients[1].expect_ok("FLUSHALL")
        return [told(clients[line.client].ask([_argument(clients[1], word) for word in words(line.text)])) for line in lines]
    finally:
        for client in clients.values():
            client.close()


def _argument(client: Connection, word: bytes) -> bytes:
    dumped = re.fullmatch(rb"\$DUMP\((.+)\)", word)
    return client.ask([b"DUMP", dumped[1]]).text if dumped else word
