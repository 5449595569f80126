"""HRANDFIELD: fields of a hash by lot.

In a big hash a field is drawn as Redis' fair draw does it: some neighbours of a random place, one of them by lot. That is
even but for how far the neighbours stand from one another.
"""

import random
from typing import Final

from kvgate.model import fields, keyspace
from kvgate.model.elements import decode_small
from kvgate.model.meta import Meta, Outside
from kvgate.model.transaction import Transaction

_NEIGHBOURS: Final = 16
_MANY: Final = 3
"""Of `_MANY` fields or fewer for each one asked for, all keys are read instead of drawing one after the other."""

_Pairs = list[tuple[bytes, bytes]]


async def distinct(tx: Transaction, meta: Meta, count: int) -> _Pairs:
    """`count` different fields with their values; all of them, if the hash has no more."""
    if count >= fields.length(meta):
        return await fields.pairs(tx, meta)
    if meta.outside is None:
        return random.sample(list(decode_small(meta.payload).items()), count)
    return await fields.read(tx, meta.outside, await _distinct_keys(tx, meta.outside, count))


async def _distinct_keys(tx: Transaction, place: Outside, count: int) -> list[bytes]:
    if count * _MANY < place.size:
        tx.expects(count * _NEIGHBOURS)
        found: dict[bytes, None] = {}
        for _ in range(4 * count + 100):  # nearly always enough: at most every third draw gives what is there already
            found[await _draw(tx, place)] = None
            if len(found) == count:
                return list(found)
    return random.sample(await fields.element_keys(tx, place), count)


async def with_repeats(tx: Transaction, meta: Meta, count: int) -> _Pairs:
    """`count` fields with their values, drawn one by one.

    Raises:
        GateError: they are too much for one reply.
    """
    volume = fields.Volume()
    volume.add(0, 2 * count)  # at once, so that a senseless count costs nothing
    found: _Pairs = []
    if meta.outside is None:
        everything = list(decode_small(meta.payload).items())
        while len(found) < count:
            name, value = random.choice(everything)  # noqa: S311 - no secret
            volume.add(len(name) + len(value), 0)
            found.append((name, value))
        return found
    all_keys = await fields.element_keys(tx, meta.outside) if count * _NEIGHBOURS > meta.outside.size else None
    tx.expects(count * _NEIGHBOURS)
    while len(found) < count:
        number = min(fields.PAGE, count - len(found))
        if all_keys is None:
            keys = [await _draw(tx, meta.outside) for _ in range(number)]
        else:
            keys = random.choices(all_keys, k=number)  # noqa: S311 - no secret
        page = await fields.read(tx, meta.outside, keys)
        volume.add(sum(len(name) + len(value) for name, value in page), 0)
        found += page
    return found


async def _draw(tx: Transaction, place: Outside) -> bytes:
    """The engine key of some field."""
    first = keyspace.fields_from(place.identity, 0)
    start = keyspace.fields_from(place.identity, random.randrange(keyspace.PLACES))  # noqa: S311 - no secret
    end = keyspace.fields_from(place.identity, keyspace.PLACES)
    page = await tx.kv.scan_keys(start, end, _NEIGHBOURS)
    if len(page) < _NEIGHBOURS:  # the end: its neighbours are at the beginning
        page += await tx.kv.scan_keys(first, start, _NEIGHBOURS - len(page))
    return random.choice(page)  # noqa: S311 - no secret
