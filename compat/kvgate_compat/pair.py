"""Two servers that get the same steps: each reply, and the state of the touched keys after it, must agree."""

from collections.abc import Callable, Sequence

import attrs

from kvgate_compat.chance import before
from kvgate_compat.connection import Connection, Ended, parse
from kvgate_compat.dialogue import LINE, line, shortened, shown
from kvgate_compat.keys import PLAIN, Keys
from kvgate_compat.keyspace import Keyspace
from kvgate_compat.known import Known, explained, told
from kvgate_compat.readings import read, same
from kvgate_compat.state import state_of
from kvgate_compat.steps import Block, Piped, Single, Step, requests_of
from kvgate_compat.table import may_agree
from kvgate_compat.waiting import waits_for
from kvgate_compat.words import Arg, FunctionsPayload, Option, Payload, Request, Span

LCS_LIMIT = 2_000_000
"""Cells of the table that LCS makes: beyond, Redis itself computes for seconds."""


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
        self.examples += other.examples
        self.pipelines += other.pipelines
        self.transactions += other.transactions
        self.combinations |= other.combinations
        for name, count in other.commands.items():
            self.commands[name] = self.commands.get(name, 0) + count
        for name, count in other.known.items():
            self.known[name] = self.known.get(name, 0) + count


class _Met(Exception):  # noqa: N818 - what ends an example, and is no error
    """A known difference was met: from here on the two servers hold different data."""


