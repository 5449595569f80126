"""DUMP and RESTORE: the documented bytes, what is refused, and that nothing is lost between stores."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.errors import GateError
from kvgate.model import dump
from kvgate.model.dump import Dumped
from kvgate.model.elements import Element, encode_small, encode_versioned
from kvgate.model.meta import CHUNK, EXHASH, EXSTRING, HASH, STRING
from kvgate.wire.reply import OK
from tests.model.world import World

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keyspace.md"
BAD_FOOT = b"ERR DUMP payload version or checksum are wrong"
BAD_BODY = b"ERR Bad data format"
VERSION_3 = b"\x00" * 7 + b"\x03"


def vectors() -> dict[str, bytes]:
    section = DOCUMENT.read_text("utf-8").partition("\n## DUMP\n")[2].partition("\n## ")[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("| ") and "`" in line]
    return {what: bytes.fromhex(text.strip("`").replace("·", "")) for what, text in rows}


def signed(body: bytes) -> bytes:
    """A body with the end that makes it whole."""
    return body + b"kvg\x01" + zlib.crc32(body + b"kvg\x01").to_bytes(4, "big")


def decoded(raw: bytes) -> Dumped | bytes:
    """The value, or the text of the error."""
    try:
        return dump.decode(raw)
    except GateError as error:
        return error.text.encode()


def test_the_documented_bytes() -> None:
    known = vectors()
    assert known.pop("string `v`") == dump.encode(Dumped(STRING, b"v"))
    assert known.pop("empty string") == dump.encode(Dumped(STRING, b""))
    assert known.pop("hash of `f` = `v` and `g` = ``") == dump.encode(Dumped(HASH, encode_small({b"f": b"v", b"g": b""})))
    assert known.pop("exstring `v`, version 3, flags 4") == dump.encode(Dumped(EXSTRING, VERSION_3 + b"\x00\x00\x00\x04v"))
    field = Element(b"v", expires=1_700_000_000_000, version=3)
    versioned = dump.encode(Dumped(EXHASH, encode_versioned({b"f": field})))
    assert known.pop("versioned hash of `f` = `v`, version 3, expires 1700000000000") == versioned
    assert not known


@given(st.binary(max_size=60), st.integers(0, 1000), st.integers(1, 255))
def test_a_damaged_byte_is_seen(payload: bytes, at: int, change: int) -> None:
    whole = dump.encode(Dumped(STRING, payload))
    assert dump.decode(whole) == Dumped(STRING, payload)
    at %= len(whole)
    for damaged in (whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :], whole[:at], whole + b"\x00"):
        with pytest.raises(GateError, match="DUMP payload version or checksum are wrong"):
            dump.decode(damaged)


@given(st.sampled_from([HASH, EXHASH]), st.binary(max_size=60))
def test_whole_bytes_that_are_no_hash_are_refused(kind: int, payload: bytes) -> None:
    assert decoded(signed(bytes((kind, 0)) + payload)) in (BAD_BODY, Dumped(kind, payload or b"?"))


@pytest.mark.parametrize(
    "body",
    [
        b"\x02\x00",  # a hash without fields
        b"\x02\x00" + encode_small({b"f": b"v"})[:-1],
        b"\x02\x00" + encode_small({b"f": b"v"}) + b"\x00",
        b"\x02\x00" + encode_small({b"f": b"v"}) * 2,  # a field twice
        b"\x02\x00\x01" + encode_small({b"f": b"v"})[1:],  # a field with a flag
        b"\x02\x00\x00\xff\xff\xff\xff",
        b"\x01\x01v",  # a flag
        b"\x03\x00v",  # a type that is not dumped
        b"\x06\x00" + VERSION_3 + b"\x00\x00\x04",  # cut in its flags
        b"\x06\x00",
        b"\x07\x00",  # a versioned hash without fields
        b"\x07\x00" + encode_versioned({b"f": Element(b"v", version=1)})[:-1],
        b"\x07\x00" + encode_versioned({b"f": Element(b"v", version=1)}) * 2,
        b"\x07\x00" + encode_versioned({b"f": Element(b"v", expires=2**63)}),  # no command gives such an expiry
        b"\x07\x00\x01" + bytes(8) + encode_versioned({b"f": Element(b"v")})[1:],  # an expiry that is 0
        b"\x07\x00\x02" + bytes(8),  # a flag
        b"\x00\x00",
    ],
)
async def test_what_is_whole_and_still_no_value(body: bytes) -> None:
    world = World()
    assert await world.ask(b"RESTORE", b"k", b"0", signed(body)) == BAD_BODY
    assert await world.records() == []


async def test_another_version_and_other_formats_are_refused() -> None:
    world, body = World(), b"\x01\x00v"
    newer = body + b"kvg\x02" + zlib.crc32(body + b"kvg\x02").to_bytes(4, "big")
    redis = b"\x00\x011\x0a\x00\xf5\x9e\xcf\x5e\x12\xbc\x7d\x3f"  # what Redis 7.0 dumps looks like this
    for payload in (newer, redis, b"", b"kvg\x01", signed(b"")[:7]):
        assert await world.ask(b"RESTORE", b"k", b"0", payload) == BAD_FOOT
    assert await world.ask(b"RESTORE", b"k", b"0", signed(b"\x01")) == BAD_FOOT  # too short for a type and flags


@pytest.mark.parametrize("fields", [1, 5, 129, 2000])
async def test_hashes_go_from_store_to_store(fields: int) -> None:
    here, there = World(), World()
    pairs = {b"f%d" % number: b"v%d" % number for number in range(fields)} | {b"": b"", b"n" * 500: bytes(2 * CHUNK)}
    await here.ask(b"HSET", b"h", *(word for pair in pairs.items() for word in pair))
    payload = await here.ask(b"DUMP", b"h")
    assert isinstance(payload, bytes)
    assert await there.ask(b"SET", b"h", bytes(9 * CHUNK), b"EX", b"50") == OK
    assert await there.ask(b"RESTORE", b"h", b"90000", payload, b"REPLACE") == OK
    assert await there.ask(b"HLEN", b"h") == len(pairs)
    assert await there.ask(b"HMGET", b"h", *pairs) == [*pairs.values()]
    assert await there.ask(b"TTL", b"h") == 90
    again = await there.ask(b"DUMP", b"h")
    assert isinstance(again, bytes)
    assert len(again) == len(payload)
    await there.sweep()
    assert await there.ask(b"HLEN", b"h") == len(pairs)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 1])
@pytest.mark.parametrize(("version", "flags"), [(b"0", b"0"), (b"9223372036854775807", b"4294967295")])
async def test_versioned_strings_go_from_store_to_store(size: int, version: bytes, flags: bytes) -> None:
    here, there = World(), World()
    value = b"v" * size
    await here.ask(b"EXSET", b"k", value, b"ABS", version, b"FLAGS", flags, b"EX", b"50")
    payload = await here.ask(b"DUMP", b"k")
    assert isinstance(payload, bytes)
    assert await there.ask(b"RESTORE", b"k", b"90000", payload) == OK
    assert await there.ask(b"EXGET", b"k", b"WITHFLAGS") == [value, int(version), int(flags)]
    assert await there.ask(b"TTL", b"k") == 90
    assert await there.ask(b"DUMP", b"k") == payload
    assert await there.ask(b"RESTORE", b"k", b"0", payload) == b"BUSYKEY Target key name already exists."
    assert await there.ask(b"EXSET", b"k", b"", b"WITHVERSION") == (1 if version == b"0" else -(2**63))


async def test_what_is_restored_expired_leaves_nothing_behind() -> None:
    world = World()
    await world.ask(b"HSET", b"h", b"f", bytes(2 * CHUNK), b"g", bytes(9000))
    payload = await world.ask(b"DUMP", b"h")
    assert isinstance(payload, bytes)
    await world.ask(b"DEL", b"h")
    await world.ask(b"SET", b"k", b"v")
    await world.sweep()
    assert await world.ask(b"RESTORE", b"k", b"1", payload, b"ABSTTL", b"REPLACE") == OK
    assert await world.ask(b"RESTORE", b"k", b"1", payload, b"ABSTTL") == OK
    assert await world.ask(b"EXISTS", b"k") == 0
    assert await world.records(b"D", b"E") == await world.records(b"M", b"N") == await world.records(b"X", b"Y") == []
