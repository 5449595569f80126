"""Reply slots: what stands in a client's queue, in the order of its commands, and in an upstream's FIFO, in the order sent.

A plain `Slot` is a run of commands of one client that went to one upstream: it stands in both queues. The others are
`special`: a `Call` whose replies go to a function (a block for EXEC, a task's question), a `Part` of a command that was cut, a
`Converted` command whose reply the client gets in another form, and a `Quiet` run whose replies the client does not want. A
`Pending` reply, which a task, a merge or the gate fills, is in the client's queue alone (a `Split` is one, made of its parts'
replies), an `Expired` one in a FIFO alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvgate.lane.split import merged

if TYPE_CHECKING:
    from kvgate.lane.client import Client
    from kvgate.metrics.ledger import Account


class Slot:
    """A run of commands: `want` replies are still to come, `parts` holds what came while earlier slots were unanswered."""

    __slots__ = ("account", "client", "frames", "offset", "parts", "readonly", "retried", "started", "want")
    special = False
    emits = True
    """Whether its parts are written to the client."""
    patience = 0.0
    """Seconds that it may take beyond the lane's budget."""
    most = 1 << 62
    """Bytes that one reply may have; only special slots have fewer."""
    excess = b""
    """The raw error in the place of a longer one."""

    def __init__(
        self,
        client: "Client | None",
        want: int,
        frames: bytes,
        started: float,
        readonly: int,
        account: "Account | None" = None,
    ) -> None:
        """`frames` are the commands' bytes; `started` is when they were read, in seconds of the lane's clock; `account` is
        where the replies are counted, None: nowhere."""
        self.client = client  # None once nobody waits for the replies: they are counted and dropped
        self.want = want
        self.frames = frames
        self.started = started
        self.readonly = readonly
        self.account = account
        self.parts: list[bytes] = []
        self.offset = 0  # of its first byte in all that was ever queued on its upstream's present connection
        self.retried = False

    def receive(self, piece: bytes, replies: int) -> None:
        """Take `piece`, `replies` whole replies. Only special slots are told; the lane serves plain ones itself."""
        raise NotImplementedError


class Quiet(Slot):
    """Commands under CLIENT REPLY OFF or SKIP: executed, their replies dropped."""

    __slots__ = ()
    special = True
    emits = False

    def receive(self, piece: bytes, replies: int) -> None:
        """Drop the replies."""
        del piece
        self.want -= replies


class Converted(Slot):
    """One command whose reply is another one on the way to the client."""

    __slots__ = ("convert", "excess", "most")
    special = True

    def __init__(
        self,
        client: "Client",
        frames: bytes,
        started: float,
        convert: Callable[[bytes], bytes],
        account: "Account",
        cap: "tuple[int, bytes] | None" = None,
    ) -> None:
        """`convert` gets the store's reply, or the gate's error, and must not raise. `cap`: the bytes that the reply may have,
        and the raw error in the place of a longer one."""
        super().__init__(client, 1, frames, started, readonly=account.readonly, account=account)
        self.convert = convert
        self.most, self.excess = cap or (Slot.most, b"")

    def receive(self, piece: bytes, replies: int) -> None:
        """Take the reply."""
        self.want -= replies
        client = self.client
        if client is not None:
            reply = self.convert(piece)
            if len(reply) > self.most:
                reply = self.excess
            self.parts.append(reply)
            client.held += len(reply)


class Pending(Slot):
    """A reply that a task, a merge or the gate gives; it stands in a client's queue only. Done when `want` is 0."""

    __slots__ = ("weight",)
    count = 1
    """Of commands that it stands for."""

    def __init__(self, client: "Client", started: float, weight: int = 0) -> None:
        """Wait for one reply; `weight` is what the command and its reply hold in memory, in bytes."""
        super().__init__(client, 1, b"", started, readonly=False)
        self.weight = weight

    def fill(self, raw: bytes) -> None:
        """Give the reply, or the replies joined. Filling a slot of a client that has left does nothing."""
        if self.want and self.client is not None:
            self.want = 0
            self.parts.append(raw)
            self.client.held += len(raw)


