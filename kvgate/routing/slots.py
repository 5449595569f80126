"""Slots: which shard of a backend a key lies on.

The hash is zlib's CRC-32 modulo the number of slots, as Codis-like systems compute it, so that their data can be served in
place. The tag rule is Redis Cluster's (``keyHashSlot``): the text between the first ``{`` and the first ``}`` after it.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

SLOTS: Final = 1024  # Codis' number, and that of the in-house systems of mission.md
MOST_SLOTS: Final = 65536
HASHES: Final = ("crc32",)
_RANGE: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")


def hash_text(key: bytes) -> bytes:
    """What of the key is hashed: its ``{tag}`` when it has a non-empty one, else the whole key."""
    opening = key.find(b"{")
    if opening < 0:
        return key
    closing = key.find(b"}", opening + 1)
    if closing <= opening + 1:  # none, or nothing between them
        return key
    return key[opening + 1 : closing]


def crc32_slot(slots: int) -> Callable[[bytes], int]:
    """The function hash text → slot, for that many slots."""
    crc32 = zlib.crc32

    def slot_of(text: bytes) -> int:
        return crc32(text) % slots

    return slot_of


def parse_range(text: str) -> tuple[int, int]:
    """``"0-511"`` or ``"7"`` → first and last slot, both included. Raises ValueError."""
    match = _RANGE.match(text.strip())
    if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
        raise ValueError('a slot range is written "0-511", or "7" for one slot')
    return int(match[1]), int(match[2] or match[1])


def _runs(numbers: Iterable[int]) -> str:
    """``0-3, 7`` for 0 1 2 3 7; the numbers in order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def slot_table(ranges: Mapping[str, int], slots: int) -> tuple[list[int], list[tuple[str, str]]]:
    """``{"0-511": 0, "512-1023": 1}`` → for each slot its shard, and the mistakes as (range or empty, text).

    Slots in no range are -1 in the table; with mistakes the table is not to be used.
    """
    table = [-1] * slots
    taken_by: dict[int, str] = {}
    mistakes: list[tuple[str, str]] = []
    for text, shard in ranges.items():
        try:
            first, last = parse_range(text)
        except ValueError as error:
            mistakes.append((text, str(error)))
            continue
        if last >= slots:
            mistakes.append((text, f"there are {slots} slots, 0-{slots - 1}"))
            last = slots - 1
        overlap: dict[str, list[int]] = {}
        for slot in range(first, last + 1):
            if slot in taken_by:
                overlap.setdefault(taken_by[slot], []).append(slot)
            else:
                taken_by[slot] = text
                table[slot] = shard
        mistakes += [(text, f'slots {_runs(twice)} are in "{other}" too') for other, twice in overlap.items()]
    missing = [slot for slot, shard in enumerate(table) if shard < 0]
    if missing:
        mistakes.append(("", f"no group has slots {_runs(missing)}"))
    return table, mistakes
