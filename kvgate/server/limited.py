"""What the limits of users and namespaces mean for one command on its way: what is asked instead of it, what of its reply is
delivered, and what the lane may learn of it."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from kvgate.backend import After, Command
from kvgate.commands.elements import FIELDS, most_elements
from kvgate.commands.scripts import served_as
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE
from kvgate.errors import GateError, reply_over_limit
from kvgate.lane.client import Client
from kvgate.lane.split import elements
from kvgate.metrics.ledger import Account
from kvgate.model.lasting import HOW, NEVER, Lasting, lasting
from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace
from kvgate.server.places import Place
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.places import Places

Found = Sequence[tuple[int, Place]]
Cap = tuple[int, bytes]
"""The bytes that a reply may have, and the raw error in the place of a longer one."""

MULTI: Final = encode_request([b"MULTI"])
EXEC: Final = encode_request([b"EXEC"])
BLOCK: Final = 4
"""Replies to a request that is sent with another one in a transaction: to MULTI, the two, and EXEC."""

EXPIRE_AFTER: Final = (
    b"for i,k in ipairs(KEYS)do local t,g,m,c=redis.call('PTTL',k),ARGV[3*i-2],tonumber(ARGV[3*i-1]),ARGV[3*i]"
    b"if t==-1 then redis.call('PEXPIRE',k,g)elseif m>0 and t>m then redis.call('PEXPIRE',k,c)end end"
)
"""For each key the milliseconds of `After`: given, longest, cut."""

SMALL: Final = frozenset(
    {"APPEND", "DECR", "DECRBY", "INCR", "INCRBY", "INCRBYFLOAT", "MSET", "MSETNX", "PSETEX", "SETEX", "SETNX", "SETRANGE"}
    | {"STRLEN", "BITCOUNT", "BITPOS", "GETBIT", "SETBIT", "PFADD", "PFCOUNT", "PFMERGE", "CAS", "CAD", "DELEX", "DELIFEQ"}
    | {"DEL", "EXISTS", "TOUCH", "TYPE", "UNLINK", "EXPIRE", "EXPIREAT", "EXPIRETIME", "PERSIST", "PEXPIRE", "PEXPIREAT"}
    | {"PEXPIRETIME", "PTTL", "TTL", "COPY", "RENAME", "RENAMENX", "HDEL", "HEXISTS", "HINCRBY", "HINCRBYFLOAT", "HLEN"}
    | {"HMSET", "HSET", "HSETNX", "HSTRLEN", "LINSERT", "LLEN", "LPUSH", "LPUSHX", "LREM", "LSET", "LTRIM", "RPUSH", "RPUSHX"}
    | {"SADD", "SCARD", "SISMEMBER", "SMOVE", "SREM", "SDIFFSTORE", "SINTERCARD", "SINTERSTORE", "SUNIONSTORE"}
    | {"ZADD", "ZCARD", "ZCOUNT", "ZINCRBY", "ZINTERCARD", "ZLEXCOUNT", "ZRANK", "ZREM", "ZREVRANK", "ZSCORE"}
    | {"XACK", "XADD", "XDEL", "XLEN", "XTRIM"}
)
"""Commands whose replies are numbers, words and the like: below every ``max_reply``."""


def is_limited(user: User, namespace: Namespace) -> bool:
    """Whether a user's commands on the namespace are held to more than sizes and rights, so that it has routes of its own."""
    return namespace.limits is not None or user.max_reply is not None


def cap(user: User, found: Found) -> Cap | None:
    """What holds for the reply to a command of the user on those places; the smallest limit."""
    smallest, whose = user.max_reply, f"user '{user.name}'"
    for _, place in found:
        limits = place.namespace.limits
        if limits is not None and limits.max_reply is not None and (smallest is None or limits.max_reply < smallest):
            smallest, whose = limits.max_reply, f"namespace '{place.namespace.name}'"
    return None if smallest is None else (smallest, reply_over_limit(smallest, whose).reply)


