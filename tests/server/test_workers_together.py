"""Commands that speak for all workers, asked of one of them."""

import hashlib
import signal
import time
from collections.abc import Iterator

import hiredis
import pytest

from tests.server.processes import children, info, one_on_each
from tests.server.reloads import says_why
from tests.support.resp import Closed, Resp
from tests.support.servers import Gate, RedisServer, wait_for

SECRET = hashlib.sha256(b"secret").hexdigest()
USERS = f"""
[users.admin]
password_sha256 = ["{SECRET}"]
namespaces = ["*"]
commands = ["+@all"]
[users.app]
password_sha256 = ["{SECRET}"]
namespaces = ["*"]
[users.other]
password_sha256 = ["{SECRET}"]
namespaces = ["*"]
"""


@pytest.fixture(scope="module")
def gate(module_redis: RedisServer) -> Iterator[Gate]:
    config = f'[backends.a]\ntype = "redis"\nurl = "{module_redis.url}"\n[namespaces]\ndefault = "a"\n{USERS}'
    with Gate(config, gate="workers = 2\n") as gate:
        yield gate


@pytest.fixture
def pairs(gate: Gate) -> Iterator[dict[str, list[Resp]]]:
    """For each user a connection to each worker, the first one's first."""
    found: dict[str, list[Resp]] = {}
    for user in ("admin", "app", "other"):
        on = one_on_each(gate, 2, user=user, password="secret")
        found[user] = [on[pid] for pid in sorted(on)]
    assert len(children(gate.pid)) == 2
    with gate.client(user="admin", password="secret") as client:
        wait_for(lambda: client.cmd("CLIENT", "LIST").count(b"\n") == 7, "earlier connections to be gone")
    wait_for(lambda: found["admin"][0].cmd("CLIENT", "LIST").count(b"\n") == 6, "that one to be gone")
    yield found
    for clients in found.values():
        for client in clients:
            client.close()


Pairs = dict[str, list[Resp]]


def ident(client: Resp) -> int:
    return int(client.cmd("CLIENT", "ID"))


def listed(client: Resp, *words: str) -> list[int]:
    return [int(line[3:].split()[0]) for line in client.cmd("CLIENT", "LIST", *words).decode().splitlines()]


def test_client_list_shows_all_and_to_a_user_its_own(pairs: Pairs) -> None:
    everybody = sorted(ident(client) for clients in pairs.values() for client in clients)
    for admin in pairs["admin"]:
        assert listed(admin) == everybody
    for app in pairs["app"]:
        assert listed(app) == sorted(map(ident, pairs["app"]))


def test_client_list_by_id_keeps_the_order_that_was_asked_for(pairs: Pairs) -> None:
    first, second = map(ident, pairs["app"])
    for admin in pairs["admin"]:
        asked = [second, first, second, 999_999]
        assert listed(admin, "ID", *map(str, asked)) == [second, first, second]
        assert listed(admin, "TYPE", "pubsub") == []


def test_client_list_in_resp3_is_one_verbatim_text(gate: Gate) -> None:
    with gate.client(proto=3, user="admin", password="secret") as client:
        raw = client.raw_reply("CLIENT", "LIST")
        assert raw.startswith(b"=")
        assert raw.count(b"\nid=") + raw.count(b"txt:id=") == raw.count(b"id=") - raw.count(b"-id=") >= 1


@pytest.mark.parametrize("at", [0, 1])
def test_client_kill_reaches_every_worker(pairs: Pairs, at: int) -> None:
    admin, victim = pairs["admin"][0], pairs["app"][at]
    line = victim.cmd("CLIENT", "INFO").decode()
    address = line.split("addr=")[1].split()[0]
    if at:
        assert admin.cmd("CLIENT", "KILL", address) == b"OK"
    else:
        assert admin.cmd("CLIENT", "KILL", "ADDR", address) == 1
    assert victim.read_all() == b""
    gone = admin.ask("CLIENT", "KILL", address)
    assert isinstance(gone, hiredis.ReplyError)
    assert str(gone) == "ERR No such client"


def test_client_kill_of_a_users_connections_spares_the_caller(pairs: Pairs) -> None:
    app, other = pairs["app"], pairs["other"]
    assert app[0].cmd("CLIENT", "KILL", "USER", "app") == 1
    assert app[1].read_all() == b""
    assert app[0].cmd("PING") == b"PONG"
    assert app[0].cmd("CLIENT", "KILL", "USER", "app", "SKIPME", "no") == 1
    assert app[0].read_all() == b""
    assert [client.cmd("PING") for client in other] == [b"PONG"] * 2


def test_a_user_cannot_touch_others_on_any_worker(pairs: Pairs) -> None:
    app = pairs["app"][0]
    for victim in (*pairs["other"], *pairs["admin"]):
        assert app.cmd("CLIENT", "KILL", "ID", ident(victim)) == 0
        assert app.cmd("CLIENT", "UNBLOCK", ident(victim)) == 0
        assert victim.cmd("PING") == b"PONG"
    assert app.cmd("CLIENT", "KILL", "TYPE", "normal") == 1
    for command in (("CLIENT", "PAUSE", "1000"), ("CLIENT", "UNPAUSE"), ("CLIENT", "KILL", "USER", "other")):
        assert isinstance(app.ask(*command), hiredis.ReplyError)


