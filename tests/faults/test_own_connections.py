"""Stores that fail while clients have connections of their own there: blocking pops, subscriptions, WATCH; and EXEC."""

from contextlib import ExitStack

import pytest

from tests.faults.world import BUDGET, ONE_LINE, SLACK, connections, is_in_doubt, is_try_again, over, timed, warm
from tests.support.relay import Direction, Relay
from tests.support.resp import Arg, Resp, frame
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for

BLOCKING: "list[tuple[Arg, ...]]" = [
    ("BLPOP", "A.T:q", 0),
    ("BLMOVE", "A.T:q", "A.T:r", "LEFT", "LEFT", 0),
    ("XREAD", "BLOCK", 0, "STREAMS", "A.T:s", "$"),
]
SHORT = f'{ONE_LINE}\ncommand_timeout = "400ms"'
"""For ``[gate]``: a budget that makes a test of it shorter."""


@pytest.mark.parametrize("end", ["kill", "stop", "break", "reset"])
def test_a_blocking_command_whose_store_ends_is_in_doubt_and_not_repeated(
    redis_server: RedisServer, gates: Gates, end: str
) -> None:
    with Relay(redis_server.address) as relay, ExitStack() as stack:
        gate = gates(over(a=relay.url))
        clients = [stack.enter_context(gate.client()) for _ in BLOCKING]
        for client, command in zip(clients, BLOCKING, strict=True):
            client.send(*command)
        wait_for(lambda: len(connections(redis_server, flags="b")) == len(clients), "the clients to block")
        if end in ("kill", "stop"):
            getattr(redis_server, end)()
            redis_server.start()
        else:
            relay.break_all(reset=end == "reset")
        for client in clients:
            assert is_in_doubt(client.read(BUDGET + SLACK))
        warm(client, "A.T:k")  # the connection stayed open, and the gate found the store again
        assert not connections(redis_server, flags="b")
        assert client.cmd("RPUSH", "A.T:q", "x") == 1
        assert client.cmd("BLPOP", "A.T:q", 0) == [b"A.T:q", b"x"]


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_blocking_pop_that_is_cut_at_each_byte(redis_server: RedisServer, gates: Gates, direction: Direction) -> None:
    """Popped or not: the client is told that it is not known, once."""
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url))
        begins = {"up": frame("CLIENT", "SETNAME", "kvgate-own") + frame("PING"), "down": b"+OK\r\n+PONG\r\n"}
        whole = {"up": frame("BLPOP", "A.T:q", 0), "down": b"*2\r\n$5\r\nA.T:q\r\n$5\r\nfirst\r\n"}
        with gate.client() as client:
            warm(client, "A.T:q")
            for after in range(len(whole[direction])):
                redis_server.cmd("DEL", "A.T:q")
                redis_server.cmd("RPUSH", "A.T:q", "first", "second")
                relay.cut_next(direction, len(begins[direction]) + max(after, 1))  # the last one was closed: it will be new
                assert is_in_doubt(client.ask("BLPOP", "A.T:q", 0))
                left = [b"first", b"second"] if direction == "up" else [b"second"]
                assert redis_server.cmd("LRANGE", "A.T:q", 0, -1) == left
            assert client.cmd("BLPOP", "A.T:q", 0) == [b"A.T:q", left[0]]


@pytest.mark.parametrize("proto", [2, 3])
def test_a_subscriber_whose_store_ends_is_closed(redis_servers: RedisServers, gates: Gates, proto: int) -> None:
    one, two = redis_servers(), redis_servers()
    gate = gates(over(a=one.url, b=two.url))
    with gate.client(proto=proto) as listener, gate.client(proto=proto) as other:
        for client, channels in ((listener, ("A.T:c", "B.T:c")), (other, ("B.T:c",))):
            for channel in channels:
                client.send("SUBSCRIBE", channel)
                client.read()
        one.kill()
        assert listener.read_all() == b""
        assert two.cmd("PUBLISH", "B.T:c", "news") == 1
        assert other.read()[-1] == b"news"


def begin(client: Resp) -> None:
    """WATCH a key and queue a write of another."""
    assert client.cmd("WATCH", "A.T:k") == b"OK"
    assert client.cmd("MULTI") == b"OK"
    assert client.cmd("INCR", "A.T:n") == b"QUEUED"


@pytest.mark.parametrize("end", ["kill", "stop", "break"])
def test_exec_after_the_watched_connection_ended_is_nil(redis_server: RedisServer, gates: Gates, end: str) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url))
        with gate.client() as client:
            begin(client)
            if end == "break":
                relay.break_all()
            else:
                getattr(redis_server, end)()
                redis_server.start()
            assert client.raw_reply("EXEC") == b"*-1\r\n"
            warm(client, "A.T:k")
            assert client.cmd("GET", "A.T:n") is None
            begin(client)
            assert client.cmd("EXEC") == [1]


