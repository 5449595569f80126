"""Connections that one client has for itself: replies in any portions, coming back clean, bounds, and every kind of end."""

import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from kvgate.backend import BrokenUpstream, Endpoint, OwnConnection
from kvgate.errors import GateError
from kvgate.lane import own as module
from kvgate.lane.connect import Connected, connect
from kvgate.lane.own import Own, OwnConnections
from kvgate.wire.reply import Push, decode
from kvgate.wire.request import encode_request
from tests.lane.stores import ScriptedStore, endpoint_of, topology_of, until
from tests.support.ports import free_port
from tests.support.relay import Relay
from tests.support.servers import RedisServer

Servers = Callable[..., RedisServer]
PATIENT = 10.0
NOWHERE = Endpoint(url="")


def frame(*args: str | bytes) -> bytes:
    return encode_request([arg.encode() if isinstance(arg, str) else arg for arg in args])


async def take(pool: OwnConnections, proto: int = 2, shard: int = 0) -> Own:
    return await pool.own(shard, proto=proto, deadline=trio.current_time() + PATIENT)


async def ask(own: OwnConnection, *args: str | bytes) -> object:
    await own.send(frame(*args))
    return decode(await own.receive())


@pytest.fixture
async def pool(module_redis: RedisServer) -> AsyncIterator[OwnConnections]:
    made = OwnConnections(topology_of(endpoint_of(module_redis)), limit=4)
    yield made
    made.close()


@pytest.mark.parametrize("proto", [2, 3])
async def test_a_clean_connection_is_used_again(pool: OwnConnections, proto: int) -> None:
    own = await take(pool, proto)
    ident = await ask(own, "CLIENT", "ID")
    await own.give_back()
    assert (pool.size, pool.idle) == (1, 1)
    again = await take(pool, proto)
    assert again is own
    assert await ask(again, "CLIENT", "ID") == ident
    assert (pool.size, pool.idle) == (1, 0)
    again.close()
    again.close()
    assert pool.size == 0


async def test_protocols_are_kept_apart(pool: OwnConnections) -> None:
    await (await take(pool, 2)).give_back()
    own = await take(pool, 3)
    assert own.proto == 3
    assert (await ask_raw(own, "HELLO"))[:1] == b"%"
    own.close()


async def ask_raw(own: Own, *args: str) -> bytes:
    await own.send(frame(*args))
    return await own.receive()


async def test_pushes_and_replies_come_one_by_one(pool: OwnConnections) -> None:
    own = await take(pool, 3)
    await own.send(frame("SUBSCRIBE", "a", "b") + frame("PUBLISH", "a", "hello") + frame("PING"))
    seen = [decode(await own.receive()) for _ in range(5)]
    assert [item for item in seen if isinstance(item, Push)] == [
        Push([b"subscribe", b"a", 1]),
        Push([b"subscribe", b"b", 2]),
        Push([b"message", b"a", b"hello"]),
    ]
    await own.give_back()  # it is still subscribed; RESP3 answers PING all the same
    assert pool.size == 0


async def test_replies_in_single_bytes_and_together() -> None:
    replies = [b"+OK\r\n", b"$5\r\na\r\nbc\r\n", b"*2\r\n:1\r\n*-1\r\n", b"%1\r\n+k\r\n_\r\n", b"$0\r\n\r\n"]
    wire = b"".join(replies)
    for portion in (1, 2, 3, 7, len(wire)):
        near, far = socket.socketpair()
        near.setblocking(False)
        own = Own(OwnConnections(topology_of(NOWHERE)), 0, Connected(near, None, b"", 2))
        got: list[bytes] = []
        for at in range(0, len(wire), portion):
            far.sendall(wire[at : at + portion])
            with trio.move_on_after(0):
                while True:
                    got.append(await own.receive())
        while len(got) < len(replies):
            got.append(await own.receive())
        assert got == replies
        own.close()
        far.close()


async def test_what_is_unanswered_or_unread_is_not_given_to_others(pool: OwnConnections) -> None:
    unanswered = await take(pool)
    await unanswered.send(frame("ECHO", "late"))
    await unanswered.give_back()
    unread = await take(pool)
    await unread.send(frame("ECHO", "1") + frame("ECHO", "2"))
    await unread.receive()
    await unread.give_back()
    in_multi = await take(pool)
    assert decode(await ask_raw(in_multi, "MULTI"))
    await in_multi.give_back()
    subscribed = await take(pool)
    await ask(subscribed, "SUBSCRIBE", "c")
    await subscribed.give_back()
    blocked = await take(pool)
    await blocked.send(frame("BLPOP", "none", "0"))
    with trio.CancelScope(deadline=trio.current_time() + 0.2):  # the proof would wait for a second
        await blocked.give_back()
    assert (pool.size, pool.idle) == (0, 0)


