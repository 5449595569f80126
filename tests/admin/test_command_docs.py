"""The replies of COMMAND against those of a real server."""

from collections.abc import Callable
from typing import Any

import pytest

from kvgate.admin.command_docs import command_reply, help_reply
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE, every_command
from kvgate.wire.reply import Error, Map, Reply, SetOf, Simple, decode, encode
from tests.support.additions import NOT_IN_REDIS
from tests.support.resp import Resp
from tests.support.servers import RedisServer

ADDED = {name.lower() for name in NOT_IN_REDIS}
"""Rows that Redis 7.0 does not have (tests/commands/test_table.py says why of each)."""


def everything(spec: CommandSpec) -> bool:
    return True


def redis_own(spec: CommandSpec) -> bool:
    return spec.lower not in ADDED


def answer(proto: int, *args: bytes, allowed: Callable[[CommandSpec], bool] = redis_own) -> bytes:
    return bytes(encode(command_reply([b"COMMAND", *args], allowed), proto))


SAME = [
    [b"INFO", b"get"],
    [b"INFO", b"GET", b"nothing", b"client|setname", b"client|nothing", b"set|get"],
    [b"INFO", b"mset", b"zunionstore", b"eval", b"xadd", b"lmpop", b"auth", b"flushall", b"shutdown", b"restore-asking"],
    [b"DOCS", b"nothing"],
    [b"GETKEYS", b"GET", b"a"],
    [b"GETKEYS", b"mset", b"a", b"1", b"b", b"2"],
    [b"GETKEYS", b"mset", b"a", b"1", b"b"],
    [b"GETKEYSANDFLAGS", b"MSETNX", b"a", b"1", b"b"],
    [b"GETKEYS", b"GET", b"a", b"b"],
    [b"GETKEYS", b"EVAL", b"a"],
    [b"GETKEYS", b"EVAL", b"x", b"0"],
    [b"GETKEYS", b"EVAL", b"x", b"y"],
    [b"GETKEYS", b"FCALL", b"x", b"9", b"a"],
    [b"GETKEYS", b"ZUNION", b"0", b"a"],
    [b"GETKEYS", b"ZUNION", b"3", b"a"],
    [b"GETKEYS", b"PING", b"a"],
    [b"GETKEYS", b"SPUBLISH", b"a", b"b"],
    [b"GETKEYS", b"nothing", b"a"],
    [b"GETKEYS", b"CLIENT", b"nothing"],
    [b"GETKEYS", b"CLIENT", b"ID"],
    [b"GETKEYS", b"SORT", b"a", b"BY", b"w_*", b"STORE", b"d"],
    [b"GETKEYSANDFLAGS", b"SET", b"a", b"b"],
    [b"GETKEYSANDFLAGS", b"SET", b"a", b"b", b"GET"],
    [b"getkeysandflags", b"zunionstore", b"d", b"2", b"a", b"b"],
    [b"GETKEYSANDFLAGS", b"PING", b"a"],
    [b"GETKEYSANDFLAGS", b"XREAD", b"STREAMS", b"a", b"b", b"0"],
    [b"GETKEYSANDFLAGS", b"xreadgroup", b"GROUP", b"g", b"c", b"NX", b"a", b">"],
    [b"GETKEYS", b"XREAD", b"1", b"STREAMS", b"0", b"0"],
    [b"GETKEYSANDFLAGS", b"LMPOP", b"2", b"a", b"LEFT"],
    [b"GETKEYS", b"ZUNIONSTORE", b"d", b"1.5", b"a", b"b"],
    [b"GETKEYSANDFLAGS", b"ZUNION", b"1.5", b"a", b"b"],
    [b"GETKEYS", b"EVAL", b"x", b"1.5", b"a"],
    [b"GETKEYS", b"EVAL", b"x", b"-1", b"a"],
    [b"GETKEYSANDFLAGS", b"BITFIELD", b"a", b"junk", b"u8", b"0"],
    [b"GETKEYSANDFLAGS", b"BITFIELD", b"a", b"GET", b"u8"],
    [b"GETKEYSANDFLAGS", b"BITFIELD", b"a", b"overflow", b"WRAP", b"get", b"u8", b"0"],
    [b"GETKEYS", b"COPY", b"a", b"b", b"DB", b"9"],
    [b"GETKEYS", b"GEORADIUS", b"a", b"0", b"0", b"1", b"km", b"STORE", b"b", b"STORE", b"c"],
    [b"LIST", b"FILTERBY"],
    [b"LIST", b"FILTERBY", b"NOTHING", b"x"],
    [b"LIST", b"x"],
    [b"LIST", b"FILTERBY", b"PATTERN", b"a", b"b"],
    [b"LIST", b"FILTERBY", b"MODULE", b"x"],
    [b"LIST", b"FILTERBY", b"ACLCAT", b"nothing"],
    [b"LIST", b"FILTERBY", b"ACLCAT", b"@hash"],
    [b"LIST", b"filterby", b"pattern", b"GET"],
    [b"COUNT"],
]


def without_tips(proto: int, raw: bytes) -> Any:
    """A reply of COMMAND INFO without what the table does not hold: tips, and notes on key specifications."""
    value = decode(raw)
    assert isinstance(value, list)
    return [strip(info) if isinstance(info, list) else info for info in value]


