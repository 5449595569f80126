"""Histograms of times: the buckets that are shown have all that was counted."""

import pytest

from kvgate.metrics.ledger import BUCKETS
from kvgate.metrics.times import BOUNDS, Times, fold


def test_every_count_is_in_one_bucket() -> None:
    counts = [3**power % 1009 + 1 for power in range(BUCKETS)]
    shown = fold(counts)
    assert len(shown) == len(BOUNDS) + 1
    assert sum(shown) == sum(counts)


@pytest.mark.parametrize("micros", [0, 1, 31, 32, 63, 64, 1000, 1023, 1024, 2**21 - 1, 2**21, 2**24, 2**31])
def test_a_time_is_below_its_bound_and_not_below_the_one_before(micros: int) -> None:
    times = Times()
    times.note(micros / 1_000_000 + 1e-9, 2)
    count, seconds, *buckets = times.vector()
    assert (count, sum(buckets)) == (2, 2)
    assert seconds == pytest.approx(2 * micros / 1_000_000, abs=1e-8)
    at = buckets.index(2)
    bounds = [0.0, *BOUNDS, float("inf")]
    assert bounds[at] <= micros / 1_000_000 + 1e-9 < bounds[at + 1]
