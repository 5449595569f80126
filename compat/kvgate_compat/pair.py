"""Two servers that get the same steps: each reply, and the state of the touched keys after it, must agree."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from kvgate_compat import aside, asking
from kvgate_compat.chance import before
from kvgate_compat.connection import Connection, Ended, Node, encode
from kvgate_compat.deadlines import Deadlines
from kvgate_compat.dialogue import line, printf
from kvgate_compat.findings import Difference, Tally
from kvgate_compat.judge import Judge, Met
from kvgate_compat.keys import PLAIN, Keys
from kvgate_compat.keyspace import Keyspace
from kvgate_compat.known import Known
from kvgate_compat.pieces import argument, at_once, cut
from kvgate_compat.readings import Near, read
from kvgate_compat.speakers import NAMES, Client
from kvgate_compat.state import state_of
from kvgate_compat.steps import Aside, Flight, Passing, Piped, Raw, Single, Step, Turns, requests_of
from kvgate_compat.table import CONTROLS, may_agree, may_be_queued
from kvgate_compat.words import Option, Request, Soon

END: Final = b"+RESET\r\n"
"""The answer to what is sent behind bytes that leave the connection open: MULTI would queue most other commands."""


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
        self.both_protocols = True
        """Whether the second client speaks the other protocol; not where a server has one only."""
        self.urls = (url, against)
        self.proto = proto
        self._judge = Judge(self.urls, tally)
        self.first: Difference | None = None
        """The first that was found since this was set to None."""
        self._scripts = True  # whether scripts or functions may be loaded
        self._fixed = 0  # requests whose times were fixed since the last `begin`
        self._sides: list[Connection] = []  # they look, and are in no transaction
        self._clients: dict[int, Client] = {}
        self._speaker = 0
        self._deadlines = Deadlines()
        self._passed = False  # a key has expired in this example
        self._over = False  # a known difference was met, or a key expired in the middle of a step: what follows proves nothing

    @property
    def tally(self) -> Tally:
        """What is counted."""
        return self._judge.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._judge.tally = tally

    @property
    def known(self) -> Sequence[Known]:
        """Differences that are counted instead of raised. Such a one ends the example: what follows is not said."""
        return self._judge.known

    @known.setter
    def known(self, known: Sequence[Known]) -> None:
        self._judge.known = known

    def close(self) -> None:
        """Close all connections; idempotent."""
        for side in self._sides:
            side.close()
        for client in self._clients.values():
            client.close()
        self._sides, self._clients = [], {}

    def begin(self) -> None:
        """Empty both servers and begin a new dialogue. Raises Ended, OSError."""
        if not self._sides:
            self._sides = [Connection(url, self.proto) for url in self.urls]
        for client in [client for client in self._clients.values() if not client.is_fresh]:
            self._drop(client.number)
        self._fixed = 0
        self._speaker = 0
        self._passed = self._over = False
        self._deadlines.forget()
        self._judge.begin([*(["HELLO 3"] if self.proto == 3 else []), "FLUSHALL"])
        for side in self._sides:
            side.expect_ok("FLUSHALL")
            if self._scripts:  # errors do not matter: of a server that has none
                side.pipeline([[b"SCRIPT", b"FLUSH"], [b"FUNCTION", b"FLUSH"]])
        self._scripts = False

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
        self._judge.done.append(step)
        self._fairly(lambda: self._say(step))

    def finish(self) -> None:
        """Compare all keys; nothing after a step that has failed. Raises Difference."""
        if self._sides and not self._over:
            self._fairly(lambda: self._compare_states("everything at the end", self.keys.names))

    def shows(self, steps: Sequence[Step], command: str) -> bool:
        """Whether these steps alone show a difference of `command`, as they may not. Raises OSError."""
        if not all(request.name in CONTROLS or may_agree(request) for request in requests_of(steps)):
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

    def _fairly(self, compare: Callable[[], None]) -> None:
        """Compare while no key expires; when one does all the same, the example ends here and proves nothing."""
        self._waited(self._deadlines.keep_away())
        try:
            compare()
        except Met:
            self._over = True
            self.close()  # they may be in the middle of a transaction
            return
        except Difference as found:
            self.close()  # whatever state the connections are in: the next example begins with new ones
            if not self._deadlines.met():
                self.first = self.first or found
                raise
        if self._deadlines.met():
            self._over = True
            self.tally.spoilt += 1

    def _say(self, step: Step) -> None:
        if isinstance(step, Single):
            self._single(step)
        elif isinstance(step, Piped):
            self._flight([step])
        elif isinstance(step, Flight):
            self._flight(step.pipes)
        elif isinstance(step, Raw):
            self._raw(step)
        elif isinstance(step, Turns):
            self._turns(step)
        elif isinstance(step, Aside):
            self._aside(step)
        elif isinstance(step, Passing):
            self._waited(self._deadlines.pass_all())
        else:
            self._leave(step.client)

    def _turns(self, turns: Turns) -> None:
        """One after the other; then who is in the middle of something leaves."""
        for step in turns.steps:
            self._waited(self._deadlines.keep_away())
            self._say(step)
            if self._deadlines.met():
                return
        for client in list(self._clients.values()):
            if not client.is_fresh:
                self._leave(client.number)

    def _leave(self, number: int) -> None:
        self._drop(number)
        self._judge.dialogue.append(f": the {NAMES[number]} client closes its connection")

    def _single(self, step: Single) -> None:
        request, client = step.request, self._client(step.client)
        if client.queued is not None and request.name not in CONTROLS and not may_be_queued(request):
            return
        if request.name == "EXEC" and self._is_doubtful(client):
            request = Request("DISCARD", (Option(b"DISCARD"),))
        (request,) = self._prepared([request])
        other = self._sides[1]
        if asking.is_too_long(other, request) or asking.is_unspecified(other, request):
            return
        if client.queued is None and asking.would_wait(other, request):
            return
        if request.name == "DBSIZE" and self._passed:
            asking.sweep(self._sides)
        self._count(client, request)
        sent = self._resolved([request])
        if client.queued is None and (words := before(request.name, sent[1][0])):
            for side in client.sides:
                self._judge.caught(request.name, side, side.ask, words)
        self._write(client, line(sent[1][0]))
        replies = []
        for side, (args,) in zip(client.sides, sent, strict=True):
            replies.append(self._judge.caught(request.name, side, side.ask, args))
            if request.name == "RESET":
                self._judge.caught(request.name, side, side.log_in)
        if request.name == "RESET" and client.sides[0].proto == 3:
            self._judge.dialogue.append("HELLO 3")
        self._compare(client, request, sent[1][0], replies, "reply")
        self._states(request.name, [request])

    def _flight(self, pipes: Sequence[Piped]) -> None:
        """Pipelines of several clients at once."""
        pipes = [attrs.evolve(pipe, requests=at_once(pipe.requests)) for pipe in pipes]
        speakers = [self._client(pipe.client) for pipe in pipes]
        if any(self._is_unfit(client, pipe) for client, pipe in zip(speakers, pipes, strict=True)):
            return
        prepared = [self._prepared(pipe.requests) for pipe in pipes]
        sent = [self._resolved(requests) for requests in prepared]
        for client, requests, frames in zip(speakers, prepared, sent, strict=True):
            self.tally.pipelines += 1
            for request, args in zip(requests, frames[1], strict=True):
                self._count(client, request)
                self._write(client, line(args))
        answers: list[list[list[Node]]] = [[] for _ in pipes]
        for at in range(len(self.urls)):
            pieces = [cut(b"".join(map(encode, frames[at])), pipe.cuts) for frames, pipe in zip(sent, pipes, strict=True)]
            self.tally.cuts += sum(map(len, pieces)) - len(pieces) if at == 0 else 0
            for turn in range(max(map(len, pieces))):
                for client, requests, mine in zip(speakers, prepared, pieces, strict=True):
                    if turn < len(mine):
                        self._send(requests[0].name, client.sides[at], mine[turn], wait=turn + 1 < len(mine))
            for answer, client, requests in zip(answers, speakers, prepared, strict=True):
                side, count = client.sides[at], len(requests)
                answer.append(self._judge.caught(requests[0].name, side, side.replies, count))
        for client, requests, frames, (ours, theirs) in zip(speakers, prepared, sent, answers, strict=True):
            for request, args, one, other in zip(requests, frames[1], ours, theirs, strict=True):
                self._compare(client, request, args, [one, other], f"reply in a pipeline of {len(requests)}")
        self._states(prepared[-1][-1].name, [request for requests in prepared for request in requests])

    def _raw(self, step: Raw) -> None:
        """Bytes to new connections, and everything that comes back."""
        data = b"".join(step.frames) + (b"" if step.ends else encode([b"RESET"]))
        pieces = cut(data, step.cuts)
        self.tally.frames += 1
        self.tally.cuts += len(pieces) - 1
        self._judge.dialogue.append(f": these bytes to a connection of their own: printf '{printf(data)}' | nc HOST PORT")
        answers = []
        for url in self.urls:
            side = self._connected(url, self.proto)
            try:
                for turn, piece in enumerate(pieces):
                    self._send("bytes", side, piece, wait=turn + 1 < len(pieces))
                answers.append(self._judge.caught("bytes", side, side.until, b"" if step.ends else END))
            finally:
                side.close()
        for what, one, other in zip(("answer to these bytes", "closed the connection"), *answers, strict=True):
            self._judge.agree("bytes", what, one, other)
        for client in self._clients.values():
            client.disturb((), everything=True)
        self._compare_states("bytes", self.keys.names)

    def _aside(self, step: Aside) -> None:
        requests = self._prepared(step.requests)
        sent = self._resolved(requests)
        asides: list[aside.Aside] = []
        try:
            asides += [aside.Aside(url, self.proto) for url in self.urls]
            aside.compare(self._judge, requests, sent, asides, self._sides)
        finally:
            for each in asides:
                each.close()
        for client in self._clients.values():
            client.disturb((), everything=True)
        self._states(requests[-1].name, requests)

    # Parts

    def _client(self, number: int) -> Client:
        """One of the clients, connected when it was not."""
        if number not in self._clients:
            proto = 5 - self.proto if number == 1 and self.both_protocols else self.proto
            self._clients[number] = Client(number, [self._connected(url, proto) for url in self.urls])
        return self._clients[number]

    def _connected(self, url: str, proto: int) -> Connection:
        """One more connection; a server that does not take it is a difference."""
        try:
            return Connection(url, proto)
        except (Ended, OSError) as error:
            one, other = (str(error), "an answer") if url == self.urls[0] else ("an answer", str(error))
            raise self._judge.difference("HELLO", "connection", one, other) from None

    def _drop(self, number: int) -> None:
        if number in self._clients:
            self._clients.pop(number).close()

    def _count(self, client: Client, request: Request) -> None:
        self.tally.count(request)
        self.tally.others += client.number > 0
        self.tally.transactions += request.name == "MULTI"

    def _write(self, client: Client, said: str) -> None:
        """A line of the dialogue, behind one that names the client when it is another than before."""
        if client.number != self._speaker:
            proto = client.sides[0].proto
            self._judge.dialogue.append(f": the {NAMES[client.number]} client, in RESP{proto}")
            self._speaker = client.number
        self._judge.dialogue.append(said)

    def _waited(self, seconds: float) -> None:
        if seconds > 0.001:
            self._passed = True
            self.tally.passages += 1
            self._judge.dialogue.append(f": {seconds:.1f} s pass")

    def _prepared(self, requests: Sequence[Request]) -> list[Request]:
        fixed = []
        for request in requests:
            self._scripts = self._scripts or request.name.startswith(("EVAL", "SCRIPT|", "FUNCTION|"))
            self._fixed += 1
            soon = [arg for arg in request.args if isinstance(arg, Soon)]
            for arg in soon:
                self._deadlines.add(arg.seconds())
            now = asking.now(self._sides) if any(arg.absolute for arg in soon) else 0
            fixed.append(request.for_step(self._fixed, now))
        return fixed

    def _resolved(self, requests: Sequence[Request]) -> list[list[list[bytes]]]:
        """For each side the arguments; a payload is each server's own."""
        return [[[argument(side, arg) for arg in request.args] for request in requests] for side in self._sides]

    def _send(self, command: str, side: Connection, data: bytes, *, wait: bool) -> None:
        self._judge.caught(command, side, side.send, data, wait=wait)

    def _compare(self, client: Client, request: Request, args: Sequence[bytes], replies: Sequence[Node], what: str) -> None:
        """Compare the replies to one command, whatever the client's state makes of them; then follow that state. Commands
        whose reading asks the server are not queued."""
        queued = client.queued
        if request.name == "EXEC" and all(reply.kind == b"*" and len(reply.items) == len(queued or ()) for reply in replies):
            for (inner, words), *items in zip(queued or (), *(reply.items for reply in replies), strict=True):
                readings = [read(inner.name, client.sides[0].ask, words, item) for item in items]
                self._judge.agree(inner.name, f"its reply in EXEC ({line(words)[:100]})", *readings)
            self._states("EXEC", [inner for inner, _ in queued or ()])
        elif queued is not None or request.name in CONTROLS:
            where = what if queued is None else "reply inside MULTI"
            self._judge.agree(request.name, where, *(reply.raw for reply in replies))
        else:
            readings = [
                self._judge.caught(request.name, side, read, request.name, side.ask, args, reply)
                for side, reply in zip(client.sides, replies, strict=True)
            ]
            self._judge.agree(request.name, f"{what} ({line(args)[:100]})" if "pipeline" in what else what, *readings)
        touched = queued if request.name == "EXEC" and queued else [(request, args)] if queued is None else []
        client.note(request, args, replies[1], self._exists)
        for each in self._clients.values():
            if request.name != "WATCH":
                for inner, words in touched:
                    each.disturb(words, everything=inner.name in ("FLUSHALL", "FLUSHDB"))

    def _is_unfit(self, client: Client, pipe: Piped) -> bool:
        """Whether a pipeline holds what cannot be compared where it stands."""
        names = {request.name for request in pipe.requests}
        if "EXEC" in names and self._is_doubtful(client):
            return True
        able = all(request.name in CONTROLS or may_be_queued(request) for request in pipe.requests)
        return not pipe.requests or "RESET" in names or not able

    def _is_doubtful(self, client: Client) -> bool:
        return any(not self._exists(key) for key in client.doubtful())

    def _exists(self, key: bytes) -> bool:
        return asking.exists(self._sides[1], key)

    def _states(self, command: str, requests: Sequence[Request]) -> None:
        args = [arg for request in requests for arg in request.args[1:]]
        touched = [bytes(arg) for arg in args if isinstance(arg, bytes) and arg in self.keys.names]
        self._compare_states(command, list(dict.fromkeys(touched)))

    def _compare_states(self, command: str, keys: Sequence[bytes]) -> None:
        states = [self._judge.caught(command, side, state_of, side, keys) for side in self._sides]
        for state in states:
            for _, left, _ in state.values():
                if isinstance(left, Near):
                    self._deadlines.add(left.value / 1000)
        for key in keys:
            for what, one, other in zip(("TYPE", "PTTL", "value"), states[0][key], states[1][key], strict=True):
                self._judge.agree(command, f"{what} of {line([key])[:100]} afterwards", one, other)

__all__ = ["Difference", "Pair", "Tally"]
