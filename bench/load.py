"""One load: redis-benchmark against one peer, and what it cost that peer's processes per request."""

import csv
import shlex
import subprocess
from collections.abc import Callable, Sequence

import attrs

from bench.peers import Fleet, Peer
from bench.process import BenchError, cpu_seconds

VALUE_BYTES = 430
CLIENTS = 50
LONGEST_WORD = 100_000
"""Bytes of an argument that a command line has room for (Linux: 128 KB); a longer last one goes through standard input."""


def shown_words(words: Sequence[str]) -> list[str]:
    """The words of a command for the report: long values are named and not spelt out."""
    return [f"<{len(word)} bytes>" if len(word) > 100 else shlex.quote(word) for word in words]


@attrs.frozen(slots=True)
class Sample:
    """One run of redis-benchmark."""

    rps: float
    """Requests per second, as redis-benchmark counts them."""
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the peer's process tree per request, µs."""


@attrs.frozen(slots=True)
class Load:
    """What redis-benchmark is told to do."""

    command: tuple[str, ...]
    """With ``__rand_int__`` where a random number from 0 to `keyspace` - 1 goes (12 digits)."""
    requests: int
    pipeline: int
    keyspace: int = 100_000
    clients: int = CLIENTS

    def options(self) -> list[str]:
        """Of redis-benchmark, the command aside."""
        options = ["-c", str(self.clients), "-P", str(self.pipeline), "-n", str(self.requests)]
        return [*options, "-r", str(self.keyspace), "--csv", *(["-x"] if self.from_stdin() else [])]

    def shown(self) -> str:
        """The command line for the report; the peer's address and login, and the value, are named and not spelt out."""
        words, last = shown_words(self.command), self.from_stdin()
        words = words[:-1] if last else words
        line = ["redis-benchmark -h 127.0.0.1 -p <port> [--user … -a …]", *self.options(), *words]
        return " ".join(line) + (f" < <{len(last)} bytes>" if last else "")

    def from_stdin(self) -> str:
        """The last word, where it is too long for a command line; else nothing."""
        return self.command[-1] if len(self.command[-1]) > LONGEST_WORD else ""


def parse_csv(text: str) -> tuple[float, float, float]:
    """Requests per second, p50 and p99 in ms from redis-benchmark's ``--csv`` output for one test.

    Raises:
        BenchError: there is no row.
    """
    rows = list(csv.DictReader(line for line in text.splitlines() if line.startswith('"')))
    if len(rows) != 1:
        raise BenchError(f"redis-benchmark printed {len(rows)} rows: {text[-300:]}")
    return float(rows[0]["rps"]), float(rows[0]["p50_latency_ms"]), float(rows[0]["p99_latency_ms"])


def once(peer: Peer, load: Load, settle: Callable[[], None] = lambda: None) -> Sample:
    """Run the load once. `settle` waits for what the peer still has to do for it afterwards, whose processor time counts.

    Raises:
        BenchError: redis-benchmark failed, or was told an error.
    """
    cpu = cpu_seconds(peer.server.pid)
    last = load.from_stdin()
    words = load.command[:-1] if last else load.command
    line: Sequence[str] = ["redis-benchmark", *peer.benchmark_options(), *load.options(), *words]
    done = subprocess.run(line, input=last, capture_output=True, text=True, timeout=600, check=False)
    settle()
    cpu = cpu_seconds(peer.server.pid) - cpu
    if done.returncode:
        raise BenchError(f"redis-benchmark on {peer.name}: {done.stderr.strip()[-300:] or done.stdout[-300:]}")
    rps, p50, p99 = parse_csv(done.stdout)
    return Sample(rps, p50, p99, cpu / load.requests * 1e6)


def run(fleet: Fleet, peer: Peer, load: Load) -> Sample:
    """As `once`, on a peer in front of the fleet's shards.

    Raises:
        BenchError: also when the shards did not see every request (an error reply, an answer from elsewhere).
    """
    name = load.command[0].lower()
    calls = fleet.calls(name)
    sample = once(peer, load)
    calls = fleet.calls(name) - calls
    if calls < load.requests:
        raise BenchError(f"{peer.name}: only {calls} of {load.requests} {name.upper()} reached the shards and succeeded")
    return sample


def check(peer: Peer, key: str) -> None:
    """One SET and GET through the peer: it serves what will be measured.

    Raises:
        BenchError: it does not.
    """
    with peer.client() as client:
        client.ask("SET", key, "here")
        if client.ask("GET", key) != b"here":
            raise BenchError(f"{peer.name} does not return what was set at {key}")
        client.ask("DEL", key)
