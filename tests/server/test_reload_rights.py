"""Rights that a reload takes away, from clients in the middle of something: subscribed, monitoring, waiting, in a MULTI."""

import pytest

from tests.server.processes import one_on_each
from tests.server.reloads import redis, refused, refused_later, reload, rules, user
from tests.support.resp import Resp
from tests.support.servers import Gate, Gates, RedisServer, wait_for

NO_KEY = "NOPERM this user has no permissions to access one of the keys used as arguments"
ADMIN = {"user": "admin", "password": "secret"}


def base(server: RedisServer, *, embedded: bool = False) -> str:
    """Three namespaces on one store, or one of them on the embedded one, and who reloads."""
    local = '[backends.e]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n' if embedded else ""
    return redis("a", server.url) + local + rules(A_T="e" if embedded else "a", B_T="a", default="a") + user("admin")


def app(*, namespaces: str = '["A.T", "B.T"]', read_only: str = "[]", **more: str) -> str:
    return user("app", namespaces=namespaces, read_only=read_only, **more)


def login(gate: Gate, name: str = "app") -> Resp:
    """A client of the user."""
    return gate.client(user=name, password="secret")


def many(gate: Gate, workers: int) -> list[Resp]:
    """A client of the user on each worker."""
    return [*one_on_each(gate, workers, user="app", password="secret").values()]


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (2, ("SUBSCRIBE", "A.T:c")),
        (1, ("SSUBSCRIBE", "A.T:c")),
        (1, ("PSUBSCRIBE", "A.T:*")),
        (1, ("SUBSCRIBE", "__keyspace@0__:A.T:k")),
    ],
)
def test_a_subscription_to_what_is_not_granted_any_more_ends(
    gates: Gates, redis_server: RedisServer, workers: int, words: tuple[str, ...]
) -> None:
    start = base(redis_server)
    gate = gates(start + app(), gate=f"workers = {workers}\n")
    gone, stays = many(gate, workers), many(gate, workers)
    for client in gone:
        client.cmd(*words)
    for client in stays:
        client.cmd("SUBSCRIBE", "B.T:c")
        client.cmd("PSUBSCRIBE", "*")
    reload(gate, start + app(namespaces='["B.T"]'), **ADMIN)
    for client in gone:
        assert client.read_all() == b""
        client.close()
    with login(gate, "admin") as admin:
        admin.cmd("PUBLISH", "A.T:c", "secret")
        admin.cmd("PUBLISH", "B.T:c", "hello")
    for client in stays:
        assert sorted([client.read(), client.read()]) == [
            [b"message", b"B.T:c", b"hello"],
            [b"pmessage", b"*", b"B.T:c", b"hello"],
        ]
        client.close()


def test_a_monitor_ends_with_its_right(gates: Gates, redis_server: RedisServer) -> None:
    start = base(redis_server)
    gate = gates(start + app(namespaces='["*"]'))
    with login(gate) as client, login(gate) as other:
        assert client.cmd("MONITOR") == b"OK"
        reload(gate, start + app(commands='["+@all", "-monitor"]'), **ADMIN)
        assert b"GET" not in client.read_all()
        assert other.cmd("PING") == b"PONG"


def test_a_monitor_shows_what_is_granted_now(gates: Gates, redis_server: RedisServer) -> None:
    start = base(redis_server)
    gate = gates(start + app(namespaces='["*"]'))
    with login(gate) as client, login(gate, "admin") as admin:
        assert client.cmd("MONITOR") == b"OK"
        reload(gate, start + app(namespaces='["B.T"]', read_only='["default"]'), **ADMIN)
        admin.cmd("SET", "A.T:x", "hidden")
        admin.cmd("SET", "elsewhere", "read")
        admin.cmd("SET", "B.T:x", "own")
        shown = b""
        while b"own" not in shown:
            shown += client.read_one()
        assert b'"SET" "elsewhere" "read"' in shown
        assert b"hidden" not in shown


