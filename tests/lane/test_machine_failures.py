"""The lane when stores fail: what is retried, what is refused and how, and that nobody gets another one's reply."""

import random

import pytest

from kvgate.errors import ProtocolError
from kvgate.lane.client import Client
from kvgate.lane.slots import Call, Expired
from kvgate.lane.upstream import State, Upstream
from kvgate.wire.measure import measure
from kvgate.wire.request import encode_request
from tests.lane.world import World, bulk

READONLY = b"-READONLY You can't write against a read only replica.\r\n"


def get(key: bytes = b"k") -> bytes:
    return encode_request([b"GET", key])


def put(key: bytes = b"k", value: bytes = b"v") -> bytes:
    return encode_request([b"SET", key, value])


def replies(world: World, client: Client) -> list[bytes]:
    """What the client got since the last look, by first words; bulk strings whole."""
    raw, found = world.said[client.id].raw, []
    world.said[client.id].raw = b""
    while raw:
        end = measure(raw, 0)
        assert end > 0, raw[:100]
        found.append(raw[:end] if raw[:1] == b"$" else raw[:end].split()[0].rstrip(b":"))
        raw = raw[end:]
    return found


def line(world: World, client: Client) -> Upstream:
    return world.shards[0].lines[client.line]


# ---------------------------------------------------------------------- a store that is not the master any more


def test_a_refused_write_is_sent_to_the_new_master() -> None:
    world = World(1)
    writer, reader = world.client(), world.client()
    reader.line = writer.line
    world.stores[0].says[b"SET"] = READONLY
    world.feed(writer, put())
    world.feed(reader, get())
    up = line(world, writer)
    world.links[up].take(up)
    world.deliver(up)
    assert replies(world, reader) == [b"$-1\r\n"], "a read that was on its way is answered"
    assert world.connecting == [up], "the connection is left when the last one on its way is answered, whatever it was"
    world.stores[0].says.clear()
    world.run_to_the_end()
    assert replies(world, writer) == [b"+OK"]
    assert world.stores[0].data == {b"k": b"v"}
    world.check_rest()


def test_while_a_store_is_left_nothing_more_is_sent() -> None:
    world = World(1)
    writer, reader = world.client(), world.client()
    reader.line = writer.line
    world.stores[0].says[b"SET"] = READONLY
    up = line(world, writer)
    world.feed(writer, put())
    world.feed(reader, get(b"first"))
    world.links[up].take(up)
    world.deliver(up, len(READONLY))
    assert up.held
    for number in range(5):
        world.feed(reader, get(b"later%d" % number))
        assert world.links[up].take(up) == 0
    world.deliver(up)
    world.stores[0].says.clear()
    world.run_to_the_end()
    assert replies(world, reader) == [b"$-1\r\n"] * 6
    assert replies(world, writer) == [b"+OK"]


def test_a_refused_write_with_a_later_command_behind_it_is_for_the_client_to_repeat() -> None:
    world = World(1)
    client = world.client()
    world.stores[0].says[b"SET"] = READONLY
    world.feed(client, put(b"k", b"1") + put(b"k", b"2"))
    up = line(world, client)
    world.links[up].take(up)
    world.deliver(up)
    world.stores[0].says.clear()
    world.run_to_the_end()
    assert replies(world, client) == [b"-TRYAGAIN", b"+OK"]
    assert world.stores[0].data == {b"k": b"2"}
    world.check_rest()


@pytest.mark.parametrize("left", [0, 0.09])
def test_a_refused_write_whose_time_is_over_or_nearly_is_not_repeated(left: float) -> None:
    """Sent anew at the last moment it might be executed and not answered in time: told as in doubt, without need."""
    world = World(1)
    client = world.client()
    world.stores[0].says[b"SET"] = READONLY
    world.feed(client, put())
    world.now += world.lane.budget * (1 - left)
    up = line(world, client)
    world.links[up].take(up)
    world.deliver(up)
    world.stores[0].says.clear()
    world.run_to_the_end()
    assert replies(world, client) == [b"-TRYAGAIN"]
    assert len(world.stores[0].executed) == 1
    world.check_rest()


