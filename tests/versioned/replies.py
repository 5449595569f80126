"""What a reply has to be: values to compare raw replies with, their notation in dialogues, and redis-cli lines for people."""

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs


@attrs.frozen(slots=True)
class Simple:
    """``+text``."""

    text: str


@attrs.frozen(slots=True)
class Error:
    """``-text``, the whole line."""

    text: str


@attrs.frozen(slots=True)
class Near:
    """An integer from `least` to `most`."""

    least: int
    most: int


@attrs.frozen(slots=True)
class AnyOrder:
    """An array of groups (a field, its value …) of which only the order is open; flat."""

    groups: tuple[tuple[Any, ...], ...]


@attrs.frozen(slots=True)
class Other:
    """A reply of a type that no command here may give: its type byte, its text."""

    kind: bytes
    text: bytes


Expected = Any
"""bytes (a bulk string), int, None (nil), list (an array), or one of the classes above."""
OK: Final = Simple("OK")


def read(raw: bytes, proto: int) -> Expected:
    """The value of one whole reply. None is the nil of `proto`; the other protocol's, and ``*-1``, are `Other`."""
    value, end = _read(raw, 0, proto)
    assert end == len(raw), f"bytes after a reply: {raw!r}"
    return value


def _read(raw: bytes, at: int, proto: int) -> tuple[Expected, int]:
    line_end = raw.index(b"\r\n", at)
    kind, text, after = raw[at : at + 1], raw[at + 1 : line_end], line_end + 2
    if kind == b":":
        return int(text), after
    if kind in b"+-":
        return (Simple if kind == b"+" else Error)(text.decode("utf-8", "surrogateescape")), after
    if kind == b"$" and text != b"-1":
        return raw[after : after + int(text)], after + int(text) + 2
    if kind == b"*" and text != b"-1":
        items = []
        for _ in range(int(text)):
            item, after = _read(raw, after, proto)
            items.append(item)
        return items, after
    if (proto, kind) in ((2, b"$"), (3, b"_")):
        return None, after
    return Other(kind, raw[at:]), len(raw)


def matches(expected: Expected, told: Expected) -> bool:
    """Whether a value that was read is what was expected."""
    if isinstance(expected, Near):
        return isinstance(told, int) and expected.least <= told <= expected.most
    if isinstance(expected, AnyOrder):
        return isinstance(told, list) and _in_any_order(expected.groups, told)
    if isinstance(expected, list) and isinstance(told, list):
        return len(expected) == len(told) and all(map(matches, expected, told))
    return type(expected) is type(told) and bool(expected == told)


def _in_any_order(groups: Sequence[tuple[Any, ...]], told: list[Any]) -> bool:
    width = len(groups[0]) if groups else 1
    if len(told) != width * len(groups):
        return False
    found = [tuple(told[at : at + width]) for at in range(0, len(told), width)]
    return all(found.count(group) == groups.count(group) for group in groups)


# The notation. `+OK`, `-ERR …` (to the end of the line), `:1`, `$text` (`$` is the empty one), `nil`, `[…]`,
# `{$f $v ; $g $w}` for groups in any order, `~1..9` for a number between; \xNN anywhere.

_TOKEN: Final = re.compile(r"[\[\]{};]|[^\s\[\]{};]+")


def unescaped(text: str) -> bytes:
    """The bytes that a word of a dialogue stands for."""
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def parsed(text: str) -> Expected:
    """What the notation says."""
    if text.startswith("-"):
        return Error(text[1:])
    tokens = _TOKEN.findall(text)
    value = _parse(tokens)
    assert not tokens, f"left over in {text!r}: {tokens}"
    return value


def _parse(tokens: list[str]) -> Expected:
    token = tokens.pop(0)
    if token == "[":
        items = []
        while tokens[0] != "]":
            items.append(_parse(tokens))
        tokens.pop(0)
        return items
    if token == "{":
        return _parse_groups(tokens)
    if token == "nil":
        return None
    kind, rest = token[0], token[1:]
    assert kind in "~+:$", f"no notation: {token!r}"
    if kind == "~":
        least, _, most = rest.partition("..")
        return Near(int(least), int(most))
    if kind == "+":
        return Simple(rest)
    return int(rest) if kind == ":" else unescaped(rest)


def _parse_groups(tokens: list[str]) -> AnyOrder:
    groups: list[list[Any]] = [[]]
    while (token := tokens[0]) != "}":
        if token == ";":
            tokens.pop(0)
            groups.append([])
        else:
            groups[-1].append(_parse(tokens))
    tokens.pop(0)
    return AnyOrder(tuple(map(tuple, groups)) if groups != [[]] else ())


def words(text: str) -> list[bytes]:
    """A command line of a dialogue as arguments; one with blanks, or an empty one, stands between single quotes."""
    return [unescaped(word.strip("'")) for word in re.findall(r"'[^']*'|\S+", text)]


_BARE: Final = re.compile(rb"[\w.:{}@+*/-]+", re.ASCII)


def line(command: Sequence[bytes]) -> str:
    """A command as redis-cli takes it."""
    return " ".join(_quoted(word) for word in command)


def _quoted(word: bytes) -> str:
    if _BARE.fullmatch(word):
        return word.decode("ascii")
    plain = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)
    return f'"{plain}"'


def dialogue(commands: Sequence[Sequence[bytes]], expected: Sequence[Expected], told: Sequence[Expected], proto: int) -> str:
    """The commands up to the first wrong reply, to be pasted into redis-cli (``-3`` for RESP3), and that reply."""
    for number, (wanted, got) in enumerate(zip(expected, told, strict=True)):
        if not matches(wanted, got):
            lines = [line(command) for command in commands[: number + 1]]
            return "\n".join([f"RESP{proto}:", *lines, f"# expected: {wanted!r}", f"# told:     {got!r}"])
    return ""
