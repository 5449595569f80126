"""/metrics of whole gates: every sum is held against commands that were really sent, over workers that come and go."""

import os
import signal
import socket
from contextlib import ExitStack

import pytest

from kvgate.lane.driver import TIMED_EVERY
from kvgate_lmdb.backend import PROBES
from tests.server.processes import children, one_on_each
from tests.server.settings import user
from tests.support.ports import free_port
from tests.support.resp import Resp, frame
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for
from tests.support.watching import OPENMETRICS, Scrape, Watch, watched

BOTH = pytest.mark.parametrize("workers", [1, 2])


def config(store: RedisServer, more: str = "") -> str:
    return (
        f'[backends.far]\ntype = "redis"\nurl = "{store.url}"\n[backends.near]\ntype = "lmdb"\npath = "$DIR/data"\n'
        f'[namespaces]\n"Ads.*" = "far"\n"Loc.Cart" = "near"\n{more}'
    )


def fresh(watch: Watch, what: str, until: "dict[str, float]", **labels: str) -> Scrape:
    """A scrape that shows what was done just now: one is up to half a second old."""
    found: list[Scrape] = []

    def shown() -> bool:
        found.append(watch.scrape())
        return all(found[-1].sum(name, **labels) == value for name, value in until.items())

    try:
        wait_for(shown, what, timeout=8.0)
    except TimeoutError:
        pytest.fail(f"{what}: {[(name, found[-1].sum(name, **labels), value) for name, value in until.items()]}")
    return found[-1]


def talk(client: Resp, space: str) -> None:
    """18 commands on keys of a namespace, 2 of which are errors and 3 misses; one that is refused, and 4 without a key."""
    for number in range(5):
        assert client.cmd("SET", f"{space}:s{number}", "text") == b"OK"
    for number in range(8):
        client.cmd("GET", f"{space}:{'s' if number < 5 else 'missing'}{number}")
    for _ in range(2):
        assert client.raw_reply("INCR", f"{space}:s0").startswith(b"-ERR value is not an integer")
    assert client.cmd("HSET", f"{space}:h", "f", "v") in (0, 1)
    assert client.cmd("HGET", f"{space}:h", "f") == b"v"
    client.cmd("EXPIRE", f"{space}:h", 100)
    assert client.raw_reply("GET", "nobody:1").startswith(b"-NONAMESPACE")
    for _ in range(4):
        client.cmd("PING")


