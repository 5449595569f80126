"""Rates as clients meet them: what passes, what waits for its turn, and what is refused.

Machines that are busy may be late, never early: so what is held here is that no more passes than may in the time that it
took, that commands wait in order, and that turns are taken; not how quickly.
"""

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvgate.policy.prepaid import BATCH
from tests.server.processes import one_on_each, stopped
from tests.server.reloads import redis, refused, reload, user
from tests.support.resp import Resp, frame
from tests.support.servers import Gate, Gates, RedisServer, RedisServers, wait_for

LOGIN: Any = {"user": "ads", "password": "secret"}
PATIENT = 'max_wait = "20s"'
RATES = {
    "four": '{ operations = 400, burst = "100ms" }',
    "two": '{ operations = 1, burst = "2s" }',
    "writes": "{ writes = 2 }",
    "block": '{ writes = 1, bytes = "1mb", burst = "10s" }',
    "five": '{ operations = 1, burst = "5s" }',
    "ten": "{ operations = 10 }",
    "order": '{ operations = 500, burst = "100ms" }',
    "bytes": '{ bytes = "100k", burst = "500ms" }',
    "turns": '{ operations = 1000, burst = "20ms" }',
    "slow": '{ operations = 100, burst = "20ms" }',
    "leaves": '{ operations = 4, burst = "250ms" }',
}
"""Users of the gates that several tests have together, and their rates."""


def config(server: RedisServer, rate: str = "", *, rates: str = "", more: str = "") -> str:
    """One store; the user `ads` with a rate, `free` without any, and `[rates]`."""
    who = user("ads", rate=rate) if rate else user("ads")
    return f'[rates]\n{rates}\n{redis("a", server.url)}[namespaces]\ndefault = "a"\n{more}{who}{user("free")}'


SPACES = """[namespaces."N.One"]
backend = "a"
rate = { reads = 3 }
[namespaces."H.One"]
backend = "a"
rate = { writes = 500, burst = "100ms" }
[namespaces."N.Two"]
backend = "a"
rate = { operations = 2 }
"""


def shared_gate(server: RedisServer, rates: str) -> Iterator[Gate]:
    users = "".join(user(name, rate=rate) for name, rate in RATES.items()) + user("home", databases='{ 0 = "H.One" }')
    with Gate(config(server, rates=rates, more=SPACES + users + user("stranger", namespaces='["B.*"]'))) as gate:
        yield gate


@pytest.fixture(scope="module")
def gate(module_redis: RedisServer) -> Iterator[Gate]:
    """Where commands wait for 100 ms."""
    yield from shared_gate(module_redis, "")


@pytest.fixture(scope="module")
def patient(module_redis: RedisServer) -> Iterator[Gate]:
    """Where commands wait for 20 s."""
    yield from shared_gate(module_redis, PATIENT)


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    if "module_redis" in request.fixturenames:
        request.getfixturevalue("module_redis").cmd("FLUSHALL")


def as_user(gate: Gate, name: str) -> Resp:
    """A connection; to be closed by the caller."""
    return gate.client(user=name, password="secret", timeout=20.0)


def passed(replies: list[object]) -> int:
    """How many were not refused; what was refused says so, and when to come back."""
    bad = [str(reply) for reply in replies if isinstance(reply, Exception)]
    assert all(re.fullmatch(r"THROTTLED retry after [1-9]\d* ms", text) for text in bad), bad[:3]
    return len(replies) - len(bad)


@contextlib.contextmanager
def measured(rate: float, burst: float) -> Iterator[list[int]]:
    """What is put into the list inside the block was let through in that time."""
    counts: list[int] = []
    begun = time.monotonic()
    yield counts
    took = time.monotonic() - begun
    prepaid = 2 * max(1, rate * BATCH)  # for reads and for writes, from before
    assert sum(counts) <= burst + rate * took + prepaid, f"{sum(counts)} in {took:.3f} s"


