"""Commands that an adapter executes (kvgate.backend.Backend.execute): at once, or in portions, one after the other.

All that came in one portion of a client's bytes goes to its backend together. A portion starts when those before it are
answered, unless the backend keeps their order itself (kvgate.backend.Queueing).
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import trio

from kvgate.backend import Backend, CallContext, Command
from kvgate.commands.home import Home, carries_keys
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.lane.slots import Pending
from kvgate.metrics.ledger import Account
from kvgate.policy.users import User
from kvgate.server import limited
from kvgate.server.locate import largest_of
from kvgate.server.places import Place
from kvgate.server.runs import FIRST, Several, expanded, only_runs, taker
from kvgate.server.session import Answer, Emulated, Owner, Session
from kvgate.wire.reply import Raw, Reply, encode

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

log = logging.getLogger("kvgate.gate")

_AT_ONCE: Final = {proto: CallContext(proto=proto, user="", deadline=math.inf) for proto in (2, 3)}
"""For commands that are answered before anything else happens."""


class Execution:
    """Hands clients' commands to the adapters that execute them, and their replies back."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Nothing is handed on yet."""
        self.gate = gate

    @cached_property
    def _clock(self) -> Callable[[], float]:
        """Tells trio's time, which `trio.current_time` has to look for."""
        return trio.lowlevel.current_clock().current_time

    def learn(self, client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, place: Place) -> None:
        """Let the lane hand such requests to the backend without asking anything again."""
        gate, backend, lane, samples = self.gate, place.backend, self.gate.lane, self.gate.samples
        namespace = place.namespace
        alone = limited.is_limited(user, namespace)
        limits = namespace.limits
        found, cap = [(1, place)], limited.cap(user, [(1, place)])

        def local(
            client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float, account: Account
        ) -> None:
            session: Session = client.session
            session.commands += 1
            gate.commands += 1
            session.quiet = False
            session.last_command = spec.lower
            if samples.active:
                account = samples.count(client, spec, args, account)
            if limits is None:
                command = Command(args, spec, FIRST, frame)
            else:
                try:
                    limited.check_again(namespace, spec, args)
                except GateError as error:
                    limited.turn_down(gate, client, args, account, error)
                    return
                command = limited.command(spec, args, FIRST, frame, found)
            reply = self._now(client, session, backend, command) if spec.readonly else None
            if reply is None:
                self._later(client, backend, command, now, account, cap)
            else:
                raw = reply if isinstance(reply, Raw) else encode(reply, session.proto)
                if cap is not None:
                    raw = Raw(limited.capped(raw, cap))
                seconds = time.monotonic() - now
                account.note_reply(raw, seconds, len(frame))
                if seconds > lane.slow_after:
                    self.slow(client, backend, args, account, seconds, 0.0)
                lane.reply(client, raw)

        head = frame[: frame.find(b"\r\n$", 5)]
        most = largest_of(gate.places, place.namespace)
        proto = client.session.proto
        more = len(args) - 2
        owner: Owner | None = client.session.owner
        run = None if alone else taker(self, place, spec, args, local)
        gate.places.learn(
            user, proto, place, args[1], head, more, spec=spec, most=most, local=local, run=run, alone=alone, owner=owner
        )

    def run(
        self,
        client: Client,
        backend: Backend,
        command: Command,
        now: float,
        account: Account,
        cap: limited.Cap | None = None,
    ) -> None:
        """Have an adapter execute the command: at once where it can, else together with all that came with it."""
        session: Session = client.session
        reply = self._now(client, session, backend, command)
        if reply is None:
            self._later(client, backend, command, now, account, cap)
        else:
            raw = Raw(limited.capped(reply if isinstance(reply, Raw) else encode(reply, session.proto), cap))
            if session.home is not None:
                raw = Raw(session.home.reply(command.spec, raw))
            seconds = time.monotonic() - now
            account.note_reply(raw, seconds, len(command.frame))
            if seconds > self.gate.lane.slow_after:
                self.slow(client, backend, command.args, account, seconds, 0.0)
            self.gate.reply(client, Raw(raw))

    def slow(
        self,
        client: Client,
        backend: Backend,
        args: list[bytes],
        account: Account,
        seconds: float,
        queued: float,
        more: int = 0,
    ) -> None:
        """Note a command that took longer than the lane's `slow_after`, and `more` that were answered with it."""
        self.gate.note_spike(f"store:{backend.name}", seconds)
        self.gate.slowlog.executed(client, args, account, seconds, backend.name, queued, more)

    def answered(self, client: Client, batch: Sequence[Emulated], replies: Sequence[Raw], begun: float) -> None:
        """Answer commands that ran together, from `begun` on."""
        now, first = time.monotonic(), batch[0]
        for each, reply in zip(batch, replies, strict=True):
            each.fill(reply, now)
        if now - first.began > self.gate.lane.slow_after:
            args, more = first.command.args, len(batch) - 1
            self.slow(client, first.backend, args, first.account, now - first.began, begun - first.began, more)

    def _now(self, client: Client, session: Session, backend: Backend, command: Command) -> Raw | Reply | None:
        """The reply, where it can be had at once and nothing of the client is before it; else None."""
        if client.batch or session.batches or session.batching or session.enqueued:
            return None
        in_place = self.gate.places.in_place.get(backend.name)
        return None if in_place is None else in_place.execute_now(command, _AT_ONCE[session.proto])

    def _later(
        self,
        client: Client,
        backend: Backend,
        command: Command,
        now: float,
        account: Account,
        cap: limited.Cap | None,
    ) -> None:
        """Run the command together with all that came with it."""
        slot = self.gate.lane.pending(client, now, len(command.frame), quiet=client.session.quiet)
        taker: Pending | Answer = slot
        home: Home | None = client.session.home
        if home is not None and carries_keys(command.spec):
            taker = Answer(lambda raw: slot.fill(home.reply(command.spec, raw)))
        client.batch.append(Emulated(backend, command, taker, account, now, cap))

    def run_batch(self, client: Client) -> None:
        """Run what the present portion of the client's bytes has collected, behind what runs already."""
        session: Session = client.session
        gathered: list[Emulated | Several] = client.batch
        client.batch = []
        if not session.batches and not session.batching:
            if only_runs(gathered):
                deadline = self.deadline()
                for run in gathered:
                    run.enqueue(deadline)
                return
            batch = expanded(gathered)
            if self._enqueue(client, batch):
                return
        else:
            batch = expanded(gathered)
        session.batches.extend(batch)
        self.go_on(client)

    def go_on(self, client: Client) -> None:
        """Run what waits behind the portions that are answered now, in a task, once all are."""
        session: Session = client.session
        if session.batches and not session.batching and not session.enqueued:
            session.batching = True
            self.gate.tasks.spawn(self._run_batches, client)

    def _enqueue(self, client: Client, batch: list[Emulated]) -> bool:
        """Hand a portion to a backend that needs no task for it; whether it took it."""
        gate, session, backend = self.gate, client.session, batch[0].backend
        queueing = gate.places.queueing.get(backend.name)
        if queueing is None or (session.enqueued and not queueing.in_order):
            return False
        if len(batch) > 1 and any(each.backend is not backend for each in batch):
            return False
        portion = _Portion(self, client, batch)
        commands = [each.command for each in batch]
        if not queueing.enqueue(commands, self.context(session), portion.done, gate.driver.kick):
            return False
        session.enqueued += 1
        return True

    async def _run_batches(self, client: Client) -> None:
        gate, session = self.gate, client.session
        try:
            while session.batches:
                backend = session.batches[0].backend
                batch: list[Emulated] = []
                while session.batches and session.batches[0].backend is backend:
                    batch.append(session.batches.popleft())
                session.in_batch = backend
                begun = time.monotonic()
                replies = await self.execute(backend, [each.command for each in batch], session)
                session.in_batch = None
                self.answered(client, batch, replies, begun)
                gate.lane.settle(client)
                gate.driver.kick()
        finally:
            session.batching = False

    async def execute(self, backend: Backend, commands: Sequence[Command], session: Session) -> list[Raw]:
        """Raw replies, one for each command, whatever happens."""
        proto = session.proto
        try:
            replies = await backend.execute(commands, self.context(session))
        except GateError as error:
            return [Raw(error.reply)] * len(commands)
        except Exception as error:  # an adapter's mistake must not end the gate
            log.exception("adapter_failed", extra={"backend": backend.name, "error": repr(error), "do": "report this"})
            sorry = GateError(f"ERR the gate failed inside backend '{backend.name}'; its log says more")
            return [Raw(sorry.reply)] * len(commands)
        return [reply if isinstance(reply, Raw) else encode(reply, proto) for reply in replies]

    def deadline(self) -> float:
        """Until when what an adapter gets now has to be answered, on trio's clock."""
        return self._clock() + self.gate.configuration.gate.command_timeout

    def context(self, session: Session) -> CallContext:
        """For whom, and until when."""
        return CallContext(
            proto=session.proto,
            user="" if session.user is None else session.user.name,
            deadline=self.deadline(),
        )


class _Portion:
    """Commands that a `Queueing` backend has taken together."""

    __slots__ = ("_batch", "_begun", "_client", "_execution", "_proto")

    def __init__(self, execution: Execution, client: Client, batch: list[Emulated]) -> None:
        self._execution = execution
        self._client = client
        self._batch = batch
        self._proto = client.session.proto
        self._begun = time.monotonic()

    def done(self, replies: Sequence[Raw | Reply]) -> None:
        client, proto = self._client, self._proto
        client.session.enqueued -= 1
        raws = [reply if isinstance(reply, Raw) else encode(reply, proto) for reply in replies]
        self._execution.answered(client, self._batch, raws, self._begun)
        self._execution.gate.lane.settle(client)
        self._execution.go_on(client)
