"""Commands cut by shard, store and embedded store: merged in order, one request per store, and in order with all others."""

import time
from collections.abc import Iterator

import pytest

from tests.server.settings import Setting, keys_on, namespaces, redis, serving, sharded, stores, user
from tests.support.servers import NO_REDIS, RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LMDB = '[backends.local]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n'
PLACES = namespaces(Ads_P="a", Ads_Q="b", Ads_L="local", default="b")


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(3) as (one, two, three):
        config = sharded("a", one, two) + redis("b", three) + LMDB + PLACES
        with serving(config, one, two, three) as setting:
            yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    setting.gate.cmd("FLUSHALL")


def everywhere(count: int = 2) -> list[str]:
    """Keys on both shards, the other store and the embedded one, mixed."""
    columns = [keys_on(0, 2, count), keys_on(1, 2, count), *[[f"Ads.{x}:{n}" for n in range(count)] for x in "QL"]]
    return [column[row] for row in range(count) for column in columns]


@pytest.mark.parametrize("proto", [2, 3])
def test_over_all_places(setting: Setting, proto: int) -> None:
    keys = everywhere()
    null = b"_\r\n" if proto == 3 else b"$-1\r\n"
    with setting.gate.client(proto=proto) as client:
        assert client.raw_reply("MSET", *[word for key in keys for word in (key, "v" + key)]) == b"+OK\r\n"
        wanted = b"".join(b"$%d\r\nv%s\r\n" % (len(key) + 1, key.encode()) for key in keys)
        assert client.raw_reply("MGET", *keys) == b"*%d\r\n" % len(keys) + wanted
        assert client.cmd("EXISTS", *keys, *keys) == 2 * len(keys)
        assert client.cmd("TOUCH", *keys[:3], "Ads.P:none", "Ads.Q:none") == 3
        assert client.cmd("DEL", keys[0], keys[3], keys[3]) == 2
        assert client.cmd("UNLINK", *keys[1:3], "Ads.L:none") == 2
        assert client.raw_reply("MGET", *keys[:4], *keys[:4]) == b"*8\r\n" + 8 * null


def test_duplicates(setting: Setting) -> None:
    """Of one key, in one command: the last value stays, each place is answered."""
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with setting.gate.client() as client:
        client.cmd("MSET", a, 1, b, 2, a, 3, "Ads.L:x", 4, "Ads.L:x", 5)
        assert client.cmd("MGET", a, b, a, "Ads.L:x", a, "Ads.L:x") == [b"3", b"2", b"3", b"5", b"3", b"5"]
        assert client.cmd("EXISTS", a, a, b, "Ads.L:x", "Ads.L:x") == 5


def test_wrong_types_and_arity(setting: Setting) -> None:
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with setting.gate.client() as client:
        client.cmd("RPUSH", a, "x")
        client.cmd("SET", b, "v")
        assert client.cmd("MGET", a, b) == [None, b"v"]
        assert client.raw_reply("MSET", a, 1, b) == b"-ERR wrong number of arguments for 'mset' command\r\n"
        assert client.raw_reply("MSETNX", a, 1, b, 2).startswith(b"-CROSSSLOT")
        assert client.raw_reply("RENAME", a, "Ads.Q:1").startswith(b"-CROSSSLOT")
        assert client.raw_reply("SINTER", a, "Ads.L:1").startswith(b"-ERR command 'sinter' is not supported by backend")
        sorting = client.raw_reply("SORT", "Ads.L:1", "BY", "Ads.L:*")
        assert sorting.startswith(b"-ERR command 'sort' is not supported by backend")


def test_one_request_for_each_store(setting: Setting) -> None:
    keys = [f"Ads.P:{n}" for n in range(5000)] + [f"Ads.Q:{n}" for n in range(5000)]
    before = [(store.calls("mget"), store.calls("mset"), store.calls("del")) for store in setting.stores]
    with setting.gate.client(timeout=60) as client:
        client.cmd("MSET", *[word for key in keys for word in (key, key)])
        assert client.cmd("MGET", *keys) == [key.encode() for key in keys]
        assert client.cmd("DEL", *keys) == 10_000
    after = [(store.calls("mget"), store.calls("mset"), store.calls("del")) for store in setting.stores]
    assert after == [tuple(number + 1 for number in numbers) for numbers in before]


