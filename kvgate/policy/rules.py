"""Command rules: ``+@all -@dangerous +get -config|set``, applied in order as Redis' ACL does, and what is exempt from them.

See https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ for the rules' meaning.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import attrs

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import CATEGORIES
from kvgate.policy.options import did_you_mean

DEFAULT_RULES: Final = ("+@all", "-@dangerous")
_OWN = "touches this client's own connection only"
_ANSWERED = "answered by the gate, of itself"
_SCOPED = "answered by the gate, of this user's own connections unless the rules grant more"
_ANSWERED_SELF = "answered by the gate, of this user alone"
_FILTERED = "answered by the gate, of namespaces that the user may see"
_TABLE = "answered from the command table"

NEVER_REFUSED: Final = frozenset({"AUTH", "HELLO", "QUIT", "RESET"})
"""Redis flags them no_auth: an ACL cannot take them away."""

EXEMPT: Final[Mapping[str, str]] = {
    "AUTH": _OWN,
    "HELLO": _OWN,
    "QUIT": _OWN,
    "RESET": _OWN,
    "PING": _OWN,
    "ECHO": _OWN,
    "SELECT": _OWN,
    "CLIENT|GETNAME": _OWN,
    "CLIENT|ID": _OWN,
    "CLIENT|INFO": _OWN,
    "CLIENT|KILL": _SCOPED,
    "CLIENT|LIST": _SCOPED,
    "CLIENT|NO-EVICT": _OWN,
    "CLIENT|PAUSE": _SCOPED,
    "CLIENT|REPLY": _OWN,
    "CLIENT|SETINFO": _OWN,
    "CLIENT|SETNAME": _OWN,
    "CLIENT|UNBLOCK": _SCOPED,
    "CLIENT|UNPAUSE": _SCOPED,
    "ACL|CAT": _TABLE,
    "ACL|DRYRUN": "answered by the gate, of this user unless the rules grant more",
    "ACL|GETUSER": _ANSWERED_SELF,
    "ACL|LIST": _ANSWERED_SELF,
    "ACL|USERS": _ANSWERED_SELF,
    "ACL|WHOAMI": _OWN,
    "COMMAND": _TABLE,
    "COMMAND|COUNT": _TABLE,
    "COMMAND|DOCS": _TABLE,
    "COMMAND|GETKEYS": _TABLE,
    "COMMAND|GETKEYSANDFLAGS": _TABLE,
    "COMMAND|INFO": _TABLE,
    "COMMAND|LIST": _TABLE,
    "CONFIG|GET": _ANSWERED,
    "GATE|ROUTE": "answered by the gate, for keys that the user may see",
    "INFO": _ANSWERED,
    "LATENCY|HISTOGRAM": _FILTERED,
    "ROLE": _ANSWERED,
    "SLOWLOG|GET": _FILTERED,
    "SLOWLOG|LEN": _FILTERED,
    "TIME": _ANSWERED,
    "SCAN": "filtered: shows keys that the user may see",
    "KEYS": "filtered: shows keys that the user may see",
    "DBSIZE": "filtered: counts keys that the user may see",
    "RANDOMKEY": "filtered: shows keys that the user may see",
}
"""Commands that no category takes away, each with the reason; every ``… HELP`` is one, too, being answered from the command
table. A rule that names one (``-info``) still takes it away."""

OWN_CONNECTION: Final = frozenset(name for name, why in EXEMPT.items() if why is _OWN)
"""Those that touch this client's own connection only."""

FILTERED_WRITES: Final = frozenset({"FLUSHDB", "FLUSHALL"})
"""They delete what the user may see and nothing else, so ``-@dangerous`` does not take them away; every other rule does: a
user with ``+@read`` cannot empty its namespaces."""


@attrs.frozen(slots=True)
class _Rule:
    grants: bool
    category: str
    """``@read``, or empty when the rule names a command."""
    name: str
    """``CONFIG`` or ``CONFIG|SET``."""


def _container(name: str) -> str:
    return name.partition("|")[0]


def check_rule(rule: str, table: Mapping[bytes, CommandSpec]) -> str:
    """What is wrong with one rule, given the command table; empty when nothing."""
    if rule[:1] not in ("+", "-") or len(rule) < 2:
        return f'"{rule}" is no rule: write +@category, -@category, +command, -command or +command|subcommand'
    word = rule[1:]
    if word.startswith("@"):
        if word.lower() == "@all" or word.lower() in CATEGORIES:
            return ""
        near = did_you_mean(word, [*CATEGORIES, "@all"])
        return f'"{rule}": there is no category {word}{near}'
    name, _, sub = word.upper().partition("|")
    spec = table.get(name.encode("utf-8", "surrogateescape"))
    if spec is None:
        return f'"{rule}": there is no command {name}{did_you_mean(name, [known.decode() for known in table])}'
    if "|" not in word:
        return ""
    if not spec.subcommands:
        return f'"{rule}": {name} has no subcommands; rules on a first argument are not supported'
    if sub.encode("utf-8", "surrogateescape") not in spec.subcommands:
        near = did_you_mean(sub, [known.decode() for known in spec.subcommands])
        return f'"{rule}": {name} has no subcommand {sub}{near}'
    return ""


class CommandRules:
    """Rules in order; the last one that speaks of a command decides. Without any, a command is refused, as in Redis."""

    __slots__ = ("_allowed", "_granted", "_rules", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` were checked by `check_rule`."""
        self.texts = tuple(texts)
        self._rules = tuple(
            _Rule(
                grants=text[0] == "+",
                category=text[1:].lower() if text[1] == "@" else "",
                name="" if text[1] == "@" else text[1:].upper(),
            )
            for text in texts
        )
        self._granted: dict[str, bool] = {}
        self._allowed: dict[str, bool] = {}

    def _last_word(self, spec: CommandSpec, *, but_for: frozenset[str] = frozenset(), by_name: bool = False) -> bool | None:
        """What the last rule that speaks of the command says, None without one. `but_for`: categories to pass over;
        `by_name`: only rules that name the command."""
        container = _container(spec.name)
        for rule in reversed(self._rules):
            if rule.category:
                speaks = not by_name and (rule.category == "@all" or rule.category in spec.categories - but_for)
            else:
                speaks = rule.name in (spec.name, container)
            if speaks:
                return rule.grants
        return None

    def granted(self, spec: CommandSpec) -> bool:
        """Whether the rules alone allow it, exemptions left aside: may this user kill others' clients, not only its own?"""
        known = self._granted.get(spec.name)
        if known is None:
            known = self._granted[spec.name] = bool(self._last_word(spec))
        return known

    def _decide(self, spec: CommandSpec) -> bool:
        if spec.name in NEVER_REFUSED:
            return True
        if spec.name in EXEMPT or spec.name.endswith("|HELP"):
            return self._last_word(spec, by_name=True) is not False
        if spec.name in FILTERED_WRITES:
            return bool(self._last_word(spec, but_for=frozenset({"@dangerous"})))
        return self.granted(spec)

    def allows(self, spec: CommandSpec) -> bool:
        """Whether the command may run. `spec` is the subcommand's row where there is one."""
        known = self._allowed.get(spec.name)
        if known is None:
            known = self._allowed[spec.name] = self._decide(spec)
        return known


@lru_cache(maxsize=1024)
def command_rules(texts: tuple[str, ...]) -> CommandRules:
    """The rules, shared by all users that have the same ones, so that what is decided is decided once."""
    return CommandRules(texts)
