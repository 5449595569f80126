"""Slots: the hash, the tag rule beside a real server's, and the slot table."""

import binascii
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.routing.slots import crc32_slot, hash_text, parse_range, slot_table
from tests.support.ports import free_port
from tests.support.servers import RedisServers

TAGGED = [
    b"key",
    b"{tag}key",
    b"a{tag}b",
    b"{}key",
    b"{}{tag}",
    b"{{tag}}",
    b"{tag}{other}",
    b"{tag",
    b"tag}",
    b"}{tag}",
    b"a{b",
    b"{",
    b"}",
    b"{}",
    b"Ads.Profile:{user1}:x",
    b"\x00{\xff}\x00",
]


def test_tag_rule_is_redis_cluster_s(redis_servers: RedisServers) -> None:
    server = redis_servers(config=["--cluster-enabled", "yes", "--cluster-port", str(free_port())])
    with server.client() as client:
        for key in [*TAGGED, *(bytes([a, b, c, d]) for a in b"{}x" for b in b"{}x" for c in b"{}x" for d in b"{}x")]:
            theirs = client.cmd("CLUSTER", "KEYSLOT", key)
            assert binascii.crc_hqx(hash_text(key), 0) % 16384 == theirs, key


@given(st.binary(max_size=12), st.binary(max_size=12), st.binary(min_size=1, max_size=12))
def test_keys_with_one_tag_share_a_slot(before: bytes, after: bytes, tag: bytes) -> None:
    before, tag = before.replace(b"{", b""), tag.replace(b"}", b"") or b"t"
    assert hash_text(before + b"{" + tag + b"}" + after) == tag


def test_slot_is_zlib_s_crc32() -> None:
    # the CRC-32 check value of "123456789" (ISO-HDLC, RFC 1952's)
    assert crc32_slot(1 << 32)(b"123456789") == 0xCBF43926
    assert crc32_slot(1024)(b"Ads.Profile:1") == zlib.crc32(b"Ads.Profile:1") % 1024


@pytest.mark.parametrize(("text", "range_"), [("0-511", (0, 511)), ("7", (7, 7)), (" 3-3 ", (3, 3))])
def test_ranges(text: str, range_: tuple[int, int]) -> None:
    assert parse_range(text) == range_


@pytest.mark.parametrize("text", ["", "a", "5-3", "-1", "1-", "1-2-3", "1,2", "0x1", "9999999999"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="slot range"):
        parse_range(text)


def test_whole_table() -> None:
    table, mistakes = slot_table({"0-1": 0, "2": 1, "3": 0}, 4)
    assert mistakes == []
    assert table == [0, 0, 1, 0]


def test_gaps_are_named() -> None:
    assert slot_table({"0-3": 0, "6-8": 1}, 12)[1] == [("", "no group has slots 4-5, 9-11")]


def test_overlaps_are_named_with_both_ranges() -> None:
    _, mistakes = slot_table({"0-5": 0, "4-9": 1, "9": 0}, 10)
    assert mistakes == [("4-9", 'slots 4-5 are in "0-5" too'), ("9", 'slots 9 are in "4-9" too')]


def test_slots_beyond_the_last_are_a_mistake() -> None:
    assert slot_table({"0-10": 0}, 10)[1] == [("0-10", "there are 10 slots, 0-9")]
    assert slot_table({"0-9": 0, "999999999": 0}, 10)[1] == [("999999999", "there are 10 slots, 0-9")]


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 40))
def test_cuts_anywhere_make_a_whole_table(cuts: list[int], slots: int) -> None:
    edges = sorted({0, slots, *(cut for cut in cuts if cut < slots)})
    ranges = {f"{first}-{end - 1}": shard for shard, (first, end) in enumerate(pairwise(edges))}
    table, mistakes = slot_table(ranges, slots)
    assert mistakes == []
    assert table == sorted(table)
    assert len(table) == slots
