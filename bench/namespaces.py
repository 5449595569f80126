"""``namespaces``: the gate with one namespace and with 10,000: start, reload, throughput, processor time."""

import statistics
import time
from collections.abc import Sequence

from bench.figures import Table, beside, number, widest
from bench.load import VALUE_BYTES, Load, Sample, check, run
from bench.peers import PASSWORD, Fleet, Peer, fleet
from bench.process import NotAvailable, kill
from bench.progress import Progress
from bench.report import Section, Settings
from bench.resp import Client

MANY = 10_000
PIPELINES = (1, 16, 100)
ONE_KEY, SPREAD_KEY = "Ads.T000000000001:__rand_int__", "Ads.T__rand_int__:000000000001"  # of the same length


def names(count: int) -> list[str]:
    """``Ads.T`` and the 12 digits that redis-benchmark puts in for ``__rand_int__``; the loads' own one among them."""
    return [f"Ads.T{number:012d}" for number in range(count)]


def start_seconds(running: Fleet, count: int, label: str) -> tuple[Peer, float]:
    """Start a gate; the time from the spawn to its first PONG for a user."""
    begin = time.perf_counter()
    chosen = names(count) if count > 1 else names(2)[1:]
    peer = running.gate(chosen, label)
    return peer, time.perf_counter() - begin


def reload_seconds(running: Fleet, peer: Peer) -> float | str:
    """Change one limit in the file, GATE RELOAD; how long the reply took, or what was answered instead of OK."""
    path = running.folder / f"{peer.name}.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("128kb", "127kb", 1), encoding="utf-8")
    with Client(peer.port, ("admin", PASSWORD)) as client:
        begin = time.perf_counter()
        try:
            client.ask("GATE", "RELOAD")
        except Exception as error:  # noqa: BLE001 - whatever it answers is the figure's place in the table
            return str(error)
        return time.perf_counter() - begin


def loads(key: str, *, short: bool) -> list[tuple[str, Load]]:
    """(column, load) for one key pattern."""
    requests = {1: 50_000, 16: 300_000, 100: 500_000} if short else {1: 100_000, 16: 600_000, 100: 1_000_000}
    commands = {"SET": ("SET", key, "x" * VALUE_BYTES), "GET": ("GET", key)}
    return [
        (f"{name} P={pipeline}", Load(command, requests[pipeline], pipeline, MANY))
        for pipeline in PIPELINES
        for name, command in commands.items()
    ]


def _rows(
    samples: dict[tuple[str, str], list[Sample]], cases: Sequence[str], figure: str, scale: float
) -> tuple[tuple[str, ...], ...]:
    """Medians with their ratio to the first case."""
    columns = list(dict.fromkeys(column for _, column in samples))
    median = {cell: statistics.median(getattr(s, figure) / scale for s in rounds) for cell, rounds in samples.items()}
    return tuple(
        (case, *(beside(median[case, c], median[cases[0], c] if case != cases[0] else None) for c in columns))
        for case in cases
    )


def section(settings: Settings) -> Section:
    """Run it: two gates over the same shards, taking turns."""
    with fleet(settings.gate) as running:
        running.start_shards()
        try:
            return _section(settings, running)
        except NotAvailable as error:
            return Section("namespaces", "Many namespaces", "", (), notes=(f"Not measured: kvgate, because {error}",))


def _section(settings: Settings, running: Fleet) -> Section:
    starts: dict[int, list[float]] = {1: [], MANY: []}
    gates: dict[int, Peer] = {}
    each = 3 * len(loads(ONE_KEY, short=settings.short)) + len(starts)  # starts, and loads of three cases
    progress = Progress("namespaces", settings.rounds * each)
    for turn in range(settings.rounds):
        for count, times in starts.items():
            gates[count], seconds = start_seconds(running, count, f"kvgate-{count}-{turn}")
            times.append(seconds)
            progress.step(f"start with {count}: {seconds:.3f} s")
            if turn < settings.rounds - 1:
                kill(gates[count].server)
    for key in (ONE_KEY, SPREAD_KEY):
        running.fill([key.replace("__rand_int__", f"{i:012d}") for i in range(MANY)], b"x" * VALUE_BYTES)
    cases = {
        "1 namespace": (gates[1], ONE_KEY),
        f"{MANY} namespaces, one used": (gates[MANY], ONE_KEY),
        f"{MANY} namespaces, all used": (gates[MANY], SPREAD_KEY),
    }
    samples: dict[tuple[str, str], list[Sample]] = {}
    for peer in gates.values():
        check(peer, "Ads.T000000000001:check")
    order = list(cases.items())
    for turn in range(settings.rounds):
        for index, (column, _) in enumerate(loads(ONE_KEY, short=settings.short)):
            for case, (peer, key) in [*order[turn % 3 :], *order[: turn % 3]]:
                sample = run(running, peer, loads(key, short=settings.short)[index][1])
                samples.setdefault((case, column), []).append(sample)
                progress.step(f"round {turn + 1} {column} {case}: {sample.rps:.0f}/s, {sample.cpu_us:.2f} us")
    return _report(settings, running, starts, gates, samples, list(cases))


def _report(
    settings: Settings,
    running: Fleet,
    starts: dict[int, list[float]],
    gates: dict[int, Peer],
    samples: dict[tuple[str, str], list[Sample]],
    cases: list[str],
) -> Section:
    columns = tuple(dict.fromkeys(column for _, column in samples))
    loading, notes = [], []
    for figure, name in (("rps", "Throughput"), ("cpu_us", "Processor time")):
        notes.append(f"{name}: " + widest([[getattr(s, figure) for s in rounds] for rounds in samples.values()]))
    for count, times in starts.items():
        reload = reload_seconds(running, gates[count])
        shown = "–" if isinstance(reload, str) else number(reload * 1000)
        loading.append((str(count), number(statistics.median(times) * 1000), shown))
        if isinstance(reload, str):
            notes.append(f"Not measured: the reload with {count}, because it answered: {reload}")
    ratio = "(ratio to 1 namespace)"
    tables = (
        Table(f"Throughput, thousand requests per second {ratio}", ("gate", *columns), _rows(samples, cases, "rps", 1000)),
        Table(f"Processor time of the gate per request, µs {ratio}", ("gate", *columns), _rows(samples, cases, "cpu_us", 1)),
        Table("Start and reload, ms", ("namespaces", "spawn to first PONG", "GATE RELOAD"), tuple(loading)),
    )
    commands = [load.shown() for key in (ONE_KEY, SPREAD_KEY) for _, load in loads(key, short=settings.short)]
    return Section(
        "namespaces",
        "Many namespaces",
        f"Each namespace is in the file's long form, with limits; the {MANY} make a file of"
        f" {(running.folder / f'{gates[MANY].name}.toml').stat().st_size / 1e6:.1f} MB. Two gates over the same shards take"
        " turns. The reload changes one namespace's limit, and is measured once, after the loads.",
        tables,
        tuple(commands),
        tuple(notes),
    )
