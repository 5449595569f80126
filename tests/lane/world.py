"""A lane between scripted clients and model stores, without sockets: any portions, any order, every invariant looked at."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from zlib import crc32

import attrs

from kvgate.backend import Endpoint
from kvgate.lane.client import NO_ROUTES, Client
from kvgate.lane.machine import Lane
from kvgate.lane.slots import Call, Expired, Pending, Quiet, Slot
from kvgate.lane.upstream import Shard, State, Upstream
from kvgate.metrics.ledger import Account, Accounts, Ledger
from kvgate.policy.compiled import NO_COLON, Route
from kvgate.wire.request import RequestScanner, encode_request

SPLIT_AT = 2**16


def bulk(value: bytes | None) -> bytes:
    """A bulk string as stores answer it."""
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


class Store:
    """What one store process holds and answers."""

    def __init__(self) -> None:
        """Begin empty."""
        self.data: dict[bytes, bytes] = {}
        self.executed: list[list[bytes]] = []
        self.says: dict[bytes, bytes] = {}  # upper-case command → the reply that it gets whatever its arguments

    def execute(self, args: list[bytes]) -> bytes:
        """The raw reply."""
        self.executed.append(args)
        name, data = args[0].upper(), self.data
        if name in self.says:
            return self.says[name]
        if name == b"GET":
            return bulk(data.get(args[1]))
        if name == b"SET":
            data[args[1]] = args[2]
            return b"+OK\r\n"
        if name == b"APPEND":
            data[args[1]] = data.get(args[1], b"") + args[2]
            return b":%d\r\n" % len(data[args[1]])
        if name == b"DEL":
            return b":%d\r\n" % sum(data.pop(key, None) is not None for key in args[1:])
        if name == b"EXISTS":
            return b":%d\r\n" % sum(key in data for key in args[1:])
        if name == b"MSET":
            data.update(zip(args[1::2], args[2::2], strict=True))
            return b"+OK\r\n"
        if name == b"MGET":
            return b"*%d\r\n%b" % (len(args) - 1, b"".join(bulk(data.get(key)) for key in args[1:]))
        return b"-ERR unknown command\r\n"


class Link:
    """The connection of one upstream to its store, as kernel and network would be."""

    def __init__(self, store: Store) -> None:
        """Nothing is under way."""
        self.store = store
        self.scanner = RequestScanner()
        self.replies = b""
        self.received = b""

    def take(self, up: Upstream, most: int = SPLIT_AT) -> int:
        """Send up to `most` bytes, as the driver's flush does against a kernel that takes no more."""
        if not up.unsent and not up.held:
            up.unsent = b"".join(up.out)
            up.out.clear()
        data = bytes(up.unsent[:most])
        up.unsent = up.unsent[len(data) :]
        up.sent += len(data)
        self.received += data
        pos = 0
        while pos < len(data):
            pos = self.scanner.feed(data, pos)
            if self.scanner.args is not None:
                assert self.scanner.canonical, "a store gets nothing but canonical requests"
                assert self.scanner.args, "a store gets nothing that has no reply"
                self.replies += self.store.execute(self.scanner.args)
        return len(data)


@attrs.define
class Said:
    """What a client got."""

    raw: bytes = b""
    closed: bool = False


