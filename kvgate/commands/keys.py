"""Where the keys and the channels of a request are: those of the key specifications, and those that options hide.

What a command would really touch counts. Where Redis' own COMMAND GETKEYS is deceived (``SORT k STORE GET STORE d``), these
functions follow the command. All take a request whose name and number of arguments `kvgate.commands.table.resolve` found
right. Where the keys cannot be told, because the request is wrong, no store can be chosen to say so: then Redis' own text
(observed on 7.0.15) is raised here.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from kvgate import errors
from kvgate.commands.spec import Action, CommandSpec, Keys
from kvgate.commands.table import every_command
from kvgate.errors import GateError

Found = tuple[int, frozenset[str]]
"""The index of one key in the request, and Redis' flags for what is done to it."""

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_LEADING: Final = re.compile(rb"[ \t\n\v\f\r]*[+-]?[0-9]{1,9}")


@attrs.frozen(slots=True)
class _Counted:
    """What Redis says about a wrong number of keys: no number, fewer than `least`, more than there are arguments."""

    not_a_number: str
    too_few: str
    too_many: str
    least: int = 1
    behind: int = 0
    """Arguments that must follow the keys."""


_POSITIVE: Final = "ERR numkeys should be greater than 0"
_NEGATIVE: Final = "ERR Number of keys can't be negative"
_GREATER: Final = "ERR Number of keys can't be greater than number of args"
_EVAL: Final = _Counted(errors.NOT_AN_INTEGER, _NEGATIVE, _GREATER, least=0)
_CALL: Final = _Counted("ERR Bad number of keys provided", _NEGATIVE, _GREATER, least=0)
_POP: Final = _Counted(_POSITIVE, _POSITIVE, errors.SYNTAX, behind=1)
_COUNTED: Final = {
    **dict.fromkeys(("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO"), _EVAL),
    **dict.fromkeys(("FCALL", "FCALL_RO"), _CALL),
    **dict.fromkeys(("LMPOP", "BLMPOP", "ZMPOP", "BZMPOP"), _POP),
    "SINTERCARD": _Counted(_POSITIVE, _POSITIVE, _GREATER),
}
_COUNTED_DEFAULT: Final = _Counted(errors.NOT_AN_INTEGER, "ERR at least 1 input key is needed for '%s' command", errors.SYNTAX)


def key_indices(spec: CommandSpec, args: Sequence[bytes]) -> tuple[int, ...]:
    """The indices in `args` of all keys that the command would touch, in the order of the key specifications.

    Raises:
        GateError: the arguments do not tell the keys; the text is what Redis answers to this request.
    """
    fixed = _FIXED.get(spec)
    return tuple(index for index, _ in _find(spec, args)) if fixed is None else fixed


def fixed_keys(spec: CommandSpec) -> tuple[int, ...] | None:
    """The indices of the keys when every request of the command has them at the same place, else None."""
    return _FIXED.get(spec)


