"""Growth: every axis over real servers, small; and its tables, plots and steepest steps."""

import shutil
from collections.abc import Iterator

import pytest

from bench import axes, growth
from bench.axes import Point, Size, Told, value_load
from bench.growth import AXES, MIB, Points, measure, report, steepest, table
from bench.load import LONGEST_WORD
from bench.peers import Fleet, default_gate
from bench.process import BenchError, NotAvailable
from bench.report import Settings

TINY = Size(
    0.02,
    1_000,
    100_000,
    stored=(100, 1_200),
    clients=(1, 20),
    namespaces=(1, 5),
    values=(8, 200_000),
    depths=(1, 100),
    workers=(1, 2),
)
CLIENTS = AXES[0]
needs_programs = [
    pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")
    for program in ("redis-benchmark", "nutcracker", "gcc")
]


@pytest.mark.parametrize("axis", AXES, ids=[axis.name for axis in AXES])
@needs_programs[0]
@needs_programs[1]
@needs_programs[2]
def test_every_axis(axis: growth.Axis, capsys: pytest.CaptureFixture[str]) -> None:
    found, missing = measure(Settings(rounds=1, gate=tuple(default_gate())), TINY, [axis])
    assert missing == {}
    points = found[axis.name]
    assert len({name for name, _ in points}) == axis.rows
    assert {x for _, x in points} == set(axis.points(TINY))
    for rounds in points.values():
        assert len(rounds) == 1
        assert rounds[0].rps > 0
        assert rounds[0].peak > MIB // 2
        assert rounds[0].pss > 0
        assert (rounds[0].file > 0) is (axis.name == "stored")
    count = axis.rows * len(axis.points(TINY))
    assert f"growth {count}/{count}" in capsys.readouterr().err


def points() -> Points:
    """A gate whose cost rises at 100, beside a Twemproxy."""
    cost = {1: 10.0, 10: 11.0, 100: 33.0}
    return {
        (peer, x): [
            Point(1000.0 * x, cpu, 2 * x * MIB, x * MIB),
            Point(9.0, 0.0, 1, 1),
            Point(1e9, 99.0, 999 * MIB, 999 * MIB),
        ]
        for peer in ("twemproxy", "kvgate")
        for x, cpu in cost.items()
    }


def test_a_row_for_each_figure_a_column_for_each_point() -> None:
    made = table(CLIENTS, points())
    assert made.header == ("clients", "1", "10", "100")
    assert made.rows[:2] == (
        ("twemproxy: thousand per second", "1.00", "10.0", "100"),
        ("kvgate: thousand per second", "1.00", "10.0", "100"),
    )
    assert made.rows[3] == ("kvgate: µs per request", "10.0", "11.0", "33.0")
    assert made.rows[5] == ("kvgate: MiB, peak RSS", "2.00", "20.0", "200")
    assert made.rows[7] == ("kvgate: MiB, PSS after", "1.00", "10.0", "100")
    assert len(made.rows) == 8  # nothing of a file where there is none


def test_the_steepest_step_is_the_gates() -> None:
    found = points()
    found["twemproxy", 100] = [Point(1.0, 1e6, 1, 1)]
    assert steepest(CLIENTS, found).endswith("steepest step of processor time 3.00x, kvgate, from 10 to 100.")
    assert "nothing is known" in steepest(CLIENTS, {("kvgate", 1): [Point(1.0, 1.0, 1, 1)]})


def test_a_plot_for_each_axis() -> None:
    section = report({"clients": points()}, TINY, ["Not measured: depth, because x"])
    (plot,) = section.plots
    assert plot.name == "growth-clients"
    rate, cost, size = plot.panels
    assert [line.name for line in rate.lines] == ["twemproxy", "kvgate"]
    assert rate.lines[1].points == ((1.0, 1.0), (10.0, 10.0), (100.0, 100.0))
    assert cost.lines[1].points[-1] == (100.0, 33.0)
    assert size.lines[1].points[-1] == (100.0, 100.0)
    assert len(section.tables) == 1
    assert section.notes[-1] == "Not measured: depth, because x"


def fake(told: list[Told], *, ends: BaseException | None = None) -> growth.Axis:
    """An axis that measures what it is told, and then may end."""

    def run(running: Fleet, size: Size, turn: int) -> Iterator[Told]:
        del running, size, turn
        yield from told
        if ends:
            raise ends

    return growth.Axis("clients", "C", "c", lambda size: size.clients, run, 1)


@needs_programs[0]
def test_a_point_that_fails_is_told_and_the_others_stay() -> None:
    def fails() -> Point:
        raise BenchError("too many")

    def works() -> Point:
        return Point(1.0, 1.0, 1, 1)

    settings = Settings(rounds=1, gate=("false",))
    found, missing = measure(settings, TINY, [fake([("kvgate", 1, works), ("kvgate", 1000, fails)])])
    assert list(found["clients"]) == [("kvgate", 1)]
    assert missing == {"clients, kvgate at 1,000": "too many"}
    _, missing = measure(settings, TINY, [fake([], ends=NotAvailable("no peer"))])
    assert missing == {"clients": "no peer"}


def test_large_values_go_through_standard_input() -> None:
    small, large = value_load("SET", 430, axes.FULL), value_load("SET", 8_388_608, axes.FULL)
    assert "-x" not in small.options()
    assert "-x" in large.options()
    assert len(large.from_stdin()) == 8_388_608 > LONGEST_WORD
    assert large.shown().endswith("SET Ads.Profile:v8388608:__rand_int__ < <8388608 bytes>")
    assert large.requests * 8_388_608 < 2 * axes.FULL.bytes
    assert value_load("GET", 8_388_608, axes.FULL).from_stdin() == ""
    assert small.shown().endswith("SET Ads.Profile:v430:__rand_int__ <430 bytes>")
