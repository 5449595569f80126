"""TairHash in the model."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.versioned import floats
from tests.versioned.model import (
    INT64_MAX,
    NOT_AN_INTEGER,
    OVERFLOW,
    STALE,
    SYNTAX,
    Deadline,
    ExHash,
    Field,
    Model,
    Refused,
    handles,
    integer,
)
from tests.versioned.model_options import Options, options
from tests.versioned.model_strings import float_outside, outside
from tests.versioned.replies import OK, AnyOrder, Expected, Near, Simple

EXPIRY: Final = "EX EXAT PX PXAT KEEPTTL"
NOT_A_FLOAT: Final = "ERR value is not an float"
AGAIN: Final = "VER ABS GT MIN MAX"
"""What TairHash lets be said twice, unlike TairString: the last counts."""
Wanted = tuple[str, int]


def _fields(model: Model, key: bytes) -> dict[bytes, Field]:
    """To be read only; empty when there is no key."""
    item: ExHash | None = model.find(key, ExHash)
    return item.fields if item else {}


def _write(model: Model, key: bytes, name: bytes, value: bytes, wanted: Wanted) -> Field:
    """Set a field's value and version; its expiry stays."""
    item: ExHash | None = model.find(key, ExHash)
    if item is None:
        item = model.items[key] = ExHash({})
    field = item.fields.setdefault(name, Field(value))
    field.value = value
    _count(field, wanted)
    return field


def _count(field: Field, wanted: Wanted) -> None:
    field.version = wanted[1] if wanted[0] in ("ABS", "GT") else (field.version + 1 + 2**63) % 2**64 - 2**63


def _check(field: Field | None, wanted: Wanted) -> None:
    if field is None:
        return
    how, number = wanted
    if (how == "VER" and number not in (0, field.version)) or (how == "GT" and number <= field.version):
        raise Refused(STALE)


def _settle(model: Model, key: bytes) -> None:
    """Fields whose time has come go, and the key with the last of them."""
    item = model.items[key]
    assert isinstance(item, ExHash)
    for name in [name for name, field in item.fields.items() if model.past(field.deadline)]:
        del item.fields[name]
    if not item.fields:
        model.remove(key)


def _set_expiry(model: Model, key: bytes, field: Field, said: Options) -> None:
    if "KEEPTTL" not in said:
        field.deadline = said.deadline(model, least=0)
    _settle(model, key)


