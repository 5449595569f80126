"""``embedded`` and ``footprint``: the gate's own store beside a Redis that promises as much: speed, disk and memory."""

import contextlib
import re
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.figures import Table, beside, number, widest
from bench.load import VALUE_BYTES, Load, Sample, once
from bench.peers import Fleet, Peer, fleet
from bench.process import BenchError, free_port, memory, tree
from bench.progress import Progress
from bench.report import Section, Settings
from bench.resp import request

KEYS = 100_000
MOVED = 60.0
"""Seconds that a store may take to move its journal to its file."""
PAIRS = {"kvgate always": "redis always", "kvgate no": "redis"}
"""Each durability of the store, and the Redis that promises as much: ``appendfsync always``, or no persistence."""
Cell = tuple[str, int, str]  # peer, pipeline, command
LIKE = {"HSET": "SET", "HGET": "GET"}
"""Commands of small hashes, and those that they are compared with."""


def redis(running: Fleet, name: str, *options: str) -> Peer:
    """A redis-server with the given persistence."""
    folder = running.folder / name.replace(" ", "-")
    folder.mkdir()
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    return running.ready(Peer(name, port, running.start(folder.name, command)))


def store(running: Fleet, name: str, durability: str) -> Peer:
    """A gate with nothing but its embedded store, for every key."""
    label, port = name.replace(" ", "-"), free_port()
    path = running.folder / f"{label}.toml"
    path.write_text(
        f'[gate]\nlisten = ["127.0.0.1:{port}"]\n'
        f'[backends.local]\ntype = "lmdb"\npath = "{label}"\ndurability = "{durability}"\n'
        '[namespaces]\ndefault = "local"\n',
        encoding="utf-8",
    )
    return running.ready(Peer(name, port, running.start(label, [*running.gate_command, str(path)])))


def everyone(running: Fleet) -> list[Peer]:
    """The two stores and the two Redis."""
    return [
        redis(running, "redis always", "--appendonly", "yes", "--appendfsync", "always"),
        store(running, "kvgate always", "always"),
        redis(running, "redis", "--appendonly", "no"),
        store(running, "kvgate no", "no"),
    ]


def loads(*, short: bool) -> list[tuple[int, str, Load]]:
    """Each (pipeline, command name, load)."""
    sizes = {1: 40_000, 16: 80_000, 100: 100_000} if short else {1: 100_000, 16: 300_000, 100: 400_000}
    value = "x" * VALUE_BYTES
    commands = {"SET": ("SET", "key:__rand_int__", value), "GET": ("GET", "key:__rand_int__")}
    commands |= {"HSET": ("HSET", "hash:__rand_int__", "f", value), "HGET": ("HGET", "hash:__rand_int__", "f")}
    return [
        (pipeline, name, Load(command, requests, pipeline, KEYS))
        for pipeline, requests in sizes.items()
        for name, command in commands.items()
        if pipeline < 100 or name not in LIKE
    ]


def fill(peer: Peer, keys: Sequence[str], value: bytes, command: str = "SET") -> None:
    """Write every key (or every field of one hash) in pipelines of a thousand."""
    with peer.client() as client:
        for begin in range(0, len(keys), 1000):
            some = keys[begin : begin + 1000]
            if command == "SET":
                client.ask_all([request("SET", key, value) for key in some])
            else:
                client.ask("HSET", "hash", *(part for key in some for part in (key, value)))


def fill_hashes(peer: Peer, keys: Sequence[str], value: bytes) -> None:
    """Make every key a hash of one field, in pipelines of a thousand."""
    with peer.client() as client:
        for begin in range(0, len(keys), 1000):
            client.ask_all([request("HSET", key, "f", value) for key in keys[begin : begin + 1000]])


