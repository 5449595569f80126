"""Reload on the real process: what takes effect, and what a bad file does."""

import hashlib
import os
import signal
import time

import hiredis

from tests.server.processes import children, info, one_on_each
from tests.server.reloads import (
    BOTH,
    has_configuration,
    in_log,
    redis,
    refused,
    reload,
    replaced,
    rules,
    says_why,
    user,
)
from tests.support.resp import Closed
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for


@BOTH
def test_a_good_file_takes_effect_for_the_next_command_of_every_connection(
    gates: Gates, redis_servers: RedisServers, workers: int
) -> None:
    one, two = redis_servers(), redis_servers()
    before = redis("a", one.url) + rules(A_T="a")
    gate = gates(before, gate=f"workers = {workers}\n")
    clients = [*one_on_each(gate, workers).values()]
    for client in clients:
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
        assert refused(client, "SET", "B.T:x", "2").startswith("NONAMESPACE")
    gate.write_config(before.replace("[namespaces]", redis("b", two.url) + "[namespaces]") + '"B.T" = "b"\n')
    assert clients[0].cmd("GATE", "RELOAD") == b"OK"
    for number, client in enumerate(clients):
        assert client.cmd("SET", "B.T:x", number) == b"OK"
        assert client.cmd("GET", "A.T:x") == b"1"
    assert two.cmd("GET", "B.T:x") == b"%d" % (workers - 1)
    for client in clients:
        shown = info(client)
        assert shown["config_sha256"] == hashlib.sha256(gate.config_path.read_bytes()).hexdigest()
        assert shown["config_last_error"] == ""
        assert abs(int(shown["config_load_time"]) - time.time()) < 30
        client.close()


