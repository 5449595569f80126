"""ACL WHOAMI, CAT and GENPASS. Users are kept in the gate's configuration: what would change them is refused by the table."""

import secrets
from typing import Final

from kvgate.admin.common import bad_arguments, text, user_of
from kvgate.commands.keys import integer
from kvgate.commands.table import CATEGORIES, every_command
from kvgate.errors import NOT_AN_INTEGER, GateError
from kvgate.lane.client import Client
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import Reply

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


ANSWERS: Final[dict[str, Answer]] = {"ACL|CAT": _cat, "ACL|GENPASS": _genpass, "ACL|WHOAMI": _whoami}
