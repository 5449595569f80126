"""Generators of writes that let a key expire during the example, by every command and option that can."""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.pools import key, value
from kvgate_compat.words import Args, Payload, Request, Soon, maybe, option, requests, seq

_MILLISECONDS: Final = (200, 300, 500)


def _soon(unit: int, *, absolute: bool = False) -> SearchStrategy[Soon]:
    return st.sampled_from([Soon(milliseconds, unit, absolute) for milliseconds in _MILLISECONDS])


_options = st.one_of(
    seq(option("PX"), _soon(1000)),
    seq(option("PX"), _soon(1000)),
    seq(option("EX"), _soon(1)),
    seq(option("PXAT"), _soon(1000, absolute=True)),
    seq(option("EXAT"), _soon(1, absolute=True)),
)
_condition = maybe(option("NX", "XX", "GT", "LT"))

_ARGUMENTS: Final[dict[str, SearchStrategy[Args]]] = {
    "SET": seq(key, value, _options, maybe(option("GET", "NX", "XX"))),
    "SETEX": seq(key, _soon(1), value),
    "PSETEX": seq(key, _soon(1000), value),
    "GETEX": seq(key, _options),
    "EXPIRE": seq(key, _soon(1), _condition),
    "PEXPIRE": seq(key, _soon(1000), _condition),
    "EXPIREAT": seq(key, _soon(1, absolute=True), _condition),
    "PEXPIREAT": seq(key, _soon(1000, absolute=True), _condition),
    "RESTORE": seq(key, _soon(1000), st.builds(Payload, key), maybe(option("REPLACE"))),
}
_OFTEN: Final = ("PEXPIRE",) * 4
"""It is the one that works on every type."""


def mortal(names: "tuple[str, ...]") -> "SearchStrategy[Request] | None":
    """Requests of those of the commands `names` that give a key a short time to live."""
    able = [name for name in (*_OFTEN, *_ARGUMENTS) if name in names]
    made = {name: requests(name, _ARGUMENTS[name]).filter(_is_sound) for name in able}
    return st.sampled_from(able).flatmap(made.__getitem__) if able else None


def _is_sound(request: Request) -> bool:
    return not request.damaged  # a time in the place of another argument might be one that nobody waits for
