"""What is different about KvRocks: its handshake, what it cannot do, its listings, and its cursors."""

from bisect import bisect_right
from pathlib import Path

import attrs
import pytest
import trio

from kvgate.backend import INTERNAL_PREFIX, PassThrough
from kvgate.commands.spec import Action
from kvgate.commands.table import TABLE, supports
from kvgate.errors import ConfigurationError, GateError
from kvgate.wire.reply import OK, Error, Map, encode
from kvgate_kvrocks import adapter
from kvgate_kvrocks.adapter import LACKING
from kvgate_kvrocks.cursors import KEPT_AFTER_USE, KEPT_SECONDS
from tests.contract.backend import EVERYTHING, Served, call, of_namespaces, start
from tests.lane.stores import ScriptedStore
from tests.support.servers import RedisServer


@attrs.define
class FakeKvRocks:
    """As much of KvRocks as its SCAN needs: ordered keys, cursors of 64 bits, MATCH with a star at the end only."""

    keys: list[bytes] = attrs.field(factory=list)
    values: dict[bytes, bytes] = attrs.field(factory=dict)
    lives: dict[bytes, int] = attrs.field(factory=dict)
    cursors: dict[bytes, bytes] = attrs.field(factory=dict)
    numeric: bool = True

    def answer(self, args: list[bytes]) -> bytes:
        """The raw reply to a command; anything unexpected is an error, so that a test sees it."""
        match args:
            case [b"AUTH", b"token"]:
                return b"+OK\r\n"
            case [b"PING", *_]:
                return b"+PONG\r\n"
            case [b"SET", key, value, b"NX", b"EX", seconds] if key.startswith(INTERNAL_PREFIX):
                self.values[key], self.lives[key] = value, int(seconds)
                self.keys = sorted({*self.keys, key})
                return b"+OK\r\n"
            case [b"GETEX", key, b"EX", seconds]:
                if key in self.values:
                    self.lives[key] = int(seconds)
                return encode(self.values.get(key))
            case [b"SCAN", cursor, b"COUNT", count, *options]:
                return self._scan(cursor, int(count), options)
            case [b"UNLINK", *keys]:
                self.keys = [key for key in self.keys if key not in keys]
                return encode(len(keys))
            case [b"FLUSHDB"]:
                self.keys = []
                return b"+OK\r\n"
        return b"-ERR the fake does not know %b\r\n" % b" ".join(args)

    def _scan(self, cursor: bytes, count: int, options: list[bytes]) -> bytes:
        if cursor == b"0":
            at = 0
        elif self.numeric:
            at = bisect_right(self.keys, self.cursors[cursor])
        else:
            assert cursor.startswith(b"_")
            at = bisect_right(self.keys, cursor[1:])
        words = dict(zip(options[::2], options[1::2], strict=True))
        prefix = words.get(b"MATCH", b"*")
        if not prefix.endswith(b"*") or set(prefix[:-1]) & set(b"*?[\\"):
            return b"-ERR only keys prefix match was supported\r\n"
        if words.get(b"TYPE", b"string") not in (b"string", b"hash"):
            return b"-ERR Invalid type\r\n"
        page = [key for key in self.keys[at:] if key.startswith(prefix[:-1])][:count]
        after = b"0"
        if len(page) == count:
            after = b"%d" % (1 << 61 | len(self.cursors) << 20) if self.numeric else b"_" + page[-1]
            self.cursors[after] = page[-1]
        return encode([after, [*page]])


async def rocks(nursery: trio.Nursery, fake: FakeKvRocks) -> tuple[Served, ScriptedStore]:
    store = ScriptedStore(fake.answer)
    await nursery.start(store.run)
    return await gate(nursery, store), store


async def gate(nursery: trio.Nursery, store: ScriptedStore) -> Served:
    """Another gate before the same store."""
    return await start(nursery, adapter.prepare("rocks", {"url": f"redis://:token@127.0.0.1:{store.port}"}, Path()))


async def page(served: Served, cursor: int, count: int = 10) -> tuple[int, list[bytes]]:
    return await served.listing.scan(0, cursor, count=count, match=None, kind=None, view=EVERYTHING, call=call())


