"""Cutting ranges where a page should end: the same page, whatever was learned before, and few calls."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.model.kv import run_now
from kvgate_tikv.ranges import Strides, paged

KEYS = st.builds(lambda kind, rest: kind + rest, st.sampled_from([b"M", b"N", b"X"]), st.binary(max_size=12))


def scanned(strides: Strides, keys: list[bytes], start: bytes, end: bytes, limit: int, most: int) -> tuple[list[bytes], int]:
    """A page over sorted keys, and the number of calls that it took."""
    calls = 0

    async def fetch(first: bytes, stop: bytes, wanted: int) -> list[bytes]:
        nonlocal calls
        calls += 1
        at = bisect_left(keys, first)
        return keys[at : min(bisect_left(keys, stop), at + wanted)]

    return run_now(paged(strides, fetch, lambda key: key, start, end, limit, most)), calls


@given(
    keys=st.sets(KEYS),
    limit=st.integers(1, 20),
    most=st.integers(1, 8),
    ranges=st.lists(st.tuples(KEYS, KEYS), max_size=6),
)
def test_pages_are_right_whatever_was_learned(
    keys: set[bytes], limit: int, most: int, ranges: list[tuple[bytes, bytes]]
) -> None:
    ordered, strides = sorted(keys), Strides()
    for start, end in ranges:
        wanted = [key for key in ordered if start <= key < end][:limit]
        assert scanned(strides, ordered, start, end, limit, most)[0] == wanted


@pytest.mark.parametrize("dense", [10, 1000, 100_000])
def test_few_calls_also_where_keys_are_much_denser_or_rarer_than_before(dense: int) -> None:
    keys = [b"M" + (number * 2**64 // dense).to_bytes(8, "big") for number in range(min(dense, 1000))]
    strides = Strides()
    found, first = scanned(strides, keys, b"M", b"N", 5, 100)
    assert (found, first) == (keys[:5], 1)
    assert scanned(strides, keys, keys[5], b"N", 5, 100) == (keys[5:10], 1)
    rare = [b"M" + (number * 2**64 // 4).to_bytes(8, "big") for number in range(4)]
    found, calls = scanned(strides, rare, b"M", b"N", 5, 100)
    assert found == rare
    assert calls <= 12
