"""SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL: over all that the user may see, and no key of anybody else.

For a client in a home namespace (kvgate.commands.home) that is this namespace, and its keys are shown as the client knows
them; FLUSHALL is for all of the user's databases, as in Redis.

A cursor is decimal and below 2**53: 12 bits for the source (a shard, or an embedded store), 41 for its own cursor. It means
the same to every worker and every gate with this configuration.
"""

import random
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from kvgate.backend import INTERNAL_PREFIX, Backend, Listing, View
from kvgate.commands.home import Home
from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.errors import NOT_AN_INTEGER, GateError, no_perm_command, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.wire.reply import OK, Raw, Reply
from kvgate.wire.request import parse_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvgate.backend import CallContext
    from kvgate.routing.namespaces import Namespaces
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.session import Session

CURSOR_BITS: Final = 41
MOST_SOURCES: Final = 1 << 12
PAGE: Final = 1000
"""Keys asked for at a time where all are wanted."""
BUDGET: Final = 60.0
"""Seconds that KEYS, DBSIZE, FLUSHDB over a shared store may take: they walk over every key there, in pages."""


def _user(client: Client) -> User:
    user: User | None = client.session.user
    if user is None:
        raise GateError("NOAUTH Authentication required.")
    return user


def _not_blocked(gate: "Dispatcher", client: Client, pattern: bytes | None = None, *, writes: bool = False) -> None:
    """Whether what the user sees may be listed. Raises GateError."""
    if gate.places.blocks.active:
        home, spaces = client.session.home, gate.places.namespaces
        only = spaces.of(home.prefix) if home is not None else None if pattern is None else spaces.of_pattern(pattern)
        gate.places.refuse_listing(_user(client), only, writes=writes)


@attrs.frozen(slots=True)
class _Listed:
    """What one listing is over."""

    stores: list[tuple[Listing, View]]
    prefix: bytes
    """Of the home namespace; what is shown is what follows it."""

    def match(self, pattern: bytes | None) -> bytes | None:
        """A client's pattern, for whole keys; names of namespaces have no special characters."""
        return pattern if pattern is None else self.prefix + pattern

    def shown(self, keys: "Iterable[bytes]") -> list[bytes]:
        """Keys as the client knows them."""
        return [key[len(self.prefix) :] for key in keys] if self.prefix else list(keys)


def _listed(gate: "Dispatcher", client: Client, *, writing: bool = False) -> _Listed:
    """What the client sees; `writing`: what of it may be deleted."""
    user, home = _user(client), client.session.home
    if home is not None:
        return _Listed(_at_home(gate, user, home, writing=writing), home.prefix)
    backends = gate.places.visible(user)
    if writing:
        writable = {rule.backend for rule in gate.places.namespaces.rules if user.writes_some(rule)}
        backends = [backend for backend in backends if backend.name in writable]
    views = [(backend, view(gate, user, backend, writing=writing)) for backend in backends if isinstance(backend, Listing)]
    return _Listed([*views], b"")


def _at_home(gate: "Dispatcher", user: User, home: Home, *, writing: bool) -> list[tuple[Listing, View]]:
    """The one store of a home namespace."""
    namespace = gate.places.namespaces.of(home.prefix)
    backend = None if namespace is None else gate.backends[namespace.backend]
    if namespace is None or not (user.writes if writing else user.sees)(namespace) or not isinstance(backend, Listing):
        return []
    versioned = _versioned(gate.places.namespaces) if namespace.versioned else None
    has = partial(_begins, home.prefix)
    return [(backend, View(has, everything=False, prefixes=(home.prefix,), versioned=versioned))]


def _begins(prefix: bytes, key: bytes) -> bool:
    return key.startswith(prefix)


def view(gate: "Dispatcher", user: User, backend: Backend, *, writing: bool = False) -> View:
    """The user's keys on a backend; `writing`: those that it may delete."""
    spaces, name = gate.places.namespaces, backend.name
    may, may_some, granted = user.sees, user.sees_some, user.grants
    if writing:
        may, may_some, granted = user.writes, user.writes_some, user.writable

    def has(key: bytes) -> bool:
        namespace = spaces.of(key)
        return (
            namespace is not None and namespace.backend == name and may(namespace) and not key.startswith(INTERNAL_PREFIX)
        )

    prefixes: set[bytes] = set()
    for rule in spaces.on(name):
        if granted.cover(rule) and may_some(rule):  # all of it, or (to write) all but what is to be read only
            if rule.prefix is None:
                prefixes = set()
                break
            prefixes.add(rule.prefix)
        elif may_some(rule):
            app = rule.name[:-1]
            prefixes.update(f"{each}:".encode() for each in granted.names if each.startswith(app))
    versioned = any(rule.versioned and may_some(rule) for rule in spaces.on(name))
    whole = gate.places.everything(user, backend, writing=writing)
    return View(has, whole, tuple(sorted(prefixes)), versioned=_versioned(spaces) if versioned else None)


def _versioned(spaces: "Namespaces") -> "Callable[[bytes], bool]":
    def is_versioned(key: bytes) -> bool:
        namespace = spaces.of(key)
        return namespace is not None and namespace.versioned

    return is_versioned


def _long_call(gate: "Dispatcher", session: "Session") -> "CallContext":
    return attrs.evolve(gate.execution.context(session), deadline=trio.current_time() + BUDGET)


