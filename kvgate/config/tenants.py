"""Reading ``[namespaces]`` and ``[users.*]``: who has which keys, and where they lie."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from kvgate.commands.table import TABLE
from kvgate.config.gate import networks
from kvgate.config.limits import LEAST_REPLY, optional_count, read_limits
from kvgate.config.rates import rate
from kvgate.policy.options import Options, did_you_mean
from kvgate.policy.passwords import SHA256_HEX, Backoff
from kvgate.policy.rules import DEFAULT_RULES, check_rule
from kvgate.policy.scrypt import MOST_HASHES, Scrypt, parse_scrypt
from kvgate.policy.users import User, Users, grants
from kvgate.routing.namespaces import DEFAULT, Namespace, Namespaces, check_name

_MOST_SUGGESTED: Final = 500  # names that a near one is looked for among: a look costs milliseconds
_MOST_SUGGESTIONS: Final = 50  # looks per file
_USER_NAME: Final = re.compile(r"\S{1,128}\Z")
_CERTIFICATE: Final = re.compile(r"(CN|DNS|URI)=(\S(?:.*\S)?)\Z")
_DATABASE: Final = re.compile(r"(?:0|[1-9][0-9]{0,3})\Z")  # as Redis has at most a few thousand


def _namespace(name: str, value: object, all_of: Options, backends: Mapping[str, int | None]) -> Namespace | None:
    mistake = check_name(name)
    if mistake and isinstance(value, dict) and "." not in name and "backend" not in value:
        mistake = f'a name with a dot is written in quotes: "{name}.{next(iter(value), "Table")}"'
    if mistake:
        all_of.wrong(name, mistake)
        return None
    if isinstance(value, str):
        long, key = Options({"backend": value}, all_of.mistakes, *all_of.path, name), ""
    elif isinstance(value, dict):
        long, key = Options(value, all_of.mistakes, *all_of.path, name), "backend"
    else:
        all_of.wrong(name, 'must be a backend\'s name, or a table with backend = "…"')
        return None
    backend = long.text("backend")
    if not backend:
        if key == "" or "backend" not in long.table:
            long.wrong("backend", "needed: the name of a [backends.NAME]")
    elif backend not in backends:
        long.wrong(key, f'no backend is called "{backend}"{did_you_mean(backend, backends)}')
    found = Namespace(
        name=name,
        rule=name,
        backend=backend,
        max_key=long.size("max_key", low=1),
        max_value=long.size("max_value", backends.get(backend), low=1),
        versioned=long.flag("versioned"),
        upstream_user=long.text("upstream_user"),
        limits=read_limits(long),
        rate=rate(long),
    )
    long.done()
    return found


def read_namespaces(table: dict[str, Any], backends: Mapping[str, int | None], mistakes: list[str]) -> Namespaces:
    """``[namespaces]``; `backends`: name → largest value in bytes when a namespace says none, None: no such limit."""
    options = Options(table, mistakes, "namespaces")
    if not table:
        options.wrong("", 'none: every key would be refused; add [namespaces] with default = "a backend"')
    found = (_namespace(name, value, options, backends) for name, value in table.items())
    return Namespaces(namespace for namespace in found if namespace is not None)


@lru_cache(maxsize=1024)
def _rule_mistakes(rules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(mistake for mistake in (check_rule(rule, TABLE) for rule in rules) if mistake)


def _sha256(user: Options) -> tuple[str, ...]:
    hashes = [text.lower() for text in user.texts("password_sha256") or ()]
    for number, text in enumerate(hashes, 1):
        if not SHA256_HEX.match(text):  # not shown: it may be the password itself
            user.wrong("password_sha256", f"number {number} is no SHA-256 (64 hex digits); `kvgate password` prints one")
    return tuple(hashes)


def _scrypt(user: Options) -> tuple[Scrypt, ...]:
    found: list[Scrypt] = []
    texts = user.texts("password_scrypt") or ()
    for number, text in enumerate(texts, 1):
        try:
            found.append(parse_scrypt(text))
        except ValueError as error:  # which does not show the text
            user.wrong("password_scrypt", f"number {number} {error}")
    if len(texts) > MOST_HASHES:
        user.wrong("password_scrypt", f"at most {MOST_HASHES}: every attempt is compared with all of them")
    return tuple(found)


def _certificates(user: Options, taken: dict[str, str]) -> tuple[str, ...]:
    """Names in certificates; `taken`: name → the user who has it."""
    found: list[str] = []
    for text in user.texts("certificates") or ():
        match = _CERTIFICATE.match(text)
        if match is None or not text.isprintable():
            user.wrong("certificates", f'"{text}" is no name: "CN=ads.shop" (subject), "DNS=ads.shop" or "URI=spiffe://shop/ads"')
            continue
        if "*" in match[2]:
            user.wrong("certificates", f'"{text}": names are compared whole, there are no wildcards')
        name = f"DNS={match[2].lower()}" if match[1] == "DNS" else text
        owner = taken.setdefault(name, user.path[-1])
        if owner != user.path[-1]:
            user.wrong("certificates", f'"{text}" is user "{owner}" already')
        found.append(name)
    return tuple(found)


def _credentials(user: Options, taken: dict[str, str]) -> tuple[tuple[str, ...], tuple[Scrypt, ...], tuple[str, ...]]:
    """SHA-256 hashes, scrypt hashes and names in certificates; at least one of them."""
    found = _sha256(user), _scrypt(user), _certificates(user, taken)
    if not any(user.table.get(key) for key in ("password_sha256", "password_scrypt", "certificates")):
        user.wrong(
            "password_sha256",
            "needed: at least one hash, as `kvgate password` prints it (or password_scrypt, or certificates)",
        )
    return found


class _Known:
    """The namespaces that grants may name."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.apps = {rule.name.partition(".")[0] for rule in namespaces.rules if "." in rule.name}
        self.suggested = [rule.name for rule in namespaces.rules[:_MOST_SUGGESTED]]

    def matched(self, pattern: str) -> bool:
        if pattern.endswith(".*"):
            return pattern[:-2] in self.apps
        return pattern == "*" or self.namespaces.of_name(pattern) is not None


