"""Asks a gate's /metrics and /health, and reads the samples with prometheus-client's own parser."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

import attrs
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests.support.ports import free_port
from tests.support.servers import Gate, Gates

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@attrs.frozen
class Scrape:
    """What one scrape found."""

    text: str
    families: Mapping[str, Metric]

    def rows(self, name: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The samples of a name (``…_total``, ``…_count``) that have these labels."""
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def sum(self, name: str, **labels: str) -> float:
        """Of those samples."""
        return sum(self.rows(name, **labels).values())

    def values(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {dict(row)[label] for row in self.rows(name)}

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample that may never fall."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
            if family.type in ("counter", "histogram")
        }


@attrs.frozen
class Watch:
    """Where a gate can be watched."""

    port: int
    host: str = "127.0.0.1"

    def get(self, path: str, *, method: str = "GET", accept: str = "") -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body, headers (names in lower case) of one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request(method, path, headers={"Accept": accept} if accept else {})
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def scrape(self, accept: str = "") -> Scrape:
        """Now, or up to half a second ago."""
        status, body, _ = self.get("/metrics", accept=accept)
        assert status == 200, body
        text = body.decode()
        read = openmetrics_parser if accept == OPENMETRICS else parser
        return Scrape(text, {family.name: family for family in read.text_string_to_metric_families(text)})

    def health(self, path: str = "/health") -> tuple[int, dict[str, Any]]:
        """Status and what it says."""
        status, body, _ = self.get(path)
        return status, json.loads(body)


def watched(gates: Gates, config: str, *, gate: str = "", **options: Any) -> tuple[Gate, Watch]:
    """A started gate with `metrics`."""
    port = free_port()
    started = gates(config, gate=f'metrics = "127.0.0.1:{port}"\n{gate}', **options)
    return started, Watch(port)
