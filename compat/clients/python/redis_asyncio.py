"""What an application does with redis-py's asyncio side, by its own means; for redis-py 4.4 and newer."""

import asyncio
import sys
from functools import partial
from typing import Any

import redis
from redis import asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from clients.python.common import ADS, BIG, BYTES, CART, PROTOCOL, TYPES, URL, Report, either, equal, refused

OPTIONS: dict[str, Any] = {"socket_timeout": 10, "client_name": "check", "retry_on_error": [redis.ConnectionError]}
if int(redis.__version__.split(".")[0]) >= 5:
    OPTIONS["protocol"] = int(PROTOCOL)


def connect(**more: Any) -> Any:
    """A client with a pool of its own that tries again when a connection was closed."""
    return aredis.Redis.from_url(URL, **{**OPTIONS, "retry": Retry(ExponentialBackoff(cap=0.2, base=0.01), 5), **more})


async def raised(call: Any, kind: type[Exception]) -> Exception:
    """The exception of this kind that the awaitable must raise."""
    try:
        got = await call
    except kind as error:
        return error
    msg = f"{kind.__name__} was not raised, but answered {got!r}"
    raise AssertionError(msg)


async def protocol(r: Any) -> None:
    """The connection speaks what was asked for."""
    equal(str((await r.client_info())["resp"]).strip(), PROTOCOL)


async def strings(r: Any) -> None:
    """SET, GET, a missing key, every byte, a big value."""
    for value in ("ü".encode(), b"", BYTES, BIG):
        equal(await r.set(f"{ADS}:b", value), True)
        equal(await r.get(f"{ADS}:b"), value)
    equal((await r.get(f"{CART}:none"), await r.delete(f"{ADS}:b")), (None, 1))


async def pipeline(r: Any) -> None:
    """200 commands in one pipeline, an error among them, answers in order."""
    async with r.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.set(f"{either(i)}:p:{i}", i).get(f"{either(i)}:p:{i}")
        pipe.hget(f"{CART}:p:0", "f")
        got = await pipe.execute(raise_on_error=False)
    equal(got[:-1], [x for i in range(100) for x in (True, str(i).encode())])
    equal(isinstance(got[-1], redis.ResponseError), True)


async def several(r: Any) -> None:
    """MSET, MGET, EXISTS, DEL."""
    pairs = {f"{either(i)}:m:{i}": str(i) for i in range(20)}
    equal(await r.mset(pairs), True)
    equal(await r.mget([*pairs, f"{ADS}:none"]), [value.encode() for value in pairs.values()] + [None])
    equal((await r.exists(*pairs), await r.delete(*pairs)), (20, 20))


async def pool(r: Any) -> None:
    """Fifty tasks share a pool of four connections that waits for a free one."""
    shared = aredis.BlockingConnectionPool.from_url(URL, max_connections=4, timeout=10, **OPTIONS)
    client = aredis.Redis(connection_pool=shared)
    got = await asyncio.gather(*(client.incr(f"{CART}:n") for _ in range(50)))
    equal((sorted(got), await r.get(f"{CART}:n")), (list(range(1, 51)), b"50"))
    await shared.disconnect()


async def transactions(r: Any) -> None:
    """A block; one that another client's write makes fail; `transaction`, which then tries again."""
    async with r.pipeline() as pipe:
        equal(await pipe.set(f"{CART}:t", 1).incr(f"{CART}:t").get(f"{CART}:t").execute(), [True, 2, b"2"])
    async with r.pipeline() as pipe:
        await pipe.watch(f"{CART}:t")
        await r.set(f"{CART}:t", 10)
        pipe.multi()
        pipe.incr(f"{CART}:t")
        await raised(pipe.execute(), redis.WatchError)
    tries: list[int] = []

    async def double(pipe: Any) -> None:
        value = int(await pipe.get(f"{CART}:t"))
        if not tries:
            await r.set(f"{CART}:t", 11)
        tries.append(value)
        pipe.multi()
        pipe.set(f"{CART}:t", value * 2)

    equal(await r.transaction(double, f"{CART}:t"), [True])
    equal((tries, await r.get(f"{CART}:t")), ([10, 11], b"22"))


