"""Prefixes, figures and estimates of samples that are made up."""

import random

import pytest

from kvgate.assess.prefixes import NO_PREFIX, Estimate, Figures, estimate, figures, group, interval, namespace_of, prefix_of
from kvgate.assess.sample import Key, Sample


def key(name: bytes, kind: str | None = "string", ttl: int | None = -1, length: int | None = 5) -> Key:
    return Key(name, kind, None, ttl, 100, length)


def sample(keys: list[Key], size: int | None, *, whole: bool = False, fair: bool = True) -> Sample:
    return Sample(0, size, keys, whole=whole, fair=fair)


@pytest.mark.parametrize(
    ("name", "separator", "depth", "prefix", "namespace"),
    [
        (b"Shop.Cart:7", b":", 1, "Shop.Cart", "Shop.Cart"),
        (b"Shop.Cart:7:items", b":", 2, "Shop.Cart:<n>", "Shop.Cart"),
        (b"Shop.Cart:7", b":", 3, "Shop.Cart", "Shop.Cart"),
        (b"user:7", b":", 1, "user", "default"),
        (b"7:user", b":", 1, "<n>", "default"),
        (b"0123456789abcdef0:x", b":", 1, "<id>", "default"),
        (b"123e4567-e89b-12d3-a456-426614174000:x", b":", 1, "<id>", "default"),
        (b"nothing", b":", 1, NO_PREFIX, "default"),
        (b"Shop.Cart", b":", 1, NO_PREFIX, "default"),
        (b"Shop.Cart:7/x", b"/", 1, "Shop.Cart:7", "Shop.Cart"),
        (b"a/b:c", b"/", 1, "a", "default"),
        (b"Shop Cart.x:1", b":", 1, "Shop Cart.x", "default"),
        (b"Shop.*:1", b":", 1, "Shop.*", "default"),
        (b"S." + b"x" * 62 + b":1", b":", 1, "S." + "x" * 62, "S." + "x" * 62),
        (b"S." + b"x" * 63 + b":1", b":", 1, "S." + "x" * 63, "default"),
        (b"\xff.\x1b:1", b":", 1, "\\xff.\\x1b", "default"),
        (b":x", b":", 1, "", "default"),
    ],
)
def test_prefixes_and_namespaces(name: bytes, separator: bytes, depth: int, prefix: str, namespace: str) -> None:
    assert prefix_of(name, separator, depth) == prefix
    assert namespace_of(name) == namespace


def test_figures_are_values_that_are_there() -> None:
    assert figures([]) is None
    assert figures([None]) is None
    assert figures([7]) == Figures(1, 7, 7, 7)
    assert figures([*range(1, 101), None]) == Figures(100, 50, 99, 100)


def test_an_interval_holds_the_truth_in_95_of_100_cases() -> None:
    """Drawn without replacement, for shares from rare to common and samples from small to nearly all."""
    chance = random.Random(8)
    for size, true, sampled in [(1000, 10, 200), (1000, 500, 100), (1000, 990, 900), (20_000, 600, 1000), (50, 5, 25)]:
        population = [1] * true + [0] * (size - true)
        held = 0
        for _ in range(400):
            low, high = interval(sum(chance.sample(population, sampled)), sampled, size)
            assert 0 <= low <= high <= 1
            held += low <= true / size <= high
        assert held >= 400 * 0.92, (size, true, sampled)
        widths = high - low
        assert widths < 0.25, "an interval that holds everything says nothing"


def test_estimates() -> None:
    keys = [key(b"a:%d" % number) for number in range(100)]
    assert estimate(25, sample(keys, 100, whole=True)) == Estimate(25, 0)
    assert estimate(25, sample(keys, None)) == Estimate(None, None)
    assert estimate(25, sample(keys, 10_000, fair=False)) == Estimate(2500, None)
    found = estimate(25, sample(keys, 10_000))
    assert found.keys == 2500
    assert found.margin is not None
    assert 800 < found.margin < 1000  # 1.96 · √(0.25 · 0.75 / 100) · 10,000, and a little more


def test_groups() -> None:
    keys = [key(b"b:%d" % number, "hash", length=number) for number in range(10)]
    keys += [key(b"a:1", None, None, None), key(b"c:1", ttl=5), key(b"c:2", ttl=-1), key(b"c:3", ttl=None)]
    first, second, third = group(sample(keys, 1400), b":", 1)
    assert [one.name for one in (first, second, third)] == ["b", "c", "a"]
    assert (first.kinds, first.lengths["hash"]) == ({"hash": 10}, Figures(10, 4, 9, 9))
    assert (second.expiring, third.expiring) == (0.5, None)
    assert (third.kinds, third.lengths) == ({"?": 1}, {})
    assert (first.estimate.keys, first.key_bytes.p50) == (1000, 3)