@pytest.mark.parametrize(("workers", "embedded"), [(2, False), (1, True)])
def test_read_only_holds_for_the_next_command_on_the_lane_too(
    gates: Gates, redis_server: RedisServer, workers: int, *, embedded: bool
) -> None:
    start = base(redis_server, embedded=embedded)
    gate = gates(start + app(), gate=f"workers = {workers}\n")
    clients = many(gate, workers)

    def use(client: Resp) -> None:
        client.pipeline([("SET", "A.T:x", "1"), ("SET", "B.T:x", "1"), ("GET", "A.T:x"), ("INCR", "A.T:n")] * 20)

    for client in clients:
        use(client)
    reload(gate, start + app(read_only='["A.T"]'), **ADMIN)
    for client in clients:
        raws = [client.raw_reply("SET", key, "2")[:7] for key in ("A.T:x", "B.T:x", "A.T:x")]
        assert raws == [b"-NOPERM", b"+OK\r\n", b"-NOPERM"]
        client.pipeline([("GET", "A.T:x"), ("SET", "B.T:x", "2")] * 20)  # learned anew
        for words in (("SET", "A.T:x", "2"), ("INCR", "A.T:n"), ("DEL", "A.T:x"), ("MSET", "A.T:x", "2", "B.T:x", "2")):
            assert refused(client, *words) == NO_KEY
        assert client.cmd("GET", "A.T:x") == b"1"
    reload(gate, start + app(), **ADMIN)
    for client in clients:
        use(client)
        client.close()


@pytest.mark.parametrize("embedded", [False, True])
def test_a_transaction_that_was_opened_before(gates: Gates, redis_server: RedisServer, *, embedded: bool) -> None:
    start = base(redis_server, embedded=embedded)
    gate = gates(start + app())
    with (
        login(gate) as writes,
        login(gate) as reads,
        login(gate) as watches,
        login(gate) as late,
    ):
        for client in (writes, reads, watches, late):
            if client is watches:
                assert client.cmd("WATCH", "A.T:x") == b"OK"
            assert client.cmd("MULTI") == b"OK"
            if client is not late:
                assert client.cmd(*(["GET", "A.T:x"] if client is reads else ["SET", "A.T:x", "1"])) == b"QUEUED"
        reload(gate, start + app(read_only='["A.T"]'), **ADMIN)
        assert refused(writes, "EXEC").startswith("EXECABORT")
        assert reads.cmd("EXEC") == [None]
        assert refused(watches, "EXEC").startswith("EXECABORT")
        assert refused(late, "SET", "A.T:x", "1") == NO_KEY
        assert refused(late, "EXEC").startswith("EXECABORT")
        assert writes.cmd("GET", "A.T:x") is None


@pytest.mark.parametrize("workers", [2])
def test_who_waits_for_what_is_taken_away_is_told(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    """Also of a key that is not the first one; and nothing is popped for them afterwards."""
    start = base(redis_server)
    gate = gates(start + app(), gate=f"workers = {workers}\n")
    waits = [("BLPOP", "A.T:l", "0"), ("BLPOP", "B.T:l", "A.T:l", "0"), ("XREAD", "BLOCK", "0", "STREAMS", "A.T:s", "$")]
    waits += [("BLMOVE", "B.T:l", "A.T:l", "LEFT", "LEFT", "0")]
    clients = [client for _ in waits for client in many(gate, workers)]
    stays = login(gate)
    for client, words in zip(clients, waits * workers, strict=True):
        client.send(*words)
    stays.send("BLPOP", "B.T:l", "0")
    with login(gate, "admin") as admin:
        wait_for(lambda: b"blocked_clients:%d" % (len(clients) + 1) in admin.cmd("INFO", "clients"), "all to wait")
        reload(gate, start + app(namespaces='["B.T"]'), **ADMIN)
        for client in clients:
            assert refused_later(client) == NO_KEY
            assert client.cmd("SET", "B.T:x", "1") == b"OK"
            client.close()
        assert admin.cmd("RPUSH", "A.T:l", "x") == 1
        assert admin.cmd("LLEN", "A.T:l") == 1
        assert admin.cmd("RPUSH", "B.T:l", "y") == 1
        assert stays.read() == [b"B.T:l", b"y"]
        stays.close()


def test_a_pop_that_waits_is_a_write_and_a_read_goes_on(gates: Gates, redis_server: RedisServer) -> None:
    start = base(redis_server)
    gate = gates(start + app())
    with login(gate) as pops, login(gate) as reads, login(gate, "admin") as admin:
        pops.send("BLPOP", "A.T:l", "0")
        reads.send("XREAD", "BLOCK", "0", "STREAMS", "A.T:s", "$")
        wait_for(lambda: b"blocked_clients:2" in admin.cmd("INFO", "clients"), "both to wait")
        reload(gate, start + app(read_only='["A.T"]'), **ADMIN)
        assert refused_later(pops) == NO_KEY
        admin.cmd("XADD", "A.T:s", "1-1", "f", "v")
        assert reads.read() == [[b"A.T:s", [[b"1-1", [b"f", b"v"]]]]]
