"""``versioned``: versioned strings beside plain ones on each backend: throughput, processor time of gate and store."""

import contextlib
import statistics
from collections.abc import Iterator

import attrs

from bench.embedded import redis
from bench.figures import Table, beside, number, widest
from bench.load import VALUE_BYTES, Load, Sample, once
from bench.peers import Fleet, Peer, fleet
from bench.process import cpu_seconds, free_port
from bench.progress import Progress
from bench.report import Section, Settings
from bench.resp import request
from tests.tikv.program import TikvServer, Unavailable

PLAIN, VERSIONED = "Bank.Plain", "Bank.Stock"
BESIDE = {"SET": "", "EXSET": "SET", "EXCAS": "SET", "GET": "", "EXGET": "GET"}
"""Each command, and the one that its ratio is to."""
PER_KEY = 10
"""Keys for each EXCAS of a run: nine of ten and more meet a key that none before them has written, and succeed."""


@attrs.frozen(slots=True)
class Place:
    """A gate before one store, and how much is asked of it."""

    name: str
    gate: Peer
    store: int | None
    """The store's process, None where it is the gate's own."""
    requests: dict[int, int]
    """Pipeline depth → requests of one run."""

    @property
    def keys(self) -> int:
        """So many keys of each kind."""
        return PER_KEY * max(self.requests.values()) // 5


@attrs.frozen(slots=True)
class Cost:
    """One run."""

    sample: Sample
    store_us: float
    """Processor time of the store per request, µs."""

    @property
    def both_us(self) -> float:
        """Of gate and store."""
        return self.sample.cpu_us + self.store_us


def gate(running: Fleet, name: str, backend: str) -> Peer:
    """A gate with one backend, a plain and a versioned namespace on it."""
    port, path = free_port(), running.folder / f"gate-{name}.toml"
    path.write_text(
        f'[gate]\nlisten = ["127.0.0.1:{port}"]\n[backends.store]\n{backend}\n[namespaces]\n"{PLAIN}" = "store"\n'
        f'[namespaces."{VERSIONED}"]\nbackend = "store"\nversioned = true\n',
        encoding="utf-8",
    )
    return running.ready(Peer(name, port, running.start(f"gate-{name}", [*running.gate_command, str(path)])))


@contextlib.contextmanager
def places(running: Fleet, *, short: bool) -> Iterator[list[Place]]:
    """The gates that can be had here; why one cannot is put among those that are missing."""
    scale = 1 if short else 2
    many, few = {1: 20_000 * scale, 16: 60_000 * scale}, {1: 2_000 * scale, 16: 6_000 * scale}
    store = redis(running, "store", "--appendonly", "no")
    before_redis = gate(running, "redis", f'type = "redis"\nurl = "redis://127.0.0.1:{store.port}"')
    found = [
        Place("Redis", before_redis, store.server.pid, many),
        Place("LMDB", gate(running, "lmdb", 'type = "lmdb"\npath = "lmdb"\ndurability = "no"'), None, many),
    ]
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(TikvServer())
        except Unavailable as error:
            running.missing["TiKV"] = str(error)
        else:
            peer = gate(running, "tikv", f'type = "tikv"\npd = ["{server.pd}"]')
            found.append(Place("TiKV", peer, server.pid, few))
        yield found


def load(place: Place, name: str, depth: int) -> Load:
    """What redis-benchmark is told; EXCAS with fewer requests, so that most succeed."""
    key, value = f"{VERSIONED if name.startswith('EX') else PLAIN}:__rand_int__", "x" * VALUE_BYTES
    words = {"GET": (), "EXGET": (), "EXCAS": (value, "1")}.get(name, (value,))
    count = place.requests[depth]
    return Load((name, key, *words), count // 5 if name == "EXCAS" else count, depth, place.keys)


def fill(place: Place, namespace: str, *words: str) -> None:
    """Write every key: plain ones, or versioned ones of version 1."""
    name = "SET" if namespace == PLAIN else "EXSET"
    with place.gate.client() as client:
        for begin in range(0, place.keys, 500):
            names = [f"{namespace}:{at:012d}" for at in range(begin, min(begin + 500, place.keys))]
            client.ask_all([request(name, key, "x" * VALUE_BYTES, *words) for key in names])


def run(place: Place, name: str, depth: int) -> Cost:
    """One load."""
    if name == "EXCAS":
        fill(place, VERSIONED, "ABS", "1")
    asked = load(place, name, depth)
    before = cpu_seconds(place.store) if place.store else 0.0
    sample = once(place.gate, asked)
    after = cpu_seconds(place.store) if place.store else 0.0
    return Cost(sample, (after - before) / asked.requests * 1e6)


def table(place: Place, costs: dict[tuple[str, int], list[Cost]]) -> Table:
    """Medians of the rounds: a row for each command, with its ratio to the plain one."""
    header, columns = ["command"], []
    for depth in place.requests:
        figures = {"thousand/s": lambda cost: cost.sample.rps / 1000, "gate µs": lambda cost: cost.sample.cpu_us}
        if place.store:
            figures |= {"store µs": lambda cost: cost.store_us, "both µs": lambda cost: cost.both_us}
        for title, figure in figures.items():
            header.append(f"{title}, P={depth}")
            columns.append((depth, figure))
    rows = []
    for name, plain in BESIDE.items():
        row = [name]
        for depth, figure in columns:
            value = statistics.median(map(figure, costs[name, depth]))
            row.append(beside(value, statistics.median(map(figure, costs[plain, depth])) if plain else None))
        rows.append(tuple(row))
    return Table(f"{place.name} (in brackets the ratio to SET or GET)", tuple(header), tuple(rows))


def section(settings: Settings) -> Section:
    """Run it."""
    with fleet(settings.gate) as running, places(running, short=settings.short) as found:
        costs: dict[str, dict[tuple[str, int], list[Cost]]] = {}
        for place in found:
            fill(place, PLAIN)
            fill(place, VERSIONED)
        progress = Progress("versioned", settings.rounds * sum(len(place.requests) for place in found) * len(BESIDE))
        for turn in range(settings.rounds):
            for place in found:
                for depth in place.requests:
                    for name in BESIDE:
                        cost = run(place, name, depth)
                        costs.setdefault(place.name, {}).setdefault((name, depth), []).append(cost)
                        told = f"{cost.sample.rps:.0f}/s, gate {cost.sample.cpu_us:.2f} us, store {cost.store_us:.2f} us"
                        progress.step(f"round {turn + 1} {place.name} P={depth} {name}: {told}")
        cells = [rounds for rows in costs.values() for rounds in rows.values()]
        return Section(
            "versioned",
            "Versioned strings beside plain ones",
            f"{VALUE_BYTES}-byte values, all keys present beforehand. Redis without the module: the gate asks it by scripts"
            ' (docs/versioned.md); LMDB with `durability = "no"`; TiKV is the test server of tests/tikv, whose own time says'
            " nothing about a real one. At least nine of ten EXCAS find their version and write. Aims: EXGET at most"
            " 1.5 times GET, EXSET at most 2.5 times SET in processor time.",
            tuple(table(place, costs[place.name]) for place in found),
            tuple(load(found[0], name, depth).shown() for depth in found[0].requests for name in BESIDE),
            (
                "Throughput: " + widest([[cost.sample.rps for cost in rounds] for rounds in cells]),
                "Processor time: " + widest([[cost.both_us for cost in rounds] for rounds in cells]),
                f"Keys of each kind: {', '.join(f'{number(place.keys)} on {place.name}' for place in found)}.",
                *settings.left_out(running.missing),
            ),
        )
