"""INFO: its form, what clients read in it, and what it keeps from whom."""

import os
import time

import pytest

from kvgate.admin.info import human
from kvgate.lane.client import Client
from kvgate.wire.reply import Verbatim, decode
from tests.admin.rooms import Room

REDIS_ORDER = [
    *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats", "Cluster"),
    *("Keyspace", "Gate"),
]
ALL = [*REDIS_ORDER[:8], "Commandstats", "Errorstats", "Latencystats", *REDIS_ORDER[9:]]


def _text(room: Room, client: Client, *sections: str, now: float | None = None) -> str:
    raw = room.ask(client, "INFO", *sections, now=now)
    body = decode(raw)
    if isinstance(body, Verbatim):
        return body.text.decode()
    assert isinstance(body, bytes)
    return body.decode()


def _titles(text: str) -> list[str]:
    return [line[2:] for line in text.split("\r\n") if line.startswith("# ")]


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.split("\r\n") if line and not line.startswith("# "))


@pytest.mark.parametrize(
    ("asked", "titles"),
    [
        ((), REDIS_ORDER),
        (("all",), ALL),
        (("DEFAULT",), REDIS_ORDER),
        (("everything", "nosuch"), ALL),
        (("default", "commandstats"), [*REDIS_ORDER[:8], "Commandstats", *REDIS_ORDER[8:]]),
        (("server",), ["Server"]),
        (("KeySpace", "server", "SERVER"), ["Server", "Keyspace"]),
        (("gate",), ["Gate"]),
        (("commandstats",), ["Commandstats"]),
        (("nosuch",), []),
    ],
)
def test_sections_come_once_each_in_redis_order(open_gate: Room, asked: tuple[str, ...], titles: list[str]) -> None:
    assert _titles(_text(open_gate, open_gate.join(), *asked)) == titles


def test_sections_are_separated_as_redis_separates_them(open_gate: Room) -> None:
    client = open_gate.join()
    assert _text(open_gate, client, "cluster") == "# Cluster\r\ncluster_enabled:0\r\n"
    assert _text(open_gate, client, "cluster", "keyspace") == "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"
    assert open_gate.ask(client, "INFO", "nosuch") == b"$0\r\n\r\n"
    open_gate.ask(client, "HELLO", 3)
    assert open_gate.ask(client, "INFO", "nosuch") == b"=4\r\ntxt:\r\n"


def test_what_clients_look_for_is_there_and_true(open_gate: Room) -> None:
    client = open_gate.join()
    open_gate.site.started = time.time() - 90000
    open_gate.site.lane.commands = 1000
    fields = _fields(_text(open_gate, client))
    expected = {
        "redis_version": "7.0.15",
        "redis_mode": "standalone",
        "arch_bits": "64",
        "process_id": str(os.getpid()),
        "run_id": open_gate.site.run_id,
        "tcp_port": str(client.transport.sock.getsockname()[1]),
        "uptime_in_days": "1",
        "config_file": "/nowhere/kvgate.toml",
        "connected_clients": "1",
        "loading": "0",
        "role": "master",
        "connected_slaves": "0",
        "cluster_enabled": "0",
        "keyspace_hits": "0",
        "keyspace_misses": "0",
        "kvgate_version": "0.1.0",
        "config_sha256": open_gate.site.configuration.sha256,
        "backends": "3",
    }
    assert {name: fields[name] for name in expected} == expected
    assert 90000 <= int(fields["uptime_in_seconds"]) <= 90060
    assert int(fields["total_commands_processed"]) == 1000 + open_gate.site.commands
    assert 10_000_000 < int(fields["used_memory"]) <= int(fields["used_memory_peak"]) < int(fields["total_system_memory"])


def test_operations_per_second_are_those_since_info_was_asked_last(open_gate: Room) -> None:
    client = open_gate.join()

    def rate(now: float) -> str:
        return _fields(_text(open_gate, client, "stats", now=now))["instantaneous_ops_per_sec"]

    start = time.monotonic() + 1  # long enough after the start for a first figure
    rate(start)
    open_gate.site.lane.commands += 5000
    assert rate(start + 10) == "500"
    assert rate(start + 10.1) == "500"  # too soon for another figure
    assert rate(start + 20) == "0"


def test_figures_follow_the_clients(open_gate: Room) -> None:
    client, other = open_gate.join(), open_gate.join()
    other.session.blocked = True
    fields = _fields(_text(open_gate, client, "clients", "stats"))
    assert (fields["connected_clients"], fields["blocked_clients"], fields["total_connections_received"]) == ("2", "1", "2")


def test_a_tenant_learns_nothing_of_others(room: Room) -> None:
    text = _text(room, room.join("ads"))
    fields = _fields(text)
    assert fields["backends"] == "1"
    assert fields["backend_cache"] == "type=redis,status=up"
    for hidden in ("vault", "spread", "Bank", "127.0.0.1:", "/nowhere", "python"):
        assert hidden not in text
    assert fields["executable"] == fields["config_file"] == ""


def test_who_sees_everything_is_told_what_the_backends_tell(room: Room) -> None:
    fields = _fields(_text(room, room.join("boss"), "gate"))
    assert fields["backend_spread"].startswith("type=redis,status=up,shards=2,")
    assert fields["backends"] == "3"
    assert all("=" in part for part in fields["backend_vault"].split(","))  # client libraries split it there


def test_a_store_that_is_away_is_shown_with_the_reason(room: Room) -> None:
    health = room.site.backends["vault"]._health  # type: ignore[attr-defined]  # what its watch fills
    health._down[0] = "redis://127.0.0.1:2: refused, errno=111\r\nlater"
    fields = _fields(_text(room, room.join("boss"), "gate"))
    why = "redis://127.0.0.1:2: refused; errno 111  later"
    assert fields["backend_vault"].startswith(f"type=redis,status=down,why={why},shards=1,")
    assert _fields(_text(room, room.join("bank"), "gate"))["backend_vault"] == "type=redis,status=down"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (941168, "919.11K"), (12128256, "11.57M"), (25276518400, "23.54G")],
)
def test_sizes_for_people_are_written_as_redis_writes_them(size: int, text: str) -> None:
    assert human(size) == text
