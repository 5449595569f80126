"""GATE USAGE and GATE BIGKEYS: how many keys and bytes each namespace has, and which keys are the heaviest.

Both show the same run over a backend, which goes on in the background, one at a time, in one worker for all of them. What it
found is shown with its age, and found out anew when it is too old (`kvgate.policy.settings`, ``usage_age``).
"""

import heapq
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from kvgate.admin.common import administers, user_of
from kvgate.backend import INTERNAL_PREFIX, Backend, Weighing
from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.errors import NOT_AN_INTEGER, GateError, no_perm_key, syntax_error
from kvgate.lane.client import Client
from kvgate.metrics.weights import MOST_LISTED, Heavy, Share, Weights
from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.wire.reply import Map, Reply

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way

log = logging.getLogger("kvgate.weighing")

WAIT: Final = 1.0
"""Seconds that who asks waits for a run that has just begun: a small store is through by then."""
DUTY: Final = 10.0
"""What a run found is shown for at least so many times as long as it took."""
RETRY: Final = 2.0
"""Seconds until a run that failed is begun anew."""
LISTED: Final = 10
"""Keys that GATE BIGKEYS shows without COUNT."""

Row = list[Any]
"""What one worker tells another: JSON, bytes as text, byte for character."""


class Run:
    """One look through a backend."""

    def __init__(self, backend: Backend, namespaces: Namespaces) -> None:
        """Nothing is looked at yet."""
        self.backend = backend
        self.began = time.monotonic()
        self.ended = 0.0
        self.error = ""
        self.weights: list[Weights] = []
        self.over = trio.Event()
        self._namespaces = namespaces

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self.over.is_set()

    def fresh(self, now: float, age: float) -> bool:
        """Whether it is to be shown as it is."""
        old = RETRY if self.error else max(age, DUTY * (self.ended - self.began))
        return self.running or now - self.ended < old

    def _namespace_of(self, key: bytes) -> Namespace | None:
        namespace = self._namespaces.of(key)
        if namespace is None or namespace.backend != self.backend.name or key.startswith(INTERNAL_PREFIX):
            return None
        return namespace

    async def look(self, weighing: Weighing) -> None:
        """Look through all sources; what goes wrong is kept in `error`."""
        try:
            for source in range(weighing.sources):
                weights = Weights(self._namespace_of)
                self.weights.append(weights)
                await weighing.weigh(source, weights)
        except GateError as error:
            self.error = error.text
        except Exception as error:
            log.exception("weighing_failed", extra={"backend": self.backend.name, "error": repr(error), "do": "report this"})
            self.error = "ERR the gate failed inside; its log says more"
        finally:
            self.ended = time.monotonic()
            self.over.set()


class Weighings:
    """The runs of this worker: of each backend the one that goes on, and the last one that came to its end."""

    def __init__(self, gate: "Dispatcher") -> None:
        """None yet."""
        self._gate = gate
        self._present: dict[str, Run] = {}
        self._done: dict[str, Run] = {}

    async def runs(self, backends: Sequence[Backend], age: float) -> list[tuple[Backend, Run | None, Run]]:
        """Of each backend the last whole run and the present one, which may be the same; a new one is begun when those are
        too old, and waited for a moment."""
        now = time.monotonic()
        found = [(backend, self._run(backend, now, age)) for backend in backends if isinstance(backend, Weighing)]
        with trio.move_on_after(WAIT):
            for _, run in found:
                await run.over.wait()
        told: list[tuple[Backend, Run | None, Run]] = []
        for backend, run in found:
            if not run.running and not run.error:
                self._done[backend.name] = run
            done = self._done.get(backend.name)
            told.append((backend, done if done is not None and done.backend is backend else None, run))
        return told

    def _run(self, backend: Backend, now: float, age: float) -> Run:
        run = self._present.get(backend.name)
        if run is not None and run.backend is backend and run.fresh(now, age):
            return run
        if run is not None and not run.error and run.backend is backend:
            self._done[backend.name] = run
        run = self._present[backend.name] = Run(backend, self._gate.places.namespaces)
        if isinstance(backend, Weighing):
            self._gate.tasks.spawn(run.look, backend)
        return run


def _counted_for(user: User, namespace: Namespace) -> bool:
    """Who administers the gate is shown the figures, but not the keys, of all namespaces."""
    return user.sees(namespace) or administers(user)


async def rows(gate: "Dispatcher", what: str, user: User, only: str, count: int) -> list[Row]:
    """What GATE USAGE or GATE BIGKEYS shows a user, from the runs of this worker.

    USAGE: ``[namespace, backend, keys, bytes, exact, sampled, age, state]``, keys and bytes None while nothing is known.
    BIGKEYS: ``[namespace, backend, list, key, type, bytes, elements, exact, age, state]``.
    """
    spaces = gate.places.namespaces
    wanted = spaces.of_name(only) if only else None
    backends = [
        backend
        for name, backend in gate.backends.items()
        if (not only or (wanted is not None and wanted.backend == name))
        and any(user.sees_some(rule) or administers(user) for rule in spaces.on(name))
    ]
    told: list[Row] = []
    for backend, done, present in await gate.weighings.runs(backends, gate.configuration.gate.usage_age):
        shown = done or present
        state = "running" if present.running else "failed: " + present.error if present.error else "done"
        age = round(time.monotonic() - shown.ended, 1) if done is not None else None
        if what == "USAGE":
            told += _usage(spaces, user, only, backend, done, age, state)
        elif done is not None:
            told += _heaviest(user, only, backend, done, count, age, state)
        else:
            told.append([None, backend.name, "bytes", None, None, None, None, None, age, state])
    return told


