"""What a store that lacks some commands is asked in their place (kvgate.backend.Rewriting), and what each shard lacks."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kvgate.backend import NotKnownYet, Rewritten
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE
from kvgate.errors import GateError
from kvgate.model.options import option
from kvgate.wire.reply import Reply
from kvgate_redis.conditional import Conditional
from kvgate_redis.exhashes import ExHashes, reserved
from kvgate_redis.exstrings import ExStrings, Request, Rewrite
from kvgate_redis.guards import Guards
from kvgate_redis.locks import Locks
from kvgate_redis.lua import exact_integers

ASKED: Final = (b"EXSET", b"EXHSET", b"CAS", b"CAD", b"DELIFEQ", b"DELEX")
"""What COMMAND INFO is asked for. The first two stand for their modules, either of the last two for SET with IFEQ as well."""
_SCRIPT_SAYS: Final = re.compile(rb" script: [0-9a-f]{40}, on @[^\r\n]*\r\n\Z")
"""What Redis adds to an error inside a script: which, and where in it."""


def _specs(capability: str) -> frozenset[str]:
    return frozenset(spec.name for spec in TABLE.values() if spec.capability == capability)


EXSTRING: Final = _specs("exstring")
EXHASH: Final = _specs("exhash")
HASH: Final = _specs("hash")


def natives(reply: Reply) -> frozenset[str]:
    """The names of commands that a store has, of its reply to COMMAND INFO for `ASKED`; none if it does not tell."""
    if not isinstance(reply, list) or len(reply) != len(ASKED):
        return frozenset()
    found = {name.decode() for name, row in zip(ASKED, reply, strict=True) if isinstance(row, list) and row}
    if "EXSET" in found:
        found |= EXSTRING
    if "EXHSET" in found:
        found |= EXHASH
    if found & {"DELIFEQ", "DELEX"}:
        found.add("SET")
    return frozenset(found)


def _told(raw: bytes) -> bytes:
    """A script's reply: an error inside it without Redis' words on where it happened."""
    return _SCRIPT_SAYS.sub(b"\r\n", raw) if raw[:1] == b"-" else exact_integers(raw)


class Rewriter:
    """The requests for one backend's stores."""

    generation: Callable[[int], int]
    """As in `kvgate.backend.SharedConnections`; set before anything is rewritten."""

    def __init__(self, shards: int, rename: Mapping[str, str]) -> None:
        """Nothing is known of the `shards`; `rename`: upper-case command → its name on the stores."""
        self.known: list[frozenset[str] | None] = [None] * shards
        self._asked = [0] * shards
        self._conditional = Conditional(rename)
        guards, exhashes = Guards(rename), ExHashes(rename)
        self._always: dict[str, Rewrite] = {**self._conditional.commands, **Locks(rename).commands}
        guarded: dict[str, Rewrite] = {**guards.commands, **dict.fromkeys(HASH, guards.hash)}
        self._guarded = frozenset(guarded)
        self._versioned: dict[str, Rewrite] = {
            **self._always,
            **guarded,
            **ExStrings(rename).commands,
            **{name: _without_marks(rewrite) for name, rewrite in exhashes.commands.items()},
        }

    def has(self, spec: CommandSpec, shard: int) -> bool:
        """See `kvgate.backend.Rewriting`."""
        return spec.name in self._known(shard)

    def learn(self, shard: int, reply: Reply) -> None:
        """What the shard has, by its reply to COMMAND INFO for `ASKED`."""
        self.known[shard] = natives(reply)
        self._asked[shard] = self.generation(shard)

    def is_known(self, shard: int) -> bool:
        """Whether what the shard has was asked since it was connected to."""
        return self.known[shard] is not None and self._asked[shard] == self.generation(shard)

    def _known(self, shard: int) -> frozenset[str]:
        known = self.known[shard]
        if known is None or self._asked[shard] != self.generation(shard):
            raise NotKnownYet
        return known

    @property
    def looks_for_ifeq(self) -> bool:
        """See `kvgate.backend.Rewriting`."""
        return any(known is None or "SET" not in known for known in self.known)

    def may_rewrite(self, spec: CommandSpec, *, versioned: bool) -> bool:
        """See `kvgate.backend.Rewriting`."""
        name = spec.name
        if name not in (self._versioned if versioned else self._always):
            return False
        return any(known is None or not self._passes(name, known) for known in self.known)

    def encodes(self, shard: int) -> bool:
        """Whether versioned keys of the shard may be hashes: it lacks a module, or that is not known yet."""
        known = self.known[shard]
        return known is None or not {"EXSET", "EXHSET"} <= known

    def _passes(self, name: str, known: frozenset[str]) -> bool:
        """Whether the client's bytes are right for a shard with those commands."""
        return ("EXSET" in known and "EXHSET" in known) if name in self._guarded else name in known

    def rewrite(self, spec: CommandSpec, args: Sequence[bytes], *, shard: int, versioned: bool) -> Rewritten | None:
        """See `kvgate.backend.Rewriting`."""
        name = spec.name
        make: Callable[[Sequence[bytes]], Request | None] | None
        if name == "SET":
            if len(args) < 5 or all(option(arg) != b"IFEQ" for arg in args[3:]):
                return None
            make = self._conditional.set
        else:
            make = (self._versioned if versioned else self._always).get(name)
            if make is None:
                return None
        if self._passes(name, self._known(shard)):
            return None
        try:
            made = make(args)
        except GateError as error:
            return Rewritten(b"", bytes, known=error.reply)
        if made is None:
            return None
        frame, convert = made
        return Rewritten(frame, _told if convert is exact_integers else convert, flat=name in HASH)


def _without_marks(rewrite: Rewrite) -> Rewrite:
    """Names of fields are looked at before anything else."""

    def checked(args: Sequence[bytes]) -> Request:
        reserved(args)
        return rewrite(args)

    return checked
