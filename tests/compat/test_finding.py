"""The harness finds planted differences, cuts them down, and shows them so that redis-cli can repeat them."""

import shutil
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate_compat.connection import Connection, Ended, encode
from kvgate_compat.dialogue import line, quoted, shortened, shown
from kvgate_compat.differences import KNOWN
from kvgate_compat.frames import FATAL
from kvgate_compat.pair import Difference, Pair, Tally
from kvgate_compat.search import Plan, plan, search
from kvgate_compat.shrink import shrink
from kvgate_compat.steps import Flight, Leave, Passing, Piped, Raw, Single, Step, Turns, requests_of
from kvgate_compat.words import Option, Request, Soon
from tests.support.servers import RedisServer, RedisServers


def request(*args: bytes) -> Request:
    return Request(args[0].decode().upper(), (Option(args[0]), *args[1:]))


def turns(*said: bytes) -> Turns:
    """A command each; behind a number by that client."""
    found: list[Single | Leave] = []
    for text in said:
        client, words = (int(text[:1]), text[2:]) if text[:1].isdigit() else (0, text)
        found.append(Leave(client) if words == b"leaves" else Single(request(*words.split()), client))
    return Turns(tuple(found))


# Planted differences: a Redis that is configured otherwise


@pytest.fixture
def urls(redis_servers: RedisServers) -> "tuple[str, str]":
    """A Redis with another eviction policy and a smaller limit for values, and a plain one."""
    odd = ["--maxmemory-policy", "allkeys-lfu", "--proto-max-bulk-len", "1mb"]
    return redis_servers(config=odd).url, redis_servers().url


def test_a_planted_difference_is_found_and_cut_down(urls: "tuple[str, str]") -> None:
    tally = Tally()
    told: list[Difference] = []
    wanted = Plan(("SET", "HSET", "OBJECT|FREQ", "OBJECT|IDLETIME", "GET", "DEL"), {}, transactions=True)
    found = search(*urls, wanted, tally, proto=3, examples=40, steps=15, first_seed=1, tell=told.append)
    assert {difference.command for difference in found} == {"OBJECT|FREQ", "OBJECT|IDLETIME"}
    assert told == found
    for difference in found:
        assert difference.what.startswith(("reply", "its reply in EXEC"))
        assert len(difference.steps) <= 2
        assert len(difference.dialogue) <= 5
        assert difference.dialogue[:2] == ["HELLO 3", "FLUSHALL"]
        assert difference.command.partition("|")[2] in difference.dialogue[-1].upper()
        assert difference.dialogue[0] in str(difference)


def test_servers_that_agree(redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    tally = Tally()
    wanted = plan(one.url, other.url)
    assert search(one.url, other.url, wanted, tally, proto=2, examples=12, first_seed=1) == []
    assert tally.examples >= 12
    assert tally.total > 300
    assert one.cmd("PING") == b"PONG"
    assert one.calls("set") > 0
    assert one.calls("set") == other.calls("set")


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (Single(request(b"SETRANGE", b"a", b"2000000", b"x")), "reply"),
        (Piped((request(b"GET", b"a"), request(b"SETRANGE", b"a", b"2000000", b"x"))), "in a pipeline of 2"),
        (Piped((request(b"GET", b"a"), request(b"SETRANGE", b"a", b"2000000", b"x")), 2, (100, 500)), "in a pipeline of 2"),
        (turns(b"MULTI", b"GET a", b"SETRANGE a 2000000 x", b"EXEC"), "its reply in EXEC"),
        (turns(b"MULTI", b"1 SETRANGE a 2000000 x", b"EXEC"), "reply"),
        (Flight((Piped((request(b"PING"),)), Piped((request(b"SETRANGE", b"a", b"2000000", b"x"),), 1))), "pipeline of 1"),
    ],
)
def test_each_kind_of_step(urls: "tuple[str, str]", step: Step, what: str) -> None:
    pair = Pair(*urls, 2, Tally())
    try:
        pair.begin()
        pair.run(Single(request(b"SET", b"a", b"v")))
        with pytest.raises(Difference, match="SETRANGE") as caught:
            pair.run(step)
        assert what in caught.value.what
        assert pair.shows([step], "SETRANGE")
        assert not pair.shows([step], "GET")
        assert not pair.shows([Single(request(b"SET", b"a", b"v"))], "SETRANGE")
    finally:
        pair.close()


