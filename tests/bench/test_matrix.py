"""The matrix of five commands: what is asked for, a small run over real servers, and its tables and plots."""

import shutil
from collections.abc import Iterator

import attrs
import pytest

from bench import matrix
from bench.matrix import COMMANDS, MSET, SIZES, Cell, Figured, Figures, Size, base, by_clients, cells, load, report, words
from bench.peers import Fleet, Peer, fleet
from bench.process import BenchError

TINY = Size({1: 200, 16: 1600, 100: 10_000}, 0.02, keys=50, large_keys=20)
BOTH = ("direct", "twemproxy", "kvgate")


def test_every_command_depth_count_and_size_is_there() -> None:
    there = {(cell.command, cell.pipeline, cell.clients, cell.size) for cell in cells()}
    assert {(command, depth, 50, 430) for command in COMMANDS for depth in (1, 16, 100)} <= there
    assert {(command, depth, count, 430) for command in COMMANDS for depth in (1, 16) for count in (1, 50, 500)} <= there
    valued = [command for command in COMMANDS if command != "INCR"]
    assert {(command, depth, 50, size) for command in valued for depth in (1, 16) for size in (8, 430, 8192)} <= there
    assert len(cells()) == len(set(cells())) == 15 + 30 + 16


def test_mset_writes_ten_keys_with_numbers_of_their_own() -> None:
    asked = words(Cell(MSET, 1))
    assert asked == ("MSET", *("Ads.Profile:v430:__rand_int__", "x" * 430) * 10)
    assert words(Cell("GET", 1, size=8192)) == ("GET", "Ads.Profile:v8192:__rand_int__")
    assert words(Cell("HSET", 1, size=8)) == ("HSET", "Ads.Profile:h8:__rand_int__", "field", "x" * 8)


def test_what_takes_longer_is_asked_less_but_never_too_little() -> None:
    of = {(cell.command, cell.pipeline, cell.size): load(cell, matrix.FULL).requests for cell in cells() if not cell.own}
    assert of["SET", 16, 430] == of["INCR", 16, 430] == 300_000
    assert of[MSET, 16, 8192] < of[MSET, 16, 430] < of["SET", 16, 430]
    for size in (matrix.FULL, matrix.SHORT):
        assert all(load(cell, size).requests >= 2 * cell.pipeline * cell.clients for cell in cells())


def made(peers: tuple[str, ...]) -> Figured:
    """Three rounds, medians of 10 µs at Twemproxy and 5 at the gate."""
    cost = {"direct": 3.0, "twemproxy": 10.0, "kvgate": 5.0}
    return {
        (peer, cell): [Figures(cost[peer], 1e5), Figures(cost[peer] - 1, 1e5), Figures(90.0, 1e5)]
        for peer in peers
        for cell in cells()
    }


def test_tables_have_medians_beside_twemproxy() -> None:
    section = report(made(BOTH), BOTH, matrix.FULL)
    assert len(section.tables) == 6
    cpu, rate = section.tables[:2]
    assert cpu.header == ("command", "twemproxy", "kvgate")
    assert rate.header == ("command", "direct", "twemproxy", "kvgate")
    assert [row[0] for row in cpu.rows] == [f"{cell.command} P={cell.pipeline}" for cell in base()]
    assert {row[1:] for row in cpu.rows} == {("10.0", "5.00 (0.50x)")}
    assert {row[1:] for row in rate.rows} == {("100 (1.00x)", "100", "100 (1.00x)")}
    clients, sizes = section.tables[2], section.tables[4]
    assert clients.header[1:] == tuple(f"c={count}: {peer}" for count in (1, 50, 500) for peer in BOTH[1:])
    assert sizes.header[1:] == tuple(f"{size} B: {peer}" for size in SIZES for peer in BOTH[1:])
    assert len(clients.rows) == 10
    assert len(sizes.rows) == 8
    assert all(len(row) == len(table.header) for table in section.tables for row in table.rows)


def test_plots_have_a_panel_for_each_command() -> None:
    pipeline, clients, sizes = report(made(BOTH), BOTH, matrix.FULL).plots
    assert [panel.title.partition(":")[0] for panel in pipeline.panels] == list(COMMANDS)
    (line, ours) = pipeline.panels[0].lines
    assert (line.name, line.points) == ("twemproxy", ((1, 10.0), (16, 10.0), (100, 10.0)))
    assert ours.points == ((1, 5.0), (16, 5.0), (100, 5.0))
    assert [line.name for line in clients.panels[0].lines] == [f"{peer}, P={p}" for peer in BOTH[1:] for p in (1, 16)]
    assert [panel.title.partition(":")[0] for panel in sizes.panels] == ["SET", "GET", MSET, "HSET"]


def test_a_cell_without_a_figure_is_a_dash_and_is_told() -> None:
    figures = made(BOTH)
    gone = next(iter(by_clients()))
    del figures["kvgate", gone]
    section = report(figures, BOTH, matrix.FULL, ["Not measured in round 1: x"])
    assert section.tables[2].rows[0][2] == "–"
    assert section.notes[-1] == "Not measured in round 1: x"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few cells: one of each command, and one by the own generator."""
    some = [Cell(command, 16) for command in COMMANDS] + [Cell("GET", 16, 1, own=True), Cell("SET", 1, size=8192)]
    monkeypatch.setattr(matrix, "cells", lambda: some)


@pytest.fixture
def shards() -> Iterator[Fleet]:
    """Two shards."""
    with fleet(["false"]) as running:
        running.start_shards()
        yield running


@pytest.mark.usefixtures("small")
@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-server, redis-tools not installed")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_run_over_redis_itself(shards: Fleet) -> None:
    figures, failed = matrix.measure(shards, shards.start_peers(["direct"]), TINY, 2)
    assert failed == []
    assert {len(rounds) for rounds in figures.values()} == {2}
    assert all(run.rps > 0 for rounds in figures.values() for run in rounds)
    with shards.shards[0].client() as client:
        assert client.ask("HLEN", "Ads.Profile:h430:000000000007") == 1
        assert client.ask("STRLEN", "Ads.Profile:v8192:000000000007") == 8192


@pytest.mark.usefixtures("small")
@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-server, redis-tools not installed")
def test_a_run_that_fails_leaves_the_others(shards: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = matrix.measured

    def measured(running: Fleet, peer: Peer, cell: Cell, size: Size) -> Figures:
        if cell.command == "INCR":
            raise BenchError("no increments here")
        return real(running, peer, attrs.evolve(cell, own=False), size)

    monkeypatch.setattr(matrix, "measured", measured)
    figures, failed = matrix.measure(shards, shards.start_peers(["direct"]), TINY, 1)
    assert failed == ["Not measured in round 1: INCR P=16 c=50 430 B direct, because no increments here"]
    assert {cell.command for _, cell in figures} == set(COMMANDS) - {"INCR"}
