"""Huey with a consumer process."""

import sys
import time
from typing import Any

from checks import PATIENCE, URL, equal, raises, run, wait_until, worker
from huey import RedisHuey, crontab
from huey.exceptions import TaskException

huey = RedisHuey("checks", url=URL)


@huey.task()
def add(x: int, y: int) -> int:
    """A sum."""
    return x + y


@huey.task()
def fail() -> None:
    """An error."""
    raise ValueError("as expected")


@huey.task(retries=3, context=True)
def flaky(task: Any = None) -> int:
    """Fails twice."""
    left = int(task.retries)
    if left > 1:
        raise ValueError(str(left))
    return left


@huey.periodic_task(crontab(minute="*"))
def every_minute() -> None:
    """What the consumer's scheduler knows."""


@huey.task()
@huey.lock_task("one-at-a-time")
def alone() -> bool:
    """Holds a lock while it runs."""
    return True


def tasks() -> None:
    """Tasks, results, an error, a pipeline, many."""
    equal(add(2, 3).get(blocking=True, timeout=PATIENCE), 5)
    equal([one.get(blocking=True, timeout=PATIENCE) for one in [add(i, 1) for i in range(20)]], list(range(1, 21)))
    raises(TaskException, lambda: fail().get(blocking=True, timeout=PATIENCE), "as expected")
    results = huey.enqueue(add.s(1, 2).then(add, 10))
    equal(results.get(blocking=True, timeout=PATIENCE), [3, 13])
    equal(add.map([(1, 1), (2, 2)]).get(blocking=True, timeout=PATIENCE), [2, 4])


def retries() -> None:
    """A task that is sent again."""
    result = flaky()

    def value() -> object:
        try:
            return result.get(preserve=True)
        except TaskException:
            result.reset()
            return None

    equal(wait_until(value, "the third try"), 1)


def scheduled() -> None:
    """For later, and for later but revoked."""
    began = time.monotonic()
    equal(add.schedule((4, 4), delay=1).get(blocking=True, timeout=PATIENCE), 8)
    equal(time.monotonic() - began >= 0.5, True)
    never = add.schedule((4, 4), delay=600)
    never.revoke()
    equal(never.is_revoked(), True)
    add.revoke()
    equal(add.is_revoked(), True)
    add.restore()


def locking() -> None:
    """Locks of tasks and of anybody."""
    equal(alone().get(blocking=True, timeout=PATIENCE), True)
    with huey.lock_task("mine"):
        equal(huey.is_locked("mine"), True)
    equal(huey.is_locked("mine"), False)


def storage() -> None:
    """Values of the application's own, counts, what waits."""
    huey.put("key", {"a": 1})
    equal((huey.get("key", peek=True), huey.get("key"), huey.get("key")), ({"a": 1}, {"a": 1}, None))
    equal((huey.pending_count(), huey.scheduled_count() >= 0), (0, True))


CHECKS = ("tasks", "retries", "scheduled", "locking", "storage")

if __name__ == "__main__":
    import huey_check

    line = [sys.executable, "-m", "huey.bin.huey_consumer", "huey_check.huey", "-w", "2", "-d", "0.02", "-m", "0.1"]
    run([getattr(huey_check, name) for name in CHECKS], worker(line, "The following commands are available"))
