"""The sums of a gate as text for Prometheus, in the format that is asked for; prometheus-client writes it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kvgate.metrics.families import COUNTER, HISTOGRAM, Family, Samples, Value
from kvgate.metrics.spaces import REFUSED, WAITED, Vectors
from kvgate.metrics.times import BOUNDS

_BY_CLASS: Final = ("namespace", "class")
COMMANDS: Final = Family(
    "kvgate_commands", COUNTER, "Commands that were answered, by what came of them: ok, miss (a nil reply), error.",
    (*_BY_CLASS, "result"),
)  # fmt: skip
HITS: Final = Family("kvgate_keyspace_hits", COUNTER, "Commands that only read, answered with something.", ("namespace",))
MISSES: Final = Family("kvgate_keyspace_misses", COUNTER, "Commands that only read, answered with nil.", ("namespace",))
DURATION: Final = Family(
    "kvgate_command_duration_seconds", HISTOGRAM,
    "Time from a command's arrival in the gate to its reply's arrival there, gate and store together. Commands that wait for"
    " others' doing (BLPOP) or that no store answered are not in it.",
    _BY_CLASS,
)  # fmt: skip
BYTES_IN: Final = Family("kvgate_received_bytes", COUNTER, "Bytes of commands that were answered.", ("namespace",))
BYTES_OUT: Final = Family("kvgate_sent_bytes", COUNTER, "Bytes of their replies.", ("namespace",))
REFUSALS: Final = Family(
    "kvgate_refusals", COUNTER, "Commands that the gate refused before anything was sent, by the error's first word.",
    ("namespace", "code"),
)  # fmt: skip
WAITS: Final = Family(
    "kvgate_rate_waits", COUNTER, "Commands that waited for their turn, since a rate was used up, and then went on.",
    ("namespace",),
)  # fmt: skip
WAIT_SECONDS: Final = Family(
    "kvgate_rate_wait_seconds", COUNTER, "Seconds that commands waited for their turn.", ("namespace",)
)
BY_NAME: Final = Family(
    "kvgate_commands_by_name", COUNTER, "Commands that were answered, by name, over all namespaces.", ("command", "result")
)

_BOUNDS: Final = [*map(repr, BOUNDS), "+Inf"]


def expand(samples: Samples, namespaces: Mapping[str, Vectors], commands: Mapping[str, Sequence[float]]) -> None:
    """Put the samples of namespaces (as kvgate.metrics.spaces has them) and of commands by name among the others."""
    for name, vectors in namespaces.items():
        received = sent = 0.0
        for kind, numbers in vectors.items():
            if kind.startswith(REFUSED):
                samples.put(REFUSALS, numbers[0], name, kind.removeprefix(REFUSED))
                continue
            if kind == WAITED:
                samples.put(WAITS, numbers[0], name)
                samples.put(WAIT_SECONDS, numbers[1], name)
                continue
            calls, errors, misses, bytes_in, bytes_out, seconds, *buckets = numbers
            for result, number in (("ok", calls - errors - misses), ("miss", misses), ("error", errors)):
                samples.put(COMMANDS, number, name, kind, result)
            samples.put(DURATION, [sum(buckets), seconds, *buckets], name, kind)
            received += bytes_in
            sent += bytes_out
            if kind == "read":
                samples.put(HITS, calls - errors - misses, name)
                samples.put(MISSES, misses, name)
        samples.put(BYTES_IN, received, name)
        samples.put(BYTES_OUT, sent, name)
    for command, (calls, errors, misses) in commands.items():
        for result, number in (("ok", calls - errors - misses), ("miss", misses), ("error", errors)):
            samples.put(BY_NAME, number, command, result)


class _Collector(Collector):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        rows: dict[str, list[tuple[tuple[str, ...], Value]]] = {}
        for (name, labels), value in self._samples.values.items():
            rows.setdefault(name, []).append((labels, value))
        for name, family in self._samples.families.items():
            yield _metric(family, rows.get(name, []))


def _metric(family: Family, rows: Sequence[tuple[tuple[str, ...], Value]]) -> Metric:
    if family.kind == HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (_, seconds, *buckets) in rows:
            histogram.add_metric(labels, list(_cumulative(buckets)), seconds)
        return histogram
    kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, (number,) in rows:
        metric.add_metric(labels, number)
    return metric


def _cumulative(buckets: Sequence[float]) -> Iterator[tuple[str, float]]:
    total = 0.0
    for bound, number in zip(_BOUNDS, buckets, strict=True):
        total += number
        yield bound, total


def exposition(samples: Samples, accept: str) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics where `accept`, a request's header, names it, else Prometheus' own format."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(_Collector(samples)), content_type