@pytest.mark.parametrize("proto", [2, 3])
def test_pipelines_mix_them_with_plain_commands(setting: Setting, proto: int) -> None:
    """Each step of a counter is seen by the MGET behind it and by no earlier one, on every kind of place."""
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    keys = [a, b, "Ads.Q:n", "Ads.L:n"]
    requests: list[tuple[object, ...]] = []
    wanted: list[object] = []
    for step in range(200):
        text = str(step).encode()
        requests += [("SET", key, step) for key in keys]
        requests += [("MGET", *keys), ("GET", "Ads.L:n"), ("MSET", a, "m", "Ads.L:n", "m"), ("GET", "Ads.L:n"), ("GET", a)]
        wanted += [b"OK"] * 4 + [[text] * 4, text, b"OK", b"m", b"m"]
    with setting.gate.client(proto=proto, timeout=30) as client:
        assert client.pipeline(requests) == wanted  # type: ignore[arg-type]  # words of a request


def test_one_store_down() -> None:
    """One error, in its place; what comes before and behind is as ever."""
    with (
        stores(2) as (one, two),
        serving(redis("a", one) + redis("b", two) + LMDB + PLACES, one, two) as setting,
        setting.gate.client() as client,
    ):
        client.cmd("MSET", "Ads.P:1", 1, "Ads.Q:1", 2, "Ads.L:1", 3)
        two.kill()
        replies = client.pipeline(
            [
                ("GET", "Ads.P:1"),
                ("MGET", "Ads.L:1", "Ads.Q:1", "Ads.P:1"),
                ("GET", "Ads.L:1"),
                ("EXISTS", "Ads.Q:1", "Ads.P:1"),
                ("DEL", "Ads.P:1", "Ads.Q:1"),
                ("GET", "Ads.P:1"),
                ("MGET", "Ads.L:1", "Ads.P:1"),
            ]
        )
        assert [replies[0], replies[2], replies[5], replies[6]] == [b"1", b"3", None, [b"3", None]]
        assert all(str(replies[at]).startswith(("TRYAGAIN", "INDOUBT")) for at in (1, 3, 4)), replies


def test_renamed_commands() -> None:
    hidden = ["--rename-command", "MGET", "MANY", "--rename-command", "XINFO", "XHIDDEN"]
    with RedisServer(config=hidden) as one, RedisServer() as two:
        renamed = redis("a", one, 'rename = { MGET = "MANY", XINFO = "XHIDDEN" }')
        config = renamed + redis("b", two) + namespaces(Ads_P="a", default="b")
        with serving(config, one, two) as setting, setting.gate.client() as client:
            client.cmd("MSET", "Ads.P:1", 1, "x", 2)
            assert client.cmd("MGET", "Ads.P:1", "x") == [b"1", b"2"]
            assert client.cmd("MGET", "Ads.P:1") == [b"1"]
            client.cmd("XADD", "Ads.P:s", "1-1", "f", "v")
            assert client.cmd("XINFO", "GROUPS", "Ads.P:s") == []
            client.pipeline([("MULTI",), ("MGET", "Ads.P:1"), ("XINFO", "GROUPS", "Ads.P:s")])
            assert client.cmd("EXEC") == [[b"1"], []]


ONE_SPACE = namespaces(Ads_P="a", Ads_Q="a", default="a")


@pytest.mark.parametrize("proto", [2, 3])
def test_the_lane_takes_what_it_has_seen(proto: int) -> None:
    """From the second request with as many keys on: the same replies, whatever lies where."""
    with stores(2) as (one, two), serving(sharded("a", one, two) + ONE_SPACE, one, two) as setting:
        keys = [*keys_on(0, 2, 3), *keys_on(1, 2, 3)]
        null = b"_\r\n" if proto == 3 else b"$-1\r\n"
        with setting.gate.client(proto=proto) as client:
            for turn in range(3):
                pairs = [word for key in keys for word in (key, f"{turn}{key}")]
                assert client.raw_reply("MSET", *pairs) == b"+OK\r\n"
                values = b"".join(b"$%d\r\n%d%s\r\n" % (len(key) + 1, turn, key.encode()) for key in keys)
                assert client.raw_reply("MGET", *keys) == b"*6\r\n" + values
                assert client.cmd("EXISTS", *keys) == 6
                assert client.cmd("TOUCH", *keys[1:5], keys[1], "Ads.P:none") == 5
                assert client.cmd("UNLINK", *keys[2:4]) == 2
                assert client.raw_reply("MGET", *keys[2:4]) == b"*2\r\n" + 2 * null
                assert client.cmd("DEL", *keys) == 4
                assert client.raw_reply("MSET", *pairs[:-1]) == b"-ERR wrong number of arguments for 'mset' command\r\n"
            calls = {name: (one.calls(name), two.calls(name)) for name in ("mset", "mget", "del", "exists")}
        assert calls == {"mset": (3, 3), "mget": (6, 6), "del": (3, 3), "exists": (3, 3)}


