"""What two servers answered, compared: what does not agree is raised as a `Difference`, or counted when it is known."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kvgate_compat.connection import Connection, Ended, parse
from kvgate_compat.findings import Difference, Tally
from kvgate_compat.known import Known, explained, told
from kvgate_compat.readings import same
from kvgate_compat.steps import Step

Got = TypeVar("Got")


class Met(Exception):  # noqa: N818 - what ends an example, and is no error
    """A known difference was met: from here on the two servers hold different data."""


class Judge:
    """Compares, and remembers what was said to both since `begin`, which a difference shows."""

    def __init__(self, urls: tuple[str, str], tally: Tally) -> None:
        """`urls`: of the server that is looked at, and of the one it is compared with."""
        self.urls = urls
        self.tally = tally
        self.known: Sequence[Known] = ()
        """Differences that are counted instead of raised."""
        self.dialogue: list[str] = []
        """Lines for redis-cli."""
        self.done: list[Step] = []

    def begin(self, dialogue: list[str]) -> None:
        """Forget what was said; `dialogue` is what every example begins with."""
        self.dialogue = dialogue
        self.done = []
        self.tally.examples += 1

    def agree(self, command: str, what: str, ours: object, theirs: object) -> None:
        """Raises Difference, or Met when it is known."""
        if same(ours, theirs):
            return
        if isinstance(ours, bytes) and isinstance(theirs, bytes) and not what.startswith("answer to these bytes"):
            known = explained(self.known, command, told(parse(theirs)), told(parse(ours)))
            if known is not None:
                self.tally.known[known.name] = self.tally.known.get(known.name, 0) + 1
                raise Met
        raise self.difference(command, what, ours, theirs)

    def difference(self, command: str, what: str, ours: object, theirs: object) -> Difference:
        """One, with what was said up to now."""
        return Difference(command, what, ours, theirs, self.dialogue, self.done)

    def caught(self, command: str, side: Connection, ask: Callable[..., Got], *args: Any, **named: Any) -> Got:
        """What `ask` answers; a connection that ends is a difference. Raises Difference."""
        try:
            return ask(*args, **named)
        except Ended as end:
            ours, said = side.url == self.urls[0], str(end)
            one, other = (said, "an answer") if ours else ("an answer", said)
            raise self.difference(command, "connection", one, other) from None
