"""A hostile tenant goes through the command table to read, change or learn of its neighbour, on a shared Redis and on LMDB.

The neighbour's values, further keys, channels, names and scripts hold words that the tenant never says: none of them may be in
any reply to it, nor in its own keys afterwards, and the neighbour's data must be what they were, to the byte.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.server import hostile
from tests.server.conversations import Line
from tests.server.settings import Setting, redis, serving, stores, user
from tests.support.resp import Closed, Resp, frame
from tests.support.servers import NO_REDIS, RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

MARK: Final = b"9marker"
"""In everything of the neighbour's that the tenant does not know."""
PORTION: Final = 400
NAMESPACES: Final = """
[namespaces]
"Ads.*" = "a"
"Ads.Emb" = "local"
"Ads.HE" = "local"
"Bank.Hidden9marker" = "a"
"Bank.Emb" = "local"
"Bank.Vault9marker" = "vault9marker"
default = "a"
[namespaces."Ads.V"]
backend = "a"
versioned = true
[namespaces."Bank.Ledger"]
backend = "a"
[namespaces."Bank.Versioned"]
backend = "a"
versioned = true
"""


def config(store: RedisServer, folder: Path) -> str:
    return (
        redis("a", store)
        + f'[backends.local]\ntype = "lmdb"\npath = "{folder}/data"\n'
        + f'[backends.vault9marker]\ntype = "lmdb"\npath = "{folder}/vault9marker"\n'
        + NAMESPACES
        + user("all", "Ads.*", more='commands = ["+@all", "-@admin"]')
        + user("plain", "Ads.*")
        + user("home", "Ads.H", "Ads.HE", more='commands = ["+@all", "-@admin"]\ndatabases = { 0 = "Ads.H", 1 = "Ads.HE" }')
        + user("owner9marker", "Bank.*", "default", more='commands = ["+@all"]')
    )


@attrs.frozen
class Ground:
    """Where the tenant tries: beginnings of its own keys and of the neighbour's, and the neighbour's data as they are."""

    name: str
    own: bytes
    bad: bytes
    snapshot: Callable[[], Any]
    user: str = "all"


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with stores(1) as (store,):
        text = config(store, tmp_path_factory.mktemp("store"))
        with serving(text, store, gate="slowlog_time = 0\n") as setting, victim(setting) as owner:
            store.cmd("CONFIG", "SET", "notify-keyspace-events", "KEA")
            furnish(setting, owner)
            yield setting


def victim(setting: Setting, proto: int = 2) -> Resp:
    return setting.gate.client(user="owner9marker", password="owner9marker-secret", proto=proto)


