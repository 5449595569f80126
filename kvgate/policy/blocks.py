"""Blocks: namespaces, users and keys whose commands an operator has refused for a while (GATE BLOCK).

What is here decides and does no I/O; kvgate.server.blocks brings the list to all workers and ends what has had its time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from kvgate.commands.keys import keys_with_flags
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, blocked, cannot_block
from kvgate.policy.rules import OWN_CONNECTION
from kvgate.policy.users import Named, User

NAMESPACE, USER, KEY = "namespace", "user", "key"
KINDS: Final = (NAMESPACE, USER, KEY)
LONGEST: Final = 30 * 24 * 3600
"""Seconds that a block may last: what is to be refused for good belongs into the configuration."""
MOST: Final = 1024
"""Blocks at a time."""

_MAY_WRITE: Final = frozenset({"EVAL", "EVALSHA", "FCALL", "PFCOUNT", "PUBLISH", "SPUBLISH", "SCRIPT|LOAD", "SCRIPT|FLUSH"})
"""Beside the writes, what CLIENT PAUSE WRITE holds back, as in Redis."""
_WAYS_OUT: Final = OWN_CONNECTION | {"DISCARD", "UNWATCH", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"}
"""What a blocked user may still say: it is about its own connection alone."""


def may_write(spec: CommandSpec) -> bool:
    """Whether a command may change data or reach replicas, as CLIENT PAUSE WRITE takes it."""
    return spec.write or spec.name in _MAY_WRITE


@attrs.frozen(slots=True)
class Called:
    """Something with a namespace's name, for asking what a user sees."""

    name: str


@attrs.frozen(slots=True)
class Block:
    """One of them."""

    kind: str
    """``namespace``, ``user`` or ``key``."""
    name: bytes
    """``Ads.Profile``, ``Ads.*``, ``default``; a user's name; a whole key."""
    writes_only: bool
    until: float
    """Its end on the machine's steady clock, which all processes share."""
    shown_until: str
    """The same for people: ``2026-11-21T10:00:00Z``."""
    by: str
    """Who ordered it."""

    @property
    def error(self) -> GateError:
        """What its commands are refused with."""
        return blocked(f"writes to {self.kind}" if self.writes_only else self.kind, self.name, self.shown_until)

    def dump(self) -> list[Any]:
        """As JSON has it, for `load`."""
        return [self.kind, self.name.decode("latin-1"), self.writes_only, self.until, self.shown_until, self.by]


def load(dump: Sequence[Any]) -> Block:
    """A block of its `Block.dump`."""
    return Block(dump[0], dump[1].encode("latin-1"), *dump[2:])


class Blocks:
    """Those in force now."""

    def __init__(self) -> None:
        """None."""
        self.version = 0
        """Counts the changes; an older list does not replace a newer one."""
        self._blocks: dict[tuple[str, bytes], Block] = {}

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return bool(self._blocks)

    def __iter__(self) -> Iterator[Block]:
        """Each of them."""
        return iter(list(self._blocks.values()))

    def get(self, kind: str, name: bytes) -> Block | None:
        """The block of exactly that."""
        return self._blocks.get((kind, name))

    def put(self, block: Block) -> None:
        """Add one, in place of one of the same thing. Raises GateError: there are too many."""
        if (block.kind, block.name) not in self._blocks and len(self._blocks) >= MOST:
            raise cannot_block(f"there are {MOST} blocks; end one first")
        self._blocks[block.kind, block.name] = block
        self.version += 1

    def take(self, kind: str, name: bytes) -> bool:
        """End one; whether there was one."""
        self.version += 1
        return self._blocks.pop((kind, name), None) is not None

    def replace(self, version: int, blocks: Iterable[Block]) -> None:
        """Have these."""
        self.version = version
        self._blocks = {(block.kind, block.name): block for block in blocks}

    def expire(self, now: float) -> None:
        """End those whose time is over."""
        self._blocks = {what: block for what, block in self._blocks.items() if block.until > now}

    def next_end(self) -> float:
        """When the next one ends; only while there is any."""
        return min(block.until for block in self._blocks.values())

    # ------------------------------------------------------------------ what they are about

    def of_namespace(self, namespace: Named) -> Iterator[Block]:
        """Those of the namespace: by its name, and by that of its application's rule."""
        name = namespace.name
        app, dot, _ = name.partition(".")
        for each in (name, f"{app}.*") if dot and not name.endswith(".*") else (name,):
            found = self._blocks.get((NAMESPACE, each.encode("utf-8", "surrogateescape")))
            if found is not None:
                yield found

    def of_keys(self) -> list[Block]:
        """Those of single keys."""
        return [block for (kind, _), block in self._blocks.items() if kind == KEY]

    def of_user(self, name: str) -> Block | None:
        """The user's."""
        return self._blocks.get((USER, name.encode("utf-8", "surrogateescape")))

    # ------------------------------------------------------------------ what they refuse

    def refuse_user(self, user: User, spec: CommandSpec, *, writes: bool) -> None:
        """Refuse a command of a blocked user; `writes`: it, or what it carries out, may change data. Raises GateError."""
        block = self.of_user(user.name)
        if block is not None and spec.name not in _WAYS_OUT and (writes or not block.writes_only):
            raise block.error

    def refuse_keys(self, spec: CommandSpec, args: Sequence[bytes], found: Iterable[tuple[int, Named]]) -> None:
        """Refuse a command on blocked keys or in blocked namespaces; `found`: its keys and channels by index. Raises
        GateError."""
        flags: Mapping[int, frozenset[str]] | None = None
        for index, namespace in found:
            key = self._blocks.get((KEY, args[index]))
            for block in (*self.of_namespace(namespace), *([key] if key else [])):
                if not block.writes_only:
                    raise block.error
                if flags is None:
                    flags = dict(keys_with_flags(spec, args))
                if _changes(spec, flags.get(index)):
                    raise block.error


def _changes(spec: CommandSpec, flags: frozenset[str] | None) -> bool:
    """Whether a command changes a key that it has with these flags; None: it is a channel."""
    if flags is None:
        return may_write(spec)
    return may_write(spec) and ("RO" not in flags or spec.name == "XREADGROUP")  # a group's reading is written down
