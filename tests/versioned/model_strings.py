"""TairString in the model, and the writes on a condition of plain strings."""

from collections.abc import Callable
from typing import Any, Final

from tests.versioned import floats
from tests.versioned.model import (
    INT64_MAX,
    NOT_AN_INTEGER,
    OVERFLOW,
    STALE,
    SYNTAX,
    WRONG_TYPE,
    ExString,
    Model,
    Plain,
    Refused,
    get,
    handles,
    integer,
)
from tests.versioned.model_options import Options, options
from tests.versioned.replies import OK, Expected, Simple

EXPIRY: Final = "EX EXAT PX PXAT KEEPTTL"
NOT_A_FLOAT: Final = "ERR value is not a float"
NO_RANGE: Final = "ERR min or max is specified, but not valid"
NO_VERSION: Final = "ERR version should be integer"


def signed(version: int) -> int:
    """As a version is shown: the number of 64 bits with a sign."""
    return version - 2**64 if version > INT64_MAX else version


def _next(version: int, wanted: tuple[str, int]) -> int:
    return wanted[1] if wanted[0] == "ABS" else (version + 1) % 2**64


def _stale(item: ExString, wanted: tuple[str, int]) -> bool:
    return wanted[0] == "VER" and wanted[1] not in (0, item.version)


def _check(item: ExString, wanted: tuple[str, int]) -> None:
    if _stale(item, wanted):
        raise Refused(STALE)


def _set_expiry(model: Model, key: bytes, said: Options) -> None:
    if "KEEPTTL" not in said:
        model.expire(key, said.deadline(model, least=1))


def _put(model: Model, key: bytes, item: ExString | None, value: bytes, version: int) -> ExString:
    if item is None:
        item = model.items[key] = ExString(value)
    item.value, item.version = value, version
    return item


