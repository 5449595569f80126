"""GATE and its subcommands: what only the gate can tell and do."""

from typing import Final

import attrs

from kvgate.admin.common import session_of, user_of
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import by_full_name, lookup
from kvgate.errors import no_perm_key, syntax_error, unknown_command
from kvgate.lane.client import Client
from kvgate.routing.explain import explain, refused_commands
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import Map, Reply


def _route(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE ROUTE key [command [subcommand]]``: a map of names and texts; with a command also why it would be refused,
    without one which commands would be, and why.

    A namespace that the user does not see is answered with NOPERM, as a command on the key would be.
    """
    del now
    user, home, key = user_of(client), session_of(client).home, args[2]
    if home is not None:
        key = home.prefix + key
    spec = _named(args[3:]) if len(args) > 3 else None
    namespaces = site.configuration.namespaces
    namespace = namespaces.of(key)
    if namespace is not None and not user.sees(namespace):
        raise no_perm_key()
    explanation = explain(key, namespaces, site.backends, user, spec)
    pairs = attrs.evolve(explanation, key=args[2]).pairs()  # as the client writes it
    if namespace is not None and spec is None:
        refused = refused_commands(namespace, site.backends[namespace.backend], user)
        pairs += [(f"refused: {reason}", ", ".join(names)) for reason, names in refused.items()]
    return Map([(_bytes(name), _bytes(shown)) for name, shown in pairs])


def _named(words: list[bytes]) -> CommandSpec:
    """``GET``, ``CONFIG GET``, ``config|get``."""
    if len(words) > 2:
        raise syntax_error()
    spec = by_full_name(words[0]) if len(words) == 1 else lookup(words)
    if spec is None or (len(words) == 2 and not spec.name.count("|")):
        raise unknown_command(words)
    return spec


def _bytes(shown: str) -> bytes:
    return shown.encode("utf-8", "surrogateescape")


ANSWERS: Final[dict[str, Answer]] = {"GATE|ROUTE": _route}
