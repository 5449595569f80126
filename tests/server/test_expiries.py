"""``ttl_default`` and ``ttl_max`` on real stores: whatever command makes a key, on whatever way, it expires in time, and the
client reads what it would have read."""

from collections.abc import Iterator

import pytest
import redis as redis_py

from tests.server.settings import Setting, keys_on, redis, serving, sharded, stores
from tests.support.relay import Relay
from tests.support.resp import frame
from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

DEFAULT, LONGEST = 50_000, 100_000
RULES = f"ttl_default = {DEFAULT}\nttl_max = {LONGEST}\n"
BACKENDS = ("one", "two", "local", "resp2", "versioned")
RENAMED = {"EVAL": "ev", "PEXPIRE": "pe", "PTTL": "pt'l", "PSETEX": "pse"}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with stores(2) as (first, second):
        parts = [
            redis("one", first),
            sharded("two", first, second),
            redis("resp2", first, "resp3 = false"),
            redis("versioned", first),
            f'[backends.local]\ntype = "lmdb"\npath = "{tmp_path_factory.mktemp("expiries")}"\n',
        ]
        for name in BACKENDS:
            more = "versioned = true\n" if name == "versioned" else ""
            parts.append(f'[namespaces."{name}.Lasting"]\nbackend = "{name}"\n{more}')
            parts.append(f'[namespaces."{name}.Ttl"]\nbackend = "{name}"\n{more}{RULES}')
            parts.append(f'[namespaces."{name}.Max"]\nbackend = "{name}"\n{more}ttl_max = {LONGEST}\nttl_jitter = 0.2\n')
        with serving("".join(parts), first, second) as setting:
            yield setting


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, setting: Setting) -> str:
    setting.flush()
    setting.gate.cmd("FLUSHALL")
    return str(request.param)


MAKERS = (
    "SET {k} v",
    "SET {k} v GET",
    "SET {k} v KEEPTTL",
    "SET {k} v EX 1000",
    "SET {k} v PX 30000",
    "SETEX {k} 1000 v",
    "PSETEX {k} 1000000 v",
    "SETNX {k} v",
    "GETSET {k} v",
    "APPEND {k} v",
    "INCR {k}",
    "INCRBY {k} 9007199254740993",
    "DECRBY {k} 5",
    "INCRBYFLOAT {k} 1.5",
    "MSET {k} 1 {k}b 2",
    "MSETNX {k} 1 {k}b 2",
    "SETRANGE {k} 3 x",
    "SETBIT {k} 7 1",
    "BITFIELD {k} SET i64 0 9223372036854775807 GET i64 0",
    "HSET {k} f v g w",
    "HMSET {k} f v",
    "HSETNX {k} f v",
    "HINCRBY {k} f 9223372036854775806",
    "HINCRBYFLOAT {k} f 1.25",
)
REDIS_ONLY = (
    "LPUSH {k} a b",
    "RPUSH {k} a",
    "SADD {k} a b",
    "ZADD {k} 1.5 a",
    "ZADD {k} INCR 1.5 a",
    "ZINCRBY {k} 1.5 a",
    "PFADD {k} a",
    "XADD {k} 1-1 f v",
    "XGROUP CREATE {k} g 0 MKSTREAM",
    "GEOADD {k} 1 1 a",
)
VERSIONED = ("EXSET {k} v", "EXSET {k} v EX 1000", "EXINCRBY {k} 5", "EXHSET {k} f v", "EXHMSET {k} f v", "EXHINCRBY {k} f 2")


def makers(backend: str) -> tuple[str, ...]:
    if backend == "local":
        return MAKERS + VERSIONED
    return MAKERS + REDIS_ONLY + (VERSIONED if backend == "versioned" else ())


def left(setting: Setting, key: str) -> int:
    found = setting.gate.cmd("PTTL", key)
    assert isinstance(found, int)
    return found


def in_time(setting: Setting, key: str) -> bool:
    return 0 < left(setting, key) <= LONGEST


@pytest.mark.parametrize("proto", [2, 3])
def test_what_makes_a_key_makes_it_expire_and_is_answered_as_ever(setting: Setting, backend: str, proto: int) -> None:
    with setting.gate.client(proto=proto) as client:
        for number, line in enumerate(makers(backend)):
            for again in range(3):  # the first is looked at, the others may take the lane's way
                key = f"{{t}}{number}.{again}"
                raws = []
                for name in ("Lasting", "Ttl"):
                    words = line.format(k=f"{backend}.{name}:{key}").split()
                    raws.append((client.raw_reply(*words), client.raw_reply(*words)))
                assert raws[0] == raws[1], (line, again)
                assert not raws[0][0].startswith(b"-"), (line, raws)
                assert in_time(setting, f"{backend}.Ttl:{key}"), line
                if "{k}b" in line:
                    assert in_time(setting, f"{backend}.Ttl:{key}b"), line
                if line == "SET {k} v PX 30000":
                    assert left(setting, f"{backend}.Ttl:{key}") <= 30_000


