"""CLIENT REPLY, CLIENT PAUSE, CLIENT KILL in every state, protocol changes in a pipeline, and limits of sizes."""

from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from tests.server.settings import Setting, keys_on, namespaces, redis, serving, sharded, stores
from tests.support.resp import Arg, Resp, frame
from tests.support.servers import NO_REDIS, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LMDB = '[backends.local]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n'
SMALL = '[namespaces."Ads.S"]\nbackend = "a"\nmax_key = 20\nmax_value = 100\n'


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(2) as (one, two):
        config = sharded("a", one, two) + LMDB + namespaces(default="a", Ads_L="local") + SMALL
        gate = 'queued_commands = 5\nqueued_bytes = "1kb"'
        with serving(config, one, two, gate=gate) as setting:
            yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    setting.gate.cmd("FLUSHALL")


def say(*requests: Sequence[Arg]) -> bytes:
    return b"".join(frame(*request) for request in requests)


def session(client: Resp) -> bytes:
    """Everything that CLIENT REPLY may silence: forwarded, split, emulated, blocking, aborted and the gate's own."""
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    everything: list[tuple[Arg, ...]] = [
        ("SET", a, 1),
        ("GET", a),
        ("MSET", a, 2, b, 2, "Ads.L:1", 2),
        ("MGET", a, b, "Ads.L:1"),
        ("SET", "Ads.L:1", 3),
        ("GET", "Ads.L:1"),
        ("BLPOP", "nothing", 0.001),
        ("NOSUCH",),
        ("GET",),
        ("PING",),
        ("KEYS", "*"),
        ("MULTI",),
        ("INCR", a),
        ("EXEC",),
        ("WATCH", a),
        ("UNWATCH",),
        ("EVAL", "return 1", 1, a),
        ("WAIT", 0, 0),
    ]
    client.send_raw(say(("CLIENT", "REPLY", "OFF"), *everything, ("CLIENT", "REPLY", "ON"), ("GET", a)))
    silent = client.read_raw(2)
    for request in everything:
        if request[0] not in ("MULTI", "INCR", "EXEC"):
            client.send_raw(say(("CLIENT", "REPLY", "SKIP"), request, ("ECHO", "heard")))
            silent += client.read_one()
    return silent


@pytest.mark.parametrize("proto", [2, 3])
def test_silence(setting: Setting, proto: int) -> None:
    with setting.gate.client(proto=proto) as client:
        assert session(client) == b"+OK\r\n$1\r\n3\r\n" + b"$5\r\nheard\r\n" * 15
        assert client.silent()


def test_silence_of_what_is_too_large(setting: Setting) -> None:
    with setting.gate.client() as client:
        client.send_raw(say(("CLIENT", "REPLY", "SKIP"), ("SET", "Ads.S:1", "x" * 200), ("PING",)))
        assert client.read_one() == b"+PONG\r\n"


def test_messages_are_heard_in_silence(setting: Setting) -> None:
    """As in Redis: pushes are no replies."""
    heard: list[bytes] = []
    for server in (setting.stores[0], setting.gate):
        with server.client(proto=3) as client, server.client() as publisher:
            client.cmd("SUBSCRIBE", "c")
            client.send_raw(say(("CLIENT", "REPLY", "OFF"), ("PING",)))
            assert publisher.cmd("PUBLISH", "c", "m") == 1
            heard.append(client.read_one())
    assert heard[0] == heard[1]


