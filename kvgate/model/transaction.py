"""A transaction in terms of Redis keys: what lives, what is written, and what each write owes to indexes and sweeper."""

import os
from collections import ChainMap
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from kvgate.errors import WRONG_TYPE, GateError
from kvgate.model import keyspace
from kvgate.model import meta as records
from kvgate.model.kv import KvTxn, TooLong
from kvgate.model.meta import CHUNK, STRING, Meta, Outside
from kvgate.wire.reply import Reply
from kvgate.wire.request import BULK_LIMIT

_NEVER: Final[frozenset[int]] = frozenset()


def wrong_type() -> GateError:
    """Redis' answer to a command on a key of another type."""
    return GateError(WRONG_TYPE)


class Transaction:
    """What a handler gets. It may run twice, so a handler has no effect but through this."""

    __slots__ = ("_located", "_most", "_new_groups", "_seen", "kv", "longest", "now_ms")

    def __init__(self, kv: KvTxn, now_ms: int, most: int = 0, longest: int = BULK_LIMIT) -> None:
        """Read and write through `kv`; every key expires by `now_ms`. `most` records may be read here, 0: any number. A string
        may be lengthened to `longest` bytes (the backend's ``max_value``)."""
        self.kv = kv
        self.now_ms = now_ms
        self.longest = longest
        self._most = most
        self._located: dict[bytes, tuple[bytes, bytes]] = {}
        self._seen: dict[bytes, Meta | None] = {}  # by place: the record that is there, dead ones too
        self._new_groups: dict[bytes, int] = {}  # without a record: not in the shared cache, so that `put` makes one

    # Reading

    def expects(self, records: int) -> None:
        """Say, before it is done, that about so many records will be read.

        Raises:
            TooLong: that is too much for the place where this runs; the handler lets it pass.
        """
        if 0 < self._most < records:
            raise TooLong

    async def generation(self, group: bytes) -> int:
        """The group's effective generation."""
        known = self.kv.generations.get(group, self._new_groups.get(group))
        if known is None:
            store, own = await self.kv.get_many((keyspace.STORE_GENERATION, keyspace.group_key(group)))
            known = self._learn(group, store, own)
        return known

    def _learn(self, group: bytes, store: bytes | None, own: bytes | None) -> int:
        known = max(records.decode_counter(store), records.decode_counter(own))
        if own is None:
            self._new_groups[group] = known
        else:
            self.kv.generations[group] = known
        return known

    async def load(self, key: bytes) -> Meta | None:
        """The key's record, None when it is missing, expired or flushed."""
        place, group = self._located[key] = keyspace.locate(key)
        generation = self.kv.generations.get(group)
        if generation is None:
            wanted = (keyspace.STORE_GENERATION, keyspace.group_key(group), place)
            store, own, raw = await self.kv.get_many(wanted)
            generation = self._learn(group, store, own)
        else:
            raw = await self.kv.get(place)
        meta = self._seen[place] = None if raw is None else records.decode(raw)
        if meta is None or not self._lives(meta, generation):
            return None
        return None if meta.times is not None and await self._emptied(meta) else meta

    async def load_many(self, keys: Sequence[bytes]) -> list[Meta | None]:
        """As `load`, for many keys in one round trip."""
        places = [keyspace.locate(key) for key in keys]
        self._located.update(zip(keys, places, strict=True))
        unknown = list({group: None for _, group in places if group not in self.kv.generations})
        wanted = [keyspace.STORE_GENERATION, *map(keyspace.group_key, unknown)] if unknown else []
        found = await self.kv.get_many([*wanted, *(place for place, _ in places)])
        for group, own in zip(unknown, found[1:], strict=False):
            self._learn(group, found[0], own)
        generations = ChainMap(self.kv.generations, self._new_groups)
        metas: list[Meta | None] = []
        for (place, group), raw in zip(places, found[len(wanted) :], strict=True):
            meta = self._seen[place] = None if raw is None else records.decode(raw)
            lives = meta is not None and self._lives(meta, generations[group])
            if lives and meta is not None and meta.times is not None:
                lives = not await self._emptied(meta)
            metas.append(meta if lives else None)
        return metas

    def _lives(self, meta: Meta, generation: int) -> bool:
        return meta.generation >= generation and not meta.gone(self.now_ms)

    async def gone(self, meta: Meta) -> bool:
        """Whether the key's time is over: `Meta.gone`, or, where its record does not tell, its last field's."""
        return meta.gone(self.now_ms) or (meta.times is not None and await self._emptied(meta))

    async def _emptied(self, meta: Meta) -> bool:
        """Whether no field of a big versioned hash is left, by its records of their expiries."""
        times = meta.times
        if times is None or times.lasting or meta.outside is None or self.now_ms < times.next:
            return False
        return not await self.kv.scan_keys(*keyspace.later_field_expiries(meta.outside.identity, self.now_ms), 1)

    async def text(self, meta: Meta) -> bytes:
        """The whole string of a string's meta."""
        if meta.outside is None:
            return meta.payload
        place = meta.outside
        wanted = [keyspace.chunk_key(place.identity, number) for number in range(-(-place.size // place.unit))]
        chunks = await self.kv.get_many(wanted)
        last = place.size - place.unit * (len(wanted) - 1)
        sizes = [place.unit] * (len(wanted) - 1) + [last]
        return b"".join(
            bytes(size) if chunk is None else chunk[1:].ljust(size, b"\x00") for chunk, size in zip(chunks, sizes, strict=True)
        )

    # Writing

    async def put_string(
        self,
        key: bytes,
        value: bytes,
        expires: int = 0,
        kind: int = STRING,
        version: int | None = None,
        marks: int | None = None,
    ) -> None:
        """Make `key` the string `value` (of the type `kind`), whatever it was; `expires` in ms, 0 for never, in the past: the
        key goes."""
        if len(value) <= CHUNK:
            await self.put(key, Meta(kind, expires=expires, payload=value, version=version, marks=marks))
            return
        if 0 < expires <= self.now_ms:
            await self.remove(key)
            return
        identity = int.from_bytes(os.urandom(8), "big")
        for number, at in enumerate(range(0, len(value), CHUNK)):
            self.kv.put(keyspace.chunk_key(identity, number), b"\x01" + value[at : at + CHUNK])
        place = Outside(identity, len(value), CHUNK)
        await self.put(key, Meta(kind, expires=expires, outside=place, version=version, marks=marks))

    async def put(self, key: bytes, meta: Meta) -> None:
        """Write the key's record with a new revision; what it no longer refers to goes to the sweeper."""
        if meta.gone(self.now_ms):
            await self.remove(key)
            return
        place, group = self._located.get(key) or keyspace.locate(key)
        generation = self.kv.generations.get(group)
        if generation is None:
            generation = await self.generation(group)
        if group in self._new_groups:
            self.kv.put(keyspace.group_key(group), records.encode_counter(0))
            self.kv.generations[group] = self._new_groups.pop(group)
        await self._retire(place, meta)
        long_key = key if len(key) > keyspace.TEXT_LIMIT else None
        self._seen[place] = meta
        self.kv.put(place, records.encode(meta, generation, self.kv.revision(), long_key))

    async def move(self, source: bytes, meta: Meta, target: bytes) -> None:
        """Let `target` be what `load` found under `source`, which is gone then. Elements stay as they are, under their id."""
        await self.put(target, meta)
        place = self._located[source][0]
        for moment in meta.moments():
            self.kv.delete(keyspace.expiry_key(place, moment))
        self._seen[place] = None
        self.kv.delete(place)

    async def remove(self, key: bytes) -> None:
        """Delete the key's record, whether alive or dead; no error when there is none."""
        await self.remove_at(keyspace.meta_key(key))

    async def remove_at(self, place: bytes) -> None:
        """As `remove`, by the engine key of the meta."""
        if await self._retire(place, None):
            self._seen[place] = None
            self.kv.delete(place)

    async def _retire(self, place: bytes, new: Meta | None) -> bool:
        """Undo what the present record refers to and `new` does not, index what `new` refers to and the present one does not;
        whether there is a record."""
        if place in self._seen:
            old = self._seen[place]
        else:
            raw = await self.kv.get(place)
            old = None if raw is None else records.references(raw)
        before = _NEVER if old is None else old.moments()
        after = _NEVER if new is None else new.moments()
        if before != after:
            for moment in before - after:
                self.kv.delete(keyspace.expiry_key(place, moment))
            for moment in after - before:
                self.kv.put(keyspace.expiry_key(place, moment), b"\x01")
        if old is None:
            return False
        if old.outside and (new is None or new.outside is None or new.outside.identity != old.outside.identity):
            self.kv.put(keyspace.queued_id(old.outside.identity), b"\x01")
        return True


Handler = Callable[[Transaction, list[bytes]], Coroutine[Any, Any, Reply]]
"""One command: its transaction and its arguments (name first) in, its reply out; errors are raised as `GateError`."""