@BOTH
def test_the_sums_are_those_of_what_was_sent(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    gate, watch = watched(gates, config(redis_server), gate=f"workers = {workers}\n")
    with ExitStack() as stack:
        on = one_on_each(gate, workers)
        clients = [stack.enter_context(client) for client in on.values()] * (4 // workers)
        before = watch.scrape().sum("kvgate_commands_by_name_total", command="ping")
        for client in clients:
            for space in ("Ads.One", "Ads.Two", "Loc.Cart"):
                talk(client, space)
        times = len(clients)
        found = fresh(watch, "all commands to be counted", {"kvgate_refusals_total": 3 * times})
        for space in ("Ads.One", "Ads.Two", "Loc.Cart"):
            of_space = {"namespace": space}
            count = "kvgate_commands_total"
            assert found.sum(count, **of_space) == 18 * times
            assert found.sum(count, **of_space, result="error") == 2 * times
            assert found.sum(count, **of_space, result="miss") == 3 * times
            assert found.sum(count, **of_space, **{"class": "read"}) == 9 * times
            assert found.sum(count, **of_space, **{"class": "write"}, result="ok") == 7 * times
            assert found.sum("kvgate_keyspace_hits_total", **of_space) == 6 * times
            assert found.sum("kvgate_keyspace_misses_total", **of_space) == 3 * times
            assert found.sum("kvgate_command_duration_seconds_count", **of_space) == 18 * times
            assert 0 < found.sum("kvgate_command_duration_seconds_sum", **of_space) < 60
            assert found.sum("kvgate_received_bytes_total", **of_space) > 18 * 20 * times
            assert found.sum("kvgate_sent_bytes_total", **of_space) > 18 * 4 * times
        assert found.sum("kvgate_commands_by_name_total", command="get") == 24 * times
        assert found.sum("kvgate_commands_by_name_total", command="ping") - before == 12 * times
        assert found.sum("kvgate_commands_by_name_total", command="incr", result="error") == 6 * times
        assert found.rows("kvgate_refusals_total") == {(("code", "NONAMESPACE"), ("namespace", "none")): 3 * times}
        assert found.sum("kvgate_connections") == workers
        assert found.sum("kvgate_workers") == workers
        assert found.values("kvgate_process_cpu_seconds_total", "process") == (
            {"gate"} if workers == 1 else {"parent", "worker 1", "worker 2"}
        )
        turns = found.sum("kvgate_gate_duration_seconds_count")
        assert turns >= 66 * times, "every command was read in some turn"
        assert 0 < found.sum("kvgate_lane_turn_seconds_count") <= turns + 10_000
        trips, lasted = (found.sum(f"kvgate_store_round_trip_seconds_{part}", backend="far") for part in ("count", "sum"))
        assert trips >= 30 * times // TIMED_EVERY, "one command at a time: each is a round trip"
        assert 0 < lasted < found.sum("kvgate_command_duration_seconds_sum") + 5
        assert found.sum("kvgate_lmdb_write_commands_total", backend="near") == 9 * times + PROBES
        assert found.sum("kvgate_lmdb_commit_seconds_count") == found.sum("kvgate_lmdb_write_groups_total") > 0
        assert found.rows("kvgate_backend_up") == {
            (("backend", "far"), ("type", "redis")): 1,
            (("backend", "near"), ("type", "lmdb")): 1,
        }
    fresh(watch, "the end of the connections", {"kvgate_connections": 0})


def test_nothing_falls_when_a_worker_dies(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, config(redis_server), gate="workers = 2\n")
    on = one_on_each(gate, 2)
    for client in on.values():
        talk(client, "Ads.One")
    before = fresh(watch, "all to be counted", {"kvgate_refusals_total": 2})
    victim = min(on)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(set(children(gate.pid)) - {victim}) == 2, "another worker")
    after = fresh(watch, "the new worker to serve", {"kvgate_workers": 2, "kvgate_worker_restarts_total": 1})
    assert after.sum("kvgate_commands_total", namespace="Ads.One") == 36
    fell = {
        key: (value, after.counters().get(key))
        for key, value in before.counters().items()
        if after.counters().get(key, -1) < value and "process" not in dict(key[1])
    }
    assert not fell
    assert "worker 1" in (left := after.values("kvgate_process_cpu_seconds_total", "process")) or "worker 2" in left
    assert "worker 3" in left
    with gate.client() as client:
        talk(client, "Ads.One")
    again = fresh(watch, "more to be counted", {"kvgate_refusals_total": 3})
    assert again.sum("kvgate_commands_total", namespace="Ads.One") == 54
    for client in on.values():
        client.close()


def test_twenty_thousand_namespaces_have_few_labels(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, config(redis_server), gate="metrics_namespaces = 40\n")

    def send(client: Resp, names: "range | list[int]", times: int) -> None:
        for start in range(0, len(names), 2000):
            part = [name for name in names[start : start + 2000] for _ in range(times)]
            client.send_raw(b"".join(frame("SET", f"Ads.t{name}:k", "v") for name in part))
            assert [client.read() for _ in part] == [b"OK"] * len(part)

    with gate.client() as client:
        send(client, range(20_000), 1)
        first = fresh(watch, "20,000 commands", {"kvgate_commands_by_name_total": 20_000}, command="set")
        assert len(first.values("kvgate_commands_total", "namespace")) <= 42, "40, other, none"
        assert first.sum("kvgate_commands_total", namespace="other") == 20_000 - 40
        busy = list(range(7000, 7020))
        send(client, busy, 50)
        second = fresh(watch, "1,000 more", {"kvgate_commands_by_name_total": 21_000}, command="set")
        spaces = second.values("kvgate_commands_total", "namespace")
        assert {f"Ads.t{name}" for name in busy} <= spaces, "the busiest have a label"
        assert len(spaces) <= 42
        fell = [
            key
            for key, value in first.counters().items()
            if second.counters().get(key, -1) < value and dict(key[1]).get("namespace") in {None, "other", *spaces}
            and "process" not in dict(key[1])
        ]  # fmt: skip
        assert not fell
    assert len(first.text) < 400_000


def test_openmetrics_when_it_is_asked_for(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, config(redis_server))
    with gate.client() as client:
        talk(client, "Ads.One")
    plain = fresh(watch, "all to be counted", {"kvgate_refusals_total": 1})
    status, body, headers = watch.get("/metrics", accept=OPENMETRICS)
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    opened = watch.scrape(OPENMETRICS)
    assert set(opened.counters()) == set(plain.counters())
    assert opened.sum("kvgate_commands_total") == plain.sum("kvgate_commands_total")
    assert all(family.documentation.endswith((".", ".)")) for family in plain.families.values())
    assert all(name.startswith("kvgate_") for name in plain.families)


def test_no_secret_and_no_key_is_shown(gates: Gates, redis_servers: RedisServers) -> None:
    store = redis_servers(password="stores-secret")
    gate, watch = watched(gates, config(store, user("ads", "Ads.*")))
    with gate.client(user="ads", password="ads-secret") as client:
        client.cmd("SET", "Ads.One:a-key", "a-value")
        client.ask("GET", "Elsewhere.Ns:another-key")
        client.ask("NOSUCHCOMMAND", "x")
        fresh(watch, "a refusal", {"kvgate_refusals_total": 1}, code="NONAMESPACE")
        found = fresh(watch, "another refusal", {"kvgate_refusals_total": 1}, code="ERR")
    store.kill()
    fresh(watch, "the store to be down", {"kvgate_store_shards_down": 1})
    for text in (found.text, watch.scrape().text, str(watch.health())):
        for secret in ("secret", "a-key", "a-value", "another-key", "NOSUCHCOMMAND", "nosuchcommand", "Elsewhere"):
            assert secret not in text


def test_a_store_that_goes_and_comes_back(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, config(redis_server))
    with gate.client() as client:
        client.cmd("SET", "Ads.One:a", "1")
        redis_server.kill()
        down = fresh(watch, "the store to be down", {"kvgate_store_shards_down": 1})
        assert down.sum("kvgate_backend_up", backend="far") == 0
        assert down.sum("kvgate_upstream_lost_total", backend="far") >= 1
        assert client.raw_reply("GET", "Ads.One:a").startswith(b"-TRYAGAIN")
        redis_server.start()
        up = fresh(watch, "the store to be up", {"kvgate_store_shards_down": 0, "kvgate_backend_up": 2})
        assert up.sum("kvgate_upstream_connects_total", backend="far") > 1
        assert up.sum("kvgate_commands_total", namespace="Ads.One", result="error") == 1


def test_a_backend_that_a_reload_replaces_loses_no_counts(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, config(redis_server))
    with gate.client() as client:
        talk(client, "Ads.One")
        before = fresh(watch, "all to be counted", {"kvgate_refusals_total": 1})
        for times in (1, 2, 3):  # what came since the last scrape counts too
            gate.write_config(config(redis_server).replace('type = "redis"', f'type = "redis"\nown_connections = {times}'))
            assert client.cmd("GATE", "RELOAD") == b"OK"
            talk(client, "Ads.One")
        after = fresh(watch, "more to be counted", {"kvgate_refusals_total": 4})
        for name in ("kvgate_store_round_trip_seconds_count", "kvgate_upstream_connects_total"):
            assert after.sum(name, backend="far") >= before.sum(name, backend="far") + 3
        assert after.rows("kvgate_config_info") != before.rows("kvgate_config_info")
        gate.write_config("[namespaces]\nnonsense = 1\n")
        assert client.raw_reply("GATE", "RELOAD").startswith(b"-ERR")
        fresh(watch, "the failed reload to be shown", {"kvgate_config_last_reload_successful": 0})


def test_an_address_that_is_taken_is_a_mistake_of_the_configuration(gates: Gates, redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=rf'gate.metrics: "127.0.0.1:{port}" cannot be bound: Address already in use'):
            gates(config(redis_server), gate=f'metrics = "127.0.0.1:{port}"\n')
