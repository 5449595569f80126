"""Home namespaces: a client that does not prefix its keys gets the bytes that a Redis of its own would give it."""

import re
from collections.abc import Iterator

import attrs
import pytest

from kvgate.commands.spec import Action
from kvgate.commands.table import every_command, lookup
from tests.server.conversations import EVERY, SESSIONS, Line, lines, say
from tests.server.settings import Setting, namespaces, redis, serving, sharded, stores, user
from tests.server.test_differential import differences, keys_of, may_queue, spoken
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

PASSWORD = "home-secret"
HOMES = user("home", "*", password=PASSWORD, more='commands = ["+@all"]\ndatabases = { 0 = "Ads.Cache", 3 = "Ads.Other" }')
BOSS = user("boss", "*", more='commands = ["+@all"]')
VERSIONED = "".join(f'[namespaces."Ads.{name}"]\nbackend = "a"\nversioned = true\n' for name in ("Other", "Third"))
LIMITS = 'max_reply = "100mb"\nmax_field = "1mb"\n'
"""With which each reply, and each command that may make fields, takes a way of its own."""
LMDB = '[backends.a]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n'
CONFIGURATIONS = ("one store", "two shards", "a store without RESP3, with limits", "lmdb")
FIRST = lines("""
    SET @k v
    SET @other v
    HSET @h f v
    DBSIZE
    SCAN 0 COUNT
    SCAN bad
    COMMAND GETKEYS MSET @a 1 @b 2
    FLUSHALL NOW
    SELECT 0
    SELECT 99
    SELECT x
    SELECT -1
""")
LAST = lines("""
    DEL @k @other
    RANDOMKEY
    FLUSHDB
    DBSIZE
    RANDOMKEY
    SET @k v
    FLUSHALL
    DBSIZE
""")
PATTERNS = ("*", "Ads.P:{t}[kh]", "Ads.P:*", "*k", "k", "nosuch*", "[A-Z]ds.P:?t?k", "\\Ads.P:*", "Ads.Cache:*")
OWN_WORDS = {
    "versions": lines("""
        EXSET @v 1
        EXGET @v
        EXSETVER @v 7
        EXGET @none
        EXINCRBY @v 2
        EXINCRBYFLOAT @v 0.5
        EXCAS @v new 9
        EXCAD @v 1
        EXAPPEND @v x
        EXPREPEND @v y
        EXGAE @v EX 100
        CAS @v a b
        CAD @v a
        SET @c x
        CAS @c x y
        DELIFEQ @c z
        DELEX @c IFEQ y
        CAD @c y
        SET @c x IFEQ y
    """),
    "versioned fields": lines("""
        EXHSET @h f v
        EXHSETNX @h f w
        EXHSETVER @h f 3
        EXHMSET @h g 1 i 2
        EXHMSETWITHOPTS @h j 1 0 0
        EXHINCRBY @h g 4
        EXHINCRBYFLOAT @h g 0.5
        EXHGET @h f
        EXHGETWITHVER @h f
        EXHMGET @h f g none
        EXHMGETWITHVER @h f
        EXHGETALL @h
        EXHGETALLWITHVER @h
        EXHKEYS @h
        EXHVALS @h
        EXHLEN @h
        EXHEXISTS @h f
        EXHSTRLEN @h f
        EXHVER @h f
        EXHEXPIRE @h f 1000
        EXHEXPIREAT @h f 4102444800
        EXHPEXPIRE @h f 1000000
        EXHPEXPIREAT @h f 4102444800000
        EXHTTL @h none
        EXHPTTL @h none
        EXHPERSIST @h f
        EXHSCAN @h 0
        EXHDELWITHVER @h f 99
        EXHDEL @h f none
    """),
    "locks": lines("""
        GATE LOCK @lock me PX 100000
        GATE LOCK @lock you PX 100000
        GATE EXTEND @lock me PX 200000
        GATE UNLOCK @lock you
        GATE UNLOCK @lock me
    """),
}
"""The commands that Redis has not: compared between two gates."""


FENCE = re.compile(rb":\d{3,}")
"""A lock's number, and times: they only grow."""


@attrs.frozen
class Pair:
    """A gate, whose user has a home, and a plain Redis that are asked the same."""

    setting: Setting
    plain: RedisServer | Gate
    kind: str

    def flush(self) -> None:
        with self.setting.gate.client(user="boss", password="boss-secret") as boss:
            boss.cmd("FLUSHALL")
        self.plain.cmd("FLUSHALL")


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with stores(3) as (plain, one, two):
        stored = {
            "one store": redis("a", one),
            "two shards": sharded("a", one, two),
            "a store without RESP3, with limits": redis("a", one, "resp3 = false"),
            "lmdb": LMDB,
        }[request.param]
        config = stored + namespaces(default="a") + VERSIONED + HOMES + BOSS
        config += '[namespaces."Ads.Cache"]\nbackend = "a"\n' + (LIMITS if "RESP3" in request.param else "")
        with serving(config, one, two) as setting:
            if request.param == "lmdb":
                with Gate(LMDB + namespaces(default="a")) as other:
                    yield Pair(setting, other, request.param)
            else:
                yield Pair(setting, plain, request.param)


@pytest.fixture(autouse=True)
def _empty(pair: Pair) -> None:
    pair.flush()


def unlike(pair: Pair, requests: list[Line], proto: int) -> list[str]:
    """The requests that were answered differently, one after the other on one connection each."""
    found: list[str] = []
    with pair.plain.client(proto=proto) as plain, at_home(pair.setting.gate, proto) as gate:
        for request in requests:
            found += [text for text in differences(plain, gate, request) if not excused(request, text)]
            if request == (b"RESET",):
                gate.cmd("AUTH", "home", PASSWORD)
    return found


