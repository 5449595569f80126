"""Feeding scanners and measurers in portions: whole, byte by byte, cut anywhere."""

from collections.abc import Iterable
from itertools import pairwise

import attrs
from hypothesis import strategies as st

from kvgate.errors import ProtocolError
from kvgate.wire.request import RequestScanner


@attrs.frozen(slots=True)
class Request:
    """What the scanner said about one request."""

    args: list[bytes]
    canonical: bool
    oversized: int = 0


@attrs.frozen(slots=True)
class Scanned:
    """What came of a whole stream: its requests, the protocol error that ended it, whether nothing is half read."""

    requests: list[Request]
    error: bytes = b""
    idle: bool = True


def scan(portions: Iterable[bytes], scanner: RequestScanner | None = None) -> Scanned:
    """Feed all `portions` as the lane would; `idle` is False after an error."""
    scanner = scanner or RequestScanner()
    requests: list[Request] = []
    for data in portions:
        pos = 0
        while pos < len(data):
            before = pos
            try:
                pos = scanner.feed(data, pos)
            except ProtocolError as error:
                return Scanned(requests, error.reply, idle=False)
            assert before < pos <= len(data), "each call consumes something, and no more than there is"
            if scanner.args is None:
                assert pos == len(data), "more is asked for only when all was consumed"
            else:
                requests.append(Request(scanner.args, scanner.canonical, scanner.oversized))
    return Scanned(requests, idle=scanner.idle)


def bytewise(data: bytes) -> list[bytes]:
    """One portion for each byte."""
    return [data[i : i + 1] for i in range(len(data))]


def at_cuts(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The portions between the positions `cuts`; none is empty."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 400), max_size=12)
"""Positions to cut at; those behind the end of the data count for nothing."""
