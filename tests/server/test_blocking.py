"""Blocking commands, CLIENT UNBLOCK, WAIT with a real replica, WATCH between clients, limits of connections of one's own."""

from collections.abc import Iterator

import pytest

from tests.server.settings import ALL_IN_A, Setting, keys_on, redis, serving, sharded, stores
from tests.support.relay import Relay
from tests.support.resp import Arg, frame
from tests.support.servers import NO_REDIS, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(2) as (one, two), serving(sharded("a", one, two) + ALL_IN_A, one, two) as setting:
        yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    setting.flush()


def blocked(setting: Setting) -> int:
    return sum(int(line.split(b":")[1]) for store in setting.stores for line in info(store) if b"blocked_clients:" in line)


def info(store: RedisServer) -> list[bytes]:
    found: bytes = store.cmd("INFO", "clients")
    return found.splitlines()


def until_blocked(setting: Setting, count: int = 1) -> None:
    wait_for(lambda: blocked(setting) == count, f"{count} blocked clients")


TAKEN = b"*2\r\n$4\r\n{t}l\r\n$1\r\nx\r\n"
LOWEST = b"*3\r\n$4\r\n{t}z\r\n$1\r\nx\r\n"
ENTRY = b"$4\r\n{t}x\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
PUSHED: dict[str, tuple[str, bytes, bytes]] = {
    "BLPOP {t}l 0": ("RPUSH {t}l x", TAKEN, TAKEN),
    "BRPOPLPUSH {t}l {t}m 0": ("RPUSH {t}l x", b"$1\r\nx\r\n", b"$1\r\nx\r\n"),
    "BLMOVE {t}l {t}m LEFT LEFT 0": ("RPUSH {t}l x", b"$1\r\nx\r\n", b"$1\r\nx\r\n"),
    "BLMPOP 0 1 {t}l LEFT": ("RPUSH {t}l x", TAKEN.replace(b"$1", b"*1\r\n$1"), TAKEN.replace(b"$1", b"*1\r\n$1")),
    "BZPOPMIN {t}z 0": ("ZADD {t}z 1 x", LOWEST + b"$1\r\n1\r\n", LOWEST + b",1\r\n"),
    "XREAD BLOCK 0 STREAMS {t}x $": ("XADD {t}x 1-1 f v", b"*1\r\n*2\r\n" + ENTRY, b"%1\r\n" + ENTRY),
}


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("words", PUSHED)
def test_woken_by_another_client(setting: Setting, words: str, proto: int) -> None:
    push, in_resp2, in_resp3 = PUSHED[words]
    with setting.gate.client(proto=proto) as waiting, setting.gate.client() as pushing:
        waiting.send(*words.split())
        until_blocked(setting)
        pushing.cmd(*push.split())
        assert waiting.read_one() == (in_resp2 if proto == 2 else in_resp3)


def test_a_group_waits(setting: Setting) -> None:
    with setting.gate.client(proto=3) as waiting, setting.gate.client() as pushing:
        pushing.cmd("XGROUP", "CREATE", "x", "g", "$", "MKSTREAM")
        waiting.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "x", ">")
        until_blocked(setting)
        pushing.cmd("XADD", "x", "1-1", "f", "v")
        assert waiting.read() == {b"x": [[b"1-1", [b"f", b"v"]]]}


def test_order_around_a_blocking_command(setting: Setting) -> None:
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with setting.gate.client() as client, setting.gate.client() as other:
        said: list[tuple[Arg, ...]] = [("SET", a, "before"), ("SET", b, "before")]
        said += [("BLPOP", "q", 0), ("GET", a), ("GET", b)]
        client.send_raw(b"".join(frame(*words) for words in said))
        until_blocked(setting)
        assert client.read_raw(2) == b"+OK\r\n+OK\r\n"
        assert other.cmd("GET", a) == b"before"
        other.cmd("SET", a, "meanwhile")
        other.cmd("SET", b, "meanwhile")
        other.cmd("RPUSH", "q", "x")
        assert [client.read() for _ in range(3)] == [[b"q", b"x"], b"meanwhile", b"meanwhile"]


