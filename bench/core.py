"""``core``: SET and GET at several pipeline depths against every peer: processor time per request, and throughput."""

import statistics
from collections.abc import Callable, Sequence

import attrs

from bench.figures import Table, beside, number, widest
from bench.load import VALUE_BYTES, Load, Sample, check, run
from bench.peers import REFERENCE, Fleet, Peer, fleet
from bench.progress import Progress
from bench.report import Section, Settings

KEYS = 100_000
Cell = tuple[str, int, str]  # peer, pipeline, SET or GET


@attrs.frozen(slots=True)
class Size:
    """How much is asked for: pipeline depth → requests of one run."""

    requests: dict[int, int]
    keys: int = KEYS


FULL = Size({1: 100_000, 16: 600_000, 100: 1_000_000})
SHORT = Size({1: 50_000, 16: 300_000, 100: 500_000})  # twice a tick of 10 ms is still below 4 % of a run


def loads(size: Size) -> list[tuple[int, str, Load]]:
    """Each (pipeline, command name, load)."""
    value = "x" * VALUE_BYTES
    commands = {"SET": ("SET", "Ads.Profile:__rand_int__", value), "GET": ("GET", "Ads.Profile:__rand_int__")}
    return [
        (pipeline, name, Load(command, requests, pipeline, size.keys))
        for pipeline, requests in size.requests.items()
        for name, command in commands.items()
    ]


def measure(running: Fleet, peers: Sequence[Peer], size: Size, rounds: int) -> dict[Cell, list[Sample]]:
    """All rounds; within one load the peers follow one another, and each round begins with another peer."""
    running.fill([f"Ads.Profile:{i:012d}" for i in range(size.keys)], b"x" * VALUE_BYTES)
    for peer in peers:
        check(peer, "Ads.Profile:check")
    samples: dict[Cell, list[Sample]] = {}
    progress = Progress("core", rounds * len(loads(size)) * len(peers))
    for turn in range(rounds):
        for pipeline, name, load in loads(size):
            for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                sample = run(running, peer, load)
                samples.setdefault((peer.name, pipeline, name), []).append(sample)
                told = f"{sample.rps:.0f}/s, {sample.cpu_us:.2f} us"
                progress.step(f"round {turn + 1}/{rounds} P={pipeline} {name} {peer.name}: {told}")
    return samples


def table(
    caption: str, samples: dict[Cell, list[Sample]], peers: Sequence[str], value: Callable[[Sample], float]
) -> Table:
    """Medians of the rounds, one row for each peer, with the ratio to the reference peer's median."""
    columns = list(dict.fromkeys((pipeline, name) for _, pipeline, name in samples))
    medians = {cell: statistics.median(map(value, rounds)) for cell, rounds in samples.items()}
    rows = []
    for peer in peers:
        row = [peer]
        for pipeline, name in columns:
            reference = medians.get((REFERENCE, pipeline, name)) if peer != REFERENCE else None
            row.append(beside(medians[peer, pipeline, name], reference))
        rows.append(tuple(row))
    return Table(caption, ("peer", *(f"{name} P={pipeline}" for pipeline, name in columns)), tuple(rows))


def tables(samples: dict[Cell, list[Sample]], peers: Sequence[Peer]) -> tuple[tuple[Table, ...], list[str]]:
    """The tables of the report, and the sentences under them."""
    everyone, proxies = [peer.name for peer in peers], [peer.name for peer in peers if peer.is_proxy]
    of_proxies = {cell: rounds for cell, rounds in samples.items() if cell[0] in proxies}
    unpiped = {cell: rounds for cell, rounds in samples.items() if cell[1] == 1}
    result = []
    if proxies:
        caption = "Processor time of the proxy's processes per request, µs (ratio to Twemproxy: lower is better)"
        result.append(table(caption, of_proxies, proxies, lambda sample: sample.cpu_us))
    caption = "Throughput, thousand requests per second (ratio to Twemproxy: higher is better)"
    result.append(table(caption, samples, everyone, lambda sample: sample.rps / 1000))
    if unpiped:
        caption = "99th percentile of latency without a pipeline, ms, at full load (ratio to Twemproxy: lower is better)"
        result.append(table(caption, unpiped, everyone, lambda sample: sample.p99_ms))
    notes = ["Throughput: " + widest([[sample.rps for sample in rounds] for rounds in samples.values()])]
    if of_proxies:
        cells = [[sample.cpu_us for sample in rounds] for rounds in of_proxies.values()]
        notes.append("Processor time: " + widest(cells))
    return tuple(result), notes


def section(settings: Settings) -> Section:
    """Run it."""
    size = SHORT if settings.short else FULL
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = running.start_peers(settings.peers)
        samples = measure(running, peers, size, settings.rounds)
        result, notes = tables(samples, peers)
        return Section(
            "core",
            "SET and GET, two shards",
            f"{VALUE_BYTES}-byte values, {number(size.keys)} keys, present on both shards beforehand so that each GET"
            " hits. *direct* is one shard without a proxy; HAProxy (TCP mode, one thread) deals connections to both"
            " shards in turn and reads nothing; Twemproxy (fnv1a_64, ketama) and kvgate (crc32, 1024 slots) route each"
            " key, and kvgate also checks a logged-in user, grants, a limit of rate and limits of key and value, and keeps"
            " metrics.",
            result,
            tuple(load.shown() for _, _, load in loads(size)),
            (*notes, *settings.left_out(running.missing)),
        )
