"""What the lane counts of the runs that it passes on, and whom it shows samples."""

from kvgate.lane.machine import NEVER
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import Toll
from kvgate.wire.request import encode_request
from tests.lane.world import World


def get(key: bytes = b"T.x:k") -> bytes:
    return encode_request([b"GET", key])


def put(key: bytes = b"T.x:k", value: bytes = b"v") -> bytes:
    return encode_request([b"SET", key, value])


def test_replies_are_counted_by_command_with_their_misses_and_errors() -> None:
    world = World(1)
    client = world.client()
    for piece in (get(), put(), get() * 3 + put() * 2 + get()):
        world.feed(client, piece)
        world.run_to_the_end()
    reads, writes = world.ledger.account("T.x", "get", readonly=True), world.ledger.account("T.x", "set", readonly=False)
    assert (reads.calls, writes.calls) == (5, 3)
    assert reads.misses == 1, "the first GET, before anything was set"
    assert reads.bytes_in == 5 * len(get())
    assert writes.bytes_out == 3 * len(b"+OK\r\n")
    assert sum(reads.buckets) == 5
    world.check_rest()


def test_what_cannot_be_sent_is_counted_as_an_error_without_a_time() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get())
    up = world.shards[0].lines[client.line]
    world.lane.lost(up, "gone")
    world.lane.unreachable(up, "gone")
    world.feed(client, get() * 2)
    assert (world.reads.calls, world.reads.errors) == (3, 3)
    assert sum(world.reads.buckets) == 0


def test_a_sample_is_exactly_the_command_that_the_count_falls_on() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get())
    world.run_to_the_end()
    world.lane.sampling, world.lane.unsampled = (lambda: 3), 3
    world.feed(client, b"".join(get(b"T.x:%d" % number) for number in range(10)))
    shown = [args[1] for _, _, args in world.samples]
    assert shown[0] == b"T.x:3", "three were passed over"
    world.lane.sampling = None
    world.feed(client, get() * 10)
    assert world.lane.unsampled > NEVER - 20
    world.run_to_the_end()
    world.check_rest()


def test_a_command_that_is_followed_is_a_slot_of_its_own() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get())
    world.run_to_the_end()
    before = world.reads.calls
    followed = Account("T.x", "get", readonly=True)
    world.follow = followed
    world.lane.sampling, world.lane.unsampled = (lambda: 3), 3
    world.feed(client, b"".join(get(b"T.x:%d" % number) for number in range(10)))
    assert [slot.want for slot in client.queue] == [3, 1, 3, 1, 2]
    assert [slot.frames for slot in client.queue if slot.account is followed] == [get(b"T.x:3"), get(b"T.x:7")]
    assert world.lane.unsampled == 1
    world.run_to_the_end()
    assert (followed.calls, world.reads.calls) == (2, before + 8)
    world.check_rest()


def test_a_run_ends_where_the_toll_ends() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get() + put())
    world.run_to_the_end()
    writes, reads = Toll(100, 1 << 30), Toll(3, 1 << 30)
    world.route.tolls = (writes, reads)
    asked = world.asked
    world.feed(client, get() * 5)
    assert reads.commands == 0
    assert world.asked == asked + 2, "two were asked about above the lane"
    world.feed(client, put() * 5)
    assert writes.commands == 95
    assert writes.bytes == (1 << 30) - 5 * len(put())
    assert world.asked == asked + 2
    world.run_to_the_end()
    world.check_rest()


def test_samples_of_deep_runs_are_the_commands_that_the_count_falls_on_whatever_their_values_hold() -> None:
    hostile = [b"plain", b"*", b"a\r\n*3\r\n$3\r\nSET", b"\r\n*"]
    for values in ([b"plain"] * 4, hostile):
        world = World(1)
        client = world.client()
        world.feed(client, put())
        world.run_to_the_end()
        sent = [(b"T.x:%d" % number, values[number % 4]) for number in range(40)]
        gaps = iter([0, 6, 0, 20, 100])
        world.lane.sampling, world.lane.unsampled = (lambda gaps=gaps: next(gaps)), 2
        world.feed(client, b"".join(put(*each) for each in sent))
        at = [2, 3, 10, 11, 32]
        assert [(args[1], args[2]) for _, _, args in world.samples] == [sent[index] for index in at]
        assert world.lane.unsampled == 32 + 1 + 100 - 40
        world.run_to_the_end()
        world.check_rest()


def test_slow_replies_and_what_is_given_up_are_shown_with_their_upstream() -> None:
    world = World(1)
    world.lane.slow_after = 0.01
    client = world.client()
    up = world.shards[0].lines[client.line]
    world.feed(client, get() * 3)
    world.now += 0.005
    world.run_to_the_end()
    assert world.slow_ones == []
    world.feed(client, get() * 3)
    world.now += 0.02
    world.run_to_the_end()
    assert [(of, replies) for of, _, replies, _ in world.slow_ones] == [(up, 3)]
    world.slow_ones.clear()
    world.feed(client, put())
    world.now += world.lane.budget + 1
    world.lane.tick(world.now)
    assert [(of, slot.account, replies) for of, slot, replies, _ in world.slow_ones] == [(up, world.writes, 1)]
    assert world.writes.codes == {b"TRYAGAIN": 1}, "it was not sent"