def strip(info: list[Any]) -> list[Any]:
    tips, keys, subs = info[7:]
    if isinstance(tips, SetOf):  # RESP3
        specs = [Map([pair for pair in key.pairs if pair[0] != b"notes"]) for key in keys.items]
        return [*info[:7], specs, type(subs), {sub[0]: strip(sub) for sub in getattr(subs, "items", subs)}]
    flat = [key[2:] if key[0] == b"notes" else key for key in keys]
    return [*info[:7], [], flat, {sub[0]: strip(sub) for sub in subs}]


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("args", SAME, ids=lambda args: b" ".join(args).decode())
def test_replies_are_redis_own_byte_for_byte(args: list[bytes], proto: int, module_redis: RedisServer) -> None:
    with Resp(module_redis.address, proto=proto) as client:
        said = client.raw_reply("COMMAND", *args)
    given = answer(proto, *args)
    if args[0] == b"INFO" and len(args) > 2:
        assert without_tips(proto, given) == without_tips(proto, said)
    else:
        assert given == said


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("sub", [[], [b"INFO"]])
def test_all_commands_are_described_as_redis_does(sub: list[bytes], proto: int, module_redis: RedisServer) -> None:
    with Resp(module_redis.address, proto=proto) as client:
        said = without_tips(proto, client.raw_reply("COMMAND", *sub))
    given = without_tips(proto, answer(proto, *sub))
    assert len(given) == 240
    assert {info[0]: info for info in given} == {info[0]: info for info in said}


@pytest.mark.parametrize(
    "filters",
    [
        [],
        [b"ACLCAT", b"hash"],
        [b"ACLCAT", b"DANGEROUS"],
        [b"PATTERN", b"xgro*"],
        [b"PATTERN", b"*|[gG]et*"],
        [b"PATTERN", b"GE?"],
    ],
)
def test_lists_hold_the_same_names(filters: list[bytes], module_redis: RedisServer) -> None:
    args = [b"LIST", *([b"FILTERBY", *filters] if filters else [])]
    with Resp(module_redis.address) as client:
        said = client.cmd("COMMAND", *args)
    given = command_reply([b"COMMAND", *args], redis_own)
    assert isinstance(given, list)
    assert sorted(name for name in given if isinstance(name, bytes)) == sorted(said)
    assert len(given) > 0


@pytest.mark.parametrize("proto", [2, 3])
def test_docs_have_the_shape_of_redis(proto: int, module_redis: RedisServer) -> None:
    """The words are ours; names, since, group and nesting are Redis'."""

    def shape(raw: bytes) -> dict[Any, Any]:
        return {name: kept(pairs(doc)) for name, doc in pairs(decode(raw)).items()}

    def pairs(value: Any) -> dict[Any, Any]:
        if proto == 3:
            assert isinstance(value, Map)
            return dict(value.pairs)
        return dict(zip(value[::2], value[1::2], strict=True))

    def kept(doc: dict[Any, Any]) -> dict[Any, Any]:
        assert doc[b"summary"]
        subs = {name: kept(pairs(sub)) for name, sub in pairs(doc[b"subcommands"]).items()} if b"subcommands" in doc else {}
        return {"since": doc[b"since"], "group": doc[b"group"], "subcommands": subs}

    with Resp(module_redis.address, proto=proto) as client:
        assert shape(answer(proto, b"DOCS")) == shape(client.raw_reply("COMMAND", "DOCS"))
        one = [b"DOCS", b"xgroup|create", b"nothing", b"GET"]
        assert shape(answer(proto, *one)) == shape(client.raw_reply("COMMAND", *one))


def test_what_is_not_allowed_looks_unknown() -> None:
    def no_flush(spec: CommandSpec) -> bool:
        return spec.name not in ("FLUSHALL", "CLIENT|KILL")

    def ask(*args: bytes) -> Reply:
        return command_reply([b"COMMAND", *args], no_flush)

    assert ask(b"COUNT") == len(TABLE) - 1
    everybody, listed = ask(), ask(b"LIST")
    assert isinstance(everybody, list)
    assert isinstance(listed, list)
    assert len(everybody) == len(TABLE) - 1
    assert not {name for name in listed if isinstance(name, bytes)} & {b"flushall", b"client|kill"}
    assert len(listed) == len(list(every_command())) - 2
    assert ask(b"INFO", b"flushall", b"client|kill") == [None, None]
    assert ask(b"DOCS", b"flushall") == Map([])
    assert b"client|kill" not in bytes(encode(ask(b"DOCS", b"client")))
    assert b"client|kill" not in bytes(encode(ask(b"INFO", b"client")))
    assert ask(b"GETKEYS", b"client", b"kill", b"x") == Error(b"ERR Invalid command specified")
    assert ask(b"LIST", b"FILTERBY", b"PATTERN", b"flush*") == [b"flushdb"]


def test_the_gates_own_commands_are_told() -> None:
    given = command_reply([b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", b"gate|*"], everything)
    assert given == [spec.lower.encode() for spec in TABLE[b"GATE"].subcommands.values()]
    assert b"gate|lock" in given


def test_help_names_every_subcommand(module_redis: RedisServer) -> None:
    """In the layout of Redis, which indents the explanations by four; the words are ours."""
    with Resp(module_redis.address) as client:
        for spec in TABLE.values():
            if not spec.subcommands or spec.name in ("CLUSTER", "MODULE"):
                continue
            lines = help_reply(spec)
            assert isinstance(lines, list)
            texts = [line.text.decode() for line in lines if isinstance(line, Simple)]
            assert len(texts) == len(lines)
            assert [text for text in texts[1:] if text[0] not in " ("] == [sub.decode() for sub in sorted(spec.subcommands)]
            if spec.name == "GATE":
                continue
            said = decode(client.raw_reply(spec.name, "HELP"))
            assert isinstance(said, list)
            assert lines[0] == said[0]
            assert said[1] in lines or not isinstance(said[1], Simple) or not said[1].text.startswith(b"(")
    assert command_reply([b"COMMAND", b"HELP"], everything) == help_reply(TABLE[b"COMMAND"])
