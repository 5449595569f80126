"""Locks of three libraries: redis-py's Lock (also asynchronous), python-redis-lock, pottery's Redlock."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from checks import URL, equal, raises, run, wait_until

client = redis.Redis.from_url(URL)
LIBRARY = sys.argv[3] if len(sys.argv) > 3 else ""


def _counted(make: Callable[[redis.Redis], Any], rounds: int = 10) -> None:
    """Four threads that each add to a number without INCR: only a lock that locks keeps all of them."""
    client.delete("shared-number")

    def work() -> None:
        mine = redis.Redis.from_url(URL)
        for _ in range(rounds):
            with make(mine):
                mine.set("shared-number", int(mine.get("shared-number") or 0) + 1)
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    equal(int(client.get("shared-number") or 0), 4 * rounds)


def redis_py() -> None:
    """Acquire, refuse, extend, reacquire, owned, release, one that is lost."""
    lock = client.lock("one", timeout=20)
    equal((lock.acquire(blocking=False), lock.locked(), lock.owned()), (True, True, True))
    equal(client.lock("one", timeout=5).acquire(blocking=False), False)
    equal((lock.extend(100), client.ttl("one") > 100, lock.reacquire(), client.ttl("one") <= 20), (True, True, True, True))
    lock.release()
    equal(client.exists("one"), 0)
    short = client.lock("short", timeout=0.05)
    short.acquire()
    wait_until(lambda: not client.exists("short"), "the end of the lock")
    raises(redis.exceptions.LockNotOwnedError, short.release)


def redis_py_waiting() -> None:
    """Threads that wait for each other."""
    _counted(lambda mine: mine.lock("counter", timeout=30, sleep=0.01))


def redis_py_asynchronous() -> None:
    """The lock of redis.asyncio."""

    async def several() -> None:
        async with redis.asyncio.Redis.from_url(URL) as mine:
            await mine.set("async-number", 0)

            async def add() -> None:
                async with mine.lock("async", timeout=30, sleep=0.01):
                    await mine.set("async-number", int(await mine.get("async-number")) + 1)

            await asyncio.gather(*(add() for _ in range(10)))
            equal(int(await mine.get("async-number")), 10)

    asyncio.run(several())


def python_redis_lock() -> None:
    """Acquire, refuse, extend, release, another's id, reset."""
    import redis_lock  # noqa: PLC0415 - one of three libraries

    lock = redis_lock.Lock(client, "prl", expire=20)
    equal((lock.acquire(blocking=False), lock.locked()), (True, True))
    other = redis_lock.Lock(client, "prl", expire=20)
    equal(other.acquire(blocking=False), False)
    equal(other.get_owner_id(), lock.id)
    lock.extend(100)
    equal(client.ttl("lock:prl") > 20, True)
    raises(redis_lock.NotAcquired, other.release)
    lock.release()
    equal(other.acquire(timeout=5), True)
    other.reset()
    equal(other.locked(), False)
    with redis_lock.Lock(client, "renewed", expire=1, auto_renewal=True) as renewed:
        raised = []
        wait_until(lambda: raised.append(client.pttl("lock:renewed")) or raised[-1] > min(raised[:-1] or [9999]), "a renewal")
        equal(renewed.locked(), True)


def python_redis_lock_waiting() -> None:
    """Threads that wait for each other's signal by BLPOP."""
    import redis_lock  # noqa: PLC0415 - one of three libraries

    _counted(lambda mine: redis_lock.Lock(mine, "counter2", expire=30))


def python_redis_lock_reset_all() -> None:
    """A script that finds its keys by itself (KEYS lock:*)."""
    import redis_lock  # noqa: PLC0415 - one of three libraries

    lock = redis_lock.Lock(client, "stale", expire=60)
    lock.acquire()
    redis_lock.reset_all(client)
    equal(lock.locked(), False)


def pottery_redlock() -> None:
    """Redlock over one master: acquire, refuse, extend, release."""
    from pottery import Redlock  # noqa: PLC0415 - one of three libraries

    lock = Redlock(key="printer", masters={client}, auto_release_time=20)
    equal(lock.acquire(blocking=False), True)
    equal(lock.locked() > 0, True)
    equal(Redlock(key="printer", masters={client}, auto_release_time=20).acquire(blocking=False), False)
    lock.extend()
    lock.release()
    equal(lock.locked(), 0)
    _counted(lambda mine: Redlock(key="counter3", masters={mine}, auto_release_time=30), 3)


CHECKS = {
    "redis-py": [redis_py, redis_py_waiting, redis_py_asynchronous],
    "python-redis-lock": [python_redis_lock, python_redis_lock_waiting, python_redis_lock_reset_all],
    "pottery": [pottery_redlock],
}

if __name__ == "__main__":
    run(CHECKS[LIBRARY])
