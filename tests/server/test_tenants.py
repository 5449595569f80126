"""Two applications on one store: what one of them tries to reach of the other is refused before anything is sent."""

import hashlib
from collections.abc import Iterator
from typing import Self

import pytest
import redis as redis_py

from kvgate.commands.keys import key_indices
from kvgate.commands.table import lookup
from kvgate.errors import GateError
from tests.server.conversations import EVERY, Line
from tests.server.settings import Setting, namespaces, redis, serving, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

NO_KEY = b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"
NO_CHANNEL = b"-NOPERM this user has no permissions to access one of the channels used as arguments\r\n"
FOREIGN = b"Bank.L:{t}x"
PATIENCE = 'wrong_password_first = "60s"\nwrong_password_longest = "60s"'
ALLOWED = "return redis.call('get', KEYS[1])"


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(2) as (shared, other):
        config = (
            redis("a", shared)
            + redis("b", other)
            + namespaces(Ads__="a", Bank_L="a", default="b")
            + user("ads", "Ads.*", more='commands = ["+@all"]')
            + user("bank", "Bank.*")
            + user("guessed", "Ads.*")
            + user("both", "Ads.*", "Bank.L", "default", more='commands = ["+@all"]')
            + user("boss", "*", more='commands = ["+@all"]')
        )
        allowed = hashlib.sha1(ALLOWED.encode(), usedforsecurity=False).hexdigest()
        with serving(config, shared, other, gate=f'allowed_scripts = ["{allowed}"]\n{PATIENCE}') as setting:
            yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    setting.flush()
    for store in setting.stores:
        store.cmd("FUNCTION", "FLUSH")
        store.cmd("SCRIPT", "FLUSH")


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


class Monitor:
    """What a store was sent while a block ran, without the gate's own PINGs."""

    def __init__(self, store: RedisServer) -> None:
        self.store = store

    def __enter__(self) -> Self:
        self.connection = self.store.client()
        self.connection.cmd("MONITOR")
        self.lines: list[bytes] = []
        return self

    def __exit__(self, *failure: object) -> None:
        self.store.cmd("ECHO", "end of watch")
        while b"end of watch" not in (line := self.connection.read_one()):
            if b'"PING"' not in line and b'"CLIENT"' not in line and b'"HELLO"' not in line:
                self.lines.append(line)
        self.connection.close()


def own_requests() -> Iterator[tuple[Line, tuple[int, ...]]]:
    for requests in EVERY.values():
        for request in requests:
            spec = lookup(request)
            try:
                found = () if spec is None else key_indices(spec, request)
            except (GateError, IndexError):
                continue
            if found and b"BLOCK" not in request and not request[0].startswith(b"B"):
                yield request, found


def test_no_command_reaches_a_neighbour(setting: Setting) -> None:
    """Each key of each request in turn is another application's; the request itself ran before, so that the lane knows it."""
    attempts = 0
    with login(setting, "ads") as ads, Monitor(setting.stores[0]) as seen:
        for request, found in own_requests():
            ads.ask(*request)
            ads.ask(*request)
            for index in found:
                hostile = [*request[:index], FOREIGN, *request[index + 1 :]]
                assert ads.raw_reply(*hostile) == NO_KEY, hostile
                attempts += 1
    assert attempts > 400
    assert not [line for line in seen.lines if b"Bank" in line]


@pytest.mark.parametrize("proto", [2, 3])
def test_blocking_commands_do_not_reach_a_neighbour(setting: Setting, proto: int) -> None:
    with login(setting, "ads", proto) as ads, Monitor(setting.stores[0]) as seen:
        for words in (
            "BLPOP Ads.P:{t}a Bank.L:{t}x 0",
            "BRPOP Bank.L:{t}x 0",
            "BLMOVE Ads.P:{t}a Bank.L:{t}x LEFT LEFT 0",
            "BLMOVE Bank.L:{t}x Ads.P:{t}a LEFT LEFT 0",
            "BRPOPLPUSH Ads.P:{t}a Bank.L:{t}x 0",
            "BLMPOP 0 2 Ads.P:{t}a Bank.L:{t}x LEFT",
            "BZMPOP 0 1 Bank.L:{t}x MIN",
            "BZPOPMIN Bank.L:{t}x 0",
            "XREAD BLOCK 0 STREAMS Ads.P:{t}a Bank.L:{t}x 0 0",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS Bank.L:{t}x >",
            "WATCH Ads.P:{t}a Bank.L:{t}x",
        ):
            assert ads.raw_reply(*words.split()) == NO_KEY, words
    assert not seen.lines


