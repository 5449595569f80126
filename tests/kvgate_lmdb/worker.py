"""A process that uses a store, for the tests that kill it, limit it, or run it beside another one.

``python -m tests.kvgate_lmdb.worker MODE PATH …``: ``write [no]`` sets keys for ever and says each acknowledged one,
``storm BASE`` does many kinds of writes,
``count KEY TIMES`` increments, ``full`` writes until the file may not grow and says what happened, ``hold`` sweeps,
``flush`` empties the store, ``narrow`` opens it with few addresses.
"""

import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.kvgate_lmdb import tight
from tests.kvgate_lmdb.store import ALL, Store, context, running, until


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def write(store: Store) -> None:
    async def client(name: int) -> None:
        number = 0
        while True:
            number += 1
            if await store.ask(b"SET", b"Ads.T:%d" % name, b"%d" % number + b"x" * 300) == b"+OK\r\n":
                say("ack", name, number)

    async with trio.open_nursery() as nursery:
        for name in range(16):
            nursery.start_soon(client, name)


async def storm(store: Store, base: int) -> None:
    """Clients with keys of their own, each acknowledged write said with its number, which only rises."""

    async def client(name: int) -> None:
        number = base
        while True:
            number += 1
            value = b"%d" % number + b"x" * (number % 7) * 50
            assert await store.ask(b"MSET", b"Ads.T:one%d" % name, value, b"other%d" % name, value) == b"+OK\r\n"
            say("both", name, number)
            counted = await store.ask(b"INCR", b"n%d" % name)
            say("count", name, int(counted[1:]))
            fields = [word for field in range(30) for word in (b"f%d" % (number * 7 % 500 + field), value)]
            assert (await store.ask(b"HSET", b"h%d" % name, *fields, b"last", b"%d" % number))[:1] == b":"
            say("hash", name, number)
            if number % 40 == 0:
                assert await store.ask(b"DEL", b"h%d" % name) == b":1\r\n"
            if number % 16 == 0:  # on a thread, which settles
                await store.pipeline([(b"HGETALL", b"h%d" % name)])
            await store.ask(b"SET", b"short%d" % (number % 90), b"v", b"PX", b"20")

    async with trio.open_nursery() as nursery:
        for name in range(8):
            nursery.start_soon(client, name)


async def count(store: Store, key: bytes, times: int) -> None:
    async def client() -> None:
        for _ in range(times // 4):
            reply = await store.ask(b"INCR", key)
            assert reply[:1] == b":", reply

    say("ready")
    await trio.to_thread.run_sync(sys.stdin.readline)  # meanwhile others may come in
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(client)


async def full(store: Store) -> None:
    for number in range(1000):
        reply = await store.ask(b"SET", b"fill%d" % number, bytes(30_000))
        if reply != b"+OK\r\n":
            break
    say("refused", number, reply.decode().strip())
    say("get", await store.ask(b"STRLEN", b"fill0"))
    say("again", (await store.ask(b"SET", b"fill0", bytes(30_000)))[:4].decode().strip())
    for gone in range(number):
        await store.ask(b"DEL", b"fill%d" % gone)
    say("after", await store.ask(b"SET", b"small", b"v"))


async def main(mode: str, path: str, *rest: str) -> None:
    if mode == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
    if "tight" in rest:
        tight.install()
    options: dict[str, Any] = {}
    if mode == "narrow":
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        options["map_size"] = 0
    async with running(Path(path), durable="no" not in rest, **options) as store:
        if mode == "write":
            await write(store)
        elif mode == "storm":
            await storm(store, int(rest[0]))
        elif mode == "count":
            await count(store, rest[0].encode(), int(rest[1]))
        elif mode == "full":
            await full(store)
        elif mode == "flush":
            await store.backend.flush(ALL, context())
        elif mode == "narrow":
            say(await store.ask(b"SET", b"k", b"v"), store.backend.engine.env.info()["map_size"])
        else:
            await until(lambda: store.backend.sweeping)
            say("sweeping")
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    return


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
