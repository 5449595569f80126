"""Limits of namespaces: what is refused before anything is sent, on the slow way, the lane's fast way, and inside MULTI."""

from collections.abc import Iterator

import pytest

from tests.server.settings import Setting, redis, serving, sharded, stores
from tests.support.resp import Resp, frame
from tests.support.servers import NO_REDIS, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LIMITS = {
    "Lim.Size": "max_field = 8\nmax_elements = 3\n",
    "Lim.Words": 'forbidden = ["@slow", "+mget", "+set", "+flushall", "getdel"]\ntypes = ["string", "hash"]\n',
    "Lim.Key": "key_pattern = 'Lim\\.Key:user:\\d{1,4}'\n",
    "Lim.Reply": "max_reply = 2000\n",
    "Lim.Hash": 'types = ["hash"]\n',
    "Lim.Loose": 'max_field = "1mb"\nmax_elements = 100000\nmax_reply = "64mb"\nforbidden = ["keys"]\n'
    'types = ["string", "hash", "list", "set", "zset", "stream"]\n'
    "key_pattern = '(?s).*'\n",
    "Free.X": "",
}
BACKENDS = ("one", "two", "local")


def config(shard: str) -> str:
    parts = []
    for backend in BACKENDS:
        for name, more in LIMITS.items():
            parts.append(f'[namespaces."{rename(name, backend)}"]\nbackend = "{backend}"\n' + rename(more, backend))
    return shard + "".join(parts)


def rename(text: str, backend: str) -> str:
    """Each backend has namespaces of its own: ``Lim.Key`` is ``one-Lim.Key`` on ``one``."""
    return text.replace("Lim.", f"{backend}-Lim.").replace("Lim\\.", f"{backend}-Lim\\.").replace("Free.", f"{backend}-Free.")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with stores(2) as (first, second):
        local = f'[backends.local]\ntype = "lmdb"\npath = "{tmp_path_factory.mktemp("limits")}"\n'
        text = config(redis("one", first) + sharded("two", first, second) + local)
        with serving(text, first, second) as setting:
            yield setting


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, setting: Setting) -> str:
    setting.flush()
    setting.gate.cmd("FLUSHALL")
    return str(request.param)


@pytest.fixture
def client(setting: Setting) -> Iterator[Resp]:
    with setting.gate.client() as client:
        yield client


class Names:
    """Commands of a test as they are on one backend."""

    def __init__(self, client: Resp, backend: str) -> None:
        self.client = client
        self.backend = backend

    def __call__(self, line: str) -> bytes:
        return self.client.raw_reply(*rename(line, self.backend).split())

    def text(self, line: str) -> str:
        return self(line).decode().replace(f"{self.backend}-", "")


@pytest.fixture
def say(client: Resp, backend: str) -> Names:
    return Names(client, backend)


