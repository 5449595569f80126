"""What an example is made of: commands of several clients, pipelines, odd bytes, waiting. Values that can be repeated."""

from collections.abc import Iterable, Iterator

import attrs

from kvgate_compat.words import Request


@attrs.frozen(slots=True)
class Single:
    """One command, one reply. MULTI, EXEC, WATCH … are commands like others."""

    request: Request
    client: int = 0
    """0 is the first. Each has a connection of its own to each server."""


@attrs.frozen(slots=True)
class Piped:
    """Several commands sent at once, or in pieces."""

    requests: tuple[Request, ...]
    client: int = 0
    cuts: tuple[int, ...] = ()
    """Where the bytes are cut: each counts in thousandths of their length."""


@attrs.frozen(slots=True)
class Leave:
    """A client closes its connection; it comes back with a new one when it has something to say."""

    client: int = 0


@attrs.frozen(slots=True)
class Turns:
    """Transactions of one or several clients, and what others say meanwhile: one command after the other. At the end, clients
    that are in the middle of something leave."""

    steps: "tuple[Single | Piped | Leave, ...]"


@attrs.frozen(slots=True)
class Flight:
    """Pipelines of several clients, sent before any reply is read. Their keys are disjoint, so the order does not matter."""

    pipes: tuple[Piped, ...]


@attrs.frozen(slots=True)
class Raw:
    """Bytes as they are, to a connection that is opened for them, and all that is answered until it ends."""

    frames: tuple[bytes, ...]
    ends: bool = False
    """Whether the server closes after the last one; else RESET is sent behind, and its reply is the end."""
    cuts: tuple[int, ...] = ()


@attrs.frozen(slots=True)
class Passing:
    """Time passes, until all that expires soon has expired."""


@attrs.frozen(slots=True)
class Aside:
    """Commands on a connection of its own, which is then closed; PUBLISH and PUBSUB among them on the usual one meanwhile."""

    requests: tuple[Request, ...]


Step = Single | Piped | Leave | Turns | Flight | Raw | Passing | Aside


def requests_of(steps: Iterable[Step]) -> Iterator[Request]:
    """All commands of some steps, in order; none of bytes."""
    for step in steps:
        if isinstance(step, Single):
            yield step.request
        elif isinstance(step, Piped | Aside):
            yield from step.requests
        elif isinstance(step, Turns):
            yield from requests_of(step.steps)
        elif isinstance(step, Flight):
            yield from requests_of(step.pipes)
