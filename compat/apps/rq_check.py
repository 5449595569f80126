"""RQ with a worker process that also schedules."""

import sys
import time
from datetime import timedelta

import redis
from checks import URL, Wrong, equal, raises, run, wait_until, worker
from rq import Callback, Queue, Repeat, Retry, Worker
from rq.command import send_stop_job_command
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry

connection = redis.Redis.from_url(URL)
queue = Queue(connection=connection)
low = Queue("low", connection=connection)


def add(x: int, y: int) -> int:
    """A sum."""
    return x + y


def fail(text: str) -> None:
    """An error."""
    raise ValueError(text)


def flaky(key: str) -> int:
    """Fails twice, then says how often it was called."""
    calls = int(connection.incr(key))
    if calls < 3:
        msg = f"call {calls}"
        raise ValueError(msg)
    return calls


def endless() -> None:
    """Runs until it is stopped."""
    time.sleep(600)


def note(job: Job, conn: "redis.Redis", result: object, *_: object) -> None:
    """A callback."""
    conn.set(f"noted:{job.id}", str(result), ex=60)


def ended(job: Job, *states: str) -> Job:
    """Wait until the job has one of the states."""
    wait_until(lambda: job.get_status(refresh=True) in states, f"{states} of a job that is {job.get_status()}")
    job.refresh()
    return job


def jobs() -> None:
    """Jobs and their results: one, many, big, another queue, at the front, with a description and meta."""
    equal(ended(queue.enqueue(add, 2, 3), "finished").return_value(), 5)
    several = queue.enqueue_many([Queue.prepare_data(add, (i, 1)) for i in range(5)])
    equal([ended(job, "finished").return_value() for job in several], [1, 2, 3, 4, 5])
    equal(len(ended(low.enqueue(add, "x" * 200_000, "y"), "finished").return_value()), 200_001)
    job = ended(queue.enqueue(add, 1, 1, meta={"a": 1}, at_front=True, job_id="by-hand", result_ttl=500), "finished")
    equal((job.meta, Job.fetch("by-hand", connection=connection).return_value()), ({"a": 1}, 2))
    equal(job.latest_result(timeout=5).return_value, 2)
    equal("by-hand" in FinishedJobRegistry(queue=queue).get_job_ids(), True)


def failures() -> None:
    """A failed job, its registry, once more; one that is sent again by itself."""
    job = ended(queue.enqueue(fail, "as expected"), "failed")
    equal("as expected" in job.latest_result().exc_string, True)
    registry = FailedJobRegistry(queue=queue)
    equal(job.id in registry.get_job_ids(), True)
    registry.requeue(job.id)
    wait_until(lambda: len(job.results()) == 2, "the second failure")
    ended(job, "failed")
    registry.remove(job.id, delete_job=True)
    equal((registry.get_job_ids(), Job.exists(job.id, connection=connection)), ([], False))
    equal(ended(queue.enqueue(flaky, "rq-flaky", retry=Retry(max=3)), "finished").return_value(), 3)


def callbacks() -> None:
    """On success, on failure."""
    good = queue.enqueue(add, 1, 2, on_success=Callback(note))
    equal(wait_until(lambda: connection.get(f"noted:{good.id}"), "the callback"), b"3")


def dependent() -> None:
    """Jobs that wait for others; a job whose dependency fails waits for ever, one that may fail does not."""
    first = queue.enqueue(add, 1, 1)
    second = low.enqueue(add, 2, 2, depends_on=first)
    third = queue.enqueue(add, 3, 3, depends_on=[first, second])
    equal(ended(third, "finished").return_value(), 6)
    equal(sorted(dependency.id for dependency in third.fetch_dependencies()), sorted([first.id, second.id]))
    broken = queue.enqueue(fail, "first")
    waiting = queue.enqueue(add, 1, 1, depends_on=broken)
    ended(broken, "failed")
    equal(waiting.get_status(), "deferred")
    waiting.cancel()
    equal(ended(waiting, "canceled").is_canceled, True)


def scheduled() -> None:
    """A job for later, one for much later that is cancelled, one that is repeated."""
    job = queue.enqueue_in(timedelta(seconds=1), add, 4, 4)
    later = queue.enqueue_in(timedelta(hours=1), add, 4, 4)
    equal(later.id in ScheduledJobRegistry(queue=queue).get_job_ids(), True)
    later.delete()
    equal(ended(job, "finished").return_value(), 8)
    repeated = queue.enqueue(add, 1, 1, repeat=Repeat(times=1, interval=1))
    wait_until(lambda: len(repeated.results()) == 2, "the second run")


def stopping() -> None:
    """A running job is stopped by a message to its worker."""
    job = queue.enqueue(endless)
    ended(job, "started")
    equal(wait_until(lambda: job.id in StartedJobRegistry(queue=queue).get_job_ids(), "the job's start"), True)
    send_stop_job_command(connection, job.id)
    ended(job, "stopped", "failed")


def workers() -> None:
    """What a dashboard shows: workers, queues, counts."""
    (one,) = Worker.all(connection=connection)
    equal((sorted(one.queue_names()), one.successful_job_count > 0), (["default", "low"], True))
    equal(sorted(queue.name for queue in Queue.all(connection=connection)), ["default", "low"])
    equal((Worker.count(connection=connection), queue.count), (1, 0))


def unique() -> None:
    """A job that may be there once: a script."""
    parked = Queue("parked", connection=connection)
    parked.enqueue(add, 1, 1, job_id="once", unique=True)
    raises(DuplicateJobError, lambda: parked.enqueue(add, 1, 1, job_id="once", unique=True))
    Job.fetch("once", connection=connection).delete()
    equal(parked.count, 0)


def emptying() -> None:
    """A queue is emptied: a script that makes up the names of the jobs' keys."""
    parked = Queue("parked", connection=connection)
    several = [parked.enqueue(add, i, i) for i in range(5)]
    equal((parked.count, parked.empty(), parked.count), (5, 5, 0))
    left = [job.id for job in several if Job.exists(job.id, connection=connection)]
    if left:
        msg = f"{len(left)} jobs of an emptied queue are still there"
        raise Wrong(msg)
    parked.delete()


if __name__ == "__main__":
    import rq_check  # jobs are known by the module's name, in the worker as here

    names = ("jobs", "failures", "callbacks", "dependent", "scheduled", "stopping", "workers", "unique", "emptying")
    line = [sys.executable, "-m", "rq.cli", "worker", "--with-scheduler", "--url", URL, "default", "low"]
    run([getattr(rq_check, name) for name in names], worker(line, "Listening on"))
