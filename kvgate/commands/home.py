"""Home namespaces: clients that do not prefix their keys, and the one namespace that a database of theirs stands for.

On the way in the namespace's prefix is put before every key and into every channel; on the way out it is taken off again,
by the rule that `REPLIES` has for each command whose reply carries keys. Bytes are spliced: what is no key is not looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from kvgate.commands.keys import channels, hidden_patterns, key_indices
from kvgate.commands.spec import Action, CommandSpec
from kvgate.wire.glob import rest_after
from kvgate.wire.measure import measure

Rule = Callable[[bytes, bytes], bytes]
"""``rule(prefix, raw)``: one whole raw reply in RESP2 or RESP3, without the prefix of its keys."""


@attrs.frozen(slots=True)
class Home:
    """One database of a user whose keys and channels all belong to one namespace."""

    prefix: bytes
    """What the namespace's keys begin with in the stores: ``Ads.Cache:``."""
    database: int
    """Its number, as the client selects it."""
    stored: int = 0
    """The number of the stores' database, which stands in the names of their keyspace notifications."""

    def whole(self, channel: bytes) -> bytes:
        """The channel, as stores know it. A notification of this database names a key: the prefix goes inside."""
        space = b"__keyspace@%d__:" % self.database
        if channel.startswith(space):
            return b"__keyspace@%d__:%b%b" % (self.stored, self.prefix, channel[len(space) :])
        event = b"__keyevent@%d__:" % self.database
        if channel.startswith(event):
            return b"__keyevent@%d__:%b" % (self.stored, channel[len(event) :])
        return self.prefix + channel

    def said(self, channel: bytes) -> bytes | None:
        """The channel, as the client knows it; None when it is none of this namespace. Key events are for every namespace:
        the key in their message decides (`is_event`)."""
        if channel.startswith(self.prefix):
            return channel[len(self.prefix) :]
        space = b"__keyspace@%d__:%b" % (self.stored, self.prefix)
        if channel.startswith(space):
            return b"__keyspace@%d__:%b" % (self.database, channel[len(space) :])
        if self.is_event(channel):
            return b"__keyevent@%d__:%b" % (self.database, channel.partition(b"__:")[2])
        return None

    def is_event(self, channel: bytes) -> bool:
        """Whether messages of the channel, as stores know it, are keys."""
        return channel.startswith(b"__keyevent@%d__:" % self.stored)

    def patterns(self, pattern: bytes) -> list[bytes]:
        """Patterns, as stores know them, that together match all channels meant, and perhaps other notifications: who uses
        them has to match what `said` makes of a channel with the client's pattern."""
        found = [self.prefix + pattern]
        for kind, inside in ((b"space", self.prefix), (b"event", b"")):
            rest = rest_after(pattern, b"__key%b@%d__:" % (kind, self.database))
            if rest is not None:
                found.append(b"__key%b@%d__:%b%b" % (kind, self.stored, inside, rest))
        return found

    def request(self, spec: CommandSpec, args: list[bytes], frame: bytes) -> tuple[list[bytes], bytes]:
        """A checked request and its canonical `frame`, with whole keys and channels; patterns of channels and of SCAN and
        KEYS stay.

        Raises:
            GateError: the arguments do not tell the keys, see `key_indices`.
        """
        if spec.action is Action.REFUSE:
            return args, frame
        changed = {index: self.prefix + args[index] for index in (*key_indices(spec, args), *hidden_patterns(spec, args))}
        changed.update((index, self.whole(args[index])) for index in channels(spec, args))
        if not changed:
            return args, frame
        return [changed.get(index, arg) for index, arg in enumerate(args)], spliced(frame, args, changed)

    def reply(self, spec: CommandSpec, raw: bytes) -> bytes:
        """One whole raw reply to the command, RESP2 or RESP3, as the client knows its keys."""
        rule = REPLIES.get(spec.name)
        return raw if rule is None else rule(self.prefix, raw)


def carries_keys(spec: CommandSpec) -> bool:
    """Whether a reply to the command, be it an error, may name keys."""
    return spec.name in REPLIES


def spliced(frame: bytes, args: Sequence[bytes], changed: Mapping[int, bytes]) -> bytes:
    """The canonical request `frame` of `args` with other arguments at some indices."""
    view = memoryview(frame)
    pieces: list[bytes | memoryview] = []
    kept, pos = 0, frame.index(b"\n") + 1
    for index, arg in enumerate(args):
        end = pos + len(b"%d" % len(arg)) + len(arg) + 5
        if index in changed:
            pieces += (view[kept:pos], b"$%d\r\n%b\r\n" % (len(changed[index]), changed[index]))
            kept = end
        pos = end
    pieces.append(view[kept:])
    return b"".join(pieces)


def _bulk(prefix: bytes, raw: bytes, pos: int) -> tuple[bytes, int]:
    """The bulk string at `pos` without the prefix, and the position behind it."""
    start = raw.index(b"\n", pos) + 1
    end = start + int(raw[pos + 1 : start - 2])
    key = raw[start:end].removeprefix(prefix)
    return b"$%d\r\n%b\r\n" % (len(key), key), end + 2


def _first(prefix: bytes, raw: bytes) -> bytes:
    """The key stands first in an array, which is null when nothing was there."""
    if raw[:1] != b"*" or raw[:2] in (b"*-", b"*0"):
        return _error(prefix, raw)
    at = raw.index(b"\n") + 1
    key, end = _bulk(prefix, raw, at)
    return raw[:at] + key + raw[end:]


def _streams(prefix: bytes, raw: bytes) -> bytes:
    """Pairs of a key and its entries: in arrays in RESP2, in a map in RESP3."""
    if raw[:1] not in (b"*", b"%") or raw[:2] in (b"*-", b"*0"):
        return _error(prefix, raw)
    at = raw.index(b"\n") + 1
    pieces, kept = [raw[:at]], at
    for _ in range(int(raw[1 : at - 2])):
        if raw[:1] == b"*":
            at = raw.index(b"\n", at) + 1  # of the pair
        pieces.append(raw[kept:at])
        key, entries = _bulk(prefix, raw, at)
        pieces.append(key)
        kept, at = entries, measure(raw, entries)
    pieces.append(raw[kept:])
    return b"".join(pieces)


def _error(prefix: bytes, raw: bytes) -> bytes:
    """Of the streams' errors some name a key."""
    if raw[:1] == b"-":
        for before in (b"No such key '", b"for key name '"):
            raw = raw.replace(before + prefix, before, 1)
    return raw


REPLIES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **dict.fromkeys(("BLPOP", "BRPOP", "BLMPOP", "LMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "ZMPOP"), _first),
        **dict.fromkeys(("XREAD", "XREADGROUP"), _streams),
        **dict.fromkeys(("XPENDING", "XCLAIM", "XAUTOCLAIM", "XINFO|CONSUMERS"), _error),
        **dict.fromkeys([f"XGROUP|{sub}" for sub in ("CREATE", "CREATECONSUMER", "DELCONSUMER", "DESTROY", "SETID")], _error),
    }
)
"""Command → what of its reply is a key. SCAN, KEYS, RANDOMKEY, PUBSUB and subscriptions are kvgate.server's; COMMAND GETKEYS
gives back what the client wrote; what a script returns is not looked at."""
