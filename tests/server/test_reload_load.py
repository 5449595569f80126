"""Reloads while a thousand clients send all the time: no error, and no answer that comes late because of it."""

import statistics
import time

import pytest

from tests.server.crowd import Crowd
from tests.server.processes import info
from tests.server.reloads import redis, rules
from tests.support.servers import Gates, RedisServers

CLIENTS = 1000
LATE = 0.05
"""Seconds by which a reload may delay an answer."""
ROUNDS = 5


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["more namespaces", "moves"])
def test_nobody_notices(gates: Gates, redis_servers: RedisServers, workers: int, kind: str) -> None:
    one, two = redis_servers(), redis_servers()
    head = f'accept_moves = ["A.T"]\n[gate]\nlisten = ["127.0.0.1:$PORT"]\ndrain_unready = "0s"\nworkers = {workers}\n'
    both = redis("a", one.url) + redis("b", two.url)

    def config(number: int) -> str:
        where = "ab"[number % 2] if kind == "moves" else "a"
        return head + both + rules(**{"A_T": where, "B_T": "b", "C_T": "a", **{f"N{n}_T": "a" for n in range(number)}})

    gate = gates(config(0))
    calm, reloading = [], []
    with Crowd((gate.host, gate.port), "A.T", CLIENTS) as crowd, gate.client(timeout=30) as asking:
        crowd.goes_on(5 * CLIENTS)
        for number in range(1, ROUNDS + 1):
            gate.write_config(config(number))
            begun = time.monotonic()
            assert asking.cmd("GATE", "RELOAD") == b"OK"
            crowd.goes_on(2 * CLIENTS)  # all that waited, and once more
            reloading.append(crowd.slowest(begun, ended := time.monotonic()))
            crowd.goes_on(5 * CLIENTS)
            calm.append(crowd.slowest(ended, time.monotonic()))
        shown = info(asking)
    assert crowd.others == []
    assert shown["lane_failures"] == "0"
    assert statistics.median(reloading) < statistics.median(calm) + LATE, (calm, reloading)