# ---------------------------------------------------------------------- SCAN


@attrs.frozen(slots=True)
class _Scan:
    cursor: int
    count: int
    match: bytes | None
    kind: bytes | None


def _parse_scan(args: list[bytes]) -> _Scan:
    """SCAN's arguments, checked in Redis' order: the cursor first, then each option as it comes."""
    cursor = parse_cursor(args[1])
    if cursor is None:
        raise GateError("ERR invalid cursor")
    count, match, kind = 10, None, None
    at = 2
    while at < len(args):
        option = args[at].partition(b"\x00")[0].upper()
        if at + 1 >= len(args):
            raise syntax_error()
        value = args[at + 1]
        if option == b"COUNT":
            number = integer(value)
            if number is None:
                raise GateError(NOT_AN_INTEGER)
            if number < 1:
                raise syntax_error()
            count = number
        elif option == b"MATCH":
            match = None if value == b"*" else value
        elif option == b"TYPE":
            kind = value
        else:
            raise syntax_error()
        at += 2
    return _Scan(cursor, count, match, kind)


def _scan(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, frame, now
    wanted = _parse_scan(args)
    _not_blocked(gate, client, wanted.match)
    gate.tasks.alone(client, _scan_page, gate, client, wanted)


async def _scan_page(gate: "Dispatcher", client: Client, wanted: _Scan) -> Reply:
    listed = _listed(gate, client)
    sources = [(listing, mine, source) for listing, mine in listed.stores for source in range(listing.sources)]
    if len(sources) > MOST_SOURCES:
        raise GateError(f"ERR SCAN over more than {MOST_SOURCES} shards is not possible; see fewer namespaces")
    position, cursor = wanted.cursor >> CURSOR_BITS, wanted.cursor & ((1 << CURSOR_BITS) - 1)
    if position >= len(sources):  # a cursor of another configuration, or of nobody
        return [b"0", []]
    listing, mine, source = sources[position]
    after, keys = await listing.scan(
        source,
        cursor,
        count=min(wanted.count, 100 * PAGE),
        match=listed.match(wanted.match),
        kind=wanted.kind,
        view=mine,
        call=gate.execution.context(client.session),
    )
    following = position << CURSOR_BITS | after
    if not after:  # this source is through
        following = (position + 1) << CURSOR_BITS if position + 1 < len(sources) else 0
    return [b"%d" % following, [*listed.shown(keys)]]


# ---------------------------------------------------------------------- the others


def _keys(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, frame, now
    _not_blocked(gate, client, args[1])
    gate.tasks.alone(client, _all_keys, gate, client, args[1])


async def _all_keys(gate: "Dispatcher", client: Client, pattern: bytes) -> Reply:
    listed, found = _listed(gate, client), dict[bytes, None]()
    call = _long_call(gate, client.session)
    match = None if pattern == b"*" else listed.match(pattern)
    for listing, mine in listed.stores:
        for source in range(listing.sources):
            cursor = 0
            while True:
                cursor, keys = await listing.scan(
                    source, cursor, count=PAGE, match=match, kind=None, view=mine, call=call
                )
                found.update(dict.fromkeys(keys))
                if not cursor:
                    break
    return [*listed.shown(found)]


def _dbsize(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame, now
    _not_blocked(gate, client)
    gate.tasks.alone(client, _count, gate, client)


async def _count(gate: "Dispatcher", client: Client) -> Reply:
    call = _long_call(gate, client.session)
    return sum([await listing.size(mine, call) for listing, mine in _listed(gate, client).stores])


def _randomkey(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame, now
    _not_blocked(gate, client)
    gate.tasks.alone(client, _any_key, gate, client)


async def _any_key(gate: "Dispatcher", client: Client) -> Reply:
    listed, call = _listed(gate, client), _long_call(gate, client.session)
    for listing, mine in random.sample(listed.stores, len(listed.stores)):
        key = await listing.random_key(mine, call)
        if key is not None:
            return listed.shown([key])[0]
    return None


def _flush(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"ASYNC", b"SYNC")):
        raise syntax_error()
    if spec.name == "FLUSHALL" and client.session.home is not None:
        gate.places.refuse_listing(_user(client), None, writes=True)
    _not_blocked(gate, client, writes=True)
    gate.tasks.alone(client, _flush_all, gate, client, spec)


async def _flush_all(gate: "Dispatcher", client: Client, spec: CommandSpec) -> Raw | Reply:
    user, call = _user(client), _long_call(gate, client.session)
    failed: list[GateError] = []
    stores = _listed(gate, client, writing=True).stores
    if spec.name == "FLUSHALL" and user.databases:
        homes = {home.prefix: home for home in (gate.places.home(user, number) for number in user.databases) if home}
        stores = [each for home in homes.values() for each in _at_home(gate, user, home, writing=True)]
    if not stores and user.read_only:
        raise no_perm_command(spec.lower, user.name)
    for listing, mine in stores:
        try:
            await listing.flush(mine, call)
        except GateError as error:  # one store that is away must not keep the others full
            failed.append(error)
    if failed:
        raise failed[0]
    return OK


WAYS: "dict[str, Way]" = {
    "SCAN": _scan,
    "KEYS": _keys,
    "DBSIZE": _dbsize,
    "RANDOMKEY": _randomkey,
    "FLUSHDB": _flush,
    "FLUSHALL": _flush,
}
