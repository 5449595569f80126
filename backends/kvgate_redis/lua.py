"""Small Lua scripts as requests: EVAL with one key, the body in every request.

EVAL and not EVALSHA: a script that the store forgot (SCRIPT FLUSH, a restart) would have to be sent again behind later
commands of the same client, and inside MULTI not at all. Redis finds the compiled script by the body's SHA-1, so what a
long body costs is that and its bytes; bodies are therefore cut to what they need.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kvgate.backend import INTERNAL_PREFIX
from kvgate.wire.request import encode_request

MARK: Final = INTERNAL_PREFIX
"""Names of fields that are the encoding's own begin so."""
VALUE: Final = MARK + b"v"
VERSION: Final = MARK + b"n"
"""Of a versioned string; it is there exactly when the hash is one."""
FLAGS: Final = MARK + b"f"
"""Of a versioned string whose flags are not 0."""
EXHASH: Final = MARK + b"h"
"""There exactly when the hash is a versioned one; ``1`` once a field has had an expiry, else ``0``."""
SCRATCH: Final = MARK + b"t"
"""Where a script computes, within one run: HINCRBY and HINCRBYFLOAT know 64-bit integers and long doubles, Lua does not."""
DUE: Final = MARK + b"x"
"""Sorted set of a store: keys of versioned hashes by when they are to be looked at (at the latest an hour ahead)."""
DUE_FIELDS: Final = MARK + b"x:"
"""Before a key: the sorted set of its fields by their expiry in ms."""

SWEEPER: Final = MARK + b"sweeper"
"""Who sweeps a store; with an expiry."""
FENCE: Final = MARK + b"fence"
"""The last fence given to a lock on a store; without an expiry."""

INTEGER_MARK: Final = b":"
"""A simple string that begins so is an integer that Lua's doubles would round."""


def _quoted(text: bytes) -> str:
    return "'" + text.decode("latin-1").replace("\0", "\\0") + "'"


_WORDS: Final = {
    "$VALUE": _quoted(VALUE),
    "$VERSION": _quoted(VERSION),
    "$FLAGS": _quoted(FLAGS),
    "$EXHASH": _quoted(EXHASH),
    "$SCRATCH": _quoted(SCRATCH),
    "$FIELDS": _quoted(DUE_FIELDS),
    "$DUE": _quoted(DUE),
    "$SWEEPER": _quoted(SWEEPER),
    "$LOWEST": "'-9223372036854775808'",
    "$HIGHEST": "'9223372036854775807'",
    "$STALE": "{err='ERR update version is stale'}",
    "$BEYOND": "{err='ERR increment or decrement would overflow'}",
    # redis.pcall on a key of another type answers Redis' own WRONGTYPE; every caller has looked that the key is no string
    "$WRONGTYPE": "redis.pcall('GET',KEYS[1])",
    # The milliseconds of Unix time, of one moment for the whole script.
    "$NOW": "local t=c('TIME')t=t[1]*1000+math.floor(t[2]/1000)",
}


def body(*pieces: str) -> bytes:
    """The pieces as one script: names with a ``$`` replaced, blanks taken out where Lua needs none."""
    text = "\n".join(pieces)
    for name, meaning in _WORDS.items():
        text = text.replace(name, meaning)
    text = re.sub(r"--[^\n]*", "", text)
    quoted = re.split(r"('[^']*')", text)  # every second piece is a string, and stays
    for at in range(0, len(quoted), 2):
        piece = re.sub(r"\s+", " ", quoted[at])
        quoted[at] = re.sub(r" ?([^\w\s$]) ?", r"\1", piece)
    return "".join(quoted).strip().encode("latin-1")


LESS: Final = """
local function less(a,b)
  if a==b then return false end
  local x,y=a:byte()==45,b:byte()==45
  if x~=y then return x end
  local p,q=#a:match('^-?%d+'),#b:match('^-?%d+')
  if p~=q then return (p<q)~=x end
  return (a<b)~=x
end
"""
"""``less(a, b)`` of two decimals without exponent, leading or trailing zeros, exactly."""

EXACT: Final = """
local function exact(n) return #(''..n)<15 and n+0 or {ok=':'..n} end
"""
"""``exact(n)``: an integer (a text, or a number that came from a text of at most 14 digits) as a reply that loses nothing."""


def store_name(command: str, rename: Mapping[str, str]) -> bytes:
    """What the store calls a command."""
    return rename.get(command, command).encode("utf-8", "surrogateescape")


class Script:
    """A script on one key, in the names that one store has for commands."""

    __slots__ = ("_head", "text")

    def __init__(self, text: bytes, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        for command, other in rename.items():
            text = text.replace(b"'%b'" % command.encode(), b"'%b'" % _escaped(other))
        self.text = text
        name = store_name("EVAL", rename)
        self._head = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(text), text)

    def on(self, key: bytes, args: Sequence[bytes] = ()) -> bytes:
        """The request that runs it on a key."""
        if len(args) == 1:
            return b"*5\r\n%b$1\r\n1\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self._head, len(key), key, len(args[0]), args[0])
        parts = [b"*%d\r\n" % (4 + len(args)), self._head, b"$1\r\n1\r\n$%d\r\n%b\r\n" % (len(key), key)]
        for arg in args:
            parts.append(b"$%d\r\n" % len(arg))
            parts.append(arg)
            parts.append(b"\r\n")
        return b"".join(parts)

    def of(self, keys: Sequence[bytes], args: Sequence[bytes] = ()) -> bytes:
        """The request that runs it on several keys, or none."""
        count = b"%d" % len(keys)
        rest = encode_request([count, *keys, *args])
        return b"*%d\r\n%b%b" % (3 + len(keys) + len(args), self._head, rest[rest.find(b"\n") + 1 :])


def _escaped(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    return b"".join(b"\\%03d" % byte if not 0x30 <= byte <= 0x7A or byte == 0x5C else b"%c" % byte for byte in raw)


def exact_integers(raw: bytes) -> bytes:
    """A raw reply (or several) with the integers that a script wrote as simple strings (`INTEGER_MARK`) as integers."""
    if b"+:" not in raw:  # nearly always: only numbers of more than 14 digits are written so
        return raw
    parts: list[bytes] = []
    at, size = 0, len(raw)
    while at < size:
        end = raw.find(b"\r\n", at) + 2
        sigil = raw[at : at + 1]
        if sigil == b"$" and raw[at + 1 : at + 2] != b"-":
            end += int(raw[at + 1 : end - 2]) + 2
        parts.append(raw[at + 1 : end] if raw.startswith(b"+:", at) else raw[at:end])
        at = end
    return b"".join(parts)