@pytest.mark.parametrize("numeric", [True, False], ids=["numeric cursors", "cursors that are keys"])
async def test_cursors_that_do_not_fit_are_kept_in_the_store(nursery: trio.Nursery, numeric: bool) -> None:
    keys = [b"Ns.A:%03d" % number for number in range(95)]
    fake = FakeKvRocks(keys=list(keys), numeric=numeric)
    served, _ = await rocks(nursery, fake)
    assert sorted(set(await served.scan(EVERYTHING))) == keys  # `scan` checks that cursors are below 2**41
    assert fake.values
    if numeric:
        assert all(int(cursor) >= 1 << 61 for cursor in fake.values.values())
    assert all(key.startswith(INTERNAL_PREFIX) for key in fake.values)
    assert set(fake.lives.values()) <= {KEPT_SECONDS, KEPT_AFTER_USE}


async def test_another_gate_goes_on_with_a_cursor(nursery: trio.Nursery) -> None:
    keys = [b"Ns.A:%03d" % number for number in range(30)]
    first, store = await rocks(nursery, FakeKvRocks(keys=list(keys)))
    second = await gate(nursery, store)
    cursor, found = await page(first, 0)
    for served in (second, first, second, first):
        if cursor:
            cursor, more = await page(served, cursor)
            found += more
    assert cursor == 0
    assert sorted(set(found)) == keys


async def test_a_cursor_that_is_used_lives_shorter(nursery: trio.Nursery) -> None:
    fake = FakeKvRocks(keys=[b"Ns.A:%03d" % number for number in range(50)])
    served, _ = await rocks(nursery, fake)
    cursor, _ = await page(served, 0)
    assert list(fake.lives.values()) == [KEPT_SECONDS]
    await page(served, cursor)
    assert sorted(fake.lives.values()) == [KEPT_AFTER_USE, KEPT_SECONDS]


@pytest.mark.parametrize("cursor", [1, 17, (1 << 41) - 1])
async def test_a_cursor_that_never_was_or_is_too_old(nursery: trio.Nursery, cursor: int) -> None:
    served, _ = await rocks(nursery, FakeKvRocks(keys=[b"a"]))
    with pytest.raises(GateError) as caught:
        await page(served, cursor)
    assert caught.value.text == "ERR invalid cursor"


async def test_internal_keys_are_hidden_from_every_listing(nursery: trio.Nursery) -> None:
    fake = FakeKvRocks(keys=[b"\x00kvgate:cursor:%d" % number for number in range(25)] + [b"Ns.A:1", b"Ns.A:2", b"x"])
    served, _ = await rocks(nursery, fake)
    assert set(await served.scan(EVERYTHING, count=3)) == {b"Ns.A:1", b"Ns.A:2", b"x"}
    assert await served.scan(EVERYTHING, match=b"\x00*") == []
    assert await served.listing.size(EVERYTHING, call()) == 3
    await served.listing.flush(of_namespaces("Ns.A"), call())
    assert [key for key in fake.keys if not key.startswith(INTERNAL_PREFIX)] == [b"x"]
    assert any(key.startswith(INTERNAL_PREFIX) for key in fake.keys)
    await served.listing.flush(EVERYTHING, call())
    assert fake.keys == []


async def test_patterns_are_matched_here_and_only_their_beginning_there(nursery: trio.Nursery) -> None:
    keys = [b"Ns.A:1", b"Ns.A:12", b"Ns.A:2", b"Ns.B:1", b"Ns.[x", b"other"]
    served, store = await rocks(nursery, FakeKvRocks(keys=sorted(keys)))
    for pattern, wanted in [
        (b"Ns.A:?", {b"Ns.A:1", b"Ns.A:2"}),
        (b"*:1", {b"Ns.A:1", b"Ns.B:1"}),
        (b"Ns.[AB]:1*", {b"Ns.A:1", b"Ns.A:12", b"Ns.B:1"}),
        (b"Ns.\\[*", {b"Ns.[x"}),
        (b"Ns.A:1", {b"Ns.A:1"}),
        (b"*", set(keys)),
    ]:
        assert set(await served.scan(EVERYTHING, match=pattern)) == wanted
    sent = [args[args.index(b"MATCH") + 1] for args in store.commands if b"MATCH" in args]
    assert sent == [b"Ns.A:*", b"Ns.*", b"Ns.*", b"Ns.A:1*"]
    assert set(await served.scan(of_namespaces("Ns.A"), match=b"*1")) == {b"Ns.A:1"}
    assert store.commands[-1][-1] == b"Ns.A:*"


