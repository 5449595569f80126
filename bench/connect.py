"""``connect``: how many times per second a client can connect, log in, ask once and leave, and what that costs."""

import contextlib
import statistics
import subprocess
import sys
import time

import attrs

from bench.figures import Table, beside, widest
from bench.peers import REFERENCE, ROOT, STORE_PASSWORD, Peer, fleet
from bench.process import BenchError, cpu_seconds
from bench.progress import Progress
from bench.report import Section, Settings

CLIENTS = 4  # processes, each with one connection at a time
KEY = "Ads.Profile:connect"


@attrs.frozen(slots=True)
class Churn:
    """One run."""

    per_second: float
    cpu_us: float
    """Processor time of the peer's process tree per connection, µs."""


def run(peer: Peer, count: int) -> Churn:
    """`count` connections by `CLIENTS` processes that start together.

    Raises:
        BenchError: a client failed, with what it said.
    """
    each = count // CLIENTS
    command = [sys.executable, "-m", "bench.churn", str(peer.port), str(each), KEY, *peer.auth]
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(CLIENTS):
            pipe = subprocess.PIPE
            client = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            stack.enter_context(client)
            stack.callback(client.kill)
            clients.append(client)
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        begin, cpu = time.perf_counter(), cpu_seconds(peer.server.pid)
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        for client in clients:
            assert client.stdout is not None
            assert client.stderr is not None
            if client.stdout.readline() != "done\n":
                raise BenchError(f"connect on {peer.name}: {client.stderr.read().strip()[-300:]}")
        seconds = time.perf_counter() - begin
        cpu = cpu_seconds(peer.server.pid) - cpu
    done = each * CLIENTS
    return Churn(done / seconds, cpu / done * 1e6)


def section(settings: Settings) -> Section:
    """Run it; every peer wants a password, so that each does the same work for a client."""
    count = 4_000 if settings.short else 12_000
    rounds: dict[str, list[Churn]] = {}
    with fleet(settings.gate) as running:
        running.start_shards(password=STORE_PASSWORD)
        running.fill([KEY], b"x" * 430)
        peers = running.start_peers(settings.peers)
        progress = Progress("connect", settings.rounds * len(peers))
        for turn in range(settings.rounds):
            for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                churned = run(peer, count)
                rounds.setdefault(peer.name, []).append(churned)
                progress.step(f"round {turn + 1} {peer.name}: {churned.per_second:.0f}/s, {churned.cpu_us:.1f} us")
        rates = {name: statistics.median(churned.per_second for churned in turns) for name, turns in rounds.items()}
        costs = {name: statistics.median(churned.cpu_us for churned in turns) for name, turns in rounds.items()}
        rows = []
        for peer in peers:
            other = peer.name != REFERENCE
            row = (peer.name, beside(rates[peer.name], rates.get(REFERENCE) if other else None))
            cost = beside(costs[peer.name], costs.get(REFERENCE) if other and peer.is_proxy else None)
            rows.append((*row, cost))
        caption = "Connect, AUTH, GET, close (ratio to Twemproxy)"
        header = ("peer", "connections per second", "CPU µs per connection")
        return Section(
            "connect",
            "Short connections",
            f"{count} connections a round by {CLIENTS} client processes, each with one connection at a time, waiting for"
            " each reply; the shards have a password, Twemproxy has `redis_auth`, HAProxy passes AUTH on. The client is"
            " the same small Python loop for all (bench/churn.py), and shares the cores with the proxy.",
            (Table(caption, header, tuple(rows)),),
            (f"python -m bench.churn <port> {count // CLIENTS} {KEY} [user] password   # {CLIENTS} at once",),
            (
                "Rate: " + widest([[churned.per_second for churned in turns] for turns in rounds.values()]),
                *settings.left_out(running.missing),
            ),
        )