def is_plain(spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether every request with this name and number of arguments has its first argument as its one key."""
    if spec.action not in (Action.FORWARD, Action.SPLIT) or spec.subcommands or "|" in spec.name:
        return False
    if fixed_keys(spec) == (1,):
        return True
    only = spec.keys[0] if len(spec.keys) == 1 else None
    return only is not None and only.index == 1 and only.last == -1 and not only.unknown and len(args) == 1 + only.step


def keys_with_flags(spec: CommandSpec, args: Sequence[bytes]) -> tuple[Found, ...]:
    """As `key_indices`, each with what this very request does to the key: ``RO access``, ``OW update`` …

    Raises:
        GateError: as `key_indices`.
    """
    varying = _VARYING.get(spec.name)
    found = tuple(_find(spec, args))
    return found if varying is None else tuple((index, varying(args)) for index, _ in found)


def keys_by_place(spec: CommandSpec, args: Sequence[bytes]) -> tuple[Found, ...]:
    """As `keys_with_flags`, but as Redis' COMMAND GETKEYS sees it: by the key specifications alone where they say all. Options
    are not read, so that a request with wrong ones may have keys, or none."""
    if spec.name in _VARYING or any(place.unknown for place in spec.keys):
        return keys_with_flags(spec, args)
    found: list[Found] = []
    behind: list[Found] = []
    for place in spec.keys:
        if "not_key" in place.flags:
            continue
        where, flags = _places(spec, place, args) if place.keynum < 0 else range(0), place.flags
        if place.keynum >= 0:
            number, first = integer(args[place.index + place.keynum]), place.index + place.first
            if number is None:  # Redis tries again, not so strictly; then it gives the target last, and no flags
                leading = _LEADING.match(args[place.index + place.keynum])
                number = int(leading[0]) if leading else 0
                found, behind, flags = [], found, frozenset()
            if 0 < number <= (len(args) - first) // place.step:
                where = range(first, first + number * place.step, place.step)
            else:
                return ()
        found += [(index, flags) for index in where]
    return (*found, *behind)


def written_keys(spec: CommandSpec, args: Sequence[bytes]) -> frozenset[int]:
    """The indices of the keys that this request may change, by Redis' flags for each key: the target of SINTERSTORE, not its
    sources. All keys of a write whose row flags none as changed (XREADGROUP moves a group on).

    Raises:
        GateError: as `key_indices`.
    """
    if spec.write and not any(_CHANGES & place.flags for place in spec.keys):
        return frozenset(key_indices(spec, args))
    return frozenset(index for index, flags in keys_with_flags(spec, args) if _CHANGES & flags)


def only_writes(spec: CommandSpec) -> bool:
    """Whether every request of the command may change each of its keys; SINTERSTORE only reads some, BITFIELD may read."""
    changes = [bool(_CHANGES & place.flags) for place in spec.keys]
    if not any(changes):
        return spec.write and bool(spec.keys)
    return all(changes) and spec.name != "BITFIELD"


_CHANGES: Final = frozenset({"insert", "update", "delete"})


def hidden_patterns(spec: CommandSpec, args: Sequence[bytes]) -> tuple[int, ...]:
    """The indices of SORT's BY and GET patterns that name keys: each ``*`` there is filled with an element of the list.

    Patterns without ``*`` (``nosort``, ``#``) name no key, in Redis too; ``user_*->age`` names the keys ``user_…``.
    """
    if spec.name not in ("SORT", "SORT_RO"):
        return ()
    return tuple(value for word, value in _sort_options(args) if word in (b"BY", b"GET") and b"*" in args[value])


def channels(spec: CommandSpec, args: Sequence[bytes]) -> tuple[int, ...]:
    """The indices of channel names: of what PUBLISH sends to, of what SUBSCRIBE listens to, of what PUBSUB NUMSUB counts."""
    if spec.name in ("PUBLISH", "SPUBLISH"):
        return (1,)
    first = _CHANNELS_FROM.get(spec.name)
    return tuple(range(first, len(args))) if first else ()


def channel_patterns(spec: CommandSpec, args: Sequence[bytes]) -> tuple[int, ...]:
    """The indices of channel patterns: of PSUBSCRIBE, PUNSUBSCRIBE, PUBSUB CHANNELS and SHARDCHANNELS."""
    first = _PATTERNS_FROM.get(spec.name)
    return tuple(range(first, len(args))) if first else ()


def listed(spec: CommandSpec, args: Sequence[bytes]) -> bytes | None:
    """The pattern of the keys that KEYS or SCAN lists, None for all keys."""
    if spec.name == "KEYS":
        return args[1]
    if spec.name == "SCAN":
        found = [args[at + 1] for at in range(2, len(args) - 1, 2) if args[at].partition(b"\x00")[0].upper() == b"MATCH"]
        return found[-1] if found else None
    return None


def needs_own_connection(spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether this request has to run on a connection of the client's own; XREAD and XREADGROUP only with BLOCK.

    Raises:
        GateError: as `key_indices`.
    """
    if spec.action is not Action.OWN:
        return False
    if spec.name not in ("XREAD", "XREADGROUP"):
        return True
    return _streams(spec, args)[1]


_CHANNELS_FROM: Final = {
    **dict.fromkeys(("SUBSCRIBE", "UNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE"), 1),
    **dict.fromkeys(("PUBSUB|NUMSUB", "PUBSUB|SHARDNUMSUB"), 2),
}
_PATTERNS_FROM: Final = {"PSUBSCRIBE": 1, "PUNSUBSCRIBE": 1, "PUBSUB|CHANNELS": 2, "PUBSUB|SHARDCHANNELS": 2}


def integer(text: bytes) -> int | None:
    """A number as Redis reads arguments: 64 bits, no plus sign, no leading zeros, no blanks; None when it is none."""
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _word(arg: bytes) -> bytes:
    """An option's word in upper case as Redis compares it: up to the first NUL."""
    return arg.partition(b"\0")[0].upper()


def _find(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    special = _SPECIAL.get(spec.name)
    if special is not None:
        yield from special(spec, args)
        return
    for place in spec.keys:
        if place.unknown or "not_key" in place.flags:
            continue
        for index in _places(spec, place, args):
            yield index, place.flags


def _places(spec: CommandSpec, place: Keys, args: Sequence[bytes]) -> range:
    """What one key specification points at."""
    begin = place.index or _behind_keyword(place, args)
    if not begin or begin >= len(args):
        return range(0)
    if place.keynum >= 0:
        return _counted(spec, place, begin, args)
    if place.last >= 0:
        end = begin + place.last
    elif place.limit > 1:
        end = begin + (len(args) - begin) // place.limit + place.last
    else:
        end = len(args) + place.last
    return range(begin, min(end, len(args) - 1) + 1, place.step)


def _behind_keyword(place: Keys, args: Sequence[bytes]) -> int:
    """The index behind the keyword, 0 when it is not there."""
    searched = range(place.start, len(args) - 1) if place.start > 0 else range(len(args) + place.start, 0, -1)
    return next((at + 1 for at in searched if _word(args[at]) == place.keyword), 0)


def _counted(spec: CommandSpec, place: Keys, begin: int, args: Sequence[bytes]) -> range:
    """The keys behind their number."""
    texts = _COUNTED.get(spec.name, _COUNTED_DEFAULT)
    number = integer(args[begin + place.keynum])
    first = begin + place.first
    if number is not None and number >= texts.least and first + number * place.step + texts.behind <= len(args):
        return range(first, first + number * place.step, place.step)
    if spec.name in ("EVALSHA", "EVALSHA_RO") and len(args[1]) != 40:
        raise GateError("NOSCRIPT No matching script. Please use EVAL.")  # Redis looks at the digest's length first
    if number is None:
        raise GateError(texts.not_a_number)
    if number < texts.least:
        raise GateError(texts.too_few.replace("%s", spec.lower))
    raise GateError(texts.too_many)


# Commands whose options must be read as the command reads them.


def _mset(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    """MSET, MSETNX: Redis finds a missing value only when it runs them, with the words of a wrong arity."""
    if len(args) % 2 == 0:
        raise errors.wrong_arity(spec.lower)
    for index in range(1, len(args), 2):
        yield index, spec.keys[0].flags


def _copy(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    """COPY: DB would leave the namespaces (and a store whose url names a database): only the gate's one is there."""
    at = 3
    while at < len(args) and _word(args[at]) == b"REPLACE":
        at += 1
    if at + 1 < len(args) and _word(args[at]) == b"DB":
        database = integer(args[at + 1])
        if database is None:
            raise GateError(errors.NOT_AN_INTEGER)
        if database:
            raise GateError(errors.BAD_DATABASE)
        raise errors.refused(spec.lower, spec.why)
    yield 1, spec.keys[0].flags
    yield 2, spec.keys[1].flags


def _sort_options(args: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """SORT's options that have a value: (word in upper case, index of the value), as far as they are well formed."""
    at = 2
    while at < len(args):
        word, left = _word(args[at]), len(args) - at - 1
        if word in (b"BY", b"GET", b"STORE") and left >= 1:
            yield word, at + 1
            at += 2
        elif word == b"LIMIT" and left >= 2:
            at += 3
        elif word in (b"ASC", b"DESC", b"ALPHA"):
            at += 1
        else:
            return  # a syntax error, which the store of the first key answers


def _sort(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    yield 1, spec.keys[0].flags
    targets = [value for word, value in _sort_options(args) if word == b"STORE"]
    if targets:
        yield targets[-1], spec.keys[-1].flags  # the last one is stored to


def _georadius(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    """GEORADIUS, GEORADIUSBYMEMBER: every STORE and STOREDIST counts, though the last one wins."""
    yield 1, spec.keys[0].flags
    at = spec.keys[1].start
    while at < len(args) - 1:
        if _word(args[at]) in (b"STORE", b"STOREDIST"):
            at += 1
            yield at, spec.keys[1].flags
        at += 1


def _streams(spec: CommandSpec, args: Sequence[bytes]) -> tuple[range, bool]:
    """XREAD, XREADGROUP: where the keys are, and whether there is BLOCK. Options are read in order, as Redis does."""
    at, blocks, group = 1, False, spec.name == "XREADGROUP"
    while at < len(args):
        word, left = _word(args[at]), len(args) - at - 1
        if word == b"STREAMS" and left:
            if left % 2:
                raise GateError("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
            return range(at + 1, at + 1 + left // 2), blocks
        if word == b"BLOCK" and left:
            _check_timeout(args[at + 1])
            blocks = True
            at += 2
        elif word == b"COUNT" and left:
            if integer(args[at + 1]) is None:
                raise GateError(errors.NOT_AN_INTEGER)
            at += 2
        elif (word == b"GROUP" and left >= 2) or word == b"NOACK":
            if not group:
                name = word.decode()
                raise GateError(f"ERR The {name} option is only supported by XREADGROUP. You called XREAD instead.")
            at += 3 if word == b"GROUP" else 1
        else:
            break
    raise errors.syntax_error()


def _check_timeout(text: bytes) -> None:
    milliseconds = integer(text)
    if milliseconds is None:
        raise GateError("ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise GateError("ERR timeout is negative")


def _xread(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    for index in _streams(spec, args)[0]:
        yield index, spec.keys[0].flags


def _migrate(spec: CommandSpec, args: Sequence[bytes]) -> Iterator[Found]:
    """MIGRATE (refused, but COMMAND GETKEYS may ask): one key, or an empty one and those behind KEYS."""
    at = 6
    while at < len(args):
        word = _word(args[at])
        if word == b"KEYS":
            if args[3]:
                raise errors.syntax_error()
            for index in range(at + 1, len(args)):
                yield index, spec.keys[0].flags
            return
        at += {b"AUTH": 2, b"AUTH2": 3}.get(word, 1)
    yield 3, spec.keys[0].flags


_SPECIAL: Final[dict[str, Callable[[CommandSpec, Sequence[bytes]], Iterator[Found]]]] = {
    "COPY": _copy,
    "GEORADIUS": _georadius,
    "GEORADIUSBYMEMBER": _georadius,
    "MIGRATE": _migrate,
    "MSET": _mset,
    "MSETNX": _mset,
    "SORT": _sort,
    "XREAD": _xread,
    "XREADGROUP": _xread,
}


# Commands whose options decide what is done to the key (Redis' flag variable_flags).

_READ: Final = frozenset({"RO", "access"})
_OVERWRITE: Final = frozenset({"OW", "update"})
_READ_WRITE: Final = frozenset({"RW", "access", "update"})


def _set_flags(args: Sequence[bytes]) -> frozenset[str]:
    return _READ_WRITE if any(_word(arg) == b"GET" for arg in args[3:]) else _OVERWRITE


def _bitfield_flags(args: Sequence[bytes]) -> frozenset[str]:
    """What is wrong may write, as Redis has it."""
    at = 2
    while at < len(args):
        size = {b"GET": 3, b"OVERFLOW": 2}.get(_word(args[at]), 0)
        if not size or at + size > len(args):
            return _READ_WRITE
        at += size
    return _READ


_VARYING: Final[dict[str, Callable[[Sequence[bytes]], frozenset[str]]]] = {"SET": _set_flags, "BITFIELD": _bitfield_flags}


def _always(spec: CommandSpec) -> tuple[int, ...] | None:
    """See `fixed_keys`."""
    if spec.name in _SPECIAL:
        return None
    places = [place for place in spec.keys if not place.unknown and "not_key" not in place.flags]
    if all(place.index and not place.last and place.keynum < 0 for place in places):
        return tuple(place.index for place in places)
    return None


_FIXED: Final[dict[CommandSpec, tuple[int, ...]]] = {
    spec: keys for spec in every_command() if (keys := _always(spec)) is not None
}
