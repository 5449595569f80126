"""The axes along which ``growth`` lets a load grow: each measures every point of it, on servers of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import attrs

from bench import embedded, load, namespaces, pace, workers
from bench.load import CLIENTS, VALUE_BYTES, Load
from bench.pace import Pace, Paced
from bench.peers import Fleet, Peer, gate_config
from bench.process import free_port, kill, memory, peak_rss, reset_peak
from bench.resp import request

KEYS: Final = 10_000
KEY: Final = "Ads.Profile:__rand_int__"


@attrs.frozen(slots=True)
class Size:
    """How long one run of the generator lasts (seconds), how many requests, but at most how many bytes, one of values has,
    and the points of each axis."""

    seconds: float
    requests: int
    bytes: int
    stored: tuple[int, ...]
    clients: tuple[int, ...] = (1, 10, 50, 200, 500, 1000, 2000, 5000)
    namespaces: tuple[int, ...] = (1, 10, 100, 1000, 10_000)
    values: tuple[int, ...] = (8, 64, 430, 4096, 32_768, 262_144, 1_048_576, 8_388_608)
    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 100, 256, 1000)
    workers: tuple[int, ...] = (1, 2, 4)


FULL = Size(0.7, 20_000, 400_000_000, (10_000, 100_000, 1_000_000, 10_000_000))
SHORT = Size(0.25, 5_000, 80_000_000, (10_000, 100_000, 1_000_000))


@attrs.frozen(slots=True)
class Point:
    """One run: requests per second, processor time of the process tree per request (µs), and its memory (bytes)."""

    rps: float
    cpu_us: float
    peak: int
    """Highest resident set during the load, summed over the processes."""
    pss: int
    """Proportional set size after it; of the embedded store without the mapped file."""
    file: int = 0
    """Of the embedded store: bytes on disk."""


Told = tuple[str, int, Callable[[], Point]]
"""What is measured (a row of the table), where on the axis, and how; it may raise `BenchError`."""


def point(peer: Peer, work: Callable[[], Paced | load.Sample]) -> Point:
    """Do the work and take memory with it."""
    reset_peak(peer.server.pid)
    done = work()
    return Point(done.rps, done.cpu_us, peak_rss(peer.server.pid), memory(peer.server.pid).pss)


def of_pace(running: Fleet, peer: Peer, asked: Pace) -> Point:
    """One run of the own generator."""
    return point(peer, partial(pace.run, running, peer, asked))


def _get(seconds: float, clients: int = CLIENTS, pipeline: int = 1, key: str = KEY, keys: int = KEYS) -> Pace:
    return Pace(("GET", key), seconds, clients, pipeline, keyspace=keys)


def commands(size: Size) -> tuple[str, ...]:
    """The loads of each axis' last point, and of the embedded store."""
    workers_at_last = CLIENTS * size.workers[-1]
    return (
        pace.BUILD,
        *(asked.shown() for asked in (_get(size.seconds, size.clients[-1]), _get(size.seconds, pipeline=size.depths[-1]))),
        *(
            _get(size.seconds, pipeline=depth, key=namespaces.SPREAD_KEY, keys=size.namespaces[-1]).shown()
            for depth in (1, 16)
        ),
        *(value_load(name, size.values[-1], size).shown() for name in ("SET", "GET")),
        *(_get(size.seconds, workers_at_last, depth).shown() for depth in (1, 16)),
        *(asked.shown() for _, asked in stored_loads(size, size.stored[-1])),
    )


def _strings(running: Fleet) -> None:
    running.fill([KEY.replace("__rand_int__", f"{i:012d}") for i in range(KEYS)], b"x" * VALUE_BYTES)


def _fresh(running: Fleet, max_value: str = "128kb") -> list[Peer]:
    """A Twemproxy and a gate that nothing was asked of yet."""
    port = free_port()
    return [running.twemproxy(), running.gate_from(gate_config(port, running.shards, ["Ads.Profile"], max_value), port)]


