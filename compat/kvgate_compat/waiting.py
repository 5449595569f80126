"""Which requests would keep the search waiting: blocking commands on keys that are not there, with a long timeout or none."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kvgate_compat.words import Request

SHORT: Final = 0.05
"""Seconds; a blocking command may wait so long in vain."""
LEAST: Final = 0.001
"""Seconds; a server may take less for 0, which is for ever."""


def waits_for(request: Request) -> tuple[bytes, ...]:
    """The keys of a blocking command one of which has to be there, or it would wait longer than `SHORT`; none when it would
    not, or when it is refused."""
    args = [bytes(arg) if isinstance(arg, bytes) else b"" for arg in request.args]
    found = _PARTS.get(request.name, _none)(args)
    if found is None:
        return ()
    keys, timeout = found
    return tuple(keys) if _long(timeout) else ()


def _long(timeout: bytes) -> bool:
    try:
        seconds = float.fromhex(timeout.decode()) if b"x" in timeout.lower() else float(timeout)
    except (ValueError, OverflowError):
        return False
    if math.isnan(seconds) or seconds <= -LEAST or seconds * 1000 > 2**63:
        return False
    return seconds > SHORT or seconds < LEAST


_Parts = tuple[Sequence[bytes], bytes] | None


def _none(_args: Sequence[bytes]) -> _Parts:
    return None


def _timeout_last(args: Sequence[bytes]) -> _Parts:
    return (args[1:-1], args[-1]) if len(args) > 2 else None


def _counted(args: Sequence[bytes]) -> _Parts:
    if len(args) < 4 or not args[2].isdigit():
        return None
    return args[3 : 3 + int(args[2])], args[1]


def _move(size: int) -> "Callable[[Sequence[bytes]], _Parts]":
    return lambda args: (args[1:2], args[-1]) if len(args) == size else None


_PARTS: "Final[Mapping[str, Callable[[Sequence[bytes]], _Parts]]]" = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"), _timeout_last),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), _counted),
    "BLMOVE": _move(6),
    "BRPOPLPUSH": _move(4),
}
"""By command: its keys and its timeout, in seconds."""
