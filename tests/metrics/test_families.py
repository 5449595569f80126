"""Sums over processes: what was counted stays, gauges are those of who answers."""

import json

import pytest
from prometheus_client import parser

from kvgate.backend import Measure
from kvgate.metrics.exposition import exposition
from kvgate.metrics.families import COUNTER, GAUGE, HISTOGRAM, LARGEST, SMALLEST, Family, Samples, Totals
from kvgate.metrics.times import Times


def test_what_an_ended_process_had_counted_stays() -> None:
    totals = Totals()
    totals.take(1, {("calls",): [5, 0.5]})
    totals.take(2, {("calls",): [7, 0.75]})
    totals.take(1, {("calls",): [6, 0.25]})
    assert totals.values[("calls",)] == [13, 1.25], "seconds that fell by a rounding add nothing"
    totals.keep([2])
    totals.take(3, {("calls",): [1, 0.125]})
    totals.take(2, {("calls",): [7, 0.75]})
    assert totals.values[("calls",)] == [14, 1.375]


def test_what_began_anew_in_a_living_process_is_added() -> None:
    totals = Totals()
    totals.take(1, {("calls",): [5]})
    totals.take(1, {("calls",): [2]})
    assert totals.values[("calls",)] == [7]


def test_what_a_backend_that_is_replaced_had_counted_is_added_to_the_next_ones() -> None:
    def told(writes: int) -> list[Measure]:
        times = [writes, 0.5, *[0] * 18]
        return [Measure("w", "Writes.", writes), Measure("t", "T.", times, "histogram"), Measure("b", "Size.", 7, "gauge")]

    replaced, samples = Samples(), Samples()
    for _ in range(2):
        replaced.put_measures("near", told(3), counted=True)
    samples.put_measures("near", told(2))
    samples.add(replaced)
    assert samples.values["kvgate_w", ("near",)] == [8]
    assert samples.values["kvgate_t", ("near",)][:2] == [8, 1.5]
    assert samples.values["kvgate_b", ("near",)] == (7,)


def test_what_is_forgotten_begins_anew() -> None:
    totals = Totals()
    totals.take(1, {("calls",): [5]})
    totals.forget([("calls",)])
    assert not totals.values
    totals.take(1, {("calls",): [1]})
    assert totals.values[("calls",)] == [1]


@pytest.mark.parametrize(("merge", "expected"), [("sum", 6), (LARGEST, 4), (SMALLEST, 2)])
def test_gauges_of_several_processes(merge: str, expected: float) -> None:
    samples = Samples()
    family = Family("kvgate_x", GAUGE, "Some.", ("at",), merge)
    for value in (4, [2]):
        samples.put(family, value, "here")
    assert list(samples.values[("kvgate_x", ("here",))]) == [expected]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1", "application/openmetrics-text"),
        ("application/openmetrics-text; version=what", "text/plain"),
        ("text/plain; version=;;=,,", "text/plain"),
        ("\u00ff" * 100, "text/plain"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, expected: str) -> None:
    samples = Samples()
    samples.put(Family("kvgate_n", COUNTER, "Some."), 7)
    text, content_type = exposition(samples, accept)
    assert content_type.partition(";")[0] == expected
    assert text.endswith(b"# EOF\n") is (expected != "text/plain")


def test_samples_survive_the_way_between_processes_and_prometheus_reads_them() -> None:
    samples, times = Samples(), Times()
    times.note(0.001, 3)
    times.note(100.0)
    nasty = 'a"b\\c\nd'
    samples.put(Family("kvgate_n", COUNTER, "Some.", ("of",)), 7, nasty)
    samples.put(Family("kvgate_t_seconds", HISTOGRAM, "Times."), times.vector())
    again = Samples.from_json(json.loads(json.dumps(samples.to_json())))
    text, content_type = exposition(again, "")
    assert content_type.startswith("text/plain")
    rows = [row for family in parser.text_string_to_metric_families(text.decode()) for row in family.samples]
    assert [(row.labels, row.value) for row in rows if row.name == "kvgate_n_total"] == [({"of": nasty}, 7)]
    buckets = {row.labels["le"]: row.value for row in rows if row.name == "kvgate_t_seconds_bucket"}
    assert (buckets["0.000512"], buckets["0.001024"], buckets["2.097152"], buckets["+Inf"]) == (0, 3, 3, 4)
    assert [row.value for row in rows if row.name == "kvgate_t_seconds_sum"] == [pytest.approx(100.003)]
