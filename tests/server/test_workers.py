"""Several workers behind one parent: how clients are spread, and what happens when a process dies."""

import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.server.processes import alive, children, info, one_on_each, served_by, stopped
from tests.support.resp import Closed, Resp, frame
from tests.support.servers import Gate, Gates, RedisServer, wait_for

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n[namespaces]\ndefault = "local"\n'
REPLACED = 1.0
"""Seconds within which a worker that died is replaced."""


def test_fifty_at_once_are_spread_evenly_over_all_kinds_of_listeners(gates: Gates, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "gate.pem"))
    listen = 'listen = ["127.0.0.1:$PORT", "[::1]:0", "unix:$DIR/gate.sock", "tls:127.0.0.1:0"]'
    tls = f'[gate.tls]\ncert = "{tmp_path}/gate.pem"\nkey = "{tmp_path}/gate.pem"\n'
    gate = gates(f"[gate]\n{listen}\nworkers = 2\n{tls}{LOCAL}")
    wait_for(lambda: "try:" in gate.log, "the banner")
    assert "with 2 workers" in gate.log
    _, six, _, secure = re.findall(r"serves (.*) with", gate.log)[0].split(", ")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    ports = [int(where.rpartition(":")[2]) for where in (six, secure)]
    kinds: list[Callable[[], Resp]] = [
        lambda: Resp(gate.address),
        lambda: Resp(("::1", ports[0])),
        lambda: Resp(str(gate.directory / "gate.sock")),
        lambda: Resp(("127.0.0.1", ports[1]), tls=context, server_name="127.0.0.1"),
    ]
    here, there = one_on_each(gate, 2).values()  # they stay: that a client has ended is told a moment later
    with here, there:
        for kind in kinds:
            wait_for(lambda: info(here, "clients")["connected_clients"] == "2", "the other clients to be gone")
            clients = [kind() for _ in range(50)]
            seen = [served_by(client) for client in clients]
            assert sorted(map(seen.count, set(seen))) == [25, 25]
            idents = {client.cmd("CLIENT", "ID") for client in clients}
            assert len(idents) == 50
            for client in clients:
                client.close()


@pytest.mark.parametrize(("workers", "connections"), [(2, 50), (3, 51)])
def test_who_connects_in_the_same_moment_is_spread_evenly(gates: Gates, workers: int, connections: int) -> None:
    gate = gates(LOCAL, gate=f"workers = {workers}\n")
    with contextlib.ExitStack() as open_ones:
        here = open_ones.enter_context(gate.client())
        wait_for(lambda: info(here, "clients")["connected_clients"] == "1", "who asked whether it is ready to be gone")
        gate.pause()  # the parent: the kernel takes them all up meanwhile
        socks = [open_ones.enter_context(socket.socket()) for _ in range(connections - 1)]
        for sock in socks:
            sock.settimeout(10)
            sock.connect((gate.host, gate.port))
        gate.resume()
        clients = [here]
        for sock in socks:
            client = Resp.__new__(Resp)
            client.sock, client.timeout, client.buffer = sock, 10.0, bytearray()
            clients.append(client)
        seen = [served_by(client) for client in clients]
        assert sorted(map(seen.count, set(seen))) == [connections // workers] * workers
        assert len({client.cmd("CLIENT", "ID") for client in clients}) == connections


@pytest.mark.alone
def test_a_killed_worker_is_replaced_and_only_its_own_clients_notice(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    on = one_on_each(gate, 2)
    victim, other = on
    assert sorted(on) == children(gate.pid)
    on[other].cmd("SET", "kept", "1")
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(Closed):
        on[victim].ask("PING")
    wait_for(lambda: len(set(children(gate.pid)) - {victim}) == 2, "another worker")
    (fresh,) = set(children(gate.pid)) - {victim, other}
    while True:
        with gate.client() as client:
            if served_by(client) == fresh:
                break
    took = time.monotonic() - begun
    assert on[other].cmd("GET", "kept") == b"1"
    assert served_by(on[other]) == other
    assert re.search(rf"worker_died worker=[12] pid={victim} exit=-9 ", gate.log)
    assert took < REPLACED * (1 + os.getloadavg()[0]), "processes take longer to start where others use the processors"
    for client in on.values():
        client.close()


def test_while_all_workers_are_dead_connections_wait(gates: Gates) -> None:
    config = LOCAL.replace("[backends", '[gate]\nlisten = ["127.0.0.1:$PORT", "unix:$DIR/gate.sock"]\nworkers = 2\n[backends')
    gate = gates(config)
    workers = children(gate.pid)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, workers)), "the end of the workers")
    clients = [Resp(gate.address), Resp(str(gate.directory / "gate.sock")), Resp(gate.address)]
    assert [client.cmd("PING") for client in clients] == [b"PONG"] * 3
    for client in clients:
        client.close()


