"""docs/keyspace.md is what is stored: its vectors, byte for byte, and the properties that listings rely on."""

import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.model import keyspace as ks
from kvgate.model.elements import (
    Element,
    decode_element,
    decode_versioned,
    encode_element,
    encode_small,
    encode_versioned,
    find_versioned,
    record_element,
)
from kvgate.model.meta import (
    CHUNK,
    EXHASH,
    HASH,
    STRING,
    FieldTimes,
    Meta,
    Outside,
    StoreHeader,
    UnreadableRecordError,
    decode,
    decode_counter,
    decode_header,
    decode_progress,
    encode,
    encode_counter,
    encode_header,
    encode_progress,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keyspace.md"
LONG = b"Ads.Profile:" + b"x" * 400
MS = 1_700_000_000_000
VERSIONED_FIELD = ks.field_key(0x0102030405060708, b"f", ks.EXHASH_FIELD_KIND)


def stored(meta: Meta) -> bytes:
    """The bytes of a meta with the generation, revision and long key that it has."""
    return encode(meta, meta.generation, meta.revision, meta.long_key)


VECTORS: dict[str, bytes] = {
    "meta key of `k`": ks.meta_key(b"k"),
    "meta key of the empty key": ks.meta_key(b""),
    "meta key of `Ads.Profile:user:1`": ks.meta_key(b"Ads.Profile:user:1"),
    "meta key of `Ads.Profile:` and 400 `x`": ks.meta_key(LONG),
    "meta key of 65 bytes with a dot, then `:`": ks.meta_key(b"a." + b"b" * 63 + b":"),
    "group record of the empty group": ks.group_key(b""),
    "group record of `Ads.Profile`": ks.group_key(b"Ads.Profile"),
    "generation record of the store": ks.STORE_GENERATION,
    "expiry entry of `Ads.Profile:user:1` at 1700000000000": ks.expiry_key(ks.meta_key(b"Ads.Profile:user:1"), MS),
    "chunk 3 under id 0102030405060708": ks.chunk_key(0x0102030405060708, 3),
    "field `f` under id 0102030405060708": ks.field_key(0x0102030405060708, b"f"),
    "field of 401 `x` under id 0102030405060708": ks.field_key(0x0102030405060708, b"x" * 401),
    "chunk 3 of the value 1112131415161718 under id 0102030405060708": ks.value_chunk_key(
        0x0102030405060708, 0x1112131415161718, 3
    ),
    "element with the value `v`": encode_element(Element(b"v")),
    "element with an empty value": encode_element(Element(b"")),
    "element with the value `v` whose field is `abc`, were that long": encode_element(Element(b"v", long_name=b"abc")),
    "element with a value of 40000 bytes under value id 1112131415161718": encode_element(
        Element(outside=Outside(0x1112131415161718, 40_000, CHUNK))
    ),
    "small hash of `f` = `v` and `g` = ``": encode_small({b"f": b"v", b"g": b""}),
    "versioned field `f` under id 0102030405060708": VERSIONED_FIELD,
    "expiry at 1700000000000 of the versioned field `f` under id 0102030405060708": ks.field_expiry(VERSIONED_FIELD, MS)[0],
    "its value": ks.field_expiry(VERSIONED_FIELD, MS)[1],
    "element with the value `v`, version 3": encode_element(Element(b"v", version=3)),
    "element with the value `v`, version 3, expires 1700000000000, whose field is `abc`, were that long": encode_element(
        Element(b"v", long_name=b"abc", expires=MS, version=3)
    ),
    "small versioned hash of `f` = `v`, version 3, expires 1700000000000, and `g` = ``, version 0": encode_versioned(
        {b"f": Element(b"v", expires=MS, version=3), b"g": Element()}
    ),
    "queued id 0102030405060708": ks.queued_id(0x0102030405060708),
    "queued flush of `Ads.Profile`": ks.queued_group(b"Ads.Profile"),
    "queued flush of the store": ks.QUEUE_STORE,
    "string `v`, generation 0, revision 7": stored(Meta(STRING, 0, 7, payload=b"v")),
    "empty string, generation 5, revision 9, expires 1700000000000": stored(Meta(STRING, 5, 9, expires=MS)),
    "string of 40000 bytes under id 0102030405060708": stored(
        Meta(STRING, 0, 7, outside=Outside(0x0102030405060708, 40_000, CHUNK))
    ),
    "string `v` whose key is `abc`, were that long": stored(Meta(STRING, 0, 7, payload=b"v", long_key=b"abc")),
    "exstring `v`, version 3, marks 4, expires 1700000000000": stored(
        Meta(6, 0, 7, expires=MS, payload=b"v", version=3, marks=4)
    ),
    "hash of 1000 fields under id 0102030405060708": stored(Meta(HASH, 0, 7, outside=Outside(0x0102030405060708, 1000, 0))),
    "versioned hash of 1000 fields under id 0102030405060708: 998 last, two expire at 1700000000000 and 2 ms later": stored(
        Meta(EXHASH, 0, 7, outside=Outside(0x0102030405060708, 1000, 0), times=FieldTimes(MS, MS + 2, 998))
    ),
    "generation or revision 258": encode_counter(258),
    "header, formats 1 and 1, created 1700000000000, id 16 times 0a": encode_header(StoreHeader(1, 1, MS, b"\x0a" * 16)),
    "progress of the flush with generation 5, at position 7": encode_progress(5, 7),
}


def documented() -> dict[str, bytes]:
    """The rows of the last table."""
    text = DOCUMENT.read_text("utf-8").partition("<!-- vectors -->")[2]
    rows = re.findall(r"^\| (.+?) \| `([0-9a-f·]+)` \|$", text, re.MULTILINE)
    return {name: bytes.fromhex(row.replace("·", "")) for name, row in rows}


def test_the_document_has_every_vector_and_no_other() -> None:
    assert documented().keys() == VECTORS.keys()


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    assert VECTORS[name].hex() == documented()[name].hex()


@pytest.mark.parametrize(
    ("key", "group"),
    [
        (b"Ads.Profile:1", b"Ads.Profile"),
        (b"a.b:c:d", b"a.b"),
        (b"ads:1", b""),
        (b"Ads.Profile", b""),
        (b":a.b:", b""),
        (b"", b""),
        (b"." + b"x" * 63 + b":", b"." + b"x" * 63),
        (b"." + b"x" * 64 + b":", b""),
    ],
)
def test_group(key: bytes, group: bytes) -> None:
    assert ks.group_of(key) == group


keys = st.one_of(st.binary(max_size=450), st.binary(max_size=5).map(lambda rest: b"Ads.T:" + rest))


@given(keys)
def test_a_metas_key_holds_what_listings_need(key: bytes) -> None:
    place, group = ks.locate(key)
    assert group == ks.group_of(key)
    assert ks.position_in(place) == ks.position_of(key)
    assert ks.position_of(key) >> 36 == ks.bucket_of(group)
    assert ks.text_in(place) == (key if len(key) <= ks.TEXT_LIMIT else None)
    assert ks.metas_from(ks.position_of(key)) <= place < ks.metas_from(ks.position_of(key) + 1)
    assert ks.expiry_in(ks.expiry_key(place, MS)) == (MS, place)
    assert len(ks.expiry_key(place, MS)) <= 440
    assert ks.group_in(ks.group_key(group)) == (ks.bucket_of(group), group)


@given(keys, keys)
def test_different_keys_have_different_metas(one: bytes, other: bytes) -> None:
    assert (ks.meta_key(one) == ks.meta_key(other)) == (one == other)


@given(st.binary(max_size=450), st.integers(0, 2**63 - 1))
def test_the_expiry_of_a_field_names_the_field(field: bytes, ms: int) -> None:
    element = ks.field_key(7, field, ks.EXHASH_FIELD_KIND)
    entry, value = ks.field_expiry(element, ms)
    assert ks.expiring_field(entry, value) == (ms, element)
    assert len(entry) <= 440
    first, end = ks.field_expiries(7, ms)
    assert first <= entry < end
    assert ms == 0 or not first <= entry < ks.field_expiries(7, ms - 1)[1]
    assert ks.fields_from(7, ks.place_in(element), ks.EXHASH_FIELD_KIND) <= element < ks.fields_from(
        7, ks.PLACES, ks.EXHASH_FIELD_KIND
    )


elements = st.builds(
    Element,
    value=st.binary(max_size=10),
    expires=st.integers(0, 2**64 - 1),
    version=st.integers(-(2**63), 2**63 - 1),
)


@given(st.dictionaries(st.binary(max_size=5), elements))
def test_small_versioned_hashes_come_back(fields: dict[bytes, Element]) -> None:
    payload = encode_versioned(fields)
    assert list(decode_versioned(payload).items()) == list(fields.items())
    for name in (*fields, b"none of them"):
        record = find_versioned(payload, name)
        assert (None if record is None else record_element(name, record)) == fields.get(name)


@given(elements, st.none() | st.binary(max_size=500))
def test_versioned_elements_come_back(element: Element, long_name: bytes | None) -> None:
    element = attrs.evolve(element, long_name=long_name)
    assert decode_element(encode_element(element)) == element


def test_due_entries_are_in_the_range_and_later_ones_are_not() -> None:
    place = ks.meta_key(b"k")
    start, end = ks.expiries(place[6], MS)
    assert start <= ks.expiry_key(place, MS) < end
    assert not start <= ks.expiry_key(place, MS + 1) < end


metas = st.builds(
    Meta,
    type=st.sampled_from([1, 2, 6, 7]),
    generation=st.integers(0, 2**64 - 1),
    revision=st.integers(0, 2**64 - 1),
    expires=st.integers(0, 2**63 - 1),
    payload=st.binary(max_size=40),
    outside=st.none() | st.builds(Outside, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
    long_key=st.none() | st.binary(max_size=500),
    version=st.none() | st.integers(0, 2**64 - 1),
    marks=st.none() | st.integers(0, 2**32 - 1),
    times=st.none() | st.builds(FieldTimes, *[st.integers(0, 2**64 - 1)] * 3),
)


@given(metas)
def test_metas_come_back(meta: Meta) -> None:
    assert decode(stored(meta)) == meta


def test_other_records_come_back() -> None:
    header = StoreHeader(3, 2, MS, bytes(range(16)))
    assert decode_header(encode_header(header)) == header
    assert decode_header(encode_header(header) + b"what a newer format adds") == header
    assert decode_counter(encode_counter(2**64 - 1)) == 2**64 - 1
    assert decode_counter(None) == 0
    assert decode_progress(encode_progress(5, 7)) == (5, 7)


@pytest.mark.parametrize("raw", [b"\x63" + bytes(17), b"\x01\x40" + bytes(16), b"\x01\x80" + bytes(16)])
def test_unknown_types_and_flags_are_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableRecordError, match="unknown to this version"):
        decode(raw)


def test_other_unknown_records_are_refused() -> None:
    for refused in (decode_counter, decode_header, decode_progress):
        with pytest.raises(UnreadableRecordError):
            refused(b"\x02" + bytes(14 if refused is decode_progress else 40))
