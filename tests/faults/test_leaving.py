"""Clients that leave in the middle of something: their replies are dropped, their own connections end at once."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.world import ONE_LINE, connections, over, own_connections, warm
from tests.support.relay import Relay
from tests.support.resp import Arg, frame
from tests.support.servers import Gate, Gates, RedisServer, wait_for

BLOCKING: "list[tuple[tuple[Arg, ...], tuple[Arg, ...], tuple[Arg, ...], int]]" = [
    (("BLPOP", "A.T:q", 0), ("RPUSH", "A.T:q", "x"), ("LLEN", "A.T:q"), 1),
    (("BLMOVE", "A.T:q", "A.T:r", "LEFT", "LEFT", 0), ("RPUSH", "A.T:q", "x"), ("LLEN", "A.T:q"), 1),
    (("BZPOPMIN", "A.T:z", 0), ("ZADD", "A.T:z", 1, "x"), ("ZCARD", "A.T:z"), 1),
    (
        ("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "A.T:s", ">"),
        ("XADD", "A.T:s", "*", "f", "v"),
        ("XREADGROUP", "GROUP", "g", "other", "STREAMS", "A.T:s", ">"),
        1,
    ),
    (("XREAD", "BLOCK", 0, "STREAMS", "A.T:s", "$"), ("XADD", "A.T:s", "*", "f", "v"), ("XLEN", "A.T:s"), 1),
]
"""What blocks, what would end it, what shows that nothing was taken, and how much is there then."""


@pytest.fixture(scope="module")
def module_gate(module_redis: RedisServer) -> Iterator[Gate]:
    """One gate before `module_redis`, which a client's leaving must not change."""
    with Gate(over(a=module_redis.url)) as gate:
        yield gate


@pytest.mark.parametrize("end", ["close", "reset", "half_close"])
@pytest.mark.parametrize(
    ("blocks", "feed", "look", "left"), BLOCKING, ids=[str(blocks[0]) for blocks, _, _, _ in BLOCKING]
)
def test_nothing_is_popped_for_who_has_left(
    module_redis: RedisServer, module_gate: Gate, end: str, blocks: "tuple[Arg, ...]", feed: "tuple[Arg, ...]",
    look: "tuple[Arg, ...]", left: int,
) -> None:  # fmt: skip
    module_redis.cmd("FLUSHALL")
    module_redis.cmd("XGROUP", "CREATE", "A.T:s", "g", "$", "MKSTREAM")
    with module_gate.client() as leaver, module_gate.client() as other:
        leaver.send(*blocks)
        wait_for(lambda: connections(module_redis, flags="b"), "the client to block")
        getattr(leaver, end)()
        wait_for(lambda: not connections(module_redis, flags="b"), "the store to be told")
        other.cmd(*feed)
        there = other.cmd(*look)
        assert (there if isinstance(there, int) else len(there)) == left
        assert own_connections(module_redis) == 0


@pytest.mark.parametrize("end", ["close", "reset"])
def test_who_leaves_before_its_turn_to_block_does_not_block(redis_server: RedisServer, gates: Gates, end: str) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as leaver, gate.client() as other:
            warm(leaver, "A.T:q")
            relay.stall("down")
            leaver.send_raw(frame("INCR", "A.T:n") + frame("BLPOP", "A.T:q", 0))
            wait_for(lambda: redis_server.cmd("GET", "A.T:n") == b"1", "the first command to be executed")
            getattr(leaver, end)()
            relay.flow()
            wait_for(lambda: len(_clients(gate)) == 1, "the gate to see it leave")
            assert other.cmd("RPUSH", "A.T:q", "x") == 1
            assert other.cmd("LLEN", "A.T:q") == 1


def _clients(gate: Gate) -> list[bytes]:
    """The gate's clients but the one that asks."""
    rows: bytes = gate.cmd("CLIENT", "LIST")
    return [row for row in rows.splitlines() if b"cmd=client|list" not in row]


