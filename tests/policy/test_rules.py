"""Command rules, beside a real server's ACL."""

from collections.abc import Iterator

import pytest

from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import TABLE, by_full_name, every_command
from kvgate.policy.rules import DEFAULT_RULES, EXEMPT, FILTERED_WRITES, NEVER_REFUSED, CommandRules, check_rule
from tests.support.resp import Resp
from tests.support.servers import RedisServer

RULES = [
    "+@all",
    "+@all -@dangerous",
    "-@all +get",
    "+get +set -get",
    "+@read",
    "+@all -@write",
    "+@read +@fast -@string",
    "+@all -config|set",
    "+config -config|set",
    "+config|get",
    "+@all -@all",
    "+@dangerous -@admin",
    "-@dangerous +@all",
    "+@all -@dangerous +sort +client|list",
    "+client -client|kill +client|kill",
    "+@string -set +@write",
    "+GET -CONFIG +Config|Get",
    "+@SortedSet",
    "+acl|whoami",
    "+script|load -script",
    "+@blocking -@keyspace +xread",
]


def spec_of(name: str) -> CommandSpec:
    spec = by_full_name(name.encode())
    assert spec is not None, name
    return spec


@pytest.fixture(scope="module")
def acl(module_redis: RedisServer) -> Iterator[Resp]:
    with module_redis.client() as client:
        yield client


def _permitted(acl: Resp, rules: str) -> dict[str, bool]:
    """What a real server says of every command that it and the table know: ACL DRYRUN, for plain ones and subcommands."""
    acl.cmd("ACL", "SETUSER", "u", "reset", "on", "nopass", "~*", "&*", *rules.split())
    theirs: dict[str, bool] = {}
    for spec in every_command():
        if spec.subcommands or spec.since in ("7.2.0", "0.1.0") or "no_auth" in spec.flags or spec.group == "gate":
            continue
        count = abs(spec.arity) - len(spec.name.split("|"))
        answer = acl.ask("ACL", "DRYRUN", "u", *spec.name.split("|"), *(["1"] * count))
        theirs[spec.lower] = "no permissions to run" not in str(answer)
    return theirs


@pytest.mark.parametrize("rules", RULES)
def test_rules_grant_what_redis_grants(acl: Resp, rules: str) -> None:
    theirs = _permitted(acl, rules)
    mine = CommandRules(rules.split())
    assert len(theirs) > 300
    assert {name: mine.granted(spec_of(name)) for name in theirs} == theirs


@pytest.mark.parametrize(
    "rule", ["+nosuch", "+@nosuch", "-config|nosuch", "+get|x|y", "get", "+", "-", "@all", "", "+@", "~*", "+CLIENT|", "+|x"]
)
def test_what_redis_refuses_is_refused(acl: Resp, rule: str) -> None:
    assert check_rule(rule, TABLE)
    if rule not in ("", "~*"):  # the empty one is no argument of SETUSER's, ~* is about keys
        assert isinstance(acl.ask("ACL", "SETUSER", "v", rule), Exception)


@pytest.mark.parametrize("rule", sorted({rule for rules in RULES for rule in rules.split()}))
def test_what_redis_takes_is_taken(rule: str) -> None:
    assert check_rule(rule, TABLE) == ""


def test_first_argument_rules_are_refused_with_a_reason() -> None:
    assert "first argument" in check_rule("+select|0", TABLE)


def test_mistakes_suggest() -> None:
    assert 'did you mean "HGETALL"' in check_rule("+hgetal", TABLE)
    assert 'did you mean "@dangerous"' in check_rule("-@dangerus", TABLE)
    assert 'did you mean "KILL"' in check_rule("-client|kil", TABLE)


def test_exempt_commands_are_answered_by_the_gate() -> None:
    for name in [*EXEMPT, *FILTERED_WRITES, *NEVER_REFUSED]:
        assert spec_of(name).action is Action.GATE, name


@pytest.mark.parametrize("rules", [["+get"], [], ["-@all"], ["+@all", "-@dangerous", "-@connection"]])
@pytest.mark.parametrize("name", ["ping", "info", "keys", "scan", "client|setname", "config|get", "command|docs", "acl|help"])
def test_categories_do_not_take_exempt_commands_away(rules: list[str], name: str) -> None:
    assert CommandRules(rules).allows(spec_of(name))


def test_a_rule_by_name_does_and_the_last_one_decides() -> None:
    assert not CommandRules(["+@all", "-info"]).allows(spec_of("info"))
    assert not CommandRules(["-keys", "+@all"]).allows(spec_of("keys"))
    assert CommandRules(["-client", "+client|id"]).allows(spec_of("client|id"))
    assert not CommandRules(["-client", "+client|id"]).allows(spec_of("client|list"))


def test_authenticating_cannot_be_taken_away() -> None:
    rules = CommandRules(["-auth", "-hello", "-quit", "-reset", "-@all"])
    assert all(rules.allows(spec_of(name)) for name in ("auth", "hello", "quit", "reset"))


@pytest.mark.parametrize(
    ("rules", "may"),
    [
        (DEFAULT_RULES, True),
        (("+@all",), True),
        (("+@all", "-flushdb", "-flushall"), False),
        (("+@all", "-@write"), False),
        (("+@read",), False),
        (("+get",), False),
        ((), False),
        (("+@write", "-@dangerous"), True),
    ],
)
def test_flushing_is_a_write_but_not_dangerous(rules: tuple[str, ...], may: bool) -> None:
    assert CommandRules(rules).allows(spec_of("flushdb")) is may
    assert CommandRules(rules).allows(spec_of("flushall")) is may


def test_default_rules_keep_the_dangerous_away() -> None:
    rules = CommandRules(DEFAULT_RULES)
    assert not any(rules.allows(spec_of(name)) for name in ("monitor", "sort", "restore", "gate|reload", "slowlog|reset"))
    assert all(rules.allows(spec_of(name)) for name in ("get", "set", "eval", "subscribe", "gate|route", "slowlog|get"))


def test_granted_is_without_exemptions() -> None:
    rules = CommandRules(DEFAULT_RULES)
    assert rules.allows(spec_of("client|kill"))
    assert not rules.granted(spec_of("client|kill"))


def test_categories_of_our_own() -> None:
    assert check_rule("-@shared", TABLE) == ""
    rules = CommandRules(["+@all", "-@shared"])
    assert not any(rules.allows(spec_of(name)) for name in ("script|flush", "function|load", "function|list"))
    assert all(rules.allows(spec_of(name)) for name in ("script|load", "script|exists", "eval", "fcall"))
    assert CommandRules(["+@shared"]).allows(spec_of("function|delete"))


def test_what_tells_of_the_user_alone_is_for_everybody() -> None:
    rules = CommandRules(DEFAULT_RULES)
    assert all(rules.allows(spec_of(name)) for name in ("acl|list", "acl|users", "acl|getuser", "acl|dryrun", "acl|whoami"))
    assert not any(rules.granted(spec_of(name)) for name in ("acl|dryrun", "acl|setuser"))
    assert not any(rules.allows(spec_of(name)) for name in ("acl|setuser", "acl|deluser", "acl|log"))
