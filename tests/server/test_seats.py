"""``max_connections`` of users and namespaces, in one process and over workers; what else users are held to."""

import contextlib
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest

from tests.server import reloads
from tests.server.reloads import rules
from tests.server.settings import Setting, redis, serving, stores, user
from tests.support.resp import Resp, frame
from tests.support.servers import NO_REDIS, Gates, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

NAMESPACES = """
[namespaces."Ads.Few"]
backend = "a"
max_connections = 2
[namespaces."Ads.*"]
backend = "a"
[namespaces."Ads.Home"]
backend = "a"
ttl_default = "60s"
key_pattern = 'Ads\\.Home:[a-z]+'
"""
USERS = (
    user("few", "Ads.*", more="max_connections = 3")
    + user("deep", "Ads.*", more="max_pipeline = 4")
    + user("short", "Ads.*", more="max_reply = 1024")
    + user("any", "Ads.*")
    + user("home", "Ads.Home", more='max_reply = 1024\ndatabases = { 0 = "Ads.Home" }')
)
FULL = "max number of clients reached: 3 of user 'few' (max_connections)"
NO_SEAT = b"-ERR max number of clients reached: 2 of namespace 'Ads.Few' (max_connections)\r\n"


@pytest.fixture(scope="module", params=["", "workers = 2\n"], ids=["one process", "two workers"])
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    with (
        stores(1) as (store,),
        serving(redis("a", store) + NAMESPACES + USERS, store, gate=str(request.param)) as setting,
    ):
        yield setting


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


def refused(setting: Setting, name: str) -> str:
    """What AUTH is answered; empty when it is taken. The connection is closed."""
    try:
        login(setting, name).close()
    except hiredis.ReplyError as error:
        return str(error)
    return ""


def full(setting: Setting) -> bool:
    """Whether every worker knows that the user has all its connections: connections are spread over them in turns."""
    return all(FULL in refused(setting, "few") for _ in range(4))


def used_up(setting: Setting) -> bool:
    """Likewise, of the namespace."""
    for _ in range(4):
        with login(setting, "any") as client:
            if client.raw_reply("GET", "Ads.Few:a") != NO_SEAT:
                return False
    return True


def test_a_user_has_so_many_connections(setting: Setting) -> None:
    with contextlib.ExitStack() as stack:
        clients: list[Any] = []
        for number in range(3):
            wait_for(lambda: _joins(setting, stack, clients), f"connection {number}")
        wait_for(lambda: full(setting), "the fourth is refused")
        with setting.gate.client() as other:
            for words in (("AUTH", "few", "few-secret"), ("HELLO", "3", "AUTH", "few", "few-secret")):
                assert FULL.encode() in other.raw_reply(*words)
            assert other.raw_reply("GET", "Ads.X:a") == b"-NOAUTH Authentication required.\r\n"
            assert other.cmd("AUTH", "any", "any-secret") == b"OK"
            assert FULL.encode() in other.raw_reply("AUTH", "few", "few-secret")
            assert other.cmd("ACL", "WHOAMI") == b"any", "it stays who it was"
        assert clients[0].cmd("AUTH", "few", "few-secret") == b"OK", "who has a place may say so again"
        assert clients[0].cmd("AUTH", "any", "any-secret") == b"OK"
        wait_for(lambda: _joins(setting, stack, clients), "the place of who is another user now")
        wait_for(lambda: full(setting), "it is taken")
        clients[1].cmd("RESET")
        wait_for(lambda: _joins(setting, stack, clients), "the place of who is nobody now")
        wait_for(lambda: full(setting), "it is taken")
        clients[2].close()
        wait_for(lambda: _joins(setting, stack, clients), "the place of who left")
    wait_for(lambda: refused(setting, "few") == "", "all have left")


def _joins(setting: Setting, stack: contextlib.ExitStack, clients: list[Resp]) -> bool:
    try:
        clients.append(stack.enter_context(login(setting, "few")))
    except hiredis.ReplyError:
        return False
    return True


def test_a_namespace_has_so_many_clients_that_used_it(setting: Setting) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(login(setting, "any", proto)) for proto in (2, 3, 2, 3)]
        for each in clients:
            assert each.cmd("SET", "Ads.Free:a", "1") == b"OK"
        for each in clients[:2]:
            wait_for(lambda each=each: each.raw_reply("SET", "Ads.Few:a", "1") == b"+OK\r\n", "a place")  # type: ignore[misc]
            assert each.cmd("SET", "Ads.Few:a", "1") == b"OK"
        wait_for(lambda: used_up(setting), "none is left")
        for each in clients[2:]:
            assert each.raw_reply("GET", "Ads.Few:a") == NO_SEAT
            assert each.raw_reply("MGET", "Ads.Free:a", "Ads.Few:a") == NO_SEAT
            each.cmd("MULTI")
            assert each.raw_reply("GET", "Ads.Few:a") == NO_SEAT
            assert each.raw_reply("EXEC")[:10] == b"-EXECABORT"
            assert each.cmd("GET", "Ads.Free:a") == b"1", "other namespaces are served"
        assert clients[0].cmd("GET", "Ads.Few:a") == b"1"
        clients[0].close()
        wait_for(lambda: clients[2].raw_reply("GET", "Ads.Few:a") == b"$1\r\n1\r\n", "the place of who left")
        wait_for(lambda: used_up(setting), "none is left")
        assert clients[3].raw_reply("GET", "Ads.Few:a") == NO_SEAT


