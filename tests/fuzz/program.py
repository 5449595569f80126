r"""What fuzzed bytes mean: a setup, and a program of portions and events.

The first `SETUP` bytes say what is there before. Of the rest every byte is literal, a part of what is sent by the present
speaker, but for ``\xff`` and the two bytes behind it, an event and its argument. So requests and replies stand as they are,
which is what mutations and dictionaries are good at. There are no wrong programs: what has no meaning is passed over.
"""

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from kvgate.errors import ProtocolError
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.upstream import State, Upstream
from kvgate.wire.request import encode_request
from tests.fuzz.scene import Scene, Setup

SETUP: Final = 4
EVENT: Final = 0xFF
MOST_EVENTS: Final = 200
MOST_BYTES: Final = 3 << 20
"""Of all portions of a program: a reply of a megabyte, which is streamed, and others beside it."""
MOST_REPEATED: Final = 64 * 1024
"""Of these, by repetition: each may be a request of its own."""
MOST_LOOKS: Final = 60
"""Portions after which everything is written down; the others are compared by what comes of them."""


def setup_of(data: bytes, side: str) -> Setup:
    """What the first bytes of a program say."""
    one, two, three, four = data[:SETUP].ljust(SETUP, b"\0")
    return Setup(
        shards=1 + one % 3,
        max_key=(60, 60, 4096, 10**30, 3, 0)[(one >> 2) % 6],
        quick=(6000, 6000, 70, 10**30, 100_000, 40)[(one >> 5) % 6],
        sampling=(None, None, 0, 1, 2, 7, 40, None)[two & 7],
        followed=bool(two & 8),
        slow=bool(two & 16),
        look=bool(two & 32),
        tolls=bool(two & 64),
        homes=three & 31,
        depth=(0, 0, 0, 1, 2, 5, 20, 0)[three >> 5],
        mute=side == "upstream" or four & 1 == 1,
        looks=(1, 2, 3, 1000)[four >> 1 & 3],
        hurried=bool(four & 8),
        apart=bool(four & 16),
    )


def program(data: bytes) -> Iterator[tuple[bytes, str, int]]:
    """Portions, each with the event behind it and its argument; the last one has none (``""``)."""
    at, end = SETUP, len(data)
    for _ in range(MOST_EVENTS):
        found = data.find(EVENT, at)
        if found < 0 or found + 2 >= end:
            break
        yield data[at:found], chr(data[found + 1]), data[found + 2]
        at = found + 3
    yield data[at:], "", 0


