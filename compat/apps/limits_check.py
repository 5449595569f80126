"""The rate limiter `limits` with its Redis storage: fixed, moving and sliding windows, as Flask-Limiter and others use it."""

import asyncio

from checks import URL, equal, run, wait_until
from limits import RateLimitItemPerHour, RateLimitItemPerSecond, parse, strategies
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import FixedWindowRateLimiter as AsyncFixedWindowRateLimiter
from limits.storage import storage_from_string

storage = storage_from_string(URL)


def _strategy(kind: "type[strategies.RateLimiter]", name: str) -> None:
    limiter = kind(storage)
    limit = RateLimitItemPerHour(3)
    equal([limiter.hit(limit, name) for _ in range(4)], [True, True, True, False])
    equal((limiter.test(limit, name), limiter.test(limit, "somebody")), (False, True))
    stats = limiter.get_window_stats(limit, name)
    equal((stats.remaining, stats.reset_time > 0), (0, True))
    equal(limiter.hit(RateLimitItemPerHour(10), name, cost=4), True)
    limiter.clear(limit, name)
    equal(limiter.hit(limit, name), True)
    short = RateLimitItemPerSecond(2)
    wait_until(lambda: not limiter.hit(short, name), "the limit", 5)
    wait_until(lambda: limiter.hit(short, name), "the next window", 5)


def fixed_window() -> None:
    """A counter with an expiry."""
    _strategy(strategies.FixedWindowRateLimiter, "fixed")


def moving_window() -> None:
    """A list of times."""
    _strategy(strategies.MovingWindowRateLimiter, "moving")


def sliding_window() -> None:
    """Two counters, one of which is shifted into the other."""
    _strategy(strategies.SlidingWindowCounterRateLimiter, "sliding")


def asynchronous() -> None:
    """The asynchronous storage."""

    async def several() -> None:
        limiter = AsyncFixedWindowRateLimiter(AsyncRedisStorage(f"async+{URL}", implementation="redispy"))
        limit = parse("5/hour")
        got = await asyncio.gather(*(limiter.hit(limit, "async") for _ in range(8)))
        equal(sorted(got), [False] * 3 + [True] * 5)

    asyncio.run(several())


def health() -> None:
    """The storage's own question."""
    equal(storage.check(), True)


def reset() -> None:
    """All limits at once: a script that lists and deletes keys by a pattern."""
    limiter = strategies.FixedWindowRateLimiter(storage)
    limit = RateLimitItemPerHour(1)
    limiter.hit(limit, "reset")
    equal(limiter.hit(limit, "reset"), False)
    equal((storage.reset() or 0) > 0, True)
    equal(limiter.hit(limit, "reset"), True)


if __name__ == "__main__":
    run([fixed_window, moving_window, sliding_window, asynchronous, health, reset])
