"""CLIENT: the lines of LIST and INFO, filters, and who may see, kill and pause whom."""

import re

import pytest
import trio

from kvgate.lane.client import Client
from tests.admin.rooms import Room

OK = b"+OK\r\n"
FIELDS = [
    *("id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "ssub", "multi", "qbuf", "qbuf-free"),
    *("argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem", "events", "cmd", "user", "redir", "resp"),
    *("lib-name", "lib-ver"),
]  # Redis 7.0.15's, and 7.2's last two


def _lines(raw: bytes) -> list[dict[str, str]]:
    head, _, body = raw.partition(b"\r\n")
    assert body.endswith(b"\r\n")
    body = body[:-2]
    if head.startswith(b"="):
        assert body.startswith(b"txt:")
    assert int(head[1:]) == len(body)
    text = body.removeprefix(b"txt:").decode()
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in text.splitlines()]


def _ids(room: Room, client: Client, *options: object) -> list[int]:
    raw = room.ask(client, "CLIENT", "LIST", *map(str, options))
    return [int(line["id"]) for line in _lines(raw)]


def test_a_line_has_redis_fields_in_redis_order(room: Room) -> None:
    client = room.join("ads", proto=3)
    room.ask(client, "CLIENT", "SETNAME", 'a!~"x')
    room.ask(client, "CLIENT", "SETINFO", "lib-name", "redis-py(shop_v1)")
    room.ask(client, "CLIENT", "SETINFO", "LIB-VER", "8.1")
    (line,) = _lines(room.ask(client, "CLIENT", "INFO"))
    assert list(line) == FIELDS
    assert line["id"] == str(client.id)
    assert line["addr"] == client.session.address
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["laddr"])
    assert line["laddr"] != line["addr"]
    assert (line["name"], line["lib-name"], line["lib-ver"]) == ('a!~"x', "redis-py(shop_v1)", "8.1")
    assert (line["cmd"], line["user"], line["resp"], line["flags"]) == ("client|info", "ads", "3", "N")
    assert (line["events"], line["multi"], line["redir"], line["db"]) == ("r", "-1", "-1", "0")


def test_age_and_idle_are_whole_seconds(open_gate: Room) -> None:
    client = open_gate.join()
    client.session.created -= 100
    client.last_fed = 1000.0
    (line,) = _lines(open_gate.ask(client, "CLIENT", "INFO", now=1042.9))
    assert (line["age"], line["idle"]) == ("100", "42")


def test_flags(open_gate: Room) -> None:
    me, other = open_gate.join(), open_gate.join()
    open_gate.ask(other, "CLIENT", "NO-EVICT", "on")
    open_gate.ask(other, "MULTI")
    open_gate.ask(other, "PING")
    (line,) = _lines(open_gate.ask(me, "CLIENT", "LIST", "ID", other.id))
    assert (line["flags"], line["multi"], line["cmd"]) == ("xe", "1", "ping")
    assert int(line["multi-mem"]) > 0
    other.session.blocked = True
    other.eof = True
    (line,) = _lines(open_gate.ask(me, "CLIENT", "LIST", "ID", other.id))
    assert (line["flags"], line["events"]) == ("xbce", "")


def test_who_has_not_logged_in_is_shown_as_redis_shows_it(room: Room) -> None:
    boss, stranger = room.join("boss"), room.join()
    (line,) = _lines(room.ask(boss, "CLIENT", "LIST", "ID", stranger.id))
    assert (line["user"], line["cmd"]) == ("default", "NULL")


def test_a_user_sees_its_own_connections(room: Room) -> None:
    ads, ads2, bank, boss, stranger = room.join("ads"), room.join("ads"), room.join("bank"), room.join("boss"), room.join()
    assert _ids(room, ads) == [ads.id, ads2.id]
    assert _ids(room, ads, "ID", boss.id, ads2.id, stranger.id, ads.id, ads2.id, 99999) == [ads2.id, ads.id, ads2.id]
    assert _ids(room, ads, "TYPE", "normal") == [ads.id, ads2.id]
    assert _ids(room, ads, "TYPE", "PubSub") == []
    assert _ids(room, boss) == [ads.id, ads2.id, bank.id, boss.id, stranger.id]


@pytest.mark.parametrize(
    ("how", "counted"),
    [("ID {id}", True), ("ADDR {addr}", True), ("LADDR {laddr} USER {user}", True), ("USER {user}", True), ("{addr}", False)],
)
def test_nobody_kills_a_stranger(room: Room, how: str, counted: bool) -> None:
    ads, bank, boss = room.join("ads"), room.join("bank"), room.join("boss")
    (line,) = _lines(room.ask(boss, "CLIENT", "LIST", "ID", bank.id))
    words = how.format(**line).split()
    refused = b":0\r\n" if counted else b"-ERR No such client\r\n"
    if "USER" in words:
        refused = b"-ERR No such user 'bank'\r\n"
    assert room.ask(ads, "CLIENT", "KILL", *words) == refused
    assert bank.id in room.driver.clients
    assert room.ask(boss, "CLIENT", "KILL", *words) == (b":1\r\n" if counted else OK)
    assert bank.id not in room.driver.clients
    assert bank.closed


