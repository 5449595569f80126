"""Known differences are as written: each dialogue is replayed on a gate of each kind and on a real Redis."""

import re
from collections.abc import Iterator

import pytest

from kvgate.commands.table import by_full_name, every_command
from kvgate_compat.connection import Connection, parse
from kvgate_compat.dialogue import line, words
from kvgate_compat.differences import KNOWN, in_the_gate
from kvgate_compat.known import CONFIGURATIONS, Known, dialogue, explained, fits, in_configuration, told
from tests.compat.replaying import answers
from tests.compat.setting import gate_before
from tests.support.servers import NO_REDIS, RedisServer, redis_binary

NOT_THERE = re.compile("is not supported by |other applications' keys lie on the same store")
IN_MULTI = next(known for known in KNOWN if known.name == "in-multi")


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each configuration, one after the other."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def url(kind: str) -> Iterator[str]:
    """A gate of that kind."""
    with gate_before(kind) as setting:
        yield setting.url


def test_each_dialogue_shows_its_difference(kind: str, url: str, module_redis: RedisServer) -> None:
    wrong = []
    for known in KNOWN:
        if kind in known.where:
            theirs, ours = answers(module_redis.url, known.dialogue), answers(url, known.dialogue)
            for each, redis, gate in zip(known.dialogue, theirs, ours, strict=True):
                as_written = fits(each.redis, redis) and fits(each.gate, gate)
                if not as_written or (redis != gate) is not each.differs:
                    wrong.append(f"{known.name}: {each.text}\n  Redis: {redis[:300]}\n  gate:  {gate[:300]}")
    assert not wrong, "\n".join(wrong)


def test_where_it_is_not_said_to_be_there_is_none(kind: str, url: str, module_redis: RedisServer) -> None:
    """A difference that holds in more configurations than its row says. What is no command there, or has another known
    difference, is none."""
    wrong = []
    others = in_configuration(KNOWN, kind)
    for known in KNOWN:
        if known.dialogue and kind not in known.where:
            theirs, ours = answers(module_redis.url, known.dialogue), answers(url, known.dialogue)
            differing = [(redis, gate) for redis, gate in zip(theirs, ours, strict=True) if redis != gate]
            if differing and not any(NOT_THERE.search(gate) for _, gate in differing):
                commands = [name for other in others for name in other.commands]
                if not any(explained(others, name, *differing[0]) for name in commands):
                    wrong.append(f"{known.name}: {theirs} {ours}")
    assert not wrong, "\n".join(wrong)


def test_what_is_refused_inside_multi(url: str) -> None:
    """All commands of that row, and no other that the gate answers."""
    client = Connection(url)
    refused = []
    try:
        for spec in every_command():
            if spec.name not in ("QUIT", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH") and spec.group != "gate":
                name = spec.name.encode().split(b"|")
                client.expect_ok("MULTI")
                reply = client.ask([*name, *[b"1"] * (abs(spec.arity) - len(name))])
                client.expect_ok("DISCARD")
                if b"inside MULTI; the gate answers it itself" in reply.text:
                    refused.append(spec.name)
    finally:
        client.close()
    assert set(refused) == set(IN_MULTI.commands)


def test_what_is_refused_altogether(kind: str, url: str) -> None:
    client = Connection(url)
    try:
        for known in in_configuration(KNOWN, kind):
            wanted = next((line.gate.rpartition(": ")[2] for line in known.dialogue if line.differs), "")
            for name in known.commands if known.refuses else ():
                spec = by_full_name(name.encode())
                assert spec is not None
                words = name.encode().split(b"|")
                count = spec.arity if spec.arity > 0 else 1 - spec.arity
                reply = told(client.ask([*words, *[b"1"] * (count - len(words))]))
                assert fits(f"(error) …{wanted}…", reply), f"{name}: {reply}"
    finally:
        client.close()


def test_rows_are_sound() -> None:
    names = [known.name for known in KNOWN]
    assert len(set(names)) == len(names)
    for known in KNOWN:
        assert known.commands
        assert known.where <= set(CONFIGURATIONS)
        assert known.where
        assert len(known.why) > 5
        for name in known.commands:
            assert by_full_name(name.encode()) is not None, f"{known.name}: {name}"
        if known.dialogue:
            assert any(each.differs for each in known.dialogue)
            assert not known.dialogue[0].differs or len(known.dialogue) < 3
    assert not [spec.name for spec in every_command() if in_the_gate(spec) and spec.name not in IN_MULTI.commands]


# How a dialogue is written, and recognized

ROW = Known(
    name="row",
    title="",
    commands=("GET",),
    where=frozenset(("lmdb",)),
    dialogue=dialogue("2: SET a => OK", 'GET a => "v" != (error) ERR no … here', "GET b => (error) ERR b != (error) ERR c"),
    why="for this test",
)


def test_a_dialogue_is_read() -> None:
    first, second, _ = ROW.dialogue
    assert (first.text, first.redis, first.gate, first.client, first.differs) == ("SET a", "OK", "OK", 2, False)
    assert (second.text, second.redis, second.gate, second.client) == ("GET a", '"v"', "(error) ERR no … here", 1)
    assert second.differs
    with pytest.raises(ValueError, match="no answer"):
        dialogue("GET a")


@pytest.mark.parametrize(
    ("command", "redis", "gate", "known"),
    [
        ("GET", '"v"', "(error) ERR no luck here", True),
        ("GET", '"w"', "(error) ERR no luck here", True),
        ("GET", "(error) ERR no luck here", "(error) ERR no luck here", False),
        ("GET", '"v"', "(error) ERR", False),
        ("MGET", '"v"', "(error) ERR no luck here", False),
        ("GET", "OK", "OK", False),
        ("GET", "(error) ERR b", "(error) ERR c", True),
        ("GET", "(error) ERR x", "(error) ERR c", False),
        ("GET", '"v"', "(error) ERR c", False),
    ],
)
def test_a_known_difference_is_recognized(command: str, redis: str, gate: str, known: bool) -> None:
    assert explained([ROW], command, redis, gate) is (ROW if known else None)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"+OK\r\n", "OK"),
        (b"-ERR x\r\n", "(error) ERR x"),
        (b":-1\r\n", "(integer) -1"),
        (b"$2\r\na\xff\r\n", '"a\\xff"'),
        (b"$1\r\na\r\n", '"a"'),
        (b"$-1\r\n", "(nil)"),
        (b"_\r\n", "(nil)"),
        (b"*-1\r\n", "(nil)"),
        (b"*2\r\n:1\r\n*0\r\n", "[(integer) 1, []]"),
        (b"%1\r\n+a\r\n,1.5\r\n", "{a: (double) 1.5}"),
        (b"#t\r\n", "(true)"),
    ],
)
def test_replies_are_written(raw: bytes, text: str) -> None:
    assert told(parse(raw)) == text


@pytest.mark.parametrize("args", [[b"SET", b"", b"a b", bytes(range(256))], [b"a'b", b'"', b"\\", b"\\x41"]])
def test_lines_are_read_back(args: list[bytes]) -> None:
    assert words(line(args)) == args


def test_a_quote_that_is_not_closed() -> None:
    with pytest.raises(ValueError, match="not closed"):
        words('SET a "b')