def waiting_to_be_accepted(port: int) -> int:
    """Connections that the kernel has made and nobody has accepted (the receive queue of a listening socket)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    (queue,) = (fields[4] for fields in lines if fields[1].endswith(f":{port:04X}") and fields[3] == "0A")
    return int(queue.partition(":")[2], 16)


def test_connections_that_a_dying_worker_never_took_go_to_another(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    stopped = children(gate.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    clients = [gate.client() for _ in range(10)]
    for client in clients:
        client.send("PING")
    wait_for(lambda: waiting_to_be_accepted(gate.port) == 0, "the parent to have handed them over")
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    assert [client.read_one() for client in clients] == [b"+PONG\r\n"] * len(clients)
    for client in clients:
        client.close()


def test_no_worker_outlives_a_killed_parent_however_busy(redis_server: RedisServer) -> None:
    config = f'[backends.a]\ntype = "redis"\nurl = "{redis_server.url}"\n[namespaces]\ndefault = "a"\n'
    with Gate(config, gate="workers = 2\n") as gate:
        workers = children(gate.pid)
        assert len(workers) == 2
        load = subprocess.Popen(
            ["redis-benchmark", "-p", str(gate.port), "-c", "20", "-P", "16", "-n", "100000000", "-q", "SET", "a", "b"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            before = redis_server.calls("set")
            wait_for(lambda: redis_server.calls("set") > before + 10_000, "the load")
            gate.kill()
            wait_for(lambda: not any(map(alive, workers)), "the end of the workers", 5.0)
        finally:
            load.kill()
            load.wait()
        gate.start()  # the address is free again


def test_a_worker_that_cannot_start_is_told_once_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder", "utf-8")
    gate = Gate(LOCAL, gate="workers = 3\n", directory=tmp_path)
    done = subprocess.run(
        gate.command(), env=gate.environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("cannot open the store in") == 1
    assert f"{gate.config_path}: path: cannot open the store in {tmp_path}/data" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_dies_without_a_word_is_told_with_its_exit_code(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import os, sys\nif 'kvgate.cli.worker' in sys.orig_argv: os._exit(7)\n", "utf-8")
    gate = Gate(LOCAL, gate="workers = 2\n", directory=tmp_path)
    environment = gate.environment()
    environment["PYTHONPATH"] += f":{site}"
    done = subprocess.run(gate.command(), env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "a worker ended with 7 before it served" in done.stderr


def test_a_worker_that_cannot_be_replaced_is_tried_again_with_growing_pauses(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    victim, other = (on := one_on_each(gate, 2))
    data, away = gate.directory / "data", gate.directory / "away"
    data.rename(away)
    data.write_text("no folder", "utf-8")
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    wait_for(lambda: gate.log.count("worker_not_started") == 3, "three tries", 20)
    assert time.monotonic() - begun > 0.5 + 1.0
    assert "cannot open the store in" in gate.log
    assert on[other].cmd("SET", "still", "here") == b"OK"
    with gate.client() as client:
        assert client.cmd("GET", "still") == b"here"
    data.unlink()
    away.rename(data)
    wait_for(lambda: len(one_on_each_now(gate)) == 2, "a second worker again", 20)
    for client in on.values():
        client.close()


def alone(client: Resp) -> None:
    wait_for(lambda: info(client, "clients")["connected_clients"] == "1", "the other clients to be gone")


def one_on_each_now(gate: Gate) -> set[int]:
    clients = [gate.client() for _ in range(4)]
    try:
        return {served_by(client) for client in clients}
    finally:
        for client in clients:
            client.close()


def test_workers_share_one_embedded_store(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    clients = [gate.client() for _ in range(8)]
    assert len({served_by(client) for client in clients}) == 2

    def count(client: Resp) -> None:
        for _ in range(50):
            client.cmd("INCR", "counter")

    threads = [threading.Thread(target=count, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [client.cmd("GET", "counter") for client in clients] == [b"400"] * 8
    for number in range(50):
        clients[number % 8].cmd("SET", "seen", number)
        assert {client.cmd("GET", "seen") for client in clients} == {b"%d" % number}, "at once, by every worker"
    sweeping = [line for client in clients for line in client.cmd("INFO", "gate").decode().split(",") if "sweeping=" in line]
    assert len(sweeping) == 8
    for client in clients:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_drains_in_order(gates: Gates, number: int) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    workers = children(gate.pid)
    with gate.client() as busy, gate.client() as idle:
        busy.send_raw(b"".join(frame("SET", f"k{n}", "v") for n in range(2000)))
        busy.read_one()
        for pid in [*workers, gate.pid]:
            os.kill(pid, number)
        assert busy.read_raw(1999) == b"+OK\r\n" * 1999
        assert idle.read_all() == b""
    assert gate.wait_ended() == 0
    assert not any(map(alive, workers))
    assert "worker_died" not in gate.log
    assert "Traceback" not in gate.log


def test_the_end_may_be_asked_for_while_workers_start(tmp_path: Path) -> None:
    gate = Gate(LOCAL, gate="workers = 3\n", directory=tmp_path)
    process = subprocess.Popen(
        gate.command(), env=gate.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for(lambda: len(children(process.pid)) == 3, "the workers' processes")
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    wait_for(lambda: not any(map(alive, workers)), "the end of the workers")


def test_a_hung_worker_holds_up_nobody_who_asks_for_all(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    hung, other = (on := one_on_each(gate, 2))
    with stopped(hung):
        begun = time.monotonic()
        listed = on[other].cmd("CLIENT", "LIST").decode()
        assert 1.0 < time.monotonic() - begun < 4.5
        assert listed.count("\n") == 1
        assert "worker_did_not_answer" in gate.log
    wait_for(lambda: on[other].cmd("CLIENT", "LIST").count(b"\n") == 2, "the worker to answer again")
    for client in on.values():
        client.close()


def test_a_worker_that_talks_nonsense_is_replaced(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    victim, other = children(gate.pid)
    channel = int(Path(f"/proc/{victim}/cmdline").read_bytes().split(b"\0")[-4])
    pidfd = os.pidfd_open(victim)
    code = (
        "import ctypes, os, sys\n"
        "fd = ctypes.CDLL(None, use_errno=True).syscall(438, int(sys.argv[1]), int(sys.argv[2]), 0)\n"
        "sys.exit(3 if fd < 0 else os.write(fd, b'\\x00\\x00\\x00\\x05hello') != 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(pidfd), str(channel)], pass_fds=[pidfd], check=False, capture_output=True
    )
    os.close(pidfd)
    if done.returncode == 3:
        pytest.skip("this machine lets nobody use another process' descriptors (pidfd_getfd)")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not alive(victim), "the end of that worker", 5)
    wait_for(lambda: len(children(gate.pid)) == 2, "another worker")
    assert other in children(gate.pid)
    assert "control_garbage" in gate.log
    assert gate.cmd("PING") == b"PONG"


def test_workers_without_descriptors_refuse_connections_and_lose_count_of_none(gates: Gates) -> None:
    gate = gates(LOCAL, gate="workers = 2\n")
    workers = children(gate.pid)
    usual = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
    for pid in workers:
        highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 4, usual[pid][1]))
    clients = [gate.client() for _ in range(40)]
    served = []
    for client in clients:
        with contextlib.suppress(Closed):
            client.cmd("PING")
            served.append(client)
    assert 0 < len(served) < 20
    assert "accept_failed" in gate.log
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual[pid])
    for client in clients:
        client.close()
    with gate.client() as first:
        alone(first)
        again = [gate.client() for _ in range(20)]
        seen = [served_by(client) for client in (first, *again)]
        assert sorted(seen.count(pid) for pid in workers) == [10, 11]
        for client in again:
            client.close()


def test_the_file_of_a_unix_socket_that_another_gate_took_over_stays(gates: Gates, tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    both = f'listen = ["127.0.0.1:$PORT", "unix:{path}"]\nworkers = 2\n'
    old = gates(f"[gate]\n{both}{LOCAL}")
    blocked = Resp(str(path))
    assert blocked.cmd("PING") == b"PONG"
    blocked.send_raw(b"*2\r\n$3\r\nGET\r\n$5\r\nhal")  # half a command: the drain waits for the rest
    old.signal(signal.SIGTERM)
    with contextlib.ExitStack() as stack:

        def closed() -> bool:
            try:
                stack.enter_context(Resp(str(path)))
            except OSError:
                return True
            return False

        wait_for(closed, "the old gate to close its listeners")
    new = gates(f"[gate]\n{both}{LOCAL}")
    blocked.send_raw(b"fk\r\n")
    assert blocked.read_one() == b"$-1\r\n"
    assert old.wait_ended() == 0
    with Resp(str(path)) as client:
        assert client.cmd("PING") == b"PONG"
    new.stop()
    assert not path.exists()
    blocked.close()
