"""What another configuration changes: for people to read, and which namespaces' keys it would look for elsewhere."""

from collections.abc import Hashable, Mapping
from typing import Final

import attrs

from kvgate.backend import Backend, Located, PassThrough, Topology
from kvgate.policy.settings import TlsSettings
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import Namespace

PROBES: Final = tuple(b"probe:%d" % number for number in range(64))
"""Texts whose slots tell one hash from another: two that agree on all of them by chance are less likely than 2**-64."""


@attrs.frozen(slots=True)
class Difference:
    """What a new configuration changes."""

    lines: tuple[str, ...]
    """For people, one change each."""
    moves: tuple[str, ...]
    """Namespaces whose existing keys would be looked for elsewhere, each with from and to."""
    moved: frozenset[str]
    """Their names, as ``accept_moves`` has to give them."""
    restart: tuple[str, ...] = ()
    """Keys that take effect at the next start only."""


def location(backend: Backend) -> Hashable:
    """Where a backend keeps its keys: equal for two that find a key in the same place."""
    if isinstance(backend, PassThrough):
        return (backend.type, _spread(backend.topology))
    return (backend.type, backend.location if isinstance(backend, Located) else backend.name)


def _spread(topology: Topology) -> Hashable:
    """Which process has which slot, whatever the order in which they are written; and how a key becomes a slot."""
    places = [(each.host, each.port, each.path, each.database) for each in topology.shards]
    if len(places) == 1:
        return places[0]
    return tuple(places[shard] for shard in topology.slots), tuple(map(topology.slot_of, PROBES))


def kept_open(present: Backend | None, new: Backend) -> bool:
    """Whether `present` goes on in the place of `new`, whatever its other options: an embedded store cannot be opened twice
    in one process."""
    return present is not None and not isinstance(new, PassThrough) and location(present) == location(new)


def compare(
    old: Configuration, old_backends: Mapping[str, Backend], new: Configuration, new_backends: Mapping[str, Backend]
) -> Difference:
    """What changes from `old` to `new`; `restart` is left to who knows what has been in effect since the start."""
    moves = _moves(old, old_backends, new, new_backends)
    lines = [*_namespaces(old, new), *_backends(old, old_backends, new, new_backends), *_users(old, new), *_gate(old, new)]
    lines += _rates(old, new)
    return Difference(tuple(lines), tuple(f"{name}: {move}" for name, move in moves.items()), frozenset(moves))


def _names(old: Configuration, new: Configuration) -> list[str]:
    return list(dict.fromkeys(rule.name for rule in (*old.namespaces.rules, *new.namespaces.rules)))


def _serving(configuration: Configuration, name: str) -> Namespace | None:
    """The rule that keys of the namespace `name` fall under."""
    spaces = configuration.namespaces
    return spaces.of_name(name) or spaces.default


def _moves(
    old: Configuration, old_backends: Mapping[str, Backend], new: Configuration, new_backends: Mapping[str, Backend]
) -> dict[str, str]:
    """Name → from and to."""
    before = {name: location(backend) for name, backend in old_backends.items()}
    after = {name: location(backend) for name, backend in new_backends.items()}
    moves: dict[str, str] = {}
    for name in _names(old, new):
        here, there = _serving(old, name), _serving(new, name)
        if here is None:
            continue  # its keys were refused: there are none
        if there is None:
            moves[name] = f"backend {here.backend} -> served no more"
        elif before[here.backend] != after[there.backend]:
            moves[name] = f"backend {here.backend} -> backend {there.backend}"
            if here.backend == there.backend:
                moves[name] += " in another place"
    return moves


def _namespaces(old: Configuration, new: Configuration) -> list[str]:
    lines = []
    known = {rule.name for rule in old.namespaces.rules}, {rule.name for rule in new.namespaces.rules}
    for name in _names(old, new):
        before, after = _serving(old, name), _serving(new, name)
        if name not in known[0]:
            lines.append(f"namespace {name} added: backend {after.backend if after else ''}")
        elif name not in known[1]:
            under = f"its keys are those of {after.rule} now" if after else "its keys are refused now"
            lines.append(f"namespace {name} removed: {under}")
        elif before is not None and after is not None and before != after:
            lines.append(f"namespace {name} changed: {_fields(before, after)}")
    return lines


def _fields(before: Namespace, after: Namespace) -> str:
    return ", ".join(
        f"{field.name} {getattr(before, field.name)} -> {getattr(after, field.name)}"
        for field in attrs.fields(Namespace)
        if field.name not in ("name", "rule") and getattr(before, field.name) != getattr(after, field.name)
    )


def _backends(
    old: Configuration, old_backends: Mapping[str, Backend], new: Configuration, new_backends: Mapping[str, Backend]
) -> list[str]:
    lines = [f"backend {name} added" for name in new.backends if name not in old.backends]
    lines += [f"backend {name} removed" for name in old.backends if name not in new.backends]
    for name, settings in new.backends.items():
        if name in old.backends and old.backends[name] != settings:
            kept = kept_open(old_backends[name], new_backends[name])
            lines.append(f"backend {name} changed" + ("" if kept else ": its connections are made anew"))
    return lines


def _users(old: Configuration, new: Configuration) -> list[str]:
    before, after = old.users.by_name, new.users.by_name
    return [
        *(f"user {name} added" for name in after if name not in before),
        *(f"user {name} removed: its clients are closed" for name in before if name not in after),
        *(f"user {name} changed" for name, user in after.items() if name in before and _differ(user, before[name])),
    ]


def _differ(one: User, other: User) -> bool:
    """Whether two users differ in what the file says; they compare by identity."""
    return any(getattr(one, field.name) != getattr(other, field.name) for field in attrs.fields(User) if field.init)


def _gate(old: Configuration, new: Configuration) -> list[str]:
    return [
        f"gate.{field.name}: {_shown(getattr(old.gate, field.name))} -> {_shown(getattr(new.gate, field.name))}"
        for field in attrs.fields(type(old.gate))
        if getattr(old.gate, field.name) != getattr(new.gate, field.name)
    ]


def _rates(old: Configuration, new: Configuration) -> list[str]:
    before, after = old.rates, new.rates
    lines = []
    if before.max_wait != after.max_wait:
        lines.append(f"rates.max_wait: {before.max_wait} -> {after.max_wait}")
    if (before.shared, before.prefix) != (after.shared, after.prefix):
        places = [f"{each.shared.url}, {each.prefix}" if each.shared else "none" for each in (before, after)]
        lines.append(f"rates: shared through {places[0]} -> {places[1]}")
    return lines


def _shown(value: object) -> str:
    if isinstance(value, (tuple, frozenset)):
        return ", ".join(sorted(map(str, value))) or "none"
    if isinstance(value, TlsSettings):
        return f"{value.cert}, {value.key}" + (f", {value.ca}" if value.ca else "")
    return "none" if value is None else str(value)