def test_in_one_pipeline_and_in_order(setting: Setting, backend: str) -> None:
    """Commands of all ways, with each other's results."""
    key = f"{backend}.Ttl:pipeline"
    with setting.gate.client(proto=3) as client:
        for _ in range(2):
            lines = (("DEL",), ("INCR",), ("GET",), ("SET", "5"), ("INCR",), ("SETNX", "1"), ("GET",))
            client.send_raw(b"".join(frame(line[0], key, *line[1:]) for line in lines))
            replies = [client.read() for _ in lines]
            assert replies[1:] == [1, b"1", b"OK", 6, 0, b"6"]
    assert in_time(setting, key)


@pytest.mark.parametrize("proto", [2, 3])
def test_inside_multi_and_after_watch(setting: Setting, backend: str, proto: int) -> None:
    base = f"{backend}.Ttl:{{m}}"
    with setting.gate.client(proto=proto) as client:
        for watch in (False, True):
            setting.gate.cmd("DEL", base + "a", base + "b", base + "c")
            if watch:
                client.cmd("WATCH", base + "c")
            client.cmd("MULTI")
            for words in (("SET", base + "a", "1"), ("INCR", base + "b"), ("HSET", base + "c", "f", "v"), ("GET", base + "b")):
                assert client.cmd(*words) == b"QUEUED"
            assert client.cmd("EXEC") == [b"OK", 1, 1, b"1"]
            for each in "abc":
                assert in_time(setting, base + each), each
        client.cmd("WATCH", base + "z")
        assert client.cmd("INCR", base + "free") == 1
        assert client.cmd("SET", base + "free2", "1") == b"OK"
        client.cmd("UNWATCH")
        assert in_time(setting, base + "free")
        assert in_time(setting, base + "free2")


def test_errors_of_the_store_are_told_as_they_are(setting: Setting, backend: str) -> None:
    key, free = f"{backend}.Ttl:wrong", f"{backend}.Lasting:wrong"
    with setting.gate.client() as client:
        for each in (key, free):
            client.cmd("SET", each, "text")
        for words in (("INCR",), ("HSET", "f", "v"), ("SETRANGE", "-1", "x"), ("SET", "v", "EX", "0"), ("SET", "v", "NOSUCH")):
            for _ in range(2):
                told = [client.raw_reply(words[0], each, *words[1:]) for each in (free, key)]
                assert told[0] == told[1]
                assert told[0][:1] == b"-"
        assert in_time(setting, key)


def test_times_are_cut_and_nothing_lasts(setting: Setting, backend: str) -> None:
    base = f"{backend}.Max:"
    with setting.gate.client() as client:
        client.cmd("SET", base + "a", "1")
        assert 0.8 * LONGEST - 2000 < left(setting, base + "a") <= LONGEST
        for words in (("EXPIRE", "1000"), ("PEXPIRE", "1000000"), ("EXPIREAT", "9999999999"), ("PEXPIREAT", "9999999999999")):
            assert client.cmd("PEXPIRE", base + "a", "1000") == 1
            assert client.cmd(words[0], base + "a", words[1]) == 1
            assert 0.8 * LONGEST - 2000 < left(setting, base + "a") <= LONGEST, words
        assert client.raw_reply("GETEX", base + "a", "persist\0x").startswith(b"-ERR 'getex"), "to Redis that is PERSIST"
        for command, *more in (("PERSIST",), ("GETEX", "PERSIST")):
            told = client.raw_reply(command, base + "a", *more).decode()
            assert told.startswith(f"-ERR '{' … '.join((command, *more)).lower()}' would leave a key without expiry")
        assert client.cmd("GETEX", base + "a", "EX", "1000") == b"1"
        assert in_time(setting, base + "a")
        lasting = f"{backend}.Lasting:{{r}}"
        client.cmd("SET", lasting, "1")
        client.cmd("COPY", lasting, base + "{r}b")
        client.cmd("RENAME", lasting, base + "{r}c")
        dump = client.cmd("DUMP", base + "{r}c")
        client.cmd("RESTORE", base + "{r}d", "0", dump)
        for each in ("{r}b", "{r}c", "{r}d"):
            assert in_time(setting, base + each), each
        assert client.cmd("EXPIRE", base + "a", "-1") == 1
        assert client.cmd("EXISTS", base + "a") == 0


def test_keys_written_together_do_not_expire_together(setting: Setting, backend: str) -> None:
    base = f"{backend}.Max:"
    with setting.gate.client() as client:
        for number in range(30):
            client.cmd("SET", f"{base}{number}", "v")
    moments = {setting.gate.cmd("PEXPIRETIME", f"{base}{number}") for number in range(30)}
    assert max(moments) - min(moments) > 0.05 * LONGEST


