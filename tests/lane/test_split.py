"""Commands with several keys in the lane: one reply of all parts, in order, whatever the portions, failures and limits."""

import random

import pytest

from kvgate.commands.spec import Merge
from kvgate.errors import ProtocolError, in_doubt, try_again
from kvgate.lane.client import Client
from kvgate.lane.slots import Part, Split
from kvgate.lane.split import MOST_PARTS, elements, merged
from kvgate.lane.upstream import Upstream
from kvgate.policy.compiled import ALL_OK, IN_ORDER, NO_COLON, SUM, Route, Toll
from kvgate.wire.request import encode_request
from tests.lane.cutting import Cutting, cut_commands
from tests.lane.test_machine import play
from tests.lane.world import World, bulk
from tests.wire.feeding import at_cuts, bytewise

KEYS = [b"A.b:%d" % number for number in range(6)]
PREFIXES = [b"", b"Ab.c:", b"Ab.c{1:"]


def mget(*keys: bytes) -> bytes:
    return encode_request([b"MGET", *(keys or KEYS)])


def mset(*words: bytes) -> bytes:
    return encode_request([b"MSET", *(words or [word for key in KEYS for word in (key, b"v" + key)])])


def delete(*keys: bytes) -> bytes:
    return encode_request([b"DEL", *(keys or KEYS)])


def learned(shards: int = 2, **options: object) -> tuple[Cutting, Client]:
    """A world whose lane knows the three commands above, and has been asked about nothing since."""
    world = Cutting(shards, **options)  # type: ignore[arg-type]  # passed on
    client = world.client()
    world.feed(client, mset() + mget() + delete())
    world.run_to_the_end()
    world.said[client.id].raw, world.asked = b"", 0
    for store in world.stores:
        store.executed.clear()
    return world, client


def lines(world: World, client: Client) -> list[Upstream]:
    return [shard.lines[client.line] for shard in world.shards]


def said(world: World, client: Client) -> bytes:
    raw, world.said[client.id].raw = world.said[client.id].raw, b""
    return raw


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize(("seed", "longest"), [(1, 1), (2, 7), (3, 60), (4, 400), (5, 5000), (6, 100_000)])
def test_every_client_gets_its_own_replies_in_order(seed: int, longest: int, prefix: bytes, *, learn: bool) -> None:
    rng = random.Random(seed)
    world = Cutting(3, learn=learn, prefix=prefix)
    scripts = [cut_commands(rng, number, 12 if longest < 10 else 60) for number in range(5)]
    play(world, rng, [sent for sent, _ in scripts], longest)
    assert [world.said[number].raw for number in range(len(scripts))] == [wanted for _, wanted in scripts]
    for shard, store in enumerate(world.stores):
        for args in store.executed:
            step = 2 if args[0].upper() in (b"MSET", b"SET") else 1
            assert all(key.startswith(prefix) and world.slot_of(key) == shard for key in args[1::step])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_known_asks_nobody(prefix: bytes) -> None:
    world, client = learned(prefix=prefix)
    world.feed(client, mset() + mget() + delete() + mget())
    world.run_to_the_end()
    values = b"".join(bulk(b"v" + key) for key in KEYS)
    assert said(world, client) == b"+OK\r\n*6\r\n" + values + b":6\r\n*6\r\n" + 6 * b"$-1\r\n"
    assert world.asked == 0
    assert [len(store.executed) for store in world.stores] == [4, 4]
    world.check_rest()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_portions_cut_anywhere(prefix: bytes) -> None:
    data = mset() + mget(*KEYS[:3], *KEYS[:3]) + delete()
    wanted = b"+OK\r\n*6\r\n" + 2 * b"".join(bulk(b"v" + key) for key in KEYS[:3]) + b":6\r\n"
    for pieces in [bytewise(data), *(at_cuts(data, [cut]) for cut in range(1, len(data)))]:
        world, client = learned(prefix=prefix)
        for piece in pieces:
            world.feed(client, piece)
        world.run_to_the_end()
        assert said(world, client) == wanted


def test_all_keys_on_one_store_are_a_run() -> None:
    """The client's own bytes, in one piece with what is like them."""
    world, client = learned()
    tagged = [b"A.b:{t}%d" % number for number in range(6)]
    data = mget(*tagged) * 3
    world.lane.feed(client, data, world.now)
    (up,) = world.lane.touched_upstreams
    assert [(slot.want, slot.frames) for slot in up.fifo] == [(3, data)]
    world.settle()


