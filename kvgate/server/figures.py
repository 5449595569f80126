"""What one process tells whoever watches the gate: its samples for /metrics, and the state of its backends for /health."""

import json
import os
import resource
from collections import Counter
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from kvgate.lane.upstream import State
from kvgate.metrics.families import COUNTER, GAUGE, HISTOGRAM, LARGEST, OWN, SMALLEST, Family, Samples
from kvgate.metrics.spaces import Spaces
from kvgate.server.dispatch import Dispatcher
from kvgate.server.session import Session

T = TypeVar("T")

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
CLIENTS: Final = 200
"""Clients, or slots of an upstream, that are looked at between two pauses."""

_AT: Final = ("listener",)
ACCEPTED: Final = Family("kvgate_connections_accepted", COUNTER, "Connections of clients that were accepted.", _AT)
REFUSED: Final = Family("kvgate_connections_refused", COUNTER, "Connections refused: too many clients, or nobody's.", _AT)
PRESENT: Final = Family("kvgate_connections", GAUGE, "Clients that are connected.", _AT)
BLOCKED: Final = Family("kvgate_clients_blocked", GAUGE, "Clients that wait for others' doing (BLPOP, WAIT …).")
OUTPUT: Final = Family("kvgate_clients_output_bytes", GAUGE, "Replies that clients have not read yet.")
IN_FLIGHT: Final = Family("kvgate_clients_in_flight", GAUGE, "Commands of all clients that are not answered yet.")

FORWARDED: Final = Family("kvgate_forwarded_commands", COUNTER, "Commands that went to stores as the clients had sent them.")
RETRIES: Final = Family("kvgate_retries", COUNTER, "Commands sent once more, after a connection to a store was lost.")
TURNS: Final = Family(
    "kvgate_lane_turn_seconds", HISTOGRAM, "Time of the lane's turns: who comes in one waits for its end, at most."
)
LONGEST: Final = Family("kvgate_lane_longest_turn_seconds", GAUGE, "The longest turn since the start.", (), LARGEST)
GATE: Final = Family(
    "kvgate_gate_duration_seconds", HISTOGRAM,
    "Of each command the time of the lane's turn in which it was read: at most what the gate alone takes on the way in; the"
    " way out is a turn of its own.",
)  # fmt: skip
FAILURES: Final = Family("kvgate_failures", COUNTER, "Exceptions that ended a connection: each is a bug. The log has them.")
SPANS: Final = Family(
    "kvgate_trace_spans", COUNTER, "Spans of commands: exported, failed (the receiver did not take them), dropped.",
    ("result",),
)  # fmt: skip
AUDITED: Final = Family(
    "kvgate_audit_records", COUNTER, "Records of the audit log: written, dropped (there was no room for them).", ("result",)
)
UNAUDITED: Final = Family("kvgate_audit_failing", GAUGE, "1 while the audit log cannot be written.", (), LARGEST)
SLOW: Final = Family("kvgate_slow_tasks", GAUGE, "Commands that run in tasks of their own beside the lane.")
IN_LINE: Final = Family("kvgate_rate_waiting", GAUGE, "Commands that wait for their turn, since a rate is used up.")
NOT_SHARED: Final = Family(
    "kvgate_shared_rates_failures", COUNTER, "Questions to the place where rates are shared that were not answered."
)

_BACKEND: Final = ("backend",)
UP: Final = Family(
    "kvgate_backend_up", GAUGE, "1 when the backend can be used, by each worker; /health says why not.", ("backend", "type"),
    SMALLEST,
)  # fmt: skip
ROUND_TRIP: Final = Family(
    "kvgate_store_round_trip_seconds", HISTOGRAM,
    "Time from sending commands to a store to their last reply: a sample, of each shared connection one send in eight.",
    _BACKEND,
)  # fmt: skip
UPSTREAMS: Final = Family(
    "kvgate_upstream_connections", GAUGE, "Shared connections to stores by state; those never needed are not counted.",
    ("backend", "state"),
)  # fmt: skip
MADE: Final = Family("kvgate_upstream_connects", COUNTER, "Shared connections to stores that were made.", _BACKEND)
LOST: Final = Family("kvgate_upstream_lost", COUNTER, "Shared connections to stores that ended unasked.", _BACKEND)
WAITING: Final = Family("kvgate_upstream_in_flight", GAUGE, "Commands that wait for a store's reply.", _BACKEND)
QUEUED: Final = Family("kvgate_upstream_queued_bytes", GAUGE, "Bytes for a store that the kernel has not taken yet.", _BACKEND)

LOADED: Final = Family(
    "kvgate_config_load_timestamp_seconds", GAUGE, "When the present configuration was taken into service.", (), LARGEST
)
NAMESPACES: Final = Family("kvgate_namespaces", GAUGE, "Namespaces that something was counted for.", (), LARGEST)
CPU: Final = Family("kvgate_process_cpu_seconds", COUNTER, "Processor time of a process.", ("process",), OWN)
MEMORY: Final = Family("kvgate_process_resident_memory_bytes", GAUGE, "Memory of a process.", ("process",), OWN)
FILES: Final = Family("kvgate_process_open_files", GAUGE, "Open descriptors of a process.", ("process",), OWN)


