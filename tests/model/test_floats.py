"""Long doubles: against exact fractions here, against a real Redis in tests/kvgate_lmdb/test_strings_replies.py."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kvgate.model.floats import Float80, parse_float80

LARGEST = (1 << 64) - 1, 16384 - 64


def value(number: Float80) -> Fraction:
    return Fraction(number.mantissa) * Fraction(2) ** number.exponent


def parsed(text: bytes) -> Float80:
    number = parse_float80(text)
    assert number is not None, text
    return number


DECIMALS = st.from_regex(rb"-?[0-9]{1,30}(\.[0-9]{0,30})?(e-?[0-9]{1,3})?", fullmatch=True)


@given(DECIMALS)
def test_a_decimal_is_rounded_to_the_nearest_of_64_bits(text: bytes) -> None:
    exact, number = Fraction(text.decode().replace(".e", "e").rstrip(".")), parsed(text)
    assert abs(number.mantissa).bit_length() <= 64
    error = abs(value(number) - exact)
    unit = Fraction(2) ** number.exponent
    assert error <= unit / 2
    if error == unit / 2 and number.mantissa:
        assert number.mantissa % 2 == 0


@given(DECIMALS, DECIMALS)
def test_a_sum_is_rounded_once(a: bytes, b: bytes) -> None:
    first, second = parsed(a), parsed(b)
    total = first + second
    assert total is not None
    exact = value(first) + value(second)
    assert abs(value(total) - exact) <= Fraction(2) ** total.exponent / 2
    assert total == second + first


NUMBERS = st.one_of(DECIMALS, st.sampled_from([b"inf", b"-inf", b"1e4931", b"-1e4931", b"0x1p-16445"]))


@given(NUMBERS, NUMBERS)
def test_numbers_are_compared_exactly(a: bytes, b: bytes) -> None:
    first, second = parsed(a), parsed(b)
    beyond = Fraction(2) ** 16384

    def place(number: Float80) -> Fraction:
        return number.mantissa * beyond if number.infinite else value(number)

    assert (first < second) == (place(first) < place(second))
    assert not first < first


@given(DECIMALS)
def test_what_is_printed_is_within_half_a_unit_of_its_last_place(text: bytes) -> None:
    number = parsed(text)
    shown = number.human()
    assert abs(Fraction(shown.decode()) - value(number)) <= Fraction(1, 2 * 10**17)
    assert b"e" not in shown
    assert shown != b"-0"
    assert b"." not in shown or shown[-1:] not in b"0."


@given(st.integers(-(2**64) + 1, 2**64 - 1))
def test_integers_of_64_bits_are_exact(number: int) -> None:
    assert parsed(b"%d" % number).human() == b"%d" % number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_hexadecimal_numbers_are_exact(number: float) -> None:
    assume(number == 0 or abs(number) > 1e-290)
    assert value(parsed(number.hex().encode())) == Fraction(number)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"3.0", b"3"),
        (b"+.5", b"0.5"),
        (b"-0", b"0"),
        (b"-1e-18", b"0"),
        (b"5e-18", b"0"),  # half of the last place: to even
        (b"1.5e-17", b"0.00000000000000002"),
        (b"0e99999999999999999999", b"0"),
        (b"0x1p-16445", b"0"),
        (b"0x.8p1", b"1"),
        (b"0.1", b"0.1"),
        (b"1" * 5119, None),
        (b"1" * 4932, None),
    ],
)
def test_printing(text: bytes, shown: bytes | None) -> None:
    if shown is None:
        found = parse_float80(text)
        assert (found is None) == (len(text) > 4932)
        assert found is None or len(found.human()) == len(text)
    else:
        assert parsed(text).human() == shown


NO_NUMBERS = [b"", b" 1", b"1 ", b"1\x00", b".", b"e1", b"1e", b"1e+", b"0x", b"0xg", b"1_0", b"nan", b"--1", b"infinit"]
TOO_MUCH = [b"1e4933", b"-1e-5000", b"0x1p16384", b"0x1p-16446", b"1" * 5120, b"1e%d" % 10**30, b"1e-%d" % 10**30]


@pytest.mark.parametrize("text", [*NO_NUMBERS, *TOO_MUCH])
def test_what_redis_does_not_take(text: bytes) -> None:
    assert parse_float80(text) is None


def test_the_ends_of_the_format() -> None:
    largest = Float80(*LARGEST)
    assert parse_float80(largest.human()) == largest
    assert largest + largest is None
    assert largest + Float80(1) == largest
    assert largest + Float80(-LARGEST[0], LARGEST[1]) == Float80()
    least = parsed(b"0x1p-16445")
    assert value(least) == Fraction(2) ** -16445
    assert value(parsed(b"0x1.9p-16445")) == Fraction(2) ** -16444
    for sign in (b"", b"-"):
        infinite = parsed(sign + b"inf")
        assert infinite.infinite
        assert infinite + Float80(1) is None
        assert Float80(1) + infinite is None
