"""What a store that lacks commands is asked in their place: what it has decides, and scripts say what they mean."""

from collections.abc import Sequence

import pytest

from kvgate.backend import NotKnownYet, Rewritten
from kvgate.commands.table import resolve
from kvgate.wire.reply import Error, Reply, Simple, encode
from kvgate.wire.request import split_request
from kvgate_redis.lua import MARK, body, exact_integers
from kvgate_redis.rewriting import ASKED, Rewriter


def having(*names: str, shards: int = 1) -> Rewriter:
    """Of shards that have these commands."""
    rewriter = Rewriter(shards, {})
    rewriter.generation = lambda shard: shard
    for shard in range(shards):
        rewriter.learn(shard, [[name.lower()] if name.decode() in names else None for name in ASKED])
    return rewriter


def rewritten(rewriter: Rewriter, text: str, *, versioned: bool = True) -> Rewritten | None:
    args = text.encode().split()
    return rewriter.rewrite(resolve(args), args, shard=0, versioned=versioned)


COMMANDS = ["EXSET k v", "EXGET k", "EXHSET k f v", "EXHLEN k", "CAS k a b", "CAD k a"]
COMMANDS += ["DELIFEQ k a", "DELEX k", "SET k v IFEQ a"]
GUARDED = ["HGET k f", "HSET k f v", "TYPE k", "OBJECT ENCODING k", "COPY k l", "RENAME k l", "RESTORE k 0 x"]
PASSED = ["SET k v", "SET k v EX 5", "SET k v EX IFEQ", "GET k", "DEL k", "EXPIRE k 5", "DUMP k", "OBJECT FREQ k", "MGET k l"]


@pytest.mark.parametrize("text", [*COMMANDS, *GUARDED])
def test_a_store_that_has_nothing(text: str) -> None:
    found = rewritten(having(), text)
    assert found is not None
    assert split_request(found.frame)[0] in (b"EVAL", b"HRANDFIELD", b"DEL")


@pytest.mark.parametrize("text", PASSED)
def test_what_every_store_has(text: str) -> None:
    rewriter = having()
    assert not rewriter.may_rewrite(resolve(text.encode().split()), versioned=True)
    assert rewritten(rewriter, text) is None


@pytest.mark.parametrize(
    ("has", "left"),
    [
        (("EXSET",), ["EXHSET k f v", "EXHLEN k", *COMMANDS[4:], *GUARDED]),
        (("EXHSET",), ["EXSET k v", "EXGET k", *COMMANDS[4:], *GUARDED]),
        (("EXSET", "EXHSET", "CAS", "CAD"), COMMANDS[6:]),
        (("DELIFEQ",), [*COMMANDS[:6], "DELEX k", *GUARDED]),
        (("DELEX", "DELIFEQ"), [*COMMANDS[:6], *GUARDED]),
    ],
)
def test_a_store_gets_what_it_has_itself(has: tuple[str, ...], left: list[str]) -> None:
    rewriter = having(*has)
    assert [text for text in (*COMMANDS, *GUARDED) if rewritten(rewriter, text) is not None] == left
    assert rewriter.looks_for_ifeq == ("SET k v IFEQ a" in left)
    assert rewriter.encodes(0) == ("TYPE k" in left)


def test_without_the_setting_plain_keys_are_left_alone() -> None:
    rewriter = having()
    assert [text for text in (*COMMANDS, *GUARDED) if rewritten(rewriter, text, versioned=False)] == COMMANDS[4:]


def test_what_a_store_has_is_asked_for_each_connection() -> None:
    rewriter = Rewriter(2, {})
    made = [0, 0]
    rewriter.generation = made.__getitem__
    args = [b"EXSET", b"k", b"v"]
    with pytest.raises(NotKnownYet):
        rewriter.rewrite(resolve(args), args, shard=1, versioned=True)
    rewriter.learn(1, [[b"exset"], *[None] * 5])
    assert rewriter.rewrite(resolve(args), args, shard=1, versioned=True) is None
    assert rewriter.has(resolve(args), 1)
    assert not rewriter.is_known(0)
    assert rewriter.may_rewrite(resolve(args), versioned=True)  # as far as is known of the other shard
    made[1] += 1
    assert not rewriter.is_known(1)
    with pytest.raises(NotKnownYet):
        rewriter.has(resolve(args), 1)


@pytest.mark.parametrize("reply", [Error(b"ERR unknown command 'COMMAND'"), [], None, [None] * 5])
def test_a_store_that_does_not_tell_has_nothing(reply: Reply) -> None:
    rewriter = having("EXSET")
    rewriter.learn(0, reply)
    assert rewriter.known == [frozenset()]


def test_what_is_wrong_needs_no_store() -> None:
    found = rewritten(having(), "EXSET k v EX")
    assert found is not None
    assert (found.known, found.frame) == (b"-ERR syntax error\r\n", b"")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ([b"+:1\r\n", Simple(b":9223372036854775807"), 5], [b"+:1\r\n", 2**63 - 1, 5]),
        ([Simple(b"OK"), [Simple(b":-123456789012345")], None, b""], [Simple(b"OK"), [-123456789012345], None, b""]),
        (b"+:", b"+:"),
        (Simple(b":1"), 1),
    ],
)
@pytest.mark.parametrize("proto", [2, 3])
def test_integers_that_a_script_writes_as_text(reply: Reply, expected: Reply, proto: int) -> None:
    assert exact_integers(encode(reply, proto)) == encode(expected, proto)


def test_where_a_script_failed_is_not_said() -> None:
    found = rewritten(having(), "EXSET k v")
    assert found is not None
    sha = b"3c44b7a40779a5c68a6e3920550ff76660a813aa"
    assert found.convert(b"-OOM no memory. script: %b, on @user_script:1.\r\n" % sha) == b"-OOM no memory.\r\n"
    assert found.convert(b"-ERR a script: of the client's, on @it\r\n") == b"-ERR a script: of the client's, on @it\r\n"


def test_scripts_are_cut_where_no_text_stands() -> None:
    text = body("local  x = 'a  b' -- why\n if x == $VALUE then\n  return { ok = 'A B' } end")
    assert text == b"local x='a  b' if x=='\\0kvgate:v' then return{ok='A B'}end"


def frames(rewriter: Rewriter, commands: Sequence[str]) -> list[bytes]:
    found = (rewritten(rewriter, text) for text in commands)
    return [each.frame for each in found if each is not None]


def test_marks_are_written_as_escapes() -> None:
    """A script holds no zero byte: a store may keep its text as a C string."""
    assert all(MARK not in split_request(frame)[1] for frame in frames(having(), [*COMMANDS, *GUARDED]))