class World:
    """The gate above, the driver below, clients and stores around a lane. `learn`: the lane may take what was seen."""

    def __init__(self, shards: int = 1, *, learn: bool = True, max_key: int = 4096, quick: int = 8192) -> None:
        """Connections exist from the beginning."""
        self.lane = Lane(self)
        self.ledger = Ledger()
        self.reads = self.ledger.account("T.x", "get", readonly=True)
        self.writes = self.ledger.account("T.x", "set", readonly=False)
        self.learn = learn
        self.shards = [Shard("s", index, Endpoint(url="redis://store")) for index in range(shards)]
        self.slot_of: Callable[[bytes], int] = lambda key: crc32(_hashed(key)) % shards
        self.route = Route(
            None, {}, Accounts(self.ledger, "T.x"), max_key=max_key, max_value=quick,
            tables=[[shard.lines[line] for shard in self.shards] for line in range(4)], slot_of=self.slot_of, is_crc32=True,
        )
        self.max_key = max_key
        self.routes: dict[bytes, Route] = {}
        self.links: dict[Upstream, Link] = {}
        self.stores = [Store() for _ in self.shards]
        for shard, store in zip(self.shards, self.stores, strict=True):
            for up in shard.lines:
                self.links[up] = Link(store)
                up.state = State.UP
                self.lane.upstreams.add(up)
        self.said: dict[int, Said] = defaultdict(Said)
        self.clients: list[Client] = []
        self.tasks: list[Callable[[], None]] = []  # slow tasks that would end now
        self.quiet: set[int] = set()
        self.asked = 0
        self.now = 100.0
        self.connecting: list[Upstream] = []
        self.left_clients: list[Client] = []
        self.follow: Account | None = None
        self.samples: list[tuple[int, Account, list[bytes]]] = []
        self.slow_ones: list[tuple[Upstream, Slot, int, float]] = []

    def client(self) -> Client:
        """A new one."""
        client = Client(len(self.clients), None)
        client.routes = self.routes if self.learn else NO_ROUTES
        self.clients.append(client)
        return client

    # ------------------------------------------------------------------ the gate

    def shard_of(self, key: bytes) -> Shard:
        """Where a key lies."""
        return self.shards[self.slot_of(key)]

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Forward, split, run alone, or answer."""
        self.asked += 1
        name, lane = args[0].upper(), self.lane
        quiet = client.id in self.quiet
        if name in (b"GET", b"SET", b"APPEND") and len(args) == (2 if name == b"GET" else 3):
            if len(args[1]) > self.max_key:
                lane.reply(client, b"-ERR key too long\r\n")
                return
            readonly = name == b"GET"
            if self.learn and not quiet:
                self.route.learn(frame[: frame.find(b"\r\n$", 5)], len(args) - 2, readonly=readonly)
                head, colon, _ = args[1].partition(b":")
                self.routes[head if colon else NO_COLON] = self.route
            up = self.shard_of(args[1]).lines[client.line]
            lane.forward(client, up, frame, now, self.reads if readonly else self.writes, quiet=quiet)
        elif name == b"MGET" and len(args) > 1:
            self._split(client, args[1:], now)
        elif name == b"SLOW":
            lane.alone(client, lambda: self.tasks.append(lambda: lane.done(client, bulk(b"slow " + args[1]))))
        elif name == b"TASK":
            slot = lane.pending(client, now, len(frame), quiet=quiet)

            def end() -> None:
                slot.fill(bulk(b"task " + args[1]))
                lane.settle(client)

            self.tasks.append(end)
        elif name in (b"OFF", b"ON"):
            (self.quiet.add if name == b"OFF" else self.quiet.discard)(client.id)
            client.routes = self.routes if name == b"ON" and self.learn else NO_ROUTES
        elif name == b"QUIT":
            lane.reply(client, b"+OK\r\n")
            lane.hang_up(client)
        elif name == b"POST":
            lane.abort(client)
        elif not quiet:
            lane.reply(client, bulk(b" ".join(args)))

    def _split(self, client: Client, keys: list[bytes], now: float) -> None:
        slot = self.lane.pending(client, now, 10, quiet=client.id in self.quiet)
        groups: dict[Shard, list[bytes]] = {}
        for key in keys:
            groups.setdefault(self.shard_of(key), []).append(key)
        answers: list[bytes] = []

        def answer(raw: bytes) -> None:
            answers.append(raw)
            if len(answers) == len(groups):
                errors = [raw for raw in answers if raw[:1] == b"-"]
                slot.fill(errors[0] if errors else b":%d\r\n" % sum(raw.count(b"$") - raw.count(b"$-1") for raw in answers))
                self.lane.settle(client)

        for shard, some in groups.items():
            frame = encode_request([b"MGET", *some])
            self.lane.ask(shard.lines[client.line], Call(frame, now, answer, readonly=True, owner=client))

    def run_batch(self, client: Client) -> None:
        """Nothing is collected here."""

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """Say so."""
        del args, now
        self.lane.reply(client, b"-ERR %d is too large\r\n" % size)

    def left(self, client: Client) -> None:
        """Remember who left."""
        self.left_clients.append(client)

    def half_closed(self, client: Client) -> None:
        """Nobody blocks here."""

    def slow(self, up: Upstream, slot: Slot, replies: int, now: float) -> None:
        """Remember what was slow."""
        self.slow_ones.append((up, slot, replies, now))

    def sampled(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """Remember what was shown."""
        self.samples.append((client.id, account, args))
        return self.follow

    # ------------------------------------------------------------------ the driver

    def feed(self, client: Client, data: bytes) -> None:
        """Bytes of a client, unless it is closed."""
        if not client.closed:
            self.lane.feed(client, data, self.now)
            self.settle()

    def settle(self) -> None:
        """As the driver does after each round; every invariant is looked at."""
        lane = self.lane
        while lane.resumable or lane.touched_clients or lane.touched_upstreams or lane.to_drop or lane.to_connect:
            lane.resume(self.now)
            for up in lane.touched_upstreams:
                up.touched = False
            lane.touched_upstreams.clear()
            for client in lane.touched_clients:
                client.touched = False
                if not client.cut:
                    self.said[client.id].raw += b"".join(client.out)
                client.out.clear()
                if client.closing and not client.closed:
                    self.leave(client)
            lane.touched_clients.clear()
            while lane.to_drop:
                self.drop(*lane.to_drop.pop())
            while lane.to_connect:
                self.connecting.append(lane.to_connect.pop())
        self.check()

    def leave(self, client: Client) -> None:
        """The client's connection ends."""
        self.said[client.id].closed = True
        self.lane.leave(client)

    def drop(self, up: Upstream, why: str = "cut") -> None:
        """The store's connection ends: what the store has executed by now it has executed."""
        if up.state is State.UP:
            self.links[up] = Link(self.links[up].store)
            self.lane.lost(up, why)
            while self.lane.to_connect:
                self.connecting.append(self.lane.to_connect.pop())

    def connect(self) -> None:
        """All that connect succeed."""
        while self.connecting:
            self.lane.connected(self.connecting.pop())
        self.settle()

    def deliver(self, up: Upstream, most: int = SPLIT_AT) -> int:
        """Bring up to `most` bytes of the store's replies."""
        link = self.links[up]
        data, link.replies = link.replies[:most], link.replies[most:]
        if data:
            self.lane.fed_by(up, data, self.now)
            self.settle()
        return len(data)

    def run_to_the_end(self) -> None:
        """Everything that is under way arrives."""
        busy = True
        while busy:
            busy = bool(self.tasks or self.connecting)
            while self.tasks:
                self.tasks.pop(0)()
                self.settle()
            self.connect()
            for up, link in list(self.links.items()):
                while up.state is State.UP and (up.out or up.unsent) and link.take(up):
                    busy = True
                while self.deliver(up):
                    busy = True

    # ------------------------------------------------------------------ what always holds

    def check(self) -> None:
        """The counters say what the queues hold; a slot stands where it has to."""
        standing = [slot for up in self.links for slot in up.fifo]
        in_fifos = {id(slot) for slot in standing}
        assert len(in_fifos) == len(standing)
        for client in self.clients:
            _check_client(client, in_fifos)
        for slot in standing:
            if slot.client is not None:
                assert slot in slot.client.queue
            if isinstance(slot, Expired):
                assert slot.client is None
        for up in self.links:
            _check_upstream(up)

    def check_rest(self) -> None:
        """Nothing is left of anything."""
        self.check()
        for client in self.clients:
            assert not client.queue
            assert (client.inflight, client.inflight_bytes, client.held, client.backlog_size) == (0, 0, 0, 0)
        for up in self.links:
            assert not up.fifo
            assert up.queued == up.sent
            assert up.measurer is None


