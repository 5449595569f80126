"""Traces for OpenTelemetry: a span for one command of many, sent by OTLP over HTTP from a thread of its own.

The packages (``pip install kvgate[otel]``) are imported in that thread, and only where ``[gate] traces`` says where to send
to. The lane makes a small record of a command that was chosen; all else happens beside it. What does not fit is dropped,
and counted. No key and no value is told.
"""

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from kvgate import __version__
from kvgate.commands.spec import CommandSpec
from kvgate.lane.client import Client
from kvgate.metrics.ledger import Account

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

log = logging.getLogger("kvgate.traces")

MOST_WAITING: Final = 8192
"""Spans that wait to be sent; more are dropped."""
MOST_A_SECOND: Final = 500
"""Spans; each costs some 60 µs. Where more commands pass than that is a share of, a smaller share has one."""
THINNER: Final = 16
"""When a second has had its spans, one of so many times as many commands is looked at, to see whether it is over."""
BATCH: Final = 512
PAUSE: Final = 1.0
"""Seconds between two messages, unless there is a batch to send."""
TIMEOUT: Final = 5.0
"""Seconds that the receiver has to take one."""
LAST: Final = 2.0
"""Seconds that the end of the gate waits for the last one."""


@attrs.define(slots=True, eq=False)
class Span:
    """One command at one store (or at the gate itself), answered."""

    trace: int
    command: str
    namespace: str
    backend: str
    """Empty where no store was asked."""
    ended: int
    """In ns since the epoch."""
    seconds: float
    """From the command's arrival to its reply's."""
    store_seconds: float
    """Of them, since it was sent on, or began to be executed."""
    result: str
    """``ok``, ``nil`` or ``error``."""
    code: str = ""
    """The error's first word."""


