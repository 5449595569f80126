"""``tikv``: the gate on TiKV beside a plain program that runs each command as a transaction of its own."""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from bench.figures import Table, beside, number, widest
from bench.load import VALUE_BYTES, Load, Sample, once
from bench.peers import ROOT, Fleet, Peer, fleet
from bench.process import BenchError, NotAvailable, cpu_seconds, free_port
from bench.progress import Progress
from bench.report import Section, Settings
from bench.resp import request
from bench.tikv_plain import Work
from tests.tikv.program import TikvServer, Unavailable

CLIENTS = 64
FIELDS = 5
"""Fields of each hash: it is a small one, so the gate keeps them in one record."""
VALUE = "x" * VALUE_BYTES
KEY = "Bank.Ledger:{}:__rand_int__"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "GET": ("GET", KEY.format("s")),
    "SET": ("SET", KEY.format("s"), VALUE),
    "INCR": ("INCR", KEY.format("n")),
    "INCR, one key": ("INCR", "Bank.Ledger:hot"),
    "HGET": ("HGET", KEY.format("h"), "f0"),
    "HSET": ("HSET", KEY.format("h"), "f0", VALUE),
}
"""Columns of the tables, and what redis-benchmark is told."""
GATE, PLAIN = "kvgate", "plain program"


@attrs.frozen(slots=True)
class Size:
    """How much is asked for."""

    requests: int
    """Of one run of 64 clients through the gate …"""
    plain: int
    """… and of the plain program."""
    hot: int
    """Of the plain program on one key, where most transactions fail."""
    alone: int
    """Of one client."""
    keys: int


FULL = Size(20_000, 6_000, 300, 300, 10_000)
SHORT = Size(8_000, 3_000, 100, 100, 5_000)


@attrs.frozen(slots=True)
class Run:
    """One run of one peer: what it took, and what the cluster was asked, per command."""

    rps: float
    cpu_us: float
    pd_calls: float
    store_calls: float
    retries: float = 0.0


@attrs.define(slots=True)
class PlainProgram:
    """`bench.tikv_plain` in a process of its own."""

    process: "subprocess.Popen[str]"

    def do(self, work: Work) -> dict[str, float]:
        """Seconds and retries.

        Raises:
            BenchError: it ended; what it said is on the terminal.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(attrs.asdict(work)) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, float]:
        """The next line. Raises as `do`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"the plain program ended with {self.process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found


