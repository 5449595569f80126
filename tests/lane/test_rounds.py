"""Several looks at the sockets in one turn: when they end."""

import math
from contextlib import ExitStack, suppress

from tests.lane.test_ahead import Bench
from tests.support.resp import frame


def test_a_client_that_is_not_read_keeps_no_turn_busy() -> None:
    """What it has not read is no reason to look at the others' sockets again and again."""
    with ExitStack() as stack:
        bench = Bench(stack)
        driver = bench.driver
        driver.limits.out_pause = 10_000
        other, slow = bench.connect(), bench.connect()
        while not driver._paused:
            with suppress(BlockingIOError):
                slow.send(frame("ECHO", "x" * 4000))
            driver._round(math.inf)
        other.send(frame("ECHO", "x"))
        looks = 1
        while driver._rounds(math.inf):
            looks += 1
            assert looks < 10, "nobody is ready"
        assert other.recv(1000) == b"$6\r\nECHO x\r\n"
