"""Commands that are taken without a task that waits for them: answered once, at their deadline at the latest."""

from collections.abc import Sequence

import attrs
import trio
from trio.testing import MockClock

from kvgate.backend import CallContext, Queueing
from kvgate.wire.reply import OK, Error, Raw, Reply
from kvgate_tikv.job import LOOK, Job, Waiting, flush
from tests.contract.backend import Served, command, plain
from tests.kvgate_tikv.gates import backend, gates, record, refused, until
from tests.tikv.cluster import Cluster


@attrs.define
class Told:
    """What the gate was told of portions that it handed over."""

    replies: list[list[Reply]] = attrs.field(factory=list)
    flushes: int = 0

    def done(self, replies: Sequence[Raw | Reply]) -> None:
        self.replies.append([plain(reply) for reply in replies])

    def flush(self) -> None:
        self.flushes += 1

    def hand_over(self, served: Served, seconds: float, *commands: Sequence[str | int]) -> None:
        """One client's portion."""
        context = CallContext(proto=2, user="default", deadline=trio.current_time() + seconds)
        assert isinstance(served.backend, Queueing)
        assert not served.backend.in_order
        assert served.backend.enqueue([command(*words) for words in commands], context, self.done, self.flush)


async def test_reads_and_writes_are_answered(tikv: Cluster) -> None:
    async with gates(tikv, 1) as (served,):
        told = Told()
        told.hand_over(served, 20, ("SET", "Bank.A:k", 1), ("GET", "Bank.A:k"), ("INCR", "Bank.A:k"))
        await until(lambda: told.replies)
        assert told.replies == [[OK, b"1", 2]]
        for number in range(20):
            told.hand_over(served, 20, ("GET", "Bank.A:k"), ("EXISTS", f"Bank.A:{number}"))
        await until(lambda: len(told.replies) == 21)
        assert told.replies[1:] == [[b"2", 0]] * 20
        assert told.flushes < 15  # not one for each
        told.hand_over(served, 20, ("HGET", "Bank.A:k", "f"))
        await until(lambda: len(told.replies) == 22)
        assert refused(told.replies[-1][0], b"WRONGTYPE")


async def test_a_deadline_is_kept(tikv: Cluster) -> None:
    async with gates(tikv, 1) as (served,):
        await served.do("SET", "Bank.A:n", 1)
        told = Told()
        tikv.faulty.pause_pd()
        told.hand_over(served, 0.2, ("GET", "Bank.A:n"))
        told.hand_over(served, 0.2, ("INCR", "Bank.A:n"), ("INCR", "Bank.A:n"))
        await until(lambda: len(told.replies) == 2)
        assert sorted(map(len, told.replies)) == [1, 2]
        assert all(refused(reply, b"TRYAGAIN") for replies in told.replies for reply in replies)
        tikv.faulty.resume_pd()

        async def answers() -> bool:
            return await served.do("GET", "Bank.A:n") == b"1"

        await until(answers)
        assert await served.do("INCR", "Bank.A:n") == 2
        assert len(told.replies) == 2
        assert told.flushes in (1, 2)


async def test_a_deadline_within_a_commit_leaves_it_in_doubt(tikv: Cluster) -> None:
    async with gates(tikv, 1) as (served,):
        await served.do("SET", "Bank.A:n", 1)
        before = tikv.faulty.struck().get("KvPrewrite delay", 0)
        tikv.faulty.fault("delay", "KvPrewrite", count=1, ms=600, key=record(served, b"Bank.A:n"))
        told = Told()
        told.hand_over(served, 0.3, ("INCR", "Bank.A:n"))
        await until(lambda: told.replies)
        assert tikv.faulty.struck()["KvPrewrite delay"] > before
        assert refused(told.replies[0][0], b"INDOUBT")

        async def committed() -> bool:
            return await served.do("GET", "Bank.A:n") == b"2"

        await until(committed)
        assert len(told.replies) == 1


async def test_who_waits_when_the_backend_ends_is_answered(tikv: Cluster) -> None:
    told = Told()
    async with gates(tikv, 1) as (served,):
        await served.do("SET", "Bank.A:n", 1)
        tikv.faulty.pause_pd()
        told.hand_over(served, 20, ("INCR", "Bank.A:n"))
        told.hand_over(served, 20, ("GET", "Bank.A:n"))
        await trio.testing.wait_all_tasks_blocked()
        ended = backend(served)
    assert len(told.replies) == 2
    assert all(refused(replies[0], b"TRYAGAIN") for replies in told.replies)
    tikv.faulty.resume_pd()
    context = CallContext(proto=2, user="default", deadline=trio.current_time() + 1)
    assert not ended.enqueue([command("SET", "Bank.A:n", 2)], context, told.done, told.flush)


async def test_jobs_that_nobody_waits_for_are_watched(autojump_clock: MockClock) -> None:
    ended: list[object] = []
    late = Error(b"TRYAGAIN late")
    waiting: Waiting[Reply] = Waiting(lambda _: [late])

    def job(seconds: float) -> Job[Reply]:
        made: Job[Reply] = Job(trio.current_time() + seconds, ended.append, lambda: ended.append("flush"))
        waiting.add(made)
        return made

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.run)
        quick, first, second = job(1), job(1), job(1)
        quick.end([OK])
        quick.end([b"again"])
        assert ended == [[OK]]
        await trio.sleep(1 + 2 * LOOK)
        assert ended == [[OK], [late], [late], "flush", "flush"]
        assert (quick.left, first.left, second.left) == (False, True, True)
        first.end([OK])
        assert len(ended) == 5
        last = job(100)
        await trio.sleep(1)
        assert not last.answered
        nursery.cancel_scope.cancel()
    waiting.end()
    assert last.answered


def test_what_is_sent_together_is_flushed_once() -> None:
    told = Told()
    jobs: list[Job[Reply]] = [Job(0.0, told.done, told.flush) for _ in range(3)]
    for job in jobs[:2]:
        job.end([OK])
    flush(jobs)
    assert told.flushes == 1
