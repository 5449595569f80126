"""Splitting a command by the stores of its keys, and making one reply of the parts' replies. Pure functions."""

from collections.abc import Sequence

from kvgate.commands.spec import CommandSpec, Merge
from kvgate.errors import ProtocolError
from kvgate.wire.measure import measure


def part(args: Sequence[bytes], keys: Sequence[int], step: int) -> list[bytes]:
    """The arguments of the command for some of its keys, in their order; `step` is 2 where a value follows each key."""
    chosen = [args[0]]
    for index in keys:
        chosen.extend(args[index : index + step])
    return chosen


def merge(spec: CommandSpec, parts: Sequence[tuple[Sequence[int], bytes]], keys: Sequence[int]) -> bytes:
    """One raw reply of the parts' ``(indices of its keys, raw reply)``; the first error, if there is one, in key order.

    `keys` are all indices of the command's keys, in order.
    """
    errors = [(indices[0], raw) for indices, raw in parts if raw[:1] == b"-"]
    if errors:
        return min(errors)[1]
    if spec.merge is Merge.SUM:
        return b":%d\r\n" % sum(int(raw[1:-2]) for _, raw in parts)
    if spec.merge is Merge.ALL_OK:
        return parts[0][1]
    found: dict[int, bytes] = {}
    for indices, raw in parts:
        found.update(zip(indices, elements(raw), strict=True))
    return b"*%d\r\n" % len(keys) + b"".join(found[index] for index in keys)


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
