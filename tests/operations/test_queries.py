"""The dashboard and the alert rules: every query finds data in what a gate exports, and alerts fire when they should."""

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kvgate.metrics.exposition import WAIT_SECONDS, WAITS
from kvgate.server.figures import SPANS
from tests.server.settings import user
from tests.support import promql
from tests.support.ports import free_port
from tests.support.promql import Store, Unknown, compared, evaluate
from tests.support.servers import NO_REDIS, ROOT, Gate, RedisServer, redis_binary, wait_for
from tests.support.watching import Watch

HERE = ROOT / "docs" / "operations"


@attrs.frozen
class Alert:
    """One rule of alerts.yaml."""

    name: str
    expr: str
    text: str


def alerts(path: Path = HERE / "alerts.yaml") -> list[Alert]:
    """Read the file, line by line, in the one form that it is written in: whatever else stands there is an error."""
    found: list[Alert] = []
    for rule in re.split(r"(?m)^      - alert: ", path.read_text("utf-8"))[1:]:
        match = re.fullmatch(
            r"(?P<name>Kvgate[A-Za-z]+)\n"
            r"        expr: (?P<expr>[^>\n][^\n]*|>-\n(?:          [^\n]+\n)*?          [^\n]+)\n"
            r"(?:        for: \d+[sm]\n)?"
            r"        labels: \{severity: (?:critical|warning)\}\n"
            r"        annotations:\n"
            r'          summary: "(?P<text>[^"\n]+)"\n\n?',
            rule,
        )
        assert match, f"not in the form of the others:\n{rule}"
        found.append(Alert(match["name"], re.sub(r"\s+", " ", match["expr"].removeprefix(">-")).strip(), match["text"]))
    return found


def panels() -> list[dict[str, Any]]:
    """Of the dashboard, rows aside."""
    board = json.loads((HERE / "grafana.json").read_text("utf-8"))
    assert {"title", "uid", "panels", "templating", "schemaVersion"} <= board.keys()
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def plain(expr: str) -> str:
    """A query as Grafana sends it, with every gate and namespace chosen."""
    return expr.replace("$__rate_interval", "2m").replace("$instance", ".*").replace("$namespace", ".*")


QUERIES = [pytest.param(target, id=f"{panel['title']}-{target['refId']}") for panel in panels() for target in panel["targets"]]
ALERTS = [pytest.param(alert, id=alert.name) for alert in alerts()]


