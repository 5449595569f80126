"""Tasks beside the lane: slow commands, each alone among its client's, and whatever else has to wait."""

import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.metrics.ledger import NO_NAMESPACE, Account
from kvgate.server import blocking, limited
from kvgate.wire.reply import Error, Raw, Reply, encode

if TYPE_CHECKING:
    from kvgate.server.audit import Record
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.gate")


class Tasks:
    """Starts them, and keeps their failures from ending the gate."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Nothing can start before `run`."""
        self._gate = gate
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the tasks until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return 0 if self._nursery is None else len(self._nursery.child_tasks)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run a slow task beside the lane."""
        if self._nursery is None:
            raise RuntimeError("tasks start after `run` only")
        self._nursery.start_soon(_guarded, function, args)

    def alone(
        self,
        client: Client,
        function: Callable[..., Coroutine[Any, Any, Raw | Reply]],
        *args: Any,
        blocked: bool = False,
        silent: bool = False,
        account: Account | None = None,
    ) -> None:
        """Run `function` for the client's present command once everything before is answered; nothing of the client's
        starts before its reply. A client that leaves cancels it. `blocked`: it waits for others' doing. `silent`: its
        result is no reply, it has replied itself. `account` is where it is counted; None: at no namespace."""
        session, gate = client.session, self._gate
        words = gate.present_args if gate.present is client and not (silent or blocked) else []
        quiet, began, record = session.quiet, time.monotonic(), session.record
        if record is not None:
            record.later = True
        if account is None and not silent:
            account = gate.ledger.account(NO_NAMESPACE, session.last_command, readonly=False)

        def start() -> None:
            self.spawn(self._alone, client, function, args, blocked, silent, quiet, account, began, words, record)

        gate.lane.alone(client, start)

    async def _alone(
        self,
        client: Client,
        function: Callable[..., Coroutine[Any, Any, Raw | Reply]],
        args: tuple[Any, ...],
        blocked: bool,  # noqa: FBT001 - start_soon takes no keywords
        silent: bool,  # noqa: FBT001
        quiet: bool,  # noqa: FBT001
        account: Account | None,
        began: float,
        words: list[bytes],
        record: "Record | None",
    ) -> None:
        gate, session, started = self._gate, client.session, time.monotonic()
        reply: Raw | Reply
        with trio.CancelScope() as scope:
            session.running, session.blocked, session.blocked_since = scope, blocked, time.monotonic()
            session.unblocked_by = ""
            if client.closed:
                gate.audit.left(record)
                return
            if blocked and client.eof:  # it left, or half-closed, before its turn came: nothing may be popped for nobody
                session.running, session.blocked = None, False
                gate.audit.left(record)
                gate.lane.hang_up(client)
                gate.lane.done(client)
                gate.driver.kick()
                return
            reply = await _outcome(session, function, args)
        session.running, session.blocked, session.waits_on, session.waits_for = None, False, None, None
        if scope.cancelled_caught:
            if client.closed:
                gate.audit.left(record)
                return
            reply = blocking.unblocked(session)
        raw = b"" if silent else reply if isinstance(reply, Raw) else encode(reply, session.proto)
        if session.user is not None and session.user.max_reply is not None:
            raw = limited.capped(raw, limited.cap(session.user, ()))
        if account is not None and blocked:
            account.note_untimed(1, raw[:1] == b"-", bytes_out=len(raw))
            if raw[:1] == b"-":
                account.note_code(raw, 0)
        elif account is not None:
            seconds = time.monotonic() - began
            account.note_reply(raw, seconds)
            if words and session.last_command != "exec":  # that is noted with what it executed
                gate.slowlog.ran(client, words, seconds, started - began)
        gate.audit.finish(record, raw, silent=silent)
        gate.lane.done(client, b"" if quiet else raw)
        gate.driver.kick()


async def _outcome(
    session: "Session", function: Callable[..., Coroutine[Any, Any, Raw | Reply]], args: tuple[Any, ...]
) -> Raw | Reply:
    """What the function returns, or the reply that its failure makes."""
    try:
        return await function(*args)
    except GateError as error:
        return Raw(error.reply)
    except Exception as error:
        facts = {"command": session.last_command, "error": repr(error), "do": "report this"}
        log.exception("command_failed", extra=facts)
        return Error(b"ERR the gate failed to run this command; its log says more")


async def _guarded(function: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]) -> None:
    try:
        await function(*args)
    except Exception:
        log.exception("task_failed", extra={"task": function.__qualname__, "do": "report this"})