def test_the_client_that_asked_last_on_its_worker_is_killed_at_once(pairs: Pairs, module_redis: RedisServer) -> None:
    admin, victim = pairs["admin"][0], pairs["app"][1]
    number = ident(victim)
    victim.send("BLPOP", "never", "0")
    wait_for(lambda: b"cmd=blpop" in module_redis.cmd("CLIENT", "LIST"), "the client to be blocked")
    assert admin.cmd("CLIENT", "KILL", "ID", number) == 1
    assert victim.read_all() == b""
    wait_for(lambda: b"cmd=blpop" not in module_redis.cmd("CLIENT", "LIST"), "its connection to end")


@pytest.mark.parametrize(
    ("how", "reply"), [("TIMEOUT", b"*-1\r\n"), ("ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
)
def test_client_unblock_reaches_every_worker(pairs: Pairs, how: str, reply: bytes, module_redis: RedisServer) -> None:
    admin, blocked = pairs["admin"][0], pairs["app"][1]
    number = ident(blocked)
    assert admin.cmd("CLIENT", "UNBLOCK", number) == 0
    blocked.send("BLPOP", "never", "0")
    wait_for(lambda: b"cmd=blpop" in module_redis.cmd("CLIENT", "LIST"), "the client to be blocked")
    assert info(admin, "clients")["blocked_clients"] == "1"
    assert admin.cmd("CLIENT", "UNBLOCK", number, how) == 1
    assert blocked.read_one() == reply


def test_a_pause_holds_every_worker_and_unpause_ends_it(pairs: Pairs) -> None:
    admin = pairs["admin"][0]
    assert admin.cmd("CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
    for client in pairs["app"]:
        client.send("SET", "paused", "1")
        client.send("GET", "paused")
    assert all(client.silent() for client in pairs["app"])
    assert [client.cmd("GET", "read") for client in pairs["other"]] == [None, None]
    assert pairs["admin"][1].cmd("CLIENT", "UNPAUSE") == b"OK"
    for client in pairs["app"]:
        assert client.read_raw(2) == b"+OK\r\n$1\r\n1\r\n"


def test_many_that_were_paused_go_on_at_once(gate: Gate, pairs: Pairs) -> None:
    clients = [gate.client(user="app", password="secret") for _ in range(200)]
    admin = pairs["admin"][0]
    assert admin.cmd("CLIENT", "PAUSE", "60000") == b"OK"
    for client in clients:
        client.send("INCR", "many")
    assert admin.cmd("CLIENT", "UNPAUSE") == b"OK"
    assert sorted(client.read() for client in clients) == list(range(1, 201))
    for client in clients:
        client.close()


def test_info_adds_up(gate: Gate, pairs: Pairs) -> None:
    first, second = pairs["admin"]
    for client in pairs["app"]:
        for _ in range(100):
            client.cmd("SET", "counted", "1")
    assert info(first, "clients")["connected_clients"] == info(second, "clients")["connected_clients"] == "6"
    assert info(first, "clients")["maxclients"] == "20000"
    before, after = info(first, "stats"), info(second, "stats")
    assert 200 <= int(before["total_commands_processed"]) <= int(after["total_commands_processed"])
    one, other = info(first, "server"), info(second, "server")
    assert one["run_id"] == other["run_id"]
    assert one["process_id"] != other["process_id"]
    memory = info(first, "memory")
    assert int(memory["used_memory_peak"]) >= int(memory["used_memory"])
    assert memory["used_memory_human"] == f"{int(memory['used_memory']) / 2**20:.2f}M"
    assert float(info(first, "cpu")["used_cpu_user"]) > 0.2
    up = dict(part.split("=") for part in info(first)["upstream_connections"].split(","))
    assert int(up["up"]) >= 2


def test_a_client_that_leaves_while_all_are_asked_leaves_nothing(gate: Gate, pairs: Pairs) -> None:
    for _ in range(20):
        client = gate.client(user="admin", password="secret")
        client.send("INFO")
        client.close()
    wait_for(lambda: len(listed(pairs["admin"][0])) == 6, "them to be gone")


def test_gate_reload_is_done_by_every_worker(gate: Gate, pairs: Pairs) -> None:
    text = gate.config_path.read_text("utf-8")
    gate.config_path.write_text(text.replace("[users.other]", '[users.other]\nnetworks = ["10.0.0.0/8"]'), "utf-8")
    assert pairs["admin"][0].cmd("GATE", "RELOAD") == b"OK"
    for client in pairs["other"]:
        with pytest.raises(Closed):
            client.ask("PING")
    hashes = {info(client)["config_sha256"] for client in pairs["admin"]}
    assert len(hashes) == 1
    gate.config_path.write_text("[gate]\nworkers = 0\n", "utf-8")
    refused = pairs["admin"][1].ask("GATE", "RELOAD")
    assert isinstance(refused, hiredis.ReplyError)
    for client in pairs["admin"]:
        says_why(client, "gate.workers")
    gate.config_path.write_text(text, "utf-8")
    gate.signal(signal.SIGHUP)
    for client in pairs["admin"]:
        says_why(client, "")
    begun = time.time()
    assert all(abs(begun - int(info(client)["config_load_time"])) < 30 for client in pairs["admin"])
