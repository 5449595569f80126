"""Progress tells what was measured, how far the section is and what is left, from a clock that the test holds."""

import io
from collections.abc import Mapping

import pytest

from bench import progress
from bench.progress import Progress, ahead, clock, expected
from bench.report import ORDER


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754.0, "12:34"), (-3.0, "0:00")])
def test_times_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_what_is_left_is_told_from_the_mean_step() -> None:
    times, out = iter([100.0, 110.0, 120.0, 160.0]), io.StringIO()
    steps = Progress("core", 3, now=lambda: next(times), out=out)
    for text in ("a", "b", "c"):
        steps.step(text)
    assert out.getvalue().splitlines() == [
        "  core 1/3, 0:10 gone, about 0:20 left · a",
        "  core 2/3, 0:20 gone, about 0:10 left · b",
        "  core 3/3, 1:00 gone, about 0:00 left · c",
    ]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, tuple[float, float]]:
    times = {"core": (90.0, 20.0), "idle": (60.0, 5.0)}
    monkeypatch.setattr(progress, "EXPECTED", times)
    return times


@pytest.mark.usefixtures("known")
def test_sections_ahead_are_named_with_their_times() -> None:
    names = ["core", "idle", "new"]
    assert ahead(names, 0, short=False, rounds=3) == "[1/3] core, about 1:30; then idle, new, about 1:00"
    assert ahead(names, 1, short=True, rounds=2) == "[2/3] idle, about 0:05; then new"  # measured once
    assert ahead(["core"], 0, short=True, rounds=2) == "[1/1] core, about 0:40"
    assert ahead(names, 2, short=True, rounds=1) == "[3/3] new"


@pytest.mark.usefixtures("known")
def test_the_whole_is_the_sum_of_what_is_known() -> None:
    assert expected(["core", "idle", "new"], short=False, rounds=6) == 240.0
    assert expected(["core", "idle", "new"], short=True, rounds=1) == 25.0


def test_the_whole_takes_what_was_promised() -> None:
    assert set(progress.EXPECTED) == set(ORDER)
    assert expected(ORDER, short=False, rounds=3) < 45 * 60
    assert set(ORDER) >= progress.ONCE
    assert expected(ORDER, short=True, rounds=1) < 10 * 60
