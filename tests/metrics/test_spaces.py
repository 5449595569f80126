"""Which namespaces have labels, and that nothing which is exported falls when that changes."""

import random
from collections.abc import Generator
from typing import TypeVar

import pytest

from kvgate.metrics import spaces
from kvgate.metrics.families import Totals
from kvgate.metrics.ledger import NO_NAMESPACE, OTHER, Ledger
from kvgate.metrics.spaces import NONE, REFUSED, Labels, Spaces, Vectors

T = TypeVar("T")


def run(work: Generator[None, None, T]) -> T:
    """Its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def pauses(work: Generator[None, None, object]) -> int:
    return sum(1 for _ in work)


def calls(vectors: Vectors) -> float:
    return sum(numbers[0] for kind, numbers in vectors.items() if not kind.startswith(REFUSED))


def test_what_has_no_label_is_other_and_what_has_no_key_is_none() -> None:
    book = Ledger()
    for number in range(5):
        book.account(f"Ads.n{number}", "get", readonly=True).note(number + 1, 0.001, misses=1, bytes_in=10, bytes_out=20)
        book.account(f"Ads.n{number}", "set", readonly=False).note(1, 0.1, errors=1)
    book.account(NO_NAMESPACE, "ping", readonly=False).note(7, 0.000_01)
    book.refused("Ads.n0", "NOPERM")
    book.refused("Ads.n4", "THROTTLED")
    book.refused("Ads.unheard", "NOPERM")
    found = run(Spaces(book).gather({"Ads.n4", "Ads.n3"}))
    assert set(found.namespaces) == {"Ads.n3", "Ads.n4", OTHER, NONE}
    assert found.namespaces["Ads.n4"]["read"][:6] == [5, 0, 1, 10, 20, 0.005]
    assert found.namespaces["Ads.n4"]["write"][:3] == [1, 1, 0]
    assert found.namespaces["Ads.n4"][REFUSED + "THROTTLED"] == [1]
    assert calls(found.namespaces[OTHER]) == 1 + 2 + 3 + 3
    assert found.namespaces[OTHER][REFUSED + "NOPERM"] == [2]
    assert found.namespaces[NONE]["other"][0] == 7
    assert found.commands == {"get": [15, 0, 5], "set": [5, 5, 0], "ping": [7, 0, 0]}
    assert all(len(numbers) == spaces.WIDTH for kind, numbers in found.namespaces["Ads.n4"].items() if kind == "read")


def test_the_busiest_are_those_with_the_most_calls_and_those_that_were_asked_for() -> None:
    book = Ledger()
    for number in range(1000):
        book.account(f"Ads.n{number}", "get", readonly=True).note((number * 7919) % 1000, 0.001)
    found = dict(run(Spaces(book).busiest(10, ["Ads.n0", "Ads.unheard"])))
    assert sorted(found.values(), reverse=True) == [*range(999, 989, -1), 0]
    assert "Ads.n0" in found


def test_looking_through_many_pauses_often() -> None:
    book = Ledger()
    for number in range(6400):
        book.account(f"Ads.n{number}", "get", readonly=True).note(1, 0.001)
        book.refused(f"Ads.n{number}", "NOPERM")
    assert pauses(Spaces(book).busiest(10, [])) >= 6400 // spaces.STEP
    assert pauses(Spaces(book).gather(["Ads.n5"])) >= 6400 // spaces.STEP


def test_nothing_falls_and_nothing_is_lost_while_labels_come_and_go() -> None:
    """The exported totals of all labels together are what was counted, whatever the choice at each look."""
    chance = random.Random(7)
    book, totals, labels = Ledger(), Totals(), Labels()
    process = Spaces(book)
    counted, lost_calls = 0, 0.0
    exported: dict[str, float] = {}
    for _ in range(200):
        for _ in range(chance.randrange(20)):
            number = chance.randrange(12)
            times = chance.choice([1, 2, 50])
            book.account(f"Ads.n{number}", "get", readonly=True).note(times, 0.001)
            counted += times
        lost = labels.choose(dict(run(process.busiest(6, labels.named))), 3)
        lost_calls += sum(exported.get(name, 0) for name in lost)
        totals.forget([key for key in totals.values if key[1] in lost])
        assert len(labels.named) <= 3
        found = run(process.gather(labels.named))
        totals.take(1, {("namespace", name, kind): v for name, kinds in found.namespaces.items() for kind, v in kinds.items()})
        now = {str(key[1]): value[0] for key, value in totals.values.items()}
        for name, before in exported.items():
            assert name in lost or now[name] >= before, name
        exported = now
        assert sum(now.values()) + lost_calls == counted


def test_a_label_is_taken_over_only_by_a_much_busier_one() -> None:
    labels = Labels()
    assert labels.choose({"a.1": 10, "a.2": 20, "a.3": 5}, 2) == set()
    assert set(labels.named) == {"a.1", "a.2"}
    assert labels.choose({"a.1": 10, "a.2": 20, "a.3": 15}, 2) == set(), "not yet half as many again"
    assert labels.choose({"a.1": 10, "a.2": 20, "a.3": 16}, 2) == {"a.1"}
    assert labels.choose({"a.2": 20, "a.3": 16}, 1) == {"a.3"}, "the setting was lowered"


def test_codes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "MOST_CODES", 2)
    book = Ledger()
    for code in ("ERR", "NOPERM", "THROTTLED", "what a client wrote", "NOPERM"):
        book.refused("default", code)
    found = run(Spaces(book).gather(["default"]))
    assert found.namespaces["default"] == {REFUSED + "ERR": [1], REFUSED + "NOPERM": [2], REFUSED + "OTHER": [2]}
