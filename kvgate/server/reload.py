"""Changing the configuration of a running gate: in all processes or in none, one reload after the other."""

import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import attrs
import trio

from kvgate.backend import Backend
from kvgate.errors import ConfigurationError, GateError
from kvgate.policy.settings import GateSettings
from kvgate.routing.configuration import BackendSettings, Configuration
from kvgate.server.difference import Difference, compare, kept_open

log = logging.getLogger("kvgate.reload")

Build = Callable[[bytes | None], tuple[bytes, Configuration, Mapping[str, Backend]]]
"""Makes a configuration of a file's text, or of the file as it is now (None): its text, itself, its backends.

Raises ConfigurationError. Given by the command line, which knows the file and its own arguments.
"""

NEED_RESTART: Final = ("listen", "admin", "tls", "workers", "metrics", "traces", "proxy_protocol", "shared_connections")
"""Keys of ``[gate]`` that are read at the start only; what they say elsewhere is left to the next start, and named."""


SWITCH_INTERVAL: Final = 0.0005
"""Seconds; see `beside_the_lane`."""
_beside: list[float] = []
"""Of `beside_the_lane`: the usual interval, and one more for each work that is under way."""
T = TypeVar("T")


def in_effect(running: GateSettings, new: GateSettings) -> GateSettings:
    """What of ``[gate]`` is served after a reload: the new one, but for what is read at the start only."""
    return attrs.evolve(new, **{name: getattr(running, name) for name in NEED_RESTART})


async def beside_the_lane(work: Callable[[], T]) -> T:
    """Run `work`, which computes, on a thread, without holding the lane up.

    Python lets a thread that computes go on for 5 ms whenever another one has waited for it, and the lane gives way at every
    system call. A tenth of that keeps its replies a third as late while 10,000 namespaces are read, which takes no longer.
    """
    if not _beside:
        _beside.append(sys.getswitchinterval())
    _beside.append(SWITCH_INTERVAL)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        return await trio.to_thread.run_sync(work)
    finally:
        _beside.pop()
        if len(_beside) == 1:  # the last of those that run
            sys.setswitchinterval(_beside.pop())


class Target(Protocol):
    """One process that serves a configuration: this one, or a worker behind its channel."""

    async def prepare(self, text: bytes, configuration: Configuration, backends: Mapping[str, Backend]) -> None:
        """Make everything that `switch` needs; changes nothing that is served. `configuration` and `backends` are made of
        `text`, for a target that need not make them again. Raises GateError."""

    async def hold(self) -> None:
        """Let new commands on what is prepared to move wait, and return when those under way are answered, or their time is
        over. `switch` and `discard` end it. Raises GateError."""

    async def switch(self) -> None:
        """Serve what was prepared, from the next command of every connection on. Does not fail."""

    async def discard(self) -> None:
        """Forget what was prepared. Raises GateError when the process cannot be reached."""

    async def failed(self, why: str) -> None:
        """A reload was refused: INFO shows why. Raises GateError when the process cannot be reached."""


@attrs.define
class _Outcome:
    """Of one reload, for whoever waits for it."""

    difference: Difference | None = None
    refused: str = ""
    over: trio.Event = attrs.field(factory=trio.Event)


