"""A hash of 1,000,000 fields on the real gate, measured by hand: ``python -m tests.kvgate_lmdb.million [FIELDS [always|no]]``.

A second process asks all the while (PING, GET, SET in turn) and says how long it waited. What must hold on any machine is
tested by counting, in tests/model.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis

from tests.support.resp import Arg, Resp, connect, frame
from tests.support.servers import Gate

BATCH = 1000


class Client:
    """A connection that reads replies of many MB without looking at their beginning again and again."""

    def __init__(self, address: "tuple[str, int] | str") -> None:
        self.sock = connect(address, 300)
        self.reader = hiredis.Reader(notEnoughData=...)

    def read(self) -> Any:
        while (reply := self.reader.gets()) is ...:
            self.reader.feed(self.sock.recv(1 << 20))
        return reply

    def cmd(self, *args: Arg) -> Any:
        self.sock.sendall(frame(*args))
        return self.read()


class Asker:
    """A process that sends PING, GET, SET for ever, 2 ms apart, and keeps each one's waits."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-m", "tests.kvgate_lmdb.million", "ask", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def report(self) -> str:
        """Since the last report: number, median, 99th percentile and maximum in ms for each command."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def ask(port: int) -> None:
    waits: dict[str, list[float]] = {}

    def report(*_args: object) -> None:
        told = []
        for name, found in waits.items():
            ordered = sorted(found) or [0.0]
            figures = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
            told.append(f"{name} n={len(found)} " + "/".join(f"{figure * 1000:.1f}" for figure in figures))
            found.clear()
        os.write(1, ("; ".join(told) + "\n").encode())

    signal.signal(signal.SIGUSR1, report)
    os.write(1, b"ready\n")
    with Resp(("127.0.0.1", port), timeout=120) as client:
        for number in itertools.count():
            name, *rest = (("PING",), ("GET", "other"), ("SET", "other", str(number)))[number % 3]
            began = time.perf_counter()
            client.cmd(name, *rest)
            waits.setdefault(name, []).append(time.perf_counter() - began)
            time.sleep(0.002)


@contextlib.contextmanager
def phase(name: str, asker: Asker) -> Iterator[None]:
    """Print how long it took, and what the others waited (median/p99/max in ms)."""
    asker.report()
    began = time.perf_counter()
    yield
    took = time.perf_counter() - began
    print(f"{name}: {took:.2f} s; others: {asker.report()}", flush=True)


def figures(client: Client) -> dict[str, str]:
    line = next(line for line in client.cmd("INFO", "gate").decode().splitlines() if line.startswith("backend_"))
    return dict(pair.split("=", 1) for pair in line.partition(":")[2].split(","))


def fill(client: Client, fields: int) -> None:
    for at in range(0, fields, BATCH):
        words = (word for number in range(at, min(at + BATCH, fields)) for word in (f"field:{number}", f"value:{number}"))
        client.sock.sendall(frame("HSET", "big", *words))
    for at in range(0, fields, BATCH):
        assert client.read() == min(BATCH, fields - at)


def walk(client: Client, count: int, most: int = 0) -> int:
    cursor, seen = b"0", 0
    while True:
        cursor, page = client.cmd("HSCAN", "big", cursor, "COUNT", count)
        seen += len(page) // 2
        if cursor == b"0" or 0 < most <= seen:
            return seen


def memory(gate: Gate) -> str:
    assert gate.process is not None
    status = Path(f"/proc/{gate.process.pid}/status").read_text("ascii")
    return next(f"gate's memory {int(line.split()[1]) >> 10} MiB" for line in status.splitlines() if line.startswith("VmRSS"))


def measure(fields: int, durability: str) -> None:
    config = f'[backends.local]\ntype = "lmdb"\npath = "data"\ndurability = "{durability}"\n[namespaces]\ndefault = "local"\n'
    with Gate(config) as gate:
        client = Client(gate.address)
        asker = Asker(gate.port)
        client.cmd("SET", "other", 1)
        with phase("nothing else", asker):
            time.sleep(2)
        with phase(f"HSET of {fields} fields, {BATCH} in a command", asker):
            fill(client, fields)
        assert client.cmd("HLEN", "big") == fields
        print("file:", int(figures(client)["file_bytes"]) >> 20, "MiB;", memory(gate))
        with phase("1000 × HSET of a field that is there, one after the other", asker):
            for number in range(1000):
                assert client.cmd("HSET", "big", f"field:{number * 7 % fields}", f"value {number}") == 0
        with phase("1000 × HGET", asker):
            for number in range(1000):
                client.cmd("HGET", "big", f"field:{number}")
        with phase("HSCAN, COUNT 1000", asker):
            assert walk(client, 1000) == fields
        with phase("HSCAN, COUNT 10, 50,000 fields", asker):
            walk(client, 10, 50_000)
        with phase("HGETALL", asker):
            assert len(client.cmd("HGETALL", "big")) == 2 * fields
        with phase("HKEYS", asker):
            assert len(client.cmd("HKEYS", "big")) == fields
        print(memory(gate))
        with phase("DEL, HSET anew", asker):
            assert client.cmd("DEL", "big") == 1
            assert client.cmd("HSET", "big", "f", "v") == 1
        with phase("swept", asker):
            while int(figures(client)["records"]) > 50:
                time.sleep(0.1)
        print("file:", int(figures(client)["file_bytes"]) >> 20, "MiB")
        asker.process.kill()
        asker.process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask(int(sys.argv[2]))
    else:
        measure(int((sys.argv[1:] or ["1000000"])[0]), (sys.argv[2:] or ["always"])[0])
