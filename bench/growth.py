"""``growth``: rate, processor time and memory along six axes, each a table and a plot; a cliff would show in both."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import attrs

from bench import axes
from bench.axes import FULL, SHORT, Point, Size, Told
from bench.figures import Table, number
from bench.peers import Fleet, fleet
from bench.plots import Panel, Plot, lines_of, short_number
from bench.process import BenchError
from bench.progress import Progress
from bench.report import Section, Settings

MIB = 2**20
Points = dict[tuple[str, int], list[Point]]


@attrs.frozen(slots=True)
class Axis:
    """One way to grow."""

    name: str
    title: str
    x_title: str
    points: Callable[[Size], Sequence[int]]
    measure: Callable[[Fleet, Size, int], Iterator[Told]]
    """Told the turn, once for each round; or, where `rounds_within`, the number of rounds, once."""
    rows: int
    """What is measured at each point."""
    rounds_within: bool = False
    log_y: bool = False

    def runs(self, running: Fleet, size: Size, rounds: int) -> Iterator[Told]:
        """Everything that is measured along it."""
        for turn in [rounds] if self.rounds_within else range(rounds):
            yield from self.measure(running, size, turn)


AXES = (
    Axis("clients", "Clients, GET without a pipeline", "clients", lambda size: size.clients, axes.by_clients, 2),
    Axis(
        "depth", "Depth of the pipeline, GET, 50 clients", "requests in a pipeline", lambda size: size.depths, axes.by_depth, 2
    ),
    Axis(
        "namespaces",
        "Namespaces, all used, GET, 50 clients",
        "namespaces",
        lambda size: size.namespaces,
        axes.by_namespaces,
        2,
    ),
    Axis(
        "values", "Size of the value, 10 clients", "bytes of the value", lambda size: size.values, axes.by_value, 4, log_y=True
    ),
    Axis("workers", "Workers, GET, 50 clients each", "workers", lambda size: size.workers, axes.by_workers, 2),
    Axis(
        "stored",
        f"Keys in the embedded store, {axes.STORED_BYTES}-byte values, durability no, 50 clients",
        "keys",
        lambda size: size.stored,
        axes.by_stored,
        3,
        rounds_within=True,
    ),
)


@attrs.frozen(slots=True)
class Figure:
    """What is shown of the points."""

    title: str
    of: Callable[[Point], float]


FIGURES = (
    Figure("thousand per second", lambda point: point.rps / 1000),
    Figure("µs per request", lambda point: point.cpu_us),
    Figure("MiB, peak RSS", lambda point: point.peak / MIB),
    Figure("MiB, PSS after", lambda point: point.pss / MIB),
    Figure("MiB on disk", lambda point: point.file / MIB),
)
PLOTTED = (FIGURES[0], FIGURES[1], FIGURES[3])
PLOTTED_TITLES = ("thousand requests per second", "processor time per request, µs", "memory, MiB (PSS after the load)")


def medians(points: Points, figure: Figure) -> dict[tuple[str, int], float]:
    """Of the rounds."""
    return {place: statistics.median(map(figure.of, rounds)) for place, rounds in points.items()}


def table(axis: Axis, points: Points) -> Table:
    """A row for each figure of each thing measured, a column for each point of the axis."""
    names, xs = (list(dict.fromkeys(place)) for place in zip(*points, strict=True))
    rows = []
    for figure in FIGURES:
        median = medians(points, figure)
        rows += [
            (f"{name}: {figure.title}", *(number(median[name, x]) if (name, x) in median else "–" for x in xs))
            for name in names
            if any(median.get((name, x)) for x in xs)
        ]
    return Table(axis.title, (axis.x_title, *(short_number(x) if x < 1000 else f"{x:,}" for x in xs)), tuple(rows))


def plot(axis: Axis, points: Points) -> Plot:
    """Rate, processor time and memory, side by side."""
    names, xs = (list(dict.fromkeys(place)) for place in zip(*points, strict=True))
    panels = [
        Panel(title, lines_of({(n, float(x)): y for (n, x), y in medians(points, figure).items()}, names), log_y=axis.log_y)
        for figure, title in zip(PLOTTED, PLOTTED_TITLES, strict=True)
    ]
    ticks = {float(x): str(x) for x in xs} if len(xs) <= 3 else {}
    return Plot(f"growth-{axis.name}", axis.title, axis.x_title, tuple(panels), x_ticks=ticks)


def steepest(axis: Axis, points: Points) -> str:
    """The sentence that tells where processor time per request grew most from one point of the axis to the next."""
    cpu = medians(points, FIGURES[1])
    steps = [
        (cpu[name, after] / cpu[name, before], name, before, after)
        for name in dict.fromkeys(name for name, _ in cpu)
        if name.startswith("kvgate")
        for before, after in _neighbours([x for whose, x in cpu if whose == name])
        if cpu[name, before] > 0
    ]
    if not steps:
        return f"{axis.title}: one point, so nothing is known of steps."
    factor, name, before, after = max(steps)
    return f"{axis.title}: steepest step of processor time {factor:.2f}x, {name}, from {before:,} to {after:,}."


def _neighbours(xs: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(xs))


def measure(settings: Settings, size: Size, chosen: Sequence[Axis] = AXES) -> tuple[dict[str, Points], dict[str, str]]:
    """The points of each axis, and why one, or a whole axis, could not be measured; each axis has servers of its own."""
    progress = Progress("growth", settings.rounds * sum(axis.rows * len(axis.points(size)) for axis in chosen))
    found: dict[str, Points] = {}
    missing: dict[str, str] = {}
    for axis in chosen:
        with fleet(settings.gate) as running:
            running.start_shards()
            try:
                for name, x, work in axis.runs(running, size, settings.rounds):
                    try:
                        point = work()
                    except BenchError as error:
                        told = missing[f"{axis.name}, {name} at {x:,}"] = str(error)
                    else:
                        found.setdefault(axis.name, {}).setdefault((name, x), []).append(point)
                        told = f"{point.rps:.0f}/s, {point.cpu_us:.2f} us, {point.peak / MIB:.0f} MiB"
                    progress.step(f"{axis.name} {x:,} {name}: {told}")
            except BenchError as error:  # before or between the points: no peer, or a store that could not be filled
                missing[axis.name] = str(error)
    return found, missing


def section(settings: Settings) -> Section:
    """Run it."""
    size = SHORT if settings.short else FULL
    found, missing = measure(settings, size)
    return report(found, size, settings.left_out(missing))


def report(found: dict[str, Points], size: Size, left_out: Sequence[str] = ()) -> Section:
    """A table and a plot for each axis."""
    measured = [axis for axis in AXES if axis.name in found]
    return Section(
        "growth",
        "Growth",
        "What happens to rate, processor time and memory where something grows; each axis on a gate as in production that"
        " nothing was asked of before, beside a Twemproxy where it has such an axis. The load is made by the harness' own"
        " generator in a closed loop (bench/pace.c; connecting and logging in are not charged), that of sizes by"
        " redis-benchmark. Peak RSS is the highest resident set during the load (VmHWM, begun anew before it), summed over"
        " processes; PSS is taken after it, and for the embedded store without the mapped file, which is the kernel's cache.",
        tuple(table(axis, found[axis.name]) for axis in measured),
        axes.commands(size),
        notes=(*(steepest(axis, found[axis.name]) for axis in measured), *left_out),
        plots=tuple(plot(axis, found[axis.name]) for axis in measured),
    )
