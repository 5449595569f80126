"""Where keys lie: namespace, backend and shard of a key, and the compiled routes that the lane gets for each user."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import attrs

from kvgate.backend import INTERNAL_PREFIX, Backend, InPlace, Located, PassThrough, Queueing, Rewriting, Topology
from kvgate.commands.home import Home
from kvgate.commands.keys import key_indices, listed
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import CommandSpec, Merge
from kvgate.errors import forbidden_command, no_namespace, no_perm_key
from kvgate.lane.client import Client
from kvgate.lane.upstream import Shard, Trips, Upstream
from kvgate.metrics.ledger import Account, Accounts, Ledger
from kvgate.policy.audit import Auditing
from kvgate.policy.blocks import KEY, USER, Block, Blocks, Called
from kvgate.policy.compiled import NO_COLON, Route, RunOf, Toll, in_pieces
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import Namespace
from kvgate.routing.slots import hash_text
from kvgate.server.difference import location
from kvgate.server.session import Owner
from kvgate.wire.reply import Raw
from kvgate.wire.request import encode_request

MOST_ROUTES: Final = 65_536
"""Texts before a ":" remembered for one user; they are the clients' choice, so there is a limit. About 10 MB."""
LONGEST_KEY: Final = 512 * 1024 * 1024


Local = Callable[[Client, CommandSpec, list[bytes], bytes, float, Account], None]
"""Serves a checked command of a backend that executes it: ``local(client, spec, args, frame, now, account)``."""


@attrs.frozen(slots=True)
class Place:
    """Where one key lies."""

    namespace: Namespace
    backend: Backend
    shard: Shard | None
    """None: the backend is no store that speaks RESP."""

    def joins(self, other: "Place") -> bool:
        """Whether one transaction has both: on one shard, or on one store, be it under the names of two backends."""
        if self.backend is other.backend or self.shard is not None:
            return self.shard is other.shard and self.backend is other.backend
        return isinstance(self.backend, Located) and location(self.backend) == location(other.backend)

    def speaks(self, proto: int) -> bool:
        """Whether its store answers in a protocol."""
        return proto == 2 or self.shard is None or self.shard.endpoint.resp3

    def in_protocol(self, proto: int, spec: CommandSpec, args: list[bytes], raw: bytes) -> Raw:
        """Its store's reply, in a client's protocol."""
        return Raw(raw if self.speaks(proto) else in_resp3(spec, args, raw))


class Compiled:
    """What the lane may do for one user: filled as commands are seen."""

    __slots__ = ("by_namespace", "plans", "routes")

    def __init__(self) -> None:
        """Know nothing yet."""
        self.routes: dict[bytes, Route] = {}
        self.by_namespace: dict[str, Route] = {}
        self.plans: dict[tuple[str, bool], dict[bytes, int]] = {}
        """By backend, and whether the user may write there: the user's namespaces of both kinds share them."""


