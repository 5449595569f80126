"""Measuring replies: `measure`, `Measurer`, `decode_at` and independent parsers agree where each ends, at every cut."""

import random
import tracemalloc
from collections.abc import Callable

import hiredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvgate.errors import ProtocolError
from kvgate.wire.measure import Measurer, measure
from kvgate.wire.reply import (
    BigNumber,
    Boolean,
    Double,
    Error,
    Map,
    Push,
    Reply,
    SetOf,
    Simple,
    Verbatim,
    decode,
    decode_at,
    encode,
)
from tests.support.resp import reply_end
from tests.wire.feeding import at_cuts, bytewise, cuts
from tests.wire.replies import MISLEADING, array, bulk, raw_replies, values

TRAILING = b"$3\r\nfoo\r\n*2\r\n"


def measured(portions: list[bytes]) -> list[int]:
    """What a new `Measurer` says to each portion, up to the one in which the reply ends."""
    measurer, said = Measurer(), []
    for portion in portions:
        said.append(measurer.feed(portion, 0))
        if said[-1] >= 0:
            break
    return said


def check_ends(raw: bytes) -> None:
    """Every judge finds the end of `raw`, alone and in the midst of other bytes."""
    assert decode_at(raw, 0)[1] == len(raw)
    assert reply_end(raw) == len(raw)
    assert measure(raw, 0) == len(raw)
    assert measure(TRAILING + raw + TRAILING, len(TRAILING)) == len(TRAILING) + len(raw)
    assert Measurer().feed(TRAILING + raw + TRAILING, len(TRAILING)) == len(TRAILING) + len(raw)


def check_cut(raw: bytes, cut: int) -> None:
    """Before `cut` more is wanted, with the rest the end is found, and not a byte later."""
    assert measure(raw[:cut], 0) == -1, cut
    assert measured([raw[:cut], raw[cut:] + TRAILING]) == [-1, len(raw) - cut], cut


@settings(max_examples=300, deadline=None)
@given(raw_replies, cuts)
@example(array([b"$-1\r\n"] * 20), [])
@example(array([bulk(b"")] * 20), [])
@example(array([b"*0\r\n"] * 20), [])
@example(array([array([bulk(b"a")] * 9, b"~")] * 9, b">"), [])
@example(array([bulk(b"key") + b":1\r\n"], b"|") + bulk(b"value"), [])
def test_ends_at_some_cuts(raw: bytes, where: list[int]) -> None:
    check_ends(raw)
    for cut in where:
        if 0 < cut < len(raw):
            check_cut(raw, cut)
    portions = at_cuts(raw, where)
    assert measured(portions) == [-1] * (len(portions) - 1) + [len(portions[-1])]
    assert measured(bytewise(raw)) == [-1] * (len(raw) - 1) + [1]


def same(ours: Reply, theirs: object) -> bool:
    """Whether hiredis, which has fewer types and reads the text of an error as UTF-8, means the same value."""
    if isinstance(ours, list | SetOf | Push):
        items = ours if isinstance(ours, list) else ours.items
        return isinstance(theirs, list) and len(items) == len(theirs) and all(map(same, items, theirs))
    if isinstance(ours, Map):
        keys, held = [key for key, _ in ours.pairs], [value for _, value in ours.pairs]
        return isinstance(theirs, dict) and same(keys, [*theirs]) and same(held, [*theirs.values()])
    if isinstance(ours, Error):
        return isinstance(theirs, hiredis.ReplyError)
    if isinstance(ours, Double):
        return float(ours.text) == theirs
    if isinstance(ours, Boolean):
        return ours.value is theirs
    if isinstance(ours, BigNumber):
        return ours.digits == theirs
    if isinstance(ours, Simple | Verbatim):
        return ours.text == theirs
    return ours == theirs and type(ours) is type(theirs)


@settings(max_examples=200, deadline=None)
@given(values, st.sampled_from([2, 3]))
def test_hiredis_reads_the_same_replies(value: Reply, proto: int) -> None:
    raw = encode(value, proto)
    check_ends(raw)
    reader = hiredis.Reader()
    reader.feed(raw + b"+behind\r\n")
    assert same(decode(raw), reader.gets())
    assert reader.gets() == b"behind"


def _mixed(seed: int, count: int, longest: int) -> list[bytes]:
    chance = random.Random(seed)
    return [bulk(b"v" * chance.randint(0, longest)) for _ in range(count)]