def tenant(setting: Setting, name: str = "all", proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


def furnish(setting: Setting, owner: Resp) -> None:
    """The neighbour's data: a key of each type, known by name, and keys that the tenant knows nothing of."""
    value = b"value" + MARK
    plain = [
        ("SET", "string", value), ("HSET", "hash", b"f" + MARK, value), ("RPUSH", "list", value, "m"),
        ("SADD", "set", value, "m"), ("ZADD", "zset", 1, value, 2, "m"), ("GEOADD", "geo", 1, 1, value, 1, 1, "m"),
        ("XADD", "stream", "1-1", "f", value), ("XGROUP", "CREATE", "stream", "g" + MARK.decode(), 0),
        ("PFADD", "hyperloglog", value), ("PEXPIREAT", "string", 4102444800123),
    ]  # fmt: skip
    versioned = [("EXSET", "exstring", value, "ABS", 77), ("EXHSET", "exhash", b"f" + MARK, value)]
    emb = [each for each in plain if each[0] in ("SET", "HSET", "PEXPIREAT")] + versioned
    at_key = {"XGROUP": 2}
    for space, commands in (("Bank.Ledger", plain), ("Bank.Versioned", versioned), ("Bank.Emb", emb)):
        for command in commands:
            at = at_key.get(str(command[0]), 1)
            owner.cmd(*command[:at], f"{space}:{{t}}{command[at]!s}", *command[at + 1 :])
        owner.cmd("SET", f"{space}:{{t}}hidden{MARK.decode()}", value)
    for key in (b"Bank.Hidden9marker:1", b"no-namespace" + MARK, b"Bank.Nobody9marker:x"):
        owner.cmd("SET", key, value)
    store = setting.stores[0]
    store.cmd("SCRIPT", "LOAD", b"return '" + value + b"'")
    code = b"#!lua name=lib9marker\nredis.register_function('f9marker', function() return '" + value + b"' end)"
    store.cmd("FUNCTION", "LOAD", code)


def redis_snapshot(store: RedisServer) -> Any:
    """All that lies on the store and is not the tenant's: keys to the byte, with their expiries, settings, scripts."""
    with store.client() as client:
        keys = sorted(key for key in client.cmd("KEYS", "*") if not key.startswith((b"Ads.", b"\x00kvgate:")))
        values = client.pipeline([line for key in keys for line in (("DUMP", key), ("PEXPIRETIME", key))])
        rest = client.pipeline([("FUNCTION", "DUMP"), ("CONFIG", "GET", "*"), ("INFO", "keyspace"), ("ACL", "LIST")])
    return keys, values, rest[:2], rest[2].count(b"db"), rest[3]


def embedded_snapshot(setting: Setting) -> Any:
    """The neighbour's keys on LMDB, by its own eyes."""
    with victim(setting) as owner:
        keys = sorted(key for key in owner.cmd("KEYS", "Bank.Emb:*"))
        names = (b"exstring", b"exhash", b"hash")
        plain = [("GET", key) for key in keys if not key.endswith(names)] + [("PEXPIRETIME", key) for key in keys]
        space = "Bank.Emb:{t}"
        more = [("EXGET", space + "exstring"), ("EXHGETALLWITHVER", space + "exhash"), ("HGETALL", space + "hash")]
        return keys, owner.pipeline([*plain, *more])


def at_home(setting: Setting, store: RedisServer) -> Ground:
    """A tenant that says no prefixes, whose databases are one namespace each: every other one is its neighbour's."""

    def snapshot() -> Any:
        with store.client() as client:
            keys = sorted(key for key in client.cmd("KEYS", "*") if not key.startswith((b"Ads.H:", b"\x00kvgate:")))
            return keys, client.pipeline([("DUMP", key) for key in keys]), redis_snapshot(store), embedded_snapshot(setting)

    return Ground("home", b"{t}", b"Bank.Ledger:{t}", snapshot, "home")


@pytest.fixture(params=["redis", "versioned", "lmdb"])
def ground(setting: Setting, request: pytest.FixtureRequest) -> Ground:
    store = setting.stores[0]
    return {
        "redis": Ground("redis", b"Ads.P:{t}", b"Bank.Ledger:{t}", lambda: redis_snapshot(store)),
        "versioned": Ground("versioned", b"Ads.V:{t}", b"Bank.Versioned:{t}", lambda: redis_snapshot(store)),
        "lmdb": Ground("lmdb", b"Ads.Emb:{t}", b"Bank.Emb:{t}", lambda: embedded_snapshot(setting)),
    }[request.param]


READERS: Final[dict[bytes, Line]] = {
    b"string": (b"GET",), b"hash": (b"HGETALL",), b"list": (b"LRANGE", b"0", b"-1"), b"set": (b"SMEMBERS",),
    b"zset": (b"ZRANGE", b"0", b"-1"), b"stream": (b"XRANGE", b"-", b"+"),
}  # fmt: skip


def own_data(store: RedisServer) -> bytes:
    """Everything in the tenant's keys on the store, as bytes to look through."""
    with store.client() as client:
        keys = list(client.cmd("KEYS", "Ads.*"))
        kinds = client.pipeline([("TYPE", key) for key in keys])
        readers = [READERS[kind] for kind in kinds]
        return repr(client.pipeline([(r[0], key, *r[1:]) for r, key in zip(readers, keys, strict=True)])).encode()


def say(client: Resp, requests: Sequence[Line]) -> list[bytes]:
    """Each request's reply, all sent together."""
    client.send_raw(b"".join(frame(*request) for request in requests))
    return [client.read_one() for _ in requests]


def assault(setting: Setting, ground: Ground, requests: Sequence[Line], proto: int = 2) -> list[bytes]:
    """Say them all; what was hidden stays hidden, what was there stays as it was. The replies."""
    before, store = ground.snapshot(), setting.stores[0]
    found: list[bytes] = []
    with tenant(setting, ground.user, proto=proto) as client:
        for begin in range(0, len(requests), PORTION):
            portion = requests[begin : begin + PORTION]
            say(client, hostile.furniture(ground.own))
            replies = say(client, portion)
            for request, reply in zip(portion, replies, strict=True):
                assert MARK not in reply or any(MARK in word for word in request), (request, reply)
            assert MARK not in own_data(store), portion
            if ground.snapshot() != before:
                pinpoint(setting, ground, portion, proto)
            found += replies
    assert ground.snapshot() == before
    return found


def pinpoint(setting: Setting, ground: Ground, requests: Sequence[Line], proto: int) -> None:
    """Say which request it was, as far as saying them again tells."""
    before = ground.snapshot()
    with tenant(setting, ground.user, proto=proto) as client:
        for request in requests:
            reply = client.raw_reply(*request)
            assert ground.snapshot() == before, (request, reply)
    pytest.fail(f"one of these changed the neighbour's data, once: {requests}")


@lru_cache
def everything() -> tuple[tuple[bytes, ...], ...]:
    found = dict.fromkeys(map(tuple, (*hostile.tricks(), *hostile.replaced(), *hostile.generated())))
    return tuple(each for each in found if each[0].upper() != b"GATE" or each[1] != b"RELOAD")


def said(ground: Ground, *, bad: bytes = b"") -> list[Line]:
    """Every request, with the ground's keys."""
    return [hostile.filled(each, ground.own, bad or ground.bad) for each in everything()]


def test_the_whole_command_table(setting: Setting, ground: Ground) -> None:
    requests = said(ground) if ground.name != "versioned" else said(ground)[::2]
    replies = assault(setting, ground, requests)
    assert len(requests) > 4000
    refused = sum(reply.startswith(b"-NOPERM") for reply in replies)
    assert refused > len(requests) // 4, "most of these name the neighbour's key"


def test_whether_a_key_exists_cannot_be_told(setting: Setting, ground: Ground) -> None:
    """Every refusal reads the same for a key that is there and for one that is not."""
    other = ground.bad.replace(b"{t}", b"{x}")
    here, there = said(ground)[::4], said(ground, bad=other)[::4]
    replies: list[list[bytes]] = []
    for requests in (here, there):
        setting.stores[0].cmd("EVAL", "for _, k in ipairs(redis.call('keys', 'Ads.*')) do redis.call('del', k) end", 0)
        with tenant(setting) as client:
            client.cmd("FLUSHALL")
            replies.append([])
            for begin in range(0, len(requests), PORTION):
                say(client, hostile.furniture(ground.own))
                replies[-1] += say(client, requests[begin : begin + PORTION])
    for request, one, two in zip(here, *replies, strict=True):
        if one[:1] == b"-" or two[:1] == b"-":
            assert one == two.replace(other, ground.bad), request


def test_in_the_other_protocol(setting: Setting, ground: Ground) -> None:
    assault(setting, ground, said(ground)[1::5], proto=3)


def test_inside_transactions(setting: Setting, ground: Ground) -> None:
    """What cannot be queued aborts; what can be is executed, and shows nothing."""
    block: list[Line] = []
    for request in said(ground)[::5]:
        if ground.bad in b" ".join(request) and request[0] not in (b"EVAL", b"FCALL"):
            block += [(b"MULTI",), request, (b"EXEC",)]
    replies = assault(setting, ground, block)
    assert sum(reply.startswith(b"-EXECABORT") for reply in replies[2::3]) > 500


@pytest.mark.parametrize("database", [0, 1])
def test_from_a_home_namespace(setting: Setting, database: int) -> None:
    """The neighbour's keys have names there that are the tenant's own keys."""
    ground = at_home(setting, setting.stores[0])
    with tenant(setting) as others:
        others.cmd("SET", "Ads.P:other7", "value7")
        requests = [(b"SELECT", b"%d" % database), *said(ground)[database::2]]
        for again in range(PORTION - 1, len(requests), PORTION):
            requests.insert(again, (b"SELECT", b"%d" % database))  # one of them may have chosen another
        assault(setting, ground, requests)
        with tenant(setting, "home") as client:
            client.cmd("SET", "Bank.Ledger:{t}string", "mine")
            assert setting.stores[0].cmd("GET", "Ads.H:Bank.Ledger:{t}string") == b"mine"
            client.cmd("FLUSHALL")
            assert client.cmd("KEYS", "*") == []
            client.cmd("PSUBSCRIBE", "*", "__key*", "*9marker*", "[B]*")
            others.cmd("SET", "Ads.P:other7", "value7")
            with victim(setting) as owner:
                owner.cmd("PUBLISH", "Bank.Ledger:c9marker", "message9marker")
            others.cmd("PUBLISH", "Ads.H:c", "the end")
            heard = b""
            while b"the end" not in heard:
                heard += client.read_one()
            assert MARK not in heard.replace(b"*9marker*", b"")
            assert b"Bank" not in heard
            assert b"Ads" not in heard
            assert b"other7" not in heard
        assert others.cmd("GET", "Ads.P:other7") == b"value7"
        others.cmd("DEL", "Ads.P:other7")


def test_watched_keys(setting: Setting, ground: Ground) -> None:
    with tenant(setting) as client:
        for key in (ground.bad + b"string", b"no-namespace", b"Bank.Nobody:1"):
            assert client.raw_reply("WATCH", ground.own + b"x", key).startswith(b"-NOPERM")


@pytest.mark.parametrize("way", ["inline", "quoted", "bytes", "case", "behind the lane's own", "halves"])
def test_ways_to_spell_a_request(setting: Setting, ground: Ground, way: str) -> None:
    """The lane takes what it knows by its spelling: none of the others may slip through."""
    own, bad = ground.own + b"string", ground.bad + b"string"
    wanted = [(b"GET", bad), (b"SET", bad, b"x"), (b"DEL", own, bad), (b"MGET", own, bad), (b"GETDEL", bad), (b"STRLEN", bad)]
    spelled: Any = {
        "inline": lambda words: b" ".join(words) + b"\r\n",
        "quoted": lambda words: (
            b" ".join(b'"' + b"".join(b"\\x%02x" % each for each in word) + b'"' for word in words) + b"\n"
        ),
        "bytes": lambda words: frame(*words),
        "case": lambda words: frame(words[0].swapcase(), *words[1:]).replace(b"$", b"$", 1),
        "behind the lane's own": lambda words: frame(b"SET", own, b"v") * 3 + frame(*words) + frame(b"GET", own),
        "halves": lambda words: frame(*words),
    }[way]
    before = ground.snapshot()
    with tenant(setting) as client:
        client.pipeline([("SET", own, "v"), ("GET", own), ("DEL", own), ("MGET", own, own), ("STRLEN", own)] * 3)
        for words in wanted:
            data = spelled(words)
            if way == "bytes":
                for at in range(len(data)):
                    client.send_raw(data[at : at + 1])
            elif way == "halves":
                middle = data.index(b":")
                client.send_raw(frame(b"GET", own) + data[: middle + 1])
                client.send_raw(data[middle + 1 :] + frame(b"GET", own))
            else:
                client.send_raw(data)
            client.send("ECHO", "end")
            replies = []
            while (reply := client.read_one()) != b"$3\r\nend\r\n":
                replies.append(reply)
            assert any(reply.startswith(b"-NOPERM") for reply in replies), (words, replies)
            assert MARK not in b"".join(replies)
    assert ground.snapshot() == before


@pytest.mark.parametrize(
    "key",
    [
        b"Bank.Ledger:{t}string", b"Bank.Ledger:", b"Bank.Hidden9marker", b"bank.Ledger:x", b"Bank.Ledger\x00:x", b":", b"",
        b"{Ads.P:}x", b"Ads:x", b".:x", b"Ads.P", b"AdsXP:1", b"Bank.Ledger:Ads.P:1", b" Ads.P:1",
        b"\x00kvgate:cursor:1", b"\x00kvgate:",
        b"Ads." + b"P" * 61 + b":1", b"Bank.Emb:{t}string", b"\xff\xfe:x", b"Ads\xff.P:1",
    ],
)  # fmt: skip
def test_what_looks_like_ones_own(setting: Setting, key: bytes) -> None:
    with tenant(setting) as client:
        for _ in range(2):
            client.cmd("SET", "Ads.P:1", "v")
            for words in (
                (b"GET", key),
                (b"SET", key, b"x"),
                (b"PUBLISH", key, b"m"),
                (b"SUBSCRIBE", key),
                (b"GATE", b"ROUTE", key),
            ):
                assert client.raw_reply(*words).startswith(b"-NOPERM"), words


def test_what_listens_hears_nothing(setting: Setting) -> None:
    patterns = (
        "*",
        "**",
        "[B]ank*",
        "B?nk*",
        "Ads.*",
        "__key*__:*",
        "__keyspace@0__:*",
        "*9marker*",
        "\\*",
        "*:*",
        "__key*",
        "",
    )
    with (
        tenant(setting) as two,
        tenant(setting, proto=3) as three,
        tenant(setting, "plain") as plain,
        victim(setting) as owner,
    ):
        listening = (two, three, plain)
        for client in listening:
            for pattern in patterns:
                client.raw_reply("PSUBSCRIBE", pattern)
            for refused in ("__keyevent@0__:*", "Bank.Ledger:*", "__keyspace@0__:Bank.Ledger:*", "__keyevent*:del"):
                raw = client.raw_reply("PSUBSCRIBE", refused)
                assert raw.startswith(b"-NOPERM") or b"__keyevent*" in raw
            assert client.raw_reply("SUBSCRIBE", "Bank.Ledger:c").startswith(b"-NOPERM")
            assert client.raw_reply("SSUBSCRIBE", "Bank.Ledger:c").startswith(b"-NOPERM")
        for _ in range(3):
            owner.cmd("PUBLISH", "Bank.Ledger:c9marker", "message9marker")
            owner.cmd("SPUBLISH", "Bank.Ledger:c9marker", "message9marker")
            owner.cmd("PUBLISH", "no-namespace9marker", "message9marker")
            owner.cmd("SETEX", "Bank.Ledger:short9marker", 100, "value9marker")
            owner.cmd("DEL", "Bank.Ledger:short9marker")
        with tenant(setting) as speaking:
            speaking.cmd("PUBLISH", "Ads.P:c", "the end")
        for client in listening:
            heard = b""
            while b"the end" not in heard:
                heard += client.read_one()
            assert MARK not in heard
            assert b"Bank" not in heard


@pytest.mark.parametrize("name", ["all", "plain"])
def test_monitor_shows_ones_own(setting: Setting, name: str) -> None:
    with tenant(setting, name) as client, victim(setting) as owner, tenant(setting) as speaking:
        if client.raw_reply("MONITOR").startswith(b"-"):
            return
        owner.pipeline(
            [("SET", "Bank.Ledger:shown9marker", "value9marker"), ("CLIENT", "SETNAME", "n9marker"), ("PING", "9marker")]
        )
        owner.pipeline([("MULTI",), ("GET", "Bank.Ledger:shown9marker"), ("EXEC",), ("DEL", "Bank.Ledger:shown9marker")])
        speaking.cmd("GET", "Ads.P:theend")
        heard = b""
        while b"Ads.P:theend" not in heard:
            heard += client.read_one()
        assert MARK not in heard
        assert b"Bank" not in heard


LEARN: Final = """
INFO|INFO everything|INFO all|INFO keyspace|INFO clients|INFO commandstats|INFO errorstats|INFO latencystats|INFO gate
INFO modules|CLIENT LIST|CLIENT INFO|CLIENT LIST TYPE normal|CLIENT LIST ID 1 2 3 4 5 6 7 8 9 10|CONFIG GET *
CONFIG GET *user*|SLOWLOG GET -1|SLOWLOG LEN|GATE SLOWLOG|GATE SLOWLOG GET|GATE HOTKEYS|GATE HOTKEYS 100|GATE BIGKEYS
GATE USAGE|GATE BLOCKED|GATE HELP|LATENCY DOCTOR|LATENCY LATEST|LATENCY HISTOGRAM|LATENCY HISTORY command|LATENCY RESET
ACL LIST|ACL USERS|ACL WHOAMI|ACL LOG|ACL CAT|ACL GETUSER all|COMMAND LIST|COMMAND DOCS|DBSIZE|RANDOMKEY|KEYS *
SCAN 0 COUNT 10000|PUBSUB CHANNELS|PUBSUB CHANNELS *|PUBSUB SHARDCHANNELS|ROLE|TIME|FUNCTION LIST WITHCODE|FUNCTION DUMP
FUNCTION STATS|MEMORY STATS|MEMORY DOCTOR|MODULE LIST|OBJECT HELP|LOLWUT|CLIENT GETNAME|GATE ROUTE Ads.P:1
GATE ROUTE Ads.Nowhere:1|GATE CLIENTS|GATE UPSTREAMS|GATE TOP|CLUSTER NODES|DEBUG OBJECT x|HELLO|HELLO 3|HELLO 2
"""


@pytest.mark.parametrize("name", ["all", "plain", "home"])
def test_what_tells_of_the_gate_tells_nothing_of_the_neighbour(setting: Setting, name: str) -> None:
    """Nor of its users, names of clients, namespaces; after it has done what such lists show."""
    with victim(setting) as owner, victim(setting) as listening:
        owner.cmd("CLIENT", "SETNAME", "name9marker")
        owner.cmd("CLIENT", "SETINFO", "LIB-NAME", "lib9marker")
        listening.cmd("SUBSCRIBE", "Bank.Ledger:c9marker")
        owner.pipeline([("GET", "Bank.Ledger:hot9marker")] * 500)
        owner.pipeline(
            [("SET", "Bank.Ledger:big9marker", "x" * 100_000), ("LPOP", "Bank.Ledger:big9marker"), ("KEYS", "*9marker*")]
        )
        owner.ask("EVAL", "return redis.error_reply('E9marker')", 1, "Bank.Ledger:x")
        owner.ask("GET9marker", "x")
        owner.pipeline(
            [("SET", "Bank.Vault9marker:1", "x"), ("GET", "Bank.Vault9marker:1"), ("HGETALL", "Bank.Vault9marker:1")]
        )
        listening.cmd("PSUBSCRIBE", "Bank.Ledger:p9marker*")
        number = owner.cmd("CLIENT", "ID")
        with tenant(setting, name) as client:
            for text in LEARN.replace("\n", "|").strip("|").split("|"):
                raw = client.raw_reply(*text.split())
                assert MARK not in raw, (text, raw)
                shown_too = name == "home" or any(word in text for word in ("SLOWLOG", "HOTKEYS", "BIGKEYS"))
                if not shown_too:  # there it may be its own word
                    assert b"Bank" not in raw, (text, raw)
            assert client.raw_reply("PUBSUB", "NUMPAT").startswith(b"-ERR command 'pubsub|numpat' is not available")
            for _ in range(100 if name != "home" else 0):
                assert b"Bank" not in client.raw_reply("RANDOMKEY")
            for words in (
                "PUBSUB NUMSUB Bank.Ledger:c9marker", "PUBSUB SHARDNUMSUB Bank.Ledger:c9marker", "ACL GETUSER owner9marker",
                "ACL DRYRUN owner9marker GET Bank.Ledger:x", "CLIENT KILL USER owner9marker", "GATE USAGE Bank.Hidden9marker",
                f"CLIENT LIST ID {number}", f"CLIENT KILL ID {number}",
                f"CLIENT UNBLOCK {number + 1}", "LATENCY HISTOGRAM get", "GATE HOTKEYS Bank.Hidden9marker",
                "GATE BIGKEYS Bank.Hidden9marker", "GATE ROUTE Bank.Hidden9marker:1", "GATE ROUTE no-namespace9marker",
            ):  # fmt: skip
                raw = client.raw_reply(*words.split())
                same = client.raw_reply(*words.replace("owner9marker", "nobody8marker").replace("9marker", "8marker").split())
                assert raw.replace(b"owner9marker", b"nobody8marker").replace(MARK, b"8marker") == same, words
        assert owner.cmd("PING") == b"PONG"
        owner.cmd("DEL", "Bank.Ledger:big9marker")


def test_cursors_of_others(setting: Setting) -> None:
    """The neighbour's cursors, those of its hashes' scans, and made-up ones show what is the tenant's own."""
    with victim(setting) as owner, tenant(setting) as client:
        owner.pipeline([("SET", f"Bank.Ledger:many9marker{n}", "v") for n in range(200)])
        client.pipeline([("SET", f"Ads.P:many{n}", "v") for n in range(20)])
        cursors: list[Any] = [*(2**bit for bit in range(0, 63, 3)), *(2**41 * n + 5 for n in range(4))]
        cursor: Any = b"0"
        while True:
            cursor, _ = owner.cmd("SCAN", cursor, "COUNT", 10)
            if cursor == b"0":
                break
            cursors.append(cursor)
        for each in cursors:
            for more in ((), ("MATCH", "*9marker*"), ("MATCH", "Bank*"), ("TYPE", "string"), ("COUNT", "100000")):
                raw = client.raw_reply("SCAN", each, *more)
                assert MARK not in raw, (each, more)
                assert b"Bank" not in raw, (each, more)
        mine = len(client.cmd("KEYS", "*"))
        assert client.cmd("DBSIZE") == mine
        client.cmd("FLUSHALL")
        assert client.cmd("DBSIZE") == 0
        assert client.cmd("RANDOMKEY") is None
        assert len(owner.cmd("KEYS", "Bank.Ledger:many9marker*")) == 200
        owner.pipeline([("DEL", f"Bank.Ledger:many9marker{n}") for n in range(200)])


def test_commands_that_end_a_connection_or_change_it(setting: Setting, ground: Ground) -> None:
    """Said first, and then what they might have opened: another database, another user, another protocol."""
    own, bad = ground.own + b"string", ground.bad + b"string"
    before = ground.snapshot()
    for first in (
        "RESET", "HELLO 3", "HELLO 2", "HELLO 3 AUTH all all-secret", "HELLO 3 AUTH nobody wrong", "AUTH wrong", "SELECT 0",
        "SELECT 1", "CLIENT REPLY SKIP", "UNWATCH", "DISCARD", "EXEC", "UNSUBSCRIBE", "PUNSUBSCRIBE",
        "SUBSCRIBE Ads.P:c", "MULTI",
        "CLIENT TRACKING ON", "READONLY", "ASKING", "CLIENT NO-EVICT ON", "CLIENT PAUSE 1",
        "CLIENT KILL TYPE normal SKIPME yes", "MONITOR",
        "GATE MONITOR",
    ):  # fmt: skip
        with tenant(setting) as client, contextlib.suppress(Closed):
            client.send_raw(frame(*first.split()) + frame(b"GET", bad) + frame(b"SET", bad, b"x") + frame(b"GET", own))
            client.half_close()
            heard = client.read_all()
            assert MARK not in heard, first
            assert b"Bank" not in heard, first
    assert ground.snapshot() == before
