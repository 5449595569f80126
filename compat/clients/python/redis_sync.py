"""What an application does with redis-py, by its own means; for redis-py 4.4 and newer. See common.py for its arguments."""

import sys
import threading
import time
from functools import partial
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from clients.python.common import ADS, BIG, BYTES, CART, PROTOCOL, TYPES, URL, Report, either, equal, refused

OPTIONS: dict[str, Any] = {"socket_timeout": 10, "client_name": "check", "retry_on_error": [redis.ConnectionError]}
if int(redis.__version__.split(".")[0]) >= 5:
    OPTIONS["protocol"] = int(PROTOCOL)


def connect(**more: Any) -> Any:
    """A client with a pool of its own that tries again when a connection was closed."""
    return redis.Redis.from_url(URL, **{**OPTIONS, "retry": Retry(ExponentialBackoff(cap=0.2, base=0.01), 5), **more})


def in_threads(count: int, work: Any) -> None:
    """Run `work` in `count` threads; the first exception of one is raised."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - given to the caller
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def raised(call: Any, kind: type[Exception]) -> Exception:
    """The exception of this kind that `call` must raise."""
    try:
        got = call()
    except kind as error:
        return error
    msg = f"{kind.__name__} was not raised, but answered {got!r}"
    raise AssertionError(msg)


def protocol(r: Any) -> None:
    """The connection speaks what was asked for, and can tell its name."""
    equal(str(r.client_info()["resp"]).strip(), PROTOCOL)
    equal(r.client_getname() in ("check", b"check"), True)


def strings(r: Any) -> None:
    """SET, GET, a missing key, every byte, a big value, a key with every byte."""
    equal(r.set(f"{CART}:s", "ü"), True)
    equal(r.get(f"{CART}:s"), "ü".encode())
    equal((r.get(f"{CART}:none"), r.set(f"{CART}:s", "x", nx=True)), (None, None))
    for value in (b"", BYTES, BIG):
        r.set(f"{ADS}:b".encode() + BYTES[:64], value)
        equal(r.get(f"{ADS}:b".encode() + BYTES[:64]), value)
    equal(r.delete(f"{CART}:s", f"{CART}:none"), 1)


def pipeline(r: Any) -> None:
    """200 commands in one pipeline, an error among them, answers in order."""
    with r.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.set(f"{either(i)}:p:{i}", i).get(f"{either(i)}:p:{i}")
        pipe.hget(f"{CART}:p:0", "f")
        got = pipe.execute(raise_on_error=False)
    equal(got[:-1], [x for i in range(100) for x in (True, str(i).encode())])
    equal(isinstance(got[-1], redis.ResponseError), True)


def several(r: Any) -> None:
    """MSET, MGET, EXISTS, DEL."""
    pairs = {f"{either(i)}:m:{i}": str(i) for i in range(20)}
    equal(r.mset(pairs), True)
    equal(r.mget([*pairs, f"{ADS}:none"]), [value.encode() for value in pairs.values()] + [None])
    equal((r.exists(*pairs), r.delete(*pairs)), (20, 20))


def pool(r: Any) -> None:
    """Eight threads share a pool of four connections that waits for a free one."""
    shared = redis.BlockingConnectionPool.from_url(URL, max_connections=4, timeout=10, **OPTIONS)
    client = redis.Redis(connection_pool=shared)
    in_threads(8, lambda: [client.incr(f"{CART}:n") for _ in range(25)])
    equal(r.get(f"{CART}:n"), b"200")
    shared.disconnect()


def transactions(r: Any) -> None:
    """A block; one that another client's write makes fail; `transaction`, which then tries again."""
    with r.pipeline() as pipe:
        equal(pipe.set(f"{CART}:t", 1).incr(f"{CART}:t").get(f"{CART}:t").execute(), [True, 2, b"2"])
    with r.pipeline() as pipe:
        pipe.watch(f"{CART}:t")
        r.set(f"{CART}:t", 10)
        pipe.multi()
        pipe.incr(f"{CART}:t")
        raised(pipe.execute, redis.WatchError)
    tries: list[int] = []

    def double(pipe: Any) -> None:
        value = int(pipe.get(f"{CART}:t"))
        if not tries:
            r.set(f"{CART}:t", 11)
        tries.append(value)
        pipe.multi()
        pipe.set(f"{CART}:t", value * 2)

    equal(r.transaction(double, f"{CART}:t"), [True])
    equal((tries, r.get(f"{CART}:t")), ([10, 11], b"22"))


