"""Commands with several keys, and prefixes: C and Python do the same, on what anybody may send and any store may answer."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import ProtocolError
from kvgate.lane import native
from kvgate.policy.compiled import Toll
from kvgate.wire.request import encode_request
from tests.lane.cutting import Cutting, cut_commands
from tests.lane.replies import PART_REPLIES, REPLY
from tests.lane.test_machine import play
from tests.lane.twins import NO_NATIVE, both
from tests.lane.world import World
from tests.wire.feeding import at_cuts

pytestmark = pytest.mark.skipif(not native.BUILT, reason=NO_NATIVE)


CUT_KEYS = st.sampled_from(
    [b"A.b:1", b"A.b:2", b"A.b:{1", b"{t}1", b"plain", b"e", b"", b":x", b"C.d:1", b"k" * 55, b"A.b:" + b"y" * 5000]
)


@st.composite
def cut_streams(draw: st.DrawFn) -> bytes:
    """Requests, most of them with several keys, some of them hardly RESP."""
    items = []
    for _ in range(draw(st.integers(1, 10))):
        name, step = draw(st.sampled_from([(b"MGET", 1), (b"mget", 1), (b"DEL", 1), (b"MSET", 2), (b"SET", 2), (b"GET", 1)]))
        keys = draw(st.lists(CUT_KEYS, min_size=1, max_size=1 if name[1:] == b"ET" else 4))
        words = [word for key in keys for word in (key, draw(st.sampled_from([b"", b"v", b"v" * 40, b"\r\n$1\r\na"])))[:step]]
        request = encode_request([name, *words])
        if draw(st.integers(0, 9)) == 0:
            at = draw(st.integers(0, len(request) - 1))
            request = request[:at] + draw(st.sampled_from([b"", b"0", b"$", b"\r\n"])) + request[at + 1 :]
        items.append(request)
    return b"".join(items)


@settings(deadline=None, max_examples=100)
@given(stream=cut_streams(), cuts=st.lists(st.integers(0, 400), max_size=4), prefix=st.sampled_from([b"", b"Ab.c:", b"A{b:"]),
       left=st.none() | st.tuples(st.integers(-1, 6), st.integers(-1, 300)), sampling=st.sampled_from([None, 1, 3]),
       followed=st.booleans(), down=st.booleans())  # fmt: skip
def test_any_cuts(
    stream: bytes,
    cuts: list[int],
    prefix: bytes,
    left: tuple[int, int] | None,
    sampling: int | None,
    *,
    followed: bool,
    down: bool,
) -> None:
    def run() -> World:
        world = Cutting(3, prefix=prefix, max_key=60, quick=6000)
        warm = world.client()
        for some in ([b"A.b:1"], [b"A.b:1", b"plain"], [b"A.b:1", b":x", b"{t}2"], [b"A.b:1", b"A.b:3", b"A.b:4", b"A.b:5"]):
            for name in (b"MGET", b"mget", b"DEL", b"GET")[: 3 if len(some) > 1 else 4]:
                world.feed(warm, encode_request([name, *some]))
            world.feed(warm, encode_request([b"MSET", *[word for key in some for word in (key, b"v")]]))
            world.feed(warm, encode_request([b"SET", some[0], b"v"]))
        world.run_to_the_end()
        if left is not None:
            world.route.tolls = Toll(*left), Toll(*left[::-1])
        if sampling is not None:
            world.lane.unsampled, world.lane.sampling, world.lane.followed = 0, lambda: sampling, followed
        client = world.client()
        if down:
            world.lane.lost(world.shards[1].lines[client.line], "gone")
            world.lane.unreachable(world.shards[1].lines[client.line], "refused")
        for piece in at_cuts(stream, cuts):
            world.now += 0.001
            world.feed(client, piece)
        world.run_to_the_end()
        return world

    both(run)


@pytest.mark.parametrize("prefix", [b"", b"Ab.c:"])
@pytest.mark.parametrize("sampling", [None, 5])
@pytest.mark.parametrize(("seed", "longest"), [(1, 3), (2, 60), (3, 900), (4, 100_000)])
def test_many_clients_with_many_keys(seed: int, longest: int, sampling: int | None, prefix: bytes) -> None:
    def run() -> World:
        rng = random.Random(seed)
        world = Cutting(3, prefix=prefix)
        if sampling is not None:
            world.lane.unsampled, world.lane.sampling = 0, lambda: sampling
        play(world, rng, [cut_commands(rng, client, 60)[0] for client in range(6)], longest)
        return world

    both(run)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), cuts=st.lists(st.integers(0, 6000), max_size=3), leaves=st.booleans())
def test_any_replies_to_parts(data: st.DataObject, cuts: list[int], leaves: bool) -> None:
    """Those of the right kind, mostly."""
    replies = {name: data.draw(st.lists(kind | REPLY, min_size=2, max_size=2)) for name, kind in PART_REPLIES.items()}

    def run() -> World:
        world = Cutting(2)
        client, other = world.client(), world.client()
        other.line = client.line
        commands = [b"MGET A.b:1 A.b:2 A.b:3 A.b:4", b"DEL A.b:1 A.b:2 A.b:3 A.b:4", b"MSET A.b:1 v A.b:2 v"]
        for _ in range(2):
            for command in commands:
                world.feed(client, encode_request(command.split()))
            world.run_to_the_end()
        for shard, store in enumerate(world.stores):
            store.says.update((name, some[shard]) for name, some in replies.items())
        for command in commands:
            world.feed(client, encode_request(command.split()))
            world.feed(other, encode_request(command.split()))
        if leaves:
            world.leave(client)
        for place in world.shards:
            up = place.lines[client.line]
            world.links[up].take(up)
            said, world.links[up].replies = world.links[up].replies, b""
            try:
                for piece in at_cuts(said, cuts):
                    if up.state.value == "up" and piece:
                        world.lane.fed_by(up, piece, world.now)
                        world.settle()
            except (ProtocolError, ValueError) as problem:
                world.said[99].raw = type(problem).__name__.encode()
        return world

    both(run)


ELEMENT = st.sampled_from([
    *(b"$-1\r\n", b"$0\r\n\r\n", b"$3\r\na\r\n\r\n", b"$12\r\n*2\r\n$1\r\na\r\n\r\n\r\n", b":1\r\n", b"+a\r\n", b"-b\r\n"),
    *(b"_\r\n", b"#t\r\n", b",1.5\r\n", b"$03\r\nabc\r\n", b"$-2\r\n", b"*-1\r\n", b"*0\r\n", b"*00\r\n"),
    *(b"%1\r\n:1\r\n:2\r\n", b"?\r\n"),
])  # fmt: skip
ARRAY = st.recursive(
    ELEMENT,
    lambda inner: st.lists(inner, max_size=5).map(lambda items: b"*%d\r\n" % len(items) + b"".join(items)),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(replies=st.lists(ARRAY, max_size=4), cuts=st.lists(st.integers(0, 200), max_size=3), short=st.integers(0, 3))
def test_arrays_end_where_they_end(replies: list[bytes], cuts: list[int], short: int) -> None:
    def run() -> World:
        world = World(1)
        client = world.client()
        world.feed(client, encode_request([b"GET", b"A.b:1"]) * 4)
        up = world.shards[0].lines[client.line]
        world.links[up].take(up)
        said = b"".join(replies)
        try:
            for piece in at_cuts(said[: len(said) - short], cuts):
                if up.state.value == "up" and piece:
                    world.lane.fed_by(up, piece, world.now)
                    world.settle()
        except (ProtocolError, ValueError) as problem:
            world.said[99].raw = type(problem).__name__.encode()
        return world

    both(run)
