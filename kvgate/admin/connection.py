"""Commands on the client's own connection: PING, ECHO, QUIT, RESET, SELECT, AUTH, HELLO."""

import logging
from collections.abc import Sequence
from typing import Final

from kvgate.admin.common import REDIS_VERSION, is_subscribed, printable, session_of, text
from kvgate.commands.keys import integer
from kvgate.errors import NO_PROTO, NOT_AN_INTEGER, GateError, syntax_error, wrong_arity
from kvgate.lane.client import Client
from kvgate.policy.users import DEFAULT_USER, WrongPasswordError
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import OK, Map, Raw, Reply, Simple, encode

log = logging.getLogger("kvgate.admin")

PONG: Final = Simple(b"PONG")
BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."
BEYOND_INT: Final = "ERR value is out of range, value must between -2147483648 and 2147483647"
BAD_VERSION: Final = "ERR Protocol version is not an integer or out of range"
HELLO_NO_AUTH: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option"
    " can be used to authenticate the client and select the RESP protocol version at the same time"
)
"""Redis 7.0's; 7.2 has ``HELLO <proto> AUTH``."""


def _ping(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, now
    if len(args) > 2:
        raise wrong_arity("ping")
    session = session_of(client)
    if is_subscribed(session) and session.proto == 2:
        return [b"pong", args[1] if len(args) == 2 else b""]  # there a reply must look like a message
    return args[1] if len(args) == 2 else PONG


def _echo(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, now
    return args[1]


def _quit(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del args, now
    site.hang_up(client)
    return OK


def _reset(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del args, now
    site.reset(client)
    return Simple(b"RESET")


def _select(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del now
    number = integer(args[1])
    if number is None:
        raise GateError(NOT_AN_INTEGER)
    if not -(2**31) <= number < 2**31:
        raise GateError(BEYOND_INT)
    site.select(client, number)
    return OK


def _log_in(site: Site, client: Client, name: bytes | None, password: bytes, now: float) -> None:
    """Make the client the user that it says it is.

    Raises:
        GateError: as `Users.authenticate`; the client stays who it was. And so NeedsHashing.
    """
    session = session_of(client)
    try:
        user = site.configuration.users.authenticate(name, password, session.host, now)
    except WrongPasswordError as error:
        log_wrong_password(site, client, DEFAULT_USER if name is None else name.decode("utf-8", "surrogateescape"), error)
        raise
    site.become(client, user)


def log_wrong_password(site: Site, client: Client, name: str, error: WrongPasswordError) -> None:
    """Note a failed AUTH. An unknown name is not logged: it may be a password in the wrong place."""
    session = session_of(client)
    who = name if site.configuration.users.get(name) is not None else ""
    log.info("wrong_password", extra={"client": client.id, "peer": session.address, "user": who, "why": error.why})


def _auth(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    if len(args) > 3:
        raise syntax_error()
    _log_in(site, client, args[1] if len(args) == 3 else None, args[-1], now)
    return OK


def checked_name(name: bytes) -> bytes:
    """A client's name; empty takes it away.

    Raises:
        GateError: it would break the lines of CLIENT LIST.
    """
    if not printable(name):
        raise GateError(BAD_NAME)
    return name


def _options(site: Site, client: Client, options: Sequence[bytes], now: float) -> None:
    """HELLO's options, each carried out as it is met: as in Redis an error keeps what came before it."""
    at = 0
    while at < len(options):
        word, left = options[at].upper(), len(options) - at - 1
        if word == b"AUTH" and left >= 2:
            _log_in(site, client, options[at + 1], options[at + 2], now)
            at += 3
        elif word == b"SETNAME" and left:
            session_of(client).name = checked_name(options[at + 1])
            at += 2
        else:
            raise GateError(f"ERR Syntax error in HELLO option '{text(options[at])}'")


def _hello(site: Site, client: Client, args: list[bytes], now: float) -> Raw:
    session = session_of(client)
    proto = session.proto
    if len(args) > 1:
        version = integer(args[1])
        if version is None:
            raise GateError(BAD_VERSION)
        if version not in (2, 3):
            raise GateError(NO_PROTO)
        proto = version
        _options(site, client, args[2:], now)
    if session.user is None:
        raise GateError(HELLO_NO_AUTH)
    if proto != session.proto:
        site.become(client, session.user, proto=proto)
    return encode(_about(client, proto), proto)


def _about(client: Client, proto: int) -> Reply:
    return Map(
        [
            (b"server", b"redis"),
            (b"version", REDIS_VERSION),
            (b"proto", proto),
            (b"id", client.id),
            (b"mode", b"standalone"),
            (b"role", b"master"),
            (b"modules", []),
        ]
    )


ANSWERS: Final[dict[str, Answer]] = {
    "AUTH": _auth,
    "ECHO": _echo,
    "HELLO": _hello,
    "PING": _ping,
    "QUIT": _quit,
    "RESET": _reset,
    "SELECT": _select,
}
