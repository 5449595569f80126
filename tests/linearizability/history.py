"""What clients did and were told: operations with the moments of their call and their return."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

NEVER: Final = float("inf")
"""When an operation returned of which nobody knows whether it happened: it may happen at any time after its call, or not."""

Words = tuple[bytes, ...]
"""A command, name first."""
Reply = bytes | int | None | tuple["Reply", ...]
"""A value as hiredis reads it, arrays as tuples."""


@attrs.frozen(slots=True)
class Operation:
    """Commands that one client sent, to be executed at one moment: one command, or the commands of a MULTI."""

    client: int
    commands: tuple[Words, ...]
    called: float
    """Nanoseconds on the machine's monotonic clock, before the first byte was sent …"""
    returned: float
    """… and after the last byte of the reply was read; `NEVER` where `replies` is None."""
    replies: tuple[Reply, ...] | None
    """One for each command; None: it may have happened (INDOUBT, a connection that ended)."""
    expected: tuple[tuple[bytes, bytes | None], ...] = ()
    """Watched keys with the values read after WATCH: an EXEC that was executed found them so."""

    @property
    def keys(self) -> frozenset[bytes]:
        """All keys that it reads or writes."""
        return frozenset([*(words[1] for words in self.commands), *(key for key, _ in self.expected)])

    def shown(self) -> str:
        """One line for people; times in µs."""
        said = "; ".join(" ".join(word.decode("utf-8", "replace") for word in words) for words in self.commands)
        told = "?" if self.replies is None else ", ".join(map(repr, self.replies))
        seen = f" if {dict(self.expected)!r}" if self.expected else ""
        until = "" if self.returned == NEVER else f"{self.returned / 1000:.0f}"
        return f"[{self.called / 1000:.0f} … {until}] client {self.client}: {said}{seen} -> {told}"


class History:
    """What several threads recorded."""

    def __init__(self) -> None:
        """Empty; times count from here."""
        self._begin = time.monotonic_ns()
        self.operations: list[Operation] = []
        self.not_executed = 0
        """Operations that were answered TRYAGAIN, or nil for an EXEC: nothing happened, so they are not recorded."""

    def now(self) -> int:
        """This moment."""
        return time.monotonic_ns() - self._begin

    def add(
        self,
        client: int,
        commands: Iterable[Words],
        called: int,
        replies: Sequence[Reply] | None,
        expected: Iterable[tuple[bytes, bytes | None]] = (),
    ) -> None:
        """Record an operation that has returned now, or (`replies` None) that nobody waits for any more."""
        returned = NEVER if replies is None else self.now()
        told = None if replies is None else tuple(replies)
        self.operations.append(Operation(client, tuple(commands), called, returned, told, tuple(expected)))


def write(path: Path, operations: Iterable[Operation]) -> None:
    """Keep operations in a file, one line of JSON for each, for people and for `read`."""
    with path.open("w", encoding="utf-8") as file:
        for each in operations:
            file.write(json.dumps(attrs.asdict(each), default=lambda raw: {"text": raw.decode("latin-1")}) + "\n")


def read(path: Path) -> list[Operation]:
    """What `write` wrote."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict) and "text" in value:
            return value["text"].encode("latin-1")
        return tuple(map(plain, value)) if isinstance(value, list) else value

    with path.open(encoding="utf-8") as file:
        return [Operation(**{key: plain(value) for key, value in json.loads(line).items()}) for line in file]
