"""The tests' own tools are tested: a relay that cuts at the wrong byte would prove nothing about the gate."""

import socket
import time

import hiredis
import pytest

from tests.support.relay import Relay
from tests.support.resp import Closed, Resp, frame, parse, reply_end
from tests.support.servers import RedisServer, RedisServers, wait_for

REPLIES = [
    b"+OK\r\n", b"-ERR no\r\n", b":12\r\n", b"$3\r\nabc\r\n", b"$0\r\n\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(12345678901234567890\r\n",
    b"=7\r\ntxt:abc\r\n", b"!5\r\nERR x\r\n", b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n+c\r\n", b"~2\r\n+a\r\n+b\r\n",
    b">3\r\n+message\r\n$1\r\nc\r\n$1\r\nx\r\n", b"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_a_reply_ends_where_it_ends(reply: bytes) -> None:
    for size in range(len(reply)):
        assert reply_end(reply[:size]) == -1
    assert reply_end(reply) == reply_end(reply + b"+next\r\n") == len(reply)
    assert reply_end(b":1\r\n" + reply, 4) == 4 + len(reply)


def test_values_are_those_of_hiredis() -> None:
    assert parse(b"*2\r\n$1\r\na\r\n:2\r\n") == [b"a", 2]
    assert isinstance(parse(b"-ERR no\r\n"), hiredis.ReplyError)


@pytest.mark.parametrize("data", [b"hello\r\n", b"\r\n"])
def test_no_resp_is_said(data: bytes) -> None:
    with pytest.raises(ValueError, match="no RESP type"):
        reply_end(data)


@pytest.mark.parametrize("unix", [False, True])
def test_bytes_pass_unchanged(redis_servers: RedisServers, unix: bool) -> None:
    server = redis_servers(unix=unix)
    value = bytes(range(256)) * 4000  # more than one chunk
    with Relay(server.address) as relay, Resp(relay.address) as client:
        assert client.cmd("SET", "k", value) == b"OK"
        assert client.cmd("GET", "k") == value
        assert relay.total["up"] == len(frame("SET", "k", value)) + len(frame("GET", "k"))
        assert relay.accepted == relay.connections == 1
        client.half_close()
        assert client.read_all() == b""
        wait_for(lambda: relay.connections == 0, "the relay to see both ends")


@pytest.mark.parametrize("reset", [False, True])
def test_a_reply_is_cut_at_each_byte(redis_server: RedisServer, reset: bool) -> None:
    whole = b"$5\r\nhello\r\n"
    redis_server.cmd("SET", "k", "hello")
    with Relay(redis_server.address) as relay:
        for after in range(1, len(whole)):
            relay.cut_next("down", after, reset=reset)
            with Resp(relay.address) as client:
                client.send("GET", "k")
                with pytest.raises(Closed) as ended:
                    client.read_one()
                if not reset:  # a reset may overtake bytes in the receiver's kernel
                    assert ended.value.args[0] == whole[:after]
        with Resp(relay.address) as client:
            assert client.raw_reply("GET", "k") == whole
            relay.cut_now("up", 3)
            client.send("DEL", "k")
            assert client.read_all() == b""
        with Resp(relay.address) as client:
            assert client.cmd("EXISTS", "k") == 1  # the DEL was cut before it was whole


def test_stall_delay_and_refuse(redis_server: RedisServer) -> None:
    with Relay(redis_server.address) as relay, Resp(relay.address) as client:
        assert client.cmd("PING") == b"PONG"
        relay.stall("down")
        client.send("INCR", "n")
        wait_for(lambda: redis_server.cmd("GET", "n") == b"1", "the request to pass")
        assert client.silent()
        relay.flow()
        assert client.read() == 1
        relay.delay(0.15, "down")
        start = time.monotonic()
        assert client.cmd("PING") == b"PONG"
        assert time.monotonic() - start >= 0.15
        relay.delay(0.0)
        relay.refuse()
        with pytest.raises((Closed, OSError)), Resp(relay.address) as other:
            other.cmd("PING")
        assert client.cmd("PING") == b"PONG"
        relay.break_all()
        with pytest.raises(Closed):
            client.cmd("PING")


def test_a_reply_stops_at_each_byte_and_goes_on(redis_server: RedisServer) -> None:
    whole = b"$5\r\nhello\r\n"
    redis_server.cmd("SET", "k", "hello")
    with Relay(redis_server.address) as relay, Resp(relay.address) as client:
        assert client.raw_reply("GET", "k") == whole
        for after in range(len(whole)):
            relay.stall_after("down", after)
            client.send("GET", "k")
            assert after == 0 or client.sock.recv(after, socket.MSG_WAITALL) == whole[:after]
            assert client.silent(0.01)
            relay.flow()
            assert client.sock.recv(len(whole) - after, socket.MSG_WAITALL) == whole[after:]


def test_a_paused_server_is_silent_and_goes_on(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        redis_server.pause()
        client.send("PING")
        assert client.silent()
        redis_server.resume()
        assert client.read() == b"PONG"
        redis_server.kill()
        assert not redis_server.running
        redis_server.start()
    assert redis_server.cmd("PING") == b"PONG"


def test_a_server_that_cannot_start_says_why(redis_servers: RedisServers) -> None:
    with pytest.raises(RuntimeError, match=r"at its start(.|\n)*nonsense"):
        redis_servers(config=["--nonsense", "1"])


def test_calls_are_counted_by_the_server(redis_server: RedisServer) -> None:
    redis_server.cmd("GET", "k")
    redis_server.cmd("CLIENT", "GETNAME")
    assert (redis_server.calls("get"), redis_server.calls("client|getname"), redis_server.calls("set")) == (1, 1, 0)
