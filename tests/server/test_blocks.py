"""GATE BLOCK: what is blocked is refused before anything is sent, in every worker, on every way, until its time is over."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.processes import children, info, one_on_each
from tests.server.reloads import BOTH, reload, replaced
from tests.server.settings import Setting, namespaces, redis, serving, stores, user
from tests.support.resp import Closed, Resp
from tests.support.servers import NO_REDIS, Gates, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

ADMIN = 'commands = ["+@all"]'


def config(store: RedisServer, folder: Path) -> str:
    return (
        redis("a", store)
        + f'[backends.local]\ntype = "lmdb"\npath = "{folder}/data"\n'
        + namespaces(Ads__="a", Ads_P="a", Bank_L="a", Emb_L="local", default="a")
        + user("ads", "Ads.*", "Emb.L", "default", more='commands = ["+@all", "-@admin"]')
        + user("bank", "Bank.L", more=ADMIN)
        + user("boss", "*", more=ADMIN)
        + user("home", "Ads.P", "Ads.Q", more='databases = { 0 = "Ads.P", 1 = "Ads.Q" }')
    )


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with stores(1) as (store,), serving(config(store, tmp_path_factory.mktemp("store")), store) as setting:
        yield setting


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


@pytest.fixture
def boss(setting: Setting) -> Iterator[Resp]:
    with login(setting, "boss") as client:
        yield client
        for block in client.cmd("GATE", "BLOCKED"):
            shown = dict(zip(block[::2], block[1::2], strict=True))
            client.cmd("GATE", "UNBLOCK", shown[b"kind"], shown[b"name"])


@pytest.fixture
def ads(setting: Setting) -> Iterator[Resp]:
    with login(setting, "ads") as client:
        yield client


@contextlib.contextmanager
def nothing_sent(setting: Setting) -> Iterator[None]:
    """The store is sent no command of a client inside the block."""
    (store,) = setting.stores

    def calls() -> set[bytes]:
        stats = store.cmd("INFO", "commandstats").splitlines()
        return {line.split(b",")[0] for line in stats if not line.startswith((b"cmdstat_ping", b"cmdstat_info", b"#"))}

    before = {line for line in calls() if b"hello" not in line and b"client" not in line}
    yield
    assert {line for line in calls() if b"hello" not in line and b"client" not in line} == before


def refused(client: Resp, words: str, what: str) -> None:
    raw = client.raw_reply(*words.split())
    assert raw.startswith(b"-BLOCKED " + what.encode() + b" '"), (words, raw)


EVERY_WAY = (
    "GET Ads.P:{t}x", "SET Ads.P:{t}x v", "MGET Ads.Q:{t}x Ads.P:{t}x", "DEL Ads.P:{t}x foo", "COPY Ads.Q:{t}x Ads.P:{t}x",
    "SORT Ads.Q:{t}l BY Ads.P:w_*", "SORT Ads.Q:{t}l STORE Ads.P:{t}x", "PUBLISH Ads.P:c m", "SUBSCRIBE Ads.P:c",
    "PSUBSCRIBE Ads.P:*", "SPUBLISH Ads.P:c m", "BLPOP Ads.Q:{t}x Ads.P:{t}x 0", "WATCH Ads.P:{t}x", "SCAN 0", "KEYS *",
    "KEYS Ads.P:*", "SCAN 0 MATCH Ads.*", "DBSIZE", "RANDOMKEY", "FLUSHDB", "GATE LOCK Ads.P:{t}x owner TTL 10",
    "XREAD STREAMS Ads.Q:s Ads.P:s 0 0", "ZUNIONSTORE Ads.Q:{t}d 1 Ads.P:{t}x", "OBJECT ENCODING Ads.P:{t}x",
    "SUBSCRIBE __keyspace@0__:Ads.P:x",
)  # fmt: skip


def test_a_blocked_namespace_is_refused_on_every_way(setting: Setting, boss: Resp, ads: Resp) -> None:
    for words in EVERY_WAY[:4]:
        for _ in range(2):
            ads.ask(*words.split())  # the lane knows them now
    assert boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 60) == b"OK"
    with nothing_sent(setting):
        for words in EVERY_WAY:
            refused(ads, words, "namespace")
        refused(boss, "EVAL return(1) 1 Ads.Q:x", "namespace")  # it could reach the keys of the other
        assert ads.cmd("MULTI") == b"OK"
        refused(ads, "GET Ads.P:{t}x", "namespace")
        assert ads.raw_reply("EXEC").startswith(b"-EXECABORT")
        pipe = ads.pipeline([("GET", "Ads.P:{t}x"), ("PING",), ("GET", "Ads.P:{t}x")])
        assert [str(reply)[:7] for reply in pipe] == ["BLOCKED", "b'PONG'", "BLOCKED"]
    for words in ("SET Ads.Q:x v", "SET foo v", "KEYS Ads.Q:*", "SCAN 0 MATCH Ads.Q:x*", "PUBLISH Ads.Q:c m"):
        assert not ads.raw_reply(*words.split()).startswith(b"-"), words
    with login(setting, "bank") as bank:  # sees nothing of it, so it is told nothing
        assert bank.raw_reply("GET", "Ads.P:x").startswith(b"-NOPERM")
        assert isinstance(bank.cmd("DBSIZE"), int)
    assert boss.cmd("GATE", "UNBLOCK", "namespace", "Ads.P") == 1
    assert boss.cmd("GATE", "UNBLOCK", "namespace", "Ads.P") == 0
    for _ in range(3):
        assert ads.cmd("SET", "Ads.P:{t}x", "v") == b"OK"


@pytest.mark.parametrize("name", ["Ads.P", "Ads.*", "default", "Emb.L"])
def test_names_of_namespaces(boss: Resp, ads: Resp, name: str) -> None:
    keys = {"Ads.P": ["Ads.P:1"], "Ads.*": ["Ads.P:1", "Ads.New:1"], "default": ["foo", "a:b"], "Emb.L": ["Emb.L:1"]}
    ads.pipeline([("SET", key, "v") for key in keys[name] * 2])
    boss.cmd("GATE", "BLOCK", "namespace", name, "FOR", 60)
    for _ in range(2):
        for key in keys[name]:
            refused(ads, f"GET {key}", "namespace")
            refused(ads, f"SET {key} v", "namespace")
        for other, theirs in keys.items():
            if other not in (name, "Ads.*") and (other, name) != ("Ads.P", "Ads.*"):
                assert ads.cmd("SET", theirs[0], "v") == b"OK"


def test_from_a_home_namespace(setting: Setting, boss: Resp) -> None:
    with login(setting, "home") as home:
        home.pipeline([("SET", "x", "v"), ("SET", "y", "v")] * 3)
        boss.cmd("GATE", "BLOCK", "key", "Ads.P:x", "FOR", 60)
        for _ in range(2):
            refused(home, "SET x v", "key")
            assert home.cmd("SET", "y", "v") == b"OK"
        boss.cmd("GATE", "UNBLOCK", "key", "Ads.P:x")
        boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 60)
        for words in ("SET y v", "KEYS *", "SCAN 0", "DBSIZE", "FLUSHALL", "SUBSCRIBE c", "PUBLISH c m", "BLPOP l 0"):
            refused(home, words, "namespace")
        home.cmd("SELECT", 1)
        for words in ("SET y v", "KEYS *", "PUBLISH c m"):
            assert not home.raw_reply(*words.split()).startswith(b"-"), words
        refused(home, "FLUSHALL", "namespace")


def test_writes_only(setting: Setting, boss: Resp, ads: Resp) -> None:
    ads.pipeline([("SET", "Ads.P:{t}x", "v"), ("GET", "Ads.P:{t}x")] * 2 + [("RPUSH", "Ads.P:{t}l", "1")])
    boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "WRITES", "FOR", 60)
    for words in (
        "SET Ads.P:{t}x w", "COPY Ads.Q:{t}x Ads.P:{t}x", "PUBLISH Ads.P:c m", "SORT Ads.P:{t}l STORE Ads.P:{t}y", "FLUSHALL",
        "BLPOP Ads.P:{t}l 0", "XREADGROUP GROUP g c STREAMS Ads.P:{t}s >",
    ):  # fmt: skip
        refused(ads, words, "writes to namespace")
    refused(boss, "EVAL return(1) 1 Ads.P:x", "writes to namespace")
    assert boss.cmd("EVAL_RO", "return 1", 1, "Ads.P:x") == 1
    reads = ("GET Ads.P:{t}x", "COPY Ads.P:{t}x Ads.Q:{t}new", "SORT Ads.P:{t}l", "BITFIELD Ads.P:{t}x GET u4 0", "KEYS *")
    for words in reads:
        for _ in range(2):
            assert not ads.raw_reply(*words.split()).startswith(b"-"), words
    assert setting.stores[0].cmd("GET", "Ads.P:{t}x") == b"v"


def test_a_blocked_key(boss: Resp, ads: Resp) -> None:
    ads.pipeline([("SET", "Ads.P:1", "v"), ("SET", "Ads.P:2", "v"), ("RPUSH", "Ads.Q:l", "1")] * 2)
    boss.cmd("GATE", "BLOCK", "key", "Ads.P:1", "FOR", 60)
    for _ in range(2):
        refused(ads, "GET Ads.P:1", "key")
        assert ads.cmd("SET", "Ads.P:2", "v") == b"OK"
    refused(ads, "MGET Ads.P:2 Ads.P:1", "key")
    refused(ads, "SORT Ads.Q:l GET Ads.P:*", "key")
    refused(ads, "FLUSHDB", "key")
    assert b"Ads.P:1" in ads.cmd("KEYS", "*")


def test_a_blocked_user(setting: Setting, boss: Resp, ads: Resp) -> None:
    ads.pipeline([("SET", "Ads.P:1", "v")] * 3)
    with login(setting, "ads") as listening:
        listening.cmd("SUBSCRIBE", "Ads.P:c")
        boss.cmd("GATE", "BLOCK", "user", "ads", "FOR", 60)
        assert listening.read_all() == b""
    with nothing_sent(setting):
        for words in ("SET Ads.P:1 v", "DBSIZE", "INFO", "MULTI", "CLIENT LIST", "SCAN 0"):
            refused(ads, words, "user")
    assert ads.cmd("PING") == b"PONG"
    with login(setting, "ads") as again:
        refused(again, "GET Ads.P:1", "user")
        assert again.cmd("AUTH", "bank", "bank-secret") == b"OK"
        assert again.cmd("SET", "Bank.L:1", "v") == b"OK"
        assert again.cmd("QUIT") == b"OK"
    boss.cmd("GATE", "BLOCK", "user", "ads", "WRITES", "FOR", 60)  # instead
    for _ in range(2):
        assert ads.cmd("GET", "Ads.P:1") == b"v"
        refused(ads, "SET Ads.P:1 v", "writes to user")


def test_a_transaction_that_is_open(boss: Resp, ads: Resp) -> None:
    for watched in (False, True):
        if watched:
            ads.cmd("WATCH", "Ads.P:{t}w")
        ads.cmd("MULTI")
        assert ads.cmd("SET", "Ads.P:{t}x", "never") == b"QUEUED"
        boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "WRITES", "FOR", 60)
        assert ads.raw_reply("EXEC").startswith(b"-EXECABORT Transaction discarded because of: BLOCKED writes to namespace")
        assert ads.raw_reply("EXEC").startswith(b"-ERR EXEC without MULTI")
        assert ads.cmd("GET", "Ads.P:{t}x") != b"never"
        boss.cmd("GATE", "UNBLOCK", "namespace", "Ads.P")


@pytest.mark.parametrize("what", ["namespace Ads.P", "key Ads.P:l2", "user ads"])
def test_whoever_waits_is_told(setting: Setting, boss: Resp, ads: Resp, what: str) -> None:
    ads.send("BLPOP", "Ads.Q:l1", "Ads.P:l2", 0)
    with login(setting, "ads") as behind:
        behind.send("XREAD", "BLOCK", 0, "STREAMS", "Ads.P:l2", "$")
        wait_for(lambda: info(boss, "clients")["blocked_clients"] == "2", "both to wait")
        boss.cmd("GATE", "BLOCK", *what.split(), "FOR", 60)
        for client in (ads, behind):
            assert client.read_one().startswith(b"-BLOCKED " + what.split(maxsplit=1)[0].encode())
    boss.cmd("GATE", "UNBLOCK", *what.split())
    assert ads.cmd("RPUSH", "Ads.P:l2", "kept") == 1
    assert ads.cmd("LPOP", "Ads.P:l2") == b"kept"


def test_messages_of_a_blocked_namespace_are_not_delivered(setting: Setting, boss: Resp, ads: Resp) -> None:
    ads.cmd("SUBSCRIBE", "Ads.P:c")
    ads.cmd("PSUBSCRIBE", "*")
    boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 60)
    (store,) = setting.stores
    store.cmd("PUBLISH", "Ads.P:c", "hidden")
    store.cmd("PUBLISH", "Ads.Q:c", "shown")
    assert ads.read() == [b"pmessage", b"*", b"Ads.Q:c", b"shown"]


def test_it_ends_by_itself_and_the_list_tells_when(boss: Resp, ads: Resp) -> None:
    boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 3600)
    boss.cmd("GATE", "BLOCK", "key", "Bank.L:1", "WRITES", "FOR", 7200)
    shown = sorted(dict(zip(block[::2], block[1::2], strict=True))[b"name"] for block in boss.cmd("GATE", "BLOCKED"))
    assert shown == [b"Ads.P", b"Bank.L:1"]
    boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 1)  # shorter, instead of the one before
    refused(ads, "GET Ads.P:1", "namespace")
    wait_for(lambda: not ads.raw_reply("GET", "Ads.P:1").startswith(b"-BLOCKED"), "the end of the block")
    assert len(boss.cmd("GATE", "BLOCKED")) == 1


def test_who_may_block_what(setting: Setting, boss: Resp, ads: Resp) -> None:
    assert ads.raw_reply("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 1).startswith(b"-NOPERM")
    assert ads.raw_reply("GATE", "BLOCKED").startswith(b"-NOPERM")
    with login(setting, "bank") as bank:
        for words in ("namespace Ads.P", "namespace Bank.*", "namespace default", "user ads", "user bank", "key Ads.P:1"):
            assert bank.raw_reply("GATE", "BLOCK", *words.split(), "FOR", 1).startswith(b"-NOPERM"), words
            assert bank.raw_reply("GATE", "UNBLOCK", *words.split()).startswith(b"-NOPERM"), words
        boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 60)
        boss.cmd("GATE", "BLOCK", "user", "ads", "FOR", 60)
        assert bank.cmd("GATE", "BLOCKED") == []
        assert bank.cmd("GATE", "BLOCK", "namespace", "Bank.L", "FOR", 60) == b"OK"
        assert len(bank.cmd("GATE", "BLOCKED")) == 1
    for words, why in (
        ("namespace No.Such FOR 1", b"no such namespace"),
        ("namespace nodot FOR 1", b"no namespace's name"),
        ("user nobody FOR 1", b"no such user"),
        ("user boss FOR 1", b"himself"),
        ("namespace Ads.P FOR 0", b"whole number"),
        ("namespace Ads.P FOR 99999999", b"whole number"),
        ("namespace Ads.P FOR 1.5", b"whole number"),
        ("namespace Ads.P READS FOR 1", b"syntax"),
        ("shard Ads.P FOR 1", b"syntax"),
    ):
        assert why in boss.raw_reply("GATE", "BLOCK", *words.split()), words


@BOTH
def test_every_worker_and_every_later_one_and_after_a_reload(
    gates: Gates, redis_server: RedisServer, workers: int, tmp_path: Path
) -> None:
    gate = gates(config(redis_server, tmp_path), gate=f"workers = {workers}\n")
    clients = [*one_on_each(gate, workers, user="ads", password="ads-secret").values()]
    login = {"user": "boss", "password": "boss-secret"}
    for client in clients:
        client.pipeline([("SET", "Ads.P:1", "v")] * 3)
    with gate.client(**login) as boss:  # type: ignore[arg-type]  # user and password
        assert boss.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 600) == b"OK"
        for client in clients:
            refused(client, "SET Ads.P:1 v", "namespace")
        reload(gate, config(redis_server, tmp_path) + user("more", "Ads.*"), **login)
        for client in clients:
            refused(client, "SET Ads.P:1 v", "namespace")
    if workers > 1:
        (victim, _) = children(gate.pid)
        os.kill(victim, signal.SIGKILL)
        replaced(gate, victim)
        for client in one_on_each(gate, workers, user="ads", password="ads-secret").values():
            refused(client, "SET Ads.P:1 v", "namespace")
            client.close()
    with gate.client(**login) as boss:  # type: ignore[arg-type]  # user and password
        assert boss.cmd("GATE", "UNBLOCK", "namespace", "Ads.P") == 1
    for client in clients:
        with contextlib.suppress(Closed):
            assert client.cmd("SET", "Ads.P:1", "v") == b"OK"
        client.close()
