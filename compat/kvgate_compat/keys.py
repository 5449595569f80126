"""Which keys a search is about: the small pools that stand for one namespace, several, one hash tag, several shards."""

from typing import Final

import attrs

from kvgate_compat.pools import KEYS
from kvgate_compat.words import Arg, Key, Payload, Request

_ODD: Final = (b"", b"\x00\xff\r\n\"'")
_LONG: Final = b"k" * 500  # longer than an engine's keys


@attrs.frozen(slots=True)
class Keys:
    """The keys of one search: those that commands are tried on, and whose states are compared."""

    title: str
    names: tuple[bytes, ...]
    """The keys; the first two are met most often. At least two."""

    def put(self, request: Request) -> Request:
        """The same request on these keys: the one at the same place as in `kvgate_compat.pools.KEYS`, which may have more."""
        return attrs.evolve(request, args=tuple(map(self._arg, request.args)))

    def key(self, drawn: bytes) -> bytes:
        """The one in the place of a drawn key."""
        return Key(self.names[KEYS.index(drawn) % len(self.names)])

    def share(self, at: int, of: int) -> "Keys":
        """Every `of`-th of the keys, from `at` on: for clients that must not meet."""
        return Keys(f"{self.title}, {at}", self.names[at::of])

    def _arg(self, arg: Arg) -> Arg:
        if isinstance(arg, Payload):
            return attrs.evolve(arg, key=self.key(arg.key)) if arg.key in KEYS else arg
        return self.key(arg) if isinstance(arg, Key) and arg in KEYS else arg


PLAIN: Final = Keys("plain", KEYS)
"""With and without a namespace's prefix; for a gate where one backend serves all of them."""
NAMESPACE: Final = Keys(
    "one namespace", tuple(b"Ads.T:" + name for name in (b"a", b"b", b"n", b"c", b"Shop.C:a", *_ODD, _LONG))
)
"""All in ``Ads.T``."""
NAMESPACES: Final = Keys(
    "several namespaces",
    (b"Ads.T:a", b"Shop.C:a", b"Ads.T:b", b"Ads.U:a", b"a", b"Shop.C:\x00\xff\r\n", b"Ads.U:", b"Ads.U:" + _LONG),
)
"""In ``Ads.T``, ``Ads.U``, ``Shop.C``, and one in none of them."""
TAG: Final = Keys("one hash tag", tuple(b"{t}" + name for name in (b"a", b"b", b"n", b"{u}", b"c", *_ODD, _LONG)))
"""All on one shard, however keys are sharded."""
SHARDS: Final = Keys("several shards", (b"a", b"ab", b"b", b"{ab}c", b"{a}", *_ODD, b"{}" + _LONG))
"""On both of two shards: by crc32 ``a``, ``b``, ``{a}`` and the last on the second half of the slots, the others before."""

ALL: Final = (PLAIN, NAMESPACE, NAMESPACES, TAG, SHARDS)
