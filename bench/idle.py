"""``idle``: what thousands of connections that say nothing cost in memory and processor time."""

import time

from bench.figures import Table, number
from bench.peers import Peer, fleet
from bench.process import BenchError, Memory, cpu_seconds, memory, raise_file_limit
from bench.progress import Progress
from bench.report import Section, Settings
from bench.resp import Client

CONNECTIONS = 5_000
WARM = 100  # first connections pay for what is allocated once


def _connect(peer: Peer, count: int) -> list[Client]:
    """Open `count` connections; each logs in and asks once, as a client of a pool has done before it idles."""
    clients = []
    try:
        for _ in range(count):
            client = peer.client()
            clients.append(client)
            client.ask("GET", "Ads.Profile:idle")
    except (OSError, BenchError) as error:
        for client in clients:
            client.close()
        raise BenchError(f"{peer.name}: connection {len(clients)} of {count}: {error}") from error
    return clients


def _close(clients: list[Client]) -> None:
    for client in clients:
        client.close()


def _cpu_over(peer: Peer, seconds: float) -> float:
    """Processor time of the peer in ms per second, while nobody asks anything. A second passes first, for what is late."""
    time.sleep(1.0)
    begin = cpu_seconds(peer.server.pid)
    time.sleep(seconds)
    return (cpu_seconds(peer.server.pid) - begin) / seconds * 1000


def measure(peer: Peer, connections: int, seconds: float) -> tuple[Memory, float, float]:
    """Growth of memory in bytes, processor time (ms/s) without and with the connections."""
    _close(_connect(peer, WARM))
    before, empty = memory(peer.server.pid), _cpu_over(peer, seconds)
    before = memory(peer.server.pid)
    clients = _connect(peer, connections)
    try:
        full = _cpu_over(peer, seconds)
        after = memory(peer.server.pid)
        for client in (clients[0], clients[-1]):  # they were served, not dropped
            client.ask("GET", "Ads.Profile:idle")
    finally:
        _close(clients)
    return Memory(after.pss - before.pss, after.rss - before.rss), empty, full


def section(settings: Settings) -> Section:
    """Run it for the store itself, Twemproxy and the gate; HAProxy would need as many connections to the store again."""
    limit = raise_file_limit()
    if limit < CONNECTIONS + 500:
        raise BenchError(f"{limit} open files are allowed (ulimit -Hn); {CONNECTIONS + 500} are needed")
    seconds = 5.0 if settings.short else 20.0
    rows = []
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = running.start_peers([name for name in settings.peers if name != "haproxy"])
        progress = Progress("idle", len(peers))
        for peer in peers:
            growth, empty, full = measure(peer, CONNECTIONS, seconds)
            kilobytes = [number(figure / CONNECTIONS / 1000) for figure in (growth.pss, growth.rss)]
            rows.append((peer.name, *kilobytes, number(empty), number(full)))
            progress.step(f"{peer.name}: {', '.join(rows[-1][1:])}")
        header = ("peer", "kB per connection (PSS)", "kB per connection (RSS)", "CPU ms/s, none", f"CPU ms/s, {CONNECTIONS}")
        caption = f"{CONNECTIONS} idle connections"
        return Section(
            "idle",
            "Idle connections",
            f"{CONNECTIONS} connections, each of which logged in and sent one GET, then nothing. Memory is the growth of"
            " the process (socket buffers are the kernel's and not in it); processor time is taken over"
            f" {seconds:g} s with no connection and with all of them (one tick is {10 / seconds:g} ms/s)."
            " *direct* is redis-server's own.",
            (Table(caption, header, tuple(rows)),),
            notes=tuple(settings.left_out(running.missing)),
            once=True,
        )