def test_a_block_is_never_repeated_in_part() -> None:
    world = World(1)
    got: list[bytes] = []
    up = world.shards[0].lines[0]
    frames = b"MULTI", b"EXEC"
    call = Call(b"".join(encode_request([name]) for name in frames), world.now, got.append, readonly=False, want=2)
    world.lane.ask(up, call)
    up.sent = up.queued
    up.out.clear()
    world.lane.fed_by(up, b"+OK\r\n" + READONLY, world.now)
    assert got[0] == b"+OK\r\n"
    assert got[1].startswith(b"-TRYAGAIN")
    assert not up.fifo


@pytest.mark.parametrize("word", [b"-NOAUTH Authentication required.\r\n", b"-NOPERM no permissions\r\n"])
def test_a_store_that_refuses_the_gate_is_no_fault_of_the_client(word: bytes) -> None:
    for cut in range(1, len(word) + 1):
        world = World(1)
        client = world.client()
        world.stores[0].says[b"SET"] = word
        world.feed(client, put() + get())
        up = line(world, client)
        world.links[up].take(up)
        world.deliver(up, cut)
        world.run_to_the_end()
        got = world.said[client.id].raw
        assert got.startswith(b"-ERR upstream refused the gate: NO"), cut
        assert got.endswith(b"\r\n$-1\r\n")
        world.check_rest()


def test_loading_is_passed_on() -> None:
    world = World(1)
    client = world.client()
    world.stores[0].says[b"GET"] = b"-LOADING Redis is loading the dataset in memory\r\n"
    world.feed(client, get())
    world.run_to_the_end()
    assert world.said[client.id].raw == b"-LOADING Redis is loading the dataset in memory\r\n"


# ---------------------------------------------------------------------- a connection that breaks


def lose(world: World, up: Upstream) -> None:
    world.drop(up)
    world.settle()


def test_what_was_not_sent_goes_on_the_next_connection() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, put() + get())
    lose(world, line(world, client))
    world.run_to_the_end()
    assert replies(world, client) == [b"+OK", b"$1\r\nv\r\n"]
    assert len(world.stores[0].executed) == 2


def test_a_sent_write_is_in_doubt_and_a_sent_read_is_repeated() -> None:
    world = World(1)
    client, other = world.client(), world.client()
    other.line = client.line
    up = line(world, client)
    world.feed(client, put())
    world.feed(other, get())
    world.feed(client, get())
    world.links[up].take(up)
    lose(world, up)
    assert replies(world, client) == [b"-INDOUBT"], "at once"
    world.run_to_the_end()
    assert replies(world, client) == [b"$1\r\nv\r\n"]
    assert replies(world, other) == [b"$1\r\nv\r\n"]
    assert world.lane.retries == 2
    world.check_rest()


def marked(raw: bytes) -> bytes:
    """A conversion whose work shows; errors pass."""
    return raw if raw[:1] == b"-" else b"$1\r\nc\r\n"


def test_converted_replies_keep_their_places_when_a_store_is_lost() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, put())
    world.lane.forward(client, up, get(), world.now, world.reads, convert=marked)
    world.run_to_the_end()
    assert replies(world, client) == [b"+OK", b"$1\r\nc\r\n"]
    world.lane.forward(client, up, get(), world.now, world.reads, convert=marked)
    world.feed(client, get())
    world.links[up].take(up)
    world.lane.forward(client, up, put(), world.now, world.writes, convert=marked)
    lose(world, up)
    world.run_to_the_end()
    assert replies(world, client) == [b"$1\r\nc\r\n", b"$1\r\nv\r\n", b"$1\r\nc\r\n"], "no write was sent"
    world.lane.forward(client, up, put(), world.now, world.writes, convert=marked)
    world.links[up].take(up)
    lose(world, up)
    assert replies(world, client) == [b"-INDOUBT"]
    world.check_rest()