def section(settings: Settings) -> Section:
    """Speed."""
    samples: dict[Cell, list[Sample]] = {}
    with fleet(settings.gate) as running:
        peers = everyone(running)
        for peer in peers:
            fill(peer, [f"key:{i:012d}" for i in range(KEYS)], b"x" * VALUE_BYTES)
            fill_hashes(peer, [f"hash:{i:012d}" for i in range(KEYS)], b"x" * VALUE_BYTES)
        progress = Progress("embedded", settings.rounds * len(loads(short=settings.short)) * len(peers))
        for turn in range(settings.rounds):
            for pipeline, name, load in loads(short=settings.short):
                for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                    sample = once(peer, load, partial(moved, peer))
                    samples.setdefault((peer.name, pipeline, name), []).append(sample)
                    progress.step(f"round {turn + 1} P={pipeline} {name} {peer.name}: {sample.rps:.0f}/s")
    columns = list(dict.fromkeys((pipeline, name) for _, pipeline, name in samples))
    header = ("peer", *(f"{name} P={pipeline}" for pipeline, name in columns))
    rates = {cell: statistics.median(s.rps / 1000 for s in rounds) for cell, rounds in samples.items()}
    cpu = {cell: statistics.median(s.cpu_us for s in rounds) for cell, rounds in samples.items()}
    tables = []
    for caption, figures in (
        ("Throughput, thousand requests per second (ratio to the Redis that promises as much: higher is better)", rates),
        ("Processor time of the server's processes per request, µs (ratio to that Redis: lower is better)", cpu),
    ):
        rows = []
        for peer in peers:
            beside_it = PAIRS.get(peer.name)
            cells = [(figures[peer.name, *column], figures.get((beside_it or "", *column))) for column in columns]
            rows.append((peer.name, *(beside(value, reference) for value, reference in cells)))
        tables.append(Table(caption, header, tuple(rows)))
    tables.append(hashes(cpu))
    return Section(
        "embedded",
        "The embedded store beside Redis",
        f"{VALUE_BYTES}-byte values, {number(KEYS)} keys and as many hashes of one field, all present beforehand; the same"
        " loads on one process each."
        " *always*: on disk before the reply (Redis: `appendfsync always`); *no*: the store without a sync at each commit,"
        " Redis without persistence. Each load is charged with what its writes cost afterwards, until they are in the store's"
        " file.",
        tuple(tables),
        tuple(load.shown() for _, _, load in loads(short=settings.short)),
        (
            "Throughput: " + widest([[s.rps for s in rounds] for rounds in samples.values()]),
            "Processor time: " + widest([[s.cpu_us for s in rounds] for rounds in samples.values()]),
        ),
    )


def hashes(cpu: dict[Cell, float]) -> Table:
    """Small hashes beside strings, of each peer by itself."""
    columns = list(dict.fromkeys((pipeline, name) for _, pipeline, name in cpu if name in LIKE))
    rows = [
        (peer, *(beside(cpu[peer, pipeline, name], cpu[peer, pipeline, LIKE[name]]) for pipeline, name in columns))
        for peer in dict.fromkeys(peer for peer, _, _ in cpu)
    ]
    caption = "Small hashes: processor time per request, µs (ratio to SET or GET of the same peer: lower is better)"
    return Table(caption, ("peer", *(f"{name} P={pipeline}" for pipeline, name in columns)), tuple(rows))


def footprint(settings: Settings) -> Section:
    """Disk and memory, for many keys and for one big hash."""
    count = 100_000 if settings.short else 1_000_000
    value = b"x" * 100
    rows = []
    progress = Progress("footprint", 4)
    for what, command in ((f"{count:,} keys of 100 bytes", "SET"), (f"a hash of {count:,} fields of 100 bytes", "HSET")):
        with fleet(settings.gate) as running:
            ours, theirs = store(running, "kvgate no", "no"), redis(running, "redis", "--appendonly", "no")
            names = [f"key:{i:012d}" for i in range(count)]
            for peer in (ours, theirs):
                fill(peer, names, value, command)
                moved(peer)
                progress.step(f"{what}: {peer.name} filled")
            used = used_memory(theirs)
            file = sum(path.stat().st_blocks * 512 for path in Path(running.folder / "kvgate-no").iterdir())
            own = memory(ours.server.pid)
            rows.append((what, *(number(size / 2**20) for size in (file, own.pss, own.pss - mapped(ours.server.pid), used))))
    caption = "MiB after filling"
    header = ("what", "kvgate: file", "kvgate: memory with the mapped file", "kvgate: memory without it", "Redis: used_memory")
    return Section(
        "footprint",
        "Disk and memory of the embedded store",
        "The mapped file is the kernel's cache of what was touched; it is given back when memory is wanted elsewhere.",
        (Table(caption, header, tuple(rows)),),
        once=True,
    )


def moved(peer: Peer) -> None:
    """Wait until a store has moved its journal to its file; a Redis has nothing to move.

    Raises:
        BenchError: it does not.
    """
    until = time.monotonic() + MOVED
    with peer.client() as client:
        while True:
            text = client.ask("INFO")
            assert isinstance(text, bytes)
            if not re.search(rb"journal_records=[1-9]", text):
                return
            if time.monotonic() > until:
                raise BenchError(f"{peer.name} has not moved its journal to its file within {MOVED:.0f} s")
            time.sleep(0.05)


def used_memory(peer: Peer) -> int:
    """Redis' own figure, bytes."""
    with peer.client() as client:
        text = client.ask("INFO", "memory")
    assert isinstance(text, bytes)
    for line in text.decode().splitlines():
        if line.startswith("used_memory:"):
            return int(line.partition(":")[2])
    raise BenchError("INFO memory says no used_memory")


def mapped(root: int) -> int:
    """Bytes of the store's file that the process and its descendants have mapped and touched (PSS)."""
    total = 0
    for pid in tree(root):
        inside = False
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
                if "-" in line.split(" ", 1)[0]:
                    inside = line.endswith("data.mdb")
                elif inside and line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
