"""Runs: simple commands of one kind that a client sent one after the other, handed to their backend by one call.

The lane gathers them (kvgate.policy.compiled.Route.runs). What is no matter for a run (somebody watches the commands, the
client's earlier writes are not answered yet, a record that only a handler understands) is done one by one, as without runs.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from kvgate.backend import Backend, Command, Queueing, Runs
from kvgate.commands.spec import CommandSpec
from kvgate.lane.client import Client
from kvgate.lane.slots import Pending
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import RunOf
from kvgate.server.places import Local, Place
from kvgate.server.session import Answer, Emulated, Session
from kvgate.wire.reply import Raw, Reply, encode
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.execution import Execution

FIRST: Final = (1,)
"""Where the key is in the arguments of commands that the lane hands to a backend by itself."""
NULLS: Final = {2: b"$-1\r\n", 3: b"_\r\n"}
"""By protocol: the reply that says that there is nothing."""


def taker(execution: "Execution", place: Place, spec: CommandSpec, args: list[bytes], local: Local) -> RunOf | None:
    """What takes runs of requests that look like `args`; None: such requests are taken one by one, by `local`."""
    backend = place.backend
    if not isinstance(backend, Runs) or backend.runs.get(spec.name) != len(args) - 1:
        return None
    if spec.readonly:
        return _reads(execution, backend, place.backend, args[0], len(args) - 1, local)
    if not isinstance(backend, Queueing) or not backend.in_order:
        return None
    return _writes(execution, backend, place.backend, args[0], local)


def _reads(execution: "Execution", takes: Runs, backend: Backend, name: bytes, width: int, local: Local) -> RunOf:
    gate = execution.gate
    lane, samples = gate.lane, gate.samples

    def run(
        client: Client, spec: CommandSpec, words: list[bytes], count: int, size: int, now: float, account: Account
    ) -> None:
        session: Session = client.session
        at, end = 0, count * width
        alone = samples.active and lane.unsampled < count
        alone = alone or bool(client.batch or session.batches or session.batching or session.enqueued)
        while at < end:
            raw, taken, misses = (b"", 0, 0) if alone else takes.read_run(spec.name, words, at, NULLS[session.proto])
            if taken:
                begin, at = at, at + taken * width
                if samples.active:
                    lane.unsampled -= taken
                session.commands += taken
                gate.commands += taken
                session.quiet = False
                session.last_command = spec.lower
                seconds = time.monotonic() - now
                length = size if taken == count else sum(map(len, _frames(name, words[begin:at], width)))
                account.note(taken, seconds, 0, misses, length, len(raw))
                if seconds > lane.slow_after:
                    execution.slow(client, backend, [name, *words[begin : begin + width]], account, seconds, 0.0, taken - 1)
                lane.reply(client, raw)
            if at < end:
                args = [name, *words[at : at + width]]
                local(client, spec, args, encode_request(args), now, account)
                at += width
                alone = alone or bool(client.batch)

    return run


def _writes(execution: "Execution", takes: Runs, backend: Backend, name: bytes, local: Local) -> RunOf:
    gate = execution.gate
    lane, samples = gate.lane, gate.samples

    def run(
        client: Client, spec: CommandSpec, words: list[bytes], count: int, size: int, now: float, account: Account
    ) -> None:
        session: Session = client.session
        if samples.active and lane.unsampled < count:
            width = len(words) // count
            for at in range(0, len(words), width):
                args = [name, *words[at : at + width]]
                local(client, spec, args, encode_request(args), now, account)
            return
        if samples.active:
            lane.unsampled -= count
        session.commands += count
        gate.commands += count
        session.quiet = False
        session.last_command = spec.lower
        slot = lane.pending_run(client, now, size, count)
        client.batch.append(Several(execution, takes, backend, client, spec, name, words, count, size, slot, account, now))

    return run


def _frames(name: bytes, words: Sequence[bytes], width: int) -> Iterator[bytes]:
    """The requests of a run."""
    return (encode_request([name, *words[at : at + width]]) for at in range(0, len(words), width))


class Several:
    """A run of writes that waits for the end of its portion, and then for its replies. Its one slot has the place of all."""

    __slots__ = (
        "_account",
        "_began",
        "_begun",
        "_client",
        "_count",
        "_execution",
        "_name",
        "_size",
        "_slot",
        "_spec",
        "_takes",
        "_words",
        "backend",
    )

    def __init__(
        self,
        execution: "Execution",
        takes: Runs,
        backend: Backend,
        client: Client,
        spec: CommandSpec,
        name: bytes,
        words: list[bytes],
        count: int,
        size: int,
        slot: Pending,
        account: Account,
        began: float,
    ) -> None:
        """As `kvgate.policy.compiled.RunOf` gets them; `name` as the client writes it, `slot` for all replies; `backend` is
        the one that `takes` the run."""
        self.backend = backend
        self._takes = takes
        self._execution = execution
        self._client = client
        self._spec = spec
        self._name = name
        self._words = words
        self._count = count
        self._size = size
        self._slot = slot
        self._account = account
        self._began = began
        self._begun = 0.0

    def enqueue(self, deadline: float) -> None:
        """Hand it to its backend, which has until `deadline` on trio's clock."""
        self._begun = time.monotonic()
        self._client.session.enqueued += 1
        flush = self._execution.gate.driver.kick
        self._takes.enqueue_run(self._spec, self._words, self._count, deadline, self._done, flush)

    def _done(self, replies: Sequence[Raw | Reply]) -> None:
        execution, client, account, now = self._execution, self._client, self._account, time.monotonic()
        client.session.enqueued -= 1
        seconds = now - self._began
        if len(replies) == 1 and isinstance(replies[0], Raw):
            raw: bytes = replies[0]
            account.note(self._count, seconds, 0, 0, self._size, len(raw))
        else:
            raws = [reply if isinstance(reply, Raw) else encode(reply, client.session.proto) for reply in replies]
            account.note(0, seconds, bytes_in=self._size)
            for each in raws:
                account.note_reply(each, seconds)
            raw = b"".join(raws)
        self._slot.fill(raw)
        if seconds > execution.gate.lane.slow_after:
            args = [self._name, *self._words[: len(self._words) // self._count]]
            queued = self._begun - self._began
            execution.slow(client, self.backend, args, account, seconds, queued, self._count - 1)
        execution.settled(client)

    def one_by_one(self) -> Iterator[Emulated]:
        """Its commands, for a backend's other ways; their replies are given to the slot when all are there."""
        replies: list[bytes] = []

        def take(raw: bytes) -> None:
            replies.append(raw)
            if len(replies) == self._count:
                self._slot.fill(b"".join(replies))

        width = len(self._words) // self._count
        for at in range(0, len(self._words), width):
            args = [self._name, *self._words[at : at + width]]
            command = Command(args, self._spec, FIRST, encode_request(args))
            yield Emulated(self.backend, command, Answer(take), self._account, self._began)


def only_runs(batch: "Sequence[Emulated | Several]") -> "Sequence[Several]":
    """A portion that is nothing but runs for one backend; empty where it is not."""
    runs = [each for each in batch if type(each) is Several]
    return runs if len(runs) == len(batch) and all(each.backend is batch[0].backend for each in runs) else ()


def expanded(batch: "Sequence[Emulated | Several]") -> list[Emulated]:
    """A portion's commands one by one."""
    commands: list[Emulated] = []
    for each in batch:
        if isinstance(each, Several):
            commands += each.one_by_one()
        else:
            commands.append(each)
    return commands
