"""No step is near a moment at which a key expires; what meets one all the same is not judged."""

import attrs
import pytest

from kvgate_compat.deadlines import MARGIN, SOON, Deadlines
from kvgate_compat.pair import Difference, Pair, Tally
from kvgate_compat.steps import Single
from kvgate_compat.words import Option, Request, Soon
from tests.support.servers import RedisServers


@attrs.define
class Time:
    """A clock that stands still but for pauses."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def deadlines() -> "tuple[Deadlines, Time]":
    time = Time()
    return Deadlines(time, time.pause), time


def test_what_is_far_is_not_waited_for() -> None:
    moments, time = deadlines()
    for seconds in (SOON, 1000.0, -1.0):
        moments.add(seconds)
    assert not moments.pending
    moments.add(1.0)
    assert moments.keep_away() == 0
    assert time.now == 100


@pytest.mark.parametrize("ahead", [MARGIN, MARGIN / 2, 0.0])
def test_what_is_near_is_waited_for(ahead: float) -> None:
    moments, time = deadlines()
    moments.add(1.0)
    moments.add(1.0 + 1.5 * MARGIN)  # near when the first is over
    time.now += 1.0 - ahead
    assert moments.keep_away() == pytest.approx(ahead + 2.5 * MARGIN)
    assert not moments.pending
    assert moments.keep_away() == 0


def test_all_pass() -> None:
    moments, time = deadlines()
    assert moments.pass_all() == 0
    moments.add(0.5)
    moments.add(2.0)
    assert moments.pass_all() == pytest.approx(2.0 + MARGIN)
    assert not moments.pending
    assert time.now == pytest.approx(102.0 + MARGIN)
    moments.add(1.0)
    moments.forget()
    assert moments.pass_all() == 0


def test_a_moment_that_is_met() -> None:
    moments, time = deadlines()
    moments.add(1.0)
    assert not moments.met()
    time.now += 1.0
    assert moments.met()


def test_times_of_requests() -> None:
    assert Soon(300, 1000).at(7) == b"300"
    assert Soon(300).at(7) == b"1"
    assert Soon(300, 1000, absolute=True).at(1_700_000_000_123) == b"1700000000423"
    assert Soon(300, absolute=True).at(1_700_000_000_800) == b"1700000002"
    assert Request("SET", (b"SET", Soon(300, 1000))).for_step(3, 5).args == (b"SET", b"300")


def test_a_step_in_which_a_key_expires_proves_nothing(redis_servers: RedisServers) -> None:
    pair = Pair(redis_servers().url, redis_servers().url, 2, Tally())
    time = Time()
    pair._deadlines = Deadlines(time, time.pause)

    def differ(seconds: float) -> None:
        """After so long."""
        time.now += seconds
        pair._judge.agree("GET", "reply", b"+ours\r\n", b"+theirs\r\n")

    try:
        pair.begin()
        pair.run(Single(Request("SET", (Option(b"SET"), b"a", b"v", Option(b"PX"), Soon(4000, 1000)))))
        pair._fairly(lambda: differ(4.0))
        assert pair.first is None
        pair.begin()
        pair.run(Single(Request("SET", (Option(b"SET"), b"a", b"v", Option(b"PX"), Soon(4000, 1000)))))
        with pytest.raises(Difference):
            pair._fairly(lambda: differ(3.0))
        assert pair.first is not None
        pair.begin()
        pair.run(Single(Request("SET", (Option(b"SET"), b"a", b"v", Option(b"PX"), Soon(4000, 1000)))))
        pair._fairly(lambda: pair._deadlines.pause(4.0))
        assert pair.tally.spoilt == 2
        examples = len(pair._judge.done)
        pair.run(Single(Request("GET", (Option(b"GET"), b"a"))))
        assert len(pair._judge.done) == examples, "nothing more is said in this example"
    finally:
        pair.close()
