"""Encoding and decoding replies: round trips, the RESP2 forms, what is refused, and that errors stay one line."""

import pytest
from hypothesis import given, settings

from kvgate.errors import ProtocolError
from kvgate.wire.reply import (
    NULL_ARRAY,
    OK,
    BigNumber,
    Boolean,
    Bulks,
    Double,
    Error,
    Map,
    PairsOf,
    Push,
    Reply,
    SetOf,
    Simple,
    Verbatim,
    decode,
    decode_at,
    encode,
)
from tests.wire.replies import values


def in_resp2(reply: Reply) -> Reply:
    """What a RESP2 client sees of `reply`."""
    if isinstance(reply, Map):
        return [in_resp2(item) for pair in reply.pairs for item in pair]
    if isinstance(reply, SetOf | Push):
        return [in_resp2(item) for item in reply.items]
    if isinstance(reply, list):
        return [in_resp2(item) for item in reply]
    if isinstance(reply, Boolean):
        return int(reply.value)
    if isinstance(reply, Double | Verbatim):
        return reply.text
    return reply.digits if isinstance(reply, BigNumber) else reply


@settings(deadline=None)
@given(values)
def test_values_come_back(value: Reply) -> None:
    assert decode(encode(value, 3)) == value
    assert decode(encode(value, 2)) == in_resp2(value)
    assert decode_at(b"+OK\r\n" + encode(value, 3) + b"+OK\r\n", 5) == (value, 5 + len(encode(value, 3)))


PAIRS: "list[tuple[Reply, Reply]]" = [(b"a", b"1"), (b"", b"2")]


def test_pairs_are_nested_in_resp3_alone() -> None:
    assert decode(encode(PairsOf(PAIRS), 3)) == [[b"a", b"1"], [b"", b"2"]]
    assert decode(encode(PairsOf(PAIRS), 2)) == [b"a", b"1", b"", b"2"]
    assert encode(PairsOf([]), 2) == encode(PairsOf([]), 3) == b"*0\r\n"


def test_strings_that_are_encoded_already() -> None:
    pieces = [b"$1\r\na\r\n$1\r\n1\r\n", b"$0\r\n\r\n", b"$1\r\n2\r\n"]
    assert encode(Bulks(4, pieces, pairs=True), 3) == encode(Map(PAIRS), 3)
    assert encode(Bulks(4, pieces, pairs=True), 2) == encode(Map(PAIRS), 2)
    for proto in (2, 3):
        assert encode(Bulks(4, pieces), proto) == encode([b"a", b"1", b"", b"2"], proto)
    assert encode([Bulks(4, pieces), Bulks(0, [])], 2) == encode([[b"a", b"1", b"", b"2"], []], 2)


@settings(deadline=None)
@given(values)
def test_a_reply_that_is_cut_or_has_more_behind_it_is_refused(value: Reply) -> None:
    raw = encode(value, 3)
    for cut in {0, 1, len(raw) // 2, len(raw) - 1}:
        with pytest.raises(ProtocolError, match="ends too early"):
            decode(raw[:cut])
    with pytest.raises(ProtocolError, match="bytes after the end"):
        decode(raw + b"\r")


@pytest.mark.parametrize(
    ("value", "two", "three"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (Error(b"ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (-5, b":-5\r\n", b":-5\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ([b"a", None, [1]], b"*3\r\n$1\r\na\r\n$-1\r\n*1\r\n:1\r\n", b"*3\r\n$1\r\na\r\n_\r\n*1\r\n:1\r\n"),
        (Map([(b"a", 1)]), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        (SetOf([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
        (Push([1]), b"*1\r\n:1\r\n", b">1\r\n:1\r\n"),
        (Double(b"1.5"), b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (Boolean(value=True), b":1\r\n", b"#t\r\n"),
        (Boolean(value=False), b":0\r\n", b"#f\r\n"),
        (BigNumber(b"12"), b"$2\r\n12\r\n", b"(12\r\n"),
        (Verbatim(b"a"), b"$1\r\na\r\n", b"=5\r\ntxt:a\r\n"),
        (Verbatim(b"a", b"mkd"), b"$1\r\na\r\n", b"=5\r\nmkd:a\r\n"),
    ],
)
def test_forms(value: Reply, two: bytes, three: bytes) -> None:
    assert encode(value) == two
    assert encode(value, 3) == three


def test_what_a_client_wrote_cannot_end_the_line_of_an_error() -> None:
    assert encode(Error(b"ERR no such thing: 'a\r\n+OK\r\n'")) == b"-ERR no such thing: 'a  +OK  '\r\n"


def test_a_python_bool_is_refused_since_it_would_pass_as_an_integer() -> None:
    with pytest.raises(TypeError):
        encode(True)


def test_null_arrays_and_attributes_are_decoded() -> None:
    assert decode(b"*-1\r\n") is NULL_ARRAY
    assert decode(b"|1\r\n+ttl\r\n:5\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n") == [1, 2]
    assert decode(b"!8\r\nERR a\r\nb\r\n") == Error(b"ERR a\r\nb")
    assert decode(b"+\r\n") == Simple(b"")


@pytest.mark.parametrize("raw", [b"x\r\n", b"\r\n", b"\x00\r\n", b"*1\r\nx1\r\n", b"$x\r\n", b":1.5\r\n", b"*\r\n"])
def test_what_is_no_reply_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(raw)
