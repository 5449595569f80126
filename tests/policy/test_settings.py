"""The values of ``[gate]``."""

from pathlib import Path

import attrs
import pytest

from kvgate.policy.settings import MIB, GateSettings, Listen, parse_listen

BASE = Path("/etc/kvgate")


@pytest.mark.parametrize(
    ("text", "listen", "loopback"),
    [
        ("127.0.0.1:6380", Listen("tcp", "127.0.0.1", 6380), True),
        ("127.9.9.9:0", Listen("tcp", "127.9.9.9", 0), True),
        ("localhost:1", Listen("tcp", "localhost", 1), True),
        ("[::1]:6380", Listen("tcp", "::1", 6380), True),
        ("[::]:6380", Listen("tcp", "::", 6380), False),
        ("0.0.0.0:65535", Listen("tcp", "0.0.0.0", 65535), False),
        ("gate.example:6380", Listen("tcp", "gate.example", 6380), False),
        ("tls:10.0.0.1:6381", Listen("tls", "10.0.0.1", 6381), False),
        ("tls:[::1]:6381", Listen("tls", "::1", 6381), True),
        ("unix:/run/kvgate.sock", Listen("unix", path="/run/kvgate.sock"), True),
    ],
)
def test_listeners(text: str, listen: Listen, loopback: bool) -> None:
    assert parse_listen(text, BASE) == listen
    assert listen.loopback is loopback
    assert str(listen) == text


def test_a_unix_path_is_relative_to_the_configuration() -> None:
    assert parse_listen("unix:gate.sock", BASE) == Listen("unix", path="/etc/kvgate/gate.sock")


@pytest.mark.parametrize(
    "text", ["", "6380", ":6380", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:6380", "[::1]", "[x]:1",
             "unix:", "tls:6380", "tls::6380", "127.0.0.1:-1", "127.0.0.1:٣"],
)
def test_no_listeners(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listen(text, BASE)


def test_defaults_are_the_contract_s() -> None:
    gate = GateSettings()
    assert (gate.command_timeout, gate.connect_timeout, gate.upstream_silence) == (1.5, 0.5, 5)
    assert (gate.reconnect_first, gate.reconnect_longest) == (0.05, 1)
    assert (gate.shared_connections, gate.max_clients) == (2, 10_000)
    assert (gate.idle_timeout, gate.tcp_keepalive) == (0, 300)
    assert (gate.pipeline_commands, gate.pipeline_bytes) == (10_000, 16 * MIB)
    assert (gate.output_hard, gate.output_soft, gate.output_soft_time) == (256 * MIB, 64 * MIB, 60)
    assert (gate.queued_commands, gate.queued_bytes) == (10_000, 16 * MIB)
    assert (gate.drain_unready, gate.drain_finish) == (5, 20)
    assert (gate.slowlog_time, gate.slowlog_entries) == (0.01, 1024)
    assert (gate.wrong_password_first, gate.wrong_password_longest) == (0.1, 5)
    assert gate.listen == (Listen("tcp", "127.0.0.1", 6380),)


def test_every_default_keeps_its_own_bounds_and_has_a_reason() -> None:
    for field in attrs.fields(GateSettings):
        if field.metadata:
            assert field.metadata["low"] <= (field.default or field.metadata["low"]) <= field.metadata.get("high", 2**53)
            assert len(field.metadata["why"]) > 5
