"""What a reload leaves alone: stores' connections, scripts, open files; and how a store that is served no more ends."""

import os
from contextlib import suppress
from pathlib import Path

from tests.server.processes import children, info
from tests.server.reloads import (
    BOTH,
    redis,
    refused,
    reload,
    rules,
    user,
    whole,
)
from tests.support.relay import Relay
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for


def upstream_ids(server: RedisServer) -> set[str]:
    """Connections of the gate's lane at the store; those of its checks come and go."""
    lines = server.cmd("CLIENT", "LIST").decode().splitlines()
    return {line.split()[0] for line in lines if " name=kvgate " in line}


@BOTH
def test_untouched_backends_keep_their_connections_and_scripts(
    gates: Gates, redis_servers: RedisServers, workers: int
) -> None:
    one, two = redis_servers(), redis_servers()
    config = redis("a", one.url) + redis("b", two.url) + rules(A_T="a", B_T="b")
    gate = gates(config, gate=f"workers = {workers}\n")
    clients = [gate.client(proto=proto) for proto in (2, 3) * 4]
    for client in clients:
        client.cmd("SET", "A.T:x", "1")
        client.cmd("SET", "B.T:x", "1")
    with gate.client() as client:
        sha = client.cmd("SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])")
        with gate.client() as subscriber:
            subscriber.cmd("SUBSCRIBE", "A.T:c")
            kept, other = upstream_ids(one), upstream_ids(two)
            reload(gate, config.replace("[namespaces]", "own_connections = 2\n[namespaces]"))  # of the last backend
            for each in clients:
                assert each.cmd("EVALSHA", sha, "1", "A.T:x") == b"1"
                assert each.cmd("GET", "B.T:x") == b"1"
            assert upstream_ids(one) == kept
            wait_for(lambda: not upstream_ids(two) & other, "the old connections to be closed")
            client.cmd("PUBLISH", "A.T:c", "hello")
            assert subscriber.read() == [b"message", b"A.T:c", b"hello"]
    for client in clients:
        client.close()


def test_a_store_that_is_served_no_more_may_be_away(gates: Gates, redis_servers: RedisServers) -> None:
    one, two = redis_servers(), redis_servers()
    both = redis("a", one.url) + redis("b", two.url)
    gate = gates(both + rules(A_T="a", B_T="b"))
    with gate.client() as client:
        client.cmd("SET", "B.T:x", "1")
        two.kill()
        wait_for(lambda: "TRYAGAIN" in str(client.ask("GET", "B.T:x")), "the store to be down")
        gate.write_config('accept_moves = ["B.T"]\n' + whole(redis("a", one.url) + rules(A_T="a")))
        assert client.cmd("GATE", "RELOAD") == b"OK"
        assert refused(client, "GET", "B.T:x").startswith("NONAMESPACE")
        wait_for(lambda: info(client)["upstream_connections"].count("down=0") == 1, "nobody to look for the store any more")
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
        gate.write_config(both + rules(A_T="a", B_T="b"))
        assert client.cmd("GATE", "RELOAD") == b"OK"
        two.start()
        wait_for(lambda: client.ask("SET", "B.T:x", "2") == b"OK", "the store to be served again")


def test_a_long_command_ends_on_the_store_that_it_began_on(gates: Gates, redis_server: RedisServer) -> None:
    redis_server.cmd("MSET", *(word for n in range(8000) for word in (f"A.T:{n}", n)))
    redis_server.cmd("MSET", *(word for n in range(8000) for word in (f"X.T:{n}", n)))
    with Relay(redis_server.address) as relay:
        config = redis("a", relay.url) + rules(A_T="a") + user("u", namespaces='["A.T"]')
        gate = gates(config)
        with gate.client(user="u", password="secret") as client, gate.client(user="u", password="secret") as other:
            relay.delay(0.15, "down")
            client.send("DBSIZE")  # sixteen pages, each of which takes 0.15 s
            wait_for(lambda: redis_server.calls("scan") > 2, "the count to begin")
            gate.write_config(config.replace("[namespaces]", "own_connections = 7\n[namespaces]"))
            assert other.cmd("GATE", "RELOAD") == b"OK"
            assert client.read() == 8000


def local(path: str = "$DIR/data", more: str = "") -> str:
    return f'[backends.local]\ntype = "lmdb"\npath = "{path}"\n{more}'


@BOTH
def test_the_embedded_store_stays_open_and_its_options_need_a_restart(gates: Gates, workers: int) -> None:
    gate = gates(local() + rules(default="local"), gate=f"workers = {workers}\n")
    with gate.client() as client:
        client.cmd("SET", "k", "v")
        files = {pid: store_files(pid) for pid in (children(gate.pid) or [gate.pid])}
        reload(gate, local(more='durability = "no"\n') + rules(default="local", A_T="local"))
        assert {pid: store_files(pid) for pid in files} == files
        assert client.cmd("GET", "k") == b"v"
        assert "need_restart=backends.local" in gate.log
        lines = client.cmd("GATE", "RELOAD", "DRYRUN")
        assert lines == [b"needs a restart: backends.local"], "still"
        reload(gate, local() + rules(default="local", A_T="local"))
        assert client.cmd("GATE", "RELOAD", "DRYRUN") == []


def store_files(pid: int) -> set[tuple[int, str]]:
    """Open descriptors of a store's files."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile: it was none of them
            target = os.readlink(entry)
            if target.endswith(".mdb"):
                found.add((int(entry.name), target))
    return found


def test_another_folder_is_a_move_and_then_another_store(gates: Gates) -> None:
    gate = gates(local() + rules(default="local"))
    with gate.client() as client:
        client.cmd("SET", "k", "v")
        gate.write_config(local("$DIR/./data") + rules(default="local"))
        assert client.cmd("GATE", "RELOAD") == b"OK"  # the same folder
        there = local("$DIR/there") + rules(default="local")
        gate.write_config(there)
        assert "default: backend local -> backend local in another place" in refused(client, "GATE", "RELOAD")
        gate.write_config('accept_moves = ["default"]\n' + whole(there))
        assert client.cmd("GATE", "RELOAD") == b"OK"
        assert client.cmd("GET", "k") is None
        client.cmd("SET", "k", "there")
        wait_for(lambda: len({name for _, name in store_files(gate.pid)}) == 2, "the old store to be closed")
        gate.write_config('accept_moves = ["default"]\n' + whole(local() + rules(default="local")))
        assert client.cmd("GATE", "RELOAD") == b"OK"
        assert client.cmd("GET", "k") == b"v"
        gate.write_config(whole(local().replace("local]", "again]") + rules(default="again")))
        assert "needs a restart" in refused(client, "GATE", "RELOAD")
        (gate.directory / "file").write_text("no folder", "utf-8")
        gate.write_config('accept_moves = ["default"]\n' + whole(local("$DIR/file") + rules(default="local")))
        assert "backends.local: path: cannot open the store in" in refused(client, "GATE", "RELOAD")
        assert client.cmd("GET", "k") == b"v"