@pytest.mark.parametrize("frame", [put(), encode_request([b"EVAL", b"s", b"1", b"k"])])
def test_a_converted_write_goes_to_the_new_master_even_as_a_script(frame: bytes) -> None:
    """Unlike a client's own script, which may have written before it met the refusal."""
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.stores[0].says.update({b"SET": READONLY, b"EVAL": READONLY})
    world.lane.forward(client, up, frame, world.now, world.writes, convert=marked)
    world.links[up].take(up)
    world.deliver(up)
    assert world.connecting == [up]
    world.stores[0].says.update({b"SET": b"+OK\r\n", b"EVAL": b"+OK\r\n"})
    world.run_to_the_end()
    assert replies(world, client) == [b"$1\r\nc\r\n"]
    world.check_rest()


def test_a_read_is_not_repeated_behind_a_later_write_that_was_sent() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, get() + put(b"k", b"new"))
    world.links[up].take(up)
    lose(world, up)
    world.run_to_the_end()
    assert replies(world, client) == [b"-TRYAGAIN", b"-INDOUBT"]
    world.check_rest()


def test_a_read_is_repeated_before_a_later_write_that_was_not_sent() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, get() + put(b"k", b"new"))
    world.links[up].take(up, len(get()))
    lose(world, up)
    world.run_to_the_end()
    assert replies(world, client) == [b"$-1\r\n", b"+OK"]


def test_a_read_is_repeated_once() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, get() * 3)
    world.links[up].take(up)
    world.deliver(up, len(b"$-1\r\n") + 2)
    for _ in range(2):
        lose(world, up)
        world.connect()
        world.links[up].take(up)
    world.run_to_the_end()
    assert replies(world, client) == [b"$-1\r\n", b"-TRYAGAIN", b"-TRYAGAIN"]
    assert len(world.stores[0].executed) == 5, "three, and the two that were unanswered once more"
    world.check_rest()


def test_a_store_that_cannot_be_reached_refuses_at_once() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, put())
    lose(world, up)
    world.lane.unreachable(up, "nobody there")
    world.settle()
    world.feed(client, get() + b"ECHO 1\r\n" + get())
    assert replies(world, client) == [b"-TRYAGAIN", b"-TRYAGAIN", bulk(b"ECHO 1"), b"-TRYAGAIN"]
    world.lane.connected(up)
    world.feed(client, get())
    world.run_to_the_end()
    assert replies(world, client) == [b"$-1\r\n"], "what was refused is never executed"


# ---------------------------------------------------------------------- time


def late(world: World) -> None:
    world.now += world.lane.budget + 0.1
    world.lane.tick(world.now)
    world.settle()


def test_what_is_answered_too_late_is_dropped_and_nobody_gets_it() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.stores[0].data[b"old"] = b"old"
    world.feed(client, put() + get(b"old") + get(b"old"))
    world.links[up].take(up)
    late(world)
    assert replies(world, client) == [b"-INDOUBT", b"-TRYAGAIN", b"-TRYAGAIN"]
    assert all(isinstance(slot, Expired) for slot in up.fifo)
    world.feed(client, get(b"new"))
    world.run_to_the_end()
    assert replies(world, client) == [b"$-1\r\n"]
    world.check_rest()