async def test_types_it_does_not_know_match_nothing(nursery: trio.Nursery) -> None:
    served, store = await rocks(nursery, FakeKvRocks(keys=[b"a"]))
    assert await served.scan(EVERYTHING, kind=b"String") == [b"a"]
    assert store.commands[-1][-2:] == [b"TYPE", b"string"]
    before = len(store.commands)
    assert await served.scan(EVERYTHING, kind=b"nonsense") == []
    assert [args for args in store.commands[before:] if args[0] == b"SCAN"] == []


async def test_the_handshake_is_the_token_alone(nursery: trio.Nursery) -> None:
    served, store = await rocks(nursery, FakeKvRocks(keys=[]))
    assert await served.scan(EVERYTHING) == []
    backend = served.backend
    assert isinstance(backend, PassThrough)
    own = await backend.own(0, proto=3, deadline=trio.current_time() + 10)
    assert own.proto == 2
    own.close()
    assert {args[0] for args in store.commands} <= {b"AUTH", b"PING", b"SCAN"}
    assert [b"AUTH", b"token"] in store.commands


async def test_a_wrong_token(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"-ERR Invalid password\r\n" if args[0] == b"AUTH" else b"-NOAUTH x\r\n")
    await nursery.start(store.run)
    served = await gate(nursery, store)
    reply = await served.do("GET", "k")
    assert isinstance(reply, Error)
    assert reply.text.startswith(b"ERR upstream refused the gate: ERR Invalid password;")


async def test_an_empty_answer_to_randomkey_is_no_key(nursery: trio.Nursery) -> None:
    def answer(args: list[bytes]) -> bytes:
        if args[0] == b"EXISTS":
            return b":0\r\n"
        return b"$0\r\n\r\n" if args[0] == b"RANDOMKEY" else b"+OK\r\n"

    store = ScriptedStore(answer)
    await nursery.start(store.run)
    served = await gate(nursery, store)
    assert await served.listing.random_key(EVERYTHING, call()) is None


async def test_replies_to_resp3_clients_are_converted(nursery: trio.Nursery, redis_server: RedisServer) -> None:
    """By the rules of kvgate.commands.resp3, as on the lane's way."""
    served = await start(nursery, adapter.prepare("rocks", {"url": redis_server.url}, Path()))
    assert await served.do("SET", "Ns.A:k", "v", proto=3) == OK
    assert await served.do("GET", "none", proto=3) is None
    assert await served.do("HSET", "Ns.A:h", "f", "v", proto=3) == 1
    assert await served.do("HGETALL", "Ns.A:h", proto=3) == Map([(b"f", b"v")])
    assert b"resp=3" not in redis_server.cmd("CLIENT", "LIST")
    assert redis_server.calls("hello") == 0


def test_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="user: kvrocks knows no users"):
        adapter.prepare("rocks", {"url": "redis://a", "user": "x"}, tmp_path)
    with pytest.raises(ConfigurationError, match="user: kvrocks knows no users"):
        adapter.prepare("rocks", {"url": "redis://x:y@a"}, tmp_path)
    backend = adapter.prepare("rocks", {"url": "redis://:token@a", "resp3": True}, tmp_path)
    assert isinstance(backend, PassThrough)
    assert backend.topology.shards[0].resp3 is True
    assert backend.topology.shards[0].password == "token"


def test_what_it_lacks_is_known_to_the_table() -> None:
    rows = {row.name: row for spec in TABLE.values() for row in (spec, *spec.subcommands.values())}
    for name in LACKING:
        assert not supports(rows[name], adapter.capabilities)
    unclaimed = {
        name for name, row in rows.items() if row.action is not Action.REFUSE and not supports(row, adapter.capabilities)
    }
    assert unclaimed <= set(LACKING)
