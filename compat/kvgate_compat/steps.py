"""What an example is made of: single commands, pipelines and transactions, as values that can be repeated and cut down."""

from collections.abc import Iterable, Iterator

import attrs

from kvgate_compat.words import Request


@attrs.frozen(slots=True)
class Single:
    """One command, one reply."""

    request: Request


@attrs.frozen(slots=True)
class Piped:
    """Several commands sent at once."""

    requests: tuple[Request, ...]


@attrs.frozen(slots=True)
class Block:
    """WATCH (when something is watched), a command of another client, MULTI, the commands, EXEC or DISCARD."""

    requests: tuple[Request, ...]
    watched: tuple[bytes, ...] = ()
    meanwhile: Request | None = None
    discard: bool = False


Step = Single | Piped | Block


def requests_of(steps: Iterable[Step]) -> Iterator[Request]:
    """All commands of some steps."""
    for step in steps:
        if isinstance(step, Single):
            yield step.request
            continue
        yield from step.requests
        if isinstance(step, Block) and step.meanwhile is not None:
            yield step.meanwhile
