"""A connection for commands that change the connection itself, or listen to channels: what it says, up to a marker, and how
that of two servers is compared."""

import contextlib
from collections.abc import Sequence
from typing import Final

from kvgate_compat.channels import LISTENING, TELLING
from kvgate_compat.connection import Connection, Ended, Node, encode
from kvgate_compat.dialogue import line
from kvgate_compat.judge import Judge
from kvgate_compat.readings import read
from kvgate_compat.words import Request

MARKER: Final = b"kvgate-compat-marker"
_ENDING: Final = (b"unsubscribe", b"punsubscribe", b"sunsubscribe")


class Aside:
    """A connection of its own beside that of a `Pair`'s side, for one step."""

    def __init__(self, url: str, proto: int) -> None:
        """Connect. Raises Ended, OSError."""
        self.connection = Connection(url, proto)

    def say(self, requests: Sequence[Sequence[bytes]], *, silenced: bool = False) -> list[Node]:
        """Send the requests at once; whatever comes before the answer to a PING behind them. With `silenced` replies may be
        turned off, and are turned on before that PING. Raises Ended."""
        marking = [[b"CLIENT", b"REPLY", b"ON"]] if silenced else []
        marking += [[b"PING", MARKER]]
        self.connection.send(b"".join(map(encode, [*requests, *marking])))
        found: list[Node] = []
        while not _is_marker(reply := self.connection.receive()):
            found.append(reply)
        return found

    def hear(self, count: int) -> list[Node]:
        """So many messages, and what else there is then. Raises Ended when fewer come."""
        return [self.connection.receive() for _ in range(count)] + self.say([])

    def close(self) -> None:
        """Give up all subscriptions, so that the server does not count them any more when this returns; then close."""
        with contextlib.suppress(Ended):
            self.say([[b"UNSUBSCRIBE"], [b"PUNSUBSCRIBE"], [b"SUNSUBSCRIBE"]], silenced=True)
        self.connection.close()


def _is_marker(reply: Node) -> bool:
    return reply.text == MARKER or (len(reply.items) == 2 and reply.items[1].text == MARKER)


def compared(request: Request, args: Sequence[bytes], replies: Sequence[Node]) -> object:
    """What has to agree of what came for one request of an `Aside`."""
    if request.name not in LISTENING and len(replies) == 1:
        return read(request.name, _never, args, replies[0])
    if replies and all(reply.items and reply.items[0].text in _ENDING for reply in replies):
        names = sorted(reply.items[1].raw for reply in replies)  # all that there are: in any order
        return (tuple(reply.items[0].raw for reply in replies), tuple(names), tuple(reply.items[2].raw for reply in replies))
    return tuple(reply.raw for reply in replies)


def messages(replies: Sequence[Node]) -> object:
    """What has to agree of the messages that one command brought: of several patterns in any order."""
    return tuple(sorted(reply.raw for reply in replies))


def compare(
    judge: Judge,
    requests: Sequence[Request],
    sent: Sequence[list[list[bytes]]],
    asides: Sequence[Aside],
    sides: Sequence[Connection],
) -> None:
    """Say the requests to both servers on their `asides` (`sent`: for each server the arguments of each), those that bring
    messages on the usual connections, `sides`. Raises Difference, or Met when it is known."""
    if any(request.name == "CLIENT|REPLY" for request in requests):
        _silenced(judge, requests, sent, asides)
        return
    for at, request in enumerate(requests):
        judge.tally.count(request)
        judge.dialogue.append(line(sent[1][at]))
        by_side = [args[at] for args in sent]
        if request.name in TELLING:
            _told(judge, request, by_side, asides, sides)
        else:
            said = [
                judge.caught(request.name, each.connection, each.say, [args])
                for each, args in zip(asides, by_side, strict=True)
            ]
            readings = [compared(request, args, nodes) for args, nodes in zip(by_side, said, strict=True)]
            judge.agree(request.name, "reply on a connection of its own", *readings)


def _told(
    judge: Judge, request: Request, sent: Sequence[list[bytes]], asides: Sequence[Aside], sides: Sequence[Connection]
) -> None:
    """A command on the usual connection, and the messages that it brings to the other one. First all of those of the
    server that is compared with; then as many of the first one's, which may come later than the answer to a PING."""
    name = request.name
    replies = [judge.caught(name, side, side.ask, args) for side, args in zip(sides, sent, strict=True)]
    judge.agree(name, "reply", *(read(name, sides[0].ask, sent[0], reply) for reply in replies))
    ours, theirs = asides
    wanted = judge.caught(name, theirs.connection, theirs.say, [])
    heard = judge.caught(name, ours.connection, ours.hear, len(wanted))
    judge.agree(name, "messages to a subscriber", messages(heard), messages(wanted))


def _silenced(judge: Judge, requests: Sequence[Request], sent: Sequence[list[list[bytes]]], asides: Sequence[Aside]) -> None:
    """Requests some of which may have no reply."""
    for request in requests:
        judge.tally.count(request)
    judge.dialogue += map(line, sent[1])
    said = [
        judge.caught("CLIENT|REPLY", each.connection, each.say, side, silenced=True)
        for each, side in zip(asides, sent, strict=True)
    ]
    judge.agree("CLIENT|REPLY", "replies of all", *(tuple(node.raw for node in nodes) for nodes in said))


def _never(args: Sequence[bytes]) -> Node:
    msg = f"the reading of {args[0]!r} asks more, and cannot be used here"
    raise TypeError(msg)
