"""Latency at half load: the rate that everybody is asked, a small run, and the report's arithmetic."""

import shutil
from collections.abc import Sequence

import pytest

from bench import latency
from bench.latency import COMMANDS, Runs, Size, alone_load, half_of, report, steady_load
from bench.pace import Histogram, Paced
from bench.peers import fleet
from bench.progress import Progress

TINY = Size(0.05, 0.1, 0.05, 0.02, keys=50)


def paced(*bounds: int, cpu: float = 4.0, late: int = 3000) -> Paced:
    """One run whose latencies were these, in ns."""
    return Paced(1000.0, cpu, Histogram(tuple((bound, 1) for bound in bounds)), Histogram(((late, 1),)))


def runs(peers: Sequence[str]) -> Runs:
    """Three rounds; Twemproxy's median is 200 µs, the others' 100."""
    middle = {peer: 200_000 if peer == "twemproxy" else 100_000 for peer in peers}
    steady = {(p, name): [paced(m), paced(m // 2), paced(900_000)] for p, m in middle.items() for name in COMMANDS}
    alone = {
        (p, name): [paced(20_000 if p == "direct" else 50_000)] * 2 + [paced(900_000)] for p in peers for name in COMMANDS
    }
    return Runs(dict.fromkeys(COMMANDS, 35000.0), steady, alone)


def test_figures_are_medians_of_the_rounds_beside_twemproxy() -> None:
    section = report(runs(["direct", "twemproxy", "kvgate"]), ["direct", "twemproxy", "kvgate"], TINY)
    half, _, alone = section.tables
    assert half.caption.startswith("SET at 35000 requests per second, 50 connections")
    assert half.header == ("peer", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs per request", "sent late: p50 µs", "p99 µs")
    assert half.rows[1] == ("twemproxy", "200", "200", "200", "4.00", "3.00", "3.00")
    assert half.rows[2] == ("kvgate", *["100 (0.50x)"] * 3, "4.00", "3.00", "3.00")
    assert half.rows[0][4] == "–"
    assert alone.rows[0] == ("direct", "20.0", "–", "20.0", "20.0", "–", "20.0")
    assert alone.rows[2] == ("kvgate", "50.0", "30.0", "50.0", "50.0", "30.0", "50.0")


def test_without_direct_nothing_is_added_to() -> None:
    *_, alone = report(runs(["kvgate"]), ["kvgate"], TINY).tables
    assert alone.rows == (("kvgate", "50.0", "–", "50.0", "50.0", "–", "50.0"),)


def test_the_plot_has_all_rounds_together() -> None:
    (plot,) = report(runs(["twemproxy", "kvgate"]), ["twemproxy", "kvgate"], TINY).plots
    line = plot.panels[0].lines[1]
    assert line.name == "kvgate"
    assert line.points[0][1] == 100.0  # of 50, 100 and 900 µs
    assert line.points[-1][1] == 900.0
    assert [y for _, y in line.points] == sorted(y for _, y in line.points)


def test_the_commands_shown_are_those_that_ran() -> None:
    section = report(runs(["kvgate"]), ["kvgate"], TINY)
    assert section.commands[1] == steady_load("SET", TINY, 35_000.0).shown()
    assert section.commands[2] == alone_load("SET", TINY).shown()
    assert "pace <port> 50 1 35000 0.1 0.02 50" in section.commands[3]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    with fleet(["false"]) as running:
        running.start_shards()
        peers = running.start_peers(["direct"])
        most = half_of(running, peers[0], TINY, Progress("latency", 2))
        assert all(rate > 0 for rate in most.values())
        asked = Size(TINY.capacity, TINY.steady, TINY.alone, TINY.warmup, TINY.keys)
        found = latency.measure(running, peers, asked, 2)
    assert {(len(found.steady["direct", name]), len(found.alone["direct", name])) for name in COMMANDS} == {(2, 2)}
    for name, rate in found.rates.items():
        for run in found.steady["direct", name]:
            assert sum(count for _, count in run.latency.counts) == pytest.approx(rate * TINY.steady, abs=2)
    assert "latency 10/10" in capsys.readouterr().err
