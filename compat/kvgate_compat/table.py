"""Which commands the harness can try: the command table's, each with its generator, or the reason why it has none."""

from collections.abc import Mapping, Sequence
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name, every_command, resolve
from kvgate.errors import GateError
from kvgate_compat import pools
from kvgate_compat.chance import stores_by_chance
from kvgate_compat.channels import CHANNELS, LISTENING
from kvgate_compat.clients import CLIENTS
from kvgate_compat.differences import KNOWN
from kvgate_compat.generic import GENERIC, KEYSPACE
from kvgate_compat.geo import GEO
from kvgate_compat.hashes import HASHES
from kvgate_compat.lists import LISTS
from kvgate_compat.readings import ASKING, asks
from kvgate_compat.scripting import SCRIPTING
from kvgate_compat.server import SERVER
from kvgate_compat.sets import HYPERLOGLOGS, SETS
from kvgate_compat.streams import STREAMS
from kvgate_compat.strings import BITMAPS, STRINGS
from kvgate_compat.words import Arg, Args, FunctionsPayload, Payload, Request, by_lex, maybe, requests, seq
from kvgate_compat.zsets import ZSETS

GROUPS: Final = (
    *("string", "bitmap", "hash", "list", "set", "hyperloglog", "geo", "sorted-set", "stream", "generic", "transactions"),
    *("scripting", "pubsub", "connection", "server"),
)
"""The table's groups that the harness covers whole."""

WITHOUT: Final[Mapping[str, str]] = {
    **{
        spec.name: f"the gate refuses it: {spec.why}"
        for spec in every_command()
        if spec.group in GROUPS and spec.action is Action.REFUSE
    },
    "MONITOR": "shows what all clients do, at times of its own; tests/server/test_command_monitor.py tries it",
    "QUIT": "ends the connection; tests/admin/test_side_by_side.py compares what comes before",
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
LEFT_OUT: Final[Mapping[str, str]] = {
    **{known.title: known.reason for known in KNOWN if not known.met},
    **_BY_CHANCE,
    "RESET of a subscriber": "the gate gives up the subscriptions without waiting for the store, whose counts may come later",
    "Ranges by names in large sorted sets with several scores": "Redis says nothing of what they hold, and chance decides",
    "CLIENT KILL of somebody": "it would end the search's own connections; tests/admin/test_side_by_side.py tries it",
}
"""What is not generated, and why: known differences that answers do not tell from others, and what cannot be tried."""

CONTAINERS: Final[Mapping[str, SearchStrategy[Args]]] = {
    spec.name: seq(st.sampled_from((b"NOSUCH", b"", b"\xff", b"x\r\ny", b"y" * 300)), maybe(pools.key))
    for spec in every_command()
    if spec.group in GROUPS and spec.subcommands and spec.action is not Action.REFUSE and spec.name != "COMMAND"
}
"""Commands that are their subcommands only: tried with such as there are not."""

ARGUMENTS: Final[Mapping[str, SearchStrategy[Args]]] = {
    **STRINGS,
    **BITMAPS,
    **HASHES,
    **LISTS,
    **SETS,
    **HYPERLOGLOGS,
    **GEO,
    **ZSETS,
    **STREAMS,
    **GENERIC,
    **KEYSPACE,
    **SCRIPTING,
    **CHANNELS,
    **CLIENTS,
    **SERVER,
    **CONTAINERS,
}


def _logs_in_soundly(request: Request) -> bool:
    """Whether AUTH, or each AUTH in a HELLO, is of the user ``default``, or lacks an argument."""
    args = request.args
    if request.name == "AUTH":
        return len(args) != 3 or args[1] == b"default"
    upper = [arg.upper() if isinstance(arg, bytes) else b"" for arg in args]
    return all(args[at + 1] == b"default" for at in range(2, len(args) - 2) if upper[at] == b"AUTH")


def _kills_somebody(args: Sequence[Arg]) -> bool:
    """Whether CLIENT KILL with these arguments behind it could end a connection of the search: it has no filter that is about
    nobody. Those of types are each replaced by the next."""
    said = [arg.upper() if isinstance(arg, bytes) else b"" for arg in args]
    filters = dict(zip(said[::2], said[1::2], strict=False))
    filters.pop(b"SKIPME", None)
    return len(said) > 1 and filters in ({}, {b"TYPE": b"NORMAL"})


def may_agree(request: Request) -> bool:
    """Whether a request is none of `LEFT_OUT`."""
    if request.name == "ACL|GETUSER":
        return request.args[2:] == (b"default",) or len(request.args) != 3
    if request.name == "ACL|DRYRUN":
        return not request.damaged or request.args[3:4] in ((b"GET",), (b"SET",), (b"PING",), ())
    if request.name == "CLIENT|KILL" and _kills_somebody(request.args[2:]):
        return False
    if request.name in ("AUTH", "HELLO"):
        return _logs_in_soundly(request)
    if request.name == "PUBLISH" and request.args[1:2] == (b"",):
        return False
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
    return name not in ASKING | {"LCS", *LISTENING} and _ACTIONS[name] is not Action.GATE


def may_be_queued(request: Request) -> bool:
    """Whether a request may stand in pipelines and transactions: its reply can be compared by itself, and the gate lets it
    into MULTI (what it answers itself, such as KEYS, is refused there: it would have to be run by the store)."""
    if not can_be_queued(request.name):
        return False
    if by_lex(request) or any(isinstance(arg, Payload | FunctionsPayload) for arg in request.args):
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
