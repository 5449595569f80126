"""Which commands the harness can try: the command table's, each with its generator, or the reason why it has none."""

from collections.abc import Mapping
from typing import Final

from hypothesis.strategies import SearchStrategy

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name, every_command, resolve
from kvgate.errors import GateError
from kvgate_compat.chance import stores_by_chance
from kvgate_compat.differences import KNOWN
from kvgate_compat.generic import GENERIC, OTHER_TYPES, SERVER
from kvgate_compat.geo import GEO
from kvgate_compat.hashes import HASHES
from kvgate_compat.lists import LISTS
from kvgate_compat.readings import ASKING, asks
from kvgate_compat.sets import HYPERLOGLOGS, SETS
from kvgate_compat.strings import BITMAPS, STRINGS
from kvgate_compat.words import Args, FunctionsPayload, Payload, Request, requests

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


CONTROLS: Final = frozenset(("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "RESET", "PING", "ECHO", "NOSUCH"))
"""What the steps of transactions say beside the commands of the plan; their replies are compared as they are."""


def can_be_queued(name: str) -> bool:
    """Whether a command of `specs` may stand there at all."""
    return name not in ASKING | {"LCS"} and _ACTIONS[name] is not Action.GATE


def may_be_queued(request: Request) -> bool:
    """Whether a request may stand in pipelines and transactions: its reply can be compared by itself, and the gate lets it
    into MULTI (what it answers itself, such as KEYS, is refused there: it would have to be run by the store)."""
    if not can_be_queued(request.name):
        return False
    if any(isinstance(arg, Payload | FunctionsPayload) for arg in request.args):
        return False  # it is asked for just before the command
    if asks(request.name, [arg for arg in request.args if isinstance(arg, bytes)]):
        return False
    return _tells_its_keys(request)


def _tells_its_keys(request: Request) -> bool:
    """Not what the gate refuses when it is queued, because it does not say its keys: see LEFT_OUT, "Inside MULTI"."""
    args = [arg if isinstance(arg, bytes) else b"0" for arg in request.args]
    try:
        spec = resolve(args)
    except GateError:
        return True  # Redis refuses it when it is queued as well
    try:
        key_indices(spec, args)
    except GateError:
        return False
    return True


_ACTIONS: Final = {name: spec.action for name, spec in specs().items()}