def test_a_half_closed_pipeline_is_finished_and_its_blocking_end_is_not_begun(
    redis_server: RedisServer, gates: Gates
) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as leaver, gate.client() as other:
            warm(leaver, "A.T:q")
            relay.stall("down")
            leaver.send_raw(frame("SET", "A.T:k", "v") + frame("GET", "A.T:k") + frame("BLPOP", "A.T:q", 0))
            wait_for(lambda: redis_server.cmd("GET", "A.T:k") == b"v", "the first command to be executed")
            leaver.half_close()
            assert other.cmd("PING") == b"PONG"
            relay.flow()
            assert leaver.read_all() == b"+OK\r\n$1\r\nv\r\n"
            assert other.cmd("RPUSH", "A.T:q", "x") == 1
            assert other.cmd("LLEN", "A.T:q") == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_replies_of_who_has_left_reach_nobody(redis_server: RedisServer, gates: Gates, end: str) -> None:
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as stays, ExitStack() as stack:
            warm(stays, "A.T:k")
            redis_server.cmd("SET", "A.T:big", b">-READONLY" * 2_000)
            leavers = [stack.enter_context(gate.client()) for _ in range(10)]
            relay.stall("down")
            for number, leaver in enumerate(leavers):
                pipeline = [("SET", f"A.T:{number}", number), ("GET", "A.T:big"), ("MGET", "A.T:big", "A.T:big")]
                leaver.send_raw(b"".join(frame(*command) for command in pipeline * 5))
            wait_for(lambda: redis_server.calls("get") == 10 * 5, "the store to have answered all that")
            stays.send_raw(b"".join(frame("GET", f"A.T:{number}") for number in range(10)))
            wait_for(lambda: redis_server.calls("get") == 10 * 5 + 10, "the store to have answered these")
            for leaver in leavers:
                getattr(leaver, end)()
            if end == "reset":  # an orderly end may be a half-close: then the gate goes on
                wait_for(lambda: len(_clients(gate)) == 1, "the gate to see them leave")
            relay.flow()
            assert [stays.read() for _ in range(10)] == [str(number).encode() for number in range(10)]
            assert relay.accepted == 1, "the shared connection was given up"


