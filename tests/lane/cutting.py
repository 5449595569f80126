"""A world whose gate cuts commands with several keys, as kvgate.server does, and lets the lane do so from then on."""

import random
from typing import Any

from kvgate.commands.spec import Merge
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.split import merged, part
from kvgate.lane.upstream import Shard
from kvgate.policy.compiled import MERGES, NO_COLON, in_pieces
from kvgate.wire.request import encode_request
from tests.lane.world import World, bulk

KINDS = {b"MGET": Merge.IN_ORDER, b"MSET": Merge.ALL_OK, b"DEL": Merge.SUM, b"EXISTS": Merge.SUM}
READS = (b"MGET", b"EXISTS")


class Cutting(World):
    """With a `prefix` it is put before every key."""

    def __init__(self, shards: int = 2, *, prefix: bytes = b"", **options: Any) -> None:
        super().__init__(shards, **options)
        self.prefix = prefix
        if prefix:
            self.route.local = in_pieces
            self.route.max_key -= len(prefix)

    def client(self) -> Client:
        """A new one."""
        client = super().client()
        client.prefix = self.prefix
        return client

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Cut what has several keys."""
        name = args[0].upper()
        merge, step = KINDS.get(name, Merge.NONE), 2 if name == b"MSET" else 1
        if merge is Merge.NONE or len(args) < 2 or (len(args) - 1) % step:
            if self.prefix and name in (b"GET", b"SET", b"APPEND") and len(args) > 1:
                args = [name, self.prefix + args[1], *args[2:]]
                frame = encode_request(args)
            super().request(client, args, frame, now)
            return
        self.asked += 1
        keys = range(1, len(args), step)
        if self.prefix:
            args = [self.prefix + arg if at in keys else arg for at, arg in enumerate(args)]
            frame = encode_request(args)
        if max(len(args[at]) for at in keys) > self.max_key:
            self.lane.reply(client, b"-ERR key too long\r\n")
            return
        self._cut(client, args, frame, list(keys), now)

    def _cut(self, client: Client, args: list[bytes], frame: bytes, keys: list[int], now: float) -> None:
        name, quiet = args[0].upper(), client.id in self.quiet
        merge, readonly = KINDS[name], name in READS
        if self.learn and not quiet:
            one = Merge.NONE if len(keys) == 1 else merge
            self.route.learn(frame[: frame.find(b"\r\n$", 5)], len(args) - 2, readonly=readonly, merge=one)
            for at in keys:
                head, colon, _ = args[at].partition(b":")
                self.routes[head if colon else NO_COLON] = self.route
        account = self.ledger.account("T.x", name.decode().lower(), readonly=readonly)
        groups: dict[Shard, list[int]] = {}
        for at in keys:
            groups.setdefault(self.shard_of(args[at]), []).append(at)
        if len(groups) == 1:
            self.lane.forward(client, next(iter(groups)).lines[client.line], frame, now, account, quiet=quiet)
            return
        slot = self.lane.pending(client, now, len(frame), quiet=quiet)
        raws: dict[int, bytes] = {}
        numbers = {at: number for number, some in enumerate(groups.values()) for at in some}

        def answer(number: int, raw: bytes) -> None:
            raws[number] = raw
            if len(raws) == len(groups):
                slot.fill(merged(MERGES[merge], [raws[at] for at in range(len(raws))], [numbers[at] for at in keys]))
                self.lane.settle(client)

        for number, (shard, some) in enumerate(groups.items()):
            request = encode_request(part(args, some, 2 if name == b"MSET" else 1))
            take = lambda raw, number=number: answer(number, raw)  # noqa: E731 - one for each part
            call = Call(request, now, take, readonly=readonly, owner=client, account=account)
            self.lane.ask(shard.lines[client.line], call)


def cut_commands(rng: random.Random, client: int, count: int) -> tuple[bytes, bytes]:
    """What one client sends, most of it with several keys, and what it has to get: its keys are its own."""
    sent, wanted, data = [], [], dict[bytes, bytes]()
    keys = [b"App.T:%d.%d" % (client, number) for number in range(5)] + [b"plain%d" % client, b"App.T:{%d}" % client]
    for number in range(count):
        kind = rng.choice((b"MGET", b"MSET", b"DEL", b"EXISTS", b"MGET", b"MSET", b"SET", b"GET"))
        name = rng.choice((kind, kind.lower()))
        some = [rng.choice(keys) for _ in range(rng.choice((1, 2, 2, 3, 3, 7)))]
        values = [b"%d" % number * rng.choice((1, 3, 50, 500)) for _ in some]
        if kind == b"MGET":
            wanted.append(b"*%d\r\n%b" % (len(some), b"".join(bulk(data.get(key)) for key in some)))
        elif kind == b"EXISTS":
            wanted.append(b":%d\r\n" % sum(key in data for key in some))
        elif kind == b"DEL":
            wanted.append(b":%d\r\n" % sum(data.pop(key, None) is not None for key in some))
        elif kind == b"MSET":
            data.update(zip(some, values, strict=True))
            wanted.append(b"+OK\r\n")
        elif kind == b"SET":
            some, data[some[0]] = some[:1], values[0]
            wanted.append(b"+OK\r\n")
        else:
            some = some[:1]
            wanted.append(bulk(data.get(some[0])))
        pairs = [word for key, value in zip(some, values, strict=False) for word in (key, value)]
        sent.append(encode_request([name, *(pairs if kind in (b"MSET", b"SET") else some)]))
    return b"".join(sent), b"".join(wanted)
