"""One search: find where two servers differ, one smallest dialogue for each command, until nothing new turns up."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final

import attrs
from hypothesis import seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from kvgate.commands.table import by_full_name
from kvgate_compat.channels import LISTENING
from kvgate_compat.clients import ALONE, LOGINS
from kvgate_compat.connection import Connection, Ended, endpoint_of
from kvgate_compat.differences import KNOWN
from kvgate_compat.keys import PLAIN, Keys
from kvgate_compat.keyspace import Keyspace, Part
from kvgate_compat.known import Known
from kvgate_compat.machine import make_machine, search_settings
from kvgate_compat.pair import Difference, Pair, Tally
from kvgate_compat.shrink import flat, shrink
from kvgate_compat.table import CONTAINERS, WITHOUT, specs

_UNSUPPORTED = re.compile(
    rb"-ERR (command '.*' is not supported by (any )?backend|unknown command|unknown subcommand|command '.*' is not available)"
)


NOT_HERE: Final = "this server does not have it"
NOT_THERE: Final = "the other server does not have it"
NOT_ANYWHERE: Final = "neither server has it"
NOT_ASKED: Final = "not asked for"
NOT_FORGOTTEN: Final = "scripts that were loaded before cannot be forgotten: SCRIPT FLUSH is refused"
"""Reasons in `Plan.skipped`; the others are those of `kvgate_compat.table.WITHOUT`."""

BATCH: Final = 10
"""Examples of one run of hypothesis. The later examples of a run are mostly variations of the earlier ones: 70 in one run
were 885 different commands of 3,407, in seven runs 2,527 of 3,465."""


@attrs.frozen(slots=True)
class Plan:
    """Which commands are tried, and why not the others."""

    names: tuple[str, ...]
    skipped: dict[str, str]
    """Command → reason."""
    transactions: bool
    space: Keyspace | None = None
    """How the first server is cut into parts, and which of them lacks which command; None: it is whole."""
    both_protocols: bool = True
    """Whether both servers speak RESP3 as well, so that clients of both protocols can meet."""


_PROBES: Final = {"XREAD": ("STREAMS", "", "0"), "XREADGROUP": ("GROUP", "g", "c", "STREAMS", "", ">")}
"""Arguments that tell the keys (empty: the key); elsewhere any do, beside the number of keys."""


def _probe(name: str, arity: int, key: bytes) -> list[bytes]:
    words = [word.encode() for word in name.split("|")]
    if name in _PROBES:
        return words + [word.encode() or key for word in _PROBES[name]]
    words += [key] * (abs(arity) - len(words))
    spec = by_full_name(name.encode())
    for place in () if spec is None else spec.keys:
        if place.keynum >= 0:
            words[place.index + place.keynum] = b"1"
            words += [key] * (place.index + place.first + 1 - len(words))
    return words


def supports(server: Connection, name: str, arity: int, key: bytes = b"kvgate-harness") -> bool:
    """Whether the server knows the command: asked with as many arguments as it needs, each of them `key`, or its number.

    What that does to the key does not matter: the servers are emptied before each example.
    """
    words = _probe(name, arity, key)
    if name in CONTAINERS:
        return not server.ask(words).raw.startswith(b"-ERR unknown command")
    if name not in LISTENING and name not in ALONE:
        return not _UNSUPPORTED.match(server.ask(words).raw)
    other = Connection(server.url)
    try:
        return not _UNSUPPORTED.match(other.ask(words).raw)
    finally:
        other.close()


def plan(url: str, against: str, only: str = "", space: Keyspace | None = None) -> Plan:
    """Ask both servers what they can do. `only` is a regular expression for names, `space` says how the first one is cut into
    parts. Raises Ended, OSError."""
    names, skipped = [], {}
    sides = [Connection(url), Connection(against)]
    try:
        transactions = all(supports(side, "DISCARD", 1) for side in sides)
        space = None if space is None else _asked(sides[0], space)
        for name, spec in specs().items():
            if name in WITHOUT:
                skipped[name] = WITHOUT[name]
            elif name in LOGINS and any(endpoint_of(each).password for each in (url, against)):
                skipped[name] = "it is about the login, which is not the same on both"
            elif space.without(name) if space is not None else not supports(sides[0], name, spec.arity):
                skipped[name] = NOT_HERE if supports(sides[1], name, spec.arity) else NOT_ANYWHERE
            elif not supports(sides[1], name, spec.arity):
                skipped[name] = NOT_THERE
            elif only and not re.fullmatch(only, name, re.IGNORECASE):
                skipped[name] = NOT_ASKED
            else:
                names.append(name)
    finally:
        for side in sides:
            side.close()
    lacking = {name for name, why in skipped.items() if why in (NOT_HERE, NOT_THERE, NOT_ANYWHERE)}
    if "SCRIPT|EXISTS" in names and "SCRIPT|FLUSH" in lacking and "SCRIPT|LOAD" not in lacking:
        names.remove("SCRIPT|EXISTS")
        skipped["SCRIPT|EXISTS"] = NOT_FORGOTTEN
    if not transactions:
        skipped["MULTI"] = "one of the servers does not have it"
    transactions = transactions and (not only or bool(re.fullmatch(only, "MULTI", re.IGNORECASE)))
    both_protocols = all(speaks_resp3(each) for each in (url, against))
    return Plan(tuple(names), skipped, transactions, space, both_protocols)


def _asked(server: Connection, space: Keyspace) -> Keyspace:
    """With what each of its parts has not."""

    def lacking(part: Part) -> frozenset[str]:
        asked = {name: spec.arity for name, spec in specs().items() if name not in WITHOUT}
        return frozenset(name for name, arity in asked.items() if not supports(server, name, arity, part.keys[0]))

    return Keyspace(tuple(attrs.evolve(part, without=lacking(part)) for part in space.parts))


def speaks_resp3(url: str) -> bool:
    """Whether a server takes HELLO 3. Raises Ended, OSError."""
    side = Connection(url)
    try:
        return side.ask([b"HELLO", b"3"]).kind != b"-"
    finally:
        side.close()


def search(
    url: str,
    against: str,
    wanted: Plan,
    tally: Tally,
    *,
    proto: int,
    examples: int,
    first_seed: int,
    steps: int = 30,
    most: int = 20,
    keys: Keys = PLAIN,
    known: Sequence[Known] = KNOWN,
    tell: Callable[[Difference], None] = lambda _found: None,
    progress: Callable[[Pair], None] = lambda _pair: None,
) -> list[Difference]:
    """Differences between the servers, at most one for each command and `most` in all; a command that differs is left out
    of what follows, so that it does not hide others. `keys` are those that the commands get (a plan with a key space has its
    own). `known` ones are only counted. The same `first_seed` gives the same examples. `tell` is given each difference when it
    is cut down (or as it is when a KeyboardInterrupt comes meanwhile), `progress` is called before each step.
    Raises Ended, OSError."""
    if wanted.space is not None:
        keys = Keys("parts", wanted.space.keys)
    names, transactions = list(wanted.names), wanted.transactions
    found: list[Difference] = []
    began = tally.examples
    for number in count():
        left = examples - (tally.examples - began)  # a run ends with its first difference
        if left <= 0 or not names or len(found) >= most:
            break
        pair = Pair(url, against, proto, tally, keys, wanted.space)
        pair.known = known
        pair.both_protocols = wanted.both_protocols
        pair.progress = partial(progress, pair)
        machine = seed(first_seed + number)(make_machine(pair, names, transactions=transactions))
        difference = _first(pair, machine, search_settings(min(BATCH, left), steps), tell)
        if difference is None:
            continue
        found.append(difference)
        tell(difference)
        if difference.command in names:
            names.remove(difference.command)
        else:
            transactions = False
    return found


def _first(
    pair: Pair, machine: type[RuleBasedStateMachine], how: settings, tell: Callable[[Difference], None]
) -> Difference | None:
    """The first difference of one run, cut down."""
    try:
        run_state_machine_as_test(machine, settings=how)
    except (Difference, Flaky):
        if pair.first is None:
            raise
        found = pair.first
        try:
            return _cut_down(pair, found)
        except KeyboardInterrupt:
            tell(found)
            raise
    finally:
        pair.close()
    return None


def _cut_down(pair: Pair, found: Difference) -> Difference:
    """The same difference shown by as few steps as can be found; as it was when it does not come again."""
    tally, pair.tally = pair.tally, Tally()
    try:
        if not pair.shows(found.steps, found.command):
            found.what += " (not each time: the same steps agreed when they were repeated)"
            return found
        found = pair.difference(flat(found.steps)) or found  # of a pipeline it says which command it was
        smallest = shrink(found.steps, lambda steps: pair.shows(steps, found.command), simple_keys=pair.keys.names[:2])
        pair.first = None
        again = pair.shows(smallest, found.command)
        return pair.first if again and pair.first is not None else found
    finally:
        pair.tally = tally


__all__ = ["Difference", "Ended", "Plan", "Tally", "plan", "search", "speaks_resp3", "supports"]