def test_the_last_of_a_key_that_is_named_twice_stays() -> None:
    world, client = learned()
    a, b = (next(key for key in KEYS if world.slot_of(key) == shard) for shard in (0, 1))
    world.feed(client, mset(a, b"1", b, b"2", a, b"3", b, b"4", a, b"5", b, b"6") + mget(a, b, a, b, a, b))
    world.run_to_the_end()
    assert said(world, client) == b"+OK\r\n*6\r\n" + 3 * (bulk(b"5") + bulk(b"6"))
    assert world.asked == 0


def test_keys_of_another_namespace_are_asked_about() -> None:
    world, client = learned()
    other = Route(None, dict(world.route.plans), world.route.accounts, max_key=4096, max_value=8192,
                  tables=world.route.tables, slot_of=world.slot_of, is_crc32=True)  # fmt: skip
    world.routes[b"C.d"] = other
    world.learn = False
    for number, keys in enumerate(([*KEYS[:5], b"C.d:1"], [b"C.d:1", *KEYS[:5]], [*KEYS[:5], b"E.f:1"], [*KEYS[:5], b"e"])):
        world.lane.feed(client, mget(*keys), world.now)
        assert world.asked == number + 1
    world.settle()


def test_long_keys_and_values_are_asked_about() -> None:
    world, client = learned(max_key=20, quick=200)
    long = b"A.b:" + b"k" * 17
    requests = [mget(*KEYS[:5], long), mget(long, *KEYS[:5]), mset(*[b"A.b:1", b"v" * 30] * 6)]
    for number, request in enumerate(requests):
        world.lane.feed(client, request, world.now)
        assert world.asked == number + 1
    world.settle()


def test_lengths_that_are_no_lengths_are_refused() -> None:
    for good, bad in ((b"$1\r\nv", b"$01\r\nv"), (b"$5\r\nA.b:1", b"$05\r\nA.b:1"), (b"$1\r\nv", b"$x\r\nv")):
        world, client = learned()
        request = mset(b"A.b:0", b"w", *[b"A.b:1", b"v"] * 5)
        assert good in request
        world.feed(client, request.replace(good, bad, 1))
        assert said(world, client) == b"-ERR Protocol error: invalid bulk length\r\n"
        assert client.hung_up


def test_an_odd_number_of_words_is_no_plan() -> None:
    route = World(1).route
    route.learn(b"*4\r\n$4\r\nMSET", 2, readonly=False, merge=Merge.ALL_OK)
    assert not route.plans


@pytest.mark.parametrize(("command", "wanted"), [(mget(), b"-WRONGTYPE of 1\r\n"), (delete(), b"-WRONGTYPE of 1\r\n")])
def test_the_error_of_one_store_is_the_reply(command: bytes, wanted: bytes) -> None:
    world, client = learned()
    for shard, store in enumerate(world.stores):
        if shard == 1:
            store.says[b"MGET"] = store.says[b"DEL"] = b"-WRONGTYPE of %d\r\n" % shard
    world.feed(client, command + mset())
    world.run_to_the_end()
    assert said(world, client) == wanted + b"+OK\r\n"


def test_of_two_errors_the_first_keys_is_the_reply() -> None:
    world, client = learned()
    for shard, store in enumerate(world.stores):
        store.says[b"MGET"] = b"-ERR %d\r\n" % shard
    for first in (0, 1):
        keys = sorted(KEYS, key=lambda key: world.slot_of(key) != first)
        for late in (0, 1):
            world.feed(client, mget(*keys))
            for up in lines(world, client)[:: -1 if late else 1]:  # whoever answers first
                world.links[up].take(up)
                world.deliver(up)
            assert said(world, client) == b"-ERR %d\r\n" % first


ODD = (b"+OK\r\n", b":x\r\n", b"*1\r\n$1\r\nv\r\n", b"*9\r\n" + b":1\r\n" * 9, b"*-1\r\n", b"$-1\r\n")


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("command", [mget(), delete()])
def test_a_reply_that_cannot_be_merged_ends_the_client_alone(odd: bytes, command: bytes) -> None:
    world, client = learned()
    other = world.client()
    other.line = client.line
    world.stores[0].says[b"MGET"] = world.stores[0].says[b"DEL"] = odd
    world.feed(client, command)
    world.feed(other, encode_request([b"GET", KEYS[0]]))
    world.run_to_the_end()
    assert world.said[client.id].closed
    assert world.lane.failures == 1
    assert said(world, other) == b"$-1\r\n"


