"""scrypt hashes of passwords (RFC 7914): their text form, the costs that are allowed, and a short memory of right passwords.

For passwords that people choose. One check takes some 100 ms of a processor and 16 to 64 MiB, so it never runs in the lane.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Final

import attrs

LOG_N: Final = 15
BLOCK: Final = 8
PARALLEL: Final = 3
"""What `hash_scrypt` uses, 32 MiB three times over: one of the settings that OWASP's Password Storage Cheat Sheet names."""
LEAST_BLOCKS: Final = 1 << 17
"""N·r, in units of 128 bytes: below 16 MiB a graphics card tries passwords too quickly."""
MOST_BLOCKS: Final = 1 << 19
"""64 MiB for one check: several run at a time."""
MOST_WORK: Final = 1 << 20
"""N·r·p: at most about a second."""
MOST_HASHES: Final = 4
"""Of one user: each costs at every attempt."""
REMEMBERED_FOR: Final = 60.0
"""Seconds; see `Remembered`."""
_FORM: Final = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{1,86})\$([A-Za-z0-9+/]{1,86})\Z")


@attrs.frozen(slots=True)
class Scrypt:
    """One hash: costs, salt and digest."""

    log_n: int
    r: int
    p: int
    salt: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """``$scrypt$ln=15,r=8,p=3$salt$digest``: the PHC string format, base64 without padding."""
        return f"$scrypt$ln={self.log_n},r={self.r},p={self.p}${_base64(self.salt)}${_base64(self.digest)}"

    def matches(self, password: bytes) -> bool:
        """Whether the password has this hash, compared in constant time. Takes long: call it in a thread."""
        return hmac.compare_digest(_derive(password, self.log_n, self.r, self.p, self.salt, len(self.digest)), self.digest)

    def decoy(self) -> "Scrypt":
        """One of the same costs that no password has."""
        return attrs.evolve(self, salt=secrets.token_bytes(16), digest=secrets.token_bytes(32))


def parse_scrypt(text: str) -> Scrypt:
    """Read a hash from its text, whose costs must be within the bounds above.

    Raises:
        ValueError: says what is wrong without showing the text.
    """
    match = _FORM.match(text)
    if match is None:
        raise ValueError("is no scrypt hash ($scrypt$ln=…,r=…,p=…$salt$hash); `kvgate password --scrypt` prints one")
    log_n, r, p = (int(number) for number in match.groups()[:3])
    blocks = (1 << log_n) * r
    if not LEAST_BLOCKS <= blocks <= MOST_BLOCKS:
        raise ValueError("uses too little or too much memory: 128 · 2^ln · r must be from 16 to 64 MiB")
    if not 0 < blocks * p <= MOST_WORK:
        raise ValueError(f"takes too long, or p is 0: 2^ln · r · p must be at most {MOST_WORK:,}")
    try:
        salt, digest = (_bytes(part) for part in match.groups()[3:])
    except binascii.Error:
        raise ValueError("is no base64 behind its costs") from None
    if not 16 <= len(salt) <= 64 or not 32 <= len(digest) <= 64:
        raise ValueError("must have a salt of 16 to 64 bytes and a hash of 32 to 64 bytes")
    return Scrypt(log_n, r, p, salt, digest)


def hash_scrypt(password: bytes) -> str:
    """A new hash of the password, with a salt of its own: what ``password_scrypt`` lists."""
    salt = secrets.token_bytes(16)
    return Scrypt(LOG_N, BLOCK, PARALLEL, salt, _derive(password, LOG_N, BLOCK, PARALLEL, salt, 32)).text


def _derive(password: bytes, log_n: int, r: int, p: int, salt: bytes, size: int) -> bytes:
    needed = 128 * r * ((1 << log_n) + p + 2)
    return hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=needed + (1 << 20), dklen=size)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


class Remembered:
    """Which passwords were right within the last minute, so that a pool that opens a hundred connections costs one check.

    Kept as keyed digests (a key of this process alone) of hash and password together: what leaks of it is of no use
    elsewhere, and a hash that is taken out of the configuration is not looked up any more. Wrong passwords are not kept.
    Bounded: beyond `most` entries the oldest goes. Pure: the caller says what time it is.
    """

    def __init__(self, seconds: float = REMEMBERED_FOR, most: int = 1000) -> None:
        """Remember each right password for `seconds` after it was hashed; looking it up does not prolong that."""
        self._seconds = seconds
        self._most = most
        self._secret = secrets.token_bytes(32)
        self._until: dict[bytes, float] = {}  # oldest first

    def __len__(self) -> int:
        """The number of remembered passwords."""
        return len(self._until)

    def _mark(self, known: Scrypt, password: bytes) -> bytes:
        return hmac.digest(self._secret, known.text.encode() + b"\0" + password, "sha256")

    def knows(self, known: Scrypt, password: bytes, now: float) -> bool:
        """Whether the password was found to have that hash not long ago. `now` in seconds, on any steady clock."""
        return self._until.get(self._mark(known, password), 0.0) > now

    def note(self, known: Scrypt, password: bytes, now: float) -> None:
        """The password was found to have that hash."""
        mark = self._mark(known, password)
        self._until.pop(mark, None)
        self._until[mark] = now + self._seconds
        if len(self._until) > self._most:
            del self._until[next(iter(self._until))]
