"""Redis' floating point numbers: x87's 80-bit long double in exact integers, read as strtold reads, printed as Redis prints.

INCRBYFLOAT and HINCRBYFLOAT compute in the machine's ``long double``. What is stored must not depend on which machine the
gate runs on, so the format of x86-64 (64 bits of precision, exponents of 15 bits, round to nearest even) is kept everywhere.
"""

import re
from typing import Final

import attrs

_PRECISION: Final = 64
_LARGEST_EXPONENT: Final = 16384
"""Every finite value is below two to this power."""
_SMALLEST_EXPONENT: Final = -16445
"""Two to this power is the smallest value above zero."""
LONGEST_FLOAT: Final = 5 * 1024 - 1
"""Bytes of the longest text that Redis reads as a number (MAX_LONG_DOUBLE_CHARS, its end included)."""
_PLACES: Final = 17
"""Digits behind the point that Redis prints, trailing zeros left out."""
_BEYOND: Final = 5000  # decimal exponents beyond overflow or become zero, whatever the digits (LDBL_MAX is 1.2e4932)
_DIGITS_AT_ONCE: Final = 4000  # Python converts at most 4300 digits at once (sys.set_int_max_str_digits)
_ALL_AT_ONCE: Final = 10**_DIGITS_AT_ONCE
_SCALE: Final = 10**_PLACES

_DECIMAL: Final = re.compile(rb"([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
_HEX: Final = re.compile(rb"([+-]?)0[xX](?:([0-9a-fA-F]+)\.?([0-9a-fA-F]*)|\.([0-9a-fA-F]+))(?:[pP]([+-]?[0-9]+))?")
_INFINITE: Final = re.compile(rb"[+-]?inf(inity)?", re.IGNORECASE)


@attrs.frozen(slots=True)
class Float80:
    """``mantissa · 2 ** exponent``; the mantissa has at most 64 bits and a sign. Zero has none, since Redis prints none."""

    mantissa: int = 0
    exponent: int = 0
    infinite: bool = False
    """Only what a client wrote can be infinite: a sum that would be is None. Its mantissa is 1 or -1."""

    def __add__(self, other: "Float80") -> "Float80 | None":
        """The sum, rounded; None when it is infinite or no number."""
        if self.infinite or other.infinite:
            return None
        low = min(self.exponent, other.exponent)
        total = (self.mantissa << self.exponent - low) + (other.mantissa << other.exponent - low)
        found = _rounded(abs(total), 1, low)
        return found if found is None or total >= 0 else Float80(-found.mantissa, found.exponent)

    def __lt__(self, other: "Float80") -> bool:
        """Whether it is less, exactly."""
        if self.infinite or other.infinite:
            return (self.mantissa if self.infinite else 0) < (other.mantissa if other.infinite else 0)
        low = min(self.exponent, other.exponent)
        return self.mantissa << self.exponent - low < other.mantissa << other.exponent - low

    def human(self) -> bytes:
        """As Redis prints it: ``%.17Lf`` without trailing zeros, never in exponents, no minus before a zero."""
        if self.exponent >= 0:
            return (b"-" if self.mantissa < 0 else b"") + _decimal(abs(self.mantissa) << self.exponent)
        scaled = _divided(abs(self.mantissa) * _SCALE, 1 << -self.exponent)
        whole, fraction = divmod(scaled, _SCALE)
        text = b"%b.%017d" % (_decimal(whole), fraction)
        return (b"-" if self.mantissa < 0 and scaled else b"") + text.rstrip(b"0").rstrip(b".")


def parse_float80(text: bytes) -> Float80 | None:
    """The number that a value or an argument says, None when Redis would not take it (then the caller says which error).

    Decimal and hexadecimal, ``inf``; no blanks, no NaN, nothing too large or, but for zero itself, too small.
    """
    if len(text) > LONGEST_FLOAT:
        return None
    if match := _DECIMAL.fullmatch(text):
        found = _from_decimal(match)
    elif match := _HEX.fullmatch(text):
        found = _from_hex(match)
    else:
        return Float80(-1 if text[:1] == b"-" else 1, infinite=True) if _INFINITE.fullmatch(text) else None
    if found is None or match[1] != b"-":
        return found
    return Float80(-found.mantissa, found.exponent)


def _from_decimal(match: "re.Match[bytes]") -> Float80 | None:
    fraction = match[3] if match[4] is None else match[4]
    digits = ((match[2] or b"") + fraction).lstrip(b"0")
    if not digits:
        return Float80()
    power = _exponent(match[5]) - len(fraction)
    if abs(power + len(digits)) > _BEYOND:
        return None
    number = _integer(digits)
    return _rounded(number * 10**power, 1) if power >= 0 else _rounded(number, 10**-power)


def _from_hex(match: "re.Match[bytes]") -> Float80 | None:
    fraction = match[3] if match[4] is None else match[4]
    number = int((match[2] or b"") + fraction, 16)
    return _rounded(number, 1, _exponent(match[5]) - 4 * len(fraction)) if number else Float80()


def _exponent(text: bytes | None) -> int:
    """The written exponent; one that is absurdly large is only known to be."""
    if text is None:
        return 0
    digits = text.lstrip(b"+-").lstrip(b"0")
    value = int(digits or b"0") if len(digits) < 10 else 10**10
    return -value if text[:1] == b"-" else value


def _rounded(numerator: int, denominator: int, exponent: int = 0) -> Float80 | None:
    """``numerator / denominator * 2 ** exponent`` to the nearest that the format has; None when that is infinite, or zero
    where the numerator is not."""
    if not numerator:
        return Float80()
    size = numerator.bit_length() - denominator.bit_length()
    if not _SMALLEST_EXPONENT - 2 <= size + exponent <= _LARGEST_EXPONENT + 2:
        return None  # before shifting by it
    # The quotient lies between 2 ** (size - 1) and 2 ** (size + 1)
    if _compare(numerator, denominator, size) < 0:
        size -= 1
    low = max(size + exponent - _PRECISION + 1, _SMALLEST_EXPONENT)
    shift = exponent - low
    mantissa = _divided(numerator << shift, denominator) if shift >= 0 else _divided(numerator, denominator << -shift)
    if not mantissa or mantissa.bit_length() + low > _LARGEST_EXPONENT:
        return None
    return Float80(mantissa, low)


def _compare(numerator: int, denominator: int, shift: int) -> int:
    """The sign of ``numerator - denominator * 2 ** shift``."""
    if shift >= 0:
        return (numerator > denominator << shift) - (numerator < denominator << shift)
    return (numerator << -shift > denominator) - (numerator << -shift < denominator)


def _divided(numerator: int, denominator: int) -> int:
    """The quotient, rounded to nearest, halves to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))


def _integer(digits: bytes) -> int:
    cut = len(digits) - _DIGITS_AT_ONCE
    return int(digits) if cut <= 0 else int(digits[:cut]) * _ALL_AT_ONCE + int(digits[cut:])


def _decimal(value: int) -> bytes:
    if value < _ALL_AT_ONCE:
        return b"%d" % value
    high, low = divmod(value, _ALL_AT_ONCE)
    return b"%d%0*d" % (high, _DIGITS_AT_ONCE, low)