class Reloader:
    """Takes a configuration file into service in all processes, or in none."""

    def __init__(
        self,
        build: Build,
        text: bytes,
        configuration: Configuration,
        backends: Mapping[str, Backend],
        targets: Callable[[], Sequence[Target]],
    ) -> None:
        """`text`, `configuration` and `backends` are what is served now; `targets` who serves it. `run` has to run."""
        self._build = build
        self._targets = targets
        self._nursery: trio.Nursery
        self._started_with = configuration.gate
        self._opened_with: Mapping[str, BackendSettings] = configuration.backends
        self.quiet_time = trio.Lock()
        """Held while a configuration is taken into service: who starts meanwhile waits for its end."""
        self.first_text = text
        """What the gate was started with: some keys are in effect as it says them."""
        self.text = text
        self.configuration = configuration
        self.backends = backends
        self.error = ""
        """Why the last reload was refused; empty when it was not."""

    @property
    def gate(self) -> GateSettings:
        """What of ``[gate]`` is in effect."""
        return in_effect(self._started_with, self.configuration.gate)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the reloads until cancelled: one that has begun is brought to its end, whoever asked for it and has left."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def quietly(self) -> None:
        """A reload that nobody waits for (SIGHUP): why it was refused is in the log, and in INFO."""
        with contextlib.suppress(GateError):
            await self.reload(dry_run=False)

    async def reload(self, dry_run: bool) -> Difference:  # noqa: FBT001 - also the form of Dispatcher.reload
        """Read the file, and serve it unless `dry_run`.

        Raises:
            GateError: with every mistake, or with the moves that the file does not accept; nothing has changed.
        """
        outcome = _Outcome()
        self._nursery.start_soon(self._one, dry_run, outcome)
        await outcome.over.wait()
        if outcome.difference is None:
            raise GateError(outcome.refused)
        return outcome.difference

    async def _one(self, dry_run: bool, outcome: _Outcome) -> None:  # noqa: FBT001 - start_soon takes no keywords
        try:
            async with self.quiet_time:
                outcome.difference = await self._reload(dry_run=dry_run)
        except GateError as error:
            outcome.refused = error.text
        except ConfigurationError as error:
            outcome.refused = "ERR " + "; ".join(error.mistakes)
        except Exception as error:
            log.exception("reload_failed", extra={"error": repr(error), "do": "report this"})
            outcome.refused = f"ERR the gate failed to read the configuration: {error!r}"
        if not dry_run:
            await self._tell(outcome)
        outcome.over.set()

    async def _tell(self, outcome: _Outcome) -> None:
        """The log and, of a failure, INFO of every process."""
        self.error = outcome.refused
        if outcome.difference is None:
            log.error("reload_refused", extra={"why": outcome.refused, "do": "correct the file and reload again"})
            with contextlib.suppress(GateError):
                await _each(self._targets(), lambda target: target.failed(outcome.refused))
            return
        for warning in self.configuration.warnings:
            log.warning("configuration", extra={"mistake": warning})
        facts: dict[str, object] = {"changes": len(outcome.difference.lines), "sha256": self.configuration.sha256}
        if outcome.difference.restart:
            facts["need_restart"] = ", ".join(outcome.difference.restart)
        log.warning("reloaded", extra=facts)

    async def _reload(self, *, dry_run: bool) -> Difference:
        def build() -> tuple[bytes, Configuration, Mapping[str, Backend], Difference]:
            text, configuration, backends = self._build(None)
            return text, configuration, backends, compare(self.configuration, self.backends, configuration, backends)

        text, configuration, backends, difference = await beside_the_lane(build)
        difference = attrs.evolve(difference, restart=self._need_restart(configuration, backends))
        refused = difference.moved - configuration.accept_moves
        if refused:
            moves = "; ".join(move for move in difference.moves if move.partition(":")[0] in refused)
            raise GateError(
                f"ERR keys that exist would be looked for elsewhere: {moves}; move the data first, then say"
                f" accept_moves = {sorted(refused)}"
            )
        if dry_run:
            return difference
        targets = self._targets()
        try:
            for target in targets:  # one after the other: it takes a processor, which the others' clients need meanwhile
                await target.prepare(text, configuration, backends)
            if difference.moved:
                await _each(targets, lambda target: target.hold())
        except GateError:
            with contextlib.suppress(GateError):
                await _each(targets, lambda target: target.discard())
            raise
        await _each(targets, lambda target: target.switch())
        self._opened_with = {
            name: self._opened_with[name] if kept_open(self.backends.get(name), backends[name]) else settings
            for name, settings in configuration.backends.items()
        }
        self.text, self.configuration, self.backends = text, configuration, backends
        logging.getLogger().setLevel(configuration.gate.log_level.upper())
        return difference

    def _need_restart(self, new: Configuration, backends: Mapping[str, Backend]) -> tuple[str, ...]:
        """Keys that differ from what is in effect and stays so until the next start."""
        gate = [f"gate.{name}" for name in NEED_RESTART if getattr(self._started_with, name) != getattr(new.gate, name)]
        stores = [
            f"backends.{name}"
            for name, settings in new.backends.items()
            if kept_open(self.backends.get(name), backends[name]) and settings != self._opened_with[name]
        ]
        return (*gate, *stores)


async def _each(targets: Sequence[Target], call: Callable[[Target], Awaitable[None]]) -> None:
    """Call all side by side; the first GateError is raised when all have ended."""
    errors: list[GateError] = []

    async def one(target: Target) -> None:
        try:
            await call(target)
        except GateError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(one, target)
    if errors:
        raise errors[0]
