"""What MONITOR shows for a while: commands by prefix, and those whose keys shards or namespaces would part."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from kvgate.assess.prefixes import namespace_of, prefix_of
from kvgate.commands.keys import key_indices
from kvgate.commands.table import resolve
from kvgate.errors import GateError
from kvgate.routing.slots import SLOTS, crc32_slot, hash_text

MOST_LINES: Final = 1_000_000
"""After which it ends: enough to know, whatever the time."""
BEHIND: Final = 1.0
"""Seconds by which reading may lag behind the server. It keeps what is not read yet in its own memory, without a limit, so a
reader that is too slow has to leave."""
_LINE: Final = re.compile(rb"[0-9.]+ \[([0-9]+) (.*?)\] (?=\")", re.DOTALL)
_WORD: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

Where = tuple[int, str, str]
"""Database, prefix, namespace: as in `kvgate.assess.prefixes.Prefix`."""


@attrs.define(slots=True)
class Watched:
    """What came by."""

    lines: int = 0
    by_scripts: int = 0
    """Commands of those that scripts ran: they are not counted further."""
    unread: int = 0
    """Commands that the gate's table does not know, or whose keys cannot be told."""
    behind: bool = False
    """Whether it ended early because the lines came faster than they could be read."""
    commands: dict[Where, Counter[str]] = attrs.field(factory=dict)
    """Lower-case names of the commands with a key there; a command with several counts at each prefix of them."""
    shards: Counter[str] = attrs.field(factory=Counter)
    """Commands whose keys lie in different slots of 1,024: over shards they may get CROSSSLOT, or are split."""
    namespaces: Counter[str] = attrs.field(factory=Counter)
    """Commands whose keys the gate would take for different namespaces."""


def words(line: bytes) -> tuple[int, bytes, list[bytes]] | None:
    """Database, who sent it (``lua``: a script), and the request; None when it is no line of MONITOR."""
    head = _LINE.match(line)
    if head is None:
        return None
    request = [_ESCAPE.sub(_unescape, match[1]) for match in _WORD.finditer(line, head.end())]
    return int(head[1]), head[2], request


def _unescape(match: re.Match[bytes]) -> bytes:
    text = match[1]
    return bytes([int(text[1:], 16)]) if len(text) == 3 else _ESCAPED.get(text, text)


class _Lag:
    """How far reading is behind the server, by the times that its lines begin with."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset: float | None = None

    def of(self, line: bytes) -> float:
        """Seconds; 0 for the first line."""
        lag = self._clock() - float(line[: line.find(b" ")])
        if self._offset is None:
            self._offset = lag
        return lag - self._offset


def watch(
    lines: Iterable[bytes],
    separator: bytes,
    depth: int,
    told: Callable[[int], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Watched:
    """Count what the lines tell, until they end, there are `MOST_LINES`, they are read too slowly (`BEHIND`), or Ctrl-C ends
    it; `told` gets their number now and then."""
    found = Watched()
    with contextlib.suppress(KeyboardInterrupt):
        _count(found, lines, separator, depth, told, _Lag(clock))
        told(found.lines)
    return found


def _count(
    found: Watched, lines: Iterable[bytes], separator: bytes, depth: int, told: Callable[[int], None], lag: _Lag
) -> None:
    slot_of = crc32_slot(SLOTS)
    for line in lines:
        one = words(line)
        if one is None:
            continue
        if lag.of(line) > BEHIND:
            found.behind = True
            break
        database, source, request = one
        found.lines += 1
        if found.lines % 256 == 0:
            told(found.lines)
        if source == b"lua":
            found.by_scripts += 1
            continue
        try:
            spec = resolve(request)
            keys = [request[index] for index in key_indices(spec, request)]
        except (GateError, IndexError):
            found.unread += 1
            continue
        places = {(database, prefix_of(key, separator, depth), namespace_of(key)) for key in keys}
        for place in places:
            found.commands.setdefault(place, Counter())[spec.lower] += 1
        if len(keys) > 1:
            found.shards[spec.lower] += len({slot_of(hash_text(key)) for key in keys}) > 1
            found.namespaces[spec.lower] += len({namespace for _, _, namespace in places}) > 1
        if found.lines >= MOST_LINES:
            break
