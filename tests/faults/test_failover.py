"""Stores that change: a master becomes a replica, data is still being read, passwords rotate, another server takes over."""

import threading
from pathlib import Path

import hiredis
import pytest

from tests.faults.load import load
from tests.faults.world import BUDGET, ONE_LINE, SLACK, connections, is_try_again, over, timed, warm
from tests.support.relay import Relay
from tests.support.resp import frame
from tests.support.servers import Gate, Gates, RedisServer, RedisServers, wait_for

Pair = tuple[RedisServer, RedisServer]
QUICK = ["--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0"]
"""A replica's first copy begins at once, and a server that ends does not wait for its replicas."""


@pytest.fixture
def pair(redis_servers: RedisServers) -> Pair:
    """Two servers that may follow one another."""
    return redis_servers(config=QUICK), redis_servers(config=QUICK)


def follow(replica: RedisServer, master: RedisServer) -> None:
    """Make one a replica of the other, and wait until it has all of its data."""
    replica.cmd("REPLICAOF", master.host, master.port)
    wait_for(lambda: b"master_link_status:up" in replica.cmd("INFO", "replication"), "the replica to be in step")


def move(relay: Relay, old: RedisServer, new: RedisServer) -> None:
    """A failover with nothing lost: the old master takes no writes any more, the new one has all, the address moves."""
    old.cmd("REPLICAOF", new.host, new.port)  # from here on it answers READONLY
    new.cmd("REPLICAOF", "NO", "ONE")
    relay.target = new.address


def test_a_failover_under_load(pair: Pair, gates: Gates) -> None:
    one, two = pair
    follow(two, one)
    with Relay(one.address) as relay:
        gate = gates(over(a=relay.url))
        with load(gate, "A.T", 8) as there:
            there.flows()
            one.cmd("CLIENT", "PAUSE", 1000, "WRITE")  # as Sentinel's and Redis' own FAILOVER do: the replica catches up
            wait_for(lambda: _offsets(one, "master_repl_offset") == _offsets(two, "slave_repl_offset"), "the replica's last")
            move(relay, one, two)
            one.cmd("CLIENT", "UNPAUSE")
            there.flows()
        there.check(two)
        assert there.slowest < BUDGET + SLACK


def _offsets(server: RedisServer, field: str) -> int:
    text: str = server.cmd("INFO", "replication").decode()
    return int(text.split(f"{field}:")[1].split(maxsplit=1)[0])


