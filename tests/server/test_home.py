"""Users at home in namespaces, side by side on the same stores: nobody sees, reaches or hears a neighbour."""

import threading
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest
import redis as redis_py

from tests.server.processes import one_on_each
from tests.server.settings import Setting, namespaces, redis, serving, sharded, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, Gate, Gates, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LMDB = '[backends.l]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n'
USERS = (
    user("plain", "Ads.*")
    + user("boss", "*", more='commands = ["+@all"]')
    + "".join(
        line.replace("namespaces = []\n", "")
        for line in (
            user("ads", more='databases = { 0 = "Ads.Cache", 1 = "Ads.Session", 2 = "Ads.Kept" }\ncommands = ["+@all"]'),
            user("shop", more='databases = { 0 = "Shop.Cache", 1 = "Shop.Quiet" }'),
            user("reader", more='read_only = ["Ads.Cache"]\ndatabases = { 0 = "Ads.Cache" }'),
        )
    )
)


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(3, config=["--notify-keyspace-events", "KEA"]) as (one, two, three):
        config = (
            redis("a", one)
            + sharded("b", two, three)
            + LMDB
            + namespaces(Ads_Session="b", Ads_Kept="l", Ads__="a", Shop__="a", default="a")
            + '[namespaces."Shop.Quiet"]\nbackend = "a"\nforbidden = ["keys"]\n'
            + USERS
        )
        with serving(config, one, two, three) as setting:
            yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    with login(setting.gate, "boss") as boss:
        boss.cmd("FLUSHALL")


def login(gate: Gate, name: str, proto: int = 2) -> Resp:
    return gate.client(user=name, password=f"{name}-secret", proto=proto)


def library(gate: Gate, name: str, database: int = 0) -> redis_py.Redis:
    """redis-py as applications use it."""
    url = f"redis://{name}:{name}-secret@127.0.0.1:{gate.port}/{database}"
    return redis_py.Redis.from_url(url, decode_responses=True)


def refused(client: Resp, *words: str) -> str:
    reply = client.ask(*words)
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


# ---------------------------------------------------------------------- databases