@handles("EXHSET", 3, None)
def exhset(model: Model, key: bytes, name: bytes, value: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    fields = _fields(model, key)
    said = options(words, f"{EXPIRY} NX XX VER ABS GT", again=AGAIN)
    said.deadline(model, least=0)
    wanted, old = said.version(least=1), fields.get(name)
    if ("XX" in said and old is None) or ("NX" in said and old is not None):
        return -1
    _check(old, wanted)
    _set_expiry(model, key, _write(model, key, name, value, wanted), said)
    return int(old is None)


@handles("EXHSETNX", 3)
def exhsetnx(model: Model, key: bytes, name: bytes, value: bytes) -> Expected:
    """See tair.md."""
    if name in _fields(model, key):
        return 0
    _write(model, key, name, value, ("ABS", 0))
    return 1


@handles("EXHMSET", 3, None, step=2)
def exhmset(model: Model, key: bytes, *pairs: bytes) -> Expected:
    """See tair.md; the expiry of a field stays, since nothing is said of it."""
    _fields(model, key)
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        _write(model, key, name, value, ("", 0))
    return OK


@handles("EXHMSETWITHOPTS", 5, None, step=4)
def exhmsetwithopts(model: Model, key: bytes, *words: bytes) -> Expected:
    """See tair.md: all or nothing."""
    fields, rows = _fields(model, key), [words[at : at + 4] for at in range(0, len(words), 4)]
    read = []
    for name, value, version_text, seconds_text in rows:
        version, seconds = integer(version_text), integer(seconds_text)
        if version is None or seconds is None or version < 0 or seconds < 0:
            raise Refused(SYNTAX)
        _check(fields.get(name), ("VER", version))
        read.append((name, value, seconds))
    for name, value, seconds in read:
        _write(model, key, name, value, ("", 0)).deadline = model.relative(seconds * 1000)
    return OK


def _expire(model: Model, args: Sequence[bytes], unit: int, *, absolute: bool) -> Expected:
    key, name, text, *words = args
    time = integer(text)
    if time is None or time < 0:
        raise Refused(SYNTAX)
    wanted = options(words, "VER ABS GT", again=AGAIN).version(least=1)
    field = _fields(model, key).get(name)
    if field is None:
        return 0
    _check(field, wanted)
    milliseconds = time * unit
    known = absolute or not time
    field.deadline = Deadline(milliseconds, milliseconds) if known else model.relative(milliseconds)
    _count(field, wanted)
    _settle(model, key)
    return 1


@handles("EXHEXPIRE", 3, 6)
def exhexpire(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    return _expire(model, args, 1000, absolute=False)


@handles("EXHPEXPIRE", 3, 6)
def exhpexpire(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    return _expire(model, args, 1, absolute=False)


@handles("EXHEXPIREAT", 3, 6)
def exhexpireat(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    return _expire(model, args, 1000, absolute=True)


@handles("EXHPEXPIREAT", 3, 6)
def exhpexpireat(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    return _expire(model, args, 1, absolute=True)


def _left(model: Model, key: bytes, name: bytes, unit: int) -> Expected:
    fields = _fields(model, key)
    if name not in fields:
        return -3 if key in model.items else -2
    deadline = fields[name].deadline
    if deadline is None:
        return -1
    least, most = deadline.left(model.now)
    return Near(least // unit, -(-most // unit))


@handles("EXHTTL", 2)
def exhttl(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    return _left(model, key, name, 1000)


@handles("EXHPTTL", 2)
def exhpttl(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    return _left(model, key, name, 1)


@handles("EXHPERSIST", 2)
def exhpersist(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    field = _fields(model, key).get(name)
    if field is None or field.deadline is None:
        return 0
    field.deadline = None
    return 1


@handles("EXHVER", 2)
def exhver(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    fields = _fields(model, key)
    if name in fields:
        return fields[name].version
    return -2 if fields else -1


@handles("EXHSETVER", 3)
def exhsetver(model: Model, key: bytes, name: bytes, text: bytes) -> Expected:
    """See tair.md."""
    version = integer(text)
    if version is None or version <= 0:
        raise Refused(SYNTAX)
    field = _fields(model, key).get(name)
    if field is None:
        return 0
    field.version = version
    return 1


def _bounds(said: Options, read: Callable[[bytes], Any], kind: str) -> tuple[Any, Any]:
    found = []
    for name in ("MIN", "MAX"):
        number = read(said.said[name]) if name in said else None
        if name in said and number is None:
            raise Refused(f"ERR min or max is specified, but value is not {kind}")
        found.append(number)
    least, most = found
    if least is not None and most is not None and most < least:
        raise Refused("ERR min value is bigger than max value")
    return least, most


def _increase(model: Model, args: Sequence[bytes], read: Callable[[bytes], Any], error: str, kind: str) -> tuple[Any, ...]:
    """What both increments check, in this order: the field's name, old and new numbers' parts, options."""
    key, name, text, *words = args
    fields, number = _fields(model, key), read(text)
    if number is None:
        raise Refused(error)
    said = options(words, f"{EXPIRY} VER ABS GT MIN MAX", again=AGAIN)
    said.deadline(model, least=0)
    wanted, bounds = said.version(least=1), _bounds(said, read, kind)
    field = fields.get(name)
    old = read(field.value if field else b"0")
    if old is None:
        raise Refused(error)
    _check(field, wanted)
    return key, name, old, number, said, wanted, bounds


@handles("EXHINCRBY", 3, None)
def exhincrby(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    key, name, old, number, said, wanted, bounds = _increase(model, args, integer, NOT_AN_INTEGER, "an integer")
    new = old + number
    if not -INT64_MAX - 1 <= new <= INT64_MAX or outside(new, *bounds):
        raise Refused(OVERFLOW)
    _set_expiry(model, key, _write(model, key, name, b"%d" % new, wanted), said)
    return new


@handles("EXHINCRBYFLOAT", 3, None)
def exhincrbyfloat(model: Model, *args: bytes) -> Expected:
    """See tair.md."""
    key, name, old, number, said, wanted, bounds = _increase(model, args, floats.parse, NOT_A_FLOAT, "a float")
    new = floats.total(old, number)
    if new is None or float_outside(model, new, bounds, stored=name in _fields(model, key)):
        raise Refused(OVERFLOW)
    text = floats.human(new)
    _set_expiry(model, key, _write(model, key, name, text, wanted), said)
    return text


def _pair(field: Field | None) -> Expected:
    return None if field is None else [field.value, field.version]


@handles("EXHGET", 2)
def exhget(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    return exhmget(model, key, name)[0]


@handles("EXHGETWITHVER", 2)
def exhgetwithver(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    return _pair(_fields(model, key).get(name))


@handles("EXHMGET", 2, None)
def exhmget(model: Model, key: bytes, *names: bytes) -> Expected:
    """See tair.md."""
    found = [_fields(model, key).get(name) for name in names]
    return [None if field is None else field.value for field in found]


@handles("EXHMGETWITHVER", 2, None)
def exhmgetwithver(model: Model, key: bytes, *names: bytes) -> Expected:
    """See tair.md."""
    return [_pair(_fields(model, key).get(name)) for name in names]


@handles("EXHGETALL", 1)
def exhgetall(model: Model, key: bytes) -> Expected:
    """See tair.md."""
    return AnyOrder(tuple((name, field.value) for name, field in _fields(model, key).items()))


@handles("EXHGETALLWITHVER", 1)
def exhgetallwithver(model: Model, key: bytes) -> Expected:
    """See tair.md."""
    return AnyOrder(tuple((name, field.value, field.version) for name, field in _fields(model, key).items()))


@handles("EXHKEYS", 1)
def exhkeys(model: Model, key: bytes) -> Expected:
    """See tair.md."""
    return AnyOrder(tuple((name,) for name in _fields(model, key)))


@handles("EXHVALS", 1)
def exhvals(model: Model, key: bytes) -> Expected:
    """See tair.md."""
    return AnyOrder(tuple((field.value,) for field in _fields(model, key).values()))


@handles("EXHLEN", 1, 2)
def exhlen(model: Model, key: bytes, *words: bytes) -> Expected:
    """See tair.md; fields whose time has come are never counted."""
    if words and words[0].upper() != b"NOEXP":
        raise Refused(SYNTAX)
    return len(_fields(model, key))


@handles("EXHSTRLEN", 2)
def exhstrlen(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    field = _fields(model, key).get(name)
    return len(field.value) if field else 0


@handles("EXHEXISTS", 2)
def exhexists(model: Model, key: bytes, name: bytes) -> Expected:
    """See tair.md."""
    return int(name in _fields(model, key))


def _delete(model: Model, key: bytes, rows: Sequence[tuple[bytes, int]]) -> int:
    fields = _fields(model, key)
    gone = [name for name, version in rows if name in fields and version in (0, fields[name].version) and fields.pop(name)]
    if gone:
        _settle(model, key)
    return len(gone)


@handles("EXHDEL", 2, None)
def exhdel(model: Model, key: bytes, *names: bytes) -> Expected:
    """See tair.md."""
    return _delete(model, key, [(name, 0) for name in names])


@handles("EXHDELWITHVER", 3, None, step=2)
def exhdelwithver(model: Model, key: bytes, *words: bytes) -> Expected:
    """See tair.md; versions here are numbers, what happens before a wrong one is not said."""
    return _delete(model, key, [(name, int(text)) for name, text in zip(words[::2], words[1::2], strict=True)])


@handles("EXHSCAN", 2, 6)
def exhscan(model: Model, key: bytes, _zero: bytes, *_count_: bytes) -> Expected:
    """From 0 with a COUNT that takes all of it; where the hash is small."""
    fields = _fields(model, key)
    return [b"0", exhgetall(model, key)] if fields else [Simple("0"), []]
