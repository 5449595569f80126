"""What an example is made of: single commands, pipelines and transactions, as values that can be repeated and cut down."""

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