@pytest.mark.parametrize("depth", [1, 100])
def test_no_more_than_the_rate_passes_and_no_less(gate: Gate, depth: int) -> None:
    with as_user(gate, "four") as client:
        client.cmd("SET", "A.T:x", "1")
        sent = 0
        begun = time.monotonic()
        with measured(400, 40) as counts:
            while time.monotonic() - begun < 0.4:
                counts.append(passed(client.pipeline([("GET", "A.T:x")] * depth)))
                sent += depth
        assert sum(counts) >= 20
        if depth == 1:
            assert sum(counts) == sent, "one after the other, a command waits for its turn"
        else:
            assert sum(counts) < sent


def test_a_pipeline_that_may_wait_waits_in_order_and_is_refused_nothing(patient: Gate) -> None:
    with as_user(patient, "order") as client:
        begun = time.monotonic()
        commands = [(("RPUSH", "A.T:l", number), ("LLEN", "A.T:l"))[number % 2] for number in range(300)]
        replies = client.pipeline(commands)
        assert replies == [number // 2 + 1 for number in range(300)]
        assert time.monotonic() - begun >= (300 - 50 - 1) / 500


def test_at_home_keys_that_waited_get_their_prefix_once(patient: Gate, module_redis: RedisServer) -> None:
    with as_user(patient, "home") as client:
        begun = time.monotonic()
        assert client.pipeline([("INCR", "n")] * 150) == list(range(1, 151))
        assert client.pipeline([("MSET", f"k{n}", "1", "n", str(n)) for n in range(100)]) == [b"OK"] * 100
        assert time.monotonic() - begun >= (250 - 50 - 5) / 500
        assert client.cmd("GET", "n") == b"99"
    assert module_redis.cmd("GET", "H.One:n") == b"99"
    assert module_redis.cmd("DBSIZE") == 101


def test_after_max_wait_it_is_refused_and_nothing_was_executed(gate: Gate, module_redis: RedisServer) -> None:
    with as_user(gate, "two") as client:  # AUTH costs nobody anything: there was no user yet
        done, reply = 0, client.ask("INCR", "A.T:n")
        while not isinstance(reply, Exception):
            done += 1
            reply = client.ask("INCR", "A.T:n")
        assert done >= 2
        found = re.fullmatch(r"THROTTLED retry after (\d+) ms", str(reply))
        assert found
        assert 0 < int(found[1]) <= 1001
        assert module_redis.cmd("GET", "A.T:n") == b"%d" % done
        time.sleep(int(found[1]) / 1000)
        assert client.cmd("INCR", "A.T:n") == done + 1, "who comes back then is served"
    with as_user(gate, "free") as client:
        assert client.pipeline([("INCR", "A.T:n")] * 50)[-1] == done + 51


def test_classes_and_namespaces_have_budgets_of_their_own(gate: Gate) -> None:
    with as_user(gate, "writes") as client, as_user(gate, "free") as other:
        with measured(2, 2) as counts:
            counts.append(passed(client.pipeline([("SET", "B.T:x", "1")] * 20)))
            counts.append(passed(client.pipeline([("EVAL", "return 1", "1", "A.T:x")] * 9)))  # a script may write
            counts.append(passed(client.pipeline([("MSET", "B.T:x", "1", "B.T:y", "2")] * 9)))
        assert counts[0] >= 2
        assert passed(client.pipeline([("GET", "B.T:x")] * 20)) == 20, "reads of the user have no limit"
        assert passed(other.pipeline([("SET", "N.One:x", "1")] * 20)) == 20, "nor have writes of the namespace"
        with measured(3, 3) as counts:
            counts.append(passed(client.pipeline([("GET", "N.One:x")] * 20)))
            counts.append(passed(other.pipeline([("GET", "N.One:x")] * 20)))  # it is all users' together
        assert counts[0] >= 3


def test_who_may_not_touch_a_namespace_takes_nothing_from_it(gate: Gate) -> None:
    with as_user(gate, "stranger") as stranger, as_user(gate, "free") as client:
        for _ in range(20):
            assert refused(stranger, "GET", "N.Two:x").startswith("NOPERM")
            assert refused(stranger, "MGET", "N.Two:x", "N.Two:y").startswith("NOPERM")
            assert refused(stranger, "PUBLISH", "N.Two:x", "hello").startswith("NOPERM")
        assert client.pipeline([("GET", "N.Two:x")] * 2) == [None, None]


def test_bytes_are_counted_and_what_is_too_much_is_paid_off(patient: Gate) -> None:
    one = len(frame("SET", "A.T:x", "v" * 960))
    with as_user(patient, "bytes") as client:
        begun = time.monotonic()
        assert client.pipeline([("SET", "A.T:x", "v" * 960)] * 100) == [b"OK"] * 100
        assert time.monotonic() - begun >= (98 * one - 50_000) / 100_000
        begun = time.monotonic()
        assert client.cmd("SET", "A.T:x", "v" * 60_000) == b"OK", "more than a burst: when the bucket is full"
        assert client.cmd("SET", "A.T:x", "v") == b"OK"
        assert time.monotonic() - begun >= 0.5


def test_a_block_is_judged_whole(gate: Gate, module_redis: RedisServer) -> None:
    with as_user(gate, "block") as client:

        def block(size: int, end: str = "EXEC") -> list[object]:
            return client.pipeline([("MULTI",), *[("INCR", "A.T:n")] * size, (end,)])

        assert block(10)[-1] == list(range(1, 11))
        replies = block(10)
        assert replies[1:-1] == [b"QUEUED"] * 10, "nothing is charged before EXEC"
        assert str(replies[-1]).startswith("THROTTLED retry after ")
        assert module_redis.cmd("GET", "A.T:n") == b"10", "all of it or nothing"
        assert refused(client, "EXEC").startswith("ERR EXEC without MULTI"), "it is over: send it again as a whole"
        assert block(50, "DISCARD")[-1] == b"OK", "what is discarded costs nothing"


def test_what_the_gate_answers_itself_costs_its_user_an_operation(gate: Gate) -> None:
    with as_user(gate, "five") as client, as_user(gate, "five") as other:
        asked = [("PING",), ("CLIENT", "ID"), ("HELLO", "3"), ("INFO", "server"), ("SELECT", "0")]
        with measured(1, 5) as counts:
            counts.append(passed(client.pipeline(asked * 4)))
            counts.append(passed(other.pipeline([("PING",)] * 9)))
        assert counts[0] >= 5
        assert other.cmd("QUIT") == b"OK", "whoever wants to go may"


def test_messages_are_free_and_replies_that_nobody_wants_are_paid(gate: Gate, module_redis: RedisServer) -> None:
    with as_user(gate, "ten") as client, as_user(gate, "ten") as quiet:
        client.cmd("SUBSCRIBE", "A.T:news")
        for _ in range(30):
            module_redis.cmd("PUBLISH", "A.T:news", "hello")
        assert [client.read()[0] for _ in range(30)] == [b"message"] * 30
        with measured(10, 10) as counts:
            quiet.send_raw(frame("CLIENT", "REPLY", "OFF") + frame("INCR", "A.T:n") * 50 + frame("QUIT"))
            quiet.read_all()
            counts.append(int(module_redis.cmd("GET", "A.T:n")))
        assert counts[0] >= 7


def test_connections_take_turns_and_a_deep_pipeline_starves_nobody(patient: Gate, module_redis: RedisServer) -> None:
    """One sends 3,000 at once, ten send one after the other: each of the ten gets about as much as it can ask for."""
    greedy = as_user(patient, "turns")
    modest = [as_user(patient, "turns") for _ in range(10)]
    greedy.send_raw(frame("INCR", "A.T:greedy") * 3000)
    wait_for(lambda: int(module_redis.cmd("GET", "A.T:greedy") or 0) > 50, "the greedy one to be slowed")
    before = int(module_redis.cmd("GET", "A.T:greedy"))
    for _ in range(30):
        for client in modest:
            client.send("INCR", "A.T:modest")
        assert passed([client.read() for client in modest]) == 10
    taken = int(module_redis.cmd("GET", "A.T:greedy")) - before
    assert module_redis.cmd("GET", "A.T:modest") == b"300"
    assert taken < 1500, "a deep pipeline has one turn among others"
    greedy.close()
    for client in modest:
        client.close()


def seen(watching: Resp, command: str) -> int:
    """Connections whose last command, as far as the gate has looked at it, is `command`."""
    return sum(f" cmd={command} " in line for line in watching.cmd("CLIENT", "LIST").decode().splitlines())


def test_many_connections_wait_in_the_order_in_which_they_came(patient: Gate, module_redis: RedisServer) -> None:
    clients = [as_user(patient, "slow") for _ in range(20)]
    with as_user(patient, "free") as watching:
        for number, client in enumerate(clients):
            spelling = "".join(letter.upper() if number >> at & 1 else letter for at, letter in enumerate("rpush"))
            client.send(spelling, "A.T:order", number)  # which the lane has not learned: the gate looks at it
            wait_for(lambda number=number: seen(watching, "rpush") == number + 1, "it to be looked at")  # type: ignore[misc]
    for client in clients:
        assert client.read() > 0
        client.close()
    assert module_redis.cmd("LRANGE", "A.T:order", 0, -1) == [b"%d" % number for number in range(20)]


def test_a_client_that_leaves_while_it_waits_takes_nothing(patient: Gate, module_redis: RedisServer) -> None:
    leaving = [as_user(patient, "leaves") for _ in range(30)]
    with as_user(patient, "free") as watching, as_user(patient, "leaves") as stays:
        for number, client in enumerate([*leaving, stays]):
            spelling = "".join(letter.upper() if number >> at & 1 else letter for at, letter in enumerate("hincrby"))
            client.send(spelling, "A.T:left" if client is not stays else "A.T:stayed", "f", "1")
            wait_for(lambda number=number: seen(watching, "hincrby") == number + 1, "it to be looked at")  # type: ignore[misc]
        for client in leaving:
            client.reset()
        assert stays.read(timeout=4) == 1, "else its turn would come after seven seconds"
    assert int(module_redis.cmd("HGET", "A.T:left", "f") or 0) < 20


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_counts_for_those_who_wait(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    slow = config(redis_server, '{ operations = 1, burst = "1s" }', rates='max_wait = "60s"')
    gate = gates(slow, gate=f"workers = {workers}\n")
    clients = list(one_on_each(gate, workers, user="ads", password="secret").values())
    admin = {"user": "free", "password": "secret"}
    for client in clients:
        client.send_raw(frame("INCR", "A.T:n") * 30)
    fast = config(redis_server, "{ operations = 100000 }", rates='max_wait = "60s"')
    reload(gate, fast, **admin)
    assert sorted(client.read() for client in clients for _ in range(30)) == list(range(1, 30 * workers + 1))
    reload(gate, slow, **admin)
    for client in clients:
        client.send_raw(frame("INCR", "A.T:m") * 3)
    reload(gate, config(redis_server, rates='max_wait = "60s"'), **admin)
    assert sorted(client.read() for client in clients for _ in range(3)) == list(range(1, 3 * workers + 1))
    strict = config(redis_server, '{ operations = 1, burst = "1s" }')
    reload(gate, strict, **admin)
    assert any(passed(client.pipeline([("INCR", "A.T:k")] * 10)) < 10 for client in clients)
    for client in clients:
        client.close()


def test_a_reload_keeps_what_is_left_where_nothing_changed(gates: Gates, redis_server: RedisServer) -> None:
    text = config(redis_server, '{ operations = 5, burst = "100s" }', rates='max_wait = "0s"')
    gate = gates(text)
    with gate.client(**LOGIN) as client, measured(5, 500) as counts:
        counts.append(passed(client.pipeline([("GET", "A.T:x")] * 400)))
        assert counts == [400]
        reload(gate, text + user("new"), user="free", password="secret")
        counts.append(passed(client.pipeline([("GET", "A.T:x")] * 400)))
        assert counts[1] >= 100


def test_the_embedded_store_pays_too(gates: Gates) -> None:
    text = '[backends.a]\ntype = "lmdb"\npath = "$DIR/data"\n[namespaces]\ndefault = "a"\n' + user(
        "ads", rate='{ operations = 500, burst = "100ms" }'
    )
    gate = gates(text + '[rates]\nmax_wait = "20s"\n')
    with gate.client(**LOGIN) as client:
        begun = time.monotonic()
        assert client.pipeline([("INCR", "A.T:n")] * 200) == list(range(1, 201))
        assert client.pipeline([("GET", "A.T:n")] * 100) == [b"200"] * 100
        assert time.monotonic() - begun >= (300 - 50 - 1) / 500


def all_of(clients: list[Resp], count: int) -> None:
    """Each sends `count` at once, side by side, and none is refused."""
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda client=client: found.append(passed(client.pipeline([("INCR", "A.T:n")] * count))))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [count] * len(clients)


AT_HAND = 500 * 0.05 + 2 * 5
"""What each process may have fetched, and prepaid, of 500 a second before it is measured."""


def away_for(*gates: Gate) -> float:
    """Seconds for which the place of the budgets may have been away, on a machine that is very busy; mostly 0."""
    return sum(0.3 * gate.log.count("shared_rates_away") for gate in gates)


def test_workers_share_the_budget_of_their_gate(gates: Gates, redis_server: RedisServer) -> None:
    rate = '{ operations = 500, burst = "100ms" }'
    gate = gates(config(redis_server, rate, rates=PATIENT), gate="workers = 2\n")
    clients = list(one_on_each(gate, 2, user="ads", password="secret").values())
    begun = time.monotonic()
    all_of(clients, 250)
    took = time.monotonic() - begun
    assert took >= (500 - 50 - 2 * AT_HAND) / 500 * 0.98 - away_for(gate)
    with stopped(gate.pid):  # each worker goes by its half
        begun = time.monotonic()
        all_of(clients, 150)
        assert time.monotonic() - begun >= (300 - 50 - 2 * AT_HAND) / 500 * 0.98
    for client in clients:
        client.close()


@pytest.fixture
def two(gates: Gates, redis_servers: RedisServers, tmp_path: Path) -> tuple[list[Gate], RedisServer]:
    """Two gates over one store, which share their budget through another Redis."""
    server, shared = redis_servers(), redis_servers(password="hidden-word")
    (tmp_path / "secret").write_text("hidden-word\n")
    url = f'url = "redis://{shared.host}:{shared.port}"\npassword_file = "{tmp_path}/secret"'
    text = config(server, '{ operations = 500, burst = "100ms" }', rates=f"{PATIENT}\n{url}")
    return [gates(text), gates(text)], shared


def test_two_gates_share_one_budget_and_go_by_their_part_without_the_store(
    two: tuple[list[Gate], RedisServer],
) -> None:
    made, shared = two
    clients = [gate.client(**LOGIN, timeout=30.0) for gate in made]
    begun = time.monotonic()
    all_of(clients, 500)
    took = time.monotonic() - begun
    assert took >= (1000 - 50 - 2 * AT_HAND) / 500 * 0.98 - away_for(*made), "the rate of one, for both together"
    shared.signal(signal.SIGKILL)
    begun = time.monotonic()
    all_of(clients, 150)
    took = time.monotonic() - begun
    assert took >= (300 - 50 - 2 * AT_HAND) / 500 * 0.98
    for gate in made:
        assert gate.log.count("shared_rates_away") >= 1
        assert "hidden-word" not in gate.log
    shared.wait_ended()
    shared.start()
    wait_for(lambda: all("shared_rates_back" in gate.log for gate in made), "the store to be found")
    all_of(clients, 50)
    for client in clients:
        client.close()
