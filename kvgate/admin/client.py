"""CLIENT and its subcommands. A user sees, kills, pauses and unblocks its own connections; others' if its rules say so."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from kvgate.admin.client_line import kind, lines, local_address
from kvgate.admin.common import bad_arguments, grants, name_of, printable, session_of, text, user_of, within_reach
from kvgate.admin.connection import checked_name
from kvgate.commands.keys import integer
from kvgate.errors import NOT_AN_INTEGER, GateError, no_perm_command, syntax_error
from kvgate.lane.client import Client
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import OK, Raw, Reply, Verbatim, encode

TYPES: Final = {b"normal": "normal", b"master": "master", b"replica": "replica", b"slave": "replica", b"pubsub": "pubsub"}
NO_SUCH_CLIENT: Final = "ERR No such client"
BAD_TIMEOUT: Final = "ERR timeout is not an integer or out of range"

Chosen = Callable[[Client], bool]


# What a client says of itself.


def _id(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, args, now
    return client.id


def _info(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, args
    return Verbatim(lines((client,), now))


def _getname(site: Site, client: Client, args: list[bytes], now: float) -> Reply | Raw:
    del site, args, now
    session = session_of(client)
    return session.name or encode(None, session.proto)  # a plain None would mean: no reply


def _setname(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, now
    session_of(client).name = checked_name(args[2])
    return OK


def _setinfo(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """Redis 7.2's, which client libraries send when they connect; the texts are its."""
    del site, now
    session, word, value = session_of(client), args[2].upper(), args[3]
    if word not in (b"LIB-NAME", b"LIB-VER"):
        raise GateError(f"ERR Unrecognized option '{text(args[2])}'")
    if not printable(value):
        raise GateError(f"ERR {text(args[2])} cannot contain spaces, newlines or special characters.")
    if word == b"LIB-NAME":
        session.lib_name = value
    else:
        session.lib_ver = value
    return OK


def _reply(site: Site, client: Client, args: list[bytes], now: float) -> Reply | None:
    del now
    mode = args[2].upper()
    if mode not in (b"ON", b"OFF", b"SKIP"):
        raise syntax_error()
    site.reply_mode(client, mode.decode())
    return OK if mode == b"ON" else None


