"""``latency``: percentiles at half of Twemproxy's capacity, counted from when each request was due; and what a proxy adds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from bench import pace
from bench.figures import Table, beside, number
from bench.load import CLIENTS, VALUE_BYTES, check
from bench.pace import Histogram, Pace, Paced, run
from bench.peers import NAMES, REFERENCE, Fleet, Peer, fleet
from bench.plots import Line, Panel, Plot
from bench.process import NotAvailable
from bench.progress import Progress
from bench.report import Section, Settings

KEYS = 100_000
COMMANDS: Final = {
    "SET": ("SET", "Ads.Profile:__rand_int__", "x" * VALUE_BYTES),
    "GET": ("GET", "Ads.Profile:__rand_int__"),
}
SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@attrs.frozen(slots=True)
class Size:
    """How long each load runs, seconds: the closed loop that finds the capacity, the fixed rate, one client alone."""

    capacity: float
    steady: float
    alone: float
    warmup: float = 0.5
    keys: int = KEYS


FULL = Size(1.5, 6.0, 1.5)
SHORT = Size(0.5, 2.0, 0.5, 0.2)


@attrs.frozen(slots=True)
class Runs:
    """All runs by (peer, command), one for each round."""

    rates: Mapping[str, float]
    """Requests per second that every peer was asked, by command."""
    steady: Mapping[tuple[str, str], Sequence[Paced]]
    alone: Mapping[tuple[str, str], Sequence[Paced]]


def half_of(running: Fleet, reference: Peer, size: Size, progress: Progress) -> dict[str, float]:
    """Half of what the reference answers to 50 clients that always have a request under way; the median of three."""
    rates = {}
    for name, command in COMMANDS.items():
        load = Pace(command, size.capacity, warmup=size.warmup, keyspace=size.keys)
        most = statistics.median(run(running, reference, load).rps for _ in range(3))
        rates[name] = float(round(most / 2, -2))
        progress.step(f"{name}: {reference.name} answers {most:.0f}/s at most, so {rates[name]:.0f}/s are asked")
    return rates


def steady_load(name: str, size: Size, rate: float) -> Pace:
    """50 connections that take turns, at a fixed rate."""
    return Pace(COMMANDS[name], size.steady, rate=rate, warmup=size.warmup, keyspace=size.keys)


def alone_load(name: str, size: Size) -> Pace:
    """One connection, one request at a time."""
    return Pace(COMMANDS[name], size.alone, clients=1, warmup=size.warmup, keyspace=size.keys)


def measure(running: Fleet, peers: Sequence[Peer], size: Size, rounds: int) -> Runs:
    """All rounds; the rate is half of Twemproxy's, or of the first peer's capacity where that is not there."""
    running.fill([f"Ads.Profile:{i:012d}" for i in range(size.keys)], b"x" * VALUE_BYTES)
    for peer in peers:
        check(peer, "Ads.Profile:check")
    progress = Progress("latency", len(COMMANDS) * (1 + rounds * len(peers) * 2))
    reference = next((peer for peer in peers if peer.name == REFERENCE), peers[0])
    rates = half_of(running, reference, size, progress)
    steady: dict[tuple[str, str], list[Paced]] = {}
    alone: dict[tuple[str, str], list[Paced]] = {}
    for turn in range(rounds):
        for name in COMMANDS:
            for kind, load, found in (
                ("half load", steady_load(name, size, rates[name]), steady),
                ("one client", alone_load(name, size), alone),
            ):
                for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                    paced = run(running, peer, load)
                    found.setdefault((peer.name, name), []).append(paced)
                    told = ", ".join(f"{label} {paced.latency.quantile(share) / 1000:.0f}" for label, share in SHARES.items())
                    progress.step(f"round {turn + 1}/{rounds} {kind} {name} {peer.name}: {told} us, {paced.cpu_us:.2f} us CPU")
    return Runs(rates, steady, alone)


def _quantile(rounds: Sequence[Paced], share: float, *, of_sending: bool = False) -> float:
    """The median of the rounds' quantiles, µs."""
    return statistics.median((p.lateness if of_sending else p.latency).quantile(share) / 1000 for p in rounds)