class Places:
    """The routing of one configuration over running backends."""

    def __init__(
        self,
        configuration: Configuration,
        backends: Mapping[str, Backend],
        ledger: Ledger,
        before: "Places | None" = None,
    ) -> None:
        """Make the lane's shards of every pass-through backend; nothing connects yet. Backends that were served `before`
        keep theirs, with their connections."""
        self.namespaces = configuration.namespaces
        self.allowed_scripts = configuration.gate.allowed_scripts
        rules = self.namespaces.rules
        self.seated = tuple(each for each in rules if each.limits is not None and each.limits.max_connections is not None)
        """Rules that count the clients that use them."""
        self.forbidding = tuple(each for each in rules if each.limits is not None and each.limits.forbidden)
        self.backends = backends
        self.ledger = ledger
        self.auditing = None if configuration.audit is None else Auditing(configuration.audit)
        self.blocks: Blocks = Blocks() if before is None else before.blocks
        self.topologies: dict[str, Topology] = {}
        self.shards: dict[str, tuple[Shard, ...]] = {}
        self.trips: dict[str, Trips] = {} if before is None else dict(before.trips)
        """By names of backends, those of earlier configurations among them: what was counted stays."""
        self._slot_of_key: dict[str, Callable[[bytes], int]] = {}
        self._tables: dict[str, list[list[Upstream]]] = {}
        self.in_place = {name: backend for name, backend in backends.items() if isinstance(backend, InPlace)}
        self.queueing = {name: backend for name, backend in backends.items() if isinstance(backend, Queueing)}
        self.rewriting = {name: backend for name, backend in backends.items() if isinstance(backend, Rewriting)}
        for rule in self.namespaces.rules:
            if rule.versioned and rule.backend in self.rewriting:
                self.rewriting[rule.backend].keep_versioned()
        for name, backend in backends.items():
            if isinstance(backend, PassThrough):
                topology = self.topologies[name] = backend.topology
                if before is not None and before.backends.get(name) is backend:
                    self.shards[name] = before.shards[name]
                else:
                    trips = self.trips.setdefault(name, Trips())
                    self.shards[name] = tuple(
                        Shard(name, index, endpoint, configuration.gate.shared_connections, trips)
                        for index, endpoint in enumerate(topology.shards)
                    )
                self._slot_of_key[name] = _of_key(topology.slot_of)
        self.tolls: Callable[[User, Namespace], tuple[Toll | None, Toll | None] | None] = _no_tolls
        """What the lane pays from for a user's writes and reads in a namespace (kvgate.server.throttle)."""
        self._compiled: WeakKeyDictionary[User | Owner, Compiled] = WeakKeyDictionary()
        # of RESP3 clients, where that matters:
        self._compiled3: WeakKeyDictionary[User | Owner, Compiled] = WeakKeyDictionary()
        self._resp3 = all(shard.endpoint.resp3 for shards in self.shards.values() for shard in shards)

    def namespace(self, user: User, key: bytes) -> Namespace:
        """The key's namespace, if the user may touch it.

        Raises:
            GateError: NONAMESPACE, NOPERM.
        """
        namespace = self.namespaces.of(key)
        if namespace is None:
            raise no_namespace(key)
        if not user.sees(namespace) or key.startswith(INTERNAL_PREFIX):
            raise no_perm_key()
        return namespace

    def home(self, user: User | None, database: int) -> Home | None:
        """The namespace that a database of the user stands for; None where keys are whole already."""
        name = None if user is None else user.databases.get(database)
        namespace = None if name is None else self.namespaces.of_name(name)
        if namespace is None or namespace.prefix is None:
            return None
        shards = self.shards.get(namespace.backend)
        return Home(namespace.prefix, database, shards[0].endpoint.database if shards else 0)

    def place(self, namespace: Namespace, key: bytes) -> Place:
        """Where a key of the namespace lies."""
        name = namespace.backend
        shards = self.shards.get(name)
        if shards is None:
            return Place(namespace, self.backends[name], None)
        if len(shards) == 1:
            return Place(namespace, self.backends[name], shards[0])
        return Place(namespace, self.backends[name], shards[self.topologies[name].slots[self._slot_of_key[name](key)]])

    def account(self, place: Place, spec: CommandSpec) -> Account:
        """Where a command on the place's keys is counted."""
        return self.ledger.account(place.namespace.name, spec.lower, readonly=spec.readonly)

    def renamed(self, place: Place, spec: CommandSpec, args: list[bytes], frame: bytes) -> bytes:
        """The request as the place's store knows it."""
        topology = self.topologies.get(place.backend.name)
        name = None if topology is None else topology.rename.get(spec.name.partition("|")[0])
        return frame if name is None else encode_request([name.encode("utf-8", "surrogateescape"), *args[1:]])

    def refuse_keyless(self, user: User, spec: CommandSpec, args: list[bytes], home: Home | None) -> None:
        """Refuse a command without keys that reaches all that a user sees, where a namespace of that forbids it. At home a
        listing reaches this one alone, whatever its pattern.

        Raises:
            GateError: it does.
        """
        if spec.capability != "listing" and (spec.capability not in ("script", "function") or not spec.keys):
            return
        rules = [rule for rule in self.forbidding if rule.limits and rule.limits.forbids(spec) and user.sees_some(rule)]
        if not rules or (spec.keys and key_indices(spec, args)):
            return  # keys are looked at one by one
        pattern = listed(spec, args)
        only = None if pattern is None else self.namespaces.of_pattern(pattern)
        if home is not None:
            listing = spec.capability == "listing" and spec.name != "FLUSHALL"
            only = self.namespaces.of(home.prefix) if listing else None
        for rule in rules:
            if only is None or only.rule == rule.rule:
                raise forbidden_command(spec.lower, rule.name)

    def compiled(self, user: User | Owner, proto: int) -> Compiled:
        """The user's routes; one object for all clients of the user, filled by `learn`, or that of one client. Where some
        store has no RESP3, its replies to RESP3 clients pass through the gate's hands, so that those have routes of their own,
        without that store."""
        users = self._compiled if proto == 2 or self._resp3 else self._compiled3
        found = users.get(user)
        if found is None:
            found = users[user] = Compiled()
        return found

    def learn(
        self,
        user: User,
        proto: int,
        place: Place,
        key: bytes,
        head: bytes,
        more: int,
        *,
        spec: CommandSpec,
        most: int,
        local: Local | None = None,
        run: RunOf | None = None,
        look: bool = False,
        alone: bool = False,
        owner: Owner | None = None,
        others: Sequence[bytes] = (),
    ) -> None:
        """Let the lane take such requests of this user by itself from now on; `most` is the largest value in bytes. `local`
        serves them where their bytes are not passed on, `run` several at once; `look`: not those with the word IFEQ. `alone`:
        what the user may do in the namespace holds for no other one of the backend. `owner`: the one client that may.
        `others`: the command's other keys, all of the same namespace.

        Where the user may only read, no command is learned that may write with other arguments (BITFIELD), and what is
        learned is not shared with namespaces that it may write to."""
        namespace = place.namespace
        if self.blocks.active and (self.blocks.of_user(user.name) is not None or self._has_blocked(namespace)):
            return
        if self.auditing is not None and self.auditing.every(user, namespace, spec):
            return
        writes = user.writes(namespace)
        if not writes and not spec.readonly:
            return
        compiled = self.compiled(owner or user, proto)
        route = compiled.by_namespace.get(namespace.name)
        if route is None:
            name = namespace.backend
            if len(compiled.by_namespace) >= MOST_ROUTES:
                compiled.by_namespace.clear()
            own = (namespace.versioned and name in self.rewriting) or alone  # some of its commands are not passed on
            longest = LONGEST_KEY if namespace.max_key is None else namespace.max_key
            if user.databases:  # the lane sees keys without their prefix
                longest -= len(namespace.prefix or b"")
            route = compiled.by_namespace[namespace.name] = Route(
                namespace,
                {} if own else compiled.plans.setdefault((name, writes), {}),
                Accounts(self.ledger, namespace.name),
                max_key=longest,
                max_value=most,
                tables=self._tables_of(name) if name in self.shards else (),
                slot_of=self._slot_of_key.get(name, len),
                is_crc32=name in self.topologies and self.topologies[name].is_crc32,
                local=local,
            )
            route.tolls = self.tolls(user, namespace)
        if local is not None:
            route.local = local
        elif user.databases and route.local is None:
            route.local = in_pieces
        merge = spec.merge if others else Merge.NONE
        route.learn(head, more, readonly=spec.readonly, spec=None if local is None else spec, look=look, merge=merge, run=run)
        if len(compiled.routes) >= MOST_ROUTES:
            compiled.routes.clear()
        for each in (key, *others):
            colon = each.find(b":")
            compiled.routes[each[:colon] if colon >= 0 else NO_COLON] = route

    def _tables_of(self, name: str) -> list[list[Upstream]]:
        """For each line of clients the upstream of each slot; shared by all routes to the backend."""
        found = self._tables.get(name)
        if found is None:
            shards, topology = self.shards[name], self.topologies[name]
            spread = topology.slots if len(shards) > 1 else (0,)
            found = [[shards[index].lines[line] for index in spread] for line in range(len(shards[0].lines))]
            self._tables[name] = found
        return found

    def unlearn(self, gone: Callable[[bytes], bool]) -> None:
        """Forget the routes of keys for which `gone` is true: the lane hands their commands up again, for every client."""
        for compiled in (*self._compiled.values(), *self._compiled3.values()):
            for text, route in list(compiled.routes.items()):
                if gone(b"" if text == NO_COLON else text + b":"):
                    del compiled.routes[text]
                    compiled.by_namespace.pop(route.namespace.name, None)

    # ------------------------------------------------------------------ what an operator has blocked

    def knows(self, name: str) -> bool:
        """Whether a namespace of that name, or any of an application (``Ads.*``), may have keys."""
        app, _, table = name.partition(".")
        if table == "*" and any(rule.name.startswith(f"{app}.") for rule in self.namespaces.rules):
            return True
        return self.namespaces.of_name(name) is not None

    def _has_blocked(self, namespace: Namespace) -> bool:
        """Whether the namespace or a key of it is blocked."""
        if next(self.blocks.of_namespace(namespace), None) is not None:
            return True
        return any(_is(self.namespaces.of(block.name), namespace) for block in self.blocks.of_keys())

    def unlearn_blocked(self) -> None:
        """Forget the routes of what is blocked now."""

        def gone(beginning: bytes) -> bool:
            namespace = self.namespaces.of(beginning)
            return namespace is not None and self._has_blocked(namespace)

        if any(block.kind != USER for block in self.blocks):
            self.unlearn(gone)
        for whose, compiled in (*self._compiled.items(), *self._compiled3.items()):
            if self.blocks.of_user(whose.name) is not None:
                compiled.routes.clear()
                compiled.by_namespace.clear()

    def refuse_listing(self, user: User, only: Namespace | None, *, writes: bool) -> None:
        """Refuse what lists, or with `writes` deletes, all that the user sees, or of that `only` one namespace, where any of
        it is blocked: left out in silence, keys would seem to be gone. Names of blocked keys may be listed. Raises
        GateError."""
        if only is not None:
            for block in self.blocks.of_namespace(only):
                if writes or not block.writes_only:
                    raise block.error
            return
        for block in self.blocks:
            if block.kind == USER or (not writes and (block.writes_only or block.kind == KEY)):
                continue
            text = block.name.decode("utf-8", "surrogateescape")
            found = self.namespaces.of(block.name) if block.kind == KEY else Called(text)
            if found is not None and user.sees_some(found):
                raise block.error

    def refuse_beside(self, place: Place, *, writes: bool) -> None:
        """Refuse a script, which may reach any key of its store, where anything there is blocked. Raises GateError."""
        stores = {_store(shard) for shard in self.shards.get(place.backend.name, ())}
        for block in self.blocks:
            if block.kind != USER and (writes or not block.writes_only):
                for name in self._backends_of(block):
                    here = {_store(shard) for shard in self.shards.get(name, ())}
                    if name == place.backend.name or not stores.isdisjoint(here):
                        raise block.error

    def _backends_of(self, block: Block) -> set[str]:
        """Where the keys of a blocked namespace or key lie."""
        if block.kind == KEY:
            found = self.namespaces.of(block.name)
        else:
            text = block.name.decode("utf-8", "surrogateescape")
            app, _, table = text.partition(".")
            if table == "*":
                return {rule.backend for rule in self.namespaces.rules if rule.name.startswith(f"{app}.")}
            found = self.namespaces.of_name(text)
        return set() if found is None else {found.backend}

    def visible(self, user: User) -> list[Backend]:
        """The backends that hold a namespace of which the user may see at least a part, in the configuration's order."""
        names = {rule.backend for rule in self.namespaces.rules if user.sees_some(rule)}
        return [backend for name, backend in self.backends.items() if name in names]

    def shared(self, user: User, backend: Backend, *, writing: bool = False) -> bool:
        """Whether a namespace that the user lacks (`writing`: may not write) lies on the backend's store, by this or another
        ``[backends.*]``."""
        stores = {_store(shard) for shard in self.shards.get(backend.name, ())}
        may = user.writes if writing else user.sees
        for rule in self.namespaces.rules:
            if not may(rule):
                if rule.backend == backend.name:
                    return True
                if not stores.isdisjoint(_store(shard) for shard in self.shards.get(rule.backend, ())):
                    return True
        return False

    def everything(self, user: User, backend: Backend, *, writing: bool = False) -> bool:
        """Whether all that can lie in the backend's store is the user's (`writing`: to write), and routed to this backend."""
        may = user.writes if writing else user.sees
        stores = {(_store(shard), shard.endpoint.database) for shard in self.shards.get(backend.name, ())}
        for name, shards in self.shards.items():
            if name != backend.name and not stores.isdisjoint((_store(s), s.endpoint.database) for s in shards):
                return False
        rules = self.namespaces.rules
        mine = [rule for rule in rules if rule.backend == backend.name]
        return len(mine) == len(rules) and all(may(rule) for rule in rules) and self.namespaces.default is not None


def _is(one: Namespace | None, other: Namespace) -> bool:
    return one is not None and one.name == other.name


def _store(shard: Shard) -> tuple[str, int, str]:
    """A store process, whatever the database: scripts can change that. The names of this machine are one."""
    host = shard.endpoint.host.lower().rstrip(".")
    if host in ("localhost", "::1") or host.startswith("127."):
        host = "localhost"
    return (host, shard.endpoint.port, shard.endpoint.path)


def _no_tolls(user: User, namespace: Namespace) -> None:
    del user, namespace


def _of_key(slot_of: Callable[[bytes], int]) -> Callable[[bytes], int]:
    def of(key: bytes) -> int:
        return slot_of(key if b"{" not in key else hash_text(key))

    return of
