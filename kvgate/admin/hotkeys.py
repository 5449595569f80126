"""GATE HOTKEYS: the keys that are used most, over the last minutes, as far as the user may see them."""

import zlib
from typing import Any, Final

import attrs

from kvgate.admin.common import administers, counted_words, parts_of, sees_namespace, user_of
from kvgate.errors import no_perm_key, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.wire.reply import Double, Map, Reply

USUAL: Final = 10
MOST: Final = 1000
LEAST_SENT: Final = 64
"""Keys that a process tells at the least, so that one that is hot over all is not lost among those of each."""


@attrs.define(slots=True)
class _Key:
    """One key over all processes; weights are commands a second."""

    namespace: str
    key: str | int
    rate: float = 0.0
    error: float = 0.0
    reads: float = 0.0
    of_all: float = 0.0
    """Of its namespace."""


def _asked(args: list[bytes]) -> tuple[str, int]:
    """The namespace, empty for all, and the count."""
    words, count = counted_words(args[2:], USUAL, MOST)
    if len(words) > 1:
        raise syntax_error()
    return (words[0].decode("utf-8", "surrogateescape") if words else ""), count


def _sees(user: User, name: str) -> bool:
    """Who administers the gate sees how hot the keys of others' namespaces are, though not what they are called."""
    return sees_namespace(user, name) or administers(user)


def collect(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' hottest keys: ``[[namespace, key, rate, error, reads, rate of the namespace], …]``, rates per second; a
    key that the user may not know is a number, the same in all processes."""
    wanted, count = _asked(args)
    found: list[list[Any]] = []
    for name, sketch in site.hotkeys.sketches():
        if wanted not in ("", name) or not _sees(user, name):
            continue
        sketch.age(now)
        seconds = max(1.0, sketch.seconds(now))
        named = sees_namespace(user, name)
        for key, counter in sketch:
            shown = [counter.count, counter.error, counter.reads, sketch.total]
            found.append([name, key.decode("latin-1") if named else zlib.crc32(key), *(each / seconds for each in shown)])
    found.sort(key=lambda one: -one[2])
    return found[: max(LEAST_SENT, 4 * count)]


def _hotkeys(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE HOTKEYS [namespace] [COUNT n]``: a map for each key, the hottest first."""
    wanted, count = _asked(args)
    if wanted and not _sees(user_of(client), wanted):
        raise no_perm_key()
    keys: dict[tuple[str, str | int], _Key] = {}
    rates: dict[str, float] = {}
    for part in parts_of(site, client, args, now, collect):
        told: dict[str, float] = {}
        for namespace, key, rate, error, reads, of_all in part:
            one = keys.setdefault((namespace, key), _Key(namespace, key))
            one.rate += rate
            one.error += error
            one.reads += reads
            told[namespace] = of_all
        for namespace, of_all in told.items():
            rates[namespace] = rates.get(namespace, 0.0) + of_all
    hottest = sorted(keys.values(), key=lambda one: -one.rate)[:count]
    return [_shown(one, rates[one.namespace]) for one in hottest]


def _shown(one: _Key, of_all: float) -> Reply:
    least = max(one.rate - one.error, 1e-9)
    return Map(
        [
            (b"key", one.key.encode("latin-1") if isinstance(one.key, str) else None),
            (b"namespace", one.namespace.encode("utf-8", "surrogateescape")),
            (b"rate", _number(one.rate, 1)),
            (b"share", _number(one.rate / max(of_all, 1e-9), 4)),
            (b"error", _number(one.error / max(of_all, 1e-9), 4)),
            (b"reads", _number(min(1.0, one.reads / least), 2)),
        ]
    )


def _number(value: float, digits: int) -> Double:
    return Double(f"{value:.{digits}f}".encode())


ANSWERS: Final[dict[str, Answer]] = {"GATE|HOTKEYS": _hotkeys}
PARTS: Final[dict[str, Collect]] = {"GATE|HOTKEYS": collect}
