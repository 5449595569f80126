"""Hot keys without sockets: which keys are counted, for how much, and how much is looked at."""

from pathlib import Path
from typing import Any

import pytest

from kvgate.commands.table import lookup
from kvgate.config import parse
from kvgate.lane.machine import NEVER, Lane
from kvgate.metrics.ledger import Ledger
from kvgate.server.hotkeys import FEWEST, LONGEST_KEY, MOST_NAMESPACES, MOST_SAMPLES, HotKeys
from kvgate.server.samples import Samples

CONFIG = b'[backends.a]\ntype = "redis"\nurl = "redis://127.0.0.1:1"\n[namespaces]\n"Ads.*" = "a"\n"Bank.L" = "a"\n'
NAMESPACES = parse(CONFIG, Path("/nowhere")).namespaces
NOBODY: Any = None


def made(every: int = 1) -> tuple[HotKeys, Samples, Lane]:
    lane = Lane(NOBODY)
    samples = Samples(lane, Ledger())
    hot = HotKeys(samples)
    hot.fit(every, NAMESPACES)
    return hot, samples, lane


def take(hot: HotKeys, *words: bytes) -> None:
    spec = lookup(words)
    assert spec is not None
    hot.take(NOBODY, spec, list(words))


def counts(hot: HotKeys) -> dict[str, dict[bytes, tuple[float, float]]]:
    return {name: {key: (one.count, one.reads) for key, one in sketch} for name, sketch in hot.sketches()}


def test_every_key_of_a_command_counts_in_its_namespace_for_all_that_the_sample_stands_for() -> None:
    hot, _, _ = made(every=10)
    take(hot, b"GET", b"Ads.P:1")
    take(hot, b"SET", b"Ads.P:1", b"v")
    take(hot, b"MGET", b"Ads.P:1", b"Ads.Q:2", b"Bank.L:3")
    take(hot, b"PING")
    take(hot, b"GET", b"nobody's")
    take(hot, b"EVAL", b"return 1", b"1", b"Bank.L:3", b"Ads.P:1")
    take(hot, b"EVAL", b"return 1", b"nonsense", b"Bank.L:3")
    assert counts(hot) == {
        "Ads.P": {b"Ads.P:1": (30.0, 20.0)},
        "Ads.Q": {b"Ads.Q:2": (10.0, 10.0)},
        "Bank.L": {b"Bank.L:3": (20.0, 10.0)},
    }


def test_of_many_keys_some_stand_for_all() -> None:
    hot, _, _ = made(every=2)
    take(hot, b"DEL", *(b"Ads.P:%d" % number for number in range(1000)))
    ((_, sketch),) = hot.sketches()
    assert sketch.total == pytest.approx(2 * 1000)
    assert len(sketch.counters) == 8


def test_namespaces_and_names_are_bounded() -> None:
    hot, _, _ = made()
    take(hot, b"GET", b"Bank.L:kept")
    for number in range(2 * MOST_NAMESPACES):
        take(hot, b"GET", b"Ads.T%d:%b" % (number, b"k" * 5000))
        if number % 100 == 0:
            take(hot, b"GET", b"Bank.L:kept")
    found = counts(hot)
    assert len(found) == MOST_NAMESPACES
    assert "Bank.L" in found, "it was used all the time"
    assert "Ads.T0" not in found
    longest = {len(key) for keys in found.values() for key in keys}
    assert max(longest) == LONGEST_KEY
    take(hot, b"GET", b"Ads.Z:" + b"k" * 5000 + b"1")
    take(hot, b"GET", b"Ads.Z:" + b"k" * 5000 + b"2")
    assert len(counts(hot)["Ads.Z"]) == 2, "told apart by their ends"


def test_where_much_passes_less_is_looked_at_and_more_again_later() -> None:
    hot, samples, lane = made(every=4)
    assert samples.active
    for _ in range(3 * MOST_SAMPLES + 3):
        take(hot, b"GET", b"Ads.P:1")
    assert hot.every == 32, "twice as few after each five hundred that came within a moment"
    weight = counts(hot)["Ads.P"][b"Ads.P:1"][0]
    assert weight > 3 * MOST_SAMPLES * 4, "each stands for more"
    for _ in range(10):
        hot._second -= 100.0
        take(hot, b"GET", b"Ads.P:1")
    assert hot.every == 4
    for _ in range(20 * MOST_SAMPLES):
        take(hot, b"GET", b"Ads.P:1")
    assert hot.every == FEWEST
    hot.fit(0, NAMESPACES)
    assert not samples.active
    assert lane.unsampled == NEVER
    assert counts(hot) == {}