def test_a_watched_key_that_changes(redis_servers: RedisServers) -> None:
    pair = Pair(redis_servers().url, redis_servers().url, 2, Tally())
    try:
        pair.begin()
        pair.run(turns(b"WATCH a", b"1 SET a 2", b"MULTI", b"SET a 1", b"EXEC"))
        assert [side.ask([b"GET", b"a"]).text for side in pair._sides] == [b"2", b"2"], "EXEC did nothing"
        pair.run(turns(b"WATCH b", b"1 SET a 2", b"MULTI", b"SET a 3", b"EXEC"))
        assert [side.ask([b"GET", b"a"]).text for side in pair._sides] == [b"3", b"3"]
        pair.run(turns(b"MULTI", b"SET a 4", b"DISCARD"))
        pair.finish()
    finally:
        pair.close()


def test_state_is_compared_behind_equal_replies(redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    pair = Pair(one.url, other.url, 2, Tally())
    try:
        for harm, what in (
            (("APPEND", "a", "x"), "value of a afterwards"),
            (("PEXPIRE", "a", "100000"), "PTTL of a afterwards"),
            (("LPUSH", "Ads.T:b", "x"), "TYPE of Ads.T:b afterwards"),
        ):
            pair.begin()
            pair.run(Single(request(b"SET", b"a", b"v")))
            one.cmd(*harm)
            with pytest.raises(Difference, match=what):
                pair.run(Single(request(b"ECHO", harm[1].encode())))
        pair.begin()
        one.cmd("SET", "n", "v")
        with pytest.raises(Difference, match="everything at the end: TYPE of n"):
            pair.finish()
        pair.finish()  # nothing after a failure: it would hide it
    finally:
        pair.close()


def test_a_known_difference_ends_the_example_and_is_counted(urls: "tuple[str, str]") -> None:
    """It is planted here: the first server's longest string is 1 MB."""
    tally = Tally()
    pair = Pair(*urls, 2, tally)
    pair.known = [known for known in KNOWN if known.name == "string-length"]
    change = request(b"SETRANGE", b"a", b"2000000", b"x")
    long = b"SETRANGE a 2000000 x"
    for step in (Single(change), Piped((change,)), turns(b"MULTI", long, b"EXEC"), turns(b"MULTI", b"1 " + long, b"EXEC")):
        pair.begin()
        pair.run(step)
        pair.run(Single(request(b"GET", b"a")))
        pair.finish()
    assert tally.known == {"string-length": 4}
    assert "GET" not in tally.commands, "the two hold different data"
    assert pair.first is None
    assert pair.difference([Single(change)]) is None
    pair.known = ()
    assert pair.shows([Single(change)], "SETRANGE")
    pair.close()


def test_a_server_that_ends_is_a_difference(redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    pair = Pair(one.url, other.url, 2, Tally())
    pair.begin()
    pair.run(Single(request(b"GET", b"a")))
    one.kill()
    with pytest.raises(Difference, match="connection") as caught:
        pair.run(Single(request(b"GET", b"a")))
    assert caught.value.ours == "the connection was closed"
    pair.close()
    with pytest.raises(Difference, match="HELLO: connection"):
        pair.run(Single(request(b"GET", b"a"), 1))
    pair.close()
    with pytest.raises(OSError, match="refused"):
        pair.begin()


def test_bytes_are_compared_with_what_follows_them(redis_servers: RedisServers) -> None:
    limited = redis_servers(config=["--proto-max-bulk-len", "1mb"])
    pair = Pair(limited.url, redis_servers().url, 3, Tally())
    try:
        pair.begin()
        pair.run(Raw((b"SET a 1\r\n", b"\r\n", b"MULTI\r\n"), cuts=(300, 600)))
        pair.run(Raw((b"INCR a\r\n", b"*1\r\nx\r\n"), ends=True))
        assert [side.ask([b"GET", b"a"]).text for side in pair._sides] == [b"2", b"2"]
        assert (pair.tally.frames, pair.tally.cuts) == (2, 2)
        size = 1_100_000
        with pytest.raises(Difference, match=r"answer to these bytes|connection") as caught:
            pair.run(Raw((b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%b\r\n" % (size, b"x" * size),)))
        assert caught.value.command == "bytes"
    finally:
        pair.close()


@pytest.mark.parametrize("frame", FATAL, ids=lambda frame: repr(frame[:24]))
def test_redis_closes_for_each_frame_that_ends_a_stream(module_redis: RedisServer, frame: bytes) -> None:
    connection = Connection(module_redis.url)
    connection.send(encode([b"PING"]) + frame)
    said, closed = connection.until(b"")
    assert closed
    assert said.startswith(b"+PONG\r\n-ERR Protocol error: ")
    connection.close()


def test_a_key_that_lives_longer_on_one_server_is_found_when_time_passes(redis_servers: RedisServers) -> None:
    one, other = redis_servers(), redis_servers()
    pair = Pair(one.url, other.url, 2, Tally())
    write = Single(Request("SET", (Option(b"SET"), b"a", b"v", Option(b"PX"), Soon(200, 1000))))
    try:
        pair.begin()
        pair.run(write)
        pair.run(Passing())
        pair.run(Single(request(b"APPEND", b"a", b"w")))
        assert [side.ask([b"GET", b"a"]).text for side in pair._sides] == [b"w", b"w"]
        assert pair.tally.passages == 1
        pair.run(write)
        one.cmd("PEXPIRE", "a", "4000")  # within the tolerance of times, and so not seen before
        pair.run(Passing())
        with pytest.raises(Difference, match="TYPE of a"):
            pair.finish()
        assert [line for line in pair._judge.dialogue if line.endswith(" s pass")]
    finally:
        pair.close()


# Cutting down


def commands(*names: str) -> list[Step]:
    return [Single(request(name.encode(), b"k" * 50)) for name in names]


def test_shrinking_keeps_what_is_needed_and_simplifies_it() -> None:
    steps = commands(*"abcdefghij")
    tried = 0

    def shows(some: Sequence[Step]) -> bool:
        nonlocal tried
        tried += 1
        names = [step.request.name for step in some if isinstance(step, Single)]
        return "C" in names and names[-1:] == ["J"]

    assert shrink(steps, shows) == [Single(Request("C", (b"C",))), Single(Request("J", (b"J",)))]
    assert tried < 60


LONG = request(b"B", b"long", b"v" * 1000)


@pytest.mark.parametrize(
    "step",
    [
        Single(LONG, 2),
        Piped((request(b"P"), LONG, request(b"Q")), 1, (500,)),
        turns(b"1 WATCH a", b"1 MULTI", b"2 SET a 1", b"1 leaves", b"B k v", b"1 EXEC"),
        Flight((Piped((request(b"P"), request(b"Q"))), Piped((request(b"P"), LONG), 1, (1, 2)))),
    ],
    ids=lambda step: type(step).__name__,
)
def test_shrinking_turns_each_kind_of_step_into_a_plain_one(step: Step) -> None:
    steps: list[Step] = [Passing(), Leave(1), Raw((b"PING\r\n",)), step]

    def shows(some: Sequence[Step]) -> bool:
        return any(one.name == "B" for one in requests_of(some))

    assert shrink(steps, shows) == [Single(Request("B", (b"B",)))]


def test_shrinking_keeps_clients_apart_where_that_matters() -> None:
    said = (b"1 PING", b"WATCH a", b"GET a", b"1 SET a 2", b"2 GET a", b"MULTI", b"SET a 1", b"2 leaves", b"EXEC", b"PING")

    def shows(some: Sequence[Step]) -> bool:
        """A watched key is set by another client before EXEC."""
        watched: dict[bytes, int] = {}
        broken = False
        for step in some:
            for turn in step.steps if isinstance(step, Turns) else ():
                if isinstance(turn, Single) and turn.request.name == "WATCH" and len(turn.request.args) > 1:
                    watched[b"".join(map(bytes, turn.request.args[1:2]))] = turn.client  # type: ignore[arg-type]  # no times
                elif isinstance(turn, Single) and turn.request.name == "SET" and len(turn.request.args) == 3:
                    broken |= watched.get(bytes(turn.request.args[1]), turn.client) != turn.client  # type: ignore[arg-type]  # no times
                elif isinstance(turn, Single) and turn.request.name == "EXEC" and broken:
                    return True
        return False

    (smallest,) = shrink([turns(*said)], shows)
    assert isinstance(smallest, Turns)
    assert [(each.request.name, each.client) for each in smallest.steps if isinstance(each, Single)] == [
        ("WATCH", 0),
        ("SET", 1),
        ("EXEC", 0),
    ]


def test_shrinking_bytes_keeps_their_end() -> None:
    step = Raw((b"PING\r\n", b"GET a\r\n", b"\r\n", b"*x\r\n"), ends=True, cuts=(1, 500))
    assert shrink([Passing(), step], lambda some: any(isinstance(one, Raw) and one.ends for one in some)) == [
        Raw((b"*x\r\n",), ends=True)
    ]


def test_shrinking_ends_in_time() -> None:
    assert shrink(commands("a", "b"), lambda _some: True, seconds=0) == commands("a", "b")


# Dialogues

needs_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed (Debian: redis-tools)")


def redis_cli(port: object, lines: bytes) -> bytes:
    """What it prints when it is fed so."""
    return subprocess.run(["redis-cli", "-p", str(port)], input=lines, capture_output=True, timeout=60, check=True).stdout


@needs_cli
def test_a_dialogue_is_read_back_byte_for_byte(redis_server: RedisServer) -> None:
    texts = [b"", b"plain", b"\x00\xff\r\n\"'\\ \t\x07", bytes(range(256)), b"#", b"{}", b"'a'", b"a b", b"x" * 70_000]

    @settings(max_examples=300, derandomize=True, database=None)
    @given(st.binary(max_size=20))
    def more(text: bytes) -> None:
        texts.append(text)

    more()
    lines = [line([b"SET", b"k%d" % at, text]) for at, text in enumerate(texts)]
    assert redis_cli(redis_server.port, "\n".join(lines).encode()) == b"OK\n" * len(texts)
    assert redis_server.cmd("MGET", *[b"k%d" % at for at in range(len(texts))]) == texts


def test_what_people_see_is_cut() -> None:
    assert quoted(b"a b\xff") == '"a b\\xff"'
    assert shortened("x" * 600) == "x" * 600
    assert shortened("x" * 700) == "x" * 600 + "… (700 letters)"
    assert shown(("a", b"+OK\r\n", None)) == '(a, "+OK\\r\\n", None)'
    assert shown(tuple(range(20))).endswith("7, … 20 in all)")
    assert shown(b"") == "nothing"


# Connections


def test_a_url_with_a_password(redis_servers: RedisServers) -> None:
    server = redis_servers(password="p@ss/w", unix=False)
    url = f"redis://:p%40ss%2Fw@127.0.0.1:{server.port}"
    for proto in (2, 3):
        connection = Connection(url, proto)
        assert connection.ask([b"PING"]).text == b"PONG"
        connection.close()
    with pytest.raises(Ended, match="WRONGPASS"):
        Connection(url.replace("w@", "x@"))
    with pytest.raises(ValueError, match="is unknown, a store is redis://"):
        Connection("http://127.0.0.1")


def test_a_unix_socket(redis_servers: RedisServers) -> None:
    connection = Connection(redis_servers(unix=True).url)
    assert connection.ask([b"PING"]).raw == b"+PONG\r\n"
    connection.close()
