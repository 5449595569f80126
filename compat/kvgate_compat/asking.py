"""What is asked beside the steps of an example, to know whether and how a step can be said."""

import time
from collections.abc import Sequence
from typing import Final

from kvgate_compat.connection import Connection, Node
from kvgate_compat.readings import read
from kvgate_compat.waiting import waits_for
from kvgate_compat.words import Request, by_lex

LCS_LIMIT: Final = 2_000_000
"""Cells of the table that LCS makes: beyond, Redis itself computes for seconds."""


def now(sides: Sequence[Connection]) -> int:
    """The servers' time in milliseconds: the later one; this machine's when they do not tell. Raises Ended."""
    times = [side.ask([b"TIME"]).items for side in sides]
    told = [int(each[0].text) * 1000 + int(each[1].text) // 1000 for each in times if len(each) == 2]
    return max(told, default=int(time.time() * 1000))


def exists(side: Connection, key: bytes) -> bool:
    """Whether there is such a key. Raises Ended."""
    return side.ask([b"EXISTS", key]).text == b"1"


def sweep(sides: Sequence[Connection]) -> None:
    """Walk over all keys: Redis counts those that have expired until somebody comes by. Raises Ended."""
    for side in sides:
        read("SCAN", side.ask, [b"SCAN", b"0"], side.ask([b"SCAN", b"0"]))


def would_wait(side: Connection, request: Request) -> bool:
    """Whether it is a blocking command that would keep the search waiting. Raises Ended."""
    keys = waits_for(request)
    return bool(keys) and side.ask([b"EXISTS", *keys]).text == b"0"


def is_too_long(side: Connection, request: Request) -> bool:
    """Whether it is an LCS of two strings that are too long for it. Raises Ended."""
    if request.name != "LCS":
        return False
    keys = [arg for arg in request.args[1:3] if isinstance(arg, bytes)]
    replies = side.pipeline([[b"STRLEN", key] for key in keys])
    sizes = [int(reply.text) for reply in replies if reply.kind == b":"]
    return len(sizes) == 2 and sizes[0] * sizes[1] > LCS_LIMIT


def is_unspecified(side: Connection, request: Request) -> bool:
    """Whether it asks for a range of names in a sorted set whose scores differ, which Redis says nothing about: in a large one
    (a skip list) what is found hangs on chance. Raises Ended."""
    keys = [arg for arg in request.args[1:3] if isinstance(arg, bytes)] if by_lex(request) else []
    for key in keys:
        asked = [[b"OBJECT", b"ENCODING", key], *([b"ZRANGE", key, end, end, b"WITHSCORES"] for end in (b"0", b"-1"))]
        encoding, *ends = side.pipeline(asked)
        if encoding.text == b"skiplist" and len({_score(end) for end in ends}) > 1:
            return True
    return False


def _score(reply: Node) -> bytes:
    """Of the one pair in the reply: flat in RESP2."""
    last = reply.items[-1]
    return last.items[-1].text if last.items else last.text
