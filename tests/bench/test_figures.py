"""Medians, ratios, spreads and tables of the benchmarks."""

import pytest

from bench.core import Cell, table
from bench.figures import Table, beside, markdown, number, plain, ratio, spread, widest
from bench.load import Sample, parse_csv
from bench.peers import succeeded
from bench.process import BenchError


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.6234, "0.62"), (9.994, "9.99"), (10.34, "10.3"), (382.6, "383"), (71428.57, "71429"), (-2.5, "-2.50")],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_a_ratio_to_nothing_is_no_ratio() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None
    assert beside(15.0, 10.0) == "15.0 (1.50x)"
    assert beside(15.0, 0.0) == "15.0"
    assert beside(15.0, None) == "15.0"


def test_the_spread_is_over_the_median() -> None:
    assert spread([9.0, 10.0, 12.0]) == pytest.approx(0.3)
    assert spread([5.0]) == 0.0
    assert "30 %" in widest([[10.0, 10.0, 10.0], [9.0, 10.0, 12.0]])
    assert "one round" in widest([[10.0], [12.0]])


def test_tables_for_a_terminal_and_for_the_document() -> None:
    shown = Table("What", ("peer", "a", "b"), (("direct", "1", "22"), ("x", "333", "4")))
    assert plain(shown).splitlines() == ["What", "peer      a   b", "direct    1  22", "x       333   4"]
    assert markdown(shown).splitlines()[2:] == [
        "| peer | a | b |",
        "|---|---:|---:|",
        "| direct | 1 | 22 |",
        "| x | 333 | 4 |",
    ]


def test_a_cell_is_the_median_and_its_ratio_is_of_medians() -> None:
    samples: dict[Cell, list[Sample]] = {
        ("twemproxy", 1, "SET"): [Sample(0, 0, 0, cpu) for cpu in (10.0, 30.0, 11.0)],
        ("kvgate", 1, "SET"): [Sample(0, 0, 0, cpu) for cpu in (22.0, 5.0, 90.0)],
    }
    made = table("CPU", samples, ["twemproxy", "kvgate"], lambda sample: sample.cpu_us)
    assert made.header == ("peer", "SET P=1")
    assert made.rows == (("twemproxy", "11.0"), ("kvgate", "22.0 (2.00x)"))


def test_without_the_reference_there_are_no_ratios() -> None:
    made = table("CPU", {("kvgate", 16, "GET"): [Sample(0, 0, 0, 4.0)]}, ["kvgate"], lambda sample: sample.cpu_us)
    assert made.rows == (("kvgate", "4.00"),)


CSV = (
    'WARNING: Could not fetch server CONFIG\n"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms",'
    '"p95_latency_ms","p99_latency_ms","max_latency_ms"\n'
    '"SET a,b c","714285.69","0.911","0.312","0.775","1.759","2.071","2.183"\n'
)


def test_redis_benchmarks_csv_is_read() -> None:
    assert parse_csv(CSV) == (714285.69, 0.775, 2.071)


def test_no_result_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(BenchError, match="0 rows"):
        parse_csv("Error: Server closed the connection\n")


def test_only_calls_that_succeeded_count() -> None:
    text = (
        "# Commandstats\r\ncmdstat_setex:calls=9,usec=1,usec_per_call=1,rejected_calls=0,failed_calls=0\r\n"
        "cmdstat_set:calls=50,usec=37,usec_per_call=0.74,rejected_calls=4,failed_calls=20\r\n"
    )
    assert succeeded(text, "set") == 30
    assert succeeded(text, "get") == 0
