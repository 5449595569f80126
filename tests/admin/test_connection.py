"""PING, ECHO, SELECT, AUTH, HELLO, RESET and QUIT, without a store; texts observed on Redis 7.0.15."""

import logging

import pytest

from kvgate.wire.reply import Map, decode
from tests.admin.rooms import Room

WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
OK = b"+OK\r\n"


def _whoami(room: Room, client: object) -> bytes:
    return room.ask(client, "ACL", "WHOAMI")  # type: ignore[arg-type]  # of any room


def test_hello_logs_in_names_and_changes_the_protocol_at_once(room: Room) -> None:
    client = room.join()
    raw = room.ask(client, "HELLO", 3, "AUTH", "ads", "ads-key", "SETNAME", "shop")
    told = decode(raw)
    assert isinstance(told, Map)
    assert told.pairs == [
        (b"server", b"redis"),
        (b"version", b"7.0.15"),
        (b"proto", 3),
        (b"id", client.id),
        (b"mode", b"standalone"),
        (b"role", b"master"),
        (b"modules", []),
    ]
    assert room.ask(client, "CLIENT", "GETNAME") == b"$4\r\nshop\r\n"
    assert room.ask(client, "HELLO", 2).startswith(b"*14\r\n")
    assert room.ask(client, "CLIENT", "SETNAME", "") == OK
    assert room.ask(client, "CLIENT", "GETNAME") == b"$-1\r\n"


def test_a_failed_hello_keeps_protocol_and_user(room: Room) -> None:
    client = room.join("ads")
    assert room.ask(client, "HELLO", 3, "AUTH", "bank", "wrong") == WRONGPASS
    assert room.ask(client, "HELLO", 4, "AUTH", "boss", "boss-key") == b"-NOPROTO unsupported protocol version\r\n"
    assert _whoami(room, client) == b"$3\r\nads\r\n"
    assert client.session.proto == 2


def test_options_before_the_wrong_one_have_happened(room: Room) -> None:
    client = room.join("ads")
    raw = room.ask(client, "HELLO", 3, "AUTH", "boss", "boss-key", "WHAT")
    assert raw == b"-ERR Syntax error in HELLO option 'WHAT'\r\n"
    assert _whoami(room, client) == b"$4\r\nboss\r\n"
    assert client.session.proto == 2


def test_hello_asks_for_auth_last(room: Room) -> None:
    client = room.join()
    assert room.ask(client, "HELLO", "x") == b"-ERR Protocol version is not an integer or out of range\r\n"
    assert room.ask(client, "HELLO", 9) == b"-NOPROTO unsupported protocol version\r\n"
    assert room.ask(client, "HELLO", 3, "SETNAME", "a b").startswith(b"-ERR Client names cannot")
    assert room.ask(client, "HELLO", 3).startswith(b"-NOAUTH HELLO must be called")
    assert client.session.proto == 2


def test_auth_before_and_after_a_rotated_password(room: Room) -> None:
    client = room.join()
    assert room.ask(client, "AUTH", "ads", "ads-key") == OK
    assert _whoami(room, client) == b"$3\r\nads\r\n"
    assert room.ask(client, "AUTH", "a", "b", "c") == b"-ERR syntax error\r\n"
    assert room.ask(client, "AUTH", "bank-key").startswith(b"-ERR AUTH <password> called without any password")


def test_wrong_passwords_are_slowed_down_per_user(room: Room) -> None:
    client = room.join()
    assert room.ask(client, "AUTH", "ads", "no", now=1.0) == WRONGPASS
    assert room.ask(client, "AUTH", "ads", "ads-key", now=1.05) == b"-THROTTLED retry after 50 ms\r\n"
    assert room.ask(client, "AUTH", "bank", "bank-key", now=1.05) == OK
    assert room.ask(client, "AUTH", "ads", "ads-key", now=1.2) == OK


def test_the_log_says_why_and_never_a_password(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    client = room.join()
    with caplog.at_level(logging.INFO, logger="kvgate.admin"):
        room.ask(client, "AUTH", "ads", "s3cret-one")
        room.ask(client, "AUTH", "s3cret-two", "ads")  # name and password swapped
        room.ask(client, "HELLO", 3, "AUTH", "bank", "s3cret-three")
    told = [(record.message, record.__dict__["user"], record.__dict__["why"]) for record in caplog.records]
    assert told == [
        ("wrong_password", "ads", "wrong password"),
        ("wrong_password", "", "unknown user"),
        ("wrong_password", "bank", "wrong password"),
    ]
    assert "s3cret" not in repr([record.__dict__ for record in caplog.records])


def test_ping_of_a_subscriber_looks_like_a_message_in_resp2_only(open_gate: Room) -> None:
    from kvgate.server.subscriptions import Subscriptions  # noqa: PLC0415 - needed here only

    client = open_gate.join()
    client.session.subscriptions = Subscriptions(open_gate.site, client)
    assert open_gate.ask(client, "PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert open_gate.ask(client, "PING", "x") == b"*2\r\n$4\r\npong\r\n$1\r\nx\r\n"
    client.session.proto = 3
    assert open_gate.ask(client, "PING") == b"+PONG\r\n"
    client.session.proto = 2
    client.session.subscriptions.monitor = True
    assert open_gate.ask(client, "PING") == b"+PONG\r\n"


def test_reset_forgets_who_it_was(room: Room) -> None:
    client = room.join("ads", proto=3)
    room.ask(client, "CLIENT", "SETNAME", "x")
    room.ask(client, "CLIENT", "NO-EVICT", "on")
    assert room.ask(client, "RESET") == b"+RESET\r\n"
    assert room.ask(client, "PING") == b"-NOAUTH Authentication required.\r\n"
    assert room.ask(client, "AUTH", "ads", "ads-key") == OK
    assert room.ask(client, "CLIENT", "GETNAME") == b"$-1\r\n"


def test_quit_closes_after_its_reply(open_gate: Room) -> None:
    client = open_gate.join()
    assert open_gate.ask(client, "QUIT") == OK
    open_gate.site.lane.resume(0.0)
    assert client.closing