def test_commands_between_watch_and_exec_say_that_the_connection_ended(redis_server: RedisServer, gates: Gates) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url))
        with gate.client() as client:
            client.cmd("WATCH", "A.T:k")
            relay.cut_now("down", 2)
            assert is_in_doubt(client.ask("INCR", "A.T:n"))
            assert is_try_again(client.ask("GET", "A.T:n"))
            client.cmd("MULTI")
            client.cmd("INCR", "A.T:n")
            assert client.raw_reply("EXEC") == b"*-1\r\n"
            warm(client, "A.T:k")
            assert client.cmd("GET", "A.T:n") == b"1"


@pytest.mark.parametrize("direction", ["down", "up"])
def test_exec_on_a_watched_connection_that_is_cut_at_each_byte(
    redis_server: RedisServer, gates: Gates, direction: Direction
) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url))
        block = frame("MULTI") + frame("INCR", "A.T:n") + frame("EXEC")
        size = len(block) if direction == "up" else len(b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n")
        with gate.client() as client:
            for after in range(size):
                redis_server.cmd("DEL", "A.T:n")
                begin(client)
                relay.cut_now(direction, after)
                assert is_in_doubt(client.ask("EXEC"))
                relay.uncut()
                assert redis_server.cmd("GET", "A.T:n") == (None if direction == "up" else b"1")
                assert client.cmd("ECHO", after) == str(after).encode()


@pytest.mark.parametrize("watching", [True, False])
def test_exec_is_over_the_budget_when_the_store_is_silent(redis_server: RedisServer, gates: Gates, watching: bool) -> None:
    gate = gates(over(a=redis_server.url), gate=SHORT)
    with gate.client() as client:
        warm(client, "A.T:k")
        if watching:
            client.cmd("WATCH", "A.T:k")
        client.cmd("MULTI")
        client.cmd("INCR", "A.T:n")
        redis_server.pause()
        reply, took = timed(lambda: client.ask("EXEC"))
        assert is_in_doubt(reply)
        assert took < 0.4 + SLACK
        redis_server.resume()
        warm(client, "A.T:k")
        assert client.cmd("GET", "A.T:n") in (None, b"1")


@pytest.mark.parametrize("used", [True, False])
def test_what_needs_a_store_is_refused_in_time_when_it_is_silent(
    redis_server: RedisServer, gates: Gates, used: bool
) -> None:
    """With a connection at hand, and with none."""
    gate = gates(over(a=redis_server.url), gate=SHORT)
    with gate.client() as other:
        for command in (("WATCH", "A.T:k"), ("SUBSCRIBE", "A.T:c"), ("SCRIPT", "LOAD", "return 1")):
            warm(other, "A.T:k")
            if used:
                other.cmd("WATCH", "A.T:k")
                other.cmd("UNWATCH")
                wait_for(lambda: connections(redis_server, name="kvgate-own", cmd="ping"), "a clean connection to return")
            redis_server.pause()
            with gate.client() as client:
                reply, took = timed(lambda: client.ask(*command))  # noqa: B023 - called here and now
                assert is_try_again(reply) or (command[0] == "SCRIPT" and is_in_doubt(reply)), reply
                assert took < 0.4 + SLACK
                assert client.cmd("PING") == b"PONG"
            redis_server.resume()


def test_a_subscriber_whose_store_is_silent_is_closed_when_it_asks_for_more(redis_server: RedisServer, gates: Gates) -> None:
    gate = gates(over(a=redis_server.url), gate=SHORT)
    with gate.client() as client:
        client.send("SUBSCRIBE", "A.T:c")
        assert client.read() == [b"subscribe", b"A.T:c", 1]
        redis_server.pause()
        client.send("SUBSCRIBE", "A.T:d")
        rest, took = timed(client.read_all)
        assert rest == b""
        assert took < 0.4 + SLACK
        redis_server.resume()


def test_commands_between_watch_and_exec_have_the_budget_too(redis_server: RedisServer, gates: Gates) -> None:
    gate = gates(over(a=redis_server.url))
    with gate.client() as client:
        warm(client, "A.T:k")
        client.cmd("WATCH", "A.T:k")
        redis_server.pause()
        reply, took = timed(lambda: client.ask("INCR", "A.T:n"))
        assert is_in_doubt(reply)
        assert took < BUDGET + SLACK
        redis_server.resume()
        client.cmd("MULTI")
        client.cmd("INCR", "A.T:m")
        assert client.raw_reply("EXEC") == b"*-1\r\n"
