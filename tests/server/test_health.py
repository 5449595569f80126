"""/health: who may use the gate, and what is wrong where it may not be used."""

import contextlib
import importlib.util
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.server.processes import children, stopped
from tests.support.ports import free_port
from tests.support.servers import Gate, Gates, RedisServer, RedisServers, wait_for
from tests.support.watching import Watch, watched

BOTH = pytest.mark.parametrize("workers", [1, 2])


def two(one: RedisServer, other: RedisServer) -> str:
    return (
        f'[backends.a]\ntype = "redis"\nurl = "{one.url}"\n[backends.b]\ntype = "redis"\nurl = "{other.url}"\n'
        '[namespaces]\n"Ads.*" = "a"\n"Shop.*" = "b"\n'
    )


def test_one_store_of_two_that_is_down_is_told_and_both_are_not_ready(gates: Gates, redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    workers = 2
    _, watch = watched(gates, two(one, other), gate=f"workers = {workers}\n")
    status, told = watch.health()
    assert (status, told["live"], told["ready"], told["why_not_ready"]) == (200, True, True, "")
    assert told["workers"] == {"configured": workers, "serving": workers, "answering": workers}
    assert [(each["name"], each["up"]) for each in told["backends"]] == [("a", True), ("b", True)]

    other.kill()
    wait_for(lambda: watch.health()[1]["backends"][1]["up_in_workers"] == 0, "the second store to be down")
    status, told = watch.health("/health/ready")
    assert (status, told["ready"]) == (200, True), "the other namespaces are served"
    assert told["backends"][1]["why"] == f"redis://127.0.0.1:{other.port}/0: connection refused"
    assert told["backends"][0]["up"]

    one.kill()
    wait_for(lambda: watch.health()[0] == 503, "both to be down")
    status, told = watch.health("/health/ready")
    assert (status, told["live"], told["why_not_ready"]) == (503, True, "every backend is down")
    assert watch.health("/health/live")[0] == 200, "a restart would not help"
    assert watch.scrape().sum("kvgate_ready") == 0

    one.start()
    wait_for(lambda: watch.health()[0] == 200, "the first store to be back")


@BOTH
def test_who_drains_is_not_ready_and_serves(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    gate, watch = watched(gates, two(redis_server, redis_server), gate=f'workers = {workers}\ndrain_unready = "1s"\n')
    with gate.client() as client:
        gate.signal(signal.SIGTERM)
        wait_for(lambda: watch.health()[0] == 503, "the gate to say no")
        status, told = watch.health("/health/live")
        assert (status, told["ready"], told["why_not_ready"]) == (200, False, "draining")
        assert client.cmd("SET", "Ads.One:a", "1") == b"OK"
        assert watch.scrape().sum("kvgate_ready") == 0
    assert gate.wait_ended() == 0


def test_workers_that_do_not_answer(gates: Gates, redis_server: RedisServer) -> None:
    gate, watch = watched(gates, two(redis_server, redis_server), gate="workers = 2\n")
    one, other = children(gate.pid)
    with ExitStack() as stack:
        stack.enter_context(stopped(one))
        found = watch.scrape()
        assert (found.sum("kvgate_workers"), found.sum("kvgate_workers_silent"), found.sum("kvgate_ready")) == (2, 1, 1)
        stack.enter_context(stopped(other))
        status, told = watch.health("/health/live")
        assert (status, told["why_not_ready"]) == (503, "no worker answers")
    wait_for(lambda: watch.health()[1]["workers"]["answering"] == 2, "both to answer again")


def test_who_starts_is_not_ready(redis_server: RedisServer) -> None:
    """A placement driver that accepts and says nothing is waited for, for a second."""
    if importlib.util.find_spec("tikv_client") is None:
        pytest.skip("tikv-client cannot be installed here")
    watch = Watch(free_port())
    seen: set[tuple[int, str, bool]] = set()
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(1) as pool:
        tikv = f'[backends.ledger]\ntype = "tikv"\npd = ["127.0.0.1:{mute.getsockname()[1]}"]\n'
        config = two(redis_server, redis_server).replace("[namespaces]", f'{tikv}[namespaces]\n"Bank.Ledger" = "ledger"')
        gate = Gate(config, gate=f'metrics = "127.0.0.1:{watch.port}"\n')
        try:
            started = pool.submit(gate.start)
            while not started.done():
                with contextlib.suppress(OSError):
                    status, told = watch.health()
                    seen.add((status, told["why_not_ready"], told["live"]))
            started.result()
            assert watch.health()[0] == 200
            gate.stop()
        finally:
            gate.close()
    assert (503, "starting", True) in seen


def test_a_cluster_that_cannot_be_reached(gates: Gates, redis_server: RedisServer) -> None:
    tikv = f'[backends.ledger]\ntype = "tikv"\npd = ["127.0.0.1:{free_port()}"]\n'
    config = two(redis_server, redis_server).replace("[namespaces]", f'{tikv}[namespaces]\n"Bank.Ledger" = "ledger"')
    if importlib.util.find_spec("tikv_client") is None:
        pytest.skip("tikv-client cannot be installed here")
    _, watch = watched(gates, config)
    status, told = watch.health()
    ledger = told["backends"][2]
    assert (status, ledger["name"], ledger["type"], ledger["up"]) == (200, "ledger", "tikv", False)
    assert "cannot connect to 127.0.0.1:" in ledger["why"] or "not connected yet" in ledger["why"]
