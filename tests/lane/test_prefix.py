"""Clients with a prefix: the lane puts it before every key, whatever the portions, and pays and counts for what it sends."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from kvgate.lane.client import Client
from kvgate.policy.compiled import Toll, in_pieces
from kvgate.wire.request import encode_request, split_request
from tests.lane.test_machine import commands_of, play
from tests.lane.world import World, bulk
from tests.wire.feeding import at_cuts, bytewise

PREFIX = b"Ab.c:"
WITH_KEYS = (b"GET", b"SET", b"APPEND", b"MGET")


class Home(World):
    """The gate above puts the prefix before keys too, as kvgate.server does."""

    def __init__(self, shards: int = 1, **options: Any) -> None:
        super().__init__(shards, **options)
        self.route.local = in_pieces
        self.route.max_key -= len(PREFIX)

    def client(self) -> Client:
        """A new one."""
        client = super().client()
        client.prefix = PREFIX
        return client

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Make keys whole."""
        name = args[0].upper()
        if name in WITH_KEYS and client.prefix:
            ends = len(args) if name == b"MGET" else 2
            args = [args[0], *(PREFIX + key for key in args[1:ends]), *args[ends:]]
            frame = encode_request(args)
        super().request(client, args, frame, now)


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize(("seed", "longest"), [(2, 7), (3, 60), (4, 900), (5, 100_000)])
def test_every_client_gets_its_own_replies_in_order(seed: int, longest: int, *, learn: bool) -> None:
    rng = random.Random(seed)
    world = Home(3, learn=learn)
    scripts = [commands_of(rng, client, 60 if longest > 7 else 15) for client in range(6)]
    play(world, rng, [sent for sent, _ in scripts], longest)
    for client, (_, wanted) in enumerate(scripts):
        assert world.said[client].raw == wanted
    for shard, store in enumerate(world.stores):
        assert store.executed
        for args in store.executed:
            assert all(key.startswith(PREFIX) for key in args[1 : None if args[0].upper() == b"MGET" else 2]), args
            assert world.slot_of(args[1]) == shard


def test_a_run_is_one_piece_of_whole_requests() -> None:
    world = Home()
    client = world.client()
    commands = [[b"SET", b"k", b"v"], [b"SET", b"k", b"v" * 5000], [b"SET", b"longer", b""], [b"SET", b"Ab.c:k", b"v"]]
    world.feed(client, encode_request([b"SET", b"first", b"v"]))
    asked = world.asked
    up = world.shards[0].lines[client.line]
    up.out.clear()
    world.lane.feed(client, b"".join(map(encode_request, commands)), world.now)
    assert world.asked == asked, "all were taken by the lane"
    assert len(up.fifo) == 2
    wanted = [[name, PREFIX + key, value] for name, key, value in commands]
    assert up.fifo[1].frames == b"".join(map(encode_request, wanted))
    assert up.fifo[1].want == 4


def test_portions_cut_anywhere() -> None:
    data = b"".join(encode_request([b"SET", key, b"v" + key]) for key in (b"a", b"bb", b"bb", b"", b"x:y"))
    data += b"".join(encode_request([b"GET", key]) for key in (b"a", b"bb", b"", b"x:y"))
    wanted = b"+OK\r\n" * 5 + b"".join(bulk(b"v" + key) for key in (b"a", b"bb", b"", b"x:y"))
    for portions in [bytewise(data), *(at_cuts(data, [cut]) for cut in range(1, len(data)))]:
        world = Home(2)
        client = world.client()
        world.feed(client, encode_request([b"SET", b"z", b""]) + encode_request([b"GET", b"z"]))
        world.run_to_the_end()
        world.said[client.id].raw = b""
        for portion in portions:
            world.feed(client, portion)
        world.run_to_the_end()
        assert world.said[client.id].raw == wanted
        held = {key for store in world.stores for key in store.data}
        assert held == {PREFIX + key for key in (b"z", b"a", b"bb", b"", b"x:y")}


def test_the_longest_key_counts_the_prefix() -> None:
    world = Home(max_key=12)
    client = world.client()
    for key in (b"1234567", b"12345678"):
        world.feed(client, encode_request([b"SET", b"z", b""]) + encode_request([b"SET", key, b"v"]))
    world.run_to_the_end()
    assert world.said[client.id].raw == b"+OK\r\n" * 3 + b"-ERR key too long\r\n"


def test_a_prefix_that_changes_within_a_portion() -> None:
    """As SELECT does: what came before it goes to the old namespace, what comes behind it to the new one."""
    world = Home()
    client = world.client()
    world.feed(client, encode_request([b"SET", b"k", b"0"]))
    request = world.request

    def select(client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        if args[0] == b"SELECT":
            client.prefix = PREFIX if args[1] == b"0" else b""
            world.lane.reply(client, b"+OK\r\n")
        else:
            request(client, args, frame, now)

    world.request = select  # type: ignore[method-assign]
    set_k: Callable[[bytes], bytes] = lambda value: encode_request([b"SET", b"k", value])  # noqa: E731
    plain = encode_request([b"SET", b"Ab.c:p", b"1"])
    world.feed(client, set_k(b"1") + b"SELECT 1\r\n" + plain + set_k(b"2") + b"SELECT 0\r\n" + set_k(b"3") + set_k(b"4"))
    world.run_to_the_end()
    sent = [b" ".join(args[1:]).decode() for args in world.stores[0].executed]
    assert sent == ["Ab.c:k 0", "Ab.c:k 1", "Ab.c:p 1", "k 2", "Ab.c:k 3", "Ab.c:k 4"]


def test_tolls_are_paid_for_what_is_sent() -> None:
    world = Home()
    client = world.client()
    world.feed(client, encode_request([b"GET", b"k"]))
    asked, toll = world.asked, Toll(3, 10_000)
    world.route.tolls = (None, toll)
    world.feed(client, encode_request([b"GET", b"k"]) * 5)
    whole = encode_request([b"GET", PREFIX + b"k"])
    assert world.asked == asked + 2
    assert (toll.commands, toll.bytes) == (0, 10_000 - 3 * len(whole))


def test_commands_of_a_backend_that_executes_them() -> None:
    world = Home()
    client = world.client()
    taken: list[tuple[list[bytes], bytes]] = []

    def local(client: Client, spec: Any, args: list[bytes], frame: bytes, now: float, account: Any) -> None:
        assert spec == "GET"
        taken.append((args, frame))
        world.lane.reply(client, b"$-1\r\n")

    world.feed(client, encode_request([b"SET", b"k", b"v"]))
    world.route.local = local
    world.route.learn(b"*2\r\n$3\r\nGET", 0, readonly=True, spec="GET")
    get, put = encode_request([b"GET", b"k"]), encode_request([b"SET", b"k", b"w"])
    world.feed(client, put + get + put + put + get)
    world.run_to_the_end()
    whole = encode_request([b"GET", PREFIX + b"k"])
    assert taken == [([b"GET", PREFIX + b"k"], whole)] * 2
    assert [args[1] for args in world.stores[0].executed] == [PREFIX + b"k"] * 4
    assert world.said[client.id].raw == b"+OK\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n$-1\r\n"
    assert split_request(whole) == [b"GET", PREFIX + b"k"]
