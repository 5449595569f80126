"""A Redis of a few keys as a function: the state after an operation, and whether its replies are those it would have had."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tests.linearizability.history import Operation, Reply, Words

Fields = frozenset[tuple[bytes, bytes]]
Value = bytes | Fields | None
"""A string, a hash, or nothing."""
State = tuple[Value, ...]
"""The value of each key, in the model's order; hashable, so that a search can remember where it was."""

READS: Final = frozenset({b"GET", b"HGET", b"HLEN", b"HGETALL"})


class Model:
    """The keys of one history, or of a part of it that can be judged by itself."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Of these keys; none exists at first."""
        self._place = {key: at for at, key in enumerate(sorted(set(keys)))}
        self.initial: State = (None,) * len(self._place)

    def step(self, state: State, operation: Operation) -> State | None:
        """The state after the operation; None when it would have had other replies. One of unknown replies always fits."""
        values = list(state)
        for key, value in operation.expected:
            if values[self._place[key]] != value:
                return state if operation.replies is None else None
        for at, words in enumerate(operation.commands):
            place = self._place[words[1]]
            values[place], reply = DOES[words[0]](values[place], words)
            if operation.replies is not None and reply != operation.replies[at]:
                return None
        return tuple(values)


def reads_only(operation: Operation) -> bool:
    """Whether the operation changes nothing in any state."""
    return all(words[0] in READS for words in operation.commands)


def _string(value: Value) -> bytes | None:
    assert value is None or isinstance(value, bytes), "clients use one type for each key"
    return value


def _fields(value: Value) -> dict[bytes, bytes]:
    assert value is None or isinstance(value, frozenset), "clients use one type for each key"
    return dict(value or ())


def _hash(fields: Mapping[bytes, bytes]) -> Value:
    return frozenset(fields.items()) or None


def _get(value: Value, words: Words) -> tuple[Value, Reply]:
    del words
    return value, _string(value)


def _set(value: Value, words: Words) -> tuple[Value, Reply]:
    """``SET key value [GET]``."""
    return words[2], _string(value) if words[3:] == (b"GET",) else b"OK"


def _incr(value: Value, words: Words) -> tuple[Value, Reply]:
    del words
    after = int(_string(value) or b"0") + 1
    return b"%d" % after, after


def _del(value: Value, words: Words) -> tuple[Value, Reply]:
    del words
    return None, int(value is not None)


def _hset(value: Value, words: Words) -> tuple[Value, Reply]:
    """``HSET key field value``."""
    fields = _fields(value)
    new = words[2] not in fields
    return _hash({**fields, words[2]: words[3]}), int(new)


def _hget(value: Value, words: Words) -> tuple[Value, Reply]:
    return value, _fields(value).get(words[2])


def _hlen(value: Value, words: Words) -> tuple[Value, Reply]:
    del words
    return value, len(_fields(value))


def _hgetall(value: Value, words: Words) -> tuple[Value, Reply]:
    """Fields and values in the order of the fields: clients sort what they are told."""
    del words
    return value, tuple(word for pair in sorted(_fields(value).items()) for word in pair)


def _hincrby(value: Value, words: Words) -> tuple[Value, Reply]:
    """``HINCRBY key field 1``."""
    fields = _fields(value)
    after = int(fields.get(words[2], b"0")) + int(words[3])
    return _hash({**fields, words[2]: b"%d" % after}), after


def _hdel(value: Value, words: Words) -> tuple[Value, Reply]:
    """``HDEL key field``."""
    fields = _fields(value)
    gone = fields.pop(words[2], None)
    return _hash(fields), int(gone is not None)


DOES: Final[Mapping[bytes, Callable[[Value, Words], tuple[Value, Reply]]]] = {
    b"GET": _get,
    b"SET": _set,
    b"INCR": _incr,
    b"DEL": _del,
    b"HSET": _hset,
    b"HGET": _hget,
    b"HLEN": _hlen,
    b"HGETALL": _hgetall,
    b"HINCRBY": _hincrby,
    b"HDEL": _hdel,
}
"""What each command makes of the value of its key, and its reply."""