async def lock(r: Any) -> None:
    """Lock: one holder, others wait, extending, and a lock that was lost."""
    first, second = r.lock(f"{CART}:lock", timeout=20), r.lock(f"{CART}:lock", timeout=20, sleep=0.01)
    equal((await first.acquire(blocking=False), await second.acquire(blocking=False)), (True, False))
    equal((await first.extend(10), await first.reacquire(), await first.owned()), (True, True, True))
    waiting = asyncio.ensure_future(second.acquire(blocking_timeout=10))
    await first.release()
    equal((await waiting, await second.owned()), (True, True))
    await r.delete(f"{CART}:lock")
    await raised(second.release(), redis.exceptions.LockNotOwnedError)
    counted: list[int] = []

    async def count() -> None:
        async with r.lock(f"{CART}:lock", timeout=20, sleep=0.01):
            seen = len(counted)
            await r.set(f"{CART}:held", seen)
            counted.append(seen)

    await asyncio.gather(*(count() for _ in range(4)))
    equal(counted, [0, 1, 2, 3])


async def hashes(r: Any) -> None:
    """HSET, HGETALL, HDEL, HINCRBY, HSCAN with its iterator."""
    fields = {f"f{i}".encode(): BYTES[i:] for i in range(250)}
    equal(await r.hset(f"{ADS}:h", mapping=fields), 250)
    equal(await r.hgetall(f"{ADS}:h"), fields)
    equal({field: value async for field, value in r.hscan_iter(f"{ADS}:h", count=20)}, fields)
    equal((await r.hdel(f"{ADS}:h", "f1", "none"), await r.hincrby(f"{ADS}:h", "n", 5)), (1, 5))


async def expiry(r: Any) -> None:
    """EX, TTL, PERSIST, and a key that goes."""
    equal(await r.set(f"{CART}:e", 1, ex=100), True)
    equal(0 < await r.ttl(f"{CART}:e") <= 100, True)
    equal((await r.persist(f"{CART}:e"), await r.ttl(f"{CART}:e"), await r.pexpire(f"{CART}:e", 20)), (True, -1, True))

    async def gone() -> None:
        while await r.exists(f"{CART}:e"):
            pass

    await asyncio.wait_for(gone(), 5)


async def scanning(r: Any) -> None:
    """The iterators of SCAN, with and without MATCH."""
    wanted = {f"{either(i)}:scan:{i}".encode() for i in range(100)}
    await asyncio.gather(*(r.set(key, 1) for key in wanted))
    equal(wanted - {key async for key in r.scan_iter(count=7)}, set())
    found = {key async for key in r.scan_iter(match=f"{ADS}:scan:*")}
    equal(found, {key for key in wanted if key.startswith(ADS.encode())})


async def errors(r: Any) -> None:
    """An error reply is a ResponseError, and the connection goes on."""
    await r.set(f"{CART}:wrong", "x")
    equal(str(await raised(r.hset(f"{CART}:wrong", "f", 1), redis.ResponseError)).startswith("WRONGTYPE"), True)
    equal((await r.get(f"{CART}:wrong"), await r.ping()), (b"x", True))


async def reconnect(r: Any) -> None:
    """After CLIENT KILL the client connects again by itself."""
    async with connect(max_connections=1) as own:
        before = await own.client_id()
        equal(await r.client_kill_filter(_id=before), 1)
        equal(await own.set(f"{CART}:again", 1), True)
        equal(await own.client_id() != before, True)