async def test_after_a_cancelled_receive_nothing_is_lost_but_it_is_not_given_back(pool: OwnConnections) -> None:
    own = await take(pool)
    await own.send(frame("BLPOP", "q", "0"))
    with trio.move_on_after(0.01) as scope:
        await own.receive()
    assert scope.cancelled_caught
    pusher = await take(pool)
    assert await ask(pusher, "RPUSH", "q", "x") == 1
    assert decode(await own.receive()) == [b"q", b"x"]
    await own.give_back()
    await pusher.give_back()
    assert (pool.size, pool.idle) == (1, 1)


async def test_closing_unblocks_at_the_store_without_effect(pool: OwnConnections, module_redis: RedisServer) -> None:
    own = await take(pool)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            await own.send(frame("BLPOP", "left", "0"))
            with pytest.raises(BrokenUpstream, match="the gate closed"):
                await own.receive()

        await until(lambda: b"blocked_clients:1" in module_redis.cmd("INFO", "clients"), "the client to block")
        own.close()
    await until(lambda: b"blocked_clients:0" in module_redis.cmd("INFO", "clients"), "the client to go")
    assert module_redis.cmd("RPUSH", "left", "x") == 1
    assert module_redis.cmd("DEL", "left") == 1
    with pytest.raises(BrokenUpstream):
        await own.send(frame("PING"))


async def test_the_block_form_gives_back_or_closes(pool: OwnConnections) -> None:
    async with await take(pool) as own:
        assert await ask(own, "ECHO", "x") == b"x"
    assert pool.idle == 1
    with pytest.raises(RuntimeError):
        async with await take(pool):
            raise RuntimeError
    assert pool.size == 0
    with trio.CancelScope() as scope:
        async with await take(pool):
            scope.cancel()
            await trio.sleep_forever()
    assert pool.size == 0


async def test_giving_back_waits_for_nothing_while_the_pool_runs(
    redis_server: RedisServer, nursery: trio.Nursery
) -> None:
    """The reply that a blocking command brought must not be lost by a cancellation meanwhile."""
    pool = OwnConnections(topology_of(endpoint_of(redis_server)))
    await nursery.start(pool.run)
    own, unclean = await take(pool), await take(pool)
    await unclean.send(frame("BLPOP", "q", "0"))
    redis_server.pause()
    with trio.CancelScope() as scope:
        scope.cancel()
        await own.give_back()
        await unclean.give_back()
    assert pool.size == 2
    redis_server.resume()
    await until(lambda: pool.idle == 1, "the clean one to be proved")
    await until(lambda: pool.size == 1, "the other one to be closed")
    assert await take(pool) is own


async def test_the_store_ends_it(redis_servers: Servers) -> None:
    server = redis_servers()
    pool = OwnConnections(topology_of(endpoint_of(server)))
    own, idle = await take(pool), await take(pool)
    await idle.give_back()
    await own.send(frame("BLPOP", "q", "0"))
    server.kill()
    with pytest.raises(BrokenUpstream):
        await own.receive()
    with pytest.raises(BrokenUpstream):
        await ask(own, "PING")
    await own.give_back()
    assert (pool.size, pool.idle) == (1, 1)
    server.start()
    fresh = await take(pool)  # the idle one is seen to be dead, a new one is made
    assert fresh is not idle
    assert await ask(fresh, "ECHO", "back") == b"back"
    assert pool.size == 1
    pool.close()


async def test_an_idle_one_that_got_bytes_unasked_is_not_used(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"$%d\r\n%b\r\n" % (len(args[1]), args[1]) if len(args) > 1 else b"+PONG\r\n")
    await nursery.start(store.run)
    with Relay(("127.0.0.1", store.port)) as relay:
        endpoint = Endpoint(url="", host="127.0.0.1", port=relay.port, resp3=False)
        pool = OwnConnections(topology_of(endpoint))
        own = await take(pool)
        await own.give_back()
        assert pool.idle == 1
        relay.break_all()
        await until(lambda: not own.still_good(), "the end to be seen")
        fresh = await take(pool)
        assert fresh is not own
        fresh.close()
        assert pool.size == 0


