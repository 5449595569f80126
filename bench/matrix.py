"""``matrix``: five commands beside Twemproxy, over pipelines, clients and sizes of values, at a production gate."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from bench import pace
from bench.figures import Table, beside, number, widest
from bench.load import CLIENTS, VALUE_BYTES, Load, check, run
from bench.pace import Pace
from bench.peers import REFERENCE, Fleet, Peer, fleet
from bench.plots import Panel, Plot, lines_of
from bench.process import BenchError
from bench.progress import Progress
from bench.report import Section, Settings

MSET = "MSET of 10"
COMMANDS: Final = ("SET", "GET", MSET, "INCR", "HSET")
VALUELESS: Final = ("INCR",)
PIPELINES: Final = (1, 16, 100)
SIZES: Final = (8, VALUE_BYTES, 8192)
CLIENT_COUNTS: Final = (1, CLIENTS, 500)
PEERS: Final = ("direct", REFERENCE, "kvgate")
LARGE: Final = 4096
"""From so many bytes on a value is large: fewer keys and requests."""


@attrs.frozen(slots=True)
class Cell:
    """What is measured at each peer."""

    command: str
    pipeline: int
    clients: int = CLIENTS
    size: int = VALUE_BYTES
    own: bool = False
    """By the harness' own generator, which does not charge connecting and logging in."""


@attrs.frozen(slots=True)
class Size:
    """How much is asked for: by redis-benchmark, pipeline depth → requests of SET; by the own generator, seconds."""

    requests: dict[int, int]
    seconds: float
    keys: int = 100_000
    large_keys: int = 10_000


FULL = Size({1: 60_000, 16: 300_000, 100: 400_000}, 0.5)
SHORT = Size({1: 20_000, 16: 100_000, 100: 150_000}, 0.25)


@attrs.frozen(slots=True)
class Figures:
    """One run, whichever generator made it: processor time of the peer per request in µs, requests per second."""

    cpu_us: float
    rps: float


def words(cell: Cell) -> tuple[str, ...]:
    """The command of a cell; values of one size have keys of their own, so that a GET finds that size."""
    key, value = f"Ads.Profile:{{kind}}{cell.size}:__rand_int__", "x" * cell.size
    string = key.format(kind="v")
    return {
        "SET": ("SET", string, value),
        "GET": ("GET", string),
        MSET: ("MSET", *(string, value) * 10),
        "INCR": ("INCR", key.format(kind="n")),
        "HSET": ("HSET", key.format(kind="h"), "field", value),
    }[cell.command]


def base() -> Iterator[Cell]:
    """Every command and pipeline at 50 clients and 430 bytes."""
    return (Cell(command, pipeline) for command in COMMANDS for pipeline in PIPELINES)


def by_clients() -> Iterator[Cell]:
    """Without a pipeline and with 16, from one client to many."""
    return (Cell(c, p, n, own=True) for n in CLIENT_COUNTS for c in COMMANDS for p in PIPELINES[:2])


def of_size(size: int) -> Iterator[Cell]:
    """Without a pipeline and with 16, the commands that have a value, of so many bytes."""
    return (Cell(c, p, size=size) for c in COMMANDS if c not in VALUELESS for p in PIPELINES[:2])


def cells() -> list[Cell]:
    """Everything that is measured, once each."""
    return list(dict.fromkeys([*base(), *by_clients(), *(cell for size in SIZES for cell in of_size(size))]))


def keys_of(size: Size, value: int) -> int:
    """How many keys have values of so many bytes."""
    return size.large_keys if value >= LARGE else size.keys


def load(cell: Cell, size: Size) -> Load:
    """What redis-benchmark is told: fewer of what takes longer."""
    share = 1.0 if cell.command != MSET else 0.2 if cell.pipeline == 1 else 0.1  # ten keys each
    share *= 0.3 if cell.size >= LARGE else 1.0
    requests = max(int(size.requests[cell.pipeline] * share), 2 * cell.pipeline * cell.clients)
    return Load(words(cell), requests, cell.pipeline, keys_of(size, cell.size), cell.clients)


