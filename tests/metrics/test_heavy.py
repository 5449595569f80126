"""The bounds that kvgate.metrics.heavy states, on streams whose true counts are known."""

import random
from collections import Counter
from itertools import accumulate

import pytest

from kvgate.metrics.heavy import COUNTERS, HALF_LIFE, SpaceSaving


def zipf(exponent: float, keys: int, length: int, seed: int) -> list[bytes]:
    """A stream in which the key of rank r comes in proportion to r^-exponent."""
    weights = list(accumulate(rank**-exponent for rank in range(1, keys + 1)))
    return [b"k%d" % at for at in random.Random(seed).choices(range(keys), cum_weights=weights, k=length)]


@pytest.mark.parametrize(("exponent", "keys"), [(0.0, 5000), (0.6, 5000), (1.0, 20_000), (1.3, 20_000)])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_count_is_too_low_and_none_too_high_by_more_than_the_bound(exponent: float, keys: int, seed: int) -> None:
    stream = zipf(exponent, keys, 40_000, seed)
    true, sketch = Counter(stream), SpaceSaving(0.0)
    for key in stream:
        sketch.add(key, 64.0, 1.0, read=True)
    bound = sketch.total / COUNTERS
    assert sketch.total == 64.0 * len(stream)
    assert len(sketch.counters) == COUNTERS
    for key, counter in sketch:
        really = 64.0 * true[key]
        assert really <= counter.count <= really + counter.error
        assert counter.error <= bound
        assert counter.reads <= really
    for key, count in true.items():
        if 64.0 * count > bound:
            assert key in sketch.counters, "a key of more than N / m is there"


def test_the_hottest_keys_of_a_zipf_stream_come_first_and_in_order() -> None:
    sketch = SpaceSaving(0.0)
    for key in zipf(1.2, 10_000, 60_000, 3):
        sketch.add(key, 1.0, 1.0, read=False)
    best = sorted(sketch, key=lambda pair: -pair[1].count)[:5]
    assert [key for key, _ in best] == [b"k%d" % rank for rank in range(5)]


def test_a_stream_that_is_made_to_push_the_hot_key_out_does_not() -> None:
    """Each rare key takes the counter of another; the hot one has more than N / m all the time."""
    sketch = SpaceSaving(0.0)
    for number in range(30_000):
        key = b"hot" if number % 50 == 0 else b"rare%d" % number
        sketch.add(key, 1.0, 1.0, read=False)
    assert sketch.counters[b"hot"].count >= 600
    assert sketch.counters[b"hot"].count <= 600 + sketch.total / COUNTERS


def test_what_is_long_ago_counts_half_after_each_half_life_and_the_rate_stays_true() -> None:
    sketch = SpaceSaving(0.0)
    for second in range(300):
        for _ in range(10):
            sketch.add(b"steady", 1.0, float(second), read=True)
        if second < 60:
            sketch.add(b"early", 1.0, float(second), read=False)
    now = 299.0
    assert sketch.counters[b"early"].count == pytest.approx(60 / 2**4, rel=0.1)
    assert sketch.counters[b"steady"].count / sketch.seconds(now) == pytest.approx(10.0, rel=0.02)
    assert sketch.total <= 11.0 * 2 * HALF_LIFE + 600
    sketch.age(now + HALF_LIFE * 40)
    assert not sketch.counters
    assert sketch.total < 1e-6


def test_bounds_hold_after_halving() -> None:
    sketch, stream = SpaceSaving(0.0), zipf(0.8, 3000, 30_000, 4)
    true: Counter[bytes] = Counter()
    for number, key in enumerate(stream):
        now = number / 100
        if number % 6000 == 0 and number:
            true = Counter({each: count / 2 for each, count in true.items()})
        true[key] += 1
        sketch.add(key, 1.0, now, read=True)
    for key, counter in sketch:
        assert true[key] - 1e-6 <= counter.count <= true[key] + counter.error + 1e-6
        assert counter.error <= sketch.total / COUNTERS + 1e-6