@BOTH
def test_a_bad_file_changes_nothing_and_says_all_that_is_wrong(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    before = redis("a", redis_server.url) + rules(A_T="a")
    gate = gates(before, gate=f"workers = {workers}\n")
    clients = [*one_on_each(gate, workers).values()]
    sha = info(clients[0])["config_sha256"]
    gate.write_config(redis("a", "nonsense") + rules(A_T="a", B="c"))
    for command in (("GATE", "RELOAD"), ("GATE", "RELOAD", "DRYRUN")):
        told = refused(clients[0], *command)
        assert told.startswith("ERR ")
        assert "backends.a.url: " in told
        assert "namespaces.B: " in told
    for client in clients:
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
        says_why(client, "backends.a.url")
        assert info(client)["config_sha256"] == sha
    assert gate.log.count("reload_refused") == 1  # a dry run refuses nothing
    gate.config_path.unlink()
    gate.signal(signal.SIGHUP)
    for client in clients:
        says_why(client, "cannot be read")
    assert gate.log.count("reload_refused") == 2
    gate.write_config(before)
    gate.signal(signal.SIGHUP)
    for client in clients:
        says_why(client, "")
        client.close()


def test_a_dry_run_lists_what_would_change_and_changes_nothing(gates: Gates, redis_servers: RedisServers) -> None:
    one, two = redis_servers(), redis_servers()
    gate = gates(redis("a", one.url) + rules(A_T="a", B_T="a") + user("u") + user("v"))
    with gate.client(user="u", password="secret") as client:
        sha = info(client)["config_sha256"]
        gate.write_config(
            "accept_moves = ['B.T']\n[gate]\nlisten = ['127.0.0.1:$PORT']\ncommand_timeout = '1s'\nmax_clients = 50\n"
            + redis("a", one.url + "/0", "own_connections = 3\n") + redis("b", two.url)
            + rules(B_T="b", C_T="b", A_T="a") + user("u", namespaces='["A.*"]') + user("w")
        )  # fmt: skip
        lines = [line.decode() for line in client.cmd("GATE", "RELOAD", "DRYRUN")]
        assert lines == [
            "namespace B.T changed: backend a -> b",
            "namespace C.T added: backend b",
            "backend b added",
            "backend a changed: its connections are made anew",
            "user w added",
            "user v removed: its clients are closed",
            "user u changed",
            "gate.command_timeout: 1.5 -> 1.0",
            "gate.max_clients: 10000 -> 50",
            "gate.drain_unready: 0.0 -> 5.0",
            "moves: B.T: backend a -> backend b",
        ]
        assert info(client)["config_sha256"] == sha
        with gate.client(user="v", password="secret") as still:
            assert still.cmd("PING") == b"PONG"
        assert refused(client, "GATE", "RELOAD", "DRYRUN", "twice") == "ERR syntax error"
    assert "reloaded" not in gate.log

def test_a_rotated_password_in_the_file_or_in_its_own(gates: Gates, redis_servers: RedisServers) -> None:
    store = redis_servers(password="first")
    gate = gates(redis("a", store.url) + rules(A_T="a"))
    with gate.client() as client, store.client() as operator:
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
        operator.cmd("CONFIG", "SET", "requirepass", "second")
        reload(gate, redis("a", store.url.replace("first", "second")) + rules(A_T="a"))
        assert client.cmd("GET", "A.T:x") == b"1"
        (gate.directory / "password").write_text("second\n", "utf-8")
        plain = store.url.replace(":first@", "")
        reload(gate, redis("a", plain, 'password_file = "password"\n') + rules(A_T="a"))
        assert client.cmd("GET", "A.T:x") == b"1"
        operator.cmd("CONFIG", "SET", "requirepass", "third")
        (gate.directory / "password").write_text("third\n", "utf-8")
        operator.cmd("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_for(lambda: client.ask("GET", "A.T:x") == b"1", "the gate to log in again")


@BOTH
def test_limits_and_times_take_effect(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    base = redis("a", redis_server.url) + rules(A_T="a")

    def config(more: str) -> str:
        return f'[gate]\nlisten = ["127.0.0.1:$PORT"]\ndrain_unready = "0s"\nworkers = {workers}\n{more}{base}'

    gate = gates(config(""))
    clients = [*one_on_each(gate, workers).values()]
    for client in clients:
        client.cmd("SET", "A.T:x", "1")
    gate.write_config(config('command_timeout = "200ms"\nmax_clients = 1\nqueued_commands = 1\nlog_level = "info"\n'))
    assert clients[0].cmd("GATE", "RELOAD") == b"OK"
    redis_server.pause()
    for client in clients:
        begun = time.monotonic()
        assert refused(client, "GET", "A.T:x") == "TRYAGAIN not executed, may be sent again: store a/0/resp2/" + str(
            client.cmd("CLIENT", "ID") % 2
        ) + " did not answer within 0.2 s"
        assert time.monotonic() - begun < 1.0
    redis_server.resume()
    with gate.client() as one_too_many:
        assert one_too_many.read_all() == b"-ERR max number of clients reached\r\n"
    for client in clients:
        client.cmd("MULTI")
        client.cmd("PING")
        assert "at most 1 commands" in refused(client, "PING")
        client.close()
    gate.stop()
    assert "drained" in gate.log  # an info line


def test_keys_that_need_a_restart_are_named_and_do_no_harm(gates: Gates, redis_servers: RedisServers) -> None:
    store = redis_servers()
    base = redis("a", store.url) + rules(A_T="a")
    gate = gates(base)
    clients = [gate.client(proto=proto) for proto in (2, 2, 3, 3)]
    gate.write_config(
        '[gate]\nlisten = ["127.0.0.1:$PORT", "127.0.0.1:0"]\ndrain_unready = "0s"\nshared_connections = 1\nworkers = 2\n'
        + base.replace("[namespaces]", "own_connections = 5\n[namespaces]")
    )
    lines = clients[0].cmd("GATE", "RELOAD", "DRYRUN")
    named = {b"needs a restart: gate.listen", b"needs a restart: gate.workers", b"needs a restart: gate.shared_connections"}
    assert named <= set(lines)
    assert clients[0].cmd("GATE", "RELOAD") == b"OK"
    assert 'need_restart="gate.listen, gate.workers, gate.shared_connections"' in gate.log
    for client in clients:
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
    assert info(clients[0])["workers"] == "1"
    assert named <= set(clients[0].cmd("GATE", "RELOAD", "DRYRUN")), "they still do"
    for client in clients:
        client.close()


def test_a_worker_that_is_replaced_starts_with_the_present_configuration(gates: Gates, redis_servers: RedisServers) -> None:
    one, two = redis_servers(), redis_servers()
    gate = gates(redis("a", one.url) + rules(A_T="a"), gate="workers = 2\n")
    reload(gate, redis("a", one.url) + redis("b", two.url) + rules(A_T="a", B_T="b"))
    gate.config_path.write_text("broken", "utf-8")
    with gate.client() as client:
        assert "no TOML" in refused(client, "GATE", "RELOAD")
    old = children(gate.pid)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    # A process whose first thread has ended looks dead, but its sockets are open until the last one has: the parent knows.
    wait_for(lambda: gate.log.count("worker_died") == len(old), "the parent to have noticed both deaths")
    for _ in range(4):
        with gate.client() as client:
            assert client.cmd("SET", "B.T:x", "1") == b"OK"
            assert "no TOML" in info(client)["config_last_error"]


def test_reloads_and_deaths_side_by_side_leave_all_workers_alike(gates: Gates, redis_server: RedisServer) -> None:
    base = redis("a", redis_server.url)
    gate = gates(base + rules(N0_T="a"), gate="workers = 2\n")
    for number in range(1, 6):
        victim = children(gate.pid)[number % 2]
        os.kill(victim, signal.SIGKILL)
        gate.write_config(base + rules(**{f"N{n}_T": "a" for n in range(number + 1)}))
        with gate.client() as client:
            reply = b"OK"
            try:
                reply = client.ask("GATE", "RELOAD")
            except Closed:
                gate.signal(signal.SIGHUP)
        assert reply == b"OK" or isinstance(reply, hiredis.ReplyError)
        gate.signal(signal.SIGHUP)
        replaced(gate, victim)
        in_log(gate, hashlib.sha256(gate.config_path.read_bytes()).hexdigest())
    sha = hashlib.sha256(gate.config_path.read_bytes()).hexdigest()
    for client in one_on_each(gate, 2).values():
        has_configuration(client, sha)
        client.close()
