"""PROXY v2 headers: every cut, both families, what balancers say of themselves, and what is refused."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.lane.proxy_protocol import HEADER, LONGEST, SIGNATURE, BadProxyHeader, parse


def header(family: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


PORTS = struct.pack("!HH", 51000, 6380)
V4 = socket.inet_aton("10.1.2.3") + socket.inet_aton("10.0.0.1") + PORTS
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + PORTS
TLV = b"\x04\x00\x03abc"

GOOD = [
    (header(0x11, V4), ("10.1.2.3", 51000)),
    (header(0x11, V4 + TLV), ("10.1.2.3", 51000)),
    (header(0x21, V6), ("2001:db8::7", 51000)),
    (header(0x21, V6 + TLV * 600), ("2001:db8::7", 51000)),
    (header(0x00, b"", command=0x20), None),
    (header(0x11, V4, command=0x20), None),
    (header(0x00, b""), None),
    (header(0x31, b"/a".ljust(216, b"\0")), None),
    (header(0x12, V4), None),
]


@pytest.mark.parametrize(("head", "source"), GOOD)
def test_a_header_is_read_at_its_end_and_not_before(head: bytes, source: tuple[str, int] | None) -> None:
    for cut in range(len(head)):
        assert parse(head[:cut]) is None, cut
    for more in (b"", b"*1\r\n$4\r\nPING\r\n", head):
        assert parse(head + more) == (len(head), source)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"*1\r\n$4\r\nPING\r\n", "signature"),
        (b"PROXY TCP4 10.1.2.3 10.0.0.1 51000 6380\r\n", "signature"),
        (b"\r\n\r\n\x00\r\nQUIT\r", "signature"),
        (header(0x11, V4, command=0x11), "version and command 0x11"),
        (header(0x11, V4, command=0x22), "version and command 0x22"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, LONGEST - HEADER + 1), "too long"),
        (header(0x11, V4[:-1]), "cut off"),
        (header(0x21, V6[:-1]), "cut off"),
        (header(0x11, b""), "cut off"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadProxyHeader, match=why):
        parse(data)


def test_the_longest_header_is_taken() -> None:
    head = header(0x11, V4.ljust(LONGEST - HEADER, b"\0"))
    assert len(head) == LONGEST
    assert parse(head) == (LONGEST, ("10.1.2.3", 51000))


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda rest: SIGNATURE + rest)))
def test_any_bytes_are_read_refused_or_waited_for(data: bytes) -> None:
    try:
        found = parse(data)
    except BadProxyHeader:
        return
    assert found is None or HEADER <= found[0] <= len(data)
