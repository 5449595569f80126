# What kvgate/lane/_native.c gives to Python; kvgate.lane.native says more.

from collections import deque
from typing import Any

from kvgate.lane.client import Client
from kvgate.lane.driver import Driver, Transport
from kvgate.lane.machine import Lane
from kvgate.lane.slots import PendingRun
from kvgate.lane.upstream import Upstream
from kvgate.metrics.ledger import Account
from kvgate.wire.measure import Measurer

LIMITS: dict[str, int]

def scan(lane: Lane, client: Client, data: bytes, now: float, /) -> None: ...
def fed_by(lane: Lane, up: Upstream, data: bytes, now: float, /) -> None: ...
def answer(lane: Lane, run: PendingRun, raw: bytes, now: float, /) -> None: ...
def give(
    lane: Lane, client: Client, account: Account, raw: bytes, count: int, misses: int, size: int, seconds: float, /
) -> None: ...
def serve(driver: Driver, transports: dict[int, Transport], events: deque[tuple[int, int]], until: float, /) -> bool: ...
def rounds(
    driver: Driver,
    lane: Lane,
    transports: dict[int, Transport],
    later: deque[tuple[int, int]],
    epoll: int,
    until: float,
    most: int,
    /,
) -> bool: ...
def follow(measurer: Measurer, data: bytes, pos: int, /) -> int: ...
def measure(data: bytes, pos: int, /) -> int: ...
def flush(driver: Driver, lane: Lane, /) -> None: ...
def bind(*args: Any) -> None: ...
def bind_transport(cls: type[Transport], /) -> None: ...
