"""ACL: what the user is and may do, categories, GENPASS. Users are kept in the gate's configuration: what would change them is
refused by the table.

A user is described in the words of Redis' ACL. ``~Ads.Profile:*`` is a namespace to read and write, ``%R~…`` one to read only
(which counts, whatever else covers it), ``~default`` the keys of no named one. ``#hidden`` stands for the hashes of passwords.
"""

import secrets
from typing import Final

from kvgate.admin.common import bad_arguments, grants, session_of, text, user_of
from kvgate.commands.home import Home
from kvgate.commands.keys import channel_patterns, channels, hidden_patterns, integer, key_indices, written_keys
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import CATEGORIES, every_command, resolve
from kvgate.errors import NOT_AN_INTEGER, GateError, no_perm_command, refused
from kvgate.lane.client import Client
from kvgate.policy.users import User
from kvgate.routing.namespaces import DEFAULT, Namespace, Namespaces
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import OK, Map, Reply, SetOf
from kvgate.wire.request import encode_request

MOST_BITS: Final = 4096
BAD_BITS: Final = (
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
)


def _whoami(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, args, now
    return user_of(client).name.encode("utf-8", "surrogateescape")


def _cat(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """All categories, or the commands in one, in the table's order (Redis' own is that of its hash table)."""
    del site, client, now
    if len(args) > 3:
        raise bad_arguments("ACL", args[1])
    if len(args) == 2:
        return [category[1:].encode() for category in CATEGORIES]
    category = "@" + text(args[2]).lower()
    if category not in CATEGORIES:
        raise GateError(f"ERR Unknown category '{text(args[2], 128)}'")
    return [spec.lower.encode() for spec in every_command() if category in spec.categories]


def _genpass(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, client, now
    if len(args) > 3:
        raise bad_arguments("ACL", args[1])
    bits: int | None = 256
    if len(args) == 3:
        bits = integer(args[2])
    if bits is None:
        raise GateError(NOT_AN_INTEGER)
    if not 0 < bits <= MOST_BITS:
        raise GateError(BAD_BITS)
    digits = (bits + 3) // 4
    return secrets.token_hex((digits + 1) // 2)[:digits].encode()


def _bytes(shown: str) -> bytes:
    return shown.encode("utf-8", "surrogateescape")


def _pattern(grant: str) -> str:
    """``Ads.*`` → ``Ads.*:*``: Redis' glob for the keys of what is granted."""
    return grant if grant in ("*", DEFAULT) else f"{grant}:*"


def _keys(user: User) -> str:
    """Redis' selectors of keys."""
    writable = [f"~{_pattern(each)}" for each in user.namespaces if each not in user.read_only]
    return " ".join([*writable, *(f"%R~{_pattern(each)}" for each in user.read_only)])


def _channels(user: User) -> str:
    """Redis' selectors of channels: those of the same namespaces."""
    return " ".join(f"&{_pattern(each)}" for each in dict.fromkeys(user.namespaces + user.read_only))


def _commands(user: User) -> str:
    return " ".join(user.commands) or "-@all"


def _line(user: User) -> str:
    secret = ["nopass"] if user.open else ["#hidden"] if user.has_password else []
    listens = _channels(user)
    limits = ["resetchannels"] if "&*" not in listens.split() else []
    return " ".join(filter(None, ["user", user.name, "on", *secret, _keys(user), *limits, listens, _commands(user)]))


def _list(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, args, now
    return [_bytes(_line(user_of(client)))]


def _users(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, args, now
    return [_bytes(user_of(client).name)]


def _getuser(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    del site, now
    user = user_of(client)
    if args[2] != _bytes(user.name):
        raise no_perm_command("acl|getuser", user.name)
    flags: list[Reply] = [b"on", *([b"nopass"] if user.open else [])]
    return Map(
        [
            (b"flags", SetOf(flags)),
            (b"passwords", [b"hidden"] if user.has_password else []),
            (b"commands", _bytes(_commands(user))),
            (b"keys", _bytes(_keys(user))),
            (b"channels", _bytes(_channels(user))),
            (b"selectors", []),
        ]
    )


def _dryrun(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """OK, or why the user may not run a command: Redis' texts in a bulk string, the gate's own where the gate refuses it."""
    del now
    asking, asked = user_of(client), args[2].decode("utf-8", "surrogateescape")
    if asked != asking.name and not grants(client, "ACL|DRYRUN"):
        raise no_perm_command("acl|dryrun", asking.name)
    user = site.configuration.users.get(asked)
    if user is None:
        raise GateError(f"ERR User '{text(args[2])}' not found")
    request = args[3:]
    try:
        spec = resolve(request)
    except GateError as error:
        if "wrong number of arguments" in error.text:
            raise
        raise GateError(f"ERR Command '{text(request[0])}' not found") from None
    home = session_of(client).home
    if asked != asking.name:
        home = Home(f"{user.databases[0]}:".encode("utf-8", "surrogateescape"), 0) if user.databases else None
    try:
        whole = request if home is None else [*home.request(spec, request, encode_request(request))[0]]
        why = _denied(user, site.configuration.namespaces, spec, whole, request)
    except GateError as error:  # its keys cannot be told
        why = error.text
    return OK if why is None else _bytes(why)


def _denied(user: User, namespaces: Namespaces, spec: CommandSpec, request: list[bytes], said: list[bytes]) -> str | None:
    """Why the user's rights do not allow a request; None when they do. `said` is what the client wrote, where `request` has
    whole keys.

    Raises:
        GateError: see kvgate.commands.keys.key_indices.
    """
    if not user.allows(spec):
        return f"This user has no permissions to run the '{spec.lower}' command"
    if spec.action is Action.REFUSE:
        return refused(spec.lower, spec.why).text
    written = written_keys(spec, request)
    for at in key_indices(spec, request):
        if not _may(user, namespaces.of(request[at]), write=at in written):
            return f"This user has no permissions to access the '{text(said[at])}' key"
    for at in hidden_patterns(spec, request):
        reached = namespaces.of_beginning(request[at].partition(b"*")[0])
        if not reached or not all(_may(user, each) for each in reached):
            return f"This user has no permissions to access the '{text(said[at])}' key"
    found = [(at, namespaces.of_channel(request[at])) for at in channels(spec, request)]
    if said is request:  # at home patterns, too, are about the one namespace
        found += [(at, space) for at in channel_patterns(spec, request) if (space := namespaces.of_pattern(request[at]))]
    for at, namespace in found:
        if not _may(user, namespace, write=spec.name in ("PUBLISH", "SPUBLISH")):
            return f"This user has no permissions to access the '{text(said[at])}' channel"
    return None


def _may(user: User, namespace: Namespace | None, *, write: bool = False) -> bool:
    return namespace is not None and (user.writes(namespace) if write else user.sees(namespace))


ANSWERS: Final[dict[str, Answer]] = {
    "ACL|CAT": _cat,
    "ACL|DRYRUN": _dryrun,
    "ACL|GENPASS": _genpass,
    "ACL|GETUSER": _getuser,
    "ACL|LIST": _list,
    "ACL|USERS": _users,
    "ACL|WHOAMI": _whoami,
}
