"""The harness' own load generator (bench/pace.c, compiled when needed): at fixed times, or in a closed loop."""

import bisect
import hashlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs

from bench.load import CLIENTS, shown_words
from bench.peers import ROOT, Fleet, Peer
from bench.process import BenchError, NotAvailable, cpu_seconds

SOURCE = ROOT / "bench" / "pace.c"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
BUILD = f"gcc {' '.join(FLAGS)} -o pace bench/pace.c"
"""What a reader of the report runs to have the generator."""


def program(folder: Path = ROOT / ".cache" / "bench") -> Path:
    """The generator, compiled into `folder` unless the same source was before.

    Raises:
        NotAvailable: there is no compiler, or the source does not suit this machine (Linux 5.11, glibc 2.35).
    """
    made = folder / f"pace-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if made.exists():
        return made
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("gcc") or "cc"]
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{made.name}.{os.getpid()}"
    try:
        done = subprocess.run(
            [*compiler, *FLAGS, "-o", str(fresh), str(SOURCE)], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        raise NotAvailable(f"the load generator needs a C compiler: {error}") from error
    if done.returncode:
        raise NotAvailable(f"the load generator does not compile: {done.stderr.strip()[-300:]}")
    fresh.replace(made)
    return made


@attrs.frozen(slots=True)
class Histogram:
    """How many values were at most so large: (bound in ns, count), rising; a bound is at most 1.6 % above its values."""

    counts: tuple[tuple[int, int], ...]

    @classmethod
    def merged(cls, several: "Iterable[Histogram]") -> "Histogram":
        """All of them together."""
        total: Counter[int] = Counter()
        for one in several:
            total.update(dict(one.counts))
        return cls(tuple(sorted(total.items())))

    def quantile(self, part: float) -> float:
        """The bound in ns below which `part` (0 to 1) of the values are.

        Raises:
            BenchError: there are no values.
        """
        sums = list(itertools.accumulate(count for _, count in self.counts))
        if not sums:
            raise BenchError("a run without a single answer has no quantile")
        return float(self.counts[min(len(sums) - 1, bisect.bisect_left(sums, part * sums[-1]))][0])


@attrs.frozen(slots=True)
class Pace:
    """What the generator is told to do. `rate` in requests per second, 0 for a closed loop; `seconds` follow `warmup`."""

    command: tuple[str, ...]
    seconds: float
    clients: int = CLIENTS
    pipeline: int = 1
    rate: float = 0.0
    warmup: float = 0.0
    keyspace: int = 100_000

    def arguments(self, port: str, auth: Iterable[str]) -> list[str]:
        """Of the program."""
        numbers = [str(self.clients), str(self.pipeline), f"{self.rate:g}", f"{self.seconds:g}", f"{self.warmup:g}"]
        return [port, *numbers, str(self.keyspace), *auth, "--", *self.command]

    def shown(self) -> str:
        """The command line for the report."""
        *rest, words = (*self.arguments("<port>", ["[user]", "[password]"])[: -len(self.command)], self.command)
        return " ".join(["pace", *(str(word) for word in rest), *shown_words(words)])


@attrs.frozen(slots=True)
class Paced:
    """One run of the generator."""

    rps: float
    """Answered requests per second."""
    cpu_us: float
    """Processor time of the peer's process tree per request, µs; connecting and logging in are not in it."""
    latency: Histogram
    lateness: Histogram
    """How late the generator sent: its own error."""


def once(peer: Peer, pace: Pace) -> tuple[Paced, int]:
    """Run it once; the figures, and how many requests were answered, the warm-up included.

    Raises:
        BenchError: an error reply, or the peer did not keep up.
        NotAvailable: the generator cannot be had.
    """
    pipe = subprocess.PIPE
    line = [str(program()), *pace.arguments(str(peer.port), peer.auth)]
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # "ready", or the end of it, which communicate() then tells
            cpu = cpu_seconds(peer.server.pid)
            out, complaint = process.communicate("go\n", timeout=pace.warmup + pace.seconds + 30)
            cpu = cpu_seconds(peer.server.pid) - cpu
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"pace on {peer.name} does not end") from error
        finally:
            process.kill()
    if process.returncode:
        raise BenchError(f"pace on {peer.name}: {complaint.strip()[-300:]}")
    told = json.loads(out)
    histograms = [Histogram(tuple((bound, count) for bound, count in told[name])) for name in ("latency", "lateness")]
    return Paced(told["counted"] / told["seconds"], cpu / told["sent"] * 1e6, *histograms), told["sent"]


def run(fleet: Fleet, peer: Peer, pace: Pace) -> Paced:
    """As `once`, on a peer in front of the fleet's shards.

    Raises:
        BenchError: also when the shards did not see every request.
    """
    name = pace.command[0].lower()
    calls = fleet.calls(name)
    paced, sent = once(peer, pace)
    calls = fleet.calls(name) - calls
    if calls < sent:
        raise BenchError(f"{peer.name}: only {calls} of {sent} {name.upper()} reached the shards and succeeded")
    return paced