def tables(runs: Runs, peers: Sequence[str]) -> tuple[Table, ...]:
    """Percentiles at the fixed rate, one table for each command; then one client alone."""
    made = []
    for name, rate in runs.rates.items():
        rows = []
        for peer in peers:
            rounds, row = runs.steady[peer, name], [peer]
            reference = runs.steady.get((REFERENCE, name)) if peer != REFERENCE else None
            row += [
                beside(_quantile(rounds, share), _quantile(reference, share) if reference else None)
                for share in SHARES.values()
            ]
            row.append(number(statistics.median(p.cpu_us for p in rounds)) if peer != "direct" else "–")
            row += [number(_quantile(rounds, share, of_sending=True)) for share in (0.5, 0.99)]
            rows.append(tuple(row))
        header = ("peer", *(f"{label} µs" for label in SHARES), "CPU µs per request", "sent late: p50 µs", "p99 µs")
        made.append(
            Table(
                f"{name} at {number(rate)} requests per second, {CLIENTS} connections (ratio to Twemproxy)",
                header,
                tuple(rows),
            )
        )
    rows = []
    for peer in peers:
        cells = []
        for name in runs.rates:
            median, base = (_quantile(runs.alone[p, name], 0.5) if (p, name) in runs.alone else None for p in (peer, "direct"))
            assert median is not None
            added = "–" if base is None or peer == "direct" else number(median - base)
            cells += [number(median), added, number(_quantile(runs.alone[peer, name], 0.99))]
        rows.append((peer, *cells))
    columns = [column for name in runs.rates for column in (f"{name} p50 µs", "added to direct's", "p99 µs")]
    made.append(Table("One client, one request at a time", ("peer", *columns), tuple(rows)))
    return tuple(made)


def plot(runs: Runs, peers: Sequence[str]) -> Plot:
    """Latency over the percentile, all rounds together; the further right, the rarer."""
    ticks = {2.0: "50 %", 10.0: "90 %", 100.0: "99 %", 1_000.0: "99.9 %", 10_000.0: "99.99 %"}
    at = sorted(10 ** (step / 8) for step in range(2, 33))
    panels = []
    for name in runs.rates:
        lines = []
        for peer in peers:
            together = Histogram.merged(paced.latency for paced in runs.steady[peer, name])
            lines.append(Line(peer, tuple((x, together.quantile(1 - 1 / x) / 1000) for x in at)))
        panels.append(Panel(f"{name}: latency, µs", tuple(lines), log_y=True))
    title = "Latency at half of Twemproxy's capacity, by percentile"
    return Plot("latency", title, "part of the requests that was as fast", tuple(panels), x_ticks=ticks)


def section(settings: Settings) -> Section:
    """Run it.

    Raises:
        NotAvailable: no peer could be started, or the generator cannot be compiled.
    """
    size = SHORT if settings.short else FULL
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = running.start_peers([name for name in NAMES if name in settings.peers])
        if not peers:
            raise NotAvailable("; ".join(settings.left_out(running.missing)))
        runs = measure(running, peers, size, settings.rounds)
        return report(runs, [peer.name for peer in peers], size, settings.left_out(running.missing))


def report(runs: Runs, peers: Sequence[str], size: Size, left_out: Sequence[str] = ()) -> Section:
    """Tables and the plot."""
    return Section(
        "latency",
        "Latency at half load, and with one client",
        f"{VALUE_BYTES}-byte values, two shards, the gate as in production. Each request has a time at which it is due, at"
        " a fixed rate of half of Twemproxy's capacity (its answers to 50 clients in a closed loop, in the same run); it is"
        " sent then, whatever is unanswered, and its latency counts from then: who stalls pays for every request that"
        " fell into the stall (no coordinated omission). The generator (bench/pace.c) sleeps until the next request is due"
        " and shares the cores with everything else, so its own lateness is in all latencies: it stands in the last"
        " columns, and *direct* has it too. redis-benchmark's percentiles elsewhere on this page are those of a full load.",
        tables(runs, peers),
        (
            pace.BUILD,
            *(asked.shown() for n, rate in runs.rates.items() for asked in (steady_load(n, size, rate), alone_load(n, size))),
        ),
        ("Percentiles are medians of the rounds' own; the plot has all rounds together.", *left_out),
        plots=(plot(runs, peers),),
    )