def test_keys_on_several_shards(setting: Setting) -> None:
    setting.flush()
    keys = keys_on(0, 2, 10, "two.Ttl:") + keys_on(1, 2, 10, "two.Ttl:")
    with setting.gate.client() as client:
        assert client.cmd("MSET", *(word for key in keys for word in (key, "v"))) == b"OK"
        assert client.cmd("MGET", *keys) == [b"v"] * 20
    assert {store.cmd("DBSIZE") > 0 for store in setting.stores} == {True}
    assert all(in_time(setting, key) for key in keys)


@pytest.mark.parametrize("waits", [False, True])
def test_a_list_that_a_blocking_move_makes(setting: Setting, waits: bool) -> None:
    setting.flush()
    source, target = "one.Lasting:{b}s", "one.Ttl:{b}t"
    with setting.gate.client() as client, setting.gate.client() as other:
        if not waits:
            other.cmd("RPUSH", source, "x")
        client.send("BLMOVE", source, target, "LEFT", "LEFT", "10")
        if waits:
            wait_for(lambda: b"blocked_clients:1" in setting.stores[0].cmd("INFO", "clients"), "it waits")
            other.cmd("RPUSH", source, "x")
        assert client.read() == b"x"
        assert in_time(setting, target)
        assert client.cmd("LRANGE", target, 0, -1) == [b"x"]
        client.send("BRPOPLPUSH", "one.Lasting:{b}none", target, "0.01")
        assert client.read() is None
        assert client.cmd("BLPOP", target, "1") == [target.encode(), b"x"]


def test_a_blocking_move_that_is_unblocked(setting: Setting) -> None:
    """Its connection to the store does not stay; an element that was moved just before is the reply."""
    setting.flush()
    store = setting.stores[0]
    words = ("BLMOVE", "one.Lasting:{b}s", "one.Ttl:{b}t", "LEFT", "LEFT", "0")
    with setting.gate.client() as waiting, setting.gate.client() as control:
        ident = waiting.cmd("CLIENT", "ID")
        before = store.cmd("CLIENT", "LIST").count(b"\n")
        for _ in range(3):
            waiting.send(*words)
            wait_for(lambda: b"blocked_clients:1" in store.cmd("INFO", "clients"), "it waits")
            assert control.cmd("CLIENT", "UNBLOCK", ident) == 1
            assert waiting.read() is None
        wait_for(lambda: store.cmd("CLIENT", "LIST").count(b"\n") <= before, "its connections to be closed")
    with Relay((store.host, store.port)) as relay:
        config = f'[backends.a]\ntype = "redis"\nurl = "{relay.url}"\n[namespaces]\n"one.Lasting" = "a"\n'
        config += f'[namespaces."one.Ttl"]\nbackend = "a"\n{RULES}'
        with Gate(config) as gate, gate.client() as waiting, gate.client() as control:
            ident = waiting.cmd("CLIENT", "ID")
            waiting.send(*words)
            wait_for(lambda: b"blocked_clients:1" in store.cmd("INFO", "clients"), "it waits")
            reply = b"$8\r\nprecious\r\n"
            relay.stall_after("down", len(reply))  # what gives the list its expiry is not answered yet
            store.cmd("RPUSH", "one.Lasting:{b}s", "precious")
            wait_for(lambda: relay.holds("down"), "the element to be on its way")  # others may be told something meanwhile
            assert control.cmd("CLIENT", "UNBLOCK", ident) == 1
            relay.flow()
            assert waiting.read() == b"precious"


def test_a_script_cannot_go_round_it_and_a_lock_keeps_its_time(setting: Setting) -> None:
    with setting.gate.client() as client:
        told = client.raw_reply("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "one.Ttl:script").decode()
        assert "a script could break the limits of namespace 'one.Ttl'" in told
        assert client.cmd("EVAL_RO", "return 7", "1", "one.Ttl:script") == 7
        assert client.cmd("EVAL", "return 7", "1", "one.Lasting:script") == 7
    port = int(setting.gate.url.rsplit(":", 1)[1].partition("/")[0])
    with redis_py.Redis(port=port) as clients, clients.lock("one.Ttl:lock", timeout=1):
        pass


def test_a_store_with_other_names_for_its_commands() -> None:
    names = [word for pair in RENAMED.items() for word in ("--rename-command", *pair)]
    rename = ", ".join(f'{name} = "{other}"' for name, other in RENAMED.items())
    with RedisServer(config=names) as store:
        config = redis("a", store, f"rename = {{ {rename} }}") + f'[namespaces."Ads.Ttl"]\nbackend = "a"\n{RULES}'
        with Gate(config) as gate, gate.client() as client:
            for _ in range(2):
                assert client.cmd("SETEX", "Ads.Ttl:a", "1000", "v") == b"OK"
                assert client.cmd("HSET", "Ads.Ttl:h", "f", "v") in (0, 1)
                for key in ("Ads.Ttl:a", "Ads.Ttl:h"):
                    assert 0 < client.cmd("TTL", key) <= LONGEST // 1000
