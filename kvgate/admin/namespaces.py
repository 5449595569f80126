"""GATE NAMESPACES: what the commands of each namespace came to since the start, as far as a user may see it."""

from typing import Any, Final

import attrs

from kvgate.admin.common import administers, counted_words, parts_of, sees_namespace, user_of
from kvgate.errors import no_perm_key, syntax_error
from kvgate.lane.client import Client
from kvgate.metrics.ledger import BUCKETS
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.wire.reply import Map, Reply

USUAL: Final = 100
MOST: Final = 10_000
LEAST_SENT: Final = 256
"""Namespaces that a process tells at the least: one that is busy over all must not be lost among those of each."""


@attrs.define(slots=True)
class _Sum:
    """One namespace; of one process or of all."""

    calls: int = 0
    errors: int = 0
    refused: int = 0
    misses: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    buckets: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)

    def add(self, more: "_Sum") -> None:
        """Add another one."""
        for name in ("calls", "errors", "refused", "misses", "bytes_in", "bytes_out", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, more.buckets, strict=True)]


def _asked(args: list[bytes]) -> tuple[str, int]:
    """The namespace, empty for all, and the count."""
    words, count = counted_words(args[2:], USUAL, MOST)
    if len(words) > 1:
        raise syntax_error()
    return (words[0].decode("utf-8", "surrogateescape") if words else ""), count


def _sees(user: User, name: str) -> bool:
    """Who administers the gate sees the figures of all; what is about no key is everybody's, so only theirs."""
    return administers(user) or sees_namespace(user, name)


def collect(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' part: name → the fields of a `_Sum`, of the namespaces with the most calls."""
    del now
    wanted, count = _asked(args)
    found: dict[str, _Sum] = {}
    seen: dict[str, bool] = {}

    def shown(name: str) -> bool:
        if name not in seen:
            seen[name] = wanted in ("", name) and _sees(user, name)
        return seen[name]

    for account in site.ledger.accounts():
        if not shown(account.namespace):
            continue
        one = found.setdefault(account.namespace, _Sum())
        one.calls += account.calls
        one.errors += account.errors
        one.misses += account.misses
        one.bytes_in += account.bytes_in
        one.bytes_out += account.bytes_out
        one.seconds += account.seconds
        one.buckets = [mine + more for mine, more in zip(one.buckets, account.buckets, strict=True)]
    for (namespace, _), times in list(site.ledger.refusals.items()):
        if shown(namespace):
            found.setdefault(namespace, _Sum()).refused += times
    most = max(LEAST_SENT, 4 * count)
    busiest = sorted(found, key=lambda name: -found[name].calls)[:most]
    return {name: attrs.asdict(found[name]) for name in busiest}


def _namespaces(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE NAMESPACES [namespace] [COUNT n]``: a map for each, those with the most calls first."""
    wanted, count = _asked(args)
    if wanted and not _sees(user_of(client), wanted):
        raise no_perm_key()
    found: dict[str, _Sum] = {}
    for part in parts_of(site, client, args, now, collect):
        for name, fields in part.items():
            found.setdefault(name, _Sum()).add(_Sum(**fields))
    busiest = sorted(found, key=lambda name: -found[name].calls)[:count]
    return [_shown(name, found[name]) for name in busiest]


def _shown(name: str, one: _Sum) -> Reply:
    """The buckets as in LATENCY HISTOGRAM: how many took up to so many microseconds, where that grows."""
    grown: list[tuple[Reply, Reply]] = []
    seen = 0
    for number, count in enumerate(one.buckets):
        if count:
            seen += count
            grown.append((1 << number, seen))
    return Map(
        [
            (b"namespace", name.encode("utf-8", "surrogateescape")),
            (b"calls", one.calls),
            (b"errors", one.errors),
            (b"refused", one.refused),
            (b"misses", one.misses),
            (b"bytes_in", one.bytes_in),
            (b"bytes_out", one.bytes_out),
            (b"usec", int(one.seconds * 1e6)),
            (b"histogram_usec", Map(grown)),
        ]
    )


ANSWERS: Final[dict[str, Answer]] = {"GATE|NAMESPACES": _namespaces}
PARTS: Final[dict[str, Collect]] = {"GATE|NAMESPACES": collect}