def lock(r: Any) -> None:
    """redis-py's Lock: one holder, others wait, extending, and a lock that was lost."""
    first, second = (r.lock(f"{CART}:lock", timeout=20, sleep=0.01, thread_local=False) for _ in range(2))
    equal((first.acquire(blocking=False), second.acquire(blocking=False)), (True, False))
    equal((first.extend(10), first.reacquire(), first.owned()), (True, True, True))
    waiting = threading.Thread(target=lambda: second.acquire(blocking_timeout=10))
    waiting.start()
    first.release()
    waiting.join()
    equal(second.owned(), True)
    r.delete(f"{CART}:lock")
    raised(second.release, redis.exceptions.LockNotOwnedError)
    counted: list[int] = []

    def count() -> None:
        with connect() as own, own.lock(f"{CART}:lock", timeout=20, sleep=0.01):
            seen = len(counted)
            own.set(f"{CART}:held", seen)
            counted.append(seen)

    in_threads(4, count)
    equal(counted, [0, 1, 2, 3])


def hashes(r: Any) -> None:
    """HSET, HGETALL, HDEL, HINCRBY, HSCAN with its iterator."""
    fields = {f"f{i}".encode(): BYTES[i:] for i in range(250)}
    equal(r.hset(f"{ADS}:h", mapping=fields), 250)
    equal(r.hgetall(f"{ADS}:h"), fields)
    equal(dict(r.hscan_iter(f"{ADS}:h", count=20)), fields)
    equal((r.hdel(f"{ADS}:h", "f1", "none"), r.hlen(f"{ADS}:h"), r.hincrby(f"{ADS}:h", "n", 5)), (1, 249, 5))


def expiry(r: Any) -> None:
    """EX, TTL, PERSIST, and a key that goes."""
    equal(r.set(f"{CART}:e", 1, ex=100), True)
    equal(0 < r.ttl(f"{CART}:e") <= 100, True)
    equal((r.persist(f"{CART}:e"), r.ttl(f"{CART}:e"), r.pexpire(f"{CART}:e", 20)), (True, -1, True))
    deadline = time.monotonic() + 5
    while r.exists(f"{CART}:e"):
        equal(time.monotonic() < deadline, True)


def scanning(r: Any) -> None:
    """The iterators of SCAN, with and without MATCH."""
    wanted = {f"{either(i)}:scan:{i}".encode() for i in range(100)}
    for key in wanted:
        r.set(key, 1)
    equal(wanted - set(r.scan_iter(count=7)), set())
    equal(set(r.scan_iter(match=f"{ADS}:scan:*")), {key for key in wanted if key.startswith(ADS.encode())})


def errors(r: Any) -> None:
    """An error reply is a ResponseError, and the connection goes on."""
    r.set(f"{CART}:wrong", "x")
    equal(str(raised(lambda: r.hset(f"{CART}:wrong", "f", 1), redis.ResponseError)).startswith("WRONGTYPE"), True)
    raised(lambda: r.incr(f"{CART}:wrong"), redis.ResponseError)
    equal((r.get(f"{CART}:wrong"), r.ping()), (b"x", True))


def reconnect(r: Any) -> None:
    """After CLIENT KILL the client connects again by itself."""
    with connect(max_connections=1) as own:
        before = own.client_id()
        equal(r.client_kill_filter(_id=before), 1)
        equal(own.set(f"{CART}:again", 1), True)
        equal(own.client_id() != before, True)