async def lists(r: Any) -> None:
    """BLPOP that waits for a push of another connection, and one that is over."""
    popped = asyncio.ensure_future(r.blpop([f"{CART}:q"], timeout=10))
    await r.rpush(f"{CART}:q", "job")
    equal(tuple(await popped), (f"{CART}:q".encode(), b"job"))
    equal(await r.blpop([f"{CART}:q"], timeout=0.1), None)


async def sorted_sets(r: Any) -> None:
    """Sets and sorted sets, whose scores are doubles in RESP3."""
    equal((await r.sadd(f"{ADS}:u", "x", "y"), await r.smembers(f"{ADS}:u")), (2, {b"x", b"y"}))
    equal((await r.zadd(f"{ADS}:z", {"m": 1.5, "n": 2}), await r.zscore(f"{ADS}:z", "m")), (2, 1.5))
    equal({tuple(pair) for pair in await r.zrange(f"{ADS}:z", 0, -1, withscores=True)}, {(b"m", 1.5), (b"n", 2.0)})


async def channels(r: Any) -> None:
    """SUBSCRIBE, PSUBSCRIBE, PUBLISH, and a subscriber that listens while it is subscribed to more."""
    async with r.pubsub() as sub:
        await sub.subscribe(f"{CART}:news")
        await sub.psubscribe(f"{ADS}:*")
        equal([(await sub.get_message(timeout=5))["type"] for _ in range(2)], ["subscribe", "psubscribe"])
        equal((await r.publish(f"{CART}:news", BYTES), await r.publish(f"{ADS}:x", "two")), (1, 1))
        got = [await sub.get_message(timeout=5) for _ in range(2)]
        equal({m["type"] for m in got}, {"message", "pmessage"})
        equal({m["data"] for m in got}, {BYTES, b"two"})
        await sub.unsubscribe()
        equal((await sub.get_message(timeout=5))["type"], "unsubscribe")


async def scripts(r: Any) -> None:
    """A registered script: EVALSHA, and EVAL or SCRIPT LOAD where it is not known."""
    script = r.register_script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[2]}")
    equal(await script(keys=[f"{ADS}:script"], args=[4, BYTES]), [4, BYTES])


async def subscribed(r: Any) -> None:
    """Subscribes and reads the answer."""
    async with r.pubsub() as sub:
        await sub.subscribe(f"{CART}:news")
        await sub.get_message(timeout=5)


EVERYWHERE = (
    protocol, strings, pipeline, several, pool, transactions, lock, hashes, expiry, scanning, errors, reconnect,
)  # fmt: skip
BEYOND: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (lists, (lambda r: r.rpush(f"{CART}:q", 1), lambda r: r.blpop([f"{CART}:q"], timeout=0.1))),
    (sorted_sets, (lambda r: r.zadd(f"{ADS}:z", {"m": 1.5}), lambda r: r.sadd(f"{ADS}:u", "x"))),
    (channels, (lambda r: r.publish(f"{CART}:news", 1), subscribed)),
    (scripts, (lambda r: r.eval("return redis.call('GET', KEYS[1])", 1, f"{ADS}:script"),)),
)
"""What a store may lack, and then commands that are refused."""


async def lacking(r: Any, calls: tuple[Any, ...]) -> None:
    """Each of the calls raises what redis-py makes of an error reply, and the client goes on."""
    for call in calls:
        refused(await raised(call(r), redis.ResponseError), redis.ResponseError)
        equal(await r.ping(), True)


async def main() -> int:
    """Run all parts with one client."""
    report = Report()
    parts: list[tuple[str, str, Any]] = [(part.__name__, "ok", part) for part in EVERYWHERE]
    for part, calls in BEYOND:
        name = part.__name__.replace("_", " ")
        if TYPES == "all":
            parts.append((name, "ok", part))
        else:
            parts.append((name, "unsupported", partial(lacking, calls=calls)))
    async with connect() as client:
        for name, outcome, run in parts:
            try:
                await run(client)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                report.of(name, outcome, error)
            else:
                report.of(name, outcome)
    return report.code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