def test_elements_that_are_no_strings() -> None:
    world, client = learned()
    for store in world.stores:
        count = sum(world.slot_of(key) == world.stores.index(store) for key in KEYS)
        store.says[b"MGET"] = b"*%d\r\n" % count + b":7\r\n" * (count - 1) + b"_\r\n"
    world.feed(client, mget())
    world.run_to_the_end()
    assert sorted(elements(said(world, client))) == [b":7\r\n"] * 4 + [b"_\r\n"] * 2


# ---------------------------------------------------------------------- stores that fail


DOUBT = in_doubt("cut").reply


@pytest.mark.parametrize(("command", "wanted"), [(mget(), b"*6\r\n" + 6 * b"$-1\r\n"), (mset(), DOUBT), (delete(), DOUBT)])
def test_a_read_is_asked_again_and_a_write_is_in_doubt(command: bytes, wanted: bytes) -> None:
    world, client = learned()
    one, two = lines(world, client)
    world.feed(client, command)
    world.links[one].take(one)
    world.deliver(one)
    world.links[two].take(two)
    world.drop(two)
    world.run_to_the_end()
    assert said(world, client) == wanted
    world.check_rest()


def test_a_store_that_is_down() -> None:
    world, client = learned()
    up = lines(world, client)[0]
    world.lane.lost(up, "gone")
    world.lane.unreachable(up, "refused")
    for number in range(2):
        world.feed(client, mget() + encode_request([b"GET", next(k for k in KEYS if world.slot_of(k) == 1)]))
        world.run_to_the_end()
        assert said(world, client) == up.refusal + b"$-1\r\n"
        assert world.lane.retries == 0, number
    account = world.ledger.account("T.x", "mget", readonly=True)
    assert account.codes == {b"TRYAGAIN": 2}


def test_a_connection_that_is_being_made_is_waited_for() -> None:
    world, client = learned()
    up = lines(world, client)[0]
    world.lane.lost(up, "gone")
    world.feed(client, mset())
    assert world.connecting == [up]
    assert said(world, client) == b""
    world.run_to_the_end()
    assert said(world, client) == b"+OK\r\n"


def test_a_store_that_does_not_answer() -> None:
    world, client = learned()
    one, two = lines(world, client)
    world.feed(client, mset() + mget())
    world.links[one].take(one)
    world.deliver(one)
    world.links[two].take(two)
    world.now += world.lane.budget + 0.01
    world.lane.tick(world.now)
    world.settle()
    why = f"store {two.name} did not answer within {world.lane.budget} s"
    assert said(world, client) == in_doubt(why).reply + try_again(why).reply
    world.run_to_the_end()
    assert said(world, client) == b"", "late replies are dropped"
    world.check_rest()


def test_a_client_that_leaves() -> None:
    world, client = learned()
    other = world.client()
    other.line = client.line
    world.feed(client, mset() + mget())
    world.feed(other, mset() + delete())
    world.leave(client)
    world.run_to_the_end()
    assert said(world, other) == b"+OK\r\n:6\r\n"
    world.check_rest()


def test_parts_wait_for_what_was_sent_before() -> None:
    """The reply of a command that is cut is not written before those of earlier ones, and holds back later ones."""
    world, client = learned()
    one, two = lines(world, client)
    on = [next(key for key in KEYS if world.slot_of(key) == shard) for shard in (0, 1)]
    get = [encode_request([b"GET", key]) for key in on]
    world.feed(client, get[0] + get[1] + mset() + mget(*on, *on, *on) + get[0] + get[1])
    for up in (two, one):
        assert said(world, client) == b""
        world.links[up].take(up)
        world.deliver(up)
    values = [bulk(b"v" + key) for key in on]
    assert said(world, client) == b"$-1\r\n$-1\r\n+OK\r\n*6\r\n" + b"".join(values * 3) + b"".join(values)
    world.check_rest()


# ---------------------------------------------------------------------- counting and limits