@pytest.mark.parametrize("mode", ["ALL", "WRITE"])
def test_a_pause_holds_back(setting: Setting, mode: str) -> None:
    (a,), (b,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with setting.gate.client() as control, setting.gate.client() as client, setting.gate.client() as queued:
        client.pipeline([("SET", a, "old")] * 3)
        queued.pipeline([("MULTI",), ("SET", b, "block")])
        assert control.cmd("CLIENT", "PAUSE", 60_000, mode) == b"OK"
        client.send_raw(say(("GET", a), ("SET", a, "new"), ("MGET", a, b), ("GET", a)))
        queued.send("EXEC")
        if mode == "WRITE":
            assert client.read() == b"old"
        assert client.silent()
        assert queued.silent()
        assert [store.cmd("GET", a) for store in setting.stores if store.cmd("EXISTS", a)] == [b"old"]
        assert control.cmd("CLIENT", "UNPAUSE") == b"OK"
        if mode == "ALL":
            assert client.read() == b"old"
        assert client.read() == b"OK"
        assert client.read()[0] == b"new"
        assert client.read() == b"new"
        assert queued.read() == [b"OK"]


@pytest.mark.parametrize("words", ["EVAL return(redis.call('set',KEYS[1],1)) 1 k", "PUBLISH c m", "PFCOUNT k", "DEL k j"])
def test_a_pause_of_writes_holds_back_what_may_write(setting: Setting, words: str) -> None:
    with setting.gate.client() as control, setting.gate.client() as client:
        control.cmd("CLIENT", "PAUSE", 60_000, "WRITE")
        client.send(*words.split())
        assert client.silent()
        control.cmd("CLIENT", "UNPAUSE")
        assert not str(client.read()).startswith("ERR")


def test_a_pause_ends_by_itself(setting: Setting) -> None:
    with setting.gate.client() as control, setting.gate.client() as client:
        control.cmd("CLIENT", "PAUSE", 100)
        client.send_raw(say(("CLIENT", "REPLY", "SKIP"), ("SET", "k", 1), ("GET", "k")))
        assert client.read() == b"1"
        assert control.cmd("CLIENT", "PAUSE", 0) == b"OK"
        assert client.cmd("PING") == b"PONG"


STATES: dict[str, list[tuple[Arg, ...]]] = {
    "idle": [],
    "in MULTI": [("MULTI",), ("SET", "k", 1)],
    "watching": [("WATCH", "k")],
    "subscribed": [("SUBSCRIBE", "c")],
    "listening to a pattern": [("PSUBSCRIBE", "*")],
    "monitoring": [("MONITOR",)],
    "blocked": [("BLPOP", "q", 0)],
    "waiting behind a blocked one": [("BLPOP", "q", 0), ("SET", "k", 1)],
    "silent": [("CLIENT", "REPLY", "OFF")],
}


@pytest.mark.parametrize("state", STATES)
def test_killed_in_every_state(setting: Setting, state: str) -> None:
    with setting.gate.client() as control:
        victim = setting.gate.client()
        ident = victim.cmd("CLIENT", "ID")
        victim.send_raw(say(*STATES[state]))
        if "blocked" in state:
            wait_for(lambda: b"flags=b" in control.cmd("CLIENT", "LIST", "ID", ident), "it to be blocked")
        assert control.cmd("CLIENT", "KILL", "ID", ident) == 1
        victim.read_all()
        victim.close()
        assert control.cmd("CLIENT", "LIST", "ID", ident) == b""
        for store in setting.stores:
            wait_for(partial(nobody_blocked, store), "nobody to be blocked")
        assert control.cmd("RPUSH", "q", "x") == 1
        assert control.cmd("LLEN", "q") == 1
        assert control.cmd("EXISTS", "k") == 0


def nobody_blocked(store: RedisServer) -> bool:
    return b"blocked_clients:0" in store.cmd("INFO", "clients")


def test_who_kills_itself_gets_its_reply(setting: Setting) -> None:
    with setting.gate.client() as client:
        ident = client.cmd("CLIENT", "ID")
        client.send_raw(say(("SET", "k", 1), ("CLIENT", "KILL", "ID", ident, "SKIPME", "no"), ("SET", "k", 2)))
        assert client.read_all() == b"+OK\r\n:1\r\n"
    assert setting.gate.cmd("GET", "k") == b"1"


def test_a_protocol_change_waits_for_its_turn(setting: Setting) -> None:
    """Commands before it are answered in the old protocol; those behind it see what they wrote."""
    requests: list[Sequence[Arg]] = []
    for step in range(100):
        requests += [("SET", "k", step), ("SET", "Ads.L:k", step), ("GET", "Ads.L:none"), ("HELLO", 2 + step % 2)]
        requests += [("GET", "k"), ("GET", "Ads.L:k"), ("GET", "none"), ("GET", "Ads.L:none")]
    with setting.gate.client() as client:
        client.send_raw(say(*requests))
        null = b"$-1\r\n"
        for step in range(100):
            value = b"$%d\r\n%d\r\n" % (len(str(step)), step)
            assert client.read_raw(3) == b"+OK\r\n+OK\r\n" + null
            client.read_one()
            null = b"_\r\n" if step % 2 else b"$-1\r\n"
            assert client.read_raw(4) == value + value + null + null


# Sizes.

OVER = b" is over the limit of %b bytes in namespace 'Ads.S' (max_%b in [namespaces])\r\n"


def test_limits_of_a_namespace(setting: Setting) -> None:
    """The second time such a request is the lane's own: the limits are the same."""
    with setting.gate.client() as client:
        for _ in range(3):
            assert client.cmd("SET", "Ads.S:1", "x" * 100) == b"OK"
            raw = client.raw_reply("SET", "Ads.S:1", "x" * 101)
            assert raw == b"-ERR value of 101 bytes" + OVER % (b"100", b"value")
            raw = client.raw_reply("SET", "Ads.S:" + "k" * 15, "x")
            assert raw == b"-ERR key of 21 bytes" + OVER % (b"20", b"key")
            assert client.raw_reply("HSET", "Ads.S:h", "f", "v", "g", "x" * 101).startswith(b"-ERR value of 101 bytes")
            assert client.cmd("HSET", "Ads.S:h", "f", "v", "g", "x" * 100) in (0, 2)
            assert client.raw_reply("MSET", "Ads.S:1", "v", "other", "x" * 101).startswith(b"-ERR value of 101 bytes")
            assert client.cmd("SET", "other", "x" * 1000) == b"OK"
            assert client.raw_reply("MGET", "other", "Ads.S:" + "k" * 15).startswith(b"-ERR key of 21 bytes")
        assert client.cmd("MGET", "other", "Ads.S:1") == [b"x" * 1000, b"x" * 100]


def test_too_large_inside_multi(setting: Setting) -> None:
    with setting.gate.client() as client:
        client.cmd("MULTI")
        client.cmd("SET", "k", 1)
        assert client.raw_reply("SET", "Ads.S:1", "x" * 101).startswith(b"-ERR value of 101 bytes")
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")


def test_larger_than_any_backend_takes(setting: Setting) -> None:
    """Its bytes are dropped as they come; inside MULTI it aborts."""
    with setting.gate.client(timeout=60) as client:
        client.cmd("MULTI")
        client.cmd("SET", "k", 1)
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (64 * 1024 * 1024 + 1))
        for _ in range(64):
            client.send_raw(b"x" * 1024 * 1024)
        client.send_raw(b"x\r\n")
        assert client.read_one().startswith(b"-ERR value of 67108865 bytes is over the limit")
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")
        assert client.cmd("GET", "k") is None


