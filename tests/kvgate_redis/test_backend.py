"""The Redis backend on real servers: commands that all shards see, names, passwords, state, and stores that fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kvgate.backend import Backend, PassThrough
from kvgate.errors import GateError
from kvgate.lane.own import Own
from kvgate.wire.reply import OK, Error, Map, Raw, decode
from kvgate.wire.request import encode_request
from kvgate_redis import adapter, health, listing
from tests.contract.backend import EVERYTHING, call, command, of_namespaces, plain, serving, start
from tests.lane.stores import ScriptedStore, until
from tests.support.servers import RedisServer

Servers = Callable[..., RedisServer]
LIBRARY = "#!lua name=lib\nredis.register_function{function_name='one', callback=function() return 1 end, flags={'no-writes'}}"


def prepare(options: dict[str, Any]) -> Backend:
    return adapter.prepare("cache", options, Path())


def over(*servers: RedisServer, **options: Any) -> Backend:
    """One slot for each server."""
    groups = {str(slot): server.url for slot, server in enumerate(servers)}
    return prepare({"groups": groups, "slots": len(servers), **options})


def keys_on(backend: Backend, shards: int) -> list[str]:
    """A key of ``Ns.A`` on each shard."""
    assert isinstance(backend, PassThrough)
    found: dict[int, str] = {}
    number = 0
    while len(found) < shards:
        key = f"Ns.A:{number}"
        found.setdefault(backend.topology.slots[backend.topology.slot_of(key.encode())], key)
        number += 1
    return [found[shard] for shard in range(shards)]


async def test_scripts_reach_every_shard(redis_servers: Servers, nursery: trio.Nursery) -> None:
    servers = [redis_servers(), redis_servers(), redis_servers()]
    backend = over(*servers)
    served = await start(nursery, backend)
    sha = await served.do("SCRIPT", "LOAD", "return redis.call('get', KEYS[1])")
    assert isinstance(sha, bytes)
    for server, key in zip(servers, keys_on(backend, 3), strict=True):
        assert server.cmd("SCRIPT", "EXISTS", sha) == [1]
        await served.fill(key)
        assert await served.do("EVALSHA", sha, "1", key) == f"value of {key}".encode()
    assert await served.do("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
    servers[1].cmd("SCRIPT", "FLUSH")
    assert await served.do("SCRIPT", "EXISTS", sha) == [0]
    assert await served.do("SCRIPT", "FLUSH", "SYNC") == OK
    assert [server.cmd("SCRIPT", "EXISTS", sha) for server in servers] == [[0]] * 3
    broken = "return nonsense("
    assert await served.do("SCRIPT", "LOAD", broken) == error_of(servers[0], "SCRIPT", "LOAD", broken)


def error_of(server: RedisServer, *args: str) -> Error:
    with server.client() as client:
        client.send_raw(encode_request([arg.encode() for arg in args]))
        return Error(client.read_one()[1:-2])


@pytest.mark.parametrize("proto", [2, 3])
async def test_functions_reach_every_shard(redis_servers: Servers, nursery: trio.Nursery, proto: int) -> None:
    servers = [redis_servers(), redis_servers()]
    served = await start(nursery, over(*servers))
    assert await served.do("FUNCTION", "LOAD", LIBRARY, proto=proto) == b"lib"
    assert await served.do("FUNCTION", "LOAD", LIBRARY, proto=proto) == Error(b"ERR Library 'lib' already exists")
    single = prepare({"url": servers[0].url})
    alone = await start(nursery, single)
    for args in (("LIST",), ("LIST", "WITHCODE"), ("STATS",), ("DUMP",)):
        (whole,) = await served.backend.execute([command("FUNCTION", *args)], call(proto))
        (part,) = await alone.backend.execute([command("FUNCTION", *args)], call(proto))
        assert plain(whole) == plain(part)
        assert isinstance(part, Raw)  # of one shard the bytes are passed on
    dump = await served.do("FUNCTION", "DUMP")
    servers[1].cmd("FUNCTION", "DELETE", "lib")
    assert await served.do("FUNCTION", "DELETE", "lib") == Error(b"ERR Library not found")
    assert isinstance(dump, bytes)
    assert await served.do("FUNCTION", "RESTORE", dump) == OK
    assert await served.do("FUNCTION", "FLUSH") == OK
    assert await served.do("FUNCTION", "LIST", proto=proto) == []


async def test_channels_lie_on_a_shard_and_are_counted_on_all(redis_servers: Servers, nursery: trio.Nursery) -> None:
    servers = [redis_servers(), redis_servers()]
    backend = over(*servers)
    served = await start(nursery, backend)
    channels = keys_on(backend, 2)
    subscribers = []
    for server, channel in zip(servers, channels, strict=True):
        client = server.client()
        client.cmd("SUBSCRIBE", channel)
        client.cmd("PSUBSCRIBE", "Ns.*")
        subscribers.append(client)
    assert [await served.do("PUBLISH", channel, "x") for channel in channels] == [2, 2]
    first, second = (channel.encode() for channel in channels)
    assert await served.do("PUBSUB", "NUMSUB", *channels, "none") == [first, 1, second, 1, b"none", 0]
    assert await served.do("PUBSUB", "CHANNELS") == [channel.encode() for channel in channels]
    assert await served.do("PUBSUB", "NUMPAT") == 1  # one pattern, listened to on both
    for client in subscribers:
        client.close()


async def test_what_cannot_be_sent_to_several_shards(redis_servers: Servers, nursery: trio.Nursery) -> None:
    backend = over(redis_servers(), redis_servers())
    served = await start(nursery, backend)
    first, second = keys_on(backend, 2)
    assert await served.do("RENAME", first, second) == Error(b"CROSSSLOT Keys in request don't hash to the same slot")
    assert await served.do("EVAL", "return 1", "0") == Error(
        b"ERR command 'eval' is not available through the gate: it names no key, which would tell on which of several"
        b" stores it is to run"
    )
    assert served.shared is not None
    assert b"RENAME" not in b"".join(frame for _, frame in served.shared.asked)
    tagged = await served.do("SUNIONSTORE", "{a}x", "{a}y", "{a}z")
    assert tagged == 0


async def test_one_shard_takes_everything(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    assert await served.do("EVAL", "return 7", "0") == 7
    assert await served.do("RENAME", "none", "other") == Error(b"ERR no such key")
    reply = await served.do("CONFIG", "GET", "maxmemory", proto=3)
    assert reply == Map([(b"maxmemory", b"0")])


async def test_split_commands_ask_each_shard_once(redis_servers: Servers, nursery: trio.Nursery) -> None:
    backend = over(redis_servers(), redis_servers())
    served = await start(nursery, backend)
    assert served.shared is not None
    keys = [f"Ns.A:{number}" for number in range(20)]
    await served.do("MSET", *(word for key in keys for word in (key, key)))
    await served.do("TOUCH", *keys)
    sent = [(shard, frame) for shard, frame in served.shared.asked if b"PING" not in frame and b"COMMAND" not in frame]
    assert sorted(shard for shard, _ in sent) == [0, 0, 1, 1]


async def test_one_dead_shard_neither_hangs_nor_hides(redis_servers: Servers, nursery: trio.Nursery) -> None:
    servers = [redis_servers(), redis_servers()]
    backend = over(*servers)
    served = await start(nursery, backend)
    keys = keys_on(backend, 2)
    await served.fill(*keys)
    servers[1].kill()
    soon = attrs.evolve(call(), deadline=trio.current_time() + 1.0)
    with trio.fail_after(10):  # what is left of the call's time is not told, so the last GET has its own
        first = [command("GET", keys[0]), command("MGET", *keys), command("SCRIPT", "LOAD", "return 1")]
        replies = [*await backend.execute(first, soon), *await backend.execute([command("GET", keys[0])], call())]
    values = [plain(reply) for reply in replies]
    assert values[0] == values[3] == f"value of {keys[0]}".encode()
    assert all(isinstance(value, Error) and value.text.startswith(b"TRYAGAIN") for value in values[1:3])


async def test_flushing_with_a_dead_shard_says_that_it_is_partly_done(
    redis_servers: Servers, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ANSWER_SECONDS", 0.5)
    servers = [redis_servers(), redis_servers()]
    backend = over(*servers)
    served = await start(nursery, backend)
    keys = keys_on(backend, 2)
    await served.fill(*keys)
    servers[1].kill()
    for view in (EVERYTHING, of_namespaces("Ns.A")):
        await served.fill(keys[0])
        with pytest.raises(GateError, match=r"INDOUBT .*a part of the keys is deleted"):
            await served.listing.flush(view, call())
        assert servers[0].cmd("DBSIZE") == 0
    with pytest.raises(GateError, match="TRYAGAIN"):  # now nothing was there to be deleted
        await served.listing.flush(of_namespaces("Ns.A"), call())
    with pytest.raises(GateError, match="TRYAGAIN"):
        await served.listing.size(EVERYTHING, call())


async def test_a_paused_store_costs_the_time_of_the_call(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    await served.fill("Ns.A:k")
    redis_server.pause()
    with trio.fail_after(10):
        soon = attrs.evolve(call(), deadline=trio.current_time() + 0.2)
        (read,) = await served.backend.execute([command("GET", "Ns.A:k")], soon)
        soon = attrs.evolve(call(), deadline=trio.current_time() + 0.2)
        (write,) = await served.backend.execute([command("SET", "Ns.A:k", "v")], soon)
    assert isinstance(read, Error)
    assert read.text.startswith(b"TRYAGAIN")
    assert isinstance(write, Error)
    assert write.text.startswith((b"INDOUBT", b"TRYAGAIN"))


async def test_a_refused_gate(
    redis_servers: Servers, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "EVERY", 0.05)
    server = redis_servers(password="right")
    (tmp_path / "secret").write_text("wrong\n")
    url = f"redis://{server.host}:{server.port}"
    backend = adapter.prepare("cache", {"url": url, "password_file": "secret"}, tmp_path)
    served = await start(nursery, backend)
    reply = await served.do("GET", "Ns.A:k")
    assert isinstance(reply, Error)
    assert reply.text.startswith(b"ERR upstream refused the gate: WRONGPASS")
    await until(lambda: not backend.statistics().up, "the health check")
    assert "WRONGPASS" in backend.statistics().why_down
    assert "wrong" not in backend.statistics().why_down.replace("WRONGPASS", "")
    (tmp_path / "secret").write_text("right\n")
    assert await served.do("GET", "Ns.A:k") is None
    await until(lambda: backend.statistics().up, "the health check")


async def test_a_store_without_rights_for_the_gate(redis_servers: Servers, nursery: trio.Nursery) -> None:
    server = redis_servers()
    server.cmd("ACL", "SETUSER", "app", "on", ">p", "~*", "+get", "+ping", "+hello", "+client|setname")
    served = await start(nursery, prepare({"url": server.url, "user": "app", "password": "p"}))
    assert await served.do("GET", "k") is None
    reply = await served.do("SET", "k", "v")
    assert isinstance(reply, Error)
    assert reply.text.startswith(b"ERR upstream refused the gate: NOPERM")
    assert served.backend.statistics().up


async def test_statistics_follow_the_stores(
    redis_servers: Servers, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.5)
    monkeypatch.setattr(health, "EVERY", 0.05)
    servers = [redis_servers(), redis_servers()]
    backend = over(*servers)
    await start(nursery, backend)
    assert isinstance(backend, PassThrough)
    own = await backend.own(1, proto=3, deadline=trio.current_time() + 10)
    assert backend.statistics().figures == {"shards": 2, "shards_up": 2, "own_connections": 1, "own_connections_idle": 0}
    own.close()
    servers[1].kill()
    await until(lambda: not backend.statistics().up, "the store to be down")
    down = backend.statistics()
    assert down.figures["shards_up"] == 1
    assert down.why_down == f"redis://{servers[1].host}:{servers[1].port}/0: connection refused"
    servers[1].start()
    await until(lambda: backend.statistics().up, "the store to be up")
    assert backend.statistics().why_down == ""


async def test_own_connections_are_limited_and_go_with_the_backend(redis_server: RedisServer) -> None:
    backend = prepare({"url": redis_server.url, "own_connections": 1})
    assert isinstance(backend, PassThrough)
    async with serving(backend):
        own = await backend.own(0, proto=2, deadline=trio.current_time() + 10)
        with pytest.raises(GateError, match="all 1 connections"):
            await backend.own(0, proto=2, deadline=trio.current_time() + 10)
        await own.send(encode_request([b"ECHO", b"x"]))
        assert decode(await own.receive()) == b"x"
    assert isinstance(own, Own)
    assert not own.still_good()


async def test_the_whole_store_is_counted_and_flushed_by_the_store(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    backend = prepare({"url": redis_server.url + "/2"})
    served = await start(nursery, backend)
    redis_server.cmd("SET", "in database 0", "stays")
    await served.fill("Ns.A:1", "Ns.A:2")
    assert await served.listing.size(EVERYTHING, call()) == 2
    await served.listing.flush(EVERYTHING, call())
    assert (redis_server.calls("dbsize"), redis_server.calls("flushdb"), redis_server.calls("scan")) == (1, 1, 0)
    assert redis_server.cmd("DBSIZE") == 1


@pytest.mark.parametrize("disabled", [True, False])
async def test_flushing_where_the_store_forbids_it(redis_servers: Servers, nursery: trio.Nursery, disabled: bool) -> None:
    """The keys go one by one then."""
    if disabled:
        server = redis_servers(config=["--rename-command", "FLUSHDB", ""])
        backend = prepare({"url": server.url})
    else:
        server = redis_servers()
        server.cmd("ACL", "SETUSER", "app", "on", ">p", "~*", "+@all", "-flushdb")
        backend = prepare({"url": server.url, "user": "app", "password": "p"})
    served = await start(nursery, backend)
    await served.fill(*(f"Ns.A:{number}" for number in range(1500)))
    await served.listing.flush(EVERYTHING, call())
    assert server.cmd("DBSIZE") == 0
    assert server.calls("unlink") >= 2


async def test_a_view_of_one_namespace_is_looked_for_by_the_store(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    await served.fill("Ns.A:1", "Ns.AB:1", "Ns.B:1", "x")
    assert served.shared is not None
    served.shared.asked.clear()
    assert await served.scan(of_namespaces("Ns.A")) == [b"Ns.A:1"]
    assert set(await served.scan(of_namespaces("Ns.A", "Ns.AB"))) == {b"Ns.A:1", b"Ns.AB:1"}
    frames = b"".join(frame for _, frame in served.shared.asked)
    assert b"MATCH\r\n$6\r\nNs.A:*\r\n" in frames
    assert b"MATCH\r\n$5\r\nNs.A*\r\n" in frames
    served.shared.asked.clear()
    assert await served.scan(of_namespaces("Ns.A"), match=b"Ns.B:*") == []
    assert [frame for _, frame in served.shared.asked if b"SCAN" in frame] == []


async def test_large_counts_are_lowered(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    with redis_server.client() as client:
        client.cmd("DEBUG", "POPULATE", "30000", "Ns.A:k", "1")
    _, keys = await served.listing.scan(0, 0, count=10**9, match=None, kind=None, view=EVERYTHING, call=call())
    assert 10_000 <= len(keys) < 12_000
    assert await served.listing.size(of_namespaces("Ns.A"), call()) == 30_000


async def test_slow_listings_have_a_limit(
    redis_server: RedisServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    await served.fill(*(f"Ns.A:{number}" for number in range(3000)))
    monkeypatch.setattr(listing, "SLOW_SECONDS", 0.0)
    with pytest.raises(GateError, match=r"TRYAGAIN .*counting the keys took more than"):
        await served.listing.size(of_namespaces("Ns.A"), call())
    with pytest.raises(GateError, match=r"INDOUBT .*a part of the keys is deleted"):
        await served.listing.flush(of_namespaces("Ns.A"), call())
    assert 0 < redis_server.cmd("DBSIZE") < 3000


async def test_counting_takes_longer_than_the_call_may(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    """Its budget is its own: the deadline of the call is over at once here."""
    served = await start(nursery, prepare({"url": redis_server.url}))
    await served.fill("Ns.A:1")
    over_at_once = attrs.evolve(call(), deadline=trio.current_time())
    assert await served.listing.size(of_namespaces("Ns.A"), over_at_once) == 1
    await served.listing.flush(of_namespaces("Ns.A"), over_at_once)
    assert redis_server.cmd("DBSIZE") == 0


async def test_the_empty_key_is_a_key(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url}))
    redis_server.cmd("SET", "", "x")
    assert await served.listing.random_key(EVERYTHING, call()) == b""
    assert await served.scan(EVERYTHING) == [b""]


async def test_cursors_that_do_not_fit_are_an_error(nursery: trio.Nursery) -> None:
    store = ScriptedStore(
        lambda args: {
            b"SCAN": b"*2\r\n$19\r\n2305843009213693953\r\n*1\r\n$1\r\nk\r\n",
            b"HELLO": b"%0\r\n",
        }.get(args[0], b"+OK\r\n")
    )
    await nursery.start(store.run)
    served = await start(nursery, prepare({"url": f"redis://127.0.0.1:{store.port}"}))
    with pytest.raises(GateError, match='type = "kvrocks"'):
        await served.listing.scan(0, 0, count=10, match=None, kind=None, view=EVERYTHING, call=call())


async def test_errors_of_the_store_to_listings_are_raised(redis_server: RedisServer, nursery: trio.Nursery) -> None:
    served = await start(nursery, prepare({"url": redis_server.url, "rename": {"SCAN": "nope"}}))
    with pytest.raises(GateError, match="unknown command 'nope'"):
        await served.scan(EVERYTHING)