class Followed(Account):
    """Stands for an account while one command is on its way: tells it everything, and makes a span of that."""

    __slots__ = ("_code", "_done", "_inner", "_sent", "_span")

    def __init__(self, inner: Account, done: Callable[[Account, float, float, str], Span]) -> None:
        """`done` is told the account, the seconds in all and at the store, and the result."""
        super().__init__(inner.namespace, inner.command, readonly=inner.readonly)
        self._inner = inner
        self._done = done
        self._sent = time.monotonic()
        self._code = ""
        self._span: Span | None = None

    def note(
        self, calls: int, seconds: float, errors: int = 0, misses: int = 0, bytes_in: int = 0, bytes_out: int = 0
    ) -> None:
        """See `Account`."""
        self._inner.note(calls, seconds, errors, misses, bytes_in, bytes_out)
        self._end(seconds, errors, misses)

    def note_untimed(self, calls: int, errors: int, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """See `Account`."""
        self._inner.note_untimed(calls, errors, bytes_in, bytes_out)
        self._end(time.monotonic() - self._sent, errors, 0)

    def note_code(self, data: bytes, pos: int, count: int = 1) -> None:
        """See `Account`; it may come before and after the end."""
        self._inner.note_code(data, pos, count)
        self._code = data[pos + 1 : pos + 33].split(b" ")[0].split(b"\r")[0].decode("ascii", "replace")
        if self._span is not None:
            self._span.code = self._code

    def _end(self, seconds: float, errors: int, misses: int) -> None:
        if self._span is None:
            result = "error" if errors else "nil" if misses else "ok"
            self._span = self._done(self._inner, seconds, min(seconds, time.monotonic() - self._sent), result)
            self._span.code = self._code


class Tracer:
    """Chooses commands, and gathers their spans; a kvgate.server.samples.Follower."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Of this gate's commands."""
        self._gate = gate
        self.waiting: deque[Span] = deque()
        self.enough = threading.Event()
        """Set when there is a batch to send."""
        self.exported = 0
        self.failed = 0
        """Spans that the receiver did not take."""
        self.dropped = 0
        """Spans that found no room."""
        self._second = 0
        self._left = MOST_A_SECOND

    @property
    def every(self) -> int:
        """See `Follower`."""
        usual = round(1 / self._gate.configuration.gate.trace_sample)
        return usual if self._left > 0 else usual * THINNER

    def follow(self, client: Client, spec: CommandSpec) -> Callable[[Account], Account] | None:
        """See `Follower`. What several stores do for one command is told as one trace."""
        del client, spec
        now = int(time.monotonic())
        if now != self._second:
            self._second, self._left = now, MOST_A_SECOND
        if self._left <= 0:
            return None
        self._left -= 1
        trace = random.getrandbits(128) or 1
        return lambda account: Followed(account, partial(self._done, trace))

    def _done(self, trace: int, account: Account, seconds: float, store_seconds: float, result: str) -> Span:
        namespace = self._gate.places.namespaces.of_name(account.namespace) if account.namespace else None
        backend = "" if namespace is None else namespace.backend
        found = Span(trace, account.command, account.namespace, backend, time.time_ns(), seconds, store_seconds, result)
        if len(self.waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self.waiting.append(found)
            if len(self.waiting) >= BATCH:
                self.enough.set()
        return found


class Sender:
    """The thread that sends."""

    def __init__(self, tracer: Tracer, url: str, instance: str) -> None:
        """Send what `tracer` gathers to `url` (``…/v1/traces``). `instance` tells this gate from others."""
        self._tracer = tracer
        self._url = url
        self._instance = instance
        self._over = False
        self._complaint = ""
        self._exporter: Any = None
        self.thread = threading.Thread(target=self._run, name="kvgate-traces", daemon=True)

    def end(self, seconds: float) -> None:
        """Send what is there, and end; blocks, at most so long."""
        self._over = True
        self._tracer.enough.set()
        self.thread.join(seconds)
        if self.thread.is_alive() and self._exporter is not None:
            self._exporter.shutdown()

    def _run(self) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what fails is counted, and told once
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an optional package
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
        except ImportError as error:
            log.error("traces_off", extra={"why": str(error), "do": "pip install kvgate[otel]"})
            self._tracer.waiting.clear()
            return
        self._exporter = OTLPSpanExporter(endpoint=self._url, timeout=TIMEOUT)
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", "kvgate"),
                "service.version": __version__,
                "service.instance.id": self._instance,
                "process.pid": os.getpid(),
            }
        )
        while not self._over or self._tracer.waiting:
            self._tracer.enough.wait(PAUSE)
            self._tracer.enough.clear()
            while self._tracer.waiting:
                self._send([self._tracer.waiting.popleft() for _ in range(min(BATCH, len(self._tracer.waiting)))], resource)
        self._exporter.shutdown()

    def _send(self, spans: Sequence[Span], resource: Any) -> None:
        why = "the receiver did not take them"
        try:
            if self._exporter.export([_readable(each, resource) for each in spans]).value == 0:
                self._tracer.exported += len(spans)
                self._complaint = ""
                return
        except Exception as error:  # noqa: BLE001 - a thread that must go on; it is counted and logged
            why = repr(error)
        self._tracer.failed += len(spans)
        if why != self._complaint:
            log.warning("traces_not_sent", extra={"url": self._url, "why": why, "do": "see that the receiver answers"})
        self._complaint = why


def _readable(span: Span, resource: Any) -> Any:
    """The span as the exporter takes it. Attributes' names are OpenTelemetry's for databases, and ``kvgate.…``."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - an optional package
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415 - likewise

    attributes: dict[str, str | float] = {
        "db.system.name": "redis",
        "db.operation.name": span.command.upper().replace("|", " "),
        "kvgate.result": span.result,
        "kvgate.store_seconds": span.store_seconds,
    }
    if span.namespace:
        attributes["db.namespace"] = span.namespace
    if span.backend:
        attributes["kvgate.backend"] = span.backend
    if span.code:
        attributes["db.response.status_code"] = span.code
    identity = random.getrandbits(64) or 1
    return ReadableSpan(
        name=span.command.upper().replace("|", " "),
        context=SpanContext(span.trace, identity, is_remote=False, trace_flags=TraceFlags(1)),
        resource=resource,
        attributes=attributes,
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR if span.result == "error" else StatusCode.UNSET),
        start_time=span.ended - int(span.seconds * 1e9),
        end_time=span.ended,
    )


async def run(gate: "Dispatcher", url: str) -> None:
    """Follow commands and send their spans until cancelled; then what is left is sent, if that is soon done."""
    tracer = gate.tracer = Tracer(gate)
    sender = Sender(tracer, url, gate.run_id)
    sender.thread.start()
    gate.samples.follow(tracer)
    try:
        await trio.sleep_forever()
    finally:
        gate.samples.follow(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(sender.end, LAST)
