"""Layers in every state: whatever a store with a journal is asked, it says what one without says, also after it was killed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate.backend import View
from kvgate_lmdb import backend, mover, moving
from kvgate_lmdb.engine import LmdbEngine
from tests.kvgate_lmdb.store import ALL, Clock, Store, command, context, running, until
from tests.kvgate_lmdb.test_tools import good

pytestmark = pytest.mark.journal
ADS = View(has=lambda key: key.startswith(b"Ads.T:"), everything=False, prefixes=(b"Ads.T:",))


class StopError(Exception):
    """The mover is to do no more now."""


class Pair:
    """A store with a journal whose layers move when it is said, and one without; both are asked the same."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._stack = AsyncExitStack()
        self.journaled: Store
        self.direct: Store

    async def open(self) -> None:
        self.journaled = await self._stack.enter_async_context(
            running(self._folder / "journaled", journal=True, clock=self._clock)
        )
        assert self.engine.recent.journal is not None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Pair"]:
        async with running(self._folder / "direct", journal=False, clock=self._clock) as self.direct:
            await self.open()
            try:
                yield self
            finally:
                await self._stack.aclose()

    @property
    def engine(self) -> LmdbEngine:
        return self.journaled.backend.engine

    # What is asked

    async def ask(self, *args: bytes) -> bytes:
        reply = await self.journaled.ask(*args)
        assert reply == await self.direct.ask(*args), args
        return reply

    async def pipeline(self, *commands: Sequence[bytes]) -> list[bytes]:
        replies = await self.journaled.pipeline(commands)
        assert replies == await self.direct.pipeline(commands), commands
        return replies

    async def run(self, *words: bytes) -> None:
        """Simple commands as the lane gives them: SET."""
        for store in (self.journaled, self.direct):
            told: list[Any] = []
            spec = command(b"SET", b"k", b"v").spec
            store.backend.enqueue_run(
                spec, [*words], len(words) // 2, 99, trio.current_time() + 20, told.extend, partial(lambda: None)
            )
            await until(partial(bool, told))

    async def list(self, view: View) -> None:
        for count in (1, 7, 1000):
            assert await self.journaled.keys(view, count=count) == await self.direct.keys(view, count=count)
        sizes = [await store.backend.size(view, context()) for store in (self.journaled, self.direct)]
        assert sizes[0] == sizes[1]

    async def flush(self, view: View) -> None:
        for store in (self.journaled, self.direct):
            await store.backend.flush(view, context())

    async def block(self, watched: bytes, meanwhile: Sequence[bytes], commands: Sequence[Sequence[bytes]]) -> None:
        results = []
        for store in (self.journaled, self.direct):
            (revision,) = await store.backend.revisions([watched], context())
            if meanwhile:
                await store.ask(*meanwhile)
            block = [command(*one) for one in commands]
            results.append(await store.backend.execute_block(block, {watched: revision}, context()))
        assert results[0] == results[1], (watched, meanwhile, commands)

    # What happens to the layers

    async def settle(self) -> None:
        await trio.to_thread.run_sync(self.engine.settle)
        assert self.engine.recent.is_empty

    def freeze(self) -> None:
        self.engine.recent.freeze()

    async def move(self, portions: int) -> None:
        """Move the frozen layer; at most so many portions of it, as a mover that ends then."""
        if len(self.engine.recent.layers) < 2:
            self.freeze()
        layers = self.engine.recent.layers
        if len(layers) < 2:
            return
        left = portions

        def step() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise StopError

        def work() -> None:
            try:
                mover.move(self.engine.env, layers[-1].records, layers[-1].last, step)
            except StopError:
                return
            self.engine.moved(layers[-1])

        with patch.object(mover, "PORTION", 3):
            await trio.to_thread.run_sync(work)

    async def sweep(self) -> None:
        for store in (self.journaled, self.direct):
            while await store.backend._sweep_once():
                pass

    async def die(self, portions: int) -> None:
        """In the middle of moving."""
        await self.move(portions)
        await self.crash()

    async def crash(self) -> None:
        """As a gate that is killed, and another one that takes over."""
        with patch.object(LmdbEngine, "end_journal"):
            await self._stack.aclose()
        await self.open()


KEYS = st.sampled_from([b"a", b"b", b"Ads.T:a", b"Ads.T:b", b"Ads.U:" + b"l" * 500])
HASHES = st.sampled_from([b"h", b"Ads.T:h"])
VALUES = st.sampled_from([b"", b"1", b"abc", b"x" * 700, b"y" * 40_000, b"z" * 70_000])  # the last: on a thread
FIELDS = st.sampled_from([b"f%d" % number for number in range(12)])


@st.composite
def some_fields(draw: st.DrawFn) -> list[bytes]:
    """Words for HSET: a few fields; or so large ones, or so many, that each is a record of its own."""
    if draw(st.booleans()):
        value = draw(st.sampled_from([b"v", b"w"])) * 500
        return [word for number in range(draw(st.integers(0, 6)), 12) for word in (b"f%d" % number, value)]
    if draw(st.booleans()):
        start = draw(st.integers(0, 300))
        value = draw(st.sampled_from([b"v", b"w"])) * 30
        return [word for number in range(start, start + 150) for word in (b"f%d" % number, value)]
    return [word for field in draw(st.lists(FIELDS, min_size=1, max_size=4)) for word in (field, draw(VALUES))]