def test_a_pipeline_of_a_user_with_a_depth_is_served_in_order(setting: Setting) -> None:
    with login(setting, "deep") as client, login(setting, "any") as other:
        lines = [line for at in range(500) for line in (("SET", f"Ads.X:{at % 7}", str(at)), ("GET", f"Ads.X:{at % 7}"))]
        for each in (client, other, client):
            each.send_raw(b"".join(frame(*line) for line in lines))
            replies = [each.read() for _ in lines]
            assert replies == [part for at in range(500) for part in (b"OK", str(at).encode())]


def test_a_reply_over_a_users_limit(setting: Setting) -> None:
    with login(setting, "any") as other, login(setting, "short") as client:
        other.cmd("SET", "Ads.X:big", "v" * 2000)
        other.cmd("HSET", "Ads.X:h", *(word for at in range(100) for word in (f"field{at}", "v" * 20)))
        expected = b"-ERR reply of more than 1024 bytes is over the limit of user 'short' (max_reply);"
        expected += b" the command was executed\r\n"
        for _ in range(3):
            for words in (("GET", "Ads.X:big"), ("HGETALL", "Ads.X:h"), ("GETRANGE", "Ads.X:big", "0", "-1")):
                assert client.raw_reply(*words) == expected
                assert len(other.raw_reply(*words)) > 2000
            assert client.cmd("STRLEN", "Ads.X:big") == 2000
            assert client.cmd("GETRANGE", "Ads.X:big", "0", "9") == b"v" * 10
        other.cmd("MSET", *(word for at in range(200) for word in (f"Ads.X:key{at}", "v")))
        assert client.raw_reply("KEYS", "*") == expected
        assert client.raw_reply("BLPOP", "Ads.X:none", "0.01") == b"*-1\r\n"



@pytest.mark.parametrize("proto", [2, 3])
def test_a_user_at_home_in_a_namespace_with_limits(setting: Setting, proto: int) -> None:
    """It writes keys without their prefix, and is held to what holds for whole ones."""
    setting.flush()
    with login(setting, "home", proto) as client:
        for number in range(1, 4):
            assert client.cmd("SET", "text", str(number)) == b"OK"
            assert client.cmd("GET", "text") == str(number).encode()
            assert client.cmd("INCR", "count") == number
            assert client.cmd("RPUSH", "list", "a", "b") == 2
            for key in ("text", "count", "list"):
                assert 0 < client.cmd("PTTL", key) <= 60_000
            assert client.cmd("LMPOP", "2", "none", "list", "LEFT", "COUNT", "5") == [b"list", [b"a", b"b"]]
            assert client.cmd("BLPOP", "list", "0.01") is None
            assert b"does not match the pattern" in client.raw_reply("GET", "text1")
            client.cmd("MULTI")
            client.cmd("RPUSH", "list", "c")
            client.cmd("LMPOP", "1", "list", "LEFT")
            assert client.cmd("EXEC") == [1, [b"list", [b"c"]]]
        client.cmd("APPEND", "big", "v" * 2000)
        assert b"(max_reply)" in client.raw_reply("GET", "big")
    assert setting.stores[0].cmd("PTTL", "Ads.Home:text") > 0


def test_a_reload_brings_limits_to_clients_and_routes_that_are_known(gates: Gates, redis_server: RedisServer) -> None:
    base, spaces = reloads.redis("a", redis_server.url), rules(A_T="a")
    gate = gates(base + spaces + reloads.user("admin") + reloads.user("app"))
    login: Any = {"user": "app", "password": "secret"}
    with (
        gate.client(user="admin", password="secret") as admin,
        gate.client(**login) as first,
        gate.client(**login) as second,
    ):
        for number in range(3):
            assert first.cmd("SET", f"A.T:{number}", "1") == b"OK"
        limited = '[namespaces."A.T"]\nbackend = "a"\nttl_max = "60s"\nforbidden = ["getdel"]\n'
        gate.write_config(base + limited + reloads.user("admin") + reloads.user("app", max_connections="2"))
        assert admin.cmd("GATE", "RELOAD") == b"OK"
        for number in range(3):
            assert first.cmd("SET", f"A.T:{number}", "1") == b"OK"
            assert 0 < first.cmd("TTL", f"A.T:{number}") <= 60
        assert "is forbidden in namespace 'A.T'" in reloads.refused(second, "GETDEL", "A.T:1")
        with pytest.raises(hiredis.ReplyError, match="max number of clients reached: 2 of user 'app'"):
            gate.client(**login)
        gate.write_config(base + spaces + reloads.user("admin") + reloads.user("app"))
        assert admin.cmd("GATE", "RELOAD") == b"OK"
        assert first.cmd("SET", "A.T:1", "1") == b"OK"
        assert first.cmd("TTL", "A.T:1") == -1
        gate.client(**login).close()