def test_a_queue_has_its_limits(setting: Setting) -> None:
    with setting.gate.client() as client:
        client.cmd("MULTI")
        for _ in range(5):
            assert client.raw_reply("INCR", "k") == b"+QUEUED\r\n"
        assert client.raw_reply("INCR", "k") == b"-ERR a MULTI holds at most 5 commands and 1024 bytes\r\n"
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")
        client.cmd("MULTI")
        assert client.raw_reply("SET", "k", "x" * 1024) == b"-ERR a MULTI holds at most 5 commands and 1024 bytes\r\n"
        assert client.raw_reply("EXEC").startswith(b"-EXECABORT")
        assert client.pipeline([("MULTI",), ("SET", "k", "x" * 900), ("EXEC",)])[-1] == [b"OK"]


def test_the_embedded_store_says_what_it_lacks(setting: Setting) -> None:
    with setting.gate.client() as client:
        lacking = ("LPUSH Ads.L:1 x", "BLPOP Ads.L:1 0", "SUBSCRIBE Ads.L:c", "PUBLISH Ads.L:c m", "EVAL return(1) 1 Ads.L:1")
        for words in lacking:
            raw = client.raw_reply(*words.split())
            name = words.split()[0].lower()
            assert raw == (
                f"-ERR command '{name}' is not supported by backend 'local' (lmdb); see 'kvgate commands --backend lmdb'\r\n"
            ).encode(), raw


def test_keys_of_no_namespace() -> None:
    config = namespaces(Ads_P="a")
    with stores(1) as (one,), serving(redis("a", one) + config, one) as setting, setting.gate.client() as client:
        wanted = b"-NONAMESPACE no namespace for key 'x': name it in [namespaces] or set a default there\r\n"
        nowhere = ("GET x", "MGET Ads.P:1 x", "SUBSCRIBE x", "PUBLISH x m", "BLPOP x 0", "WATCH x", "EVAL return(1) 1 x")
        for words in nowhere:
            assert client.raw_reply(*words.split()) == wanted, words
        assert client.cmd("SET", "Ads.P:1", "v") == b"OK"
