"""How a row of the command table is written, and how it becomes a `CommandSpec`.

A row is a plain tuple, so that the table can be aligned and read as a table:

    (name, arity, flags, categories, keys, action, capability, since, summary, why)

- `flags` are Redis' own words. Categories that follow from flags are not written (`implied_categories`). What administers
  the gate or shows what is not the user's own has the flag ``admin``, which makes it ``@admin`` and ``@dangerous``: it has to
  be granted. What changes or shows what all users of a store share, without a key, is written ``shared``.
- `keys` holds key specifications separated by ``;``, each a place and then Redis' flags for it:
    ``1 RO access``              argument 1
    ``1..-1 RM delete``          argument 1 up to the last; ``1..-1/2``: every second; ``1..1``: up to one behind the first
    ``2# RO access``             argument 2 is the number of keys, which follow it
    ``STORE@6 OW update``        the argument behind the word STORE, searched from argument 6 (from the end if negative)
    ``STREAMS@1..-1:2 RO``       behind STREAMS up to the end, the first half of it
    ``? OW update``              only the command's own code can find them (`kvgate.commands.keys`)
- `action` is one of the constants below: the three that split say how the parts are merged.
- `why` is empty when the gate does what Redis does. On a refused row it is the reason that the client is told; when it
  begins with ``ERR``, it is the whole answer.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from kvgate.commands.spec import Action, CommandSpec, Keys, Merge

Do = tuple[Action, Merge]
Row = tuple[str, int, str, str, str, Do, str, str, str, str]

FORWARD: Final[Do] = (Action.FORWARD, Merge.NONE)
OWN: Final[Do] = (Action.OWN, Merge.NONE)
GATE: Final[Do] = (Action.GATE, Merge.NONE)
REFUSE: Final[Do] = (Action.REFUSE, Merge.NONE)
IN_ORDER: Final[Do] = (Action.SPLIT, Merge.IN_ORDER)
SUM: Final[Do] = (Action.SPLIT, Merge.SUM)
ALL_OK: Final[Do] = (Action.SPLIT, Merge.ALL_OK)

_IMPLIED: Final = {"readonly": "@read", "write": "@write", "pubsub": "@pubsub", "fast": "@fast", "blocking": "@blocking"}

_PLACE: Final = re.compile(
    r"(?P<unknown>\?)|(?:(?P<keyword>[A-Z]+)@(?P<start>-?\d+)|(?P<index>\d+))"
    r"(?:(?P<count>\#)|\.\.(?P<last>-?\d+))?(?:/(?P<step>\d+))?(?::(?P<limit>\d+))?"
)


def implied_categories(flags: frozenset[str], written: frozenset[str]) -> frozenset[str]:
    """The ACL categories that Redis 7.0 gives a command for its flags alone (observed on all of its commands)."""
    implied = {_IMPLIED[flag] for flag in flags if flag in _IMPLIED}
    if "@scripting" in written:
        implied.discard("@read")  # a script is no read, even when it may not write
    if "admin" in flags:
        implied |= {"@admin", "@dangerous"}
    if "fast" not in flags:
        implied.add("@slow")
    return frozenset(implied)


def parse_keys(text: str) -> tuple[Keys, ...]:
    """The key specifications of one row.

    Raises:
        ValueError: when one is not written as above.
    """
    return tuple(_parse_key(part.strip()) for part in text.split(";") if part.strip())


def _parse_key(text: str) -> Keys:
    place, *flags = text.split()
    match = _PLACE.fullmatch(place)
    if match is None:
        raise ValueError(f"no key specification: {text!r}")
    counted = match["count"] is not None
    return Keys(
        index=int(match["index"] or 0),
        keyword=(match["keyword"] or "").encode(),
        start=int(match["start"] or 0),
        last=int(match["last"] or 0),
        step=int(match["step"] or 1),
        limit=int(match["limit"] or 0),
        keynum=0 if counted else -1,
        first=1 if counted else 0,
        unknown=match["unknown"] is not None,
        flags=frozenset(flags),
    )


def build(group: str, rows: Iterable[Row]) -> Mapping[bytes, CommandSpec]:
    """The commands of one group by upper-case name, containers with their subcommands.

    Raises:
        ValueError: when a row is not well written: a name twice, a subcommand without its container.
    """
    plain: dict[str, CommandSpec] = {}
    subcommands: dict[str, dict[bytes, CommandSpec]] = {}
    for row in rows:
        spec = _spec(group, row)
        if spec.name in plain:
            raise ValueError(f"{spec.name} has two rows")
        plain[spec.name] = spec
        container, _, sub = spec.name.partition("|")
        if sub:
            subcommands.setdefault(container, {})[sub.encode()] = spec
    lost = subcommands.keys() - plain.keys()
    if lost:
        raise ValueError(f"subcommands without a row for their container: {sorted(lost)}")
    return {
        name.encode(): attrs.evolve(spec, subcommands=MappingProxyType(subcommands.get(name, {})))
        for name, spec in plain.items()
        if "|" not in name
    }


def _spec(group: str, row: Row) -> CommandSpec:
    name, arity, flags, categories, keys, (action, merge), capability, since, summary, why = row
    flag_set = frozenset(flags.split())
    written = frozenset("@" + word for word in categories.split())
    if action is Action.REFUSE and not why:
        raise ValueError(f"{name} is refused without saying why")
    return CommandSpec(
        name=name,
        arity=arity,
        flags=flag_set,
        categories=written | implied_categories(flag_set, written),
        keys=parse_keys(keys),
        action=action,
        merge=merge,
        capability=capability,
        group=group,
        since=since,
        summary=summary,
        why=why,
    )