@contextlib.contextmanager
def plain_program(server: TikvServer) -> Iterator[PlainProgram]:
    """Start it, connected."""
    command = [sys.executable, "-m", "bench.tikv_plain", server.pd, "plain-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            program = PlainProgram(process)
            program.answer()
            yield program
        finally:
            process.kill()


def gate(running: Fleet, server: TikvServer) -> Peer:
    """A gate with every key on the cluster."""
    path, port = running.folder / "tikv.toml", free_port()
    path.write_text(
        f'[gate]\nlisten = ["127.0.0.1:{port}"]\n'
        f'[backends.ledger]\ntype = "tikv"\npd = ["{server.pd}"]\nprefix = "bench-"\ngc = false\n'
        '[namespaces]\n"Bank.Ledger" = "ledger"\ndefault = "ledger"\n',
        encoding="utf-8",
    )
    return running.ready(Peer(GATE, port, running.start("tikv-gate", [*running.gate_command, str(path)])))


def fill(peer: Peer, keys: int) -> None:
    """Write every string and hash, in portions that are one transaction each."""
    kinds: dict[str, Callable[[str], list[bytes]]] = {
        "s": lambda key: [request("SET", key, VALUE)],
        "h": lambda key: [request("HSET", key, *(word for field in range(FIELDS) for word in (f"f{field}", VALUE)))],
    }
    with peer.client() as client:
        for kind, commands in kinds.items():
            for begin in range(0, keys, 200):
                names = [f"Bank.Ledger:{kind}:{at:012d}" for at in range(begin, min(begin + 200, keys))]
                client.ask_all([command for name in names for command in commands(name)])


def counted(server: TikvServer, requests: int, work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` gives, and calls to the placement driver and to stores per command meanwhile (the peer's own upkeep too)."""
    before = server.calls()
    found = work()
    spent = {name: count - before.get(name, 0) for name, count in server.calls().items()}
    stores = sum(count for name, count in spent.items() if name.startswith(("Kv", "KV")))
    return found, (sum(spent.values()) - stores) / requests, stores / requests


def through_gate(server: TikvServer, peer: Peer, column: str, requests: int, keys: int, clients: int) -> Run:
    """One run of redis-benchmark."""
    load = Load(COMMANDS[column], requests, 1, keys, clients)
    sample: Sample
    sample, pd_calls, store_calls = counted(server, requests, lambda: once(peer, load))
    return Run(sample.rps, sample.cpu_us, pd_calls, store_calls)


def through_plain(server: TikvServer, program: PlainProgram, column: str, requests: int, keys: int, clients: int) -> Run:
    """One run of the plain program."""
    name, _, hot = column.partition(", ")
    work = Work(name, requests, clients, 1 if hot else keys, VALUE_BYTES)
    cpu = cpu_seconds(program.process.pid)
    told, pd_calls, store_calls = counted(server, requests, lambda: program.do(work))
    cpu = cpu_seconds(program.process.pid) - cpu
    return Run(requests / told["seconds"], cpu / requests * 1e6, pd_calls, store_calls, told["retries"] / requests)


def grouped(peer: Peer) -> tuple[int, int, int, int]:
    """Reads, their snapshots, writes, their transactions, since the gate's start."""
    with peer.client() as client:
        text = client.ask("INFO", "gate")
    assert isinstance(text, bytes)
    (line,) = [line for line in text.decode().splitlines() if line.startswith("backend_ledger:")]
    found = dict(field.split("=", 1) for field in line.partition(":")[2].split(","))
    reads, snapshots = int(found["read_commands"]), int(found["read_batches"])
    return reads, snapshots, int(found["write_commands"]), int(found["write_groups"])


def per_transaction(before: tuple[int, ...], after: tuple[int, ...]) -> float:
    """Commands in one snapshot or transaction."""
    reads, snapshots, writes, groups = (now - then for then, now in zip(before, after, strict=True))
    return (reads + writes) / max(1, snapshots + groups)


def section(settings: Settings) -> Section:
    """Run it.

    Raises:
        NotAvailable: there is no TiKV-protocol server on this machine.
    """
    size = SHORT if settings.short else FULL
    try:
        server = TikvServer()
    except Unavailable as error:
        raise NotAvailable(str(error)) from error
    with server, fleet(settings.gate) as running, plain_program(server) as program:
        peer = gate(running, server)
        return measure(settings.rounds, size, server, peer, program)


def measure(rounds: int, size: Size, server: TikvServer, peer: Peer, program: PlainProgram) -> Section:
    """All rounds, the two taking turns, and what one client alone costs."""
    fill(peer, size.keys)
    program.do(Work("FILL", 0, 1, size.keys, VALUE_BYTES))
    runs: dict[tuple[str, str], list[Run]] = {}
    together: dict[str, list[float]] = {}
    progress = Progress("tikv", rounds * len(COMMANDS) * 2)
    for turn in range(rounds):
        for column in COMMANDS:
            hot = column.endswith("one key")
            for name in (GATE, PLAIN)[:: -1 if turn % 2 else 1]:
                if name == GATE:
                    before = grouped(peer)
                    run = through_gate(server, peer, column, size.requests, size.keys, CLIENTS)
                    together.setdefault(column, []).append(per_transaction(before, grouped(peer)))
                else:
                    run = through_plain(server, program, column, size.hot if hot else size.plain, size.keys, CLIENTS)
                runs.setdefault((name, column), []).append(run)
                progress.step(f"round {turn + 1} {column} {name}: {run.rps:.0f}/s, {run.cpu_us:.0f} us")
    alone = {
        (GATE, column): through_gate(server, peer, column, size.alone, size.keys, 1) for column in COMMANDS
    } | {(PLAIN, column): through_plain(server, program, column, size.alone, size.keys, 1) for column in COMMANDS}
    return report(size, runs, alone, together)


def report(
    size: Size,
    runs: Mapping[tuple[str, str], list[Run]],
    alone: Mapping[tuple[str, str], Run],
    together: Mapping[str, list[float]],
) -> Section:
    """Medians, each of the gate's with its ratio to the plain program's."""
    header = ("peer", *COMMANDS)

    def middle(name: str, column: str, value: Callable[[Run], float]) -> float:
        return statistics.median(map(value, runs[name, column]))

    def ratios(caption: str, value: Callable[[Run], float]) -> Table:
        plain = [middle(PLAIN, column, value) for column in COMMANDS]
        ours = [beside(middle(GATE, column, value), each) for column, each in zip(COMMANDS, plain, strict=True)]
        return Table(caption, header, ((PLAIN, *map(number, plain)), (GATE, *ours)))

    calls = [
        (f"{name}, {CLIENTS} clients", *(_calls(*(middle(name, column, each) for each in CALLS)) for column in COMMANDS))
        for name in (PLAIN, GATE)
    ] + [
        (f"{name}, 1 client", *(_calls(*(each(alone[name, column]) for each in CALLS)) for column in COMMANDS))
        for name in (PLAIN, GATE)
    ]
    groups = tuple(number(statistics.median(together[column])) for column in COMMANDS)
    again = middle(PLAIN, "INCR, one key", lambda run: run.retries)
    return Section(
        "tikv",
        "TiKV, beside a transaction for each command",
        f"{VALUE_BYTES}-byte values, {size.keys:,} keys, hashes of {FIELDS} fields, {CLIENTS} clients without pipelines; the"
        " plain program (bench/tikv_plain.py) runs as many commands at a time in one asyncio loop, each as an optimistic"
        " transaction of tikv-client, begun anew after a conflict; fields of its hashes are records of their own, which"
        " nothing counts. The"
        " cluster is the server of tests/tikv on the same cores, all in memory: calls carry over to a real one, rates do not."
        " The gate reads each commit back ([tikv.md](tikv.md)), the plain program believes its client.",
        (
            ratios("Throughput, commands per second (ratio to the plain program: higher is better)", lambda run: run.rps),
            ratios("Processor time of the program per command, µs (ratio: lower is better)", lambda run: run.cpu_us),
            Table("Calls to the placement driver + to stores, per command", header, tuple(calls)),
            Table("Commands in one snapshot or transaction of the gate", header, ((f"{GATE}, {CLIENTS} clients", *groups),)),
        ),
        tuple(Load(words, size.requests, 1, size.keys, CLIENTS).shown() for words in COMMANDS.values()),
        (
            f"On one key the plain program began {number(again)} transactions for each INCR in vain.",
            "Throughput: " + widest([[run.rps for run in rounds] for rounds in runs.values()]),
            "Processor time: " + widest([[run.cpu_us for run in rounds] for rounds in runs.values()]),
        ),
    )


CALLS: tuple[Callable[[Run], float], ...] = (lambda run: run.pd_calls, lambda run: run.store_calls)


def _calls(pd: float, stores: float) -> str:
    return f"{pd:.2f} + {stores:.2f}"