SIZE = "in namespace 'Lim.Size'"
WORDS = "in namespace 'Lim.Words'"
LONG_FIELD = f"-ERR field of 10 bytes is over the limit of 8 bytes {SIZE} (max_field in [namespaces])"
MANY = f"-ERR 4 elements are over the limit of 3 elements {SIZE} (max_elements in [namespaces])"
REFUSED = {
    "HSET Lim.Size:a field-long v": LONG_FIELD,
    "HSET Lim.Size:a f v field-long v": LONG_FIELD,
    "HSETNX Lim.Size:a field-long v": LONG_FIELD,
    "HINCRBY Lim.Size:a field-long 1": LONG_FIELD,
    "HSET Lim.Size:a 1 v 2 v 3 v 4 v": MANY,
    "MSET Lim.Size:{t}a 1 Lim.Size:{t}b 1 Lim.Size:{t}c 1 Free.X:{t}d 1": MANY,
    "DEL Free.X:{t}d Free.X:{t}e Lim.Size:{t}a Lim.Size:{t}b": MANY,
    "GETRANGE Lim.Words:a 0 1": f"-NOPERM command 'getrange' is forbidden {WORDS} (forbidden in [namespaces])",
    "GETDEL Lim.Words:a": f"-NOPERM command 'getdel' is forbidden {WORDS} (forbidden in [namespaces])",
    "GET Lim.Hash:a": "-NOPERM command 'get' is about keys of type 'string', and namespace 'Lim.Hash' has hash only"
    " (types in [namespaces])",
    "RENAME Free.X:{t} Lim.Hash:{t}": "-NOPERM command 'rename' is about keys of type 'any', and namespace 'Lim.Hash' has hash"
    " only (types in [namespaces])",
    "RESTORE Lim.Hash:{t} 0 \x00payload": "-NOPERM command 'restore' is about keys of type 'string', and namespace 'Lim.Hash'"
    " has hash only (types in [namespaces])",
    **{
        f"{command} Lim.Key:user:{key}{rest}": "-ERR key does not match the pattern of namespace 'Lim.Key' (key_pattern in"
        " [namespaces])"
        for key in ("12345", "x", "1x", "")
        for command, rest in (("GET", ""), ("SET", " 1"), ("DEL", " Lim.Key:user:1"), ("HGETALL", ""), ("TTL", ""))
    },
}
ON_REDIS = {
    "LPUSH Lim.Size:a 1 2 3 4": MANY,
    "ZADD Lim.Size:z NX CH 1 a 2 b 3 c 4 d": MANY,
    "LPUSH Lim.Words:a 1": "-NOPERM command 'lpush' is about keys of type 'list', and namespace 'Lim.Words'"
    " has hash, string only (types in [namespaces])",
    "SORT Free.X:{t} STORE Lim.Hash:{t}": "-NOPERM command 'sort … store' is about keys of type 'list', and namespace"
    " 'Lim.Hash' has hash only (types in [namespaces])",
    "EVAL return(1) 1 Lim.Key:user:1": "-ERR command 'eval' is not available through the gate: a script could break the limits"
    " of namespace 'Lim.Key'; add its SHA-1 to allowed_scripts in [gate] if it keeps them",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_over_a_limit_is_refused_each_time_and_in_multi(say: Names, line: str) -> None:
    expected = REFUSED[line] + "\r\n"
    assert say.text(line) == expected
    assert say.text(line) == expected, "the same when it comes again"
    assert say("MULTI") == b"+OK\r\n"
    assert say.text(line) == expected
    assert say("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"


@pytest.mark.parametrize("line", ON_REDIS)
def test_what_is_refused_of_what_only_redis_has(client: Resp, setting: Setting, line: str) -> None:
    assert Names(client, "one").text(line) == f"{ON_REDIS[line]}\r\n"


def test_nothing_of_it_reached_a_store(setting: Setting, client: Resp) -> None:
    setting.flush()
    say = Names(client, "two")
    before = [store.cmd("INFO", "commandstats") for store in setting.stores]
    for line in REFUSED:
        say(line)
    for store, stats in zip(setting.stores, before, strict=True):
        after = store.cmd("INFO", "commandstats")
        for name in (b"hset", b"mset", b"set", b"rename", b"restore", b"getdel", b"hincrby"):
            assert _calls(stats, name) == _calls(after, name), name


def _calls(stats: bytes, name: bytes) -> bytes:
    found = [line for line in stats.split(b"\r\n") if line.startswith(b"cmdstat_" + name + b":")]
    return found[0].split(b",")[0] if found else b""


def test_what_keeps_within_the_limits_is_served_and_learned(say: Names) -> None:
    for number in (1, 2, 3):
        assert say(f"HSET Lim.Size:h f{number} v") == b":1\r\n"
        assert say("HSET Lim.Size:h 1 v 2 v 12345678 v") in (b":3\r\n", b":0\r\n")
        assert say(f"SET Lim.Words:a {number}") == b"+OK\r\n"
        assert say("GET Lim.Words:a") == b"$1\r\n%d\r\n" % number
        assert say("MGET Lim.Words:a") == b"*1\r\n$1\r\n%d\r\n" % number
        assert say(f"SET Lim.Key:user:{number} {number}") == b"+OK\r\n"
        assert say(f"GET Lim.Key:user:{number}") == b"$1\r\n%d\r\n" % number
        assert say("HGET Lim.Hash:a f") == b"$-1\r\n"
    # what one namespace allows, its neighbour on the same backend does not get from the lane's memory, nor the other way
    assert say("GET Free.X:a") == b"$-1\r\n"
    assert say("GETDEL Free.X:a") == b"$-1\r\n"
    assert say.text("GETDEL Lim.Words:a").startswith("-NOPERM command 'getdel' is forbidden")
    assert say.text("GET Lim.Hash:a").startswith("-NOPERM command 'get' is about")


@pytest.mark.parametrize("size", [1000, 1990, 1991, 5000, 200_000, 3_000_000])
def test_a_reply_over_the_limit_is_not_delivered(say: Names, setting: Setting, size: int) -> None:
    name = say.backend
    value = "v" * size
    with setting.gate.client() as other:
        assert other.cmd("SET", f"{name}-Lim.Reply:k", value) == b"OK"
    over = (
        f"-ERR reply of more than 2000 bytes is over the limit of namespace '{name}-Lim.Reply' (max_reply);"
        " the command was executed\r\n"
    ).encode()
    whole = b"$%d\r\n%b\r\n" % (size, value.encode())
    expected = whole if len(whole) <= 2000 else over
    for _ in range(3):
        assert say("GET Lim.Reply:k") == expected
        assert say("STRLEN Lim.Reply:k") == b":%d\r\n" % size
    half = f"$1000\r\n{'v' * 1000}\r\n".encode()
    assert say("GETRANGE Lim.Reply:k 0 999") == half
    assert say("MULTI") == b"+OK\r\n"
    assert say("GET Lim.Reply:k") == b"+QUEUED\r\n"
    block = b"*1\r\n" + whole
    assert say("EXEC") == (block if len(block) <= 2000 else over)
    say("SET Lim.Reply:other " + "x" * 1500)
    both = say("MGET Lim.Reply:k Lim.Reply:other")
    assert both == over
    assert say("GET Free.X:none") == b"$-1\r\n", "the connection goes on"


def test_a_pipeline_with_replies_over_the_limit_keeps_its_order(say: Names, setting: Setting) -> None:
    name = say.backend
    with setting.gate.client() as other:
        for number in range(4):
            other.cmd("SET", f"{name}-Lim.Reply:{number}", str(number) * (10 if number % 2 else 100_000))
    for _ in range(2):
        lines = [("GET", f"{name}-Lim.Reply:{number % 4}") for number in range(40)]
        say.client.send_raw(b"".join(frame(*line) for line in lines))
        for number in range(40):
            raw = say.client.read_one()
            assert raw[:1] == (b"$" if number % 2 else b"-"), number


def test_a_forbidden_listing_is_refused_unless_its_pattern_leads_elsewhere(say: Names) -> None:
    say("SET Free.X:a 1")
    refused = "-NOPERM command '{}' is forbidden in namespace '{}' (forbidden in [namespaces])\r\n"
    assert say("KEYS *").startswith(b"-NOPERM command 'keys' is forbidden in namespace")
    assert say.text("KEYS Lim.Loose:*") == refused.format("keys", "Lim.Loose")
    assert say.text("KEYS Free.X:*") == f"*1\r\n${len(say.backend) + 9}\r\nFree.X:a\r\n"
    assert say("SCAN 0 COUNT 100").startswith(b"-NOPERM command 'scan' is forbidden")
    assert say("SCAN 0 MATCH Free.X:* COUNT 100")[:1] == b"*"


def test_the_way_of_a_key_tells_its_limits(say: Names) -> None:
    told = say.text("GATE ROUTE Lim.Size:a")
    assert "max_field = 8; max_elements = 3" in told
    assert "does not match the pattern of namespace 'Lim.Key'" in say.text("GATE ROUTE Lim.Key:user:x")
    assert "command 'getdel' is forbidden in namespace 'Lim.Words'" in say.text("GATE ROUTE Lim.Words:a GETDEL")
    assert "refused: against the namespace's limits" in say.text("GATE ROUTE Lim.Words:a")


def test_a_script_is_held_to_the_limits_of_all_its_keys(setting: Setting) -> None:
    script, keys = "return redis.call('GET',ARGV[1])", ["one-Free.X:a", "one-Lim.Reply:long"]
    with setting.gate.client() as client:
        client.cmd("SET", keys[1], "v" * 3000)
        for order in (keys, keys[::-1]):
            assert b"over the limit of namespace 'one-Lim.Reply'" in client.raw_reply("EVAL", script, 2, *order, keys[1])
            client.cmd("WATCH", keys[0])
            assert b"over the limit of namespace 'one-Lim.Reply'" in client.raw_reply("EVAL", script, 2, *order, keys[1])
            client.cmd("UNWATCH")
        assert client.cmd("EVAL", script, 1, keys[0], keys[1]) == b"v" * 3000  # it names no key of that one
