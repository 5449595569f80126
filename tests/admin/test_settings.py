"""CONFIG GET: names, patterns, and values that are true of the gate."""

import pytest

from kvgate.admin.settings import SETTINGS
from kvgate.wire.reply import Map, decode
from tests.admin.rooms import OPEN_CONFIG, Room, open_room
from tests.support.servers import RedisServer


def _get(room: Room, *patterns: str) -> dict[str, str]:
    client = room.join()
    room.ask(client, "HELLO", 3)
    told = decode(room.ask(client, "CONFIG", "GET", *patterns))
    assert isinstance(told, Map)
    return {bytes(name).decode(): bytes(value).decode() for name, value in told.pairs}  # type: ignore[arg-type]  # bulk strings


def test_what_benchmarks_and_clients_ask_for(open_gate: Room) -> None:
    assert _get(open_gate, "save") == {"save": ""}
    assert _get(open_gate, "appendonly") == {"appendonly": "no"}
    assert _get(open_gate, "maxmemory-p*", "maxmemor?") == {"maxmemory": "0", "maxmemory-policy": "noeviction"}
    assert _get(open_gate, "databases", "port", "unixsocket") == {
        "databases": "1",
        "port": "6380",
        "unixsocket": "/nowhere/gate.sock",
    }


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("nosuch",), []),
        (("MAXMEMORY", "maxmemory"), ["MAXMEMORY"]),
        (("Data[a-c]ases",), ["databases"]),
        (("SAVE", "s?ve"), ["SAVE"]),
        (("*",), sorted(SETTINGS)),
    ],
)
def test_names_and_patterns_as_redis_takes_them(open_gate: Room, patterns: tuple[str, ...], names: list[str]) -> None:
    assert sorted(_get(open_gate, *patterns)) == names


def test_values_follow_the_configuration() -> None:
    own = """[gate]
max_clients = 7
idle_timeout = "90s"
slowlog_time = "5ms"
log_level = "debug"
output_hard = "8mb"
output_soft = "4mb"
"""
    with open_room(OPEN_CONFIG.replace("[gate]\n", own)) as room:
        told = _get(room, "*")
    assert (told["maxclients"], told["timeout"], told["loglevel"]) == ("7", "90", "debug")
    assert told["slowlog-log-slower-than"] == "5000"
    assert told["client-output-buffer-limit"] == "normal 8388608 4194304 60 slave 0 0 0 pubsub 33554432 8388608 60"


def test_every_setting_is_one_of_redis(module_redis: RedisServer) -> None:
    known = {name.decode() for name in module_redis.cmd("CONFIG", "GET", "*")[::2]}
    assert SETTINGS.keys() <= known


def test_a_rule_that_names_it_takes_it_away(room: Room) -> None:
    raw = room.ask(room.join("bank"), "CONFIG", "GET", "save")
    assert raw == b"-NOPERM this user has no permissions to run the 'config|get' command\r\n"
    assert room.ask(room.join("ads"), "CONFIG", "GET", "save") == b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
