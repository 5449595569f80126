"""A small model of Redis with tair.md's commands: keys, plain strings and hashes here, the rest in the modules beside it.

Written from tair.md and from what a Redis answers, and apart from the gate: nothing of kvgate is imported.
"""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from tests.versioned.replies import OK, Error, Expected, Near, Simple

INT64_MAX: Final = 2**63 - 1
SLACK: Final = 60_000
"""Milliseconds that may pass between the model's answer and the gate's."""
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]*")

SYNTAX: Final = "ERR syntax error"
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
STALE: Final = "ERR update version is stale"
NOT_AN_INTEGER: Final = "ERR value is not an integer"
OVERFLOW: Final = "ERR increment or decrement would overflow"


class Refused(Exception):  # noqa: N818 - what a command answers
    """The command changes nothing and answers this error."""


@attrs.frozen(slots=True)
class Deadline:
    """An expiry, Unix time in milliseconds; relative ones are known but for the `SLACK`."""

    least: int
    most: int

    def left(self, now: int) -> tuple[int, int]:
        """The least and the most milliseconds that are left for whoever asks now or within the slack."""
        return self.least - now - SLACK, self.most - now


@attrs.define(slots=True)
class Plain:
    """A string."""

    value: bytes


@attrs.define(slots=True)
class Hash:
    """A plain hash."""

    fields: dict[bytes, bytes]


@attrs.define(slots=True)
class ExString:
    """A versioned string; the version counts modulo 2^64."""

    value: bytes
    version: int = 0
    flags: int = 0


@attrs.define(slots=True)
class Field:
    """Of a versioned hash."""

    value: bytes
    version: int = 0
    deadline: Deadline | None = None


@attrs.define(slots=True)
class ExHash:
    """A versioned hash; fields whose time has come are never in it."""

    fields: dict[bytes, Field]


Item = Plain | Hash | ExString | ExHash
TYPES: Final[dict[type, str]] = {Plain: "string", Hash: "hash", ExString: "exstrtype", ExHash: "tairhash-"}


def integer(text: bytes) -> int | None:
    """An integer of 64 bits as strictly as Redis reads one."""
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -INT64_MAX - 1 <= number <= INT64_MAX else None


Handler = Callable[..., Expected]
"""Takes the model and the arguments."""
HANDLERS: Final[dict[str, tuple[Callable[[int], bool], Handler]]] = {}
"""By upper-case name: whether a number of arguments (name not counted) is right, and the handler."""


def handles(name: str, least: int, most: int | None = -1, *, step: int = 1) -> Callable[[Handler], Handler]:
    """Enter a handler: for `least` arguments, up to `most` (None: any number, in steps of `step`)."""
    bound = least if most == -1 else most

    def right(count: int) -> bool:
        return count >= least and (bound is None or count <= bound) and (count - least) % step == 0

    def enter(handler: Handler) -> Handler:
        HANDLERS[name] = (right, handler)
        return handler

    return enter


def wrong_arity(command: Sequence[bytes]) -> bool:
    """Whether the number of arguments is wrong for this command."""
    return not HANDLERS[command[0].decode().upper()][0](len(command) - 1)


class Model:
    """Keys and what they hold."""

    def __init__(self, *, coarse: bool = False) -> None:
        """No keys. `coarse`: a sum of floats is compared with bounds as it is printed, which is what scripts can do."""
        self.coarse = coarse
        self.items: dict[bytes, Item] = {}
        self.deadlines: dict[bytes, Deadline] = {}
        self.now = 0

    def do(self, command: Sequence[bytes], now: int) -> Expected:
        """Run a command at Unix time `now` in milliseconds; what it answers."""
        self.now = now
        name = command[0].decode().upper()
        if wrong_arity(command):
            return Error(f"ERR wrong number of arguments for '{name.lower()}' command")
        try:
            return HANDLERS[name][1](self, *command[1:])
        except Refused as error:
            return Error(str(error))

    def find(self, key: bytes, kind: type) -> Any:
        """What is there, None when nothing is. Raises `Refused` when it is of another kind."""
        item = self.items.get(key)
        if item is not None and type(item) is not kind:
            raise Refused(WRONG_TYPE)
        return item

    def remove(self, key: bytes) -> bool:
        """Whether there was something."""
        self.deadlines.pop(key, None)
        return self.items.pop(key, None) is not None

    def relative(self, milliseconds: int) -> Deadline:
        """So many from now."""
        return Deadline(self.now + milliseconds, self.now + milliseconds + SLACK)

    def looks(self, key: bytes, field: bytes = b"") -> list[tuple[bytes, ...]]:
        """Commands that show all there is to know of a key; of the fields' expiries only one."""
        item = self.items.get(key)
        if item is None:
            return [(b"EXISTS", key)]
        shown: dict[type, list[tuple[bytes, ...]]] = {
            Plain: [(b"GET", key)],
            Hash: [(b"HLEN", key)],
            ExString: [(b"EXGET", key, b"WITHFLAGS")],
            ExHash: [(b"EXHGETALLWITHVER", key), (b"EXHLEN", key), (b"EXHPTTL", key, field)],
        }
        return [*shown[type(item)], (b"PEXPIRETIME", key)]

    def past(self, deadline: Deadline | None) -> bool:
        """Whether that time has come."""
        return deadline is not None and deadline.most <= self.now

    def expire(self, key: bytes, deadline: Deadline | None) -> None:
        """Give a key an expiry, or none; one that has come removes it."""
        if self.past(deadline):
            self.remove(key)
        elif deadline is None:
            self.deadlines.pop(key, None)
        else:
            self.deadlines[key] = deadline