def own_load(cell: Cell, size: Size) -> Pace:
    """What the own generator is told."""
    return Pace(words(cell), size.seconds, cell.clients, cell.pipeline, keyspace=keys_of(size, cell.size))


def measured(running: Fleet, peer: Peer, cell: Cell, size: Size) -> Figures:
    """One run.

    Raises:
        BenchError: an error reply, or the shards did not see every request.
    """
    if cell.own:
        paced = pace.run(running, peer, own_load(cell, size))
        return Figures(paced.cpu_us, paced.rps)
    sample = run(running, peer, load(cell, size))
    return Figures(sample.cpu_us, sample.rps)


Figured = dict[tuple[str, Cell], list[Figures]]


def measure(running: Fleet, peers: Sequence[Peer], size: Size, rounds: int) -> tuple[Figured, list[str]]:
    """All rounds; within one cell the peers follow one another, and each round begins with another peer.

    Also a sentence for each run that failed: its cell has the other rounds, or no figure.
    """
    for value in SIZES:
        running.fill([f"Ads.Profile:v{value}:{i:012d}" for i in range(keys_of(size, value))], b"x" * value)
    for peer in peers:
        check(peer, "Ads.Profile:check")
    progress = Progress("matrix", rounds * len(cells()) * len(peers))
    figures: Figured = {}
    failed: list[str] = []
    for turn in range(rounds):
        for cell in cells():
            for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                what = f"{cell.command} P={cell.pipeline} c={cell.clients} {cell.size} B {peer.name}"
                try:
                    found = measured(running, peer, cell, size)
                except BenchError as error:
                    failed.append(f"Not measured in round {turn + 1}: {what}, because {error}")
                    told = str(error)
                else:
                    figures.setdefault((peer.name, cell), []).append(found)
                    told = f"{found.rps:.0f}/s, {found.cpu_us:.2f} us"
                progress.step(f"round {turn + 1}/{rounds} {what}: {told}")
    return figures, failed


def _median(figures: Figured, value: Callable[[Figures], float]) -> dict[tuple[str, Cell], float]:
    return {place: statistics.median(map(value, rounds)) for place, rounds in figures.items()}


def tables(figures: Figured, peers: Sequence[str]) -> tuple[Table, ...]:
    """Processor time and throughput of the base, then of each axis: a row for each command and pipeline."""
    proxies = [peer for peer in peers if peer != "direct"]
    axes: tuple[tuple[str, Sequence[tuple[str, list[Cell]]]], ...] = (
        (f"{CLIENTS} clients, {VALUE_BYTES}-byte values", [("", list(base()))]),
        (
            f"{VALUE_BYTES}-byte values, clients varied",
            [(f"c={count}: ", [cell for cell in by_clients() if cell.clients == count]) for count in CLIENT_COUNTS],
        ),
        (f"{CLIENTS} clients, sizes varied", [(f"{size} B: ", list(of_size(size))) for size in SIZES]),
    )
    kinds: tuple[tuple[str, dict[tuple[str, Cell], float], Sequence[str]], ...] = (
        (
            "processor time per request, µs (ratio to Twemproxy: lower is better)",
            _median(figures, lambda f: f.cpu_us),
            proxies,
        ),
        ("thousand requests per second (ratio to Twemproxy)", _median(figures, lambda f: f.rps / 1000), peers),
    )
    made = []
    for what, groups in axes:
        for kind, median, shown in kinds:
            header = [f"{group}{peer}" for group, _ in groups for peer in shown]
            rows = [
                (
                    f"{cells[0].command} P={cells[0].pipeline}",
                    *(_beside(median, peer, cell) for cell in cells for peer in shown),
                )
                for cells in zip(*(cells for _, cells in groups), strict=True)
            ]
            made.append(Table(f"{what}: {kind}", ("command", *header), tuple(rows)))
    return tuple(made)


