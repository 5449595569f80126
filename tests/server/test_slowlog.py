"""The slow log without sockets: what is kept of a command, what is never kept, and how much."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvgate.backend import Endpoint
from kvgate.commands.table import lookup
from kvgate.config import parse
from kvgate.lane.slots import Call, Converted, Slot
from kvgate.lane.upstream import Shard, Upstream
from kvgate.metrics.ledger import Account
from kvgate.server.session import Multi, Queued, Session
from kvgate.server.slowlog import EVERYTHING, LOOKED_AT, MOST_IN_A_SECOND, SlowLog, redacted, shortened
from kvgate.wire.request import encode_request
from tests.server.conversations import EVERY
from tests.support.resp import parse as value_of
from tests.support.servers import RedisServer

CONFIG = b"""
[backends.a]
type = "redis"
url = "redis://127.0.0.1:1"
[namespaces]
"Ads.*" = "a"
"Bank.L" = "a"
"""
NAMESPACES = parse(CONFIG, Path("/nowhere")).namespaces


def log(after: float = 0.01, entries: int = 100) -> SlowLog:
    made = SlowLog()
    made.fit(after, entries, NAMESPACES)
    return made


def upstream() -> Upstream:
    return Shard("a", 3, Endpoint(url="redis://store")).lines[0]


def client() -> Any:
    session = Session("1.2.3.4:5", "1.2.3.4", "listener", SimpleNamespace(name="ads"))  # type: ignore[arg-type]  # its name only
    session.name = b"worker-1"
    return SimpleNamespace(session=session)


GET = Account("Ads.P", "get", readonly=True)
SET = Account("Ads.P", "set", readonly=False)


def slot(frames: bytes, want: int, account: Account = GET, started: float = 100.0) -> Slot:
    return Slot(client(), want, frames, started, readonly=True, account=account)


def gets(count: int) -> bytes:
    return b"".join(encode_request([b"GET", b"Ads.P:%d" % number]) for number in range(count))


def test_a_run_is_one_entry_however_its_replies_come() -> None:
    slow, run, up = log(), slot(gets(10), 10), upstream()
    slow.forwarded(up, run, 100.02)
    run.want = 4
    slow.forwarded(up, run, 100.03)
    (entry,) = slow.entries
    assert (entry.args, entry.more, entry.usec, entry.namespaces) == ((b"GET", b"Ads.P:0"), 9, 19_999, ("Ads.P",))
    assert (entry.address, entry.name, entry.user, entry.upstream) == ("1.2.3.4:5", b"worker-1", "ads", "a/3")


@pytest.mark.parametrize("values", [b"v", b"*1\r\n$4\r\nPING", b"*"])
def test_of_a_run_that_is_answered_in_part_the_first_slow_one_is_shown(values: bytes) -> None:
    frames = b"".join(encode_request([b"SET", b"Ads.P:%d" % number, values]) for number in range(10))
    slow = log()
    slow.forwarded(upstream(), slot(frames, 3, SET), 100.02)
    assert slow.entries[0].args == (b"SET", b"Ads.P:7", values)
    assert slow.entries[0].more == 2


def test_a_long_run_costs_no_more_than_its_beginning() -> None:
    slow = log()
    slow.forwarded(upstream(), slot(gets(5000), 10), 100.02)
    assert slow.entries[0].args == (b"GET", b"(one of several commands)")


def test_time_is_told_apart_by_the_connection_and_the_reply_before() -> None:
    slow, up = log(), upstream()
    up.since, up.read_before = 90.0, 95.0
    first, second, third = (slot(gets(1), 1) for _ in range(3))
    slow.forwarded(up, first, 100.05)
    up.read_before = 100.03
    slow.forwarded(up, second, 100.05)
    up.since = 100.04
    slow.forwarded(up, third, 100.05)
    assert [entry.queued for entry in slow.entries] == [0, pytest.approx(30_000, abs=2), pytest.approx(40_000, abs=2)]


def test_what_was_asked_in_a_commands_place_is_not_shown() -> None:
    account = Account("Ads.P", "exset", readonly=False)
    script = encode_request([b"EVAL", b"return the gate's own body", b"1", b"Ads.P:k", b"value"])
    slow = log()
    slow.forwarded(upstream(), Converted(client(), script, 100.0, lambda raw: raw, account), 100.05)
    assert slow.entries[0].args == (b"EXSET", b"Ads.P:k")
    renamed = encode_request([b"g3t", b"Ads.P:k"])
    slow.forwarded(upstream(), slot(renamed, 1, started=101.0), 101.05)
    assert slow.entries[1].args == (b"GET", b"Ads.P:k")


def test_parts_of_split_commands_are_noted_for_their_client_and_the_gates_own_questions_are_not() -> None:
    slow, owner = log(), client()
    frame = encode_request([b"MGET", b"Ads.P:1", b"Ads.Q:2", b"Bank.L:3"])
    call = Call(frame, 100.0, lambda _raw: None, readonly=True, owner=owner, account=Account("Ads.P", "mget", readonly=True))
    slow.forwarded(upstream(), call, 100.05)
    assert slow.entries[0].namespaces == ("Ads.P", "Ads.Q", "Bank.L")
    assert slow.entries[0].user == "ads"
    slow.forwarded(upstream(), Call(encode_request([b"PING"]), 100.0, lambda _raw: None, readonly=True), 100.05)
    assert len(slow.entries) == 1


def test_keys_that_were_not_looked_at_may_be_anybodys() -> None:
    args = [b"MSET", *(word for number in range(LOOKED_AT) for word in (b"Ads.P:%d" % number, b"v"))]
    slow = log()
    slow.forwarded(upstream(), slot(encode_request(args), 1, Account("Ads.P", "mset", readonly=False)), 100.05)
    assert EVERYTHING in slow.entries[0].namespaces
    slow.executed(client(), [b"LPUSH", b"Ads.P:l", *([b"x"] * 5000)], GET, 0.05, "local", 0.0)
    assert slow.entries[1].namespaces == ("Ads.P",), "its one key is its first argument"
    assert slow.entries[1].args[-1] == b"... (%d more arguments)" % (5002 - 31)


def test_a_flood_is_counted_and_not_noted() -> None:
    slow, up = log(entries=10_000), upstream()
    for number in range(3 * MOST_IN_A_SECOND):
        slow.forwarded(up, slot(gets(2), 2, started=100.0 + number / 1e6), 100.5)
    assert len(slow.entries) == MOST_IN_A_SECOND
    assert slow.missed == 2 * MOST_IN_A_SECOND * 2
    slow.forwarded(up, slot(gets(1), 1), 102.0)
    assert len(slow.entries) == MOST_IN_A_SECOND + 1


def test_the_oldest_gives_way_and_ids_are_never_given_twice() -> None:
    slow, up = log(entries=3), upstream()
    slow.number, slow.processes = 1, 2
    for number in range(10):
        slow.forwarded(up, slot(gets(1), 1, started=100.0 + number), 100.5 + number)
    assert [entry.id for entry in slow.entries] == [15, 17, 19]
    slow.reset(lambda entry: entry.id == 17)
    slow.fit(0.01, 5, NAMESPACES)
    slow.forwarded(up, slot(gets(1), 1, started=200.0), 200.5)
    assert [entry.id for entry in slow.entries] == [15, 19, 21]
    slow.fit(0.01, 0, NAMESPACES)
    slow.forwarded(up, slot(gets(1), 1, started=300.0), 300.5)
    assert not slow.entries


def test_a_block_shows_its_commands() -> None:
    multi = Multi()
    for words in ([b"SET", b"Ads.P:1", b"x" * 300], [b"PING"], [b"GET", b"Bank.L:2"]):
        spec = lookup(words)
        assert spec is not None
        multi.commands.append(Queued(spec, words, encode_request(words), (1,) if len(words) > 1 else ()))
    slow = log()
    slow.block(client(), multi, 0.5)
    (entry,) = slow.entries
    assert entry.args[0] == b"EXEC"
    assert entry.args[1].startswith(b"SET Ads.P:1 xxx")
    assert entry.args[1].endswith(b" more bytes)")
    assert entry.args[2:] == (b"PING", b"GET Bank.L:2")
    assert entry.namespaces == ("Ads.P", "Bank.L")
    assert entry.queued is None


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ([b"AUTH", b"secret"], [b"AUTH", b"(redacted)"]),
        ([b"auth", b"bob", b"secret"], [b"auth", b"(redacted)", b"(redacted)"]),
        (
            [b"HELLO", b"3", b"setname", b"n", b"auth", b"bob", b"secret"],
            [b"HELLO", b"3", b"setname", b"n", b"auth", b"(redacted)", b"(redacted)"],
        ),
        ([b"HELLO", b"3", b"AUTH"], [b"HELLO", b"3", b"AUTH"]),
        ([b"SET", b"AUTH", b"secret"], [b"SET", b"AUTH", b"secret"]),
    ],
)
def test_passwords_are_not_kept(args: list[bytes], shown: list[bytes]) -> None:
    assert redacted(args) == shown
    slow = log()
    slow.ran(client(), args, 1.0, 0.0)
    assert slow.entries[0].args == tuple(shown)


def test_arguments_are_shortened_as_redis_shortens_them(redis_server: RedisServer) -> None:
    with redis_server.client() as redis:
        redis.cmd("CONFIG", "SET", "slowlog-log-slower-than", "0")
        for words in (
            [b"SET", b"k", b"x" * 128],
            [b"SET", b"k" * 129, b"x" * 1000],
            [b"MSET", *[b"%d" % number for number in range(30)]],
            [b"DEL", *[b"%d" % number for number in range(31)]],
            [b"DEL", *[b"%d" % number for number in range(32)]],
            [b"DEL", *[b"y" * 200 for _ in range(500)]],
        ):
            redis.cmd(*words)
            entry = value_of(redis.raw_reply("SLOWLOG", "GET", "1"))[0]
            assert list(shortened([word[:128] for word in words], len(words), list(map(len, words)))) == entry[3]


def test_no_request_of_any_command_is_too_strange_to_be_noted() -> None:
    slow, noted = log(entries=1), 0
    for requests in EVERY.values():
        for words in requests:
            spec = lookup(words)
            account = Account("Ads.P", "get" if spec is None else spec.lower, readonly=True)
            for args in (list(words), [*words, *[b"x" * 200] * 300], list(words)[:1]):
                slow._noted = 0
                slow.executed(client(), args, account, 1.0, "local", 0.0)
                slow.forwarded(upstream(), slot(encode_request(args), 1, account, started=float(noted)), 1e9)
                noted += 2
                (entry,) = slow.entries
                assert len(entry.args) <= 32
                assert max(map(len, entry.args)) < 160
                assert "Ads.P" in entry.namespaces
    assert slow.number == 0
    assert slow.entries[0].id == noted - 1
