"""Cutting a command by the stores of its keys, and making one reply of the parts' replies. Pure functions.

`cut` is for requests that the lane knows (kvgate.policy.compiled), `part` for those that kvgate.server.stores cuts, since
their keys lie in several namespaces, or need more thought; `merged` is for both.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from zlib import crc32

from kvgate.errors import ProtocolError
from kvgate.policy.compiled import ALL_OK, MERGE, MORE, NO_COLON, SUM, Route
from kvgate.wire.measure import measure

if TYPE_CHECKING:
    from kvgate.lane.client import Client
    from kvgate.lane.upstream import Upstream

LENGTHS: Final = {b"%d" % n: n for n in range(4096)}
"""Lengths as Redis takes them, so that one lookup reads and checks: ``$04`` is not among them."""
LONGEST_HEADER: Final = 14
"""Bytes of ``\\r\\n$…\\r\\n`` with nine digits; what says of itself that it is longer is not read here."""
MOST_PARTS: Final = 64
"""Stores over which the lane cuts one command by itself."""


def part(args: Sequence[bytes], keys: Sequence[int], step: int) -> list[bytes]:
    """The arguments of the command for some of its keys, in their order; `step` is 2 where a value follows each key."""
    chosen = [args[0]]
    for index in keys:
        chosen.extend(args[index : index + step])
    return chosen


def merged(merge: int, raws: Sequence[bytes], order: Sequence[int]) -> bytes:
    """One raw reply of the parts' raw replies, the first error, if there is one. `merge` is as in a plan
    (kvgate.policy.compiled); the parts stand in the order of their first keys; `order` has the part of each key.

    Raises:
        ProtocolError: what a store has answered is no reply to such a command.
    """
    for raw in raws:
        if raw[:1] == b"-":
            return raw
    if merge == ALL_OK:
        return raws[0]
    if merge == SUM:
        return b":%d\r\n" % sum(map(_integer, raws))
    found = [elements(raw) for raw in raws]
    if any(len(each) != order.count(number) for number, each in enumerate(found)):
        raise ProtocolError("Protocol error: an array has another number of elements than there were keys")
    following = [iter(each).__next__ for each in found]
    return b"*%d\r\n" % len(order) + b"".join([following[number]() for number in order])


def _integer(raw: bytes) -> int:
    if raw[:1] != b":":
        raise ProtocolError(f"Protocol error: an integer was expected, not {raw[:1]!r}")
    return int(raw[1:-2])


def elements(raw: bytes) -> list[bytes]:
    """The raw elements of a raw array.

    Raises:
        ProtocolError: it is none.
    """
    if raw[:1] != b"*":
        raise ProtocolError(f"Protocol error: an array was expected, not {raw[:1]!r}")
    pos = raw.index(b"\n") + 1
    items: list[bytes] = []
    while pos < len(raw):
        end = measure(raw, pos)
        items.append(raw[pos:end])
        pos = end
    return items


class Cut:
    """One request and the stores of its keys."""

    __slots__ = ("chunks", "end", "name", "order", "step", "ups")

    def __init__(self, end: int, name: bytes, step: int) -> None:
        """The request ends before `end`; `name` is the command's, with the line's end before it and the one behind it; each
        key has `step` arguments."""
        self.end = end
        self.name = name
        self.step = step
        self.ups: list[Upstream] = []
        """The stores, in the order of their first keys."""
        self.order = bytearray()
        """Of each key, its store's place among them."""
        self.chunks: list[bytes] = []
        """Of each key, its header, itself, and what belongs to it, as they are sent."""

    def request(self, number: int) -> bytes:
        """What the store at that place is sent."""
        chunks = [chunk for chunk, place in zip(self.chunks, self.order, strict=True) if place == number]
        return b"*%d%b%b" % (1 + self.step * len(chunks), self.name, b"".join(chunks))

    @property
    def whole(self) -> bytes:
        """The request, were it sent as one."""
        return b"*%d%b%b" % (1 + self.step * len(self.chunks), self.name, b"".join(self.chunks))

    @property
    def size(self) -> int:
        """Bytes of `whole`."""
        return len(b"*%d" % (1 + self.step * len(self.chunks))) + len(self.name) + sum(map(len, self.chunks))


def cut(client: "Client", route: Route, table: Sequence["Upstream"], plan: int, data: bytes, pos: int, key: int) -> Cut | None:
    """The stores of the keys of the request at `pos`, which begins like one with that `route` and `plan` and has its first key
    at `key`; None when it is not whole, or not all its keys are plainly of that route, or too large for it."""
    find, startswith, routes, prefix = data.find, data.startswith, client.routes, client.prefix
    step = 2 if plan & MERGE == ALL_OK else 1
    found = Cut(0, data[data.index(b"\n", pos) - 1 : data.rindex(b"$", pos, key)], step)
    places: dict[Upstream, int] = {}
    first: bytes | None = None  # the text before the ":" of the keys, as routes know it
    end = data.rindex(b"$", pos, key) - 2
    for _ in range(((plan >> MORE) + 1) // step):
        begin = end + 2
        start = find(b"\r\n", end + 3) + 2
        length = LENGTHS.get(data[end + 3 : start - 2], -1)
        if not startswith(b"\r\n$", end) or start < end or not 0 <= length <= route.max_key:
            return None
        name = data[start : start + length]
        end = start + length
        if step == 2:
            if not startswith(b"\r\n$", end):
                return None
            value = find(b"\r\n", end + 3) + 2
            text = data[end + 3 : value - 2]
            if value < end or value - end > LONGEST_HEADER or not text.isdigit() or (text[0] == 0x30 and text != b"0"):
                return None
            end = value + int(text)
        if not startswith(b"\r\n", end):
            return None
        if prefix:
            name = prefix + name
            found.chunks.append(b"$%d\r\n%b%b" % (len(name), prefix, data[start : end + 2]))
        else:
            colon = name.find(b":")
            space = name[:colon] if colon >= 0 else NO_COLON
            if first is None:
                first = space  # it has led to the route
            elif space != first and routes.get(space) is not route:
                return None
            found.chunks.append(data[begin : end + 2])
        plain = route.is_crc32 and b"{" not in name
        up = table[0 if len(table) == 1 else crc32(name) % len(table) if plain else route.slot_of(name)]
        place = places.setdefault(up, len(places))
        if place == MOST_PARTS:
            return None
        found.order.append(place)
    found.ups += places
    found.end = end + 2
    return found