@pytest.mark.parametrize(
    "words",
    [
        "BLPOP q 0",
        "BLMOVE {t}q {t}r LEFT LEFT 0",
        "BRPOPLPUSH {t}q {t}r 0",
        "BZMPOP 0 1 q MIN",
        "XREAD BLOCK 0 STREAMS q $",
    ],
)
@pytest.mark.parametrize("proto", [2, 3])
def test_unblocked(setting: Setting, words: str, proto: int) -> None:
    """As a real server answers; the store's own client is gone, and a second CLIENT UNBLOCK finds nothing to do."""
    with setting.stores[0].client(proto=proto) as plain, setting.stores[0].client() as control:
        ident = plain.cmd("CLIENT", "ID")
        plain.send(*words.split())
        until_blocked(setting)
        control.cmd("CLIENT", "UNBLOCK", ident)
        nothing = plain.read_one()
    assert nothing == (b"*-1\r\n" if proto == 2 else b"_\r\n")
    wait_for(lambda: blocked(setting) == 0, "nobody to be blocked")
    with setting.gate.client(proto=proto) as waiting, setting.gate.client() as control:
        ident = waiting.cmd("CLIENT", "ID")
        assert control.cmd("CLIENT", "UNBLOCK", ident) == 0
        waiting.send(*words.split())
        until_blocked(setting)
        assert control.pipeline([("CLIENT", "UNBLOCK", ident), ("CLIENT", "UNBLOCK", ident)]) == [1, 0]
        assert waiting.read_one() == nothing
        wait_for(lambda: blocked(setting) == 0, "the store's client to be unblocked")
        control.cmd("RPUSH", "q", "kept")
        assert control.cmd("LLEN", "q") == 1
        assert waiting.cmd("PING") == b"PONG"


def test_unblocked_with_an_error(setting: Setting) -> None:
    with setting.gate.client() as waiting, setting.gate.client() as control:
        ident = waiting.cmd("CLIENT", "ID")
        waiting.send("BLPOP", "q", 0)
        until_blocked(setting)
        assert control.cmd("CLIENT", "UNBLOCK", ident, "ERROR") == 1
        assert waiting.read_one() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
        assert waiting.cmd("PING") == b"PONG"


@pytest.mark.parametrize("end", ["close", "reset", "half_close", "kill"])
def test_who_leaves_is_given_nothing(setting: Setting, end: str) -> None:
    with setting.gate.client() as control:
        waiting = setting.gate.client()
        ident = waiting.cmd("CLIENT", "ID")
        waiting.send("BLPOP", "q", 0)
        until_blocked(setting)
        if end == "kill":
            control.cmd("CLIENT", "KILL", "ID", ident)
        else:
            getattr(waiting, end)()
        wait_for(lambda: blocked(setting) == 0, "nobody to be blocked")
        control.cmd("RPUSH", "q", "kept")
        assert control.cmd("LLEN", "q") == 1
        waiting.close()


def test_a_store_that_dies_leaves_it_in_doubt() -> None:
    with stores(1) as (one,), serving(redis("a", one) + ALL_IN_A, one) as setting, setting.gate.client() as client:
        client.send("BLPOP", "q", 0)
        until_blocked(setting)
        one.kill()
        assert client.read_one().startswith(b"-INDOUBT")
        one.start()
        wait_for(lambda: client.ask("SET", "k", "v") == b"OK", "the store to be back")


def test_their_connections_are_limited_and_used_again() -> None:
    with stores(1) as (one,), serving(redis("a", one, "own_connections = 3") + ALL_IN_A, one) as setting:
        gate = setting.gate
        clients = [gate.client() for _ in range(3)]
        for client in clients:
            client.send("BLPOP", "q", 0)
        until_blocked(setting, 3)
        with gate.client() as late:
            raw = late.raw_reply("BLPOP", "q", 0)
            assert raw.startswith(b"-TRYAGAIN not executed, may be sent again: all 3 connections")
            assert late.raw_reply("WATCH", "q").startswith(b"-TRYAGAIN")
            assert late.cmd("RPUSH", "q", "1", "2", "3") == 3
            assert sorted(client.read()[1] for client in clients) == [b"1", b"2", b"3"]
            for _ in range(20):
                assert late.ask("BLPOP", "q", 0.001) is None
                assert late.pipeline([("WATCH", "q"), ("MULTI",), ("PING",), ("EXEC",)])[-1] == [b"PONG"]
        for client in clients:
            client.close()
        connections = len(one.cmd("CLIENT", "LIST").splitlines())
        assert connections <= 3 + 4 + 2  # of one's own, shared, the health check and this one


