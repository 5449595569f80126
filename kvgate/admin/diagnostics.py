"""ROLE and TIME."""

import time
from typing import Final

from kvgate.lane.client import Client
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import Reply


def _role(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """A master without replicas: what lies behind the gate is not the client's concern."""
    del site, client, args, now
    return [b"master", 0, []]


def _time(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Seconds and microseconds, of the gate's own clock."""
    del site, client, args, now
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return [b"%d" % seconds, b"%d" % (nanoseconds // 1000)]


ANSWERS: Final[dict[str, Answer]] = {"ROLE": _role, "TIME": _time}