@pytest.fixture(scope="module")
def scene() -> "Iterator[tuple[Gate, Watch, RedisServer]]":
    """A gate of two workers over every kind of store."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    if importlib.util.find_spec("tikv_client") is None:
        pytest.skip("tikv-client cannot be installed here")
    port = free_port()
    with RedisServer() as store:
        config = (
            f'[backends.far]\ntype = "redis"\nurl = "{store.url}"\n[backends.near]\ntype = "lmdb"\npath = "$DIR/data"\n'
            f'[backends.ledger]\ntype = "tikv"\npd = ["127.0.0.1:{free_port()}"]\n'
            '[namespaces]\n"Ads.*" = "far"\n"Loc.Cart" = "near"\n"Bank.Ledger" = "ledger"\n'
            + user("ads", "*", more='commands = ["+@all"]')
            + user("shop")
        )
        with Gate(config, gate=f'workers = 2\nmetrics = "127.0.0.1:{port}"\n') as gate:
            yield gate, Watch(port), store


def traffic(gate: Gate) -> None:
    """Commands of each class and result, a script, a store that cannot be reached, too many wrong passwords."""
    clients = [gate.client(user="ads", password="ads-secret") for _ in range(4)]
    for client in clients:
        for space in ("Ads.One", "Loc.Cart"):
            client.cmd("SET", f"{space}:a", "text")
            client.cmd("GET", f"{space}:a")
            client.cmd("GET", f"{space}:missing")
            client.ask("INCR", f"{space}:a")
        client.ask("EVAL", "return redis.call('GET', KEYS[1])", 1, "Ads.One:a")
        client.ask("SET", "Bank.Ledger:a", "1")
        client.ask("GET", "Nowhere.At:all")
        client.close()
    with gate.client() as client:
        told = [str(client.ask("AUTH", "shop", "wrong")) for _ in range(4)]
        assert any("THROTTLED" in each for each in told)


@pytest.fixture(scope="module")
def store(scene: "tuple[Gate, Watch, RedisServer]") -> Store:
    """Two scrapes, with the same traffic before each."""
    gate, watch, _ = scene
    traffic(gate)
    before = watch.scrape()
    traffic(gate)

    def shown() -> bool:
        name = "kvgate_refusals_total"
        return watch.scrape().sum(name, code="NONAMESPACE") >= before.sum(name, code="NONAMESPACE") + 4

    wait_for(shown, "the second traffic to be counted")
    return Store.of(before, watch.scrape())


@pytest.mark.parametrize("target", QUERIES)
def test_a_query_of_the_dashboard_finds_data_with_the_labels_of_its_legend(target: dict[str, str], store: Store) -> None:
    value = evaluate(plain(target["expr"]), store)
    assert isinstance(value, dict)
    assert value, "no data"
    wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    for labels in value:
        assert wanted <= dict(labels).keys()
    if "tikv" not in target["expr"]:  # its cluster is away: nothing was written
        assert not all(map(math.isnan, value.values()))


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_looks_at_data_with_the_labels_of_its_text(alert: Alert, store: Store) -> None:
    value = compared(alert.expr, store)
    assert value, "no data"
    wanted = set(re.findall(r"\$labels\.(\w+)", alert.text))
    for labels in value:
        assert wanted <= dict(labels).keys()


def test_the_alerts_that_fire_are_those_of_what_is_wrong_here(store: Store) -> None:
    """The cluster is away, commands for it end with errors; the rest is well."""
    fire = {alert.name for alert in alerts() if evaluate(alert.expr, store)}
    assert {"KvgateStoreDown", "KvgateThrottled"} <= fire
    possible = {"KvgateErrors", "KvgateSlow", "KvgateStoreSlow", "KvgateLaneTurnLong", "KvgateLmdbCommitsSlow"}
    assert fire - {"KvgateStoreDown", "KvgateThrottled"} <= possible, "a busy machine may be slow"
    down = evaluate("kvgate_backend_up == 0", store)
    assert isinstance(down, dict)
    assert [dict(labels)["backend"] for labels in down] == ["ledger"]


def test_the_page_of_metrics_has_what_is_exported(scene: "tuple[Gate, Watch, RedisServer]", store: Store) -> None:
    """docs/metrics.md: name, type, labels and meaning of each, and nothing else."""
    del store  # there was traffic
    rows = re.findall(
        r"(?m)^\| `(kvgate_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", (ROOT / "docs" / "metrics.md").read_text("utf-8")
    )
    written = {name: (kind, sorted(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}
    exported = {  # what is exported where a gate sends traces, or a command had to wait, too
        each.name + "_total": (each.kind, list(each.labels), each.help) for each in (SPANS, WAITS, WAIT_SECONDS)
    }
    exported |= {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            sorted({label for row in family.samples for label in row.labels} - {"le"}),
            family.documentation,
        )
        for family in scene[1].scrape().families.values()
    }
    assert written == exported


def test_names_are_those_of_prometheus_and_every_alert_is_there_once() -> None:
    names = [alert.name for alert in alerts()]
    assert len(names) == len(set(names)) > 15
    assert (HERE / "alerts.yaml").read_text("utf-8").count("- alert:") == len(names)
    used = {panel["id"] for panel in panels()}
    assert len(used) == len(panels()) > 30


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(kvgate_comands_total)",
        'kvgate_commands_total{results="ok"}',
        "sum by (listener) (rate(kvgate_commands_total[1m]))",
        "histogram_quantile(0.9, sum(rate(kvgate_command_duration_seconds_bucket[1m])))",
        "sum by (class) (rate(kvgate_commands_total[1m])) / sum by (namespace) (rate(kvgate_commands_total[1m]))",
        "kvgate_commands_total[",
    ],
)
def test_a_query_that_is_wrong_is_found(wrong: str, store: Store) -> None:
    with pytest.raises((Unknown, ValueError)):
        evaluate(wrong, store)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum(kvgate_x)", {(): 30.0}),
        ("sum by (a) (rate(kvgate_x[1m]))", {(("a", "1"),): 3 / promql.BETWEEN, (("a", "2"),): 20 / promql.BETWEEN}),
        ("histogram_quantile(0.5, sum by (le) (kvgate_h_bucket))", {(): 1.5}),
        ("sum(kvgate_x) / 3 > 9", {(): 10.0}),
        ("count(kvgate_x > 100) or vector(0)", {(): 0.0}),
        ('kvgate_x{a=~"1|3"} - kvgate_x{a!="2"}', {(("a", "1"), ("instance", "i"), ("job", "j")): 0.0}),
    ],
)
def test_the_evaluation_is_prometheus_own(
    query: str, expected: "dict[tuple[tuple[str, str], ...], float]", monkeypatch: pytest.MonkeyPatch
) -> None:
    target = {("instance", "i"), ("job", "j")}
    rows: dict[str, dict[promql.Labels, tuple[float | None, float]]] = {
        "kvgate_x": {frozenset({("a", "1"), *target}): (7.0, 10.0), frozenset({("a", "2"), *target}): (25.0, 20.0)},
        "kvgate_h_bucket": {
            frozenset({("le", "1"), *target}): (0.0, 2.0),
            frozenset({("le", "2"), *target}): (0.0, 6.0),
            frozenset({("le", "+Inf"), *target}): (0.0, 8.0),
        },
    }
    value = evaluate(query, Store(rows))
    assert isinstance(value, dict)
    assert {tuple(sorted(labels)): number for labels, number in value.items()} == pytest.approx(expected)
