"""``lrange``: large replies, LRANGE of 600 elements, as a part of what the store gives without a proxy."""

import statistics

from bench.figures import Table, beside, number, widest
from bench.load import Load, Sample, run
from bench.peers import Fleet, fleet
from bench.progress import Progress
from bench.report import Section, Settings

ELEMENTS = 600
KEY = "Ads.Profile:list"
ELEMENT = b"xxx"  # redis-benchmark's own lrange_600 has elements of 3 bytes


def _fill(running: Fleet) -> None:
    """The list on every shard, wherever a peer routes its key."""
    for shard in running.shards:
        with shard.client() as client:
            client.ask("RPUSH", KEY, *[ELEMENT] * ELEMENTS)


def loads(*, short: bool) -> list[Load]:
    """Without a pipeline and with 16."""
    command = ("LRANGE", KEY, "0", str(ELEMENTS - 1))
    return [Load(command, 10_000 if short else 40_000, 1), Load(command, 20_000 if short else 60_000, 16)]


def section(settings: Settings) -> Section:
    """Run it; the ratio is to *direct*."""
    samples: dict[tuple[str, int], list[Sample]] = {}
    with fleet(settings.gate) as running:
        running.start_shards()
        peers = running.start_peers(settings.peers)
        _fill(running)
        progress = Progress("lrange", settings.rounds * len(loads(short=settings.short)) * len(peers))
        for turn in range(settings.rounds):
            for load in loads(short=settings.short):
                for peer in [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]:
                    sample = run(running, peer, load)
                    samples.setdefault((peer.name, load.pipeline), []).append(sample)
                    progress.step(f"round {turn + 1} P={load.pipeline} {peer.name}: {sample.rps:.0f}/s")
        rates = {cell: statistics.median(s.rps / 1000 for s in rounds) for cell, rounds in samples.items()}
        cpu = {cell: statistics.median(s.cpu_us for s in rounds) for cell, rounds in samples.items()}
        rows = []
        for peer in peers:
            row = [peer.name]
            for load in loads(short=settings.short):
                reference = rates.get(("direct", load.pipeline)) if peer.is_proxy else None
                row.append(beside(rates[peer.name, load.pipeline], reference))
                row.append(number(cpu[peer.name, load.pipeline]) if peer.is_proxy else "–")
            rows.append(tuple(row))
        depths = [load.pipeline for load in loads(short=settings.short)]
        columns = [column for depth in depths for column in (f"k/s P={depth}", f"µs P={depth}")]
        caption = (
            f"LRANGE of {ELEMENTS}: thousand requests per second (ratio to direct),"
            " processor time of the proxy per request, µs"
        )
        return Section(
            "lrange",
            "Large replies",
            f"One list of {ELEMENTS} elements of {len(ELEMENT)} bytes (a reply of {_reply_bytes()} bytes), asked for by"
            " 50 clients. The list is on both shards: HAProxy's clients ask both, everybody else's the one of the key.",
            (Table(caption, ("peer", *columns), tuple(rows)),),
            tuple(load.shown() for load in loads(short=settings.short)),
            (
                "Throughput: " + widest([[s.rps for s in rounds] for rounds in samples.values()]),
                *settings.left_out(running.missing),
            ),
        )


def _reply_bytes() -> int:
    return len(f"*{ELEMENTS}\r\n") + ELEMENTS * (len(f"${len(ELEMENT)}\r\n") + len(ELEMENT) + 2)
