"""SLOWLOG in Redis' form, and GATE SLOWLOG, which tells more of each entry.

A user sees commands on keys of its own namespaces, whoever sent them, and its own commands that are about no key; who sees
every namespace sees all. Of others' commands only who may list others' connections is told whose they were. (SLOWLOG GET has
Redis' six elements and no more: some clients, go-redis 9 among them, read the next reply from what would follow.)
"""

from collections.abc import Sequence
from typing import Any, Final

from kvgate.admin.common import bad_arguments, counted_words, parts_of, sees_namespace, user_of
from kvgate.commands.keys import integer
from kvgate.commands.table import by_full_name
from kvgate.errors import GateError, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.server.slowlog import EVERYTHING, Entry
from kvgate.wire.reply import OK, Map, Reply

USUAL: Final = 10
"""Entries that are shown when nobody says how many, as in Redis."""
MOST: Final = 2**31 - 1
SCRIPTS: Final = (b"EVAL", b"FCALL")
HIDDEN: Final = b"(arguments of another user's script)"
BAD_COUNT: Final = "ERR count should be greater than or equal to -1"


def visible(user: User, entry: Entry) -> bool:
    """Whether the user may see the entry."""
    if user.sees_all:
        return True
    known = [name for name in entry.namespaces if name != EVERYTHING]
    if len(known) < max(1, len(entry.namespaces)) and entry.user != user.name:
        return False
    return all(sees_namespace(user, name) for name in known)


def _count(args: Sequence[bytes]) -> int:
    """How many SLOWLOG GET asks for."""
    if len(args) > 3:
        raise bad_arguments("SLOWLOG", args[1])
    if len(args) < 3:
        return USUAL
    count = integer(args[2])
    if count is None or count < -1:
        raise GateError(BAD_COUNT)
    return MOST if count == -1 else count


def _newest(site: Site, user: User, count: int) -> list[list[Any]]:
    """The newest entries as JSON, the newest first."""
    spec = by_full_name(b"CLIENT|LIST")
    all_clients = spec is not None and user.granted(spec)
    found: list[list[Any]] = []
    for entry in reversed(site.slowlog.entries):
        if len(found) >= count:
            break
        if visible(user, entry):
            whose = [entry.address, entry.name.decode("latin-1"), entry.user]
            if not all_clients and entry.user != user.name:
                whose = ["", "", ""]
            words = entry.args if user.sees_all or entry.user == user.name else _without_scripts(entry.args)
            args = [arg.decode("latin-1") for arg in words]
            more = [list(entry.namespaces), entry.upstream, entry.queued, entry.more]
            found.append([entry.time, entry.id, entry.usec, args, *whose, *more])
    return found


def _without_scripts(args: Sequence[bytes]) -> Sequence[bytes]:
    """Another user's command: what a script is told and does may be about more than its keys."""
    if args[0].upper().startswith(SCRIPTS):
        return [args[0], HIDDEN]
    if args[0].upper() == b"EXEC":
        return [line.split(b" ")[0] + b" " + HIDDEN if line.upper().startswith(SCRIPTS) else line for line in args]
    return args


def collect(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' entries for SLOWLOG GET."""
    del now
    return _newest(site, user, _count(args))


def collect_more(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """Likewise for GATE SLOWLOG."""
    del now
    return _newest(site, user, counted_words(args[2:], USUAL, MOST)[1])


def _together(parts: Sequence[Any], count: int) -> list[list[Any]]:
    entries: list[list[Any]] = [entry for part in parts for entry in part]
    entries.sort(key=lambda entry: (entry[0], entry[1]), reverse=True)
    return entries[:count]


def _get(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    entries = _together(parts_of(site, client, args, now, collect), _count(args))
    return [
        [ident, at, usec, [_bytes(arg) for arg in words], _text(address), _bytes(name)]
        for at, ident, usec, words, address, name, *_ in entries
    ]


def _more(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE SLOWLOG [COUNT n]``: a map for each entry, the newest first."""
    words, count = counted_words(args[2:], USUAL, MOST)
    if words:
        raise syntax_error()
    return [_map(*entry) for entry in _together(parts_of(site, client, args, now, collect_more), count)]


def _map(
    at: int,
    ident: int,
    usec: int,
    words: list[str],
    address: str,
    name: str,
    user: str,
    namespaces: list[str],
    upstream: str,
    queued: int | None,
    more: int,
) -> Reply:
    shown = ",".join("other" if each == EVERYTHING else each for each in namespaces)
    return Map(
        [
            (b"id", ident),
            (b"time", at),
            (b"usec", usec),
            (b"queued_usec", queued),
            (b"store_usec", None if queued is None else usec - queued),
            (b"command", [_bytes(word) for word in words]),
            (b"more", more),
            (b"namespace", _text(shown)),
            (b"upstream", _text(upstream)),
            (b"user", _text(user)),
            (b"address", _text(address)),
            (b"name", _bytes(name)),
        ]
    )


def _bytes(shown: str) -> bytes:
    return shown.encode("latin-1")


def _text(shown: str) -> bytes:
    return shown.encode("utf-8", "surrogateescape")


def _len(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Of the entries that the user may see."""
    del args, now
    user = user_of(client)
    return sum(visible(user, entry) for entry in site.slowlog.entries)


def _reset(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Forgets the entries that the user may see."""
    del args, now
    user = user_of(client)
    site.slowlog.reset(lambda entry: visible(user, entry))
    return OK


ANSWERS: Final[dict[str, Answer]] = {
    "GATE|SLOWLOG": _more,
    "SLOWLOG|GET": _get,
    "SLOWLOG|LEN": _len,
    "SLOWLOG|RESET": _reset,
}
PARTS: Final[dict[str, Collect]] = {"GATE|SLOWLOG": collect_more, "SLOWLOG|GET": collect}
