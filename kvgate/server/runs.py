"""Runs: simple commands of one kind that a client sent one after the other, handed to their backend by one call.

The lane gathers them (kvgate.policy.compiled.Route.runs). What is no matter for a run (somebody watches the commands, the
client's earlier writes are not answered yet, a record that only a handler understands) is done one by one, as without runs.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

from kvgate.backend import Backend, Command, Queueing, Runs
from kvgate.commands.spec import CommandSpec
from kvgate.lane.client import Client
from kvgate.lane.slots import PendingRun
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
        return _reads(execution, backend, place.backend, spec, args[0], local)
    if not isinstance(backend, Queueing) or not backend.in_order:
        return None
    return _writes(_Way(execution, backend, place.backend, spec, args[0]), local)


def _reads(execution: "Execution", takes: Runs, backend: Backend, spec: CommandSpec, name: bytes, local: Local) -> RunOf:
    gate, lower, width = execution.gate, spec.lower, takes.runs[spec.name]
    lane, samples = gate.lane, gate.samples

    def run(
        client: Client, spec: CommandSpec, words: list[bytes], count: int, size: int, now: float, account: Account, rest: int
    ) -> None:
        del rest
        session: Session = client.session
        at, end = 0, count * width
        alone = lane.unsampled < count and samples.follows
        alone = alone or bool(client.batch or session.batches or session.batching or session.enqueued)
        while at < end:
            raw, taken, misses = (b"", 0, 0) if alone else takes.read_run(spec.name, words, at, NULLS[session.proto])
            if taken:
                begin, at = at, at + taken * width
                if lane.unsampled >= taken:
                    lane.unsampled -= taken
                else:
                    samples.passed(client, spec, name, words[begin:at], taken)
                session.commands += taken
                gate.commands += taken
                session.quiet = False
                session.last_command = lower
                seconds = time.monotonic() - now
                length = size if taken == count else sum(map(len, _frames(name, words[begin:at], width)))
                lane.give(client, account, raw, taken, misses, length, seconds)
                if seconds > lane.slow_after:
                    execution.slow(client, backend, [name, *words[begin : begin + width]], account, seconds, 0.0, taken - 1)
            if at < end:
                args = [name, *words[at : at + width]]
                local(client, spec, args, encode_request(args), now, account)
                at += width
                alone = alone or bool(client.batch)

    return run


def _writes(way: "_Way", local: Local) -> RunOf:
    execution, name, lower = way.execution, way.name, way.spec.lower
    gate = execution.gate
    lane, samples = gate.lane, gate.samples

    def run(
        client: Client, spec: CommandSpec, words: list[bytes], count: int, size: int, now: float, account: Account, rest: int
    ) -> None:
        session: Session = client.session
        if samples.active:
            if lane.unsampled >= count:
                lane.unsampled -= count
            elif samples.follows:
                width = len(words) // count
                for at in range(0, len(words), width):
                    args = [name, *words[at : at + width]]
                    local(client, spec, args, encode_request(args), now, account)
                return
            else:
                samples.passed(client, spec, name, words, count)
        session.commands += count
        gate.commands += count
        session.quiet = False
        session.last_command = lower
        several = Several(way, client, words, count, size, now, account)
        lane.pending_run(client, several)
        if not (rest or client.batch or session.batches or session.batching):
            several.enqueue(execution.deadline())
        else:
            client.batch.append(several)

    return run


def _frames(name: bytes, words: Sequence[bytes], width: int) -> Iterator[bytes]:
    """The requests of a run."""
    return (encode_request([name, *words[at : at + width]]) for at in range(0, len(words), width))


class _Way:
    """What all runs of writes that look alike have in common: the command, its `name` as the client writes it, and the
    `backend`, which `takes` them."""

    __slots__ = ("backend", "execution", "flush", "name", "spec", "takes")

    def __init__(self, execution: "Execution", takes: Runs, backend: Backend, spec: CommandSpec, name: bytes) -> None:
        self.execution = execution
        self.takes = takes
        self.backend = backend
        self.spec = spec
        self.name = name
        self.flush = execution.gate.driver.kick


class Several(PendingRun):
    """A run of writes that waits for its replies, whose place in the client's queue it has itself; before that for the end of
    its portion, if more follows."""

    __slots__ = ("_whose", "_words", "way")

    def __init__(
        self, way: _Way, client: Client, words: list[bytes], count: int, size: int, began: float, account: Account
    ) -> None:
        """As `kvgate.policy.compiled.RunOf` gets them."""
        PendingRun.__init__(self, client, began, size, count, account)  # super() would make an object for each write
        self.way = way
        self._whose = client  # also when it has left
        self._words = words

    def enqueue(self, deadline: float) -> None:
        """Hand it to its backend, which has until `deadline` on trio's clock."""
        way = self.way
        self._whose.session.enqueued += 1
        way.takes.enqueue_run(way.spec, self._words, self.count, self.weight, deadline, self._done, way.flush)

    def _done(self, replies: Sequence[Raw | Reply]) -> None:
        execution, client, now = self.way.execution, self._whose, time.monotonic()
        session, lane = client.session, execution.gate.lane
        session.enqueued -= 1
        first = replies[0]
        if len(replies) == 1 and isinstance(first, Raw):
            lane.answer(self, first, now)
        else:
            self._answer_each(replies, now)
        if now - self.started > lane.slow_after:
            self._tell_slow(now - self.started)
        if session.batches:
            execution.go_on(client)

    def _answer_each(self, replies: Sequence[Raw | Reply], now: float) -> None:
        """Count and give replies among which there may be errors."""
        client, account, seconds = self._whose, self._account, now - self.started
        raws = [reply if isinstance(reply, Raw) else encode(reply, client.session.proto) for reply in replies]
        account.note(0, seconds, bytes_in=self.weight)
        for each in raws:
            account.note_reply(each, seconds)
        self.fill(b"".join(raws))
        self.way.execution.gate.lane.settle(client)

    def _tell_slow(self, seconds: float) -> None:
        way = self.way
        args = [way.name, *self._words[: len(self._words) // self.count]]
        way.execution.slow(self._whose, way.backend, args, self._account, seconds, 0.0, self.count - 1)

    @property
    def _account(self) -> Account:
        assert self.account is not None  # noqa: S101 - the one that it was made with
        return self.account

    def one_by_one(self) -> Iterator[Emulated]:
        """Its commands, for a backend's other ways; their replies are given when all are there."""
        replies: list[bytes] = []

        def take(raw: bytes) -> None:
            replies.append(raw)
            if len(replies) == self.count:
                self.fill(b"".join(replies))

        way, width = self.way, len(self._words) // self.count
        for at in range(0, len(self._words), width):
            args = [way.name, *self._words[at : at + width]]
            command = Command(args, way.spec, FIRST, encode_request(args))
            yield Emulated(way.backend, command, Answer(take), self._account, self.started)


def only_runs(batch: "list[Emulated | Several]") -> "TypeGuard[list[Several]]":
    """Whether a portion is nothing but runs for one backend."""
    backend: Backend | None = None
    for each in batch:
        if type(each) is not Several or (backend is not None and each.way.backend is not backend):
            return False
        backend = each.way.backend
    return True


def expanded(batch: "Sequence[Emulated | Several]") -> list[Emulated]:
    """A portion's commands one by one."""
    commands: list[Emulated] = []
    for each in batch:
        if isinstance(each, Several):
            commands += each.one_by_one()
        else:
            commands.append(each)
    return commands