class Pair:
    """The server that is looked at, the one it is compared with, and what has been said to both since the last `begin`."""

    def __init__(
        self, url: str, against: str, proto: int, tally: Tally, keys: Keys = PLAIN, space: Keyspace | None = None
    ) -> None:
        """Remember where they are; connects at the first `begin`. `keys` are those whose states are compared, `space` is how
        the first server is cut into parts (None: it is whole)."""
        self.keys = keys
        self.space = space
        self.progress: Callable[[], None] = lambda: None
        """Called before each step."""
        self.urls = (url, against)
        self.proto = proto
        self.tally = tally
        self.dialogue: list[str] = []
        self.known: Sequence[Known] = ()
        """Differences that are counted instead of raised. Such a one ends the example: what follows is not said."""
        self._over = False
        self.first: Difference | None = None
        """The first that was found since this was set to None."""
        self._done: list[Step] = []
        self._fixed = 0  # requests whose times were fixed since the last `begin`
        self._sides: list[Connection] = []
        self._others: list[Connection] = []

    def close(self) -> None:
        """Close all connections; idempotent."""
        for side in self._sides + self._others:
            side.close()
        self._sides, self._others = [], []

    def begin(self) -> None:
        """Empty both servers and begin a new dialogue. Raises Ended, OSError."""
        if not self._sides:
            self._sides = [Connection(url, self.proto) for url in self.urls]
        self._done = []
        self._fixed = 0
        self._over = False
        self.tally.examples += 1
        self.dialogue = ["HELLO 3"] if self.proto == 3 else []
        self.dialogue.append("FLUSHALL")
        for side in self._sides:
            side.expect_ok("FLUSHALL")

    # Steps

    def run(self, step: Step) -> None:
        """Say it to both; first it is fitted to the parts of the first one, and not said when it cannot. Nothing is said once
        a known difference was met. Raises Difference."""
        if self._over:
            return
        self.progress()
        if self.space is not None:
            step = self.space.fit(step)
            if not self.space.allows(step):
                return
        self._done.append(step)
        try:
            if isinstance(step, Single):
                self._single(step.request)
            elif isinstance(step, Piped):
                self._pipeline(step.requests)
            else:
                self._transaction(step)
        except _Met:
            self._over = True
            self.close()  # they may be in the middle of a transaction

    def shows(self, steps: Sequence[Step], command: str) -> bool:
        """Whether these steps alone show a difference of `command`, as they may not. Raises OSError."""
        if not all(map(may_agree, requests_of(steps))):
            return False
        found = self.difference(steps)
        return found is not None and found.command == command

    def difference(self, steps: Sequence[Step]) -> Difference | None:
        """What these steps alone show. Raises OSError."""
        try:
            self.begin()
            for step in steps:
                self.run(step)
            self.finish()
        except Difference as found:
            return found
        except Ended:  # what an example before left behind: a server that was made to hang
            self.close()
        return None

    def _single(self, request: Request) -> None:
        (request,) = self._prepared([request])
        if request.name == "LCS" and self._too_long(request):
            return
        if self._would_wait(request):
            return
        self.tally.count(request)
        sent = self._resolved([request])
        if words := before(request.name, sent[1][0]):
            for side in self._sides:
                self._guarded_raw(side, request.name, words)
        self.dialogue.append(line(sent[1][0]))
        readings = [self._guarded(side, request, args) for side, (args,) in zip(self._sides, sent, strict=True)]
        self._agree(request.name, "reply", *readings)
        self._states(request.name, [request])

    def _pipeline(self, requests: Sequence[Request]) -> None:
        requests = [request for request in self._prepared(requests) if not waits_for(request)]
        if not requests:
            return
        for request in requests:
            self.tally.count(request)
        self.tally.pipelines += 1
        sent = self._resolved(requests)
        self.dialogue += map(line, sent[1])
        replies = []
        for side, frames in zip(self._sides, sent, strict=True):
            try:
                replies.append(side.pipeline(frames))
            except Ended as end:
                raise self._ended(requests[0].name, side, end) from None
        for request, args, one, other in zip(requests, sent[1], *replies, strict=True):
            what = f"reply to {line(args)[:100]} in a pipeline of {len(requests)}"
            self._agree(request.name, what, *(read(request.name, self._sides[0].ask, args, reply) for reply in (one, other)))
        self._states(requests[-1].name, requests)

    def _transaction(self, block: Block) -> None:
        requests = self._prepared(block.requests)
        self.tally.transactions += 1
        touched = list(requests)
        if block.watched:
            self._plain("WATCH", *block.watched)
        if block.meanwhile is not None and not self._would_wait(block.meanwhile):
            touched += self._prepared([block.meanwhile])
            self._by_another(touched[-1])
        self._plain("MULTI")
        sent = self._resolved(requests)
        for at, request in enumerate(requests):
            self.tally.count(request)
            self.dialogue.append(line(sent[1][at]))
            queued = [self._guarded_raw(side, request.name, args[at]) for side, args in zip(self._sides, sent, strict=True)]
            self._agree(request.name, "reply inside MULTI", *queued)
        if block.discard:
            self._plain("DISCARD")
        else:
            self._exec(requests, sent[1])
        self._states("EXEC", touched)

    def finish(self) -> None:
        """Compare all keys; nothing after a step that has failed. Raises Difference."""
        if self._sides:
            self._compare_states("everything at the end", self.keys.names)

    # Parts

    def _prepared(self, requests: Sequence[Request]) -> list[Request]:
        fixed = []
        for request in requests:
            self._fixed += 1
            fixed.append(request.for_step(self._fixed))
        return fixed

    def _resolved(self, requests: Sequence[Request]) -> list[list[list[bytes]]]:
        """For each side the arguments; a payload is each server's own."""
        return [[[_argument(side, arg) for arg in request.args] for request in requests] for side in self._sides]

    def _guarded(self, side: Connection, request: Request, args: Sequence[bytes]) -> object:
        try:
            return read(request.name, side.ask, args, side.ask(args))
        except Ended as end:
            raise self._ended(request.name, side, end) from None

    def _guarded_raw(self, side: Connection, command: str, args: Sequence[bytes]) -> object:
        try:
            return side.ask(args).raw
        except Ended as end:
            raise self._ended(command, side, end) from None

    def _plain(self, command: str, *args: bytes) -> None:
        """A command around a transaction, which both must answer alike."""
        words = [Option(command.encode()), *args]
        self.tally.count(Request(command, tuple(words)))
        self.dialogue.append(line(words))
        self._agree(command, "reply", *(self._guarded_raw(side, command, words) for side in self._sides))

    def _by_another(self, request: Request) -> None:
        """A command on a second connection to each server."""
        if not self._others:
            self._others = [Connection(url, self.proto) for url in self.urls]
        sent = self._resolved([request])
        self.tally.count(request)
        self.dialogue.append(line(sent[1][0]))  # in redis-cli it is by the same client, which WATCH minds as little
        both = zip(self._others, sent, strict=True)
        self._agree(request.name, "reply", *(self._guarded(side, request, args[0]) for side, args in both))

    def _exec(self, requests: Sequence[Request], sent: Sequence[Sequence[bytes]]) -> None:
        self.tally.count(Request("EXEC", (Option(b"EXEC"),)))
        self.dialogue.append("EXEC")
        replies = []
        for side in self._sides:
            try:
                replies.append(side.ask([b"EXEC"]))
            except Ended as end:
                raise self._ended("EXEC", side, end) from None
        if any(reply.kind != b"*" or len(reply.items) != len(requests) for reply in replies):
            self._agree("EXEC", "reply", *(reply.raw for reply in replies))
            return
        ask = self._sides[0].ask  # not used: readings that ask stay outside of transactions
        for request, args, one, other in zip(requests, sent, replies[0].items, replies[1].items, strict=True):
            ours, theirs = (read(request.name, ask, args, reply) for reply in (one, other))
            self._agree(request.name, "its reply in EXEC", ours, theirs)

    def _would_wait(self, request: Request) -> bool:
        """Whether it is a blocking command that would keep the search waiting."""
        keys = waits_for(request)
        return bool(keys) and self._sides[1].ask([b"EXISTS", *keys]).text == b"0"

    def _too_long(self, request: Request) -> bool:
        keys = [arg for arg in request.args[1:3] if isinstance(arg, bytes)]
        replies = self._sides[1].pipeline([[b"STRLEN", key] for key in keys])
        sizes = [int(reply.text) for reply in replies if reply.kind == b":"]
        return len(sizes) == 2 and sizes[0] * sizes[1] > LCS_LIMIT

    def _states(self, command: str, requests: Sequence[Request]) -> None:
        args = [arg for request in requests for arg in request.args[1:]]
        touched = [bytes(arg) for arg in args if isinstance(arg, bytes) and arg in self.keys.names]
        self._compare_states(command, list(dict.fromkeys(touched)))

    def _compare_states(self, command: str, keys: Sequence[bytes]) -> None:
        states = []
        for side in self._sides:
            try:
                states.append(state_of(side, keys))
            except Ended as end:
                raise self._ended(command, side, end) from None
        for key in keys:
            for what, one, other in zip(("TYPE", "PTTL", "value"), states[0][key], states[1][key], strict=True):
                self._agree(command, f"{what} of {line([key])[:100]} afterwards", one, other)

    def _agree(self, command: str, what: str, ours: object, theirs: object) -> None:
        if same(ours, theirs):
            return
        if isinstance(ours, bytes) and isinstance(theirs, bytes):
            known = explained(self.known, command, told(parse(theirs)), told(parse(ours)))
            if known is not None:
                self.tally.known[known.name] = self.tally.known.get(known.name, 0) + 1
                raise _Met
        raise self._difference(command, what, ours, theirs)

    def _ended(self, command: str, side: Connection, end: Ended) -> Difference:
        ours, said = side.url == self.urls[0], str(end)
        return self._difference(command, "connection", said if ours else "an answer", "an answer" if ours else said)

    def _difference(self, command: str, what: str, ours: object, theirs: object) -> Difference:
        self.close()  # whatever state the connections are in: the next example begins with new ones
        found = Difference(command, what, ours, theirs, self.dialogue, self._done)
        self.first = self.first or found
        return found


def _argument(side: Connection, arg: Arg) -> bytes:
    """The bytes of one argument on this side."""
    if isinstance(arg, Payload | FunctionsPayload):
        return arg.of(side.ask(arg.question).text)
    if isinstance(arg, Span):
        msg = "times are fixed before a request is sent"
        raise TypeError(msg)
    return bytes(arg)
