"""The short ways, in Python and in C: both do the same, and what they do is what the handlers do."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import GateError
from kvgate.model import field_writes, keyspace, meta, short
from kvgate.model.elements import encode_small
from kvgate.model.handlers import HANDLERS
from kvgate.model.kv import run_now
from kvgate.model.meta import HASH, STRING, FieldTimes, Meta, Outside, encode
from kvgate.model.overlay import Overlay
from kvgate.model.transaction import Transaction
from kvgate.wire.reply import encode as as_reply

NOW = 1_800_000_000_000
NULL = b"$-1\r\n"
KEYS = [b"k", b"", b"Ads.T:a", b"Ads.T:b", b"Ads.U:a", b"no.colon", b":x", b"Ads:", b"." * 64 + b":", b"." * 65 + b":"]
KEYS += [b"l" * 400, b"l" * 401, bytes(range(256))]
FIELDS = [b"f", b"g", b"", b"f" * 300]
WAYS = [False, pytest.param(True, marks=pytest.mark.skipif(not short.BUILT, reason="kvgate.model._short is not built"))]


def function(name: str, *, in_c: bool) -> Callable[..., Any]:
    """One of the short ways."""
    found: Callable[..., Any] = getattr(short.native, name) if in_c else getattr(short, f"py_{name}")
    return found


class Snapshot:
    """A state for an `Overlay`."""

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self._data = data
        self.get = data.get

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return [(key, self._data[key]) for key in self.range_keys(start, end, limit)]

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        return sorted(key for key in self._data if start <= key < end)[:limit]


class Txn(Overlay):
    """A `KvTxn` over a dictionary."""

    async def commit(self) -> None:
        """Nothing."""

    async def rollback(self) -> None:
        """Nothing."""


def record(rng: random.Random, long_key: bytes | None) -> bytes:
    """Any record that there may be."""
    generation, revision = rng.choice((0, 1, 2)), rng.randrange(1000)
    expires = rng.choice((0, 0, 0, NOW - 1, NOW, NOW + 1))
    fields = {name: bytes(rng.choice((0, 5, 600, 4000))) for name in rng.sample(FIELDS, rng.randrange(4))}
    if rng.random() < 0.2:
        fields = {b"%d" % n: b"" for n in range(rng.choice((127, 128)))}
    kinds = [
        Meta(STRING, expires=expires, payload=bytes(rng.choice((0, 3, 1000)))),
        Meta(STRING, expires=expires, outside=Outside(1, 100_000, meta.CHUNK)),
        Meta(HASH, expires=expires, payload=encode_small(fields)),
        Meta(HASH, outside=Outside(1, 3, 0)),
        Meta(meta.EXSTRING, payload=b"v", version=1),
        Meta(meta.EXHASH, outside=Outside(1, 3, 0), times=FieldTimes(NOW + 5, NOW + 9, 0)),
        Meta(3, payload=b""),
    ]
    return encode(rng.choice(kinds), generation, revision, long_key)


def fill(rng: random.Random) -> dict[bytes, bytes]:
    """A store."""
    data = {keyspace.STORE_GENERATION: meta.encode_counter(1)}
    for key in KEYS:
        data[keyspace.group_key(keyspace.group_of(key))] = meta.encode_counter(rng.choice((0, 2)))
        if rng.random() < 0.7:
            data[keyspace.meta_key(key)] = record(rng, key if len(key) > 400 else None)
    return data


def generations(data: dict[bytes, bytes], rng: random.Random) -> dict[bytes, int]:
    """What is known of the groups; not always everything."""
    known = {
        keyspace.group_of(key): max(1, meta.decode_counter(data[keyspace.group_key(keyspace.group_of(key))])) for key in KEYS
    }
    if rng.random() < 0.2:
        known.pop(rng.choice(list(known)))
    return known


def handled(data: dict[bytes, bytes], revision: int, requests: list[list[bytes]]) -> tuple[bytes, dict[bytes, bytes | None]]:
    """The replies of the handlers, joined, and what they write."""
    counted = [revision]

    def count() -> int:
        counted[0] += 1
        return counted[0]

    txn = Txn(Snapshot(data), count, record=False)
    replies = b""
    for args in requests:
        try:
            replies += as_reply(run_now(HANDLERS[args[0].decode()](Transaction(txn, NOW), args)), 2)
        except GateError as error:
            replies += error.reply
    return replies, txn.writes


@pytest.mark.parametrize("in_c", WAYS)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_reads_say_what_the_handlers_say(in_c: bool, seed: int) -> None:
    rng = random.Random(seed)
    data = fill(rng)
    known = generations(data, rng)
    name, width = rng.choice((("gets", 1), ("hgets", 2)))
    words = [word for _ in range(6) for word in (rng.choice(KEYS), rng.choice(FIELDS))[:width]]
    start = width * rng.randrange(3)
    raw, taken, misses = function(name, in_c=in_c)(data.get, known, NOW, NULL, words, start)
    assert (raw, taken, misses) == function(name, in_c=False)(data.get, known, NOW, NULL, words, start)
    requests = [[name[:-1].upper().encode(), *words[at : at + width]] for at in range(start, len(words), width)]
    assert raw == handled(data, 0, requests[:taken])[0]
    assert misses == raw.count(NULL)
    if taken < len(requests):  # it stopped for a reason
        key = requests[taken][1]
        raw_next = data.get(keyspace.meta_key(key))
        plain = raw_next is None or (raw_next[0] == (STRING if width == 1 else HASH) and raw_next[1] & ~1 == 0)
        assert len(key) > 400 or keyspace.group_of(key) not in known or not plain


@pytest.mark.parametrize("in_c", WAYS)
@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_writes_write_what_the_handlers_write(in_c: bool, seed: int) -> None:
    rng = random.Random(seed)
    data = fill(rng)
    if rng.random() < 0.7:  # else most runs meet something that a handler has to look at
        data = {place: raw for place, raw in data.items() if place[:1] != b"M" or (raw[1] == 0 and raw[0] != 3)}
    known = generations(data, rng)
    name, width = rng.choice((("sets", 2), ("hsets", 3)))
    keys = KEYS if rng.random() < 0.3 else [key for key in KEYS if len(key) <= 400]
    words: list[bytes] = []
    for _ in range(rng.randrange(1, 6)):
        value = bytes(rng.choice((0, 1, 500, 3000, 32_640, 32_641) if width == 2 else (0, 1, 500, 3000)))
        words += [rng.choice(keys), rng.choice(FIELDS), value] if width == 3 else [rng.choice(keys), value]
    above: dict[bytes, bytes | None] = {}
    below: dict[bytes, bytes | None] = {}
    for layer in (above, below):
        for key in rng.sample(KEYS, 2):
            layer[keyspace.meta_key(key)] = rng.choice((None, encode(Meta(STRING, payload=b"x"), 2, 1, None)))
    before, lower = dict(above), dict(below)
    found = function(name, in_c=in_c)(data.get, above, below, known, 7, words)
    assert below == lower
    other = dict(before)
    assert found == function(name, in_c=False)(data.get, other, below, known, 7, words)
    assert above == other
    if not isinstance(found, tuple):
        assert above == before
        assert found is None or found not in known
        return
    replies, units, revision = found
    merged = {**data, **lower, **before}
    present = {place: raw for place, raw in merged.items() if raw is not None}
    requests = [[name[:-1].upper().encode(), *words[at : at + width]] for at in range(0, len(words), width)]
    expected, written = handled(present, 7, requests)
    assert (replies, revision) == (expected, 7 + len(requests))
    assert above == {**before, **written}
    assert units >= 2 * len(requests)


@pytest.mark.parametrize("in_c", WAYS)
def test_runs_that_are_taken_and_those_that_are_not(in_c: bool) -> None:
    sets, hsets = function("sets", in_c=in_c), function("hsets", in_c=in_c)
    place = keyspace.meta_key(b"k")
    small = {b"%d" % n: b"" for n in range(128)}
    full = encode(Meta(HASH, payload=encode_small(small)), 0, 1, None)
    expiring = encode(Meta(STRING, expires=NOW + 1, payload=b"v"), 0, 1, None)

    def tried(way: Callable[..., Any], raw: bytes | None, *words: bytes, known: bool = True) -> Any:
        return way({place: raw}.get, {}, {}, {b"": 0} if known else {}, 0, list(words))

    assert tried(sets, None, b"k", b"v") == (b"+OK\r\n", 2, 1)
    assert tried(sets, expiring, b"k", b"v") is None
    assert tried(sets, None, b"k", b"v", known=False) == b""
    assert tried(sets, None, b"k", b"v" * 512) == (b"+OK\r\n", 3, 1)
    assert tried(sets, None, b"k", b"v" * 32_641) is None
    assert tried(sets, None, b"k" * 401, b"v") is None
    assert tried(hsets, None, b"k", b"f", b"v", b"k", b"f", b"w", b"k", b"g", b"v") == (b":1\r\n:0\r\n:1\r\n", 6, 3)
    assert tried(hsets, full, b"k", b"5", b"v")[0] == b":0\r\n"
    assert tried(hsets, full, b"k", b"new", b"v") is None
    assert tried(hsets, None, b"k", b"f", b"v" * (4096 - 10))[0] == b":1\r\n"
    assert tried(hsets, None, b"k", b"f", b"v" * (4096 - 9)) is None
    assert tried(hsets, encode(Meta(STRING, payload=b"v"), 0, 1, None), b"k", b"f", b"v") is None
    odd = full[:18] + b"\x01" + full[19:]
    assert tried(hsets, odd, b"k", b"f", b"v") is None
    assert tried(hsets, full[:-3], b"k", b"f", b"v") is None


@pytest.mark.parametrize("in_c", WAYS)
def test_an_error_of_the_engine_passes(in_c: bool) -> None:
    def broken(_key: bytes) -> bytes | None:
        raise OSError("disk")

    written: dict[bytes, bytes | None] = {}
    for name, width in (("gets", 1), ("hgets", 2)):
        with pytest.raises(OSError, match="disk"):
            function(name, in_c=in_c)(broken, {b"": 0}, NOW, NULL, [b"k"] * width, 0)
    for name, width in (("sets", 2), ("hsets", 3)):
        with pytest.raises(OSError, match="disk"):
            function(name, in_c=in_c)(broken, written, {}, {b"": 0}, 0, [b"k"] * width)
    assert not written


@pytest.mark.parametrize("in_c", WAYS)
@pytest.mark.parametrize("size", [0, 1, 7, 127, 128, 129, 255, 256, 257, 399, 400])
def test_places_of_keys_of_every_length(in_c: bool, size: int) -> None:
    asked: list[bytes] = []

    def missing(place: bytes) -> None:
        asked.append(place)

    key = bytes(random.Random(size).randbytes(size)).replace(b":", b".")
    known = {b"": 0}
    function("gets", in_c=in_c)(missing, known, NOW, NULL, [key], 0)
    assert asked == [keyspace.meta_key(key)]


@pytest.mark.skipif(not short.BUILT, reason="kvgate.model._short is not built")
def test_limits_are_those_of_python() -> None:
    assert short.native.LIMITS == {
        "TEXT_LIMIT": keyspace.TEXT_LIMIT,
        "GROUP_LIMIT": keyspace.GROUP_LIMIT,
        "CHUNK": meta.CHUNK,
        "UNIT": short.UNIT,
        "SMALL_FIELDS": field_writes.SMALL_FIELDS,
        "SMALL_BYTES": field_writes.SMALL_BYTES,
        "STRING": STRING,
        "HASH": HASH,
    }


@pytest.mark.skipif(not short.BUILT, reason="kvgate.model._short is not built")
@pytest.mark.parametrize("name", ["gets", "hgets", "sets", "hsets"])
def test_c_refuses_what_is_no_bytes(name: str) -> None:
    call = function(name, in_c=True)
    words: list[Any] = ["k", "v", "w"]
    args: tuple[Any, ...] = (
        ({}.get, {b"": 0}, NOW, NULL, words, 0) if name.endswith("gets") else ({}.get, {}, {}, {b"": 0}, 0, words)
    )
    with pytest.raises(TypeError):
        call(*args)
    with pytest.raises(TypeError):
        call(*args[:5])
    with pytest.raises(TypeError):
        call(*args[:5], None)