def test_every_part_is_counted_and_the_command_once() -> None:
    world, client = learned()
    account = world.ledger.account("T.x", "mget", readonly=True)
    calls, size, commands = account.calls, account.bytes_in, world.lane.commands
    world.lane.feed(client, mget(), world.now)
    slots = [up.fifo[-1] for up in world.lane.touched_upstreams]
    assert all(isinstance(slot, Part) for slot in slots)
    (whole,) = client.queue
    assert isinstance(whole, Split)
    assert (client.inflight, client.inflight_bytes) == (1, len(mget()))
    world.settle()
    world.run_to_the_end()
    assert (account.calls - calls, account.bytes_in - size) == (2, sum(len(slot.frames) for slot in slots))
    assert world.lane.commands == commands + 1


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_toll_is_paid_once(prefix: bytes) -> None:
    world, client = learned(prefix=prefix)
    whole = len(mget(*(prefix + key for key in KEYS)))
    toll = Toll(3, 100 * whole)
    world.route.tolls = (None, toll)
    world.lane.feed(client, mget() * 3, world.now)
    assert (toll.commands, toll.bytes, world.asked) == (0, 97 * whole, 0)
    world.lane.feed(client, mget() * 2, world.now)
    assert world.asked == 2, "a spent toll is asked about"
    toll.commands, toll.bytes = 5, whole + 1
    world.lane.feed(client, mget() * 3, world.now)
    assert (toll.commands, toll.bytes, world.asked) == (3, 1 - whole, 3)
    world.settle()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_sample_is_shown_and_cut(prefix: bytes) -> None:
    world, client = learned(prefix=prefix)
    world.lane.unsampled, world.lane.sampling = 2, lambda: 1
    world.lane.feed(client, mget() * 6, world.now)
    shown = [b"MGET", *(prefix + key for key in KEYS)]
    account = world.ledger.account("T.x", "mget", readonly=True)
    assert world.samples == [(client.id, account, shown)] * 2  # the third, and the fifth
    assert (world.asked, world.lane.unsampled, len(client.queue)) == (0, 0, 6)
    world.settle()


def test_a_sample_that_may_be_followed_goes_by_itself() -> None:
    world, client = learned()
    world.lane.unsampled, world.lane.sampling, world.lane.followed = 2, lambda: 1 << 40, True
    world.lane.feed(client, mget() * 3, world.now)
    assert (world.asked, world.lane.unsampled, world.samples) == (1, 0, [])
    world.settle()


def test_many_in_one_portion_let_others_have_their_turn() -> None:
    world, client = learned()
    world.lane.feed(client, mget() * 300, world.now)
    assert len(client.queue) == 128
    assert client.backlog_size == 172 * len(mget())
    world.settle()
    world.run_to_the_end()
    assert said(world, client) == (b"*6\r\n" + 6 * b"$-1\r\n") * 300


def test_more_stores_than_the_lane_cuts_for() -> None:
    world = Cutting(MOST_PARTS + 1, quick=1 << 20)
    client = world.client()
    keys = [b"A.b:%d" % number for number in range(2000)]
    some = [next(key for key in keys if world.slot_of(key) == shard) for shard in range(MOST_PARTS + 1)]
    for number, asked in ((MOST_PARTS, 1), (MOST_PARTS + 1, 2), (MOST_PARTS, 2), (MOST_PARTS + 1, 3)):
        world.lane.feed(client, mget(*some[:number]), world.now)
        assert world.asked == asked
    world.settle()
    world.run_to_the_end()
    assert world.said[client.id].raw.count(b"$-1\r\n") == 2 * (2 * MOST_PARTS + 1)


def test_merging() -> None:
    arrays = [b"*2\r\n$1\r\na\r\n$-1\r\n", b"*1\r\n*1\r\n:1\r\n"]
    assert merged(IN_ORDER, arrays, bytes([0, 1, 0])) == b"*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n"
    assert merged(SUM, [b":2\r\n", b":0\r\n", b":40\r\n"], b"\0\1\2") == b":42\r\n"
    assert merged(ALL_OK, [b"+OK\r\n", b"-ERR no\r\n", b"-ERR not\r\n"], b"\0\1\2") == b"-ERR no\r\n"
    for merge, raws in ((IN_ORDER, arrays), (IN_ORDER, [b"+OK\r\n"] * 2), (SUM, [b"+1\r\n"] * 2)):
        with pytest.raises(ProtocolError):
            merged(merge, raws, bytes([0, 1]))


def test_keys_without_a_colon_are_alike() -> None:
    world, client = learned()
    assert NO_COLON not in world.routes
    world.feed(client, mget(b"a", b"b", b"c", b"d", b"e", b"f"))
    assert world.asked == 1
    world.feed(client, mget(b"g", b"b", b"c", b"d", b"e", b"A.b:1") + mget(b"A.b:1", b"b", b"c", b"d", b"e", b"f"))
    assert world.asked == 1
    world.run_to_the_end()
    assert said(world, client) == (b"*6\r\n" + 6 * b"$-1\r\n") * 3
