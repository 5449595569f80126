"""Many pipelining clients that know what they were told: what was acknowledged, refused, or left in doubt."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis

from tests.faults.world import is_in_doubt, is_try_again
from tests.support.resp import Closed, Resp
from tests.support.servers import Gate, RedisServer, wait_for


class Worker:
    """One client: pipelines of RPUSH (a list of its own), INCR, SET and GET of its own keys, one after the other."""

    def __init__(self, gate: Gate, namespace: str, number: int, depth: int) -> None:
        """Use keys of `namespace` (``A.T``) that contain `number`; `depth` rounds of four commands in each pipeline."""
        self.gate = gate
        self.depth = depth
        self.list, self.counter, self.value = (f"{namespace}:{kind}:{number}" for kind in ("list", "counter", "value"))
        self.acknowledged: list[int] = []
        self.in_doubt: set[int] = set()
        self.refused: set[int] = set()
        self.counted = self.maybe_counted = 0
        self.possible: set[bytes | None] = {None}
        """What the value may be now: more than one after an INDOUBT."""
        self.good = 0
        """Pipelines without any error."""
        self.bad = 0
        self.errors: set[str] = set()
        self.slowest = 0.0
        """Seconds that a pipeline took until its last reply."""
        self.failure: BaseException | None = None
        self.ending = False
        self._sequence = itertools.count()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Connect and go."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the pipeline, end; raises what went wrong in the thread."""
        self.ending = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "a reply is missing"
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            with self.gate.client() as client:
                while not self.ending:
                    self._pipeline(client)
                assert client.cmd("ECHO", self.list) == self.list.encode()  # one reply too many would be read here
        except (Closed, OSError, AssertionError, ValueError, hiredis.HiredisError) as failure:
            self.failure = failure

    def _pipeline(self, client: Resp) -> None:
        numbers = [next(self._sequence) for _ in range(self.depth)]
        commands = [
            command
            for number in numbers
            for command in (
                ("RPUSH", self.list, number),
                ("INCR", self.counter),
                ("SET", self.value, f"{self.value}={number}"),
                ("GET", self.value),
            )
        ]
        start = time.monotonic()
        replies = client.pipeline(commands)
        self.slowest = max(self.slowest, time.monotonic() - start)
        for number, place in zip(numbers, range(0, len(replies), 4), strict=True):
            self._judge(number, replies[place : place + 4])
        errors = [str(reply) for reply in replies if isinstance(reply, hiredis.ReplyError)]
        self.errors.update(errors)
        if errors:
            self.bad += 1
            time.sleep(0.005)  # a client that is refused at once would take the processor from those that it waits for
        else:
            self.good += 1

    def _judge(self, number: int, replies: list[Any]) -> None:
        pushed, counted, stored, read = replies
        if isinstance(pushed, int):
            self.acknowledged.append(number)
        elif is_in_doubt(pushed):
            self.in_doubt.add(number)
        else:
            assert is_try_again(pushed), pushed
            self.refused.add(number)
        if isinstance(counted, int):
            self.counted += 1
            assert self.counted <= counted <= self.counted + self.maybe_counted, counted
        elif is_in_doubt(counted):
            self.maybe_counted += 1
        else:
            assert is_try_again(counted), counted
        value = f"{self.value}={number}".encode()
        if stored == b"OK":
            self.possible = {value}
        elif is_in_doubt(stored):
            self.possible.add(value)
        else:
            assert is_try_again(stored), stored
        assert is_try_again(read) or read in self.possible, (read, self.possible)

    def check(self, server: RedisServer) -> None:
        """Compare what the store holds with what was told: nothing acknowledged is lost, nothing was done twice."""
        found = [int(item) for item in server.cmd("LRANGE", self.list, 0, -1)]
        assert len(found) == len(set(found)), f"pushed twice: {[n for n in found if found.count(n) > 1]}"
        lost = set(self.acknowledged) - set(found)
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        assert not self.refused & set(found), "refused as not executed, and executed"
        assert set(found) <= set(self.acknowledged) | self.in_doubt
        done = set(self.acknowledged)
        assert [number for number in found if number in done] == self.acknowledged, "out of order"
        counter = int(server.cmd("GET", self.counter) or 0)
        assert self.counted <= counter <= self.counted + self.maybe_counted
        assert server.cmd("GET", self.value) in self.possible


class Load:
    """Workers on one namespace."""

    def __init__(self, gate: Gate, namespace: str, clients: int, depth: int = 4) -> None:
        """`clients` workers with `depth` rounds in each pipeline."""
        self.workers = [Worker(gate, namespace, number, depth) for number in range(clients)]

    def flows(self, pipelines: int = 10, timeout: float = 30.0) -> None:
        """Wait until each worker has had so many more pipelines without any error."""
        before = [worker.good for worker in self.workers]
        self._wait(lambda worker, at: worker.good >= before[at] + pipelines, "pipelines without errors", timeout)

    def feels(self, timeout: float = 15.0) -> None:
        """Wait until each worker has had one more pipeline with errors."""
        before = [worker.bad for worker in self.workers]
        self._wait(lambda worker, at: worker.bad > before[at], "errors", timeout)

    def _wait(self, reached: Any, what: str, timeout: float) -> None:
        def all_did() -> bool:
            for worker in self.workers:
                if worker.failure is not None:
                    raise worker.failure
            return all(reached(worker, at) for at, worker in enumerate(self.workers))

        wait_for(all_did, what, timeout)

    @property
    def slowest(self) -> float:
        """Seconds of the slowest pipeline of all."""
        return max(worker.slowest for worker in self.workers)

    @property
    def errors(self) -> set[str]:
        """All texts of errors."""
        return {text for worker in self.workers for text in worker.errors}

    def check(self, server: RedisServer) -> None:
        """See `Worker.check`."""
        for worker in self.workers:
            worker.check(server)


@contextmanager
def load(gate: Gate, namespace: str, clients: int, depth: int = 4) -> Iterator[Load]:
    """Workers that run inside the block; at its end each has read its last reply on the connection it began with."""
    made = Load(gate, namespace, clients, depth)
    for worker in made.workers:
        worker.start()
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.ending = True
    for worker in made.workers:
        worker.stop()
