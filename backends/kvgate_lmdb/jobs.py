"""What clients want written: commands, blocks of them, and the jobs that carry them to the groups of writes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kvgate.model.transaction import Handler
from kvgate.wire.reply import Raw, Reply


@attrs.define(slots=True)  # one for each command: a frozen one takes three times as long to make
class Write:
    """One command of a job."""

    handler: Handler
    args: list[bytes]
    grows: bool
    """Whether it is refused while the store is nearly full (Redis' flag ``denyoom``)."""
    reads: bool = False
    """Whether it only reads: then up to `MOST_SHORT` records, since other clients' writes wait meanwhile."""

    @property
    def words(self) -> int:
        """Its arguments, its name included."""
        return len(self.args)

    @property
    def size(self) -> int:
        """Bytes of its arguments."""
        return sum(map(len, self.args))


@attrs.frozen(slots=True)
class Block:
    """A MULTI: its writes in one commit, nothing between them, and only if what was watched is as it was."""

    writes: Sequence[Write]
    watched: Mapping[bytes, int]
    """Key → revision; 0: missing."""

    @property
    def words(self) -> int:
        """All arguments."""
        return sum(write.words for write in self.writes)

    @property
    def size(self) -> int:
        """Bytes of all arguments."""
        return sum(write.size for write in self.writes)


Take = Callable[
    [
        Callable[[bytes], bytes | None],
        dict[bytes, bytes | None],
        Mapping[bytes, bytes | None],
        Mapping[bytes, int],
        int,
        list[bytes],
    ],
    tuple[bytes, int, int] | bytes | None,
]
"""`kvgate.model.short.sets` and its kin."""


@attrs.frozen(slots=True)
class Kind:
    """A simple command: what `take` does with many at once, or `handler` with each."""

    take: Take
    handler: Handler
    name: bytes
    grows: bool
    """As of a `Write`."""


class Job:
    """Commands of one client, in order."""

    __slots__ = (
        "_tell",
        "_told",
        "_writes",
        "answered",
        "count",
        "deadline",
        "flush",
        "given_up",
        "replies",
        "size",
        "taken",
        "too_long",
        "words",
    )

    def __init__(
        self,
        writes: Sequence[Write | Block],
        tell: Callable[[list[Reply]], Any],
        flush: Callable[[], None] | None = None,
        deadline: float = math.inf,
    ) -> None:
        """`tell` gets the replies, once; `flush` is called after that, once for all jobs of a group that have the same.
        `deadline` is on trio's clock; `WriteGroups` itself answers the job then."""
        self._begin(tell, flush, deadline)
        self._writes = writes
        self.count = len(writes)
        self.words = self.size = 0
        for write in writes:
            self.words += write.words
            self.size += write.size

    def _begin(self, tell: Callable[[list[Reply]], Any], flush: Callable[[], None] | None, deadline: float) -> None:
        self._tell = tell
        self._told = False
        self.flush = flush
        self.deadline = deadline
        self.replies: list[Reply] = []
        self.answered = False  # the replies are those to be sent: what they tell is committed
        self.taken = False  # its commit has begun, or a group on the thread has begun to run it
        self.given_up = False
        self.too_long = False  # to be run ahead

    @property
    def writes(self) -> Sequence[Write | Block]:
        """The commands one by one."""
        return self._writes

    def answer(self, replies: list[Reply]) -> None:
        """Tell the client, unless that was done before. In trio's thread."""
        if not self._told:
            self._told = True
            self._tell(replies)


class Run(Job):
    """Simple commands of one kind."""

    __slots__ = ("args", "kind")

    def __init__(
        self,
        kind: Kind,
        args: list[bytes],
        count: int,
        size: int,
        tell: Callable[[Sequence[Raw | Reply]], Any],
        flush: Callable[[], None],
        deadline: float,
    ) -> None:
        """`args` are those of all of them behind their names; `size` is the bytes of their requests."""
        self._begin(tell, flush, deadline)
        self._writes: Sequence[Write | Block] = ()
        self.kind = kind
        self.args = args
        self.count = count
        self.words = len(args) + count
        self.size = size

    @property
    def writes(self) -> Sequence[Write | Block]:
        """The commands one by one."""
        if not self._writes:
            kind, args = self.kind, self.args
            width = len(args) // self.count
            self._writes = [
                Write(kind.handler, [kind.name, *args[at : at + width]], kind.grows) for at in range(0, len(args), width)
            ]
        return self._writes
