"""Which commands the harness can try: the command table's, each with its generator, or the reason why it has none."""

from collections.abc import Mapping
from typing import Final

from hypothesis.strategies import SearchStrategy

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import by_full_name, every_command
from kvgate_compat.chance import stores_by_chance
from kvgate_compat.differences import KNOWN
from kvgate_compat.generic import GENERIC, OTHER_TYPES, SERVER
from kvgate_compat.geo import GEO
from kvgate_compat.hashes import HASHES
from kvgate_compat.lists import LISTS
from kvgate_compat.sets import HYPERLOGLOGS, SETS
from kvgate_compat.strings import BITMAPS, STRINGS
from kvgate_compat.words import Args, Request, requests

GROUPS: Final = ("string", "bitmap", "hash", "list", "set", "hyperloglog", "geo", "generic", "transactions")
"""The table's groups that the harness covers whole."""

WITHOUT: Final[Mapping[str, str]] = {
    "MIGRATE": "the gate refuses it",
    "MOVE": "the gate refuses it",
    "PFDEBUG": "the gate refuses it: it is for tests of the store itself",
    "PFSELFTEST": "the gate refuses it: it is for tests of the store itself",
    "OBJECT": "a container: its subcommands have generators",
    "OBJECT|HELP": "answered by the gate; tests/admin compares it",
    "WAIT": "about replicas, not about data",
    "DISCARD": "part of every other transaction step",
    "EXEC": "part of the transaction steps",
    "MULTI": "part of the transaction steps",
    "UNWATCH": "part of the transaction steps",
    "WATCH": "part of the transaction steps",
}
"""Commands of `GROUPS` that have no generator of their own."""

_BY_CHANCE: Final = {
    "GEOSEARCHSTORE with COUNT … ANY": "the server says which are stored; so GEORADIUS STORE. Sent with a high count",
    "SPOP of some members in a pipeline or transaction": "chance says which; alone they are put back",
    "Blocking commands that would wait for long": "they are sent where one of the keys is there, or wait for milliseconds",
    "SORT in a pipeline or transaction, but ALPHA … STORE": "after any number out of range Redis 7.0 answers an error; and the"
    " reply is read for the type of the key",
    "SORT ALPHA BY … STORE": "elements of a set that have equal weights come in any order",
}
LEFT_OUT: Final[Mapping[str, str]] = {**{known.title: known.reason for known in KNOWN if not known.met}, **_BY_CHANCE}
"""What is not generated: known differences whose answers would not tell them from others, and what hangs on chance."""

ARGUMENTS: Final[Mapping[str, SearchStrategy[Args]]] = {
    **STRINGS,
    **BITMAPS,
    **HASHES,
    **LISTS,
    **SETS,
    **HYPERLOGLOGS,
    **GEO,
    **GENERIC,
    **SERVER,
    **OTHER_TYPES,
}


def may_agree(request: Request) -> bool:
    """Whether a request is none of `LEFT_OUT`."""
    if stores_by_chance(request.name, [arg for arg in request.args if isinstance(arg, bytes)]):
        return False
    at = {"SCAN": 1, "HSCAN": 2, "SSCAN": 2}.get(request.name)
    return at is None or request.args[at : at + 1] != (b"-1",)


GENERATORS: Final[Mapping[str, SearchStrategy[Request]]] = {
    name: requests(name, arguments).filter(may_agree) for name, arguments in ARGUMENTS.items()
}
"""By the command table's names."""


def specs() -> dict[str, CommandSpec]:
    """The commands of `GROUPS`, in the order of the table, and the others that have a generator."""
    found = {spec.name: spec for spec in every_command() if spec.group in GROUPS}
    for name in GENERATORS:
        if name not in found:
            spec = by_full_name(name.encode())
            if spec is None:
                msg = f"{name} is no command of the table"
                raise LookupError(msg)
            found[name] = spec
    return found