def test_each_database_is_its_namespace(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads, login(setting.gate, "plain") as plain:
        for number, name in enumerate(("Cache", "Session", "Kept")):
            assert ads.cmd("SELECT", number) == b"OK"
            assert ads.cmd("SET", "k", name) == b"OK"
            assert ads.cmd("KEYS", "*") == [b"k"]
            assert plain.cmd("GET", f"Ads.{name}:k") == name.encode()
            assert f"db={number}".encode() in ads.cmd("CLIENT", "INFO")
        for number, name in enumerate(("Cache", "Session", "Kept")):  # in one portion
            ads.send_raw(b"".join(b"SELECT %d\r\nGET k\r\n" % each for each in (number, 0, number)))
            assert [ads.read() for _ in range(6)] == [b"OK", name.encode(), b"OK", b"Cache", b"OK", name.encode()]


def test_no_other_database_is_there(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads:
        for number in ("3", "15", "-1"):
            assert refused(ads, "SELECT", number) == "ERR DB index is out of range"
        ads.cmd("SET", "k", "v")  # it stays where it was
        assert ads.cmd("GET", "k") == b"v"
        assert refused(ads, "COPY", "k", "k2", "DB", "1") == "ERR DB index is out of range"
        assert refused(ads, "SWAPDB", "0", "1").startswith("ERR command 'swapdb' is not available")
    with login(setting.gate, "plain") as plain:
        assert plain.cmd("SELECT", 0) == b"OK"
        assert refused(plain, "SELECT", "1") == "ERR DB index is out of range"


def test_reset_auth_and_hello(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads:
        ads.cmd("SELECT", 1)
        assert refused(ads, "AUTH", "reader", "reader-secret") == "ERR DB index is out of range"
        assert refused(ads, "HELLO", "3", "AUTH", "plain", "plain-secret") == "ERR DB index is out of range"
        ads.cmd("SET", "k", "session")  # as it was: user, database, protocol
        assert ads.cmd("ACL", "WHOAMI") == b"ads"
        ads.cmd("RESET")
        ads.cmd("AUTH", "ads", "ads-secret")
        assert ads.cmd("GET", "k") is None
        ads.cmd("SET", "k", "ads")
        ads.cmd("AUTH", "shop", "shop-secret")
        assert ads.cmd("GET", "k") is None
        ads.cmd("SET", "k", "shop")
        ads.cmd("HELLO", "3", "AUTH", "plain", "plain-secret")
        found = [ads.cmd("GET", f"{name}:k") for name in ("Ads.Cache", "Ads.Session")]
        assert found == [b"ads", b"session"]
        assert refused(ads, "GET", "k").startswith("NOPERM")


def test_a_reader_reads_only(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads, login(setting.gate, "reader") as reader:
        ads.cmd("SET", "k", "v")
        for _ in range(2):
            assert reader.cmd("GET", "k") == b"v"
            for words in (("SET", "k", "w"), ("DEL", "k"), ("FLUSHDB",), ("FLUSHALL",), ("EVAL", "return 1", "1", "k")):
                assert refused(reader, *words).startswith(("NOPERM", "ERR command 'eval'")), words
        assert reader.cmd("KEYS", "*") == [b"k"]


def test_what_a_namespace_forbids_holds_at_home(setting: Setting) -> None:
    """Whatever the pattern looks like."""
    with login(setting.gate, "shop") as shop:
        assert shop.cmd("KEYS", "*") == []
        shop.cmd("SELECT", 1)
        for pattern in ("*", "k*", "Shop.Cache:*"):
            assert "is forbidden in namespace 'Shop.Quiet'" in refused(shop, "KEYS", pattern)
        assert shop.cmd("SCAN", 0) == [b"0", []]


# ---------------------------------------------------------------------- neighbours


def test_two_users_of_one_store_never_meet(setting: Setting) -> None:
    """redis-py, unmodified, with the same keys on both sides."""
    ads, shop = library(setting.gate, "ads"), library(setting.gate, "shop")
    with ads, shop:
        for one, name in ((ads, "ads"), (shop, "shop")):
            one.set("k", name)
            one.hset("h", mapping={"f": name})
            one.rpush("l", name)
            one.mset({"a": name, "b": name, "Shop.Cache:k": name})
            one.zadd("z", {name: 1})
            one.sadd("s", name)
            one.xadd("x", {"f": name})
        for one, name in ((ads, "ads"), (shop, "shop")):
            assert one.get("k") == one.hget("h", "f") == one.get("Shop.Cache:k") == name
            assert one.mget("k", "a", "b", "none") == [name, name, name, None]
            names = one.keys("*")
            assert sorted(one.scan_iter()) == sorted(names) == sorted(["k", "h", "l", "a", "b", "Shop.Cache:k", "z", "s", "x"])
            assert one.dbsize() == 9
            assert one.randomkey() in names
            assert one.lrange("l", 0, -1) == [name]
            assert one.blpop(["none", "l"], timeout=1) == ("l", name)
            popped: Any = one.zmpop(1, ["z"], min=True)
            assert popped[0] == "z"
            read: Any = one.xread({"x": 0})
            assert [stream for stream, _ in read] == ["x"]
            block: Any
            with one.pipeline(transaction=True) as block:
                block.watch("k")
                block.multi()
                block.get("k").lmpop(1, "none", direction="LEFT").rpush("q", name).lmpop(1, "q", direction="LEFT")
                assert block.execute() == [name, None, 1, ["q", [name]]]
            with one.lock("lock", timeout=5):
                assert one.get("lock")
        ads.flushdb()
        assert (ads.dbsize(), shop.dbsize()) == (0, 7)
        assert shop.exists("k", "h", "a", "b") == 4


def test_a_cache_as_web_frameworks_use_it(setting: Setting) -> None:
    """Versioned prefixes, expiry, get-many, counters, patterns to delete."""
    with library(setting.gate, "ads") as ads, library(setting.gate, "shop") as shop:
        for cache in (ads, shop):
            cache.set(":1:views.page", b"html", ex=60)
            cache.set(":1:hits", 0)
            with cache.pipeline(transaction=False) as many:
                for number in range(50):
                    many.set(f":1:user:{number}", number, ex=60)
                many.execute()
        assert ads.incr(":1:hits") == 1
        assert shop.get(":1:hits") == "0"
        assert ads.mget([f":1:user:{number}" for number in range(50)]) == [str(number) for number in range(50)]
        assert 0 < ads.ttl(":1:views.page") <= 60
        gone = list(ads.scan_iter(":1:user:*", count=10))
        assert len(gone) == 50
        assert ads.delete(*gone) == 50
        assert len(shop.keys(":1:user:*")) == 50


def test_a_queue_as_workers_use_it(setting: Setting) -> None:
    """A job waits in BRPOP for each user; what one user sends wakes its own worker alone."""
    done: dict[str, list[tuple[str, str]]] = {"ads": [], "shop": []}

    def work(name: str) -> None:
        with library(setting.gate, name) as worker:
            while (job := worker.brpop(["celery", "celery\x06\x163"], timeout=5)) is not None and job[1] != "end":
                done[name].append(job)
                worker.lpush(f"result:{job[1]}", "done")

    workers = [threading.Thread(target=work, args=(name,)) for name in done]
    for thread in workers:
        thread.start()
    with library(setting.gate, "ads") as ads, library(setting.gate, "shop") as shop:
        for number in range(5):
            ads.lpush("celery", f"ads{number}")
            assert ads.blpop(f"result:ads{number}", timeout=5) == (f"result:ads{number}", "done")
        shop.lpush("celery", "shop0", "end")
        ads.lpush("celery", "end")
        for thread in workers:
            thread.join()
    assert done == {"ads": [("celery", f"ads{number}") for number in range(5)], "shop": [("celery", "shop0")]}


def test_scripts_are_given_whole_keys(setting: Setting) -> None:
    """Where they are allowed at all: `Ads.Session` has a store that is nobody else's."""
    with login(setting.gate, "ads") as ads:
        assert "other applications' keys" in refused(ads, "EVAL", "return 1", "1", "k")
        ads.cmd("SELECT", 1)
        assert ads.cmd("EVAL", "return redis.call('set', KEYS[1], ARGV[1])", 1, "k", "k") == b"OK"
        assert ads.cmd("GET", "k") == b"k"
        assert ads.cmd("EVAL", "return KEYS[1]", 1, "k") == b"Ads.Session:k"


# ---------------------------------------------------------------------- channels


@pytest.mark.parametrize("proto", [2, 3])
def test_channels_are_the_namespaces_own(setting: Setting, proto: int) -> None:
    with login(setting.gate, "ads", proto) as ads, login(setting.gate, "ads") as sender, login(setting.gate, "shop") as shop:
        assert ads.cmd("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        assert ads.cmd("PSUBSCRIBE", "n*") == [b"psubscribe", b"n*", 2]
        assert ads.cmd("PSUBSCRIBE", "*") == [b"psubscribe", b"*", 3]
        assert shop.cmd("PUBLISH", "news", "theirs") == 0
        assert sender.cmd("PUBLISH", "news", "Ads.Cache:x") == 3
        got = sorted(ads.read() for _ in range(3))
        assert got == [
            [b"message", b"news", b"Ads.Cache:x"],
            [b"pmessage", b"*", b"news", b"Ads.Cache:x"],
            [b"pmessage", b"n*", b"news", b"Ads.Cache:x"],
        ]
        assert sender.cmd("PUBSUB", "CHANNELS") == sender.cmd("PUBSUB", "CHANNELS", "n*") == [b"news"]
        assert sender.cmd("PUBSUB", "CHANNELS", "x*") == shop.cmd("PUBSUB", "CHANNELS") == []
        for name in ("CHANNELS", "ShardChannels"):
            assert sender.raw_reply("PUBSUB", name, "a", "b") == (
                f"-ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP.\r\n".encode()
            )
        assert sender.cmd("PUBSUB", "NUMSUB", "news", "none") == [b"news", 1, b"none", 0]
        assert shop.cmd("PUBSUB", "NUMSUB", "news") == [b"news", 0]
        assert ads.cmd("PUNSUBSCRIBE", "*") == [b"punsubscribe", b"*", 2]
        sender.cmd("PUBLISH", "other", "unheard")
        sender.cmd("PUBLISH", "news", "2")
        assert sorted(ads.read() for _ in range(2)) == [[b"message", b"news", b"2"], [b"pmessage", b"n*", b"news", b"2"]]
        assert ads.cmd("UNSUBSCRIBE") == [b"unsubscribe", b"news", 1]
        assert ads.cmd("PUNSUBSCRIBE") == [b"punsubscribe", b"n*", 0]
        assert ads.cmd("PING") == b"PONG"
        assert ads.silent()


@pytest.mark.parametrize("database", [0, 1])
def test_keyspace_notifications(setting: Setting, database: int) -> None:
    """By the number of the client's own database, whatever the store's is."""
    space, event = f"__keyspace@{database}__:", f"__keyevent@{database}__:"
    with login(setting.gate, "ads", 3) as ads, login(setting.gate, "ads") as writer, login(setting.gate, "shop") as shop:
        ads.cmd("SELECT", database)
        writer.cmd("SELECT", database)
        patterns = [f"{space}k*", "__key*__:*", f"{event}*", "*@*__:k3"]
        for name in (f"{space}k1", f"{event}set"):
            ads.cmd("SUBSCRIBE", name)
        for pattern in patterns:
            assert ads.cmd("PSUBSCRIBE", pattern)[1] == pattern.encode()
        shop.cmd("SET", "k1", "theirs")
        for key in ("k1", "k2", "k3", "other"):  # of which some lie on one shard and some on the other
            writer.cmd("SET", key, "v")
        wanted: list[list[bytes]] = [[b"message", f"{space}k1".encode(), b"set"]]
        for changed in (b"k1", b"k2", b"k3", b"other"):
            wanted.append([b"message", f"{event}set".encode(), changed])
            wanted.append([b"pmessage", f"{event}*".encode(), f"{event}set".encode(), changed])
            wanted.append([b"pmessage", b"__key*__:*", f"{event}set".encode(), changed])
            wanted.append([b"pmessage", b"__key*__:*", space.encode() + changed, b"set"])
            if changed != b"other":
                wanted.append([b"pmessage", f"{space}k*".encode(), space.encode() + changed, b"set"])
        wanted.append([b"pmessage", b"*@*__:k3", f"{space}k3".encode(), b"set"])
        assert sorted(ads.read() for _ in wanted) == sorted(wanted)
        for pattern in patterns:  # of which two listen to the same on the stores
            assert ads.cmd("PUNSUBSCRIBE", pattern)[1] == pattern.encode()
        writer.cmd("SET", "k1", "v")
        assert sorted(ads.read() for _ in range(2)) == sorted([wanted[0], wanted[1]])
        assert ads.silent()


def test_nobody_sends_key_events(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads:
        assert refused(ads, "PUBLISH", "__keyevent@0__:set", "k").startswith("NOPERM")
        assert ads.cmd("PUBLISH", "__keyspace@0__:k", "set") == 0


def test_the_database_stays_while_there_are_subscriptions(setting: Setting) -> None:
    with login(setting.gate, "ads", 3) as ads:
        ads.cmd("SUBSCRIBE", "c")
        assert ads.cmd("SELECT", 0) == b"OK"
        assert "cannot be changed while subscribed" in refused(ads, "SELECT", "1")
        assert "cannot be changed while subscribed" in refused(ads, "AUTH", "shop", "shop-secret")
        ads.cmd("SET", "k", "v")
        assert ads.cmd("GET", "k") == b"v"
        ads.cmd("UNSUBSCRIBE")
        assert ads.cmd("SELECT", 1) == b"OK"


def test_an_embedded_store_has_no_channels(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads:
        ads.cmd("SELECT", 2)
        for words in (("SUBSCRIBE", "c"), ("PSUBSCRIBE", "*"), ("PUBLISH", "c", "m")):
            assert "is not supported by backend 'l' (lmdb)" in refused(ads, *words)


# ---------------------------------------------------------------------- the gate's own answers


def test_what_the_gate_tells(setting: Setting) -> None:
    with login(setting.gate, "ads") as ads:
        told = ads.cmd("GATE", "ROUTE", "k", "get")
        facts = dict(zip(told[::2], told[1::2], strict=True))
        assert (facts[b"key"], facts[b"namespace"]) == (b"k", b"Ads.Cache")
        assert b"refused" not in facts
        ads.cmd("SELECT", 1)
        told = ads.cmd("GATE", "ROUTE", "Ads.Cache:k")
        assert told[:4] == [b"key", b"Ads.Cache:k", b"namespace", b"Ads.Session"]
        assert ads.cmd("ACL", "DRYRUN", "ads", "GET", "k") == b"OK"
        assert ads.cmd("ACL", "DRYRUN", "ads", "SORT", "k", "BY", "w_*", "STORE", "d") == b"OK"
        assert ads.cmd("ACL", "DRYRUN", "shop", "RENAME", "Ads.Cache:k", "d") == b"OK"
        assert ads.cmd("ACL", "DRYRUN", "shop", "PSUBSCRIBE", "Ads.Cache:*") == b"OK"
        assert ads.cmd("ACL", "DRYRUN", "reader", "SET", "k", "v") == b"This user has no permissions to access the 'k' key"
        assert ads.cmd("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == [b"a", b"b"]


def test_what_a_monitor_shows(setting: Setting) -> None:
    with login(setting.gate, "ads") as monitor, login(setting.gate, "ads") as ads, login(setting.gate, "shop") as shop:
        assert monitor.cmd("MONITOR") == b"OK"
        shop.cmd("SET", "k", "theirs")
        ads.cmd("SET", "k", "Ads.Cache:v")
        ads.cmd("SORT", "l", "BY", "w_*")
        ads.cmd("SELECT", 1)
        ads.cmd("GET", "k")
        lines = [monitor.read_one().partition(b" [")[2] for _ in range(4)]
        assert lines[0].startswith(b"0 ")
        assert lines[0].endswith(b'] "SET" "k" "Ads.Cache:v"\r\n')
        assert lines[1].endswith(b'] "SORT" "l" "BY" "w_*"\r\n')
        assert lines[2].endswith(b'"SELECT" "1"\r\n')
        assert lines[3].startswith(b"1 ")
        assert lines[3].endswith(b'] "GET" "k"\r\n')


# ---------------------------------------------------------------------- changes


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_moves_users_to_other_homes(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    def config(databases: str) -> str:
        base = redis("a", redis_server) + namespaces(Ads__="a") + user("boss", "*", more='commands = ["+@all"]')
        return base + user("app", "Ads.*", more=databases)

    gate = gates(config('databases = { 0 = "Ads.One", 1 = "Ads.One", 2 = "Ads.One" }'), gate=f"workers = {workers}\n")
    logged_in = {"user": "app", "password": "app-secret"}
    groups = [[*one_on_each(gate, workers, **logged_in).values()] for _ in range(6)]
    simple, gone, listening, steady, queued, watching = groups
    for client in (*simple, *gone, *queued, *watching):
        client.pipeline([("SET", "k", "one")] * 20)
    for client in gone:
        client.cmd("SELECT", 1)
    for client in listening:
        client.cmd("SUBSCRIBE", "c")
    for client in steady:
        client.cmd("SELECT", 2)
        client.cmd("PSUBSCRIBE", "*")
    for client in queued:
        client.pipeline([("MULTI",), ("SET", "k", "queued")])
    for client in watching:
        client.pipeline([("WATCH", "k"), ("MULTI",), ("SET", "k", "watched")])
    gate.write_config(config('databases = { 0 = "Ads.Two", 2 = "Ads.One" }'))
    with login(gate, "boss") as boss:
        assert boss.cmd("GATE", "RELOAD") == b"OK"
        for client in simple:
            assert client.cmd("GET", "k") is None
            assert client.pipeline([("SET", "k", "two"), ("GET", "k")] * 5)[-1] == b"two"
            client.cmd("DEL", "k")
        for client in (*gone, *listening):
            assert client.read_all() == b""
        for client in queued:
            assert str(client.ask("EXEC")).startswith("EXECABORT")
        for client in watching:
            assert str(client.ask("EXEC")).startswith("EXECABORT")
        boss.cmd("PUBLISH", "Ads.One:c", "m")
        for client in steady:
            assert client.read() == [b"pmessage", b"*", b"c", b"m"]
        assert boss.cmd("GET", "Ads.One:k") == b"one"
        wait_for(lambda: boss.cmd("PUBSUB", "CHANNELS") == [], "the feeds of who was cut to be closed")
    for client in (client for group in groups for client in group):
        client.close()
