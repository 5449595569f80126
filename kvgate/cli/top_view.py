"""What `kvgate top` shows: what a gate has told at two moments, as the lines of a screen."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from kvgate.cli.asking import Asking, Refused
from kvgate.metrics.ledger import BUCKETS
from kvgate.metrics.totals import CommandTotal
from kvgate.wire.reply import Double, Reply, Verbatim

HOT_KEYS: Final = 8
MOST_BACKENDS: Final = 8
MOST_NAMESPACES: Final = 1000
NARROWEST: Final = 80
NO_NAMESPACE: Final = "(no key)"
SORTS: Final[Mapping[str, tuple[str, Callable[["Row"], Any]]]] = {
    "c": ("commands", lambda row: -row.calls),
    "e": ("errors", lambda row: (-row.errors - row.refused, -row.calls)),
    "l": ("p99", lambda row: (-row.p99, -row.calls)),
    "b": ("bytes", lambda row: -row.bytes_in - row.bytes_out),
    "n": ("name", lambda row: row.name),
}
"""Key → what namespaces are sorted by."""


@attrs.frozen(slots=True)
class Told:
    """What a gate told at one moment."""

    at: float
    info: Mapping[str, str]
    namespaces: Mapping[str, Mapping[str, Any]]
    hot: Sequence[Mapping[str, Any]]
    refused: str = ""
    """Why a part is missing."""


@attrs.frozen(slots=True)
class Row:
    """One namespace between two moments; a second's worth of each count, times in microseconds."""

    name: str
    calls: float
    errors: float
    refused: float
    missed: float
    """The share of the calls that found nothing."""
    p50: float
    p99: float
    bytes_in: float
    bytes_out: float


# ---------------------------------------------------------------------- asking


def ask(gate: Asking) -> Told:
    """All that is shown.

    Raises:
        Lost: the gate is not there.
        Refused: it does not want the user.
    """
    info = _info(gate.ask("INFO", "server", "gate", "clients"))
    refused = ""
    try:
        told = _maps(gate.ask("GATE", "NAMESPACES", "COUNT", str(MOST_NAMESPACES)))
        namespaces = {_text(each["namespace"]): each for each in told}
    except Refused as error:
        namespaces, refused = {}, f"namespaces: {error}"
    try:
        hot = _maps(gate.ask("GATE", "HOTKEYS", "COUNT", str(HOT_KEYS)))
    except Refused as error:
        hot, refused = [], refused or f"hot keys: {error}"
    return Told(time.monotonic(), info, namespaces, hot, refused)