@pytest.mark.parametrize(
    "words",
    [
        "SORT Ads.P:l BY Bank.L:*",
        "SORT Ads.P:l BY Bank.L:*->f",
        "SORT Ads.P:l GET Bank.L:*",
        "SORT Ads.P:l GET # GET Bank.L:x_*",
        "SORT Ads.P:l GET *",
        "SORT Ads.P:l GET Bank*",
        "SORT Ads.P:l GET Bank.L*",
        r"SORT Ads.P:l GET Ads\.P:*",
        "SORT Ads.P:l GET [A]ds.P:*",
        "SORT_RO Ads.P:l BY Bank.L:*",
        "SORT Ads.P:l STORE Bank.L:x",
        "SORT Ads.P:l STORE Ads.P:x STORE Bank.L:x",
        "GEORADIUS Ads.P:g 1 1 1 km STORE Ads.P:x STORE Bank.L:x",
        "GEORADIUS Ads.P:g 1 1 1 km STOREDIST Bank.L:x STORE Ads.P:x",
        "EVAL return(1) 2 Ads.P:a Bank.L:x",
        "COPY Ads.P:a Bank.L:x",
        "COPY Bank.L:x Ads.P:a",
        "OBJECT ENCODING Bank.L:x",
        "MEMORY USAGE Bank.L:x",
        "XINFO STREAM Bank.L:x",
        "SET \x00kvgate:cursor:1 x",
        "GET elsewhere",
    ],
)
def test_hidden_ways_are_closed(setting: Setting, words: str) -> None:
    setting.stores[0].cmd("RPUSH", "Ads.P:l", "x")
    with login(setting, "ads") as ads:
        for _ in range(2):
            assert ads.raw_reply(*words.split()) == NO_KEY
        assert ads.cmd("MULTI") == b"OK"
        assert ads.raw_reply(*words.split()) == NO_KEY
        assert ads.raw_reply("EXEC").startswith(b"-EXECABORT")


def test_sort_over_own_keys(setting: Setting) -> None:
    with login(setting, "ads") as ads:
        ads.pipeline([("RPUSH", "Ads.P:l", "a", "b"), ("SET", "Ads.P:w_a", 2), ("SET", "Ads.P:w_b", 1)])
        assert ads.cmd("SORT", "Ads.P:l", "BY", "Ads.P:w_*") == [b"b", b"a"]
        assert ads.raw_reply("SORT", "Ads.P:l", "BY", "COPY", "DB", "1").startswith(b"-ERR syntax")
    with login(setting, "both") as both:
        both.pipeline([("RPUSH", "l", "a", "b"), ("SET", "w_a", 2), ("SET", "w_b", 1)])
        assert both.cmd("SORT", "l", "BY", "w_*") == [b"b", b"a"]  # no named namespace begins so
        assert both.raw_reply("SORT", "l", "BY", "*").startswith(b"-CROSSSLOT")


def test_channels(setting: Setting) -> None:
    with login(setting, "ads") as ads, Monitor(setting.stores[0]) as seen:
        for words in (
            "PUBLISH Bank.L:c m",
            "SPUBLISH Bank.L:c m",
            "SUBSCRIBE Ads.P:c Bank.L:c",
            "SSUBSCRIBE Bank.L:c",
            "PSUBSCRIBE Bank.L:*",
            "PSUBSCRIBE elsewhere:*",
            "SUBSCRIBE __keyspace@0__:Bank.L:k",
            "SUBSCRIBE __keyevent@0__:del",
            "PSUBSCRIBE __keyevent@0__:*",
            "PUBLISH __keyevent@0__:del Ads.P:1",
            "PUBLISH __keyspace@0__:Bank.L:k del",
        ):
            assert ads.raw_reply(*words.split()) == NO_CHANNEL, words
    assert not seen.lines


def test_scripts_on_a_shared_store(setting: Setting) -> None:
    with login(setting, "ads") as ads, Monitor(setting.stores[0]) as seen:
        for words in (
            ("EVAL", "return redis.call('get', 'Bank.L:x')", 1, "Ads.P:a"),
            ("EVAL_RO", "return 1", 1, "Ads.P:a"),
            ("EVAL", "return redis.call('keys', '*')", 0),
            ("EVALSHA", "0" * 40, 1, "Ads.P:a"),
            ("FCALL", "f", 1, "Ads.P:a"),
            ("FCALL_RO", "f", 0),
            ("SCRIPT", "FLUSH"),
            ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() end)"),
            ("FUNCTION", "LIST", "WITHCODE"),
            ("FUNCTION", "DUMP"),
            ("FUNCTION", "STATS"),
            ("FUNCTION", "FLUSH"),
            ("FUNCTION", "DELETE", "x"),
            ("FUNCTION", "RESTORE", "x"),
        ):
            raw = ads.raw_reply(*words)
            assert raw.startswith((b"-ERR command", b"-NOPERM")), (words, raw)
            assert b"not available through the gate" in raw or b"no permissions" in raw, (words, raw)
    assert not seen.lines


