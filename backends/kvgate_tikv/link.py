"""The connection of one store to its cluster: made in the background, watched, made again."""

import logging
import os
from collections.abc import Sequence
from typing import Final

import trio

from kvgate.errors import Conflict, GateError
from kvgate.model import keyspace
from kvgate.model.kv import KvTxn, transact
from kvgate.model.meta import StoreHeader, decode_header, encode_header
from kvgate_tikv.bridge import NotInstalled, Unavailable, connect
from kvgate_tikv.engine import TikvEngine

log = logging.getLogger("kvgate.tikv")

WATCH: Final = 1.0
"""Seconds between two looks whether the cluster answers; also how old `TikvEngine.now_ms` may be."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
MISSED: Final = 5
"""Looks in a row without an answer, after which the connection is made anew. (The native client reconnects by itself, too.)"""


class Link:
    """Keeps an engine connected."""

    def __init__(self, engine: TikvEngine, pd: Sequence[str]) -> None:
        """Connect `engine` to the placement drivers `pd`, once `run` runs."""
        self._engine = engine
        self._pd = pd
        self.complaint = "not connected yet"
        """Why the cluster is taken to be away; empty when it is there."""
        self.way = ""
        self.connects = 0

    async def run(self, tried: trio.Event) -> None:
        """Connect, and stay connected, until cancelled; `tried` is set after the first try."""
        pause = FIRST_PAUSE
        while True:
            if await self._connect():
                tried.set()
                pause = FIRST_PAUSE
                await self._watch()
                self._engine.use(None)
            tried.set()
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> bool:
        try:
            client = await connect(self._pd)
        except (Unavailable, NotInstalled) as error:
            self._complain(f"cannot connect to {', '.join(self._pd)}: {error}")
            return False
        self._engine.use(client)
        try:
            await self._check_header()
        except (Unavailable, Conflict, GateError) as error:
            self._engine.use(None)
            self._complain(str(error))
            return False
        self.way = client.way
        self.connects += 1
        self._complain("")
        return True

    async def _check_header(self) -> None:
        """Make the record of the store's format, or read it.

        Raises:
            GateError: a newer kvgate wrote the store.
        """

        async def look(txn: KvTxn) -> StoreHeader:
            raw = await txn.get(keyspace.HEADER)
            if raw is not None:
                return decode_header(raw)
            header = StoreHeader(keyspace.FORMAT, keyspace.FORMAT, self._engine.now_ms(), os.urandom(16))
            txn.put(keyspace.HEADER, encode_header(header))
            return header

        header = await transact(self._engine, look)
        if header.oldest > keyspace.FORMAT:
            raise GateError(
                f"ERR store was written by a newer kvgate (format {header.format}, readable from format {header.oldest} on;"
                f" this version knows {keyspace.FORMAT}): upgrade kvgate"
            )

    async def _watch(self) -> None:
        missed = 0
        while missed < MISSED:
            try:
                await self._engine.timestamp()
            except Unavailable as error:
                missed += 1
                self._complain(f"the placement driver does not answer: {error}")
            else:
                missed = 0
                self._complain("")
            await trio.sleep(WATCH)

    def _complain(self, what: str) -> None:
        """Log it, once for as long as it stays the same."""
        if what != self.complaint:
            if what:
                log.warning("tikv at %s: %s", ", ".join(self._pd), what)
            else:
                log.info("tikv at %s: connected", ", ".join(self._pd))
        self.complaint = what
