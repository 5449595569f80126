"""What a server holds that a search would destroy, so that it is refused before anything is written."""

import re
from typing import Final

from kvgate_compat.connection import Connection

_DATABASE: Final = re.compile(rb"^db(\d+):keys=(\d+)", re.MULTILINE)
"""A line of ``INFO keyspace``."""
_TRIED: Final = 16
"""Databases that are asked one by one, too, since INFO may be refused: Redis' default number."""


def holdings(url: str) -> str:
    """What would be lost: ``keys``, ``keys in database 3`` or ``functions``; empty when nothing would.

    FLUSHALL empties every database of a Redis, and every one of a user at home, not only the one that a connection is in.

    Raises:
        Ended: it does not answer, or refuses DBSIZE.
        OSError: it cannot be reached.
    """
    side = Connection(url)
    try:
        if side.expect_ok("DBSIZE").text != b"0" or side.ask([b"RANDOMKEY"]).kind == b"$":  # KvRocks counts now and then only
            return "keys"
        for number, keys in _DATABASE.findall(side.ask([b"INFO", b"keyspace"]).text):
            if keys != b"0":
                return f"keys in database {int(number)}"
        listed = side.ask([b"FUNCTION", b"LIST"])
        if listed.kind == b"*" and listed.items:
            return "functions"
        for database in range(1, _TRIED):
            if side.ask([b"SELECT", b"%d" % database]).kind == b"-":
                break
            if side.expect_ok("DBSIZE").text != b"0":
                return f"keys in database {database}"
    finally:
        side.close()
    return ""