def small(spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether the reply is below every ``max_reply``, whatever the key holds."""
    return spec.name in SMALL or (spec.name == "SET" and len(args) == 3)


def capped(raw: bytes, limit: Cap | None) -> bytes:
    """The reply that is delivered."""
    return raw if limit is None or len(raw) <= limit[0] else limit[1]


def changed(spec: CommandSpec, args: list[bytes], found: Found) -> Lasting | None:
    """What is to be run instead of a checked command for the sake of keys' expiries, None for the command itself."""
    for _, place in found:
        if place.namespace.limits is not None and place.namespace.limits.expiry is not None:
            break
    else:
        return None
    rules = [(at, None if place.namespace.limits is None else place.namespace.limits.expiry) for at, place in found]
    return lasting(spec, args, rules, int(time.time() * 1000))


def spec_of(spec: CommandSpec, args: Sequence[bytes]) -> CommandSpec:
    """The row of a command that `changed` made of one of `spec`."""
    return spec if spec.subcommands or "|" in spec.name else TABLE.get(args[0].upper(), spec)


def command(spec: CommandSpec, args: list[bytes], keys: tuple[int, ...], frame: bytes, found: Found) -> Command:
    """A checked command for a backend that executes it."""
    other = changed(spec, args, found)
    if other is None:
        return Command(args, served_as(spec, args), keys, frame)
    return Command(other.args, spec_of(spec, other.args), keys, frame, other.after)


def expire_request(places: "Places", place: Place, after: Sequence[After]) -> bytes:
    """The request that gives keys their expiries on the place's store."""
    topology = places.topologies.get(place.backend.name)
    rename = {} if topology is None else topology.rename
    script = EXPIRE_AFTER
    for word in ("PTTL", "PEXPIRE"):
        if word in rename:
            script = script.replace(b"'%b'" % word.encode(), b"'%b'" % _escaped(rename[word]))
    name = rename.get("EVAL", "EVAL").encode("utf-8", "surrogateescape")
    numbers = [b"%d" % number for each in after for number in (each.given, each.longest, each.cut)]
    return encode_request([name, script, b"%d" % len(after), *(each.key for each in after), *numbers])


def _escaped(name: str) -> bytes:
    return b"".join(b"\\%03d" % byte for byte in name.encode("utf-8", "surrogateescape"))


def in_block(frame: bytes, after: bytes) -> bytes:
    """Both requests in one transaction."""
    return b"".join((MULTI, frame, after, EXEC))


def first_of_block(replies: Sequence[bytes]) -> bytes:
    """The reply to the first of two requests that went out as `in_block`, of the replies to all four."""
    last = replies[-1]
    if last[:1] == b"*" and not last.startswith(b"*-"):
        return elements(last)[0]
    return next((raw for raw in replies if raw[:1] == b"-"), last)


class Block:
    """Takes the replies to `in_block`, and hands on the first request's."""

    __slots__ = ("_replies", "_take")

    def __init__(self, take: Callable[[bytes], None]) -> None:
        """`take` gets one raw reply."""
        self._take = take
        self._replies: list[bytes] = []

    def answer(self, raw: bytes) -> None:
        """One more reply."""
        self._replies.append(raw)
        if len(self._replies) == BLOCK:
            self._take(first_of_block(self._replies))


def looks(user: User, namespace: Namespace, spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether each request that is spelled like this one (one key, as its first argument) has to be looked at."""
    limits = namespace.limits
    if (user.max_reply is not None or (limits is not None and limits.max_reply is not None)) and not small(spec, args):
        return True
    if limits is None:
        return False
    return (
        bool(limits.key_pattern)
        or (limits.expiry is not None and spec.write and HOW.get(spec.name) is not NEVER)
        or (limits.max_field is not None and spec.name in FIELDS)
        or (limits.max_elements is not None and most_elements(spec, len(args)) > limits.max_elements)
        or (limits.types is not None and spec.name == "RESTORE")
    )


def turn_down(gate: "Dispatcher", client: Client, args: list[bytes], account: Account, error: GateError) -> None:
    """Refuse a command that the lane brought here by itself."""
    gate.ledger.refused(account.namespace, error.code)
    account.rejected += 1
    gate.audit.refused(client, args, error)
    gate.lane.reply(client, error.reply)


def check_again(namespace: Namespace, spec: CommandSpec, args: Sequence[bytes]) -> None:
    """What has to be looked at in each request of a route that is known: one key, as its first argument.

    Raises:
        GateError: over a limit.
    """
    limits = namespace.limits
    if limits is not None:
        limits.check_key(args[1], namespace.name)
        limits.check_request(spec, args, 1, namespace.name)