def test_who_leaves_during_a_large_reply(redis_server: RedisServer, gates: Gates) -> None:
    size = 20_000_000
    redis_server.cmd("SET", "A.T:big", b">-READONLY" * (size // 10))
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as stays:
            warm(stays, "A.T:k")
            for part in (2_000_000, 2_000_001, 5_000_009):
                with gate.client() as leaver:
                    relay.stall_after("down", part)
                    leaver.send("GET", "A.T:big")
                    assert leaver.sock.recv(100).startswith(b"$%d\r\n" % size)
                relay.flow()
                stays.cmd("SET", "A.T:k", part)
                assert stays.cmd("GET", "A.T:k") == str(part).encode()
            assert relay.accepted == 1, "the shared connection was given up"


@pytest.mark.parametrize("proto", [2, 3])
def test_a_subscriber_that_leaves(module_redis: RedisServer, module_gate: Gate, proto: int) -> None:
    module_redis.cmd("FLUSHALL")
    with module_gate.client(proto=proto) as leaver:
        leaver.send("SUBSCRIBE", "A.T:c")
        leaver.read()
        leaver.send("PSUBSCRIBE", "A.T:*")
        leaver.read()
        assert own_connections(module_redis) == 1
    wait_for(lambda: own_connections(module_redis) == 0, "the store to be told")
    assert module_redis.cmd("PUBSUB", "NUMSUB", "A.T:c") == [b"A.T:c", 0]
    assert module_redis.cmd("PUBSUB", "NUMPAT") == 0


def test_a_watcher_that_leaves(module_redis: RedisServer, module_gate: Gate) -> None:
    module_redis.cmd("FLUSHALL")
    with module_gate.client() as leaver:
        leaver.cmd("WATCH", "A.T:k")
        leaver.cmd("MULTI")
        leaver.cmd("SET", "A.T:k", "never")
        assert own_connections(module_redis) == 1
    wait_for(lambda: own_connections(module_redis) == 0, "the store to be told")
    assert module_redis.cmd("EXISTS", "A.T:k") == 0


def test_who_leaves_in_multi_has_executed_nothing(module_redis: RedisServer, module_gate: Gate) -> None:
    module_redis.cmd("FLUSHALL")
    with module_gate.client() as leaver, module_gate.client() as other:
        leaver.cmd("MULTI")
        leaver.cmd("INCR", "A.T:n")
        leaver.close()
        wait_for(lambda: len(_clients(module_gate)) == 1, "the gate to see it leave")
        assert other.cmd("GET", "A.T:n") is None


def test_a_monitor_that_leaves(module_redis: RedisServer, module_gate: Gate) -> None:
    module_redis.cmd("FLUSHALL")
    with module_gate.client() as leaver:
        assert leaver.cmd("MONITOR") == b"OK"
        assert not connections(module_redis, flags="O"), "the gate shows what passes itself"
        with module_gate.client() as other:
            other.cmd("SET", "A.T:k", "v")
            assert leaver.read_one().endswith(b'"SET" "A.T:k" "v"\r\n')
    wait_for(lambda: not _clients(module_gate), "the gate to see it leave")
    with module_gate.client() as other:
        assert other.cmd("GET", "A.T:k") == b"v"


def test_leaving_while_the_store_is_away(redis_server: RedisServer, gates: Gates) -> None:
    """A client that waits for a connection, or whose command is unanswered, and leaves."""
    with Relay(redis_server.address) as relay:
        gate = gates(over(a=relay.url), gate=ONE_LINE)
        with gate.client() as stays:
            warm(stays, "A.T:k")
            for command in (("INCR", "A.T:n"), ("BLPOP", "A.T:q", 0), ("WATCH", "A.T:k"), ("SUBSCRIBE", "A.T:c")):
                relay.stall()
                with gate.client() as leaver:
                    leaver.send(*command)
                    name = command[0].lower().encode()
                    wait_for(lambda: b"cmd=%b " % name in gate.cmd("CLIENT", "LIST"), "the gate to have it")  # noqa: B023
                wait_for(lambda: len(_clients(gate)) == 1, "the gate to see it leave")
                relay.flow()
                warm(stays, "A.T:k")
            wait_for(lambda: own_connections(redis_server) == 0, "the store to be told")
            assert redis_server.cmd("RPUSH", "A.T:q", "x") == 1
            assert redis_server.cmd("LLEN", "A.T:q") == 1


def test_a_blocked_client_that_has_sent_more_than_is_read_is_missed_too(module_redis: RedisServer, module_gate: Gate) -> None:
    module_redis.cmd("FLUSHALL")
    with module_gate.client() as leaver, module_gate.client() as other:
        leaver.send("BLPOP", "A.T:q", 0)
        wait_for(lambda: connections(module_redis, flags="b"), "the client to block")
        ping = frame("PING")
        leaver.send_raw(ping * (MOST_UNREAD // len(ping)))
        wait_for(lambda: _waiting(module_gate) > MOST_UNREAD * 0.99, "the gate to have read them")
        leaver.send_raw(ping * (256 * 1024 // len(ping)))  # from here on it stops reading, and the kernel has the rest
        leaver.close()
        wait_for(lambda: not connections(module_redis, flags="b"), "the store to be told")
        other.cmd("RPUSH", "A.T:q", "x")
        assert other.cmd("LLEN", "A.T:q") == 1


MOST_UNREAD = 16 * 1024 * 1024
"""What a client may have sent beyond the command that is under way."""


def _waiting(gate: Gate) -> int:
    """Bytes that the blocked client has sent behind its command, as CLIENT LIST tells."""
    for line in gate.cmd("CLIENT", "LIST").splitlines():
        if b"cmd=blpop" in line:
            return next(int(word[5:]) for word in line.split() if word.startswith(b"qbuf="))
    return 0
