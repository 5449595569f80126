"""SCAN, KEYS, DBSIZE, RANDOMKEY and FLUSHDB over the shards of one store, restricted to a view.

A view that is not the whole store is served by SCAN pages, each filtered here. Counting and flushing a large store take
longer than a command may (1.5 s): they have `SLOW_SECONDS` of their own, whatever the call's deadline says, and whoever
calls them does so from a task that holds up nobody. They are not atomic: what is written meanwhile may be seen or not.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import attrs
import trio

from kvgate.backend import INTERNAL_PREFIX, CallContext, View
from kvgate.errors import GateError, in_doubt, try_again
from kvgate.wire.glob import glob_matcher, literal_prefix
from kvgate.wire.reply import Error, Reply
from kvgate_redis.dialect import Ask, Dialect
from kvgate_redis.lua import DUE, FENCE, SWEEPER

SLOW_SECONDS = 60.0
"""For counting or flushing everything."""
ANSWER_SECONDS = 1.5
"""For each page of those: a command's usual time."""
PAGE = 1000
"""COUNT of a page: a fraction of a millisecond of Redis' one thread."""
LARGEST_PAGE = 10_000
"""A client's COUNT above this is lowered (it is a hint): SCAN with a COUNT of millions holds up the neighbours."""
EMPTY_PAGES = 10
"""Pages in a row that a single SCAN looks at while they hold no key of the view; then it answers an empty page."""
RANDOM_TRIES = 8
"""RANDOMKEYs for a view that is a part of the store, before it is scanned."""
COUNTED_ONCE = 200_000
"""Keys that are remembered while counting, because SCAN gives a few of them twice while the store's table grows; beyond it
the count may be high by those few."""


class AskShard(Protocol):
    """Sends one command to a shard."""

    def __call__(self, shard: int, args: Sequence[bytes], *, deadline: float, readonly: bool) -> Awaitable[Reply]:
        """The decoded RESP2 reply, errors as `Error` values.

        Raises:
            GateError: ``TRYAGAIN``, ``INDOUBT``, ``ERR upstream …``.
        """


@attrs.frozen(slots=True)
class _Filter:
    """What of a page is shown, and what of that the store filters itself."""

    options: tuple[bytes, ...]
    """MATCH and TYPE with their values, for SCAN."""
    shows: Callable[[bytes], bool]
    nothing: bool = False
    """No key can be shown, as the options already tell."""
    sort: tuple[bytes, Callable[[bytes], bool]] | None = None
    """The type asked for, and which hashes may be versioned keys: the store takes them all for hashes."""


@attrs.frozen(slots=True)
class VersionedKeys:
    """How versioned keys that are stored as hashes are told apart."""

    script: bytes
    """Gives the types of its keys."""
    on: Callable[[int], bool]
    """Whether there may be any on a shard."""


_HASHES: Final = frozenset({b"hash", b"exstrtype", b"tairhash-"})
"""Types that are a hash there."""
_OURS: Final = (DUE, SWEEPER, FENCE)
"""Keys of the gate that DBSIZE counts."""


