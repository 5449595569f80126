"""Reading ``[gate]``."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from kvgate.policy.options import Options
from kvgate.policy.processors import available_processors
from kvgate.policy.settings import GateSettings, Listen, TlsSettings, parse_listen
from kvgate.policy.users import Network, parse_network

AUTO: Final = "auto"
"""``workers = "auto"``: as many as there are processors for this process."""
TRACING: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_SHA1: Final = re.compile(r"[0-9a-f]{40}\Z")


def _listeners(gate: Options, texts: Sequence[str], base: Path) -> tuple[Listen, ...]:
    listeners: list[Listen] = []
    for text in texts:
        try:
            listen = parse_listen(text, base)
        except ValueError as error:
            gate.wrong("listen", str(error))
            continue
        if listen in listeners and (listen.kind == "unix" or listen.port):
            gate.wrong("listen", f'"{text}" is there twice')
        listeners.append(listen)
    return tuple(listeners)


def _admin(gate: Options, listeners: Sequence[Listen], base: Path) -> Listen | None:
    text = gate.text("admin")
    if not text:
        return None
    try:
        admin = parse_listen(text, base)
    except ValueError as error:
        gate.wrong("admin", str(error))
        return None
    if admin in listeners and (admin.kind == "unix" or admin.port):
        gate.wrong("admin", f'"{text}" is an address of listen; operators need one of their own')
    return admin


def _tls(gate: Options, base: Path) -> TlsSettings | None:
    table = gate.subtable("tls")
    if table is None:
        return None
    cert, key, ca = (table.file(name, base) for name in ("cert", "key", "ca"))
    for name, value in (("cert", cert), ("key", key)):
        if value is None:
            table.wrong(name, "needed: a PEM file")
    table.done()
    return TlsSettings(cert, key, ca) if cert and key else None


def networks(options: Options, key: str) -> tuple[Network, ...] | None:
    """A list of addresses and networks, None when absent."""
    texts = options.texts(key)
    if texts is None:
        return None
    found: list[Network] = []
    for text in texts:
        try:
            found.append(parse_network(text))
        except ValueError:
            options.wrong(key, f'"{text}" is no address or network: "10.0.0.0/8", "127.0.0.1", "::1"')
    return tuple(found)


def _scripts(gate: Options) -> frozenset[str]:
    scripts = frozenset(text.lower() for text in gate.texts("allowed_scripts") or ())
    for text in sorted(scripts):
        if not _SHA1.match(text):
            gate.wrong("allowed_scripts", f'"{text}" is no SHA-1: 40 hex digits, as SCRIPT LOAD answers')
    return scripts


def _measured(gate: Options) -> dict[str, Any]:
    """The keys that are a time, a size or a count: read as their fields' metadata say."""
    values: dict[str, Any] = {}
    for field in attrs.fields(GateSettings):
        unit, name = field.metadata.get("unit"), field.name
        default: Any = field.default
        if name == "workers" and gate.table.get(name) == AUTO:
            gate.text(name)
            values[name] = available_processors()
        elif unit == "time":
            values[name] = gate.seconds(name, default, field.metadata["low"])
        elif unit == "size":
            values[name] = gate.size(name, default, field.metadata["low"])
        elif unit == "count":
            values[name] = gate.integer(name, default, field.metadata["low"], field.metadata["high"])
    for first, longest in (
        ("reconnect_first", "reconnect_longest"),
        ("wrong_password_first", "wrong_password_longest"),
        ("output_soft", "output_hard"),
        ("pubsub_output_soft", "pubsub_output_hard"),
    ):
        if values[first] > values[longest]:
            gate.wrong(first, f"is above {longest}")
    return values


def _traces(gate: Options) -> str:
    """The whole URL that spans are sent to; empty: nowhere."""
    url = gate.text("traces")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        gate.wrong("traces", 'is the address of an OTLP receiver over HTTP: "http://127.0.0.1:4318"')
    elif parts.username or parts.password:
        gate.wrong("traces", "holds a password; put what the receiver wants into OTEL_EXPORTER_OTLP_HEADERS")
    elif not _installed(TRACING):
        gate.wrong("traces", "needs OpenTelemetry's packages: pip install kvgate[otel]")
    return url if parts.path.strip("/") else url.rstrip("/") + "/v1/traces"


def _installed(module: str) -> bool:
    """Whether a module can be imported, without doing so more than its packages ask for."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _share(gate: Options, key: str, default: float) -> float:
    value = gate.raw(key)
    if value is None:
        return default
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0.000001 <= value <= 1:
        gate.wrong(key, "must be a share of the commands: at least 0.000001, at most 1")
        return default
    return float(value)


def read_gate(
    table: dict[str, Any], base: Path, mistakes: list[str], *, listen: Sequence[str] = (), workers: int | None = None
) -> GateSettings:
    """The settings of ``[gate]``; `listen` and `workers` from the command line replace what it says."""
    gate = Options(table, mistakes, "gate")
    written = gate.texts("listen")
    if table.get("listen") == []:
        gate.wrong("listen", 'at least one address: listen = ["127.0.0.1:6380"]')
    listeners = _listeners(gate, listen or written or ("127.0.0.1:6380",), base)
    admin = _admin(gate, listeners, base)
    metrics = gate.text("metrics")
    metrics_at = None
    if metrics:
        try:
            metrics_at = parse_listen(metrics, base)
        except ValueError as error:
            gate.wrong("metrics", str(error))
        if metrics_at is not None and metrics_at.kind != "tcp":
            gate.wrong("metrics", "is plain HTTP over TCP: host:port")
    tls = _tls(gate, base)
    if tls is None and "tls" not in table and any(each.kind == "tls" for each in (*listeners, *([admin] if admin else ()))):
        gate.wrong("tls", "a tls: listener needs [gate.tls] with cert and key")
    settings = GateSettings(
        listen=listeners,
        admin=admin,
        metrics=metrics_at,
        traces=_traces(gate),
        trace_sample=_share(gate, "trace_sample", GateSettings().trace_sample),
        tls=tls,
        proxy_protocol=networks(gate, "proxy_protocol") or (),
        log_level=gate.text("log_level", "warning", LOG_LEVELS),
        allowed_scripts=_scripts(gate),
        **_measured(gate),
    )
    gate.done()
    return settings if workers is None else attrs.evolve(settings, workers=workers)
