"""What the Python programs share: their arguments, comparing, and the report of each part on a line of its own."""

import sys
from collections.abc import Callable
from typing import Any

URL, PROTOCOL, KEYS, TYPES = sys.argv[1:]
"""Address; ``2`` or ``3``; two beginnings of keys with a comma between; ``all``, or ``strings+hashes``."""
CART, ADS = KEYS.split(",")
BYTES = bytes(range(256))
BIG = BYTES * 400
"""100 KiB: TiKV takes 128."""


def equal(got: Any, wanted: Any) -> None:
    """Fail with both values."""
    if got != wanted:
        msg = f"got {got!r}, wanted {wanted!r}"
        raise AssertionError(msg)


def either(i: int) -> str:
    """One beginning of keys or the other."""
    return (CART, ADS)[i % 2]


class Report:
    """Says of each part ``name: ok``, ``name: unsupported`` or ``name: FAILED`` with the reason; `code` is the exit code."""

    code = 0

    def of(self, name: str, outcome: str, error: BaseException | None = None) -> None:
        """One line; the reason stays on it."""
        if error is not None:
            self.code = 1
            outcome = " ".join(f"FAILED {type(error).__name__}: {error}".split())
        sys.stdout.write(f"{name}: {outcome}\n")
        sys.stdout.flush()


def refused(error: Exception, kind: type[Exception]) -> None:
    """`error` must be what the library makes of an error reply, and say that the store lacks the command."""
    equal(isinstance(error, kind), True)
    equal("is not supported by" in str(error), True)


Part = Callable[[Any], Any]
