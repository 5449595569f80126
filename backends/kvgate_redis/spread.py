"""Commands whose keys lie on several shards: cut by shard, run side by side, merged in the order of the keys."""

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from kvgate.backend import Command
from kvgate.commands.spec import Merge
from kvgate.errors import GateError
from kvgate.wire.reply import OK, Error, Reply


@attrs.frozen(slots=True)
class Part:
    """What one shard gets of a command."""

    shard: int
    args: list[bytes]
    places: list[int]
    """Which of the command's keys these are, counted from 0."""


def parts_of(command: Command, shards: Sequence[int]) -> list[Part]:
    """Cut a splittable command; `shards` says where each of its keys lies. A key's value (MSET) goes with it."""
    step = command.spec.keys[0].step
    parts: dict[int, Part] = {}
    for place, (index, shard) in enumerate(zip(command.keys, shards, strict=True)):
        part = parts.get(shard)
        if part is None:
            part = parts[shard] = Part(shard, [command.args[0]], [])
        part.args.extend(command.args[index : index + step])
        part.places.append(place)
    return list(parts.values())


def merged(command: Command, parts: Sequence[Part], replies: Sequence[Reply]) -> Reply:
    """One reply out of the parts'; the first error, if there is one."""
    for reply in replies:
        if isinstance(reply, Error):
            return reply
    if command.spec.merge is Merge.SUM:
        return sum(reply for reply in replies if isinstance(reply, int))
    if command.spec.merge is Merge.ALL_OK:
        return OK
    whole: list[Reply] = [None] * len(command.keys)
    for part, reply in zip(parts, replies, strict=True):
        values = reply if isinstance(reply, list) else []
        if len(values) != len(part.places):
            return Error(b"ERR a store answered another number of values than it was asked for")
        for place, value in zip(part.places, values, strict=True):
            whole[place] = value
    return whole


async def on_shards(
    calls: Sequence[tuple[int, Sequence[bytes]]], ask: Callable[[int, Sequence[bytes]], Awaitable[Reply]]
) -> list[Reply]:
    """Ask all ``(shard, arguments)`` side by side; the replies in order, when the last has come. Failures are `Error`s."""
    replies: list[Reply] = [None] * len(calls)

    async def one(place: int, shard: int, args: Sequence[bytes]) -> None:
        try:
            replies[place] = await ask(shard, args)
        except GateError as error:
            replies[place] = Error(error.reply[1:-2])

    async with trio.open_nursery() as nursery:
        for place, (shard, args) in enumerate(calls):
            nursery.start_soon(one, place, shard, args)
    return replies
