"""What is to be seen while it goes on, over two workers: slow commands, hot keys, what commands came to, connections."""

from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest
import redis

from tests.server.processes import info, one_on_each
from tests.server.settings import Setting, namespaces, serving, stores, user
from tests.server.settings import redis as backend
from tests.support.resp import Resp, frame, parse
from tests.support.servers import NO_REDIS, Gates, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

USERS = (
    namespaces(Ads__="a", Bank_L="a", Bank_Local="local", default="a")
    + user("ads", "Ads.*")
    + user("bank", "Bank.*")
    + user("boss", "*", more='commands = ["+@all"]')
    + user("operator", "Ads.*", more='commands = ["+@all"]')
)
LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n'
SPIN = (
    "local t = redis.call('TIME') repeat local n = redis.call('TIME') until"
    " (n[1] - t[1]) * 1000000 + n[2] - t[2] > 60000 return 1"
)
"""A script that takes 60 ms."""
GATE = 'workers = 2\nslowlog_time = "40ms"\nlatency_threshold = "40ms"\nhotkeys_sample = 2\n'


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(1) as (store,), serving(backend("a", store) + LOCAL + USERS, store, gate=GATE) as setting:
        yield setting


@pytest.fixture
def two(setting: Setting) -> Iterator[Callable[[str], list[Resp]]]:
    """For a user a connection to each worker."""
    opened: list[Resp] = []

    def make(name: str) -> list[Resp]:
        on = one_on_each(setting.gate, 2, user=name, password=f"{name}-secret")
        opened.extend(on.values())
        return [on[pid] for pid in sorted(on)]

    yield make
    for client in opened:
        client.close()


Two = Callable[[str], list[Resp]]


def maps(client: Resp, *words: str) -> list[dict[str, Any]]:
    found = client.cmd(*words)
    rows = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in found]
    return [{name.decode(): value for name, value in row.items()} for row in rows]


def spin(client: Resp, key: str) -> None:
    client.cmd("EVAL", SPIN, 1, key)


def test_slow_commands_of_both_workers_are_seen_as_far_as_their_namespaces_are(two: Two) -> None:
    boss, ads, bank = two("boss"), two("ads"), two("bank")
    assert boss[0].cmd("SLOWLOG", "RESET") == b"OK"
    for client in boss:
        client.cmd("CLIENT", "SETNAME", "the-boss")
    spin(boss[0], "Ads.P:1")
    spin(boss[1], "Bank.L:2")
    spin(boss[1], "plain")
    for client in boss:
        entries = client.cmd("SLOWLOG", "GET", "-1")
        assert sorted(entry[3][3] for entry in entries) == [b"Ads.P:1", b"Bank.L:2", b"plain"]
        assert {entry[5] for entry in entries} == {b"the-boss"}
        assert all(60_000 <= entry[2] < 5_000_000 for entry in entries)
        assert len({entry[0] for entry in entries}) == 3, "ids are unique over workers"
        assert [entry[1] for entry in entries] == sorted((entry[1] for entry in entries), reverse=True)
        assert client.cmd("SLOWLOG", "LEN") == 3
        assert len(client.cmd("SLOWLOG", "GET", "2")) == 2
    for client in ads:
        (entry,) = client.cmd("SLOWLOG", "GET")
        assert entry[3:] == [[b"EVAL", b"(arguments of another user's script)"], b"", b""]
        assert client.cmd("SLOWLOG", "LEN") == 1
        (told,) = maps(client, "GATE", "SLOWLOG")
        assert (told["namespace"], told["user"], told["upstream"]) == (b"Ads.P", b"", b"a/0")
        assert told["usec"] == told["queued_usec"] + told["store_usec"]
        assert isinstance(client.ask("SLOWLOG", "RESET"), hiredis.ReplyError)
    assert len(bank[0].cmd("SLOWLOG", "GET")) == 1
    raw = bank[0].raw_reply("SLOWLOG", "GET") + bank[0].raw_reply("GATE", "SLOWLOG")
    assert b"Ads" not in raw
    assert b"plain" not in raw
    assert boss[1].cmd("SLOWLOG", "RESET") == b"OK"
    assert [client.cmd("SLOWLOG", "LEN") for client in (*boss, *ads)] == [0, 0, 0, 0]