def at_home(gate: Gate, proto: int = 2) -> Resp:
    return gate.client(user="home", password=PASSWORD, proto=proto)


def excused(request: Line, text: str) -> bool:
    """A key's memory counts its name, and a script is given whole keys, which this one returns."""
    if request[:2] == (b"MEMORY", b"USAGE"):
        return "redis: b':" in text and "gate:  b':" in text
    return request[0] == b"EVAL" and request[1].startswith(b"return{KEYS[1]") and "Ads.Cache:Ads.P:{t}e" in text


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("group", EVERY)
def test_commands(pair: Pair, group: str, proto: int) -> None:
    found = unlike(pair, EVERY[group], proto)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("session", SESSIONS)
def test_sessions(pair: Pair, session: str, proto: int) -> None:
    found = unlike(pair, SESSIONS[session], proto)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
def test_everything_in_one_transaction(pair: Pair, proto: int) -> None:
    for group, requests in EVERY.items():
        pair.flush()
        chosen = [request for request in requests if may_queue(request) and request[0] not in (b"EVAL", b"MEMORY")]
        found = unlike(pair, [say("MULTI"), *chosen, say("EXEC")], proto)
        assert not found, f"{group}: " + "\n".join(found)


def test_everything_while_another_key_is_watched(pair: Pair) -> None:
    """Between WATCH and EXEC commands go another way."""
    for group, requests in EVERY.items():
        pair.flush()
        chosen = [request for request in requests if request[0] not in (b"EVAL", b"MEMORY")]
        found = unlike(pair, [say("WATCH @another"), *chosen], 3)
        assert not found, f"{group}: " + "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
def test_listings(pair: Pair, proto: int) -> None:
    with pair.plain.client() as plain, pair.setting.gate.client(user="boss", password="boss-secret") as boss:
        plain.cmd("SET", "unused", "v")
        plain.cmd("DEL", "unused")
        for name in ("Ads.Other:k", "Ads.P:{t}k", "Ads.Cache2:k", "k"):  # neighbours
            boss.cmd("SET", name, "v")
    found = unlike(pair, FIRST, proto)
    with pair.plain.client(proto=proto) as plain, at_home(pair.setting.gate, proto) as gate:
        for pattern in PATTERNS:
            assert sorted(gate.cmd("KEYS", pattern)) == sorted(plain.cmd("KEYS", pattern)), pattern
            assert scanned(gate, "MATCH", pattern) == scanned(plain, "MATCH", pattern), pattern
        assert scanned(gate) == scanned(plain) == [b"Ads.P:{t}h", b"Ads.P:{t}k", b"Ads.P:{t}other"]
        assert scanned(gate, "TYPE", "hash", "COUNT", 1) == [b"Ads.P:{t}h"]
    found += unlike(pair, LAST, proto)
    assert not found, "\n".join(found)
    with pair.setting.gate.client(user="boss", password="boss-secret") as boss:
        left = {b"Ads.P:{t}k", b"Ads.Cache2:k", b"k"}  # FLUSHALL took the user's other database as well
        assert set(boss.cmd("KEYS", "*")) == left


def scanned(connection: Resp, *options: str | int) -> list[bytes]:
    """All that SCAN gives."""
    cursor, found = b"0", set[bytes]()
    while True:
        cursor, keys = connection.cmd("SCAN", cursor, *options)
        found.update(keys)
        if cursor == b"0":
            return sorted(found)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("group", OWN_WORDS)
def test_commands_that_redis_lacks(pair: Pair, group: str, proto: int) -> None:
    """At home, and by who may see everything and writes the whole key: the same replies. Versioned keys on a store that lacks
    them are rewritten."""
    with at_home(pair.setting.gate, proto) as gate:
        gate.cmd("SELECT", 3)
        own = [FENCE.sub(b":1", gate.raw_reply(*request)) for request in OWN_WORDS[group]]
    with pair.setting.gate.client(user="boss", password="boss-secret", proto=proto) as boss:
        whole = [[b"Ads.Third:" + word if b":{t}" in word else word for word in request] for request in OWN_WORDS[group]]
        wanted = [FENCE.sub(b":1", boss.raw_reply(*request)) for request in whole]
        assert boss.cmd("KEYS", "Ads.Other:*") or group == "locks"
    assert own == wanted
    assert sum(reply[:1] == b"-" for reply in own) < len(own) / 4


def test_no_command_with_keys_is_left_out() -> None:
    """Those of Redis are in the conversations; a command whose reply shows a prefix, and that has no rule, differs there."""
    compared = {spec.name for spec in spoken()}
    compared |= {spec.name for requests in OWN_WORDS.values() for spec in map(lookup, requests) if spec is not None}
    wanted = {
        spec.name
        for spec in every_command()
        if spec.keys and spec.action in (Action.FORWARD, Action.SPLIT, Action.OWN) and "PUBSUB" not in spec.group.upper()
    }
    assert wanted - compared == {"WATCH"}  # which answers OK


def test_no_reply_shows_the_prefix(pair: Pair) -> None:
    """Once more, over every request on keys that all hold one type: errors, too."""
    with at_home(pair.setting.gate) as gate:
        for requests in spoken().values():
            for request in requests:
                for kind in ("SET", "RPUSH"):
                    for key in keys_of(request):
                        gate.ask("DEL", key)
                        gate.ask(kind, key, "v")
                    gate.send(*request)
                    shown = b"KEYS[1],r" in b" ".join(request)
                    assert shown or b"Ads.Cache" not in gate.read_raw(), request
                    if shown:
                        gate.read_raw()
