"""Replies of a store that speaks RESP2 only, turned into what Redis answers a RESP3 client: by a rule for each command.

RESP2 flattens maps, sets, doubles and pairs into arrays and strings, so that a reply alone does not tell what it was; the
command and its options do. The rules are Redis 7.0's, observed; a command without one differs in nothing but its nulls.
What a script returns cannot be known: it gets its nulls, as it does in Redis unless it calls ``redis.setresp(3)``.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.wire.reply import Double, Map, Reply, SetOf, decode, encode

Rule = Callable[[Sequence[bytes], Reply], Reply]
"""``rule(args, reply)``: the request and its RESP2 reply, which is neither an error nor null."""

_AS_IT_IS: Final = (b"+", b"-", b":")
_NULLS: Final = (b"$-1\r\n", b"*-1\r\n")


def in_resp3(spec: CommandSpec, args: Sequence[bytes], raw: bytes) -> bytes:
    """One whole raw RESP2 reply to the request `args`, in RESP3. Errors and what is RESP3 already stay as they are."""
    if raw[:1] in _AS_IT_IS:
        return raw
    if raw in _NULLS:
        return b"_\r\n"
    rule = RULES.get(spec.name)
    if rule is None and raw[:1] == b"$":
        return raw
    reply = decode(raw)
    return encode(reply if rule is None else rule(args, reply), 3)


def _items(reply: Reply) -> list[Reply]:
    return reply if isinstance(reply, list) else []


def _double(reply: Reply) -> Reply:
    return Double(reply) if isinstance(reply, bytes) else reply


def _pairs(items: list[Reply]) -> list[tuple[Reply, Reply]]:
    return list(zip(items[::2], items[1::2], strict=False))


def _as_map(reply: Reply, **inside: Callable[[Reply], Reply]) -> Reply:
    """A flat array as a map; `inside` says what becomes of the values of some fields."""
    if not isinstance(reply, list):
        return reply
    found: list[tuple[Reply, Reply]] = []
    for name, value in _pairs(reply):
        change = inside.get(name.decode("latin-1").replace("-", "_")) if isinstance(name, bytes) else None
        found.append((name, value if change is None else change(value)))
    return Map(found)


def _maps(reply: Reply, **inside: Callable[[Reply], Reply]) -> Reply:
    return [_as_map(item, **inside) for item in reply] if isinstance(reply, list) else reply


def _says(args: Sequence[bytes], word: bytes, start: int) -> bool:
    """Whether an option stands in the request from argument `start` on."""
    return any(arg.upper() == word for arg in args[start:])


def _map(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return _as_map(reply)


def _set(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return SetOf(reply) if isinstance(reply, list) else reply


def _score(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return _double(reply)


def _scores(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return [_double(item) for item in _items(reply)]


def _scored(items: list[Reply]) -> Reply:
    return [[member, _double(score)] for member, score in _pairs(items)]


def _with_scores(start: int) -> Rule:
    def rule(args: Sequence[bytes], reply: Reply) -> Reply:
        return _scored(_items(reply)) if _says(args, b"WITHSCORES", start) else reply

    return rule


def _counted_with_scores(args: Sequence[bytes], reply: Reply) -> Reply:
    """ZUNION and its kin: behind the keys, one of which may be called WITHSCORES."""
    return _with_scores(2 + (integer(args[1]) or 0))(args, reply)


def _popped(args: Sequence[bytes], reply: Reply) -> Reply:
    """ZPOPMIN, ZPOPMAX: one pair without a count, an array of pairs with one."""
    items = _items(reply)
    return _scored(items) if len(args) > 2 else [_double(item) if at == 1 else item for at, item in enumerate(items)]


def _popped_of_key(args: Sequence[bytes], reply: Reply) -> Reply:
    """BZPOPMIN, BZPOPMAX: key, member, score."""
    del args
    return [_double(item) if at == 2 else item for at, item in enumerate(_items(reply))]


def _popped_many(args: Sequence[bytes], reply: Reply) -> Reply:
    """ZMPOP, BZMPOP: the key, and pairs that are pairs in RESP2 too."""
    del args
    return [
        [[_double(part) if at == 1 else part for at, part in enumerate(_items(pair))] for pair in item]
        if isinstance(item, list)
        else item
        for item in _items(reply)
    ]


def _fields(args: Sequence[bytes], reply: Reply) -> Reply:
    """HRANDFIELD: pairs WITHVALUES."""
    return [[name, value] for name, value in _pairs(_items(reply))] if _says(args, b"WITHVALUES", 3) else reply


def _positions(args: Sequence[bytes], reply: Reply) -> Reply:
    """GEOPOS."""
    del args
    return [[_double(part) for part in item] if isinstance(item, list) else item for item in _items(reply)]


def _found_places(args: Sequence[bytes], reply: Reply) -> Reply:
    """GEOSEARCH and its kin: only WITHCOORD gives arrays within what was found; distances are strings in RESP3 too."""
    del args
    return [
        [[_double(each) for each in part] if isinstance(part, list) else part for part in item]
        if isinstance(item, list)
        else item
        for item in _items(reply)
    ]


def _streams(args: Sequence[bytes], reply: Reply) -> Reply:
    """XREAD, XREADGROUP: key and entries of each stream are a pair of a map."""
    del args
    pairs = [_items(item) for item in _items(reply)]
    return Map([(pair[0], pair[1]) for pair in pairs])


def _groups(reply: Reply) -> Reply:
    return _maps(reply, consumers=_maps)


def _stream(args: Sequence[bytes], reply: Reply) -> Reply:
    return _as_map(reply, groups=_groups) if _says(args, b"FULL", 3) else _as_map(reply)


def _list_of_maps(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return _maps(reply)


def _libraries(args: Sequence[bytes], reply: Reply) -> Reply:
    del args
    return _maps(reply, functions=lambda functions: _maps(functions, flags=lambda flags: _set((), flags)))


def _function_stats(args: Sequence[bytes], reply: Reply) -> Reply:
    del args

    def engines(found: Reply) -> Reply:
        return Map([(name, _as_map(figures)) for name, figures in _pairs(_items(found))])

    return _as_map(reply, running_script=_as_map, engines=engines)


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **dict.fromkeys(("HGETALL", "LCS"), _map),
        "HRANDFIELD": _fields,
        **dict.fromkeys(("SMEMBERS", "SINTER", "SUNION", "SDIFF", "SPOP"), _set),
        **dict.fromkeys(("ZSCORE", "ZINCRBY", "ZADD"), _score),
        "ZMSCORE": _scores,
        **dict.fromkeys(("ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), _with_scores(4)),
        "ZRANDMEMBER": _with_scores(3),
        **dict.fromkeys(("ZUNION", "ZINTER", "ZDIFF"), _counted_with_scores),
        **dict.fromkeys(("ZPOPMIN", "ZPOPMAX"), _popped),
        **dict.fromkeys(("BZPOPMIN", "BZPOPMAX"), _popped_of_key),
        **dict.fromkeys(("ZMPOP", "BZMPOP"), _popped_many),
        "GEOPOS": _positions,
        **dict.fromkeys(
            ("GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO", "GEOSEARCH"), _found_places
        ),
        **dict.fromkeys(("XREAD", "XREADGROUP"), _streams),
        "XINFO|STREAM": _stream,
        **dict.fromkeys(("XINFO|GROUPS", "XINFO|CONSUMERS"), _list_of_maps),
        "FUNCTION|LIST": _libraries,
        "FUNCTION|STATS": _function_stats,
    }
)
"""Command → what of its reply is more than an array or a string in RESP3."""
