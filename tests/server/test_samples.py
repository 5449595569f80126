"""Which commands of runs are shown to who wants to see some, without sockets, and that they stay runs."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import lookup
from kvgate.lane.client import Client
from kvgate.lane.machine import Lane
from kvgate.metrics.ledger import Account, Ledger
from kvgate.server.samples import Samples
from kvgate.wire.request import encode_request
from kvgate_lmdb.backend import LmdbBackend
from tests.admin.rooms import Room, open_room

CONFIG = """
[gate]
hotkeys_sample = 0
[backends.local]
type = "lmdb"
path = "$DIR/data"
[namespaces]
default = "local"
"""
NOBODY: Any = None
SPEC = lookup([b"SET", b"k", b"v"])


class Watching:
    """Wants one of `every` commands."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.shown: list[list[bytes]] = []

    def take(self, client: Client, spec: CommandSpec, args: list[bytes]) -> None:
        del client, spec
        self.shown.append(args)


def shown(seed: int, every: int, sizes: list[int], *, together: bool) -> tuple[list[list[bytes]], int]:
    """What is shown of runs of these sizes that are counted together or one by one, and what is passed over next."""
    random.seed(seed)
    assert SPEC is not None
    lane = Lane(NOBODY)
    samples, watching = Samples(lane, Ledger()), Watching(every)
    samples.add(watching)
    account, number = Account("", "set", readonly=False), 0
    for size in sizes:
        commands = [[b"%d" % each, b"v"] for each in range(number, number + size)]
        number += size
        if together:
            samples.passed(NOBODY, SPEC, b"set", [word for words in commands for word in words], size)
        else:
            for words in commands:
                assert samples.count(NOBODY, SPEC, [b"set", *words], account) is account
    return watching.shown, lane.unsampled


@pytest.mark.parametrize("every", [1, 2, 7, 64])
@pytest.mark.parametrize("seed", range(5))
def test_of_a_run_those_are_shown_that_would_be_if_they_came_one_by_one(seed: int, every: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.choice((1, 1, 2, 16, 100)) for _ in range(40)]
    found = shown(seed, every, sizes, together=True)
    assert found == shown(seed, every, sizes, together=False)
    assert len(found[0]) == sum(sizes) if every == 1 else 0 < len(found[0]) < sum(sizes)


def test_what_is_shown_is_a_command_as_its_client_wrote_it() -> None:
    assert shown(1, 1, [2, 1], together=True)[0] == [[b"set", b"0", b"v"], [b"set", b"1", b"v"], [b"set", b"2", b"v"]]


class Following:
    """Follows every command, and has each counted where it would be."""

    every = 1

    def follow(self, client: Client, spec: CommandSpec) -> Callable[[Account], Account]:
        del client, spec
        return lambda account: account


def runs_of(room: Room, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the size of each run that the backend is given."""
    backend, counts = room.site.backends["local"], list[int]()
    assert isinstance(backend, LmdbBackend)
    enqueue_run, read_run = backend.enqueue_run, backend.read_run

    def enqueued(spec: CommandSpec, words: list[bytes], count: int, *rest: Any) -> None:
        counts.append(count)
        enqueue_run(spec, words, count, *rest)

    def read(name: str, words: list[bytes], start: int, null: bytes) -> tuple[bytes, int, int]:
        found = read_run(name, words, start, null)
        counts.append(found[1])
        return found

    monkeypatch.setattr(backend, "enqueue_run", enqueued)
    monkeypatch.setattr(backend, "read_run", read)
    return counts


@pytest.mark.parametrize("followed", [False, True])
async def test_a_run_that_is_shown_stays_a_run_unless_it_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, followed: bool
) -> None:
    text = CONFIG.replace("$DIR", str(tmp_path))
    put, get = encode_request([b"SET", b"k", b"v"]), encode_request([b"GET", b"k"])
    with open_room(text) as room:
        client, lane, watching = room.join(), room.site.lane, Watching(1)

        async def told(data: bytes, now: float) -> int:
            """Bytes of replies: those to writes are on their way already."""
            before = client.sent
            lane.feed(client, data, now)
            with trio.fail_after(20):
                while client.queue:
                    await trio.lowlevel.checkpoint()
            room.driver.kick()
            return client.sent - before

        async with trio.open_nursery() as nursery:
            await nursery.start(room.site.backends["local"].run)
            await nursery.start(room.site.tasks.run)
            assert (await told(put, 1.0), await told(get, 2.0)) == (5, 7)  # the lane learns them
            counts = runs_of(room, monkeypatch)
            room.site.samples.add(watching)
            room.site.samples.follow(Following() if followed else None)
            assert await told(put * 20, 3.0) == 5 * 20
            assert counts == ([] if followed else [20])
            counts.clear()
            assert await told(get * 20, 4.0) == 7 * 20
            assert counts == ([1] * 20 if followed else [20])
            nursery.cancel_scope.cancel()
    assert watching.shown == [[b"SET", b"k", b"v"]] * 20 + [[b"GET", b"k"]] * 20