class KeyListing:
    """`Listing` (see kvgate.backend) over SCAN."""

    def __init__(self, shards: int, dialect: Dialect, ask: AskShard, versioned: VersionedKeys) -> None:
        """Over shards 0 to ``shards - 1``."""
        self._versioned = versioned
        self.sources = shards
        self._dialect = dialect
        self._ask = ask

    async def scan(
        self, source: int, cursor: int, *, count: int, match: bytes | None, kind: bytes | None, view: View, call: CallContext
    ) -> tuple[int, list[bytes]]:
        """See `Listing.scan`. Raises GateError."""
        wanted = self._filter(view, match, kind, encoded=self._versioned.on(source))
        if wanted.nothing:
            return 0, []
        ask, write = self._asker(source, call.deadline), self._asker(source, call.deadline, readonly=False)
        place = await self._dialect.cursors.incoming(cursor, write) if cursor else b"0"
        for _ in range(EMPTY_PAGES):
            place, keys = await self._page(ask, place, min(max(count, 1), LARGEST_PAGE), wanted)
            if keys or place == b"0":
                break
        return await self._dialect.cursors.outgoing(place, write) if place != b"0" else 0, keys

    async def size(self, view: View, call: CallContext) -> int:
        """See `Listing.size`; exact for the whole of a store that counts, else counted page by page. Raises GateError."""
        del call
        counts: list[int] = [0] * self.sources
        whole = view.everything and self._dialect.counts

        async def one(shard: int, until: float) -> None:
            counts[shard] = await (self._dbsize(shard, view) if whole else self._count(shard, view, until))

        await self._on_all(one)
        return sum(counts)

    async def random_key(self, view: View, call: CallContext) -> bytes | None:
        """See `Listing.random_key`. Raises GateError."""
        shows, empty = self._filter(view, None, None).shows, True
        shards = random.sample(range(self.sources), self.sources)  # a fair order, not a secret
        for shard in shards:
            for _ in range(RANDOM_TRIES):
                key = _sound(await self._ask(shard, [b"RANDOMKEY"], deadline=call.deadline, readonly=True))
                if not isinstance(key, bytes):
                    break
                if not key and not await self._has_empty_key(shard, call):
                    break
                empty = False
                if shows(key):
                    return key
        if empty:
            return None
        return await self._first_found(shards, view, call)

    async def flush(self, view: View, call: CallContext) -> None:
        """See `Listing.flush`; FLUSHDB where the store is the view's alone, else SCAN and UNLINK in pages.

        Raises:
            GateError: ``INDOUBT`` when it ended halfway: it can be sent again.
        """
        del call
        touched: list[int] = []

        async def one(shard: int, until: float) -> None:
            if view.everything and await self._flushdb(shard):
                touched.append(shard)
            else:
                await self._unlink(shard, view, until, touched)

        try:
            await self._on_all(one)
        except GateError as error:
            if not touched or error.text.startswith("INDOUBT"):
                raise
            raise in_doubt(f"a part of the keys is deleted, then: {error.text}; send it again") from error

    # ------------------------------------------------------------------ one shard

    def _asker(self, shard: int, deadline: float | None = None, *, readonly: bool = True) -> Ask:
        async def ask(args: Sequence[bytes]) -> Reply:
            by = trio.current_time() + ANSWER_SECONDS if deadline is None else deadline
            return _sound(await self._ask(shard, args, deadline=by, readonly=readonly))

        return ask

    def _filter(self, view: View, match: bytes | None, kind: bytes | None, *, encoded: bool = False) -> _Filter:
        """Send the client's own MATCH; without one, the beginning that all keys of the view have, if they have. `encoded`:
        versioned keys are hashes to the store."""
        sort = None
        if encoded and kind is not None and view.versioned is not None and kind.lower() in _HASHES:
            sort, kind = (kind.lower(), view.versioned), b"hash"
        options: list[bytes] = []
        types = self._dialect.scan_types
        ours, theirs = _common(view.prefixes), literal_prefix(match or b"")
        nothing = not (ours.startswith(theirs) or theirs.startswith(ours))
        if types is not None and kind is not None and kind.lower() not in types:
            nothing = True
        matches = None
        if match is not None and self._dialect.globs:
            options += [b"MATCH", match]
        else:
            matches = glob_matcher(match) if match is not None else None
            plain = _plain(max(ours, theirs, key=len))
            if plain:
                options += [b"MATCH", plain + b"*"]
        if kind is not None:
            options += [b"TYPE", kind.lower()]

        def shows(key: bytes) -> bool:
            return not key.startswith(INTERNAL_PREFIX) and (matches is None or matches(key)) and view.has(key)

        return _Filter(tuple(options), shows, nothing, sort)

    async def _page(self, ask: Ask, place: bytes, count: int, wanted: _Filter) -> tuple[bytes, list[bytes]]:
        reply = await ask([b"SCAN", place, b"COUNT", b"%d" % count, *wanted.options])
        if not (isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes) and isinstance(reply[1], list)):
            raise GateError("ERR the store's answer to SCAN is none")
        keys = [key for key in reply[1] if isinstance(key, bytes) and wanted.shows(key)]
        return reply[0], keys if wanted.sort is None else await self._sorted_out(ask, keys, *wanted.sort)

    async def _sorted_out(
        self, ask: Ask, keys: list[bytes], kind: bytes, versioned: Callable[[bytes], bool]
    ) -> list[bytes]:
        """Those of many hashes that are of that type to a client."""
        asked = [key for key in keys if versioned(key)]
        types: dict[bytes, Reply] = {}
        if asked:
            reply = await ask([b"EVAL", self._versioned.script, b"%d" % len(asked), *asked])
            types = dict(zip(asked, reply if isinstance(reply, list) else [], strict=False))
        return [key for key in keys if types.get(key, b"hash") == kind]

    async def _dbsize(self, shard: int, view: View) -> int:
        """What is the gate's own is not counted: some keys, and one beside each versioned hash with fields that expire."""
        ask = self._asker(shard)
        figures = [await ask([b"DBSIZE"]), await ask([b"EXISTS", *_OURS])]
        if view.versioned is not None:
            figures.append(await ask([b"ZCARD", DUE]))
        size, *ours = (figure if isinstance(figure, int) else 0 for figure in figures)
        return max(0, size - sum(ours))

    async def _count(self, shard: int, view: View, until: float) -> int:
        ask, wanted, place, seen, total = self._asker(shard), self._filter(view, None, None), b"0", set[int](), 0
        while True:
            place, keys = await self._page(ask, place, PAGE, wanted)
            fresh = {hash(key) for key in keys} - seen
            total += len(fresh)
            if len(seen) < COUNTED_ONCE:
                seen |= fresh
            if place == b"0":
                return total
            if trio.current_time() > until:
                raise try_again(f"counting the keys took more than {SLOW_SECONDS:g} s")

    async def _flushdb(self, shard: int) -> bool:
        """Whether the store took the command; one that disabled it (``rename-command FLUSHDB ""``) does not."""
        try:
            await self._asker(shard, readonly=False)(self._dialect.flush)
        except GateError as error:
            if "unknown command" in error.text or "NOPERM" in error.text:
                return False
            raise
        return True

    async def _unlink(self, shard: int, view: View, until: float, touched: list[int]) -> None:
        ask, remove, place = self._asker(shard), self._asker(shard, readonly=False), b"0"
        wanted = self._filter(view, None, None)
        while True:
            place, keys = await self._page(ask, place, PAGE, wanted)
            if keys:
                await remove([b"UNLINK", *keys])
                touched.append(shard)
            if place == b"0":
                return
            if trio.current_time() > until:
                raise try_again(f"deleting the keys took more than {SLOW_SECONDS:g} s")

    async def _has_empty_key(self, shard: int, call: CallContext) -> bool:
        """KvRocks answers an empty text where Redis answers nil; and ``""`` is a key like any other."""
        return _sound(await self._ask(shard, [b"EXISTS", b""], deadline=call.deadline, readonly=True)) == 1

    async def _first_found(self, shards: Sequence[int], view: View, call: CallContext) -> bytes | None:
        wanted = self._filter(view, None, None)
        for shard in shards:
            ask, place = self._asker(shard, call.deadline), b"0"
            while True:
                place, keys = await self._page(ask, place, PAGE, wanted)
                if keys:
                    return random.choice(keys)  # noqa: S311 - any key will do
                if place == b"0":
                    break
        return None

    async def _on_all(self, work: Callable[[int, float], Awaitable[None]]) -> None:
        """Run `work` for all shards side by side; the first error is raised when all have ended."""
        until = trio.current_time() + SLOW_SECONDS
        errors: list[GateError] = []

        async def one(shard: int) -> None:
            try:
                await work(shard, until)
            except GateError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for shard in range(self.sources):
                nursery.start_soon(one, shard)
        if errors:
            raise errors[0]


def _sound(reply: Reply) -> Reply:
    """The reply, unless it is an error. Raises GateError."""
    if isinstance(reply, Error):
        raise GateError(reply.text.decode("utf-8", "surrogateescape"))
    return reply


def _common(prefixes: Sequence[bytes]) -> bytes:
    """What all of them begin with."""
    if not prefixes:
        return b""
    low, high = min(prefixes), max(prefixes)
    same = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:same]


def _plain(text: bytes) -> bytes:
    """The part before the first byte that means something in a pattern, for stores that know no escapes."""
    end = next((at for at, char in enumerate(text) if char in b"*?[]\\"), len(text))
    return text[:end]
