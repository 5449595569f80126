"""What an application does with redis-py, checked against an address: ``check.py URL [PROTOCOL]``.

One line says the result. Runs with redis-py 4.4 and everything newer, so it uses only what all of them have.
"""

import sys
import threading
import time
from typing import Any

import redis

CART, ADS = "Shop.Cart:py", "Ads.Profile:py"
done: list[str] = []


def equal(got: Any, wanted: Any) -> None:
    """Fail with both values."""
    if got != wanted:
        msg = f"after {done}: got {got!r}, wanted {wanted!r}"
        raise AssertionError(msg)


def strings(r: Any) -> None:
    """SET, GET, DEL, a value with every byte, a megabyte."""
    equal(r.set(f"{CART}:s", "ü"), True)
    equal(r.get(f"{CART}:s"), "ü".encode())
    equal(r.set(f"{CART}:s", "x", nx=True), None)
    equal(r.get(f"{CART}:none"), None)
    equal(r.incrby(f"{CART}:n", 5), 5)
    for value in (bytes(range(256)), b"v" * (1 << 20)):
        equal(r.set(f"{ADS}:b", value), True)
        equal(r.get(f"{ADS}:b"), value)
    equal(r.delete(f"{CART}:s", f"{CART}:n", f"{ADS}:b"), 3)


def pipeline(r: Any) -> None:
    """200 commands over both namespaces, answers in order."""
    with r.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.set(f"{(CART, ADS)[i % 2]}:p:{i}", i)
            pipe.get(f"{(CART, ADS)[i % 2]}:p:{i}")
        equal(pipe.execute(), [x for i in range(100) for x in (True, str(i).encode())])


def several(r: Any) -> None:
    """MSET, MGET, EXISTS, DEL over both namespaces."""
    pairs = {f"{(CART, ADS)[i % 2]}:m:{i}": str(i) for i in range(20)}
    equal(r.mset(pairs), True)
    equal(r.mget([*pairs, f"{ADS}:none"]), [value.encode() for value in pairs.values()] + [None])
    equal(r.exists(*pairs), 20)
    equal(r.delete(*pairs), 20)


def transactions(r: Any) -> None:
    """MULTI/EXEC, a queued error, WATCH that is broken."""
    with r.pipeline() as pipe:
        equal(pipe.set(f"{CART}:t", 1).incr(f"{CART}:t").get(f"{CART}:t").execute(), [True, 2, b"2"])
    with r.pipeline() as pipe:
        pipe.watch(f"{CART}:t")
        r.set(f"{CART}:t", 10)
        pipe.multi()
        pipe.incr(f"{CART}:t")
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("EXEC went through a broken WATCH")
    equal(r.get(f"{CART}:t"), b"10")


def hashes(r: Any) -> None:
    """HSET, HGETALL, HDEL, and the types of RESP3: a map, a set, a double."""
    equal(r.hset(f"{ADS}:h", mapping={"a": "1", "b": "2"}), 2)
    equal(r.hgetall(f"{ADS}:h"), {b"a": b"1", b"b": b"2"})
    equal(r.hdel(f"{ADS}:h", "a"), 1)
    equal(r.sadd(f"{ADS}:u", "x", "y"), 2)
    equal(r.smembers(f"{ADS}:u"), {b"x", b"y"})
    equal(r.zadd(f"{ADS}:z", {"m": 1.5}), 1)
    equal(r.zscore(f"{ADS}:z", "m"), 1.5)


def expiry(r: Any) -> None:
    """EX, TTL, PERSIST, and a key that goes."""
    equal(r.set(f"{CART}:e", 1, ex=100), True)
    equal(0 < r.ttl(f"{CART}:e") <= 100, True)
    equal(r.persist(f"{CART}:e"), True)
    equal(r.ttl(f"{CART}:e"), -1)
    equal(r.pexpire(f"{CART}:e", 1), True)
    deadline = time.monotonic() + 5
    while r.exists(f"{CART}:e"):
        equal(time.monotonic() < deadline, True)


def channels(r: Any) -> None:
    """SUBSCRIBE, PSUBSCRIBE, PUBLISH."""
    with r.pubsub() as sub:
        sub.subscribe(f"{CART}:news")
        sub.psubscribe(f"{ADS}:*")
        equal([sub.get_message(timeout=5)["type"] for _ in range(2)], ["subscribe", "psubscribe"])
        equal(r.publish(f"{CART}:news", "one"), 1)
        message = sub.get_message(timeout=5)
        equal((message["type"], message["channel"], message["data"]), ("message", f"{CART}:news".encode(), b"one"))
        equal(r.publish(f"{ADS}:x", "two"), 1)
        message = sub.get_message(timeout=5)
        equal((message["type"], message["pattern"], message["data"]), ("pmessage", f"{ADS}:*".encode(), b"two"))
        sub.unsubscribe()
        equal(sub.get_message(timeout=5)["type"], "unsubscribe")


def blocking(r: Any) -> None:
    """BLPOP that waits for a push of another connection, and one that times out."""
    pusher = threading.Timer(0.1, lambda: r.rpush(f"{CART}:q", "job"))
    pusher.start()
    equal(tuple(r.blpop([f"{CART}:q"], timeout=5)), (f"{CART}:q".encode(), b"job"))
    pusher.join()
    equal(r.blpop([f"{CART}:q"], timeout=1), None)


def scanning(r: Any) -> None:
    """SCAN over both namespaces, with and without MATCH."""
    wanted = {f"{namespace}:scan:{i}".encode() for namespace in (CART, ADS) for i in range(50)}
    for key in wanted:
        r.set(key, 1)
    equal(wanted - set(r.scan_iter(count=7)), set())
    equal(set(r.scan_iter(match=f"{ADS}:scan:*")), {key for key in wanted if key.startswith(ADS.encode())})


def scripts(r: Any) -> None:
    """EVAL and EVALSHA by key, a lock, and an error that leaves the connection usable."""
    script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    equal(script(keys=[f"{ADS}:script"], args=[4]), 4)
    lock = r.lock(f"{CART}:lock", timeout=5)
    equal(lock.acquire(blocking=False), True)
    lock.release()
    try:
        r.lpush(f"{ADS}:script", 1)
    except redis.ResponseError as error:
        equal(str(error).startswith("WRONGTYPE"), True)
    else:
        raise AssertionError("no WRONGTYPE")
    equal(r.ping(), True)


CHECKS = (strings, pipeline, several, transactions, hashes, expiry, channels, blocking, scanning, scripts)


def main() -> None:
    """Run all checks with one client."""
    options = {"protocol": int(sys.argv[2])} if len(sys.argv) > 2 else {}
    client = redis.Redis.from_url(sys.argv[1], client_name="check", socket_timeout=10, **options)
    client.delete(f"{CART}:n", f"{CART}:q", f"{ADS}:script", f"{ADS}:h", f"{ADS}:u", f"{ADS}:z")
    for check in CHECKS:
        check(client)
        done.append(check.__name__)
    client.close()
    print(f"redis-py {redis.__version__}{f' RESP{sys.argv[2]}' if options else ''}: ok, {', '.join(done)}")


if __name__ == "__main__":
    main()
