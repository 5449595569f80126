"""Generators of the commands on channels. Subscriptions are tried in an `Aside` (`kvgate_compat.steps`): on a connection of
their own, while messages are published on the usual one.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.words import Args, maybe, seq, some

_CHANNELS: Final = (b"c", b"d", b"Ads.T:c", b"", b"\x00\xff\r\n", b"c" * 300)
_channel = st.sampled_from((b"c", b"c", b"d", *_CHANNELS))
_pattern = st.sampled_from((b"*", b"c*", b"?", b"[cd]", b"Ads.T:*", b"c", b"", b"\\c", b"[", b"nobody*"))
_message = st.sampled_from((b"hello", b"", b"\x00\xff\r\n", b"m" * 5000))

CHANNELS: Final[dict[str, SearchStrategy[Args]]] = {
    "PSUBSCRIBE": some(_pattern, most=3),
    "PUBLISH": seq(_channel, _message),
    "PUBSUB|CHANNELS": maybe(_pattern),
    "PUBSUB|HELP": seq(),
    "PUBSUB|NUMPAT": seq(),
    "PUBSUB|NUMSUB": some(_channel, least=0, most=3),
    "PUBSUB|SHARDCHANNELS": maybe(_pattern),
    "PUBSUB|SHARDNUMSUB": some(_channel, least=0, most=3),
    "PUNSUBSCRIBE": some(_pattern, least=0, most=2),
    "SPUBLISH": seq(_channel, _message),
    "SSUBSCRIBE": some(_channel, most=3),
    "SUBSCRIBE": some(_channel, most=3),
    "SUNSUBSCRIBE": some(_channel, least=0, most=2),
    "UNSUBSCRIBE": some(_channel, least=0, most=2),
}

LISTENING: Final = ("PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE")
"""Commands of the listening connection."""
TELLING: Final = (
    *("PUBLISH", "PUBLISH", "SPUBLISH"),
    *("PUBSUB|CHANNELS", "PUBSUB|NUMPAT", "PUBSUB|NUMSUB", "PUBSUB|SHARDCHANNELS", "PUBSUB|SHARDNUMSUB"),
)
"""Commands of the usual connection meanwhile."""