@attrs.define
class Play:
    """One run of a program."""

    scene: Scene
    speaker: Client | Upstream
    said: bytearray = attrs.field(factory=bytearray)
    """What the speaker has said and nobody heard yet."""
    mark: int = 0
    """Where the last event was in it: what stands behind may be repeated."""
    left: int = MOST_BYTES
    repeatable: int = MOST_REPEATED
    looks: int = MOST_LOOKS

    def run(self, data: bytes) -> None:
        """Play it to its end."""
        for portion, event, argument in program(data):
            self.add(portion)
            EVENTS_HERE.get(event, Play.cut)(self, argument)
            self.mark = len(self.said)
        self.cut(0)
        if not self.scene.setup.mute:
            self.scene.run_to_the_end()
            self.scene.check_rest()
        self.scene.check_all()

    def add(self, data: bytes) -> None:
        """The speaker says more; when everything is said, nobody says anything."""
        data = data[: self.left]
        self.left -= len(data)
        self.said += data

    def cut(self, _argument: int) -> None:
        """What was said is heard: a portion ends."""
        data, self.said, scene = bytes(self.said), bytearray(), self.scene
        self.mark = 0
        if not data:
            return
        scene.now += 0.0005
        if isinstance(self.speaker, Client):
            if not self.speaker.closed:
                scene.lane.feed(self.speaker, data, scene.now)
                self.look(self.speaker)
                scene.settle()
            return
        up = self.speaker
        self.sent(up)
        if up.state is not State.UP:
            return
        try:
            scene.lane.fed_by(up, data, scene.now)
        except (ProtocolError, ValueError) as problem:  # ValueError: a length that is none
            scene.journal.append(("failed", up.name, type(problem).__name__, str(problem)))
            scene.settle()
            scene.drop(up, str(problem))
        self.look(up)
        scene.settle()

    def sent(self, up: Upstream) -> None:
        """All that waits for a store is on its way."""
        while up.state is State.UP and (up.unsent or (up.out and not up.held)) and self.scene.links[up].take(up):
            pass

    def look(self, who: Client | Upstream) -> None:
        """Write down what is to be seen now, if it was not written down too often."""
        if self.looks:
            self.looks -= 1
            if isinstance(who, Client):
                self.scene.look_at_client(who)
            else:
                self.scene.look_at_upstream(who)
                for slot in list(who.fifo)[:2]:
                    if slot.client is not None:
                        self.scene.look_at_client(slot.client)

    # ------------------------------------------------------------------ events

    def client(self, argument: int) -> None:
        """Another client speaks."""
        self.cut(0)
        self.speaker = self.scene.clients[argument % len(self.scene.clients)]

    def upstream(self, argument: int) -> None:
        """Another store speaks, on one of its connections."""
        self.cut(0)
        shards = self.scene.shards
        self.speaker = shards[argument % len(shards)].lines[argument // len(shards) % 4]

    def repeat(self, argument: int) -> None:
        """What was said since the last event is said again, so many times."""
        data = (bytes(self.said[self.mark :]) * argument)[: self.repeatable]
        self.repeatable -= len(data)
        self.add(data)

    def fill(self, argument: int) -> None:
        """A long value's bytes."""
        self.add(b"x" * (argument * argument * 17))

    def bulk(self, argument: int) -> None:
        """A whole bulk string of that kind of length."""
        size = argument * argument * 17
        self.add(b"$%d\r\n%b\r\n" % (size, b"x" * size))

    def wait(self, argument: int) -> None:
        """Time passes; limits of time are looked after."""
        self.cut(0)
        self.scene.now += argument / 50
        self.scene.lane.tick(self.scene.now)
        self.scene.settle()

    def task(self, argument: int) -> None:
        """A slow task ends."""
        self.cut(0)
        tasks = self.scene.tasks
        if tasks:
            tasks.pop(argument % len(tasks))()
            self.scene.settle()

    def deliver(self, argument: int) -> None:
        """Some bytes of what stores have to say arrive."""
        self.cut(0)
        scene, most = self.scene, argument * argument + 1
        for up in list(scene.links):
            self.sent(up)
            if up.state is State.UP:
                scene.now += 0.0001
                scene.deliver(up, most)

    def take(self, argument: int) -> None:
        """Kernels take some bytes for stores."""
        self.cut(0)
        for up, link in self.scene.links.items():
            if up.state is State.UP:
                link.take(up, argument + 1)

    def leave(self, argument: int) -> None:
        """A client's connection ends."""
        self.cut(0)
        client = self.scene.clients[argument % len(self.scene.clients)]
        if not client.closed:
            self.scene.leave(client)
            self.scene.settle()

    def end(self, argument: int) -> None:
        """A client will send no more."""
        self.cut(0)
        client = self.scene.clients[argument % len(self.scene.clients)]
        if not client.closed and not client.eof:
            self.scene.lane.ended(client)
            self.scene.settle()

    def drop(self, argument: int) -> None:
        """A connection to a store breaks."""
        self.cut(0)
        up = list(self.scene.links)[argument % len(self.scene.links)]
        self.sent(up)
        self.scene.drop(up)
        self.scene.settle()

    def connect(self, argument: int) -> None:
        """Connections are made; or, for an odd argument, the store is not to be had."""
        self.cut(0)
        scene = self.scene
        while scene.connecting:
            up = scene.connecting.pop()
            if argument & 1:
                scene.lane.unreachable(up, "away")
                scene.settle()
            scene.lane.connected(up)
            scene.settle()

    def pay(self, argument: int) -> None:
        """So little may be used of every route."""
        self.cut(0)
        self.scene.pay(argument % 16 - 1, 10**30 if argument > 250 else argument - 1)

    def sample(self, argument: int) -> None:
        """So many commands pass before one is shown."""
        self.cut(0)
        self.scene.lane.unsampled, self.scene.lane.sampling = argument, lambda: argument

    def enqueue(self, argument: int) -> None:
        """Commands of one of the usual kinds, by the client that the argument says, are sent."""
        speaker = self.speaker
        self.cut(0)
        self.speaker = self.scene.clients[argument % 4]
        self.add(_USUAL[argument // 4 % len(_USUAL)])
        self.cut(0)
        self.speaker = speaker

    def ask(self, argument: int) -> None:
        """A task of the gate's own asks a store for some replies."""
        self.cut(0)
        scene, want = self.scene, 1 + argument % 3
        up = self.speaker if isinstance(self.speaker, Upstream) else scene.shards[0].lines[0]
        frames = encode_request([b"GET", b"k"]) * want
        cap = (30, b"-ERR long\r\n") if argument & 4 else None
        took: Callable[[bytes], None] = lambda raw: scene.journal.append(("answer", raw))  # noqa: E731 - it has a name to fit the line
        scene.lane.ask(up, Call(frames, scene.now, took, readonly=bool(argument & 8), want=want, cap=cap))
        scene.settle()

    def look_for(self, argument: int) -> None:
        """Known commands are searched for the word IFEQ from now on, or not any more."""
        self.cut(0)
        for route in self.scene.all_routes():
            for head, plan in route.plans.items():
                route.plans[head] = plan | 2 if argument & 1 else plan & ~2


_USUAL: Final = [
    encode_request([b"GET", b"A.b:1"]),
    encode_request([b"GET", b"A.b:1"]) * 5,
    encode_request([b"SET", b"A.b:1", b"v"]),
    encode_request([b"MGET", b"A.b:1", b"plain", b"N.o:1"]),
    encode_request([b"SLOW", b"1"]),
    encode_request([b"TASK", b"1"]),
    encode_request([b"CONV", b"A.b:1"]),
    encode_request([b"CONV", b"A.b:1", b"capped"]),
    b"OFF\r\n" + encode_request([b"SET", b"A.b:1", b"v"]) * 3 + b"ON\r\n",
    b"MULTI\r\nGET A.b:1\r\nSET A.b:1 v\r\nEXEC\r\n",
    b"HELLO 3\r\n",
    b"QUIT\r\n",
    b"PUSH x\r\n",
    encode_request([b"GET", b"A.b:1"]) + encode_request([b"SET", b"A.b:1", b"v"]) + encode_request([b"GET", b"N.o:1"]),
    b"ECHO x\r\n",
    encode_request([b"GET", b"Ex.h:1"]) + encode_request([b"SET", b"Ex.h:1", b"v"]),
    encode_request([b"MGET", b"A.b:1", b"A.b:2", b"A.b:3"]),
    encode_request([b"DEL", b"A.b:1", b"A.b:2", b"A.b:3"]),
    encode_request([b"MSET", b"A.b:1", b"v", b"A.b:2", b"w"]) * 2,
    encode_request([b"EXISTS", b"A.b:1", b"A.b:2"]),
]
"""What `Play.enqueue` chooses from."""

EVENTS_HERE: Final[dict[str, Callable[[Play, int], None]]] = {
    "|": Play.cut,
    "c": Play.client,
    "u": Play.upstream,
    "r": Play.repeat,
    "x": Play.fill,
    "$": Play.bulk,
    "w": Play.wait,
    "k": Play.task,
    "d": Play.deliver,
    "t": Play.take,
    "l": Play.leave,
    "e": Play.end,
    "D": Play.drop,
    "C": Play.connect,
    "p": Play.pay,
    "s": Play.sample,
    "q": Play.enqueue,
    "a": Play.ask,
    "L": Play.look_for,
}

EVENTS: Final = "".join(EVENTS_HERE)
"""The letters that mean something behind ``\\xff``."""
