"""Readings of replies that hang on chance, or on an order that nobody promises: random members, SORT of a set, geo searches.

Where `asks` is true a reading asks the server more, right after the reply.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from kvgate_compat.connection import Node

Ask = Callable[[Sequence[bytes]], Node]
Reading = Callable[[Ask, Sequence[bytes], Node], object]

ALL: Final = 10**6
"""A count above every size that the search makes: it leaves nothing to chance."""


def unordered(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """An array or set whose order says nothing (KEYS, HKEYS, HVALS, SMEMBERS, SUNION): type, length and sorted elements."""
    del ask, args
    return (reply.kind, reply.text, tuple(sorted(item.raw for item in reply.items)))


def random_members(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """SRANDMEMBER: members of the set; none twice unless the count is negative."""
    if reply.kind == b"_":
        return reply.raw
    present = {item.text for item in ask([b"SMEMBERS", args[1]]).items}
    if reply.kind == b"$":
        return "a member" if reply.text in present else reply.raw
    found = [item.text for item in reply.items]
    repeated = not args[2].startswith(b"-") and len(set(found)) < len(found)
    return (reply.kind, reply.text, tuple(sorted(set(found) - present)), repeated)


def taken_members(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """SPOP. What is taken from a set of more is put back, so that both servers go on with the same set: it must have gone,
    nothing twice, and whether it were members shows in the set afterwards. What empties a set counts exactly."""
    if reply.kind == b"_" or not _takes_some(args):
        return unordered(ask, args, reply) if reply.items else reply.raw
    found = [item.text for item in reply.items] if reply.kind != b"$" else [reply.text]
    left = {item.text for item in ask([b"SMEMBERS", args[1]]).items}
    if not left:
        return unordered(ask, args, reply) if reply.items else reply.raw
    added = ask([b"SADD", args[1], *found]).text
    return (reply.kind, reply.text if reply.kind != b"$" else b"", added, len(found), len(set(found)), len(left))


def _takes_some(args: Sequence[bytes]) -> bool:
    """Whether SPOP may leave members, and chance says which."""
    return len(args) == 2 or (len(args) == 3 and args[2].isdigit() and 0 < int(args[2]) < ALL)


def sorted_elements(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """SORT, SORT_RO: exactly, but for a set whose elements may be equal: by ALPHA up to a NUL, by their weights with ALPHA BY;
    or that is not to be sorted (BY a name without ``*``). Then they come in any order, and LIMIT takes any equal ones."""
    if reply.kind != b"*" or not _may_be_equal(args) or ask([b"TYPE", args[1]]).text != b"set":
        return reply.raw
    words = [arg.upper() for arg in args[2:]]
    compared = () if {b"BY", b"GET"} & set(words) else tuple(item.text.partition(b"\0")[0] for item in reply.items)
    return (reply.kind, reply.text, compared, None if b"LIMIT" in words else unordered(ask, args, reply))


def _may_be_equal(args: Sequence[bytes]) -> bool:
    words = [arg.upper() for arg in args[2:]]
    return b"ALPHA" in words or any(word == b"BY" and b"*" not in by for word, by in pairwise(words))


def before(name: str, args: Sequence[bytes]) -> list[bytes]:
    """What has to be said before this request, which changes nothing; mostly nothing. SORT: some number that is in range.
    Redis 7.0 does not clear `errno`, so that SORT answers an error after any command that met one out of range."""
    return [b"ZADD", args[1], b"XX", b"0", b"kvgate-compat"] if name in ("SORT", "SORT_RO") and len(args) > 1 else []


def places(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """GEOSEARCH and its kin: exactly where an order is asked for (COUNT alone means the nearest, in order), without order
    otherwise. With ANY: as many as the other server finds, each of them once, and all among those of the search without it."""
    words = [arg.upper() for arg in args]
    if reply.kind != b"*":
        return reply.raw
    if _takes_any(args):
        whole = {item.raw for item in ask(_without_count(args)).items}
        found = [item.raw for item in reply.items]
        return (reply.kind, reply.text, len(set(found)), tuple(sorted(set(found) - whole)))
    if {b"ASC", b"DESC", b"COUNT"} & set(words):
        return reply.raw
    return unordered(ask, args, reply)


def _takes_any(args: Sequence[bytes]) -> bool:
    return {b"ANY", b"COUNT"} <= {arg.upper() for arg in args}


def _without_count(args: Sequence[bytes]) -> list[bytes]:
    kept, left = [], iter(args)
    for arg in left:
        if arg.upper() == b"COUNT":
            next(left, None)
        elif arg.upper() != b"ANY":
            kept.append(arg)
    return kept


_SEARCHES: Final = ("GEOSEARCH", "GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO")
_STORING: Final = ("GEOSEARCHSTORE", "GEORADIUS", "GEORADIUSBYMEMBER")
CHANCE: Final[Mapping[str, Reading]] = {
    **dict.fromkeys(("SMEMBERS", "SUNION", "SINTER", "SDIFF"), unordered),
    **dict.fromkeys(("SORT", "SORT_RO"), sorted_elements),
    **dict.fromkeys(_SEARCHES, places),
    "SRANDMEMBER": random_members,
    "SPOP": taken_members,
}
"""By command."""


def asks(name: str, args: Sequence[bytes]) -> bool:
    """Whether the reading of this request asks more; then the request stands alone."""
    if name == "SPOP":
        return _takes_some(args)
    if name in ("SORT", "SORT_RO"):  # without ALPHA see `before`; ALPHA … STORE looks behind NULs as well
        words = {arg.upper() for arg in args}
        return not {b"ALPHA", b"STORE"} <= words or b"BY" in words
    return name == "SRANDMEMBER" or (name in _SEARCHES and _takes_any(args))


def stores_by_chance(name: str, args: Sequence[bytes]) -> bool:
    """Whether what is stored afterwards may hang on the server: some of the places that a geo search finds; elements of a set
    sorted by weights that may be equal."""
    words = [arg.upper() for arg in args]
    if name == "SORT":
        return {b"ALPHA", b"BY", b"STORE"} <= set(words)
    if name not in _STORING or b"ANY" not in words:
        return False
    if name != "GEOSEARCHSTORE" and not {b"STORE", b"STOREDIST"} & set(words):
        return False
    counts = [count for word, count in pairwise(words) if word == b"COUNT"]
    return any(count.isdigit() and int(count) < ALL for count in counts)