def _with_others(others: list[bytes], every: int) -> list[bytes]:
    return [others[i // every % len(others)] if i % every == 0 else bulk(b"v" * (i % 7)) for i in range(120)]


LARGE = {
    "equal": array([bulk(b"v" * 43)] * 100),
    "equal, longer than a block's pattern": array([bulk(b"v" * 1001)] * 12),
    "equal empty": array([bulk(b"")] * 200),
    "equal null": array([b"$-1\r\n"] * 200),
    "equal, one of them longer": array([bulk(b"v" * 5)] * 70 + [bulk(b"v" * 6)] + [bulk(b"v" * 5)] * 70),
    "equal headers in values": array([bulk(b"$3\r\nfoo\r\n")] * 100),
    "two lengths in turn": array([bulk(b"field"), bulk(b"value 123")] * 60),
    "mixed": array(_mixed(1, 150, 20)),
    "mixed, three digits": array(_mixed(2, 20, 300)),
    "around four digits": array([bulk(b"v" * n) for n in (999, 1000, 9, 10, 99, 100, 1001, 0, 1)] * 2),
    "with longer ones": array(_with_others([bulk(b"v" * 1200)], 30)),
    "with arrays": array(_with_others([b"*0\r\n", b"*-1\r\n", array([bulk(b"a")] * 3)], 11)),
    "with attributes": array(_with_others([array([bulk(b"k") + bulk(b"v")], b"|") + b":1\r\n"], 13)),
    "with lines": array(_with_others([b"+OK\r\n", b"-ERR no\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(12\r\n"], 2)),
    "with verbatim and errors": array(_with_others([bulk(b"txt:a\r\nb", b"="), bulk(b"ERR \r\n", b"!")], 3)),
    "misleading": array([bulk(text) for text in MISLEADING] * 12),
    "integers": array([b":%d\r\n" % n for n in range(200)]),
    "a map": array([bulk(b"f%d" % n) + bulk(b"v" * (n % 9)) for n in range(60)], b"%"),
    "a set": array(_mixed(3, 80, 12), b"~"),
    "nested": array([array(_mixed(n, 12, 12)) for n in range(12)]),
    "small nested": array([array([bulk(b"v"), b":1\r\n"]) for _ in range(60)]),
}


@pytest.mark.parametrize("raw", LARGE.values(), ids=LARGE)
def test_ends_of_large_replies_at_every_cut(raw: bytes) -> None:
    check_ends(raw)
    for cut in range(1, len(raw)):
        check_cut(raw, cut)
    assert measured(bytewise(raw)) == [-1] * (len(raw) - 1) + [1]


@pytest.mark.parametrize("count", range(25))
@pytest.mark.parametrize("value", [bulk(b"v"), b":1\r\n", bulk(b"v" * 1500), array([bulk(b"a"), bulk(b"bc")])])
def test_no_run_reaches_into_the_next_reply(count: int, value: bytes) -> None:
    raw = array([value] * count)
    data = raw + value * 100
    assert measure(data, 0) == len(raw)
    assert Measurer().feed(data, 0) == len(raw)


def by_measure(raw: bytes) -> int:
    return measure(raw, 0)


def by_measurer(raw: bytes) -> int:
    return Measurer().feed(raw, 0)


def by_measurer_bytewise(raw: bytes) -> int:
    return measured(bytewise(raw))[-1]


judges = pytest.mark.parametrize("judge", [by_measure, by_measurer, by_measurer_bytewise])


@judges
@pytest.mark.parametrize("before", [b"", b"*2\r\n+OK\r\n", array([bulk(b"v")] * 20).replace(b"*20", b"*40")])
def test_what_begins_no_reply_is_refused_at_its_first_byte(judge: Callable[[bytes], int], before: bytes) -> None:
    for byte in set(range(256)) - set(b"+-:_#,($=!*~>%|"):
        for end in (b"", b"TTP/1.1 400 Bad Request\r\n"):
            with pytest.raises(ProtocolError, match="begins no reply"):
                judge(before + bytes([byte]) + end)


@judges
@pytest.mark.parametrize("header", [b"$\r\n", b"$x\r\n", b"*1x\r\n", b"*\r\n", b"$?\r\n", b"%one\r\n", b"$3.0\r\n"])
def test_a_header_without_a_length_is_refused(judge: Callable[[bytes], int], header: bytes) -> None:
    with pytest.raises(ProtocolError, match="has no length"):
        judge(header)
    with pytest.raises(ProtocolError, match="has no length"):
        judge(array([bulk(b"v")] * 20 + [header]) + bulk(b"v"))


def test_nothing_of_a_large_reply_is_kept() -> None:
    portion, measurer = bytes(1 << 16), Measurer()
    tracemalloc.start()
    try:
        assert measurer.feed(b"*2\r\n:1\r\n$%d\r\n" % (1024 * len(portion)), 0) == -1
        for _ in range(1024):
            assert measurer.feed(portion, 0) == -1
        assert measurer.feed(b"\r", 0) == -1
        assert measurer.feed(b"\n+OK\r\n", 0) == 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
