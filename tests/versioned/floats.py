"""80-bit floating point for the model, in fractions: apart from the gate's own, and judged by a real INCRBYFLOAT."""

import re
from fractions import Fraction
from typing import Final

Number = Fraction | float
"""A float is one of the infinities."""

_PLACES: Final = 17
_DECIMAL: Final = re.compile(rb"([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?")
_HEX: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]+)\.?([0-9a-fA-F]*)(?:[pP]([+-]?\d+))?")
_INFINITE: Final = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)
_FAR: Final = 10_000
"""Exponents beyond leave the format whatever the digits are."""


def rounded(exact: Fraction) -> Fraction | None:
    """The nearest value of 64 bits (ties to even), None when it is over the largest."""
    if not exact:
        return exact
    size = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** size:
        size -= 1  # now 2 ** size <= abs(exact) < 2 ** (size + 1)
    unit = Fraction(2) ** max(size - 63, -16445)
    nearest = round(exact / unit) * unit
    return nearest if abs(nearest) < Fraction(2) ** 16384 else None


def parse(text: bytes) -> Number | None:
    """What strtold makes of the whole text; None when it is no number, or is beyond the least or the largest."""
    if match := _INFINITE.fullmatch(text):
        return float("-inf") if match[1] == b"-" else float("inf")
    if match := _DECIMAL.fullmatch(text):
        whole, _, places = match[2].decode().partition(".")
        digits, exponent, base = Fraction(_whole(whole + places), 10 ** len(places)), int(match[3] or 0), 10
    elif match := _HEX.fullmatch(text):
        digits = Fraction(int(match[2] + match[3], 16), 16 ** len(match[3]))
        exponent, base = int(match[4] or 0), 2
    else:
        return None
    if not digits:
        return Fraction(0)
    if abs(exponent) > 2 * _FAR:
        return None
    found = rounded(digits * Fraction(base) ** exponent * (-1 if match[1] == b"-" else 1))
    return found or None


def total(first: Number, second: Number) -> Fraction | None:
    """The sum, None when it is no finite number."""
    if isinstance(first, float) or isinstance(second, float):
        return None
    return rounded(first + second)


def as_printed(number: Number) -> Number:
    """What is left of it in print."""
    return number if isinstance(number, float) else Fraction(round(number * 10**_PLACES), 10**_PLACES)


def human(number: Fraction) -> bytes:
    """``%.17Lf`` without the zeros at its end, and no minus before zero."""
    scaled = round(abs(number) * 10**_PLACES)
    whole, rest = divmod(scaled, 10**_PLACES)
    text = (_digits(whole) + f".{rest:0{_PLACES}d}").rstrip("0").rstrip(".")
    return (f"-{text}" if number < 0 and scaled else text).encode()


def _whole(text: str) -> int:
    """Python refuses to read more than 4300 digits at once."""
    return int(text[:-4000] or "0") * 10**4000 + int(text[-4000:] or "0")


def _digits(number: int) -> str:
    """As `_whole`, for printing."""
    upper, lower = divmod(number, 10**4000)
    return f"{upper}{lower:04000d}" if upper else str(lower)