def test_a_user_that_does_not_exist_looks_like_one_that_is_not_ones_own(room: Room) -> None:
    ads = room.join("ads")
    assert room.ask(ads, "CLIENT", "KILL", "USER", "nobody") == b"-ERR No such user 'nobody'\r\n"
    assert room.ask(ads, "CLIENT", "KILL", "USER", "boss") == b"-ERR No such user 'boss'\r\n"
    assert room.ask(ads, "CLIENT", "KILL", "USER", "ads") == b":0\r\n"


def test_killing_oneself_takes_saying_so_and_is_answered(room: Room) -> None:
    ads, ads2 = room.join("ads"), room.join("ads")
    assert room.ask(ads, "CLIENT", "KILL", "ID", ads.id) == b":0\r\n"
    assert not ads.eof
    assert room.ask(ads, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") == b":2\r\n"
    assert ads2.closed
    assert not ads.closed
    room.site.lane.resume(0.0)
    assert ads.closing


def test_all_conditions_must_hold(room: Room) -> None:
    boss, ads, bank = room.join("boss"), room.join("ads"), room.join("bank")
    assert room.ask(boss, "CLIENT", "KILL", "USER", "ads", "ID", bank.id) == b":0\r\n"
    assert room.ask(boss, "CLIENT", "KILL", "USER", "ads", "ADDR", ads.session.address, "TYPE", "pubsub") == b":0\r\n"
    assert room.ask(boss, "CLIENT", "KILL", "USER", "ads", "ADDR", ads.session.address, "TYPE", "normal") == b":1\r\n"
    assert set(room.driver.clients) == {boss.id, bank.id}


@pytest.mark.parametrize("words", [("PAUSE", "100"), ("PAUSE", "x"), ("UNPAUSE",)])
def test_only_who_is_granted_it_stops_everybody(room: Room, words: tuple[str, ...]) -> None:
    ads = room.join("ads")
    expected = b"-NOPERM this user has no permissions to run the 'client|%b' command\r\n" % words[0].lower().encode()
    assert room.ask(ads, "CLIENT", *words) == expected
    assert room.site.paused_until == 0.0


def test_a_pause_without_end_is_none_as_in_redis(room: Room) -> None:
    boss = room.join("boss")
    assert room.ask(boss, "CLIENT", "PAUSE", 2**63 - 1) == OK
    assert room.site.paused_until == 0.0


async def test_only_ones_own_are_unblocked(room: Room) -> None:
    ads, bank, boss = room.join("ads"), room.join("bank"), room.join("boss")
    bank.session.blocked, bank.session.running = True, trio.CancelScope()
    assert room.ask(ads, "CLIENT", "UNBLOCK", bank.id) == b":0\r\n"
    assert room.ask(boss, "CLIENT", "UNBLOCK", ads.id) == b":0\r\n"
    assert room.ask(boss, "CLIENT", "UNBLOCK", 99999, "ERROR") == b":0\r\n"
    assert not bank.session.running.cancel_called
    assert room.ask(boss, "CLIENT", "UNBLOCK", bank.id, "error") == b":1\r\n"
    assert bank.session.running.cancel_called
    assert bank.session.unblocked_by == "ERROR"


def test_setinfo_is_redis_72s(open_gate: Room) -> None:
    client = open_gate.join()
    ask = open_gate.ask
    assert ask(client, "CLIENT", "SETINFO", "Lib-Colour", "x") == b"-ERR Unrecognized option 'Lib-Colour'\r\n"
    expected = b"-ERR lib-Ver cannot contain spaces, newlines or special characters.\r\n"
    assert ask(client, "CLIENT", "SETINFO", "lib-Ver", "1 2") == expected
    assert ask(client, "CLIENT", "SETINFO", "lib-name") == b"-ERR wrong number of arguments for 'client|setinfo' command\r\n"
    assert ask(client, "CLIENT", "SETINFO", "lib-name", "x") == OK
    assert ask(client, "CLIENT", "SETINFO", "lib-name", "") == OK
    assert client.session.lib_name == b""


def test_what_is_not_offered_says_so(open_gate: Room) -> None:
    client = open_gate.join()
    raw = open_gate.ask(client, "CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "external-ip")
    assert raw == b"-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"
    assert open_gate.ask(client, "CLIENT", "TRACKING", "ON").startswith(b"-ERR command 'client|tracking' is not available")


def test_reply_modes(open_gate: Room) -> None:
    client = open_gate.join()
    assert open_gate.ask(client, "CLIENT", "REPLY", "what") == b"-ERR syntax error\r\n"
    assert open_gate.ask(client, "CLIENT", "REPLY", "SKIP") == b""
    assert open_gate.ask(client, "PING") == b""
    assert open_gate.ask(client, "PING") == b"+PONG\r\n"
    assert open_gate.ask(client, "CLIENT", "REPLY", "OFF") == b""
    assert open_gate.ask(client, "CLIENT", "REPLY", "what") == b""
    assert open_gate.ask(client, "PING") == b""
    assert open_gate.ask(client, "CLIENT", "REPLY", "ON") == OK