def test_wait_counts_real_replicas() -> None:
    with stores(1) as (one,), RedisServer(config=["--replicaof", f"{one.host} {one.port}"]) as replica:
        wait_for(lambda: b"master_link_status:up" in replica.cmd("INFO", "replication"), "the replica to follow")
        with serving(redis("a", one) + ALL_IN_A, one) as setting, setting.gate.client() as client:
            client.cmd("SET", "k", "v")
            assert client.cmd("WAIT", 1, 0) == 1
            assert replica.cmd("GET", "k") == b"v"
            replica.pause()
            try:
                client.cmd("SET", "k", "w")
                assert client.cmd("WAIT", 1, 50) == 0
                with setting.gate.client() as other:
                    ident = client.cmd("CLIENT", "ID")
                    client.send("WAIT", 1, 0)
                    until_blocked(setting)
                    assert other.cmd("CLIENT", "UNBLOCK", ident) == 1
                    assert client.read() == 0
            finally:
                replica.resume()
            assert client.pipeline([("SET", "k", "x"), ("WAIT", 1, 0), ("GET", "k")]) == [b"OK", 1, b"x"]
            assert client.raw_reply("WAIT", "x", 0) == b"-ERR value is not an integer or out of range\r\n"
            assert client.raw_reply("WAIT", 0, -1) == b"-ERR timeout is negative\r\n"


# WATCH between clients.


def test_a_watched_key_that_another_changes(setting: Setting) -> None:
    with setting.gate.client() as watching, setting.gate.client() as other:
        watching.cmd("WATCH", "k")
        other.cmd("SET", "k", "theirs")
        assert watching.pipeline([("MULTI",), ("SET", "k", "mine"), ("EXEC",)])[-1] is None
        assert other.cmd("GET", "k") == b"theirs"
        watching.cmd("WATCH", "k")
        assert watching.pipeline([("GET", "k"), ("MULTI",), ("SET", "k", "mine"), ("EXEC",)])[-1] == [b"OK"]


def test_watching_on_one_shard_and_working_on_others(setting: Setting) -> None:
    (a, c), (b,) = keys_on(0, 2, 2), keys_on(1, 2, 1)
    with setting.gate.client() as client, setting.gate.client() as other:
        client.cmd("WATCH", a)
        assert client.raw_reply("WATCH", b).startswith(b"-CROSSSLOT")
        assert client.cmd("SET", b, "1") == b"OK"
        assert client.cmd("MSET", b, "2", c, "2") == b"OK"
        assert client.cmd("MGET", a, b, c) == [None, b"2", b"2"]
        other.cmd("RPUSH", "{" + b + "}q", "x")
        assert client.cmd("BLPOP", "{" + b + "}q", 1)[1] == b"x"
        client.cmd("MULTI")
        assert client.raw_reply("SET", b, "3").startswith(b"-CROSSSLOT")
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")
        client.cmd("WATCH", a)
        other.cmd("SET", a, "theirs")
        assert client.pipeline([("MULTI",), ("SET", c, "3"), ("EXEC",)])[-1] is None


def test_a_watched_store_that_dies() -> None:
    with stores(1) as (one,), serving(redis("a", one) + ALL_IN_A, one) as setting, setting.gate.client() as client:
        client.cmd("WATCH", "k")
        one.kill()
        one.start()
        assert client.raw_reply("GET", "k").startswith(b"-TRYAGAIN")
        assert client.pipeline([("MULTI",), ("SET", "k", "v"), ("EXEC",)]) == [b"OK", b"QUEUED", None]
        wait_for(lambda: client.ask("GET", "k") is None, "the store to be back")


def test_nothing_is_lost_when_it_is_unblocked_too_late() -> None:
    """The store has given the element, its reply is on the way, and CLIENT UNBLOCK comes: the element is the reply."""
    with stores(1) as (one,), Relay((one.host, one.port)) as relay:
        config = f'[backends.a]\ntype = "redis"\nurl = "{relay.url}"\n' + ALL_IN_A
        with serving(config, one) as setting, setting.gate.client() as waiting, setting.gate.client() as control:
            ident = waiting.cmd("CLIENT", "ID")
            for how in ("TIMEOUT", "ERROR"):
                waiting.send("BLPOP", "q", 0)
                until_blocked(setting)
                relay.stall("down")
                one.cmd("RPUSH", "q", "precious")
                assert control.cmd("CLIENT", "UNBLOCK", ident, how) == 1
                relay.flow()
                assert waiting.read() == [b"q", b"precious"]
            assert waiting.cmd("GET", "k") is None
