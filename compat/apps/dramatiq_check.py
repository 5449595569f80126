"""Dramatiq with a worker process: broker, results, rate limiters."""

import sys
import time

import dramatiq
from checks import OTHER_URL, PATIENCE, URL, equal, raises, run, wait_until, worker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimitsBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultsBackend
from dramatiq.results.errors import ResultFailure

broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=ResultsBackend(url=OTHER_URL)))
dramatiq.set_broker(broker)
TIMEOUT = int(PATIENCE * 1000)


@dramatiq.actor(store_results=True)
def add(x: int, y: int) -> int:
    """A sum."""
    return x + y


@dramatiq.actor(store_results=True, max_retries=0)
def fail() -> None:
    """An error."""
    raise ValueError("as expected")


@dramatiq.actor(max_retries=5, min_backoff=10, max_backoff=20)
def flaky(key: str) -> None:
    """Fails twice."""
    if broker.client.incr(key) < 3:
        raise ValueError(key)


def messages() -> None:
    """Messages and results: one, many, an error that is a dead letter."""
    equal(add.send(2, 3).get_result(block=True, timeout=TIMEOUT), 5)
    equal([one.get_result(block=True, timeout=TIMEOUT) for one in [add.send(i, 1) for i in range(20)]], list(range(1, 21)))
    raises(ResultFailure, lambda: fail.send().get_result(block=True, timeout=TIMEOUT), "as expected")
    wait_until(lambda: broker.client.zcard("dramatiq:default.XQ") == 1, "the dead letter")


def retries() -> None:
    """A message that is sent again."""
    broker.client.delete("flaky-calls")
    flaky.send("flaky-calls")
    wait_until(lambda: broker.client.get("flaky-calls") == b"3", "the third try")


def delayed() -> None:
    """For later."""
    began = time.monotonic()
    equal(add.send_with_options(args=(4, 4), delay=500).get_result(block=True, timeout=TIMEOUT), 8)
    equal(time.monotonic() - began >= 0.5, True)


def composed() -> None:
    """Groups and pipelines."""
    equal(
        list(dramatiq.group([add.message(i, i) for i in range(5)]).run().get_results(block=True, timeout=TIMEOUT)),
        [0, 2, 4, 6, 8],
    )
    equal(dramatiq.pipeline([add.message(1, 2), add.message(3)]).run().get_result(block=True, timeout=TIMEOUT), 6)


def rate_limits() -> None:
    """Concurrent, bucket, window."""
    backend = LimitsBackend(url=OTHER_URL)
    one = ConcurrentRateLimiter(backend, "one", limit=1)
    with one.acquire(raise_on_failure=False) as first, one.acquire(raise_on_failure=False) as second:
        equal((first, second), (True, False))
    bucket = BucketRateLimiter(backend, "bucket", limit=2, bucket=60_000)
    window = WindowRateLimiter(backend, "window", limit=2, window=60)
    for limiter in (bucket, window):
        got = []
        for _ in range(3):
            with limiter.acquire(raise_on_failure=False) as acquired:
                got.append(acquired)
        equal(got, [True, True, False])


CHECKS = ("messages", "retries", "delayed", "composed", "rate_limits")

if __name__ == "__main__":
    import dramatiq_check

    line = [sys.executable, "-m", "dramatiq", "dramatiq_check", "-p", "1", "-t", "2"]
    run([getattr(dramatiq_check, name) for name in CHECKS], worker(line, "is ready for action"))