def _no_evict(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, now
    mode = args[2].upper()
    if mode not in (b"ON", b"OFF"):
        raise syntax_error()
    session_of(client).no_evict = mode == b"ON"
    return OK


# What a client sees of others.


def _type(word: bytes) -> str:
    known = TYPES.get(word.lower())
    if known is None:
        raise GateError(f"ERR Unknown client type '{text(word)}'")
    return known


def _list(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    reach, clients = within_reach(client, "CLIENT|LIST"), site.driver.clients
    chosen: Iterable[Client] = clients.values()
    if len(args) > 2:
        option = args[2].upper()
        if option == b"TYPE" and len(args) == 4:
            wanted = _type(args[3])
            chosen = (other for other in clients.values() if kind(other) == wanted)
        elif option == b"ID" and len(args) > 3:
            chosen = [clients[ident] for ident in _ids(args[3:]) if ident in clients]
        else:
            raise syntax_error()
    return Verbatim(lines(filter(reach, chosen), now))


def _ids(words: Sequence[bytes]) -> list[int]:
    """As many as were given, in that order: an id that is given twice is listed twice."""
    found = []
    for word in words:
        ident = integer(word)
        if ident is None:
            raise GateError("ERR Invalid client ID")
        found.append(ident)
    return found


# CLIENT KILL.


@attrs.define(slots=True)
class _Filter:
    """What CLIENT KILL's options say; all of them must hold."""

    conditions: list[Chosen] = attrs.field(factory=list)
    skip_me: bool = True

    def chooses(self, client: Client) -> bool:
        return all(condition(client) for condition in self.conditions)


def _kill(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del now
    reach = within_reach(client, "CLIENT|KILL")
    others = [other for other in site.driver.clients.values() if reach(other)]
    if len(args) == 3:
        address = text(args[2])
        found = next((other for other in others if session_of(other).address == address), None)
        if found is None:
            raise GateError(NO_SUCH_CLIENT)
        _end(site, client, found)
        return OK
    chosen = _filter(site, client, args[2:])
    doomed = [other for other in others if chosen.chooses(other) and not (chosen.skip_me and other is client)]
    for other in doomed:
        _end(site, client, other)
    return len(doomed)


def _end(site: Site, client: Client, other: Client) -> None:
    """The caller itself still gets its reply."""
    if other is client:
        site.hang_up(client)
    else:
        site.kill(other)


def _filter(site: Site, client: Client, options: Sequence[bytes]) -> _Filter:
    found = _Filter()
    for at in range(0, len(options), 2):
        word = options[at].upper()
        if at + 1 == len(options):
            raise syntax_error()
        value = options[at + 1]
        if word == b"SKIPME":
            if value.lower() not in (b"yes", b"no"):
                raise syntax_error()
            found.skip_me = value.lower() == b"yes"
        else:
            found.conditions.append(_condition(site, client, word, value))
    return found


def _condition(site: Site, client: Client, word: bytes, value: bytes) -> Chosen:
    if word == b"ID":
        ident = integer(value)
        if ident is None or ident < 1:
            raise GateError("ERR client-id should be greater than 0")
        return lambda other: other.id == ident
    if word == b"TYPE":
        wanted = _type(value)
        return lambda other: kind(other) == wanted
    if word == b"USER":
        name = _known_user(site, client, value)
        return lambda other: name_of(session_of(other)) == name
    address = text(value)
    if word == b"ADDR":
        return lambda other: session_of(other).address == address
    if word == b"LADDR":
        return lambda other: local_address(other) == address
    raise syntax_error()


def _known_user(site: Site, client: Client, value: bytes) -> str:
    """The user's name. Whom the caller may not touch does not exist for it."""
    name = text(value)
    touchable = name == user_of(client).name or grants(client, "CLIENT|KILL")
    if not touchable or site.configuration.users.get(name) is None:
        raise GateError(f"ERR No such user '{name}'")
    return name


# What stops and wakes others.


def _only_granted(client: Client, name: str) -> None:
    """A pause holds everybody's commands back: the rules must name it."""
    if not grants(client, name):
        raise no_perm_command(name.lower(), user_of(client).name)


def _pause(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    _only_granted(client, "CLIENT|PAUSE")
    if len(args) > 4:
        raise bad_arguments("CLIENT", args[1])
    mode = args[3].upper() if len(args) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise GateError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    milliseconds = integer(args[2])
    if milliseconds is None:
        raise GateError(BAD_TIMEOUT)
    if milliseconds < 0:
        raise GateError("ERR timeout is negative")
    if milliseconds + int(time.time() * 1000) < 2**63:  # else the sum overflows in Redis, and nothing is paused
        site.pause(now + milliseconds / 1000, writes_only=mode == b"WRITE")
    return OK


def _unpause(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del args, now
    _only_granted(client, "CLIENT|UNPAUSE")
    site.unpause()
    return OK


def _unblock(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del now
    if len(args) > 4:
        raise bad_arguments("CLIENT", args[1])
    how = args[3].upper() if len(args) == 4 else b"TIMEOUT"
    if how not in (b"TIMEOUT", b"ERROR"):
        raise GateError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    ident = integer(args[2])
    if ident is None:
        raise GateError(NOT_AN_INTEGER)
    other = site.driver.clients.get(ident)
    if other is None or not within_reach(client, "CLIENT|UNBLOCK")(other):
        return 0
    return int(site.unblock(other, how.decode()))


ANSWERS: Final[dict[str, Answer]] = {
    "CLIENT|GETNAME": _getname,
    "CLIENT|ID": _id,
    "CLIENT|INFO": _info,
    "CLIENT|KILL": _kill,
    "CLIENT|LIST": _list,
    "CLIENT|NO-EVICT": _no_evict,
    "CLIENT|PAUSE": _pause,
    "CLIENT|REPLY": _reply,
    "CLIENT|SETINFO": _setinfo,
    "CLIENT|SETNAME": _setname,
    "CLIENT|UNBLOCK": _unblock,
    "CLIENT|UNPAUSE": _unpause,
}
