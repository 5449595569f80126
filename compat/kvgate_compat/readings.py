"""How one reply is read so that two servers can be compared: exactly, but for what Redis itself leaves open.

A reading turns a reply into something that must be equal on both sides (`same`). Without one the raw bytes count. It may
ask the server that gave the reply, right after it: then the command is not tried inside pipelines and transactions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from kvgate_compat import chance
from kvgate_compat.chance import CHANCE, Ask, Reading, unordered
from kvgate_compat.connection import Node
from kvgate_compat.server_readings import SERVER_READINGS

TOLERANCE_MS: Final = 5000
"""How far TTLs may differ: the servers are asked one after the other, on a machine that does other things too. Times of
different steps are `kvgate_compat.words.SPREAD` seconds apart, so no other step's time passes for the right one."""


@attrs.frozen(slots=True)
class Near:
    """A time that need not be the same to the millisecond; 0 is one: TTL rounds to it what is less than half a second."""

    value: int
    tolerance: int


def same(ours: object, theirs: object) -> bool:
    """Whether two readings agree."""
    if isinstance(ours, Near) and isinstance(theirs, Near):
        return abs(ours.value - theirs.value) <= ours.tolerance
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(same(one, other) for one, other in zip(ours, theirs, strict=True))
    return ours == theirs


