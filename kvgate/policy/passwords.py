"""Passwords: their SHA-256 hashes, comparing them in constant time, and the back-off after wrong ones.

A plain SHA-256 suits keys that machines hold (an AppKey of 20 random letters and more), as Redis' own ACL has it; it is no
hash for words that people remember. `kvgate password` says so.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
FORGOTTEN_AFTER: Final = 60.0  # seconds without a wrong password until the delay starts from the first again
MOST_ENTRIES: Final = 10_000  # about 3 MB
UNKNOWN_USER: Final = ""
"""The back-off's user for every name that does not exist: made-up names must not push real entries out."""


def hash_password(password: bytes) -> str:
    """The SHA-256 of the password, 64 lower-case hex digits: what ``password_sha256`` lists."""
    return hashlib.sha256(password).hexdigest()


def matches(password: bytes, hashes: Iterable[str]) -> bool:
    """Whether the password has one of the hashes. All are compared, each in constant time, so that the time taken tells
    neither which one it was nor how near a wrong one came."""
    offered = hash_password(password)
    found = False
    for known in hashes:
        found |= hmac.compare_digest(offered, known)
    return found


def _network(address: str) -> str:
    """What counts as one address: an IPv4 address, an IPv6 /64 (one host may pick any address of its /64)."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


class Backoff:
    """After a wrong password the same user is not tried again from the same address for 100 ms, doubling to 5 s.

    Per address and user, so that one client with an old password behind a NAT stops nobody with another user. Attempts
    within the delay are not looked at and do not lengthen it. Pure: the caller says what time it is. Bounded: beyond
    `most` entries the one that failed longest ago goes.
    """

    def __init__(self, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY, most: int = MOST_ENTRIES) -> None:
        """Delays in seconds."""
        self.first = first
        self.longest = longest
        self.most = most
        self._entries: dict[tuple[str, str], tuple[int, float]] = {}  # → failures, time of the last; oldest first

    def __len__(self) -> int:
        """The number of remembered pairs."""
        return len(self._entries)

    def _delay(self, failures: int) -> float:
        return float(min(self.longest, self.first * 2 ** min(failures - 1, 32)))

    def wait(self, address: str, user: str, now: float) -> float:
        """Seconds until a password of this user may be tried again from there; 0 when now."""
        entry = self._entries.get((_network(address), user))
        return max(0.0, entry[1] + self._delay(entry[0]) - now) if entry else 0.0

    def failed(self, address: str, user: str, now: float) -> float:
        """Note a wrong password; returns the delay that begins, in seconds."""
        key = (_network(address), user)
        failures, last = self._entries.pop(key, (0, now))
        failures = 1 if now - last > FORGOTTEN_AFTER else failures + 1
        self._entries[key] = (failures, now)
        if len(self._entries) > self.most:
            del self._entries[next(iter(self._entries))]
        return self._delay(failures)

    def succeeded(self, address: str, user: str) -> None:
        """Note a right password: the delay starts from the first again."""
        self._entries.pop((_network(address), user), None)
