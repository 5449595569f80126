"""Pipelines of simple commands on the embedded store: the replies of a real Redis, however they are mixed and cut."""

import random
from collections.abc import Iterator

import pytest

from kvgate.wire.request import encode_request
from tests.server.processes import info
from tests.support.servers import Gate, RedisServer, wait_for

CONFIG = """
[backends.local]
type = "lmdb"
path = "data"
durability = "{durability}"
[namespaces]
default = "local"
"Ads.T" = "local"
"""
KEYS = [b"a", b"b", b"Ads.T:a", b"Ads.T:b", b"Ads.U:a", b"x" * 500]
FIELDS = [b"f", b"g", b"h" * 200]


@pytest.fixture(scope="module", params=["always", "no"])
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    with Gate(CONFIG.format(durability=request.param)) as gate:
        yield gate


def some(rng: random.Random) -> list[bytes]:
    """A command."""
    key, field, value = rng.choice(KEYS), rng.choice(FIELDS), bytes(rng.choice((0, 3, 500, 3000, 33_000)))
    commands = (
        [b"GET", key], [b"get", key], [b"SET", key, value], [b"SET", key, b"7"], [b"HSET", b"h:" + key, field, value[:3000]],
        [b"HGET", b"h:" + key, field], [b"INCR", key], [b"DEL", key], [b"SET", key, b"v", b"PX", b"100000"], [b"TYPE", key],
        [b"HSET", key, field, b"v"], [b"HGET", key, field], [b"HSET", b"h:" + key, b"f", b"1", b"g", b"2"], [b"PING"],
        [b"MGET", key, b"a"], [b"HMGET", b"h:" + key, *FIELDS], [b"APPEND", key, b"x"], [b"GET"], [b"PTTL", b"nothing"],
    )  # fmt: skip
    return rng.choice(commands)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_pipelines_answer_as_redis_does(gate: Gate, module_redis: RedisServer, seed: int, proto: int) -> None:
    rng = random.Random(seed)
    requests: list[list[bytes]] = []
    while len(requests) < 400:
        requests += [some(rng)] * rng.choice((1, 1, 2, 30))
    stream = b"".join(map(encode_request, requests))
    cuts = sorted(rng.randrange(len(stream)) for _ in range(rng.choice((0, 3, 40))))
    replies = []
    both: tuple[Gate | RedisServer, ...] = (gate, module_redis)
    for server in both:
        with server.client(proto=proto) as client:
            client.cmd("FLUSHALL")
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                client.send_raw(stream[start:end])
            replies.append([client.read_one() for _ in requests])
    assert replies[0] == replies[1]


def test_a_client_sees_its_own_writes(gate: Gate) -> None:
    with gate.client() as client:
        for number in range(50):
            value = b"%d" % number
            pairs = [[b"SET", b"own:%d" % each, value] for each in range(20)] + [[b"HSET", b"ownh", b"f", value]]
            reads = [[b"GET", b"own:%d" % each] for each in range(20)] + [[b"HGET", b"ownh", b"f"]]
            client.send_raw(b"".join(map(encode_request, pairs + reads)))
            found = [client.read_one() for _ in pairs + reads]
            assert found[:20] == [b"+OK\r\n"] * 20
            assert found[21:] == [b"$%d\r\n%b\r\n" % (len(value), value)] * 21


def test_two_clients_that_write_one_key(gate: Gate) -> None:
    """Each is answered all of its own, and what is left is the last word of one of them."""
    with gate.client() as one, gate.client() as other:
        for turn in range(20):
            for name, client in ((b"one", one), (b"other", other)):
                pairs = [[b"SET", b"shared", b"%b %d %d" % (name, turn, number)] for number in range(50)]
                client.send_raw(b"".join(map(encode_request, pairs)))
            assert [client.read_one() for client in (one, other) for _ in range(50)] == [b"+OK\r\n"] * 100
            assert one.cmd("GET", "shared") in (b"one %d 49" % turn, b"other %d 49" % turn)


def test_a_client_that_leaves_amid_its_run(gate: Gate) -> None:
    """What it sent whole before it left is done, in order; others go on, and nothing fails."""
    with gate.client() as watching:

        def has_come(last: bytes) -> None:
            wait_for(lambda: watching.cmd("GET", "gone") == last, "the last of its writes")

        for turn in range(20):
            with gate.client() as leaving:
                pairs = [[b"SET", b"left", b"%d %d" % (turn, number)] for number in range(50)]
                leaving.send_raw(b"".join(map(encode_request, [*pairs, [b"SET", b"gone", b"%d" % turn]])))
            has_come(b"%d" % turn)
            assert watching.cmd("GET", "left") == b"%d 49" % turn
        assert info(watching)["lane_failures"] == "0"
