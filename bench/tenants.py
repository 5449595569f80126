"""``tenants``: the gate with all that many tenants need switched on, and with 10,000 of them, beside one with all off."""

import hashlib
import statistics
from collections.abc import Mapping
from typing import Final

from bench.figures import Table, beside, widest
from bench.load import VALUE_BYTES, Load, Sample, check, run
from bench.peers import PASSWORD, Fleet, Peer, Shard, fleet
from bench.process import NotAvailable, free_port
from bench.progress import Progress
from bench.report import Section, Settings

MANY = 10_000
KEYS = 100_000
USED = "Ads.T000000000007"
USER = "u000000000007"
OFF, ON, TENANTS, HOME = "all off", "all on", f"all on, {MANY} users and namespaces", "all on, a home namespace"


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _backend(port: int, shards: list[Shard], *, metrics: int = 0) -> list[str]:
    edges = [1024 * i // len(shards) for i in range(len(shards) + 1)]
    lines = ["[gate]", f'listen = ["127.0.0.1:{port}"]']
    lines += [f'metrics = "127.0.0.1:{metrics}"'] if metrics else []
    lines += ["[backends.profile]", 'type = "redis"', 'hash = "crc32"', "slots = 1024", "[backends.profile.groups]"]
    lines += [f'"{edges[i]}-{edges[i + 1] - 1}" = "redis://127.0.0.1:{s.port}"' for i, s in enumerate(shards)]
    return lines


def bare(port: int, shards: list[Shard]) -> str:
    """No users, limits, rates, metrics, or audit: what `Ads.*` says goes through."""
    return "\n".join([*_backend(port, shards), "[namespaces]", '"Ads.*" = "profile"']) + "\n"


def full(port: int, shards: list[Shard], tenants: int, audit: str) -> str:
    """`tenants` namespaces with limits and a rate, as many users with grants, networks, limits and a rate, metrics, audit."""
    lines = [*_backend(port, shards, metrics=free_port())]
    lines += ["[audit]", f'path = "{audit}"']
    names = [f"{number:012d}" for number in range(tenants)] if tenants > 1 else [USED.removeprefix("Ads.T")]
    for name in names:
        lines += [f'[namespaces."Ads.T{name}"]', 'backend = "profile"', 'max_key = "1kb"', 'max_value = "128kb"']
        lines += ['max_field = "1kb"', "max_elements = 1000", 'rate = { operations = 10000000, bytes = "10gb" }']
        lines += [f"[users.u{name}]", f'password_sha256 = ["{_hash(PASSWORD)}"]', f'namespaces = ["Ads.T{name}"]']
        lines += ['networks = ["127.0.0.1"]', 'rate = { operations = 10000000, bytes = "10gb" }']
    lines += ["[users.home]", f'password_sha256 = ["{_hash(PASSWORD)}"]', f'namespaces = ["{USED}"]']
    lines += [f'databases = {{ 0 = "{USED}" }}', 'rate = { operations = 10000000, bytes = "10gb" }']
    return "\n".join(lines) + "\n"


def _start(running: Fleet, label: str, text: str, port: int, auth: tuple[str, ...]) -> Peer:
    path = running.folder / f"{label}.toml"
    path.write_text(text, encoding="utf-8")
    return running.ready(Peer(label, port, running.start(label, [*running.gate_command, str(path)]), auth))


def start_all(running: Fleet) -> dict[str, Peer]:
    """The gates, all in front of the same shards; the home namespace's is that of `ON` under another user."""
    shards, found = running.shards, {}
    port = free_port()
    found[OFF] = _start(running, "gate-off", bare(port, shards), port, ())
    port = free_port()
    audit = str(running.folder / "audit-on.log")
    found[ON] = _start(running, "gate-on", full(port, shards, 1, audit), port, (USER, PASSWORD))
    port = free_port()
    audit = str(running.folder / "audit-many.log")
    found[TENANTS] = _start(running, "gate-many", full(port, shards, MANY, audit), port, (USER, PASSWORD))
    on = found[ON]
    found[HOME] = Peer("gate-home", on.port, on.server, ("home", PASSWORD))
    return found


FULL: Final = {1: 100_000, 16: 600_000, 100: 1_000_000}
SHORT: Final = {1: 50_000, 16: 300_000, 100: 500_000}


def loads(requests: Mapping[int, int], *, home: bool) -> list[tuple[str, Load]]:
    """(column, load) of so many requests by pipeline depth; a home namespace's keys are written without its name."""
    key = "__rand_int__" if home else f"{USED}:__rand_int__"
    commands = {"SET": ("SET", key, "x" * VALUE_BYTES), "GET": ("GET", key)}
    return [
        (f"{name} P={pipeline}", Load(command, count, pipeline, KEYS))
        for pipeline, count in requests.items()
        for name, command in commands.items()
    ]


def section(settings: Settings) -> Section:
    """Run it: the gates take turns over the same shards."""
    with fleet(settings.gate) as running:
        running.start_shards()
        try:
            return measure(running, SHORT if settings.short else FULL, settings.rounds)
        except NotAvailable as error:
            return Section("tenants", "Many tenants", "", (), notes=(f"Not measured: kvgate, because {error}",))


def measure(running: Fleet, requests: Mapping[int, int], rounds: int) -> Section:
    """All rounds; within one load the gates follow one another, and each round begins with another one."""
    gates = start_all(running)
    running.fill([f"{USED}:{i:012d}" for i in range(KEYS)], b"x" * VALUE_BYTES)
    for case, peer in gates.items():
        check(peer, "check" if case == HOME else f"{USED}:check")
    samples: dict[tuple[str, str], list[Sample]] = {}
    order = list(gates.items())
    progress = Progress("tenants", rounds * len(loads(requests, home=False)) * len(order))
    for turn in range(rounds):
        for index, (column, _) in enumerate(loads(requests, home=False)):
            for case, peer in [*order[turn % 4 :], *order[: turn % 4]]:
                sample = run(running, peer, loads(requests, home=case == HOME)[index][1])
                samples.setdefault((case, column), []).append(sample)
                progress.step(f"round {turn + 1} {column} {case}: {sample.rps:.0f}/s, {sample.cpu_us:.2f} us")
    return _report(requests, samples, list(gates))


def _report(requests: Mapping[int, int], samples: dict[tuple[str, str], list[Sample]], cases: list[str]) -> Section:
    columns = tuple(dict.fromkeys(column for _, column in samples))
    tables = []
    for figure, scale, name in (
        ("cpu_us", 1, "Processor time of the gate per request, µs"),
        ("rps", 1000, "Throughput, thousand requests per second"),
    ):
        median = {cell: statistics.median(getattr(s, figure) / scale for s in rounds) for cell, rounds in samples.items()}
        rows = []
        for case in cases:
            against = {OFF: None, ON: OFF, TENANTS: ON, HOME: ON}[case]
            rows.append((case, *(beside(median[case, c], median[against, c] if against else None) for c in columns)))
        caption = f"{name} (ratio: of all on to all off, of the others to all on)"
        tables.append(Table(caption, ("gate", *columns), tuple(rows)))
    return Section(
        "tenants",
        "Many tenants",
        "All off: no users, one wildcard namespace. All on: a user with a password, grants, networks and a rate, a namespace"
        " with limits and a rate, the audit log, the metrics listener, samples for hot keys, the slow log.",
        tuple(tables),
        tuple(load.shown() for home in (False, True) for _, load in loads(requests, home=home)),
        tuple(
            f"{name}: " + widest([[getattr(s, figure) for s in rounds] for rounds in samples.values()])
            for figure, name in (("cpu_us", "Processor time"), ("rps", "Throughput"))
        ),
    )
