"""The section ``# Gate`` of INFO: version, configuration, backends, the lane, and the connections to the stores.

A user who does not see every namespace learns nothing of backends that hold none of its own, and of those only whether they
are up: a store's figures and addresses are everybody's who has data on it.
"""

from collections import Counter

from kvgate import __version__
from kvgate.admin.common import user_of, visible_backends
from kvgate.backend import Backend
from kvgate.lane.client import Client
from kvgate.lane.upstream import State
from kvgate.policy.users import User
from kvgate.server.site import Site


def gate_section(site: Site, client: Client, now: float) -> list[tuple[str, str | int]]:
    """Names and values, in the order they are shown."""
    user, driver, lane = user_of(client), site.driver, site.lane
    configuration = site.configuration
    backends = visible_backends(site, user)
    return [
        ("kvgate_version", __version__),
        ("config_sha256", configuration.sha256),
        ("config_load_time", int(site.loaded)),
        *((("config_last_error", _line(site.reload_error)),) if user.sees_all else ()),
        ("workers", configuration.gate.workers),
        ("paused", int(site.paused_until > now)),
        *(_audit(site) if user.sees_all else ()),
        ("lane", "native" if lane.in_c else "python"),
        ("lane_forwarded_commands", lane.commands),
        ("lane_retries", lane.retries),
        ("lane_turns", driver.turns),
        ("lane_turn_max_usec", int(driver.turn_max * 1_000_000)),
        ("lane_failures", driver.failures),
        ("slow_tasks", site.tasks.running),
        ("slowlog_missed", site.slowlog.missed),
        *_spans(site),
        ("clients", len(driver.clients) - len(driver.admins)),
        ("admin_clients", len(driver.admins)),
        ("clients_output_bytes", sum(each.out_size for each in driver.clients.values())),
        ("upstream_connections", _connections(site, backends)),
        ("backends", len(backends)),
        *((f"backend_{_key(backend.name)}", _backend(user, backend)) for backend in backends),
    ]


def _audit(site: Site) -> list[tuple[str, str | int]]:
    """Records of the audit log: those written, those for which there was no room, and how often the file failed."""
    if site.audit.rules is None:
        return []
    written, dropped, failures = site.audit.figures
    return [
        ("audit_status", "failing" if site.audit.failing else "ok"),
        ("audit_written", written),
        ("audit_dropped", dropped),
        ("audit_failures", failures),
    ]


def _spans(site: Site) -> list[tuple[str, str | int]]:
    """Of traces, where there are any: ``exported=9,failed=0,dropped=0``."""
    tracer = site.tracer
    if tracer is None:
        return []
    return [("trace_spans", f"exported={tracer.exported},failed={tracer.failed},dropped={tracer.dropped}")]


def _line(text: str) -> str:
    return " ".join(text.split())


def _backend(user: User, backend: Backend) -> str:
    """``type=redis,status=up,…`` in the form of ``# Keyspace``, which clients' libraries can read."""
    told = backend.statistics()
    shown: list[tuple[str, str | int | float]] = [("type", backend.type), ("status", "up" if told.up else "down")]
    if user.sees_all:
        if told.why_down:
            shown.append(("why", told.why_down))
        shown += told.figures.items()
    return ",".join(f"{_key(name)}={_value(value)}" for name, value in shown)


def _connections(site: Site, backends: list[Backend]) -> str:
    """Shared connections of the backends by state: ``up=4,down=0,connecting=1``; those never needed are not counted."""
    names = {backend.name for backend in backends}
    states = Counter(up.state for up in site.lane.upstreams if up.name.rsplit("/", 3)[0] in names)
    return ",".join(f"{state.value}={states[state]}" for state in (State.UP, State.DOWN, State.CONNECTING))


def _key(name: str) -> str:
    """A name without what separates names from values."""
    return "".join("_" if letter in ":=,\r\n" else letter for letter in name)


def _value(value: str | float) -> str:
    return str(value).replace(",", ";").replace("=", " ")