def _info(reply: Reply) -> dict[str, str]:
    raw = reply.text if isinstance(reply, Verbatim) else reply
    lines = raw.decode("utf-8", "replace").splitlines() if isinstance(raw, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _maps(reply: Reply) -> list[dict[str, Any]]:
    """Maps, which are flat arrays in RESP2."""
    return [_map(each) for each in reply if isinstance(each, list)] if isinstance(reply, list) else []


def _map(flat: Sequence[Any]) -> dict[str, Any]:
    return {_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: Any) -> str:
    """Of a client's choice, so that it must not reach a terminal as it is."""
    if value is None:
        return "(another's)"
    if isinstance(value, Double):
        value = value.text
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _number(value: Any) -> float:
    return float(_text(value)) if value is not None else 0.0


# ---------------------------------------------------------------------- computing


def rows(before: Told | None, now: Told) -> list[Row]:
    """Of each namespace what came between two moments; with one alone, the mean since the start."""
    uptime = max(1.0, float(now.info.get("uptime_in_seconds", "1")))
    seconds = max(0.001, now.at - before.at) if before is not None else uptime
    found = []
    for name, each in now.namespaces.items():
        earlier = before.namespaces.get(name, {}) if before is not None else {}

        def grown(field: str, each: Mapping[str, Any] = each, earlier: Mapping[str, Any] = earlier) -> float:
            more: int = each[field] - earlier.get(field, 0)
            return max(0, more) / seconds  # it falls when a worker was replaced

        calls = grown("calls")
        buckets = [max(0, a - b) for a, b in zip(_buckets(each), _buckets(earlier), strict=True)]
        times = CommandTotal(buckets=buckets)
        found.append(
            Row(
                name or NO_NAMESPACE,
                calls,
                grown("errors"),
                grown("refused"),
                grown("misses") / calls if calls else 0.0,
                times.percentile(50),
                times.percentile(99),
                grown("bytes_in"),
                grown("bytes_out"),
            )
        )
    return found


def _buckets(each: Mapping[str, Any]) -> list[int]:
    flat, buckets, before = each.get("histogram_usec", ()), [0] * BUCKETS, 0
    for bound, seen in zip(flat[::2], flat[1::2], strict=True):
        buckets[min(BUCKETS - 1, int(bound).bit_length() - 1)] = seen - before
        before = seen
    return buckets


# ---------------------------------------------------------------------- showing


def screen(address: str, before: Told | None, now: Told, *, sort: str, width: int, height: int) -> list[str]:
    """The lines, at most `height` of at most `width` letters; 0: as many as there are."""
    found = sorted(rows(before, now), key=SORTS[sort][1])
    width = max(width, NARROWEST)
    top = [*_head(address, now, found), *([f"  {now.refused}"] if now.refused else []), "", *_backends(now)]
    hot = ["", *_hot(now, width)]
    room = max(3, height - len(top) - len(hot) - 3) if height else len(found)
    shown = [_titles(sort, width), *(_row(row, width) for row in found[:room])]
    if len(found) > room:
        shown.append(f"  … and {len(found) - room} more")
    lines = [line[:width].rstrip() for line in (*top, "", *shown, *hot)]
    return lines[:height] if height else lines


def _head(address: str, now: Told, found: Sequence[Row]) -> Iterator[str]:
    info = now.info
    calls = sum(row.calls for row in found)
    errors = sum(row.errors for row in found)
    turn = float(info.get("lane_turn_max_usec", "0"))
    version, workers, clients = (_text(info.get(name, "?")) for name in ("kvgate_version", "workers", "connected_clients"))
    up = _ago(int(info.get("uptime_in_seconds", "0")))
    yield f"kvgate {version}  {_text(address)}  up {up}  workers {workers}  clients {clients}"
    share = f"{100 * errors / calls:.2f} %" if calls else "0 %"
    refused = _count(sum(row.refused for row in found))
    yield f"  {_count(calls)} commands/s  {share} errors  {refused} refused/s  longest turn {_time(turn)}"
    if info.get("config_last_error"):
        yield f"  last reload: {_text(info['config_last_error'])}"


def _ago(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def _backends(now: Told) -> Iterator[str]:
    yield f"  {'BACKEND':<24} {'TYPE':<10} STATE"
    told = [(name.removeprefix("backend_"), value) for name, value in now.info.items() if name.startswith("backend_")]
    down_first = sorted(told, key=lambda each: "status=down" not in each[1])
    for name, value in down_first[:MOST_BACKENDS]:
        parts = dict(part.partition("=")[::2] for part in value.split(","))
        why = f": {parts['why']}" if parts.get("why") else ""
        yield _text(f"  {name:<24} {parts.get('type', '?'):<10} {parts.get('status', '?').upper()}{why}")
    if len(told) > MOST_BACKENDS:
        yield f"  … and {len(told) - MOST_BACKENDS} more"


_COLUMNS: Final = ("COMMANDS/S", "ERR/S", "P50", "P99", "MISS %", "REFUSED", "IN/S", "OUT/S")
"""As many as there is room for; 11 letters each."""
_NAME: Final = 24
"""Letters that a namespace's name has at the least."""


def _room(width: int) -> tuple[int, int]:
    """Letters of a name, and the number of columns."""
    columns = min(len(_COLUMNS), (width - 2 - _NAME) // 11)
    return width - 2 - 11 * columns, columns


def _titles(sort: str, width: int) -> str:
    named, columns = _room(width)
    name = f"NAMESPACE (by {SORTS[sort][0]})"
    return f"  {name:<{named}}" + "".join(f"{title:>11}" for title in _COLUMNS[:columns])


def _row(row: Row, width: int) -> str:
    named, columns = _room(width)
    name = row.name if len(row.name) < named else row.name[: named - 2] + "…"
    cells = (
        _count(row.calls), _count(row.errors), _time(row.p50), _time(row.p99),
        f"{100 * row.missed:.1f}", _count(row.refused), _bytes(row.bytes_in), _bytes(row.bytes_out),
    )  # fmt: skip
    return f"  {name:<{named}}" + "".join(f"{cell:>11}" for cell in cells[:columns])


def _hot(now: Told, width: int) -> Iterator[str]:
    wide = max(20, width - 64)
    yield f"  {'HOT KEY':<{wide}} {'NAMESPACE':<24} {'/S':>10} {'OF IT':>8} {'READS':>8}"
    for each in now.hot:
        key = _text(each["key"])
        key = key if len(key) <= wide else key[: wide - 1] + "…"
        rate, share, reads = _number(each["rate"]), _number(each["share"]), _number(each["reads"])
        yield f"  {key:<{wide}} {_text(each['namespace']):<24} {_count(rate):>10} {100 * share:>6.1f} % {100 * reads:>6.0f} %"
    if not now.hot:
        yield "  none yet"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def _time(usec: float) -> str:
    if usec <= 0:
        return "-"
    return f"{usec:.0f} µs" if usec < 1000 else f"{usec / 1000:.1f} ms" if usec < 1_000_000 else f"{usec / 1_000_000:.1f} s"


def _bytes(value: float) -> str:
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"
