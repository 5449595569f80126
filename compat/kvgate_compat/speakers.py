"""The clients of an example: for each a connection to each server, what it has queued, and what it watches."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from kvgate_compat.connection import Connection, Node
from kvgate_compat.words import Request

MOST: Final = 3
"""Clients of an example."""
NAMES: Final = ("first", "second", "third")
_AT_ONCE: Final = frozenset(("EXEC", "DISCARD", "MULTI", "WATCH", "RESET"))
"""Commands that are not queued inside MULTI."""


@attrs.define(slots=True)
class Client:
    """One client: as many connections as servers, all in the same state."""

    number: int
    sides: list[Connection]
    queued: list[tuple[Request, Sequence[bytes]]] | None = None
    """What MULTI holds; None outside of it."""
    watched: dict[bytes, bool] = attrs.field(factory=dict)
    """Key → whether it was there when WATCH was said."""
    disturbed: set[bytes] = attrs.field(factory=set)
    """The watched keys that a command has named since."""

    @property
    def is_fresh(self) -> bool:
        """Whether a new example may begin with it."""
        return self.queued is None and not self.watched

    def close(self) -> None:
        """Close its connections; idempotent."""
        for side in self.sides:
            side.close()

    def note(self, request: Request, args: Sequence[bytes], reply: Node, exists: Callable[[bytes], bool]) -> None:
        """Follow what a `reply`, the same from all servers, says about the state. `exists` tells whether a key is there."""
        name = request.name
        if reply.kind == b"-" and name not in ("EXEC", "RESET"):
            return
        if name == "MULTI":
            self.queued = []
        elif name == "WATCH":
            for key in args[1:]:
                self.watched.setdefault(key, exists(key))
        elif name in ("EXEC", "DISCARD", "RESET"):
            if not (name == "EXEC" and reply.text.startswith(b"ERR EXEC without")):  # a wrong arity ends it too
                self.queued = None
                self.watched.clear()
                self.disturbed.clear()
        elif self.queued is not None and reply.text == b"QUEUED" and name not in _AT_ONCE:
            self.queued.append((request, args))
        elif name == "UNWATCH" and self.queued is None:
            self.watched.clear()
            self.disturbed.clear()

    def disturb(self, args: Sequence[bytes], *, everything: bool) -> None:
        """A command named these; some are keys."""
        self.disturbed |= set(self.watched) if everything else set(self.watched).intersection(args[1:])

    def doubtful(self) -> set[bytes]:
        """Watched keys that were not there, and that a command has named since: when they are missing again, EXEC may or
        may not run (docs/differences.md)."""
        return {key for key in self.disturbed if not self.watched[key]}