def exact(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """The raw bytes."""
    del ask, args
    return reply.raw


def _time(tolerance: int) -> Reading:
    def reading(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
        del ask, args
        number = int(reply.text) if reply.kind == b":" else -1
        return Near(number, tolerance) if number >= 0 else reply.raw

    return reading


def pairs(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """HGETALL: a map, or a flat array of pairs in RESP2, in any order."""
    del ask, args
    raw = [item.raw for item in reply.items]
    return (reply.kind, reply.text, tuple(sorted(zip(raw[::2], raw[1::2], strict=False))))


def _random_fields(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """HRANDFIELD: each one is a field (with its own value) of the hash; none twice unless the count is negative; all of
    them when there are not more."""
    if reply.kind in (b"-", b"_"):
        return reply.raw
    items = ask([b"HGETALL", args[1]]).items
    present = {name.text: value.text for name, value in zip(items[::2], items[1::2], strict=True)}
    if reply.kind == b"$":
        return "a field" if reply.text in present else reply.raw
    found, shape = _field_list(reply, with_values=len(args) == 4)
    wrong = [name for name, value in found if name not in present or value not in (None, present[name])]
    repeated = not args[2].startswith(b"-") and len({name for name, _ in found}) < len(found)
    return (reply.kind, reply.text, shape, tuple(wrong), repeated)


def _random_members(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """ZRANDMEMBER: as HRANDFIELD, of the sorted set's members with their scores."""
    if reply.kind == b"_":
        return reply.raw
    items = ask([b"ZRANGE", args[1], b"0", b"-1", b"WITHSCORES"]).items
    flat = [each for item in items for each in (item.items or (item,))]  # RESP3 nests the pairs
    present = {name.text: score.text for name, score in zip(flat[::2], flat[1::2], strict=True)}
    if reply.kind == b"$":
        return "a member" if reply.text in present else reply.raw
    found, shape = _field_list(reply, with_values=len(args) == 4)
    wrong = [name for name, score in found if name not in present or score not in (None, present[name])]
    repeated = not args[2].startswith(b"-") and len({name for name, _ in found}) < len(found)
    kinds = {tuple(each.kind for each in item.items) or item.kind for item in reply.items}
    return (reply.kind, reply.text, shape, tuple(wrong), repeated, tuple(sorted(map(str, kinds))))


def _field_list(reply: Node, *, with_values: bool) -> "tuple[list[tuple[bytes, bytes | None]], str]":
    if reply.items and all(item.kind == b"*" and len(item.items) == 2 for item in reply.items):  # RESP3 nests the pairs
        return [(item.items[0].text, item.items[1].text) for item in reply.items], "nested"
    texts = [item.text if item.kind == b"$" else item.raw for item in reply.items]
    if with_values and len(texts) % 2 == 0:
        return list(zip(texts[::2], texts[1::2], strict=True)), "flat"
    return [(text, None) for text in texts], "alone"


def _random_key(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """RANDOMKEY: a key that exists, or null."""
    del args
    if reply.kind != b"$":
        return reply.raw
    return "a key" if ask([b"EXISTS", reply.text]).text == b"1" else reply.raw


def _walk(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """SCAN and its kin: errors exactly; else everything that a whole walk with the same options gives. The pages and cursors
    are the server's own; an element may come twice."""
    if reply.kind != b"*" or len(reply.items) != 2:
        return reply.raw
    at = 1 if args[0].upper() == b"SCAN" else 2
    in_pairs = args[0].upper() in (b"HSCAN", b"ZSCAN")
    found: set[tuple[bytes, ...]] = set()
    for _ in range(100_000):
        cursor, page = reply.items
        if cursor.kind != b"$" or not cursor.text.isdigit() or page.kind != b"*":
            return reply.raw
        raw = [item.raw for item in page.items]
        found |= set(zip(raw[::2], raw[1::2], strict=False)) if in_pairs else {(one,) for one in raw}
        if cursor.text == b"0":
            return ("walked", tuple(sorted(found)))
        reply = ask([*args[:at], cursor.text, *args[at + 1 :]])
        if reply.kind != b"*" or len(reply.items) != 2:
            return reply.raw
    return "a walk without an end"


def _some_integer(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """OBJECT REFCOUNT and IDLETIME: about memory; an integer that is not negative."""
    del ask, args
    return "an integer" if reply.kind == b":" and int(reply.text) >= 0 else reply.raw


def _dump(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """DUMP: each server's own bytes; RESTORE steps show whether they hold the value."""
    del ask, args
    return "a payload" if reply.kind == b"$" else reply.raw


_MADE: Final = re.compile(rb"\$\d+\r\n(?:1[5-9]|2\d)\d{11}-\d+\r\n")
"""An id that a server made of its clock (``XADD k *``), in the years 2017 to 2065."""


def ids(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """Replies with ids of streams: exactly, but for those that ``*`` made."""
    del ask, args
    return _MADE.sub(b"$now\r\n", reply.raw)


def _times(reply: Node, near: "Callable[[tuple[Node, ...], int], bool]") -> object:
    """All of a reply; integers that `near` names (by the array and the place in it) only nearly."""
    if not reply.items:
        return _MADE.sub(b"$now\r\n", reply.raw)
    parts = [
        Near(int(item.text), TOLERANCE_MS) if item.kind == b":" and near(reply.items, at) else _times(item, near)
        for at, item in enumerate(reply.items)
    ]
    return (reply.kind, *parts)


def _third_of_four(items: "tuple[Node, ...]", at: int) -> bool:
    return at == 2 and len(items) == 4


def _pending(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """XPENDING: how long entries have waited (in the extended form), nearly."""
    del ask
    return _times(reply, _third_of_four if len(args) > 3 else lambda _items, _at: False)


_ELAPSED: Final = (b"idle", b"inactive", b"seen-time", b"active-time")


def _about_stream(ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """XINFO CONSUMERS and STREAM: times nearly. Those of pending entries stand in arrays of three or four."""
    del ask, args

    def near(items: "tuple[Node, ...]", at: int) -> bool:
        in_an_entry = len(items) in (3, 4) and at == len(items) - 2 and items[0].kind == b"$" and items[-1].kind == b":"
        return in_an_entry or (at % 2 == 1 and items[at - 1].text in _ELAPSED)

    return _times(reply, near)


READINGS: Final[Mapping[str, Reading]] = {
    **SERVER_READINGS,
    **dict.fromkeys(("XADD", "XRANGE", "XREVRANGE", "XREAD", "XREADGROUP", "XCLAIM", "XAUTOCLAIM", "XINFO|GROUPS"), ids),
    "XPENDING": _pending,
    "XINFO|CONSUMERS": _about_stream,
    "XINFO|STREAM": _about_stream,
    "ZRANDMEMBER": _random_members,
    "ZSCAN": _walk,
    "FUNCTION|DUMP": _dump,
    "TTL": _time(TOLERANCE_MS // 1000),
    "PTTL": _time(TOLERANCE_MS),
    "EXPIRETIME": _time(TOLERANCE_MS // 1000),
    "PEXPIRETIME": _time(TOLERANCE_MS),
    "KEYS": unordered,
    "HKEYS": unordered,
    "HVALS": unordered,
    "HGETALL": pairs,
    "HRANDFIELD": _random_fields,
    "RANDOMKEY": _random_key,
    "SCAN": _walk,
    "HSCAN": _walk,
    "SSCAN": _walk,
    "DUMP": _dump,
    "OBJECT|REFCOUNT": _some_integer,
    "OBJECT|IDLETIME": _some_integer,
    **CHANCE,
}
"""By command; the others are `exact`."""

ASKING: Final = frozenset(("HRANDFIELD", "RANDOMKEY", "SCAN", "HSCAN", "SSCAN", "ZRANDMEMBER", "ZSCAN"))
"""Commands whose reading always asks more."""


def asks(name: str, args: Sequence[bytes]) -> bool:
    """Whether the reading of this request asks more: then it stands alone."""
    return name in ASKING or chance.asks(name, args)


_CLASH: Final = re.compile(rb"(Function|Library) \S+ already")
"""Of several that are there already, any is named."""
_TOO_LONG: Final = b"-ERR string exceeds maximum allowed size ("


def read(name: str, ask: Ask, args: Sequence[bytes], reply: Node) -> object:
    """What has to agree about the `reply` to `args`, a command of the table's `name`. Errors count exactly, but for the name
    of the setting that limits a string; so does what is no reply of Redis' form."""
    if reply.raw.startswith(_TOO_LONG):
        return _TOO_LONG + "…)\r\n".encode()
    if name.startswith("FUNCTION|"):
        reply = attrs.evolve(reply, raw=_CLASH.sub(rb"\1 X already", reply.raw)) if reply.kind == b"-" else reply
    if reply.kind == b"-":
        return reply.raw
    try:
        return READINGS.get(name, exact)(ask, args, reply)
    except (ValueError, IndexError, KeyError):  # no reply as Redis gives it
        return reply.raw
