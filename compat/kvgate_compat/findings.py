"""What a search yields: the differences, and the tally of what was tried."""

from collections.abc import Sequence

import attrs

from kvgate_compat.dialogue import LINE, shortened, shown
from kvgate_compat.steps import Step
from kvgate_compat.words import Request


class Difference(Exception):  # noqa: N818 - what the harness is there to find
    """The two servers do not agree."""

    def __init__(
        self, command: str, what: str, ours: object, theirs: object, dialogue: Sequence[str], steps: Sequence[Step] = ()
    ) -> None:
        """`command` is the table's name, `what` was compared; `dialogue` are lines for redis-cli that show it, `steps` the
        same for the harness."""
        super().__init__(command, what)
        self.command = command
        self.what = what
        self.ours = ours
        self.theirs = theirs
        self.dialogue = list(dialogue)
        self.steps = list(steps)

    def __str__(self) -> str:
        """For people, dialogue last."""
        said = f"{self.command}: {self.what}\n  this server: {shown(self.ours)}\n  the other:   {shown(self.theirs)}"
        return said + "\n  paste into redis-cli:\n" + "\n".join(f"    {shortened(one, LINE)}" for one in self.dialogue)


@attrs.define(slots=True)
class Tally:
    """What a search has tried."""

    examples: int = 0
    commands: dict[str, int] = attrs.field(factory=dict)
    """How often each command was sent, to each of the servers."""
    combinations: set[str] = attrs.field(factory=set)
    """Commands with the set of their options: ``SET EX NX``."""
    pipelines: int = 0
    transactions: int = 0
    others: int = 0
    """Commands of a second and third client."""
    cuts: int = 0
    """Places where the bytes of a pipeline were cut."""
    frames: int = 0
    """Streams of odd bytes."""
    passages: int = 0
    """Times that keys were waited for to expire."""
    spoilt: int = 0
    """Examples that were given up because a key expired in the middle of a step."""

    known: dict[str, int] = attrs.field(factory=dict)
    """Known differences that were met: name → times."""

    @property
    def total(self) -> int:
        """Commands sent to each server."""
        return sum(self.commands.values())

    def count(self, request: Request) -> None:
        """Remember one command."""
        self.commands[request.name] = self.commands.get(request.name, 0) + 1
        self.combinations.add(request.label)

    def add(self, other: "Tally") -> None:
        """Count what another search has tried, too."""
        for name in ("examples", "pipelines", "transactions", "others", "cuts", "frames", "passages", "spoilt"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.combinations |= other.combinations
        for name, count in other.commands.items():
            self.commands[name] = self.commands.get(name, 0) + count
        for name, count in other.known.items():
            self.known[name] = self.known.get(name, 0) + count
