"""What commands came to: INFO's commandstats, errorstats and latencystats, and LATENCY HISTOGRAM, in Redis' form.

A user is told of commands on keys of its own namespaces; who sees every namespace also of those without keys (PING, SCAN).
Times are from a command's arrival to its reply's, so that the way to the store and back is in them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kvgate.admin.common import parts_of, sees_namespace
from kvgate.commands.table import by_full_name
from kvgate.lane.client import Client
from kvgate.metrics.totals import PERCENTILES, CommandTotal, Totals, together, totals
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.wire.reply import Map, Reply

Lines = list[tuple[str, str | int]]


def collect(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' part: `kvgate.metrics.totals.Totals` as JSON."""
    del args, now
    return totals(site.ledger, lambda name: sees_namespace(user, name)).to_json()


def counted(site: Site, client: Client, args: list[bytes], now: float) -> Totals:
    """What all processes have counted for this user."""
    return together(parts_of(site, client, args, now, collect))


def commandstats(found: Totals) -> Lines:
    """``cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0``, as Redis writes it."""
    return [(f"cmdstat_{name}", _stat(one)) for name, one in found.commands.items() if one.calls or one.rejected]


def _stat(one: CommandTotal) -> str:
    usec = one.seconds * 1e6
    times = f"usec={int(usec)},usec_per_call={usec / max(1, one.calls):.2f}"
    return f"calls={one.calls},{times},rejected_calls={one.rejected},failed_calls={one.errors}"


def errorstats(found: Totals) -> Lines:
    """``errorstat_WRONGTYPE:count=2``."""
    return [(f"errorstat_{code}", f"count={count}") for code, count in sorted(found.codes.items())]


def latencystats(found: Totals) -> Lines:
    """``latency_percentiles_usec_get:p50=1.003,p99=1.003,p99.9=1.003``."""
    return [
        (
            f"latency_percentiles_usec_{name}",
            ",".join(f"p{percent:g}={one.percentile(percent):.3f}" for percent in PERCENTILES),
        )
        for name, one in found.commands.items()
        if any(one.buckets)
    ]


def _histogram(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """LATENCY HISTOGRAM: for each command the calls, and how many took up to so many microseconds, where that grows."""
    found = counted(site, client, args, now).commands
    shown = [(name, found[name]) for name in _asked(args[2:], found)]
    return Map([(name.encode(), _one(total)) for name, total in shown if any(total.buckets)])


def _asked(words: Sequence[bytes], found: Iterable[str]) -> list[str]:
    """The commands that are meant, as often as they are: all when none is named, a container's subcommands by its name."""
    known = list(found)
    if not words:
        return known
    names: list[str] = []
    for word in words:
        spec = by_full_name(word)
        if spec is not None:
            specs = [spec, *spec.subcommands.values()]
            names += [each.lower for each in specs if each.lower in known]
    return names


def _one(total: CommandTotal) -> Reply:
    pairs: list[tuple[Reply, Reply]] = []
    seen = 0
    for number, count in enumerate(total.buckets):
        if count:
            seen += count
            pairs.append((1 << number, seen))
    return Map([(b"calls", seen), (b"histogram_usec", Map(pairs))])


ANSWERS: Final[dict[str, Answer]] = {"LATENCY|HISTOGRAM": _histogram}
PARTS: Final[dict[str, Collect]] = {"LATENCY|HISTOGRAM": collect}
