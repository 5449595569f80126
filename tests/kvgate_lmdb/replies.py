"""How the embedded store is compared with a real Redis: scripts, raw replies, and the state of the keys after each step."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kvgate.commands.keys import key_indices
from kvgate.commands.table import lookup
from kvgate.errors import GateError
from kvgate.wire.reply import decode
from kvgate_lmdb.backend import MAX_VALUE
from tests.kvgate_lmdb.store import Store
from tests.support.resp import Resp

TOLERANCE = {b"TTL": 5, b"EXPIRETIME": 5, b"PTTL": 5000, b"PEXPIRETIME": 5000, b"OBJECT": 5}
"""How far positive replies may differ: the two stores are asked one after the other. In
the reply's unit, 5 s; OBJECT IDLETIME, too."""

MAX = b"9223372036854775807"
MIN = b"-9223372036854775808"
BIG = bytes(range(256)) * 400
FUTURE = int(time.time()) + 100_000
FUTURE_MS = FUTURE * 1000 + 123

WORDS = {
    "{max}": MAX,
    "{min}": MIN,
    "{big}": BIG,
    "{empty}": b"",
    "{ones}": b"\xff" * 3,
    "{44}": b"x" * 44,
    "{45}": b"x" * 45,
    "{64}": b"x" * 64,
    "{65}": b"x" * 65,
    "{space}": b" ",
    "{noise}": b"\xff\r\n",
    "{longkey}": b"Ads.Profile:" + b"k" * 1000,
    "{at}": b"%d" % FUTURE,
    "{at_ms}": b"%d" % FUTURE_MS,
}


def read_word(word: str) -> bytes:
    return WORDS.get(word, word.replace("{nul}", "\x00").encode())


def read_scripts(name: str) -> list[str]:
    """The lines of a file beside this one, those that are no comments."""
    return [line for line in Path(__file__).with_name(name).read_text("ascii").splitlines() if line[:1] != "#"]


def read_script(script: str) -> list[list[bytes]]:
    return [[read_word(word) for word in line.split(" ")] for line in script.split("; ")]


def same(name: bytes, ours: bytes, theirs: bytes) -> bool:
    if ours == theirs.replace(b"(proto-max-bulk-len)", b"(max_value of the backend: %d bytes)" % MAX_VALUE):
        return True
    if name.upper() == b"DUMP":  # each store has its own format
        return ours[:1] == theirs[:1] == b"$" and b"$-1\r\n" not in (ours, theirs)
    tolerance = TOLERANCE.get(name.upper(), 0)
    if not tolerance or ours[:1] != b":" or theirs[:1] != b":" or int(theirs[1:]) <= 0:
        return False
    return abs(int(ours[1:]) - int(theirs[1:])) <= tolerance


_DUMP = re.compile(rb"\{dump:([^!~]*)([!~]?)\}")


def fill(args: list[bytes], dump: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """``{dump:k}`` as what the store itself dumps of *k*; with ``!`` one byte of it is wrong, with ``~`` one is missing."""
    for arg in args:
        match = _DUMP.fullmatch(arg)
        if match is None:
            yield arg
            continue
        dumped = dump(match[1])
        yield {b"": dumped, b"!": bytes([dumped[0] ^ 1]) + dumped[1:], b"~": dumped[:-1]}[match[2]]


async def _ask_both(store: Store, redis: Resp, args: list[bytes], proto: int) -> tuple[bytes, bytes]:
    if not any(b"{dump:" in arg for arg in args):
        return await store.ask(*args, proto=proto), redis.raw_reply(*args)
    mine: dict[bytes, bytes] = {}
    for match in map(_DUMP.fullmatch, args):
        if match is not None:
            found = decode(await store.ask(b"DUMP", match[1]))
            assert isinstance(found, bytes), "a script restores what is there"
            mine[match[1]] = found
    ours = await store.ask(*fill(args, mine.__getitem__), proto=proto)
    return ours, redis.raw_reply(*fill(args, lambda key: redis.cmd("DUMP", key)))


def _keys(args: list[bytes]) -> set[bytes]:
    spec = lookup(args)
    assert spec is not None, args
    try:
        return {args[index] for index in key_indices(spec, args)}
    except GateError:
        return set()


async def compare(store: Store, redis: Resp, commands: list[list[bytes]], proto: int) -> None:
    """Run each on both; replies, and then the state of every key that the command may have touched, must be equal."""
    redis.cmd("FLUSHALL")
    for key in await store.keys():
        await store.ask(b"DEL", key)
    done: list[list[bytes]] = []
    for args in commands:
        done.append([arg[:60] for arg in args])
        ours, theirs = await _ask_both(store, redis, args, proto)
        assert same(args[0], ours, theirs), (done, ours[:200], theirs[:200])
        for probe in (b"TYPE", b"PTTL", b"GET"):
            for key in _keys(args):
                ours, theirs = await store.ask(probe, key, proto=proto), redis.raw_reply(probe, key)
                assert same(probe, ours, theirs), (done, probe, key[:60], ours[:200], theirs[:200])
    assert sorted(await store.keys()) == sorted(redis.cmd("KEYS", "*"))
