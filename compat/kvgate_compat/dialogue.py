"""Writing requests as lines that redis-cli reads back byte for byte."""

from collections.abc import Sequence
from typing import Final

_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/*-+=,@%#?[]^|<>$&!(){}~;"
_NAMED: Final = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"}
_ESCAPED: Final = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}
WIDTH: Final = 600
"""Letters of a reply that are shown to people."""
LINE: Final = 4000
"""Letters of a line to be pasted that are shown to people: redis-cli takes 4,095."""


def quoted(arg: bytes) -> str:
    """One argument as redis-cli takes it: bare, or in double quotes with ``\\xNN``."""
    if arg and not arg.translate(None, _PLAIN):
        return arg.decode("ascii")
    shown = b"".join(_NAMED.get(byte) or (bytes([byte]) if 0x20 <= byte < 0x7F else b"\\x%02x" % byte) for byte in arg)
    return f'"{shown.decode("ascii")}"'


def printf(data: bytes) -> str:
    """Bytes as the shell's ``printf '…'`` takes them."""
    plain = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\%")
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in data)


def line(args: Sequence[bytes]) -> str:
    """One request."""
    return " ".join(map(quoted, args))


def shortened(text: str, width: int = WIDTH) -> str:
    """A line for people: cut when it is very long, and then not to be pasted (JSON has all of it)."""
    return text if len(text) <= width else f"{text[:width]}… ({len(text)} letters)"


def whole(reading: object) -> str:
    """A reading or raw reply for machines: as `shown`, with nothing left out."""
    if isinstance(reading, bytes):
        return quoted(reading)
    if isinstance(reading, tuple):
        return "(" + ", ".join(map(whole, reading)) + ")"
    return str(reading)


def shown(reading: object) -> str:
    """A reading or raw reply for people."""
    if isinstance(reading, bytes):
        return shortened(quoted(reading)) if reading else "nothing"
    if isinstance(reading, tuple):
        parts = [shown(part) for part in reading[:8]]
        return "(" + ", ".join(parts) + (f", … {len(reading)} in all" if len(reading) > 8 else "") + ")"
    return str(reading)


def words(text: str) -> list[bytes]:
    """The arguments of one line, as redis-cli reads it. Raises ValueError where quotes are not closed."""
    found, at = [], 0
    while at < len(text):
        if text[at] == " ":
            at += 1
        elif text[at] == '"':
            word, at = _inside(text, at + 1)
            found.append(word)
        else:
            end = text.find(" ", at)
            end = len(text) if end < 0 else end
            found.append(text[at:end].encode())
            at = end
    return found


def _inside(text: str, at: int) -> tuple[bytes, int]:
    """What stands from `at` up to the closing quote, and the position behind that."""
    word = b""
    while text[at : at + 1] != '"':
        letter = text[at : at + 1]
        if not letter:
            msg = f"a quote is not closed: {text}"
            raise ValueError(msg)
        if letter != "\\":
            word, at = word + letter.encode(), at + 1
        elif text[at + 1 : at + 2] == "x":
            word, at = word + bytes.fromhex(text[at + 2 : at + 4]), at + 4
        else:
            word, at = word + _ESCAPED.get(text[at + 1], text[at + 1].encode()), at + 2
    return word, at + 1
