"""The fourth side: the embedded store's short ways (kvgate.model.short), in C and in Python, over records of any bytes.

A program is read from its beginning: which of the functions, what is known of the groups, the records in the store and in the
two layers above it, then the words. Where it ends everything else is 0 and empty.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from kvgate.model import short
from kvgate.model.elements import encode_small
from kvgate.model.keyspace import group_of, meta_key

WAYS: Final = ("gets", "hgets", "sets", "hsets")
WIDTHS: Final = {"gets": 1, "hgets": 2, "sets": 2, "hsets": 3}
KEYS: Final = (b"k", b"", b"Ads.T:a", b"Ads.T:b", b"Ads.U:a", b":x", b"." * 64 + b":", b"." * 65 + b":", b"l" * 400)
LONG: Final = (127, 128, 400, 401, 3000, 4087, 4096, 32_640, 32_641)
"""Sizes of texts for which a program has no room."""
NOW: Final = 128
NULL: Final = b"$-1\r\n"


@attrs.define
class Reader:
    """What is left of a program."""

    data: bytes
    at: int = 0

    def byte(self) -> int:
        """The next one."""
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def text(self) -> bytes:
        """The next text: its size, then its bytes; or one of the long ones."""
        size = self.byte()
        if size >= 256 - len(LONG):
            return bytes([self.byte()]) * LONG[255 - size]
        self.at += size
        return self.data[self.at - size : self.at]

    def key(self) -> bytes:
        """One of `KEYS`, or any."""
        which = self.byte()
        return KEYS[which] if which < len(KEYS) else self.text()

    def record(self) -> bytes | None:
        """Any bytes, or a head and any payload or fields."""
        form = self.byte() % 5
        if form == 0:
            return None
        if form == 1:
            return self.text()
        kind, flags = self.byte(), self.byte()
        head = bytes((kind, flags)) + self.byte().to_bytes(8, "big") + bytes(8)
        if form == 2 or flags & 1:  # an expiry that was cut off is written by nobody: C and Python need not agree about it
            head += self.byte().to_bytes(8, "big")
        if form < 4:
            return head + self.text()
        return head + encode_small({self.text(): self.text() for _ in range(self.byte() % 131)})


@attrs.define
class Outcome:
    """What can be seen of a call."""

    result: Any
    asked: list[bytes]
    """Places that the engine was asked for."""
    writes: dict[bytes, bytes | None]
    below: dict[bytes, bytes | None]


class Failing(Exception):  # noqa: N818 - it stands for an engine that fails, whatever its error is called
    """The engine fails."""


def play_short(data: bytes, *, in_c: bool) -> Outcome:
    """Call one of the functions."""
    program = Reader(data)
    first, breaks, start = program.byte(), program.byte(), program.byte()
    name = WAYS[first & 3]
    known = {group_of(key): first >> 2 & 3 for key in KEYS[: breaks & 15]}
    layers: list[dict[bytes, bytes | None]] = [{}, {}, {}]
    for _ in range(program.byte() % 8):
        layer, key = layers[program.byte() % 3], program.key()
        layer[meta_key(key)] = program.record()
    size = (first >> 4) * 2 + 1
    words = [program.key() if at % WIDTHS[name] == 0 else program.text() for at in range(size)]
    asked: list[bytes] = []
    below, above, store = layers

    def get(place: bytes) -> bytes | None:
        asked.append(place)
        if len(asked) == breaks >> 4:
            raise Failing
        return store.get(place)

    way: Callable[..., Any] = getattr(short.native if in_c else short, name if in_c else f"py_{name}")
    try:
        if name in ("gets", "hgets"):
            result = way(get, known, NOW, NULL, words, start % 4)
        else:
            result = way(get, above, below, known, start, words)
    except Failing:
        result = "fails"
    return Outcome(result, asked, above, below)


def short_programs() -> list[bytes]:
    """One of each kind, for the fuzzer to begin with."""
    found = []
    for way in range(4):
        for generation in (0, 4):
            first = 0x70 + generation + way
            fields = b"\4\2\0\1\2\1f\1v\1g\3abc"  # a hash of generation 1 with two fields
            words = b"\0\1f\1w" * 6 if way == 3 else b"\0\1f" * 6 if way else b"\0" * 16
            found += [
                bytes((first, 15, 0, 3, 2, 0)) + fields + b"\1\1\3\1\0\1\3xyz" + b"\2\2\1\1\1" + words,
                bytes((first, 15, 1, 2, 2, 0)) + b"\2\1\1\1\x81\5value" + b"\0\2\1\x14" + b"\1\0" * 10 + words,
                bytes((first, 0x3F, 2, 1, 2, 0)) + fields + words,
                bytes((first, 15, 0, 1, 2, 0)) + b"\4\2\0\1\x80" + b"".join(b"\2%02x\0" % n for n in range(128)) + words,
                bytes((first, 15, 0, 0)) + b"\0" + b"\xfa\x01" * 6,
                bytes((first, 3, 0, 0)) + b"\x09" + b"\1a\x0a\3x:y" * 3,
            ]
    return found
