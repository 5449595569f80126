"""Stores that answer late or not at all: the budget of a command, late replies, the end of a silent connection."""

import time

import pytest

from tests.faults.world import BUDGET, ONE_LINE, SLACK, is_in_doubt, is_try_again, over, timed, warm
from tests.support.relay import Relay
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for

SILENCE = 5.0
"""Seconds after which a silent connection is closed, by default."""


def test_a_stopped_store_costs_each_command_its_budget_and_the_connection_its_silence(
    redis_servers: RedisServers, gates: Gates
) -> None:
    store, other = redis_servers(), redis_servers()
    with Relay(store.address) as relay:
        gate = gates(over(a=relay.url, b=other.url), gate=ONE_LINE)
        with gate.client() as reader, gate.client() as writer, gate.client() as apart:
            warm(reader, "A.T:k")
            store.pause()
            begun = time.monotonic()
            first = relay.accepted
            seen_health = False
            while relay.accepted == first and time.monotonic() < begun + SILENCE + 5:
                reader.send("GET", "A.T:k")
                writer.send("INCR", "A.T:n")
                read, took = timed(reader.read)
                assert is_try_again(read), read
                assert took < BUDGET + SLACK
                written, took = timed(writer.read)
                assert is_in_doubt(written) or is_try_again(written), written
                assert took < BUDGET + SLACK
                assert timed(lambda: apart.cmd("INCR", "B.T:n"))[1] < SLACK
                seen_health = True
            assert seen_health
            assert SILENCE - 0.2 < time.monotonic() - begun < SILENCE + BUDGET + SLACK
            assert f"was silent for {SILENCE} s" in gate.log
            wait_for(lambda: is_try_again(writer.ask("INCR", "A.T:m")), "the gate to know that the store is away")
            reply, took = timed(lambda: writer.ask("INCR", "A.T:m"))
            assert is_try_again(reply)
            assert took < SLACK
            store.resume()
            wait_for(lambda: not is_try_again(reader.ask("GET", "A.T:k")), "the store to be found again")
            assert writer.cmd("INCR", "A.T:m") == 1  # what was refused was never executed


def test_health_checks_do_not_hide_that_a_command_is_late(redis_server: RedisServer, gates: Gates) -> None:
    """The gate's own PING, which may wait for longer than a client's command, stands before it on the connection."""
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as client:
            warm(client, "A.T:k")
            up, down = relay.record["up"], relay.record["down"]
            wait_for(lambda: b"PING" in up.partition(b"COMMAND")[2], "the gate to know the store, and to ask only how it is")
            relay.stall("down")
            wait_for(lambda: up.count(b"PING") > down.count(b"PONG"), "the gate to ask how the store is")
            reply, took = timed(lambda: client.ask("INCR", "A.T:n"))
            assert is_in_doubt(reply)
            assert BUDGET - 0.1 < took < BUDGET + SLACK
            relay.flow()
            wait_for(lambda: client.ask("GET", "A.T:n") == b"1", "the store to answer again")


def test_late_replies_are_dropped_and_the_others_fit(redis_server: RedisServer, gates: Gates) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as slow, gate.client() as quick:
            warm(slow, "A.T:k")
            relay.stall("down")
            slow.send_raw(b"".join(b"*2\r\n$4\r\nINCR\r\n$5\r\nA.T:n\r\n" for _ in range(3)))
            assert [is_in_doubt(slow.read()) for _ in range(3)] == [True] * 3
            quick.send("SET", "A.T:mine", "quick's")
            quick.send("GET", "A.T:mine")
            slow.send("INCR", "A.T:n")
            assert quick.silent()
            relay.flow()
            assert [quick.read(), quick.read()] == [b"OK", b"quick's"]
            assert slow.read() == 4
            assert relay.accepted == 1, "the shared connection was given up"


def test_a_delay_within_the_budget_is_only_a_delay(redis_server: RedisServer, gates: Gates) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as one, gate.client() as other:
            warm(one, "A.T:k")
            relay.delay(0.3, "down")
            one.send_raw(b"".join(b"*2\r\n$4\r\nINCR\r\n$5\r\nA.T:n\r\n" for _ in range(100)))
            other.send("INCR", "A.T:m")
            assert [one.read() for _ in range(100)] == list(range(1, 101))
            assert other.read() == 1


def _wait_for_bytes(relay: Relay, total: int) -> None:
    wait_for(lambda: relay.total["down"] >= total, "the reply to begin")


@pytest.mark.parametrize("begun", [True, False])
def test_a_late_reply_in_pieces_is_dropped(redis_server: RedisServer, gates: Gates, begun: bool) -> None:
    """Also where a piece, taken by itself, would look like a push or like a store's word to the gate."""
    size, head = 50_000, len(b"$50000\r\n")  # what is left comes in one piece
    redis_server.cmd("SET", "A.T:k", "a value")
    redis_server.cmd("SET", "A.T:big", b">-NOAUTH\r\n" * (size // 10))
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=f'{ONE_LINE}\ncommand_timeout = "250ms"')
        with gate.client() as one, gate.client() as other:
            warm(one, "A.T:k")
            for after in (1, head - 1, head, head + 1, head + 9, head + 10, head + 11, head + size // 2):
                if begun:
                    relay.stall_after("down", after)
                else:
                    relay.stall("down")
                one.send("GET", "A.T:big")
                reply, took = timed(one.read)
                assert is_try_again(reply), reply
                assert took < 0.25 + SLACK
                if not begun:
                    passed = relay.total["down"]
                    relay.stall_after("down", after)
                    _wait_for_bytes(relay, passed + after)
                relay.flow()
                assert one.cmd("GET", "A.T:k") == other.cmd("GET", "A.T:k") == b"a value"
            assert relay.accepted == 1, "the shared connection was given up"
