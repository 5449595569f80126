"""The load generator: fixed times, pipelines, logins, and that a stall of the server is felt by every request in it."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import embedded, pace
from bench.pace import Histogram, Pace
from bench.peers import Fleet, Peer, fleet, succeeded
from bench.process import BenchError, NotAvailable

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
]


@pytest.fixture
def shards() -> Iterator[Fleet]:
    """One redis-server."""
    with fleet(["false"]) as running:
        running.start_shards(1)
        yield running


def test_a_rate_is_kept_and_every_request_counted(shards: Fleet) -> None:
    asked = Pace(("SET", "a:__rand_int__", "x" * 430), 0.4, clients=7, rate=500, warmup=0.1, keyspace=50)
    done, sent = pace.once(shards.direct(), asked)
    assert sent == 250
    assert sum(count for _, count in done.latency.counts) == 200
    assert sum(count for _, count in done.lateness.counts) == 200
    assert 50 < done.rps < 510  # it is never ahead of its times, whatever else the machine does
    assert 0 < done.latency.quantile(0.5) <= done.latency.quantile(0.999)
    with shards.shards[0].client() as client:
        keys = client.ask("KEYS", "a:*")
        assert isinstance(keys, list)
        assert 30 < len(keys) <= 50
        assert all(len(key) == 14 for key in keys if isinstance(key, bytes))
        assert client.ask("STRLEN", str(keys[0], "ascii") if isinstance(keys[0], bytes) else "") == 430


def test_a_stall_is_felt_by_every_request_that_was_due_in_it() -> None:
    with fleet(["false"]) as running:
        peer = embedded.redis(running, "stalls", "--enable-debug-command", "yes")

        def stall() -> None:
            with peer.client() as client:
                text = b""
                while succeeded(text.decode(), "get") < 100:
                    told = client.ask("INFO", "commandstats")
                    text = told if isinstance(told, bytes) else b""
                client.ask("DEBUG", "SLEEP", "0.3")

        thread = threading.Thread(target=stall)
        thread.start()
        try:
            done, _ = pace.once(peer, Pace(("GET", "a"), 2.0, clients=4, rate=1000))
        finally:
            thread.join()
    slow = sum(count for bound, count in done.latency.counts if bound > 50_000_000)
    # Those due in its first 250 ms waited at least 50 ms; four clients that wait for their replies would see four slow ones.
    assert slow >= 200
    assert done.latency.quantile(1.0) > 250_000_000


def test_a_closed_loop_in_pipelines(shards: Fleet) -> None:
    peer = shards.direct()
    done, sent = pace.once(peer, Pace(("INCR", "n"), 0.1, clients=3, pipeline=16))
    assert sent % 16 == 0
    with shards.shards[0].client() as client:
        assert client.ask("GET", "n") == str(sent).encode()
    assert sum(count for _, count in done.latency.counts) == sent
    assert done.lateness.counts == ()


def test_a_run_is_held_to_what_the_shards_saw(shards: Fleet) -> None:
    assert pace.run(shards, shards.direct(), Pace(("GET", "a"), 0.05)).rps > 0
    peer = shards.direct()
    shards.shards.clear()
    with pytest.raises(BenchError, match="only 0 of"):
        pace.run(shards, peer, Pace(("GET", "a"), 0.05))


def test_replies_that_are_errors_end_the_run(shards: Fleet) -> None:
    with shards.shards[0].client() as client:
        client.ask("RPUSH", "list", "x")
    with pytest.raises(BenchError, match="WRONGTYPE"):
        pace.once(shards.direct(), Pace(("GET", "list"), 0.1))


def test_a_wrong_login_ends_the_run(shards: Fleet) -> None:
    direct = shards.direct()
    with pytest.raises(BenchError, match="WRONGPASS"):
        pace.once(Peer("x", direct.port, direct.server, ("somebody", "wrong")), Pace(("GET", "a"), 0.1))


def test_a_login_with_a_password() -> None:
    with fleet(["false"]) as running:
        running.start_shards(1, password="p")
        assert pace.once(running.direct(), Pace(("GET", "a"), 0.05, clients=2))[0].rps > 0


def test_a_pipeline_has_no_place_in_a_fixed_rate(shards: Fleet) -> None:
    with pytest.raises(BenchError, match="closed loop"):
        pace.once(shards.direct(), Pace(("GET", "a"), 0.1, pipeline=2, rate=10))


def test_it_is_compiled_once(tmp_path: Path) -> None:
    made = pace.program(tmp_path)
    before = made.stat().st_mtime_ns
    assert pace.program(tmp_path) == made
    assert made.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_no_compiler_is_no_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    with pytest.raises(NotAvailable, match="needs a C compiler"):
        pace.program(tmp_path)
    monkeypatch.setenv("CC", "false")
    with pytest.raises(NotAvailable, match="does not compile"):
        pace.program(tmp_path)


def test_quantiles_of_histograms() -> None:
    one = Histogram(((10, 90), (20, 9), (1000, 1)))
    assert [one.quantile(part) for part in (0.0, 0.5, 0.9, 0.91, 0.99, 1.0)] == [10, 10, 10, 20, 20, 1000]
    both = Histogram.merged([one, Histogram(((20, 100),))])
    assert both.counts == ((10, 90), (20, 109), (1000, 1))
    with pytest.raises(BenchError, match="no quantile"):
        Histogram(()).quantile(0.5)


def test_the_commands_line_hides_what_is_long() -> None:
    shown = Pace(("SET", "a", "x" * 430), 1.0, rate=100).shown()
    assert shown == "pace <port> 50 1 100 1 0 100000 [user] [password] -- SET a <430 bytes>"
