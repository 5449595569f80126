"""Clients that send random commands to several gates, each in a thread, and record what they are told."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import hiredis

from tests.linearizability.history import History, Reply, Words
from tests.support.resp import Closed, Resp
from tests.support.servers import Gate

PATIENCE: Final = 15.0
"""Seconds for one reply; far above what the gate takes for anything."""
LOST: Final = (Closed, OSError, ValueError)
"""How a connection to a gate that is killed ends: what was sent may have been executed."""

Expected = Sequence[tuple[bytes, bytes | None]]
"""Watched keys with the values that were read."""
Act = Callable[["Client"], None]
"""One thing that a client does; may raise `LOST`."""


class UnexpectedReplyError(AssertionError):
    """An error that no command of these may be answered with."""


class Client:
    """One client: its connection, its chances, its history."""

    def __init__(self, number: int, gates: Sequence[Gate], history: History, seed: object) -> None:
        """Connected to none yet; `number` says to which gate first."""
        self.number = number
        self.chance = random.Random(f"{seed} {number}")
        self.history = history
        self._gates = gates
        self._turn = number
        self._resp: Resp | None = None
        self._values = 0

    def value(self) -> bytes:
        """A value that nobody writes a second time: so a comparison of values is one of writes."""
        self._values += 1
        return b"%d.%d" % (self.number, self._values)

    @property
    def resp(self) -> Resp:
        """The connection; made now, to the next gate, when there is none. Raises `LOST`: there is no gate there now."""
        if self._resp is None:
            gate = self._gates[self._turn % len(self._gates)]
            self._turn += 1
            self._resp = gate.client(timeout=PATIENCE)
        return self._resp

    def close(self) -> None:
        """End the connection."""
        if self._resp is not None:
            self._resp.close()
            self._resp = None

    @contextmanager
    def _recording(self, commands: Sequence[Words], expected: Expected = ()) -> Iterator[int]:
        """The time of the call; a connection that is lost from here on leaves the commands in doubt."""
        resp, called = self.resp, self.history.now()
        try:
            yield called
        except LOST:
            self.history.add(self.number, commands, called, None, expected)
            raise
        assert self._resp is resp

    def do(self, *words: bytes) -> Reply | hiredis.ReplyError:
        """One command, recorded; its reply (an error: it was not executed, or that is unknown)."""
        with self._recording([words]) as called:
            reply: Reply | hiredis.ReplyError = told(words, self.resp.ask(*words))
        if isinstance(reply, hiredis.ReplyError):
            self._failed(reply, [words], called)
        else:
            self.history.add(self.number, [words], called, [reply])
        return reply

    def block(self, *commands: Words, expected: Expected = ()) -> None:
        """The commands in MULTI and EXEC, recorded."""
        with self._recording(commands, expected) as called:
            *_, reply = self.resp.pipeline([(b"MULTI",), *commands, (b"EXEC",)])
        if isinstance(reply, hiredis.ReplyError):
            self._failed(reply, commands, called, expected)
        elif reply is None:
            self.history.not_executed += 1
        else:
            replies = [told(words, each) for words, each in zip(commands, reply, strict=True)]
            if any(isinstance(each, hiredis.ReplyError) for each in replies):
                raise UnexpectedReplyError(f"{commands!r} -> {replies!r}")
            self.history.add(self.number, commands, called, replies, expected)

    def _failed(self, error: hiredis.ReplyError, commands: Sequence[Words], called: int, expected: Expected = ()) -> None:
        text = str(error)
        if text.startswith("INDOUBT "):
            self.history.add(self.number, commands, called, None, expected)
        elif text.startswith("TRYAGAIN "):
            self.history.not_executed += 1
        else:
            raise UnexpectedReplyError(f"{commands!r} -> {text}")

    def watch(self, key: bytes) -> bool:
        """Watch it; False when that was refused. It is not recorded: it changes nothing, and has no reply."""
        reply = self.resp.ask(b"WATCH", key)
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("TRYAGAIN "):
            raise UnexpectedReplyError(f"WATCH -> {reply}")
        return bool(reply == b"OK")


def told(words: Words, reply: Any) -> Any:
    """A reply as the model has it: arrays as tuples, HGETALL in the order of the fields."""
    if not isinstance(reply, list):
        return reply
    if words[0] == b"HGETALL":
        pairs = sorted(zip(reply[::2], reply[1::2], strict=True))
        return tuple(word for pair in pairs for word in pair)
    return tuple(reply)


# What they do


class Keys:
    """The keys of one history, two of each kind, in two namespaces."""

    def __init__(self, name: str) -> None:
        """Of this history only."""
        self.strings = [f"Bank.Ledger:{name}:s{at}".encode() for at in range(2)]
        self.numbers = [f"Bank.Audit:{name}:n{at}".encode() for at in range(2)]
        self.hashes = [f"Bank.Ledger:{name}:h{at}".encode() for at in range(2)]
        self.pairs = [(f"Bank.Ledger:{name}:x{at}".encode(), f"Bank.Audit:{name}:y{at}".encode()) for at in range(2)]

    def reads(self) -> Iterator[Sequence[Words]]:
        """Commands that show everything in the end; those of one block together."""
        yield from ([(b"GET", key)] for key in (*self.strings, *self.numbers))
        yield from ([(b"HGETALL", key)] for key in self.hashes)
        yield from ([(b"GET", x), (b"GET", y)] for x, y in self.pairs)


def single_keys(keys: Keys) -> list[Act]:
    """Commands on one key of each type, and comparisons by WATCH."""

    def string(client: Client) -> None:
        key, chance = client.chance.choice(keys.strings), client.chance.random()
        if chance < 0.4:
            client.do(b"GET", key)
        elif chance < 0.7:
            client.do(b"SET", key, client.value())
        elif chance < 0.9:
            client.do(b"SET", key, client.value(), b"GET")
        else:
            client.do(b"DEL", key)

    def compared(client: Client) -> None:
        """A change that is made only if the key is as it was."""
        key = client.chance.choice(keys.strings)
        if not client.watch(key):
            return
        seen = client.do(b"GET", key)
        if isinstance(seen, hiredis.ReplyError):
            client.close()  # which ends WATCH, too
        else:
            assert seen is None or isinstance(seen, bytes)
            client.block((b"SET", key, client.value()), expected=[(key, seen)])

    def number(client: Client) -> None:
        key, chance = client.chance.choice(keys.numbers), client.chance.random()
        if chance < 0.7:
            client.do(b"INCR", key)
        elif chance < 0.95:
            client.do(b"GET", key)
        else:
            client.do(b"DEL", key)

    def fields(client: Client) -> None:
        key, field = client.chance.choice(keys.hashes), client.chance.choice([b"f", b"g", b"h"])
        match client.chance.randrange(10):
            case 0 | 1 | 2:
                client.do(b"HSET", key, field, client.value())
            case 3 | 4:
                client.do(b"HINCRBY", key, b"count", b"1")
            case 5:
                client.do(b"HGET", key, field)
            case 6:
                client.do(b"HLEN", key)
            case 7:
                client.do(b"HGETALL", key)
            case 8:
                client.do(b"HDEL", key, field)
            case _:
                client.do(b"DEL", key)

    return [string, compared, number, fields]


def blocks(keys: Keys) -> list[Act]:
    """MULTI over keys of two namespaces, and single commands on the same keys."""

    def both(client: Client) -> None:
        x, y = client.chance.choice(keys.pairs)
        match client.chance.randrange(4):
            case 0:
                client.block((b"INCR", x), (b"INCR", y))
            case 1 | 2:
                client.block((b"GET", x), (b"GET", y))
            case _:
                client.block((b"GET", x), (b"INCR", y))

    def one(client: Client) -> None:
        key = client.chance.choice(client.chance.choice(keys.pairs))
        client.do(*((b"GET", key) if client.chance.random() < 0.5 else (b"INCR", key)))

    return [both, one]


class Crowd:
    """Clients at work, for the length of a block."""

    def __init__(self, gates: Sequence[Gate], history: History, acts: Sequence[Act], *, seed: object, number: int = 6) -> None:
        """`number` clients that choose among `acts`."""
        self.failures: list[BaseException] = []
        self.history = history
        self._acts = acts
        self._over = threading.Event()
        self._clients = [Client(at, gates, history, seed) for at in range(number)]
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in self._clients]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Let each finish what it does; what a client was told against all rules is raised."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self.failures and exception[0] is None:
            raise self.failures[0]

    def _work(self, client: Client) -> None:
        with contextlib.closing(client):
            while not self._over.is_set() and not self.failures:
                try:
                    client.chance.choice(self._acts)(client)
                except LOST:
                    client.close()
                except BaseException as error:  # noqa: BLE001 - shown by the test's thread
                    self.failures.append(error)


def final_reads(gates: Sequence[Gate], history: History, keys: Keys) -> None:
    """Read everything in the end, again where nothing was told: what is in doubt has happened by now, or has not."""
    client = Client(99, gates, history, 0)
    with contextlib.closing(client):
        for commands in keys.reads():
            known = len(history.operations)
            while len(history.operations) == known:
                with contextlib.suppress(*LOST):
                    if len(commands) == 1:
                        client.do(*commands[0])
                    else:
                        client.block(*commands)