def test_redis_py_reads_the_slow_log(setting: Setting, two: Two) -> None:
    (first, _) = two("boss")
    first.cmd("SLOWLOG", "RESET")
    spin(first, "Ads.P:1")
    with redis.Redis(port=setting.gate.port, username="boss", password="boss-secret") as client:
        (entry,) = client.slowlog_get(10)
        assert entry["command"].startswith(b"EVAL local t")
        assert client.slowlog_len() == 1
        assert client.slowlog_reset()


def test_waiting_for_others_is_not_slow_and_hanging_stores_are(two: Two, setting: Setting) -> None:
    boss, (ads, _) = two("boss"), two("ads")
    boss[0].cmd("SLOWLOG", "RESET")
    assert ads.cmd("BLPOP", "Ads.P:never", "0.1") is None
    assert ads.cmd("SLOWLOG", "LEN") == 0
    (store,) = setting.stores
    ads.cmd("SET", "Ads.P:0", "x")  # from now on the lane takes them
    store.pause()
    try:
        ads.send_raw(b"".join(frame("SET", f"Ads.P:{number}", "x") for number in range(20)))
        assert boss[1].ask("MULTI") == b"OK"
        boss[1].send("SET", "Bank.L:1", "2")
        boss[1].send("EXEC")
        wait_for(lambda: any(row["in_flight"] >= 20 for row in maps(boss[0], "GATE", "UPSTREAMS", "a")), "them to be sent")
        assert ads.silent(0.1)
    finally:
        store.resume()
    assert ads.read_raw(20) == b"+OK\r\n" * 20
    assert boss[1].read_raw(2).startswith(b"+QUEUED")
    entries = {row["command"][0]: row for row in maps(boss[0], "GATE", "SLOWLOG")}
    run, block = entries[b"SET"], entries[b"EXEC"]
    assert (run["command"], run["more"], run["user"]) == ([b"SET", b"Ads.P:0", b"x"], 19, b"ads")
    assert (block["command"], block["namespace"], block["queued_usec"]) == ([b"EXEC", b"SET Bank.L:1 2"], b"Bank.L", None)
    latest = {name: worst for name, _, _, worst in boss[0].cmd("LATENCY", "LATEST")}
    assert latest[b"store:a"] >= 100
    assert boss[1].cmd("LATENCY", "HISTORY", "store:a")
    assert b"store:a: " in boss[1].cmd("LATENCY", "DOCTOR")
    assert boss[1].cmd("LATENCY", "GRAPH", "store:a").startswith(b"store:a - high ")
    assert boss[1].cmd("LATENCY", "RESET") >= 1
    assert boss[0].cmd("LATENCY", "LATEST") == []


def test_slow_tasks_and_embedded_commands_are_noted(gates: Gates, redis_server: RedisServer) -> None:
    """With a threshold of 0 every command is slow."""
    config = backend("a", redis_server) + LOCAL + USERS
    gate = gates(config, gate='slowlog_time = "0s"\nlatency_threshold = "0s"\n')
    with gate.client(user="boss", password="boss-secret") as boss:
        for words in (
            ["KEYS", "nothing*"],
            ["SET", "Bank.Local:1", "v" * 1000],
            ["GET", "Bank.Local:1"],
            ["SET", "Ads.P:1", "x"],
            ["MGET", "Ads.P:1", "Bank.L:1"],
        ):
            boss.cmd(*words)
        rows = {tuple(row["command"][:2]): row for row in maps(boss, "GATE", "SLOWLOG", "COUNT", "100")}
        assert rows[b"KEYS", b"nothing*"]["namespace"] == b""
        stored = rows[b"SET", b"Bank.Local:1"]
        assert (stored["upstream"], stored["namespace"]) == (b"local", b"Bank.Local")
        assert stored["command"][2] == b"v" * 128 + b"... (872 more bytes)"
        assert rows[b"GET", b"Bank.Local:1"]["upstream"] == b"local"
        assert rows[b"SET", b"Ads.P:1"]["upstream"] == b"a/0"
        assert (b"AUTH", b"boss") not in rows
        with gate.client(user="ads", password="ads-secret") as ads:
            seen = [row["command"][:2] for row in maps(ads, "GATE", "SLOWLOG", "COUNT", "100")]
            assert [b"SET", b"Ads.P:1"] in seen
            assert [b"KEYS", b"nothing*"] not in seen, "another user's, about no key"
            assert not any(b"Bank" in word for words in seen for word in words)


