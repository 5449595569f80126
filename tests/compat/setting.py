"""What the search is run on: gates in front of each kind of store, of several, and by a user at home; and a plain Redis."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

from kvgate.config import adapter
from kvgate_compat.differences import KNOWN
from kvgate_compat.keyspace import Keyspace, Part
from kvgate_compat.known import Known, in_configuration
from tests.support.servers import Gate, RedisServer
from tests.tikv.cluster import Cluster, cluster

_AS_THE_GATE: Final = ["--databases", "1", "--hz", "100"]
"""One database, as the gate has; and it looks a hundred times a second for blocking commands that have waited long enough, not
ten times."""
_ALL_IN_ONE: Final = '[namespaces]\ndefault = "one"\n'
_LMDB: Final = '[backends.{}]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n'
"""Durability changes no reply, and waiting for the disk would halve what a search tries."""
_REDIS: Final = '[backends.{}]\ntype = "redis"\nurl = "{}"\n'
_SHARDS: Final = (
    '[backends.{0}]\ntype = "redis"\nhash = "crc32"\nslots = 1024\n'
    '[backends.{0}.groups]\n"0-511" = "{1}"\n"512-1023" = "{2}"\n'
)
PASSWORD: Final = "home-secret"
_HOME: Final = f"""\
[namespaces]
"Ads.*" = "one"
[users.ads]
password_sha256 = ["{hashlib.sha256(PASSWORD.encode()).hexdigest()}"]
commands = ["+@all"]
databases = {{ 0 = "Ads.Cache" }}
"""
_NEIGHBOURS: Final = {b"Ads.Other:a": b"1", b"Ads.Cache": b"2", b"a": b"3"}
"""Keys of others on the store of the user at home, which must be there at the end as they were."""

_LONG: Final = b"k" * 500
SHARDS: Final = Keyspace(
    (
        Part((b"ab", b"{ab}c", b"", b"\x00\xff\r\n\"'"), b"{ab}*"),
        Part((b"a", b"{a}b", b"b", b"{}" + _LONG), b"{a}*"),
    )
)
"""By crc32 the first are on the first half of the slots. Keys without a tag are there, too."""
_EMBEDDED: Final = Part((b"a", b""))
_TIKV: Final = Part((b"Tik.T:a", b"Tik.T:b"), b"Tik.T:*")
_STORE: Final = Part((b"One.T:a", b"One.T:b"), b"One.T:*")
_SHARDED: Final = (Part((b"Two.T:{ab}a",), b"Two.T:{ab}*"), Part((b"Two.T:{a}a",), b"Two.T:{a}*"))
_NAMESPACES: Final = '[namespaces]\ndefault = "local"\n"One.*" = "store"\n"Two.*" = "spread"\n'


@attrs.frozen(slots=True)
class Setting:
    """Servers that run until the end of the block."""

    url: str
    """Of the gate; with a user where it has one."""
    against: str
    """Of the Redis that it is compared with."""
    data: Path
    """The embedded store's folder; only where there is one."""
    space: Keyspace | None = None
    """Keys, where the gate is cut into parts."""
    claims: frozenset[str] = frozenset()
    """Capabilities and commands of all its backends."""


@contextmanager
def reference() -> Iterator[str]:
    """The URL of a plain, empty redis-server."""
    with RedisServer(config=_AS_THE_GATE) as server:
        yield server.url


def _store(stack: ExitStack) -> RedisServer:
    return stack.enter_context(RedisServer(config=_AS_THE_GATE))


def _tikv(name: str, found: Cluster) -> str:
    pd = ", ".join(f'"{address}"' for address in found.pd)
    return f'[backends.{name}]\ntype = "tikv"\npd = [{pd}]\nprefix = "{found.prefix}"\nmax_value = "1mb"\n'


@contextmanager
def _gate(text: str, *types: str, space: Keyspace | None = None, user: str = "") -> Iterator[Setting]:
    """A gate of this configuration, and a redis-server beside it."""
    with reference() as against, Gate(text) as gate:
        claims = frozenset().union(*(adapter(kind).capabilities for kind in types))
        url = gate.url.replace("://", f"://{user}@") if user else gate.url
        yield Setting(url, against, gate.directory / "data", space, claims)
        gate.check_log()


@contextmanager
def _before_lmdb() -> Iterator[Setting]:
    with _gate(_LMDB.format("one") + _ALL_IN_ONE, "lmdb") as setting:
        yield setting


@contextmanager
def _before_tikv() -> Iterator[Setting]:
    with cluster() as found, _gate(_tikv("one", found) + _ALL_IN_ONE, "tikv") as setting:
        yield setting


@contextmanager
def _before_redis() -> Iterator[Setting]:
    with ExitStack() as stack:
        yield stack.enter_context(_gate(_REDIS.format("one", _store(stack).url) + _ALL_IN_ONE, "redis"))


@contextmanager
def _before_shards() -> Iterator[Setting]:
    with ExitStack() as stack:
        text = _SHARDS.format("one", _store(stack).url, _store(stack).url) + _ALL_IN_ONE
        yield stack.enter_context(_gate(text, "redis", space=SHARDS))


@contextmanager
def _before_all() -> Iterator[Setting]:
    """All kinds of stores, by namespace; without TiKV where it cannot be had."""
    with ExitStack() as stack:
        one, two, three = (_store(stack).url for _ in range(3))
        text = _LMDB.format("local") + _REDIS.format("store", one) + _SHARDS.format("spread", two, three)
        parts, kinds, namespaces = [_EMBEDDED, _STORE, *_SHARDED], ["lmdb", "redis"], _NAMESPACES
        with contextlib.suppress(pytest.skip.Exception):
            text += _tikv("ledger", stack.enter_context(cluster()))
            namespaces += '"Tik.*" = "ledger"\n'
            parts.insert(1, _TIKV)
            kinds.append("tikv")
        yield stack.enter_context(_gate(text + namespaces, *kinds, space=Keyspace(tuple(parts))))


@contextmanager
def _at_home() -> Iterator[Setting]:
    with ExitStack() as stack:
        store = _store(stack)
        for key, value in _NEIGHBOURS.items():
            store.cmd("SET", key, value)
        text = _REDIS.format("one", store.url) + _HOME
        yield stack.enter_context(_gate(text, "redis", user=f"ads:{PASSWORD}"))
        left = {key: store.cmd("GET", key) for key in _NEIGHBOURS}
        assert left == _NEIGHBOURS, "a user at home has reached keys of others"


CONFIGURATIONS: Final[dict[str, Callable[[], AbstractContextManager[Setting]]]] = {
    "lmdb": _before_lmdb,
    "tikv": _before_tikv,
    "redis": _before_redis,
    "shards": _before_shards,
    "namespaces": _before_all,
    "home": _at_home,
}
"""By name: the embedded store; TiKV (skips where it cannot be had); one Redis; two shards; all of them by namespace; a user
with a home namespace on one Redis, who has neighbours there."""


FITTED: Final = frozenset(("crossslot", "multi-on-shards", "keyless-scripts"))
"""Known differences of gates that are cut into parts. Here the search knows the parts and names keys of one at a time, so such
an answer would be a defect."""


def known_in(kind: str) -> Sequence[Known]:
    """The known differences that the search may meet in a configuration; in one with all stores those of each."""
    there = KNOWN if kind == "namespaces" else in_configuration(KNOWN, kind)
    return [known for known in there if known.name not in FITTED]


def gate_before(kind: str) -> AbstractContextManager[Setting]:
    """One of `CONFIGURATIONS`: its gate and stores, and a redis-server beside them."""
    return CONFIGURATIONS[kind]()
