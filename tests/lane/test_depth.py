"""``max_pipeline``: how many commands of one client may be in flight, however its bytes come."""

import random

import pytest

from kvgate.lane.client import Client
from kvgate.wire.request import encode_request
from tests.lane.world import World, portions


def commands(number: int) -> bytes:
    """Writes whose values look like beginnings of commands."""
    frames = []
    for at in range(number):
        value = (b"v\n*3\r\n" * (at % 3), b"x\n*", b"plain")[at % 3]
        frames.append(encode_request([b"SET", b"T.x:%d" % at, value]) + encode_request([b"GET", b"T.x:%d" % at]))
    return b"".join(frames)


@pytest.mark.parametrize("longest", [7, 100, 100_000])
@pytest.mark.parametrize("depth", [1, 2, 5, 10_000])
def test_never_more_are_in_flight_and_all_are_answered_in_order(depth: int, longest: int) -> None:
    told = []
    for limited in (False, True):
        world = World(2)
        client = world.client()
        client.depth = depth if limited else 0
        rng, seen = random.Random(depth + longest), 0
        check = world.check

        def watched() -> None:
            nonlocal seen
            check()  # noqa: B023 - called within this turn of the loop
            seen = max(seen, client.inflight)  # noqa: B023

        world.check = watched  # type: ignore[method-assign]
        for piece in portions(rng, commands(30), longest):
            world.feed(client, piece)
        world.run_to_the_end()
        world.check_rest()
        told.append(world.said[client.id].raw)
        if limited:
            assert 0 < seen <= depth
    assert told[0] == told[1]
    assert told[0].count(b"+OK\r\n") == 30


@pytest.mark.parametrize("depth", [1, 3])
def test_inline_commands_are_counted_as_well(depth: int) -> None:
    world = World(1)
    client = world.client()
    client.depth = depth
    world.feed(client, b"".join(b"SET T.x:%d v\r\n" % at for at in range(20)))
    assert client.inflight == depth
    world.run_to_the_end()
    world.check_rest()
    assert world.said[client.id].raw == b"+OK\r\n" * 20


@pytest.mark.parametrize("words", [[b"\n*" * 30_000], [b"\n*\n*"] * 2_000])
def test_what_only_looks_like_commands_is_not_gone_through_line_by_line(
    words: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(1)
    client = world.client()
    client.depth = 1
    turns = 0
    take = world.lane._take

    def counted(client: Client, data: bytes, now: float) -> None:
        nonlocal turns
        turns += 1
        take(client, data, now)

    monkeypatch.setattr(world.lane, "_take", counted)
    world.feed(client, encode_request([b"GET", b"T.x:k"]) + encode_request([b"ECHO", *words]))
    world.run_to_the_end()
    world.check_rest()
    assert world.said[client.id].raw.startswith(b"$-1\r\n$")
    assert turns < 10
