"""The process: its banner, its listeners, what it says when it cannot start, and how it ends."""

import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import lmdb
import pytest
import trustme

from tests.support.resp import Resp, frame
from tests.support.servers import Gate, Gates, RedisServers, wait_for

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n[namespaces]\ndefault = "local"\n'


def test_the_banner_says_where_and_what_within_a_second(tmp_path: Path) -> None:
    with Gate(directory=tmp_path) as gate:
        wait_for(lambda: "try: redis-cli" in gate.log, "the banner")
        banner = gate.log
        assert f"127.0.0.1:{gate.port}" in banner
        assert "durability always" in banner
        assert "a commit takes" in banner
        assert f"try: redis-cli -p {gate.port}" in banner


def test_an_address_that_is_taken_is_told_and_ends_with_2(gates: Gates) -> None:
    gate = gates()
    second = subprocess.run(
        [*gate.command()[:4], "--listen", f"127.0.0.1:{gate.port}", "--data-dir", str(gate.directory / "other")],
        env=gate.environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert f'"127.0.0.1:{gate.port}" cannot be bound: Address already in use' in second.stderr
    assert "Traceback" not in second.stderr


def test_a_store_of_a_newer_format_is_told_and_ends_with_2(gates: Gates) -> None:
    gate = gates()
    gate.stop()
    with lmdb.open(str(gate.directory / "data"), max_dbs=0) as env, env.begin(write=True) as txn:
        header = bytearray(txn.get(b"Sformat") or b"")
        header[1:9] = (2**31).to_bytes(4, "big") * 2
        txn.put(b"Sformat", bytes(header))
    again = subprocess.run(
        gate.command(), env=gate.environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
    assert "newer" in again.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families_and_a_unix_socket_are_served(gates: Gates, host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    config = f'[gate]\nlisten = ["127.0.0.1:$PORT", "{shown}:0", "unix:$DIR/gate.sock"]\n{LOCAL}'
    gate = gates(config)
    wait_for(lambda: "try:" in gate.log, "the banner")
    port = int(gate.log.split(" serves ")[1].split(", ")[1].rpartition(":")[2])
    with Resp((host, port)) as client:
        assert client.cmd("SET", "k", "v") == b"OK" or client.cmd("GET", "k") == b"v"
    with Resp(str(gate.directory / "gate.sock")) as client:
        assert client.cmd("GET", "k") == b"v"
        assert b"laddr=" in client.cmd("CLIENT", "INFO")
    gate.stop()
    assert not (gate.directory / "gate.sock").exists()


def test_a_socket_file_left_behind_is_replaced_and_a_served_one_is_not(gates: Gates, tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    config = f'[gate]\nlisten = ["127.0.0.1:$PORT", "unix:{path}"]\n{LOCAL}'
    gate = gates(config)
    with Resp(str(path)) as client:
        assert client.cmd("PING") == b"PONG"
    second = Gate(config.replace("$DIR/data", "$DIR/other"))
    second_run = subprocess.run(
        second.command(), env=second.environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert second_run.returncode == 2
    assert "Address already in use" in second_run.stderr
    with Resp(str(path)) as client:
        assert client.cmd("PING") == b"PONG"
    gate.stop()


def test_tls_clients_are_served_beside_plain_ones(gates: Gates, tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(tmp_path / "gate.pem")
    tls = f'[gate.tls]\ncert = "{tmp_path}/gate.pem"\nkey = "{tmp_path}/gate.pem"\n'
    gate = gates(f'[gate]\nlisten = ["127.0.0.1:$PORT", "tls:127.0.0.1:0"]\n{tls}{LOCAL}')
    wait_for(lambda: "try:" in gate.log, "the banner")
    port = int(gate.log.split(" serves ")[1].split(", ")[1].split("\n")[0].rpartition(":")[2])
    context = ssl.create_default_context()
    ca.configure_trust(context)
    value = b"x" * 3_000_000
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        assert sock.version() in ("TLSv1.2", "TLSv1.3")
        sock.sendall(frame("SET", "big", value) + frame("GET", "big"))
        want = b"+OK\r\n$3000000\r\n" + value + b"\r\n"
        got = b""
        while len(got) < len(want):
            got += sock.recv(65536)
        assert got == want
    assert gate.cmd("STRLEN", "big") == len(value)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as noise:  # no TLS at all
        noise.sendall(b"PING\r\n" * 10)
        while noise.recv(4096):
            pass
    assert gate.cmd("PING") == b"PONG"


def test_sigterm_finishes_what_was_received(gates: Gates) -> None:
    gate = gates()
    with gate.client() as busy, gate.client() as idle:
        assert idle.cmd("PING") == b"PONG"
        busy.send_raw(b"".join(frame("SET", f"k{n}", "v") for n in range(2000)))
        busy.read_one()
        gate.signal(signal.SIGTERM)
        assert busy.read_raw(1999) == b"+OK\r\n" * 1999
        assert idle.read_all() == b""  # closed by the gate
    wait_for(lambda: not gate.running, "the end of the gate")  # `gates` sees to its exit code and log


def test_sigterm_closes_blocked_clients_without_waiting_for_them(gates: Gates, redis_servers: RedisServers) -> None:
    store = redis_servers()
    gate = gates(f'[backends.a]\ntype = "redis"\nurl = "{store.url}"\n[namespaces]\ndefault = "a"\n')
    with gate.client() as client:
        client.send("BLPOP", "list", "0")
        wait_for(lambda: store.cmd("CLIENT", "LIST").count(b"cmd=blpop") == 1, "the client to be blocked")
        begun = time.monotonic()
        gate.stop()
        assert time.monotonic() - begun < 10
    assert store.cmd("RPUSH", "list", "x") == 1
    assert store.cmd("LLEN", "list") == 1
