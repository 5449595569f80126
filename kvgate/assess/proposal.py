"""A configuration to begin with, which `kvgate check` accepts: backends, and a line for each namespace that was seen."""

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from kvgate.assess.prefixes import Prefix
from kvgate.assess.stores import Store
from kvgate.assess.verdicts import NO, Verdict
from kvgate.backend import Endpoint
from kvgate.routing.namespaces import DEFAULT

WILD: Final = 8
"""Namespaces of one application from which on there is one line for all of them."""
SOURCE: Final = "source"
"""Name of the backend that is the store as it is."""
TARGET: Final = "store"
"""Name of the one that keys are to go to."""
TEMPLATES: Final = {
    "lmdb": ('path = "kvgate-data"', "#single_gate = true  # needed when the gate listens beyond loopback"),
    "tikv": ('pd = ["127.0.0.1:2379"]  # the placement drivers of your cluster',),
    "kvrocks": ('url = "redis://127.0.0.1:6666"  # yours',),
    "redis": ('url = "redis://127.0.0.1:6379"  # yours',),
}
"""Type of backend → the lines of its table."""


@attrs.frozen(slots=True)
class Rule:
    """What one namespace is to get."""

    name: str
    backend: str
    max_value: int | None = None
    """Bytes; None: as the backend has it."""
    versioned: bool = False
    reason: str = ""
    """Why it stays where it is, or cannot be served."""
    served: bool = True

    @property
    def has_table(self) -> bool:
        """Whether one line is not enough."""
        return self.max_value is not None or self.versioned


@attrs.frozen(slots=True)
class Wish:
    """What a configuration is wanted for."""

    endpoint: Endpoint
    """The store as it is."""
    home: Store
    """Its type."""
    target: Store | None
    """Another type, where keys are to go if they can; None: they stay."""
    databases: Sequence[int]
    """That were looked at, those with keys."""


Judged = Sequence[tuple[Prefix, Sequence[Verdict]]]
"""Prefixes and a verdict for each type of backend."""


def propose(wish: Wish, judged: Judged) -> str:
    """The TOML text."""
    first = min(wish.databases, default=wish.endpoint.database)
    others = [number for number in sorted(wish.databases) if number != first]
    rules = _rules(wish, [one for one in judged if one[0].database == first])
    used = {rule.backend for rule in rules if rule.served}
    lines = ["[gate]", 'listen = ["127.0.0.1:6380"]']
    if SOURCE in used:
        lines += ["", *_source(wish, first, SOURCE)]
    if wish.target is not None and (TARGET in used or others):
        lines += ["", *_target(wish.target, judged)]
    if wish.target is None:
        for number in others:
            lines += ["", *_source(wish, number, f"db{number}")]
    lines += ["", *_namespaces(rules)]
    homes = {number: f"Home.Db{number}" for number in sorted({0, first, *others})} if others else {}
    for number, name in homes.items():
        backend = TARGET if wish.target is not None else f"db{number}" if number in others else SOURCE
        lines.append(f'"{name}" = "{backend}"')
    lines += [line for rule in rules if rule.has_table and rule.served for line in _table(rule)]
    return "\n".join(lines + list(_users(homes))) + "\n"


def _rules(wish: Wish, judged: Judged) -> list[Rule]:
    by_name: dict[str, list[tuple[Prefix, Sequence[Verdict]]]] = {}
    for prefix, verdicts in judged:
        by_name.setdefault(prefix.namespace, []).append((prefix, verdicts))
    by_name.setdefault(DEFAULT, [])
    return [_rule(wish, name, found) for name, found in by_name.items()]


def _rule(wish: Wish, name: str, found: Judged) -> Rule:
    """Where a namespace goes: to the wanted store if all its keys can, else it stays."""
    reason = ""
    for store in [wish.target, wish.home]:
        if store is None:
            continue
        against = _against(found, store.type)
        if not against:
            backend = SOURCE if store is wish.home else TARGET
            prefixes = [prefix for prefix, _ in found]
            versioned = store.takes_versioned and any({"exstrtype", "tairhash-"} & prefix.kinds.keys() for prefix in prefixes)
            value = _max_value(prefixes, store) if _of_namespaces(store) else None
            return Rule(name, backend, value, versioned, f"stays here: {reason}" if reason else "")
        reason = against
    return Rule(name, SOURCE, reason=reason, served=name == DEFAULT)


