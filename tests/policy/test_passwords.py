"""Password hashes, and the back-off after wrong ones."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.policy.passwords import Backoff, hash_password, matches


def test_hash_is_sha256_in_hex() -> None:
    # NIST's example for "abc"
    assert hash_password(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_any_of_the_hashes_matches_and_nothing_else() -> None:
    hashes = [hash_password(b"old"), hash_password(b"new")]
    assert matches(b"old", hashes)
    assert matches(b"new", hashes)
    assert not matches(b"New", hashes)
    assert not matches(b"", hashes)
    assert not matches(b"old", [])


def test_every_hash_is_compared_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(offered: str, known: str) -> bool:
        compared.append(known)
        return offered == known

    monkeypatch.setattr("kvgate.policy.passwords.hmac.compare_digest", compare)
    hashes = [hash_password(text) for text in (b"a", b"b", b"c")]
    assert matches(b"a", hashes)
    assert compared == hashes


@given(st.binary(max_size=64))
def test_what_is_printed_is_what_is_accepted(password: bytes) -> None:
    text = hash_password(password)
    assert re.fullmatch("[0-9a-f]{64}", text)
    assert text == hashlib.sha256(password).hexdigest()
    assert matches(password, [text])


def test_delay_doubles_from_100_ms_to_5_s() -> None:
    backoff, now, delays = Backoff(), 1000.0, []
    for _ in range(8):
        delays.append(round(backoff.failed("10.0.0.1", "ads", now), 6))
        assert backoff.wait("10.0.0.1", "ads", now) == pytest.approx(delays[-1])
        now += delays[-1]
        assert backoff.wait("10.0.0.1", "ads", now) == pytest.approx(0, abs=1e-9)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_delay_is_of_that_address_and_that_user() -> None:
    backoff = Backoff()
    backoff.failed("10.0.0.1", "ads", 0.0)
    assert backoff.wait("10.0.0.1", "bank", 0.0) == 0
    assert backoff.wait("10.0.0.2", "ads", 0.0) == 0
    assert backoff.wait("10.0.0.1", "ads", 0.05) == pytest.approx(0.05)


def test_success_and_a_quiet_minute_forget() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.failed("a", "u", 0.0)
    backoff.succeeded("a", "u")
    assert backoff.wait("a", "u", 0.0) == 0
    assert backoff.failed("a", "u", 1.0) == pytest.approx(0.1)
    assert backoff.failed("a", "u", 2.0) == pytest.approx(0.2)
    assert backoff.failed("a", "u", 63.0) == pytest.approx(0.1)


def test_an_ipv6_host_is_its_64_and_a_mapped_address_is_ipv4() -> None:
    backoff = Backoff()
    backoff.failed("2001:db8::1", "u", 0.0)
    assert backoff.wait("2001:db8::ffff:2", "u", 0.0) > 0
    assert backoff.wait("2001:db8:0:1::1", "u", 0.0) == 0
    backoff.failed("::ffff:10.0.0.1", "u", 0.0)
    assert backoff.wait("10.0.0.1", "u", 0.0) > 0
    assert backoff.wait("::ffff:10.0.0.2", "u", 0.0) == 0


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    backoff = Backoff(most=100)
    for number in range(1000):
        backoff.failed(f"10.0.{number // 250}.{number % 250}", "u", 0.0)
    assert len(backoff) == 100
    assert backoff.wait("10.0.0.0", "u", 0.0) == 0
    assert backoff.wait("10.0.3.249", "u", 0.0) > 0


def test_many_failures_do_not_overflow() -> None:
    backoff = Backoff()
    for _ in range(5000):
        delay = backoff.failed("a", "u", 0.0)
    assert delay == 5.0
