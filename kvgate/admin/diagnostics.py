"""SLOWLOG, LATENCY, ROLE and TIME, as a Redis answers in whose logs nothing has been noted: the gate keeps none yet."""

import time
from typing import Final

from kvgate.admin.common import bad_arguments, text
from kvgate.commands.keys import integer
from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import OK, Map, Reply, Verbatim

DOCTOR: Final = b"The gate does not note latency events. INFO shows its turns; the stores can be asked one by one.\n"


def _slowlog_get(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, now
    if len(args) > 3:
        raise bad_arguments("SLOWLOG", args[1])
    if len(args) == 3:
        count = integer(args[2])
        if count is None or count < -1:
            raise GateError("ERR count should be greater than or equal to -1")
    return []


def _none(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, args, now
    return []


def _zero(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, args, now
    return 0


def _ok(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, args, now
    return OK


def _doctor(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, args, now
    return Verbatim(DOCTOR)


def _graph(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, now
    raise GateError(f"ERR No samples available for event '{text(args[2])}'")


def _histogram(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, args, now
    return Map([])


def _role(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """A master without replicas: what lies behind the gate is not the client's concern."""
    del site, client, args, now
    return [b"master", 0, []]


def _time(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Seconds and microseconds, of the gate's own clock."""
    del site, client, args, now
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return [b"%d" % seconds, b"%d" % (nanoseconds // 1000)]


ANSWERS: Final[dict[str, Answer]] = {
    "LATENCY|DOCTOR": _doctor,
    "LATENCY|GRAPH": _graph,
    "LATENCY|HISTOGRAM": _histogram,
    "LATENCY|HISTORY": _none,
    "LATENCY|LATEST": _none,
    "LATENCY|RESET": _zero,
    "ROLE": _role,
    "SLOWLOG|GET": _slowlog_get,
    "SLOWLOG|LEN": _zero,
    "SLOWLOG|RESET": _ok,
    "TIME": _time,
}