@handles("EXSET", 2, None)
def exset(model: Model, key: bytes, value: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    said = options(words, f"{EXPIRY} NX XX VER ABS FLAGS WITHVERSION")
    said.deadline(model, least=1)
    wanted, flags = said.version(least=0), said.number("FLAGS", SYNTAX)
    if flags is not None and not 0 <= flags < 2**32:
        raise Refused(SYNTAX)
    item = model.find(key, ExString)
    if ("XX" in said and item is None) or ("NX" in said and item is not None):
        return None
    if item is not None:
        _check(item, wanted)
    item = _put(model, key, item, value, _next(item.version if item else 0, wanted))
    if flags is not None:
        item.flags = flags
    _set_expiry(model, key, said)
    return signed(item.version) if "WITHVERSION" in said else OK


@handles("EXGET", 1, 2)
def exget(model: Model, key: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    if words and words[0].upper() != b"WITHFLAGS":
        raise Refused(SYNTAX)
    item = model.find(key, ExString)
    if item is None:
        return None
    return [item.value, signed(item.version), *([item.flags] if words else [])]


@handles("EXSETVER", 2)
def exsetver(model: Model, key: bytes, text: bytes) -> Expected:
    """See tair.md."""
    item = model.find(key, ExString)
    if item is None:
        return 0
    version = integer(text)
    if version is None or version <= 0:
        raise Refused(SYNTAX)
    item.version = version
    return 1


def outside(number: Any, least: Any, most: Any) -> bool:
    """Whether it is below the least or above the most, either of which may be None."""
    return (least is not None and number < least) or (most is not None and number > most)


def float_outside(model: Model, number: floats.Number, bounds: tuple[Any, Any], *, stored: bool) -> bool:
    """As `outside`, of the step alone or of a sum with what was `stored`, by the store's way to compare."""
    if not (model.coarse and stored):
        return outside(number, *bounds)
    return outside(floats.as_printed(number), *(None if bound is None else floats.as_printed(bound) for bound in bounds))


def _bounds(said: Options, read: Callable[[bytes], Any]) -> tuple[Any, Any]:
    found = []
    for name in ("MIN", "MAX"):
        number = read(said.said[name]) if name in said else None
        if name in said and number is None:
            raise Refused(NO_RANGE)
        found.append(number)
    least, most = found
    if least is not None and most is not None and most < least:
        raise Refused(NO_RANGE)
    return least, most


@handles("EXINCRBY", 2, None)
def exincrby(model: Model, key: bytes, text: bytes, *words: bytes) -> Expected:
    """See tair.md, with the order of its checks."""
    said = options(words, f"{EXPIRY} NX XX VER ABS DEF MIN MAX NONEGATIVE WITHVERSION")
    item = model.find(key, ExString)
    number = integer(text)
    if number is None:
        raise Refused(NOT_AN_INTEGER)
    default = said.number("DEF", NOT_AN_INTEGER)
    said.deadline(model, least=1)
    wanted = said.version(least=0)
    least, most = _bounds(said, integer)
    if ("XX" in said and item is None) or ("NX" in said and item is not None):
        return None
    old = 0 if item is None else integer(item.value)
    if old is None:
        raise Refused(NOT_AN_INTEGER)
    if item is not None:
        _check(item, wanted)
    if item is None and default is not None:
        new = default
    else:
        new = old + number
        if not -INT64_MAX - 1 <= new <= INT64_MAX or outside(new, least, most):
            raise Refused(OVERFLOW)
    if "NONEGATIVE" in said:
        new = max(new, 0)
    item = _put(model, key, item, b"%d" % new, _next(item.version if item else 0, wanted))
    _set_expiry(model, key, said)
    return [new, signed(item.version)] if "WITHVERSION" in said else new


@handles("EXINCRBYFLOAT", 2, None)
def exincrbyfloat(model: Model, key: bytes, text: bytes, *words: bytes) -> Expected:
    """See tair.md, with the order of its checks."""
    item = model.find(key, ExString)
    number = floats.parse(text)
    if number is None:
        raise Refused(NOT_A_FLOAT)
    said = options(words, f"{EXPIRY} NX XX VER ABS MIN MAX")
    said.deadline(model, least=1)
    wanted = said.version(least=0)
    bounds = _bounds(said, floats.parse)
    if ("XX" in said and item is None) or ("NX" in said and item is not None):
        return None
    old = floats.parse(item.value if item else b"0")
    if old is None:
        raise Refused(NOT_A_FLOAT)
    if item is not None:
        _check(item, wanted)
    new = floats.total(old, number)
    if new is None or float_outside(model, new, bounds, stored=item is not None):
        raise Refused(OVERFLOW)
    item = _put(model, key, item, floats.human(new), _next(item.version if item else 0, wanted))
    _set_expiry(model, key, said)
    return item.value


@handles("EXCAS", 3, None)
def excas(model: Model, key: bytes, value: bytes, text: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    said = options(words, EXPIRY)
    if "KEEPTTL" not in said:
        for name in said.said:
            said.number(name, SYNTAX)
    version = integer(text)
    if version is None:
        raise Refused(NO_VERSION)
    said.deadline(model, least=1)
    if version < 0:
        raise Refused(SYNTAX)
    item = model.find(key, ExString)
    if item is None:
        return -1
    if item.version != version:
        return [Simple("CAS_FAILED"), item.value, signed(item.version)]
    _put(model, key, item, value, _next(item.version, ("", 0)))
    _set_expiry(model, key, said)
    return [OK, Simple(""), signed(item.version)]


@handles("EXCAD", 2)
def excad(model: Model, key: bytes, text: bytes) -> Expected:
    """See tair.md."""
    item = model.find(key, ExString)
    version = integer(text)
    if version is None:
        raise Refused(NO_VERSION)
    if item is None:
        return -1
    if item.version != version:
        return 0
    model.remove(key)
    return 1


def _extend(model: Model, key: bytes, words: tuple[bytes, ...], joined: Callable[[bytes], bytes]) -> Expected:
    said = options(words, "NX XX VER ABS")
    wanted = said.version(least=0)
    present = key in model.items
    if ("XX" in said and not present) or ("NX" in said and present):
        return None
    item = model.find(key, ExString)
    if item is not None:
        _check(item, wanted)
    item = _put(model, key, item, joined(item.value if item else b""), _next(item.version if item else 0, wanted))
    return signed(item.version)


@handles("EXAPPEND", 2, None)
def exappend(model: Model, key: bytes, tail: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    return _extend(model, key, words, lambda old: old + tail)


@handles("EXPREPEND", 2, None)
def exprepend(model: Model, key: bytes, head: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    return _extend(model, key, words, lambda old: head + old)


@handles("EXGAE", 3)
def exgae(model: Model, key: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    deadline = options(words, "EX EXAT PX PXAT").deadline(model, least=1)
    item = model.find(key, ExString)
    if item is None:
        return None
    found = [item.value, signed(item.version), item.flags]
    model.expire(key, deadline)
    return found


# Plain strings on a condition


@handles("CAS", 3, None)
def cas(model: Model, key: bytes, old: bytes, new: bytes, *words: bytes) -> Expected:
    """See tair.md."""
    said = options(words, EXPIRY)
    said.deadline(model, least=1)
    item = model.find(key, Plain)
    if item is None:
        return -1
    if item.value != old:
        return 0
    item.value = new
    _set_expiry(model, key, said)
    return 1


@handles("CAD", 2)
def cad(model: Model, key: bytes, value: bytes) -> Expected:
    """See tair.md."""
    item = model.find(key, Plain)
    if item is None:
        return -1
    return int(item.value == value and model.remove(key))


@handles("DELIFEQ", 2)
def delifeq(model: Model, key: bytes, value: bytes) -> Expected:
    """Valkey's."""
    return max(cad(model, key, value), 0)


@handles("DELEX", 3)
def delex(model: Model, key: bytes, condition: bytes, value: bytes) -> Expected:
    """Redis 8.4's, with IFEQ or IFNE, on strings."""
    item = model.find(key, Plain)
    if item is None:
        return 0
    return int((item.value == value) is (condition.upper() == b"IFEQ") and model.remove(key))


@handles("SET", 2, None)
def set_(model: Model, key: bytes, value: bytes, *words: bytes) -> Expected:
    """With NX, XX, KEEPTTL, PXAT (of the future), GET, and Valkey's IFEQ."""
    upper = [word.upper() for word in words]
    awaited = words[upper.index(b"IFEQ") + 1] if b"IFEQ" in upper else None
    if awaited is not None and {b"NX", b"XX"} & set(upper):
        raise Refused(SYNTAX)
    item = model.items.get(key)
    if isinstance(item, Plain) or item is None:
        old = get(model, key)
    elif b"GET" in upper or awaited is not None:
        raise Refused(WRONG_TYPE)
    else:
        old = None
    met = (b"NX" not in upper or item is None) and (b"XX" not in upper or item is not None)
    if awaited is not None:
        met = item is not None and old == awaited
    if met:
        deadline = model.deadlines.get(key) if b"KEEPTTL" in upper else None
        model.remove(key)
        model.items[key] = Plain(value)
        if b"PXAT" in upper:
            deadline = options([b"PXAT", words[upper.index(b"PXAT") + 1]], "PXAT").deadline(model, least=1)
        model.expire(key, deadline)
    return old if b"GET" in upper else OK if met else None