def of_process(samples: Samples, name: str) -> None:
    """What this process takes of the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    samples.put(CPU, used.ru_utime + used.ru_stime, name)
    samples.put(MEMORY, int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE, name)
    samples.put(FILES, len(os.listdir("/proc/self/fd")), name)


class Figures:
    """Of one process that serves clients."""

    def __init__(self, gate: Dispatcher) -> None:
        """Of the process that `gate` serves in."""
        self._gate = gate
        self._spaces = Spaces(gate.ledger)
        self._turn = trio.Lock()

    async def busiest(self, most: int, named: Collection[str]) -> list[tuple[str, int]]:
        """The `most` namespaces with the most calls, and those of `named`: names and calls."""
        return await _in_steps(self._spaces.busiest(most, frozenset(named)))

    async def all(self, process: str, named: Collection[str]) -> dict[str, Any]:
        """Everything, `named` namespaces by name: ``namespaces`` and ``commands`` (kvgate.metrics.spaces.Gathered), and
        ``samples`` (kvgate.metrics.families.Samples). `process` is this one's label."""
        samples = Samples()
        of_process(samples, process)
        self._of_lane(samples)
        await _in_steps(self._of_clients(samples))
        await _in_steps(self._of_stores(samples))
        for backend in self._gate.backends.values():
            told = backend.statistics()
            samples.put(UP, int(told.up), backend.name, backend.type)
            samples.put_measures(backend.name, told.measures)
            await trio.lowlevel.checkpoint()
        samples.add(self._gate.replaced)
        async with self._turn:
            gathered = await _in_steps(self._spaces.gather(frozenset(named)))
        samples.put(NAMESPACES, gathered.seen)
        return {"namespaces": gathered.namespaces, "commands": gathered.commands, "samples": samples.to_json()}

    async def as_text(self, process: str, named: Collection[str]) -> str:
        """`all`, in JSON, made in pieces that do not hold the lane up."""
        found = await self.all(process, named)
        pieces = []
        for name, part in found.items():
            inside = []
            for item in part.items() if isinstance(part, dict) else ((None, each) for each in part):
                key, value = item
                inside.append((json.dumps(key) + ":" if key is not None else "") + json.dumps(value))
                await trio.lowlevel.checkpoint()
            pieces.append(f'"{name}":' + ("{%s}" if isinstance(part, dict) else "[%s]") % ",".join(inside))
        return "{" + ",".join(pieces) + "}"

    async def health(self) -> list[dict[str, Any]]:
        """Of each backend its name, type, whether it is up and, when not, why."""
        found = []
        for backend in self._gate.backends.values():
            told = backend.statistics()
            found.append({"name": backend.name, "type": backend.type, "up": told.up, "why": told.why_down})
        return found

    def _of_lane(self, samples: Samples) -> None:
        gate, driver, lane = self._gate, self._gate.driver, self._gate.lane
        for family, counts in ((ACCEPTED, driver.accepted), (REFUSED, driver.refused_at), (PRESENT, driver.present)):
            for listener, number in counts.items():
                samples.put(family, number, listener)
        samples.put(FORWARDED, lane.commands)
        samples.put(RETRIES, lane.retries)
        samples.put(TURNS, driver.turn_times.vector())
        samples.put(LONGEST, driver.turn_max)
        samples.put(GATE, driver.command_times.vector())
        samples.put(FAILURES, driver.failures + lane.failures)
        samples.put(SLOW, gate.tasks.running)
        samples.put(LOADED, gate.loaded)
        written, dropped, _ = gate.audit.figures
        samples.put(AUDITED, written, "written")
        samples.put(AUDITED, dropped, "dropped")
        samples.put(UNAUDITED, int(gate.audit.failing))
        if gate.tracer is not None:
            for result in ("exported", "failed", "dropped"):
                samples.put(SPANS, getattr(gate.tracer, result), result)
        samples.put(IN_LINE, gate.throttle.turns.waiting)
        samples.put(NOT_SHARED, gate.throttle.unanswered)

    def _of_clients(self, samples: Samples) -> Generator[None, None, None]:
        blocked = output = in_flight = 0
        for number, client in enumerate(list(self._gate.driver.clients.values()), 1):
            session: Session = client.session
            blocked += session.blocked
            output += client.out_size + client.held
            in_flight += client.inflight
            if not number % CLIENTS:
                yield
        samples.put(BLOCKED, blocked)
        samples.put(OUTPUT, output)
        samples.put(IN_FLIGHT, in_flight)

    def _of_stores(self, samples: Samples) -> Generator[None, None, None]:
        for name, trips in self._gate.places.trips.items():
            samples.put(ROUND_TRIP, trips.times.vector(), name)
            samples.put(MADE, trips.made, name)
            samples.put(LOST, trips.lost, name)
        for name, shards in list(self._gate.places.shards.items()):
            states: Counter[State] = Counter()
            waiting = queued = 0
            for shard in shards:
                for up in shard.lines:
                    states[up.state] += 1
                    queued += up.queued - up.sent
                    waiting += sum(slot.want for slot in up.fifo)
                yield
            for state in (State.UP, State.CONNECTING, State.DOWN):
                samples.put(UPSTREAMS, states[state], name, state.value)
            samples.put(WAITING, waiting, name)
            samples.put(QUEUED, queued, name)


async def _in_steps(work: Generator[None, None, T]) -> T:
    """The result of what pauses; the lane has a turn at each pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await trio.lowlevel.checkpoint()
