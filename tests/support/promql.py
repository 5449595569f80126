"""Evaluates PromQL over two scrapes, as far as our dashboard and alert rules use it; promql-parser reads the queries.

Stricter than Prometheus, which answers what it does not know with silence: a metric that is not exported, a label that the
metric has not, grouping by a label that nothing has, and a function that is not known here are errors.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import promql_parser

from tests.support.watching import Scrape

TARGET: Final = {"instance": "127.0.0.1:9380", "job": "kvgate"}
"""The labels that Prometheus itself adds."""
BETWEEN: Final = 60.0
"""Seconds that are taken to lie between the two scrapes."""

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]


class Unknown(Exception):  # noqa: N818 - what a query names
    """The query names something that is not exported, or uses something that is not evaluated here."""


@attrs.frozen
class Store:
    """The samples of two scrapes: name → labels → (before, after)."""

    rows: Mapping[str, Mapping[Labels, tuple[float | None, float]]]

    @classmethod
    def of(cls, before: Scrape, after: Scrape) -> "Store":
        """What Prometheus would have kept."""
        rows: dict[str, dict[Labels, tuple[float | None, float]]] = {
            "up": {frozenset(TARGET.items()): (1.0, 1.0)},
        }
        first = {
            (row.name, frozenset({**row.labels, **TARGET}.items())): row.value
            for family in before.families.values()
            for row in family.samples
        }
        for family in after.families.values():
            for row in family.samples:
                labels = frozenset({**row.labels, **TARGET}.items())
                rows.setdefault(row.name, {})[labels] = first.get((row.name, labels)), row.value
        return cls(rows)

    def select(self, selector: Any) -> dict[Labels, tuple[float | None, float]]:
        """The samples that a selector matches."""
        rows = self.rows.get(selector.name)
        if rows is None:
            raise Unknown(f"{selector.name} is not exported")
        known = {name for labels in rows for name, _ in labels}
        for matcher in selector.matchers.matchers:
            if matcher.name not in known:
                raise Unknown(f"{selector.name} has no label {matcher.name}")
        return {labels: row for labels, row in rows.items() if _matches(selector, dict(labels))}


def _matches(selector: Any, labels: Mapping[str, str]) -> bool:
    return all(_OPS[str(each.op)](labels[each.name], each.value) for each in selector.matchers.matchers)


_OPS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "MatchOp.Equal": operator.eq,
    "MatchOp.NotEqual": operator.ne,
    "MatchOp.Re": lambda text, pattern: re.fullmatch(pattern, text) is not None,
    "MatchOp.NotRe": lambda text, pattern: re.fullmatch(pattern, text) is None,
}


def evaluate(query: str, store: Store) -> Vector | float:
    """The value of a query. Raises Unknown, and ValueError when it is no PromQL."""
    return _value(promql_parser.parse(query), store)


def compared(query: str, store: Store) -> Vector:
    """What an alert compares: the left side of its outermost comparison."""
    node: Any = promql_parser.parse(query)
    if not isinstance(node, promql_parser.BinaryExpr) or str(node.op) not in _COMPARE:
        raise Unknown(f"{query}: no comparison")
    value = _value(node.lhs, store)
    assert isinstance(value, dict)
    return value


def _value(node: Any, store: Store) -> Vector | float:
    match node:
        case promql_parser.NumberLiteral():
            return float(node.val)
        case promql_parser.ParenExpr():
            return _value(node.expr, store)
        case promql_parser.VectorSelector():
            return {labels: after for labels, (_, after) in store.select(node).items()}
        case promql_parser.Call():
            return _call(node, store)
        case promql_parser.AggregateExpr():
            return _aggregate(node, store)
        case promql_parser.BinaryExpr():
            return _binary(str(node.op), _value(node.lhs, store), _value(node.rhs, store))
    raise Unknown(f"{type(node).__name__} is not evaluated here")


def _call(node: Any, store: Store) -> Vector | float:
    name = node.func.name
    if name in ("rate", "increase"):
        assert isinstance(node.args[0], promql_parser.MatrixSelector), node
        rows = store.select(node.args[0].vector_selector)
        seconds = BETWEEN if name == "rate" else 1.0
        return {
            labels: (after - before if after >= before else after) / seconds
            for labels, (before, after) in rows.items()
            if before is not None
        }
    if name == "vector":
        value = _value(node.args[0], store)
        assert isinstance(value, float)
        return {frozenset(): value}
    if name == "histogram_quantile":
        share, buckets = (_value(argument, store) for argument in node.args)
        assert isinstance(share, float)
        assert isinstance(buckets, dict)
        return _quantile(share, buckets)
    raise Unknown(f"{name}() is not evaluated here")


def _quantile(share: float, buckets: Vector) -> Vector:
    found: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        values = dict(labels)
        if "le" not in values:
            raise Unknown("histogram_quantile() of something without the label le")
        bound = float(values.pop("le"))
        found.setdefault(frozenset(values.items()), []).append((bound, count))
    return {labels: _quantile_of(share, sorted(rows)) for labels, rows in found.items()}


def _quantile_of(share: float, rows: Sequence[tuple[float, float]]) -> float:
    total = rows[-1][1]
    if rows[-1][0] != math.inf or not total:
        return math.nan
    below, lower = 0.0, 0.0
    for bound, count in rows:
        if count >= share * total:
            return lower if bound == math.inf else lower + (bound - lower) * (share * total - below) / (count - below)
        below, lower = count, bound
    return math.nan


_GATHER: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "count": lambda values: float(len(values)),
}


def _aggregate(node: Any, store: Store) -> Vector:
    inner = _value(node.expr, store)
    assert isinstance(inner, dict), node
    by: list[str] = []
    if node.modifier is not None:
        if str(node.modifier.type) != "AggModifierType.By":
            raise Unknown("without() is not evaluated here")
        by = node.modifier.labels
    for name in by:
        if inner and not any(name in dict(labels) for labels in inner):
            raise Unknown(f"grouped by {name}, which nothing has: {node}")
    if str(node.op) == "topk":
        assert not by, node
        most = sorted(inner, key=lambda labels: inner[labels], reverse=True)[: int(node.param.val)]
        return {labels: inner[labels] for labels in most}
    groups: dict[Labels, list[float]] = {}
    for labels, value in inner.items():
        groups.setdefault(frozenset(item for item in labels if item[0] in by), []).append(value)
    return {labels: _GATHER[str(node.op)](values) for labels, values in groups.items()}


_CALCULATE: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else (math.nan if not a or math.isnan(a) else math.copysign(math.inf, a)),
}
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def _binary(op: str, left: Vector | float, right: Vector | float) -> Vector | float:
    if op == "or":
        assert isinstance(left, dict)
        assert isinstance(right, dict)
        return {**right, **left}
    if isinstance(left, float) and isinstance(right, float):
        return _CALCULATE[op](left, right)
    if isinstance(left, float):
        raise Unknown("a number before a vector is not evaluated here")
    found: Vector = {}
    if isinstance(right, dict) and left and right and not left.keys() & right.keys():
        raise Unknown(f"the two sides of {op} have other labels: {sorted(map(dict, left), key=str)[:1]}")
    for labels, value in left.items():
        if isinstance(right, dict) and labels not in right:
            continue
        other = right if isinstance(right, float) else right[labels]
        if op in _COMPARE:
            if _COMPARE[op](value, other):
                found[labels] = value
        else:
            found[labels] = _CALCULATE[op](value, other)
    return found
