"""What goes over the wire for a step: its commands' arguments, the commands that do not wait, and bytes cut into pieces."""

from collections.abc import Sequence

from kvgate_compat.connection import Connection
from kvgate_compat.waiting import waits_for
from kvgate_compat.words import Arg, FunctionsPayload, Payload, Request, Soon, Span


def at_once(requests: Sequence[Request]) -> tuple[Request, ...]:
    """Without blocking commands that might wait; inside MULTI none does."""
    found, inside = [], False
    for request in requests:
        inside = request.name == "MULTI" or (inside and request.name not in ("EXEC", "DISCARD"))
        if inside or not waits_for(request):
            found.append(request)
    return tuple(found)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes in pieces, none empty; each of `cuts` counts in thousandths of the length."""
    places = sorted({len(data) * each // 1000 for each in cuts} - {0, len(data)})
    return [data[one:other] for one, other in zip([0, *places], [*places, len(data)], strict=True)]


def argument(side: Connection, arg: Arg) -> bytes:
    """The bytes of one argument on this side."""
    if isinstance(arg, Payload | FunctionsPayload):
        return arg.of(side.ask(arg.question).text)
    if isinstance(arg, Span | Soon):
        msg = "times are fixed before a request is sent"
        raise TypeError(msg)
    return bytes(arg)