def test_tasks_beside_the_lane_are_counted(gates: Gates, redis_server: RedisServer) -> None:
    gate = gates(backend("a", redis_server) + namespaces(default="a"))
    with gate.client() as client, gate.client() as waiting:
        wait_for(lambda: info(client)["slow_tasks"] == "0", "what the start left to be done")
        waiting.send("BLPOP", "Ads.T:queue", "0")
        wait_for(lambda: info(client)["slow_tasks"] == "1", "the task that waits")
        client.cmd("RPUSH", "Ads.T:queue", "x")
        assert waiting.read() == [b"Ads.T:queue", b"x"]
        wait_for(lambda: info(client)["slow_tasks"] == "0", "the task's end")


def test_hot_keys_of_both_workers_come_out_with_their_share(two: Two) -> None:
    ads, bank, boss, operator = two("ads"), two("bank"), two("boss"), two("operator")
    for client in ads:
        for _ in range(10):
            client.pipeline([("GET", "Ads.Hot:it") for _ in range(60)] + [("SET", f"Ads.Hot:{n}", "x") for n in range(40)])
    for client in bank:
        client.pipeline([("SET", "Bank.Local:hot", "x") for _ in range(300)])
        client.pipeline([("MGET", "Bank.L:a", "Bank.L:b") for _ in range(100)])
    for client in ads:
        first, *_ = maps(client, "GATE", "HOTKEYS", "Ads.Hot", "COUNT", "3")
        assert first["key"] == b"Ads.Hot:it"
        assert float(first["share"]) == pytest.approx(0.6, abs=0.1)
        assert float(first["reads"]) == 1.0
        assert float(first["error"]) <= 1 / 64
        assert float(first["rate"]) > 0
    for client in bank:
        rows = {row["key"]: row for row in maps(client, "GATE", "HOTKEYS")}
        assert {b"Bank.Local:hot", b"Bank.L:a", b"Bank.L:b"} <= rows.keys()
        assert float(rows[b"Bank.Local:hot"]["reads"]) == 0.0
        assert not any(row["namespace"].startswith(b"Ads") for row in rows.values())
        refused = client.ask("GATE", "HOTKEYS", "Ads.Hot")
        assert str(refused).startswith("NOPERM")
    assert maps(boss[0], "GATE", "HOTKEYS", "COUNT", "1")[0]["key"] == b"Ads.Hot:it"
    others = maps(operator[0], "GATE", "HOTKEYS", "Bank.Local")
    assert [(row["key"], row["namespace"]) for row in others] == [(None, b"Bank.Local")], "its heat, not its name"
    for wrong in (["COUNT", "0"], ["COUNT"], ["COUNT", "x"], ["a", "b"]):
        assert isinstance(boss[0].ask("GATE", "HOTKEYS", *wrong), hiredis.ReplyError)


def test_a_key_of_any_length_and_bytes_is_shown_bounded(two: Two) -> None:
    (ads, _), long = two("ads"), b"Ads.Long:" + b"\xff\r\n" * 1000
    for _ in range(40):
        ads.cmd("SET", long, "x")
    (row,) = maps(ads, "GATE", "HOTKEYS", "Ads.Long", "COUNT", "1")
    assert len(row["key"]) == 128
    assert row["key"].startswith(long[:100])


