"""The replies of COMMAND and its subcommands, and of every container's HELP, made from the command table.

Shapes and error texts are those observed on Redis 7.0.15. Not told are what the table does not hold: command tips,
complexity, history and the description of arguments.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kvgate.commands.keys import keys_by_place
from kvgate.commands.spec import CommandSpec, Keys
from kvgate.commands.table import OWN_CATEGORIES, REDIS_CATEGORIES, TABLE, by_full_name, every_command, lookup
from kvgate.errors import SYNTAX, GateError
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Error, Map, Reply, SetOf, Simple

Allowed = Callable[[CommandSpec], bool]
"""Whether this client is to see the command; what it may not see looks as if it did not exist."""

_FLAG_ORDER: Final = (
    "write",
    "readonly",
    "denyoom",
    "module",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "may_replicate",
    "no_mandatory_keys",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
)
_KEY_FLAG_ORDER: Final = (
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
)


def command_reply(args: Sequence[bytes], allowed: Allowed) -> Reply:
    """The answer to a whole ``COMMAND …`` request, which `kvgate.commands.table.resolve` found right."""
    if len(args) == 1:
        return [_info(spec, allowed) for spec in TABLE.values() if allowed(spec)]
    sub, rest = args[1].upper(), args[2:]
    if sub == b"COUNT":
        return sum(allowed(spec) for spec in TABLE.values())
    if sub == b"INFO":
        return _infos(rest, allowed)
    if sub == b"DOCS":
        return _docs(rest, allowed)
    if sub == b"LIST":
        return _list(rest, allowed)
    if sub in (b"GETKEYS", b"GETKEYSANDFLAGS"):
        return _get_keys(rest, allowed, with_flags=sub == b"GETKEYSANDFLAGS")
    return help_reply(TABLE[b"COMMAND"])


def help_reply(container: CommandSpec) -> Reply:
    """The answer to ``<container> HELP``: in Redis' layout, with the summaries of the command table."""
    lines = [f"{container.name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    if container.arity == -1:
        lines += ["(no subcommand)", f"    {container.summary}."]
    for name, spec in sorted(container.subcommands.items()):
        lines += [name.decode(), f"    {spec.summary}."]
    return [Simple(line.encode()) for line in lines]


def _named(names: Iterable[bytes], allowed: Allowed) -> Iterable[CommandSpec | None]:
    for name in names:
        spec = by_full_name(name)
        yield spec if spec is not None and allowed(spec) else None


def _infos(names: Sequence[bytes], allowed: Allowed) -> Reply:
    specs = _named(names, allowed) if names else (spec for spec in TABLE.values() if allowed(spec))
    return [None if spec is None else _info(spec, allowed) for spec in specs]


def _info(spec: CommandSpec, allowed: Allowed) -> Reply:
    first, last, step = legacy_range(spec.keys)
    subs: Reply = [_info(sub, allowed) for sub in spec.subcommands.values() if allowed(sub)]
    return [
        spec.lower.encode(),
        spec.arity,
        _words(spec.flags, _FLAG_ORDER),
        first,
        last,
        step,
        _words(spec.categories.difference(OWN_CATEGORIES), REDIS_CATEGORIES),  # the gate's own are told by ACL CAT
        SetOf([]),
        SetOf([_key_spec(keys) for keys in spec.keys]),
        subs if spec.subcommands else SetOf([]),  # in Redis an array with them, an empty set without
    ]


def _words(words: frozenset[str], order: Sequence[str]) -> Reply:
    known = [word for word in order if word in words]
    return SetOf([Simple(word.encode()) for word in [*known, *sorted(words.difference(order))]])


def legacy_range(keys: Sequence[Keys]) -> tuple[int, int, int]:
    """First key, last key and step, as Redis says them of commands whose keys are a plain range; else zeros."""
    if len(keys) == 1 and keys[0].index and keys[0].keynum < 0:
        return _ends(keys[0])
    first = last = 0
    for place in keys:
        if not place.index or place.keynum >= 0 or place.step != 1:
            continue
        begin, end, _ = _ends(place)
        if first and begin != last + 1:
            continue  # not one run
        first = first or begin
        last = end
    return first, last, int(first > 0)


def _ends(place: Keys) -> tuple[int, int, int]:
    return place.index, place.last if place.last < 0 else place.index + place.last, place.step


def _key_spec(place: Keys) -> Reply:
    if place.unknown:
        begin, find = _part(b"unknown"), _part(b"unknown")
    else:
        begin = _part(b"index", index=place.index)
        if place.keyword:
            begin = _part(b"keyword", keyword=place.keyword, startfrom=place.start)
        find = _part(b"range", lastkey=place.last, keystep=place.step, limit=place.limit)
        if place.keynum >= 0:
            find = _part(b"keynum", keynumidx=place.keynum, firstkey=place.first, keystep=place.step)
    flags = _words(place.flags, _KEY_FLAG_ORDER)
    return Map([(b"flags", flags), (b"begin_search", begin), (b"find_keys", find)])


def _part(kind: bytes, **values: bytes | int) -> Reply:
    return Map([(b"type", kind), (b"spec", Map([(name.encode(), value) for name, value in values.items()]))])


def _docs(names: Sequence[bytes], allowed: Allowed) -> Reply:
    specs = _named(names, allowed) if names else (spec for spec in TABLE.values() if allowed(spec))
    return Map([(spec.lower.encode(), _doc(spec, allowed)) for spec in specs if spec is not None])


def _doc(spec: CommandSpec, allowed: Allowed) -> Reply:
    pairs: list[tuple[Reply, Reply]] = [
        (b"summary", spec.summary.encode()),
        (b"since", spec.since.encode()),
        (b"group", spec.group.encode()),
    ]
    subs = [sub for sub in spec.subcommands.values() if allowed(sub)]
    if subs:
        pairs.append((b"subcommands", Map([(sub.lower.encode(), _doc(sub, allowed)) for sub in subs])))
    return Map(pairs)


def _list(args: Sequence[bytes], allowed: Allowed) -> Reply:
    """COMMAND LIST, with FILTERBY MODULE name | ACLCAT category | PATTERN glob."""
    chosen: Callable[[CommandSpec], bool]
    if not args:
        chosen = allowed
    elif len(args) == 3 and args[0].upper() == b"FILTERBY":
        kind, value = args[1].upper(), args[2]
        if kind == b"MODULE":
            return []  # the gate has no modules
        if kind == b"ACLCAT":
            category = "@" + value.lower().decode("utf-8", "replace")
            chosen = lambda spec: category in spec.categories and allowed(spec)  # noqa: E731 - one of three
        elif kind == b"PATTERN":
            matches = glob_matcher(value, ignore_case=True)
            chosen = lambda spec: matches(spec.lower.encode()) and allowed(spec)  # noqa: E731 - one of three
        else:
            return Error(SYNTAX.encode())
    else:
        return Error(SYNTAX.encode())
    return [spec.lower.encode() for spec in every_command() if chosen(spec)]


def _get_keys(args: Sequence[bytes], allowed: Allowed, *, with_flags: bool) -> Reply:
    """COMMAND GETKEYS and GETKEYSANDFLAGS; like Redis, a script with a wrong number of keys has none here."""
    spec = lookup(args)
    if spec is None or not allowed(spec):
        return Error(b"ERR Invalid command specified")
    if all("not_key" in place.flags for place in spec.keys):
        return Error(b"ERR The command has no key arguments")
    if (len(args) != spec.arity) if spec.arity > 0 else (len(args) < -spec.arity):
        return Error(b"ERR Invalid number of arguments specified for command")
    try:
        found = keys_by_place(spec, args)
    except GateError:
        found = ()
    if not found:
        return [] if "no_mandatory_keys" in spec.flags else Error(b"ERR Invalid arguments specified for command")
    if not with_flags:
        return [args[index] for index, _ in found]
    return [[args[index], _words(flags, _KEY_FLAG_ORDER)] for index, flags in found]