def by_clients(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
    """GET without a pipeline, from one client to thousands that ask at once."""
    return _beside(running, turn, {count: _get(size.seconds, count) for count in size.clients})


def by_depth(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
    """GET in pipelines, 50 clients."""
    return _beside(running, turn, {depth: _get(size.seconds, pipeline=depth) for depth in size.depths})


def _beside(running: Fleet, turn: int, loads: Mapping[int, Pace]) -> Iterator[Told]:
    """Each load at a Twemproxy and a gate, which take turns at being first."""
    _strings(running)
    peers = _fresh(running)
    for x, asked in loads.items():
        for peer in peers[:: -1 if turn % 2 else 1]:
            yield peer.name, x, partial(of_pace, running, peer, asked)
    _end(peers)


def by_namespaces(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
    """GET over all namespaces of a gate, each with limits; every one was used once before."""
    del turn
    keys = [namespaces.SPREAD_KEY.replace("__rand_int__", f"{i:012d}") for i in range(max(size.namespaces))]
    running.fill(keys, b"x" * VALUE_BYTES)
    for count in size.namespaces:
        gate = running.gate(namespaces.names(count), f"kvgate-{count}")
        with gate.client() as client:
            client.ask_all([request("GET", f"{name}:000000000001") for name in namespaces.names(count)])
        for depth in (1, 16):
            asked = _get(size.seconds, pipeline=depth, key=namespaces.SPREAD_KEY, keys=count)
            yield f"kvgate P={depth}", count, partial(of_pace, running, gate, asked)
        _end([gate])


FEW: Final = 10
"""Clients where values are large: so many of the largest are under way at once."""


def value_load(name: str, value: int, size: Size) -> Load:
    """SET or GET of one size by redis-benchmark, which takes a large value from its standard input."""
    requests = max(2 * FEW, min(size.requests, size.bytes // value))
    key = f"Ads.Profile:v{value}:__rand_int__"
    keys = max(FEW, min(1000, 80_000_000 // value))
    return Load(("SET", key, "x" * value) if name == "SET" else ("GET", key), requests, 1, keys, FEW)


def by_value(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
    """SET and GET of small and very large values, 10 clients."""
    peers = _fresh(running, "16mb")
    for value in size.values:
        keys = value_load("GET", value, size).keyspace
        running.fill([f"Ads.Profile:v{value}:{at:012d}" for at in range(keys)], b"x" * value)
        for name in ("SET", "GET"):
            for peer in peers[:: -1 if turn % 2 else 1]:
                asked = value_load(name, value, size)
                yield f"{peer.name} {name}", value, partial(point, peer, partial(load.run, running, peer, asked))
    _end(peers)


def by_workers(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
    """GET with 50 clients for each worker."""
    del turn
    _strings(running)
    for count in size.workers:
        gate = workers.start(running, count)
        for depth in (1, 16):
            asked = _get(size.seconds, CLIENTS * count, depth)
            yield f"kvgate P={depth}", count, partial(of_pace, running, gate, asked)
        _end([gate])


STORED_BYTES: Final = 100
PORTION: Final = 1000  # keys of one MSET that fills
SEVERAL: Final = 4  # of them under way at once


def stored_loads(size: Size, keys: int) -> list[tuple[str, Pace]]:
    """What is asked of an embedded store of so many keys, by name."""
    value = "x" * STORED_BYTES
    commands = (("GET", (), 1), ("GET", (), 16), ("SET", (value,), 16))
    return [
        (f"{name} P={depth}", Pace((name, "key:__rand_int__", *words), size.seconds, pipeline=depth, keyspace=keys))
        for name, words, depth in commands
    ]


def by_stored(running: Fleet, size: Size, rounds: int) -> Iterator[Told]:
    """GET and SET on an embedded store that grows; every point has all its rounds before the store grows on."""
    gate = embedded.store(running, "kvgate growing", "no")
    present = 0
    for count in size.stored:
        grow(gate, present, count)
        present = count
        for _ in range(rounds):
            for name, asked in stored_loads(size, count):
                yield f"kvgate {name}", count, partial(with_store, running, gate, asked)


def grow(gate: Peer, present: int, count: int) -> None:
    """Add keys up to `count`."""
    with gate.client() as client:
        for begin in range(present, count, SEVERAL * PORTION):
            several = range(begin, min(begin + SEVERAL * PORTION, count), PORTION)
            client.ask_all([request("MSET", *_pairs(first, min(first + PORTION, count))) for first in several])
    embedded.moved(gate)


def _pairs(begin: int, end: int) -> Iterator[bytes]:
    value = b"x" * STORED_BYTES
    for at in range(begin, end):
        yield b"key:%012d" % at
        yield value


def with_store(running: Fleet, gate: Peer, asked: Pace) -> Point:
    """One run on an embedded store: with the size of its file, and memory without what of it is mapped."""
    found = point(gate, lambda: pace.once(gate, asked)[0])
    file = sum(path.stat().st_blocks * 512 for path in (running.folder / gate.name.replace(" ", "-")).iterdir())
    return attrs.evolve(found, pss=found.pss - embedded.mapped(gate.server.pid), file=file)


def _end(peers: Sequence[Peer]) -> None:
    for peer in peers:
        kill(peer.server)
