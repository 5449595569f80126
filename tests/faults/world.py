"""What the fault tests share: configurations over real stores, what a store sees of the gate, and the errors to expect."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis

from tests.support.resp import Resp
from tests.support.servers import Gate, RedisServer

BUDGET = 1.5
"""Seconds a command may take in the gate, by default."""
SLACK = 0.8
"""Seconds that the gate's tick and a shared machine may add to it."""
TRYAGAIN = re.compile(r"TRYAGAIN not executed, may be sent again: \S.*", re.DOTALL)
INDOUBT = re.compile(r"INDOUBT the write may or may not have been executed: \S.*", re.DOTALL)
ONE_LINE = "shared_connections = 1"
"""For ``[gate]``: all clients of one protocol share one connection."""


def over(**stores: str) -> str:
    """A configuration with a Redis backend for each url; backend ``a`` holds namespace ``A.T``."""
    backends = "".join(f'[backends.{name}]\ntype = "redis"\nurl = "{url}"\n' for name, url in stores.items())
    rules = "".join(f'"{name.upper()}.T" = "{name}"\n' for name in stores)
    return f"{backends}[namespaces]\n{rules}"


def sharded(*urls: str) -> str:
    """A configuration with one backend of several shards, which holds ``A.T``: an equal part of 1024 slots for each url."""
    step = 1024 // len(urls)
    groups = "".join(f'"{at * step}-{at * step + step - 1}" = "{url}"\n' for at, url in enumerate(urls))
    return f'[backends.a]\ntype = "redis"\nslots = 1024\n[backends.a.groups]\n{groups}[namespaces]\n"A.T" = "a"\n'


def is_try_again(reply: Any) -> bool:
    """Whether a reply is the documented ``TRYAGAIN`` error, letter for letter up to its reason."""
    return isinstance(reply, hiredis.ReplyError) and TRYAGAIN.fullmatch(str(reply)) is not None


def is_in_doubt(reply: Any) -> bool:
    """Whether a reply is the documented ``INDOUBT`` error, letter for letter up to its reason."""
    return isinstance(reply, hiredis.ReplyError) and INDOUBT.fullmatch(str(reply)) is not None


def timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    """What `ask` gives, and the seconds it took."""
    start = time.monotonic()
    value = ask()
    return value, time.monotonic() - start


def connections(server: RedisServer, **fields: str) -> list[dict[str, str]]:
    """The gate's connections as the store's CLIENT LIST shows them, those whose fields are as said: ``cmd="blpop"``."""
    rows = [
        dict(field.split("=", 1) for field in line.split(" "))
        for line in server.cmd("CLIENT", "LIST").decode().splitlines()
    ]
    return [
        row
        for row in rows
        if row["name"].startswith("kvgate") and all(row[name] == value for name, value in fields.items())
    ]


def own_connections(server: RedisServer) -> int:
    """How many connections clients have for themselves at the store, idle ones of the pool too."""
    return len(connections(server, name="kvgate-own"))


def answers(gate: Gate, *command: str) -> bool:
    """Whether a command is answered without an error, on a connection of its own."""
    with gate.client() as client:
        return not isinstance(client.ask(*command), hiredis.ReplyError)


def peak_memory(gate: Gate) -> int:
    """The most bytes that each process of the gate has had resident at any time, summed."""
    pids, total = [gate.pid], 0
    for pid in pids:  # it grows while it is walked
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
        total += int(Path(f"/proc/{pid}/status").read_text("utf-8").split("VmHWM:")[1].split(maxsplit=1)[0]) * 1024
    return total


def warm(client: Resp, key: str) -> None:
    """Have the client's shared connection open; a store that was just lost gets a few tries."""
    deadline = time.monotonic() + 10
    while is_try_again(reply := client.ask("EXISTS", key)):
        assert time.monotonic() < deadline, reply
    assert isinstance(reply, int), reply
