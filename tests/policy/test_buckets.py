"""Token buckets over a whole minute of made-up time: what they let through, alone and shared by several processes."""

import random

import pytest

from kvgate.policy.buckets import Bucket, Pool, Share, Standing

MINUTE = 60.0


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(100, 50, 0.0)
    taken, now = 0, 0.0
    while now <= MINUTE:
        while bucket.wait(1, now) == 0:
            bucket.take(1)
            taken += 1
        now += 0.003
    assert 50 + 100 * MINUTE - 1 <= taken <= 50 + 100 * MINUTE


def test_the_wait_is_exact_and_counts_those_ahead() -> None:
    bucket = Bucket(10, 5, 0.0)
    bucket.take(5)
    assert bucket.wait(1, 0.0) == pytest.approx(0.1)
    assert bucket.wait(1, 0.0, ahead=3) == pytest.approx(0.4)
    assert bucket.wait(1, 0.05) == pytest.approx(0.05)
    assert bucket.wait(1, 0.1) == 0
    assert bucket.wait(1, 0.04) == 0, "a clock that goes back takes nothing away"


def test_what_costs_more_than_the_capacity_passes_when_full_and_is_paid_off() -> None:
    bucket = Bucket(10, 5, 0.0)
    assert bucket.wait(25, 0.0) == 0
    bucket.take(25)
    assert bucket.wait(1, 0.0) == pytest.approx(2.1)
    assert bucket.wait(25, 0.0) == pytest.approx(2.5)


def test_what_is_given_back_does_not_overflow_and_debts_are_taken() -> None:
    bucket = Bucket(10, 5, 0.0)
    bucket.take(2)
    bucket.put(10)
    assert bucket.level == 5
    bucket.put(-7)
    assert bucket.level == -2


def test_another_rate_keeps_what_is_there() -> None:
    bucket = Bucket(10, 10, 0.0)
    bucket.take(8)
    bucket.change(100, 50, 0.1)
    assert bucket.level == pytest.approx(3)
    bucket.change(100, 2, 0.1)
    assert bucket.level == 2


def test_a_pool_gives_what_there_is_and_takes_what_is_owed_first() -> None:
    pool = Pool()
    assert pool.take([("a", 10, 5, 3, 0), ("b", 10, 5, 9, 0)], 0.0) == [3, 5]
    assert pool.take([("a", 10, 5, 3, 1), ("b", 10, 5, 1, 100)], 0.0) == [1, 0]
    assert pool.take([("b", 10, 5, 1, 0)], 0.5) == [0], "at most one capacity is owed"
    assert pool.take([("b", 10, 5, 1, 0)], 0.6) == [pytest.approx(1)]
    assert len(pool) == 2
    pool.forget_full(5.0)
    assert len(pool) == 0
    assert pool.take([("a", 10, 5, 9, 0)], 5.0) == [5]


def test_a_pool_follows_another_rate() -> None:
    pool = Pool()
    assert pool.take([("a", 10, 5, 5, 0)], 0.0) == [5]
    assert pool.take([("a", 100, 50, 100, 0)], 0.1) == [pytest.approx(1)], "by the old rate until now"
    assert pool.take([("a", 100, 50, 100, 0)], 0.2) == [pytest.approx(10)]


class Member:
    """One process with more commands than it may run, or fewer: every 5 to 25 ms it fetches what it wants."""

    def __init__(self, pool: Pool, rate: float, demand: float, seed: int) -> None:
        self.pool = pool
        self.standing = Standing(2)
        self.share = Share(rate, rate * 1.0, rate * 0.05, self.standing, 0.0)
        self.demand = demand
        self.random = random.Random(seed)
        self.next = 0.0
        self.pending = self.arrived = 0.0
        self.granted = 0

    def step(self, now: float) -> None:
        self.pending = min(self.pending + (now - self.arrived) * self.demand, 100)
        self.arrived = now
        while self.pending >= 1 and self.share.wait(1, now) == 0:
            self.share.take(1)
            self.granted += 1
            self.pending -= 1
        if now >= self.next and not self.standing.away:
            want = self.share.want(self.pending, now)
            if want:
                owed = self.share.owed
                (amount,) = self.pool.take([("k", self.share.rate, self.share.capacity, want, owed)], now)
                self.share.granted(amount, want, owed, now)
            self.next = now + self.random.uniform(0.005, 0.025)


@pytest.mark.parametrize(("one", "other"), [(3000, 3000), (5000, 100), (700, 700)])
@pytest.mark.parametrize("seed", range(3))
def test_two_gates_share_one_budget_within_two_percent_over_a_minute(one: float, other: float, seed: int) -> None:
    rate = 1000.0
    pool = Pool()
    gates = [Member(pool, rate, one, seed), Member(pool, rate, other, seed + 100)]
    for tick in range(int(MINUTE / 0.001)):
        for gate in gates:
            gate.step(tick * 0.001)
    granted = sum(gate.granted for gate in gates)
    assert granted <= rate * MINUTE + rate, "never more than the rate and one burst"
    assert granted == pytest.approx(rate * MINUTE, rel=0.02)
    assert gates[1].granted >= min(other * MINUTE, granted / 2) * 0.9, "the greedy one leaves the other its part"


def test_while_the_place_is_away_each_goes_by_its_part_and_owes_it_afterwards() -> None:
    rate = 1000.0
    pool = Pool()
    gates = [Member(pool, rate, 3000, seed) for seed in range(2)]
    counts = []
    for tick in range(int(MINUTE / 0.001)):
        now = tick * 0.001
        for gate in gates:
            gate.standing.away = 20 <= now < 40
            gate.step(now)
        if tick in (20_000, 40_000):
            counts.append(sum(gate.granted for gate in gates))
    assert counts[1] - counts[0] == pytest.approx(20 * rate, rel=0.02)
    granted = sum(gate.granted for gate in gates)
    assert granted == pytest.approx(rate * MINUTE, rel=0.02), "the bucket that filled meanwhile is no second burst"


def test_a_share_says_what_it_wants_and_how_long_it_may_take() -> None:
    standing = Standing(4)
    share = Share(100, 100, 10, standing, 0.0)
    assert share.wait(1, 0.0) == pytest.approx(0.001), "nobody knows yet: soon"
    assert share.want(1, 0.0) == 10
    assert share.want(30, 0.0) == 30
    assert share.want(1000, 0.0) == 200, "no more than two capacities at once"
    share.granted(10, 10, 0, 0.0)
    assert share.wait(5, 0.0) == 0
    assert share.want(0, 0.0) == 0
    share.take(6)
    assert share.want(0, 0.0) == 6
    share.granted(2, 6, 0, 0.0)
    assert share.wait(20, 0.0) == pytest.approx(0.14), "it was empty: by the whole rate"
    standing.away = True
    assert share.wait(22, 0.1) == pytest.approx((22 - 6) * 4 / 100), "by a quarter of the rate"
    share.refresh(0.2)
    assert share.level == pytest.approx(8.5)
    assert share.owed == pytest.approx(2.5)
    standing.away = False
    share.granted(1, 1, 2.5, 0.3)
    assert share.level == pytest.approx(9.5)
    assert share.owed == 0


def test_a_share_that_never_reached_the_place_can_serve_at_once() -> None:
    standing = Standing(4)
    standing.away = True
    share = Share(2, 2, 1, standing, 0.0)
    assert share.wait(1, 0.0) == 0
    share.take(1)
    assert share.wait(1, 0.0) == pytest.approx(2.0)
