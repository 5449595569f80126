"""The hot paths in C and those in Python do the same: bytes, order, counters, errors, on what anybody may send."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import ProtocolError
from kvgate.lane import driver, machine, native, split
from kvgate.lane.client import Client
from kvgate.metrics import ledger
from kvgate.policy import compiled
from kvgate.policy.compiled import NO_COLON, Toll
from kvgate.wire.measure import Measurer, measure
from kvgate.wire.request import encode_request
from tests.lane.replies import REPLY
from tests.lane.test_machine import commands_of, play, streams
from tests.lane.twins import NO_NATIVE, both
from tests.lane.world import World
from tests.wire.feeding import at_cuts, bytewise
from tests.wire.replies import raw_replies

pytestmark = pytest.mark.skipif(not native.BUILT, reason=NO_NATIVE)


@pytest.mark.parametrize("sampling", [None, 1, 7])
@pytest.mark.parametrize(("seed", "longest"), [(1, 1), (2, 7), (3, 60), (4, 400), (5, 5000), (6, 100_000)])
def test_many_clients(seed: int, longest: int, sampling: int | None) -> None:
    def run() -> World:
        rng = random.Random(seed)
        world = World(3)
        if sampling is not None:
            world.lane.unsampled, world.lane.sampling = 0, lambda: sampling
        world.lane.slow_after = -1.0 if seed % 2 else 1.0
        play(world, rng, [commands_of(rng, client, min(100, 8 * longest))[0] for client in range(6)], longest)
        return world

    both(run)


@settings(deadline=None, max_examples=150)
@given(stream=streams(), cuts=st.lists(st.integers(0, 400), max_size=6), look=st.booleans(), tolls=st.booleans(),
       left=st.tuples(st.integers(-1, 6), st.integers(-1, 300)))  # fmt: skip
def test_any_requests(stream: bytes, cuts: list[int], look: bool, tolls: bool, left: tuple[int, int]) -> None:
    def run() -> World:
        world = World(2, max_key=60, quick=6000)
        warm = world.client()
        for key in (b"A.b:1", b"plain", b":x"):
            for name in (b"GET", b"get", b"SET"):
                world.feed(warm, encode_request([name, key, *([b"v"] if name == b"SET" else [])]))
        world.run_to_the_end()
        if look:
            for head, plan in world.route.plans.items():
                world.route.plans[head] = plan | 2
        if tolls:
            world.route.tolls = Toll(*left), Toll(*left[::-1])
        client = world.client()
        for piece in at_cuts(stream, cuts):
            world.now += 0.001
            world.feed(client, piece)
        world.run_to_the_end()
        return world

    both(run)


@pytest.mark.parametrize("word", [b"IFEQ", b"ifeq", b"iFeQ", b"IFEX", b"IFEQQ"])
@pytest.mark.parametrize("place", [b"SET A.b:1 %b", b"SET A.b:1 x\r\n$4\r\n%b\r\n", b"SET %b v"])
def test_the_word_that_is_looked_for(word: bytes, place: bytes) -> None:
    def run() -> World:
        world = World(1)
        warm = world.client()
        world.feed(warm, encode_request([b"SET", b"A.b:1", b"v"]))
        for head, plan in world.route.plans.items():
            world.route.plans[head] = plan | 2
        world.feed(warm, encode_request((place % word).split(b" ", 2)))
        world.run_to_the_end()
        return world

    both(run)


def test_limits_beyond_a_machines_integers() -> None:
    def run() -> World:
        world = World(2, max_key=10**30, quick=10**30)
        client = world.client()
        for _ in range(3):
            world.feed(client, encode_request([b"SET", b"A.b:1", b"v"]) + encode_request([b"GET", b"A.b:1"]) * 3)
            world.route.tolls = world.route.tolls or (Toll(10**30, 10**30), Toll(3, 10**30))
        world.run_to_the_end()
        return world

    both(run)


@pytest.mark.parametrize(
    "start",
    [-70, 190, 2**30 - 900, 2**30 + 900, 2**31 - 900, 2**31 + 900, 2**60 - 900, 2**60 + 900, 2**62, 2**63 - 900, 2**64],
)
def test_counters_across_the_bounds_of_pythons_digits(start: int) -> None:
    """Those that only the lane holds are changed in place: up, and down (tolls), over 256, 2^30, 2^60 and 2^63."""

    def run() -> World:
        world = World(2)
        client = world.client()
        requests = [encode_request([b"SET", b"A.b:%d" % number, b"v"]) for number in range(7)]
        requests.append(encode_request([b"GET", b"A.b:1"]))
        world.feed(client, b"".join(requests))
        for account in (world.reads, world.writes):
            account.calls = account.bytes_in = account.bytes_out = start
            account.buckets[:] = [start] * len(account.buckets)
        world.route.tolls = Toll(start, start), Toll(start, start)
        client.received = start
        for _ in range(25):
            world.now += 0.0001
            world.feed(client, b"".join(requests))
        world.run_to_the_end()
        return world

    both(run)


def test_a_number_that_somebody_holds_stays_what_it_is() -> None:
    world, toll = World(2), Toll(10**6, 10**6)
    client = world.client()
    account, requests = world.writes, encode_request([b"SET", b"A.b:1", b"v"]) * 20

    def numbers() -> list[float]:
        counted = [account.calls, account.bytes_in, account.seconds, account.buckets[7]]
        return [*counted, client.received, toll.commands, toll.bytes]

    world.feed(client, requests)
    world.route.tolls = toll, toll
    held: list[list[float]] = []
    said: list[str] = []
    for _ in range(50):
        world.feed(client, requests)
        world.now += 0.0001
        world.run_to_the_end()
        held.append(numbers())
        said.append(repr(held[-1]))
    assert [repr(each) for each in held] == said
    assert len(set(said)) == 50


@pytest.mark.parametrize("waiting", [0, 1])
def test_replies_that_are_given_at_once(waiting: int) -> None:
    """Also behind what is unanswered; they are counted as others are."""

    def run() -> World:
        world = World(1)
        client = world.client()
        world.feed(client, encode_request([b"GET", b"A.b:1"]) * waiting)
        for count, misses, seconds in ((1, 0, 0.0), (3, 2, 0.0007), (16, 0, 10.0**9)):
            raw = b"$-1\r\n" * misses + b"$1\r\nv\r\n" * (count - misses)
            world.lane.give(client, world.reads, raw, count, misses, 30 * count, seconds)
            world.settle()
            assert bool(world.said[client.id].raw) is not bool(waiting)
        world.run_to_the_end()
        assert world.said[client.id].raw.endswith(b"$1\r\nv\r\n" * 16)
        assert world.reads.calls == 20 + waiting
        return world

    both(run)


@pytest.mark.parametrize("prefix", [b"", b"A.b:"])
def test_slots_of_keys_of_all_lengths(prefix: bytes) -> None:
    """CRC-32 is taken over eight bytes at a time, and over the rest."""

    def run() -> World:
        world = World(7)
        client = world.client()
        client.prefix = prefix
        for length in range(70):
            key = bytes((7 * length + 31 * index) % 251 for index in range(length))
            world.feed(client, encode_request([b"GET", b"A.b:" + key]) * 2)
        world.run_to_the_end()
        return world

    both(run)


@settings(deadline=None, max_examples=150)
@given(replies=st.lists(REPLY, max_size=12), cuts=st.lists(st.integers(0, 6000), max_size=5), commands=st.integers(0, 12),
       leaves=st.booleans(), slow=st.booleans())  # fmt: skip
def test_any_replies(replies: list[bytes], cuts: list[int], commands: int, leaves: bool, slow: bool) -> None:
    def run() -> World:
        world = World(1)
        world.lane.slow_after = -1.0 if slow else 1.0
        client, other = world.client(), world.client()
        other.line = client.line
        for number in range(commands):
            who = other if number % 3 == 2 else client
            world.feed(who, encode_request([b"MGET", b"a", b"b"] if number % 5 == 4 else [b"GET", b"A.b:%d" % number]))
        if leaves:
            world.leave(other)
        up = world.shards[0].lines[client.line]
        world.links[up].take(up)
        try:
            for piece in at_cuts(b"".join(replies), cuts):
                world.now += 0.0001
                if up.state.value == "up" and piece:
                    world.lane.fed_by(up, piece, world.now)
                    world.settle()
        except (ProtocolError, ValueError) as problem:
            world.said[99].raw = type(problem).__name__.encode()
        return world

    both(run)


@pytest.mark.parametrize("reply", [b"$1%b\r\n" % (b"0" * 30), b"$-1%b\r\n+OK\r\n" % (b"0" * 30)])
def test_lengths_beyond_a_machines_integers(reply: bytes) -> None:
    def run() -> World:
        world = World(1)
        client = world.client()
        world.feed(client, encode_request([b"GET", b"A.b:1"]) * 2)
        up = world.shards[0].lines[client.line]
        world.links[up].take(up)
        world.lane.fed_by(up, reply, world.now)
        world.settle()
        return world

    both(run)


ODD = [
    b"$+3\r\nabc\r\n", b"$03\r\nabc\r\n", b"$3\nabc\r\n", b"$ 3\r\nabc\r\n", b"$-2\r\n", b"$-1\r\n", b"$x\r\n", b"$\r\n",
    b"*-1\r\n", b"*-2\r\n", b"*x\r\n", b"|0\r\n:1\r\n", b"|-1\r\n:1\r\n", b"%-1\r\n", b"!-1\r\n", b"=3\r\nabc\r\n", b"x\r\n",
    b"\x00\r\n", b"\r\n", b"", b"*2\r\n$3\r\nabc\r\nx", b"*2\r\n$3\r\nabc\r\n$04\r\nabcd\r\n", b"$1000000000\r\n",
    b"*%b\r\n" % (b"9" * 40), b"*20\r\n" + b"$3\r\nabc\r\n" * 19 + b"$4\r\nabcd\r\n",
    b"*20\r\n" + b"$12\r\n0123456789ab\r\n" * 20,
]  # fmt: skip


def state(measurer: Measurer) -> list[object]:
    return [getattr(measurer, name) for name in Measurer.__slots__]


def outcome(measuring: Callable[[], object]) -> object:
    try:
        return measuring()
    except ProtocolError as problem:
        return problem.text


def check_measuring(raw: bytes, cuts: list[int]) -> None:
    """Where a reply ends, C and Python say alike: in one piece, cut off, and followed over portions."""
    for end in {*cuts, len(raw) - 1, len(raw)}:
        part = raw[: max(0, end)]
        for begin in (0, len(part) // 2):
            assert outcome(lambda: native.paths.measure(part, begin)) == outcome(lambda: measure(part, begin)), (part, begin)  # noqa: B023 - called at once
    for portions in (at_cuts(raw, cuts), bytewise(raw)):
        ours, theirs = Measurer(), Measurer()
        for portion in portions:
            said = outcome(lambda: native.paths.follow(ours, portion, 0))  # noqa: B023 - called at once
            assert said == outcome(lambda: theirs.feed(portion, 0)), portions  # noqa: B023 - called at once
            if said != -1:
                break
            assert state(ours) == state(theirs), portions


@settings(deadline=None, max_examples=100)
@given(raw_replies, st.lists(st.integers(0, 400), max_size=6))
def test_where_replies_end(raw: bytes, cuts: list[int]) -> None:
    check_measuring(raw[:400], cuts)


@pytest.mark.parametrize("raw", ODD)
def test_where_odd_replies_end(raw: bytes) -> None:
    check_measuring(raw + b"+behind\r\n", [*range(len(raw))])


def test_limits_that_are_written_twice_agree() -> None:
    there = {
        "LONGEST_HEAD": machine.LONGEST_HEAD, "MOST_ABOVE": machine.MOST_ABOVE, "KEY_LENGTHS": len(split.LENGTHS),
        "BUFFERED_REPLY": machine.BUFFERED_REPLY, "RECEIVE": driver.RECEIVE, "PAUSE_LOOK": driver.PAUSE_LOOK,
        "PAUSE_LOOK_COMMANDS": driver.PAUSE_LOOK_COMMANDS, "BUCKETS": ledger.BUCKETS, "LOOK": compiled.LOOK,
        "SUM": compiled.SUM, "ALL_OK": compiled.ALL_OK, "MERGE": compiled.MERGE, "MORE": compiled.MORE,
        "MOST_PARTS": split.MOST_PARTS,
    }  # fmt: skip
    assert there == native.paths.LIMITS


def test_what_is_no_part_of_a_lane_is_refused() -> None:
    world = World(1)
    client, up = world.client(), world.shards[0].lines[0]
    for call in (
        lambda: native.paths.scan(world.lane, up, b"", 1.0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.scan(world.lane, client, "x", 1.0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.scan(world.lane, client, b"x", 1),
        lambda: native.paths.fed_by(world.lane, client, b"", 1.0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.serve(world.lane, [], [], 1.0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.rounds(world.lane, world.lane, {}, [], 0, 1.0, 1),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.follow(world.lane, b"x", 0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.follow(Measurer(), "x", 0),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.measure(b"x", "0"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: native.paths.bind(int),
        lambda: native.paths.bind_transport(int),  # type: ignore[arg-type]  # wrong on purpose
    ):
        with pytest.raises((TypeError, AttributeError)):
            call()


def test_slots_that_hold_something_else_raise_and_do_no_harm() -> None:
    for name, value in (("inflight", "x"), ("out", ()), ("queue", None), ("scanner", None), ("prefix", None)):
        world = World(1)
        client = world.client()
        world.feed(client, encode_request([b"GET", b"A.b:1"]))
        world.routes[NO_COLON] = world.route
        before = getattr(client, name)
        setattr(client, name, value)
        world.lane.in_c = True
        request = encode_request([b"GET", b"A.b:1"])
        with pytest.raises((TypeError, AttributeError)):
            feed_and_end(world, client, request)
        setattr(client, name, before)


def feed_and_end(world: World, client: Client, data: bytes) -> None:
    world.lane.feed(client, data, 1.0)
    world.run_to_the_end()