# Keys of any type


@handles("TYPE", 1)
def type_(model: Model, key: bytes) -> Expected:
    """See Redis."""
    item = model.items.get(key)
    return Simple("none" if item is None else TYPES[type(item)])


@handles("OBJECT", 2)
def object_(model: Model, _encoding: bytes, key: bytes) -> Expected:
    """OBJECT ENCODING, of the versioned types: others' is not predicted, so they are not asked."""
    item = model.items.get(key)
    return None if item is None else b"raw"


@handles("EXISTS", 1)
def exists(model: Model, key: bytes) -> Expected:
    """See Redis."""
    return int(key in model.items)


@handles("DEL", 1)
@handles("UNLINK", 1)
def delete(model: Model, key: bytes) -> Expected:
    """See Redis."""
    return int(model.remove(key))


@handles("PEXPIREAT", 2)
def pexpireat(model: Model, key: bytes, when: bytes) -> Expected:
    """See Redis."""
    if key not in model.items:
        return 0
    model.expire(key, Deadline(int(when), int(when)))
    return 1


@handles("EXPIRE", 2)
def expire(model: Model, key: bytes, seconds: bytes) -> Expected:
    """See Redis."""
    if key not in model.items:
        return 0
    model.expire(key, model.relative(int(seconds) * 1000))
    return 1


@handles("PERSIST", 1)
def persist(model: Model, key: bytes) -> Expected:
    """See Redis."""
    return int(model.deadlines.pop(key, None) is not None)


@handles("PEXPIRETIME", 1)
def pexpiretime(model: Model, key: bytes) -> Expected:
    """See Redis."""
    if key not in model.items:
        return -2
    deadline = model.deadlines.get(key)
    return -1 if deadline is None else Near(deadline.least, deadline.most)


@handles("PTTL", 1)
def pttl(model: Model, key: bytes) -> Expected:
    """See Redis."""
    if key not in model.items:
        return -2
    deadline = model.deadlines.get(key)
    return -1 if deadline is None else Near(*deadline.left(model.now))


def _move(model: Model, old: bytes, new: bytes) -> None:
    if old != new:
        deadline = model.deadlines.get(old)
        item = model.items[old]
        model.remove(old)
        model.remove(new)
        model.items[new] = item
        model.expire(new, deadline)


@handles("RENAME", 2)
def rename(model: Model, old: bytes, new: bytes) -> Expected:
    """See Redis."""
    if old not in model.items:
        raise Refused("ERR no such key")
    _move(model, old, new)
    return OK


@handles("RENAMENX", 2)
def renamenx(model: Model, old: bytes, new: bytes) -> Expected:
    """See Redis."""
    if old not in model.items:
        raise Refused("ERR no such key")
    if new in model.items:
        return 0
    _move(model, old, new)
    return 1


@handles("COPY", 2, 3)
def copy_(model: Model, old: bytes, new: bytes, *replace: bytes) -> Expected:
    """See Redis; a versioned type is not copied."""
    if old == new:
        raise Refused("ERR source and destination objects are the same")
    item = model.items.get(old)
    if item is None or (new in model.items and not replace):
        return 0
    if isinstance(item, ExString | ExHash):
        raise Refused("ERR not supported for this module key")
    model.remove(new)
    model.items[new] = copy.deepcopy(item)
    model.expire(new, model.deadlines.get(old))
    return 1


# Plain strings and hashes: enough of them to meet the others


@handles("GET", 1)
def get(model: Model, key: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Plain)
    return None if item is None else item.value


@handles("MGET", 2)
def mget(model: Model, *keys: bytes) -> Expected:
    """See Redis."""
    found = [model.items.get(key) for key in keys]
    return [item.value if isinstance(item, Plain) else None for item in found]


@handles("STRLEN", 1)
def strlen(model: Model, key: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Plain)
    return 0 if item is None else len(item.value)


@handles("APPEND", 2)
def append(model: Model, key: bytes, tail: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Plain)
    if item is None:
        item = model.items[key] = Plain(b"")
    item.value += tail
    return len(item.value)


@handles("GETDEL", 1)
def getdel(model: Model, key: bytes) -> Expected:
    """See Redis."""
    found = get(model, key)
    model.remove(key)
    return found


@handles("HSET", 3)
def hset(model: Model, key: bytes, field: bytes, value: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Hash)
    if item is None:
        item = model.items[key] = Hash({})
    new = field not in item.fields
    item.fields[field] = value
    return int(new)


@handles("HGET", 2)
def hget(model: Model, key: bytes, field: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Hash)
    return None if item is None else item.fields.get(field)


@handles("HLEN", 1)
def hlen(model: Model, key: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Hash)
    return 0 if item is None else len(item.fields)


@handles("HDEL", 2)
def hdel(model: Model, key: bytes, field: bytes) -> Expected:
    """See Redis."""
    item = model.find(key, Hash)
    if item is None or item.fields.pop(field, None) is None:
        return 0
    if not item.fields:
        model.remove(key)
    return 1