def _beside(median: dict[tuple[str, Cell], float], peer: str, cell: Cell) -> str:
    if (peer, cell) not in median:
        return "–"
    return beside(median[peer, cell], None if peer == REFERENCE else median.get((REFERENCE, cell)))


def plots(figures: Figured, peers: Sequence[str]) -> tuple[Plot, ...]:
    """Processor time over each axis, a panel for each command."""
    cpu = _median(figures, lambda f: f.cpu_us)
    proxies = [peer for peer in peers if peer != "direct"]

    def panels(cells: Sequence[Cell], x: Callable[[Cell], int], *, depths: bool) -> tuple[Panel, ...]:
        made = []
        for command in dict.fromkeys(cell.command for cell in cells):
            found = {
                (f"{peer}, P={cell.pipeline}" if depths else peer, float(x(cell))): cpu[peer, cell]
                for peer in proxies
                for cell in cells
                if cell.command == command and (peer, cell) in cpu
            }
            made.append(Panel(f"{command}: µs per request", lines_of(found, list(dict.fromkeys(name for name, _ in found)))))
        return tuple(made)

    title = "Processor time of the proxy over"
    by_depth = panels(list(base()), lambda cell: cell.pipeline, depths=False)
    by_count = panels(list(by_clients()), lambda cell: cell.clients, depths=True)
    by_bytes = panels([cell for size in SIZES for cell in of_size(size)], lambda cell: cell.size, depths=True)
    return (
        Plot(
            "matrix-pipeline", f"{title} the pipeline's depth", "requests in a pipeline", by_depth, x_ticks=_ticks(PIPELINES)
        ),
        Plot("matrix-clients", f"{title} the number of clients", "clients", by_count, x_ticks=_ticks(CLIENT_COUNTS)),
        Plot("matrix-sizes", f"{title} the size of the value", "bytes of the value", by_bytes, x_ticks=_ticks(SIZES)),
    )


def _ticks(values: Sequence[int]) -> dict[float, str]:
    return {float(value): str(value) for value in values}


def section(settings: Settings) -> Section:
    """Run it."""
    size = SHORT if settings.short else FULL
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = running.start_peers([name for name in PEERS if name in settings.peers])
        figures, failed = measure(running, peers, size, settings.rounds)
        return report(figures, [peer.name for peer in peers], size, [*failed, *settings.left_out(running.missing)])


def report(figures: Figured, peers: Sequence[str], size: Size, left_out: Sequence[str] = ()) -> Section:
    """Tables and plots of medians."""
    charged = [[f.cpu_us for f in rounds] for (peer, _), rounds in figures.items() if peer != "direct"]
    return Section(
        "matrix",
        "Five commands, over pipelines, clients and sizes",
        "Two shards; the gate as in production: a user with a password, grants, networks and a limit of rate, limits of"
        f" key and value, the listener for metrics. {number(size.keys)} keys ({number(size.large_keys)} of {SIZES[-1]} bytes),"
        " strings present beforehand; MSET writes ten keys, spread over both shards, and counts as one request. *direct* is"
        " one shard without a proxy. Clients are varied by the harness' own generator (bench/pace.c), which connects and"
        " logs in before anything is charged; all else is by redis-benchmark, whose connections are charged with the"
        " requests. Other sizes are asked for like the base, with fewer requests of large ones.",
        tables(figures, peers),
        (
            *(load(cell, size).shown() for cell in base()),
            pace.BUILD,
            *(own_load(Cell("GET", depth, count), size).shown() for depth in PIPELINES[:2] for count in CLIENT_COUNTS),
        ),
        (
            "Processor time: " + widest(charged),
            "Throughput: " + widest([[f.rps for f in rounds] for rounds in figures.values()]),
            *left_out,
        ),
        plots=plots(figures, peers),
    )
