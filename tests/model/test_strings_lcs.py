"""LCS against the plain table of lengths, and what it costs."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.model import strings_lcs
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import TooLong
from kvgate.model.strings_lcs import common_length, matches
from kvgate.model.transaction import Transaction
from tests.model.world import World


def by_table(a: bytes, b: bytes) -> list[tuple[int, int]]:
    """Pairs of equal bytes, the last first: back to where the length is kept, and along `b` when both ways keep it."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, letter in enumerate(a, 1):
        for j, other in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if letter == other else max(table[i - 1][j], table[i][j - 1])
    i, j, found = len(a), len(b), []
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found


TEXT = st.binary(max_size=40) | st.text("ab", max_size=40).map(str.encode) | st.text("abcd", max_size=70).map(str.encode)


@given(TEXT, TEXT)
def test_rows_of_bits_find_what_the_table_finds(a: bytes, b: bytes) -> None:
    expected = by_table(a, b)
    found = matches(a, b)
    assert [(match.a + at, match.b + at) for match in found for at in reversed(range(match.size))] == expected
    assert common_length(a, b) == len(expected)


async def ask_in_place(world: World, *args: bytes) -> object:
    return await HANDLERS["LCS"](Transaction(await world.engine.begin(), world.now, 128), [b"LCS", *args])


async def test_long_ones_are_not_for_the_lane_and_larger_ones_for_nobody() -> None:
    world = World()
    for key, size in ((b"few", 10), (b"some", 1000), (b"many", 12_000)):
        await world.ask(b"SET", key, bytes(range(256)) * (size // 256) + bytes(size % 256))
    assert await ask_in_place(world, b"few", b"some", b"LEN") == 10
    with pytest.raises(TooLong):
        await ask_in_place(world, b"some", b"some")
    assert await world.ask(b"LCS", b"some", b"some", b"LEN") == 1000
    refusal = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    assert await world.ask(b"LCS", b"many", b"many", b"LEN") == refusal


@pytest.mark.parametrize(("a", "b"), [(11_000, 11_000), (8, 12_000_000), (12_000_000, 8)])
def test_there_is_a_row_for_each_byte_of_the_shorter_string(a: int, b: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell, or with rows for the longer one, these would take minutes."""
    letters, seen, rows = bytes(range(97, 123)), [], strings_lcs._rows

    def counting(short: bytes, long: bytes) -> Iterator[object]:
        for row in rows(short, long):
            seen.append(len(long))
            yield row

    monkeypatch.setattr(strings_lcs, "_rows", counting)
    first, second = (letters * (a // 26 + 1))[:a], (letters[::-1] * (b // 26 + 1))[:b]
    assert matches(first, second)
    assert seen == [max(a, b)] * min(a, b)
    seen.clear()
    assert common_length(first, second)
    assert seen == [max(a, b)] * min(a, b)
