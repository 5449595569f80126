"""Redis' glob patterns (KEYS, SCAN MATCH, PSUBSCRIBE), matched in bounded time whatever the pattern.

The rules were observed on 7.0.15: ``*`` ``?`` ``[abc]`` ``[^a-z]`` ``\\x``; a class that never ends goes to the end of the
pattern; a range may be written backwards; ``[]`` matches nothing and ``[^]`` any byte. They are not fnmatch's.
"""

from collections.abc import Callable
from typing import Final

_ANY: Final = frozenset(range(256))
_Element = frozenset[int] | None
"""The bytes that may stand at one place; None is ``*``."""


def literal_prefix(pattern: bytes) -> bytes:
    """What every match begins with: the pattern up to its first special character, escapes resolved."""
    prefix = bytearray()
    at = 0
    while at < len(pattern) and pattern[at] not in b"*?[":
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
        prefix.append(pattern[at])
        at += 1
    return bytes(prefix)


def rest_after(pattern: bytes, beginning: bytes) -> bytes | None:
    """A pattern for what follows `beginning` in the texts that match `pattern` and begin so; None when none does. Where that
    would take several patterns it is ``*``, which matches more."""
    starts: list[int] = []
    elements = _elements(pattern, ignore_case=False, starts=starts)
    states = _with_skipped(elements, {0})
    for char in beginning:
        states = _with_skipped(
            elements,
            {
                at if elements[at] is None else at + 1
                for at in states
                if at < len(elements) and (elements[at] is None or char in (elements[at] or ()))
            },
        )
    left = sorted(at for at in states if at - 1 not in states or elements[at - 1] is not None)  # what no star before it covers
    if not left:
        return None
    return pattern[([*starts, len(pattern)])[left[0]] :] if len(left) == 1 else b"*"


def _with_skipped(elements: "list[_Element]", states: set[int]) -> set[int]:
    """The places, and those behind stars that match nothing."""
    found = set(states)
    for at in range(len(elements)):
        if at in found and elements[at] is None:
            found.add(at + 1)
    return found


def glob_matcher(pattern: bytes, *, ignore_case: bool = False) -> Callable[[bytes], bool]:
    """A function that tells whether a text matches `pattern`, in at most len(text) * len(pattern) steps."""
    prefix = literal_prefix(pattern)
    if not ignore_case:
        if len(prefix) == len(pattern):
            return lambda text: text == prefix
        if pattern == prefix + b"*":
            return lambda text: text.startswith(prefix)
    elements = _elements(pattern, ignore_case=ignore_case)
    if ignore_case:
        return lambda text: _matches(elements, text.lower())
    return lambda text: text.startswith(prefix) and _matches(elements, text)


def _elements(pattern: bytes, *, ignore_case: bool, starts: list[int] | None = None) -> list[_Element]:
    """The pattern's elements; `starts` gets where each begins."""
    elements: list[_Element] = []
    at = 0
    while at < len(pattern):
        char, begin = pattern[at], at
        element: _Element
        if char == 0x2A:  # *
            if elements and elements[-1] is None:
                at += 1
                continue
            element = None
        elif char == 0x3F:  # ?
            element = _ANY
        elif char == 0x5B:  # [
            element, at = _class(pattern, at + 1, ignore_case=ignore_case)
        else:
            if char == 0x5C and at + 1 < len(pattern):  # \
                at += 1
            one = pattern[at : at + 1]
            element = frozenset(one.lower() if ignore_case else one)
        elements.append(element)
        if starts is not None:
            starts.append(begin)
        at += 1
    return elements


def _class(pattern: bytes, at: int, *, ignore_case: bool) -> tuple[frozenset[int], int]:
    """The bytes of the class whose inside begins at `at`, and the index of its closing bracket (or of the last byte)."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
            first = last = pattern[at]
        elif at + 2 < len(pattern) and pattern[at + 1] == 0x2D:
            first, last = pattern[at], pattern[at + 2]
            at += 2
        else:
            first = last = pattern[at]
        if ignore_case:
            first, last = bytes((first, last)).lower()
        members.update(range(min(first, last), max(first, last) + 1))
        at += 1
    return (_ANY - members if negated else frozenset(members)), min(at, len(pattern) - 1)


def _matches(elements: list[_Element], text: bytes) -> bool:
    """Walk both; on a mismatch let the last star take one byte more (earlier stars never need another try)."""
    at = element = star = retry = 0
    starred = False
    while at < len(text):
        if element < len(elements) and elements[element] is None:
            starred, star, retry = True, element, at
            element += 1
        elif element < len(elements) and text[at] in (elements[element] or ()):
            at += 1
            element += 1
        elif starred:
            retry += 1
            at, element = retry, star + 1
        else:
            return False
    return all(rest is None for rest in elements[element:])
