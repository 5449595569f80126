"""What the commands that a Redis has run come to behind the gate, by the command table and its reasons."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from kvgate.assess.server import Server
from kvgate.assess.stores import Store
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name

REFUSED: Final = "refused"
"""The gate refuses it, whatever the store."""
UNKNOWN: Final = "unknown"
"""The gate does not know it (a module's), and refuses it."""
LACKING: Final = "lacking"
"""Some of the backend types lack it."""
CONDITION: Final = "condition"
"""It works, with something to know."""
OPERATOR: Final = "operator"
"""Administration of the server: it stays with who runs the server, and is sent to the server itself."""
FINE: Final = "fine"
ORDER: Final = (REFUSED, UNKNOWN, LACKING, CONDITION, OPERATOR, FINE)
"""The worst first."""

_MULTI: Final = (
    "All its keys must lie on one shard, else CROSSSLOT: give them a {tag}, or their namespace a backend without shards"
)
_BLOCKING: Final = (
    "Who waits has a connection of its own to the store: own_connections (128 for each worker) bounds their number"
)
_CHANNELS: Final = "Listeners have connections of their own to the stores of their channels; a channel is routed like a key"
_INSPECTION: Final = frozenset({"memory|usage", "object|encoding", "object|freq", "object|idletime", "object|refcount"})
"""What people and tools ask, this one too, and no application."""
_OF_THE_GATE: Final = {
    "SELECT": "Database 0, or those that `databases` of the user names",
    "INFO": "The gate answers of itself, not of a store",
    "MONITOR": "Has to be granted; shows what passes the gate",
}
_SCRIPT: Final = "put its SHA-1 into allowed_scripts, or the namespace on a store of its own"


@attrs.frozen(slots=True)
class Use:
    """One command that was run, and what becomes of it."""

    name: str
    """Lower case: ``config|get``."""
    calls: int
    status: str
    """One of `ORDER`."""
    lacking: tuple[str, ...] = ()
    """Types of backend that do not do it; all when the gate refuses it."""
    note: str = ""
    """Why, and what to do."""
    group: str = ""
    """As in the command table: ``string``, ``hash`` …"""


def uses(server: Server, stores: Sequence[Store], every: Sequence[Store]) -> list[Use]:
    """What was run, the worst first, then by the number of calls; commands that only ever failed are left out. `stores`: the
    types that are asked about; `every`: those that may be proposed instead."""
    commands = server.commands or {}
    found = [_use(name, counted.calls, server, stores, every) for name, counted in commands.items() if counted.calls > 0]
    return sorted(found, key=lambda use: (ORDER.index(use.status), -use.calls, use.name))


def _use(name: str, calls: int, server: Server, stores: Sequence[Store], every: Sequence[Store]) -> Use:
    spec = by_full_name(name.encode("utf-8", "replace"))
    types = tuple(store.type for store in stores)
    if spec is None:
        return Use(
            name, calls, UNKNOWN, types, "The gate does not know it: use such keys beside the gate, on the store itself"
        )
    if spec.action is Action.REFUSE:
        status, note = _refused(spec, server)
        return Use(name, calls, status, types if status == REFUSED else (), note, spec.group)
    if spec.subcommands:
        old = spec.arity != -1  # COMMAND is one by itself
        note = "This version does not tell the subcommand: docs/commands.md has each" if old else ""
        return Use(name, calls, CONDITION if old else FINE, (), note, spec.group)
    lacking = tuple(store.type for store in stores if not store.does(spec))
    note = ". ".join(text for text in _notes(spec) if text)
    if not lacking:
        return Use(name, calls, CONDITION if note else FINE, (), note, spec.group)
    if spec.lower in _INSPECTION:
        return Use(name, calls, OPERATOR, (), "It inspects keys; ask the store itself", spec.group)
    having = [store.type for store in every if store.does(spec)]
    do = f"Keep its keys on {' or '.join(having)}" if having else ""
    return Use(name, calls, LACKING, lacking, ". ".join(filter(None, (do, note))), spec.group)


def _refused(spec: CommandSpec, server: Server) -> tuple[str, str]:
    admin = "admin" in spec.flags or "@admin" in spec.categories or "@shared" in spec.categories
    if spec.why.startswith("ERR ") and not admin:  # answered as a Redis without Cluster answers
        if server.cluster:
            return REFUSED, "The gate is no cluster: let clients use it as one server, without their cluster mode"
        return FINE, ""
    if admin or (spec.capability == "server" and not spec.write):
        return OPERATOR, spec.why
    return REFUSED, spec.why


def _notes(spec: CommandSpec) -> list[str]:
    """What is to know of a command that is not refused."""
    if spec.group in ("connection", "server") and spec.capability == "gate":
        return [_OF_THE_GATE[spec.name]] if spec.name in _OF_THE_GATE else []
    if spec.group == "scripting":
        return [f"{spec.why}: {_SCRIPT}" if spec.why.startswith("Refused where") else spec.why]
    notes = [""] if spec.group in ("exstring", "exhash", "conditional") else [spec.why]
    if spec.group in ("exstring", "exhash"):
        notes.append("On stores without Tair's modules: versioned = true in the namespace")
    if spec.action in (Action.FORWARD, Action.OWN) and _has_several_keys(spec) and "shard" not in spec.why:
        notes.append(_MULTI)
    if "blocking" in spec.flags:
        notes.append(_BLOCKING)
    if spec.group == "pubsub" and spec.action is Action.OWN:
        notes.append(_CHANNELS)
    if spec.name == "WATCH":
        notes.append("Watched keys have a connection of their own, up to EXEC")
    if "@dangerous" in spec.categories and spec.action is not Action.GATE:
        notes.append(f'Users may not run it unless it is granted: commands = ["+@all", "-@dangerous", "+{spec.lower}"]')
    return notes


def _has_several_keys(spec: CommandSpec) -> bool:
    return len(spec.keys) > 1 or any(place.last or place.keynum >= 0 or place.unknown for place in spec.keys)


def of_groups(found: Sequence[Use], groups: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Of the commands of these groups: name → types of backend that lack it."""
    return {use.name: use.lacking for use in found if use.group in groups and use.lacking and use.status == LACKING}