class PendingRun(Pending):
    """The replies of commands that one call takes (kvgate.policy.compiled.RunOf); filled with all of them, joined."""

    __slots__ = ("count",)

    def __init__(self, client: "Client", started: float, weight: int, count: int, account: "Account") -> None:
        """Of `count` commands; `weight` as of `Pending`, of all; `account` is where `Lane.answer` counts them."""
        self.client = client  # all by itself: one is made for each write of a client, and three calls up cost as much again
        self.want = 1
        self.frames = b""
        self.started = started
        self.readonly = False
        self.account = account
        self.parts = []
        self.offset = 0
        self.retried = False
        self.weight = weight
        self.count = count


class Split(Pending):
    """The reply of a command that was cut: it is made of those of its parts when all are there."""

    __slots__ = ("left", "merge", "order", "raws")

    def __init__(self, client: "Client", started: float, weight: int, merge: int, order: bytes, parts: int) -> None:
        """`merge` and `order` as of kvgate.lane.split.merged."""
        super().__init__(client, started, weight)
        self.merge = merge
        self.order = order
        self.left = parts
        self.raws: list[bytes | None] = [None] * parts

    def take(self, number: int, raw: bytes) -> None:
        """Take the raw reply of one part; the last one fills it.

        Raises:
            ProtocolError: no reply can be made of these.
        """
        self.raws[number] = raw
        self.left -= 1
        if not self.left and self.client is not None:
            self.fill(merged(self.merge, [each for each in self.raws if each is not None], self.order))


class QuietPending(Pending):
    """A reply that is not written (CLIENT REPLY OFF and SKIP)."""

    __slots__ = ()
    emits = False


class Expired(Slot):
    """Stands in a FIFO for a slot that was answered with an error because its time was over: the replies are dropped."""

    __slots__ = ()

    def __init__(self, slot: Slot) -> None:
        """Count the replies that `slot` still had to get."""
        super().__init__(None, slot.want, slot.frames, slot.started, readonly=slot.readonly)
        self.offset = slot.offset


class Asked(Slot):
    """A request of the gate's own: who waits for its replies is not the client in whose order it stands, the `owner`."""

    __slots__ = ("owner",)
    special = True
    single = True
    """Whether it wanted one reply from the beginning."""

    def __init__(
        self,
        want: int,
        frames: bytes,
        started: float,
        readonly: int,
        account: "Account | None",
        owner: "Client | None",
    ) -> None:
        """As of `Slot`; without an `owner` it stands in no order."""
        super().__init__(None, want, frames, started, readonly=readonly, account=account)
        self.owner = owner


class Part(Asked):
    """A part of a command that was cut."""

    __slots__ = ("number", "whole")

    def __init__(self, frames: bytes, whole: Split, number: int, owner: "Client", account: "Account") -> None:
        """The part `number` of `whole`."""
        super().__init__(1, frames, whole.started, account.readonly, account, owner)
        self.whole = whole
        self.number = number

    def receive(self, piece: bytes, replies: int) -> None:
        """Hand the reply on."""
        self.want -= replies
        self.whole.take(self.number, piece)


class Call(Asked):
    """One request whose raw reply goes to `answer`: a task's question, a block for EXEC, a part of a split command that needs
    more thought than a `Part`.

    `want` may be above 1 (MULTI … EXEC): `answer` gets every reply, in order.
    """

    __slots__ = ("answer", "excess", "most", "patience", "single")

    def __init__(
        self,
        frames: bytes,
        started: float,
        answer: Callable[[bytes], None],
        *,
        readonly: bool,
        want: int = 1,
        owner: "Client | None" = None,
        patience: float = 0.0,
        account: "Account | None" = None,
        cap: "tuple[int, bytes] | None" = None,
    ) -> None:
        """`answer` is called once for each reply, with its bytes; it must not raise. `owner` is whose order it belongs to;
        `patience` is below 0 for a task that has less time than a client's command. `cap` as of `Converted`."""
        super().__init__(want, frames, started, readonly, account, owner)
        self.answer = answer
        self.single = want == 1
        self.patience = patience
        self.most, self.excess = cap or (Slot.most, b"")

    def receive(self, piece: bytes, replies: int) -> None:
        """Hand the reply on; the lane gives special slots one reply at a time."""
        self.want -= replies
        self.answer(piece if len(piece) <= self.most else self.excess)
