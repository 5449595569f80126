"""``workers``: the gate with one worker and with two: processor time per request, and throughput where cores allow it."""

import contextlib
import os
import statistics
from collections.abc import Iterator

import attrs

from bench.figures import Table, beside, number, widest
from bench.load import CLIENTS, VALUE_BYTES, Load, Sample, check, run
from bench.peers import Fleet, Peer, fleet, gate_config
from bench.process import free_port, tree, wait_for
from bench.progress import Progress
from bench.report import Section, Settings

COUNTS = (1, 2)
KEYS = 100_000
FOR_OTHERS = 2
"""Cores that the stores and the load generator need at least, beside the workers' own, for pinning to mean anything."""
Cell = tuple[int, int, str]  # workers, pipeline, command


def start(running: Fleet, workers: int) -> Peer:
    """A gate with so many workers, and all of them serving."""
    port, name = free_port(), f"{workers} worker{'s' if workers > 1 else ''}"
    text = gate_config(port, running.shards, ["Ads.Profile"])
    started = running.gate_from(text, port, f"kvgate-{workers}", ("--workers", str(workers)))
    processes = 1 if workers == 1 else workers + 1
    wait_for(lambda: len(tree(started.server.pid)) == processes, started.server)
    return attrs.evolve(started, name=name)


@contextlib.contextmanager
def pinned(running: Fleet, peer: Peer, workers: int) -> Iterator[bool]:
    """Keep each worker on a core of its own and everything else off those; whether there are enough cores for that."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    if len(cores) < workers + FOR_OTHERS:
        yield False
        return
    rest = set(cores[workers:])
    processes = tree(peer.server.pid)
    for pid in (*(shard.server.pid for shard in running.shards), *processes[: workers > 1]):
        os.sched_setaffinity(pid, rest)
    for core, pid in zip(cores, processes[workers > 1 :], strict=False):
        os.sched_setaffinity(pid, {core})
    os.sched_setaffinity(0, rest)  # redis-benchmark inherits it
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def loads(workers: int, *, short: bool) -> list[tuple[int, str, Load]]:
    """Each worker has as many clients, whatever their number: what one turn of a worker serves is the same."""
    value = "x" * VALUE_BYTES
    commands = {"SET": ("SET", "Ads.Profile:__rand_int__", value), "GET": ("GET", "Ads.Profile:__rand_int__")}
    depths = {1: 50_000, 16: 300_000} if short else {1: 100_000, 16: 600_000}
    return [
        (depth, name, Load(command, requests, depth, KEYS, CLIENTS * workers))
        for depth, requests in depths.items()
        for name, command in commands.items()
    ]


def section(settings: Settings) -> Section:
    """Run it, the two taking turns; the ratio is to one worker."""
    samples: dict[Cell, list[Sample]] = {}
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = {workers: start(running, workers) for workers in COUNTS}
        running.fill([f"Ads.Profile:{i:012d}" for i in range(KEYS)], b"x" * VALUE_BYTES)
        was_pinned = True
        for peer in peers.values():
            check(peer, "Ads.Profile:check")
        progress = Progress("workers", settings.rounds * len(loads(1, short=settings.short)) * len(COUNTS))
        for turn in range(settings.rounds):
            for place in range(len(loads(1, short=settings.short))):
                for workers in COUNTS[:: 1 if turn % 2 else -1]:
                    depth, name, load = loads(workers, short=settings.short)[place]
                    with pinned(running, peers[workers], workers) as done:
                        was_pinned &= done
                        sample = run(running, peers[workers], load)
                    samples.setdefault((workers, depth, name), []).append(sample)
                    told = f"{sample.rps:.0f}/s, {sample.cpu_us:.2f} us"
                    progress.step(f"round {turn + 1} P={depth} {name} {peers[workers].name}: {told}")
    return report(samples, pinned_to_cores=was_pinned, short=settings.short)


def report(samples: dict[Cell, list[Sample]], *, pinned_to_cores: bool, short: bool) -> Section:
    """Medians, each with its ratio to one worker."""
    columns = list(dict.fromkeys((depth, name) for _, depth, name in samples))
    tables = []
    for caption, value in (
        ("Processor time of all the gate's processes per request, µs (ratio to one worker)", lambda s: s.cpu_us),
        ("Throughput, thousand requests per second (ratio to one worker)", lambda s: s.rps / 1000),
    ):
        medians = {cell: statistics.median(map(value, rounds)) for cell, rounds in samples.items()}
        rows = []
        for workers in COUNTS:
            cells = [
                beside(medians[workers, *column], medians[1, *column]) if workers > 1 else number(medians[1, *column])
                for column in columns
            ]
            rows.append((f"{workers}", *cells))
        tables.append(Table(caption, ("workers", *(f"{name} P={depth}" for depth, name in columns)), tuple(rows)))
    where = (
        "each worker pinned to a core of its own, stores and load generator kept off those"
        if pinned_to_cores
        else "nothing pinned: the machine has too few cores for the stores and the load generator beside the workers, so that"
        " throughput says little here, and processor time per request is what to compare"
    )
    return Section(
        "workers",
        "One worker and two",
        f"Two shards, {VALUE_BYTES}-byte values, {CLIENTS} clients for each worker; {where}. The parent, which hands out"
        " connections, is charged too.",
        tuple(tables),
        tuple(load.shown() for workers in COUNTS for _, _, load in loads(workers, short=short)),
        ("Processor time: " + widest([[sample.cpu_us for sample in rounds] for rounds in samples.values()]),),
    )
