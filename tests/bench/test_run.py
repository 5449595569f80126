"""Small runs of the harness over real programs: figures are made, and a peer that answers wrongly is no figure."""

import shutil
from collections.abc import Iterator

import pytest

from bench import churn, connect, core, idle
from bench.load import Load, check, run
from bench.peers import Fleet, fleet
from bench.process import BenchError, NotAvailable

pytestmark = pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-server, redis-tools not installed")

SIZE = core.Size({1: 500, 16: 1_600}, keys=100)


@pytest.fixture
def shards() -> Iterator[Fleet]:
    """Two shards, no gate."""
    with fleet(["false"]) as running:
        running.start_shards()
        yield running


def test_a_run_over_redis_itself(shards: Fleet) -> None:
    peers = shards.start_peers(["direct"])
    samples = core.measure(shards, peers, SIZE, rounds=2)
    assert {len(rounds) for rounds in samples.values()} == {2}
    assert all(sample.rps > 0 and sample.p99_ms >= sample.p50_ms for rounds in samples.values() for sample in rounds)
    tables, notes = core.tables(samples, peers)
    assert [made.header for made in tables] == [
        ("peer", "SET P=1", "GET P=1", "SET P=16", "GET P=16"),
        ("peer", "SET P=1", "GET P=1"),
    ]
    assert [row[0] for made in tables for row in made.rows] == ["direct", "direct"]
    assert len(notes) == 1
    with shards.shards[0].client() as client:
        assert client.ask("STRLEN", "Ads.Profile:000000000007") == 430


@pytest.mark.skipif(shutil.which("nutcracker") is None, reason="nutcracker (Twemproxy) is not installed")
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_a_run_over_the_other_proxies(shards: Fleet) -> None:
    peers = shards.start_peers(["twemproxy", "haproxy"])
    samples = core.measure(shards, peers, SIZE, rounds=1)
    assert {peer for peer, _, _ in samples} == {"twemproxy", "haproxy"}
    assert shards.missing == {}


def test_a_gate_that_does_not_start_is_left_out(shards: Fleet) -> None:
    assert [peer.name for peer in shards.start_peers(["direct", "kvgate"])] == ["direct"]
    assert "ended with status 1" in shards.missing["kvgate"]
    with pytest.raises(NotAvailable):
        shards.gate(["Ads.Profile"])


def test_error_replies_are_no_requests_done(shards: Fleet) -> None:
    with shards.shards[0].client() as client:
        client.ask("RPUSH", "list", "x")
    with pytest.raises(BenchError, match="WRONGTYPE"):
        run(shards, shards.direct(), Load(("GET", "list"), 100, 1))


def test_requests_that_never_reach_the_shards_are_noticed(shards: Fleet) -> None:
    peer = shards.direct()
    shards.shards.pop(0)  # its calls are not counted any more: as if a server that is none of ours had answered
    with pytest.raises(BenchError, match="only 0 of 100 GET"):
        run(shards, peer, Load(("GET", "a"), 100, 1))


def test_a_peer_that_loses_what_was_set_is_no_peer(shards: Fleet) -> None:
    with shards.shards[0].client() as client:
        client.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BenchError, match="OOM"):
        check(shards.direct(), "Ads.Profile:check")


def test_connections_are_counted(shards: Fleet) -> None:
    churned = connect.run(shards.direct(), 40)
    assert churned.per_second > 0
    with shards.shards[0].client() as client:
        text = client.ask("INFO", "stats")
        assert isinstance(text, bytes)
        assert int(text.split(b"total_connections_received:")[1].split()[0]) >= 40


def test_a_refused_login_ends_the_measurement(shards: Fleet) -> None:
    with pytest.raises(BenchError, match="AUTH"):
        churn.churn(shards.direct().port, 1, "k", ["wrong"])


def test_idle_connections_cost_the_store_memory(shards: Fleet) -> None:
    growth, empty, full = idle.measure(shards.direct(), 200, seconds=0.1)
    assert growth.pss > 0
    assert empty >= 0 <= full
