"""The lane without sockets: any portions in any order give every client the replies of its own commands, in order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.lane.client import Client
from kvgate.policy.compiled import NO_COLON
from kvgate.wire.request import encode_request
from tests.lane.world import World, bulk, portions
from tests.wire.feeding import at_cuts, bytewise


def commands_of(rng: random.Random, client: int, count: int) -> tuple[bytes, bytes]:
    """What one client sends, and what it has to get: its keys are its own, so that a dict says it."""
    sent, wanted, data = [], [], dict[bytes, bytes]()
    keys = [b"App.T%d:%d" % (client % 7, client), b"plain%d" % client, b"{tag%d}:x" % client, b"Ab.c:{%d}" % client]
    for number in range(count):
        key, value = rng.choice(keys), b"%d" % number * rng.choice((1, 3, 50, 1500))
        kind = rng.choice(("GET", "SET", "APPEND", "MGET", "ECHO", "inline", "SLOW", "TASK", "empty", "GET", "SET", "quiet"))
        name = rng.choice((kind, kind.lower(), kind.title())).encode()
        if kind == "GET":
            sent.append(encode_request([name, key]))
            wanted.append(bulk(data.get(key)))
        elif kind == "SET":
            data[key] = value
            sent.append(encode_request([name, key, value]))
            wanted.append(b"+OK\r\n")
        elif kind == "APPEND":
            data[key] = data.get(key, b"") + value
            sent.append(encode_request([name, key, value]))
            wanted.append(b":%d\r\n" % len(data[key]))
        elif kind == "MGET":
            sent.append(encode_request([name, *keys]))
            wanted.append(b":%d\r\n" % len(data))
        elif kind in ("SLOW", "TASK"):
            sent.append(encode_request([name, b"%d" % number]))
            wanted.append(bulk(b"%b %d" % (kind.lower().encode(), number)))
        elif kind == "inline":
            sent.append(rng.choice((b"GET %b\r\n", b"get  '%b'\n")) % key)
            wanted.append(bulk(data.get(key)))
        elif kind == "empty":
            sent.append(rng.choice((b"*0\r\n", b"\r\n", b"*-1\r\n", b"\n")))
        elif kind == "quiet":
            data[key] = value
            sent.append(b"OFF\r\n" + encode_request([b"SET", key, value]) + b"GET x\r\n" + b"ON\r\n")
        else:
            sent.append(encode_request([name, value]))
            wanted.append(bulk(name + b" " + value))
    return b"".join(sent), b"".join(wanted)


def play(world: World, rng: random.Random, streams: list[bytes], longest: int) -> None:
    """Feed, send, answer and end tasks in any order, in any portions, until all is done."""
    feeds = [(world.client(), portions(rng, stream, longest)) for stream in streams]
    links = list(world.links.items())
    while feeds:
        at = rng.randrange(len(feeds))
        client, rest = feeds[at]
        data = next(rest, None)
        if data is None:
            feeds[at] = feeds[-1]
            feeds.pop()
        else:
            world.feed(client, data)
        for _ in range(2):
            up, link = rng.choice(links)
            link.take(up, rng.randint(1, longest))
            world.deliver(rng.choice(links)[0], rng.randint(1, longest))
        if world.tasks and rng.random() < 0.5:
            world.tasks.pop(rng.randrange(len(world.tasks)))()
            world.settle()
    world.run_to_the_end()
    world.check_rest()


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize(("seed", "longest"), [(1, 1), (2, 7), (3, 60), (4, 400), (5, 5000), (6, 100_000)])
def test_every_client_gets_its_own_replies_in_order(seed: int, longest: int, *, learn: bool) -> None:
    rng = random.Random(seed)
    world = World(3, learn=learn)
    scripts = [commands_of(rng, number, 12 if longest < 10 else 40) for number in range(4 if longest < 10 else 12)]
    play(world, rng, [sent for sent, _ in scripts], longest)
    assert [world.said[number].raw for number in range(len(scripts))] == [wanted for _, wanted in scripts]


def test_thousands_of_clients() -> None:
    rng = random.Random(11)
    world = World(4)
    world.check = lambda: None  # type: ignore[method-assign]  # the small runs look at every step; here only the end
    scripts = [commands_of(rng, number, 5) for number in range(3000)]
    play(world, rng, [sent for sent, _ in scripts], 200)
    del world.check
    world.check_rest()
    wrong = [number for number, (_, wanted) in enumerate(scripts) if world.said[number].raw != wanted]
    assert wrong == []


KEYS = st.sampled_from(
    [b"A.b:1", b"A.b:22", b"plain", b"{t}1", b"A.b:{t}", b"", b":x", b"k" * 40, b"k" * 70, b"A.b:" + b"y" * 5000]
)
VALUES = st.sampled_from([b"", b"v", b"\r\n", b"$3\r\nGET\r\n", b"x" * 9, b"x" * 10, b"x" * 4095, b"x" * 4096, b"x" * 10_000])
NAMES = st.sampled_from([b"GET", b"get", b"Get", b"SET", b"set", b"APPEND", b"ECHO", b"MGET"])
GET, SET = b"*2\r\n$3\r\nGET\r\n", b"*3\r\n$3\r\nSET\r\n$5\r\nA.b:1\r\n"
ODD = st.sampled_from(
    [
        *(b"*0\r\n", b"\r\n", b"*-1\r\n", b"\n", b"GET A.b:1\r\n", b"set plain 'a b'\n", b"QUIT\r\n"),
        *(GET + b"$5\r\nA.b:1xx", b"*2\r\n$3\r\nGETxx$5\r\nA.b:1\r\n", b"*2\rx$3\r\nGET\r\n$5\r\nA.b:1\r\n"),
        *(SET + b"$1\rxv\r\n", SET + b"$1\r\nvxx", SET + b"$04\r\nabcd\r\n", SET + b"$+4\r\nabcd\r\n", SET + b"$\r\nv\r\n"),
        *(SET + b"$" + b"9" * 5000 + b"\r\n", b"*02\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        *(GET + b"$05\r\nA.b:1\r\n", GET + b"$-1\r\n", GET + b":5\r\n", GET + b"$5\r\nA.b:1\r\n*x\r\n"),
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    items = []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            items.append(draw(ODD))
        else:
            name = draw(NAMES)
            size = {b"GET": 1, b"ECHO": 1, b"MGET": 3}.get(name.upper(), 2)
            items.append(encode_request([name, *draw(st.lists(st.one_of(KEYS, VALUES), min_size=size, max_size=size))]))
    return b"".join(items)


def run(pieces: list[bytes], *, learn: bool) -> tuple[bytes, bool, list[bytes]]:
    """What the client got, whether it was closed, and what each connection carried. The lane knows the usual commands."""
    world = World(2, learn=learn, max_key=60, quick=6000)
    if learn:
        warm = world.client()
        for key in (b"A.b:1", b"plain", b":x"):
            for name in (b"GET", b"get"):
                world.feed(warm, encode_request([name, key]))
            world.feed(warm, encode_request([b"SET", key, b"v"]))
        world.run_to_the_end()
        for link in world.links.values():
            link.received = b""
            link.store.data.clear()
    client = world.client()
    for piece in pieces:
        world.feed(client, piece)
    world.run_to_the_end()
    world.check_rest()
    said = world.said[client.id]
    line = [shard.lines[client.line] for shard in world.shards]
    return said.raw, said.closed, [world.links[up].received for up in line]


@settings(deadline=None, max_examples=150)
@given(stream=streams(), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_the_fast_path_does_what_the_slow_one_does(stream: bytes, cuts: list[int]) -> None:
    wanted = run([stream], learn=False)
    assert run([stream], learn=True) == wanted
    assert run(at_cuts(stream, cuts), learn=True) == wanted


@pytest.mark.parametrize(
    "stream",
    [
        b"".join(map(encode_request, ([b"GET", b"a"], [b"SET", b"A.b:1", b"0123456789"], [b"SET", b"plain", b"v"]))),
        b"\r\n" + encode_request([b"SET", b"plain", b"v"]) + b"*0\r\nGET plain\r\n" + encode_request([b"get", b"plain"]),
        encode_request([b"SET", b"A.b:1", b"x" * 12]) + b"*2\r\n$3\r\nGET\r\n$05\r\nA.b:1\r\n",
    ],
)
def test_every_cut_gives_the_same(stream: bytes) -> None:
    wanted = run([stream], learn=False)
    assert run(bytewise(stream), learn=True) == wanted
    for cut in range(1, len(stream)):
        assert run([stream[:cut], stream[cut:]], learn=True) == wanted, cut


def test_a_long_request_does_not_open_the_way_to_others() -> None:
    """The name of a request of 1,000 and more arguments stands behind the place where the lane looks for it."""
    world = World(1)
    client = world.client()
    world.route.learn(b"*1000", 998, readonly=False)
    world.routes[NO_COLON] = world.route
    asked = world.asked
    world.feed(client, encode_request([b"FLUSH", *[b"x"] * 999]))
    world.run_to_the_end()
    assert world.asked == asked + 1
    assert world.stores[0].executed == []


def test_portions_that_wait_are_looked_at_once() -> None:
    """A client that sends many commands which run alone: each costs one look at one portion, not at all that waits."""
    world = World(1)
    client = world.client()
    for _ in range(64):
        world.feed(client, encode_request([b"SLOW", b"1"]) + encode_request([b"ECHO", b"x" * 60_000]))
    sizes = [len(part) for part in client.backlog]
    assert max(sizes) < 140_000
    world.run_to_the_end()
    assert world.said[0].raw == (bulk(b"slow 1") + bulk(b"ECHO " + b"x" * 60_000)) * 64
    world.check_rest()


def test_bytes_one_by_one_are_kept_together_while_they_wait() -> None:
    world = World(1)
    client = world.client()
    stream = encode_request([b"SLOW", b"1"]) + encode_request([b"ECHO", b"y" * 3000]) * 3
    for piece in bytewise(stream):
        world.feed(client, piece)
    assert len(client.backlog) == 1
    world.run_to_the_end()
    assert world.said[0].raw == bulk(b"slow 1") + bulk(b"ECHO " + b"y" * 3000) * 3


def test_what_waits_is_known_by_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Client.arrived`: when a command's bytes came, however long they waited; what came within 10 ms counts as one."""
    world = World(1)
    client = world.client()
    seen: list[float] = []
    request = world.request

    def looked_at(client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        seen.append(client.arrived)
        request(client, args, frame, now)

    monkeypatch.setattr(world, "request", looked_at)
    for seconds in (0.0, 0.002, 0.008, 0.02, 1.0):
        world.now = 100.0 + seconds
        world.feed(client, encode_request([b"SLOW", b"1"]) * 2)
    world.now = 105.0
    world.run_to_the_end()
    assert seen == [100.0] * 6 + [100.02] * 2 + [101.0] * 2
    assert not client.backlog_since
    world.check_rest()


@pytest.mark.parametrize("commands", [[[b"SET", b"App.T:k", b"v" * 50]], [[b"SET", b"App.T:k", b"0"], [b"GET", b"App.T:k"]]])
def test_a_request_that_comes_in_pieces_is_one_for_the_lane(commands: list[list[bytes]]) -> None:
    """As a portion ends where a read ends, amid a request of a pipeline."""
    stream = b"".join(map(encode_request, commands))
    for cut in range(1, len(stream)):
        world = World(1)
        client = world.client()
        for command in (b"SET", b"GET"):
            world.feed(client, encode_request([command, b"App.T:k", b"first"][: 3 if command == b"SET" else 2]))
        world.run_to_the_end()
        asked = world.asked
        world.feed(client, stream[:cut])
        world.feed(client, stream[cut:])
        world.run_to_the_end()
        assert world.asked == asked, cut
        assert world.stores[0].data == {b"App.T:k": commands[0][2]}
        world.check_rest()