def _check_client(client: Client, in_fifos: set[int]) -> None:
    forwarded: list[Slot] = [slot for slot in client.queue if not isinstance(slot, Pending)]
    pending = [slot for slot in client.queue if isinstance(slot, Pending)]
    assert client.inflight == sum(slot.want for slot in forwarded) + sum(slot.count for slot in pending)
    assert client.inflight_bytes == sum(len(s.frames) for s in forwarded if s.want) + sum(s.weight for s in pending)
    assert client.backlog_size == sum(map(len, client.backlog))
    assert client.held == sum(len(part) for slot in client.queue for part in slot.parts) + sum(map(len, client.withheld))
    for slot in forwarded:
        assert (id(slot) in in_fifos) == bool(slot.want)
        assert isinstance(slot, Quiet) is not slot.emits
    if client.queue and not client.queue[0].want:
        raise AssertionError("the head of the queue is answered and not written")
    assert not (client.closed and client.queue)


def _check_upstream(up: Upstream) -> None:
    assert up.queued - up.sent == len(up.unsent) + sum(map(len, up.out))
    end = 0
    for slot in up.fifo:
        assert slot.want > 0
        assert slot.offset >= end
        end = slot.offset + len(slot.frames)
    assert end <= up.queued


def _hashed(key: bytes) -> bytes:
    """The text that is hashed: between the first braces, if anything is there, as Redis Cluster says."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else key


def portions(rng: random.Random, data: bytes, longest: int) -> Iterator[bytes]:
    """`data` cut anywhere."""
    pos = 0
    while pos < len(data):
        step = rng.randint(1, longest)
        yield data[pos : pos + step]
        pos += step
