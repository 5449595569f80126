"""The control channel: answers, errors, and other ends that are slow, mute, mad or gone."""

import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from kvgate.errors import GateError
from kvgate.server.control import HEADER, LONGEST, Channel, Gone, Handler


def streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in socket.socketpair())
    return ours, theirs


@asynccontextmanager
async def two_ends(ours: dict[str, Handler], theirs: dict[str, Handler]) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two running channels that talk to one another."""
    near, far = (Channel(stream, handlers) for stream, handlers in zip(streams(), (ours, theirs), strict=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(near.run)
        await nursery.start(far.run)
        yield near, far
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def one_end() -> AsyncIterator[tuple[Channel, trio.SocketStream]]:
    """A running channel, and the bare other end of its socket."""
    near, far = streams()
    channel = Channel(near, {})
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        yield channel, far
        nursery.cancel_scope.cancel()
    await far.aclose()


async def echo(*arguments: Any) -> Any:
    return list(arguments)


async def test_both_ends_ask_and_answer_at_once() -> None:
    async with two_ends({"echo": echo}, {"echo": echo}) as (near, far):
        found: list[Any] = []

        async def ask(channel: Channel, number: int) -> None:
            found.append(await channel.call("echo", number, "\udc80\x00ü", None))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, (near, far)[number % 2], number)
    assert sorted(found) == [[number, "\udc80\x00ü", None] for number in range(100)]


async def test_a_refusal_is_raised_and_a_bug_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse() -> None:
        raise GateError("TRYAGAIN later")

    async def fail() -> None:
        raise RuntimeError("inside")

    async with two_ends({}, {"refuse": refuse, "fail": fail}) as (near, _):
        with pytest.raises(GateError, match="TRYAGAIN later"):
            await near.call("refuse")
        with pytest.raises(GateError, match="failed inside"):
            await near.call("fail")
        with pytest.raises(GateError, match="failed inside"):
            await near.call("unknown")
    assert {record.message for record in caplog.records} == {"control_call_failed"}


async def test_a_slow_answer_is_not_waited_for_and_not_taken_for_the_next(autojump_clock: trio.testing.MockClock) -> None:
    proceed = trio.Event()

    async def slow() -> str:
        await proceed.wait()
        return "late"

    async with two_ends({}, {"slow": slow, "echo": echo}) as (near, _):
        begun = trio.current_time()
        with pytest.raises(Gone):
            await near.call("slow", patience=3.0)
        assert trio.current_time() - begun == pytest.approx(3.0)
        proceed.set()
        assert await near.call("echo", 1) == [1]


async def test_nobody_hangs_on_an_end_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    async with one_end() as (channel, far):
        big = "x" * 4_000_000
        for _ in range(3):
            begun = trio.current_time()
            with pytest.raises(Gone):
                await channel.call("echo", big, patience=2.0)
            assert trio.current_time() - begun == pytest.approx(2.0)
        assert not channel.gone.is_set()
        got = bytearray()  # what it reads later are whole messages, in order
        while len(got) < 3 * 4_000_000:
            got += await far.receive_some()
        (length,) = HEADER.unpack_from(got)
        assert json.loads(bytes(got[HEADER.size : HEADER.size + length])) == [1, "echo", [big]]


async def test_half_a_message_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with one_end() as (channel, far):
        answer = b'[1, "here"]'
        found: list[Any] = []

        async def ask() -> None:
            found.append(await channel.call("anything"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            for byte in HEADER.pack(len(answer)) + answer:
                assert not found
                await far.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
        assert found == ["here"]


@pytest.mark.parametrize(
    "garbage",
    [
        HEADER.pack(LONGEST + 1),
        HEADER.pack(5) + b"hello",
        HEADER.pack(2) + b"{}",
        HEADER.pack(2) + b"[]",
        HEADER.pack(14) + b'["1", "x", []]',
        HEADER.pack(11) + b'[1, "x", 1]',
        HEADER.pack(1) + b"\xff",
        HEADER.pack(100_000) + b"[" * 100_000,
    ],
    ids=["length", "text", "map", "empty", "number", "arguments", "bytes", "deep"],
)
async def test_garbage_ends_the_channel_and_nothing_else(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with one_end() as (channel, far):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(Gone):
                    await channel.call("anything", patience=60)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await far.send_all(garbage)
            await channel.gone.wait()
        with pytest.raises(Gone):
            await channel.call("anything")
    assert [record.message for record in caplog.records] == ["control_garbage"]


async def test_the_end_of_the_other_end_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with one_end() as (channel, far), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Gone):
                await channel.call("anything", patience=60)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        await far.aclose()
        await channel.gone.wait()
        assert trio.current_time() == begun


async def test_answers_that_nobody_waits_for_are_dropped() -> None:
    async with one_end() as (channel, far):
        for stray in (b"[7, 1]", b'[7, null, "ERR no"]'):
            await far.send_all(HEADER.pack(len(stray)) + stray)
        request = b'[1, "unknown", []]'
        await far.send_all(HEADER.pack(len(request)) + request)
        reply = await far.receive_some()
        assert b"failed inside" in reply
        assert not channel.gone.is_set()
