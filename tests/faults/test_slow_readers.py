"""Clients that do not read what they asked for: the gate's memory stays bounded, and nobody else waits for them."""

import pytest

from tests.faults.world import ONE_LINE, over, peak_memory, timed, warm
from tests.support.resp import Resp, frame
from tests.support.servers import Gate, Gates, RedisServer, RedisServers, wait_for

MIB = 1024 * 1024
HARD = 24 * MIB
SMALL_LIMITS = f'{ONE_LINE}\noutput_hard = "24mb"\noutput_soft = "8mb"\noutput_soft_time = "1s"'
SPARE = 48 * MIB
"""What the gate may need beside the limit: a portion that is joined, the allocator's slack."""


def greedy(gate: Gate, pipeline: bytes) -> Resp:
    """A client that sends and never reads, with a small window."""
    client = gate.client()
    client.send_raw(pipeline)
    return client


def gone(gate: Gate, why: str) -> bool:
    """Whether the gate has closed a client, and says why."""
    return why in gate.log


@pytest.fixture
def big(redis_server: RedisServer) -> RedisServer:
    """A store with a value of 80 MB and one of 1 MB."""
    redis_server.cmd("SETRANGE", "A.T:big", 80 * MIB - 1, "x")
    redis_server.cmd("SETRANGE", "A.T:some", MIB - 1, "x")
    redis_server.cmd("SET", "A.T:k", "v")
    return redis_server


@pytest.mark.parametrize(
    "pipeline",
    [frame("GET", "A.T:big"), frame("GET", "A.T:some") * 80, frame("MGET", *["A.T:some"] * 40) * 2],
    ids=["one reply", "many replies", "arrays"],
)
def test_who_does_not_read_is_closed_at_the_limit(big: RedisServer, gates: Gates, pipeline: bytes) -> None:
    gate = gates(over(a=big.url), gate=SMALL_LIMITS)
    with gate.client() as other:
        warm(other, "A.T:k")
        before = peak_memory(gate)
        with greedy(gate, pipeline):
            while not gone(gate, "client_too_slow"):
                assert other.cmd("GET", "A.T:k") == b"v"  # within its budget, or it would be TRYAGAIN
        assert HARD / 2 < peak_memory(gate) - before < HARD + SPARE
        assert other.cmd("SET", "A.T:k", "w") == b"OK"
        assert other.cmd("GET", "A.T:k") == b"w"


def test_who_is_over_the_soft_limit_for_long_is_closed(big: RedisServer, gates: Gates) -> None:
    gate = gates(over(a=big.url), gate=SMALL_LIMITS)
    with gate.client() as other:
        warm(other, "A.T:k")
        client = greedy(gate, frame("GET", "A.T:some") * 18)
        _, took = timed(lambda: wait_for(lambda: gone(gate, "client_too_slow"), "the slow reader to be closed"))
        assert took > 0.9
        client.close()
        assert other.cmd("GET", "A.T:k") == b"v"


def test_who_reads_in_the_end_gets_everything(big: RedisServer, gates: Gates) -> None:
    """Under the limits a pause costs nothing; and what a client has not taken stops its being read, not others."""
    gate = gates(over(a=big.url), gate=ONE_LINE)
    with gate.client() as slow, gate.client() as other:
        warm(other, "A.T:k")
        commands = [("GET", "A.T:some")] * 40 + [("GET", "A.T:k")]
        slow.send_raw(b"".join(frame(*command) for command in commands))
        wait_for(lambda: big.calls("get") >= 41, "the store to have answered")
        assert other.cmd("GET", "A.T:k") == b"v"
        assert [len(slow.read()) for _ in commands] == [MIB] * 40 + [1]


def test_all_slow_readers_together_have_a_limit(big: RedisServer, gates: Gates) -> None:
    gate = gates(over(a=big.url), gate=f'{ONE_LINE}\nclient_memory = "32mb"')
    with gate.client() as other:
        warm(other, "A.T:k")
        before = peak_memory(gate)
        clients = [greedy(gate, frame("GET", "A.T:some") * 14) for _ in range(6)]
        wait_for(lambda: gone(gate, "memory_limit"), "the greediest to be closed")
        assert 16 * MIB < peak_memory(gate) - before < 32 * MIB + SPARE
        for client in clients:
            client.close()
        assert other.cmd("GET", "A.T:k") == b"v"


def test_a_subscriber_that_does_not_read_is_closed_sooner(redis_server: RedisServer, gates: Gates) -> None:
    gate = gates(over(a=redis_server.url), gate='pubsub_output_hard = "4mb"\npubsub_output_soft = "2mb"')
    with gate.client() as deaf, gate.client() as listener, redis_server.client() as speaker:
        for client in (deaf, listener):
            client.send("SUBSCRIBE", "A.T:c")
            client.read()
        message = "m" * 200_000
        for _ in range(60):
            speaker.cmd("PUBLISH", "A.T:c", message)
            assert listener.read()[-1] == message.encode()
        wait_for(lambda: gone(gate, "client_too_slow"), "the deaf one to be closed")
        assert speaker.cmd("PUBLISH", "A.T:c", "bye") == 1
        assert listener.read()[-1] == b"bye"


def test_replies_that_wait_behind_a_slow_one_have_the_limit_too(
    big: RedisServer, redis_servers: RedisServers, gates: Gates
) -> None:
    """The client reads, but its first command's store is silent: what the other store answers has to wait in the gate."""
    silent = redis_servers()
    gate = gates(over(a=big.url, b=silent.url), gate=f'{SMALL_LIMITS}\ncommand_timeout = "30s"')  # the limit comes first
    with gate.client() as client, gate.client() as other:
        warm(client, "B.T:k")
        warm(other, "A.T:k")
        before = peak_memory(gate)
        silent.pause()
        client.send_raw(frame("GET", "B.T:k") + frame("GET", "A.T:some") * 300)
        assert client.read_all() == b""
        silent.resume()
        assert peak_memory(gate) - before < HARD + SPARE
        assert gone(gate, "client_too_slow")
        assert other.cmd("GET", "A.T:k") == b"v"
