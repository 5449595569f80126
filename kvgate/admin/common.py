"""What several of the gate's own commands need: who asks, what is shown of a client's bytes, Redis' words for arguments."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from kvgate.backend import Backend
from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import by_full_name
from kvgate.errors import NO_AUTH, NOT_AN_INTEGER, GateError, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.rules import CommandRules
from kvgate.policy.users import DEFAULT_USER, User
from kvgate.routing.views import visible_rules
from kvgate.server.session import Session
from kvgate.server.site import Collect, Site

REDIS_VERSION: Final = b"7.0.15"
"""The version whose behaviour the gate has; clients choose by it what they dare to send."""


def session_of(client: Client) -> Session:
    """The client's session; the lane keeps it as it is given."""
    session: Session = client.session
    return session


def user_of(client: Client) -> User:
    """Who asks.

    Raises:
        GateError: ``NOAUTH`` when the client has not said who it is.
    """
    user = session_of(client).user
    if user is None:
        raise GateError(NO_AUTH)
    return user


def name_of(session: Session) -> str:
    """The user's name; of a client that has to authenticate first it is Redis' ``default``."""
    return DEFAULT_USER if session.user is None else session.user.name


def is_subscribed(session: Session) -> bool:
    """Whether it gets messages of channels; MONITOR, which is fed in the same way, is no subscription."""
    return session.subscriptions is not None and not session.subscriptions.monitor


def grants(client: Client, name: str) -> bool:
    """Whether the user's rules give the command ``CLIENT|LIST`` beyond the user's own connections."""
    spec = by_full_name(name.encode())
    assert spec is not None, name  # noqa: S101 - a name written in this package
    return user_of(client).granted(spec)


def within_reach(client: Client, name: str) -> Callable[[Client], bool]:
    """Whether the command `name` of this client may touch another one: any, or only those of the same user.

    A user is its name here: after a reload the same account is another object.
    """
    own = user_of(client).name
    if grants(client, name):
        return lambda _other: True
    return lambda other: session_of(other).user is not None and name_of(session_of(other)) == own


@attrs.frozen(slots=True)
class _Name:
    """A namespace, as far as users care."""

    name: str


def sees_namespace(user: User, name: str) -> bool:
    """Whether the user sees the namespace of that name; what is about no key (an empty name) only who sees all of them."""
    return user.sees_all or (bool(name) and user.sees(_Name(name)))


def administers(user: User) -> bool:
    """Whether the rules grant what administers the gate: GATE RELOAD, and with it all that is @admin."""
    spec = by_full_name(b"GATE|RELOAD")
    return spec is not None and user.granted(spec)


def parts_of(site: Site, client: Client, args: list[bytes], now: float, collect: Collect) -> Sequence[Any]:
    """What every process tells for the present command, this one first."""
    return [collect(site, user_of(client), args, now)] if site.parts is None else site.parts


def counted_words(words: Sequence[bytes], usual: int, most: int) -> tuple[list[bytes], int]:
    """The words without ``COUNT n``, and n: `usual` when it is not there, `most` when it is more.

    Raises:
        GateError: Redis' words for what is no positive number, or is missing.
    """
    rest: list[bytes] = []
    count, at = usual, 0
    while at < len(words):
        if words[at].upper() != b"COUNT":
            rest.append(words[at])
            at += 1
            continue
        if at + 1 == len(words):
            raise syntax_error()
        number = integer(words[at + 1])
        if number is None or number < 1:
            raise GateError(NOT_AN_INTEGER)
        count = min(number, most)
        at += 2
    return rest, count


def visible_backends(site: Site, user: User) -> list[Backend]:
    """The backends of which the user may know, in the configuration's order."""
    namespaces = site.configuration.namespaces
    return [
        backend
        for name, backend in site.backends.items()
        if user.sees_all or visible_rules(user, namespaces, name)
    ]


def may_know(rules: CommandRules) -> Callable[[CommandSpec], bool]:
    """Which commands COMMAND shows a user with these rules: those it may run, and containers of any of them."""

    def allowed(spec: CommandSpec) -> bool:
        return rules.allows(spec) or any(rules.allows(sub) for sub in spec.subcommands.values())

    return allowed


def text(data: bytes, limit: int | None = None) -> str:
    """A client's bytes as Redis prints them into an error: up to the first NUL, and at most `limit` of them."""
    return data[:limit].partition(b"\0")[0].decode("utf-8", "surrogateescape")


def printable(data: bytes) -> bool:
    """Whether it may be a client's name: no blanks, no control characters, no bytes beyond ASCII."""
    return all(0x21 <= byte <= 0x7E for byte in data)


def bad_arguments(container: str, sub: bytes) -> GateError:
    """Redis' answer to a subcommand with too many arguments; `container` in upper case, `sub` as the client wrote it."""
    return GateError(f"ERR unknown subcommand or wrong number of arguments for '{text(sub, 128)}'. Try {container} HELP.")