def _against(found: Judged, kind: str) -> str:
    reasons = [
        verdict.reasons[0] for _, verdicts in found for verdict in verdicts if verdict.type == kind and verdict.works == NO
    ]
    return reasons[0] if reasons else ""


def _max_value(prefixes: Collection[Prefix], store: Store) -> int | None:
    """A limit that all strings seen fit, when the default is too low."""
    if store.max_value is None or store.largest_value is None:
        return None
    lengths = [prefix.lengths[kind].max for prefix in prefixes for kind in ("string", "exstrtype") if kind in prefix.lengths]
    longest = max((length for length in lengths if length <= store.largest_value), default=0)
    if longest <= store.max_value:
        return None
    return min(1 << (longest - 1).bit_length(), store.largest_value)


def _of_namespaces(store: Store) -> bool:
    """Whether namespaces may raise ``max_value``; on others the backend's own table does."""
    return "script" in store.capabilities


def _source(wish: Wish, database: int, name: str) -> Iterator[str]:
    where = wish.endpoint
    yield f"[backends.{name}]  # the store as it is"
    yield f'type = "{wish.home.type}"'
    if where.path:
        url = f"unix://{where.path}?db={database}"
    else:
        host = f"[{where.host}]" if ":" in where.host else where.host
        url = f"{'rediss' if where.tls else 'redis'}://{host}:{where.port}/{database}"
    yield f"url = {_quoted(url)}"
    if where.user:
        yield f"user = {_quoted(where.user)}"
    if where.password or where.password_file:
        yield f"password_file = {_quoted(where.password_file or Path('source.password'))}  # what it holds is the password"
    if where.tls_ca:
        yield f"tls_ca = {_quoted(where.tls_ca)}"


def _target(store: Store, judged: Judged) -> Iterator[str]:
    yield f"[backends.{TARGET}]  # keys have to be copied there"
    yield f'type = "{store.type}"'
    yield from TEMPLATES[store.type]
    value = _max_value([prefix for prefix, _ in judged], store)
    if value is not None and not _of_namespaces(store):
        yield f"max_value = {value}"


def _namespaces(rules: Sequence[Rule]) -> Iterator[str]:
    yield "[namespaces]"
    wild: set[str] = set()
    for (application, backend), names in sorted(_alike(rules).items()):
        if len(names) >= WILD and f"{application}.*" not in wild:
            wild |= {f"{application}.*", *names}
            yield f'"{application}.*" = "{backend}"'
    for rule in rules:
        if rule.name != DEFAULT and rule.name not in wild and not (rule.served and rule.has_table):
            yield from _reason(rule)
            yield f'{"" if rule.served else "#"}"{rule.name}" = "{rule.backend}"'
    default = next(rule for rule in rules if rule.name == DEFAULT)
    if not default.has_table:
        yield from _reason(default)
        yield f'{DEFAULT} = "{default.backend}"  # every other key; without this line they are refused'


def _alike(rules: Sequence[Rule]) -> dict[tuple[str, str], list[str]]:
    """Application and backend → names of the namespaces that need no more than that line."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        if rule.name != DEFAULT and not rule.has_table and not rule.reason:
            found.setdefault((rule.name.partition(".")[0], rule.backend), []).append(rule.name)
    return found


def _reason(rule: Rule) -> list[str]:
    """As a comment."""
    return textwrap.wrap(rule.reason, 92, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _table(rule: Rule) -> Iterator[str]:
    yield ""
    name = DEFAULT if rule.name == DEFAULT else f'"{rule.name}"'
    yield from _reason(rule)
    yield f"[namespaces.{name}]"
    yield f'backend = "{rule.backend}"'
    if rule.max_value is not None:
        yield f"max_value = {rule.max_value}"
    if rule.versioned:
        yield "versioned = true"


def _users(homes: Mapping[int, str]) -> Iterator[str]:
    if not homes:
        return
    named = ", ".join(f'{number} = "{name}"' for number, name in homes.items())
    yield ""
    yield "# The gate has one database. An application that uses several gets a user with a home"
    yield "# namespace for each; keys have to be copied there, with the namespace's name before them."
    yield "# `kvgate password` prints the hash."
    yield "#[users.app]"
    yield '#password_sha256 = ["…"]'
    yield f"#databases = {{ {named} }}"


def _quoted(value: object) -> str:
    """A basic string of TOML: JSON's are, but for what is no text."""
    return json.dumps(str(value), ensure_ascii=False)