def _usage(
    spaces: Namespaces, user: User, only: str, backend: Backend, done: Run | None, age: float | None, state: str
) -> Iterator[Row]:
    """A row for each namespace with keys there, and for each that the configuration names."""
    names = {rule.name: rule for rule in spaces.on(backend.name) if not rule.name.endswith("*")}
    for weights in done.weights if done is not None else ():
        names.update({name: share.namespace for name, share in weights.shares.items()})
    for name in sorted(names):
        if not _counted_for(user, names[name]) or not _within(name, only):
            continue
        if done is None:
            yield [name, backend.name, None, None, None, None, age, state]
            continue
        keys = size = sampled = 0
        exact = True
        for weights in done.weights:
            share = weights.shares.get(name)
            exact = exact and not weights.partly
            if share is not None:
                keys += weights.keys(share)
                size += weights.bytes(share)
                sampled += share.sized
                exact = exact and share.sized == share.seen
        yield [name, backend.name, keys, size, int(exact), sampled, age, state]


def _within(name: str, only: str) -> bool:
    return not only or name == only or (only.endswith(".*") and name.startswith(only[:-1]))


def _heaviest(user: User, only: str, backend: Backend, done: Run, count: int, age: float | None, state: str) -> Iterator[Row]:
    """The heaviest keys of a backend, by bytes and then by elements; keys of namespaces that the user does not see have no
    name."""
    shares: list[tuple[Weights, Share]] = [
        (weights, share)
        for weights in done.weights
        for share in weights.shares.values()
        if _counted_for(user, share.namespace) and _within(share.namespace.name, only)
    ]
    for by in ("bytes", "elements"):
        listed: list[tuple[Heavy, Weights, Share]] = [
            (heavy, weights, share)
            for weights, share in shares
            for heavy in (share.by_bytes if by == "bytes" else share.by_elements)
        ]
        for heavy, weights, share in heapq.nlargest(count, listed, key=lambda each: each[0].weight):
            key = heavy.key.decode("latin-1") if user.sees(share.namespace) else None
            exact = int(not weights.partly)
            kind = heavy.kind.decode("latin-1")
            yield [share.namespace.name, backend.name, by, key, kind, heavy.bytes, heavy.elements, exact, age, state]


# ---------------------------------------------------------------------- over all workers


async def for_other(gate: "Dispatcher", leader: int, what: str, user: str, only: str, count: int) -> list[Row] | int | None:
    """What another worker asked: with leader 0 this process' id, else the rows, if this is the leader."""
    if not leader:
        return os.getpid()
    known = gate.configuration.users.get(user)
    return await rows(gate, what, known, only, count) if leader == os.getpid() and known is not None else None


async def _gather(gate: "Dispatcher", what: str, user: User, only: str, count: int) -> list[Row]:
    """The rows of the one worker that looks through the backends: the one with the smallest process id."""
    if gate.fleet is not None:
        numbers = [each for each in await gate.fleet.others("weigh", 0, what, "", "", 0) if isinstance(each, int)]
        leader = min([os.getpid(), *numbers])
        if leader != os.getpid():
            for answer in await gate.fleet.others("weigh", leader, what, user.name, only, count):
                if isinstance(answer, list):
                    return answer
    return await rows(gate, what, user, only, count)


# ---------------------------------------------------------------------- the commands


def _parse(gate: "Dispatcher", user: User, spec: CommandSpec, args: list[bytes]) -> tuple[str, int]:
    """``[namespace] [COUNT n]``: the namespace, empty for all, and n."""
    words, count, only = args[2:], LISTED, ""
    if spec.name == "GATE|BIGKEYS" and len(words) >= 2 and words[-2].upper() == b"COUNT":
        number = integer(words[-1])
        if number is None or number < 1:
            raise GateError(NOT_AN_INTEGER)
        count, words = min(number, MOST_LISTED), words[:-2]
    if len(words) > 1:
        raise syntax_error()
    if words:
        only = words[0].decode("utf-8", "surrogateescape")
        namespace = gate.places.namespaces.of_name(only)
        if not administers(user) and (namespace is None or not user.sees(namespace)):
            raise no_perm_key()  # of one that is not there, too: which there are is nobody's business
    return only, count


def _usage_or_bigkeys(
    gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float
) -> None:
    del frame, now
    user = user_of(client)
    only, count = _parse(gate, user, spec, args)
    gate.tasks.alone(client, _answer, gate, user, spec.name.partition("|")[2], only, count)


FIELDS: Final = {
    "USAGE": ("namespace", "backend", "keys", "bytes", "exact", "sampled", "age", "state"),
    "BIGKEYS": ("namespace", "backend", "by", "key", "type", "bytes", "elements", "exact", "age", "state"),
}


async def _answer(gate: "Dispatcher", user: User, what: str, only: str, count: int) -> Reply:
    told = await _gather(gate, what, user, only, count)
    return [Map([(name.encode(), _value(name, value)) for name, value in zip(FIELDS[what], row, strict=True)]) for row in told]


def _value(name: str, value: Any) -> Reply:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return b"%.1f" % value
    return str(value).encode("latin-1" if name == "key" else "utf-8", "replace" if name == "key" else "surrogateescape")


WAYS: "dict[str, Way]" = {"GATE|USAGE": _usage_or_bigkeys, "GATE|BIGKEYS": _usage_or_bigkeys}
