"""The command table against a real server's COMMAND, and how commands are found in it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate import errors
from kvgate.admin.command_docs import legacy_range
from kvgate.commands.rows import build, parse_keys
from kvgate.commands.spec import Action, CommandSpec, Merge
from kvgate.commands.table import (
    CAPABILITIES,
    CATEGORIES,
    OWN_CATEGORIES,
    REDIS_CATEGORIES,
    TABLE,
    by_full_name,
    every_command,
    lookup,
    resolve,
    supports,
)
from kvgate.errors import GateError
from kvgate.wire.reply import Simple, decode
from tests.support.additions import NOT_IN_REDIS
from tests.support.resp import Resp
from tests.support.servers import RedisServer

GROUPS = {spec.name: spec.group for spec in every_command()}

def ask(server: RedisServer, *args: str | bytes) -> Any:
    """The value of a RESP2 reply, everything in it as bytes, ints and lists."""
    with Resp(server.address) as client:
        return plain(decode(client.raw_reply(*args)))


def plain(value: Any) -> Any:
    if isinstance(value, Simple):
        return value.text
    return [plain(item) for item in value] if isinstance(value, list) else value


def pairs(flat: list[Any]) -> dict[str, Any]:
    return {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def facts_of_redis(info: list[Any]) -> dict[str, Any]:
    """Row by row what COMMAND says: comparable with `facts_of_table`."""
    name, arity, flags, first, last, step, categories, _tips, keys, _subs = info
    return {
        "name": name.decode().upper(),
        "arity": arity,
        "flags": {flag.decode() for flag in flags},
        "range": (first, last, step),
        "categories": {category.decode() for category in categories},
        "keys": [key_facts(pairs(key)) for key in keys],
    }


def key_facts(key: dict[str, Any]) -> dict[str, Any]:
    begin, find = pairs(key["begin_search"]), pairs(key["find_keys"])
    return {
        "flags": {flag.decode() for flag in key["flags"]},
        "begin": begin["type"].decode(),
        **pairs(begin["spec"]),
        "find": find["type"].decode(),
        **pairs(find["spec"]),
    }


def facts_of_table(spec: CommandSpec) -> dict[str, Any]:
    keys = []
    for place in spec.keys:
        if place.unknown:
            keys.append({"flags": set(place.flags), "begin": "unknown", "find": "unknown"})
            continue
        fact: dict[str, Any] = {"flags": set(place.flags)}
        fact |= (
            {"begin": "keyword", "keyword": place.keyword, "startfrom": place.start}
            if place.keyword
            else {"begin": "index", "index": place.index}
        )
        fact |= (
            {"find": "keynum", "keynumidx": place.keynum, "firstkey": place.first, "keystep": place.step}
            if place.keynum >= 0
            else {"find": "range", "lastkey": place.last, "keystep": place.step, "limit": place.limit}
        )
        keys.append(fact)
    return {
        "name": spec.name,
        "arity": spec.arity,
        "flags": set(spec.flags),
        "range": legacy_range(spec.keys),
        "categories": set(spec.categories.difference(OWN_CATEGORIES)),
        "keys": keys,
    }


def test_every_row_is_what_redis_says(module_redis: RedisServer) -> None:
    said = {}
    for info in ask(module_redis, "COMMAND"):
        for one in (info, *info[9]):
            facts = facts_of_redis(one)
            said[facts["name"]] = facts
    assert len(said) > 360
    ours = {spec.name: facts_of_table(spec) for spec in every_command()}
    assert set(said) - set(ours) == set(), "commands without a row"
    assert set(ours) - set(said) == NOT_IN_REDIS, "rows that Redis does not have need a reason"
    for name, facts in said.items():
        assert ours[name] == facts


def test_group_and_since_are_what_redis_says(module_redis: RedisServer) -> None:
    said = {}
    for name, doc in pairs(ask(module_redis, "COMMAND", "DOCS")).items():
        facts = pairs(doc)
        said[name.upper()] = (facts["group"].decode(), facts["since"].decode())
        for sub, sub_doc in pairs(facts.get("subcommands", [])).items():
            sub_facts = pairs(sub_doc)
            said[sub.upper()] = (sub_facts["group"].decode(), sub_facts["since"].decode())
    ours = {spec.name: (spec.group, spec.since) for spec in every_command() if spec.name not in NOT_IN_REDIS}
    assert ours == said


def test_categories_are_those_of_redis(module_redis: RedisServer) -> None:
    assert ["@" + name.decode() for name in ask(module_redis, "ACL", "CAT")] == list(REDIS_CATEGORIES)


FOR_EVERYBODY = {
    "GATE", "GATE|BIGKEYS", "GATE|EXTEND", "GATE|HELP", "GATE|HOTKEYS", "GATE|LOCK", "GATE|NAMESPACES", "GATE|ROUTE",
    "GATE|SLOWLOG", "GATE|UNLOCK", "GATE|USAGE",
}  # fmt: skip
"""The gate's own commands that the default rules grant: locks on the user's keys, and what tells of the user alone."""


def test_administration_of_the_gate_has_to_be_granted() -> None:
    own = {spec.name for spec in every_command() if spec.group == "gate"}
    administration = {name for name in own if (spec := by_full_name(name.encode())) and "@admin" in spec.categories}
    assert own - administration == FOR_EVERYBODY, "give its row the flag admin, or list it here"
    for name in administration:
        spec = by_full_name(name.encode())
        assert spec is not None
        assert "@dangerous" in spec.categories, name
    assert "GATE|RELOAD" in administration


def test_what_users_of_a_store_share_has_a_category() -> None:
    shared = {spec.name for spec in every_command() if "@shared" in spec.categories}
    assert shared == {
        "SCRIPT|DEBUG", "SCRIPT|FLUSH", "SCRIPT|KILL", "FUNCTION|DELETE", "FUNCTION|DUMP", "FUNCTION|FLUSH", "FUNCTION|KILL",
        "FUNCTION|LIST", "FUNCTION|LOAD", "FUNCTION|RESTORE", "FUNCTION|STATS",
    }  # fmt: skip


def test_rows_that_redis_lacks_say_why() -> None:
    for name in NOT_IN_REDIS:
        spec = by_full_name(name.encode())
        assert spec is not None
        assert spec.why


def test_every_row_is_whole() -> None:
    for spec in every_command():
        assert spec.capability in CAPABILITIES
        assert spec.summary
        assert not spec.summary.endswith(".")
        assert spec.categories <= set(CATEGORIES)
        assert (spec.merge is not Merge.NONE) == (spec.action is Action.SPLIT)
        assert spec.why or spec.action is not Action.REFUSE
        if spec.action is Action.FORWARD:
            assert any("not_key" not in place.flags for place in spec.keys) or spec.name in ("PUBLISH", "SPUBLISH"), spec


def test_what_changes_the_connection_or_the_server_is_never_forwarded() -> None:
    dangerous = (
        "SELECT AUTH HELLO RESET QUIT CLIENT|REPLY CLIENT|SETNAME CLIENT|TRACKING CLIENT|PAUSE CLIENT|KILL SYNC PSYNC REPLCONF"
        " SHUTDOWN CONFIG|SET REPLICAOF SLAVEOF MIGRATE SWAPDB DEBUG FAILOVER MOVE SAVE BGSAVE ACL|SETUSER MODULE|LOAD MULTI"
        " EXEC DISCARD WATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR WAIT FLUSHALL FLUSHDB KEYS SCAN DBSIZE RANDOMKEY"
    )
    for name in dangerous.split():
        spec = by_full_name(name.encode())
        assert spec is not None
        assert spec.action not in (Action.FORWARD, Action.SPLIT), name


def test_what_blocks_has_a_connection_of_its_own() -> None:
    assert all(spec.action is Action.OWN for spec in every_command() if "blocking" in spec.flags)


def test_names_are_found_in_any_case_and_subcommands_too() -> None:
    assert lookup([b"get", b"k"]) is lookup([b"GeT"]) is TABLE[b"GET"]
    assert lookup([b"client"]) is TABLE[b"CLIENT"]
    setname = lookup([b"client", b"SetName", b"x"])
    assert setname is by_full_name(b"client|SETNAME")
    assert setname is not None
    assert setname.lower == "client|setname"
    assert lookup([b"client|setname", b"x"]) is None
    assert lookup([b"client", b"nothing"]) is None
    assert by_full_name(b"get|set") is None
    assert by_full_name(b"nothing") is None


WRONG_OR_RIGHT = [
    [b"FOO"],
    [b"foo", b"bar", b"baz"],
    [b""],
    [b"", b"", b""],
    [b"x" * 200],
    [b"x", b"b" * 100, b"c" * 100, b"d"],
    [b"x", b"b" * 128, b"c"],
    [b"x", b"b" * 124, b"c", b"d"],
    [b"a\r\nb", b"c\nd"],
    [b"a\0b", b"c\0d", b"e"],
    [b"\xff\xfe", b"\xe4" * 140],
    ["ä".encode() * 100, b"x"],
    [b"get"],
    [b"Get", b"a", b"b"],
    [b"config|get", b"a"],
    [b"CLIENT"],
    [b"client", b"foo"],
    [b"Client", b"foo\0bar", b"x"],
    [b"client", b"y" * 200],
    [b"CLIENT", b"SetName"],
    [b"client", b"help", b"x"],
    [b"command", b"nothing"],
    [b"COMMAND", b"COUNT", b"1"],
    [b"cluster"],
    [b"cluster", b"nothing"],
    [b"object"],
    [b"XGROUP", b"CREATE", b"k"],
    [b"memory", b"usage"],
    [b"eval", b"x"],
]


@pytest.mark.parametrize("args", WRONG_OR_RIGHT, ids=repr)
def test_errors_are_redis_own(args: list[bytes], module_redis: RedisServer) -> None:
    with Resp(module_redis.address) as client:
        said = client.raw_reply(*args)
    with pytest.raises(GateError) as raised:
        resolve(args)
    assert raised.value.reply == said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(sorted(GROUPS)), extra=st.integers(0, 4))
def test_arity_is_judged_as_redis_does(name: str, extra: int, module_redis: RedisServer) -> None:
    args = [*name.lower().encode().split(b"|"), *[b"0"] * extra]
    if name in NOT_IN_REDIS:
        return
    info = ask(module_redis, "COMMAND", "INFO", name)[0]
    right = len(args) == info[1] if info[1] > 0 else len(args) >= -info[1]
    if info[9] and len(args) > 1:  # a container: the first argument is an unknown subcommand
        with pytest.raises(GateError, match="unknown subcommand '0'"):
            resolve(args)
    elif right:
        assert resolve(args).name == name
    else:
        with pytest.raises(GateError, match="wrong number of arguments for "):
            resolve(args)


@pytest.mark.parametrize("args", [[b"CLUSTER", b"SLOTS"], [b"READONLY"], [b"READWRITE"], [b"ASKING"], [b"CLUSTER", b"HELP"]])
def test_cluster_commands_are_refused_with_redis_own_words(args: list[bytes], module_redis: RedisServer) -> None:
    spec = resolve(args)
    assert spec.action is Action.REFUSE
    with Resp(module_redis.address) as client:
        assert errors.refused(spec.lower, spec.why).reply == client.raw_reply(*args)


def test_a_refusal_tells_the_reason() -> None:
    spec = resolve([b"shutdown"])
    assert errors.refused(spec.lower, spec.why).text == (
        "ERR command 'shutdown' is not available through the gate: it would stop a store that others use"
    )


def named(name: bytes) -> CommandSpec:
    spec = by_full_name(name)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("name", "capabilities", "supported"),
    [
        (b"GET", {"string"}, True),
        (b"GET", {"hash"}, False),
        (b"GET", set(), False),
        (b"GET", {"GET"}, True),
        (b"GET", {"get"}, False),
        (b"GET", {"SET"}, False),
        (b"GET", {"string", "-GET"}, False),
        (b"SET", {"string", "-GET"}, True),
        (b"XGROUP|CREATE", {"XGROUP"}, True),
        (b"XGROUP|CREATE", {"XGROUP|CREATE"}, True),
        (b"XGROUP|DESTROY", {"XGROUP|CREATE"}, False),
        (b"XGROUP|CREATE", {"stream", "-XGROUP"}, False),
        (b"PING", set(), True),
        (b"SHUTDOWN", {"string"}, False),
    ],
)
def test_what_a_backend_supports(name: bytes, capabilities: set[str], *, supported: bool) -> None:
    assert supports(named(name), capabilities) is supported


@pytest.mark.parametrize("text", ["x RO", "1...2 RO", "1..x RO", "STORE RO", "# RO", "-1 RO"])
def test_a_key_specification_that_is_not_well_written_is_found(text: str) -> None:
    with pytest.raises(ValueError, match="no key specification"):
        parse_keys(text)


def test_rows_that_are_not_well_written_are_found() -> None:
    forward = (Action.FORWARD, Merge.NONE)
    with pytest.raises(ValueError, match="X has two rows"):
        build("g", [("X", 1, "", "", "", forward, "string", "1.0.0", "s", "")] * 2)
    with pytest.raises(ValueError, match=r"without a row for their container: \['X'\]"):
        build("g", [("X|Y", 2, "", "", "", forward, "string", "1.0.0", "s", "")])
    with pytest.raises(ValueError, match="X is refused without saying why"):
        build("g", [("X", 1, "", "", "", (Action.REFUSE, Merge.NONE), "string", "1.0.0", "s", "")])
