"""What is prepaid from limits, and comes back to them."""

import pytest

from kvgate.policy.buckets import Bucket
from kvgate.policy.prepaid import UNLIMITED, Limit, Prepaid


def limit(rate: float, capacity: float, key: str = "user:ads:operations") -> Limit:
    return Limit(key, Bucket(rate, capacity, 0.0))


def test_a_batch_is_what_a_hundredth_of_a_second_gives_and_at_least_one() -> None:
    fast, slow = limit(5000, 5000), limit(10, 10)
    prepaid = Prepaid([fast], [])
    prepaid.fill(0.0, 100)
    assert (prepaid.toll.commands, prepaid.toll.bytes) == (50, UNLIMITED)
    assert fast.bucket.level == 4950
    prepaid = Prepaid([slow], [])
    prepaid.fill(0.0, 100)
    assert prepaid.toll.commands == 1


def test_the_smallest_limit_decides_and_all_pay() -> None:
    user, namespace, size = limit(5000, 5000), limit(1000, 1000), limit(1_000_000, 1_000_000)
    prepaid = Prepaid([user, namespace], [size])
    prepaid.fill(0.0, 100)
    assert (prepaid.toll.commands, prepaid.toll.bytes) == (10, 10_000)
    assert (user.bucket.level, namespace.bucket.level, size.bucket.level) == (4990, 990, 990_000)


def test_nothing_is_prepaid_where_one_limit_is_used_up() -> None:
    user, namespace = limit(5000, 5000), limit(1000, 1000)
    namespace.bucket.take(1000)
    prepaid = Prepaid([user, namespace], [])
    prepaid.fill(0.0, 100)
    assert prepaid.toll.commands == 0
    assert user.bucket.level == 5000
    assert not user.prepaid


def test_what_is_left_is_reclaimed_and_what_is_owed_is_paid() -> None:
    operations, size = limit(5000, 5000), limit(1000, 1000)
    prepaid = Prepaid([operations], [size])
    prepaid.fill(0.0, 100)
    assert prepaid.toll.commands == 1, "as many as the bytes are enough for, and one at least"
    prepaid.toll.commands -= 1
    prepaid.toll.bytes -= 700  # the lane took a whole run, of more bytes than there were
    assert operations.prepaid == {prepaid}
    operations.reclaim()
    assert (operations.bucket.level, size.bucket.level) == (4999, 300)
    assert (prepaid.toll.commands, prepaid.toll.bytes) == (0, 0)
    assert not operations.prepaid
    assert not size.prepaid
    operations.reclaim()
    prepaid.settle()
    assert operations.bucket.level == 4999, "once"


def test_everything_that_passes_is_paid_exactly_over_a_minute() -> None:
    """A user with many namespaces, each with a toll of its own, and one who never uses up what was prepaid."""
    shared = limit(1000, 1000)
    tolls = [Prepaid([shared], []) for _ in range(50)]
    passed, now = 0, 0.0
    for tick in range(60_000):
        now = tick * 0.001
        prepaid = tolls[tick % 50]
        for _ in range(3):
            if prepaid.toll.commands <= 0:
                if shared.wait(1, now) > 0:
                    shared.reclaim()
                if shared.wait(1, now) > 0:
                    break
                shared.bucket.take(1)
                prepaid.fill(now, 100)
            else:
                prepaid.toll.commands -= 1
            passed += 1
    shared.reclaim()
    shared.bucket.refresh(now)
    assert passed + shared.bucket.level == pytest.approx(1000 + 1000 * now, abs=1e-3)
    assert 1000 * 60 <= passed <= 1000 + 1000 * 60


def test_a_line_counts_what_it_waits_for() -> None:
    line = limit(10, 5)
    line.bucket.take(5)
    line.queued += line.need(3)
    line.queued += line.need(100)
    assert line.queued == 8, "no more than the capacity has to be there"
    assert line.wait(1, 0.0) == pytest.approx(0.9)
    line.leave_line(100)
    line.leave_line(3)
    assert line.queued == 0