def test_allowed_scripts_on_a_shared_store(setting: Setting) -> None:
    with login(setting, "ads") as ads:
        ads.cmd("SET", "Ads.P:a", "mine")
        assert ads.cmd("EVAL", ALLOWED, 1, "Ads.P:a") == b"mine"
        assert ads.raw_reply("EVAL", ALLOWED, 1, "Bank.L:x") == NO_KEY
        sha = ads.cmd("SCRIPT", "LOAD", ALLOWED)
        assert ads.cmd("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
        assert ads.cmd("EVALSHA", sha.upper(), 1, "Ads.P:a") == b"mine"
        assert ads.raw_reply("EVALSHA", sha, 1, "Bank.L:x") == NO_KEY


def test_functions_where_nobody_else_is(setting: Setting) -> None:
    with login(setting, "boss") as boss:
        library = "#!lua name=lib\nredis.register_function('one', function(keys) return redis.call('get', keys[1]) end)"
        assert boss.cmd("FUNCTION", "LOAD", library) == b"lib"
        for store in setting.stores:
            assert len(store.cmd("FUNCTION", "LIST")) == 1
        assert len(boss.cmd("FUNCTION", "LIST")) == 1
        boss.cmd("SET", "Ads.P:a", "x")
        boss.cmd("SET", "elsewhere", "y")
        assert boss.cmd("FCALL", "one", 1, "Ads.P:a") == b"x"
        assert boss.cmd("FCALL", "one", 1, "elsewhere") == b"y"
        raw = boss.raw_reply("EVAL", "return 1", 0)
        assert raw.startswith(b"-ERR 'eval' without keys"), raw
    with setting.gate.client(user="bank", password="bank-secret") as bank:
        assert bank.raw_reply("MONITOR").startswith(b"-NOPERM")


def test_a_pause_of_the_lane_keeps_the_rules(setting: Setting) -> None:
    """What the lane learned from one user serves that user only."""
    with login(setting, "ads") as ads, login(setting, "bank") as bank:
        for _ in range(3):
            assert ads.cmd("SET", "Ads.P:1", "v") == b"OK"
            assert bank.cmd("SET", "Bank.L:1", "v") == b"OK"
            assert ads.raw_reply("SET", "Bank.L:1", "stolen") == NO_KEY
            assert bank.raw_reply("GET", "Ads.P:1") == NO_KEY
        assert ads.pipeline([("GET", "Ads.P:1"), ("GET", "Bank.L:1"), ("GET", "Ads.P:1")])[::2] == [b"v", b"v"]


def test_auth_changes_what_a_connection_may(setting: Setting) -> None:
    with setting.gate.client() as client:
        assert client.raw_reply("GET", "Ads.P:1") == b"-NOAUTH Authentication required.\r\n"
        client.cmd("AUTH", "ads", "ads-secret")
        client.cmd("SET", "Ads.P:1", "v")
        client.cmd("SET", "Ads.P:1", "v")
        client.cmd("HELLO", 3, "AUTH", "bank", "bank-secret")
        assert client.raw_reply("SET", "Ads.P:1", "v") == NO_KEY
        assert client.cmd("ACL", "WHOAMI") == b"bank"
        assert client.raw_reply("HELLO", 3, "AUTH", "guessed", "wrong").startswith(b"-WRONGPASS")
        assert client.raw_reply("AUTH", "guessed", "guessed-secret").startswith(b"-THROTTLED")
        assert client.cmd("ACL", "WHOAMI") == b"bank"
        client.cmd("RESET")
        assert client.raw_reply("GET", "Bank.L:1") == b"-NOAUTH Authentication required.\r\n"


def test_a_pipeline_of_two_users(setting: Setting) -> None:
    with setting.gate.client() as client:
        replies = client.pipeline(
            [
                ("AUTH", "bank", "bank-secret"),
                ("SET", "Bank.L:1", "money"),
                ("GET", "Bank.L:1"),
                ("RESET",),
                ("GET", "Bank.L:1"),
                ("AUTH", "bank", "bank-secret"),
                ("GET", "Bank.L:1"),
            ]
        )
        assert replies[:4] == [b"OK", b"OK", b"money", b"RESET"]
        assert str(replies[4]).startswith("NOAUTH")
        assert replies[5:] == [b"OK", b"money"]


def test_scripts_of_a_store_with_two_names(redis_server: RedisServer) -> None:
    """localhost and 127.0.0.1 are one store: a neighbour there is a neighbour."""
    config = (
        f'[backends.a]\ntype = "redis"\nurl = "redis://127.0.0.1:{redis_server.port}"\n'
        f'[backends.b]\ntype = "redis"\nurl = "redis://localhost:{redis_server.port}/1"\n'
        + namespaces(Ads__="a", Bank_L="b")
        + user("ads", "Ads.*")
    )
    with serving(config, redis_server) as setting, login(setting, "ads") as ads:
        raw = ads.raw_reply("EVAL", "redis.call('select', 1) return redis.call('keys', '*')", 1, "Ads.P:a")
        assert b"not available through the gate" in raw


def test_the_lock_of_redis_py_on_a_shared_store(setting: Setting) -> None:
    """Its scripts are known to touch the key they name and no other."""
    with redis_py.Redis(port=setting.gate.port, username="ads", password="ads-secret") as client:
        lock = client.lock("Ads.P:lock", timeout=10)
        assert lock.acquire()
        assert not client.lock("Ads.P:lock", timeout=10).acquire(blocking=False)
        lock.extend(5)
        lock.reacquire()
        lock.release()
        assert client.get("Ads.P:lock") is None
        with pytest.raises(redis_py.exceptions.NoPermissionError):
            client.lock("Bank.L:lock", timeout=10).acquire()
