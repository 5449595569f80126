"""The gate on TiKV beside a plain program: a small run of both, and the arithmetic of the report."""

import shutil

import pytest

from bench import tikv
from bench.peers import default_gate, fleet
from bench.tikv import COMMANDS, GATE, PLAIN, Run, Size, per_transaction, report
from tests.tikv.cluster import cluster

TINY = Size(requests=200, plain=64, hot=8, alone=5, keys=20)


@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-tools is not installed")
def test_a_small_run() -> None:
    with cluster() as found, fleet(default_gate()) as running, tikv.plain_program(found.faulty) as program:
        peer = tikv.gate(running, found.faulty)
        section = tikv.measure(1, TINY, found.faulty, peer, program)
        with peer.client() as client:
            # Both rounds of increments, of 64 clients and of one: every one of them counted
            assert client.ask("GET", "Bank.Ledger:hot") == b"%d" % (TINY.requests + TINY.alone)
            assert client.ask("STRLEN", "Bank.Ledger:s:000000000007") == 430
            assert client.ask("HLEN", "Bank.Ledger:h:000000000007") == 5
    rates, times, calls, groups = section.tables
    for made in section.tables:
        assert made.header == ("peer", *COMMANDS)
        assert all(len(row) == len(made.header) for row in made.rows)
    assert [row[0] for row in rates.rows] == [row[0] for row in times.rows] == [PLAIN, GATE]
    assert all(float(cell.split(" ")[0]) > 0 for row in rates.rows for cell in row[1:])
    shown = {row[0]: dict(zip(COMMANDS, row[1:], strict=True)) for row in calls.rows}
    for column, least in (("GET", 1.0), ("SET", 2.0), ("INCR", 3.0)):  # of a transaction for each command, in stores
        assert float(shown["plain program, 1 client"][column].split(" + ")[1]) >= least
        many, one = (float(shown[f"kvgate, {number}"][column].split(" + ")[1]) for number in ("64 clients", "1 client"))
        assert many < one
    assert all(float(cell) > 1 for cell in groups.rows[0][1:])


def test_ratios_are_of_medians() -> None:
    runs = {(name, column): [Run(10.0, 5.0, 1.0, 2.0)] for name in (GATE, PLAIN) for column in COMMANDS}
    runs[GATE, "SET"] = [Run(rps, cpu, 0.5, 0.25) for rps, cpu in ((5.0, 1.0), (40.0, 2.0), (30.0, 20.0))]
    together = {column: [1.0, 3.0, 2.0] for column in COMMANDS}
    made = report(TINY, runs, {key: rounds[0] for key, rounds in runs.items()}, together)
    rates, times, calls, groups = made.tables
    at = list(COMMANDS).index("SET") + 1
    assert rates.rows[0][at] == "10.0"
    assert rates.rows[1][at] == "30.0 (3.00x)"
    assert times.rows[1][at] == "2.00 (0.40x)"
    assert calls.rows[1][at] == "0.50 + 0.25"
    assert groups.rows[0][at] == "2.00"


def test_commands_in_a_transaction_are_those_since_then() -> None:
    assert per_transaction((10, 5, 0, 0), (30, 10, 4, 1)) == 4.0
    assert per_transaction((10, 5, 0, 0), (10, 5, 0, 0)) == 0.0