@pytest.mark.parametrize("taken", range(2 * len(put()) + 5))
def test_what_was_withdrawn_never_reaches_the_store(taken: int) -> None:
    """The kernel took any number of bytes of three writes of three clients; then time was over."""
    world = World(1)
    clients = [world.client() for _ in range(3)]
    for client in clients:
        client.line = 0
        world.feed(client, put(b"k", b"%d" % client.id))
    up = world.shards[0].lines[0]
    world.links[up].take(up, taken)
    late(world)
    sent = -(-taken // len(put()))
    assert [replies(world, client) for client in clients] == [[b"-INDOUBT"]] * sent + [[b"-TRYAGAIN"]] * (3 - sent)
    world.feed(clients[0], get())
    world.run_to_the_end()
    assert len(world.stores[0].executed) == sent + 1
    assert replies(world, clients[0]) == [bulk(b"%d" % (sent - 1)) if sent else b"$-1\r\n"]
    world.check_rest()


def test_a_mute_connection_is_closed_and_a_slow_one_is_not() -> None:
    world = World(1)
    client = world.client()
    up = line(world, client)
    world.feed(client, get())
    world.links[up].take(up)
    for _ in range(8):
        world.now += 1.0
        world.lane.fed_by(up, b">1\r\n:1\r\n", world.now)
        world.lane.tick(world.now)
        world.settle()
    assert world.connecting == []
    assert not world.lane.to_drop
    world.now += world.lane.silence + 0.1
    world.lane.tick(world.now)
    world.settle()
    assert up.state is State.IDLE, "nobody waits any more, so there is no hurry"


# ---------------------------------------------------------------------- large replies

LARGE = 3 * 1024 * 1024


@pytest.mark.parametrize("fill", [b"x", b">", b"-NOAUTH x\r\n", b"-READONLY x\r\n"])
def test_a_large_reply_is_passed_on_as_it_comes(fill: bytes) -> None:
    """Whatever it holds: what begins a portion in its middle is neither a push nor a store's word."""
    world = World(2)
    client = world.client()
    value = (fill * LARGE)[:LARGE]
    first, second = (next(key for key in (b"a", b"b", b"c", b"d") if world.shard_of(key) is shard) for shard in world.shards)
    world.stores[0].data[first] = value
    world.feed(client, get(first) + put(second) + get(second))
    one, two = (shard.lines[client.line] for shard in world.shards)
    for up in (one, two):
        world.links[up].take(up)
    for _ in range(20):
        world.deliver(one, 64 * 1024)
    assert client.streaming
    assert len(world.said[client.id].raw) > 1024 * 1024
    world.deliver(two, 3)
    world.deliver(two)
    world.lane.push(client, b">1\r\n:7\r\n")
    world.settle()
    assert client.streaming, "another connection's reply is not its end"
    world.run_to_the_end()
    assert world.said[client.id].raw == bulk(value) + b"+OK\r\n" + b"$1\r\nv\r\n" + b">1\r\n:7\r\n"
    assert client.held == 0
    world.check_rest()


def test_a_large_reply_that_is_not_its_clients_turn_waits() -> None:
    world = World(1)
    client = world.client()
    world.stores[0].data[b"k"] = b"x" * LARGE
    world.feed(client, b"TASK 1\r\n" + get())
    up = line(world, client)
    world.links[up].take(up)
    while world.deliver(up, 100_000):
        assert world.said[client.id].raw == b""
    assert client.held > LARGE
    world.run_to_the_end()
    assert world.said[client.id].raw == bulk(b"task 1") + bulk(b"x" * LARGE)


def test_a_large_reply_that_breaks_off_closes_its_client_alone() -> None:
    world = World(1)
    client, other = world.client(), world.client()
    other.line = client.line
    world.stores[0].data[b"k"] = b"x" * LARGE
    world.feed(client, get() + get(b"j"))
    world.feed(other, get(b"j"))
    up = line(world, client)
    world.links[up].take(up)
    world.deliver(up, LARGE // 2)
    got = world.said[client.id].raw
    lose(world, up)
    assert world.said[client.id].closed
    assert world.said[client.id].raw == got, "not another byte behind the beginning of a reply"
    world.run_to_the_end()
    assert replies(world, other) == [b"$-1\r\n"]
    world.check_rest()


# ---------------------------------------------------------------------- clients that leave


@pytest.mark.parametrize("value", [b">1\r\n:1\r\n" * 40, b"-NOAUTH x\r\n" * 40, b"-READONLY\r\n" * 40, b"x" * LARGE])
def test_a_client_that_leaves_in_the_middle_of_its_reply_shifts_nothing(value: bytes) -> None:
    """The rest of a reply is no push and no store's word, whatever it looks like."""
    whole = bulk(value)
    for cut in {*range(1, min(60, len(whole))), len(whole) // 2, len(whole) - 1}:
        world = World(1)
        client, other = world.client(), world.client()
        other.line = client.line
        world.stores[0].data[b"k"] = value
        world.feed(client, get())
        world.feed(other, get(b"j"))
        up = line(world, client)
        world.links[up].take(up)
        world.deliver(up, cut)
        world.leave(client)
        world.run_to_the_end()
        assert replies(world, other) == [b"$-1\r\n"], cut
        assert not up.held
        world.check_rest()


@pytest.mark.parametrize("steps", range(12))
def test_leaving_in_every_state(steps: int) -> None:
    rng = random.Random(steps)
    world = World(2)
    client, other = world.client(), world.client()
    stream = put() + get(b"j") + encode_request([b"MGET", b"a", b"b", b"c", b"d"])
    stream += b"TASK 1\r\nSLOW 2\r\n" + get() + b"OFF\r\n" + put()
    for at in range(0, len(stream), 30):
        world.feed(client, stream[at : at + 30])
        world.feed(other, get())
        if at // 30 == steps:
            world.leave(client)
        for up, link in world.links.items():
            link.take(up, rng.randint(0, 50))
            world.deliver(up, rng.randint(1, 20))
    if not client.closed:
        world.leave(client)
    world.check()
    world.run_to_the_end()
    assert len(replies(world, other)) == len(range(0, len(stream), 30))
    world.check_rest()


def test_half_close_finishes_everything() -> None:
    """What was received is answered, also what waits behind commands that run alone; then the client is closed."""
    world = World(1)
    client = world.client()
    world.feed(client, (b"SLOW 1\r\n" + get() + b"TASK 2\r\n") * 3)
    world.lane.ended(client)
    world.settle()
    assert not world.said[client.id].closed
    world.run_to_the_end()
    assert replies(world, client) == [bulk(b"slow 1"), b"$-1\r\n", bulk(b"task 2")] * 3
    assert world.said[client.id].closed


def test_what_follows_quit_is_not_executed() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get() + b"QUIT\r\n" + put())
    world.feed(client, put())
    world.lane.ended(client)
    world.settle()
    assert not world.said[client.id].closed, "the read is unanswered yet"
    world.run_to_the_end()
    assert replies(world, client) == [b"$-1\r\n", b"+OK"]
    assert world.said[client.id].closed
    assert world.stores[0].data == {}


def test_abort_says_nothing_more() -> None:
    world = World(1)
    client = world.client()
    world.feed(client, get() + b"ECHO 1\r\nPOST / HTTP/1.1\r\n" + put())
    assert world.said[client.id].closed
    world.run_to_the_end()
    assert world.said[client.id].raw == b""
    assert world.stores[0].data == {}
    world.check_rest()


# ---------------------------------------------------------------------- stores that speak unasked

PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"


@pytest.mark.parametrize("said", [PUSH, b"-ERR max number of clients reached\r\n", PUSH * 3])
def test_what_nobody_asked_for_is_dropped_whole(said: bytes) -> None:
    """At every cut, also when a command is sent between its two halves."""
    for cut in range(1, len(said) + 1):
        world = World(1)
        client = world.client()
        up = line(world, client)
        world.lane.fed_by(up, said[:cut], world.now)
        world.feed(client, get())
        if cut < len(said):
            world.lane.fed_by(up, said[cut:], world.now)
        world.run_to_the_end()
        assert replies(world, client) == [b"$-1\r\n"], cut
        world.check_rest()


def test_pushes_between_replies_are_dropped() -> None:
    for cut in range(1, 2 * len(PUSH) + 10):
        world = World(1)
        client = world.client()
        up = line(world, client)
        world.feed(client, get() + get())
        up.sent, up.out[:] = up.queued, []
        stream = PUSH + b"$1\r\na\r\n" + PUSH + b"$1\r\nb\r\n"
        for data in (stream[:cut], stream[cut:]):
            if data:
                world.lane.fed_by(up, data, world.now)
        world.settle()
        assert world.said[client.id].raw == b"$1\r\na\r\n$1\r\nb\r\n", cut


@pytest.mark.parametrize("said", [b"+OK\r\n", b"$1\r\nx\r\n", b"\r\n", b"nonsense"])
def test_a_reply_that_nobody_asked_for_is_out_of_step(said: bytes) -> None:
    world = World(1)
    with pytest.raises(ProtocolError):
        world.lane.fed_by(world.shards[0].lines[0], said, world.now)


# ---------------------------------------------------------------------- faults of the gate itself, and its lines


def test_an_answer_that_fails_costs_its_own_client_and_no_other() -> None:
    world = World(1)
    client, other = world.client(), world.client()
    other.line = client.line
    up = line(world, client)

    def fail(_raw: bytes) -> None:
        raise ValueError("a bug")

    world.lane.ask(up, Call(get(), world.now, fail, readonly=True, owner=client))
    world.feed(other, get())
    world.run_to_the_end()
    assert replies(world, other) == [b"$-1\r\n"]
    assert world.said[client.id].closed
    assert world.lane.failures == 1


def test_a_client_changes_its_connection_when_all_is_answered() -> None:
    """HELLO 3 in the middle of a pipeline: a later command may not overtake an earlier one on the other connection."""
    world = World(1)
    client = world.client()
    world.feed(client, put())
    world.lane.move(client, 2)
    world.feed(client, get())
    late_one = world.shards[0].lines[2]
    assert not late_one.fifo
    assert client.line == 0
    world.run_to_the_end()
    assert client.line == 2
    assert replies(world, client) == [b"+OK", b"$1\r\nv\r\n"]
    assert world.links[late_one].received == get()


@pytest.mark.parametrize("seed", range(6))
def test_any_faults_leave_one_reply_for_each_command(seed: int) -> None:
    """Connections break, stores refuse, time runs out, clients leave: who stays gets one reply for each command, in order."""
    rng = random.Random(seed)
    world = World(2)
    clients = [world.client() for _ in range(12)]
    asked: dict[int, list[bytes]] = {client.id: [] for client in clients}
    for step in range(600):
        client = rng.choice(clients)
        if not client.closed and rng.random() < 0.6:
            number = b"%d" % step
            kind = rng.randrange(6)
            key = b"k%d" % rng.randrange(6)
            frame = (get(key), put(key, number), encode_request([b"ECHO", number]), encode_request([b"TASK", number]),
                     encode_request([b"SLOW", number]), encode_request([b"MGET", b"a", b"b", b"c", key]))[kind]  # fmt: skip
            asked[client.id].append((b"", b"", b"ECHO ", b"task ", b"slow ", b"")[kind] + (number if 2 <= kind <= 4 else b""))
            world.feed(client, frame)
        up = rng.choice(list(world.links))
        world.links[up].take(up, rng.randint(1, 80))
        world.deliver(up, rng.randint(1, 40))
        if rng.random() < 0.05:
            world.drop(up)
            world.settle()
        if rng.random() < 0.1:
            world.connect()
        if rng.random() < 0.02:
            world.stores[rng.randrange(2)].says[b"SET"] = READONLY
        if rng.random() < 0.1:
            for store in world.stores:
                store.says.clear()
        world.now += rng.choice((0.0, 0.01, 0.3))
        world.lane.tick(world.now)
        world.settle()
        if world.tasks and rng.random() < 0.4:
            world.tasks.pop(rng.randrange(len(world.tasks)))()
            world.settle()
        if rng.random() < 0.01 and not client.closed:
            world.leave(client)
    for store in world.stores:
        store.says.clear()
    world.run_to_the_end()
    world.check_rest()
    for client in clients:
        if not client.closed:
            got = replies(world, client)
            assert len(got) == len(asked[client.id])
            for wanted, reply in zip(asked[client.id], got, strict=True):
                assert not wanted or reply == bulk(wanted)
