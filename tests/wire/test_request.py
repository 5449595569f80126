"""The request scanner by itself: every way of cutting the stream gives the same requests, limits hold, costs are linear."""

import time
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvgate.errors import ProtocolError
from kvgate.wire.request import (
    ARGUMENT,
    BULK_LIMIT,
    LINE_LIMIT,
    REQUEST_LIMIT,
    RequestScanner,
    encode_request,
    parse_cursor,
    parse_length,
    split_inline,
)
from tests.wire.feeding import Request, Scanned, at_cuts, bytewise, cuts, scan

misleading = st.sampled_from([b"", b"\r\n", b"*1\r\n", b"$3\r\nfoo\r\n"])
arguments = st.lists(st.one_of(st.binary(max_size=12), misleading), max_size=5)
pieces = [b"*", b"$", b"-", b"0", b"1", b"2", b"4", b"\r", b"\n", b"\r\n", b"\x00", b"a", b'"', b"'", b"\\x4", b" "]
wholes = [b"*0\r\n", b"*-1\r\n", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$1\r\n", b"PING\r\n", b'ECHO "a b"\n']
streams = st.lists(st.sampled_from([*pieces, *wholes]), max_size=12).map(b"".join)

SAMPLE = (
    encode_request([b"SET", b"Ads.Profile:1", b"v\r\n*1\r\n"])
    + b"PING\r\n"
    + b"*0\r\n"
    + encode_request([b""])
    + b"\r\n"
    + b"*2\r\n$4\r\nECHO__$2\r\nab\r\n"
    + b'ECHO "a\\x41" \'b\'\n'
    + b"*-7\r\n"
    + encode_request([b"GET", b"k" * 40])
)
SAMPLE_REQUESTS = [
    Request([b"SET", b"Ads.Profile:1", b"v\r\n*1\r\n"], canonical=True),
    Request([b"PING"], canonical=False),
    Request([], canonical=True),
    Request([b""], canonical=True),
    Request([], canonical=False),
    Request([b"ECHO", b"ab"], canonical=False),
    Request([b"ECHO", b"aA", b"b"], canonical=False),
    Request([], canonical=False),
    Request([b"GET", b"k" * 40], canonical=True),
]


def test_a_stream_fed_whole_byte_by_byte_and_cut_in_two_anywhere() -> None:
    wanted = Scanned(SAMPLE_REQUESTS)
    assert scan([SAMPLE]) == wanted
    assert scan(bytewise(SAMPLE)) == wanted
    for cut in range(1, len(SAMPLE)):
        assert scan(at_cuts(SAMPLE, [cut])) == wanted, cut


def test_what_is_not_whole_is_waited_for_and_not_idle() -> None:
    request = encode_request([b"SET", b"k", b"value"])
    for cut in range(1, len(request)):
        assert scan([request[:cut]]) == Scanned([], idle=False), cut
        trailing = scan([request + request[:cut]])
        assert trailing == Scanned([Request([b"SET", b"k", b"value"], canonical=True)], idle=False), cut


@given(st.lists(arguments, max_size=6), cuts)
def test_encoded_requests_come_back_however_they_are_cut(requests: list[list[bytes]], where: list[int]) -> None:
    data = b"".join(map(encode_request, requests))
    assert scan(at_cuts(data, where)) == Scanned([Request(args, canonical=True) for args in requests])


@settings(max_examples=400)
@given(streams, cuts)
@example(b"*1\r\n$4\x00\r\nPING\r\n", [7])
@example(b"*1\r", [])
@example(b"*1\r\n\r\n", [5])
def test_any_bytes_mean_the_same_however_they_are_cut(data: bytes, where: list[int]) -> None:
    whole = scan([data])
    assert scan(bytewise(data)) == whole
    assert scan(at_cuts(data, where)) == whole


@given(streams)
@example(b"*1\rx$4\r\nPING\r\n")
@example(b"*1\r\n$4\rxPING\r\n")
@example(b"*1\r\n$4\r\nPING\rx")
@example(b"*1\r\n$4\r\nPINGx\n")
def test_canonical_says_that_encoding_gives_the_same_bytes(data: bytes) -> None:
    scanner, pos = RequestScanner(), 0
    while pos < len(data):
        start = pos
        try:
            pos = scanner.feed(data, pos)
        except ProtocolError:
            return
        if scanner.args is not None:
            assert scanner.canonical == (encode_request(scanner.args) == data[start:pos])


LONG = LINE_LIMIT + 1


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (b"", b"inline request"),
        (b"*", b"mbulk count string"),
        (b"*1\r\n$", b"bulk count string"),
        (b"*1\r\n", b"bulk count string"),
    ],
)
@pytest.mark.parametrize("fill", [b"x", b"1", b"\x00"])
@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_line_over_the_limit_is_refused(before: bytes, what: bytes, fill: bytes, end: bytes) -> None:
    line_start = len(before) - before.rfind(b"\n") - 1
    data = before + fill * (LONG - line_start) + end
    wanted = Scanned([], b"-ERR Protocol error: too big " + what + b"\r\n", idle=False)
    assert scan([data]) == wanted
    assert scan(at_cuts(data, range(1000, len(data), 1000))) == wanted
    assert scan([data[: LONG + len(before) - line_start - 1]]) == Scanned([], idle=False), "the limit itself is allowed"


def test_an_inline_command_of_the_limit_is_taken() -> None:
    word = b"x" * (LINE_LIMIT - 5)
    assert scan([b"ECHO " + word + b"\n"]) == Scanned([Request([b"ECHO", word], canonical=False)])