def lists(r: Any) -> None:
    """BLPOP that waits for a push of another connection, and one that is over."""
    pusher = threading.Thread(target=lambda: r.rpush(f"{CART}:q", "job"))
    pusher.start()
    equal(tuple(r.blpop([f"{CART}:q"], timeout=10)), (f"{CART}:q".encode(), b"job"))
    pusher.join()
    equal(r.blpop([f"{CART}:q"], timeout=0.1), None)


def sorted_sets(r: Any) -> None:
    """Sets and sorted sets, whose scores are doubles in RESP3."""
    equal((r.sadd(f"{ADS}:u", "x", "y"), r.smembers(f"{ADS}:u")), (2, {b"x", b"y"}))
    equal((r.zadd(f"{ADS}:z", {"m": 1.5, "n": 2}), r.zscore(f"{ADS}:z", "m")), (2, 1.5))
    equal({tuple(pair) for pair in r.zrange(f"{ADS}:z", 0, -1, withscores=True)}, {(b"m", 1.5), (b"n", 2.0)})
    equal(dict(r.zscan_iter(f"{ADS}:z")), {b"m": 1.5, b"n": 2.0})


def channels(r: Any) -> None:
    """SUBSCRIBE, PSUBSCRIBE, PUBLISH; a subscriber that was closed comes back and has its channels again."""
    with connect(client_name="subscriber") as own, own.pubsub() as sub:
        sub.subscribe(f"{CART}:news")
        sub.psubscribe(f"{ADS}:*")
        equal([sub.get_message(timeout=5)["type"] for _ in range(2)], ["subscribe", "psubscribe"])
        equal((r.publish(f"{CART}:news", BYTES), r.publish(f"{ADS}:x", "two")), (1, 1))
        got = [sub.get_message(timeout=5) for _ in range(2)]
        equal([m["type"] for m in sorted(got, key=lambda m: m["type"])], ["message", "pmessage"])
        equal({m["data"] for m in got}, {BYTES, b"two"})
        (me,) = (entry["id"] for entry in r.client_list() if entry["name"] == "subscriber")
        equal(r.client_kill_filter(_id=me), 1)
        again: list[str] = []
        while again.count("subscribe") + again.count("psubscribe") < 2:
            try:
                again += [message["type"] for message in [sub.get_message(timeout=5)] if message]
            except redis.ConnectionError:
                again.append("lost")
            equal(len(again) < 10, True)
        equal(r.publish(f"{CART}:news", "back"), 1)
        equal(sub.get_message(timeout=5)["data"], b"back")


def scripts(r: Any) -> None:
    """A registered script: EVALSHA, and EVAL or SCRIPT LOAD where it is not known."""
    script = r.register_script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[2]}")
    equal(script(keys=[f"{ADS}:script"], args=[4, BYTES]), [4, BYTES])
    equal(script(keys=[f"{ADS}:script"], args=[4, ""]), [8, b""])


def subscribed(r: Any) -> None:
    """Subscribes and reads the answer."""
    with r.pubsub() as sub:
        sub.subscribe(f"{CART}:news")
        sub.get_message(timeout=5)


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


def lacking(r: Any, calls: tuple[Any, ...]) -> None:
    """Each of the calls raises what redis-py makes of an error reply, and the client goes on."""
    for call in calls:
        refused(raised(lambda call=call: call(r), redis.ResponseError), redis.ResponseError)
        equal(r.ping(), True)


def main() -> int:
    """Run all parts with one client."""
    report = Report()
    parts: list[tuple[str, str, Any]] = [(part.__name__, "ok", part) for part in EVERYWHERE]
    for part, calls in BEYOND:
        name = part.__name__.replace("_", " ")
        if TYPES == "all":
            parts.append((name, "ok", part))
        else:
            parts.append((name, "unsupported", partial(lacking, calls=calls)))
    with connect() as client:
        for name, outcome, run in parts:
            try:
                run(client)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                report.of(name, outcome, error)
            else:
                report.of(name, outcome)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
