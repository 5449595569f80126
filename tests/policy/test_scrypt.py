"""scrypt hashes: the algorithm, their text, the bounds of their costs, and what is remembered."""

import re

import attrs
import pytest

from kvgate.policy.scrypt import MOST_BLOCKS, Remembered, Scrypt, hash_scrypt, parse_scrypt

RFC = bytes.fromhex(
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
)
"""RFC 7914, section 12: of "pleaseletmein" and "SodiumChloride", N 16384, r 8, p 1."""
SALT, DIGEST = "AAAAAAAAAAAAAAAAAAAAAA", "A" * 43
CHEAP = Scrypt(14, 8, 1, b"SodiumChloride", RFC)


def test_it_is_scrypt() -> None:
    assert CHEAP.matches(b"pleaseletmein")
    assert not CHEAP.matches(b"pleaseletmeout")
    assert not CHEAP.matches(b"")


def test_a_new_hash_has_a_salt_of_its_own_and_is_read_again() -> None:
    one, two = hash_scrypt(b"correct horse"), hash_scrypt(b"correct horse")
    assert one != two
    assert re.fullmatch(r"\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", one)
    read = parse_scrypt(one)
    assert read.text == one
    assert read.matches(b"correct horse")
    assert not parse_scrypt(two).matches(b"correct hors")


def test_a_hash_of_another_program_is_read() -> None:
    """PHC's format, as passlib and libpass write it; costs other than ours."""
    theirs = attrs.evolve(CHEAP, salt=b"0123456789abcdef", digest=RFC[:32]).text
    assert theirs.startswith("$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$")
    assert parse_scrypt(theirs).digest == RFC[:32]


@pytest.mark.parametrize("costs", ["ln=14,r=8,p=1", "ln=16,r=8,p=2", "ln=17,r=1,p=1", "ln=17,r=4,p=2", "ln=14,r=8,p=8"])
def test_costs_within_the_bounds(costs: str) -> None:
    assert (1 << parse_scrypt(f"$scrypt${costs}${SALT}${DIGEST}").log_n) <= MOST_BLOCKS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"$scrypt$ln=13,r=8,p=1${SALT}${DIGEST}", "memory"),
        (f"$scrypt$ln=17,r=8,p=1${SALT}${DIGEST}", "memory"),
        (f"$scrypt$ln=99,r=8,p=1${SALT}${DIGEST}", "memory"),
        (f"$scrypt$ln=14,r=0,p=1${SALT}${DIGEST}", "memory"),
        (f"$scrypt$ln=14,r=8,p=0${SALT}${DIGEST}", "p is 0"),
        (f"$scrypt$ln=14,r=8,p=9${SALT}${DIGEST}", "too long"),
        (f"$scrypt$ln=14,r=8,p=1$AAAA${DIGEST}", "salt of 16 to 64"),
        (f"$scrypt$ln=14,r=8,p=1${SALT}$AAAA", "hash of 32 to 64"),
        (f"$scrypt$ln=14,r=8,p=1${SALT}$A", "base64"),
        (f"$scrypt$ln=14,r=8,p=1${SALT}${DIGEST}\n", "no scrypt hash"),
        (f"$scrypt$ln=14,r=8,p=1${SALT}${DIGEST}=", "no scrypt hash"),
        (f"$SCRYPT$ln=14,r=8,p=1${SALT}${DIGEST}", "no scrypt hash"),
        ("hunter2", "no scrypt hash"),
        ("", "no scrypt hash"),
    ],
)
def test_what_is_no_hash_is_not_shown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_scrypt(text)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_in_no_repr() -> None:
    assert "digest" not in repr(CHEAP)
    assert "Sodium" not in repr(CHEAP)


def test_a_decoy_costs_the_same_and_is_nobodys() -> None:
    decoy = CHEAP.decoy()
    assert (decoy.log_n, decoy.r, decoy.p) == (14, 8, 1)
    assert not decoy.matches(b"pleaseletmein")


def test_a_password_is_remembered_for_a_minute_from_when_it_was_hashed() -> None:
    memory = Remembered()
    assert not memory.knows(CHEAP, b"right", 0.0)
    memory.note(CHEAP, b"right", 0.0)
    for now in (0.0, 30.0, 59.9):
        assert memory.knows(CHEAP, b"right", now)
    assert not memory.knows(CHEAP, b"right", 60.0)
    assert not memory.knows(CHEAP, b"wrong", 1.0)
    assert not memory.knows(attrs.evolve(CHEAP, salt=b"another salt 123"), b"right", 1.0)


def test_what_is_remembered_is_bounded_and_no_password() -> None:
    memory = Remembered(most=3)
    for number in range(10):
        memory.note(CHEAP, b"password-%d" % number, 0.0)
        memory.note(CHEAP, b"password-%d" % number, 0.0)
    assert len(memory) == 3
    assert memory.knows(CHEAP, b"password-9", 1.0)
    assert not memory.knows(CHEAP, b"password-6", 1.0)
    assert b"password" not in repr(vars(memory)).encode()