def test_values_over_the_limit_are_dropped_and_the_stream_stays_in_step() -> None:
    data = encode_request([b"SET", b"k", b"v" * 100, b"w" * 300]) + encode_request([b"GET", b"k" * 10])
    dropped = Request([b"SET", b"k", b"", b""], canonical=False, oversized=300)
    wanted = Scanned([dropped, Request([b"GET", b"k" * 10], canonical=True)])
    for portions in ([data], bytewise(data), *(at_cuts(data, [cut]) for cut in range(1, len(data)))):
        assert scan(portions, RequestScanner(value_limit=10)) == wanted


def test_a_dropped_value_is_not_kept_in_memory() -> None:
    scanner, portion = RequestScanner(value_limit=1024), bytes(1 << 16)
    header = b"*2\r\n$3\r\nSET\r\n$%d\r\n" % (256 * len(portion))
    tracemalloc.start()
    try:
        assert scan([header, *[portion] * 256, b"\r\nPING\r\n"], scanner).requests == [
            Request([b"SET", b""], canonical=False, oversized=256 * len(portion)),
            Request([b"PING"], canonical=False),
        ]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_limits_before_authentication_end_with_it() -> None:
    scanner = RequestScanner(authenticated=False)
    assert scan([encode_request([b"x"] * 10)], scanner).error == b""
    scanner.authenticated = True
    assert scan([encode_request([b"x"] * 11), encode_request([b"y" * 16385])], scanner).error == b""


def test_all_arguments_together_have_a_limit() -> None:
    """It is looked at before the bytes come: nothing large is made here."""
    too_big = b"-ERR Protocol error: too big request\r\n"
    header = b"*9\r\n$3\r\nSET\r\n$%d\r\n" % BULK_LIMIT
    assert scan([header]) == Scanned([], idle=False), "the longest value fits"
    scanner = RequestScanner(value_limit=REQUEST_LIMIT)
    scan([b"*3\r\n$3\r\nSET\r\n"], scanner)
    rest = REQUEST_LIMIT - scanner.size - ARGUMENT
    scanner.size += rest - 1000
    assert scan([b"$1000\r\n"], scanner).error == b""
    scanner = RequestScanner(value_limit=REQUEST_LIMIT)
    scan([b"*3\r\n$3\r\nSET\r\n"], scanner)
    scanner.size += rest - 1000
    assert scan([b"$1001\r\n"], scanner).error == too_big


def test_many_short_arguments_weigh_more_than_their_text() -> None:
    scanner = RequestScanner()
    assert scan([b"*1000\r\n" + b"$1\r\nx\r\n" * 999], scanner).error == b""
    assert scanner.held == 999 * (1 + ARGUMENT)
    scan([b"$1\r\nx\r\n"], scanner)
    assert scanner.held == scanner.size == 0


def test_what_is_half_read_is_counted_as_it_comes() -> None:
    scanner = RequestScanner(value_limit=1000)
    held = []
    for data in (b"*3\r\n$3\r", b"\nSET\r\n$500\r\n", b"v" * 100, b"v" * 400 + b"\r\n", b"$2000\r\n", b"w" * 1900):
        scan([data], scanner)
        held.append(scanner.held)
    base = 3 + ARGUMENT
    assert held == [3, base + ARGUMENT - 2, base + ARGUMENT + 98, base + 500 + ARGUMENT, base + 500 + 2 * ARGUMENT,
                    base + 500 + 2 * ARGUMENT], "a value that is dropped is not held"  # fmt: skip


@pytest.mark.alone
def test_a_large_value_in_small_portions_costs_linear_time() -> None:
    portions = [b"v" * (1 << 16)] * 1024
    header = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (64 << 20)
    joining, scanning = [], []
    for _ in range(3):
        start = time.process_time()
        value = b"".join(portions)
        joining.append(time.process_time() - start)
        start = time.process_time()
        scanned = scan([header, *portions, b"\r", b"\n"])
        scanning.append(time.process_time() - start)
        assert scanned == Scanned([Request([b"SET", b"k", value], canonical=True)])
    assert min(scanning) < 20 * min(joining), "one copy; a copy of all that came before for each portion would be 512 copies"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"7", 7),
        (b"-1", -1),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        *((text, None) for text in (b"", b"-", b"00", b"01", b"-0", b"-01", b"+1", b" 1", b"1 ", b"1_0", b"1\x00", b"--1")),
        *((text, None) for text in (b"9223372036854775808", b"-9223372036854775809", b"1" * 40, "\u0661".encode())),
    ],
)
def test_lengths(text: bytes, value: int | None) -> None:
    assert parse_length(text) == value


@given(st.lists(st.binary()))
def test_quoted_arguments_survive_splitting(args: list[bytes]) -> None:
    quoted = b" ".join(b'"' + b"".join(b"\\x%02x" % byte for byte in arg) + b'"' for arg in args)
    assert split_inline(quoted) == args


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        *((b"0", 0), (b"", 0), (b"007", 7), (b"+5", 5), (b"-0", 0), (b"-1", 2**64 - 1), (b"18446744073709551615", 2**64 - 1)),
        *((b"5\x00junk", 5), (b"\x00", 0), (b"00000000000000000000000000001", 1)),
        *((b"x", None), (b" 0", None), (b"0 ", None), (b"0x1", None), (b"1.0", None), (b"-", None)),
        (b"18446744073709551616", None),
    ],
)
def test_cursors_are_read_as_redis_reads_them(text: bytes, cursor: int | None) -> None:
    assert parse_cursor(text) == cursor
