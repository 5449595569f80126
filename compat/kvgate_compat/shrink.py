"""Cutting an example that shows a difference down to few steps and short arguments, by trying it again and again."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeGuard, TypeVar

import attrs

from kvgate_compat.pools import KEYS
from kvgate_compat.steps import Aside, Flight, Leave, Piped, Raw, Single, Step, Turns
from kvgate_compat.words import Arg, Key, Option, Request, Still

SECONDS: Final = 30.0
"""For one example; what is reached by then is shown."""
_SIMPLE: Final = (b"a", b"v", b"f", b"0", b"1")

Part = TypeVar("Part")
Shows = Callable[[Sequence[Step]], bool]


def shrink(
    steps: Sequence[Step], shows: Shows, seconds: float = SECONDS, simple_keys: Sequence[bytes] = KEYS[:2]
) -> list[Step]:
    """The fewest and shortest steps found for which `shows` is still true; it is true for `steps`. Keys are replaced by
    `simple_keys`."""
    deadline = time.monotonic() + seconds
    best = _fewer(list(steps), shows, deadline)
    again = True
    while again and time.monotonic() < deadline:
        again = False
        for smaller in _simpler(best, simple_keys):
            if time.monotonic() > deadline:
                break
            if shows(smaller):
                best, again = smaller, True
                break
    return best


def flat(steps: Sequence[Step]) -> list[Step]:
    """The same commands one by one, by the same clients."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Piped):
            found += [Single(request, step.client) for request in step.requests]
        elif isinstance(step, Flight | Turns):
            found += flat(step.pipes if isinstance(step, Flight) else step.steps)
        else:
            found.append(step)
    return found


def _fewer(steps: list[Step], shows: Shows, deadline: float) -> list[Step]:
    """Leave out runs of steps, long ones first. The last step is the one that shows it, and stays."""
    size = max(1, len(steps) // 2)
    while size and time.monotonic() < deadline:
        at = 0
        while at + size < len(steps) and time.monotonic() < deadline:
            rest = steps[:at] + steps[at + size :]
            if shows(rest):
                steps = rest
            else:
                at += size
        size //= 2
    return steps


def _simpler(steps: list[Step], keys: Sequence[bytes]) -> Iterator[list[Step]]:
    for at, step in enumerate(steps):
        if at + 1 < len(steps):
            yield steps[:at] + steps[at + 1 :]
        for smaller in _smaller_step(step, keys):
            yield [*steps[:at], smaller, *steps[at + 1 :]]


def _smaller_step(step: Step, keys: Sequence[bytes]) -> Iterator[Step]:
    """Simpler forms of one step, the simplest first."""
    if isinstance(step, Single):
        if step.client:
            yield attrs.evolve(step, client=0)
        for request in _smaller_request(step.request, keys):
            yield attrs.evolve(step, request=request)
    elif isinstance(step, Piped):
        yield from _smaller_pipe(step, keys)
    elif isinstance(step, Aside):
        for requests in _without_one(step.requests) if len(step.requests) > 1 else ():
            yield Aside(requests)
        for at, request in enumerate(step.requests):
            for smaller in _smaller_request(request, keys):
                yield Aside((*step.requests[:at], smaller, *step.requests[at + 1 :]))
    elif isinstance(step, Turns | Flight | Raw):
        yield from _smaller_whole(step, keys)


def _smaller_pipe(pipe: Piped, keys: Sequence[bytes]) -> Iterator[Step]:
    if len(pipe.requests) == 1:
        yield Single(pipe.requests[0], pipe.client)
    if pipe.client:
        yield attrs.evolve(pipe, client=0)
    for cuts in _without_one(pipe.cuts):
        yield attrs.evolve(pipe, cuts=cuts)
    if len(pipe.requests) > 1:
        for requests in _without_one(pipe.requests):
            yield attrs.evolve(pipe, requests=requests)
    for at, request in enumerate(pipe.requests):
        for smaller in _smaller_request(request, keys):
            yield attrs.evolve(pipe, requests=(*pipe.requests[:at], smaller, *pipe.requests[at + 1 :]))


def _smaller_whole(step: Turns | Flight | Raw, keys: Sequence[bytes]) -> Iterator[Step]:
    """Of what consists of others."""
    if isinstance(step, Raw):
        for cuts in _without_one(step.cuts):
            yield attrs.evolve(step, cuts=cuts)
        for at in range(len(step.frames) - step.ends):  # the last one is what ends the connection
            yield attrs.evolve(step, frames=step.frames[:at] + step.frames[at + 1 :])
        return
    inner: tuple[Step, ...] = step.steps if isinstance(step, Turns) else step.pipes
    if len(inner) == 1:
        yield inner[0]
    if isinstance(step, Turns) and any(isinstance(turn, Piped | Single) and turn.client for turn in step.steps):
        yield Turns(tuple(attrs.evolve(turn, client=0) for turn in step.steps))
    rests = list(_without_one(inner))
    for at, turn in enumerate(inner):
        smaller = list(_smaller_step(turn, keys))
        rests += [(*inner[:at], one, *inner[at + 1 :]) for one in smaller]
    for rest in rests:
        if isinstance(step, Turns):
            yield Turns(tuple(turn for turn in rest if isinstance(turn, Single | Piped | Leave)))
        else:
            pipes = tuple(turn for turn in rest if isinstance(turn, Piped))
            if len(pipes) == len(rest) and len({pipe.client for pipe in pipes}) == len(pipes):
                yield Flight(pipes)


def _without_one(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    for at in range(len(parts)):
        yield parts[:at] + parts[at + 1 :]


def _smaller_request(request: Request, keys: Sequence[bytes]) -> Iterator[Request]:
    """Without some of its arguments, or with simple ones."""
    args = request.args
    if any(isinstance(arg, Option) and arg != arg.upper() for arg in args):
        yield attrs.evolve(request, args=tuple(Option(arg.upper()) if isinstance(arg, Option) else arg for arg in args))
    half = (len(args) - 1) // 2
    if half > 2:
        half -= half % 2  # mostly pairs
        yield attrs.evolve(request, args=args[: len(args) - half])
        yield attrs.evolve(request, args=args[:2] + args[2 + half :])
    for size in (2, 1):
        for at in range(1, len(args) - size + 1):
            yield attrs.evolve(request, args=args[:at] + args[at + size :])
    for at, arg in enumerate(args[1:], 1):
        if isinstance(arg, Key):
            if arg not in keys:
                for key in keys:
                    yield attrs.evolve(request, args=(*args[:at], Key(key), *args[at + 1 :]))
        elif _may_be_simpler(arg):
            for simple in _SIMPLE:
                yield attrs.evolve(request, args=(*args[:at], simple, *args[at + 1 :]))
            if len(arg) > 3:
                yield attrs.evolve(request, args=(*args[:at], arg[: len(arg) // 2], *args[at + 1 :]))


def _may_be_simpler(arg: Arg) -> TypeGuard[bytes]:
    """Whether an argument may be replaced. Not a long number: as a time, a short one would let a key expire meanwhile."""
    if not isinstance(arg, bytes) or isinstance(arg, Option | Still) or arg in _SIMPLE:
        return False
    return len(arg) < 4 or not arg.lstrip(b"-").isdigit()
