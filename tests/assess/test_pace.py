"""Pauses between portions of commands, on a clock that is ours."""

from kvgate.assess.pace import REST, Pace


class Clock:
    """Moves only when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_no_more_than_the_rate() -> None:
    clock = Clock()
    pace = Pace(500, clock=lambda: clock.now, sleep=clock.sleep)
    for _ in range(40):
        began = clock.now
        clock.now += 0.001
        pace.after(50, began)
    assert pace.commands == 2000
    assert abs(clock.now - 104.0) < 1e-6


def test_a_busy_store_is_asked_less_often() -> None:
    clock = Clock()
    pace = Pace(1e6, clock=lambda: clock.now, sleep=clock.sleep)
    began = clock.now
    clock.now += 0.5
    pace.after(10, began)
    assert clock.slept == [0.5 * REST]


def test_portions_fit_the_rate() -> None:
    assert [Pace(rate).portion for rate in (0.5, 10, 500, 1e6)] == [1, 1, 50, 200]