def test_a_write_to_a_replica_is_tried_again_within_its_budget(pair: Pair, gates: Gates) -> None:
    """The client notices nothing where the failover is quicker than the budget; else it is told that it may send again."""
    one, two = pair
    with Relay(one.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as client, gate.client() as other:
            warm(client, "A.T:k")
            one.cmd("REPLICAOF", "127.0.0.1", two.port)
            accepted = relay.accepted
            client.send("INCR", "A.T:n")
            other.send_raw(frame("INCR", "A.T:m") + frame("INCR", "A.T:m"))
            wait_for(lambda: relay.accepted > accepted + 1, "new connections to be made")
            relay.target = two.address
            assert client.read() == 1
            first, second = other.read(), other.read()
            assert is_try_again(first) or first == 1  # an order cannot be kept by repeating the first of two
            assert second == (1 if is_try_again(first) else 2)
            relay.target = one.address
            relay.break_all()
            warm(client, "A.T:k")
            reply, took = timed(lambda: client.ask("INCR", "A.T:n"))
            assert is_try_again(reply), reply
            assert took < BUDGET + SLACK
            assert client.ask("GET", "A.T:n") in (None, b"1")  # what it has as a replica


@pytest.mark.parametrize("command", [("BLPOP", "A.T:q", "0.1"), ("WATCH", "A.T:q")])
def test_connections_of_clients_leave_a_replica(pair: Pair, gates: Gates, command: "tuple[str, ...]") -> None:
    one, two = pair
    two.cmd("RPUSH", "A.T:q", "x", "y")
    with Relay(one.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as client:
            assert client.cmd("BLPOP", "A.T:q", "0.01") is None
            wait_for(lambda: connections(one, name="kvgate-own", cmd="ping"), "a clean connection to return")
            if command[0] == "WATCH":
                client.cmd(*command)
                client.cmd("MULTI")
                client.cmd("RPUSH", "A.T:q", "z")
            one.cmd("REPLICAOF", two.host, two.port)
            relay.target = two.address
            if command[0] == "WATCH":
                assert str(client.ask("EXEC")).startswith("EXECABORT")
            assert client.cmd("BLPOP", "A.T:q", "0.1") == [b"A.T:q", b"x"]


def test_a_block_on_a_replica_is_not_executed_and_the_next_one_finds_the_master(pair: Pair, gates: Gates) -> None:
    one, two = pair
    with Relay(one.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as client:
            warm(client, "A.T:n")
            one.cmd("REPLICAOF", two.host, two.port)
            relay.target = two.address
            block = [("MULTI",), ("INCR", "A.T:n"), ("EXEC",)]
            assert is_try_again(client.pipeline(block)[-1])
            assert client.pipeline(block)[-1] == [1]


def test_a_script_that_answers_like_a_replica_is_executed_once(redis_server: RedisServer, gates: Gates) -> None:
    """What a script says is not the store's word: it has counted already."""
    gate = gates(over(a=redis_server.url), gate=ONE_LINE)
    script = "redis.call('incr', KEYS[1]) return redis.error_reply('READONLY I say so')"
    with gate.client() as client:
        reply = client.ask("EVAL", script, 1, "A.T:n")
        assert isinstance(reply, hiredis.ReplyError)
        assert str(reply) == "READONLY I say so"
        assert redis_server.cmd("GET", "A.T:n") == b"1"


def test_a_store_that_reads_its_data_at_its_start_counts_as_down(redis_servers: RedisServers, gates: Gates) -> None:
    # It looks at its connections after every 1,024 commands that it has read.
    slow = ["--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble", "no"]
    store = redis_servers(config=[*slow, "--key-load-delay", "100"])
    with store.client() as direct:
        direct.pipeline([("SET", f"A.T:{number}", "v" * 100) for number in range(8000)])
    gate = gates(over(a=store.url), gate=f'{ONE_LINE}\nreconnect_longest = "100ms"')
    with gate.client() as client:
        warm(client, "A.T:k")
        store.kill()
        loading = threading.Thread(target=store.start)  # returns when it has read all
        loading.start()
        seen: set[str] = set()
        reply: object = None
        while reply != b"v" * 100:
            reply, took = timed(lambda: client.ask("GET", "A.T:7999"))
            assert took < BUDGET + SLACK
            if reply != b"v" * 100:
                assert is_try_again(reply), reply
                seen.add(str(reply))
        loading.join()
        assert any("loading" in text for text in seen), seen


def test_a_command_that_meets_a_loading_store_is_told_so(redis_server: RedisServer, gates: Gates) -> None:
    """An established connection meets it when the store reloads, or takes a master's data."""
    gate = gates(over(a=redis_server.url), gate=ONE_LINE)
    with gate.client() as client, redis_server.client() as direct:
        direct.pipeline([("SET", f"A.T:{number}", "v" * 100) for number in range(3000)])
        warm(client, "A.T:k")
        direct.cmd("CONFIG", "SET", "key-load-delay", 300)
        direct.cmd("CONFIG", "SET", "loading-process-events-interval-bytes", 1024)
        direct.send("DEBUG", "RELOAD")
        seen: object = None
        while not isinstance(seen, hiredis.ReplyError):
            seen = client.ask("GET", "A.T:1")
        assert str(seen) == "LOADING Redis is loading the dataset in memory"
        assert direct.read(30) == b"OK"
        assert client.cmd("GET", "A.T:1") == b"v" * 100


def refused(gate: Gate, *command: str) -> str:
    """The error text of a command, which must come within the budget on a connection that stays open."""
    with gate.client() as client:
        reply, took = timed(lambda: client.ask(*command))
        assert isinstance(reply, hiredis.ReplyError), reply
        assert took < BUDGET + SLACK
        assert client.cmd("PING") == b"PONG"
        return str(reply)


def test_a_wrong_password_is_the_gates_own_trouble(redis_servers: RedisServers, gates: Gates) -> None:
    store = redis_servers(password="right")
    gate = gates(over(a=store.url.replace("right", "wrong")))
    for command in (("GET", "A.T:k"), ("SET", "A.T:k", "v"), ("BLPOP", "A.T:q", "1"), ("WATCH", "A.T:k")):
        text = refused(gate, *command)
        assert text.startswith("ERR upstream refused the gate: WRONGPASS"), text
        assert "wrong" not in text.removeprefix("ERR upstream refused the gate: WRONGPASS invalid username-password pair")


def test_a_rotated_password_is_read_again_at_the_next_connection(
    redis_servers: RedisServers, gates: Gates, tmp_path: Path
) -> None:
    store = redis_servers(password="first")
    secret = tmp_path / "secret"
    secret.write_text("first\n", "utf-8")
    url = store.url.replace(":first@", "")
    gate = gates(f'[backends.a]\ntype = "redis"\nurl = "{url}"\npassword_file = "{secret}"\n[namespaces]\n"A.T" = "a"\n')
    with gate.client() as client:
        assert client.cmd("SET", "A.T:k", "v") == b"OK"
        with store.client() as direct:
            direct.cmd("CONFIG", "SET", "requirepass", "second")
            assert client.cmd("GET", "A.T:k") == b"v"  # what is connected stays so
            secret.write_text("second\n", "utf-8")
            direct.cmd("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_for(lambda: client.ask("GET", "A.T:k") == b"v", "the new password to be used")
        store.password = "second"


def test_rights_that_are_lost_are_the_gates_own_trouble(redis_server: RedisServer, gates: Gates) -> None:
    redis_server.cmd("ACL", "SETUSER", "gate", "on", ">secret", "~*", "&*", "+@all")
    gate = gates(over(a=redis_server.url.replace("redis://", "redis://gate:secret@")), gate=ONE_LINE)
    with gate.client() as client:
        assert client.cmd("SET", "A.T:k", "v") == b"OK"
        redis_server.cmd("ACL", "SETUSER", "gate", "-set", "-blpop")
        for command in (("SET", "A.T:k", "w"), ("BLPOP", "A.T:q", "1")):
            assert refused(gate, *command).startswith("ERR upstream refused the gate: NOPERM")
        assert client.cmd("GET", "A.T:k") == b"v"


def test_another_server_in_its_place(gates: Gates, tmp_path: Path) -> None:
    """What the address means is looked up again at each connection: here the path of a unix socket."""
    path = tmp_path / "redis.sock"
    with RedisServer(unix=True) as one, RedisServer(unix=True) as two:
        one.cmd("SET", "A.T:who", "one")
        two.cmd("SET", "A.T:who", "two")
        path.symlink_to(one.path)
        gate = gates(over(a=f"unix://{path}"))
        with gate.client() as client:
            assert client.cmd("GET", "A.T:who") == b"one"
            fresh = tmp_path / "fresh.sock"
            fresh.symlink_to(two.path)
            fresh.replace(path)
            assert client.cmd("GET", "A.T:who") == b"one"
            one.kill()
            wait_for(lambda: client.ask("GET", "A.T:who") == b"two", "the other server to be found")


def test_localhost_is_resolved_and_found_again(redis_server: RedisServer, gates: Gates) -> None:
    """It often has an IPv6 address, where nothing listens here."""
    gate = gates(over(a=redis_server.url.replace("127.0.0.1", "localhost")))
    with gate.client() as client:
        assert client.cmd("SET", "A.T:k", "v") == b"OK"
        redis_server.restart()
        warm(client, "A.T:k")
        assert client.cmd("SET", "A.T:k", "v") == b"OK"
