"""Numbers in commands and values, as strictly as Redis takes them (``string2ll``)."""

from typing import Final

from kvgate.errors import NOT_AN_INTEGER, GateError
from kvgate.wire.request import parse_length

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
LONGEST_INTEGER: Final = 20
"""Bytes of the longest decimal that fits."""


def parse_int64(text: bytes) -> int:
    """A decimal without blanks, plus sign or leading zeros, within 64 bits.

    Raises:
        GateError: Redis' ``value is not an integer or out of range``.
    """
    value = parse_length(text)
    if value is None:
        raise GateError(NOT_AN_INTEGER)
    return value