@pytest.mark.parametrize("proto", [2, 3])
def test_commands_come_to_the_same_as_in_redis(gates: Gates, redis_servers: Any, proto: int) -> None:
    """The same conversation with a gate and a bare server: calls, failures and refusals are the same, and so are the forms."""
    behind, bare = redis_servers(), redis_servers()
    gate = gates(backend("a", behind) + namespaces(default="a"))
    told: list[dict[str, Any]] = []
    for program in (gate, bare):
        with program.client() as client:
            if program is bare:
                client.cmd("CONFIG", "RESETSTAT")
            for words in (
                *([["SET", f"k{n}", "v"] for n in range(5)]),
                *([["GET", f"k{n}"] for n in range(8)]),
                *([["LPUSH", "k1", "x"]] * 3),
                ["GET"],
                ["EVAL", "return redis.error_reply('MINE it is')", "1", "k1"],
            ):
                client.ask(*words)
            stats = _lines(client.cmd("INFO", "commandstats"))
            errors = _lines(client.cmd("INFO", "errorstats"))
            latency = _lines(client.cmd("INFO", "latencystats"))
            figures = _lines(client.cmd("INFO", "stats"))
        with program.client(proto=proto) as client:
            histogram = client.raw_reply("LATENCY", "HISTOGRAM", "get", "NOSUCH", "set", "client")
        one = parse(histogram)
        shape = [(name, fields[0], fields[2]) for name, fields in zip(one[::2], one[1::2], strict=True)] if proto == 2 else [
            (name, *fields) for name, fields in one.items()
        ]  # fmt: skip
        counts = {name: (fields[b"calls"] if proto == 3 else fields[1]) for name, fields in _pairs(one)}
        told.append(
            {
                "stats": {
                    name: [part for part in line.split(",") if not part.startswith("usec")]
                    for name, line in stats.items()
                    if name.removeprefix("cmdstat_") in ("get", "set", "lpush", "eval")
                },
                "forms": {name: [part.partition("=")[0] for part in line.split(",")] for name, line in stats.items()}[
                    "cmdstat_get"
                ],
                "errors": errors,
                "latency": [part.partition("=")[0] for part in latency["latency_percentiles_usec_get"].split(",")],
                "hits": [figures[name] for name in ("keyspace_hits", "keyspace_misses", "total_error_replies")],
                "histogram": (histogram[:4], shape, counts),
            }
        )
    assert told[0] == told[1]


def _pairs(value: Any) -> list[tuple[bytes, Any]]:
    return list(value.items()) if isinstance(value, dict) else list(zip(value[::2], value[1::2], strict=True))


def _lines(text: Any) -> dict[str, str]:
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_what_commands_came_to_is_added_over_workers_and_shown_by_namespace(two: Two) -> None:
    boss, ads, bank = two("boss"), two("ads"), two("bank")
    before = _calls(boss[0], "append")
    for client in ads:
        client.pipeline([("APPEND", "Ads.Count:k", "x") for _ in range(7)])
    for client in bank:
        client.pipeline([("APPEND", "Bank.L:count", "x") for _ in range(5)])
        client.pipeline([("INCR", "Bank.L:count") for _ in range(5)])
    assert [_calls(client, "append") for client in ads] == [14, 14]
    assert [_calls(client, "append") for client in bank] == [10, 10]
    assert [_calls(client, "append") - before for client in boss] == [24, 24]
    assert "cmdstat_incr" not in _lines(ads[0].cmd("INFO", "commandstats"))
    assert "cmdstat_ping" not in _lines(ads[0].cmd("INFO", "commandstats")), "about no key"
    assert int(_lines(bank[0].cmd("INFO", "errorstats"))["errorstat_ERR"].split("=")[1]) >= 10
    assert ads[0].cmd("LATENCY", "HISTOGRAM", "append")[1][1] == 14


def _calls(client: Resp, command: str) -> int:
    line = _lines(client.cmd("INFO", "commandstats")).get(f"cmdstat_{command}", "calls=0,")
    return int(line.partition("=")[2].partition(",")[0])


def test_clients_are_listed_over_workers_and_have_to_be_granted(two: Two) -> None:
    boss, ads = two("boss"), two("ads")
    for client in ads:
        client.cmd("CLIENT", "SETNAME", "mine")
        client.cmd("SET", "Ads.P:1", "x" * 5000)
    for client in boss:
        rows = maps(client, "GATE", "CLIENTS", "USER", "ads")
        assert [row["user"] for row in rows] == [b"ads", b"ads"]
        assert {row["worker"] for row in rows} == {0, 1}
        assert [row["id"] for row in rows] == sorted(int(each.cmd("CLIENT", "ID")) for each in ads)
        for row in rows:
            assert (row["name"], row["in_flight"], row["database"], row["protocol"]) == (b"mine", 0, 0, 2)
            assert row["bytes_in"] > 5000
            assert 5 < row["bytes_out"] < 5000
            assert row["address"].startswith(b"127.0.0.1:")
        assert len(maps(client, "GATE", "CLIENTS", "LIMIT", "3")) == 3
        assert len(maps(client, "GATE", "CLIENTS")) >= 4
        for wrong in (["LIMIT", "0"], ["USER"], ["FOO", "x"]):
            assert isinstance(client.ask("GATE", "CLIENTS", *wrong), hiredis.ReplyError)
    for command in (["GATE", "CLIENTS"], ["GATE", "UPSTREAMS"]):
        assert str(ads[0].ask(*command)).startswith("NOPERM")


