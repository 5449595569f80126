"""Gates that are killed at any moment, and started again at once: what they acknowledged is there, once, and whole."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import attrs
import pytest
import trio

from kvgate_lmdb import journal, moving
from tests.kvgate_lmdb.store import Store, running
from tests.kvgate_lmdb.test_durability import worker
from tests.kvgate_lmdb.test_tools import good
from tests.support.servers import wait_for

pytestmark = pytest.mark.journal


@attrs.define
class Seen:
    """What a storm (worker.py) was told: the last number of each client."""

    both: dict[int, int] = attrs.Factory(dict)
    count: dict[int, int] = attrs.Factory(dict)
    hash: dict[int, int] = attrs.Factory(dict)

    def read(self, process: "Popen[bytes]", lines: int) -> None:
        """So many lines, then SIGKILL and the rest."""
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            if not line.endswith(b"\n"):
                break
            kind, name, value = line.split()
            getattr(self, kind.decode())[int(name)] = int(value)
            if number == lines:
                process.kill()

    async def hold(self, store: Store) -> None:
        """Whether the store has it all, and of what nobody was told, no more than may be."""
        for name, number in self.both.items():
            one, other = await store.ask(b"GET", b"Ads.T:one%d" % name), await store.ask(b"GET", b"other%d" % name)
            assert one == other, "both or none"
            assert number <= int(one.split(b"\r\n")[1].rstrip(b"x")) <= number + 1
        for name, number in self.count.items():
            assert number <= int((await store.ask(b"GET", b"n%d" % name)).split(b"\r\n")[1]) <= number + 1
        for name, number in self.hash.items():
            last = (await store.ask(b"HGET", b"h%d" % name, b"last")).split(b"\r\n")
            if last == [b"$-1", b""]:
                assert number % 40 in (0, 39), "it was deleted behind this one"
            else:
                assert number <= int(last[1]) <= number + 1


def movers(folder: Path) -> list[int]:
    """The processes that move the journal of the store in `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if str(folder).encode() in words and {moving.PROGRAM.encode(), b"tests.kvgate_lmdb.tight"} & {*words}:
                    found.append(int(process.name))
    return found


@pytest.mark.parametrize("durability", ["always", "no"])
async def test_killed_again_and_again(tmp_path: Path, durability: str) -> None:
    """With layers in each state, while the mover works, and the next one starts while the mover of the last one is there."""
    dice, seen = random.Random(os.urandom(4)), Seen()
    for turn in range(6):
        lines = dice.randint(1, 1500)
        with worker("storm", tmp_path, str(1_000_000 * turn), durability, "tight") as process:
            await trio.to_thread.run_sync(seen.read, process, lines)
        if turn % 2:
            async with running(tmp_path) as store:
                await seen.hold(store)
            assert not journal.exists(tmp_path)
            assert good(tmp_path)


async def test_the_mover_is_killed_again_and_again(tmp_path: Path) -> None:
    dice, seen, killed = random.Random(os.urandom(4)), Seen(), 0
    with worker("storm", tmp_path, "0", "no", "tight") as process, trio.CancelScope() as scope:

        async def kill_movers() -> None:
            nonlocal killed
            while True:
                for mover in movers(tmp_path):
                    with suppress(ProcessLookupError):
                        os.kill(mover, signal.SIGKILL)
                        killed += 1
                await trio.sleep(dice.random() / 10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_movers)
            await trio.to_thread.run_sync(seen.read, process, 6000)
            scope.cancel()
    assert killed
    async with running(tmp_path) as store:
        await seen.hold(store)
    assert good(tmp_path)


async def test_a_mover_that_outlives_its_gate_does_nothing(tmp_path: Path) -> None:
    """It is stopped somewhere in its work, goes on when another gate has taken the journal over and written more."""
    seen = Seen()
    with worker("storm", tmp_path, "0", "no", "tight") as process:
        await trio.to_thread.run_sync(wait_for, lambda: movers(tmp_path), "the mover")
        (mover,) = movers(tmp_path)
        for _ in range(20):
            os.kill(mover, signal.SIGSTOP)
            process.kill()
            os.kill(mover, signal.SIGCONT)
        await trio.to_thread.run_sync(seen.read, process, 1)
    async with running(tmp_path) as store:
        await seen.hold(store)
        for name in range(8):
            await store.ask(b"MSET", b"Ads.T:one%d" % name, b"new", b"other%d" % name, b"new")
        await trio.to_thread.run_sync(wait_for, lambda: not movers(tmp_path), "the mover to end")
        for name in range(8):
            assert await store.ask(b"MGET", b"Ads.T:one%d" % name, b"other%d" % name) == b"*2\r\n$3\r\nnew\r\n$3\r\nnew\r\n"
        assert (await store.pipeline([(b"GET", b"Ads.T:one0")])) == [b"$3\r\nnew\r\n"]
    assert good(tmp_path)
