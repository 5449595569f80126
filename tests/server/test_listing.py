"""SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHDB: complete over all stores, and no key of anybody else, whatever they share."""

import re
from collections.abc import Iterator

import pytest

from tests.server.settings import Setting, namespaces, redis, serving, sharded, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LMDB = '[backends.local]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n'
USERS = (
    user("ads", "Ads.*")
    + user("one", "Ads.One")
    + user("bank", "Bank.*")
    + user("rest", "default")
    + user("reader", "Ads.*", more='commands = ["+@read"]')
    + user("boss", "*", more='commands = ["+@all"]')
)
ALL = ("Ads.One:", "Ads.Two:", "Bank.L:", "elsewhere:", "")
SEES = {"ads": ALL[:2], "one": ALL[:1], "bank": ALL[2:3], "rest": ALL[3:], "boss": ALL}
EACH = 40


@pytest.fixture(scope="module", params=["one store", "embedded", "shards", "mixed"])
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    with stores(3) as (one, two, three):
        config = {
            "one store": redis("a", one) + namespaces(Ads__="a", Bank_L="a", default="a"),
            "embedded": LMDB + namespaces(Ads__="local", Bank_L="local", default="local"),
            "shards": sharded("a", one, two, three) + namespaces(Ads__="a", Bank_L="a", default="a"),
            "mixed": sharded("a", one, two)
            + redis("b", three)
            + LMDB
            + namespaces(Ads_One="local", Ads__="a", Bank_L="a", default="b"),
        }[request.param]
        with serving(config + USERS, one, two, three) as setting:
            yield setting


@pytest.fixture(autouse=True)
def _fill(setting: Setting) -> None:
    with login(setting, "boss") as boss:
        assert boss.cmd("FLUSHALL") == b"OK"
        boss.pipeline([("SET", key, "v") for prefix in ALL for key in names(prefix)])


def names(*prefixes: str) -> list[str]:
    return [f"{prefix}{number}" for prefix in prefixes for number in range(EACH)]


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto, timeout=30)


def scanned(client: Resp, *options: str) -> list[str]:
    found: list[str] = []
    cursor = b"0"
    for _ in range(1000):
        cursor, keys = client.cmd("SCAN", cursor, *options)
        assert 0 <= int(cursor) < 2**53
        found += [key.decode() for key in keys]
        if cursor == b"0":
            return found
    raise AssertionError("the scan does not end")


@pytest.mark.parametrize("name", SEES)
def test_everything_seen_and_nothing_else(setting: Setting, name: str) -> None:
    mine = set(names(*SEES[name]))
    with login(setting, name) as client:
        assert set(scanned(client)) == mine
        assert set(scanned(client, "COUNT", "3")) == mine
        assert set(scanned(client, "COUNT", "100000", "TYPE", "string")) == mine
        assert scanned(client, "TYPE", "hash") == []
        assert set(scanned(client, "MATCH", "*7")) == {key for key in mine if key.endswith("7")}
        assert set(scanned(client, "MATCH", "Bank.L:*")) == set(names("Bank.L:")) & mine
        assert {key.decode() for key in client.cmd("KEYS", "*")} == mine
        assert {key.decode() for key in client.cmd("KEYS", "Ads.*:1?")} == set(filter(re.compile(r"Ads\..*:1.\Z").match, mine))
        assert client.cmd("DBSIZE") == len(mine)
        assert {client.cmd("RANDOMKEY").decode() for _ in range(50)} <= mine


@pytest.mark.parametrize("command", ["FLUSHDB", "FLUSHALL"])
@pytest.mark.parametrize("name", ["ads", "one", "bank", "rest"])
def test_flushing_leaves_the_others(setting: Setting, name: str, command: str) -> None:
    with login(setting, name) as client, login(setting, "boss") as boss:
        assert client.cmd(command, "ASYNC") == b"OK"
        assert client.cmd("DBSIZE") == 0
        assert client.cmd("RANDOMKEY") is None
        assert {key.decode() for key in boss.cmd("KEYS", "*")} == set(names(*ALL)) - set(names(*SEES[name]))


def test_who_only_reads_flushes_nothing(setting: Setting) -> None:
    with login(setting, "reader") as reader:
        assert reader.raw_reply("FLUSHDB").startswith(b"-NOPERM")
        assert reader.cmd("DBSIZE") == 2 * EACH


def test_scans_of_two_clients_and_of_one_that_is_another_now(setting: Setting) -> None:
    with login(setting, "ads") as client:
        cursor, first = client.cmd("SCAN", 0, "COUNT", 5)
        client.cmd("AUTH", "bank", "bank-secret")
        seen = {key.decode() for key in client.cmd("SCAN", cursor, "COUNT", 100)[1]}
        assert seen <= set(names("Bank.L:"))
        assert {key.decode() for key in first} <= set(names("Ads.One:", "Ads.Two:"))


def test_keys_that_stay_are_all_returned(setting: Setting) -> None:
    """While others come and go between the pages."""
    with login(setting, "boss") as boss, login(setting, "boss") as other:
        found, cursor, number = set[bytes](), b"0", 0
        while True:
            cursor, keys = boss.cmd("SCAN", cursor, "COUNT", 7)
            found.update(keys)
            other.pipeline([("SET", f"Ads.Two:new{number}", "v"), ("DEL", f"Ads.Two:new{number - 1}")])
            number += 1
            if cursor == b"0":
                break
        assert {key.encode() for key in names(*ALL)} <= found


@pytest.mark.parametrize(
    "words",
    ["SCAN x", "SCAN 0 COUNT", "SCAN 0 COUNT 0", "SCAN 0 COUNT x", "SCAN 0 BAD x", "SCAN 99999999999999999999", "FLUSHDB NOW"],
)
def test_errors_are_those_of_redis(setting: Setting, words: str) -> None:
    with login(setting, "boss") as boss, setting.stores[0].client() as plain:
        assert boss.raw_reply(*words.split()) == plain.raw_reply(*words.split())


def test_a_cursor_of_nobody_ends(setting: Setting) -> None:
    with login(setting, "boss") as boss:
        assert boss.cmd("SCAN", 2**53 - 1) == [b"0", []]


def test_not_inside_multi(setting: Setting) -> None:
    with login(setting, "boss") as boss:
        boss.cmd("MULTI")
        assert boss.raw_reply("KEYS", "*").startswith(b"-ERR command 'keys' is not available through the gate")
        assert boss.raw_reply("EXEC").startswith(b"-EXECABORT")
