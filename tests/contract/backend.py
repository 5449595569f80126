"""The contract of `kvgate.backend`: classes of tests that every adapter passes, ours and anybody's.

One for each Protocol. A subclass in a test file takes those that the adapter offers, and gives the fixture `served`: a
backend over an empty store, running.

    class TestMine(BackendContract, ListingContract):
        @pytest.fixture
        async def served(self) -> AsyncIterator[Served]:
            async with serving(adapter.prepare("mine", {...}, Path())) as served:
                yield served

What a backend does not claim (`Backend.capabilities`) is not asked of it. All keys begin with ``Contract.``.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from kvgate.backend import INTERNAL_PREFIX, Backend, CallContext, Command, InPlace, Listing, PassThrough, View
from kvgate.commands.keys import key_indices
from kvgate.commands.scripts import KNOWN_SCRIPTS, claim
from kvgate.commands.table import CAPABILITIES, TABLE, resolve, supports
from kvgate.wire.reply import OK, Error, Raw, Reply, decode, encode
from kvgate.wire.request import encode_request
from tests.contract.shared import StandInShared

PATIENT = 20.0
"""Seconds: the machine is shared."""
EVERYTHING = View(has=lambda key: not key.startswith(INTERNAL_PREFIX), everything=True)


def command(*args: str | bytes | int) -> Command:
    """A checked command, as the gate makes it."""
    plain = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    spec = resolve(plain)
    return Command(args=plain, spec=spec, keys=key_indices(spec, plain), frame=encode_request(plain))


def call(proto: int = 2) -> CallContext:
    """On behalf of a test, with plenty of time."""
    return CallContext(proto=proto, user="default", deadline=trio.current_time() + PATIENT)


def of_namespaces(*names: str) -> View:
    """The view of a user who may see these namespaces of a store that others use too."""
    prefixes = tuple(f"{name}:".encode() for name in names)
    return View(has=lambda key: key.startswith(prefixes), everything=False, prefixes=prefixes)


def plain(reply: Raw | Reply) -> Reply:
    """The value of a reply, whichever way the backend gave it."""
    return decode(reply) if isinstance(reply, Raw) else reply


@attrs.define
class Served:
    """A running backend."""

    backend: Backend
    shared: StandInShared | None = None
    """What a pass-through one was attached to."""

    async def do(self, *args: str | bytes | int, proto: int = 2) -> Reply:
        """One command."""
        replies = await self.backend.execute([command(*args)], call(proto))
        assert len(replies) == 1
        return plain(replies[0])

    async def do_all(self, *commands: Iterable[str | bytes | int]) -> list[Reply]:
        """Several commands of one client, together."""
        return [plain(reply) for reply in await self.backend.execute([command(*args) for args in commands], call())]

    async def fill(self, *keys: str) -> None:
        """Store strings."""
        assert await self.do_all(*(("SET", key, f"value of {key}") for key in keys)) == [OK] * len(keys)

    def claims(self, *names: str) -> bool:
        """Whether the backend supports all these commands."""
        return all(supports(TABLE[name.encode()], self.backend.capabilities) for name in names)

    @property
    def listing(self) -> Listing:
        """The backend as a `Listing`."""
        assert isinstance(self.backend, Listing)
        return self.backend

    async def scan(self, view: View, *, count: int = 10, match: bytes | None = None, kind: bytes | None = None) -> list[bytes]:
        """All keys, page by page, over all sources, as they come."""
        found: list[bytes] = []
        for source in range(self.listing.sources):
            found += await self.rest(source, 0, view, count=count, match=match, kind=kind)
        return found

    async def rest(
        self, source: int, cursor: int, view: View, *, count: int = 10, match: bytes | None = None, kind: bytes | None = None
    ) -> list[bytes]:
        """The keys of one source from a cursor on."""
        found: list[bytes] = []
        while True:
            cursor, keys = await self.listing.scan(source, cursor, count=count, match=match, kind=kind, view=view, call=call())
            assert 0 <= cursor < 1 << 41
            found += keys
            if not cursor:
                return found


async def start(nursery: trio.Nursery, backend: Backend) -> Served:
    """Run a backend in `nursery` until that is cancelled; a pass-through one over a stand-in for the lane."""
    shared = StandInShared(backend.topology) if isinstance(backend, PassThrough) else None
    if isinstance(backend, PassThrough):
        assert shared is not None
        backend.attach(shared)

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await backend.run(task_status=task_status)
        finally:
            if shared is not None:
                shared.close()

    await nursery.start(run)
    return Served(backend, shared)


@asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[Served]:
    """Run a backend for the length of a block."""
    async with trio.open_nursery() as nursery:
        yield await start(nursery, backend)
        nursery.cancel_scope.cancel()


class BackendContract:
    """The tests of `kvgate.backend.Backend`."""

    async def test_it_says_what_it_is(self, served: Served) -> None:
        backend = served.backend
        assert backend.name
        assert backend.type
        assert isinstance(backend.capabilities, frozenset)
        assert backend.capabilities
        names = {name for spec in TABLE.values() for name in (spec.name, *(sub.name for sub in spec.subcommands.values()))}
        names |= set(map(claim, KNOWN_SCRIPTS))
        for word in backend.capabilities:
            assert word in CAPABILITIES or word.removeprefix("-") in names, f"{word} is no capability and no command"
        statistics = backend.statistics()
        assert statistics.up or statistics.why_down

    async def test_what_it_claims_it_does(self, served: Served) -> None:
        """Strings, as the smallest thing that a backend can do."""
        assert await served.do("SET", "Contract.A:k", "v") == OK
        assert await served.do("GET", "Contract.A:k") == b"v"
        assert await served.do("GET", "Contract.A:none") is None
        assert await served.do("DEL", "Contract.A:k", "Contract.A:none") == 1
        assert await served.do("EXISTS", "Contract.A:k") == 0

    async def test_replies_are_in_the_protocol_asked_for(self, served: Served) -> None:
        for proto, null in ((2, b"$-1\r\n"), (3, b"_\r\n")):
            (reply,) = await served.backend.execute([command("GET", "Contract.A:none")], call(proto))
            assert (reply if isinstance(reply, Raw) else encode(reply, proto)) == null

    async def test_commands_of_a_client_run_in_order(self, served: Served) -> None:
        replies = await served.do_all(
            ("SET", "Contract.A:n", "1"),
            ("GET", "Contract.A:n"),
            ("SET", "Contract.B:n", "2"),
            ("SET", "Contract.A:n", "3"),
            ("MGET", "Contract.A:n", "Contract.B:n", "Contract.C:n"),
            ("DEL", "Contract.A:n", "Contract.B:n"),
            ("EXISTS", "Contract.A:n", "Contract.B:n"),
        )
        assert replies == [OK, b"1", OK, OK, [b"3", b"2", None], 2, 0]

    async def test_many_keys_in_the_order_asked(self, served: Served) -> None:
        keys = [f"Contract.A:{number}" for number in range(50)]
        assert await served.do("MSET", *(word for key in keys for word in (key, f"v{key}"))) == OK
        asked = [*keys[::-1], "Contract.A:none", keys[3], keys[3]]
        wanted = [f"v{key}".encode() if key != "Contract.A:none" else None for key in asked]
        assert await served.do("MGET", *asked) == wanted
        assert await served.do("EXISTS", *keys, keys[0]) == 51
        assert await served.do("DEL", *keys, keys[0]) == 50

    async def test_any_bytes(self, served: Served) -> None:
        key, value = b"Contract.A:" + bytes(range(256)), bytes(range(256)) * 300
        assert await served.do("SET", key, value) == OK
        assert await served.do("GET", key) == value
        assert await served.do("SET", b"Contract.A:empty", b"") == OK
        assert await served.do("GET", b"Contract.A:empty") == b""

    async def test_an_error_is_a_reply_and_the_rest_runs(self, served: Served) -> None:
        replies = await served.do_all(
            ("SET", "Contract.A:k", "v"), ("SET", "Contract.A:k", "v", "NONSENSE"), ("GET", "Contract.A:k")
        )
        assert replies == [OK, Error(b"ERR syntax error"), b"v"]

    async def test_clients_side_by_side(self, served: Served) -> None:
        async def client(number: int) -> None:
            for step in range(10):
                assert await served.do("SET", f"Contract.A:{number}", step) == OK
                assert await served.do("GET", f"Contract.A:{number}") == b"%d" % step

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(client, number)


class InPlaceContract:
    """The tests of `kvgate.backend.InPlace`."""

    async def test_reads_in_place_agree(self, served: Served) -> None:
        await served.fill("Contract.A:k")
        assert isinstance(served.backend, InPlace)
        reply = served.backend.execute_now(command("GET", "Contract.A:k"), call())
        assert reply is not None
        assert plain(reply) == b"value of Contract.A:k"


class ListingContract:
    """The tests of `kvgate.backend.Listing`."""

    async def test_a_scan_returns_what_stays(self, served: Served) -> None:
        """Also while other keys come and go."""
        stay = {f"Contract.A:{number}".encode() for number in range(200)}
        await served.fill(*(key.decode() for key in stay))
        found: set[bytes] = set()
        for source in range(served.listing.sources):
            cursor, page = 0, 0
            while True:
                cursor, keys = await served.listing.scan(
                    source, cursor, count=7, match=None, kind=None, view=EVERYTHING, call=call()
                )
                found.update(keys)
                page += 1
                await served.do("SET", f"Contract.A:new{page}", "x")
                await served.do("DEL", f"Contract.A:new{page - 1}")
                if not cursor:
                    break
        assert stay <= found
        assert all(key in stay or key.startswith(b"Contract.A:new") for key in found)

    async def test_an_empty_store(self, served: Served) -> None:
        assert await served.scan(EVERYTHING) == []
        assert await served.listing.size(EVERYTHING, call()) == 0
        assert await served.listing.random_key(EVERYTHING, call()) is None
        await served.listing.flush(EVERYTHING, call())

    async def test_namespaces_are_kept_apart(self, served: Served) -> None:
        ours = {f"Contract.A:{number}".encode() for number in range(30)}
        theirs = {f"Contract.B:{number}".encode() for number in range(70)} | {b"Contract.A", b"Contract.AA:x", b"plain"}
        await served.fill(*(key.decode() for key in ours | theirs))
        view, listing = of_namespaces("Contract.A"), served.listing
        assert sorted(await served.scan(view)) == sorted(ours)
        assert set(await served.scan(view, match=b"*")) == ours
        assert set(await served.scan(view, match=b"*:1?")) == {b"Contract.A:%d" % number for number in range(10, 20)}
        assert set(await served.scan(view, match=b"Contract.B:*")) == set()
        assert set(await served.scan(view, match=b"Contract.[AB]:7")) == {b"Contract.A:7"}
        assert set(await served.scan(of_namespaces("Contract.A", "Contract.B"), match=b"*:7")) == {
            b"Contract.A:7",
            b"Contract.B:7",
        }
        assert await listing.size(view, call()) == 30
        assert await listing.size(EVERYTHING, call()) == len(ours | theirs)
        for _ in range(20):
            assert await listing.random_key(view, call()) in ours
        assert await listing.random_key(of_namespaces("Contract.None"), call()) is None
        assert await listing.random_key(EVERYTHING, call()) in ours | theirs

        await listing.flush(view, call())
        assert await listing.size(view, call()) == 0
        assert set(await served.scan(EVERYTHING)) == theirs
        await listing.flush(EVERYTHING, call())
        assert await served.scan(EVERYTHING) == []
        assert await served.do("EXISTS", "Contract.B:1") == 0

    async def test_a_rare_namespace_in_a_large_store_is_found(self, served: Served) -> None:
        await served.fill(*(f"Contract.B:{number}" for number in range(3000)), "Contract.A:one")
        view = of_namespaces("Contract.A")
        assert await served.scan(view, count=1) == [b"Contract.A:one"]
        assert await served.listing.random_key(view, call()) == b"Contract.A:one"
        assert await served.listing.size(view, call()) == 1
        await served.listing.flush(view, call())
        assert await served.listing.size(EVERYTHING, call()) == 3000

    async def test_types_are_filtered(self, served: Served) -> None:
        await served.fill("Contract.A:s")
        if served.claims("HSET"):
            assert await served.do("HSET", "Contract.A:h", "f", "v") == 1
            assert await served.scan(EVERYTHING, kind=b"hash") == [b"Contract.A:h"]
        assert await served.scan(EVERYTHING, kind=b"string") == [b"Contract.A:s"]
        assert await served.scan(EVERYTHING, kind=b"STRING") == [b"Contract.A:s"]
        assert await served.scan(EVERYTHING, kind=b"no-such-type") == []

    async def test_a_cursor_can_be_used_again(self, served: Served) -> None:
        """The reply may have been lost, so the client asks from the same cursor again.

        Not the same page: a Redis whose table grows meanwhile tells its keys in another order. But none may be missing.
        """
        keys = {b"Contract.A:%d" % number for number in range(500)}
        await served.fill(*(key.decode() for key in keys))
        others = {key for source in range(1, served.listing.sources) for key in await served.rest(source, 0, EVERYTHING)}
        cursor, first = await served.listing.scan(0, 0, count=10, match=None, kind=None, view=EVERYTHING, call=call())
        assert cursor
        for _ in range(2):
            assert {*first, *await served.rest(0, cursor, EVERYTHING)} | others == keys