def test_other_namespaces_are_not_taken_for_a_learned_one() -> None:
    """A user that may use one of two namespaces of a backend gets into the other one by no mixture of keys."""
    config = ONE_SPACE + user("some", "Ads.P") + user("all", "*", more='commands = ["+@all"]')
    with (
        stores(2) as (one, two),
        serving(sharded("a", one, two) + config, one, two) as setting,
        setting.gate.client(user="some", password="some-secret") as client,
    ):
        mine = [*keys_on(0, 2, 2), *keys_on(1, 2, 2)]
        theirs = [*keys_on(0, 2, 1, "Ads.Q:"), *keys_on(1, 2, 1, "Ads.Q:")]
        for _ in range(3):
            assert client.cmd("MGET", *mine) == [None] * 4
            for at in range(4):
                for other in (*theirs, "nocolon", "Ads.P", "Ads.Px:1", "\0kvgate:1"):
                    keys = [*mine[:at], other, *mine[at + 1 :]]
                    assert client.raw_reply("MGET", *keys).startswith(b"-NOPERM"), keys


LIMITS = ("max_elements = 4", 'max_reply = "1kb"', 'key_pattern = "Ads.P:.*"', 'ttl_default = "1h"')


@pytest.mark.parametrize("limits", LIMITS)
def test_limits_hold_for_what_is_learned(limits: str) -> None:
    """Each request answers as the first of its kind did."""
    space = f'[namespaces."Ads.P"]\nbackend = "a"\nrate = {{ operations = 100000, bytes = "1gb" }}\n{limits}\n'
    with (
        stores(2) as (one, two),
        serving(sharded("a", one, two) + space, one, two) as setting,
        setting.gate.client() as client,
    ):
        keys = [*keys_on(0, 2, 3), *keys_on(1, 2, 3)]
        for count in (4, 6):
            some = keys[:count]
            found = []
            for _ in range(3):
                client.cmd("DEL", *keys[:3])
                client.cmd("DEL", *keys[3:])
                replies = [client.raw_reply("MSET", *[word for key in some for word in (key, "v" * 300)])]
                replies += [client.raw_reply("MGET", *some), client.raw_reply("EXISTS", *some)]
                replies += [b"%d" % (client.cmd("TTL", key) > 0) for key in some]
                found.append(replies)
            assert found[0] == found[1] == found[2]


def test_a_rate_holds_for_what_the_lane_cuts() -> None:
    """Each command costs one operation, learned or not, as many stores as it goes to."""
    space = '[rates]\nmax_wait = "0s"\n[namespaces."Ads.P"]\nbackend = "a"\nrate = { operations = 20 }\n'
    with (
        stores(2) as (one, two),
        serving(sharded("a", one, two) + space, one, two) as setting,
        setting.gate.client() as client,
    ):
        keys = [*keys_on(0, 2, 2), *keys_on(1, 2, 2)]
        began = time.monotonic()
        replies = client.pipeline([("MGET", *keys)] * 500)
        allowed = 20 * (1 + time.monotonic() - began) + 20  # a second's worth at once, and what the lane owes at the end
        taken = sum(isinstance(reply, list) for reply in replies)
        assert 0 < taken <= allowed, (taken, allowed)
        assert all(isinstance(reply, list) or str(reply).startswith("THROTTLED") for reply in replies)
        assert (one.calls("mget"), two.calls("mget")) == (taken, taken)


def test_a_home_namespace_cuts_by_whole_keys() -> None:
    more = 'databases = { 0 = "Ads.P" }'
    config = namespaces(Ads_P="a", default="a") + user("home", "Ads.P", more=more)
    with (
        stores(2) as (one, two),
        serving(sharded("a", one, two) + config, one, two) as setting,
        setting.gate.client(user="home", password="home-secret") as client,
    ):
        keys = [key.removeprefix("Ads.P:") for key in (*keys_on(0, 2, 3), *keys_on(1, 2, 3))]
        for turn in range(3):
            assert client.cmd("MSET", *[word for key in keys for word in (key, f"{turn}{key}")]) == b"OK"
            assert client.cmd("MGET", *keys) == [f"{turn}{key}".encode() for key in keys]
            assert client.cmd("DEL", *keys, *keys) == 6
        client.cmd("MSET", *[word for key in keys for word in (key, "v")])
        assert sorted(one.cmd("KEYS", "*")) == sorted(key.encode() for key in keys_on(0, 2, 3))
