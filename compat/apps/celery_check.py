"""Celery with a worker process: broker in one database, results in the other."""

import contextlib
import sys
import threading
import time

import celery as celery_package
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from checks import OTHER_URL, PATIENCE, URL, equal, raises, run, wait_until, worker

app = Celery("celery_check", broker=URL, backend=OTHER_URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_track_started=True,
    task_queue_max_priority=None,
    task_routes={"celery_check.routed": {"queue": "special"}},
    worker_send_task_events=True,
    result_extended=True,
)


@app.task
def add(x: int, y: int) -> int:
    """A sum."""
    return x + y


@app.task
def total(numbers: "list[int]") -> int:
    """What a chord ends with."""
    return sum(numbers)


@app.task
def fail(text: str) -> None:
    """An error."""
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def flaky(self: "celery_package.Task", times: int) -> int:
    """Fails some times, then says how often."""
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task
def routed() -> str:
    """Goes to a queue of its own."""
    return "special"


@app.task(bind=True)
def steps(self: "celery_package.Task", path: str) -> str:
    """Says how far it is until it is told to end."""
    self.update_state(state="PROGRESS", meta={"done": 1})
    deadline = time.monotonic() + PATIENCE
    while app.backend.client.get(path) is None:
        if time.monotonic() > deadline:
            return "nobody said so"
        time.sleep(0.02)
    return "ended"


def results() -> None:
    """Tasks and their results: many, big, several at once, an error."""
    equal(add.delay(2, 3).get(PATIENCE), 5)
    pending = [add.delay(i, 1) for i in range(30)]
    equal([one.get(PATIENCE) for one in pending], list(range(1, 31)))
    equal(len(add.delay("x" * 200_000, "y").get(PATIENCE)), 200_001)
    raises(ValueError, lambda: fail.delay("as expected").get(PATIENCE), "as expected")
    result = add.apply_async((1, 1), queue="special")
    equal((result.get(PATIENCE), result.state, routed.delay().get(PATIENCE)), (2, "SUCCESS", "special"))
    result.forget()
    equal(app.AsyncResult(result.id).state, "PENDING")


def retries() -> None:
    """A task that is sent again three times."""
    equal(flaky.delay(3).get(PATIENCE), 3)


def eta() -> None:
    """A task for later, and one that is too late."""
    began = time.monotonic()
    equal(add.apply_async((1, 2), countdown=1).get(PATIENCE), 3)
    equal(time.monotonic() - began >= 1, True)
    raises(TaskRevokedError, lambda: add.apply_async((1, 2), countdown=1, expires=0.1).get(PATIENCE))


def progress() -> None:
    """States of a task's own, which a client sees while it runs."""
    key = f"celery-check-{time.time()}"
    result = steps.delay(key)
    wait_until(lambda: result.state == "PROGRESS" and result.info == {"done": 1}, "the task's state")
    app.backend.client.set(key, 1, ex=60)
    equal(result.get(PATIENCE), "ended")


def canvas() -> None:
    """Groups, chains, chords, a chord of chords, one whose member fails."""
    equal(group(add.s(i, i) for i in range(10)).apply_async().get(PATIENCE), [2 * i for i in range(10)])
    equal(chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(PATIENCE), 10)
    equal(chord((add.s(i, 1) for i in range(10)), total.s()).apply_async().get(PATIENCE), 55)
    nested = chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(10))
    equal(nested.apply_async().get(PATIENCE), 16)
    raises(Exception, lambda: chord([add.s(1, 1), fail.s("in a chord")], total.s()).apply_async().get(PATIENCE), "in a chord")


def remote_control() -> None:
    """Broadcasts to workers and their replies (pidbox): ping, inspect, rate limits."""
    equal([list(one.values()) for one in app.control.ping(timeout=5, limit=1)], [[{"ok": "pong"}]])
    inspect = app.control.inspect(timeout=5, limit=1)
    equal("celery_check.add" in next(iter((inspect.registered() or {}).values())), True)
    equal(sorted(queue["name"] for queue in next(iter((inspect.active_queues() or {}).values()))), ["celery", "special"])
    equal(
        "ok" in next(iter(app.control.rate_limit("celery_check.fail", "100/s", reply=True, timeout=5, limit=1)[0].values())),
        True,
    )


def revocation() -> None:
    """A task that waits for its time, and one that runs, are revoked."""
    waiting = add.apply_async((1, 1), countdown=60)
    inspect = app.control.inspect(timeout=5, limit=1)
    wait_until(lambda: waiting.id in str(inspect.scheduled()), "the task at the worker")
    waiting.revoke(wait=True, timeout=1)
    running = steps.delay("nobody writes this")
    wait_until(lambda: running.state == "PROGRESS", "the task's start")
    running.revoke(terminate=True, signal="SIGKILL")
    raises(TaskRevokedError, lambda: running.get(PATIENCE))
    raises(TaskRevokedError, lambda: waiting.get(PATIENCE))


def events() -> None:
    """A monitor (as Flower is one) sees what the worker does."""
    wanted = {"task-received", "task-started", "task-succeeded"}
    seen: set[str] = set()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.add(event["type"])})

        def listen() -> None:
            with contextlib.suppress(OSError):  # a time without events
                for _ in receiver.itercapture(limit=None, timeout=PATIENCE, wakeup=True):
                    if wanted <= seen:
                        return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()

        def shown() -> bool:
            add.delay(1, 1).get(PATIENCE)
            return wanted <= seen

        wait_until(shown, "events of a task")
        receiver.should_stop = True
        thread.join(PATIENCE)


def purging() -> None:
    """A queue that nobody works on: its length, and purge."""
    for _ in range(5):
        add.apply_async((1, 1), queue="nobody")
    with app.connection_or_acquire() as connection:
        channel = connection.default_channel
        equal(channel.queue_declare("nobody", passive=True).message_count, 5)
        equal(channel.queue_purge("nobody"), 5)


CHECKS = [results, retries, eta, progress, canvas, remote_control, revocation, events, purging]
SHORT = [results, canvas, remote_control]

if __name__ == "__main__":
    import celery_check

    app = celery_check.app  # tasks are known by the module's name, in the worker as here
    line = [sys.executable, "-m", "celery", "-A", "celery_check", "worker", "-c", "2", "-Q", "celery,special", "-l", "INFO"]
    checks = [getattr(celery_check, check.__name__) for check in (SHORT if "short" in sys.argv else CHECKS)]
    run(checks, worker(line, " ready."))