@attrs.frozen
class Step:
    """What is done with a `Pair`."""

    name: str
    arguments: tuple[Any, ...] = ()


def asks(*words: Any) -> st.SearchStrategy[tuple[bytes, ...]]:
    """Commands of these words, or of what is drawn for them."""
    return st.tuples(*[word if isinstance(word, st.SearchStrategy) else st.just(word) for word in words])


WRITES = st.one_of(
    asks(b"SET", KEYS, VALUES),
    asks(b"SET", KEYS, VALUES, b"PX", st.sampled_from([b"50", b"3000"])),
    asks(b"MSET", KEYS, VALUES, KEYS, VALUES),
    asks(b"MSETNX", KEYS, VALUES, KEYS, VALUES),
    asks(b"DEL", KEYS | HASHES, KEYS | HASHES),
    asks(b"INCR", KEYS),
    asks(b"APPEND", KEYS, VALUES),
    asks(b"GETDEL", KEYS),
    asks(b"GETEX", KEYS, b"PX", b"40"),
    asks(b"SETRANGE", KEYS, st.sampled_from([b"5", b"35000"]), b"zzz"),
    asks(b"PEXPIRE", KEYS | HASHES, st.sampled_from([b"60", b"0", b"5000"])),
    asks(b"PERSIST", KEYS),
    asks(b"RENAME", KEYS | HASHES, KEYS | HASHES),
    asks(b"HDEL", HASHES, FIELDS, FIELDS),
    asks(b"HINCRBY", HASHES, FIELDS, b"3"),
    st.tuples(HASHES, some_fields()).map(lambda both: (b"HSET", both[0], *both[1])),
)
READS = st.one_of(
    asks(b"GET", KEYS),
    asks(b"MGET", KEYS, KEYS, KEYS),
    asks(b"STRLEN", KEYS),
    asks(b"GETRANGE", KEYS, b"30000", b"39000"),
    asks(b"EXISTS", KEYS, HASHES, KEYS),
    asks(b"PTTL", KEYS | HASHES),
    asks(b"TYPE", KEYS | HASHES),
    asks(b"HGETALL", HASHES),
    asks(b"HKEYS", HASHES),
    asks(b"HLEN", HASHES),
    asks(b"HMGET", HASHES, FIELDS, FIELDS),
    asks(b"HSCAN", HASHES, b"0", b"COUNT", st.sampled_from([b"3", b"1000"])),
)
STEPS = st.one_of(
    WRITES.map(lambda words: Step("ask", words)),
    WRITES.map(lambda words: Step("ask", words)),
    READS.map(lambda words: Step("ask", words)),
    st.lists(st.one_of(WRITES, READS), min_size=1, max_size=6).map(lambda commands: Step("pipeline", tuple(commands))),
    st.tuples(KEYS, VALUES, KEYS, VALUES).map(lambda words: Step("run", words)),
    st.tuples(KEYS | HASHES, WRITES | st.just(()), st.lists(WRITES | READS, min_size=1, max_size=3)).map(
        lambda block: Step("block", block)
    ),
    st.sampled_from([ALL, ADS]).map(lambda view: Step("list", (view,))),
    st.sampled_from([ALL, ADS]).map(lambda view: Step("flush", (view,))),
    st.integers(1, 4).map(lambda portions: Step("move", (portions,))),
    st.integers(1, 4).map(lambda portions: Step("die", (portions,))),
    st.sampled_from([Step("freeze"), Step("move", (1_000_000,))]),
    st.sampled_from([Step("settle"), Step("sweep"), Step("crash"), Step("time")]),
)


async def idle(*_args: object) -> None:
    """Instead of what would happen by itself."""
    await trio.sleep_forever()


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=4, max_size=30))
def test_a_store_with_a_journal_says_what_one_without_says(steps: list[Step]) -> None:
    async def play() -> None:
        clock = Clock()
        with TemporaryDirectory() as name:
            async with Pair(Path(name), clock).opened() as pair:
                for start in range(0, 450, 150):
                    await pair.ask(b"HSET", b"h", *[word for at in range(start, start + 150) for word in (b"f%d" % at, b"u")])
                for step in steps:
                    if step.name == "time":
                        clock.now += 55
                    elif step.name == "freeze":
                        pair.freeze()
                    else:
                        await getattr(pair, step.name)(*step.arguments)
                for key in (b"a", b"b", b"Ads.T:a", b"Ads.T:b"):
                    await pair.ask(b"EXISTS", key)
                await pair.list(ALL)
            assert good(Path(name) / "journaled")

    with patch.object(moving.Mover, "run", idle), patch.object(backend.LmdbBackend, "_sweep", idle):
        trio.run(play)
