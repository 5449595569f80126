"""Playing a program with both kinds of paths, and comparing all that comes of it."""

import logging
import math
from collections.abc import Iterator
from typing import Any, Final

import attrs

from kvgate.lane import machine
from tests.fuzz.program import Play, setup_of
from tests.fuzz.rounds import Trace
from tests.fuzz.scene import Scene
from tests.fuzz.sockets import SocketPlay, SocketScene

SIDES: Final = ("client", "upstream", "sockets", "short")
"""Who speaks first: a client to stores that answer, a store to clients that asked, a client through the driver's sockets; and
nobody, but the short ways of an embedded store are called."""


class Different(AssertionError):  # noqa: N818 - what the fuzzer is there to find
    """The two kinds of paths did not do the same."""


def play(data: bytes, side: str, *, in_c: bool) -> Any:
    """Run a program with one kind of paths; a `Scene`, or what tests.fuzz.short sees.

    Raises:
        AssertionError: something did not hold that always holds.
    """
    if side == "short":
        from tests.fuzz.short import play_short  # noqa: PLC0415 - the other sides would wait for what it imports

        return play_short(data, in_c=in_c)
    if side == "sockets":
        return play_on_sockets(data, in_c=in_c)
    return _play_scene(data, side, in_c=in_c)


def _play_scene(data: bytes, side: str, *, in_c: bool) -> Scene:
    scene = Scene(setup_of(data, side), in_c=in_c)
    speaker = scene.clients[0] if side == "client" else scene.shards[0].lines[0]
    Play(scene, speaker).run(data)
    return scene


def compare(data: bytes, side: str) -> None:
    """Run a program with both kinds of paths.

    Raises:
        Different: they did not do the same.
        AssertionError: something did not hold that always holds.
    """
    if side == "short":
        _same([play(data, side, in_c=True)], [play(data, side, in_c=False)], "call")
        return
    if side == "sockets":
        on_sockets = play_on_sockets(data, in_c=True)
        _same(on_sockets.seen(), play_on_sockets(data, in_c=False, trace=on_sockets.trace).seen(), "in the end")
        return
    with_c, without = (_play_scene(data, side, in_c=in_c) for in_c in (True, False))
    _same(with_c.journal, without.journal, "step")
    _same(list(_flat(with_c.look())), list(_flat(without.look())), "in the end")
    _same(with_c.journal, without.journal, "what is left")


def _flat(seen: Any) -> Iterator[Any]:
    first, rest = seen
    for field in attrs.fields(type(first)):
        yield field.name, getattr(first, field.name)
    yield from rest


def play_on_sockets(data: bytes, *, in_c: bool, trace: Trace | None = None) -> SocketScene:
    """Run a program through the driver's sockets; they are closed then.

    Raises:
        AssertionError: something did not hold that always holds.
    """
    scene = SocketScene(setup_of(data, "sockets"), in_c=in_c, trace=trace)
    level, together = logging.root.manager.disable, machine.TOGETHER
    machine.TOGETHER = math.inf  # type: ignore[misc]  # portions that wait are joined, however slow this machine is now
    logging.disable()  # connections that break are worth a warning, ten thousand times
    try:
        SocketPlay(scene, scene.clients[0]).run(data)
    finally:
        logging.disable(level)
        machine.TOGETHER = together  # type: ignore[misc]  # as above
        scene.end()
    return scene


def _same(one: list[Any], other: list[Any], what: str) -> None:
    if one == other:
        return
    for at, (in_c, in_python) in enumerate(zip(one, other, strict=False)):
        if in_c != in_python:
            raise Different(f"{what} {at}:\n  C:      {in_c}\n  Python: {in_python}")
    end = min(len(one), len(other))
    raise Different(f"{what} {end}:\n  C:      {one[end:][:1]}\n  Python: {other[end:][:1]}")