async def test_the_limit_is_an_error_and_idle_ones_give_way(redis_servers: Servers) -> None:
    one, two = redis_servers(), redis_servers()
    pool = OwnConnections(topology_of(endpoint_of(one), endpoint_of(two)), limit=2)
    first, second = await take(pool, shard=0), await take(pool, shard=0)
    with pytest.raises(GateError, match=r"TRYAGAIN .*all 2 connections .* are in use"):
        await take(pool, shard=1)
    await first.give_back()
    other = await take(pool, shard=1)
    assert (pool.size, pool.idle) == (2, 0)
    second.close()
    third = await take(pool, shard=0)
    for own in (other, third):
        own.close()
    assert pool.size == 0


async def test_connections_being_made_count_too(redis_server: RedisServer) -> None:
    pool = OwnConnections(topology_of(endpoint_of(redis_server)), limit=3)
    refused = []

    async def one() -> None:
        try:
            await take(pool)
        except GateError as error:
            refused.append(error.text)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    assert len(refused) == 5
    assert pool.size == 3
    pool.close()


async def test_idle_ones_are_closed_after_a_while(pool: OwnConnections) -> None:
    await (await take(pool, 2)).give_back()
    pool.close_idle(trio.current_time() - 60)
    assert pool.idle == 1
    await trio.testing.wait_all_tasks_blocked()
    pool.close_idle(trio.current_time() + 1)
    assert (pool.size, pool.idle) == (0, 0)


async def test_run_closes_what_is_idle_and_at_its_end_everything(
    pool: OwnConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.04)  # a mock clock would jump while a real socket is waited for
    await (await take(pool)).give_back()
    used = await take(pool, 3)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        await until(lambda: pool.idle == 0, "the idle one to be closed")
        assert pool.size == 1
        nursery.cancel_scope.cancel()
    assert pool.size == 0
    with pytest.raises(BrokenUpstream):
        await used.receive()
    with pytest.raises(GateError, match="is being closed"):
        await take(pool)


async def test_a_store_that_is_away() -> None:
    nowhere = Endpoint(url="redis://127.0.0.1/0", host="127.0.0.1", port=free_port())
    pool = OwnConnections(topology_of(nowhere))
    began = trio.current_time()
    with pytest.raises(GateError, match=r"TRYAGAIN .*not reachable"):
        await pool.own(0, proto=2, deadline=began + 0.3)
    assert trio.current_time() - began >= 0.1  # it was waited for, within the budget
    assert pool.failures == {0: "redis://127.0.0.1/0: connection refused"}
    assert pool.size == 0
    tries = []

    async def counted(*args: object, **options: object) -> object:
        tries.append(1)
        return await connect(*args, **options)  # type: ignore[arg-type]

    pool._connect = counted  # type: ignore[assignment]  # the test counts
    with pytest.raises(GateError, match="TRYAGAIN"):
        await pool.own(0, proto=2, deadline=trio.current_time() + 5)
    assert len(tries) == 1  # known to be away: one try, at once


async def test_a_store_that_comes_back_within_the_budget(redis_server: RedisServer) -> None:
    pool = OwnConnections(topology_of(endpoint_of(redis_server)))
    redis_server.stop()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def back() -> None:
            await trio.to_thread.run_sync(redis_server.start)

        own = await take(pool)
    assert await ask(own, "ECHO", "x") == b"x"
    assert pool.failures == {}
    pool.close()


async def test_a_store_that_refuses_the_gate(redis_servers: Servers) -> None:
    server = redis_servers(password="right")
    pool = OwnConnections(topology_of(endpoint_of(server, password="wrong")))
    with pytest.raises(GateError, match="ERR upstream refused the gate: WRONGPASS"):
        await take(pool)
    assert "WRONGPASS" in pool.failures[0]
    assert pool.size == 0


async def test_a_paused_store_is_away_within_the_deadline(redis_server: RedisServer) -> None:
    pool = OwnConnections(topology_of(endpoint_of(redis_server)))
    redis_server.pause()
    with trio.fail_after(PATIENT), pytest.raises(GateError, match="TRYAGAIN"):
        await pool.own(0, proto=3, deadline=trio.current_time() + 0.2)
    redis_server.resume()


async def test_over_tls_both_directions_at_once(redis_servers: Servers) -> None:
    server = redis_servers(tls=True)
    pool = OwnConnections(topology_of(endpoint_of(server)))
    own = await take(pool, 3)
    big = b"x" * 300_000
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for _ in range(20):
                await own.send(frame("ECHO", big))

        for _ in range(20):
            assert decode(await own.receive()) == big
    await own.give_back()
    assert pool.idle == 1
    assert await take(pool, 3) is own
    pool.close()