def _grants(user: Options, key: str, known: _Known, warnings: list[str]) -> tuple[str, ...]:
    patterns = user.texts(key) or ()
    for pattern in patterns:
        mistake = "" if pattern == "*" else check_name(pattern)
        if mistake:
            user.wrong(key, f'"{pattern}": {mistake}; "*" is all')
        elif not known.matched(pattern):
            near = did_you_mean(pattern, known.suggested) if len(warnings) < _MOST_SUGGESTIONS else ""
            note = Options({}, warnings, *user.path)
            note.wrong(key, f'"{pattern}" matches nothing in [namespaces]{near}')
    return tuple(patterns)


def _databases(user: Options, known: _Known) -> dict[int, str]:
    """``databases``: each one namespace, of those that the user is granted where it says which these are."""
    table = user.subtable("databases")
    if table is None:
        return {}
    listed = user.texts("namespaces")
    granted = None if listed is None else grants((*listed, *(user.texts("read_only") or ())))
    found: dict[int, str] = {}
    for number in table.table:
        name = table.text(number)
        mistake = check_name(name) if name else "needed: the name of a namespace"
        if not _DATABASE.match(number):
            mistake = "a database is a number from 0 to 9999"
        elif not mistake and (name == DEFAULT or name.endswith("*")):
            mistake = "a database is one namespace, neither default nor App.*: its keys begin with its name"
        elif not mistake:
            namespace = known.namespaces.of_name(name)
            if namespace is None:
                mistake = f'"{name}" is not in [namespaces]{did_you_mean(name, known.suggested)}'
            elif granted is not None and not granted.cover(namespace):
                mistake = f'"{name}" is none of this user\'s namespaces; without `namespaces` they are those of its databases'
        if mistake:
            table.wrong(number, mistake)
        else:
            found[int(number)] = name
    if "0" not in table.table:
        user.wrong("databases", "needs 0, the database in which connections begin; it may be the same namespace as another")
    return found


def _commands(user: Options, warnings: list[str]) -> tuple[str, ...]:
    rules = user.texts("commands")
    if rules is None:
        return DEFAULT_RULES
    for mistake in _rule_mistakes(tuple(rules)):
        user.wrong("commands", mistake)
    if rules and rules[0].startswith("-"):
        Options({}, warnings, *user.path).wrong("commands", 'begins by taking away from nothing; put "+@all" first')
    return tuple(rules)


def read_users(
    table: dict[str, Any], namespaces: Namespaces, mistakes: list[str], warnings: list[str], backoff: Backoff
) -> Users:
    """``[users.*]``. Grants that match no namespace are warnings: users may be there before their tables."""
    all_of = Options(table, mistakes, "users")
    known = _Known(namespaces)
    users: list[User] = []
    certificates: dict[str, str] = {}
    for name in table:
        user = all_of.subtable(name)
        if user is None:
            continue
        if not _USER_NAME.match(name):
            all_of.wrong(name, "a user's name has 1 to 128 letters and no spaces")
        sha256, scrypt, names = _credentials(user, certificates)
        databases = _databases(user, known)
        users.append(
            User(
                name=name,
                password_sha256=sha256,
                password_scrypt=scrypt,
                certificates=names,
                namespaces=_grants(user, "namespaces", known, warnings) or tuple(dict.fromkeys(databases.values())),
                read_only=_grants(user, "read_only", known, warnings),
                databases=databases,
                commands=_commands(user, warnings),
                networks=networks(user, "networks"),
                max_connections=optional_count(user, "max_connections"),
                max_pipeline=optional_count(user, "max_pipeline"),
                max_reply=user.size("max_reply", low=LEAST_REPLY),
                rate=rate(user),
            )
        )
        user.done()
    return Users(users, backoff)


def unused(backends: Collection[str], namespaces: Namespaces) -> list[str]:
    """Backends that no namespace leads to."""
    used = {rule.backend for rule in namespaces.rules}
    return [name for name in backends if name not in used]