def test_upstreams_are_listed_with_their_state_over_workers(two: Two, setting: Setting) -> None:
    boss, ads = two("boss"), two("ads")
    for client in ads:
        client.cmd("SET", "Ads.P:1", "x")
    rows = maps(boss[0], "GATE", "UPSTREAMS")
    assert len(rows) == 2 * 4, "two workers, two connections, two protocols"
    up = [row for row in rows if row["state"] == b"up"]
    assert {row["worker"] for row in up} == {0, 1}
    for row in rows:
        assert (row["backend"], row["shard"], row["in_flight"], row["queued_bytes"]) == (b"a", 0, 0, 0)
        assert row["address"].decode() == setting.stores[0].url + "/0"
        assert (row["since"] is None) == (row["state"] != b"up")
        assert row["own_in_use"] == 0
    assert maps(boss[0], "GATE", "UPSTREAMS", "nosuch") == []
    ads[0].send("BLPOP", "Ads.P:never", "0")
    wait_for(lambda: any(row["own_in_use"] == 1 for row in maps(boss[0], "GATE", "UPSTREAMS")), "a connection in use")
    (store,) = setting.stores
    store.cmd("CLIENT", "KILL", "TYPE", "normal")
    wait_for(lambda: any(row["last_error"] for row in maps(boss[1], "GATE", "UPSTREAMS")), "it to be noticed")
    assert info(boss[0])["admin_clients"] == "0"


def test_a_reload_changes_what_is_looked_at(gates: Gates, redis_server: RedisServer) -> None:
    config = backend("a", redis_server) + LOCAL + USERS
    gate = gates(config, gate='workers = 2\nslowlog_time = "0s"\nhotkeys_sample = 1\n')
    on = one_on_each(gate, 2, user="boss", password="boss-secret")
    first, second = on.values()
    for client in on.values():
        client.cmd("SET", "Ads.P:1", "x")
    assert maps(first, "GATE", "HOTKEYS")
    assert first.cmd("SLOWLOG", "LEN") > 0
    text = gate.config_path.read_text("utf-8")
    changed = text.replace('slowlog_time = "0s"', 'slowlog_time = "1h"\nslowlog_entries = 7')
    gate.config_path.write_text(changed.replace("hotkeys_sample = 1", "hotkeys_sample = 0"), "utf-8")
    assert second.cmd("GATE", "RELOAD") == b"OK"
    assert maps(first, "GATE", "HOTKEYS") == []
    first.cmd("SLOWLOG", "RESET")
    for client in on.values():
        client.cmd("SET", "Ads.P:1", "x")
        assert client.cmd("SLOWLOG", "LEN") == 0
        assert client.cmd("CONFIG", "GET", "slowlog-max-len") == [b"slowlog-max-len", b"7"]
        client.close()


def test_many_namespaces_are_summed_up_beside_the_lane(gates: Gates, redis_server: RedisServer) -> None:
    gate = gates(backend("a", redis_server) + USERS.replace('"Bank.Local" = "local"\n', ""))
    with gate.client(user="ads", password="ads-secret") as ads, gate.client(user="boss", password="boss-secret") as boss:
        ads.pipeline([("INCR", f"Ads.T{number}:k") for number in range(600)])
        ads.pipeline([("GET", f"Ads.T{number}:{kind}") for number in range(600) for kind in "kx"])
        for client in (ads, boss):
            assert _calls(client, "incr") == 600
            assert _lines(client.cmd("INFO", "stats"))["keyspace_hits"] == "600"
            assert _lines(client.cmd("INFO"))["keyspace_misses"] == "600"
            assert client.cmd("LATENCY", "HISTOGRAM", "get")[1][1] == 1200
        replies = ads.pipeline([("INCR", "Ads.T1:k"), ("INFO", "stats"), ("INCR", "Ads.T1:k")])
        assert (replies[0], replies[2]) == (2, 3), "in order"
