"""The program that ``tikv`` compares the gate with: asyncio and tikv-client's own transactions, one for each command.

Run as ``python -m bench.tikv_plain PD PREFIX``. Each line of its standard input is a JSON object with the fields of `Work`;
for each it prints one with ``seconds`` and ``retries``.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from tikv_client.asynchronous import TransactionClient  # type: ignore[import-untyped]  # it has no types

FILL = 500
"""Keys written in one transaction beforehand."""


@attrs.frozen(slots=True)
class Work:
    """What is to be done, so many at a time. A field of a hash is a record of its own; nothing counts them (no HLEN)."""

    command: str
    """A key of `DOES`, or FILL: write all keys, `requests` aside."""
    requests: int
    clients: int
    keys: int
    """1: a hot key."""
    value_bytes: int


class Plain:
    """Commands as transactions; those that conflict are begun anew, as often as it takes."""

    def __init__(self, client: Any, prefix: str, work: Work) -> None:
        self._client = client
        self._prefix = prefix
        self._value = b"x" * work.value_bytes
        self.retries = 0

    def key(self, kind: str, number: int) -> bytes:
        """The record for a key."""
        return f"{self._prefix}{kind}:{number:012d}".encode()

    async def get(self, key: bytes) -> None:
        """One read in a transaction, which needs no commit."""
        txn = await self._client.begin(pessimistic=False)
        try:
            await txn.get(key)
        finally:
            await txn.rollback()

    async def set(self, key: bytes) -> None:
        """One blind write."""
        await self._write(key, lambda _: self._value, read=False)

    async def incr(self, key: bytes) -> None:
        """A read and a write that depends on it."""
        await self._write(key, lambda before: b"%d" % (int(before or b"0") + 1), read=True)

    async def _write(self, key: bytes, change: Callable[[bytes | None], bytes], *, read: bool) -> None:
        while True:
            txn = await self._client.begin(pessimistic=False)
            try:
                await txn.put(key, change(await txn.get(key) if read else None))
                await txn.commit()
            except Exception as error:
                await txn.rollback()
                text = str(error)
                if "conflict: Some(" not in text and "Failed to resolve lock" not in text:
                    raise
                self.retries += 1
            else:
                return

    async def fill(self, keys: int) -> None:
        """Write all strings, and a field of each hash."""
        for kind in ("s", "h"):
            for begin in range(0, keys, FILL):
                txn = await self._client.begin(pessimistic=False)
                for number in range(begin, min(begin + FILL, keys)):
                    await txn.put(self.key(kind, number), self._value)
                await txn.commit()


DOES: dict[str, tuple[str, Callable[[Plain, bytes], Awaitable[None]]]] = {
    "GET": ("s", Plain.get),
    "SET": ("s", Plain.set),
    "INCR": ("n", Plain.incr),
    "HGET": ("h", Plain.get),
    "HSET": ("h", Plain.set),
}


async def run(client: Any, prefix: str, work: Work) -> dict[str, float]:
    """Do the work; seconds, and how many transactions were begun anew."""
    plain, left = Plain(client, prefix, work), work.requests
    begin = time.perf_counter()
    if work.command == "FILL":
        await plain.fill(work.keys)
    else:
        kind, do = DOES[work.command]

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await do(plain, plain.key(kind, random.randrange(work.keys)))

        await asyncio.gather(*(worker() for _ in range(work.clients)))
    return {"seconds": time.perf_counter() - begin, "retries": plain.retries}


async def main(pd: str, prefix: str) -> None:
    """Serve lines until the end of the input."""
    client = await TransactionClient.connect([pd])
    print(json.dumps({"seconds": 0, "retries": 0}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await run(client, prefix, Work(**json.loads(line)))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
