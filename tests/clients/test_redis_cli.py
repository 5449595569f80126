"""redis-cli in all its ways, and redis-benchmark: against the gate, and against a plain Redis as the control."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.setting import two_stores
from tests.support.resp import frame
from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary
from tests.support.terminal import Terminal

pytestmark = [
    pytest.mark.skipif(redis_binary is None, reason=NO_REDIS),
    pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed (Debian: redis-tools)"),
]

Server = Gate | RedisServer


@pytest.fixture(scope="module", params=["redis", "gate"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "redis":
        with RedisServer() as redis:
            yield redis
    else:
        with two_stores() as gate:
            yield gate
            gate.check_log()


@pytest.fixture(autouse=True)
def _empty(server: Server) -> None:
    server.cmd("FLUSHALL")


def run(program: str, server: Server, *arguments: str, feed: bytes = b"") -> str:
    """Output of a program that ends by itself within a minute; nothing may be on stderr."""
    line = [program, "-h", server.host, "-p", str(server.port), *arguments]
    done = subprocess.run(line, input=feed, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout + done.stderr
    return done.stdout.decode()


def cli(server: Server, *arguments: str, feed: bytes = b"") -> str:
    return run("redis-cli", server, *arguments, feed=feed)


def test_one_command(server: Server) -> None:
    assert cli(server, "SET", "Shop.Cart:a", "ü b") == "OK\n"
    assert cli(server, "GET", "Shop.Cart:a") == "ü b\n"
    assert cli(server, "--no-raw", "MGET", "Shop.Cart:a", "Ads.X:none") == '1) "\\xc3\\xbc b"\n2) (nil)\n'
    assert cli(server, "NOSUCH", "a") == "ERR unknown command 'NOSUCH', with args beginning with: 'a' \n\n"


def test_resp3_and_database(server: Server) -> None:
    cli(server, "HSET", "Ads.X:h", "f", "1")
    assert cli(server, "-3", "-n", "0", "--no-raw", "HGETALL", "Ads.X:h") == '1# "f" => "1"\n'
    assert cli(server, "-3", "--no-raw", "ZADD", "Ads.X:z", "INCR", "1.5", "m") == "(double) 1.5\n"


def test_commands_from_a_file(server: Server) -> None:
    assert cli(server, feed=b"SET Shop.Cart:f 1\nINCR Shop.Cart:f\n\nGET Shop.Cart:f\n") == "OK\n2\n2\n"


def test_repeats(server: Server) -> None:
    assert cli(server, "-r", "3", "INCR", "Shop.Cart:n") == "1\n2\n3\n"


@pytest.mark.parametrize("proto", ["-2", "-3"])
def test_interactive(server: Server, proto: str) -> None:
    prompt = re.escape(f"{server.host}:{server.port}") + r"(\(TX\))?(\(subscribed mode\))?> $"
    with Terminal(["redis-cli", "-h", server.host, "-p", str(server.port), proto]) as terminal:
        terminal.expect(prompt)
        for typed, shown in (
            ("SET Shop.Cart:i 'two words'", "OK"),
            ("get Shop.Cart:i", '"two words"'),
            ("NOSUCH a", r"\(error\) ERR unknown command 'NOSUCH', with args beginning with: 'a'"),
            ("MULTI", "OK"),
            ("INCR Shop.Cart:tx", "QUEUED"),
            ("EXEC", r"1\) \(integer\) 1"),
            ("INCR Shop.Cart:i", r"\(error\) ERR value is not an integer or out of range"),
            ("HELLO 3", "1# "),
            ("PING", "PONG"),
            ("CLIENT GETNAME", r"\((nil)\)"),
            ("EVAL \"return redis.call('GET', KEYS[1])\" 1 Shop.Cart:i", '"two words"'),
        ):
            terminal.type(typed)
            terminal.expect(r"\r\n" + shown)
            terminal.expect(prompt)
        terminal.type("quit")
        assert terminal.wait() == 0


def test_interactive_help_comes_from_the_server(server: Server) -> None:
    """The hint of arguments that redis-cli shows while one types is made from the reply to COMMAND DOCS."""
    with Terminal(["redis-cli", "-h", server.host, "-p", str(server.port)]) as terminal:
        terminal.expect("> $")
        terminal.type("help GETEX")
        terminal.expect(r"summary: .*value of a key.*expir")  # the gate has words of its own
        terminal.expect("since: 6.2.0")


def test_subscribe(server: Server) -> None:
    with Terminal(["redis-cli", "-h", server.host, "-p", str(server.port), "SUBSCRIBE", "Shop.Cart:news"]) as terminal:
        terminal.expect(r"3\) \(integer\) 1")
        assert cli(server, "PUBLISH", "Shop.Cart:news", "hello") == "1\n"
        terminal.expect('3\\) "hello"')


def test_stat(server: Server) -> None:
    for i in range(7):
        server.cmd("SET", f"Shop.Cart:{i}", i)
    with Terminal(["redis-cli", "-h", server.host, "-p", str(server.port), "--stat", "-i", "0.05"]) as terminal:
        terminal.expect("keys +mem +clients +blocked +requests +connections")
        keys = "7" if isinstance(server, RedisServer) else "0"  # the gate's INFO counts no keys (docs/operations.md)
        for _ in range(3):
            terminal.expect(rf"\n{keys} +[\d.]+[KMG] +\d+ +0 +\d+ \(\+\d+\) +\d+ +")


def test_bigkeys(server: Server) -> None:
    for i in range(60):
        server.cmd("SET", f"{('Shop.Cart', 'Ads.X')[i % 2]}:{i}", "x" * i)
    server.cmd("RPUSH", "Ads.X:list", *range(20))
    shown = cli(server, "--bigkeys")
    assert "Sampled 61 keys in the keyspace!" in shown
    assert "Biggest string found '\"Ads.X:59\"' has 59 bytes" in shown
    assert "Biggest   list found '\"Ads.X:list\"' has 20 items" in shown


def test_scan(server: Server) -> None:
    keys = {f"{namespace}:{i}" for namespace in ("Shop.Cart", "Ads.X") for i in range(40)}
    for key in keys:
        server.cmd("SET", key, 1)
    assert set(cli(server, "--scan").split()) == keys
    assert set(cli(server, "--scan", "--pattern", "Ads.*:1?").split()) == {f"Ads.X:1{i}" for i in range(10)}


@pytest.mark.parametrize("inline", [False, True])
def test_pipe(server: Server, inline: bool) -> None:
    wanted = [("SET", f"{('Shop.Cart', 'Ads.X')[i % 2]}:{i}", str(i)) for i in range(2000)]
    feed = b"".join(" ".join(command).encode() + b"\r\n" if inline else frame(*command) for command in wanted)
    assert "errors: 0, replies: 2000" in cli(server, "--pipe", feed=feed)
    assert server.cmd("GET", "Ads.X:1999") == b"1999"
    assert server.cmd("DBSIZE") == 2000


def test_latency(server: Server) -> None:
    fields = cli(server, "--latency", "-i", "0.2").split()
    assert len(fields) == 4, fields
    assert int(fields[3]) > 1


def test_benchmark(server: Server) -> None:
    if shutil.which("redis-benchmark") is None:
        pytest.skip("redis-benchmark is not installed (Debian package redis-tools)")
    kinds = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset"
    shown = run("redis-benchmark", server, "-t", kinds, "-n", "500", "-c", "20", "-P", "4", "-r", "50", "--csv")
    rows = [line.split('","')[0].strip('"') for line in shown.splitlines()[1:]]
    assert [row.split()[0] for row in rows[:4]] == ["PING_INLINE", "PING_MBULK", "SET", "GET"]
    assert rows[-1].startswith("MSET")
    assert server.cmd("EXISTS", "mylist", "myhash") == 2
