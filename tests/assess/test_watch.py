"""Lines of MONITOR, as Redis writes them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from kvgate.assess.watch import watch, words

AT = b"1700000000.123456 "


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (AT + b'[0 127.0.0.1:1] "get" "k"', (0, b"127.0.0.1:1", [b"get", b"k"])),
        (AT + b'[3 [::1]:1] "get" "k"', (3, b"[::1]:1", [b"get", b"k"])),
        (AT + b'[0 unix:/a b] "get" ""', (0, b"unix:/a b", [b"get", b""])),
        (AT + b'[0 lua] "set" "a\\"b\\\\" "\\x00\\xff\\n\\r\\t\\a\\b"', (0, b"lua", [b"set", b'a"b\\', b"\0\xff\n\r\t\a\b"])),
        (AT + b'[0 127.0.0.1:1] "set" "k" "cut o', (0, b"127.0.0.1:1", [b"set", b"k"])),
        (b"OK", None),
    ],
)
def test_lines(line: bytes, found: "tuple[int, bytes, list[bytes]] | None") -> None:
    assert words(line) == found


def test_a_reader_that_is_too_slow_leaves() -> None:
    """The server's memory holds what is not read yet."""
    now, lines = 0.0, [b'%.6f [0 127.0.0.1:1] "get" "k"' % (1700000000 + tenth / 10) for tenth in range(100)]

    def clock() -> float:
        nonlocal now
        now += 0.12  # a tenth of a second of the server's takes longer here
        return now

    found = watch(lines, b":", 1, lambda _: None, clock=clock)
    assert found.behind
    assert found.lines == 51, "behind by more than a second"
    assert not watch(lines[:50], b":", 1, lambda _: None, clock=clock).behind


def test_an_interrupt_ends_it() -> None:
    def lines() -> Iterator[bytes]:
        yield AT + b'[0 127.0.0.1:1] "get" "A.B:1"'
        raise KeyboardInterrupt

    found = watch(lines(), b":", 1, lambda _: None)
    assert (found.lines, found.behind) == (1, False)
    assert found.commands == {(0, "A.B", "A.B"): Counter({"get": 1})}


def test_what_is_counted() -> None:
    told: list[int] = []
    requests = [
        b'"GET" "Shop.Cart:1"',
        b'"get" "Shop.Cart:2"',
        b'"MSET" "Shop.Cart:1" "v" "Shop.Top:1" "v"',
        b'"rename" "{x}Shop.Cart:1" "{x}b"',
        b'"config" "get" "save"',
        b'"get"',
        b'"json.get" "k"',
        b'"eval" "return 1" "1" "Shop.Cart:9" "secret"',
    ]
    lines = [AT + b"[0 1.1.1.1:1] " + request for request in requests] + [AT + b'[0 lua] "get" "x"', b"nonsense"]
    found = watch(lines, b":", 1, told.append)
    assert (found.lines, found.by_scripts, found.unread) == (9, 1, 2)
    assert told == [9]
    assert found.commands == {
        (0, "Shop.Cart", "Shop.Cart"): Counter({"get": 2, "mset": 1, "eval": 1}),
        (0, "Shop.Top", "Shop.Top"): Counter({"mset": 1}),
        (0, "{x}Shop.Cart", "default"): Counter({"rename": 1}),
        (0, "(no prefix)", "default"): Counter({"rename": 1}),
    }
    assert +found.shards == Counter({"mset": 1})
    assert +found.namespaces == Counter({"mset": 1})
