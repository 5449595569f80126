"""The command table: what is known of every command, and how one is found by its name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from kvgate import errors
from kvgate.commands import table_data, table_keyspace, table_server, table_versioned
from kvgate.commands.rows import build
from kvgate.commands.spec import CommandSpec

TABLE: Final[Mapping[bytes, CommandSpec]] = MappingProxyType(
    {
        **build("string", table_data.STRING),
        **build("bitmap", table_data.BITMAP),
        **build("hyperloglog", table_data.HYPERLOGLOG),
        **build("hash", table_data.HASH),
        **build("list", table_data.LIST),
        **build("set", table_data.SET),
        **build("sorted-set", table_data.SORTED_SET),
        **build("geo", table_data.GEO),
        **build("stream", table_data.STREAM),
        **build("conditional", table_versioned.CONDITIONAL),
        **build("exstring", table_versioned.EXSTRING),
        **build("exhash", table_versioned.EXHASH),
        **build("generic", table_keyspace.GENERIC),
        **build("transactions", table_keyspace.TRANSACTIONS),
        **build("scripting", table_keyspace.SCRIPTING),
        **build("pubsub", table_keyspace.PUBSUB),
        **build("connection", table_server.CONNECTION),
        **build("server", table_server.SERVER),
        **build("cluster", table_server.CLUSTER),
        **build("gate", table_server.OWN_COMMANDS),
    }
)
"""Upper-case name → command, in the order of the files; containers hold their subcommands."""

CAPABILITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "string": "strings",
        "bitmap": "bits inside strings",
        "hyperloglog": "HyperLogLogs",
        "hash": "hashes",
        "list": "lists, the blocking commands included",
        "set": "sets",
        "zset": "sorted sets, the blocking commands included",
        "geo": "places in sorted sets",
        "stream": "streams, the blocking commands included",
        "conditional": "writes on the condition that a string has a value",
        "exstring": "versioned strings",
        "exhash": "versioned hashes",
        "lock": "locks with fencing numbers",
        "generic": "keys of any type: DEL, TYPE, RENAME, COPY, DUMP, SORT, OBJECT",
        "expire": "expiry of keys",
        "listing": "SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL",
        "transaction": "MULTI, EXEC, DISCARD, WATCH, UNWATCH",
        "script": "Lua scripts",
        "function": "functions",
        "pubsub": "channels",
        "replication": "WAIT",
        "gate": "answered by the gate itself, whatever the store",
        "server": "administration of one store process; never through the gate",
    }
)
"""Every capability word and what it stands for: mostly the type of the data. A backend may also claim single commands."""

REDIS_CATEGORIES: Final[tuple[str, ...]] = (
    "@keyspace",
    "@read",
    "@write",
    "@set",
    "@sortedset",
    "@list",
    "@hash",
    "@string",
    "@bitmap",
    "@hyperloglog",
    "@geo",
    "@stream",
    "@pubsub",
    "@admin",
    "@fast",
    "@slow",
    "@blocking",
    "@dangerous",
    "@connection",
    "@transaction",
    "@scripting",
)
"""The ACL categories of Redis 7.0, in the order of its ACL CAT."""
OWN_CATEGORIES: Final[tuple[str, ...]] = ("@shared",)
"""Those that only the gate has. ``@shared``: commands without a key that change or show what all users of a store share
(loaded scripts and functions); they are refused where a namespace that the user lacks lies on the same store."""
CATEGORIES: Final = REDIS_CATEGORIES + OWN_CATEGORIES

_BY_NAME: Final[dict[bytes, CommandSpec]] = {form: spec for name, spec in TABLE.items() for form in (name, name.lower())}
_SUBCOMMANDS: Final[dict[bytes, Mapping[bytes, CommandSpec]]] = {
    name: spec.subcommands for name, spec in TABLE.items() if spec.subcommands
}


def every_command() -> Iterator[CommandSpec]:
    """All rows in order, each container before its subcommands."""
    for spec in TABLE.values():
        yield spec
        yield from spec.subcommands.values()


def by_full_name(name: bytes) -> CommandSpec | None:
    """A command by the one-word name that Redis uses in replies, any case: ``get``, ``client|setname``."""
    container, bar, sub = name.upper().partition(b"|")
    spec = TABLE.get(container)
    return spec.subcommands.get(sub) if spec is not None and bar else spec


def lookup(args: Sequence[bytes]) -> CommandSpec | None:
    """The command of a request, whatever its number of arguments; None when the name or the subcommand is unknown.

    A container without a subcommand is found as itself.
    """
    name = args[0]
    spec = _BY_NAME.get(name) or _BY_NAME.get(name.upper())
    if spec is None or not spec.subcommands or len(args) == 1:
        return spec
    return spec.subcommands.get(args[1].upper())


def resolve(args: Sequence[bytes]) -> CommandSpec:
    """The command of a request that Redis would run, as far as its name and the number of arguments tell.

    Raises:
        GateError: Redis' text, in Redis' order: unknown command, unknown subcommand, wrong number of arguments.
    """
    spec = lookup(args)
    if spec is None:
        container = args[0].upper()
        if container in _SUBCOMMANDS:
            raise errors.unknown_subcommand(container.decode(), args[1])
        raise errors.unknown_command(args)
    arity = spec.arity
    if (len(args) != arity) if arity > 0 else (len(args) < -arity):
        raise errors.wrong_arity(spec.lower)
    return spec


def supports(spec: CommandSpec, capabilities: Collection[str]) -> bool:
    """Whether a backend that claims `capabilities` can run the command.

    A claim is a capability word (``hash``), one command in upper case (``GET``, ``XGROUP|CREATE``; a container's name
    claims all its subcommands), or one command taken out again (``-LCS``), which wins. What the gate answers itself is
    always supported; that a command is refused is said by its action, not here.
    """
    container = spec.name.partition("|")[0]
    if f"-{spec.name}" in capabilities or f"-{container}" in capabilities:
        return False
    return (
        spec.capability == "gate" or spec.capability in capabilities or spec.name in capabilities or container in capabilities
    )
