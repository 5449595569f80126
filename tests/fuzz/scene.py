"""The world that fuzzed bytes are played in: namespaces of several kinds on a few stores, tenants, transactions, pushes.

It stands above and below the lane as `World` does, but with all that a gate can make of a command: forward, split, convert,
ask a store for many replies, execute here at once, in a batch or later, queue, push, move, abort. Everything that the lane
tells it is written down, so that two runs can be compared step by step.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from zlib import crc32

import attrs

from kvgate.commands.spec import Merge
from kvgate.lane.client import NO_ROUTES, Client
from kvgate.lane.slots import Call, Pending, Slot
from kvgate.lane.split import merged, part
from kvgate.lane.upstream import Upstream
from kvgate.metrics.ledger import Account, Accounts
from kvgate.policy.compiled import MERGES, NO_COLON, Route, Toll, in_pieces
from kvgate.wire.request import encode_request
from tests.lane.cutting import KINDS
from tests.lane.cutting import READS as CUT_READS
from tests.lane.twins import Seen, seen, slots
from tests.lane.world import Link, Store, World, bulk

KEYED: Final = {b"GET": (0, 0), b"SET": (1, 4), b"APPEND": (1, 1), b"STRLEN": (0, 0), b"HSET": (2, 4), b"HGET": (1, 1)}
"""Commands whose one key is their first argument → fewest and most arguments behind it."""
_NEEDED: Final = {b"GET": 2, b"SET": 3, b"APPEND": 3, b"SLOW": 2, b"TASK": 2}
"""Commands of the model world → how many arguments are looked at, the name among them."""
READS: Final = frozenset({b"GET", b"STRLEN", b"HGET"})
MOST_CHECKED: Final = 100
"""Slots in queues up to which every one is looked at after every step."""
HOMES: Final = (b"", b"Ab.c:", b"Ex.h:")
"""What SELECT chooses from: no prefix, a namespace that is forwarded, one that is executed here."""


class OrdinaryStore(Store):
    """A store that anything may reach: a transaction is passed on as it was queued."""

    def execute(self, args: list[bytes]) -> bytes:
        """The raw reply; an error where arguments are missing."""
        name = args[0].upper()
        if len(args) < _NEEDED.get(name, 0) or (name == b"MSET" and len(args) % 2 == 0):
            self.executed.append(args)
            return b"-ERR wrong number of arguments\r\n"
        return super().execute(args)


class MuteStore(Store):
    """A store that says nothing by itself: its replies are fuzzed bytes."""

    def execute(self, args: list[bytes]) -> bytes:
        """No reply."""
        self.executed.append(args)
        return b""


class InOrder(set[Upstream]):
    """Connections in the order of their names: that of a set is another one in each run."""

    def __iter__(self) -> Iterator[Upstream]:
        """By name."""
        return iter(sorted(super().__iter__(), key=lambda up: up.name))


class Followed(Account):
    """The account of a command that is followed: it is told the same, and tells it to others."""

    __slots__ = ("_journal",)

    def __init__(self, namespace: str, command: str, journal: list[Any]) -> None:
        """Write into `journal` what is noted."""
        super().__init__(namespace, command, readonly=True)
        self._journal = journal

    def note(
        self, calls: int, seconds: float, errors: int = 0, misses: int = 0, bytes_in: int = 0, bytes_out: int = 0
    ) -> None:
        """Write it down."""
        self._journal.append(("note", calls, round(seconds, 9), errors, misses, bytes_in, bytes_out))
        super().note(calls, seconds, errors, misses, bytes_in, bytes_out)


@attrs.frozen
class Setup:
    """What is there before the first byte."""

    shards: int = 2
    max_key: int = 60
    quick: int = 6000
    sampling: int | None = None
    """Commands passed over before one is shown to the gate; None: none is shown."""
    followed: bool = False
    """Whether what is shown is counted in another account."""
    slow: bool = False
    """Whether every reply is a slow one."""
    look: bool = False
    """Whether requests are searched for the word IFEQ."""
    tolls: bool = False
    mute: bool = False
    """Whether stores are silent."""
    homes: int = 0
    """Bits: which of the clients are at home in a namespace from the beginning."""
    depth: int = 0
    """Commands that the clients may have in flight; 0: any number."""
    looks: int = 1
    """Of the driver at its sockets in a row, before the others speak again; this and the next ones are about sockets."""
    hurried: bool = False
    """Whether a look has time for one socket only."""
    apart: bool = False
    """Whether some replies of a store are portions of their own."""


class Scene(World):
    """One run's gate, driver, clients and stores."""

    def __init__(self, setup: Setup, *, in_c: bool) -> None:
        """Four clients are there; every connection is up."""
        super().__init__(setup.shards, max_key=setup.max_key, quick=setup.quick)
        self.setup = setup
        self.lane.in_c = in_c
        self.lane.upstreams = InOrder(self.lane.upstreams)
        self.journal: list[tuple[Any, ...]] = []
        self.held_back: dict[int, list[list[bytes]]] = {}  # client → commands after its MULTI
        self.kept: dict[bytes, bytes] = {}  # what the executing namespaces hold
        self.stores = [MuteStore() if setup.mute else OrdinaryStore() for _ in self.shards]
        self.links = {up: Link(store) for shard, store in zip(self.shards, self.stores, strict=True) for up in shard.lines}
        if setup.slow:
            self.lane.slow_after = -1.0
        if setup.sampling is not None:
            sampling = setup.sampling
            self.lane.unsampled, self.lane.sampling = 0, lambda: sampling
        if setup.followed:
            self.follow = Followed("T.x", "followed", self.journal)
        self.spaces = {
            b"A.b": self.route,
            b"N.o": self._route("N.o", shards=1),
            b"O.d": self._route("O.d", is_crc32=False),
            b"Ex.h": self._route("Ex.h", shards=0, local=self.serve_here),
            b"M.x": self._route("M.x", local=self.serve_here),
            b"Ab.c": self._route("Ab.c"),
            NO_COLON: self._route("default"),
        }
        self.homes = {
            b"": self.routes,
            b"Ab.c:": {b"Ab.c": self._route("Ab.c", local=in_pieces, less=5)},
            b"Ex.h:": {b"Ex.h": self._route("Ex.h", shards=0, local=self.serve_here, less=5)},
        }
        for name in (b"M.x", b"Ex.h"):  # as namespaces of one backend do
            self.spaces[name].plans = self.route.plans
        for ident in range(4):
            client = self.client()
            client.depth = setup.depth
            if setup.homes >> ident & 1:
                self.settle_in(client, HOMES[1 + (setup.homes >> 4 & 1)])
        if setup.tolls:
            self.pay(3, 200)

    def _route(
        self, name: str, *, shards: int | None = None, is_crc32: bool = True, local: Any = None, less: int = 0
    ) -> Route:
        several = self.shards[:shards]
        count = max(1, len(several))
        slot_of = self.slot_of
        if not is_crc32 or count != len(self.shards):
            slot_of = lambda key: (len(key) + key[-1:].isdigit()) % count  # noqa: E731 - it is handed over
        return Route(
            None, {}, Accounts(self.ledger, name), max_key=self.setup.max_key - less, max_value=self.setup.quick,
            tables=[[shard.lines[line] for shard in several] for line in range(4)] if several else (), slot_of=slot_of,
            is_crc32=is_crc32, local=local,
        )  # fmt: skip

    def all_routes(self) -> list[Route]:
        """Those of clients with and without a home."""
        return [*self.spaces.values(), *(route for home in HOMES[1:] for route in self.homes[home].values())]

    def pay(self, commands: int, size: int) -> None:
        """Every route has so many commands and bytes left of writes, and the other way round of reads."""
        for route in self.all_routes():
            route.tolls = Toll(commands, size), Toll(size, commands) if size % 3 else None

    def settle_in(self, client: Client, home: bytes) -> None:
        """From now on the client's keys get this prefix."""
        client.prefix = home
        client.routes = self.homes[home]

    # ------------------------------------------------------------------ the gate

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Forward, split, run alone, execute, queue or answer."""
        self.journal.append(("request", client.id, tuple(args), frame, now))
        name, lane = args[0].upper(), self.lane
        if client.id in self.held_back and name not in (b"EXEC", b"DISCARD", b"QUIT", b"POST"):
            self.held_back[client.id].append(args)
            lane.reply(client, b"+QUEUED\r\n")
        elif name in KEYED and KEYED[name][0] <= len(args) - 2 <= KEYED[name][1]:
            self._keyed(client, name, args, frame, now)
        elif name in KINDS and len(args) > 1 and (len(args) - 1) % (2 if name == b"MSET" else 1) == 0:
            self._many(client, name, args, frame, now)
        elif name in _VERBS:
            _VERBS[name](self, client, args, now)
        elif len(args) < _NEEDED.get(name, 0):
            lane.reply(client, b"-ERR wrong number of arguments\r\n")
        else:
            super().request(client, args, frame, now)

    def _keyed(self, client: Client, name: bytes, args: list[bytes], frame: bytes, now: float) -> None:
        lane, quiet, readonly = self.lane, client.id in self.quiet, name in READS
        head = frame[: frame.find(b"\r\n$", 5)]
        own = len(args[1])
        if client.prefix:
            args = [args[0], client.prefix + args[1], *args[2:]]
            frame = encode_request(args)
        space, colon, _ = args[1].partition(b":")
        space = space if colon else NO_COLON
        route = self.homes[client.prefix].get(space) if client.prefix else self.spaces.get(space, self.spaces[NO_COLON])
        if route is None or space == b"NONE" or own > route.max_key:
            lane.reply(client, b"-ERR key too long\r\n" if route is not None and own > route.max_key else b"-NONAMESPACE\r\n")
            return
        toll = route.tolls[readonly] if route.tolls is not None else None
        if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
            toll.commands, toll.bytes = 2, 150
        here = route.local is not None and route.local is not in_pieces and (not route.tables or name in (b"GET", b"SET"))
        if client.routes is not NO_ROUTES and not quiet:
            look = self.setup.look and name == b"SET"
            route.learn(head, len(args) - 2, readonly=readonly, spec=name if here else None, look=look)
            if not client.prefix:
                self.routes[space] = route
        account = route.accounts[head]
        if here:
            self.serve_here(client, name, args, frame, now, account)
            return
        up = route.tables[client.line][route.slot_of(args[1]) if len(route.tables[client.line]) > 1 else 0]
        lane.forward(client, up, frame, now, account, toll=toll, quiet=quiet)

    def _many(self, client: Client, name: bytes, args: list[bytes], frame: bytes, now: float) -> None:
        """A command whose keys may lie in several stores; in several namespaces they do not here."""
        lane, quiet, readonly, merge = self.lane, client.id in self.quiet, name in CUT_READS, KINDS[name]
        head, step, routes = frame[: frame.find(b"\r\n$", 5)], 2 if name == b"MSET" else 1, list[Route]()
        keys = range(1, len(args), step)
        if client.prefix:
            args = [client.prefix + arg if at in keys else arg for at, arg in enumerate(args)]
            frame = encode_request(args)
        spaces = [args[at].partition(b":")[0] if b":" in args[at] else NO_COLON for at in keys]
        for space in spaces:
            found = self.homes[client.prefix].get(space) if client.prefix else self.spaces.get(space, self.spaces[NO_COLON])
            if found is not None:
                routes.append(found)
        route = routes[0] if routes else self.route
        if len(routes) < len(keys) or any(other is not route for other in routes) or not route.tables:
            lane.reply(client, b"-CROSSSLOT\r\n")
            return
        if max(len(args[at]) - len(client.prefix) for at in keys) > route.max_key:
            lane.reply(client, b"-ERR key too long\r\n")
            return
        toll = route.tolls[readonly] if route.tolls is not None else None
        if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
            toll.commands, toll.bytes = 2, 150
        if client.routes is not NO_ROUTES and not quiet:
            route.learn(head, len(args) - 2, readonly=readonly, merge=Merge.NONE if len(keys) == 1 else merge)
            if not client.prefix:
                self.routes.update(dict.fromkeys(spaces, route))
        account, table = route.accounts[head], route.tables[client.line]
        groups: dict[Upstream, list[int]] = {}
        for at in keys:
            groups.setdefault(table[route.slot_of(args[at]) if len(table) > 1 else 0], []).append(at)
        if len(groups) == 1:
            lane.forward(client, next(iter(groups)), frame, now, account, toll=toll, quiet=quiet)
            return
        slot, raws = lane.pending(client, now, len(frame), quiet=quiet), dict[int, bytes]()
        numbers = {at: number for number, some in enumerate(groups.values()) for at in some}

        def answer(number: int, raw: bytes) -> None:
            raws[number] = raw
            if len(raws) == len(groups):
                made = merged(MERGES[merge], [raws[at] for at in range(len(raws))], [numbers[at] for at in keys])
                self._fill(client, slot, made)

        for number, (up, some) in enumerate(groups.items()):
            request = encode_request(part(args, some, step))
            lane.ask(up, Call(request, now, partial(answer, number), readonly=readonly, owner=client, account=account))

    def serve_here(self, client: Client, spec: Any, args: list[bytes], frame: bytes, now: float, account: Account) -> None:
        """Execute: reads at once, some writes together at the end of the portion, some later, some while nothing else runs."""
        self.journal.append(("here", client.id, spec, tuple(args), frame, now, account.namespace, account.command))
        lane, key = self.lane, args[1]
        if key.endswith(b"!"):
            lane.abort(client)
        elif key.endswith(b"~"):
            lane.hang_up(client)
        elif spec == b"SET":
            client.batch.append((lane.pending(client, now, len(frame)), key, args[2]))
        elif spec == b"APPEND":
            lane.alone(client, lambda: self.tasks.append(lambda: lane.done(client, b":1\r\n")))
        elif spec == b"HSET":
            slot = lane.pending(client, now, len(frame))
            self.tasks.append(lambda: self._fill(client, slot, b":0\r\n"))
        else:
            lane.reply(client, bulk(self.kept.get(key)))

    def _fill(self, client: Client, slot: Pending, raw: bytes) -> None:
        slot.fill(raw)
        if not client.closed:
            self.lane.settle(client)

    def run_batch(self, client: Client) -> None:
        """Execute what was collected."""
        self.journal.append(("batch", client.id, len(client.batch)))
        for slot, key, value in client.batch:
            self.kept[key] = value
            slot.fill(b"+OK\r\n")
        client.batch.clear()
        self.lane.settle(client)

    def _multi(self, client: Client, _args: list[bytes], _now: float) -> None:
        self.held_back[client.id] = []
        client.routes = NO_ROUTES
        self.lane.reply(client, b"+OK\r\n")

    def _discard(self, client: Client, _args: list[bytes], _now: float) -> None:
        self.held_back.pop(client.id, None)
        self.settle_in(client, client.prefix)
        self.lane.reply(client, b"+OK\r\n")

    def _exec(self, client: Client, _args: list[bytes], now: float) -> None:
        queued = self.held_back.pop(client.id, None)
        self.settle_in(client, client.prefix)
        if not queued:
            self.lane.reply(client, b"-ERR EXEC without MULTI\r\n")
            return
        frames = b"".join(map(encode_request, ([b"MULTI"], *queued, [b"EXEC"])))
        slot, came = self.lane.pending(client, now, len(frames)), list[bytes]()

        def answer(raw: bytes) -> None:
            came.append(raw)
            if len(came) == len(queued) + 2:
                self._fill(client, slot, b"".join(came))

        up = self.shard_of(queued[0][-1]).lines[client.line]
        cap = (900, b"-ERR much\r\n")
        self.lane.ask(up, Call(frames, now, answer, readonly=False, want=len(queued) + 2, owner=client, cap=cap))

    def _select(self, client: Client, args: list[bytes], _now: float) -> None:
        self.settle_in(client, HOMES[sum(args[-1]) % 3])
        self.lane.reply(client, b"+OK\r\n")

    def _hello(self, client: Client, args: list[bytes], _now: float) -> None:
        self.lane.reply(client, b"%0\r\n")
        self.lane.move(client, (2 if args[-1] == b"3" else 0) + (client.line & 1))

    def _conv(self, client: Client, args: list[bytes], now: float) -> None:
        """A command whose reply is another one on its way back."""
        frame = encode_request([b"GET", args[-1]])
        up = self.shard_of(args[-1]).lines[client.line]
        cap = (64, b"-ERR long\r\n") if len(args) > 2 else None
        self.lane.forward(client, up, frame, now, self.reads, convert=lambda raw: b"+%d\r\n" % crc32(raw), cap=cap)

    def _push(self, _client: Client, args: list[bytes], _now: float) -> None:
        for other in self.clients:
            self.lane.push(other, b">1\r\n" + bulk(args[-1]))

    def _off(self, client: Client, _args: list[bytes], _now: float) -> None:
        self.quiet.add(client.id)
        client.routes = NO_ROUTES

    def _on(self, client: Client, _args: list[bytes], _now: float) -> None:
        self.quiet.discard(client.id)
        self.settle_in(client, client.prefix)

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """Say so."""
        self.journal.append(("large", client.id, tuple(args), size, now))
        super().too_large(client, args, size, now)

    def left(self, client: Client) -> None:
        """Remember who left."""
        self.journal.append(("left", client.id))
        super().left(client)

    def half_closed(self, client: Client) -> None:
        """Remember who sends no more."""
        self.journal.append(("half", client.id))

    def slow(self, up: Upstream, slot: Slot, replies: int, now: float) -> None:
        """Remember what was slow."""
        self.journal.append(("slow", up.name, *slots([slot]), replies, now))
        super().slow(up, slot, replies, now)

    def sampled(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """Remember what was shown."""
        self.journal.append(("sampled", client.id, account.namespace, account.command, tuple(args)))
        return super().sampled(client, account, args)

    # ------------------------------------------------------------------ what is looked at

    def check(self) -> None:
        """What always holds, while there is not so much of it that looking takes long."""
        if sum(len(up.fifo) for up in self.links) <= MOST_CHECKED:
            self.check_all()

    def check_all(self) -> None:
        """What always holds."""
        super().check()

    def look_at_client(self, client: Client) -> None:
        """Write down all that the lane keeps of a client."""
        c = client
        self.journal.append((
            "client", c.id, list(c.out), _ends(c.queue), list(c.backlog), list(c.backlog_since), c.backlog_size,
            c.inflight, c.inflight_bytes, c.held, c.received, c.arrived, c.last_fed, c.busy, c.waiting is not None,
            c.closing, c.cut, c.eof, c.hung_up, c.touched, c.streaming, list(c.withheld),
            c.resuming, c.line, c.prefix, c.scanner.idle, c.scanner.size,
        ))  # fmt: skip

    def look_at_upstream(self, up: Upstream) -> None:
        """Write down all that the lane keeps of a connection to a store."""
        self.journal.append((
            "upstream", up.name, up.state.value, list(up.out), _ends(up.fifo), up.queued, up.sent, bytes(up.unsent),
            up.measurer is None, list(up.partial), up.partial_size, up.aside, up.unasked, up.last_read, up.read_before,
            up.held, up.touched,
        ))  # fmt: skip

    def look(self) -> tuple[Seen, list[Any]]:
        """What is left at the end."""
        for client in self.clients:
            self.look_at_client(client)
        for up in self.links:
            self.look_at_upstream(up)
        routes = self.all_routes()
        tolls = [toll and (toll.commands, toll.bytes) for route in routes for toll in route.tolls or ()]
        plans = [dict(route.plans) for route in self.all_routes()]
        stores = [(store.data, len(store.executed)) for store in self.stores]
        return seen(self), [tolls, plans, self.kept, stores]

def _ends(queue: deque[Slot]) -> list[Any]:
    """What stands at both ends of a queue, and how long it is."""
    return [len(queue), *slots(queue if len(queue) <= 16 else [*(queue[at] for at in (0, 1, 2, -3, -2, -1))])]


_VERBS: Final[dict[bytes, Callable[[Scene, Client, list[bytes], float], None]]] = {
    b"MULTI": Scene._multi,
    b"EXEC": Scene._exec,
    b"DISCARD": Scene._discard,
    b"SELECT": Scene._select,
    b"HELLO": Scene._hello,
    b"CONV": Scene._conv,
    b"PUSH": Scene._push,
    b"OFF": Scene._off,
    b"ON": Scene._on,
}
