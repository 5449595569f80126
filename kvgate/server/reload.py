"""Changing the configuration of a running gate: what would change, what may not, and the switch in one process."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import attrs
import trio

from kvgate.backend import Backend, PassThrough
from kvgate.errors import ConfigurationError, GateError
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import DEFAULT, Namespace

log = logging.getLogger("kvgate.reload")

Build = Callable[[bytes | None], tuple[bytes, Configuration, Mapping[str, Backend]]]
"""Makes a configuration of a file's text, or of the file as it is now (None): its text, itself, its backends.

Raises ConfigurationError. Given by the command line, which knows the file and its own arguments.
"""

NEED_RESTART: Final = ("listen", "tls", "workers", "metrics", "proxy_protocol", "shared_connections")
"""Keys of ``[gate]`` that are read at the start only; what they say elsewhere is left to the next start, and named."""


@attrs.frozen(slots=True)
class Difference:
    """What a new configuration changes."""

    lines: tuple[str, ...]
    """For people, one change each."""
    moves: tuple[str, ...]
    """Namespaces whose existing keys would be looked for elsewhere, each with from and to."""
    moved: frozenset[str]
    """Their names, as ``accept_moves`` has to give them."""
    restart: tuple[str, ...]
    """Keys that changed and take effect at the next start only."""


def location(backend: Backend) -> object:
    """Where a backend keeps its keys: equal for two that find a key in the same place."""
    if isinstance(backend, PassThrough):
        topology = backend.topology
        places = [(each.host, each.port, each.path, each.database) for each in topology.shards]
        return (backend.type, tuple(places), topology.slots)
    return (backend.type, getattr(backend, "location", backend.name))


def compare(
    old: Configuration, old_backends: Mapping[str, Backend], new: Configuration, new_backends: Mapping[str, Backend]
) -> Difference:
    """What changes from `old` to `new`."""
    lines: list[str] = []
    moves: list[str] = []
    moved: set[str] = set()
    old_rules = {rule.name: rule for rule in old.namespaces.rules}
    new_rules = {rule.name: rule for rule in new.namespaces.rules}
    for name in dict.fromkeys([*old_rules, *new_rules]):
        before, after = _serving(old, name), _serving(new, name)
        if name not in old_rules:
            lines.append(f"namespace {name} added: backend {new_rules[name].backend}")
        elif name not in new_rules:
            lines.append(f"namespace {name} removed")
        elif before is not None and after is not None and before != after:
            lines.append(f"namespace {name} changed: {_fields(before, after)}")
        if before is None:
            continue  # its keys were refused: there are none
        here = location(old_backends[before.backend])
        there = None if after is None else location(new_backends[after.backend])
        if here != there:
            to = "served no more" if after is None else f"backend {after.backend}"
            moves.append(f"{name}: backend {before.backend} -> {to}")
            moved.add(name)
    lines += _backends(old, new)
    old_users, new_users = old.users.by_name, new.users.by_name
    lines += [f"user {name} added" for name in new_users if name not in old_users]
    lines += [f"user {name} removed: its clients are closed" for name in old_users if name not in new_users]
    lines += [
        f"user {name} changed" for name, user in new_users.items() if name in old_users and _differ(user, old_users[name])
    ]
    restart = []
    for field in attrs.fields(type(old.gate)):
        if getattr(old.gate, field.name) != getattr(new.gate, field.name):
            lines.append(f"gate.{field.name}: {getattr(old.gate, field.name)} -> {getattr(new.gate, field.name)}")
            if field.name in NEED_RESTART:
                restart.append(f"gate.{field.name}")
    restart += [
        f"backends.{name}"
        for name in old_backends
        if name in new_backends
        and not isinstance(old_backends[name], PassThrough)
        and old.backends[name] != new.backends[name]
    ]
    return Difference(tuple(lines), tuple(moves), frozenset(moved), tuple(restart))


def _serving(configuration: Configuration, name: str) -> Namespace | None:
    """The rule that keys of the namespace `name` fall under."""
    spaces = configuration.namespaces
    if name == DEFAULT:
        return spaces.default
    return spaces.of_name(name) or spaces.default


def _fields(before: Namespace, after: Namespace) -> str:
    return ", ".join(
        f"{field.name} {getattr(before, field.name)} -> {getattr(after, field.name)}"
        for field in attrs.fields(Namespace)
        if field.name not in ("name", "rule") and getattr(before, field.name) != getattr(after, field.name)
    )


def _backends(old: Configuration, new: Configuration) -> list[str]:
    lines = [f"backend {name} added" for name in new.backends if name not in old.backends]
    lines += [f"backend {name} removed" for name in old.backends if name not in new.backends]
    for name, settings in new.backends.items():
        if name in old.backends and old.backends[name] != settings:
            lines.append(f"backend {name} changed: its connections are made anew")
    return lines


def _differ(one: User, other: User) -> bool:
    """Whether two users differ in what the file says; they compare by identity."""
    return any(
        getattr(one, field.name) != getattr(other, field.name) for field in attrs.fields(User) if field.init
    )


class Target(Protocol):
    """One process that serves a configuration: this one, or a worker behind its channel."""

    async def prepare(self, text: bytes) -> None:
        """Make everything that `switch` needs; changes nothing that is served. Raises GateError."""

    async def switch(self) -> None:
        """Serve what was prepared, from the next command of every connection on."""

    async def discard(self) -> None:
        """Forget what was prepared."""

    async def failed(self, why: str) -> None:
        """A reload was refused: INFO shows why."""


class Reloader:
    """Takes a configuration file into service in all processes, or in none."""

    def __init__(
        self,
        build: Build,
        configuration: Configuration,
        backends: Mapping[str, Backend],
        targets: Callable[[], Sequence[Target]],
    ) -> None:
        """`configuration` and `backends` are what is served now; `targets` who serves it."""
        self._build = build
        self._targets = targets
        self._one_at_a_time = trio.Lock()
        self.configuration = configuration
        self.backends = backends

    async def quietly(self) -> None:
        """A reload that nobody waits for (SIGHUP): why it was refused is in the log, and in INFO."""
        with contextlib.suppress(GateError):
            await self.reload(dry_run=False)

    async def reload(self, dry_run: bool) -> Difference:  # noqa: FBT001 - also the form of Dispatcher.reload
        """Read the file, and serve it unless `dry_run`.

        Raises:
            GateError: with every mistake, or with the moves that the file does not accept; nothing has changed.
        """
        async with self._one_at_a_time:
            try:
                difference = await self._reload(dry_run=dry_run)
            except (GateError, ConfigurationError) as error:
                text = error.text if isinstance(error, GateError) else "ERR " + "; ".join(error.mistakes)
                log.error("reload_refused", extra={"why": text, "do": "correct the file and reload again"})
                if not dry_run:
                    for target in self._targets():
                        await target.failed(text)
                raise GateError(text) from None
        if not dry_run:
            facts = {"changes": len(difference.lines), "sha256": self.configuration.sha256}
            if difference.restart:
                facts["need_restart"] = ", ".join(difference.restart)
            log.warning("reloaded", extra=facts)
        return difference

    async def _reload(self, *, dry_run: bool) -> Difference:
        text, configuration, backends = await trio.to_thread.run_sync(self._build, None)
        difference = compare(self.configuration, self.backends, configuration, backends)
        refused = difference.moved - configuration.accept_moves
        if refused:
            raise GateError(
                "ERR keys that exist would be looked for elsewhere: "
                + "; ".join(move for move in difference.moves if move.partition(":")[0] in refused)
                + f"; move the data first, then say accept_moves = {sorted(refused)}"
            )
        if dry_run:
            return difference
        targets = self._targets()
        try:
            for target in targets:
                await target.prepare(text)
        except GateError:
            for target in targets:
                await target.discard()
            raise
        for target in targets:
            await target.switch()
        self.configuration, self.backends = configuration, backends
        return difference
